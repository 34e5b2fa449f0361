//! The switches by which a test turns one rule off and sees the checker find it.

use schemas::{Command, Timestamp};

use crate::ports::{Sequence, TopicPartition};

/// Which rules are kept. The program keeps all of them; only tests make another value.
#[derive(Debug, Clone)]
pub struct Guards {
    /// R1: all changes of a command are one record.
    pub one_record: bool,
    /// R2: read up to one's own fence before deciding.
    pub fence: bool,
    /// R3: readers pass over outcomes of other epochs and repeats.
    pub reader_rule: bool,
    /// R4: begin after the last command with an outcome, not at the group's offset.
    pub start_position: bool,
    /// R5: nothing is seen before it is durable.
    pub answer_after_log: bool,
    /// R6: an owner whose append fails or who is fenced stops.
    pub fail_stop: bool,
    /// R7: the store is written by compare-and-set.
    pub compare_and_set: bool,
    /// R8: a repeated command id has no second effect.
    pub idempotency: bool,
    /// R9: time is the command's.
    pub determinism: bool,
    /// R10: a command on the wrong partition is sent to the right one.
    pub right_partition: bool,
    /// R11: a record that cannot be decided does not stop its partition.
    pub poison: bool,
    /// R13: a session never sees a state older than its own answers.
    pub read_your_writes: bool,
    /// R14: the principal's tenant is compared with the entity's in `decide`.
    pub isolation: bool,
    /// The clock that is read where R9 is off.
    pub clock: fn() -> Timestamp,
    /// Fault switch: commands on which an actor panics (R11).
    pub panics: fn(&Command) -> bool,
    /// Fault switch: whether this append of an owner is not made and fails (R6).
    pub loses_append: fn(&TopicPartition, Sequence) -> bool,
    /// Fault switch: told of each point that is passed; may end the process.
    pub passes: fn(Point),
}

/// A point in the path of a command at which a test ends the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The entity has decided; nothing is sent.
    AfterDecide,
    /// The outcome is sent to the log, which has not answered.
    AfterSend,
    /// The log has answered; nobody is told.
    AfterAcknowledgement,
    /// The partition is fenced; nothing is read.
    AfterFence,
    /// The projector has made a step and writes nothing yet.
    BeforeCommit,
    /// The projector is in the middle of a transaction.
    MidSnapshot,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            one_record: true,
            fence: true,
            reader_rule: true,
            start_position: true,
            answer_after_log: true,
            fail_stop: true,
            compare_and_set: true,
            idempotency: true,
            determinism: true,
            right_partition: true,
            poison: true,
            read_your_writes: true,
            isolation: true,
            clock: Timestamp::default,
            panics: |_| false,
            loses_append: |_, _| false,
            passes: |_| {},
        }
    }
}

impl Guards {
    /// The time that breaks R9.
    pub(crate) fn wall_clock(&self) -> Timestamp {
        (self.clock)()
    }
}

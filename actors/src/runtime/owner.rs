//! The owner of one partition as a state machine without I/O: inputs are what the log, the store
//! and the entities say, outputs are [`Action`]s that one interpreter carries out (the partition
//! actor in the program, the simulator in the tests).
//!
//! It keeps R1 (one record per command), R2 (fence), R4 (start position), R5 (answer after the
//! log), R6 (fail-stop), R11 (poison).

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use schemas::{
    Change, Command, CommandId, EntityKey, Epoch, Fence, Kind, Offset, Outcome, OutcomeRecord,
    Principal, TenantId, Timestamp, Verdict,
    codec::{self, CodecError},
};

use super::{
    guards::Guards,
    partitioner::partition_of,
    reader::{Admission, ReaderPosition},
    ring::{Counted, Ring},
    timers::Timers,
};
use crate::{
    domain::entity::{Decision, wake_body},
    ports::{Checkpoint, PartitionState},
};

/// The first pause after a failure (milliseconds); doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: u64 = 20;
/// The longest pause between two attempts (milliseconds).
const LONGEST_PAUSE: u64 = 5_000;
/// A partition with more outcomes than this ahead of the projector takes no more commands, and a
/// tail reads no further: what is held for the store is bounded.
pub const LARGEST_RING: usize = 20_000;

/// What the interpreter must do, in order.
#[derive(Debug)]
pub enum Action {
    /// Ask the store for checkpoint and timers; answer with [`Owner::loaded`].
    Load,
    /// Append the fence; answer with [`Owner::fenced`] or [`Owner::failed`].
    AppendFence {
        /// Say it back in the answer.
        attempt: u32,
        /// The record.
        value: Bytes,
    },
    /// Read outcomes from here on into [`Owner::outcome`].
    ReadOutcomes(Offset),
    /// Read commands from here on into [`Owner::command`].
    ReadCommands(Offset),
    /// Have the entity decide; answer with [`Owner::decided`].
    Decide {
        /// Where the command stands.
        offset: Offset,
        /// What is asked.
        command: Box<Command>,
    },
    /// Append an outcome; on failure answer with [`Owner::failed`].
    AppendOutcome {
        /// Say it back in the answer.
        attempt: u32,
        /// Where the command stands.
        offset: Offset,
        /// The entity's key in the log.
        key: Option<EntityKey>,
        /// The record.
        value: Bytes,
    },
    /// Append a record that is not decided here where it belongs; answer with
    /// [`Owner::set_aside`] once it is durable, or [`Owner::failed`].
    SetAside {
        /// Say it back in the answer.
        attempt: u32,
        /// Where it stands in the commands; say it back in the answer.
        offset: Offset,
        /// Where it belongs.
        to: Aside,
        /// Its key.
        key: Bytes,
        /// Its bytes.
        value: Bytes,
        /// Why; say it back in the answer.
        reason: String,
    },
    /// Append a command to this partition (a timer).
    AppendCommand(Box<Command>),
    /// Only where R5 is switched off: the outcome is shown before it is durable.
    Leak(Box<Outcome>),
    /// Stop both readers and drop every entity.
    Reset,
    /// Call [`Owner::retry`] after so many milliseconds.
    RetryAfter(u64),
}

/// Where a record goes that its owner does not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aside {
    /// To `dlq` (R11).
    DeadLetters,
    /// To this partition of the same topic (R10).
    Partition(i32),
}

/// Where an owner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The partition is not ours.
    Idle,
    /// Waiting for the store.
    Loading,
    /// Waiting for our fence to be durable.
    Fencing,
    /// Reading up to our fence.
    CatchingUp {
        /// The offset of our fence.
        epoch: Epoch,
    },
    /// Deciding commands.
    Deciding {
        /// The offset of our fence.
        epoch: Epoch,
    },
    /// Waiting after a failure.
    Pausing,
}

/// One partition's owner.
#[derive(Debug)]
pub struct Owner {
    kind: Kind,
    place: Place,
    node: String,
    guards: Arc<Guards>,
    phase: Phase,
    attempt: u32,
    failures: u32,
    start: Checkpoint,
    /// Where the group's committed offset is; used only where R4 is switched off.
    group_offset: Offset,
    reader: ReaderPosition,
    ring: Ring,
    timers: Timers,
    /// Commands handed out, in order, that have no appended outcome yet.
    waiting: VecDeque<Offset>,
    ready: BTreeMap<Offset, Outcome>,
    in_flight: HashMap<EntityKey, u32>,
    /// Commands read whose outcome has not come back.
    outstanding: usize,
    /// Whether commands are taken; a partition that is being given up takes none.
    taking: bool,
}

/// Which partition of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its number, from 0.
    pub partition: i32,
    /// How many there are.
    pub of: i32,
}

impl Owner {
    /// An owner that owns nothing yet. `node` names this process in fences.
    pub fn new(kind: Kind, place: Place, node: String, guards: Arc<Guards>) -> Self {
        Self {
            kind,
            place,
            node,
            guards,
            phase: Phase::Idle,
            attempt: 0,
            failures: 0,
            start: Checkpoint::START,
            group_offset: 0,
            reader: ReaderPosition::new(Checkpoint::START),
            ring: Ring::default(),
            timers: Timers::default(),
            waiting: VecDeque::new(),
            ready: BTreeMap::new(),
            in_flight: HashMap::new(),
            outstanding: 0,
            taking: true,
        }
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How far it has read its own outcomes.
    pub fn position(&self) -> Checkpoint {
        self.reader.checkpoint()
    }

    /// The outcomes of `key` from `offset` on that the store may not have yet.
    pub fn recent(&self, key: &EntityKey, offset: Offset) -> Vec<Arc<Counted>> {
        self.ring.of(key, offset)
    }

    /// Whether no outcome of `key` is on its way, so that its actor may be dropped.
    pub fn is_quiet(&self, key: &EntityKey) -> bool {
        !self.in_flight.contains_key(key)
    }

    /// Whether so much is ahead of the projector that no more commands should be read.
    pub fn is_far_ahead(&self) -> bool {
        self.ring.len() > LARGEST_RING
    }

    /// The partition is ours: load, fence, catch up, decide.
    pub fn assigned(&mut self) -> Vec<Action> {
        self.reset();
        self.phase = Phase::Loading;
        vec![Action::Reset, Action::Load]
    }

    /// The partition is not ours any more.
    pub fn lost(&mut self) -> Vec<Action> {
        self.reset();
        self.phase = Phase::Idle;
        self.failures = 0;
        vec![Action::Reset]
    }

    fn reset(&mut self) {
        self.attempt += 1;
        self.ring.clear();
        self.timers.clear();
        self.waiting.clear();
        self.ready.clear();
        self.in_flight.clear();
        self.outstanding = 0;
        self.taking = true;
    }

    /// How many commands were read whose outcome has not come back from the log.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Takes no more commands: the partition is about to be given up.
    pub fn stop_intake(&mut self) {
        self.taking = false;
    }

    /// The store has answered. `group_offset` is where the group's committed offset stands.
    pub fn loaded(
        &mut self,
        state: PartitionState,
        group_offset: Offset,
        now: Timestamp,
    ) -> Vec<Action> {
        if self.phase != Phase::Loading {
            return Vec::new();
        }
        self.start = state.checkpoint;
        self.group_offset = group_offset;
        self.reader = ReaderPosition::new(state.checkpoint);
        for (key, wish) in &state.timers {
            self.timers.set(key, Some(*wish));
        }
        self.phase = Phase::Fencing;
        let fence = Fence { owner: format!("{}/{}", self.node, self.attempt), at: now };
        match codec::encode_fence(&fence) {
            Ok(value) => {
                vec![Action::AppendFence { attempt: self.attempt, value: value.into() }]
            }
            Err(_unwritable) => self.fail(),
        }
    }

    /// Our fence is durable: its offset is our epoch (R2).
    pub fn fenced(&mut self, attempt: u32, epoch: Epoch) -> Vec<Action> {
        if attempt != self.attempt || self.phase != Phase::Fencing {
            return Vec::new();
        }
        if self.guards.fence {
            self.phase = Phase::CatchingUp { epoch };
            vec![Action::ReadOutcomes(self.start.offset)]
        } else {
            self.phase = Phase::Deciding { epoch };
            vec![Action::ReadOutcomes(epoch), self.read_commands()]
        }
    }

    /// R4: commands are read from the one after the last that has an outcome.
    fn read_commands(&self) -> Action {
        let after_last = self.reader.checkpoint().last_command_offset + 1;
        let from = if self.guards.start_position { after_last } else { self.group_offset };
        Action::ReadCommands(from)
    }

    /// The next record of our outcome partition, read back from the log.
    pub fn outcome(&mut self, offset: Offset, value: &Bytes) -> Vec<Action> {
        let record = match codec::decode_outcome(self.kind, value) {
            Ok(record) => record,
            Err(_foreign) => {
                self.reader.skip(offset);
                return Vec::new();
            }
        };
        match (self.reader.admit(offset, &record, &self.guards), record) {
            (Admission::Fence, _) => self.saw_fence(offset),
            (Admission::Counts, OutcomeRecord::Outcome(outcome)) => {
                self.saw_outcome(offset, value, *outcome);
                Vec::new()
            }
            (Admission::Counts | Admission::Stale, _) => Vec::new(),
        }
    }

    fn saw_fence(&mut self, offset: Offset) -> Vec<Action> {
        match self.phase {
            Phase::CatchingUp { epoch } if offset == epoch => {
                self.phase = Phase::Deciding { epoch };
                vec![self.read_commands()]
            }
            Phase::Deciding { epoch } if offset > epoch && self.guards.fail_stop => self.fail(),
            Phase::Idle
            | Phase::Loading
            | Phase::Fencing
            | Phase::CatchingUp { .. }
            | Phase::Deciding { .. }
            | Phase::Pausing => Vec::new(),
        }
    }

    fn saw_outcome(&mut self, offset: Offset, value: &Bytes, outcome: Outcome) {
        if let Phase::Deciding { epoch } = self.phase
            && outcome.epoch == epoch
        {
            self.failures = 0;
            self.outstanding = self.outstanding.saturating_sub(1);
        }
        if let Some(key) = &outcome.key {
            self.timers.set(key, outcome.wake_at);
            if let Some(count) = self.in_flight.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.in_flight.remove(key);
                }
            }
        }
        self.ring.push(Arc::new(Counted { offset, value: value.clone(), outcome }));
    }

    /// The store has everything before this offset.
    pub fn stored(&mut self, offset: Offset) {
        self.ring.trim(offset);
    }

    /// The next record of our command partition.
    pub fn command(&mut self, offset: Offset, key: &Bytes, value: &Bytes) -> Vec<Action> {
        if !matches!(self.phase, Phase::Deciding { .. }) || !self.taking {
            return Vec::new();
        }
        self.outstanding += 1;
        self.waiting.push_back(offset);
        let decoded = codec::decode_command(self.kind, value);
        let (to, reason) = match decoded {
            Ok(command) if command.key.to_string().as_bytes() != &key[..] => {
                (Aside::DeadLetters, "the record's key is not its command's".to_owned())
            }
            Ok(command) => {
                let right = partition_of(key, self.place.of);
                if right == self.place.partition || !self.guards.right_partition {
                    *self.in_flight.entry(command.key.clone()).or_default() += 1;
                    return vec![Action::Decide { offset, command: Box::new(command) }];
                }
                (Aside::Partition(right), format!("it belongs to partition {right}"))
            }
            Err(error) => (Aside::DeadLetters, error.to_string()),
        };
        if to == Aside::DeadLetters && !self.guards.poison {
            return Vec::new();
        }
        let (key, value) = (key.clone(), value.clone());
        vec![Action::SetAside { attempt: self.attempt, offset, to, key, value, reason }]
    }

    /// The record at `offset` is durable where it belongs: here it is skipped (R10, R11).
    pub fn set_aside(&mut self, attempt: u32, offset: Offset, reason: String) -> Vec<Action> {
        let Phase::Deciding { epoch } = self.phase else { return Vec::new() };
        if attempt != self.attempt {
            return Vec::new();
        }
        let outcome = Outcome {
            epoch,
            command_offset: offset,
            command_id: CommandId::derived(&format!("{}.commands/{offset}", self.kind)),
            key: None,
            at: Timestamp::default(),
            by: Principal::System,
            fingerprint: 0,
            repeats: None,
            wake_at: None,
            verdict: Verdict::Skipped { reason },
        };
        self.append_ready(offset, outcome)
    }

    /// The entity has decided the command at `offset`; `wake_at` is its wish after it.
    pub fn decided(
        &mut self,
        attempt: u32,
        offset: Offset,
        command: &Command,
        decision: Decision,
        wake_at: Option<Timestamp>,
    ) -> Vec<Action> {
        let Phase::Deciding { epoch } = self.phase else { return Vec::new() };
        if attempt != self.attempt {
            return Vec::new();
        }
        let outcome = Outcome {
            epoch,
            command_offset: offset,
            command_id: command.id,
            key: Some(command.key.clone()),
            at: command.at,
            by: command.principal.clone(),
            fingerprint: decision.fingerprint,
            repeats: decision.repeats,
            wake_at,
            verdict: decision.verdict,
        };
        self.append_ready(offset, outcome)
    }

    /// The attempt that answers of entities and appends must carry.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Appends in the order of the commands, whatever order the entities answer in.
    fn append_ready(&mut self, offset: Offset, outcome: Outcome) -> Vec<Action> {
        self.ready.insert(offset, outcome);
        let mut actions = Vec::new();
        while let Some(next) = self.waiting.front()
            && let Some(outcome) = self.ready.remove(next)
        {
            self.waiting.pop_front();
            for outcome in self.records_of(outcome) {
                match codec::encode_outcome(self.kind, &outcome) {
                    Ok(value) => actions.push(Action::AppendOutcome {
                        attempt: self.attempt,
                        offset: outcome.command_offset,
                        key: outcome.key.clone(),
                        value: value.into(),
                    }),
                    Err(_unwritable) => return self.fail(),
                }
                if !self.guards.answer_after_log {
                    actions.push(Action::Leak(Box::new(outcome)));
                }
            }
        }
        actions
    }

    /// R1: one record. Where it is switched off, one record per change.
    fn records_of(&self, outcome: Outcome) -> Vec<Outcome> {
        match &outcome.verdict {
            Verdict::Accepted { changes, .. } if !self.guards.one_record && changes.len() > 1 => {
                let single = |change: &Change| Outcome {
                    verdict: Verdict::Accepted { seq: change.seq, changes: vec![change.clone()] },
                    ..outcome.clone()
                };
                changes.iter().map(single).collect()
            }
            Verdict::Accepted { .. } | Verdict::Rejected(_) | Verdict::Skipped { .. } => {
                vec![outcome]
            }
        }
    }

    /// R6: an append failed or timed out; nothing decided since can be trusted.
    pub fn failed(&mut self, attempt: u32) -> Vec<Action> {
        if attempt != self.attempt || self.phase == Phase::Idle {
            return Vec::new();
        }
        if !self.guards.fail_stop && matches!(self.phase, Phase::Deciding { .. }) {
            return Vec::new();
        }
        self.fail()
    }

    /// The store or a reader failed: begin again.
    pub fn interrupted(&mut self) -> Vec<Action> {
        if self.phase == Phase::Idle { Vec::new() } else { self.fail() }
    }

    fn fail(&mut self) -> Vec<Action> {
        self.reset();
        self.phase = Phase::Pausing;
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(20)).min(LONGEST_PAUSE);
        self.failures += 1;
        vec![Action::Reset, Action::RetryAfter(pause)]
    }

    /// The pause after a failure is over.
    pub fn retry(&mut self) -> Vec<Action> {
        if self.phase != Phase::Pausing {
            return Vec::new();
        }
        self.phase = Phase::Loading;
        vec![Action::Load]
    }

    /// Time passes: wakes the entities whose time has come.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Action> {
        if !matches!(self.phase, Phase::Deciding { .. }) {
            return Vec::new();
        }
        let due = self.timers.due(now);
        due.into_iter().filter_map(|(key, wish)| wake(key, wish, now)).collect()
    }
}

/// The command that wakes `key`; its id follows from the wish, so a repeat has no effect (R8).
fn wake(key: EntityKey, wish: Timestamp, now: Timestamp) -> Option<Action> {
    let body = wake_body(&key)?;
    let tenant: TenantId = key.tenant.clone();
    Some(Action::AppendCommand(Box::new(Command {
        id: CommandId::derived(&format!("wake/{key}/{}", wish.as_millis())),
        tenant,
        principal: Principal::System,
        roles: Vec::new(),
        at: now,
        expect: None,
        body,
        key,
    })))
}

/// What became of a command that its entity could not decide (R11).
pub fn skipped(reason: impl Into<String>) -> Decision {
    Decision { verdict: Verdict::Skipped { reason: reason.into() }, repeats: None, fingerprint: 0 }
}

/// Decides and applies one command to a state, as every interpreter of [`Action::Decide`] does.
///
/// # Errors
/// If the command cannot be written down again, which a command that was read can be.
pub fn decide_and_apply(
    entity: &mut crate::domain::entity::Entity,
    command: &Command,
    offset: Offset,
    guards: &Guards,
) -> Result<(Decision, Option<Timestamp>), CodecError> {
    assert!(!(guards.panics)(command), "fault switch: this command panics");
    let decision = entity.decide(command, guards)?;
    let outcome = Outcome {
        epoch: 0,
        command_offset: offset,
        command_id: command.id,
        key: Some(command.key.clone()),
        at: command.at,
        by: command.principal.clone(),
        fingerprint: decision.fingerprint,
        repeats: decision.repeats,
        wake_at: None,
        verdict: decision.verdict,
    };
    entity.apply(&outcome);
    let wake_at = entity.next_wake();
    let Outcome { verdict, repeats, fingerprint, .. } = outcome;
    Ok((Decision { verdict, repeats, fingerprint }, wake_at))
}

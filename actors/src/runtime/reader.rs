//! R3, the reader rule: the one function by which every reader of outcomes tells what counts.

use schemas::{Offset, OutcomeRecord};

use super::guards::Guards;
use crate::ports::Checkpoint;

/// A reader's place in one partition of outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderPosition {
    at: Checkpoint,
}

/// What a record is to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// A fence: the epoch is its offset from here on.
    Fence,
    /// An outcome that counts.
    Counts,
    /// An outcome of a fenced epoch, or of a command that has one already: as if it were not
    /// there.
    Stale,
}

impl ReaderPosition {
    /// Begins where another reader left off (R12: the checkpoint knows the epoch).
    pub fn new(at: Checkpoint) -> Self {
        Self { at }
    }

    /// How far this reader is.
    pub fn checkpoint(&self) -> Checkpoint {
        self.at
    }

    /// Takes the next record. Readers call this for every record, in order.
    pub fn admit(&mut self, offset: Offset, record: &OutcomeRecord, guards: &Guards) -> Admission {
        self.at.offset = offset + 1;
        match record {
            OutcomeRecord::Fence(_) => {
                self.at.epoch = Some(offset);
                Admission::Fence
            }
            OutcomeRecord::Outcome(outcome) => {
                let counts = self.at.epoch == Some(outcome.epoch)
                    && outcome.command_offset > self.at.last_command_offset;
                if counts || !guards.reader_rule {
                    self.at.last_command_offset =
                        self.at.last_command_offset.max(outcome.command_offset);
                    Admission::Counts
                } else {
                    Admission::Stale
                }
            }
        }
    }

    /// Passes over a record that is neither outcome nor fence.
    pub fn skip(&mut self, offset: Offset) {
        self.at.offset = offset + 1;
    }
}

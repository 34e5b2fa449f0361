//! The model log: appends of one producer land in order, of different ones in any order; an
//! append may be refused, or land without its producer learning of it.

use std::collections::VecDeque;

use bytes::Bytes;

use super::gateway::GatewayProcess;

/// Who appends; the order within one producer is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Producer {
    /// One attempt of an owner.
    Owner { name: u64, attempt: u32 },
    /// A gateway.
    Gateway { name: u64 },
}

/// Which of the two partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Commands,
    Outcomes,
}

/// What an append is, to its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Fence,
    Outcome,
    /// A client's command, by its number at the gateway.
    Command(u64),
    Wake,
}

/// An append on its way.
#[derive(Debug, Clone)]
pub(super) struct Append {
    pub(super) producer: Producer,
    pub(super) to: To,
    pub(super) meaning: Meaning,
    pub(super) key: Bytes,
    pub(super) value: Bytes,
}

/// How an append ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Landing {
    Acknowledged,
    /// It is in the log; its producer is told that it failed.
    Unacknowledged,
    /// It is not in the log, nor is anything that its producer sent after it.
    Refused,
}

/// Key and value of a record that landed.
pub(super) type Landed = (Bytes, Bytes);

#[derive(Debug, Default)]
pub(super) struct ModelLog {
    pub(super) commands: Vec<Landed>,
    pub(super) outcomes: Vec<Landed>,
    pub(super) pending: VecDeque<Append>,
}

impl ModelLog {
    pub(super) fn append(&mut self, append: Append) {
        self.pending.push_back(append);
    }

    /// A record from outside.
    pub(super) fn append_now(&mut self, key: Bytes, value: Bytes) {
        self.commands.push((key, value));
    }

    /// Ends one append, chosen by a number; gives its offset if it is acknowledged.
    pub(super) fn land(&mut self, choice: u64, fate: Landing) -> Option<(Append, Option<i64>)> {
        let mut first: Vec<usize> = Vec::new();
        for (place, append) in self.pending.iter().enumerate() {
            let earlier = first.iter().any(|at| {
                let other: &Append = &self.pending[*at];
                other.producer == append.producer && other.to == append.to
            });
            if !earlier {
                first.push(place);
            }
        }
        let place = *first.get(usize::try_from(choice).ok()? % first.len().max(1))?;
        let append = self.pending.remove(place)?;
        if fate == Landing::Refused {
            if append.to == To::Outcomes {
                let same =
                    |other: &Append| other.producer == append.producer && other.to == To::Outcomes;
                self.pending.retain(|other| !same(other));
            }
            return Some((append, None));
        }
        let records = match append.to {
            To::Commands => &mut self.commands,
            To::Outcomes => &mut self.outcomes,
        };
        records.push((append.key.clone(), append.value.clone()));
        let offset = records.len() as i64 - 1;
        Some((append, (fate == Landing::Acknowledged).then_some(offset)))
    }

    /// What dead producers had on its way: some of it landed before, the rest never will.
    pub(super) fn forget_producers_but(&mut self, owner: Option<u64>, gateways: &[GatewayProcess]) {
        self.pending.retain(|append| match append.producer {
            Producer::Owner { name, .. } => Some(name) == owner,
            Producer::Gateway { name } => gateways.iter().any(|gateway| gateway.name == name),
        });
    }
}

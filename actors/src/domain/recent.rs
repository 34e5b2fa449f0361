//! R8: what an entity remembers of the commands of its recent past.

use std::collections::{HashMap, VecDeque};

use schemas::{CommandId, Rejection, Seq, Timestamp, outcome::Repeat};
use serde::{Deserialize, Serialize};

/// At least so many commands are remembered, however old.
const AT_LEAST: usize = 1_000;
/// Commands younger than this (milliseconds) are remembered, however many …
const YOUNG: i64 = 24 * 60 * 60 * 1_000;
/// … up to this many, which bounds an entity's memory to a few megabytes.
const AT_MOST: usize = 65_536;

/// One remembered command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    id: CommandId,
    /// The digest of principal and body.
    pub fingerprint: i64,
    at: Timestamp,
    after: Seq,
    to: Seq,
    /// The first answer, if it was a "no".
    pub rejection: Option<Box<Rejection>>,
}

impl Remembered {
    /// The seqs that the first outcome spans.
    pub fn repeat(&self) -> Repeat {
        Repeat { after: self.after, to: self.to }
    }
}

/// The remembered commands, oldest first, found by id.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "VecDeque<Remembered>", into = "VecDeque<Remembered>")]
pub struct RecentCommands {
    entries: VecDeque<Remembered>,
    /// Where an id stands, counted from the first command ever; subtract `forgotten`.
    places: HashMap<CommandId, u64>,
    forgotten: u64,
}

impl PartialEq for RecentCommands {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl From<VecDeque<Remembered>> for RecentCommands {
    fn from(entries: VecDeque<Remembered>) -> Self {
        let places = entries.iter().map(|entry| entry.id).zip(0..).collect();
        Self { entries, places, forgotten: 0 }
    }
}

impl From<RecentCommands> for VecDeque<Remembered> {
    fn from(recent: RecentCommands) -> Self {
        recent.entries
    }
}

impl RecentCommands {
    /// What came of the command `id`, if it is remembered.
    pub fn find(&self, id: CommandId) -> Option<&Remembered> {
        let place = self.places.get(&id)?.checked_sub(self.forgotten)?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// Remembers a first outcome and forgets what may be forgotten. A known id keeps its first.
    pub fn remember(
        &mut self,
        id: CommandId,
        fingerprint: i64,
        at: Timestamp,
        spans: Repeat,
        rejection: Option<&Rejection>,
    ) {
        if self.places.contains_key(&id) {
            return;
        }
        let rejection = rejection.cloned().map(Box::new);
        let Repeat { after, to } = spans;
        self.places.insert(id, self.forgotten + self.entries.len() as u64);
        self.entries.push_back(Remembered { id, fingerprint, at, after, to, rejection });
        while let Some(oldest) = self.entries.front() {
            let old = oldest.at < at.plus_millis(-YOUNG);
            if self.entries.len() <= AT_LEAST || (!old && self.entries.len() <= AT_MOST) {
                break;
            }
            self.places.remove(&oldest.id);
            self.entries.pop_front();
            self.forgotten += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(recent: &mut RecentCommands, from: usize, to: usize, at: i64) {
        for n in from..to {
            let id = CommandId::derived(&n.to_string());
            let spans = Repeat { after: 0, to: 1 };
            recent.remember(id, 0, Timestamp::from_millis(at), spans, None);
        }
    }

    #[test]
    fn a_thousand_old_ones_stay_and_more_young_ones() {
        let mut recent = RecentCommands::default();
        fill(&mut recent, 0, 3_000, 0);
        assert_eq!(recent.entries.len(), 3_000);
        fill(&mut recent, 3_000, 3_001, YOUNG + 1);
        assert_eq!(recent.entries.len(), AT_LEAST);
        assert!(recent.find(CommandId::derived("0")).is_none());
        assert!(recent.find(CommandId::derived("2999")).is_some());
    }

    #[test]
    fn there_is_a_bound() {
        let mut recent = RecentCommands::default();
        fill(&mut recent, 0, AT_MOST + 10, 0);
        assert_eq!((recent.entries.len(), recent.places.len()), (AT_MOST, AT_MOST));
        assert!(recent.find(CommandId::derived("9")).is_none());
        assert!(recent.find(CommandId::derived("10")).is_some());
    }
}

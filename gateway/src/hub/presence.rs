//! Who came and went, told at once while few do, and together when many do: in a room of ten thousand
//! that all come back after a storm, each is told of the others a few times, not ten thousand times.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    time::{Duration, Instant},
};

use schemas::EntityKey;

/// An entity's subscribers are told at most this often.
const EVERY: Duration = Duration::from_millis(100);

/// What one entity's subscribers are told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) joined: Vec<String>,
    pub(super) left: Vec<String>,
}

impl Told {
    fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.left.is_empty()
    }

    /// Whether one list names somebody whom the other one names too, so that the order would be lost.
    fn contradicts(&self, later: &Self) -> bool {
        let names =
            |list: &[String], others: &[String]| others.iter().any(|one| list.contains(one));
        names(&self.joined, &later.left) || names(&self.left, &later.joined)
    }
}

/// What is kept back, by entity.
#[derive(Debug, Default)]
pub(super) struct Presences {
    waiting: HashMap<EntityKey, Told>,
    /// When each of them is due, the soonest first: all are kept back equally long.
    due: VecDeque<(Instant, EntityKey)>,
}

impl Presences {
    /// Takes news of an entity; gives what to tell now, in order.
    pub(super) fn take(&mut self, key: &EntityKey, news: Told, now: Instant) -> Vec<Told> {
        let Some(waiting) = self.waiting.get_mut(key) else {
            self.waiting.insert(key.clone(), Told::default());
            self.due.push_back((now + EVERY, key.clone()));
            return vec![news];
        };
        if waiting.contradicts(&news) {
            return vec![mem::take(waiting), news];
        }
        waiting.joined.extend(news.joined);
        waiting.left.extend(news.left);
        Vec::new()
    }

    /// When something is due next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.front().map(|(due, _)| *due)
    }

    /// What is due, and forgets entities that were quiet.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(EntityKey, Told)> {
        let mut told = Vec::new();
        while let Some((_, key)) = self.due.pop_front_if(|(due, _)| *due <= now) {
            let Some(waiting) = self.waiting.remove(&key).filter(|told| !told.is_empty()) else {
                continue;
            };
            self.waiting.insert(key.clone(), Told::default());
            self.due.push_back((now + EVERY, key.clone()));
            told.push((key, waiting));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(names: &[&str]) -> Told {
        Told { joined: names.iter().map(ToString::to_string).collect(), left: Vec::new() }
    }

    fn left(names: &[&str]) -> Told {
        Told { left: names.iter().map(ToString::to_string).collect(), joined: Vec::new() }
    }

    #[test]
    fn the_first_is_told_at_once_and_the_next_ones_together() {
        let key: EntityKey = "main/room:1".parse().unwrap();
        let mut presences = Presences::default();
        let start = Instant::now();
        assert_eq!(presences.due(), None);
        assert_eq!(presences.take(&key, joined(&["ada"]), start), [joined(&["ada"])]);
        for name in ["bo", "cy", "di"] {
            assert_eq!(presences.take(&key, joined(&[name]), start), []);
        }
        assert_eq!(presences.take_due(start), []);
        let due = presences.due().unwrap();
        assert_eq!(presences.take_due(due), [(key.clone(), joined(&["bo", "cy", "di"]))]);
        // Quiet since then: forgotten, and told at once again.
        assert_eq!(presences.take_due(due + EVERY), []);
        assert_eq!(presences.due(), None);
        assert_eq!(presences.take(&key, left(&["ada"]), due + EVERY), [left(&["ada"])]);
    }

    #[test]
    fn who_comes_and_goes_is_told_in_order() {
        let key: EntityKey = "main/room:1".parse().unwrap();
        let mut presences = Presences::default();
        let now = Instant::now();
        presences.take(&key, joined(&["ada"]), now);
        presences.take(&key, joined(&["bo"]), now);
        let told = presences.take(&key, left(&["bo"]), now);
        assert_eq!(told, [joined(&["bo"]), left(&["bo"])]);
    }
}

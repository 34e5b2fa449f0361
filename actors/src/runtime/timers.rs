//! Durable timers: when the entities of a partition want to be woken. The wish is part of an
//! outcome, so it is as durable as the log; here it only waits for its time.

use std::collections::{BTreeSet, HashMap};

use schemas::{EntityKey, Timestamp};

/// A wake that had no effect is offered again after this many milliseconds.
const AGAIN_AFTER: i64 = 10_000;

/// The wishes of one partition.
#[derive(Debug, Default)]
pub struct Timers {
    /// Ordered by when to offer them.
    queue: BTreeSet<(Timestamp, EntityKey)>,
    /// The wished time, and when it is offered next.
    wishes: HashMap<EntityKey, (Timestamp, Timestamp)>,
}

impl Timers {
    /// Replaces an entity's wish.
    pub fn set(&mut self, key: &EntityKey, wish: Option<Timestamp>) {
        if let Some((_, offered)) = self.wishes.remove(key) {
            self.queue.remove(&(offered, key.clone()));
        }
        if let Some(wish) = wish {
            self.wishes.insert(key.clone(), (wish, wish));
            self.queue.insert((wish, key.clone()));
        }
    }

    /// The entities whose time has come, with the wished time; each is offered again later
    /// unless its wish changes.
    pub fn due(&mut self, now: Timestamp) -> Vec<(EntityKey, Timestamp)> {
        let mut due = Vec::new();
        while self.queue.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.queue.pop_first() else { break };
            if let Some((wish, offered)) = self.wishes.get_mut(&key) {
                *offered = now.plus_millis(AGAIN_AFTER);
                due.push((key.clone(), *wish));
                self.queue.insert((*offered, key));
            }
        }
        due
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.wishes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_offered_when_due_and_again_if_nothing_came_of_it() {
        let key: EntityKey = "main/event:1".parse().unwrap();
        let at = Timestamp::from_millis;
        let mut timers = Timers::default();
        timers.set(&key, Some(at(100)));
        assert!(timers.due(at(99)).is_empty());
        assert_eq!(timers.due(at(100)), [(key.clone(), at(100))]);
        assert!(timers.due(at(200)).is_empty());
        assert_eq!(timers.due(at(100 + AGAIN_AFTER)), [(key.clone(), at(100))]);
        timers.set(&key, None);
        assert!(timers.due(at(1_000_000)).is_empty());
    }
}

//! Slow mode: how long a member waits between two messages.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{Timestamp, UserName};
use serde::{Deserialize, Serialize};

/// Of how many users the last post is remembered; beyond that the oldest post is forgotten, and
/// its author may write early.
pub(super) const POSTERS_MOST: usize = 10_000;

/// The pause, and who posted when. Posts are remembered only while it is on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct SlowMode {
    seconds: i64,
    last: BTreeMap<UserName, Timestamp>,
    /// The same posts by time, so that the oldest is found without a search.
    by_time: BTreeSet<(Timestamp, UserName)>,
}

impl SlowMode {
    /// The pause in seconds; 0 is off.
    pub(super) fn seconds(&self) -> i64 {
        self.seconds
    }

    /// Of how many users the last post is remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        assert_eq!(self.last.len(), self.by_time.len());
        self.last.len()
    }

    /// Sets the pause; 0 forgets who posted.
    pub(super) fn set(&mut self, seconds: i64) {
        self.seconds = seconds;
        if seconds == 0 {
            self.last.clear();
            self.by_time.clear();
        }
    }

    /// Remembers that `user` posted at `at`, if slow mode is on.
    pub(super) fn posted(&mut self, user: &UserName, at: Timestamp) {
        if self.seconds == 0 {
            return;
        }
        if let Some(before) = self.last.insert(user.clone(), at) {
            self.by_time.remove(&(before, user.clone()));
        }
        self.by_time.insert((at, user.clone()));
        if self.last.len() > POSTERS_MOST
            && let Some((_, oldest)) = self.by_time.pop_first()
        {
            self.last.remove(&oldest);
        }
    }

    /// How many whole seconds `user` still has to wait at `at`, if any.
    pub(super) fn wait(&self, user: &UserName, at: Timestamp) -> Option<i64> {
        let next = self.last.get(user)?.plus_millis(self.seconds.saturating_mul(1_000));
        let millis = next.as_millis().saturating_sub(at.as_millis());
        (millis > 0).then(|| millis.saturating_add(999) / 1_000)
    }
}

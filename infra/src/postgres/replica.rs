//! A streaming replica that is read while it keeps up and left alone while it does not.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::PgPool;
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

/// How often its lag is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Looks that are remembered of a replica that stands still.
const MOST_LOOKS: usize = 1_024;
/// How far the primary has written, in bytes of its log.
const WRITTEN: &str = "SELECT (pg_current_wal_lsn() - '0/0')::int8";
/// How far the replica has replayed that. Asked of the replica alone, it would say that it has
/// replayed all it received, connected or not.
const REPLAYED: &str = "SELECT (coalesce(pg_last_wal_replay_lsn(), '0/0') - '0/0')::int8";

pub(super) struct Replica {
    pool: PgPool,
    keeps_up: Arc<AtomicBool>,
    watching: JoinHandle<()>,
}

impl Replica {
    /// Watches it: it keeps up while it has replayed what `primary` had written `limit` ago.
    pub(super) fn watch(primary: PgPool, pool: PgPool, limit: Duration) -> Self {
        let keeps_up = Arc::new(AtomicBool::new(false));
        let (watched, flag) = (pool.clone(), keeps_up.clone());
        let watching = tokio::spawn(async move {
            let mut looks = interval(LOOK_EVERY);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut behind = Behind::default();
            loop {
                looks.tick().await;
                let asked = Instant::now();
                let written = sqlx::query_scalar(WRITTEN).fetch_one(&primary);
                let replayed = sqlx::query_scalar(REPLAYED).fetch_one(&watched);
                let both = async { tokio::try_join!(written, replayed) };
                let is_good = match timeout(limit.max(LOOK_EVERY), both).await {
                    Ok(Ok((written, replayed))) => {
                        behind.lag(asked, written, replayed).is_some_and(|lag| lag <= limit)
                    }
                    failed => {
                        tracing::debug!(?failed, "the replica cannot be compared");
                        behind = Behind::default();
                        false
                    }
                };
                if flag.swap(is_good, Ordering::Relaxed) != is_good {
                    tracing::info!(is_good, "the replica");
                }
            }
        });
        Self { pool, keeps_up, watching }
    }

    /// The replica, while it keeps up.
    pub(super) fn pool(&self) -> Option<&PgPool> {
        self.keeps_up.load(Ordering::Relaxed).then_some(&self.pool)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// What the primary had written when, as far as the replica has not replayed it.
#[derive(Default)]
struct Behind {
    written: VecDeque<(Instant, i64)>,
    /// Whether it has replayed something that was written while it was watched; before that nobody
    /// knows how old the rest is.
    is_known: bool,
}

impl Behind {
    /// How long ago the primary wrote what the replica replays next; nothing if it has all, none if
    /// that is not known.
    fn lag(&mut self, now: Instant, written: i64, replayed: i64) -> Option<Duration> {
        if self.written.back().is_none_or(|(_, last)| *last < written) {
            if self.written.len() >= MOST_LOOKS {
                // The newest look is given up: lag is told from the oldest.
                self.written.pop_back();
            }
            self.written.push_back((now, written));
        }
        while self.written.front().is_some_and(|(_, written)| *written <= replayed) {
            self.written.pop_front();
            self.is_known = true;
        }
        let lag = self.written.front().map_or(Duration::ZERO, |(at, _)| now - *at);
        self.is_known.then_some(lag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_the_age_of_what_is_not_replayed() {
        let mut behind = Behind::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(behind.lag(at(0), 10, 10), seconds(0));
        assert_eq!(behind.lag(at(1), 20, 10), seconds(0), "written this moment");
        assert_eq!(behind.lag(at(3), 30, 10), seconds(2));
        assert_eq!(behind.lag(at(4), 30, 20), seconds(1), "the second is missing");
        assert_eq!(behind.lag(at(9), 30, 30), seconds(0), "nothing was written since");
    }

    #[test]
    fn lag_is_unknown_until_something_new_is_replayed() {
        let mut behind = Behind::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(behind.lag(at(0), 1_000, 0), None, "hours behind, for all one knows");
        assert_eq!(behind.lag(at(1), 1_100, 900), None);
        assert_eq!(behind.lag(at(2), 1_100, 1_000), Some(Duration::from_secs(1)));
        let mut still = Behind::default();
        for look in 0..3_000 {
            still.lag(at(look), 1_000 + look.cast_signed(), 0);
        }
        assert!(still.written.len() <= MOST_LOOKS);
    }
}

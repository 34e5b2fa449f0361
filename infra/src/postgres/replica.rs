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
    time::{Instant, MissedTickBehavior, interval},
};

/// How often its lag is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
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
                let is_good = match tokio::try_join!(written, replayed) {
                    Ok((written, replayed)) => behind.lag(asked, written, replayed) <= limit,
                    Err(error) => {
                        tracing::debug!(%error, "the replica cannot be compared");
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
struct Behind(VecDeque<(Instant, i64)>);

impl Behind {
    /// How long ago the primary wrote what the replica replays next; nothing if it has all.
    fn lag(&mut self, now: Instant, written: i64, replayed: i64) -> Duration {
        if self.0.back().is_none_or(|(_, last)| *last < written) {
            self.0.push_back((now, written));
        }
        while self.0.front().is_some_and(|(_, written)| *written <= replayed) {
            self.0.pop_front();
        }
        self.0.front().map_or(Duration::ZERO, |(at, _)| now - *at)
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
        assert_eq!(behind.lag(at(0), 10, 10), Duration::ZERO);
        assert_eq!(behind.lag(at(1), 20, 10), Duration::ZERO, "written this moment");
        assert_eq!(behind.lag(at(3), 30, 10), Duration::from_secs(2));
        assert_eq!(behind.lag(at(4), 30, 20), Duration::from_secs(1), "the second is missing");
        assert_eq!(behind.lag(at(9), 30, 30), Duration::ZERO, "nothing was written since");
    }
}

//! A streaming replica that is read while it keeps up and left alone while it does not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::PgPool;
use tokio::{task::JoinHandle, time::interval};

/// How often its lag is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Seconds since the last transaction that it has replayed; 0 if it has replayed all it received.
const LAG: &str = "SELECT CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 \
    ELSE coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 1e9) END::float8";

pub(super) struct Replica {
    pool: PgPool,
    keeps_up: Arc<AtomicBool>,
    watching: JoinHandle<()>,
}

impl Replica {
    pub(super) fn watch(pool: PgPool, limit: Duration) -> Self {
        let keeps_up = Arc::new(AtomicBool::new(false));
        let (watched, flag) = (pool.clone(), keeps_up.clone());
        let watching = tokio::spawn(async move {
            let mut looks = interval(LOOK_EVERY);
            loop {
                looks.tick().await;
                let lag: Result<f64, _> = sqlx::query_scalar(LAG).fetch_one(&watched).await;
                let is_good = lag.as_ref().is_ok_and(|lag| *lag <= limit.as_secs_f64());
                if flag.swap(is_good, Ordering::Relaxed) != is_good {
                    tracing::info!(?lag, is_good, "the replica");
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

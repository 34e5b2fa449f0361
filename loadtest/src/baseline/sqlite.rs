//! What plain SQLite group commit reaches on this disk, through sqlx and in the way a durable log
//! would use it: one connection, WAL, `synchronous=FULL`, and one transaction for all records that
//! are waiting. The bar that a server's durable rate is compared with.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Executor};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::Baseline;
use crate::error::Error;
use crate::measure::{Distribution, histogram};
use crate::schedule::Clock;

const FILE: &str = "loadtest-baseline.db";
/// The most records of one transaction.
const LARGEST_GROUP: usize = 4096;

struct Append {
    record: Arc<[u8]>,
    durable: oneshot::Sender<()>,
}

/// Measures for `duration` with `in_flight` records of `record_bytes` outstanding. The file is
/// made in `folder` and removed again.
pub async fn measure(
    folder: &Path,
    record_bytes: usize,
    in_flight: usize,
    duration: Duration,
) -> Result<Baseline, Error> {
    std::fs::create_dir_all(folder)
        .map_err(|source| Error::File { path: folder.to_owned(), source })?;
    remove(folder);
    let options = SqliteConnectOptions::new()
        .filename(folder.join(FILE))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = options.connect().await?;
    connection
        .execute("CREATE TABLE log (position INTEGER PRIMARY KEY, record BLOB NOT NULL)")
        .await?;

    let clock = Clock::start();
    let end_ns = duration.as_nanos() as u64;
    let (appends, waiting) = mpsc::channel(in_flight);
    let mut clients = JoinSet::new();
    for _ in 0..in_flight {
        clients.spawn(client(clock, end_ns, record_bytes, appends.clone()));
    }
    drop(appends);
    let commits = write(&mut connection, waiting).await?;
    let seconds = clock.now_ns() as f64 / 1e9;
    connection.close().await?;
    remove(folder);

    let mut latencies = histogram();
    for client in clients.join_all().await {
        latencies.add(&client).expect("all histograms have the same bounds");
    }
    Ok(Baseline {
        rate: latencies.len() as f64 / seconds,
        commits: Some(commits as f64 / seconds),
        latency: Distribution::of("sqlite group commit", &latencies),
    })
}

/// Hands over one record at a time until the end.
async fn client(
    clock: Clock,
    end_ns: u64,
    record_bytes: usize,
    appends: mpsc::Sender<Append>,
) -> Histogram<u64> {
    let mut latencies = histogram();
    let record: Arc<[u8]> = vec![b'x'; record_bytes].into();
    loop {
        let sent_ns = clock.now_ns();
        if sent_ns >= end_ns {
            return latencies;
        }
        let (durable, acknowledged) = oneshot::channel();
        let append = Append { record: Arc::clone(&record), durable };
        if appends.send(append).await.is_err() || acknowledged.await.is_err() {
            return latencies;
        }
        latencies.saturating_record(clock.now_ns() - sent_ns);
    }
}

/// Group commit; gives the number of transactions.
async fn write(
    connection: &mut SqliteConnection,
    mut waiting: mpsc::Receiver<Append>,
) -> Result<u64, Error> {
    let mut group = Vec::with_capacity(LARGEST_GROUP);
    let mut commits = 0;
    while waiting.recv_many(&mut group, LARGEST_GROUP).await > 0 {
        let mut transaction = connection.begin().await?;
        for append in &group {
            sqlx::query("INSERT INTO log (record) VALUES (?)")
                .bind(append.record.to_vec())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        commits += 1;
        for append in group.drain(..) {
            // A client that ended does not wait any more.
            append.durable.send(()).ok();
        }
    }
    Ok(commits)
}

fn remove(folder: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        // Not there is as good as removed.
        std::fs::remove_file(folder.join(format!("{FILE}{suffix}"))).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn records_become_durable_in_groups() {
        let folder = tempfile::tempdir().unwrap();
        let measured = measure(folder.path(), 200, 16, Duration::from_millis(300)).await.unwrap();
        assert!(measured.rate > 0.0);
        assert!(measured.commits.is_some_and(|commits| commits < measured.rate), "{measured:?}");
        assert!(measured.latency.count >= 16);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

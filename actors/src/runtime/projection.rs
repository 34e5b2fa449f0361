//! The task that runs a [`Projector`]: reads outcomes, commits steps, writes snapshots when due.

use std::{sync::Arc, time::Duration};

use schemas::Kind;
use tokio::time::{Instant, sleep, sleep_until};

use super::{guards::Guards, partition::Ports, projector::Projector, replica::FoldError};
use crate::ports::{LogError, Record, StoreError, Topic, TopicPartition};

/// The pause after a failure, so that a store that is away is not asked in a tight loop.
const PAUSE: Duration = Duration::from_millis(200);
/// Steps are at least so far apart. Nobody waits for the projector, and large steps are cheap
/// ones: what it has not written yet is in the tails' memory.
const STEP_EVERY: Duration = Duration::from_millis(25);
/// A step that took long is followed by a pause so many times as long, within a second: the store
/// is left to others, and the next step is larger.
const PAUSES: u32 = 4;
const PAUSE_MOST: Duration = Duration::from_secs(1);
/// How long a step may wait for more.
const GATHER: Duration = Duration::from_millis(5);
/// Snapshots written in one transaction.
const SNAPSHOTS: usize = 32;
/// Records projected in one transaction.
const RECORDS: usize = 2_048;

#[derive(Debug, thiserror::Error)]
enum ProjectionError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Fold(#[from] FoldError),
}

/// Projects one partition until the task is dropped. Failures are logged and tried again from
/// the store's checkpoint.
pub async fn project(kind: Kind, partition: i32, ports: Ports, guards: Arc<Guards>) {
    loop {
        let stopped = run(kind, partition, &ports, &guards).await;
        if let Err(error) = stopped {
            tracing::warn!(topic = %Topic::Outcomes(kind), partition, %error, "projection starts anew");
        }
        sleep(PAUSE).await;
    }
}

async fn run(
    kind: Kind,
    partition: i32,
    ports: &Ports,
    guards: &Arc<Guards>,
) -> Result<(), ProjectionError> {
    let start = ports.store.partition(kind, partition).await?.checkpoint;
    let of = TopicPartition::new(Topic::Outcomes(kind), partition);
    let mut tail = ports.log.tail(&of, start.offset).await?;
    let mut projector = Projector::new(kind, partition, start, guards.clone());
    let mut next_step = Instant::now();
    loop {
        let mut records = tail.next().await?;
        sleep_until(next_step).await;
        gather(&mut tail, &mut records).await?;
        let began = Instant::now();
        let write = projector.step(&records);
        ports.store.commit(write).await?;
        let due = projector.due();
        for keys in due.chunks(SNAPSHOTS) {
            let mut loaded = Vec::with_capacity(keys.len());
            for key in keys {
                loaded.push((key.clone(), ports.store.load(key, partition).await?));
            }
            let write = projector.snapshots(loaded)?;
            ports.store.commit(write).await?;
        }
        // Whoever is behind by a whole step does not rest: what is ahead of the store is bounded.
        let rest = if records.len() < RECORDS { began.elapsed() * PAUSES } else { STEP_EVERY };
        next_step = Instant::now() + rest.clamp(STEP_EVERY, PAUSE_MOST);
    }
}

/// Adds what has come meanwhile, so that a projector that is behind writes large steps. Where that is
/// read from a file it takes a moment.
async fn gather(
    tail: &mut Box<dyn crate::ports::Tail>,
    records: &mut Vec<Record>,
) -> Result<(), LogError> {
    let until = Instant::now() + GATHER;
    while records.len() < RECORDS {
        tokio::select! {
            biased;
            more = tail.next() => records.extend(more?),
            () = sleep_until(until) => return Ok(()),
        }
    }
    Ok(())
}

//! Tells partners: one public record in `changes` for each change, in the form that changes have
//! everywhere, under the entity's key.
//!
//! Each change is written at least once, and in an entity's order. After a failure some are written
//! again, so a reader keeps the highest `seq` of each key and passes over what is not above it: then
//! each has one effect.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use schemas::{
    Kind, Outcome, OutcomeRecord, Verdict,
    codec::{self, SchemaIds},
    json::{self, ChangeContext},
};
use tokio::time::sleep;

use super::{
    forwarder::checkpoint_place,
    guards::Guards,
    partition::Ports,
    partitioner::partition_of,
    reader::{Admission, ReaderPosition},
};
use crate::ports::{LogError, NewRecord, StoreError, StoreWrite, Topic, TopicPartition};

/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Publishes one partition's changes until the task is dropped.
pub async fn publish(kind: Kind, partition: i32, ports: Ports, guards: Arc<Guards>) {
    let of = TopicPartition::new(Topic::Outcomes(kind), partition);
    loop {
        if let Err(error) = run(kind, &of, &ports, &guards).await {
            tracing::warn!(topic = %of, %error, "publishing starts anew");
        }
        sleep(PAUSE).await;
    }
}

async fn run(
    kind: Kind,
    of: &TopicPartition,
    ports: &Ports,
    guards: &Guards,
) -> Result<(), PublishError> {
    let place = checkpoint_place(&format!("changes/{of}"));
    let mut checkpoint = ports.store.partition(kind, place).await?.checkpoint;
    let mut reader = ReaderPosition::new(checkpoint);
    let mut tail = ports.log.tail(of, checkpoint.offset).await?;
    loop {
        let mut appends = Vec::new();
        for record in tail.next().await? {
            let decoded = codec::decode_outcome(kind, &record.value, &SchemaIds::default());
            let Ok(decoded) = decoded else {
                reader.skip(record.offset);
                continue;
            };
            let admission = reader.admit(record.offset, &decoded, guards);
            if let (Admission::Counts, OutcomeRecord::Outcome(outcome)) = (admission, decoded) {
                appends.extend(records_of(&outcome).map(|record| append(ports, record)));
            }
        }
        for append in appends {
            append.await?;
        }
        let next = reader.checkpoint();
        let write = StoreWrite {
            kind,
            partition: place,
            expected: checkpoint,
            next,
            journal: Vec::new(),
            listing: Vec::new(),
            timers: std::collections::BTreeMap::new(),
            snapshots: Vec::new(),
        };
        ports.store.commit(write).await?;
        checkpoint = next;
    }
}

fn append(
    ports: &Ports,
    record: NewRecord,
) -> futures_util::future::BoxFuture<'static, Result<schemas::Offset, LogError>> {
    let partition = partition_of(&record.key, ports.log.partitions(&Topic::Changes));
    ports.log.append(&TopicPartition::new(Topic::Changes, partition), record)
}

fn records_of(outcome: &Outcome) -> impl Iterator<Item = NewRecord> {
    let changes = match &outcome.verdict {
        Verdict::Accepted { changes, .. } if outcome.repeats.is_none() => &changes[..],
        Verdict::Accepted { .. } | Verdict::Rejected(_) | Verdict::Skipped { .. } => &[],
    };
    outcome.key.iter().flat_map(move |key| {
        let context = ChangeContext {
            entity: &key.entity,
            at: outcome.at,
            by: &outcome.by,
            command_id: outcome.command_id,
        };
        changes.iter().map(move |change| {
            let mut value = Vec::new();
            json::write_change(&mut value, context, change);
            let key = Bytes::from(key.to_string());
            let headers =
                vec![("content-type".to_owned(), Bytes::from_static(b"application/json"))];
            NewRecord { key, value: value.into(), headers, ..NewRecord::default() }
        })
    })
}

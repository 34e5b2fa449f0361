//! Tells partners: one public record in `changes` for each change, under the entity's key, as Avro
//! or as JSON in the form that changes have everywhere.
//!
//! Each change is written at least once. After a failure or a hand-over some are written again, and a
//! later one may stand before an earlier one that failed; but all that follow stand behind it again. So
//! a reader takes only the record whose `seq` is the next of its key: then each has one effect.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use schemas::{
    Kind, Outcome, OutcomeRecord, Verdict, codec,
    json::{self, ChangeContext},
};
use serde::Deserialize;
use tokio::time::sleep;

use super::{
    guards::Guards,
    partition::Ports,
    partitioner::partition_of,
    place::{Doing, Place, PlaceError},
    reader::{Admission, ReaderPosition},
};
use crate::ports::{LogError, NewRecord, Topic, TopicPartition};

/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);

/// Between two rounds.
const PACE: Duration = Duration::from_millis(20);

/// How the changes for partners are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangesFormat {
    /// As Avro of `change.<kind>`.
    Avro,
    /// As JSON, as clients see them.
    Json,
}

/// Publishes one partition's changes until the task is dropped.
pub async fn publish(
    kind: Kind,
    partition: i32,
    ports: Ports,
    format: ChangesFormat,
    guards: Arc<Guards>,
) {
    let of = TopicPartition::new(Topic::Outcomes(kind), partition);
    loop {
        if let Err(error) = run(kind, &of, &ports, format, &guards).await {
            tracing::warn!(topic = %of, %error, "publishing starts anew");
        }
        sleep(PAUSE).await;
    }
}

async fn run(
    kind: Kind,
    of: &TopicPartition,
    ports: &Ports,
    format: ChangesFormat,
    guards: &Guards,
) -> Result<(), PlaceError> {
    let mut place = Place::load(ports.store.clone(), Doing::Publishing(kind), of).await?;
    let mut reader = ReaderPosition::new(place.at());
    let mut tail = ports.log.tail(of, place.at().offset).await?;
    loop {
        let mut appends = Vec::new();
        for record in place.next(&mut *tail).await? {
            let decoded = codec::decode_outcome(kind, &record.value);
            let Ok(decoded) = decoded else {
                reader.skip(record.offset);
                continue;
            };
            let admission = reader.admit(record.offset, &decoded, guards);
            if let (Admission::Counts, OutcomeRecord::Outcome(outcome)) = (admission, decoded) {
                appends.extend(
                    records_of(&outcome, format).into_iter().map(|record| append(ports, record)),
                );
            }
        }
        for append in appends {
            append.await?;
        }
        place.move_to(reader.checkpoint());
        // Nobody waits for it to the millisecond, and what comes together is written together.
        sleep(PACE).await;
    }
}

fn append(
    ports: &Ports,
    record: NewRecord,
) -> futures_util::future::BoxFuture<'static, Result<schemas::Offset, LogError>> {
    let partition = partition_of(&record.key, ports.log.partitions(&Topic::Changes));
    ports.log.append(&TopicPartition::new(Topic::Changes, partition), record)
}

/// A repeat has no changes of its own.
fn records_of(outcome: &Outcome, format: ChangesFormat) -> Vec<NewRecord> {
    let (Some(key), Verdict::Accepted { changes, .. }, None) =
        (&outcome.key, &outcome.verdict, &outcome.repeats)
    else {
        return Vec::new();
    };
    let (content_type, values) = match format {
        ChangesFormat::Avro => ("application/avro", codec::encode_changes(key, outcome)),
        ChangesFormat::Json => {
            let context = ChangeContext {
                entity: &key.entity,
                at: outcome.at,
                by: &outcome.by,
                command_id: outcome.command_id,
            };
            let write = |change| {
                let mut value = Vec::new();
                json::write_change(&mut value, context, change);
                value
            };
            ("application/json", Ok(changes.iter().map(write).collect()))
        }
    };
    // What was read can be written; a schema that cannot hold it would be a fault of ours.
    let values = values.unwrap_or_else(|error| {
        tracing::error!(%key, %error, "a change cannot be published");
        Vec::new()
    });
    let record = |value: Vec<u8>| NewRecord {
        key: Bytes::from(key.to_string()),
        value: value.into(),
        headers: vec![("content-type".to_owned(), Bytes::from_static(content_type.as_bytes()))],
        ..NewRecord::default()
    };
    values.into_iter().map(record).collect()
}

//! Records that nobody can act on go to `dlq` with where they stood and why (R11).

use bytes::Bytes;
use schemas::{Offset, Timestamp};

use crate::ports::{NewRecord, Topic, TopicPartition};

/// Where dead letters go.
pub(super) fn place() -> TopicPartition {
    TopicPartition::new(Topic::Dlq, 0)
}

/// The letter for a record that stood in `from` at `offset`: its bytes as received.
pub(super) fn letter(
    from: &TopicPartition,
    offset: Offset,
    (key, value): (Bytes, Bytes),
    reason: &str,
    now: Timestamp,
) -> NewRecord {
    tracing::warn!(topic = %from.topic, partition = from.partition, offset, reason, "a record goes to dlq");
    let headers = [
        ("topic", from.topic.to_string()),
        ("partition", from.partition.to_string()),
        ("offset", offset.to_string()),
        ("reason", reason.to_owned()),
        ("time", now.to_string()),
    ];
    let headers = headers.map(|(name, text)| (name.to_owned(), Bytes::from(text)));
    NewRecord { key, value, headers: headers.into_iter().collect(), ..NewRecord::default() }
}

//! Records that nobody can act on go to `dlq` with where they stood and why (R11).

use bytes::Bytes;
use schemas::{Offset, Timestamp};

use crate::ports::{NewRecord, Topic, TopicPartition};

/// The header of a letter that is not whole: how long its record's value was, in bytes.
pub const WHOLE_LENGTH: &str = "length";
/// The most bytes of a record's key and value that a letter keeps, so that it fits the topic.
const KEPT_MOST: usize = 4 << 20;

/// Where dead letters go.
pub fn place() -> TopicPartition {
    TopicPartition::new(Topic::Dlq, 0)
}

/// The letter for a record that stood in `from` at `offset`: its bytes as received, of a very large
/// one the beginning.
pub fn letter(
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
    let mut headers: Vec<_> =
        headers.map(|(name, text)| (name.to_owned(), Bytes::from(text))).into();
    let key = key.slice(..key.len().min(KEPT_MOST / 2));
    let kept = value.len().min(KEPT_MOST - key.len());
    if kept < value.len() {
        headers.push((WHOLE_LENGTH.to_owned(), Bytes::from(value.len().to_string())));
    }
    NewRecord { key, value: value.slice(..kept), headers, ..NewRecord::default() }
}

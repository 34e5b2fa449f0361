//! `switchyard dlq`: the records that could not be understood. They are never removed: a letter
//! that was retried or dropped is followed by a marker in the same topic that says so.

use actors::{
    ports::{Log, LogError, NewRecord, Record, Topic, TopicPartition},
    runtime::{dead_letter::WHOLE_LENGTH, forwarder::RETRY_HEADER},
};
use bytes::Bytes;
use schemas::Offset;
use serde_json::{Value, json};

/// A marker's header with the letter that it is about.
const RESOLVES: &str = "resolves";
/// A marker's header with what became of the letter.
const HOW: &str = "how";

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// It was appended again where it came from.
    Retried,
    /// It is not wanted.
    Dropped,
}

impl Resolution {
    fn as_str(self) -> &'static str {
        match self {
            Self::Retried => "retried",
            Self::Dropped => "dropped",
        }
    }
}

/// A record that could not be understood.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Its offset in `dlq`, by which it is named.
    pub id: Offset,
    record: Record,
    /// What became of it, if anything yet.
    pub resolution: Option<String>,
}

/// Why a letter cannot be shown, retried or dropped.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The log cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// There is none of this name.
    #[error("there is no dead letter {0}")]
    Missing(Offset),
    /// It has been dealt with.
    #[error("dead letter {0} has been {1} already")]
    Resolved(Offset, String),
    /// It does not say where it came from.
    #[error("dead letter {0} does not name its topic and partition")]
    Homeless(Offset),
    /// Its record was too large to be kept whole.
    #[error("dead letter {0} is only the beginning of its record, which was too large")]
    Cut(Offset),
}

impl DeadLetter {
    fn header(&self, name: &str) -> Option<&str> {
        header(&self.record, name)
    }

    fn home(&self) -> Option<TopicPartition> {
        let topic: Topic = self.header("topic")?.parse().ok()?;
        Some(TopicPartition::new(topic, self.header("partition")?.parse().ok()?))
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let of = |name| self.header(name).unwrap_or("?");
        let place = format!("{}/{}/{}", of("topic"), of("partition"), of("offset"));
        let state = self.resolution.as_deref().unwrap_or("open");
        format!("{} {} {place} {state}: {}", self.id, of("time"), of("reason"))
    }

    /// Everything: headers, key and value, as text where they are text and as hexadecimal
    /// otherwise.
    pub fn describe(&self) -> Value {
        let text = |bytes: &Bytes| match std::str::from_utf8(bytes) {
            Ok(text) => json!({"text": text}),
            Err(_) => {
                json!({"hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()})
            }
        };
        json!({
            "id": self.id,
            "topic": self.header("topic"), "partition": self.header("partition"),
            "offset": self.header("offset"), "time": self.header("time"),
            "reason": self.header("reason"), "resolution": self.resolution,
            "key": text(&self.record.key), "value": text(&self.record.value),
        })
    }
}

fn header<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    let (_, value) = record.headers.iter().find(|(known, _)| known == name)?;
    std::str::from_utf8(value).ok()
}

fn letters() -> TopicPartition {
    TopicPartition::new(Topic::Dlq, 0)
}

/// Every letter, the oldest first.
///
/// # Errors
/// If the log cannot be read.
pub async fn list(log: &dyn Log) -> Result<Vec<DeadLetter>, LogError> {
    let bounds = log.bounds(&letters()).await?;
    let mut found: Vec<DeadLetter> = Vec::new();
    let mut next = bounds.first;
    let mut tail = log.tail(&letters(), next).await?;
    while next < bounds.end {
        for record in tail.next().await? {
            next = record.offset + 1;
            let resolved = header(&record, RESOLVES).and_then(|id| id.parse::<Offset>().ok());
            let Some(id) = resolved else {
                found.push(DeadLetter { id: record.offset, record, resolution: None });
                continue;
            };
            if let Ok(place) = found.binary_search_by_key(&id, |letter| letter.id) {
                found[place].resolution = header(&record, HOW).map(str::to_owned);
            }
        }
    }
    Ok(found)
}

/// The letter of this name.
///
/// # Errors
/// If there is none or the log cannot be read.
pub async fn find(log: &dyn Log, id: Offset) -> Result<DeadLetter, DeadLetterError> {
    let found = list(log).await?.into_iter().find(|letter| letter.id == id);
    found.ok_or(DeadLetterError::Missing(id))
}

/// Retries or drops a letter. A retry that is interrupted may be made again: the record that it
/// appends names the letter, from which its command id follows (R8).
///
/// # Errors
/// If there is none, it has been dealt with, or the log cannot be written.
pub async fn resolve(log: &dyn Log, id: Offset, how: Resolution) -> Result<(), DeadLetterError> {
    let letter = find(log, id).await?;
    if let Some(before) = letter.resolution {
        return Err(DeadLetterError::Resolved(id, before));
    }
    if how == Resolution::Retried {
        if letter.header(WHOLE_LENGTH).is_some() {
            return Err(DeadLetterError::Cut(id));
        }
        let home = letter.home().ok_or(DeadLetterError::Homeless(id))?;
        let Record { key, value, .. } = letter.record;
        let headers = vec![(RETRY_HEADER.to_owned(), Bytes::from(format!("dlq/{id}")))];
        log.append(&home, NewRecord { key, value, headers, ..NewRecord::default() }).await?;
    }
    let marker = [(RESOLVES, id.to_string()), (HOW, how.as_str().to_owned())];
    let headers = marker.map(|(name, text)| (name.to_owned(), Bytes::from(text))).into();
    log.append(&letters(), NewRecord { headers, ..NewRecord::default() }).await?;
    Ok(())
}

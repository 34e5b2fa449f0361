//! `switchyard inspect` and `switchyard export`: an entity as the log has it, now or in the past.

use actors::{
    domain::entity::Entity,
    ports::{Checkpoint, Log, LogError, Store, StoreError, Topic, TopicPartition},
    runtime::{
        guards::Guards,
        partitioner::partition_of,
        reader::{Admission, ReaderPosition},
        replica::{FoldError, fold},
    },
};
use schemas::{
    EntityKey, Offset, Outcome, OutcomeRecord, Seq, Timestamp, Verdict, codec,
    json::{ChangeContext, change_to_value, rejection_to_value},
};
use serde_json::{Value, json};

/// How many of the last outcomes are shown.
const LAST_OUTCOMES: usize = 10;

/// Until when the entity is folded.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// The present.
    Now,
    /// Up to and including this seq.
    Seq(Seq),
    /// Up to and including this time.
    Time(Timestamp),
}

/// Why the entity cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A snapshot or journal row cannot be read.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// It is not there.
    #[error("there is no {0}")]
    Missing(EntityKey),
}

/// An entity's story.
pub struct History {
    key: EntityKey,
    partition: i32,
    /// Who fenced the partition last: node and attempt.
    owner: Option<String>,
    outcomes: Vec<(Offset, Outcome)>,
    position: Checkpoint,
    end: Offset,
}

/// Reads every outcome of an entity from the store and from the part of the log that the store
/// has not yet.
///
/// # Errors
/// If log or store cannot be read, or the entity is not there.
pub async fn read(
    log: &dyn Log,
    store: &dyn Store,
    key: &EntityKey,
) -> Result<History, InspectError> {
    let topic = Topic::Outcomes(key.entity.kind());
    let partition = partition_of(key.to_string().as_bytes(), log.partitions(&topic));
    let of = TopicPartition::new(topic, partition);
    let end = log.bounds(&of).await?.end;
    let mut reader = ReaderPosition::new(Checkpoint::START);
    let mut outcomes = Vec::new();
    let mut owner = None;
    let mut tail = log.tail(&of, 0).await?;
    let guards = Guards::default();
    while reader.checkpoint().offset < end {
        for record in tail.next().await? {
            let decoded = codec::decode_outcome(key.entity.kind(), &record.value);
            let Ok(decoded) = decoded else {
                reader.skip(record.offset);
                continue;
            };
            let admission = reader.admit(record.offset, &decoded, &guards);
            match (admission, decoded) {
                (Admission::Counts, OutcomeRecord::Outcome(outcome))
                    if outcome.key.as_ref() == Some(key) =>
                {
                    outcomes.push((record.offset, *outcome));
                }
                (Admission::Fence, OutcomeRecord::Fence(fence)) => owner = Some(fence.owner),
                (Admission::Counts | Admission::Fence | Admission::Stale, _) => {}
            }
        }
    }
    if outcomes.is_empty() {
        return Err(InspectError::Missing(key.clone()));
    }
    // The store must agree that it can be loaded.
    fold(key, &store.load(key, partition).await?)?;
    let position = store.partition(key.entity.kind(), partition).await?.checkpoint;
    Ok(History { key: key.clone(), partition, owner, outcomes, position, end })
}

impl History {
    /// The state at a moment.
    pub fn state(&self, until: Until) -> Entity {
        let mut entity = Entity::new(self.key.clone());
        for (_, outcome) in &self.outcomes {
            match until {
                Until::Now => entity.apply(outcome),
                Until::Seq(last) => entity.apply_until(outcome, last),
                Until::Time(time) if outcome.at <= time => entity.apply(outcome),
                Until::Time(_) => {}
            }
        }
        entity
    }

    /// What `inspect` prints.
    pub fn describe(&self, until: Until) -> Value {
        let entity = self.state(until);
        let from = self.outcomes.len().saturating_sub(LAST_OUTCOMES);
        let last: Vec<_> = self.outcomes[from..].iter().map(describe_outcome).collect();
        json!({
            "entity": self.key.entity,
            "tenant": self.key.tenant,
            "seq": entity.seq,
            "partition": self.partition,
            "owner": self.owner,
            "epoch": self.outcomes.last().map(|(_, outcome)| outcome.epoch),
            "lag": self.end - self.position.offset,
            "lastOutcomes": last,
            "state": entity.view(),
        })
    }

    /// What `export` prints: a head line, then every change, as JSON lines.
    pub fn export(&self) -> Vec<Value> {
        let entity = self.state(Until::Now);
        let mut lines = vec![json!({
            "format": "switchyard.export.1",
            "entity": self.key.entity,
            "seq": entity.seq,
            "state": entity.view(),
        })];
        for (_, outcome) in &self.outcomes {
            lines.extend(changes(&self.key, outcome));
        }
        lines
    }
}

fn changes(key: &EntityKey, outcome: &Outcome) -> Vec<Value> {
    let Verdict::Accepted { changes, .. } = &outcome.verdict else { return Vec::new() };
    let context = ChangeContext {
        entity: &key.entity,
        at: outcome.at,
        by: &outcome.by,
        command_id: outcome.command_id,
    };
    changes.iter().map(|change| change_to_value(context, change)).collect()
}

fn describe_outcome((offset, outcome): &(Offset, Outcome)) -> Value {
    let (result, details) = match &outcome.verdict {
        Verdict::Accepted { seq, changes } => {
            ("accepted", json!({"seq": seq, "changes": changes.len()}))
        }
        Verdict::Rejected(rejection) => ("rejected", rejection_to_value(rejection)),
        Verdict::Skipped { reason } => ("skipped", json!({"reason": reason})),
    };
    json!({
        "offset": offset, "epoch": outcome.epoch, "commandOffset": outcome.command_offset,
        "commandId": outcome.command_id, "at": outcome.at, "by": outcome.by,
        "result": result, "details": details,
    })
}

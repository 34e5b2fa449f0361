//! `switchyard verify`: folds the whole log and compares it with what the store says. Reads only,
//! so it may run beside a serving node; it then speaks of the moment it began.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use actors::{
    domain::entity::Entity,
    ports::{
        Checkpoint, EmptyOutcomes, JournalQuery, Loaded, Log, LogError, Order, Store, StoreError,
        Topic, TopicPartition,
    },
    runtime::{
        guards::Guards,
        reader::{Admission, ReaderPosition},
        replica::{FoldError, fold},
    },
};
use schemas::{EntityKey, Kind, Offset, Outcome, OutcomeRecord, Verdict, codec};

/// Journal rows read at once.
const STEP: i64 = 500;

/// What was looked at, and what does not agree.
#[derive(Debug, Default)]
pub struct Report {
    /// Records of the outcome topics that were read.
    pub records: u64,
    /// Outcomes that count.
    pub outcomes: u64,
    /// Entities folded.
    pub entities: u64,
    /// Each difference, for people.
    pub differences: Vec<String>,
}

/// Why the comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A snapshot or journal row cannot be read.
    #[error(transparent)]
    Fold(#[from] FoldError),
}

/// What the log says of one entity, up to the store's checkpoint.
struct Folded {
    entity: Entity,
    /// The outcomes' values, in order, digested.
    digest: crc32fast::Hasher,
    rows: u64,
    /// The state at the offset of the store's snapshot.
    at_snapshot: Option<Vec<u8>>,
}

/// Compares log and store; `progress` is told what is being looked at. The checksums of an
/// embedded log are compared apart, by [`crate::sqlite::SqliteLog::check`].
///
/// # Errors
/// If log or store cannot be read at all; damage of single records is a difference.
pub async fn verify(
    log: &dyn Log,
    store: &dyn Store,
    mut progress: impl FnMut(&str),
) -> Result<Report, VerifyError> {
    let mut report = Report::default();
    for kind in Kind::ALL {
        for partition in 0..log.partitions(&Topic::Outcomes(kind)) {
            progress(&format!("{kind}.outcomes/{partition}"));
            verify_partition(log, store, kind, partition, &mut report).await?;
        }
    }
    Ok(report)
}

async fn verify_partition(
    log: &dyn Log,
    store: &dyn Store,
    kind: Kind,
    partition: i32,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let of = TopicPartition::new(Topic::Outcomes(kind), partition);
    let checkpoint = store.partition(kind, partition).await?.checkpoint;
    let end = log.bounds(&of).await?.end;
    let checkpoint_end = checkpoint.offset.min(end);
    if checkpoint.offset > end {
        report.differences.push(format!("{of}: the store is ahead of the log"));
    }
    let mut fold = PartitionFold {
        of: of.clone(),
        kind,
        reader: ReaderPosition::new(Checkpoint::START),
        entities: BTreeMap::new(),
        snapshots: HashMap::new(),
        guards: Arc::new(Guards::default()),
    };
    let mut tail = log.tail(&of, 0).await?;
    let mut next = 0;
    while next < end {
        for record in tail.next().await?.into_iter().filter(|record| record.offset < end) {
            next = record.offset + 1;
            report.records += 1;
            let stored = record.offset < checkpoint_end;
            fold.take(record.offset, &record.value, stored, store, partition, report).await?;
        }
    }
    fold.compare(store, partition, checkpoint, report).await
}

/// A partition's outcomes, folded.
struct PartitionFold {
    of: TopicPartition,
    kind: Kind,
    reader: ReaderPosition,
    entities: BTreeMap<EntityKey, Folded>,
    /// The offsets of the store's snapshots.
    snapshots: HashMap<EntityKey, Option<Offset>>,
    guards: Arc<Guards>,
}

impl PartitionFold {
    async fn take(
        &mut self,
        offset: Offset,
        value: &bytes::Bytes,
        stored: bool,
        store: &dyn Store,
        partition: i32,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        let before = self.reader.checkpoint();
        let record = match codec::decode_outcome(self.kind, value) {
            Ok(record) => record,
            Err(error) => {
                report.differences.push(format!("{}/{offset}: {error}", self.of));
                self.reader.skip(offset);
                return Ok(());
            }
        };
        let admission = self.reader.admit(offset, &record, &self.guards);
        let outcome = match (admission, record) {
            (Admission::Counts, OutcomeRecord::Outcome(outcome)) => outcome,
            // An owner that read up to its own fence knows what was decided before (R2, R4).
            (Admission::Stale, OutcomeRecord::Outcome(again))
                if Some(again.epoch) == before.epoch =>
            {
                report.differences.push(format!(
                    "{}/{offset}: epoch {} decides command {} again",
                    self.of, again.epoch, again.command_offset
                ));
                return Ok(());
            }
            (Admission::Counts | Admission::Fence | Admission::Stale, _) => return Ok(()),
        };
        report.outcomes += 1;
        if outcome.command_offset != before.last_command_offset + 1 {
            report.differences.push(format!(
                "{}/{offset}: the outcome is of command {}, the one before of {}",
                self.of, outcome.command_offset, before.last_command_offset
            ));
        }
        let Some(key) = outcome.key.clone() else { return Ok(()) };
        self.find_snapshot(&key, store, partition).await?;
        self.apply(offset, value, stored, &key, &outcome, report);
        Ok(())
    }

    async fn find_snapshot(
        &mut self,
        key: &EntityKey,
        store: &dyn Store,
        partition: i32,
    ) -> Result<(), VerifyError> {
        if !self.snapshots.contains_key(key) {
            let Loaded { snapshot, .. } = store.load(key, partition).await?;
            self.snapshots.insert(key.clone(), snapshot.map(|row| row.offset));
        }
        Ok(())
    }

    fn apply(
        &mut self,
        offset: Offset,
        value: &bytes::Bytes,
        stored: bool,
        key: &EntityKey,
        outcome: &Outcome,
        report: &mut Report,
    ) {
        let folded = self.entities.entry(key.clone()).or_insert_with(|| Folded {
            entity: Entity::new(key.clone()),
            digest: crc32fast::Hasher::new(),
            rows: 0,
            at_snapshot: None,
        });
        if let Verdict::Accepted { changes, seq } = &outcome.verdict {
            let mut next = folded.entity.seq;
            for change in changes {
                next += 1;
                if change.seq != next {
                    report.differences.push(format!(
                        "{}/{offset}: {key} has seq {} where {next} is next",
                        self.of, change.seq
                    ));
                }
            }
            if outcome.repeats.is_none() && *seq != next {
                report.differences.push(format!(
                    "{}/{offset}: {key} is at seq {next}, the outcome says {seq}",
                    self.of
                ));
            }
        }
        // What the store cannot have yet is folded for its numbers only.
        if !stored {
            folded.entity.apply(outcome);
            return;
        }
        folded.entity.apply(outcome);
        folded.digest.update(value);
        folded.rows += 1;
        if self.snapshots.get(key) == Some(&Some(offset)) {
            folded.at_snapshot = Some(folded.entity.to_snapshot());
        }
    }

    async fn compare(
        self,
        store: &dyn Store,
        partition: i32,
        checkpoint: Checkpoint,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        let caught_up = self.reader.checkpoint() == checkpoint;
        for (key, folded) in &self.entities {
            report.entities += 1;
            let loaded = store.load(key, partition).await?;
            if let Some(snapshot) = &loaded.snapshot
                && folded.at_snapshot.as_deref() != Some(&snapshot.value[..])
            {
                report.differences.push(format!(
                    "snapshot of {key} at offset {} is not the fold of the log",
                    snapshot.offset
                ));
            }
            if caught_up && fold(key, &loaded)?.to_snapshot() != folded.entity.to_snapshot() {
                report.differences.push(format!("{key}: the store's state is not the log's"));
            }
            self.compare_journal(store, key, folded, report).await?;
        }
        Ok(())
    }

    async fn compare_journal(
        &self,
        store: &dyn Store,
        key: &EntityKey,
        folded: &Folded,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        let mut digest = crc32fast::Hasher::new();
        let mut rows = 0;
        let mut seen: Option<Offset> = None;
        let mut after = -1;
        // The log's own rows alone are compared: a serving node may have added newer ones.
        'all: loop {
            let query = JournalQuery {
                after,
                before: i64::MAX,
                order: Order::OldestFirst,
                limit: STEP,
                empty: EmptyOutcomes::Include,
            };
            let page = store.journal(key, query).await?;
            let fresh: Vec<_> =
                page.iter().filter(|row| seen.is_none_or(|seen| row.offset > seen)).collect();
            let Some(last) = fresh.last() else { break };
            for row in &fresh {
                if rows == folded.rows {
                    break 'all;
                }
                digest.update(&row.value);
                rows += 1;
            }
            seen = Some(last.offset);
            // A page may end amid the rows of one seq; the next begins with that seq again.
            after = if after == last.last_seq - 1 && page.len() == STEP as usize {
                last.last_seq
            } else {
                last.last_seq - 1
            };
        }
        if rows != folded.rows || digest.finalize() != folded.digest.clone().finalize() {
            report.differences.push(format!(
                "journal of {key}: {rows} rows, the log has {} outcomes, or they differ",
                folded.rows
            ));
        }
        Ok(())
    }
}

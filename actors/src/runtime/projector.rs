//! The projector writes journal, lists, timers and snapshots (R7). Without state of its own but
//! its place: a snapshot is folded from the store when enough has come since the last one.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use schemas::{EntityKey, Kind, OutcomeRecord, Seq, Verdict, codec};

use super::{
    guards::Guards,
    reader::{Admission, ReaderPosition},
    replica::{FoldError, fold},
};
use crate::{
    domain::entity::listing_change,
    ports::{Checkpoint, JournalRow, Loaded, Record, SnapshotRow, StoreWrite},
};

/// An entity is not snapshot before its journal has grown by so many bytes, nor before it has
/// grown by the size of its last snapshot: snapshots cost at most as much as the journal.
const LEAST_GROWTH: usize = 32 << 10;
/// Growth is remembered for about so many entities; beyond that the least grown are forgotten.
const REMEMBERED: usize = 100_000;

#[derive(Debug, Clone, Copy, Default)]
struct Growth {
    journal: usize,
    snapshot: usize,
}

/// One partition's projector.
#[derive(Debug)]
pub struct Projector {
    kind: Kind,
    partition: i32,
    guards: Arc<Guards>,
    reader: ReaderPosition,
    growth: HashMap<EntityKey, Growth>,
}

impl Projector {
    /// Begins where the store is.
    pub fn new(kind: Kind, partition: i32, start: Checkpoint, guards: Arc<Guards>) -> Self {
        let reader = ReaderPosition::new(start);
        Self { kind, partition, guards, reader, growth: HashMap::new() }
    }

    /// Where it is.
    pub fn position(&self) -> Checkpoint {
        self.reader.checkpoint()
    }

    /// Makes one step of these records, the next in order.
    pub fn step(&mut self, records: &[Record]) -> StoreWrite {
        let mut write = self.empty_write();
        for record in records {
            self.take(record, &mut write);
        }
        write.next = self.reader.checkpoint();
        write
    }

    fn empty_write(&self) -> StoreWrite {
        StoreWrite::at(self.kind, self.partition, self.reader.checkpoint())
    }

    fn take(&mut self, record: &Record, write: &mut StoreWrite) {
        let Ok(decoded) = codec::decode_outcome(self.kind, &record.value) else {
            self.reader.skip(record.offset);
            return;
        };
        let admission = self.reader.admit(record.offset, &decoded, &self.guards);
        let (Admission::Counts, OutcomeRecord::Outcome(outcome)) = (admission, decoded) else {
            return;
        };
        let Some(key) = &outcome.key else { return };
        let (last_seq, changes): (Option<Seq>, i64) = match &outcome.verdict {
            // A repeat says where its first outcome was, which is not where the entity is.
            Verdict::Accepted { seq, changes } if outcome.repeats.is_none() => {
                (Some(*seq), changes.len() as i64)
            }
            Verdict::Accepted { .. } | Verdict::Rejected(_) | Verdict::Skipped { .. } => (None, 0),
        };
        if let Verdict::Accepted { changes, .. } = &outcome.verdict {
            for change in changes {
                let listing = listing_change(&change.body, &outcome.by);
                write.listing.extend(listing.map(|to| (key.clone(), to)));
            }
        }
        write.timers.insert(key.clone(), outcome.wake_at);
        self.growth.entry(key.clone()).or_default().journal += record.value.len();
        write.journal.push(JournalRow {
            key: key.clone(),
            offset: record.offset,
            last_seq: last_seq.unwrap_or(JournalRow::UNCHANGED),
            changes,
            at: outcome.at,
            value: record.value.clone(),
        });
    }

    /// The entities that have grown enough for a new snapshot, once the steps are committed.
    pub fn due(&mut self) -> Vec<EntityKey> {
        if self.growth.len() > REMEMBERED {
            self.growth.retain(|_, growth| growth.journal > LEAST_GROWTH / 8);
        }
        let grown = |growth: &Growth| growth.journal >= LEAST_GROWTH.max(growth.snapshot);
        self.growth.iter().filter(|(_, growth)| grown(growth)).map(|(key, _)| key.clone()).collect()
    }

    /// A step that writes these entities' snapshots, as the store has them.
    ///
    /// # Errors
    /// If what the store gave cannot be folded.
    pub fn snapshots(&mut self, loaded: Vec<(EntityKey, Loaded)>) -> Result<StoreWrite, FoldError> {
        let mut write = self.empty_write();
        for (key, loaded) in loaded {
            let entity = fold(&key, &loaded)?;
            let value = Bytes::from(entity.to_snapshot());
            let growth = Growth { journal: 0, snapshot: value.len() };
            if let Some(last) = loaded.journal.last() {
                let seq = entity.seq;
                write.snapshots.push(SnapshotRow {
                    key: key.clone(),
                    offset: last.offset,
                    seq,
                    value,
                });
            }
            self.growth.insert(key, growth);
        }
        Ok(write)
    }
}

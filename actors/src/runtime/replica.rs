//! Read-only copies of entities, folded from outcomes: what gateways read from. Without I/O; the
//! interpreter feeds records in and asks the store where [`Replica::install`] says so.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use schemas::{
    EntityKey, Kind, Offset, OutcomeRecord,
    codec::{self, CodecError},
};

use super::{
    guards::Guards,
    reader::{Admission, ReaderPosition},
    ring::{Counted, Ring},
};
use crate::{
    domain::entity::{Entity, SnapshotError},
    ports::{Checkpoint, Loaded},
};

/// Why what the store gave does not make an entity.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// Its snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A row of its journal cannot be read.
    #[error("the journal of {key} cannot be read at offset {offset}")]
    Journal {
        /// Whose.
        key: EntityKey,
        /// Where.
        offset: Offset,
        /// Why.
        #[source]
        source: CodecError,
    },
    /// What the store gave is older than what is held here, or newer than what has been read:
    /// ask again.
    #[error("what was loaded of {0} is of another moment")]
    OtherMoment(EntityKey),
}

/// An entity as the store knows it: snapshot and journal folded.
///
/// # Errors
/// If snapshot or journal cannot be read.
pub fn fold(key: &EntityKey, loaded: &Loaded) -> Result<Entity, FoldError> {
    let mut entity = match &loaded.snapshot {
        Some(snapshot) => Entity::from_snapshot(key, &snapshot.value)?,
        None => Entity::new(key.clone()),
    };
    for row in &loaded.journal {
        let record = codec::decode_outcome(key.entity.kind(), &row.value).map_err(|source| {
            FoldError::Journal { key: key.clone(), offset: row.offset, source }
        })?;
        if let OutcomeRecord::Outcome(outcome) = record {
            entity.apply(&outcome);
        }
    }
    Ok(entity)
}

/// What a reader learns of the command that it waits for.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This came of it.
    Here(Arc<Counted>),
    /// Nothing came of it yet.
    NotYet,
    /// It has been decided, but so long ago that the store must be asked.
    Gone,
}

/// One partition's outcomes and the entities that somebody here looks at.
#[derive(Debug)]
pub struct Replica {
    kind: Kind,
    guards: Arc<Guards>,
    reader: ReaderPosition,
    ring: Ring,
    /// Every outcome from this offset on is in the ring.
    held_from: Offset,
    entities: HashMap<EntityKey, Entity>,
}

impl Replica {
    /// Begins at the projector's checkpoint.
    pub fn new(kind: Kind, start: Checkpoint, guards: Arc<Guards>) -> Self {
        Self {
            kind,
            guards,
            reader: ReaderPosition::new(start),
            ring: Ring::default(),
            held_from: start.offset,
            entities: HashMap::new(),
        }
    }

    /// How far it has read.
    pub fn position(&self) -> Checkpoint {
        self.reader.checkpoint()
    }

    /// Takes the next record; gives it back, decoded, if it is an outcome that counts. The
    /// entities that are looked at have taken it in then (R13).
    pub fn outcome(&mut self, offset: Offset, value: &Bytes) -> Option<Arc<Counted>> {
        let Ok(record) = codec::decode_outcome(self.kind, value) else {
            self.reader.skip(offset);
            return None;
        };
        let admission = self.reader.admit(offset, &record, &self.guards);
        let (Admission::Counts, OutcomeRecord::Outcome(outcome)) = (admission, record) else {
            return None;
        };
        if let Some(entity) = outcome.key.as_ref().and_then(|key| self.entities.get_mut(key)) {
            entity.apply(&outcome);
        }
        let counted = Arc::new(Counted { offset, value: value.clone(), outcome: *outcome });
        self.ring.push(counted.clone());
        Some(counted)
    }

    /// The store has everything before this offset.
    pub fn stored(&mut self, offset: Offset) {
        self.ring.trim(offset);
        self.held_from = self.held_from.max(offset.min(self.reader.checkpoint().offset));
    }

    /// How many outcomes it holds.
    pub fn held(&self) -> usize {
        self.ring.len()
    }

    /// How many outcomes it holds that a store does not have whose checkpoint is `offset`.
    pub fn beyond(&self, offset: Offset) -> usize {
        self.ring.len_from(offset)
    }

    /// What came of the command at this offset.
    pub fn answer(&self, command_offset: Offset) -> Answer {
        if command_offset > self.reader.checkpoint().last_command_offset {
            return Answer::NotYet;
        }
        self.ring.of_command(command_offset).map_or(Answer::Gone, |c| Answer::Here(c.clone()))
    }

    /// The entity, if it is looked at.
    pub fn get(&self, key: &EntityKey) -> Option<&Entity> {
        self.entities.get(key)
    }

    /// The entity as of now, from what the store gave and what has come since.
    ///
    /// # Errors
    /// If what the store gave cannot be folded, or is of another moment than the ring.
    pub fn present(&self, key: &EntityKey, loaded: &Loaded) -> Result<Entity, FoldError> {
        let read_until = self.reader.checkpoint().offset;
        if !(self.held_from..=read_until).contains(&loaded.checkpoint.offset) {
            return Err(FoldError::OtherMoment(key.clone()));
        }
        let mut entity = fold(key, loaded)?;
        if self.guards.read_your_writes {
            for counted in self.ring.of(key, loaded.checkpoint.offset) {
                entity.apply(&counted.outcome);
            }
        }
        Ok(entity)
    }

    /// The outcomes of an entity that the store may not have, from `offset` on.
    pub fn recent(&self, key: &EntityKey, offset: Offset) -> Vec<Arc<Counted>> {
        self.ring.of(key, offset)
    }

    /// Looks at the entity from now on.
    pub fn install(&mut self, entity: Entity) -> &Entity {
        self.entities.entry(entity.key.clone()).or_insert(entity)
    }

    /// Does not look at it any more.
    pub fn forget(&mut self, key: &EntityKey) {
        self.entities.remove(key);
    }
}

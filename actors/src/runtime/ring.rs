//! The outcomes since the projector's checkpoint, or from a little before it, held in memory:
//! snapshot + journal + ring is always the present.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use schemas::{EntityKey, Offset, Outcome};

/// An outcome that counts, decoded once for everybody.
#[derive(Debug, Clone)]
pub struct Counted {
    /// Its offset.
    pub offset: Offset,
    /// The record's bytes.
    pub value: Bytes,
    /// What it says.
    pub outcome: Outcome,
}

/// Counted outcomes of one partition, by offset and by entity.
#[derive(Debug, Default)]
pub struct Ring {
    all: VecDeque<Arc<Counted>>,
    by_entity: HashMap<EntityKey, VecDeque<Arc<Counted>>>,
}

impl Ring {
    /// Takes the newest.
    pub fn push(&mut self, counted: Arc<Counted>) {
        if let Some(key) = &counted.outcome.key {
            match self.by_entity.get_mut(key) {
                Some(of_entity) => of_entity.push_back(counted.clone()),
                None => {
                    self.by_entity.insert(key.clone(), VecDeque::from([counted.clone()]));
                }
            }
        }
        self.all.push_back(counted);
    }

    /// Forgets what stands before `offset`: the store has it.
    pub fn trim(&mut self, offset: Offset) {
        while self.all.front().is_some_and(|oldest| oldest.offset < offset) {
            let Some(oldest) = self.all.pop_front() else { return };
            let Some(key) = &oldest.outcome.key else { continue };
            if let Some(of_entity) = self.by_entity.get_mut(key) {
                of_entity.pop_front();
                if of_entity.is_empty() {
                    self.by_entity.remove(key);
                }
            }
        }
    }

    /// The outcomes of an entity from `offset` on, in order.
    pub fn of(&self, key: &EntityKey, offset: Offset) -> Vec<Arc<Counted>> {
        let of_entity = self.by_entity.get(key).into_iter().flatten();
        of_entity.filter(|counted| counted.offset >= offset).cloned().collect()
    }

    /// The outcome of the command at `command_offset`, if it is held.
    pub fn of_command(&self, command_offset: Offset) -> Option<&Arc<Counted>> {
        let place = self
            .all
            .binary_search_by_key(&command_offset, |counted| counted.outcome.command_offset)
            .ok()?;
        self.all.get(place)
    }

    /// How many outcomes are held.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// How many of them are at `offset` or behind it.
    pub fn len_from(&self, offset: Offset) -> usize {
        self.all.len() - self.all.partition_point(|counted| counted.offset < offset)
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.all.clear();
        self.by_entity.clear();
    }
}

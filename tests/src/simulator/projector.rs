//! A projector's process: prepares a step, is perhaps overtaken, commits it.

use std::sync::Arc;

use actors::{
    memory::MemoryStore,
    ports::{Record, StoreWrite},
    runtime::{guards::Guards, projector::Projector},
};
use rand::Rng as _;
use schemas::Kind;

use super::World;

pub(super) struct ProjectorProcess {
    projector: Projector,
    prepared: Option<StoreWrite>,
}

impl ProjectorProcess {
    pub(super) fn new(kind: Kind, store: &MemoryStore, guards: &Arc<Guards>) -> Self {
        let start = store.partition_now(kind, 0).checkpoint;
        Self { projector: Projector::new(kind, 0, start, guards.clone()), prepared: None }
    }

    pub(super) fn is_at(&self, end: i64) -> bool {
        self.prepared.is_none() && self.projector.position().offset == end
    }

    /// Prepares or commits; whether it goes on (another projector may have overtaken it).
    pub(super) fn step(&mut self, world: &mut World) -> bool {
        if let Some(write) = self.prepared.take() {
            return world.store.commit_now(write).is_ok();
        }
        if world.chance(10) {
            return self.snapshot(world);
        }
        let from = usize::try_from(self.projector.position().offset).unwrap_or(0);
        let count = world.rng.random_range(1..6);
        let next = world.log.outcomes.iter().enumerate().skip(from).take(count);
        let records: Vec<_> = next
            .map(|(offset, (key, value))| Record {
                offset: offset as i64,
                key: key.clone(),
                value: value.clone(),
                received: None,
                headers: Vec::new(),
            })
            .collect();
        if !records.is_empty() {
            self.prepared = Some(self.projector.step(&records));
        }
        true
    }

    /// Snapshots far more often than the real one would.
    fn snapshot(&mut self, world: &mut World) -> bool {
        let keys = world.store.keys();
        let Some(key) = keys.get(world.rng.random_range(0..keys.len().max(1))) else { return true };
        let loaded = world.store.load_now(key, 0);
        let write = self.projector.snapshots(vec![(key.clone(), loaded)]);
        world.store.commit_now(write.expect("the model store is whole")).is_ok()
    }
}

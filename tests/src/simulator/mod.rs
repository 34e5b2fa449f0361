//! A deterministic simulator: many owners, gateways, projectors and clients over a model log that
//! delays and loses, in one thread, from one seed. It drives the very state machines of
//! `actors::runtime`; the checker reads the history afterwards.
//!
//! A run has two parts: a stormy one in which anything may fail, and a calm one in which
//! everything must come to its end. A violation is a sentence that names the rule's symptom.

mod checker;
mod client;
mod gateway;
mod log;
mod owner;
mod projector;
mod script;

use std::{cell::Cell, sync::Arc};

use actors::{memory::MemoryStore, runtime::guards::Guards};
use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use schemas::{EntityKey, Kind, Timestamp};

use client::ClientProcess;
use gateway::GatewayProcess;
use log::{Landing, ModelLog, Producer};
use owner::OwnerProcess;
use projector::ProjectorProcess;

/// Steps of the stormy part.
const STORM: usize = 900;
/// Steps within which the calm part must end.
const CALM: usize = 60_000;

thread_local! {
    /// The clock that is read where R9 is switched off.
    static WALL: Cell<i64> = const { Cell::new(0) };
}

/// A clock for [`Guards::clock`] that differs between deciding and checking.
pub fn wall_clock() -> Timestamp {
    Timestamp::from_millis(WALL.get())
}

/// What a run found.
#[derive(Debug)]
pub struct Outcome {
    /// The seed, with which the run can be repeated.
    pub seed: u64,
    /// What does not hold; empty if everything does.
    pub violations: Vec<String>,
    /// Commands that were answered.
    pub acknowledged: usize,
    /// How often an owner took the partition.
    pub fences: usize,
}

/// Everything that takes part.
pub(crate) struct World {
    rng: StdRng,
    kind: Kind,
    guards: Arc<Guards>,
    log: ModelLog,
    store: MemoryStore,
    /// What the group's committed offset would be: the last command that any owner has read.
    group_offset: i64,
    now: i64,
    storm: bool,
    owners: Vec<OwnerProcess>,
    gateways: Vec<GatewayProcess>,
    projectors: Vec<ProjectorProcess>,
    clients: Vec<ClientProcess>,
    violations: Vec<String>,
    next_name: u64,
}

/// Runs one seed with these guards.
pub fn run(seed: u64, guards: Guards) -> Outcome {
    let mut world = World::new(seed, guards);
    for _ in 0..STORM {
        world.step();
    }
    world.storm = false;
    world.calm_down();
    for _ in 0..CALM {
        if world.is_done() {
            break;
        }
        world.step();
    }
    if !world.is_done() {
        world.violations.push(format!("it never ends: {}", world.unfinished()));
    }
    checker::check(&mut world);
    Outcome {
        seed,
        acknowledged: world.clients.iter().map(|client| client.acknowledged.len()).sum(),
        fences: checker::fences(&world),
        violations: world.violations,
    }
}

impl World {
    fn new(seed: u64, guards: Guards) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let kind = [Kind::Room, Kind::Board, Kind::Event][rng.random_range(0..3)];
        let store = MemoryStore::with_compare_and_set(guards.compare_and_set);
        let guards = Arc::new(guards);
        let entities: Vec<EntityKey> =
            (0..3).map(|n| format!("main/{kind}:{n}").parse().expect("a key")).collect();
        let clients = (0..4).map(|n| ClientProcess::new(n, kind, &entities)).collect();
        let gateways = (0..2).map(|_| GatewayProcess::new(kind, &store, &guards)).collect();
        let projectors = vec![ProjectorProcess::new(kind, &store, &guards)];
        WALL.set(0);
        let mut world = Self {
            rng,
            kind,
            guards,
            log: ModelLog::default(),
            store,
            group_offset: 0,
            now: 1_000_000,
            storm: true,
            owners: Vec::new(),
            gateways,
            projectors,
            clients,
            violations: Vec::new(),
            next_name: 0,
        };
        world.start_owner();
        world
    }

    /// A new process that takes the partition.
    fn start_owner(&mut self) {
        self.next_name += 1;
        let owner = OwnerProcess::new(self.next_name, self.kind, self.guards.clone());
        self.owners.push(owner);
        let place = self.owners.len() - 1;
        self.with_owner(place, |owner, world| {
            let actions = owner.owner.assigned();
            owner.perform(actions, world);
        });
    }

    /// Lends an owner the rest of the world.
    fn with_owner(&mut self, place: usize, work: impl FnOnce(&mut OwnerProcess, &mut Self)) {
        let mut owner = std::mem::replace(&mut self.owners[place], OwnerProcess::gone());
        work(&mut owner, self);
        self.owners[place] = owner;
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn step(&mut self) {
        self.now += self.rng.random_range(0..40);
        WALL.set(WALL.get() + self.rng.random_range(0..5_000));
        match self.rng.random_range(0..100) {
            0..25 => self.land(),
            25..50 => self.owner_step(),
            50..70 => self.gateway_step(),
            70..75 => self.projector_step(),
            75..95 => self.client_step(),
            _ if self.storm => self.fault(),
            _calm => {}
        }
    }

    /// One append lands, or does not.
    fn land(&mut self) {
        let fate = if !self.storm {
            Landing::Acknowledged
        } else {
            match self.rng.random_range(0..100) {
                0..4 => Landing::Refused,
                4..8 => Landing::Unacknowledged,
                _landed => Landing::Acknowledged,
            }
        };
        let choice = self.rng.random::<u64>();
        let Some((append, result)) = self.log.land(choice, fate) else { return };
        match append.producer {
            Producer::Owner { name, .. } => {
                let found = self.owners.iter().position(|owner| owner.name == name);
                if let Some(place) = found {
                    self.with_owner(place, |owner, world| owner.landed(&append, result, world));
                }
            }
            Producer::Gateway { name } => {
                for gateway in self.gateways.iter_mut().filter(|gateway| gateway.name == name) {
                    gateway.landed(&append, result);
                }
            }
        }
    }

    fn owner_step(&mut self) {
        if self.owners.is_empty() {
            self.start_owner();
            return;
        }
        let place = self.rng.random_range(0..self.owners.len());
        self.with_owner(place, OwnerProcess::step);
        self.owners.retain(|owner| !owner.is_gone());
    }

    fn gateway_step(&mut self) {
        let place = self.rng.random_range(0..self.gateways.len());
        gateway::step(self, place);
    }

    fn projector_step(&mut self) {
        let place = self.rng.random_range(0..self.projectors.len());
        let mut projector = self.projectors.swap_remove(place);
        if projector.step(self) {
            self.projectors.push(projector);
        } else {
            self.projectors.push(ProjectorProcess::new(self.kind, &self.store, &self.guards));
        }
    }

    fn client_step(&mut self) {
        let place = self.rng.random_range(0..self.clients.len());
        client::step(self, place);
    }

    fn fault(&mut self) {
        match self.rng.random_range(0..9) {
            // The owner dies; another takes over.
            0 => {
                self.owners.pop();
                self.start_owner();
            }
            // The partition moves; the old owner does not know yet, or never learns.
            1 | 2 if self.owners.len() < 4 => self.start_owner(),
            // An old owner learns that it lost.
            3 if self.owners.len() > 1 => {
                let place = self.rng.random_range(0..self.owners.len() - 1);
                self.with_owner(place, |owner, world| {
                    let actions = owner.owner.lost();
                    owner.perform(actions, world);
                    owner.end();
                });
                self.owners.retain(|owner| !owner.is_gone());
            }
            // A gateway dies; its clients come back elsewhere.
            4 => {
                let place = self.rng.random_range(0..self.gateways.len());
                gateway::crash(self, place);
            }
            // A second projector, or a new one instead of a dead one.
            5 if self.projectors.len() < 2 => {
                let projector = ProjectorProcess::new(self.kind, &self.store, &self.guards);
                self.projectors.push(projector);
            }
            6 => {
                self.projectors.pop();
                let projector = ProjectorProcess::new(self.kind, &self.store, &self.guards);
                self.projectors.push(projector);
            }
            // Poison: bytes that nobody can read, and a record under the wrong key.
            7 => {
                let value = Bytes::from(self.rng.random::<[u8; 12]>().to_vec());
                self.log.append_now(Bytes::from_static(b"main/room:x"), value);
            }
            _time_jumps => self.now += self.rng.random_range(0..20_000),
        }
    }

    /// The storm is over: one owner, one projector, everybody else gone.
    fn calm_down(&mut self) {
        while self.owners.len() > 1 {
            self.owners.remove(0);
        }
        self.log.forget_producers_but(self.owners.first().map(|owner| owner.name), &self.gateways);
        self.projectors.truncate(1);
    }

    fn is_done(&self) -> bool {
        let end = self.log.outcomes.len() as i64;
        self.clients.iter().all(ClientProcess::is_done)
            && self.log.pending.is_empty()
            && self.gateways.iter().all(|gateway| gateway.replica.position().offset == end)
            && self.projectors.iter().all(|projector| projector.is_at(end))
            && self.clients.iter().all(|client| client.is_current(self))
    }

    fn unfinished(&self) -> String {
        let waiting: Vec<_> =
            self.clients.iter().filter(|client| !client.is_done()).map(|c| c.name).collect();
        let phases: Vec<_> = self.owners.iter().map(|owner| owner.owner.phase()).collect();
        format!(
            "clients {waiting:?} wait, owners are {phases:?}, {} appends pend",
            self.log.pending.len()
        )
    }
}

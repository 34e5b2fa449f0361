//! A client: sends commands one after another and never gives one up, follows its entities, and
//! resumes where it was when its gateway dies.

use std::collections::HashMap;

use actors::runtime::replica::FoldError;
use rand::{Rng as _, rngs::StdRng};
use schemas::{
    Change, Command, CommandId, EntityKey, Kind, Outcome, Principal, Timestamp, Verdict,
};

use super::{World, gateway::changes_of, script};

/// Commands that each client gets through.
const COMMANDS: usize = 14;

/// What a gateway tells about a command.
pub(super) enum Reply {
    /// This came of it.
    Decided(Box<Outcome>),
    /// It failed on its way; perhaps it is in the log.
    Unknown,
}

/// An answer that a client has, which must hold for ever.
pub(super) struct Acknowledged {
    pub(super) command: Command,
    pub(super) outcome: Outcome,
}

pub(super) struct ClientProcess {
    pub(super) name: usize,
    kind: Kind,
    entities: Vec<EntityKey>,
    /// Where it is connected.
    gateway: Option<usize>,
    left: usize,
    current: Option<Command>,
    /// Whether the current command is on its way.
    sent: bool,
    pub(super) acknowledged: Vec<Acknowledged>,
    /// What it has been shown of each entity, from seq 1.
    pub(super) seen: HashMap<EntityKey, Vec<Change>>,
    joined: Vec<EntityKey>,
}

impl ClientProcess {
    pub(super) fn new(name: usize, kind: Kind, entities: &[EntityKey]) -> Self {
        Self {
            name,
            kind,
            entities: entities.to_vec(),
            gateway: None,
            left: COMMANDS,
            current: None,
            sent: false,
            acknowledged: Vec::new(),
            seen: HashMap::new(),
            joined: Vec::new(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.left == 0 && self.current.is_none()
    }

    /// Whether it is joined everywhere and has seen all there is.
    pub(super) fn is_current(&self, world: &World) -> bool {
        let Some(gateway) = self.gateway else { return false };
        self.entities.iter().all(|key| {
            let seen = self.seen.get(key).map_or(0, Vec::len) as i64;
            let present = world.gateways[gateway].replica.get(key).map_or(0, |entity| entity.seq);
            self.joined.contains(key) && seen >= present
        })
    }

    pub(super) fn disconnected_from(&mut self, gateway: usize) {
        if self.gateway == Some(gateway) {
            self.gateway = None;
            self.sent = false;
            self.joined.clear();
        }
    }

    /// Is shown an outcome; complains about a gap or a repeat.
    pub(super) fn push(&mut self, outcome: &Outcome) -> Option<String> {
        let key = outcome.key.as_ref()?;
        let seen = self.seen.entry(key.clone()).or_default();
        for change in changes_of(outcome) {
            let next = seen.len() as i64 + 1;
            if change.seq != next {
                return Some(format!(
                    "client {} is shown seq {} of {key} where {next} is next",
                    self.name, change.seq
                ));
            }
            seen.push(change.clone());
        }
        None
    }

    fn next_command(&mut self, rng: &mut StdRng, now: i64) -> Command {
        let key = self.entities[rng.random_range(0..self.entities.len())].clone();
        // Most begin with an entity that is not there; now and then one is made twice.
        let creates = self.left + 3 > COMMANDS || rng.random_range(0..12) == 0;
        let body =
            if creates { script::create(self.kind) } else { script::command(self.kind, rng, now) };
        let intruder = rng.random_range(0..12) == 0;
        let tenant = if intruder { "evil" } else { "main" };
        self.left -= 1;
        Command {
            key,
            id: CommandId::derived(&format!("{}/{}", self.name, self.left)),
            tenant: tenant.parse().expect("a tenant"),
            principal: Principal::User(format!("c{}", self.name).parse().expect("a name")),
            roles: if self.name.is_multiple_of(2) { vec!["admin".into()] } else { Vec::new() },
            at: Timestamp::from_millis(now),
            expect: None,
            body,
        }
    }
}

/// Connects, joins, or sends.
pub(super) fn step(world: &mut World, place: usize) {
    let gateways = world.gateways.len();
    let choice = world.rng.random_range(0..gateways);
    let client = &mut world.clients[place];
    let Some(gateway) = client.gateway else {
        client.gateway = Some(choice);
        return;
    };
    let unjoined = client.entities.iter().find(|key| !client.joined.contains(key)).cloned();
    if let Some(key) = unjoined {
        join(world, place, gateway, &key);
    }
    let World { rng, clients, gateways, log, now, .. } = world;
    let client = &mut clients[place];
    if client.sent || (client.current.is_none() && client.left == 0) {
        return;
    }
    let mut command = match client.current.take() {
        Some(command) => command,
        None => client.next_command(rng, *now),
    };
    // A retry is stamped anew by its gateway.
    command.at = Timestamp::from_millis(*now);
    gateways[gateway].submit(place, &command, log);
    client.current = Some(command);
    client.sent = true;
}

/// Joins with what it has seen, or without.
fn join(world: &mut World, place: usize, gateway: usize, key: &EntityKey) {
    let replica = &mut world.gateways[gateway].replica;
    if replica.get(key).is_none() {
        let loaded = world.store.load_now(key, 0);
        match replica.present(key, &loaded) {
            Ok(entity) => drop(replica.install(entity)),
            Err(FoldError::OtherMoment(_)) => return,
            Err(error) => {
                world.violations.push(format!("a gateway cannot fold {key}: {error}"));
                return;
            }
        }
    }
    let present = replica.get(key).map_or(0, |entity| entity.seq);
    let recent = replica.recent(key, 0);
    let client = &mut world.clients[place];
    let seen = client.seen.entry(key.clone()).or_default();
    // A gateway that is behind the one before answers `recovered: false` with its state.
    seen.truncate(usize::try_from(present).unwrap_or(0));
    let mut next = seen.len() as i64 + 1;
    let rows = world.store.journal_now(key);
    let stored = rows.iter().filter_map(|row| {
        match schemas::codec::decode_outcome(world.kind, &row.value) {
            Ok(schemas::OutcomeRecord::Outcome(outcome)) => Some(*outcome),
            Ok(schemas::OutcomeRecord::Fence(_)) | Err(_) => None,
        }
    });
    let recent = recent.iter().map(|counted| counted.outcome.clone());
    let mut resumed = Vec::new();
    for outcome in stored.chain(recent) {
        for change in changes_of(&outcome) {
            if change.seq == next && change.seq <= present {
                resumed.push(change.clone());
                next += 1;
            }
        }
    }
    if next <= present {
        return;
    }
    seen.extend(resumed);
    client.joined.push(key.clone());
    world.gateways[gateway].subscribers.insert((place, key.clone()));
}

/// A gateway tells what came of the current command.
pub(super) fn told(world: &mut World, place: usize, gateway: usize, reply: Reply) {
    let client = &mut world.clients[place];
    if client.gateway != Some(gateway) || !client.sent {
        return;
    }
    client.sent = false;
    let Reply::Decided(outcome) = reply else { return };
    let Some(command) = client.current.take() else { return };
    if outcome.command_id != command.id {
        client.current = Some(command);
        return;
    }
    // R13: whoever was answered with a seq reads at least that from the same gateway.
    if let Verdict::Accepted { seq, .. } = &outcome.verdict {
        let seq = outcome.repeats.map_or(*seq, |repeat| repeat.to);
        let loaded = world.store.load_now(&command.key, 0);
        let replica = &world.gateways[gateway].replica;
        let read = match replica.get(&command.key) {
            Some(entity) if world.guards.read_your_writes => Some(entity.seq),
            _not_held => replica.present(&command.key, &loaded).ok().map(|entity| entity.seq),
        };
        if read.is_some_and(|read| read < seq) {
            let key = &command.key;
            world.violations.push(format!(
                "client {place} was answered seq {seq} of {key} and then read {read:?}"
            ));
        }
    }
    world.clients[place].acknowledged.push(Acknowledged { command, outcome: *outcome });
}

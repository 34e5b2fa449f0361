//! A gateway's process: a replica, the clients that are connected, the commands that wait.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use actors::{
    memory::MemoryStore,
    runtime::{
        guards::Guards,
        replica::{Answer, Replica},
    },
};
use bytes::Bytes;
use schemas::{Command, EntityKey, Kind, Outcome, Verdict, codec};

use super::{
    World,
    client::Reply,
    log::{Append, Meaning, Producer, To},
};

static NAMES: AtomicU64 = AtomicU64::new(1);

pub(super) struct GatewayProcess {
    pub(super) name: u64,
    kind: Kind,
    pub(super) replica: Replica,
    /// Who is at which entity here.
    pub(super) subscribers: HashSet<(usize, EntityKey)>,
    /// Commands that are being appended, by number: whose they are.
    appending: BTreeMap<u64, usize>,
    /// Commands in the log, by offset: whose they are.
    waiting: BTreeMap<i64, Vec<usize>>,
    /// What clients are to be told, in order.
    next_number: u64,
    failed: Vec<usize>,
    appended: Vec<(i64, usize)>,
}

impl GatewayProcess {
    pub(super) fn new(kind: Kind, store: &MemoryStore, guards: &Arc<Guards>) -> Self {
        let start = store.partition_now(kind, 0).checkpoint;
        Self {
            name: NAMES.fetch_add(1, Ordering::Relaxed),
            kind,
            replica: Replica::new(kind, start, guards.clone()),
            subscribers: HashSet::new(),
            appending: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_number: 0,
            failed: Vec::new(),
            appended: Vec::new(),
        }
    }

    /// Takes a client's command; its outcome is told with [`Reply`].
    pub(super) fn submit(
        &mut self,
        client: usize,
        command: &Command,
        log: &mut super::log::ModelLog,
    ) {
        let number = self.next_number;
        self.next_number += 1;
        self.appending.insert(number, client);
        log.append(Append {
            producer: Producer::Gateway { name: self.name },
            to: To::Commands,
            meaning: Meaning::Command(number),
            key: Bytes::from(command.key.to_string()),
            value: codec::encode_command(command).expect("writable").into(),
        });
    }

    pub(super) fn landed(&mut self, append: &Append, offset: Option<i64>) {
        let Meaning::Command(number) = append.meaning else { return };
        let Some(client) = self.appending.remove(&number) else { return };
        match offset {
            Some(offset) => self.appended.push((offset, client)),
            None => self.failed.push(client),
        }
    }
}

/// Reads one outcome, or sees to what was appended.
pub(super) fn step(world: &mut World, place: usize) {
    let gateway = &mut world.gateways[place];
    let mut told: Vec<(usize, Reply)> =
        gateway.failed.drain(..).map(|client| (client, Reply::Unknown)).collect();
    for (offset, client) in std::mem::take(&mut gateway.appended) {
        match gateway.replica.answer(offset) {
            Answer::Here(counted) => {
                told.push((client, Reply::Decided(Box::new(counted.outcome.clone()))))
            }
            Answer::NotYet => gateway.waiting.entry(offset).or_default().push(client),
            Answer::Gone => told.push((client, Reply::Unknown)),
        }
    }
    let at = gateway.replica.position().offset;
    let record = usize::try_from(at).ok().and_then(|at| world.log.outcomes.get(at)).cloned();
    let mut pushed = None;
    if let Some((_, value)) = record
        && let Some(counted) = gateway.replica.outcome(at, &value)
    {
        if let Some(clients) = gateway.waiting.remove(&counted.outcome.command_offset) {
            told.extend(
                clients.into_iter().map(|c| (c, Reply::Decided(Box::new(counted.outcome.clone())))),
            );
        }
        pushed = Some(counted);
    }
    if let Some(counted) = pushed {
        let subscribers: Vec<_> = world.gateways[place]
            .subscribers
            .iter()
            .filter(|(_, key)| Some(key) == counted.outcome.key.as_ref())
            .map(|(client, _)| *client)
            .collect();
        for client in subscribers {
            let complaint = world.clients[client].push(&counted.outcome);
            world.violations.extend(complaint);
        }
    }
    for (client, reply) in told {
        super::client::told(world, client, place, reply);
    }
    if world.chance(20) {
        let stored = world.store.partition_now(world.kind, 0).checkpoint.offset;
        world.gateways[place].replica.stored(stored);
    }
}

/// The process dies: whoever was connected knows nothing of what was on its way.
pub(super) fn crash(world: &mut World, place: usize) {
    let kind = world.gateways[place].kind;
    let fresh = GatewayProcess::new(kind, &world.store, &world.guards);
    world.gateways[place] = fresh;
    for client in &mut world.clients {
        client.disconnected_from(place);
    }
}

/// R5 is off: whoever waits for this command is told before it is durable.
pub(super) fn leak(world: &mut World, outcome: &Outcome) {
    for place in 0..world.gateways.len() {
        let waiting = world.gateways[place].waiting.remove(&outcome.command_offset);
        for client in waiting.into_iter().flatten() {
            super::client::told(world, client, place, Reply::Decided(Box::new(outcome.clone())));
        }
    }
}

/// The changes of an outcome that makes any.
pub(super) fn changes_of(outcome: &Outcome) -> &[schemas::Change] {
    match &outcome.verdict {
        Verdict::Accepted { changes, .. } => changes,
        Verdict::Rejected(_) | Verdict::Skipped { .. } => &[],
    }
}

//! An owner's process: carries out what [`Owner`] says, with its entities beside it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use actors::{
    domain::entity::{Decision, Entity},
    runtime::{
        guards::Guards,
        owner::{Action, Owner, Place, decide_and_apply},
        replica::fold,
    },
};
use bytes::Bytes;
use rand::Rng as _;
use schemas::{Code, Command, EntityKey, Kind, Outcome, Rejection, Timestamp, Verdict};

use super::{
    World,
    log::{Append, Meaning, Producer, To},
};

/// A decision whose answer has not reached the owner yet.
struct Thought {
    attempt: u32,
    offset: i64,
    command: Box<Command>,
    decision: Decision,
    wake_at: Option<Timestamp>,
}

/// The model has one partition of a kind.
const ONLY: Place = Place { partition: 0, of: 1 };

pub(super) struct OwnerProcess {
    pub(super) name: u64,
    pub(super) owner: Owner,
    guards: Arc<Guards>,
    pub(super) entities: HashMap<EntityKey, Entity>,
    outcomes_at: Option<i64>,
    commands_at: Option<i64>,
    loading: bool,
    retrying: bool,
    thoughts: VecDeque<Thought>,
    gone: bool,
}

impl OwnerProcess {
    pub(super) fn new(name: u64, kind: Kind, guards: Arc<Guards>) -> Self {
        Self {
            name,
            owner: Owner::new(kind, ONLY, name.to_string(), guards.clone()),
            guards,
            entities: HashMap::new(),
            outcomes_at: None,
            commands_at: None,
            loading: false,
            retrying: false,
            thoughts: VecDeque::new(),
            gone: false,
        }
    }

    /// A stand-in while the real one is lent the world.
    pub(super) fn gone() -> Self {
        let mut process = Self::new(0, Kind::Board, Arc::default());
        process.gone = true;
        process
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    pub(super) fn end(&mut self) {
        self.gone = true;
    }

    pub(super) fn perform(&mut self, actions: Vec<Action>, world: &mut World) {
        for action in actions {
            match action {
                Action::Load => self.loading = true,
                Action::AppendFence { attempt, value } => {
                    self.append(attempt, To::Outcomes, Meaning::Fence, Bytes::new(), value, world);
                }
                Action::AppendOutcome { attempt, key, value, .. } => {
                    let key = key.map(|key| Bytes::from(key.to_string())).unwrap_or_default();
                    self.append(attempt, To::Outcomes, Meaning::Outcome, key, value, world);
                }
                Action::AppendCommand(command) => {
                    let value = schemas::codec::encode_command(&command).expect("writable");
                    let key = Bytes::from(command.key.to_string());
                    let attempt = self.owner.attempt();
                    self.append(attempt, To::Commands, Meaning::Wake, key, value.into(), world);
                }
                Action::ReadOutcomes(from) => self.outcomes_at = Some(from),
                Action::ReadCommands(from) => self.commands_at = Some(from),
                Action::Decide { offset, command } => self.decide(offset, command, world),
                // The model's dead letters are always taken.
                Action::SetAside { attempt, offset, reason, .. } => {
                    let actions = self.owner.set_aside(attempt, offset, reason);
                    self.perform(actions, world);
                }
                Action::Leak(outcome) => super::gateway::leak(world, &outcome),
                Action::Reset => {
                    self.entities.clear();
                    self.thoughts.clear();
                    self.outcomes_at = None;
                    self.commands_at = None;
                    self.loading = false;
                }
                Action::RetryAfter(_) => self.retrying = true,
            }
        }
    }

    fn append(
        &self,
        attempt: u32,
        to: To,
        meaning: Meaning,
        key: Bytes,
        value: Bytes,
        world: &mut World,
    ) {
        let producer = Producer::Owner { name: self.name, attempt };
        world.log.append(Append { producer, to, meaning, key, value });
    }

    fn decide(&mut self, offset: i64, command: Box<Command>, world: &World) {
        let key = &command.key;
        if !self.entities.contains_key(key) {
            let loaded = world.store.load_now(key, 0);
            let mut entity = fold(key, &loaded).expect("the model store is whole");
            for counted in self.owner.recent(key, loaded.checkpoint.offset) {
                entity.apply(&counted.outcome);
            }
            self.entities.insert(key.clone(), entity);
        }
        let entity = self.entities.get_mut(key).expect("just inserted");
        let new_release = self.name.is_multiple_of(2);
        let (decision, wake_at) = if new_release && releases_disagree(entity, &command) {
            refuse(entity, &command, offset)
        } else {
            decide_and_apply(entity, &command, offset, &self.guards).expect("writable")
        };
        let attempt = self.owner.attempt();
        self.thoughts.push_back(Thought { attempt, offset, command, decision, wake_at });
    }

    /// One of the appends has ended; without an offset it failed.
    pub(super) fn landed(&mut self, append: &Append, offset: Option<i64>, world: &mut World) {
        let Producer::Owner { attempt, .. } = append.producer else { return };
        let actions = match (append.meaning, offset) {
            (Meaning::Fence, Some(epoch)) => self.owner.fenced(attempt, epoch),
            (Meaning::Fence | Meaning::Outcome, None) => self.owner.failed(attempt),
            (Meaning::Outcome | Meaning::Command(_) | Meaning::Wake, _) => Vec::new(),
        };
        self.perform(actions, world);
    }

    /// Does one of the things that are possible.
    pub(super) fn step(&mut self, world: &mut World) {
        match world.rng.random_range(0..10) {
            0..3 => self.read_outcome(world),
            3..6 => self.read_command(world),
            6..8 => self.hear_thought(world),
            8 => self.load_or_retry(world),
            _housekeeping => self.housekeeping(world),
        }
    }

    fn read_outcome(&mut self, world: &mut World) {
        let Some(at) = self.outcomes_at else { return };
        let record = usize::try_from(at).ok().and_then(|at| world.log.outcomes.get(at)).cloned();
        if let Some((_, value)) = record {
            self.outcomes_at = Some(at + 1);
            let actions = self.owner.outcome(at, &value);
            self.perform(actions, world);
        }
    }

    fn read_command(&mut self, world: &mut World) {
        let Some(at) = self.commands_at else { return };
        let record = usize::try_from(at).ok().and_then(|at| world.log.commands.get(at)).cloned();
        if let Some((key, value)) = record {
            self.commands_at = Some(at + 1);
            world.group_offset = world.group_offset.max(at + 1);
            let actions = self.owner.command(at, &key, &value);
            self.perform(actions, world);
        }
    }

    fn hear_thought(&mut self, world: &mut World) {
        // Answers of different entities overtake each other; those of one do not.
        let place = world.rng.random_range(0..self.thoughts.len().max(1));
        let Some(chosen) = self.thoughts.get(place) else { return };
        let key = chosen.command.key.clone();
        let first = self.thoughts.iter().position(|thought| thought.command.key == key);
        let Some(thought) = first.and_then(|first| self.thoughts.remove(first)) else { return };
        let Thought { attempt, offset, command, decision, wake_at } = thought;
        let actions = self.owner.decided(attempt, offset, &command, decision, wake_at);
        self.perform(actions, world);
    }

    fn load_or_retry(&mut self, world: &mut World) {
        if self.loading {
            self.loading = false;
            let state = world.store.partition_now(world.kind, 0);
            let now = Timestamp::from_millis(world.now);
            let actions = self.owner.loaded(state, world.group_offset, now);
            self.perform(actions, world);
        } else if self.retrying {
            self.retrying = false;
            let actions = self.owner.retry();
            self.perform(actions, world);
        }
    }

    fn housekeeping(&mut self, world: &mut World) {
        let actions = self.owner.tick(Timestamp::from_millis(world.now));
        self.perform(actions, world);
        self.owner.stored(world.store.partition_now(world.kind, 0).checkpoint.offset);
        let quiet = self.entities.keys().find(|key| self.owner.is_quiet(key)).cloned();
        if let Some(key) = quiet {
            self.entities.remove(&key);
        }
    }
}

/// Nodes of two releases run side by side in an upgrade, and the new one refuses some commands
/// that the old one takes. Without this, deciding the same command twice would always come to
/// the same, and a fence (R2) would have nothing to protect.
pub(super) fn releases_disagree(entity: &Entity, command: &Command) -> bool {
    let is_first = entity.recent.find(command.id).is_none();
    is_first && command.tenant == entity.key.tenant && command.id.as_bytes()[0] < 64
}

fn refuse(entity: &mut Entity, command: &Command, offset: i64) -> (Decision, Option<Timestamp>) {
    let verdict = Verdict::Rejected(Rejection::new(Code::Invalid, "the new release says no"));
    let outcome = Outcome {
        epoch: 0,
        command_offset: offset,
        command_id: command.id,
        key: Some(command.key.clone()),
        at: command.at,
        by: command.principal.clone(),
        fingerprint: schemas::codec::fingerprint(command).expect("writable"),
        repeats: None,
        wake_at: None,
        verdict,
    };
    entity.apply(&outcome);
    let Outcome { verdict, fingerprint, .. } = outcome;
    (Decision { verdict, repeats: None, fingerprint }, entity.next_wake())
}

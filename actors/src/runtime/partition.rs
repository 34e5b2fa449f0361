//! The actor that owns the order of one partition. It carries out what [`Owner`] says: every
//! handler hands an input to the owner and performs the actions that come back.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, Addr, AsyncContext as _, Context, Handler,
    Message, ResponseActFuture, WrapFuture as _, fut,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use schemas::{Command, EntityKey, Kind, Offset, Timestamp, codec};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tracing::Span;

use super::{
    dead_letter,
    entity::{Decide, EntityActor, Passivate},
    guards::{Guards, Point},
    owner::{Action, Aside, Owner, Phase, Place},
};
use crate::{
    domain::entity::Decision,
    ports::{
        Clock, Log, LogError, NewRecord, PartitionState, Record, Sequence, Store, StoreError,
        Topic, TopicPartition,
    },
    span, trace,
};

/// Commands that may be between "read" and "outcome read back". Bounds memory and the mailboxes.
const WINDOW: usize = 1_024;
/// An append that takes longer has failed (R6).
const APPEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How often timers and passivation are looked after.
const TICK: Duration = Duration::from_millis(250);
/// How long a release waits for outcomes on their way.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a partition needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// The durable log.
    pub log: Arc<dyn Log>,
    /// Journal and snapshots.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// How owners behave.
#[derive(Debug, Clone)]
pub struct OwnerSettings {
    /// This process, in fences and logs; unique among the nodes.
    pub node: String,
    /// An entity without commands for so long is dropped from memory.
    pub passivate_after: Duration,
    /// At most so many entities of one partition are in memory beyond those with commands on
    /// their way.
    pub most_entities: usize,
    /// The rules that are kept.
    pub guards: Arc<Guards>,
}

struct Slot {
    addr: Addr<EntityActor>,
    used: Instant,
}

/// The actor of one partition.
pub struct PartitionActor {
    kind: Kind,
    partition: i32,
    ports: Ports,
    settings: OwnerSettings,
    owner: Owner,
    entities: HashMap<EntityKey, Slot>,
    readers: Vec<JoinHandle<()>>,
    window: Arc<Semaphore>,
    /// Whether what the projector has not written yet leaves room for more.
    has_room: watch::Sender<bool>,
    appends: mpsc::UnboundedSender<(u32, Append)>,
    /// Of commands that are traced, from their reading to the append of their outcome.
    spans: HashMap<Offset, Span>,
    ticks: u32,
    /// Whether the store is being asked what it has.
    is_trimming: bool,
}

type Append = BoxFuture<'static, Result<Offset, LogError>>;

impl PartitionActor {
    /// Starts the actor; it takes the partition at once.
    pub fn start_owning(
        kind: Kind,
        partition: i32,
        ports: Ports,
        settings: OwnerSettings,
    ) -> Addr<Self> {
        Self::create(|ctx| {
            ctx.set_mailbox_capacity(2 * WINDOW);
            let (appends, waiting) = mpsc::unbounded_channel();
            let passes = settings.guards.passes;
            actix::spawn(await_appends(waiting, passes, ctx.address()));
            let of = ports.log.partitions(&Topic::Commands(kind));
            let place = Place { partition, of };
            let owner = Owner::new(kind, place, settings.node.clone(), settings.guards.clone());
            Self {
                kind,
                partition,
                ports,
                settings,
                owner,
                entities: HashMap::new(),
                readers: Vec::new(),
                window: Arc::new(Semaphore::new(WINDOW)),
                has_room: watch::Sender::new(true),
                appends,
                spans: HashMap::new(),
                ticks: 0,
                is_trimming: false,
            }
        })
    }

    fn commands(&self) -> TopicPartition {
        TopicPartition::new(Topic::Commands(self.kind), self.partition)
    }

    fn outcomes(&self) -> TopicPartition {
        TopicPartition::new(Topic::Outcomes(self.kind), self.partition)
    }

    fn perform(&mut self, actions: Vec<Action>, ctx: &mut Context<Self>) {
        for action in actions {
            self.perform_one(action, ctx);
        }
    }

    fn perform_one(&mut self, action: Action, ctx: &mut Context<Self>) {
        match action {
            Action::Load => self.load(ctx),
            Action::AppendFence { attempt, value } => self.append_fence(attempt, value, ctx),
            Action::ReadOutcomes(from) => {
                let to_message = |attempt, records| Outcomes { attempt, records };
                let room = Intake::Room(self.has_room.subscribe());
                self.read(self.outcomes(), from, room, to_message, ctx);
            }
            Action::ReadCommands(from) => {
                let window = Intake::Window(self.window.clone());
                let to_message = |attempt, records| Commands { attempt, records };
                self.read(self.commands(), from, window, to_message, ctx);
            }
            Action::Decide { offset, command } => self.decide(offset, command, ctx),
            Action::AppendOutcome { attempt, offset, key, value } => {
                let span = self.spans.remove(&offset).unwrap_or_else(Span::none);
                let key = key.map(|key| Bytes::from(key.to_string())).unwrap_or_default();
                let sequence = Sequence::Continues;
                let record = NewRecord { key, value, sequence, ..NewRecord::default() };
                let append = span.in_scope(|| self.append_to_outcomes(record));
                (self.settings.guards.passes)(Point::AfterSend);
                // The receiver lives as long as this actor; it is drained as the log answers.
                self.appends.send((attempt, append)).ok();
            }
            Action::SetAside { attempt, offset, to, key, value, reason } => {
                let append = match to {
                    Aside::DeadLetters => self.dead_letter(offset, key, value, &reason),
                    Aside::Partition(right) => self.forward(offset, key, value, right),
                };
                let append = timeout(APPEND_TIMEOUT, append);
                ctx.spawn(append.into_actor(self).map(move |result, actor, ctx| {
                    let actions = match result {
                        Ok(Ok(_)) => actor.owner.set_aside(attempt, offset, reason),
                        Ok(Err(_)) | Err(_) => actor.owner.failed(attempt),
                    };
                    actor.perform(actions, ctx);
                }));
            }
            Action::AppendCommand(command) => self.append_command(&command),
            Action::Leak(outcome) => {
                tracing::error!(command_id = %outcome.command_id, "R5 is off: shown before durable");
            }
            Action::Reset => self.reset(),
            Action::RetryAfter(millis) => {
                tracing::warn!(topic = %self.outcomes(), millis, "a partition starts anew");
                ctx.run_later(Duration::from_millis(millis), |actor, ctx| {
                    let actions = actor.owner.retry();
                    actor.perform(actions, ctx);
                });
            }
        }
    }

    fn append_to_outcomes(&self, record: NewRecord) -> Append {
        let outcomes = self.outcomes();
        if (self.settings.guards.loses_append)(&outcomes, record.sequence) {
            return Box::pin(fut::ready(Err(LogError::Unavailable("fault switch".into()))));
        }
        trace::append(&*self.ports.log, &outcomes, record)
    }

    fn load(&mut self, ctx: &mut Context<Self>) {
        let store = self.ports.store.clone();
        let (kind, partition) = (self.kind, self.partition);
        let load = async move { store.partition(kind, partition).await };
        let loaded = |result: Result<PartitionState, StoreError>,
                      actor: &mut Self,
                      ctx: &mut Context<Self>| {
            let actions = match result {
                Ok(state) => {
                    let group_offset = state.checkpoint.last_command_offset + 1;
                    actor.owner.loaded(state, group_offset, actor.ports.clock.now())
                }
                Err(error) => {
                    tracing::error!(topic = %actor.outcomes(), %error, "no checkpoint");
                    actor.owner.interrupted()
                }
            };
            actor.perform(actions, ctx);
        };
        ctx.spawn(load.into_actor(self).map(loaded));
    }

    fn append_fence(&mut self, attempt: u32, value: Bytes, ctx: &mut Context<Self>) {
        let sequence = Sequence::Begins;
        let record = NewRecord { value, sequence, ..NewRecord::default() };
        let append = timeout(APPEND_TIMEOUT, self.append_to_outcomes(record));
        ctx.spawn(append.into_actor(self).map(move |result, actor, ctx| {
            let actions = match result {
                Ok(Ok(epoch)) => {
                    (actor.settings.guards.passes)(Point::AfterFence);
                    tracing::info!(topic = %actor.outcomes(), epoch, "fenced");
                    actor.owner.fenced(attempt, epoch)
                }
                Ok(Err(_)) | Err(_) => actor.owner.failed(attempt),
            };
            actor.perform(actions, ctx);
        }));
    }

    /// Tails a partition into this actor's mailbox, one batch at a time.
    fn read<M>(
        &mut self,
        of: TopicPartition,
        from: Offset,
        mut intake: Intake,
        to_message: impl Fn(u32, Vec<Record>) -> M + 'static,
        ctx: &mut Context<Self>,
    ) where
        M: Message<Result = ()> + Send + 'static,
        Self: Handler<M>,
    {
        let log = self.ports.log.clone();
        let addr = ctx.address();
        let broken = addr.clone().recipient::<Broken>();
        let attempt = self.owner.attempt();
        self.readers.push(actix::spawn(async move {
            let failure = async {
                let mut tail = log.tail(&of, from).await?;
                loop {
                    let mut records = tail.next().await?;
                    while !records.is_empty() {
                        let rest = records.split_off(records.len().min(WINDOW / 4));
                        intake.wait_for(records.len()).await;
                        let batch = std::mem::replace(&mut records, rest);
                        if addr.send(to_message(attempt, batch)).await.is_err() {
                            return Ok::<(), LogError>(());
                        }
                    }
                }
            };
            if let Err(error) = failure.await {
                tracing::error!(topic = %of, %error, "reading stopped");
                broken.send(Broken { attempt }).await.ok();
            }
        }));
    }

    fn decide(&mut self, offset: Offset, command: Box<Command>, ctx: &mut Context<Self>) {
        if !self.entities.contains_key(&command.key) {
            let actor = EntityActor {
                key: command.key.clone(),
                partition_number: self.partition,
                attempt: self.owner.attempt(),
                partition: ctx.address(),
                store: self.ports.store.clone(),
                guards: self.settings.guards.clone(),
                recent: self.owner.recent(&command.key, 0),
                state: None,
            };
            let slot = Slot { addr: actor.start_with_mailbox(), used: Instant::now() };
            self.entities.insert(command.key.clone(), slot);
        }
        let Some(slot) = self.entities.get_mut(&command.key) else { return };
        slot.used = Instant::now();
        if let Err(error) = slot.addr.try_send(Decide { offset, command }) {
            tracing::error!(topic = %self.commands(), offset, %error, "an entity takes no command");
            let actions = self.owner.interrupted();
            self.perform(actions, ctx);
        }
    }

    /// Sends a command to the partition that it belongs to (R10), under the same command id.
    fn forward(&self, offset: Offset, key: Bytes, value: Bytes, right: i32) -> Append {
        let from = self.commands();
        tracing::warn!(topic = %from, offset, right, "a command is on the wrong partition");
        let to = TopicPartition::new(from.topic, right);
        let span = self.spans.get(&offset).cloned().unwrap_or_else(Span::none);
        let record = NewRecord { key, value, ..NewRecord::default() };
        span.in_scope(|| trace::append(&*self.ports.log, &to, record))
    }

    fn dead_letter(&self, offset: Offset, key: Bytes, value: Bytes, reason: &str) -> Append {
        let now = self.ports.clock.now();
        let letter = dead_letter::letter(&self.commands(), offset, (key, value), reason, now);
        self.ports.log.append(&dead_letter::place(), letter)
    }

    fn append_command(&self, command: &Command) {
        let Ok(value) = codec::encode_command(command) else { return };
        let key = Bytes::from(command.key.to_string());
        let record =
            NewRecord { key, value: value.into(), headers: Vec::new(), ..NewRecord::default() };
        let append = self.ports.log.append(&self.commands(), record);
        // Not awaited by the owner: a wake that was lost is offered again.
        actix::spawn(async move { append.await.ok() });
    }

    fn reset(&mut self) {
        for reader in self.readers.drain(..) {
            reader.abort();
        }
        for (_, slot) in self.entities.drain() {
            slot.addr.try_send(Passivate).ok();
        }
        self.window = Arc::new(Semaphore::new(WINDOW));
        self.spans.clear();
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let actions = self.owner.tick(self.ports.clock.now());
        self.perform(actions, ctx);
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(4) {
            self.passivate();
        }
        // While too much is held, nothing is decided until the store is known to have more.
        if self.ticks.is_multiple_of(4) || self.owner.is_far_ahead() {
            self.trim(ctx);
        }
    }

    /// Drops the actors that nobody has asked for a while, and the oldest beyond the bound.
    fn passivate(&mut self) {
        let now = Instant::now();
        let mut quiet: Vec<_> = self
            .entities
            .iter()
            .filter(|(key, _)| self.owner.is_quiet(key))
            .map(|(key, slot)| (slot.used, key.clone()))
            .collect();
        quiet.sort_unstable();
        let surplus = self.entities.len().saturating_sub(self.settings.most_entities);
        for (place, (used, key)) in quiet.into_iter().enumerate() {
            if place >= surplus && now - used < self.settings.passivate_after {
                break;
            }
            if let Some(slot) = self.entities.remove(&key) {
                slot.addr.try_send(Passivate).ok();
            }
        }
    }

    /// Lets the reader of commands go on as far as outcomes have come back, and both readers as
    /// far as the projector follows.
    fn open_window(&self) {
        let has_room = !self.owner.is_far_ahead();
        self.has_room.send_if_modified(|before| std::mem::replace(before, has_room) != has_room);
        if has_room {
            let room = WINDOW.saturating_sub(self.owner.outstanding());
            self.window.add_permits(room.saturating_sub(self.window.available_permits()));
        }
    }

    /// Forgets the outcomes that the projector has written.
    fn trim(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_trimming, true) {
            return;
        }
        let store = self.ports.store.clone();
        let (kind, partition) = (self.kind, self.partition);
        let load = async move { store.partition(kind, partition).await };
        ctx.spawn(load.into_actor(self).map(|result, actor, _| {
            actor.is_trimming = false;
            if let Ok(state) = result {
                actor.owner.stored(state.checkpoint.offset);
                actor.open_window();
            }
        }));
    }
}

/// How a reader waits before it hands on what it read.
enum Intake {
    Room(watch::Receiver<bool>),
    Window(Arc<Semaphore>),
}

impl Intake {
    async fn wait_for(&mut self, count: usize) {
        match self {
            // An error says that the actor is gone, which ends the reader too.
            Self::Room(has_room) => drop(has_room.wait_for(|has_room| *has_room).await),
            Self::Window(window) => {
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                if let Ok(permits) = window.acquire_many(count).await {
                    permits.forget();
                }
            }
        }
    }
}

/// Awaits appends in the order they were made and reports the first of an attempt that fails.
async fn await_appends(
    mut waiting: mpsc::UnboundedReceiver<(u32, Append)>,
    passes: fn(Point),
    addr: Addr<PartitionActor>,
) {
    let mut failed = None;
    while let Some((attempt, append)) = waiting.recv().await {
        let result = timeout(APPEND_TIMEOUT, append).await;
        passes(Point::AfterAcknowledgement);
        if !matches!(result, Ok(Ok(_))) && failed != Some(attempt) {
            failed = Some(attempt);
            tracing::error!(?result, "an append failed");
            addr.send(AppendFailed { attempt }).await.ok();
        }
    }
}

impl Actor for PartitionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(TICK, Self::tick);
        let actions = self.owner.assigned();
        self.perform(actions, ctx);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Outcomes {
    attempt: u32,
    records: Vec<Record>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Commands {
    attempt: u32,
    records: Vec<Record>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct AppendFailed {
    attempt: u32,
}

/// An entity has decided.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Decided {
    pub(super) attempt: u32,
    pub(super) offset: Offset,
    pub(super) command: Box<Command>,
    pub(super) decision: Decision,
    pub(super) wake_at: Option<Timestamp>,
    pub(super) panicked: bool,
}

/// An entity or a reader cannot go on.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Broken {
    pub(super) attempt: u32,
}

/// Give the partition up: finish what is in flight within a bounded time.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Release;

/// Where a partition stands.
#[derive(Message)]
#[rtype(result = "PartitionStatus")]
pub struct GetStatus;

/// What [`GetStatus`] answers.
#[derive(Debug, Clone, actix::MessageResponse)]
pub struct PartitionStatus {
    /// Which kind's.
    pub kind: Kind,
    /// Which number.
    pub partition: i32,
    /// Where its owner stands.
    pub phase: Phase,
    /// How far it has read.
    pub position: crate::ports::Checkpoint,
    /// How many entities are in memory.
    pub entities: usize,
}

impl Handler<Outcomes> for PartitionActor {
    type Result = ();

    fn handle(&mut self, batch: Outcomes, ctx: &mut Self::Context) {
        for record in &batch.records {
            if batch.attempt != self.owner.attempt() {
                return;
            }
            let actions = self.owner.outcome(record.offset, &record.value);
            self.perform(actions, ctx);
        }
        self.open_window();
    }
}

impl Handler<Commands> for PartitionActor {
    type Result = ();

    fn handle(&mut self, batch: Commands, ctx: &mut Self::Context) {
        for record in &batch.records {
            if batch.attempt != self.owner.attempt() {
                return;
            }
            if let Some(cause) = trace::cause(&record.headers) {
                let key = String::from_utf8_lossy(&record.key);
                let span = span!(
                    "decide", Some(cause), topic = %self.commands(), offset = record.offset, entity = %key,
                    node = self.settings.node
                );
                self.spans.insert(record.offset, span);
            }
            let actions = self.owner.command(record.offset, &record.key, &record.value);
            if actions.is_empty() {
                self.spans.remove(&record.offset);
            }
            self.perform(actions, ctx);
        }
    }
}

impl Handler<Decided> for PartitionActor {
    type Result = ();

    fn handle(&mut self, decided: Decided, ctx: &mut Self::Context) {
        let Decided { attempt, offset, command, decision, wake_at, panicked } = decided;
        if attempt != self.owner.attempt() {
            return;
        }
        if panicked {
            // Its state is gone and others may wait in its mailbox: begin anew behind this one,
            // whose outcome is appended first.
            tracing::error!(entity = %command.key, command_id = %command.id, "a command panics");
            if let Ok(value) = codec::encode_command(&command) {
                let key = Bytes::from(command.key.to_string());
                let reason = "the command makes its entity panic";
                let append = self.dead_letter(offset, key, value.into(), reason);
                // One that does not reach the log makes the partition begin anew, which finds
                // the record again.
                self.appends.send((self.owner.attempt(), append)).ok();
            }
        }
        (self.settings.guards.passes)(Point::AfterDecide);
        let actions = self.owner.decided(attempt, offset, &command, decision, wake_at);
        self.perform(actions, ctx);
        if panicked {
            let actions = self.owner.interrupted();
            self.perform(actions, ctx);
        }
    }
}

impl Handler<AppendFailed> for PartitionActor {
    type Result = ();

    fn handle(&mut self, AppendFailed { attempt }: AppendFailed, ctx: &mut Self::Context) {
        let actions = self.owner.failed(attempt);
        self.perform(actions, ctx);
    }
}

impl Handler<Broken> for PartitionActor {
    type Result = ();

    fn handle(&mut self, Broken { attempt }: Broken, ctx: &mut Self::Context) {
        if attempt == self.owner.attempt() {
            let actions = self.owner.interrupted();
            self.perform(actions, ctx);
        }
    }
}

impl Handler<GetStatus> for PartitionActor {
    type Result = PartitionStatus;

    fn handle(&mut self, GetStatus: GetStatus, _: &mut Self::Context) -> PartitionStatus {
        PartitionStatus {
            kind: self.kind,
            partition: self.partition,
            phase: self.owner.phase(),
            position: self.owner.position(),
            entities: self.entities.len(),
        }
    }
}

impl Handler<Release> for PartitionActor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Release: Release, ctx: &mut Self::Context) -> Self::Result {
        self.owner.stop_intake();
        let addr = ctx.address();
        let quiet = async move {
            let finished = async {
                while addr.send(IsQuiet).await == Ok(false) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(RELEASE_TIMEOUT, finished).await.ok();
        };
        Box::pin(quiet.into_actor(self).then(|(), actor, ctx| {
            let actions = actor.owner.lost();
            actor.perform(actions, ctx);
            ctx.stop();
            fut::ready(())
        }))
    }
}

/// The partition is somebody else's: drop it at once.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Abandon;

impl Handler<Abandon> for PartitionActor {
    type Result = ();

    fn handle(&mut self, Abandon: Abandon, ctx: &mut Self::Context) {
        let actions = self.owner.lost();
        self.perform(actions, ctx);
        ctx.stop();
    }
}

#[derive(Message)]
#[rtype(result = "bool")]
struct IsQuiet;

impl Handler<IsQuiet> for PartitionActor {
    type Result = bool;

    fn handle(&mut self, IsQuiet: IsQuiet, _: &mut Self::Context) -> bool {
        self.owner.outstanding() == 0
    }
}

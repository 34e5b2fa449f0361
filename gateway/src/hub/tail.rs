//! The task that follows one partition of outcomes for this gateway: folds what is looked at,
//! answers who waits, and hands changes to the shards. The only owner of the partition's replica,
//! so that a join's answer and the changes after it can have no gap between them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actors::{
    ports::{
        EmptyOutcomes, JournalQuery, Loaded, LogError, Order, Record, StoreError, TopicPartition,
    },
    runtime::{
        guards::Guards,
        owner::LARGEST_RING,
        partition::Ports,
        replica::{Answer, FoldError, Replica},
        ring::Counted,
    },
};
use bytes::Bytes;
use schemas::{
    Code, EntityKey, Kind, Offset, OutcomeRecord, Seq,
    codec::{self, SchemaIds},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    ChangeJson, Delivery, LONGEST_RESUME, MOST_HISTORY, Reader, ReplyTo, SessionId, ShardMessage,
    TailGauge, changes_json, no_such, store_problem, write_array,
};
use crate::problem::Problem;

/// A partition that nobody is subscribed to or asks about for so long is followed no more.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);
/// How often the store's checkpoint is asked for, to forget what it has.
const TRIM: Duration = Duration::from_secs(1);
/// The pause before a tail that broke begins anew.
const PAUSE: Duration = Duration::from_millis(200);
/// The pause before an entity is loaded again because the store was of another moment.
const AGAIN: Duration = Duration::from_millis(1);
/// Entities that nobody is subscribed to but that were read lately.
const LATELY_READ: usize = 512;

/// An entity as JSON.
#[derive(Debug, Clone)]
pub struct View {
    /// Its seq.
    pub seq: Seq,
    /// Its state.
    pub state: Bytes,
}

/// A session that wants an entity's changes.
#[derive(Debug)]
pub struct SubscribeTo {
    /// The worker.
    pub shard: usize,
    /// The session there.
    pub session: SessionId,
    /// The request's own id, as JSON.
    pub request: Arc<str>,
    /// Who reads.
    pub reader: Reader,
    /// From where it resumes.
    pub since: Option<Seq>,
    /// Whether the session is to be shown to the others there.
    pub show: bool,
    /// What the store has after `since`, once the tail has said that it needs it.
    pub journal: Option<Vec<ChangeJson>>,
}

/// What a tail can be asked.
#[derive(Debug)]
pub enum Request {
    /// The entity's state.
    View {
        /// Which.
        key: EntityKey,
        /// For whom.
        reader: Reader,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<View, Problem>>,
    },
    /// Whether it may be read, and its seq.
    Check {
        /// Which.
        key: EntityKey,
        /// By whom.
        reader: Reader,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Seq, Problem>>,
    },
    /// A session joins.
    Subscribe {
        /// Which entity.
        key: EntityKey,
        /// The session.
        to: SubscribeTo,
    },
    /// A session has left.
    Unsubscribe {
        /// Which entity.
        key: EntityKey,
        /// The session's worker.
        shard: usize,
    },
    /// What came of a command.
    Await {
        /// Where the command stands.
        command_offset: Offset,
        /// Whose it is.
        key: EntityKey,
        /// Where the answer goes.
        reply: ReplyTo,
    },
    /// The outcomes that the store may not have yet.
    Recent {
        /// Of which entity.
        key: EntityKey,
        /// Where the answer goes.
        reply: oneshot::Sender<Vec<Arc<Counted>>>,
    },
    /// The store has answered.
    Loaded {
        /// About which entity.
        key: EntityKey,
        /// What it knows.
        result: Result<Loaded, StoreError>,
    },
    /// The store is this far.
    Stored(Offset),
    /// Answer this once the tail has read up to here: another node may have told more.
    After(Offset, Box<Request>),
}

impl Request {
    /// Which entity's state it is about, if it is.
    fn key(&self) -> Option<&EntityKey> {
        match self {
            Self::View { key, .. } | Self::Check { key, .. } | Self::Subscribe { key, .. } => {
                Some(key)
            }
            Self::Unsubscribe { .. }
            | Self::Await { .. }
            | Self::Recent { .. }
            | Self::Loaded { .. }
            | Self::Stored(_)
            | Self::After(..) => None,
        }
    }

    /// Whether it needs the partition to be followed.
    fn wants_tail(&self) -> bool {
        match self {
            Self::View { .. }
            | Self::Check { .. }
            | Self::Subscribe { .. }
            | Self::Await { .. }
            | Self::Recent { .. } => true,
            Self::Unsubscribe { .. } | Self::Loaded { .. } | Self::Stored(_) | Self::After(..) => {
                false
            }
        }
    }
}

/// Why a tail ends.
enum End {
    HubDropped,
    NobodyCares,
}

/// A tail before it runs.
pub(super) struct TailTask {
    pub(super) of: TopicPartition,
    pub(super) kind: Kind,
    pub(super) partition: i32,
    pub(super) ports: Ports,
    pub(super) guards: Arc<Guards>,
    pub(super) shards: Vec<mpsc::Sender<ShardMessage>>,
    pub(super) to_self: mpsc::WeakSender<Request>,
    pub(super) gauge: Arc<TailGauge>,
}

impl TailTask {
    /// Follows while somebody is interested, until the hub is dropped. A break of log or store is
    /// logged and begun anew from where it broke; what came twice is told apart by offset.
    pub(super) async fn run(self, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.recv().await {
            if !request.wants_tail() {
                continue;
            }
            self.gauge.wanted.store(true, Ordering::Relaxed);
            let mut tail: Option<Tail> = None;
            let mut first = Some(request);
            loop {
                match self.follow(&mut tail, &mut first, &mut requests).await {
                    Ok(End::HubDropped) => return,
                    Ok(End::NobodyCares) => break,
                    Err(error) => {
                        tracing::warn!(topic = %self.of, error, "a tail starts anew");
                        sleep(PAUSE).await;
                    }
                }
            }
            self.gauge.wanted.store(false, Ordering::Relaxed);
            self.gauge.position.store(-1, Ordering::Relaxed);
            self.gauge.ahead.store(0, Ordering::Relaxed);
        }
    }

    async fn follow(
        &self,
        tail: &mut Option<Tail>,
        first: &mut Option<Request>,
        requests: &mut mpsc::Receiver<Request>,
    ) -> Result<End, String> {
        let tail = match tail {
            Some(tail) => tail,
            none => {
                let state = self.ports.store.partition(self.kind, self.partition).await;
                let start = state.map_err(|error| error.to_string())?.checkpoint;
                none.insert(Tail {
                    cared_at: Instant::now(),
                    replica: Replica::new(self.kind, start, self.guards.clone()),
                    interest: HashMap::new(),
                    waiting: BTreeMap::new(),
                    later: BTreeMap::new(),
                    loading: HashMap::new(),
                    views: HashMap::new(),
                })
            }
        };
        let from = tail.replica.position().offset;
        let mut records =
            self.ports.log.tail(&self.of, from).await.map_err(|error| error.to_string())?;
        // Nothing is answered from a past that this node may have told more than (R13).
        let bounds = self.ports.log.bounds(&self.of).await.map_err(|error| error.to_string())?;
        while tail.replica.position().offset < bounds.end {
            if tail.replica.ahead() >= LARGEST_RING {
                // The store is being made anew; what it does not have yet would not fit.
                sleep(PAUSE).await;
                let state = self.ports.store.partition(self.kind, self.partition).await;
                let state = state.map_err(|error| error.to_string())?;
                tail.replica.stored(state.checkpoint.offset);
                continue;
            }
            let batch = records.next().await.map_err(|error| error.to_string())?;
            self.deliver(tail, &batch).await;
        }
        if let Some(request) = first.take() {
            self.answer(tail, request).await;
        }
        let mut trim = interval(TRIM);
        trim.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                batch = records.next(), if tail.replica.ahead() < LARGEST_RING => {
                    let batch: Vec<Record> = batch.map_err(|error: LogError| error.to_string())?;
                    self.deliver(tail, &batch).await;
                    self.serve_later(tail).await;
                }
                request = requests.recv() => match request {
                    Some(request) => self.answer(tail, request).await,
                    None => return Ok(End::HubDropped),
                },
                _ = trim.tick() => {
                    if tail.is_abandoned() {
                        return Ok(End::NobodyCares);
                    }
                    self.ask_checkpoint();
                }
            }
            let position = tail.replica.position().offset;
            self.gauge.position.store(position, Ordering::Relaxed);
            self.gauge.ahead.store(tail.replica.ahead(), Ordering::Relaxed);
            self.gauge.active_at.store(self.ports.clock.now().as_millis(), Ordering::Relaxed);
        }
    }

    async fn deliver(&self, tail: &mut Tail, batch: &[Record]) {
        for record in batch {
            let Some(counted) = tail.replica.outcome(record.offset, &record.value) else {
                continue;
            };
            let delivery = Arc::new(Delivery::new(counted));
            if let Some(key) = &delivery.outcome().key
                && !super::changes_of(delivery.outcome()).is_empty()
                && let Some(shards) = tail.interest.get(key)
            {
                for (shard, _) in shards.iter().enumerate().filter(|(_, count)| **count > 0) {
                    self.send(shard, ShardMessage::Changes(delivery.clone())).await;
                }
            }
            let offset = delivery.outcome().command_offset;
            if let Some(replies) = tail.waiting.remove(&offset) {
                for reply in replies {
                    self.reply(reply, &delivery).await;
                }
            }
        }
    }

    async fn reply(&self, reply: ReplyTo, delivery: &Arc<Delivery>) {
        match reply {
            // Whoever asked may be gone; the outcome stands.
            ReplyTo::Caller(caller) => drop(caller.send(delivery.clone())),
            ReplyTo::Session { shard, session, ticket } => {
                let delivery = delivery.clone();
                self.send(shard, ShardMessage::Decided { session, ticket, delivery }).await;
            }
        }
    }

    async fn send(&self, shard: usize, message: ShardMessage) {
        if let Some(shard) = self.shards.get(shard) {
            // A shard ends with its worker, at shut-down only.
            shard.send(message).await.ok();
        }
    }

    async fn answer(&self, tail: &mut Tail, request: Request) {
        if request.wants_tail() {
            tail.cared_at = Instant::now();
        }
        match request {
            Request::View { .. } | Request::Check { .. } | Request::Subscribe { .. } => {
                self.look(tail, request).await;
            }
            Request::Unsubscribe { key, shard } => tail.unsubscribe(&key, shard),
            Request::Await { command_offset, key, reply } => {
                match tail.replica.answer(command_offset) {
                    Answer::Here(counted) => {
                        self.reply(reply, &Arc::new(Delivery::new(counted))).await;
                    }
                    Answer::NotYet => tail.waiting.entry(command_offset).or_default().push(reply),
                    // The tail began behind it: the store has it already.
                    Answer::Gone => match self.stored_outcome(&key, command_offset).await {
                        Some(counted) => {
                            self.reply(reply, &Arc::new(Delivery::new(counted))).await;
                        }
                        // Dropping the reply tells the caller `unavailable`: a retry with the
                        // same command id finds the first outcome (R8).
                        None => {
                            tracing::warn!(entity = %key, command_offset, "an answer is not found");
                        }
                    },
                }
            }
            Request::Recent { key, reply } => {
                drop(reply.send(tail.replica.recent(&key, 0)));
            }
            Request::Loaded { key, result } => self.loaded(tail, key, result).await,
            Request::Stored(offset) => tail.replica.stored(offset),
            Request::After(offset, request) => {
                tail.later.entry(offset).or_default().push(*request);
                self.serve_later(tail).await;
            }
        }
    }

    /// Serves what has waited for what the tail has read by now.
    async fn serve_later(&self, tail: &mut Tail) {
        let position = tail.replica.position().offset;
        while let Some(entry) = tail.later.first_entry().filter(|entry| *entry.key() <= position) {
            for request in entry.remove() {
                match request.key() {
                    // Forgotten meanwhile: loaded again.
                    Some(key) if tail.replica.get(key).is_none() => self.look(tail, request).await,
                    Some(_) | None => self.serve(tail, request).await,
                }
            }
        }
    }

    /// Whether the request asks for more than is held, so that the log must be asked whether there
    /// is more: another node may have answered with it already.
    fn is_behind(tail: &Tail, request: &Request) -> bool {
        let held = |key: &EntityKey| tail.replica.get(key).map_or(0, |entity| entity.seq);
        match request {
            Request::View { key, .. } | Request::Check { key, .. } => held(key) == 0,
            Request::Subscribe { key, to } => held(key) < to.since.unwrap_or(0).max(1),
            Request::Unsubscribe { .. }
            | Request::Await { .. }
            | Request::Recent { .. }
            | Request::Loaded { .. }
            | Request::Stored(_)
            | Request::After(..) => false,
        }
    }

    /// Answers a request about an entity that is held, after the tail has caught up if it may be
    /// behind.
    async fn serve_level(&self, tail: &mut Tail, request: Request) {
        if !Self::is_behind(tail, &request) {
            return self.serve(tail, request).await;
        }
        let (log, of, to_self) = (self.ports.log.clone(), self.of.clone(), self.to_self.clone());
        tokio::spawn(async move {
            // If the log cannot say, the answer is what is known here.
            let end = log.bounds(&of).await.map_or(0, |bounds| bounds.end);
            if let Some(tail) = to_self.upgrade() {
                tail.send(Request::After(end, Box::new(request))).await.ok();
            }
        });
    }

    /// The outcome of the command at an offset, if it is among the entity's latest in the store.
    async fn stored_outcome(
        &self,
        key: &EntityKey,
        command_offset: Offset,
    ) -> Option<Arc<Counted>> {
        let query = JournalQuery {
            after: -1,
            before: Seq::MAX,
            order: Order::NewestFirst,
            limit: MOST_HISTORY,
            empty: EmptyOutcomes::Include,
        };
        let rows = self.ports.store.journal(key, query).await.ok()?;
        rows.into_iter().rev().find_map(|row| {
            let decoded = codec::decode_outcome(self.kind, &row.value, &SchemaIds::default());
            let Ok(OutcomeRecord::Outcome(outcome)) = decoded else { return None };
            let is_it = outcome.command_offset == command_offset;
            is_it.then(|| {
                Arc::new(Counted { offset: row.offset, value: row.value, outcome: *outcome })
            })
        })
    }

    /// Answers a request about an entity's state, now or once it is loaded.
    async fn look(&self, tail: &mut Tail, request: Request) {
        let Some(key) = request.key().cloned() else { return };
        if tail.replica.get(&key).is_some() {
            self.serve_level(tail, request).await;
            return;
        }
        let waiting = tail.loading.entry(key.clone()).or_default();
        waiting.push(request);
        if waiting.len() == 1 {
            self.load(key, Duration::ZERO);
        }
    }

    fn load(&self, key: EntityKey, after: Duration) {
        let (store, partition) = (self.ports.store.clone(), self.partition);
        let to_self = self.to_self.clone();
        tokio::spawn(async move {
            sleep(after).await;
            let result = store.load(&key, partition).await;
            if let Some(tail) = to_self.upgrade() {
                tail.send(Request::Loaded { key, result }).await.ok();
            }
        });
    }

    fn ask_checkpoint(&self) {
        let (store, kind, partition) = (self.ports.store.clone(), self.kind, self.partition);
        let to_self = self.to_self.clone();
        tokio::spawn(async move {
            if let (Ok(state), Some(tail)) =
                (store.partition(kind, partition).await, to_self.upgrade())
            {
                tail.send(Request::Stored(state.checkpoint.offset)).await.ok();
            }
        });
    }

    async fn loaded(&self, tail: &mut Tail, key: EntityKey, result: Result<Loaded, StoreError>) {
        let entity = match result {
            Ok(loaded) => match tail.replica.present(&key, &loaded) {
                Ok(entity) => Ok(entity),
                Err(FoldError::OtherMoment(_)) => return self.load(key, AGAIN),
                Err(error) => Err(Problem::new(Code::Unavailable, error.to_string())),
            },
            Err(error) => Err(store_problem(error)),
        };
        let waiting = tail.loading.remove(&key).unwrap_or_default();
        match entity {
            Ok(entity) => {
                tail.forget_lately_read();
                tail.replica.install(entity);
                for request in waiting {
                    self.serve_level(tail, request).await;
                }
            }
            Err(problem) => {
                tracing::error!(entity = %key, %problem, "an entity cannot be read");
                for request in waiting {
                    self.refuse(request, problem.clone()).await;
                }
            }
        }
    }

    async fn refuse(&self, request: Request, problem: Problem) {
        match request {
            Request::View { reply, .. } => drop(reply.send(Err(problem))),
            Request::Check { reply, .. } => drop(reply.send(Err(problem))),
            Request::Subscribe { key, to } => self.joined(key, to, Err(problem)).await,
            Request::Unsubscribe { .. }
            | Request::Await { .. }
            | Request::Recent { .. }
            | Request::Loaded { .. }
            | Request::Stored(_)
            | Request::After(..) => {}
        }
    }

    async fn joined(&self, key: EntityKey, to: SubscribeTo, result: Result<Joined, Problem>) {
        let shard = to.shard;
        self.send(shard, ShardMessage::Joined(Box::new(JoinResult { key, to, result }))).await;
    }

    /// Answers a request about an entity that is held.
    async fn serve(&self, tail: &mut Tail, request: Request) {
        match request {
            Request::View { key, reader, reply } => {
                let view = tail.readable(&key, &reader).map(|()| tail.view(&key));
                drop(reply.send(view));
            }
            Request::Check { key, reader, reply } => {
                let seq = tail.replica.get(&key).map_or(0, |entity| entity.seq);
                drop(reply.send(tail.readable(&key, &reader).map(|()| seq)));
            }
            Request::Subscribe { key, to } => {
                let result = tail.readable(&key, &to.reader).map(|()| tail.join(&key, &to));
                if matches!(result, Ok(Joined::Here { .. })) {
                    tail.subscribe(&key, to.shard, self.shards.len());
                }
                self.joined(key, to, result).await;
            }
            Request::Unsubscribe { .. }
            | Request::Await { .. }
            | Request::Recent { .. }
            | Request::Loaded { .. }
            | Request::Stored(_)
            | Request::After(..) => {}
        }
    }
}

/// How a join ended.
#[derive(Debug)]
pub enum Joined {
    /// The answer, as the `ok` object; changes after `seq` follow.
    Here {
        /// The entity's seq.
        seq: Seq,
        /// The JSON.
        answer: Bytes,
    },
    /// Ask again with the store's changes after `since`.
    NeedsJournal,
}

/// A join's end, on its way to the session.
#[derive(Debug)]
pub struct JoinResult {
    /// The entity.
    pub key: EntityKey,
    /// Who asked.
    pub to: SubscribeTo,
    /// What came of it.
    pub result: Result<Joined, Problem>,
}

/// The state of a running tail.
struct Tail {
    replica: Replica,
    /// When it was last asked for something.
    cared_at: Instant,
    /// How many sessions of each shard are at an entity.
    interest: HashMap<EntityKey, Vec<u32>>,
    /// Who waits for the command at an offset.
    waiting: BTreeMap<Offset, Vec<ReplyTo>>,
    /// Who waits for the tail to have read up to an offset.
    later: BTreeMap<Offset, Vec<Request>>,
    /// Who waits for the store.
    loading: HashMap<EntityKey, Vec<Request>>,
    /// The last JSON of an entity's state: many who join at once share it.
    views: HashMap<EntityKey, View>,
}

impl Tail {
    /// Whether nobody has cared for it for a while.
    fn is_abandoned(&self) -> bool {
        self.interest.is_empty()
            && self.waiting.is_empty()
            && self.later.is_empty()
            && self.loading.is_empty()
            && self.cared_at.elapsed() > ABANDONED_AFTER
    }

    fn readable(&self, key: &EntityKey, reader: &Reader) -> Result<(), Problem> {
        let entity = self.replica.get(key).filter(|entity| entity.aggregate.is_some());
        let entity = entity.ok_or_else(|| Problem::from(no_such(key)))?;
        if entity.may_read(reader.actor()) {
            Ok(())
        } else {
            Err(Problem::new(Code::Forbidden, format!("{} is not open to you", key.entity)))
        }
    }

    fn view(&mut self, key: &EntityKey) -> View {
        let entity = self.replica.get(key);
        let seq = entity.map_or(0, |entity| entity.seq);
        if let Some(view) = self.views.get(key).filter(|view| view.seq == seq) {
            return view.clone();
        }
        let state = entity.map(actors::domain::entity::Entity::view).unwrap_or_default();
        let state = Bytes::from(serde_json::to_vec(&state).unwrap_or_default());
        let view = View { seq, state };
        self.views.insert(key.clone(), view.clone());
        view
    }

    fn join(&mut self, key: &EntityKey, to: &SubscribeTo) -> Joined {
        let seq = self.replica.get(key).map_or(0, |entity| entity.seq);
        if let Some(since) = to.since
            && (0..=seq).contains(&since)
            && seq - since <= LONGEST_RESUME
        {
            match self.changes_after(key, since, seq, to.journal.as_deref()) {
                Some(changes) => {
                    let mut answer = format!(
                        "{{\"entity\":\"{}\",\"seq\":{seq},\"recovered\":true,\"changes\":",
                        key.entity
                    )
                    .into_bytes();
                    write_array(&mut answer, changes.iter().map(|change| &change.json[..]));
                    answer.push(b'}');
                    return Joined::Here { seq, answer: answer.into() };
                }
                None if to.journal.is_none() => return Joined::NeedsJournal,
                None => {}
            }
        }
        let view = self.view(key);
        let recovered = if to.since.is_some() { "\"recovered\":false," } else { "" };
        let mut answer =
            format!("{{\"entity\":\"{}\",\"seq\":{seq},{recovered}\"state\":", key.entity)
                .into_bytes();
        answer.extend_from_slice(&view.state);
        answer.push(b'}');
        Joined::Here { seq, answer: answer.into() }
    }

    /// Every change after `since` up to `seq`, or none if any is missing.
    fn changes_after(
        &self,
        key: &EntityKey,
        since: Seq,
        seq: Seq,
        journal: Option<&[ChangeJson]>,
    ) -> Option<Vec<ChangeJson>> {
        let mut changes: Vec<ChangeJson> = Vec::new();
        let mut next = since + 1;
        let recent = self.replica.recent(key, 0);
        let recent = recent.iter().flat_map(|counted| changes_json(&counted.outcome));
        for change in journal.unwrap_or_default().iter().cloned().chain(recent) {
            if change.seq == next {
                next += 1;
                changes.push(change);
            }
        }
        (next == seq + 1).then_some(changes)
    }

    fn subscribe(&mut self, key: &EntityKey, shard: usize, shards: usize) {
        let counts = self.interest.entry(key.clone()).or_insert_with(|| vec![0; shards]);
        if let Some(count) = counts.get_mut(shard) {
            *count += 1;
        }
    }

    fn unsubscribe(&mut self, key: &EntityKey, shard: usize) {
        let Some(counts) = self.interest.get_mut(key) else { return };
        if let Some(count) = counts.get_mut(shard) {
            *count = count.saturating_sub(1);
        }
        if counts.iter().all(|count| *count == 0) {
            self.interest.remove(key);
            self.replica.forget(key);
            self.views.remove(key);
        }
    }

    /// Bounds what was read without a subscription.
    fn forget_lately_read(&mut self) {
        if self.views.len() > LATELY_READ + self.interest.len() {
            let idle: Vec<_> = self
                .views
                .keys()
                .filter(|key| !self.interest.contains_key(*key))
                .cloned()
                .collect();
            for key in idle {
                self.views.remove(&key);
                self.replica.forget(&key);
            }
        }
    }
}

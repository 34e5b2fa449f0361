//! The task that follows one partition of outcomes for this gateway: folds what is looked at,
//! answers who waits, and hands changes to the shards. The only owner of the partition's replica,
//! so that a join's answer and the changes after it can have no gap between them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actors::{
    ports::{
        EmptyOutcomes, JournalQuery, Loaded, LogError, Order, Record, Store, StoreError,
        TopicPartition,
    },
    runtime::{
        guards::Guards,
        partition::Ports,
        replica::{Answer, FoldError, Replica},
        ring::Counted,
    },
    span, trace,
};
use schemas::{Code, EntityKey, Kind, Offset, OutcomeRecord, Seq, codec};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    Delivery, MOST_HISTORY, ReplyTo, ShardMessage, TailGauge,
    request::{JoinResult, Joined, Request, SubscribeTo},
    shards::Shards,
    store_problem,
    tail_state::Tail,
};
use crate::problem::Problem;

/// How often the store's checkpoint is asked for, to forget what it has.
const TRIM: Duration = Duration::from_secs(1);
/// How often while nothing more is read because the store has too little of it.
const TRIM_FULL: Duration = Duration::from_millis(250);
/// The pause before a tail that broke begins anew.
const PAUSE: Duration = Duration::from_millis(200);
/// The pause before an entity is loaded again because the store was of another moment.
const AGAIN: Duration = Duration::from_millis(1);

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
    pub(super) shards: Shards,
    /// Who may look for an outcome in the store at a time.
    pub(super) searches: Arc<Semaphore>,
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
                let replica = Replica::new(self.kind, start, self.guards.clone());
                none.insert(Tail::new(replica))
            }
        };
        let from = tail.replica.position().offset;
        let mut records =
            self.ports.log.tail(&self.of, from).await.map_err(|error| error.to_string())?;
        // Nothing is answered from a past that this node may have told more than (R13).
        let bounds = self.ports.log.bounds(&self.of).await.map_err(|error| error.to_string())?;
        while tail.replica.position().offset < bounds.end {
            if tail.is_full() {
                // The store is being made anew; what it does not have yet would not fit.
                sleep(PAUSE).await;
                let state = self.ports.store.partition(self.kind, self.partition).await;
                let state = state.map_err(|error| error.to_string())?;
                tail.stored(state.checkpoint.offset, Instant::now());
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
        let mut trim_full = interval(TRIM_FULL);
        trim_full.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                batch = records.next(), if !tail.is_full() => {
                    let batch: Vec<Record> = batch.map_err(|error: LogError| error.to_string())?;
                    self.deliver(tail, &batch).await;
                    self.serve_later(tail).await;
                    self.answer_waiting(tail, requests).await;
                }
                request = requests.recv() => match request {
                    Some(request) => {
                        self.answer(tail, request).await;
                        self.answer_waiting(tail, requests).await;
                    }
                    None => return Ok(End::HubDropped),
                },
                _ = trim.tick() => {
                    if tail.is_abandoned() {
                        return Ok(End::NobodyCares);
                    }
                    self.ask_checkpoint(tail);
                }
                _ = trim_full.tick(), if tail.is_full() => self.ask_checkpoint(tail),
            }
            let position = tail.replica.position().offset;
            self.gauge.position.store(position, Ordering::Relaxed);
            self.gauge.ahead.store(tail.lag(), Ordering::Relaxed);
            self.gauge.active_at.store(self.ports.clock.now().as_millis(), Ordering::Relaxed);
        }
    }

    /// Answers what waits. A batch of records is many commands' outcomes: if it had the turn of one
    /// request, those who ask for their outcome would come when it is long forgotten here.
    async fn answer_waiting(&self, tail: &mut Tail, requests: &mut mpsc::Receiver<Request>) {
        for _ in 0..requests.len() {
            let Ok(request) = requests.try_recv() else { return };
            self.answer(tail, request).await;
        }
    }

    async fn deliver(&self, tail: &mut Tail, batch: &[Record]) {
        for record in batch {
            let Some(counted) = tail.replica.outcome(record.offset, &record.value) else {
                continue;
            };
            let cause = trace::cause(&record.headers);
            let span = span!("fan-out", cause, topic = %self.of, offset = record.offset);
            let delivery = Arc::new(Delivery::traced(counted, span));
            if let Some(key) = &delivery.outcome().key
                && !super::changes_of(delivery.outcome()).is_empty()
                && let Some(shards) = tail.interest.get(key)
            {
                for (shard, _) in shards.iter().enumerate().filter(|(_, count)| **count > 0) {
                    self.shards.send(shard, ShardMessage::Changes(delivery.clone())).await;
                }
            }
            let offset = delivery.outcome().command_offset;
            if let Some(replies) = tail.waiting.remove(&offset) {
                for reply in replies {
                    self.shards.reply(reply, &delivery).await;
                }
            }
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
                        self.shards.reply(reply, &Arc::new(Delivery::new(counted))).await;
                    }
                    Answer::NotYet => tail.waiting.entry(command_offset).or_default().push(reply),
                    // Stored and forgotten here: the tail began behind it, or whoever asks is late.
                    Answer::Gone => self.find(key, command_offset, reply),
                }
            }
            Request::Recent { key, reply } => {
                drop(reply.send(tail.replica.recent(&key, 0)));
            }
            Request::Loaded { key, result } => self.loaded(tail, key, result).await,
            Request::Stored(answer) => {
                tail.is_asking = false;
                if let Some(offset) = answer {
                    tail.stored(offset, Instant::now());
                }
            }
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

    /// Answers with what the store has. Whoever asks is late already; those who look at entities use
    /// the same connections, so few look at a time.
    fn find(&self, key: EntityKey, command_offset: Offset, reply: ReplyTo) {
        let (store, kind, shards) = (self.ports.store.clone(), self.kind, self.shards.clone());
        let searches = self.searches.clone();
        tokio::spawn(async move {
            let _permit = searches.acquire_owned().await;
            if matches!(&reply, ReplyTo::Caller(caller) if caller.is_closed()) {
                return;
            }
            match stored_outcome(&*store, kind, &key, command_offset).await {
                Ok(Some(counted)) => shards.reply(reply, &Arc::new(Delivery::new(counted))).await,
                // They are told `unavailable` or `timeout`: a retry with the same command id finds
                // the first outcome (R8).
                Ok(None) => {
                    tracing::warn!(entity = %key, command_offset, "an answer is not found");
                }
                Err(error) => {
                    tracing::warn!(entity = %key, command_offset, %error, "an answer is not read");
                }
            }
        });
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

    fn ask_checkpoint(&self, tail: &mut Tail) {
        if std::mem::replace(&mut tail.is_asking, true) {
            return;
        }
        let (store, kind, partition) = (self.ports.store.clone(), self.kind, self.partition);
        let to_self = self.to_self.clone();
        tokio::spawn(async move {
            let state = store.partition(kind, partition).await;
            let answer = state.ok().map(|state| state.checkpoint.offset);
            if let Some(tail) = to_self.upgrade() {
                tail.send(Request::Stored(answer)).await.ok();
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
        self.shards
            .send(shard, ShardMessage::Joined(Box::new(JoinResult { key, to, result })))
            .await;
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
                    tail.subscribe(&key, to.shard, self.shards.count());
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

/// The outcome of the command at an offset, if it is among the entity's latest in the store.
async fn stored_outcome(
    store: &dyn Store,
    kind: Kind,
    key: &EntityKey,
    command_offset: Offset,
) -> Result<Option<Arc<Counted>>, StoreError> {
    let query = JournalQuery {
        after: -1,
        before: Seq::MAX,
        order: Order::NewestFirst,
        limit: MOST_HISTORY,
        empty: EmptyOutcomes::Include,
    };
    let rows = store.journal(key, query).await?;
    Ok(rows.into_iter().rev().find_map(|row| {
        let decoded = codec::decode_outcome(kind, &row.value);
        let Ok(OutcomeRecord::Outcome(outcome)) = decoded else { return None };
        let is_it = outcome.command_offset == command_offset;
        is_it.then(|| Arc::new(Counted { offset: row.offset, value: row.value, outcome: *outcome }))
    }))
}

#[cfg(test)]
mod tests;

//! The hub: from the log to everybody who looks. One tail task a partition folds replicas and
//! encodes each change once; one shard a worker thread hands the same bytes to its sessions.

mod client;
mod delivery;
mod pace;
mod presence;
mod request;
mod shard;
mod shards;
mod stall;
mod tail;
mod tail_state;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use actors::{
    domain::access::Actor,
    ports::{
        EmptyOutcomes, JournalQuery, JournalRow, LogError, NewRecord, Order, Signals, Topic,
        TopicPartition,
    },
    runtime::{guards::Guards, partition::Ports, partitioner::partition_of, ring::Counted},
    trace,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use schemas::{
    Code, Command, EntityKey, Kind, Offset, Outcome, OutcomeRecord, Principal, Rejection, Seq,
    codec,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

pub use client::{Client, ClientKind, SessionId};
pub use delivery::{
    ChangeJson, Delivery, Repeated, answer_to_command, changes_json, changes_of, write_array,
};
pub use request::{JoinResult, Joined, Request, SubscribeTo, View};
pub use shard::{Sessions, ShardGauge, ShardMessage, presence_name, run_shard};
pub use stall::Canary;

use self::{shards::Shards, stall::Stall};
use crate::{metrics::CommandCounters, problem::Problem};

/// Messages that may wait for one shard; the tail waits for room, so no change is lost.
const SHARD_QUEUE: usize = 4_096;
/// Requests that may wait for one tail.
const TAIL_QUEUE: usize = 1_024;
/// Outcomes that are looked for in the store at a time, of all tails.
const SEARCHES: usize = 2;
/// A resume of more changes than this gets the state; `history` has the changes.
pub const LONGEST_RESUME: i64 = 5_000;

/// The most changes that one request for history gets.
pub const MOST_HISTORY: i64 = 500;

/// From where history is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRange {
    /// The oldest after this seq.
    After(Seq),
    /// The newest before this seq.
    Before(Seq),
}

/// Who reads, as far as rights go.
#[derive(Debug, Clone)]
pub struct Reader {
    /// Who.
    pub principal: Principal,
    /// Whether they administer their tenant.
    pub is_admin: bool,
}

impl Reader {
    fn actor(&self) -> Actor<'_> {
        Actor { principal: &self.principal, is_admin: self.is_admin }
    }
}

/// Where the tails of a node stand, for health and metrics.
#[derive(Debug, Default)]
pub struct TailGauge {
    /// Whether somebody wants the partition followed.
    pub wanted: AtomicBool,
    /// The offset of the next outcome to read; -1 while the tail does not run.
    pub position: AtomicI64,
    /// Outcomes held beyond the store's.
    pub ahead: AtomicUsize,
    /// Milliseconds since 1970 when it last did anything.
    pub active_at: AtomicI64,
}

/// The hub of one node. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    ports: Ports,
    signals: Arc<dyn Signals>,
    partitions: i32,
    tails: HashMap<(Kind, i32), (mpsc::Sender<Request>, Arc<TailGauge>)>,
    shards: Vec<mpsc::Sender<ShardMessage>>,
    waiting_shards: Mutex<Vec<(usize, mpsc::Receiver<ShardMessage>)>>,
    commands: Arc<Commands>,
    stall: Arc<Stall>,
    most_in_flight: usize,
}

/// A command on its way to the log.
pub struct Submitted {
    key: EntityKey,
    append: BoxFuture<'static, Result<Offset, LogError>>,
    _permit: InFlight,
}

/// The commands on their way, and how long those took that were.
#[derive(Debug, Default)]
struct Commands {
    in_flight: AtomicUsize,
    counters: CommandCounters,
}

/// One of the commands that may be on their way; given back when it is answered.
pub struct InFlight {
    commands: Arc<Commands>,
    kind: Kind,
    /// Nothing for one that is not taken.
    since: Option<Instant>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.commands.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(since) = self.since {
            self.commands.counters.answered(self.kind, since.elapsed());
        }
    }
}

impl Hub {
    /// Starts the tails of every partition, for so many shards.
    pub fn start(
        ports: Ports,
        signals: Arc<dyn Signals>,
        shards: usize,
        most_in_flight: u32,
        guards: &Arc<Guards>,
    ) -> Self {
        let partitions = ports.log.partitions(&Topic::Outcomes(Kind::Board));
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..shards.max(1)).map(|_| mpsc::channel(SHARD_QUEUE)).unzip();
        let searches = Arc::new(Semaphore::new(SEARCHES));
        let mut tails = HashMap::new();
        for kind in Kind::ALL {
            for partition in 0..partitions {
                let (sender, requests) = mpsc::channel(TAIL_QUEUE);
                let gauge = Arc::new(TailGauge { position: (-1).into(), ..TailGauge::default() });
                let tail = tail::TailTask {
                    of: TopicPartition::new(Topic::Outcomes(kind), partition),
                    kind,
                    partition,
                    ports: ports.clone(),
                    guards: guards.clone(),
                    shards: Shards::new(senders.clone()),
                    searches: searches.clone(),
                    to_self: sender.downgrade(),
                    gauge: gauge.clone(),
                };
                tokio::spawn(tail.run(requests));
                tails.insert((kind, partition), (sender, gauge));
            }
        }
        let most_in_flight = if most_in_flight == 0 { usize::MAX } else { most_in_flight as usize };
        let stall = Arc::new(Stall::new(senders.clone()));
        let gauges: Vec<_> = tails
            .iter()
            .map(|((kind, partition), (_, gauge)): (&(Kind, i32), &(_, Arc<TailGauge>))| {
                (TopicPartition::new(Topic::Outcomes(*kind), *partition), gauge.clone())
            })
            .collect();
        tokio::spawn(stall::watch(Arc::downgrade(&stall), ports.log.clone(), gauges));
        Self {
            inner: Arc::new(Inner {
                ports,
                signals,
                partitions,
                tails,
                shards: senders,
                waiting_shards: Mutex::new(receivers.into_iter().enumerate().collect()),
                commands: Arc::default(),
                stall,
                most_in_flight,
            }),
        }
    }

    /// The next shard that no worker has taken yet.
    pub fn take_shard(&self) -> Option<(usize, mpsc::Receiver<ShardMessage>)> {
        self.inner.waiting_shards.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// The queues of all shards.
    pub fn shards(&self) -> Vec<mpsc::Sender<ShardMessage>> {
        self.inner.shards.clone()
    }

    /// Who is here, who types.
    pub fn signals(&self) -> &Arc<dyn Signals> {
        &self.inner.signals
    }

    /// Log, store and clock.
    pub fn ports(&self) -> &Ports {
        &self.inner.ports
    }

    /// Every tail's gauge.
    pub fn gauges(&self) -> impl Iterator<Item = (Kind, i32, &TailGauge)> {
        self.inner.tails.iter().map(|((kind, partition), (_, gauge))| (*kind, *partition, &**gauge))
    }

    /// Commands on their way.
    pub fn in_flight(&self) -> usize {
        self.inner.commands.in_flight.load(Ordering::Relaxed)
    }

    /// How long commands took.
    pub fn command_counters(&self) -> &CommandCounters {
        &self.inner.commands.counters
    }

    /// How long something in the fan-out has not moved though it should; zero while all is well.
    pub fn stalled_for(&self, now: Instant) -> Duration {
        self.inner.stall.lasts(now)
    }

    /// The partition of an entity.
    pub fn partition_of(&self, key: &EntityKey) -> i32 {
        partition_of(key.to_string().as_bytes(), self.inner.partitions)
    }

    async fn ask(&self, key: &EntityKey, request: Request) -> Result<(), Problem> {
        let place = (key.entity.kind(), self.partition_of(key));
        let gone = || Problem::new(Code::Unavailable, "the partition has no tail");
        let (tail, _) = self.inner.tails.get(&place).ok_or_else(gone)?;
        tail.send(request).await.map_err(|_| gone())
    }

    /// Appends a command: at once, so that the order of calls is the order in the log.
    ///
    /// # Errors
    /// `unavailable` if too much is on its way, `too_large` if the record is.
    pub fn submit(&self, command: &Command) -> Result<Submitted, Problem> {
        let commands = self.inner.commands.clone();
        let before = commands.in_flight.fetch_add(1, Ordering::Relaxed);
        let mut permit = InFlight { commands, kind: command.key.entity.kind(), since: None };
        if before >= self.inner.most_in_flight {
            let problem = Problem::new(Code::Unavailable, "too many commands are on their way");
            return Err(problem.with_retry_after(0.2));
        }
        let value = codec::encode_command(command)
            .map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
        let topic = Topic::Commands(command.key.entity.kind());
        let to = TopicPartition::new(topic, self.partition_of(&command.key));
        let key = Bytes::from(command.key.to_string());
        let record = NewRecord { key, value: value.into(), ..NewRecord::default() };
        let append = trace::append(&*self.inner.ports.log, &to, record);
        permit.since = Some(Instant::now());
        Ok(Submitted { key: command.key.clone(), append, _permit: permit })
    }

    /// Waits until the command is in the log, then asks for its outcome to be given to `reply`.
    ///
    /// # Errors
    /// `unavailable` if the log did not take it.
    pub async fn await_outcome(
        &self,
        submitted: Submitted,
        reply: ReplyTo,
    ) -> Result<InFlight, Problem> {
        let Submitted { key, append, _permit } = submitted;
        let offset = append.await.map_err(log_problem)?;
        self.ask(&key, Request::Await { command_offset: offset, key: key.clone(), reply }).await?;
        Ok(_permit)
    }

    /// Appends a command and waits for what came of it, read back from the log (R5).
    ///
    /// # Errors
    /// `unavailable` if the log did not take it.
    pub async fn execute(&self, command: &Command) -> Result<Arc<Delivery>, Problem> {
        let submitted = self.submit(command)?;
        let (reply, outcome) = oneshot::channel();
        let _permit = self.await_outcome(submitted, ReplyTo::Caller(reply)).await?;
        outcome.await.map_err(|_| Problem::new(Code::Unavailable, "the partition has no tail"))
    }

    /// The entity as of now, as JSON.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, or that it cannot be read.
    pub async fn view(&self, key: &EntityKey, reader: Reader) -> Result<View, Problem> {
        let (reply, view) = oneshot::channel();
        self.ask(key, Request::View { key: key.clone(), reader, reply }).await?;
        view.await.map_err(|_| Problem::new(Code::Unavailable, "the partition has no tail"))?
    }

    /// The entity's seq, if it may be read.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, or that it cannot be read.
    pub async fn check(&self, key: &EntityKey, reader: Reader) -> Result<Seq, Problem> {
        let (reply, seq) = oneshot::channel();
        self.ask(key, Request::Check { key: key.clone(), reader, reply }).await?;
        seq.await.map_err(|_| Problem::new(Code::Unavailable, "the partition has no tail"))?
    }

    /// Changes of an entity in order, at most `limit` (1 to 500), and whether there are more in
    /// the direction of the range.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, or that it cannot be read.
    pub async fn history(
        &self,
        key: &EntityKey,
        reader: Reader,
        range: HistoryRange,
        limit: i64,
    ) -> Result<(Vec<ChangeJson>, bool), Problem> {
        let seq = self.check(key, reader).await?;
        let limit = limit.clamp(1, MOST_HISTORY);
        let (after, before, order) = match range {
            HistoryRange::After(after) => (after, Seq::MAX, Order::OldestFirst),
            HistoryRange::Before(before) => (0, before, Order::NewestFirst),
        };
        let query = JournalQuery { after, before, order, limit, empty: EmptyOutcomes::Skip };
        let outcomes = self.journal(key, query).await?;
        let mut changes: Vec<_> = outcomes
            .iter()
            .flat_map(changes_json)
            .filter(|change| change.seq > after && change.seq < before)
            .collect();
        let limit = usize::try_from(limit).unwrap_or(0);
        let more = match range {
            HistoryRange::After(_) => {
                changes.truncate(limit);
                changes.last().is_some_and(|last| last.seq < seq)
            }
            HistoryRange::Before(_) => {
                changes.drain(..changes.len().saturating_sub(limit));
                changes.first().is_some_and(|first| first.seq > 1)
            }
        };
        Ok((changes, more))
    }

    /// Begins to send an entity's changes to a session; the answer comes through the shard, in
    /// order with the changes.
    ///
    /// # Errors
    /// If the partition has no tail.
    pub async fn subscribe(&self, key: &EntityKey, to: SubscribeTo) -> Result<(), Problem> {
        self.ask(key, Request::Subscribe { key: key.clone(), to }).await
    }

    /// The last session of a shard has left the entity.
    pub async fn unsubscribe(&self, key: &EntityKey, shard: usize) {
        // Without a tail there is nothing to unsubscribe from.
        self.ask(key, Request::Unsubscribe { key: key.clone(), shard }).await.ok();
    }

    /// A part of an entity's journal: the store's rows and what the store has not yet.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn journal(
        &self,
        key: &EntityKey,
        query: JournalQuery,
    ) -> Result<Vec<Outcome>, Problem> {
        let (reply, recent) = oneshot::channel();
        // The ring is read first: what leaves it afterwards is in the store.
        self.ask(key, Request::Recent { key: key.clone(), reply }).await?;
        let recent: Vec<Arc<Counted>> = recent
            .await
            .map_err(|_| Problem::new(Code::Unavailable, "the partition has no tail"))?;
        let rows = self.inner.ports.store.journal(key, query).await.map_err(store_problem)?;
        let mut outcomes = Vec::with_capacity(rows.len() + recent.len());
        for row in &rows {
            outcomes.push((row.offset, decode_row(key, row)?));
        }
        // Where the entity was before the first that is held here.
        let first = recent.iter().find_map(|counted| seq_before(&counted.outcome));
        let stored = || outcomes.last().map_or(0, |(_, outcome)| last_seq(outcome, 0));
        let mut seq = first.unwrap_or_else(stored);
        // The store is written in the order of offsets: what stands before its last row is in the rows
        // or was not asked for.
        let last = rows.iter().map(|row| row.offset).max();
        for counted in recent {
            seq = last_seq(&counted.outcome, seq);
            if Some(counted.offset) > last && is_wanted(&counted.outcome, seq, &query) {
                outcomes.push((counted.offset, counted.outcome.clone()));
            }
        }
        outcomes.sort_by_key(|(offset, _)| *offset);
        let limit = usize::try_from(query.limit).unwrap_or(0);
        let surplus = outcomes.len().saturating_sub(limit);
        match query.order {
            Order::OldestFirst => outcomes.truncate(limit),
            Order::NewestFirst => drop(outcomes.drain(..surplus)),
        }
        Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
    }
}

fn decode_row(key: &EntityKey, row: &JournalRow) -> Result<Outcome, Problem> {
    match codec::decode_outcome(key.entity.kind(), &row.value) {
        Ok(OutcomeRecord::Outcome(outcome)) => Ok(*outcome),
        Ok(OutcomeRecord::Fence(_)) | Err(_) => {
            let reason = format!("the journal of {} is damaged", key.entity);
            Err(Problem::new(Code::Unavailable, reason))
        }
    }
}

/// The entity's seq before the outcome, if that says so.
fn seq_before(outcome: &Outcome) -> Option<Seq> {
    match &outcome.verdict {
        schemas::Verdict::Accepted { seq, changes } if outcome.repeats.is_none() => {
            Some(seq - changes.len() as Seq)
        }
        schemas::Verdict::Accepted { .. }
        | schemas::Verdict::Rejected(_)
        | schemas::Verdict::Skipped { .. } => None,
    }
}

/// The entity's seq after the outcome, given the seq before it.
fn last_seq(outcome: &Outcome, before: Seq) -> Seq {
    match &outcome.verdict {
        schemas::Verdict::Accepted { seq, .. } if outcome.repeats.is_none() => *seq,
        schemas::Verdict::Accepted { .. }
        | schemas::Verdict::Rejected(_)
        | schemas::Verdict::Skipped { .. } => before,
    }
}

fn is_wanted(outcome: &Outcome, seq: Seq, query: &JournalQuery) -> bool {
    let changes = changes_of(outcome).len() as i64;
    seq > query.after
        && seq - changes + 1 < query.before
        && (changes > 0 || query.empty == EmptyOutcomes::Include)
}

/// What a log error is to whoever sent a command.
pub fn log_problem(error: LogError) -> Problem {
    match error {
        LogError::Busy => Problem::new(Code::Unavailable, "the log is busy").with_retry_after(0.2),
        LogError::Unavailable(_) | LogError::Damaged { .. } => {
            Problem::new(Code::Unavailable, error.to_string()).with_retry_after(1.0)
        }
    }
}

/// What a store error is to whoever reads.
pub fn store_problem(error: actors::ports::StoreError) -> Problem {
    Problem::new(Code::Unavailable, error.to_string()).with_retry_after(1.0)
}

/// `not_found` for an entity, the same whether it does not exist or is another tenant's.
pub fn no_such(key: &EntityKey) -> Rejection {
    Rejection::new(Code::NotFound, format!("there is no {}", key.entity))
}

/// Where the outcome of a command goes.
#[derive(Debug)]
pub enum ReplyTo {
    /// To whoever awaits it.
    Caller(oneshot::Sender<Arc<Delivery>>),
    /// To a session, through its shard, behind the changes.
    Session {
        /// The worker.
        shard: usize,
        /// The session there.
        session: SessionId,
        /// The session's own number for the command.
        ticket: u64,
    },
}

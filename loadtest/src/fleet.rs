//! The sockets of a run, spread over a few threads. Each thread has a runtime, a read buffer and a
//! `Listener` of its own, so nothing is shared or locked while messages come in.
//!
//! A run goes through phases: opening, running, draining, finished. The fleet moves all threads
//! from one to the next.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinSet, LocalSet};

use crate::cli::CommonArgs;
use crate::error::Error;
use crate::progress::Progress;
use crate::proto::Proto;
use crate::random::Random;
use crate::schedule::{Clock, Window};
use crate::socket::{Closed, Endpoint, Outbox, Scratch, Socket, scratch};

/// How often conditions are looked at while opening and draining.
const LOOK: Duration = Duration::from_millis(5);
/// How often the percentile of the progress line is renewed.
const TICK: Duration = Duration::from_millis(500);
/// How long repeats are waited for after everything has come.
const AFTERMATH: Duration = Duration::from_millis(250);
const OPENING_DEADLINE: Duration = Duration::from_secs(300);

/// What one thread makes of its sockets. Nothing in it may block.
pub(crate) trait Listener: Send + 'static {
    /// What it hands over at the end.
    type Summary: Send + 'static;

    /// A socket is open.
    fn on_opened(&mut self, slot: usize, outbox: Arc<Outbox>);
    /// A message came.
    fn on_text(&mut self, slot: usize, text: &[u8], now_ns: u64);
    /// A socket could not be opened, or is closed.
    fn on_closed(&mut self, slot: usize, closed: &Closed);
    /// Whether every socket is ready for the run or has failed.
    fn is_settled(&self) -> bool;
    /// The run begins.
    fn begin(&mut self, window: Window);
    /// Whether everything under way has come.
    fn is_drained(&self) -> bool;
    /// The latency for the progress line.
    fn p99_ns(&self) -> u64;
    /// The end.
    fn finish(self) -> Self::Summary;
}

/// A socket to be opened.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What the listener knows it by.
    pub(crate) slot: usize,
    pub(crate) token: Arc<str>,
    /// A message to send as soon as it is open.
    pub(crate) first: Option<String>,
}

/// How sockets are opened.
#[derive(Debug, Clone)]
pub(crate) struct Opener {
    /// In turn.
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) at_a_time: usize,
    pub(crate) seed: u64,
}

impl Opener {
    pub(crate) fn new(endpoints: Vec<Endpoint>, common: &CommonArgs, seed: u64) -> Self {
        let at_a_time = common.opening.div_ceil(common.threads);
        Self { endpoints, sources: common.connections_from.clone(), at_a_time, seed }
    }
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Opening,
    Running(Window),
    Draining { deadline_ns: u64 },
}

/// All threads of a run.
pub(crate) struct Fleet<L: Listener> {
    clock: Clock,
    phase: watch::Sender<Phase>,
    settled: mpsc::Receiver<()>,
    summaries: Vec<oneshot::Receiver<L::Summary>>,
}

impl<L: Listener> Fleet<L> {
    /// Starts a thread for each listener and begins to open its sockets.
    pub(crate) fn start(
        clock: Clock,
        opener: &Opener,
        progress: &Arc<Progress>,
        crews: Vec<(L, Vec<Plan>)>,
    ) -> Result<Self, Error> {
        let (phase, phases) = watch::channel(Phase::Opening);
        let (settling, settled) = mpsc::channel(crews.len());
        let mut summaries = Vec::with_capacity(crews.len());
        for (number, (listener, plans)) in crews.into_iter().enumerate() {
            let crew =
                Crew { number, clock, opener: opener.clone(), progress: Arc::clone(progress) };
            let (done, summary) = oneshot::channel();
            let (phases, settling) = (phases.clone(), settling.clone());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Error::Harness(error.to_string()))?;
            let body = move || {
                let local = LocalSet::new();
                let summary = local.block_on(&runtime, crew.run(listener, plans, phases, settling));
                if let Some(summary) = summary {
                    done.send(summary).ok();
                }
            };
            std::thread::Builder::new()
                .name(format!("sockets-{number}"))
                .spawn(body)
                .map_err(|error| Error::Harness(error.to_string()))?;
            summaries.push(summary);
        }
        Ok(Self { clock, phase, settled, summaries })
    }

    /// Waits until every socket is ready or has failed.
    pub(crate) async fn settled(&mut self) -> Result<(), Error> {
        for _ in 0..self.summaries.len() {
            self.settled.recv().await.ok_or_else(died)?;
        }
        Ok(())
    }

    /// Tells all threads the window.
    pub(crate) fn begin(&self, window: Window) {
        self.phase.send_replace(Phase::Running(window));
    }

    /// Waits at most `longest` for what is under way, and collects the summaries.
    pub(crate) async fn finish(self, longest: Duration) -> Result<Vec<L::Summary>, Error> {
        let deadline_ns = self.clock.now_ns() + longest.as_nanos() as u64;
        self.phase.send_replace(Phase::Draining { deadline_ns });
        let mut summaries = Vec::with_capacity(self.summaries.len());
        for summary in self.summaries {
            summaries.push(summary.await.map_err(|_| died())?);
        }
        Ok(summaries)
    }
}

fn died() -> Error {
    Error::Harness("a thread that reads sockets died".to_owned())
}

/// One thread.
struct Crew {
    number: usize,
    clock: Clock,
    opener: Opener,
    progress: Arc<Progress>,
}

/// What the tasks of one thread share.
struct Shard<L> {
    clock: Clock,
    scratch: Scratch,
    listener: RefCell<L>,
}

impl Crew {
    /// None if the run was given up.
    async fn run<L: Listener>(
        self,
        listener: L,
        plans: Vec<Plan>,
        mut phases: watch::Receiver<Phase>,
        settling: mpsc::Sender<()>,
    ) -> Option<L::Summary> {
        let listener = RefCell::new(listener);
        let shard = Rc::new(Shard { clock: self.clock, scratch: scratch(), listener });
        let mut sockets = self.open(&shard, plans);
        let deadline_ns = self.clock.now_ns() + OPENING_DEADLINE.as_nanos() as u64;
        shard.until(deadline_ns, L::is_settled).await;
        settling.send(()).await.ok()?;
        drop(settling);

        let mut tick = tokio::time::interval(TICK);
        let deadline_ns = loop {
            tokio::select! {
                changed = phases.changed() => {
                    changed.ok()?;
                    let phase = *phases.borrow_and_update();
                    match phase {
                        Phase::Opening => {}
                        Phase::Running(window) => shard.listener.borrow_mut().begin(window),
                        Phase::Draining { deadline_ns } => break deadline_ns,
                    }
                }
                _ = tick.tick() => {
                    self.progress.set_p99(self.number, shard.listener.borrow().p99_ns());
                }
            }
        };
        shard.until(deadline_ns, L::is_drained).await;
        tokio::time::sleep(AFTERMATH).await;

        sockets.shutdown().await;
        Rc::into_inner(shard).map(|shard| shard.listener.into_inner().finish())
    }

    /// One task a socket: it opens it and then reads it for as long as it is open.
    fn open<L: Listener>(&self, shard: &Rc<Shard<L>>, plans: Vec<Plan>) -> JoinSet<()> {
        let permits = Rc::new(Semaphore::new(self.opener.at_a_time));
        let mut tasks = JoinSet::new();
        for (index, plan) in plans.into_iter().enumerate() {
            let (shard, permits) = (Rc::clone(shard), Rc::clone(&permits));
            let sources = &self.opener.sources;
            let source = (!sources.is_empty()).then(|| sources[index % sources.len()]);
            let endpoints = &self.opener.endpoints;
            let endpoint = endpoints[(index + self.number) % endpoints.len()].clone();
            let masks = Random::new(self.opener.seed ^ ((self.number as u64) << 32) ^ index as u64);
            tasks.spawn_local(async move {
                let permit = permits.acquire().await;
                let opened = Socket::connect(&endpoint, &plan.token, source, masks).await;
                drop(permit);
                let closed = match opened {
                    Ok(socket) => shard.read(plan.slot, plan.first, socket, endpoint.proto).await,
                    Err(closed) => closed,
                };
                shard.listener.borrow_mut().on_closed(plan.slot, &closed);
            });
        }
        tasks
    }
}

impl<L: Listener> Shard<L> {
    async fn read(
        &self,
        slot: usize,
        first: Option<String>,
        mut socket: Socket,
        proto: Proto,
    ) -> Closed {
        let outbox = socket.outbox();
        if let Some(first) = first {
            outbox.queue_text(first.as_bytes());
            outbox.flush();
        }
        self.listener.borrow_mut().on_opened(slot, Arc::clone(&outbox));
        loop {
            // One look at the clock for all that came in one read.
            let mut now_ns = None;
            let batch = socket.next_batch(&self.scratch, |text| {
                if let Some(pong) = proto.pong(text) {
                    outbox.queue_text(pong);
                }
                let now_ns = *now_ns.get_or_insert_with(|| self.clock.now_ns());
                self.listener.borrow_mut().on_text(slot, text, now_ns);
            });
            if let Err(closed) = batch.await {
                return closed;
            }
        }
    }

    async fn until(&self, deadline_ns: u64, condition: impl Fn(&L) -> bool) {
        let mut look = tokio::time::interval(LOOK);
        while self.clock.now_ns() < deadline_ns {
            look.tick().await;
            if condition(&self.listener.borrow()) {
                return;
            }
        }
    }
}

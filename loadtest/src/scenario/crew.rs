//! The threads that hold the sockets of a scenario: one task a socket, which follows its actions.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinSet, LocalSet};

use super::Field;
use super::client::{Client, Due, Why};
use super::plan::{Action, Actions};
use super::senders;
use super::tally::Tally;
use crate::api::Accounts;
use crate::cli::CommonArgs;
use crate::error::Error;
use crate::progress::Progress;
use crate::random::Random;
use crate::socket::{Endpoint, Scratch, Socket, scratch};

const LOOK: Duration = Duration::from_millis(20);
/// How long repeats are waited for after everything has come.
const AFTERMATH: Duration = Duration::from_millis(250);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const MOST_DOUBLINGS: u32 = 6;

/// All threads of a run.
pub(super) struct Crews(Vec<(oneshot::Sender<Duration>, oneshot::Receiver<Tally>)>);

/// What the tasks of one thread share.
pub(super) struct Crew {
    pub(super) field: Arc<Field>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) tally: RefCell<Tally>,
    pub(super) scratch: Scratch,
    pub(super) random: RefCell<Random>,
    sources: Vec<IpAddr>,
    clients: RefCell<Vec<Client>>,
    opening: Semaphore,
    progress: Arc<Progress>,
}

impl Crews {
    /// Starts the threads; the sockets and the senders are spread over them.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the run, used once")]
    pub(super) fn start(
        field: &Arc<Field>,
        common: &CommonArgs,
        seed: u64,
        endpoints: Vec<Endpoint>,
        accounts: &Accounts,
        progress: &Arc<Progress>,
        actions: Vec<Actions>,
        places: impl Fn(usize) -> Vec<usize>,
    ) -> Result<Self, Error> {
        let threads = common.threads;
        let mut clients: Vec<Vec<(Client, Actions)>> = (0..threads).map(|_| Vec::new()).collect();
        for (number, actions) in actions.into_iter().enumerate() {
            let client = Client::new(number, accounts.token(number), places(number));
            clients[number % threads].push((client, actions));
        }
        let mut crews = Vec::with_capacity(threads);
        for (number, clients) in clients.into_iter().enumerate() {
            let (stop, stopped) = oneshot::channel();
            let (done, tally) = oneshot::channel();
            let (field, endpoints) = (Arc::clone(field), endpoints.clone());
            let (sources, progress) = (common.connections_from.clone(), Arc::clone(progress));
            let opening = Semaphore::new(common.opening.div_ceil(threads));
            let senders: Vec<(usize, Arc<str>)> = (number..field.senders.len())
                .step_by(threads)
                .map(|sender| (sender, accounts.token(sender)))
                .collect();
            let harness = |error: std::io::Error| Error::Harness(error.to_string());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(harness)?;
            let body = move || {
                let (clients, actions): (Vec<_>, Vec<_>) = clients.into_iter().unzip();
                let crew = Crew {
                    tally: RefCell::new(field.tally()),
                    field,
                    endpoints,
                    sources,
                    clients: RefCell::new(clients),
                    scratch: scratch(),
                    random: RefCell::new(Random::new(seed ^ number as u64)),
                    opening,
                    progress,
                };
                let tally = LocalSet::new()
                    .block_on(&runtime, Rc::new(crew).run(number, actions, senders, stopped));
                // Nobody waits for it if the run was given up.
                done.send(tally).ok();
            };
            std::thread::Builder::new()
                .name(format!("sockets-{number}"))
                .spawn(body)
                .map_err(harness)?;
            crews.push((stop, tally));
        }
        Ok(Self(crews))
    }

    /// Waits at most `longest` for what is under way, and collects the tallies.
    pub(super) async fn finish(self, longest: Duration) -> Result<Vec<Tally>, Error> {
        let mut waiting = Vec::with_capacity(self.0.len());
        for (stop, tally) in self.0 {
            // A thread that has died is found out by its missing tally.
            stop.send(longest).ok();
            waiting.push(tally);
        }
        let died = |_| Error::Harness("a thread that reads sockets died".to_owned());
        let mut tallies = Vec::with_capacity(waiting.len());
        for tally in waiting {
            tallies.push(tally.await.map_err(died)?);
        }
        Ok(tallies)
    }
}

impl Crew {
    async fn run(
        self: Rc<Self>,
        number: usize,
        actions: Vec<Actions>,
        senders: Vec<(usize, Arc<str>)>,
        mut stopped: oneshot::Receiver<Duration>,
    ) -> Tally {
        let mut tasks = JoinSet::new();
        for (sender, token) in senders {
            tasks.spawn_local(senders::answers(Rc::clone(&self), sender, token));
        }
        for (index, actions) in actions.into_iter().enumerate() {
            tasks.spawn_local(Rc::clone(&self).live(index, actions));
        }
        let mut look = tokio::time::interval(Duration::from_millis(500));
        let longest = loop {
            tokio::select! {
                longest = &mut stopped => break longest.unwrap_or_default(),
                _ = look.tick() => self.progress.set_p99(number, self.tally.borrow().p99_ns()),
            }
        };
        let deadline = tokio::time::Instant::now() + longest;
        while !self.has_all() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
        tokio::time::sleep(AFTERMATH).await;
        tasks.shutdown().await;
        let mut tally = self.tally.replace(self.field.tally());
        for client in self.clients.borrow().iter() {
            client.close(&self.field, &mut tally);
        }
        tally
    }

    fn has_all(&self) -> bool {
        self.field.answered.load(Relaxed) >= self.field.sent.load(Relaxed)
            && self.clients.borrow().iter().all(|client| client.has_all(&self.field))
    }

    /// Follows the actions of one socket.
    async fn live(self: Rc<Self>, index: usize, mut actions: Actions) {
        let mut due = None;
        loop {
            due = match due {
                Some(due) => {
                    self.clients.borrow_mut()[index].wanted(due);
                    self.connect(index, due, &mut actions).await
                }
                None => {
                    self.clients.borrow_mut()[index].unwanted();
                    let Some((at_ns, action)) = actions.pop_front() else { return };
                    self.until(at_ns).await;
                    (action == Action::Open).then(|| Due::at(at_ns, Why::Phase))
                }
            };
        }
    }

    /// One connection, from the time it is due to its end; gives what follows.
    async fn connect(&self, index: usize, due: Due, actions: &mut Actions) -> Option<Due> {
        self.until(due.at_ns).await;
        let opened_ns = self.field.clock.now_ns();
        while let Some(&(at_ns, action)) = actions.front().filter(|(at_ns, _)| *at_ns <= opened_ns)
        {
            // What it was to do while it was away is past, except to close.
            actions.pop_front();
            if action == Action::Close && at_ns >= due.intended_ns {
                return None;
            }
        }
        let (number, endpoint, token) = {
            let client = &self.clients.borrow()[index];
            (client.number, client.endpoint, Arc::clone(&client.token))
        };
        let endpoint = &self.endpoints[endpoint % self.endpoints.len()];
        let source = self.sources.get(number % self.sources.len().max(1)).copied();
        let masks = Random::new(self.random.borrow_mut().next_u64());
        // The semaphore is never closed.
        let permit = self.opening.acquire().await;
        let opened = Socket::connect(endpoint, &token, source, masks).await;
        drop(permit);
        match opened {
            Ok(socket) => {
                let next = self.session(index, number, socket, actions).await;
                self.field.sockets[number].set(None);
                self.clients.borrow_mut()[index].disconnected();
                next
            }
            Err(closed) => {
                self.fail(&format!("connect: {}", closed.label()));
                self.clients.borrow_mut()[index].endpoint += 1;
                let tries = due.tries + 1;
                let pause = FIRST_RETRY * 2u32.pow(tries.min(MOST_DOUBLINGS));
                let pause = pause.mul_f64(0.5 + self.random.borrow_mut().next_unit());
                let at_ns = self.field.clock.now_ns() + pause.as_nanos() as u64;
                Some(Due { at_ns, tries, ..due })
            }
        }
    }

    async fn session(
        &self,
        index: usize,
        number: usize,
        mut socket: Socket,
        actions: &mut Actions,
    ) -> Option<Due> {
        let clock = self.field.clock;
        let outbox = socket.outbox();
        for join in self.clients.borrow()[index].joins(&self.field) {
            outbox.queue_text(join.as_bytes());
        }
        outbox.flush();
        let next_ns = |actions: &Actions| actions.front().map_or(u64::MAX >> 2, |next| next.0);
        let timer = tokio::time::sleep_until(clock.instant(next_ns(actions)).into());
        tokio::pin!(timer);
        loop {
            let mut now_ns = None;
            let on_text = |text: &[u8]| {
                let now_ns = *now_ns.get_or_insert_with(|| clock.now_ns());
                let mut delivered = 0;
                let client = &mut self.clients.borrow_mut()[index];
                let tally = &mut *self.tally.borrow_mut();
                if client.on_text(&self.field, tally, text, now_ns, &mut delivered) {
                    self.field.sockets[number].set(Some(Arc::clone(&outbox)));
                }
                self.progress.add_done(delivered);
            };
            tokio::select! {
                batch = socket.next_batch(&self.scratch, on_text) => {
                    let Err(closed) = batch else { continue };
                    *self.tally.borrow_mut().closed.entry(closed.label()).or_default() += 1;
                    self.progress.add_error();
                    let client = &mut self.clients.borrow_mut()[index];
                    client.closed(clock.now_ns());
                    let why = client.why_again();
                    let pause = FIRST_RETRY.mul_f64(self.random.borrow_mut().next_unit());
                    let at_ns = clock.now_ns() + pause.as_nanos() as u64;
                    return Some(Due::at(at_ns, why));
                }
                () = &mut timer => {}
            }
            let Some((_, action)) = actions.pop_front_if(|next| next.0 <= clock.now_ns()) else {
                continue;
            };
            match action {
                Action::Open => {}
                Action::Close => return None,
                Action::Drop { storm, back_ns } => {
                    self.tally.borrow_mut().storms[storm].dropped += 1;
                    return Some(Due::at(back_ns, Why::Storm(storm)));
                }
                Action::Pause { until_ns } => {
                    self.until(until_ns).await;
                    self.clients.borrow_mut()[index].blind_until_ns = clock.now_ns();
                }
            }
            timer.as_mut().reset(clock.instant(next_ns(actions)).into());
        }
    }

    /// Counts an error and shows it in the progress.
    pub(super) fn fail(&self, name: &str) {
        self.tally.borrow_mut().fail(name);
        self.progress.add_error();
    }

    async fn until(&self, ns: u64) {
        tokio::time::sleep_until(self.field.clock.instant(ns).into()).await;
    }
}

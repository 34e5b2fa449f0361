//! One worker thread's sessions and who of them looks at what. Lives on its thread alone, so it
//! needs no locks; everything reaches it through one queue, in order.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actors::ports::Signal;
use bytes::Bytes;
use schemas::{EntityKey, Principal, Timestamp};
use serde_json::json;
use tokio::{
    sync::{broadcast, mpsc},
    task::yield_now,
    time::{MissedTickBehavior, interval, sleep, sleep_until},
};

use super::{
    Canary, ChangeJson, Client, ClientKind, Delivery, Hub, SessionId,
    client::Place,
    pace::Pace,
    presence::{Presences, Told},
    request::{JoinResult, Joined},
};
use crate::{
    auth::{LEEWAY, Revocations},
    config::Limits,
    frame::{self, CloseCode},
    outbox::{Outbox, Pending, Weight},
    session::Session,
};

/// How often sessions are looked after: pings, idleness, expiry.
const SWEEP: Duration = Duration::from_secs(1);
/// So long a shard takes what waits before its sockets write.
const AT_ONCE: Duration = Duration::from_millis(5);
/// The server pings after so long without having pinged.
const PING_EVERY: Duration = Duration::from_secs(25);
/// A socket must authenticate within this.
const AUTHENTICATE_WITHIN: Duration = Duration::from_secs(10);
/// So many batches are closed one after the other when the node stops.
const DRAIN_BATCHES: u32 = 10;
/// How often it is looked whether an answer has come that a closing socket waits for.
const ANSWER_POLL: Duration = Duration::from_millis(10);
/// A token's end is announced this many milliseconds before.
const ANNOUNCE_EXPIRY: i64 = 60_000;

/// What a shard is told.
#[derive(Debug)]
pub enum ShardMessage {
    /// An entity changed that somebody here is at.
    Changes(Arc<Delivery>),
    /// A join has ended.
    Joined(Box<JoinResult>),
    /// A session's command has an outcome.
    Decided {
        /// Whose.
        session: SessionId,
        /// The session's own number for the command.
        ticket: u64,
        /// What came of it.
        delivery: Arc<Delivery>,
    },
    /// Tokens were revoked: cut those who came with them.
    Revoked,
    /// Shows that what is queued is taken.
    Canary(Canary),
    /// The node stops: tell everybody and close them in batches until this much time has passed.
    Drain(Duration),
}

/// Counters of a shard, shared with metrics.
#[derive(Debug, Default)]
pub struct ShardGauge {
    /// Clients now.
    pub clients: std::sync::atomic::AtomicUsize,
    /// Changes handed to clients since the start.
    pub deliveries: std::sync::atomic::AtomicU64,
    /// Clients closed for being too slow.
    pub too_slow: std::sync::atomic::AtomicU64,
    /// What else is counted about them.
    pub counters: crate::metrics::ShardCounters,
}

/// The sessions of one worker thread. Clones share them.
#[derive(Clone)]
pub struct Sessions(Rc<Inner>);

struct Inner {
    hub: Hub,
    shard: usize,
    /// Zero means never.
    idle_after: Duration,
    most_present: usize,
    revocations: Revocations,
    next: Cell<SessionId>,
    draining: Cell<bool>,
    clients: RefCell<HashMap<SessionId, Rc<Client>>>,
    sessions: RefCell<HashMap<SessionId, Rc<Session>>>,
    subscribers: RefCell<HashMap<EntityKey, Vec<Rc<Client>>>>,
    presences: RefCell<Presences>,
    gauge: Arc<ShardGauge>,
}

impl Sessions {
    /// No sessions yet, for the shard of this number.
    pub fn new(
        hub: Hub,
        shard: usize,
        limits: Limits,
        revocations: Revocations,
        gauge: Arc<ShardGauge>,
    ) -> Self {
        Self(Rc::new(Inner {
            hub,
            shard,
            idle_after: Duration::from_secs(limits.idle_seconds.into()),
            most_present: match limits.people_present {
                0 => usize::MAX,
                most => most as usize,
            },
            revocations,
            next: Cell::new(0),
            draining: Cell::new(false),
            clients: RefCell::default(),
            sessions: RefCell::default(),
            subscribers: RefCell::default(),
            presences: RefCell::default(),
            gauge,
        }))
    }

    /// The shard's number.
    pub fn shard(&self) -> usize {
        self.0.shard
    }

    /// Whether the node is about to stop and takes no new clients.
    pub fn is_draining(&self) -> bool {
        self.0.draining.get()
    }

    /// A new client.
    pub fn open(&self, kind: ClientKind, outbox: Outbox) -> Rc<Client> {
        let id = self.0.next.get();
        self.0.next.set(id + 1);
        let now = Instant::now();
        let client = Rc::new(Client {
            id,
            kind,
            outbox,
            since: now,
            heard: Cell::new(now),
            pinged: Cell::new(now),
            identity: RefCell::new(None),
            expires: Cell::new(None),
            expiry_announced: Cell::new(false),
            joined: RefCell::default(),
            closed: Cell::new(None),
        });
        self.0.clients.borrow_mut().insert(id, client.clone());
        self.0.gauge.clients.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        client
    }

    /// Lets answers find the session of a client.
    pub fn attach(&self, session: Rc<Session>) {
        self.0.sessions.borrow_mut().insert(session.client().id, session);
    }

    /// The client has gone.
    pub fn close(&self, client: &Client) {
        let keys: Vec<_> = client.joined.borrow().keys().cloned().collect();
        for key in keys {
            self.leave(client, &key);
        }
        self.0.sessions.borrow_mut().remove(&client.id);
        if self.0.clients.borrow_mut().remove(&client.id).is_some() {
            self.0.gauge.clients.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            if client.kind == ClientKind::WebSocket {
                self.0.gauge.counters.closed(client.closed.get());
            }
        }
    }

    /// The client leaves an entity.
    pub fn leave(&self, client: &Client, key: &EntityKey) {
        let Some(place) = client.joined.borrow_mut().remove(key) else { return };
        let mut subscribers = self.0.subscribers.borrow_mut();
        if let Some(clients) = subscribers.get_mut(key) {
            clients.swap_remove(place.at);
            if let Some(moved) = clients.get(place.at)
                && let Some(its) = moved.joined.borrow_mut().get_mut(key)
            {
                its.at = place.at;
            }
            if clients.is_empty() {
                subscribers.remove(key);
            }
        }
        drop(subscribers);
        self.unsubscribe(key.clone());
        if place.is_shown
            && let Some(identity) = &*client.identity.borrow()
        {
            let name = presence_name(&identity.principal);
            self.0.hub.signals().leave(key, &name, self.global_id(client));
        }
    }

    fn unsubscribe(&self, key: EntityKey) {
        let (hub, shard) = (self.0.hub.clone(), self.0.shard);
        actix_web::rt::spawn(async move { hub.unsubscribe(&key, shard).await });
    }

    /// A number for the client that no other of the node has.
    fn global_id(&self, client: &Client) -> u64 {
        client.id << 10 | self.0.shard as u64
    }

    /// Shows the client at an entity that it has joined, unless so many are shown there already.
    pub fn show(&self, client: &Client, key: &EntityKey) {
        let Some(identity) = client.identity.borrow().clone() else { return };
        let name = presence_name(&identity.principal);
        let signals = self.0.hub.signals();
        let mut present = signals.present(key);
        let found = present.binary_search(&name);
        // Where very many are, all would be told of all.
        if found.is_ok() || present.len() < self.0.most_present {
            if let Some(place) = client.joined.borrow_mut().get_mut(key) {
                place.is_shown = true;
            }
            signals.enter(key, &name, self.global_id(client));
            if let Err(at) = found {
                present.insert(at, name);
            }
        }
        let present = json!({"joined": present, "left": []});
        client.send_json(&json!({"entity": key.entity.to_string(), "presence": present}));
    }

    fn subscribe(&self, client: &Rc<Client>, key: &EntityKey) -> Subscribed {
        if client.joined.borrow().contains_key(key) {
            return Subscribed::Already;
        }
        let mut subscribers = self.0.subscribers.borrow_mut();
        let clients = subscribers.entry(key.clone()).or_default();
        let place = Place { is_shown: false, at: clients.len() };
        clients.push(client.clone());
        client.joined.borrow_mut().insert(key.clone(), place);
        Subscribed::Now
    }

    /// Gives how many sockets have something to write that had nothing.
    fn handle(&self, message: ShardMessage) -> usize {
        match message {
            ShardMessage::Changes(delivery) => return self.changes(&delivery),
            ShardMessage::Joined(result) => self.joined(*result),
            ShardMessage::Decided { session, ticket, delivery } => {
                let session = self.0.sessions.borrow().get(&session).cloned();
                if let Some(session) = session {
                    session.decided(ticket, &delivery);
                }
            }
            ShardMessage::Revoked => self.cut_revoked(),
            ShardMessage::Canary(canary) => canary.came_through(),
            ShardMessage::Drain(within) => self.drain(within),
        }
        0
    }

    fn changes(&self, delivery: &Delivery) -> usize {
        let Some(key) = &delivery.outcome().key else { return 0 };
        let subscribers = self.0.subscribers.borrow();
        let (mut count, mut writes) = (0, 0);
        for client in subscribers.get(key).into_iter().flatten() {
            let was_ending = client.outbox.is_ending();
            writes += usize::from(client.send_changes(delivery));
            count += 1;
            if !was_ending && client.outbox.is_ending() {
                self.0.gauge.too_slow.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        self.0.gauge.deliveries.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
        self.0.gauge.counters.fan_out.observe(delivery.read_at.elapsed());
        writes
    }

    fn cut_revoked(&self) {
        for client in self.0.clients.borrow().values() {
            let identity = client.identity.borrow().clone();
            if identity.is_some_and(|identity| self.0.revocations.has_revoked(&identity)) {
                client.close(CloseCode::Revoked, "the token is revoked", Pending::Send);
            }
        }
    }

    fn joined(&self, join: JoinResult) {
        let client = self.0.clients.borrow().get(&join.to.session).cloned();
        let subscribed = matches!(join.result, Ok(Joined::Here { .. }));
        let Some(client) = client else {
            if subscribed {
                self.unsubscribe(join.key);
            }
            return;
        };
        if subscribed && self.subscribe(&client, &join.key) == Subscribed::Already {
            self.unsubscribe(join.key.clone());
        }
        let session = self.0.sessions.borrow().get(&client.id).cloned();
        match session {
            Some(session) => session.joined(join),
            None => stream_joined(&client, &join),
        }
    }

    fn signal(&self, key: &EntityKey, signal: &Signal) {
        let message = match signal {
            Signal::Status { user, status, text } => {
                let data = json!({"user": user, "status": status, "text": text});
                let entity = key.entity.to_string();
                json!({"entity": entity, "type": "userStatusChanged", "data": data})
            }
            Signal::Sent { kind, by, data } => {
                json!({"entity": key.entity.to_string(), "signal": kind, "by": by, "data": data})
            }
            Signal::Presence { joined, left } => {
                let news = Told { joined: joined.clone(), left: left.clone() };
                let told = self.0.presences.borrow_mut().take(key, news, Instant::now());
                for told in told {
                    self.tell(key, &told);
                }
                return;
            }
        };
        self.broadcast(key, &message);
    }

    /// Tells who came and went meanwhile.
    fn tell_due(&self) {
        let due = self.0.presences.borrow_mut().take_due(Instant::now());
        for (key, told) in due {
            self.tell(&key, &told);
        }
    }

    fn tell(&self, key: &EntityKey, told: &Told) {
        let presence = json!({"joined": told.joined, "left": told.left});
        self.broadcast(key, &json!({"entity": key.entity.to_string(), "presence": presence}));
    }

    fn broadcast(&self, key: &EntityKey, message: &serde_json::Value) {
        let subscribers = self.0.subscribers.borrow();
        let Some(clients) = subscribers.get(key) else { return };
        let frame = frame::text(message.to_string().as_bytes());
        for client in clients {
            if client.kind == ClientKind::WebSocket {
                client.send(frame.clone(), Weight::Counted);
            }
        }
    }

    fn sweep(&self) {
        let now = Instant::now();
        let time = self.0.hub.ports().clock.now();
        let sessions: Vec<_> = self.0.sessions.borrow().values().cloned().collect();
        for session in sessions {
            session.expire_commands(now);
        }
        let clients: Vec<_> = self.0.clients.borrow().values().cloned().collect();
        for client in clients {
            match client.kind {
                ClientKind::WebSocket => self.look_after(&client, now, time),
                ClientKind::EventStream => {
                    if client.expires.get().is_some_and(|expires| has_ended(expires, time)) {
                        client.close(CloseCode::Unauthenticated, "", Pending::Send);
                    }
                    if now - client.pinged.get() >= PING_EVERY {
                        client.pinged.set(now);
                        client.send(Bytes::from_static(b": ping\n\n"), Weight::Counted);
                    }
                }
            }
        }
    }

    fn look_after(&self, client: &Client, now: Instant, time: Timestamp) {
        let silent = now - client.heard.get();
        if !self.0.idle_after.is_zero() && silent > self.0.idle_after {
            client.close(CloseCode::Idle, "idle", Pending::Drop);
            return;
        }
        if now - client.pinged.get() >= PING_EVERY {
            client.pinged.set(now);
            client.send(frame::ping(), Weight::Counted);
        }
        match client.expires.get() {
            None if now - client.since > AUTHENTICATE_WITHIN => {
                client.close(CloseCode::Unauthenticated, "not authenticated", Pending::Send);
            }
            Some(expires) if has_ended(expires, time) => {
                client.close(CloseCode::Unauthenticated, "the token has expired", Pending::Send);
            }
            Some(expires) if !client.expiry_announced.get() => {
                let left = expires.as_millis() - time.as_millis();
                if left < ANNOUNCE_EXPIRY {
                    client.expiry_announced.set(true);
                    let left = left.max(0) / 1_000;
                    client.send_json(&json!({"type": "tokenExpiring", "in": left}));
                }
            }
            Some(_) | None => {}
        }
    }

    /// Tells everybody, then closes them spread over half of the time; who waits for an answer is closed
    /// after it, if it comes in time.
    fn drain(&self, within: Duration) {
        self.0.draining.set(true);
        let mut clients: Vec<_> = self.0.clients.borrow().values().cloned().collect();
        clients.sort_by_key(|client| client.id);
        for client in &clients {
            if client.kind == ClientKind::WebSocket {
                client.send_json(
                    &json!({"type": "drain", "reconnectIn": [0.5, within.as_secs_f64()]}),
                );
            }
        }
        let sessions = self.clone();
        let size = clients.len().div_ceil(DRAIN_BATCHES as usize).max(1);
        actix_web::rt::spawn(async move {
            let mut late = Vec::new();
            while !clients.is_empty() {
                let batch = clients.drain(..size.min(clients.len()));
                let (waiting, ready): (Vec<_>, Vec<_>) =
                    batch.partition(|client| sessions.awaits_answers(client));
                ready.iter().for_each(|client| close_for_drain(client));
                late.extend(waiting);
                sleep(within / (2 * DRAIN_BATCHES)).await;
            }
            let deadline = Instant::now() + within / 4;
            while !late.is_empty() && Instant::now() < deadline {
                late.retain(|client| {
                    let waits = sessions.awaits_answers(client);
                    if !waits {
                        close_for_drain(client);
                    }
                    waits
                });
                sleep(ANSWER_POLL).await;
            }
            late.iter().for_each(|client| close_for_drain(client));
        });
    }

    fn awaits_answers(&self, client: &Client) -> bool {
        let session = self.0.sessions.borrow().get(&client.id).cloned();
        session.is_some_and(|session| session.awaits_answers())
    }
}

fn close_for_drain(client: &Client) {
    client.close(CloseCode::Away, "draining", Pending::Send);
}

/// Whether a token that ends then does not hold any more.
fn has_ended(expires: Timestamp, now: Timestamp) -> bool {
    let leeway = i64::try_from(LEEWAY.as_millis()).unwrap_or(i64::MAX);
    now > expires.plus_millis(leeway)
}

/// A stream has joined: what came since it caught up is in the answer. One that missed too much
/// ends; its client resumes.
fn stream_joined(client: &Client, join: &JoinResult) {
    let recovered = match &join.result {
        Ok(Joined::Here { answer, .. }) => serde_json::from_slice::<Recovered>(answer).ok(),
        Ok(Joined::NeedsJournal) | Err(_) => None,
    };
    let Some(Recovered { changes }) = recovered else {
        client.close(CloseCode::Away, "", Pending::Send);
        return;
    };
    for change in changes {
        let seq = change["seq"].as_i64().unwrap_or(0);
        let change = ChangeJson { seq, json: change.to_string().into() };
        client.send(crate::http::event_of(&change), Weight::Counted);
    }
}

#[derive(serde::Deserialize)]
struct Recovered {
    changes: Vec<serde_json::Value>,
}

#[derive(Debug, PartialEq, Eq)]
enum Subscribed {
    Now,
    Already,
}

/// The name under which a principal is present: users by their plain name.
pub fn presence_name(principal: &Principal) -> String {
    principal.user().map_or_else(|| principal.to_string(), ToString::to_string)
}

/// Runs a shard on its worker thread until the hub ends.
pub async fn run_shard(
    sessions: Sessions,
    mut queue: mpsc::Receiver<ShardMessage>,
    mut signals: broadcast::Receiver<(EntityKey, Signal)>,
) {
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pace = Pace::new(Instant::now());
    loop {
        let presence_due = sessions.0.presences.borrow().due();
        tokio::select! {
            biased;
            message = queue.recv() => match message {
                Some(message) => {
                    let writes = handle_waiting(&sessions, message, &mut queue);
                    match pace.after(writes, Instant::now()) {
                        Some(rested_at) => sleep_until(rested_at.into()).await,
                        // The sockets write before there is more.
                        None => yield_now().await,
                    }
                }
                None => return,
            },
            signal = signals.recv() => match signal {
                Ok((key, signal)) => sessions.signal(&key, &signal),
                Err(broadcast::error::RecvError::Lagged(lost)) => {
                    tracing::warn!(lost, "signals were lost by a slow shard");
                }
                Err(broadcast::error::RecvError::Closed) => return,
            },
            () = until(presence_due), if presence_due.is_some() => sessions.tell_due(),
            _ = sweep.tick() => sessions.sweep(),
        }
    }
}

/// Takes all that waits, for a bounded time; gives how many sockets have something to write.
fn handle_waiting(
    sessions: &Sessions,
    first: ShardMessage,
    queue: &mut mpsc::Receiver<ShardMessage>,
) -> usize {
    let start = Instant::now();
    let mut writes = sessions.handle(first);
    while start.elapsed() < AT_ONCE
        && let Ok(message) = queue.try_recv()
    {
        writes += sessions.handle(message);
    }
    writes
}

async fn until(instant: Option<Instant>) {
    sleep_until(instant.unwrap_or_else(Instant::now).into()).await;
}

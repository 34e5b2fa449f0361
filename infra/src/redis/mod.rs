//! Signals over Redis pub/sub. Each node says who is at an entity there when that changes, when it
//! is asked, and every few seconds; what is not said again expires, so a dead node's people leave.
//! While Redis is away, signals reach the own node only and everything else goes on.

mod cache;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actors::{
    memory::MemorySignals,
    ports::{Signal, Signals},
};
use futures_util::StreamExt as _;
use schemas::EntityKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinHandle,
    time::{interval, sleep, timeout},
};

pub use self::cache::CachedStore;

/// How often a node says who is there.
const SAY_EVERY: Duration = Duration::from_secs(3);
/// What is not said again for so long holds no longer.
const HOLDS: Duration = Duration::from_secs(10);
/// The pause before a connection that broke is made again.
const PAUSE: Duration = Duration::from_millis(500);
/// Redis must answer within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Messages that may wait to be published; more are dropped, as signals may be.
const WAITING: usize = 10_000;
/// The oldest release with everything that is used here.
const OLDEST_SERVER: u32 = 6;

/// Why Redis cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// The address is none.
    #[error("redis.url is no Redis address")]
    Address(#[source] redis::RedisError),
    /// The server is too old.
    #[error("redis.url: the server is release {0}, {OLDEST_SERVER} or newer is needed")]
    TooOld(String),
}

/// What nodes tell each other.
#[derive(Debug, Serialize, Deserialize)]
struct Message {
    node: String,
    entity: String,
    #[serde(flatten)]
    fact: Fact,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Fact {
    /// These users, and no others, are at the entity on the node.
    Here(Vec<String>),
    /// Whoever has somebody at the entity should say so.
    Who,
    Sent {
        kind: String,
        by: String,
        data: Value,
    },
    Status {
        user: String,
        status: String,
        text: Option<String>,
    },
}

/// Who is at an entity on another node, and until when that holds.
type Elsewhere = HashMap<EntityKey, HashMap<String, (Vec<String>, Instant)>>;

/// Signals shared by all nodes at one Redis.
pub struct RedisSignals {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    node: String,
    /// What this node's own clients do; it derives when a user comes and goes here.
    own: MemorySignals,
    elsewhere: Mutex<Elsewhere>,
    /// Where local readers listen: own and others' signals, each person once.
    merged: broadcast::Sender<(EntityKey, Signal)>,
    waiting: mpsc::Sender<Message>,
    is_connected: AtomicBool,
}

impl RedisSignals {
    /// Connects; a server that is away is waited for in the background.
    ///
    /// # Errors
    /// If the address is none or the server too old.
    pub async fn start(url: &str, prefix: &str, node: &str) -> Result<Self, RedisError> {
        let client = redis::Client::open(url).map_err(RedisError::Address)?;
        if let Ok(Some(found)) = timeout(ANSWER_WITHIN, release_of(&client)).await
            && found.split('.').next().and_then(|major| major.parse().ok()) < Some(OLDEST_SERVER)
        {
            return Err(RedisError::TooOld(found));
        }
        let (waiting, messages) = mpsc::channel(WAITING);
        let shared = Arc::new(Shared {
            node: node.to_owned(),
            own: MemorySignals::default(),
            elsewhere: Mutex::default(),
            merged: broadcast::Sender::new(WAITING),
            waiting,
            is_connected: AtomicBool::new(false),
        });
        let channel = format!("{prefix}signals");
        let tasks = vec![
            tokio::spawn(shared.clone().follow_own(shared.own.subscribe())),
            tokio::spawn(shared.clone().listen(client.clone(), channel.clone())),
            tokio::spawn(shared.clone().say(client, channel, messages)),
            tokio::spawn(shared.clone().keep_time()),
        ];
        Ok(Self { shared, tasks })
    }

    /// Whether signals reach the other nodes now.
    pub fn is_connected(&self) -> bool {
        self.shared.is_connected.load(Ordering::Relaxed)
    }
}

impl Drop for RedisSignals {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn release_of(client: &redis::Client) -> Option<String> {
    let mut connection = client.get_multiplexed_async_connection().await.ok()?;
    let about: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await.ok()?;
    let line = about.lines().find_map(|line| line.strip_prefix("redis_version:"));
    line.map(|release| release.trim().to_owned())
}

impl Shared {
    fn elsewhere(&self) -> MutexGuard<'_, Elsewhere> {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, key: &EntityKey, fact: Fact) {
        let message = Message { node: self.node.clone(), entity: key.to_string(), fact };
        // A full queue drops it: signals are for those who are there now.
        self.waiting.try_send(message).ok();
    }

    fn show(&self, key: &EntityKey, signal: Signal) {
        // Nobody listening is no fault.
        self.merged.send((key.clone(), signal)).ok();
    }

    fn others(&self, key: &EntityKey) -> Vec<String> {
        let now = Instant::now();
        let elsewhere = self.elsewhere();
        let nodes = elsewhere.get(key).into_iter().flat_map(HashMap::values);
        let mut users: Vec<_> = nodes
            .filter(|(_, until)| *until > now)
            .flat_map(|(users, _)| users.iter().cloned())
            .collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    /// Hands on what this node's clients do, to its own readers and to the other nodes.
    async fn follow_own(self: Arc<Self>, mut own: broadcast::Receiver<(EntityKey, Signal)>) {
        loop {
            let (key, signal) = match own.recv().await {
                Ok(signal) => signal,
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return,
            };
            match signal.clone() {
                Signal::Presence { joined, left } => {
                    let here = self.own.present(&key);
                    if here.len() == joined.len() && left.is_empty() {
                        self.tell(&key, Fact::Who);
                    }
                    self.tell(&key, Fact::Here(here));
                    let others = self.others(&key);
                    let only_here = |users: Vec<String>| -> Vec<String> {
                        users.into_iter().filter(|user| !others.contains(user)).collect()
                    };
                    let (joined, left) = (only_here(joined), only_here(left));
                    if !joined.is_empty() || !left.is_empty() {
                        self.show(&key, Signal::Presence { joined, left });
                    }
                }
                Signal::Sent { kind, by, data } => {
                    self.tell(&key, Fact::Sent { kind, by, data });
                    self.show(&key, signal);
                }
                Signal::Status { user, status, text } => {
                    self.tell(&key, Fact::Status { user, status, text });
                    self.show(&key, signal);
                }
            }
        }
    }

    /// Changes what is known of other nodes, and shows who came and went by that.
    fn change(&self, key: &EntityKey, change: impl FnOnce(&mut Elsewhere)) {
        let before = self.others(key);
        change(&mut self.elsewhere());
        let after = self.others(key);
        let here = self.own.present(key);
        let without = |users: &[String], known: &[String]| -> Vec<String> {
            let is_new = |user: &&String| !known.contains(user) && !here.contains(user);
            users.iter().filter(is_new).cloned().collect()
        };
        let (joined, left) = (without(&after, &before), without(&before, &after));
        if !joined.is_empty() || !left.is_empty() {
            self.show(key, Signal::Presence { joined, left });
        }
    }

    fn heard(&self, message: Message) {
        let Ok(key) = message.entity.parse::<EntityKey>() else { return };
        if message.node == self.node {
            return;
        }
        match message.fact {
            Fact::Here(users) => self.change(&key, |elsewhere| {
                let nodes = elsewhere.entry(key.clone()).or_default();
                if users.is_empty() {
                    nodes.remove(&message.node);
                } else {
                    nodes.insert(message.node, (users, Instant::now() + HOLDS));
                }
                if nodes.is_empty() {
                    elsewhere.remove(&key);
                }
            }),
            Fact::Who => {
                let here = self.own.present(&key);
                if !here.is_empty() {
                    self.tell(&key, Fact::Here(here));
                }
            }
            Fact::Sent { kind, by, data } => self.show(&key, Signal::Sent { kind, by, data }),
            Fact::Status { user, status, text } => {
                self.show(&key, Signal::Status { user, status, text });
            }
        }
    }

    async fn listen(self: Arc<Self>, client: redis::Client, channel: String) {
        loop {
            if let Err(error) = self.listen_once(&client, &channel).await {
                tracing::warn!(%error, "Redis is away: signals stay on this node");
            }
            self.is_connected.store(false, Ordering::Relaxed);
            sleep(PAUSE).await;
        }
    }

    async fn listen_once(
        &self,
        client: &redis::Client,
        channel: &str,
    ) -> Result<(), redis::RedisError> {
        let mut subscription = client.get_async_pubsub().await?;
        subscription.subscribe(channel).await?;
        self.is_connected.store(true, Ordering::Relaxed);
        for key in self.own.places() {
            self.tell(&key, Fact::Who);
            self.tell(&key, Fact::Here(self.own.present(&key)));
        }
        let mut messages = subscription.on_message();
        while let Some(message) = messages.next().await {
            // What cannot be read is of another release.
            if let Ok(message) = serde_json::from_slice(message.get_payload_bytes()) {
                self.heard(message);
            }
        }
        Ok(())
    }

    async fn say(
        self: Arc<Self>,
        client: redis::Client,
        channel: String,
        mut messages: mpsc::Receiver<Message>,
    ) {
        loop {
            let connection = timeout(ANSWER_WITHIN, client.get_multiplexed_async_connection());
            if let Ok(Ok(mut connection)) = connection.await {
                while let Some(message) = messages.recv().await {
                    let Ok(text) = serde_json::to_vec(&message) else { continue };
                    let mut publish = redis::cmd("PUBLISH");
                    publish.arg(&channel).arg(text);
                    let said = publish.query_async::<i64>(&mut connection);
                    if !matches!(timeout(ANSWER_WITHIN, said).await, Ok(Ok(_))) {
                        break;
                    }
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// Says who is here once in a while, and forgets what nobody says any more.
    async fn keep_time(self: Arc<Self>) {
        let (mut says, mut looks) = (interval(SAY_EVERY), interval(Duration::from_secs(1)));
        loop {
            tokio::select! {
                _ = says.tick() => for key in self.own.places() {
                    self.tell(&key, Fact::Here(self.own.present(&key)));
                },
                _ = looks.tick() => self.expire(),
            }
        }
    }

    fn expire(&self) {
        let now = Instant::now();
        let stale: Vec<(EntityKey, Vec<String>)> = self
            .elsewhere()
            .iter()
            .filter(|(_, nodes)| nodes.values().any(|(_, until)| *until <= now))
            .map(|(key, nodes)| {
                let gone = nodes.values().filter(|(_, until)| *until <= now);
                (key.clone(), gone.flat_map(|(users, _)| users.iter().cloned()).collect())
            })
            .collect();
        for (key, users) in stale {
            if let Some(nodes) = self.elsewhere().get_mut(&key) {
                nodes.retain(|_, (_, until)| *until > now);
            }
            let (here, others) = (self.own.present(&key), self.others(&key));
            let mut left: Vec<_> = users
                .into_iter()
                .filter(|user| !here.contains(user) && !others.contains(user))
                .collect();
            left.sort_unstable();
            left.dedup();
            if !left.is_empty() {
                self.show(&key, Signal::Presence { joined: Vec::new(), left });
            }
        }
        self.elsewhere().retain(|_, nodes| !nodes.is_empty());
    }
}

impl Signals for RedisSignals {
    fn publish(&self, key: &EntityKey, signal: Signal) {
        self.shared.own.publish(key, signal);
    }

    fn enter(&self, key: &EntityKey, user: &str, session: u64) {
        self.shared.own.enter(key, user, session);
    }

    fn leave(&self, key: &EntityKey, user: &str, session: u64) {
        self.shared.own.leave(key, user, session);
    }

    fn present(&self, key: &EntityKey) -> Vec<String> {
        let mut users = self.shared.own.present(key);
        users.extend(self.shared.others(key));
        users.sort_unstable();
        users.dedup();
        users
    }

    fn subscribe(&self) -> broadcast::Receiver<(EntityKey, Signal)> {
        self.shared.merged.subscribe()
    }
}

//! `kill -9` under load, again and again: what was acknowledged is there once, and whoever was
//! connected loses and doubles nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Context as _;
use serde_json::{Value, json};
use tests::{
    client::{Client, Http, PATIENCE},
    server::{Setup, TestServer},
};
use tokio::sync::watch;
use uuid::Uuid;

const ROUNDS: usize = 20;
const WRITERS: usize = 4;
/// Commands that a round lets be acknowledged before the kill; it varies so that kills hit
/// different moments.
const FEWEST_A_ROUND: usize = 40;
const MOST_A_ROUND: usize = 240;

fn entities() -> Vec<String> {
    let of = |kind: &'static str| (1..=3).map(move |n| format!("{kind}:{n}"));
    of("board").chain(of("event")).chain(of("room")).collect()
}

async fn create_entities(server: &TestServer) -> anyhow::Result<()> {
    let mut owner = Client::connect(server, "owner").await?;
    for entity in entities() {
        if entity.starts_with("board") {
            owner.command(&entity, json!({"type": "createBoard", "title": "b"})).await?;
        } else if entity.starts_with("room") {
            owner.command(&entity, json!({"type": "createRoom", "title": "r"})).await?;
        } else {
            let event = json!({"type": "createEvent", "title": "e", "timeZone": "UTC", "capacity": 2,
                "start": "2030-01-01T10:00:00Z", "end": "2030-01-01T11:00:00Z"});
            owner.command(&entity, event).await?;
            owner.command(&entity, json!({"type": "setStatus", "status": "published"})).await?;
        }
    }
    Ok(())
}

/// What the workers are told: where the node is now, and whether to go on.
#[derive(Debug, Clone)]
struct Scene {
    address: String,
    stop: bool,
}

/// A client that outlives the node: it writes, subscribes, comes back, resumes and retries.
struct Worker {
    token: String,
    user: String,
    writes: bool,
    scene: watch::Receiver<Scene>,
    acknowledged: Arc<AtomicUsize>,
    /// Per entity, every change it was sent: answered by `join` or pushed.
    seen: BTreeMap<String, Vec<Value>>,
    /// Commands without an answer, in the order they were first sent: id, entity, body.
    open: Vec<(String, String, Value)>,
    /// The changes that each answered command was answered with.
    answers: HashMap<String, Value>,
    made: usize,
    resumed: usize,
}

/// Why a worker left its connection.
enum Left {
    /// It broke, as connections to a killed node do.
    Broken,
    /// It was told to stop, and nothing of its is without an answer.
    Done(Client),
}

impl Worker {
    async fn new(
        server: &TestServer,
        user: &str,
        scene: watch::Receiver<Scene>,
        acknowledged: Arc<AtomicUsize>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            token: server.token(user).await?,
            user: user.to_owned(),
            writes: user.starts_with("writer"),
            scene,
            acknowledged,
            seen: entities().into_iter().map(|entity| (entity, Vec::new())).collect(),
            open: Vec::new(),
            answers: HashMap::new(),
            made: 0,
            resumed: 0,
        })
    }

    async fn run(mut self) -> anyhow::Result<(Self, Client)> {
        loop {
            let address = self.scene.borrow_and_update().address.clone();
            if let Ok(mut client) = Client::connect_to(&address, Some(&self.token)).await {
                let left = self.live(&mut client).await?;
                self.take_pushed(&mut client)?;
                if let Left::Done(()) = left.map_client(|| ()) {
                    return Ok((self, client));
                }
            }
            let moved = self.scene.wait_for(|scene| scene.address != address);
            tokio::time::timeout(PATIENCE, moved).await.context("no new address comes")??;
        }
    }
}

//! `kill -9` under load, again and again: what was acknowledged is there once, and whoever was
//! connected loses and doubles nothing.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, ensure};
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
const FEWEST_A_ROUND: usize = 100;
const MOST_A_ROUND: usize = 500;

fn entities() -> Vec<String> {
    let of = |kind: &'static str| (1..=3).map(move |n| format!("{kind}:{n}"));
    of("board").chain(of("event")).chain(of("room")).collect()
}

async fn create_entities(server: &TestServer) -> anyhow::Result<()> {
    let mut owner = Client::connect(server, "owner").await?;
    for entity in entities() {
        if entity.starts_with("board") {
            let board = json!({"type": "createBoard", "title": "b",
                "columns": [{"id": "a", "title": "A"}, {"id": "b", "title": "B"}]});
            owner.command(&entity, board).await?;
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
    scene: watch::Receiver<Scene>,
    acknowledged: watch::Sender<usize>,
    /// Per entity, every change it was sent: answered by `join` or pushed.
    seen: BTreeMap<String, Vec<Value>>,
    /// Commands without an answer, in the order they were first sent: id, entity, body.
    open: Vec<(String, String, Value)>,
    /// The `ok` of each answered command, by id, with its entity.
    answers: HashMap<String, (String, Value)>,
    made: usize,
    resumed: usize,
}

/// Why a worker left its connection.
#[derive(PartialEq, Eq)]
enum Left {
    /// It broke, as connections to a killed node do.
    Broken,
    /// The worker was told to stop, and nothing of its is without an answer.
    Done,
}

/// A killed node says nothing; one that closes or is silent is at fault.
fn broken(error: &anyhow::Error) -> anyhow::Result<Left> {
    let said = format!("{error:#}");
    ensure!(!said.contains("closed with") && !said.contains("nothing comes"), "{said}");
    Ok(Left::Broken)
}

impl Worker {
    async fn new(
        server: &TestServer,
        user: &str,
        scene: watch::Receiver<Scene>,
        acknowledged: watch::Sender<usize>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            token: server.token(user).await?,
            user: user.to_owned(),
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
                if left == Left::Done {
                    return Ok((self, client));
                }
            }
            let moved = self.scene.wait_for(|scene| scene.address != address);
            tokio::time::timeout(PATIENCE, moved).await.context("no new address comes")??;
        }
    }

    async fn live(&mut self, client: &mut Client) -> anyhow::Result<Left> {
        for entity in entities() {
            let since = self.seen[&entity].len();
            let answer =
                match request(client, "join", json!({"entity": entity, "since": since})).await {
                    Ok(answer) => answer,
                    Err(error) => return broken(&error),
                };
            ensure!(answer["ok"]["recovered"] == true, "since {since} of {entity} gave {answer}");
            for change in answer["ok"]["changes"].as_array().into_iter().flatten() {
                self.take(change.clone())?;
            }
        }
        self.resumed += 1;
        loop {
            self.take_pushed(client)?;
            let stop = self.scene.borrow().stop;
            if stop && self.open.is_empty() {
                return Ok(Left::Done);
            }
            let left = if self.user.starts_with("writer") {
                self.write(client, stop).await?
            } else {
                self.watch(client).await?
            };
            if left == Some(Left::Broken) {
                return Ok(Left::Broken);
            }
        }
    }

    /// Reads one push, or hears that the scene changes.
    async fn watch(&mut self, client: &mut Client) -> anyhow::Result<Option<Left>> {
        tokio::select! {
            object = client.next() => match object {
                Ok(object) => self.take(object).map(|()| None),
                Err(error) => broken(&error).map(Some),
            },
            changed = self.scene.changed() => Ok(changed.map(|()| None)?),
        }
    }

    /// Sends what is open and, unless stopping, one more command to each entity; takes the answers.
    async fn write(&mut self, client: &mut Client, stop: bool) -> anyhow::Result<Option<Left>> {
        if !stop {
            self.add_commands();
        }
        let mut sent = Vec::new();
        for (command, entity, body) in &self.open {
            let fields = json!({"entity": entity, "body": body, "commandId": command});
            match client.send("command", fields).await {
                Ok(id) => sent.push((id, command.clone())),
                Err(error) => return broken(&error).map(Some),
            }
        }
        for (id, command) in sent {
            let answer = match client.answer(id).await {
                Ok(answer) => answer,
                Err(error) => return broken(&error).map(Some),
            };
            let Some(ok) = answer.get("ok") else {
                let code = answer["error"]["code"].as_str().unwrap_or_default();
                ensure!(["unavailable", "timeout"].contains(&code), "{command} got {answer}");
                continue;
            };
            let place = self.open.iter().position(|(open, ..)| *open == command);
            let (_, entity, _) = self.open.remove(place.context("answered twice")?);
            self.answers.insert(command, (entity, ok.clone()));
            self.acknowledged.send_modify(|count| *count += 1);
        }
        Ok(None)
    }

    /// One command for each entity; each surely has a change, whatever the others do.
    fn add_commands(&mut self) {
        let n = self.made;
        self.made += 1;
        let task = format!("{}-{}", self.user, n / 10);
        for entity in entities() {
            let body = match entity.split(':').next() {
                Some("room") => json!({"type": "post", "text": format!("{} {n}", self.user)}),
                Some("event") => {
                    json!({"type": "respond", "answer": if n.is_multiple_of(2) { "yes" } else { "no" }})
                }
                _board if n.is_multiple_of(10) => {
                    json!({"type": "addTask", "task": task, "column": "a", "title": "t"})
                }
                _board => {
                    json!({"type": "moveTask", "task": task, "column": if n.is_multiple_of(2) { "a" } else { "b" }})
                }
            };
            self.open.push((Uuid::now_v7().to_string(), entity, body));
        }
    }

    fn take_pushed(&mut self, client: &mut Client) -> anyhow::Result<()> {
        while let Some(object) = client.pushed.pop_front() {
            self.take(object)?;
        }
        Ok(())
    }

    /// Keeps a change; it must be the very next of its entity.
    fn take(&mut self, object: Value) -> anyhow::Result<()> {
        let Some(seq) = object["seq"].as_u64() else { return Ok(()) };
        let entity = object["entity"].as_str().context("a change names its entity")?;
        let seen =
            self.seen.get_mut(entity).context("a change of an entity that was not joined")?;
        ensure!(
            seq == seen.len() as u64 + 1,
            "{} has {} of {entity}, then {object}",
            self.user,
            seen.len()
        );
        seen.push(object);
        Ok(())
    }
}

async fn request(client: &mut Client, op: &str, fields: Value) -> anyhow::Result<Value> {
    let id = client.send(op, fields).await?;
    client.answer(id).await
}

/// The whole journal of an entity, page by page.
pub(crate) async fn journal(http: &Http, entity: &str) -> anyhow::Result<Vec<Value>> {
    let (kind, id) = entity.split_once(':').context("kind:id")?;
    let mut changes: Vec<Value> = Vec::new();
    loop {
        let path = format!("/api/v1/{kind}s/{id}/changes?after={}&limit=500", changes.len());
        let (status, page) = http.get(&path).await?;
        ensure!(status == 200, "{path} answers {status}: {page}");
        changes.extend(page["changes"].as_array().into_iter().flatten().cloned());
        if page["more"] != true {
            break;
        }
    }
    for (place, change) in changes.iter().enumerate() {
        ensure!(change["seq"] == place + 1, "{entity}: at place {} is {change}", place + 1);
    }
    Ok(changes)
}

/// `switchyard verify` finds no difference.
pub(crate) async fn verify(server: &TestServer) -> anyhow::Result<()> {
    let output = server.run(&["verify"]).await?;
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "verify: {}: {said}{complained}", output.status);
    ensure!(said.contains(" 0 differences"), "verify says {said}{complained}");
    Ok(())
}

/// Every subscriber saw the journal, and every acknowledged command stands in it as it was
/// answered and nowhere else.
async fn check(server: &TestServer, workers: &mut [(Worker, Client)]) -> anyhow::Result<()> {
    let http = Http::new(server, "owner").await?;
    let mut effects: HashMap<(String, String), Vec<Value>> = HashMap::new();
    for entity in entities() {
        let journal = journal(&http, &entity).await?;
        for (worker, client) in &mut *workers {
            worker.take_pushed(client)?;
            while worker.seen[&entity].len() < journal.len() {
                let object =
                    client.next().await.with_context(|| format!("{} at {entity}", worker.user))?;
                worker.take(object)?;
            }
            assert!(worker.seen[&entity] == journal, "{} saw another {entity}", worker.user);
        }
        for change in journal.into_iter().filter(|change| change["by"] != "user:owner") {
            let command = change["commandId"].as_str().context("a change names its command")?;
            effects.entry((entity.clone(), command.to_owned())).or_default().push(change);
        }
    }
    for (command, (entity, ok)) in workers.iter().flat_map(|(worker, _)| &worker.answers) {
        let effect = effects.remove(&(entity.clone(), command.clone())).unwrap_or_default();
        assert!(!effect.is_empty(), "{command} was acknowledged and is not in {entity}: {ok}");
        assert_eq!(ok["changes"], Value::Array(effect), "{command} in {entity}");
        assert_eq!(ok["commandId"], command.as_str());
    }
    assert!(effects.is_empty(), "in the journal, but never acknowledged: {effects:?}");
    Ok(())
}

#[tokio::test]
async fn twenty_kills_under_load_lose_and_double_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = TestServer::start_in(folder.path(), Setup::default()).await?;
    create_entities(&server).await?;
    let (scene, scenes) = watch::channel(Scene { address: server.address.clone(), stop: false });
    let (acknowledged, mut counted) = watch::channel(0);
    let mut running = Vec::new();
    for n in 0..WRITERS {
        let name = format!("writer{n}");
        running.push(Worker::new(&server, &name, scenes.clone(), acknowledged.clone()).await?);
    }
    running.push(Worker::new(&server, "watcher", scenes, acknowledged).await?);
    let running: Vec<_> = running.into_iter().map(|worker| tokio::spawn(worker.run())).collect();

    let started = std::time::Instant::now();
    for round in 0..ROUNDS {
        let more = FEWEST_A_ROUND + (round * 67) % (MOST_A_ROUND - FEWEST_A_ROUND);
        let target = *counted.borrow_and_update() + more;
        let reached = tokio::time::timeout(PATIENCE, counted.wait_for(|count| *count >= target));
        if !matches!(reached.await, Ok(Ok(_))) {
            for worker in running.into_iter().filter(|worker| worker.is_finished()) {
                worker.await?.map(|_| ()).with_context(|| format!("round {round}"))?;
            }
            anyhow::bail!("round {round}: {} of {target} acknowledged", *counted.borrow());
        }
        server.kill().await?;
        verify(&server).await.with_context(|| format!("after kill {round}"))?;
        server.restart().await.with_context(|| format!("after kill {round}"))?;
        scene.send_modify(|scene| scene.address.clone_from(&server.address));
    }
    let target = *counted.borrow_and_update() + FEWEST_A_ROUND;
    tokio::time::timeout(PATIENCE, counted.wait_for(|count| *count >= target)).await??;
    scene.send_modify(|scene| scene.stop = true);
    let mut workers = Vec::new();
    for worker in running {
        workers.push(worker.await??);
    }
    eprintln!("{} commands, {ROUNDS} kills, {:?}", *counted.borrow(), started.elapsed());
    for (worker, _) in &workers {
        assert!(worker.resumed > ROUNDS / 2, "{} came back {} times", worker.user, worker.resumed);
    }
    check(&server, &mut workers).await?;
    drop(workers);
    assert!(server.terminate().await?.success());
    verify(&server).await
}

#[tokio::test]
async fn a_graceful_restart_loses_nothing() -> anyhow::Result<()> {
    let mut server = TestServer::start().await?;
    create_entities(&server).await?;
    let mut ada = Client::connect(&server, "ada").await?;
    ada.call("join", json!({"entity": "room:1"})).await?;
    let mut expected = Vec::new();
    for n in 0..100 {
        let post = json!({"type": "post", "text": n.to_string()});
        expected.push(ada.command("room:1", post).await?["changes"][0].clone());
    }
    assert!(server.terminate().await?.success(), "SIGTERM ends with 0");
    let told = ada.pushed_where(|object| object["type"] == "drain").await?;
    assert!(told["reconnectIn"].is_array(), "{told}");
    assert_eq!(ada.close_code().await?, 1001);
    verify(&server).await?;
    server.restart().await?;
    let mut ada = Client::connect(&server, "ada").await?;
    let back = ada.call("join", json!({"entity": "room:1", "since": 1})).await?;
    assert_eq!(back["recovered"], true);
    assert_eq!(back["changes"], Value::Array(expected));
    assert_eq!(ada.command("room:1", json!({"type": "post", "text": "on"})).await?["seq"], 102);
    verify(&server).await
}

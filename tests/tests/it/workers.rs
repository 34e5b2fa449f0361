//! Clients that outlive the nodes they are at: they write, subscribe, come back, resume and retry,
//! and check that what was acknowledged is there once.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::{
    client::{Client, Http, PATIENCE},
    server::TestServer,
};
use tokio::sync::watch;
use uuid::Uuid;

/// Three of each kind, of a run of its own.
pub(crate) fn entities(run: &str) -> Vec<String> {
    let of = |kind: &'static str| (1..=3).map(move |n| format!("{kind}:{run}{n}"));
    of("board").chain(of("event")).chain(of("room")).collect()
}

pub(crate) async fn create_entities(server: &TestServer, run: &str) -> anyhow::Result<()> {
    let mut owner = Client::connect(server, "owner").await?;
    for entity in entities(run) {
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
pub(crate) struct Scene {
    pub(crate) address: String,
    pub(crate) stop: bool,
}

/// A client that outlives the node: it writes, subscribes, comes back, resumes and retries.
pub(crate) struct Worker {
    token: String,
    pub(crate) user: String,
    run: String,
    scene: watch::Receiver<Scene>,
    acknowledged: watch::Sender<usize>,
    /// Per entity, every change it was sent: answered by `join` or pushed.
    seen: BTreeMap<String, Vec<Value>>,
    /// Commands without an answer, in the order they were first sent: id, entity, body.
    open: Vec<(String, String, Value)>,
    /// The `ok` of each answered command, by id, with its entity.
    answers: HashMap<String, (String, Value)>,
    made: usize,
    pub(crate) resumed: usize,
}

/// Why a worker left its connection.
#[derive(PartialEq, Eq)]
enum Left {
    /// It broke, as connections to a killed node do.
    Broken,
    /// The worker was told to stop, and nothing of its is without an answer.
    Done,
}

/// A killed node says nothing, one that is planned to end closes with 1001; another closing or a
/// silent node is at fault.
fn broken(error: &anyhow::Error) -> anyhow::Result<Left> {
    let said = format!("{error:#}");
    let is_planned = said.contains("code: Away");
    ensure!(is_planned || !said.contains("closed with"), "{said}");
    ensure!(!said.contains("nothing comes"), "{said}");
    Ok(Left::Broken)
}

impl Worker {
    pub(crate) async fn new(
        server: &TestServer,
        user: &str,
        run: &str,
        scene: watch::Receiver<Scene>,
        acknowledged: watch::Sender<usize>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            token: server.token(user).await?,
            user: user.to_owned(),
            run: run.to_owned(),
            scene,
            acknowledged,
            seen: entities(run).into_iter().map(|entity| (entity, Vec::new())).collect(),
            open: Vec::new(),
            answers: HashMap::new(),
            made: 0,
            resumed: 0,
        })
    }

    pub(crate) async fn run(mut self) -> anyhow::Result<(Self, Client)> {
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
        for entity in entities(&self.run) {
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
        for entity in entities(&self.run) {
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

/// Every subscriber saw the journal, and every acknowledged command stands in it as it was
/// answered and nowhere else.
pub(crate) async fn check(
    server: &TestServer,
    run: &str,
    workers: &mut [(Worker, Client)],
) -> anyhow::Result<()> {
    let http = Http::new(server, "owner").await?;
    let mut effects: HashMap<(String, String), Vec<Value>> = HashMap::new();
    for entity in entities(run) {
        let journal = journal(&http, &entity).await?;
        for (worker, client) in &mut *workers {
            worker.take_pushed(client)?;
            while worker.seen[&entity].len() < journal.len() {
                let object =
                    client.next().await.with_context(|| format!("{} at {entity}", worker.user))?;
                worker.take(object)?;
            }
            ensure!(worker.seen[&entity] == journal, "{} saw another {entity}", worker.user);
        }
        for change in journal.into_iter().filter(|change| change["by"] != "user:owner") {
            let command = change["commandId"].as_str().context("a change names its command")?;
            effects.entry((entity.clone(), command.to_owned())).or_default().push(change);
        }
    }
    for (command, (entity, ok)) in workers.iter().flat_map(|(worker, _)| &worker.answers) {
        let effect = effects.remove(&(entity.clone(), command.clone())).unwrap_or_default();
        ensure!(!effect.is_empty(), "{command} was acknowledged and is not in {entity}: {ok}");
        let effect = Value::Array(effect);
        ensure!(
            ok["changes"] == effect,
            "{command} in {entity}: {ok} was answered, {effect} is there"
        );
        ensure!(ok["commandId"] == command.as_str(), "{command} was answered {ok}");
    }
    ensure!(effects.is_empty(), "in the journal, but never acknowledged: {effects:?}");
    Ok(())
}

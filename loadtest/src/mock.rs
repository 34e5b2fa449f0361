//! A server for tests that answers like Switchyard as far as the harness can see, and lies as it is
//! told. WebSocket through tokio-tungstenite, so that the harness's own frames are checked by
//! another implementation; HTTP by hand.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Bytes, Message};

/// What the server does with the change of a given seq, to every subscriber.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lies {
    /// Never sent.
    pub(crate) drop: HashSet<u64>,
    /// Sent twice.
    pub(crate) double: HashSet<u64>,
    /// Sent after the next one.
    pub(crate) swap: HashSet<u64>,
    /// Sent late, and everything after it too.
    pub(crate) delay: BTreeMap<u64, Duration>,
    /// Accepted, but not in the journal.
    pub(crate) forget: HashSet<u64>,
    /// Twice in the journal.
    pub(crate) repeat: HashSet<u64>,
    /// Command numbers (`id`) that are refused with `rate_limited`.
    pub(crate) refuse: HashSet<u64>,
    /// Command numbers (`id`) that are done, but the connection ends in place of the answer, once each.
    pub(crate) cut: HashSet<u64>,
}

/// A running server; its tasks end with the test's runtime.
#[derive(Debug)]
pub(crate) struct Mock {
    pub(crate) address: SocketAddr,
    server: Arc<Server>,
}

#[derive(Debug, Default)]
struct Entity {
    seq: u64,
    journal: Vec<Value>,
    subscribers: Vec<mpsc::UnboundedSender<Outgoing>>,
    held: Option<Value>,
    /// What was answered, by command id.
    answered: BTreeMap<String, u64>,
}

#[derive(Debug, Clone)]
enum Outgoing {
    Frame(Value),
    Text(String),
    Pause(Duration),
}

#[derive(Debug)]
struct Server {
    lies: Lies,
    entities: Mutex<BTreeMap<String, Entity>>,
    /// Command numbers at which a connection has ended.
    cut: Mutex<HashSet<u64>>,
}

impl Mock {
    pub(crate) async fn start(lies: Lies) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Arc::new(Server { lies, entities: Mutex::default(), cut: Mutex::default() });
        let serving = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(Arc::clone(&serving).serve(stream));
            }
        });
        Self { address, server }
    }

    /// The seqs of all entities.
    pub(crate) fn seqs(&self) -> Vec<u64> {
        self.server.entities.lock().unwrap().values().map(|entity| entity.seq).collect()
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    pub(crate) fn centrifugo_url(&self) -> String {
        format!("ws://{}/connection/websocket", self.address)
    }
}

impl Server {
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut head = [0; 3];
        let peeked = stream.peek(&mut head).await;
        let mut start = [0; 32];
        if peeked.is_ok() && &head == b"GET" {
            stream.peek(&mut start).await.unwrap();
        }
        let is_centrifugo = start.starts_with(b"GET /connection/websocket ");
        if !is_centrifugo && !start.starts_with(b"GET /ws ") {
            self.http(&mut stream).await;
            return;
        }
        let socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let (sink, source) = socket.split();
        let (out, outgoing) = mpsc::unbounded_channel();
        tokio::spawn(write(sink, outgoing));
        if is_centrifugo {
            self.centrifugo(source, out).await;
        } else {
            self.session(source, out).await;
        }
    }

    /// Channels as in Centrifugo; every third object is a ping, which must be answered before the
    /// next message.
    async fn centrifugo(
        &self,
        mut source: SplitStream<WebSocketStream<TcpStream>>,
        out: mpsc::UnboundedSender<Outgoing>,
    ) {
        let mut pings = 0;
        while let Some(Ok(message)) = source.next().await {
            let Message::Text(text) = message else { continue };
            for line in text.lines() {
                let command: Value = serde_json::from_str(line).unwrap();
                if command == json!({}) {
                    pings -= 1;
                    continue;
                }
                let answer = self.centrifugo_answer(&command, &out);
                let ping = command["id"].as_u64().unwrap().is_multiple_of(3);
                pings += i32::from(ping);
                assert!(pings < 20, "pings are not answered");
                let tail = if ping { "\n{}" } else { "" };
                out.send(Outgoing::Text(format!("{answer}{tail}"))).ok();
            }
        }
    }

    fn centrifugo_answer(&self, command: &Value, out: &mpsc::UnboundedSender<Outgoing>) -> Value {
        let id = &command["id"];
        let mut entities = self.entities.lock().unwrap();
        if command["connect"].is_object() {
            return json!({ "id": id, "connect": { "client": "c", "ping": 25, "pong": true } });
        }
        if let Some(name) = command["subscribe"]["channel"].as_str() {
            let entity = entities.entry(name.to_owned()).or_default();
            entity.subscribers.push(out.clone());
            return json!({ "id": id, "subscribe": { "recoverable": true, "epoch": "e" } });
        }
        let publish = &command["publish"];
        let name = publish["channel"].as_str().unwrap();
        let entity = entities.entry(name.to_owned()).or_default();
        entity.seq += 1;
        let publication = json!({ "data": publish["data"], "offset": entity.seq });
        let push = json!({ "push": { "channel": name, "pub": publication } });
        entity.publish(&push, &self.lies);
        json!({ "id": id, "publish": {} })
    }

    async fn session(
        &self,
        mut source: SplitStream<WebSocketStream<TcpStream>>,
        out: mpsc::UnboundedSender<Outgoing>,
    ) {
        out.send(Outgoing::Frame(json!({ "type": "connected", "session": "s" }))).unwrap();
        while let Some(Ok(message)) = source.next().await {
            let Message::Text(text) = message else { continue };
            let request: Value = serde_json::from_str(&text).unwrap();
            let answer = match request["op"].as_str().unwrap() {
                "join" => self.join(&request, &out),
                "command" => {
                    let answer = self.command(&request);
                    if self.cuts(&request) {
                        return;
                    }
                    answer
                }
                "signal" => {
                    self.signal(&request);
                    continue;
                }
                other => panic!("{other}"),
            };
            out.send(Outgoing::Frame(answer)).ok();
        }
    }

    fn join(&self, request: &Value, out: &mpsc::UnboundedSender<Outgoing>) -> Value {
        let name = request["entity"].as_str().unwrap();
        let mut entities = self.entities.lock().unwrap();
        let entity = entities.get_mut(name).unwrap();
        entity.subscribers.push(out.clone());
        let presence = json!({ "entity": name, "presence": { "joined": ["x"], "left": [] } });
        out.send(Outgoing::Frame(presence)).unwrap();
        let (id, seq) = (&request["id"], entity.seq);
        let Some(since) = request["since"].as_u64() else {
            return json!({ "id": id, "ok": { "entity": name, "seq": seq, "state": {} } });
        };
        let missed: Vec<&Value> =
            entity.journal.iter().filter(|change| change["seq"].as_u64() > Some(since)).collect();
        let changes = json!(missed);
        let ok = json!({ "entity": name, "seq": seq, "recovered": true, "changes": changes });
        json!({ "id": id, "ok": ok })
    }

    fn signal(&self, request: &Value) {
        let name = request["entity"].as_str().unwrap();
        let signal = json!({
            "entity": name, "signal": request["kind"], "by": "user:x", "data": request["data"],
        });
        self.entities.lock().unwrap()[name].send(Outgoing::Frame(signal));
    }

    fn cuts(&self, request: &Value) -> bool {
        let number = request["id"].as_u64().unwrap();
        self.lies.cut.contains(&number) && self.cut.lock().unwrap().insert(number)
    }

    fn command(&self, request: &Value) -> Value {
        let id = &request["id"];
        if self.lies.refuse.contains(&id.as_u64().unwrap()) {
            return json!({ "id": id, "error": { "code": "rate_limited", "retryAfter": 1.0 } });
        }
        let name = request["entity"].as_str().unwrap();
        let mut entities = self.entities.lock().unwrap();
        let entity = entities.get_mut(name).unwrap();
        let command_id = request["commandId"].as_str().unwrap_or_default();
        if let Some(seq) = entity.answered.get(command_id) {
            return json!({ "id": id, "ok": { "seq": seq, "changes": [] } });
        }
        entity.seq += 1;
        if !command_id.is_empty() {
            entity.answered.insert(command_id.to_owned(), entity.seq);
        }
        let kind = match request["body"]["type"].as_str().unwrap() {
            "post" => "messagePosted",
            "addTask" => "taskAdded",
            "moveTask" => "taskMoved",
            "deleteTask" => "taskDeleted",
            other => panic!("{other}"),
        };
        let change = json!({
            "entity": name, "seq": entity.seq, "type": kind, "by": "user:x",
            "commandId": request["commandId"], "data": { "text": request["body"]["text"] },
        });
        entity.publish(&change, &self.lies);
        json!({ "id": id, "ok": { "seq": entity.seq, "changes": [change] } })
    }

    async fn http(&self, stream: &mut TcpStream) {
        let mut input = Vec::new();
        loop {
            let (line, body) = loop {
                if let Some(request) = take_request(&mut input) {
                    break request;
                }
                if stream.read_buf(&mut input).await.unwrap_or(0) == 0 {
                    return;
                }
            };
            let (status, answer) = self.answer(&line, &body);
            let text = answer.to_string();
            let length = text.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
            );
            if stream.write_all(format!("{head}{text}").as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, line: &str, body: &[u8]) -> (u16, Value) {
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let mut entities = self.entities.lock().unwrap();
        match (method, path) {
            ("POST", "/dev/token") => (200, json!({ "token": "t" })),
            ("GET", path) if !path.contains("/changes") => {
                let (plural, id) = path.strip_prefix("/api/v1/").unwrap().split_once('/').unwrap();
                let entity = &entities[&format!("{}:{id}", plural.trim_end_matches('s'))];
                (200, json!({ "seq": entity.seq, "state": {} }))
            }
            ("POST", _) => {
                let body: Value = serde_json::from_slice(body).unwrap();
                let kind = path.strip_prefix("/api/v1/").unwrap().trim_end_matches('s');
                let name = format!("{kind}:{}", body["id"].as_str().unwrap());
                if entities.contains_key(&name) {
                    return (409, json!({ "code": "conflict" }));
                }
                entities.insert(name, Entity { seq: 1, ..Entity::default() });
                (201, json!({ "seq": 1 }))
            }
            _ => {
                let (entity, query) = path.split_once("/changes?after=").unwrap();
                let (plural, id) =
                    entity.strip_prefix("/api/v1/").unwrap().split_once('/').unwrap();
                let after: u64 = query.split('&').next().unwrap().parse().unwrap();
                let entity = &entities[&format!("{}:{id}", plural.trim_end_matches('s'))];
                let rest: Vec<&Value> = entity
                    .journal
                    .iter()
                    .filter(|change| change["seq"].as_u64().unwrap() > after)
                    .collect();
                let page = &rest[..rest.len().min(500)];
                (200, json!({ "changes": page, "more": rest.len() > page.len() }))
            }
        }
    }
}

impl Entity {
    fn publish(&mut self, change: &Value, lies: &Lies) {
        let seq = self.seq;
        if !lies.forget.contains(&seq) {
            self.journal.push(change.clone());
        }
        if lies.repeat.contains(&seq) {
            self.journal.push(change.clone());
        }
        if let Some(delay) = lies.delay.get(&seq) {
            self.send(Outgoing::Pause(*delay));
        }
        if lies.swap.contains(&seq) {
            self.held = Some(change.clone());
            return;
        }
        if !lies.drop.contains(&seq) {
            self.send(Outgoing::Frame(change.clone()));
        }
        if lies.double.contains(&seq) {
            let is_ours = change["entity"].is_string();
            self.send(Outgoing::Frame(if is_ours { json!([change]) } else { change.clone() }));
        }
        if let Some(held) = self.held.take() {
            self.send(Outgoing::Frame(held));
        }
    }

    fn send(&self, outgoing: Outgoing) {
        for subscriber in &self.subscribers {
            subscriber.send(outgoing.clone()).ok();
        }
    }
}

async fn write(
    mut sink: SplitSink<WebSocketStream<TcpStream>, Message>,
    mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
) {
    let mut sent = 0;
    while let Some(next) = outgoing.recv().await {
        match next {
            Outgoing::Frame(frame) => {
                if sink.send(Message::text(frame.to_string())).await.is_err() {
                    return;
                }
            }
            Outgoing::Text(text) => {
                if sink.send(Message::text(text)).await.is_err() {
                    return;
                }
            }
            Outgoing::Pause(pause) => tokio::time::sleep(pause).await,
        }
        sent += 1;
        if sent % 10 == 0 {
            sink.send(Message::Ping(Bytes::from_static(b"alive?"))).await.ok();
        }
    }
}

/// The first line and the body of the request at the beginning of the input, once all there.
fn take_request(input: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let end = memchr::memmem::find(input, b"\r\n\r\n")? + 4;
    let head = String::from_utf8(input[..end].to_vec()).unwrap();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
        })
        .unwrap_or(0);
    if input.len() < end + length {
        return None;
    }
    let body = input[end..end + length].to_vec();
    input.drain(..end + length);
    Some((head.lines().next().unwrap().to_owned(), body))
}

//! A WebSocket client that keeps what was pushed, and an HTTP client with a token.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _, protocol::CloseFrame},
};

use crate::server::TestServer;

/// Everything that is waited for must come within this.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The example key of RFC 6455, and what it is answered with.
pub const KEY: (&str, &str) = ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

/// A handshake for `/ws` whose answer is looked at as HTTP.
pub fn upgrade(server: &TestServer) -> reqwest::RequestBuilder {
    reqwest::Client::new()
        .get(server.url("/ws"))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", KEY.0)
}

/// A connected client.
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: i64,
    /// Pushed objects that nobody has asked for yet, oldest first.
    pub pushed: VecDeque<Value>,
    answers: VecDeque<Value>,
    waiting: VecDeque<Value>,
}

impl Client {
    /// Connects and authenticates; the greeting has been read.
    ///
    /// # Errors
    /// If the handshake is refused or the greeting does not come.
    pub async fn connect(server: &TestServer, user: &str) -> anyhow::Result<Self> {
        let token = server.token(user).await?;
        Self::connect_with(server, Some(&token)).await
    }

    /// Connects with this token, or with none; then there is no greeting yet.
    ///
    /// # Errors
    /// If the handshake is refused or the greeting does not come.
    pub async fn connect_with(server: &TestServer, token: Option<&str>) -> anyhow::Result<Self> {
        Self::connect_to(&server.address, token).await
    }

    /// As [`Client::connect_with`], to an address: for clients that outlive the node they are at.
    ///
    /// # Errors
    /// If the handshake is refused or the greeting does not come.
    pub async fn connect_to(address: &str, token: Option<&str>) -> anyhow::Result<Self> {
        let mut request = format!("ws://{address}/ws").into_client_request()?;
        let mut offers = "switchyard.v1".to_owned();
        if let Some(token) = token {
            offers.push_str(&format!(", bearer.{token}"));
        }
        request.headers_mut().insert("sec-websocket-protocol", offers.parse()?);
        let (socket, _) = timeout(PATIENCE, connect_async(request)).await??;
        let mut client = Self {
            socket,
            next_id: 1,
            pushed: VecDeque::new(),
            answers: VecDeque::new(),
            waiting: VecDeque::new(),
        };
        if token.is_some() {
            let greeting = client.next().await?;
            anyhow::ensure!(greeting["type"] == "connected", "greeted with {greeting}");
        }
        Ok(client)
    }

    /// Sends text as it is.
    ///
    /// # Errors
    /// If the connection is gone.
    pub async fn send_raw(&mut self, message: Message) -> anyhow::Result<()> {
        Ok(self.socket.send(message).await?)
    }

    /// Sends a request and gives its id; the answer is fetched with [`Client::answer`].
    ///
    /// # Errors
    /// If the connection is gone.
    pub async fn send(&mut self, op: &str, mut fields: Value) -> anyhow::Result<i64> {
        let id = self.next_id;
        self.next_id += 1;
        fields["id"] = id.into();
        fields["op"] = op.into();
        self.send_raw(Message::text(fields.to_string())).await?;
        Ok(id)
    }

    /// The answer to a request: `{"id":…, "ok":…}` or `{"id":…, "error":…}`.
    ///
    /// # Errors
    /// If it does not come in time.
    pub async fn answer(&mut self, id: i64) -> anyhow::Result<Value> {
        if let Some(place) = self.answers.iter().position(|answer| answer["id"] == id) {
            return self.answers.remove(place).context("it was there");
        }
        loop {
            let object = self.next().await?;
            if object["id"] == id {
                return Ok(object);
            }
            self.keep(object);
        }
    }

    fn keep(&mut self, object: Value) {
        if object.get("id").is_some() {
            self.answers.push_back(object);
        } else {
            self.pushed.push_back(object);
        }
    }

    /// Sends a request and gives what it answers with: the `ok`.
    ///
    /// # Errors
    /// If it is refused; the error holds code and message.
    pub async fn call(&mut self, op: &str, fields: Value) -> anyhow::Result<Value> {
        let id = self.send(op, fields).await?;
        let answer = self.answer(id).await?;
        match answer.get("ok") {
            Some(ok) => Ok(ok.clone()),
            None => bail!("{op} is refused: {}", answer["error"]),
        }
    }

    /// Sends a request and gives the code with which it is refused.
    ///
    /// # Errors
    /// If it is not refused.
    pub async fn refused(&mut self, op: &str, fields: Value) -> anyhow::Result<String> {
        let id = self.send(op, fields).await?;
        let answer = self.answer(id).await?;
        let code = answer["error"]["code"].as_str().map(str::to_owned);
        code.with_context(|| format!("{op} is not refused: {answer}"))
    }

    /// Sends a command and gives the `ok`.
    ///
    /// # Errors
    /// If it is rejected.
    pub async fn command(&mut self, entity: &str, body: Value) -> anyhow::Result<Value> {
        self.call("command", json!({"entity": entity, "body": body})).await
    }

    /// The next pushed object for which `wanted` holds; others before it are dropped.
    ///
    /// # Errors
    /// If it does not come in time.
    pub async fn pushed_where(&mut self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        loop {
            while let Some(object) = self.pushed.pop_front() {
                if wanted(&object) {
                    return Ok(object);
                }
            }
            let object = self.next().await?;
            self.keep(object);
        }
    }

    /// The next pushed change of an entity.
    ///
    /// # Errors
    /// If it does not come in time.
    pub async fn change(&mut self, entity: &str) -> anyhow::Result<Value> {
        self.pushed_where(|object| object["entity"] == entity && object.get("seq").is_some()).await
    }

    /// The next object, whatever it is; arrays are taken apart.
    ///
    /// # Errors
    /// If none comes in time or the connection ends.
    pub async fn next(&mut self) -> anyhow::Result<Value> {
        // Pings, which come on their own, are nothing that was waited for.
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(object) = self.waiting.pop_front() {
                return Ok(object);
            }
            let next = timeout_at(deadline, self.socket.next());
            let message = next.await.context("nothing comes")?;
            match message.context("the connection has ended")?? {
                Message::Text(text) => match serde_json::from_str(&text)? {
                    Value::Array(objects) => self.waiting.extend(objects),
                    object => return Ok(object),
                },
                Message::Close(frame) => bail!("closed with {frame:?}"),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// The code with which the server closes; what comes before is dropped.
    ///
    /// # Errors
    /// If it does not close in time.
    pub async fn close_code(&mut self) -> anyhow::Result<u16> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let next = timeout_at(deadline, self.socket.next());
            let message = next.await.context("not closed")?;
            match message {
                Some(Ok(Message::Close(Some(CloseFrame { code, .. })))) => return Ok(code.into()),
                Some(Ok(_)) => {}
                Some(Err(error)) => bail!("ended without a close frame: {error}"),
                None => bail!("ended without a close frame"),
            }
        }
    }
}

/// HTTP with a token.
pub struct Http {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl Http {
    /// For this user of a node.
    ///
    /// # Errors
    /// If the node gives no token.
    pub async fn new(server: &TestServer, user: &str) -> anyhow::Result<Self> {
        let token = server.token(user).await?;
        Ok(Self { client: reqwest::Client::new(), base: server.url(""), token })
    }

    /// A request to build on.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().unwrap_or(reqwest::Method::GET);
        self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    /// POSTs JSON; gives status and body.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<(u16, Value)> {
        answer(self.request("POST", path).json(&body).send().await?).await
    }

    /// GETs; gives status and body.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn get(&self, path: &str) -> anyhow::Result<(u16, Value)> {
        answer(self.request("GET", path).send().await?).await
    }
}

async fn answer(response: reqwest::Response) -> anyhow::Result<(u16, Value)> {
    let status = response.status().as_u16();
    let text = response.text().await?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

//! Slack's Socket Mode (docs.slack.dev/apis/events-api/using-socket-mode): connections with a ticket
//! each, envelopes, and what is not acknowledged sent again over the next connection.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use schemas::room::Platform;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::interval,
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Error, Message,
        handshake::server::{Request, Response},
    },
};

use super::{
    SLACK_APP_TOKEN, Shared, Simulators,
    server::{bearer, fault},
};

/// Between the pings of a connection.
const PING_EVERY: Duration = Duration::from_secs(5);

/// The connections and what goes over them.
pub(super) struct SocketMode {
    address: SocketAddr,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// Whether what people do goes over a connection, or is sent to the webhook.
    is_used: bool,
    /// Everything that people did, the oldest first.
    envelopes: Vec<Kept>,
    /// Tickets that nobody connected with yet.
    tickets: BTreeSet<u64>,
    /// The number of the last ticket and connection.
    last: u64,
    /// The open connections, and why they are told to go, if they are.
    open: BTreeMap<u64, Option<&'static str>>,
    /// So many acknowledgements are still to be lost.
    lose: usize,
    /// How many envelopes were sent more than once.
    resent: u64,
}

struct Kept {
    id: String,
    payload: Value,
    /// How often it was sent.
    sent: u32,
    /// The connection that it was sent over last, while that is open.
    at: Option<u64>,
    is_acknowledged: bool,
}

impl Kept {
    fn envelope(&self) -> Value {
        let kind = match (self.payload["type"].as_str(), self.payload["command"].is_string()) {
            (Some("event_callback"), _) => "events_api",
            (_, true) => "slash_commands",
            (_, false) => "interactive",
        };
        let attempt = self.sent.saturating_sub(1);
        let reason = if attempt > 0 { "timeout" } else { "" };
        json!({"envelope_id": self.id, "type": kind, "payload": self.payload,
            "accepts_response_payload": kind != "events_api",
            "retry_attempt": attempt, "retry_reason": reason})
    }
}

impl SocketMode {
    pub(super) async fn start() -> std::io::Result<Arc<Self>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (state, changed) = (Mutex::default(), watch::Sender::new(()));
        let socket_mode = Arc::new(Self { address, state, changed });
        let serving = socket_mode.clone();
        actix_web::rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let socket_mode = serving.clone();
                actix_web::rt::spawn(async move {
                    if let Err(error) = socket_mode.accept(stream).await {
                        tracing::debug!(%error, "a connection of Socket Mode ended");
                    }
                });
            }
        });
        Ok(socket_mode)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the node is to connect.
    pub(super) fn is_used(&self) -> bool {
        self.state().is_used
    }

    /// Sends a payload over a connection, now or when there is one; says whether this way is used.
    pub(super) fn take(&self, payload: &Value) -> bool {
        let mut state = self.state();
        if !state.is_used {
            return false;
        }
        let id = format!("envelope-{}", state.envelopes.len() + 1);
        let payload = payload.clone();
        let kept = Kept { id, payload, sent: 0, at: None, is_acknowledged: false };
        state.envelopes.push(kept);
        self.changed.send_replace(());
        true
    }

    /// An address that is good for one connection.
    fn ticket(&self) -> String {
        let mut state = self.state();
        state.last += 1;
        let ticket = state.last;
        state.tickets.insert(ticket);
        format!("ws://{}/link/?ticket={ticket}", self.address)
    }

    async fn accept(&self, stream: TcpStream) -> Result<(), Error> {
        let mut ticket = None;
        #[expect(clippy::result_large_err, reason = "the library says what a handshake returns")]
        let read = |request: &Request, response: Response| {
            let query = request.uri().query().unwrap_or_default();
            ticket = query.strip_prefix("ticket=").and_then(|ticket| ticket.parse::<u64>().ok());
            Ok(response)
        };
        let mut socket = accept_hdr_async(stream, read).await?;
        let number = ticket.filter(|ticket| self.state().tickets.remove(ticket));
        let Some(number) = number else { return socket.close(None).await };
        self.state().open.insert(number, None);
        let ended = self.serve(&mut socket, number).await;
        // What it had and did not acknowledge goes over another.
        let mut state = self.state();
        state.open.remove(&number);
        let held = state.envelopes.iter_mut().filter(|kept| kept.at == Some(number));
        held.for_each(|kept| kept.at = None);
        drop(state);
        self.changed.send_replace(());
        ended
    }

    /// What goes over a connection next: the newest that is not told to go gets it.
    fn next(&self, number: u64) -> Option<Value> {
        let mut state = self.state();
        let (newest, _) = state.open.iter().rev().find(|(_, leaves)| leaves.is_none())?;
        if *newest != number {
            return None;
        }
        let waits = |kept: &&mut Kept| !kept.is_acknowledged && kept.at.is_none();
        let kept = state.envelopes.iter_mut().find(waits)?;
        kept.at = Some(number);
        kept.sent += 1;
        let (envelope, sent) = (kept.envelope(), kept.sent);
        state.resent += u64::from(sent > 1);
        Some(envelope)
    }

    fn acknowledge(&self, id: &str) {
        let mut state = self.state();
        if state.lose > 0 {
            state.lose -= 1;
            return;
        }
        if let Some(kept) = state.envelopes.iter_mut().find(|kept| kept.id == id) {
            kept.is_acknowledged = true;
        }
    }

    async fn serve(
        &self,
        socket: &mut tokio_tungstenite::WebSocketStream<TcpStream>,
        number: u64,
    ) -> Result<(), Error> {
        let hello = json!({"type": "hello", "num_connections": self.state().open.len(),
            "connection_info": {"app_id": "A0SIMULATED"},
            "debug_info": {"host": "simulated", "approximate_connection_time": 18_060}});
        socket.send(Message::text(hello.to_string())).await?;
        let mut changed = self.changed.subscribe();
        let mut pings = interval(PING_EVERY);
        let mut is_told = false;
        loop {
            while let Some(envelope) = self.next(number) {
                socket.send(Message::text(envelope.to_string())).await?;
            }
            let leaves = self.state().open.get(&number).copied().flatten().filter(|_| !is_told);
            if let Some(reason) = leaves {
                is_told = true;
                let disconnect = json!({"type": "disconnect", "reason": reason,
                    "debug_info": {"host": "simulated"}});
                socket.send(Message::text(disconnect.to_string())).await?;
            }
            let frame = tokio::select! {
                frame = socket.next() => frame,
                _ = changed.changed() => continue,
                _ = pings.tick() => {
                    socket.send(Message::Ping(Bytes::new())).await?;
                    continue;
                }
            };
            match frame.transpose()? {
                Some(Message::Text(text)) => {
                    let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
                    self.acknowledge(answer["envelope_id"].as_str().unwrap_or_default());
                }
                Some(Message::Close(_)) | None => return Ok(()),
                Some(_control) => {}
            }
        }
    }
}

/// What went over the connections of Socket Mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketCounts {
    /// Connections that are open.
    pub open: usize,
    /// Tickets for connections that were given out.
    pub tickets: u64,
    /// Envelopes that nobody acknowledged.
    pub unacknowledged: usize,
    /// Envelopes that were sent again.
    pub resent: u64,
}

impl Simulators {
    /// What people do on Slack goes over Socket Mode from now on. Settings say so from then on.
    pub fn use_socket_mode(&self) {
        if let Some(socket_mode) = self.shared.socket_mode() {
            socket_mode.state().is_used = true;
        }
    }

    /// Tells every connection of Socket Mode that it ends: `warning`, `refresh_requested`,
    /// `link_disabled`. It gets nothing from then on, and stays until the node leaves it.
    pub fn end_sockets(&self, reason: &'static str) {
        if let Some(socket_mode) = self.shared.socket_mode() {
            socket_mode.state().open.values_mut().for_each(|leaves| *leaves = Some(reason));
            socket_mode.changed.send_replace(());
        }
    }

    /// The next so many acknowledgements do not arrive: what they are for is sent again over the next
    /// connection.
    pub fn lose_acknowledgements(&self, count: usize) {
        if let Some(socket_mode) = self.shared.socket_mode() {
            socket_mode.state().lose = count;
        }
    }

    /// What went over the connections.
    pub fn sockets(&self) -> SocketCounts {
        let Some(socket_mode) = self.shared.socket_mode() else {
            return SocketCounts { open: 0, tickets: 0, unacknowledged: 0, resent: 0 };
        };
        let state = socket_mode.state();
        let unacknowledged = state.envelopes.iter().filter(|kept| !kept.is_acknowledged).count();
        let (open, tickets) = (state.open.len(), state.last);
        SocketCounts { open, tickets, unacknowledged, resent: state.resent }
    }
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/slack/api/apps.connections.open", web::post().to(open));
}

async fn open(shared: web::Data<Arc<Shared>>, request: HttpRequest) -> HttpResponse {
    let refused = |error: &str| HttpResponse::Ok().json(json!({"ok": false, "error": error}));
    if let Some(fault) = fault(&shared, Platform::Slack) {
        return fault;
    }
    match bearer(&request, "Bearer") {
        Some(SLACK_APP_TOKEN) => {}
        Some(other) if other.starts_with("xoxb-") => return refused("not_allowed_token_type"),
        Some(_) | None => return refused("invalid_auth"),
    }
    match shared.socket_mode() {
        Some(socket_mode) => {
            HttpResponse::Ok().json(json!({"ok": true, "url": socket_mode.ticket()}))
        }
        None => refused("internal_error"),
    }
}

//! One WebSocket client: reads its requests, answers each exactly once. The protocol of
//! PROTOCOL.md, "WebSocket".

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actors::{ports::Signal, span, trace};
use bytes::Bytes;
use schemas::{Code, EntityId, EntityKey, Kind, Seq, Verdict, json};
use serde::Deserialize;
use serde_json::{Map, Value, json as value};
use tracing::Span;

use crate::{
    app::{App, StrangerPermit},
    auth::{Identity, TokenError},
    commands::{self, NewCommand},
    frame::{self, CloseCode, Message},
    hub::{
        Client, Delivery, HistoryRange, InFlight, JoinResult, Joined, LONGEST_RESUME, MOST_HISTORY,
        Reader, Repeated, ReplyTo, Sessions, SubscribeTo, answer_to_command, changes_json,
        presence_name, write_array,
    },
    limits::Bucket,
    metrics::Interface,
    outbox::{Pending, Weight},
    problem::Problem,
};

/// Unreadable messages that a client may send in a minute.
const BAD_MESSAGES: u32 = 10;
/// Requests over a limit that a client may make in a minute: one that does not listen is closed.
const REFUSED_MOST: u32 = 500;
/// Entities that one client may be at.
const MOST_JOINED: usize = 10_000;
/// Bytes of a signal's data.
const SIGNAL_BYTES: usize = 4_096;

/// What a session does with the messages it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Speaks the protocol.
    Protocol,
    /// Sends every message back: for conformance runners.
    Echo,
}

/// Who opens a session.
pub enum Visitor {
    /// Somebody whose token came with the handshake.
    Known(Identity),
    /// Somebody who has yet to authenticate, and counts against what their address may have of those.
    Stranger(Option<StrangerPermit>),
}

/// A client's session.
pub struct Session {
    app: App,
    sessions: Sessions,
    client: Rc<Client>,
    mode: Mode,
    bad: Bucket,
    refused: Bucket,
    joins: Bucket,
    signals: Bucket,
    stranger: Cell<Option<StrangerPermit>>,
    /// Joins that are on their way, so that a flood of them is bounded too.
    joining: Cell<usize>,
    /// Commands that have no answer yet, by ticket.
    pending: RefCell<BTreeMap<u64, PendingCommand>>,
    next_ticket: Cell<u64>,
}

struct PendingCommand {
    request: Arc<str>,
    since: Instant,
    /// Held until the answer, once the log has the command.
    permit: Option<InFlight>,
    /// Of a command that is traced; ends with its answer.
    _span: Span,
}

#[derive(Deserialize)]
struct AuthFields {
    token: String,
}

#[derive(Deserialize)]
struct JoinFields {
    entity: EntityId,
    #[serde(default)]
    since: Option<Seq>,
    #[serde(default)]
    presence: Option<bool>,
}

#[derive(Deserialize)]
struct LeaveFields {
    entity: EntityId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommandFields {
    entity: EntityId,
    body: Value,
    #[serde(default)]
    command_id: Option<schemas::CommandId>,
    #[serde(default)]
    expect: Option<Seq>,
}

#[derive(Deserialize)]
struct SignalFields {
    entity: EntityId,
    kind: String,
    #[serde(default)]
    data: Value,
}

#[derive(Deserialize)]
struct StatusFields {
    status: Status,
    #[serde(default)]
    text: Option<String>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "camelCase")]
enum Status {
    Online,
    Away,
    Busy,
}

#[derive(Deserialize)]
struct HistoryFields {
    entity: EntityId,
    #[serde(default)]
    before: Option<Seq>,
    #[serde(default)]
    after: Option<Seq>,
    #[serde(default)]
    limit: Option<i64>,
}

#[derive(Deserialize)]
struct NoFields {}

impl Session {
    /// A session for a client.
    pub fn new(
        app: App,
        sessions: Sessions,
        client: Rc<Client>,
        mode: Mode,
        visitor: Visitor,
    ) -> Rc<Self> {
        let limits = &app.config().limits;
        let session = Rc::new(Self {
            bad: Bucket::new(BAD_MESSAGES, Duration::from_secs(60)),
            refused: Bucket::new(REFUSED_MOST, Duration::from_secs(60)),
            joins: Bucket::new(limits.joins_per_second, Duration::from_secs(1)),
            signals: Bucket::new(limits.signals_per_second, Duration::from_secs(1)),
            stranger: Cell::new(None),
            joining: Cell::new(0),
            pending: RefCell::default(),
            next_ticket: Cell::new(0),
            app,
            sessions,
            client,
            mode,
        });
        session.sessions.attach(session.clone());
        match (mode, visitor) {
            (Mode::Echo, _) => {
                session.client.expires.set(Some(schemas::Timestamp::from_millis(i64::MAX)))
            }
            (Mode::Protocol, Visitor::Known(identity)) => {
                session.take_identity(identity);
                session.greet();
            }
            (Mode::Protocol, Visitor::Stranger(permit)) => session.stranger.set(permit),
        }
        session
    }

    /// The part that the shard looks after.
    pub fn client(&self) -> &Rc<Client> {
        &self.client
    }

    fn take_identity(&self, identity: Identity) {
        self.client.expires.set(Some(identity.expires));
        self.stranger.set(None);
        self.client.expiry_announced.set(false);
        *self.client.identity.borrow_mut() = Some(Rc::new(identity));
    }

    fn greet(&self) {
        let Some(identity) = &*self.client.identity.borrow() else { return };
        let config = self.app.config();
        self.client.send_json(&value!({
            "type": "connected",
            "session": format!("{}-{}-{}", config.node, self.sessions.shard(), self.client.id),
            "principal": identity.principal.to_string(),
            "node": config.node,
            "heartbeat": 25,
            "limits": config.limits,
        }));
    }

    /// Takes a message. Whoever reads the connection calls this in order.
    pub fn message(self: &Rc<Self>, message: Message) {
        self.client.heard.set(Instant::now());
        match message {
            Message::Ping(payload) => self.client.send(frame::pong(&payload), Weight::Counted),
            Message::Pong => {}
            Message::Close(code) => {
                let code = code.map_or(CloseCode::Normal, CloseCode::Peer);
                self.client.close(code, "", Pending::Send);
            }
            Message::Text(text) if self.mode == Mode::Echo => {
                self.client.send(frame::text(&text), Weight::Exempt);
            }
            Message::Binary(bytes) if self.mode == Mode::Echo => {
                self.client.send(frame::binary(&bytes), Weight::Exempt);
            }
            Message::Binary(_) => {
                self.client.close(CloseCode::Unsupported, "text frames only", Pending::Send);
            }
            Message::Text(text) => self.text(&text),
        }
    }

    fn text(self: &Rc<Self>, text: &Bytes) {
        match serde_json::from_slice(text) {
            Ok(Value::Object(request)) => self.request(request),
            Ok(Value::Array(requests)) => {
                for request in requests {
                    match request {
                        Value::Object(request) => self.request(request),
                        _other => self.unreadable("a request must be an object"),
                    }
                }
            }
            Ok(_) => self.unreadable("a request must be an object or an array of them"),
            Err(error) => self.unreadable(&format!("not JSON: {error}")),
        }
    }

    fn unreadable(&self, reason: &str) {
        let problem = Problem::new(Code::Invalid, reason);
        self.app.metrics().problem(Interface::WebSocket, problem.code);
        self.client.send_json(&value!({"error": problem.to_answer()}));
        if self.bad.take("unreadable messages").is_err() {
            self.client.close(CloseCode::Policy, "too many unreadable messages", Pending::Send);
        }
    }

    fn request(self: &Rc<Self>, mut fields: Map<String, Value>) {
        let id = match fields.remove("id") {
            None => None,
            Some(id) if id.is_string() || id.is_i64() || id.is_u64() => {
                Some(Arc::from(id.to_string()))
            }
            Some(_) => return self.unreadable("id must be an integer or a string"),
        };
        let op = match fields.remove("op") {
            Some(Value::String(op)) => op,
            Some(_) | None => {
                let problem = schemas::Rejection::field("op", "must be a string").into();
                return self.refuse(id.as_ref(), &problem);
            }
        };
        if id.is_none() && op != "signal" {
            let problem = schemas::Rejection::field("id", "is missing").into();
            return self.refuse(None, &problem);
        }
        if let Err(problem) = self.perform(&op, fields, id.clone()) {
            self.refuse(id.as_ref(), &problem);
        }
    }

    fn refuse(&self, id: Option<&Arc<str>>, problem: &Problem) {
        self.app.metrics().problem(Interface::WebSocket, problem.code);
        if problem.code == Code::RateLimited && self.refused.take("refusals").is_err() {
            self.client.close(CloseCode::TooMany, "too many requests", Pending::Send);
            return;
        }
        let error = problem.to_answer().to_string();
        let message = match id {
            Some(id) => format!("{{\"id\":{id},\"error\":{error}}}"),
            None => format!("{{\"error\":{error}}}"),
        };
        self.client.send(frame::text(message.as_bytes()), Weight::Counted);
    }

    fn answer(&self, id: &str, ok: &[u8], weight: Weight) {
        let mut message = format!("{{\"id\":{id},\"ok\":").into_bytes();
        message.extend_from_slice(ok);
        message.push(b'}');
        self.client.send(frame::text(&message), weight);
    }

    fn identity(&self) -> Result<Rc<Identity>, Problem> {
        let none = || Problem::new(Code::Unauthenticated, "authenticate first");
        self.client.identity.borrow().clone().ok_or_else(none)
    }

    fn allowed(&self, op: &str, entity: &EntityId) -> Result<Rc<Identity>, Problem> {
        let identity = self.identity()?;
        if identity.may(op, entity) {
            Ok(identity)
        } else {
            Err(Problem::new(Code::Forbidden, format!("the token does not allow {op} at {entity}")))
        }
    }

    fn perform(
        self: &Rc<Self>,
        op: &str,
        fields: Map<String, Value>,
        id: Option<Arc<str>>,
    ) -> Result<(), Problem> {
        let request = id.unwrap_or_else(|| "null".into());
        match op {
            "auth" => self.auth(read(fields)?, request),
            "join" => self.join(read(fields)?, request),
            "joinEvent" => self.join(read(named(fields, "eventId", Kind::Event)?)?, request),
            "joinBoard" => self.join(read(named(fields, "boardId", Kind::Board)?)?, request),
            "joinRoom" => self.join(read(named(fields, "roomId", Kind::Room)?)?, request),
            "leave" => self.leave(&read(fields)?, &request),
            "leaveRoom" => self.leave(&read(named(fields, "roomId", Kind::Room)?)?, &request),
            "command" => self.command(read(fields)?, request),
            "signal" => self.signal(read(fields)?),
            "status" => self.status(read(fields)?, &request),
            "history" => self.history(read(fields)?, request),
            "ping" => {
                let NoFields {} = read(fields)?;
                let now = self.app.hub().ports().clock.now().to_string();
                self.answer(
                    &request,
                    value!({"pong": now}).to_string().as_bytes(),
                    Weight::Counted,
                );
                Ok(())
            }
            other => Err(schemas::Rejection::field("op", format!("{other:?} is unknown")).into()),
        }
    }

    fn auth(
        self: &Rc<Self>,
        AuthFields { token }: AuthFields,
        request: Arc<str>,
    ) -> Result<(), Problem> {
        match self.app.verifier().verify(&token) {
            // What follows an `auth` in the same breath must find it done, so only a key that has
            // to be fetched is waited for.
            Err(TokenError::UnknownKey(_)) => {
                let session = self.clone();
                actix_web::rt::spawn(async move {
                    let verified = session.app.verifier().verify_or_refresh(&token).await;
                    if let Err(problem) = session.authenticate(verified, &request) {
                        session.refuse(Some(&request), &problem);
                    }
                });
                Ok(())
            }
            verified => self.authenticate(verified, &request),
        }
    }

    fn authenticate(
        &self,
        verified: Result<Identity, TokenError>,
        request: &Arc<str>,
    ) -> Result<(), Problem> {
        let identity = match verified {
            Ok(identity) => identity,
            Err(error) => {
                self.app.metrics().authentication_failed();
                let problem = Problem::new(Code::Unauthenticated, error.to_string());
                self.refuse(Some(request), &problem);
                self.client.close(CloseCode::Unauthenticated, "bad token", Pending::Send);
                return Ok(());
            }
        };
        let before = self.client.identity.borrow().clone();
        if let Some(before) = &before
            && (before.principal != identity.principal || before.tenant != identity.tenant)
        {
            return Err(Problem::new(Code::Forbidden, "a session cannot change who it is"));
        }
        let ok = value!({
            "principal": identity.principal.to_string(),
            "expiry": identity.expires.to_string(),
        });
        self.take_identity(identity);
        if before.is_none() {
            self.greet();
        }
        self.answer(request, ok.to_string().as_bytes(), Weight::Counted);
        Ok(())
    }

    fn join(self: &Rc<Self>, fields: JoinFields, request: Arc<str>) -> Result<(), Problem> {
        let identity = self.allowed("join", &fields.entity)?;
        self.joins.take("joins")?;
        if self.client.joined.borrow().len() + self.joining.get() >= MOST_JOINED {
            let detail = format!("a connection may be at {MOST_JOINED} entities");
            return Err(Problem::new(Code::RateLimited, detail));
        }
        self.joining.set(self.joining.get() + 1);
        let to = SubscribeTo {
            shard: self.sessions.shard(),
            session: self.client.id,
            request,
            reader: reader_of(&identity),
            since: fields.since,
            show: fields.presence.unwrap_or(true),
            journal: None,
        };
        self.subscribe(identity.key(fields.entity), to);
        Ok(())
    }

    fn subscribe(self: &Rc<Self>, key: EntityKey, to: SubscribeTo) {
        let session = self.clone();
        actix_web::rt::spawn(async move {
            let request = to.request.clone();
            if let Err(problem) = session.app.hub().subscribe(&key, to).await {
                session.joining.set(session.joining.get().saturating_sub(1));
                session.refuse(Some(&request), &problem);
            }
        });
    }

    /// A join has ended; the shard has subscribed the client if it succeeded.
    pub fn joined(self: &Rc<Self>, join: JoinResult) {
        let JoinResult { key, to, result } = join;
        match result {
            Ok(Joined::NeedsJournal) => return self.fetch_journal(key, to),
            Ok(Joined::Here { answer, .. }) => {
                self.answer(&to.request, &answer, Weight::Exempt);
                if to.show {
                    self.sessions.show(&self.client, &key);
                }
            }
            Err(problem) => self.refuse(Some(&to.request), &problem),
        }
        self.joining.set(self.joining.get().saturating_sub(1));
    }

    /// A resume reaches further back than the tail remembers: reads the store, then joins again.
    fn fetch_journal(self: &Rc<Self>, key: EntityKey, mut to: SubscribeTo) {
        let session = self.clone();
        actix_web::rt::spawn(async move {
            let since = to.since.unwrap_or(0);
            let query = actors::ports::JournalQuery {
                after: since,
                before: Seq::MAX,
                order: actors::ports::Order::OldestFirst,
                limit: LONGEST_RESUME + 1,
                empty: actors::ports::EmptyOutcomes::Skip,
            };
            match session.app.hub().journal(&key, query).await {
                Ok(outcomes) => {
                    let changes = outcomes.iter().flat_map(changes_json);
                    to.journal = Some(changes.filter(|change| change.seq > since).collect());
                    session.subscribe(key, to);
                }
                Err(problem) => {
                    session.joining.set(session.joining.get().saturating_sub(1));
                    session.refuse(Some(&to.request), &problem);
                }
            }
        });
    }

    fn leave(&self, fields: &LeaveFields, request: &str) -> Result<(), Problem> {
        let key = self.identity()?.key(fields.entity.clone());
        self.sessions.leave(&self.client, &key);
        self.answer(request, b"{}", Weight::Counted);
        Ok(())
    }

    fn command(self: &Rc<Self>, fields: CommandFields, request: Arc<str>) -> Result<(), Problem> {
        let identity = self.allowed("command", &fields.entity)?;
        let command = commands::make(
            &self.app,
            &identity,
            NewCommand {
                entity: fields.entity,
                body: fields.body,
                id: fields.command_id,
                expect: fields.expect,
            },
        )?;
        // Submitted before anything is awaited, so that order on the socket is order in the log.
        let span = span!(
            "command", trace::begins(None), entity = %command.key.entity, command_id = %command.id
        );
        let submitted = span.in_scope(|| self.app.hub().submit(&command))?;
        let ticket = self.next_ticket.replace(self.next_ticket.get() + 1);
        let pending = PendingCommand { request, since: Instant::now(), permit: None, _span: span };
        self.pending.borrow_mut().insert(ticket, pending);
        let session = self.clone();
        actix_web::rt::spawn(async move {
            let (shard, id) = (session.sessions.shard(), session.client.id);
            let reply = ReplyTo::Session { shard, session: id, ticket };
            match session.app.hub().await_outcome(submitted, reply).await {
                Ok(permit) => {
                    if let Some(pending) = session.pending.borrow_mut().get_mut(&ticket) {
                        pending.permit = Some(permit);
                    }
                }
                Err(problem) => {
                    if let Some(pending) = session.settle(ticket) {
                        session.refuse(Some(&pending.request), &problem);
                    }
                }
            }
        });
        Ok(())
    }

    /// Whether commands are on their way.
    pub fn awaits_answers(&self) -> bool {
        !self.pending.borrow().is_empty()
    }

    fn settle(&self, ticket: u64) -> Option<PendingCommand> {
        self.pending.borrow_mut().remove(&ticket)
    }

    /// Gives up on commands that take too long: not known whether they took effect.
    pub fn expire_commands(&self, now: Instant) {
        let patience = self.app.config().command_timeout;
        loop {
            let oldest = self.pending.borrow().first_key_value().map(|(t, p)| (*t, p.since));
            let Some((ticket, _)) = oldest.filter(|(_, since)| now - *since > patience) else {
                return;
            };
            if let Some(pending) = self.settle(ticket) {
                let detail = "no outcome yet; retry with the same command id to learn it";
                self.refuse(Some(&pending.request), &Problem::new(Code::Timeout, detail));
            }
        }
    }

    /// A command of this client has an outcome.
    pub fn decided(self: &Rc<Self>, ticket: u64, delivery: &Delivery) {
        let Some(pending) = self.settle(ticket) else { return };
        let request = &pending.request;
        let outcome = delivery.outcome();
        match (&outcome.verdict, outcome.repeats) {
            (Verdict::Accepted { seq, .. }, None) => {
                let ok =
                    answer_to_command(*seq, delivery.changes(), outcome.command_id, Repeated::No);
                self.answer(request, &ok, Weight::Counted);
            }
            (Verdict::Accepted { .. }, Some(_)) => {
                let (session, request) = (self.clone(), request.clone());
                let outcome = outcome.clone();
                actix_web::rt::spawn(async move {
                    match commands::repeated_answer(&session.app, &outcome).await {
                        Ok(ok) => session.answer(&request, &ok, Weight::Counted),
                        Err(problem) => session.refuse(Some(&request), &problem),
                    }
                });
            }
            (Verdict::Rejected(rejection), _) => {
                self.refuse(Some(request), &rejection.clone().into());
            }
            (Verdict::Skipped { reason }, _) => {
                self.refuse(Some(request), &Problem::new(Code::Invalid, reason.clone()));
            }
        }
    }

    fn signal(&self, fields: SignalFields) -> Result<(), Problem> {
        let identity = self.allowed("signal", &fields.entity)?;
        self.signals.take("signals")?;
        let key = identity.key(fields.entity);
        if !self.client.joined.borrow().contains_key(&key) {
            return Err(Problem::new(Code::Forbidden, "join before sending signals"));
        }
        let named = (1..=32).contains(&fields.kind.len())
            && fields.kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !named {
            return Err(schemas::Rejection::field("kind", "must match [A-Za-z0-9]{1,32}").into());
        }
        if fields.data.to_string().len() > SIGNAL_BYTES {
            let detail = format!("data may have {SIGNAL_BYTES} bytes");
            return Err(Problem::new(Code::TooLarge, detail));
        }
        let by = identity.principal.to_string();
        let signal = Signal::Sent { kind: fields.kind, by, data: fields.data };
        self.app.hub().signals().publish(&key, signal);
        Ok(())
    }

    fn status(&self, fields: StatusFields, request: &str) -> Result<(), Problem> {
        let identity = self.identity()?;
        self.signals.take("signals")?;
        if fields.text.as_ref().is_some_and(|text| text.chars().count() > 200) {
            return Err(schemas::Rejection::field("text", "may have 200 characters").into());
        }
        let status = match fields.status {
            Status::Online => "online",
            Status::Away => "away",
            Status::Busy => "busy",
        };
        let signal = Signal::Status {
            user: presence_name(&identity.principal),
            status: status.to_owned(),
            text: fields.text,
        };
        for key in self.client.joined.borrow().keys() {
            self.app.hub().signals().publish(key, signal.clone());
        }
        self.answer(request, b"{}", Weight::Counted);
        Ok(())
    }

    fn history(self: &Rc<Self>, fields: HistoryFields, request: Arc<str>) -> Result<(), Problem> {
        let identity = self.allowed("history", &fields.entity)?;
        let range = match (fields.before, fields.after) {
            (Some(_), Some(_)) => {
                return Err(schemas::Rejection::field("before", "not together with after").into());
            }
            (Some(before), None) => HistoryRange::Before(before),
            (None, after) => HistoryRange::After(after.unwrap_or(0)),
        };
        let limit = fields.limit.unwrap_or(MOST_HISTORY);
        if limit < 1 {
            return Err(schemas::Rejection::field("limit", "must be at least 1").into());
        }
        let key = identity.key(fields.entity);
        let session = self.clone();
        actix_web::rt::spawn(async move {
            let reader = reader_of(&identity);
            match session.app.hub().history(&key, reader, range, limit).await {
                Ok((changes, more)) => {
                    let mut ok = b"{\"changes\":".to_vec();
                    write_array(&mut ok, changes.iter().map(|change| &change.json[..]));
                    ok.extend_from_slice(format!(",\"more\":{more}}}").as_bytes());
                    session.answer(&request, &ok, Weight::Exempt);
                }
                Err(problem) => session.refuse(Some(&request), &problem),
            }
        });
        Ok(())
    }
}

/// Whoever `identity` is, as a reader.
pub(crate) fn reader_of(identity: &Identity) -> Reader {
    Reader { principal: identity.principal.clone(), is_admin: identity.is_admin() }
}

fn read<T: serde::de::DeserializeOwned>(fields: Map<String, Value>) -> Result<T, Problem> {
    json::from_value(Value::Object(fields)).map_err(Problem::from)
}

/// Puts `eventId` and the like in the place of `entity`.
fn named(
    mut fields: Map<String, Value>,
    name: &str,
    kind: Kind,
) -> Result<Map<String, Value>, Problem> {
    match fields.remove(name) {
        Some(Value::String(id)) => {
            // Older clients may give the whole entity.
            let entity = if id.contains(':') { id } else { format!("{kind}:{id}") };
            fields.insert("entity".into(), entity.into());
            Ok(fields)
        }
        Some(_) => Err(schemas::Rejection::field(name, "must be a string").into()),
        None => Err(schemas::Rejection::field(name, "is missing").into()),
    }
}

//! The WebSocket handshake (RFC 6455, section 4). Requests that ask for it are handed over by the HTTP
//! dispatcher with their connection, so that nothing of HTTP stays with a socket.

use actix_http::{HttpMessage as _, Method, Request};
use actix_web::{
    HttpResponse, ResponseError as _,
    body::MessageBody as _,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName},
    },
    web,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use schemas::Code;
use sha1::{Digest as _, Sha1};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    time::{Duration, timeout},
};

use super::bearer;
use crate::{
    app::App,
    connection::Connection,
    frame::CloseCode,
    hub::{ClientKind, Sessions},
    metrics::Interface,
    outbox::{Pending, outbox_of_socket},
    problem::Problem,
    server::security_headers,
    session::{Mode, Session, Visitor},
};

/// The protocol's name.
const PROTOCOL: &str = "switchyard.v1";
/// What the handshake hashes (RFC 6455, section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The answer must be taken within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Conformance runners send messages of 16 MiB.
const LARGEST_ECHO: usize = 32 << 20;

/// What requests without an upgrade are told.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/ws", web::to(no_upgrade)).route("/ws/echo", web::to(no_upgrade));
}

async fn no_upgrade() -> Result<HttpResponse, Problem> {
    Err(not_a_handshake())
}

fn not_a_handshake() -> Problem {
    let problem = Problem::new(Code::Invalid, "this is a WebSocket endpoint");
    problem.with_status(StatusCode::UPGRADE_REQUIRED)
}

/// A handshake that was agreed to.
struct Agreed {
    mode: Mode,
    accept: String,
    /// Whether the client offered [`PROTOCOL`].
    is_named: bool,
    visitor: Visitor,
}

/// Takes over a connection whose request asks for an upgrade. `early` is what came behind the request.
pub(crate) async fn upgraded<T>(
    app: &App,
    sessions: &Sessions,
    request: &Request,
    (mut stream, early): (T, BytesMut),
) where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let opened = match agree(app, sessions, request).await {
        Ok(agreed) => app.take_socket().map(|permit| (agreed, permit)),
        Err(problem) => Err(problem),
    };
    let (answer, opened) = match opened {
        Ok((agreed, permit)) => (agreed.answer(), Some((agreed, permit))),
        Err(problem) => {
            app.metrics().problem(Interface::Http, problem.code);
            (refusal(app, &problem), None)
        }
    };
    let sent = timeout(ANSWER_WITHIN, stream.write_all(answer.as_bytes())).await;
    let (Ok(Ok(())), Some((agreed, permit))) = (sent, opened) else {
        // Nobody is told more if the answer could not be sent; the end of the connection says it.
        stream.shutdown().await.ok();
        return;
    };
    let limits = app.config().limits;
    let (sender, outlet) = outbox_of_socket(limits.buffer_bytes as usize);
    let client = sessions.open(ClientKind::WebSocket, sender);
    let Agreed { mode, visitor, .. } = agreed;
    let session = Session::new(app.clone(), sessions.clone(), client, mode, visitor);
    if sessions.is_draining() {
        // It began while the answer was sent, and told those who were there.
        session.client().close(CloseCode::Away, "draining", Pending::Send);
    }
    let largest = match limits.message_bytes {
        0 => usize::MAX,
        _ if mode == Mode::Echo => LARGEST_ECHO,
        bytes => bytes as usize,
    };
    let connection = Connection::new(stream, &early, session, outlet, largest);
    // A task of its own, so that what the dispatcher holds for a connection is freed.
    actix_web::rt::spawn(connection.run(sessions.clone(), permit));
}

async fn agree(app: &App, sessions: &Sessions, request: &Request) -> Result<Agreed, Problem> {
    if !app.config().serves_clients {
        return Err(Problem::new(Code::NotFound, "this node has not the role of a gateway"));
    }
    let mode = match request.path() {
        "/ws" => Mode::Protocol,
        "/ws/echo" if app.config().ws_echo => Mode::Echo,
        "/ws/echo" => {
            let detail = "there is no /ws/echo; start with --ws-echo";
            return Err(Problem::new(Code::NotFound, detail));
        }
        path => {
            let detail = format!("nothing to upgrade to at {path}; sockets are at /ws");
            return Err(Problem::new(Code::NotFound, detail));
        }
    };
    let headers = request.headers();
    let accept = accept_key(request.method(), headers)?;
    let origin = text(headers, header::ORIGIN);
    if let Some(origin) = origin
        && !app.allows_origin(origin, text(headers, header::HOST))
    {
        return Err(Problem::new(Code::Forbidden, format!("origin {origin} is not allowed")));
    }
    let offered: Vec<&str> = text(headers, header::SEC_WEBSOCKET_PROTOCOL)
        .map(|list| list.split(',').map(str::trim).collect())
        .unwrap_or_default();
    let token =
        bearer(headers).or_else(|| offered.iter().find_map(|offer| offer.strip_prefix("bearer.")));
    let peer = request.peer_addr().map(|peer| peer.ip());
    let visitor = match token {
        Some(token) => Visitor::Known(
            app.verifier()
                .verify_or_refresh(token)
                .await
                .inspect_err(|_| app.metrics().authentication_failed())
                .map_err(|error| Problem::new(Code::Unauthenticated, error.to_string()))?,
        ),
        None => Visitor::Stranger(peer.map(|peer| app.take_stranger(peer)).transpose()?),
    };
    if sessions.is_draining() {
        return Err(Problem::new(Code::Unavailable, "this node drains").with_retry_after(1.0));
    }
    Ok(Agreed { mode, accept, is_named: offered.contains(&PROTOCOL), visitor })
}

impl Agreed {
    fn answer(&self) -> String {
        let accept = &self.accept;
        let protocol = match self.is_named {
            true => format!("Sec-WebSocket-Protocol: {PROTOCOL}\r\n"),
            false => String::new(),
        };
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
        )
    }
}

/// A refused handshake ends its connection.
fn refusal(app: &App, problem: &Problem) -> String {
    use std::fmt::Write as _;

    let response = problem.error_response();
    let status = response.status();
    let mut answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    // Writing into a string cannot fail.
    for (name, value) in security_headers(app.config().tls.is_some()) {
        write!(answer, "{name}: {value}\r\n").ok();
    }
    for (name, value) in response.headers() {
        write!(answer, "{name}: {}\r\n", value.to_str().unwrap_or_default()).ok();
    }
    let body = response.into_body().try_into_bytes().unwrap_or_default();
    write!(answer, "content-length: {}\r\n\r\n", body.len()).ok();
    answer.push_str(&String::from_utf8_lossy(&body));
    answer
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// What the server answers to the client's key; an error if this is no WebSocket handshake.
fn accept_key(method: &Method, headers: &HeaderMap) -> Result<String, Problem> {
    let invalid =
        |detail: &str| Problem::new(Code::Invalid, detail).with_status(StatusCode::BAD_REQUEST);
    let has = |name, wanted: &str| {
        text(headers, name).is_some_and(|value| {
            value.split(',').any(|one| one.trim().eq_ignore_ascii_case(wanted))
        })
    };
    if method != Method::GET
        || !has(header::UPGRADE, "websocket")
        || !has(header::CONNECTION, "upgrade")
    {
        return Err(not_a_handshake());
    }
    if text(headers, header::SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(invalid("Sec-WebSocket-Version must be 13"));
    }
    let key = text(headers, header::SEC_WEBSOCKET_KEY)
        .filter(|key| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16))
        .ok_or_else(|| invalid("Sec-WebSocket-Key must be 16 bytes in base64"))?;
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID.as_bytes());
    Ok(STANDARD.encode(hash.finalize()))
}

//! The WebSocket handshake (RFC 6455, section 4) and the reading of its connection.

use std::rc::Rc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::StreamExt as _;
use schemas::Code;
use sha1::{Digest as _, Sha1};

use super::{bearer, changes::SessionsOfWorker};
use crate::{
    app::App,
    frame::{CloseCode, Decoder},
    hub::{ClientKind, Sessions},
    outbox::{Pending, outbox},
    problem::Problem,
    session::{Mode, Session},
};

/// The protocol's name.
const PROTOCOL: &str = "switchyard.v1";
/// What the handshake hashes (RFC 6455, section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How long the other side may take to read our close and to end the connection.
const CLOSE_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/ws", web::get().to(socket)).route("/ws/echo", web::get().to(echo));
}

async fn socket(
    app: web::Data<App>,
    sessions: web::Data<SessionsOfWorker>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    open(&app, &sessions.0, &request, payload, Mode::Protocol).await
}

async fn echo(
    app: web::Data<App>,
    sessions: web::Data<SessionsOfWorker>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    if !app.config().ws_echo {
        return Err(Problem::new(Code::NotFound, "there is no /ws/echo; start with --ws-echo"));
    }
    open(&app, &sessions.0, &request, payload, Mode::Echo).await
}

async fn open(
    app: &App,
    sessions: &Sessions,
    request: &HttpRequest,
    payload: web::Payload,
    mode: Mode,
) -> Result<HttpResponse, Problem> {
    let accept = accept_key(request)?;
    let origin = text(request, header::ORIGIN);
    if let Some(origin) = origin
        && !app.allows_origin(origin, text(request, header::HOST))
    {
        return Err(Problem::new(Code::Forbidden, format!("origin {origin} is not allowed")));
    }
    let offered: Vec<&str> = text(request, header::SEC_WEBSOCKET_PROTOCOL)
        .map(|list| list.split(',').map(str::trim).collect())
        .unwrap_or_default();
    let token =
        bearer(request).or_else(|| offered.iter().find_map(|offer| offer.strip_prefix("bearer.")));
    let identity = match token {
        Some(token) => Some(
            app.verifier()
                .verify_or_refresh(token)
                .await
                .map_err(|error| Problem::new(Code::Unauthenticated, error.to_string()))?,
        ),
        None => None,
    };
    if sessions.is_draining() {
        return Err(Problem::new(Code::Unavailable, "this node drains").with_retry_after(1.0));
    }
    let permit = app.take_socket()?;
    let limits = app.config().limits;
    let (sender, body) = outbox(limits.buffer_bytes as usize);
    let client = sessions.open(ClientKind::WebSocket, sender);
    let session = Session::new(app.clone(), sessions.clone(), client.clone(), mode, identity);
    let largest = match limits.message_bytes {
        0 => usize::MAX,
        // Conformance runners send messages of 16 MiB.
        _ if mode == Mode::Echo => 32 << 20,
        bytes => bytes as usize,
    };
    let sessions = sessions.clone();
    actix_web::rt::spawn(async move {
        let mut payload = payload;
        read(&session, &mut payload, largest).await;
        // Gone at once for everybody else, however long its connection takes to end.
        sessions.close(&client);
        drop(permit);
        let rest = async { while let Some(Ok(_)) = payload.next().await {} };
        tokio::time::timeout(CLOSE_WITHIN, rest).await.ok();
    });
    let mut response = HttpResponse::SwitchingProtocols();
    response.upgrade("websocket").insert_header((header::SEC_WEBSOCKET_ACCEPT, accept));
    if offered.contains(&PROTOCOL) {
        response.insert_header((header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL));
    }
    Ok(response.streaming(body))
}

fn text(request: &HttpRequest, name: header::HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
}

/// What the server answers to the client's key; an error if this is no WebSocket handshake.
fn accept_key(request: &HttpRequest) -> Result<String, Problem> {
    let invalid =
        |detail: &str| Problem::new(Code::Invalid, detail).with_status(StatusCode::BAD_REQUEST);
    let has = |name, wanted: &str| {
        text(request, name).is_some_and(|value| {
            value.split(',').any(|one| one.trim().eq_ignore_ascii_case(wanted))
        })
    };
    if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        let problem = Problem::new(Code::Invalid, "this is a WebSocket endpoint");
        return Err(problem.with_status(StatusCode::UPGRADE_REQUIRED));
    }
    if text(request, header::SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(invalid("Sec-WebSocket-Version must be 13"));
    }
    let key = text(request, header::SEC_WEBSOCKET_KEY)
        .filter(|key| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16))
        .ok_or_else(|| invalid("Sec-WebSocket-Key must be 16 bytes in base64"))?;
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID.as_bytes());
    Ok(STANDARD.encode(hash.finalize()))
}

/// Reads messages until the client or the session ends.
async fn read(session: &Rc<Session>, payload: &mut web::Payload, largest: usize) {
    let mut decoder = Decoder::new(largest);
    let outbox = session.client().outbox.clone();
    loop {
        let bytes = tokio::select! {
            biased;
            () = outbox.ended() => return,
            bytes = payload.next() => bytes,
        };
        let Some(Ok(bytes)) = bytes else { break };
        decoder.push(&bytes);
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => session.message(message),
                Ok(None) => break,
                Err(code) => {
                    session.client().close(code, reason(code), Pending::Send);
                    break;
                }
            }
            if outbox.is_ending() {
                break;
            }
        }
    }
    outbox.end(bytes::Bytes::new(), Pending::Drop);
}

fn reason(code: CloseCode) -> &'static str {
    match code {
        CloseCode::Protocol => "not the WebSocket protocol",
        CloseCode::Encoding => "text that is not UTF-8",
        CloseCode::TooLarge => "too large",
        CloseCode::Normal
        | CloseCode::Away
        | CloseCode::Unsupported
        | CloseCode::Policy
        | CloseCode::Unauthenticated
        | CloseCode::Revoked
        | CloseCode::Idle
        | CloseCode::TooMany
        | CloseCode::TooSlow
        | CloseCode::Peer(_) => "",
    }
}

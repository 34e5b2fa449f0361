//! Slack's Socket Mode (docs.slack.dev/apis/events-api/using-socket-mode): the way in for an app with
//! `app_token`, which needs no address that Slack can reach. One node of the cluster holds the
//! connection: the one that reads the first partition of `bridge.inbound`. An envelope is acknowledged
//! once what it holds is in the log; Slack sends again what is not acknowledged, and that has no
//! second effect. When Slack is about to end a connection, the next is there before it is left.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use schemas::room::Platform;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message as Frame,
};

use super::{
    Bridges, RunError, SlackSettings,
    arrival::Arrival,
    pauses::{PAUSE_MOST, Pauses, Trouble},
    webhooks::Sender,
};

/// `apps.connections.open` must be answered within this, and the connection be greeted.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// After so long without a frame, of which Slack's own pings are some, it is asked for one.
const SILENT: Duration = Duration::from_secs(30);
/// After as long again the connection is taken for broken.
const SILENT_MOST: Duration = Duration::from_secs(60);
/// A connection that there is another for is read for so long still.
const LEFT_WITHIN: Duration = Duration::from_millis(500);
/// Where Slack asks to wait and does not say how long.
const WAIT: Duration = Duration::from_secs(30);

/// How a call without arguments is written.
const FORM: &str = "application/x-www-form-urlencoded";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What Slack sends over a connection.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    /// The connection is ready.
    Hello,
    /// The connection ends soon, or Socket Mode is off.
    Disconnect {
        #[serde(default)]
        reason: Reason,
    },
    /// `events_api`, `slash_commands`, `interactive`, or what Slack invents next.
    #[serde(other)]
    Envelope,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reason {
    /// In about ten seconds.
    Warning,
    /// The place where it ends is emptied.
    RefreshRequested,
    /// Somebody switched Socket Mode off.
    LinkDisabled,
    /// Anything else: another connection is as good.
    #[default]
    #[serde(other)]
    Other,
}

/// What holds something that people did.
#[derive(Debug, Deserialize)]
struct Envelope {
    envelope_id: String,
    #[serde(default)]
    payload: Value,
    #[serde(default)]
    retry_attempt: u32,
}

/// Holds a connection until the task is dropped.
pub(super) async fn run(bridges: Arc<Bridges>) {
    let Some(settings) = bridges.settings.slack.clone() else { return };
    let Some(token) = settings.app_token().map(str::to_owned) else { return };
    let mut pauses = Pauses::new();
    loop {
        let began = Instant::now();
        let Err(trouble) = hold(&bridges, &settings, &token, &mut pauses).await;
        if began.elapsed() > PAUSE_MOST {
            pauses.reset();
        }
        let pause = pauses.after(&trouble);
        trouble.tell(Platform::Slack, pause);
        sleep(pause).await;
    }
}

/// Asks for the address of a connection, which holds a ticket and is good for one.
///
/// # Errors
/// If Slack gives none.
pub(super) async fn open(settings: &SlackSettings, token: &str) -> Result<String, Trouble> {
    let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).build().unwrap_or_default();
    let url = format!("{}/apps.connections.open", settings.api.trim_end_matches('/'));
    let failed =
        |error: reqwest::Error| Trouble::Passing(format!("apps.connections.open: {error}"));
    let request = http.post(url).bearer_auth(token).header(CONTENT_TYPE, FORM).body("");
    let response = request.send().await.map_err(failed)?;
    let status = response.status().as_u16();
    let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let wait = wait.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    let body = response.bytes().await.map_err(failed)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    match body["url"].as_str().filter(|_| body["ok"] == true) {
        Some(url) => Ok(url.to_owned()),
        None => Err(refusal(status, &body, wait)),
    }
}

/// What an answer means that gives no address.
fn refusal(status: u16, body: &Value, wait: Option<Duration>) -> Trouble {
    let error = body["error"].as_str().unwrap_or("an answer that is none");
    let what = format!("apps.connections.open: {status} {error}");
    match (status, error) {
        (429, _) | (_, "ratelimited" | "rate_limited") => Trouble::Wait(wait.unwrap_or(WAIT)),
        (401 | 403, _)
        | (
            _,
            "invalid_auth"
            | "not_authed"
            | "account_inactive"
            | "token_revoked"
            | "token_expired"
            | "missing_scope"
            | "no_permission"
            | "not_allowed_token_type"
            | "forbidden_team"
            | "socket_mode_not_enabled"
            | "access_denied",
        ) => Trouble::Refused(format!(
            "{what}: is bridges.slack.app_token right, with the scope connections:write, and \
             Socket Mode on?"
        )),
        (_, _) => Trouble::Passing(what),
    }
}

fn broken(error: impl std::fmt::Display) -> Trouble {
    Trouble::Passing(format!("the connection broke: {error}"))
}

/// A connection that Slack has greeted.
async fn connect(settings: &SlackSettings, token: &str) -> Result<Socket, Trouble> {
    let url = open(settings, token).await?;
    let greeted = async {
        let (mut socket, _) = connect_async(&url).await.map_err(broken)?;
        match said(&next(&mut socket).await?) {
            Some(Said::Hello) => Ok(socket),
            Some(Said::Disconnect { reason }) => Err(left(reason)),
            Some(Said::Envelope) | None => Err(Trouble::passing("the first frame is no hello")),
        }
    };
    timeout(ANSWER_WITHIN, greeted).await.map_err(|_| Trouble::passing("no hello came"))?
}

/// What a connection that ended means, where there is no other yet.
fn left(reason: Reason) -> Trouble {
    match reason {
        Reason::LinkDisabled => {
            Trouble::Refused("Socket Mode is switched off in the app's settings".to_owned())
        }
        Reason::Warning | Reason::RefreshRequested | Reason::Other => {
            Trouble::Passing(format!("Slack ends the connection: {reason:?}"))
        }
    }
}

/// Takes what comes, over one connection after the other, until something is wrong.
async fn hold(
    bridges: &Bridges,
    settings: &SlackSettings,
    token: &str,
    pauses: &mut Pauses,
) -> Result<std::convert::Infallible, Trouble> {
    let mut socket = connect(settings, token).await?;
    loop {
        let began = Instant::now();
        let reason = serve(bridges, &mut socket).await?;
        if reason == Reason::LinkDisabled {
            return Err(left(reason));
        }
        tracing::debug!(?reason, "slack's next connection is opened");
        let opening = async {
            if began.elapsed() < PAUSE_MOST {
                // Connections that end as soon as they are there are not opened in a circle.
                sleep(pauses.next()).await;
            } else {
                pauses.reset();
            }
            connect(settings, token).await
        };
        socket = replaced(bridges, socket, opening).await?;
    }
}

/// The next connection; the old one is read until that is there, and a moment longer: what is on its way
/// over the old one is before what goes over the next.
async fn replaced(
    bridges: &Bridges,
    mut old: Socket,
    opening: impl Future<Output = Result<Socket, Trouble>>,
) -> Result<Socket, Trouble> {
    let opened = {
        let mut opening = std::pin::pin!(opening);
        let mut rest = std::pin::pin!(rest(bridges, &mut old));
        tokio::select! {
            opened = &mut opening => {
                if let Ok(trouble) = timeout(LEFT_WITHIN, rest).await {
                    tracing::debug!(%trouble, "slack's old connection ended");
                }
                opened
            }
            trouble = &mut rest => match trouble {
                Trouble::Refused(_) => return Err(trouble),
                Trouble::Run(_) | Trouble::Passing(_) | Trouble::Wait(_) => {
                    tracing::debug!(%trouble, "slack's old connection ended");
                    opening.await
                }
            },
        }
    };
    // What was not taken is sent again over the next one.
    if let Err(error) = old.close(None).await {
        tracing::debug!(%error, "slack's old connection was closed already");
    }
    opened
}

/// Takes what still comes over a connection; says why it ended.
async fn rest(bridges: &Bridges, socket: &mut Socket) -> Trouble {
    loop {
        match serve(bridges, socket).await {
            // Said once more.
            Ok(Reason::Warning | Reason::RefreshRequested | Reason::Other) => {}
            Ok(Reason::LinkDisabled) => return left(Reason::LinkDisabled),
            Err(trouble) => return trouble,
        }
    }
}

/// Takes what comes over a connection until Slack says that it ends.
async fn serve(bridges: &Bridges, socket: &mut Socket) -> Result<Reason, Trouble> {
    loop {
        let text = next(socket).await?;
        match said(&text) {
            Some(Said::Hello) => {}
            Some(Said::Disconnect { reason }) => return Ok(reason),
            Some(Said::Envelope) => take(bridges, socket, &text).await?,
            None => tracing::warn!("slack sent a frame that is no JSON object with a type"),
        }
    }
}

fn said(text: &str) -> Option<Said> {
    serde_json::from_str(text).ok()
}

/// The next text; an error if the connection ended or nothing comes.
async fn next(socket: &mut Socket) -> Result<String, Trouble> {
    loop {
        let frame = match timeout(SILENT, socket.next()).await {
            Ok(frame) => frame,
            Err(_) => {
                socket.send(Frame::Ping(Bytes::new())).await.map_err(broken)?;
                let silent = |_| broken("nothing came for a minute");
                timeout(SILENT_MOST - SILENT, socket.next()).await.map_err(silent)?
            }
        };
        match frame {
            Some(Ok(Frame::Text(text))) => return Ok(text.to_string()),
            Some(Ok(Frame::Close(frame))) => {
                let code = frame.map(|frame| u16::from(frame.code));
                return Err(broken(format!("closed with {code:?}")));
            }
            // Pings are answered by the reader itself.
            Some(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Binary(_) | Frame::Frame(_))) => {}
            Some(Err(error)) => return Err(broken(error)),
            None => return Err(broken("it was closed")),
        }
    }
}

/// Keeps what an envelope holds, then acknowledges it.
async fn take(bridges: &Bridges, socket: &mut Socket, text: &str) -> Result<(), Trouble> {
    let envelope: Envelope = match serde_json::from_str(text) {
        Ok(envelope) => envelope,
        Err(error) => {
            // There is nothing to acknowledge it by.
            tracing::warn!(%error, "slack sent a frame that is no envelope");
            return Ok(());
        }
    };
    let Envelope { envelope_id, payload, retry_attempt } = envelope;
    if retry_attempt > 0 {
        tracing::debug!(envelope_id, retry_attempt, "slack sends again");
    }
    // The payload is what would come over HTTP.
    let payload = Bytes::from(payload.to_string());
    let arrival = Arrival {
        platform: Platform::Slack,
        payload,
        id: Some(&envelope_id),
        sender: Sender::Platform,
    };
    arrival.keep(bridges).await.map_err(RunError::from)?;
    let acknowledged = json!({"envelope_id": envelope_id}).to_string();
    socket.send(Frame::text(acknowledged)).await.map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::{super::Settings, *};

    #[test]
    fn frames_are_told_apart() {
        assert!(matches!(said(r#"{"type":"hello","num_connections":1}"#), Some(Said::Hello)));
        let reason = |text: &str| match said(text) {
            Some(Said::Disconnect { reason }) => reason,
            other => panic!("{other:?}"),
        };
        let of = |reason: &str| format!(r#"{{"type":"disconnect","reason":"{reason}"}}"#);
        assert_eq!(reason(&of("warning")), Reason::Warning);
        assert_eq!(reason(&of("refresh_requested")), Reason::RefreshRequested);
        assert_eq!(reason(&of("link_disabled")), Reason::LinkDisabled);
        assert_eq!(reason(&of("too_many_websockets")), Reason::Other);
        assert_eq!(reason(r#"{"type":"disconnect"}"#), Reason::Other);
        for kind in ["events_api", "slash_commands", "interactive", "what_comes_next"] {
            let text = format!(r#"{{"type":"{kind}","envelope_id":"e","payload":{{}}}}"#);
            assert!(matches!(said(&text), Some(Said::Envelope)), "{kind}");
            let envelope: Envelope = serde_json::from_str(&text).unwrap();
            assert_eq!((envelope.envelope_id.as_str(), envelope.retry_attempt), ("e", 0));
        }
        assert!(said("[]").is_none() && said("no JSON").is_none());
    }

    #[test]
    fn an_app_has_a_secret_or_a_token() {
        let fault = |further: Value| {
            let mut slack = json!({"bot_token": "xoxb-1"});
            for (name, value) in further.as_object().unwrap() {
                slack[name] = value.clone();
            }
            let settings: Settings = serde_json::from_value(json!({"slack": slack})).unwrap();
            settings.fault().map(|(setting, _)| setting)
        };
        assert_eq!(fault(json!({})), Some("slack.signing_secret"));
        assert_eq!(
            fault(json!({"app_token": "", "signing_secret": ""})),
            Some("slack.signing_secret")
        );
        assert_eq!(fault(json!({"app_token": "xoxb-1"})), Some("slack.app_token"));
        assert_eq!(fault(json!({"app_token": "xapp-1"})), None);
        assert_eq!(fault(json!({"signing_secret": "s"})), None);
        assert_eq!(fault(json!({"app_token": "xapp-1", "signing_secret": "s"})), None);
        assert_eq!(Settings::default().fault(), None);
    }

    #[test]
    fn refusals_are_told_apart() {
        let of = |error: &str| refusal(200, &json!({"ok": false, "error": error}), None);
        assert!(matches!(of("invalid_auth"), Trouble::Refused(_)));
        assert!(matches!(of("not_allowed_token_type"), Trouble::Refused(_)));
        assert!(matches!(of("internal_error"), Trouble::Passing(_)));
        assert!(matches!(of("ratelimited"), Trouble::Wait(WAIT)));
        let asked = Duration::from_secs(9);
        assert!(matches!(refusal(429, &Value::Null, Some(asked)), Trouble::Wait(w) if w == asked));
        assert!(matches!(refusal(503, &Value::Null, None), Trouble::Passing(_)));
        assert!(matches!(left(Reason::LinkDisabled), Trouble::Refused(_)));
        assert!(matches!(left(Reason::Warning), Trouble::Passing(_)));
    }
}

//! Discord's Gateway (docs.discord.com/developers/events/gateway): the only way by which messages come
//! from there. One connection a token over the whole cluster: the node that reads the first partition
//! of `bridge.inbound` holds it. Session and sequence number are kept, so that a restart resumes and
//! Discord sends what was missed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use schemas::room::Platform;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{Bridges, RunError, arrival::Arrival, json as bytes_of, webhooks::Sender};
use crate::{
    Inbound,
    codec::{Payload, parse},
};

/// GUILDS, GUILD_MESSAGES, GUILD_MESSAGE_REACTIONS, GUILD_MESSAGE_TYPING, MESSAGE_CONTENT.
const INTENTS: u32 = 1 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 15;
/// The first frame must come within this.
const HELLO_WITHIN: Duration = Duration::from_secs(20);
/// The first pause before connecting again; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest of these pauses.
const PAUSE_MOST: Duration = Duration::from_secs(60);
/// After a refusal that no repeat mends, somebody must do something: tried so often.
const REFUSED_PAUSE: Duration = Duration::from_secs(300);
/// Under which name the session is kept.
const SESSION: &str = "discord-session";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a connection can be taken up again with.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Session {
    id: String,
    url: String,
    seq: i64,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("Discord refuses with {0}: {1}")]
    Refused(u16, String),
    /// It cannot be taken up again.
    #[error("the session is over: {0}")]
    Over(u16),
}

impl From<tokio_tungstenite::tungstenite::Error> for Ended {
    fn from(error: tokio_tungstenite::tungstenite::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

fn broken(what: impl Into<String>) -> Ended {
    Ended::Broken(what.into())
}

/// Holds the connection until the task is dropped.
pub(super) async fn run(bridges: Arc<Bridges>) {
    let Some(settings) = bridges.settings.discord.clone() else { return };
    let mut pause = PAUSE;
    loop {
        let began = Instant::now();
        let ended = connection(&bridges, &settings.bot_token).await;
        if began.elapsed() > PAUSE_MOST {
            pause = PAUSE;
        }
        match ended {
            Ok(()) => {}
            Err(Ended::Refused(code, reason)) => {
                tracing::error!(code, reason, "discord refuses the bot");
                pause = REFUSED_PAUSE;
            }
            Err(Ended::Over(code)) => {
                tracing::warn!(
                    code,
                    "discord's session is over: what was said meanwhile is missed"
                );
                if let Err(error) = save(&bridges, None).await {
                    tracing::warn!(%error, "the session is still kept");
                }
            }
            Err(error) => tracing::warn!(%error, "discord's gateway is connected to again"),
        }
        sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
        pause = (pause * 2).min(PAUSE_MOST.max(pause));
    }
}

async fn load(bridges: &Bridges) -> Result<Option<Session>, RunError> {
    let found = bridges.mappings.get(SESSION).await?;
    Ok(found.and_then(|value| serde_json::from_slice(&value).ok()))
}

async fn save(bridges: &Bridges, session: Option<&Session>) -> Result<(), RunError> {
    let change = (SESSION.to_owned(), session.map(bytes_of));
    bridges.mappings.write(vec![change], None).await?;
    Ok(())
}

async fn send(socket: &mut Socket, op: u8, data: Value) -> Result<(), Ended> {
    let text = json!({"op": op, "d": data}).to_string();
    Ok(socket.send(Message::text(text)).await?)
}

async fn next(socket: &mut Socket) -> Result<Value, Ended> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                let value = serde_json::from_str(&text);
                return value.map_err(|error| broken(format!("a frame is no JSON: {error}")));
            }
            Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err(broken("it was closed")),
        }
    }
}

/// What a close means: of some codes nothing better comes by trying again.
fn closed(frame: Option<CloseFrame>) -> Ended {
    let code = frame.as_ref().map_or(1_006, |frame| u16::from(frame.code));
    let reason = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
    match code {
        4_004 | 4_010..=4_014 => Ended::Refused(code, reason),
        // Invalid seq; session timed out.
        4_007 | 4_009 => Ended::Over(code),
        _other => broken(format!("closed with {code} {reason}")),
    }
}

async fn connection(bridges: &Bridges, token: &str) -> Result<(), Ended> {
    let mut session = load(bridges).await?;
    let url = match &session {
        Some(session) => session.url.clone(),
        None => {
            bridges.client.discord_gateway().await.map_err(|error| broken(error.to_string()))?
        }
    };
    let url = format!("{}/?v=10&encoding=json", url.trim_end_matches('/'));
    let connected = timeout(HELLO_WITHIN, connect_async(&url)).await;
    let (mut socket, _) = connected.map_err(|_| broken("it does not answer"))??;
    let hello = timeout(HELLO_WITHIN, next(&mut socket)).await;
    let hello = hello.map_err(|_| broken("no HELLO came"))??;
    let beat = hello["d"]["heartbeat_interval"].as_u64().filter(|millis| *millis > 0);
    let beat = Duration::from_millis(beat.ok_or_else(|| broken("HELLO has no interval"))?);
    match &session {
        Some(Session { id, seq, .. }) => {
            let resume = json!({"token": token, "session_id": id, "seq": seq});
            send(&mut socket, 6, resume).await?;
        }
        None => {
            let identify = json!({"token": token, "intents": INTENTS, "properties":
                {"os": std::env::consts::OS, "browser": "switchyard", "device": "switchyard"}});
            send(&mut socket, 2, identify).await?;
        }
    }
    // The first heartbeat comes at a random part of the interval.
    let first = Instant::now() + beat.mul_f64(rand::random_range(0.0..=1.0));
    let mut heartbeat = interval_at(first, beat);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_answered = true;
    loop {
        let frame = tokio::select! {
            frame = next(&mut socket) => frame?,
            _ = heartbeat.tick() => {
                if !is_answered {
                    // Neither 1000 nor 1001, which would end the session.
                    let code = CloseCode::Library(4_000);
                    socket.close(Some(CloseFrame { code, reason: "no ACK".into() })).await?;
                    return Err(broken("a heartbeat was not answered"));
                }
                is_answered = false;
                let seq = session.as_ref().map(|session| session.seq);
                send(&mut socket, 1, json!(seq)).await?;
                continue;
            }
        };
        match frame["op"].as_i64() {
            Some(0) => dispatch(bridges, &frame, &mut session).await?,
            Some(1) => {
                let seq = session.as_ref().map(|session| session.seq);
                send(&mut socket, 1, json!(seq)).await?;
            }
            Some(7) => return Err(broken("Discord asks for it")),
            Some(9) => {
                if frame["d"] != true {
                    save(bridges, None).await?;
                }
                return Err(broken("the session is over"));
            }
            Some(11) => is_answered = true,
            _other => {}
        }
    }
}

/// Keeps an event before its number counts as seen.
async fn dispatch(
    bridges: &Bridges,
    frame: &Value,
    session: &mut Option<Session>,
) -> Result<(), Ended> {
    let seq = frame["s"].as_i64().unwrap_or_default();
    if frame["t"] == "READY" {
        let text = |key: &str| frame["d"][key].as_str().unwrap_or_default().to_owned();
        *session = Some(Session { id: text("session_id"), url: text("resume_gateway_url"), seq });
        save(bridges, session.as_ref()).await?;
        return Ok(());
    }
    let Some(known) = session.as_mut() else { return Ok(()) };
    let bytes = Bytes::from(frame.to_string());
    let id = format!("{} {seq}", known.id);
    known.seq = seq;
    let parsed = parse(Platform::Discord, &bytes, &bridges.names(Platform::Discord));
    if let Ok(Payload { inbound, .. }) = &parsed
        && let [Inbound::Typing { place, author }] = &inbound[..]
    {
        bridges.typing_there(Platform::Discord, place, author).await?;
        return Ok(());
    }
    let arrival = Arrival {
        platform: Platform::Discord,
        payload: bytes,
        id: Some(&id),
        sender: Sender::Platform,
    };
    let kept = match parsed {
        Ok(parsed) => arrival.keep_as(bridges, &parsed.inbound).await,
        Err(_) => arrival.keep(bridges).await,
    };
    kept.map_err(RunError::from)?;
    save(bridges, session.as_ref()).await?;
    Ok(())
}

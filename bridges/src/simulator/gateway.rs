//! Discord's Gateway: sessions, heartbeats, resuming with what was missed.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_tungstenite::{
    accept_async,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::DISCORD_TOKEN;

/// Milliseconds between heartbeats.
const HEARTBEAT: u64 = 500;
/// The one session that there is.
const SESSION: &str = "simulated-session";

/// The events of the session, from its first on.
pub(super) struct Gateway {
    pub(super) address: SocketAddr,
    events: Mutex<Vec<Value>>,
    grown: watch::Sender<usize>,
}

impl Gateway {
    pub(super) async fn start() -> std::io::Result<Arc<Self>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (events, grown) = (Mutex::default(), watch::Sender::new(0));
        let gateway = Arc::new(Self { address, events, grown });
        let serving = gateway.clone();
        actix_web::rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let gateway = serving.clone();
                actix_web::rt::spawn(async move {
                    if let Err(error) = gateway.serve(stream).await {
                        tracing::debug!(%error, "a gateway connection ended");
                    }
                });
            }
        });
        Ok(gateway)
    }

    /// Tells whoever is connected, or will be.
    pub(super) fn tell(&self, event: &Value) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let mut event = event.clone();
        // READY is the first.
        event["s"] = (events.len() + 2).into();
        events.push(event);
        self.grown.send_replace(events.len());
    }

    fn event(&self, number: usize) -> Option<Value> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).get(number).cloned()
    }

    async fn serve(&self, stream: TcpStream) -> Result<(), Error> {
        let mut socket = accept_async(stream).await?;
        let hello = json!({"op": 10, "d": {"heartbeat_interval": HEARTBEAT}});
        socket.send(Message::text(hello.to_string())).await?;
        let mut grown = self.grown.subscribe();
        // How many events this connection was told; none before it said who it is.
        let mut told: Option<usize> = None;
        loop {
            while let Some(event) = told.and_then(|told| self.event(told)) {
                socket.send(Message::text(event.to_string())).await?;
                told = told.map(|told| told + 1);
            }
            let frame = tokio::select! {
                frame = socket.next() => frame,
                _ = grown.changed() => continue,
            };
            let Some(Message::Text(text)) = frame.transpose()? else { return Ok(()) };
            let frame: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
            match frame["op"].as_i64() {
                Some(1) => socket.send(Message::text(r#"{"op":11}"#)).await?,
                Some(2 | 6) if frame["d"]["token"] != DISCORD_TOKEN => {
                    let code = CloseCode::Library(4_004);
                    let reason = "Authentication failed.".into();
                    return socket.close(Some(CloseFrame { code, reason })).await;
                }
                Some(2) => {
                    let url = format!("ws://{}", self.address);
                    let ready = json!({"op": 0, "t": "READY", "s": 1, "d": {"v": 10,
                        "session_id": SESSION, "resume_gateway_url": url}});
                    socket.send(Message::text(ready.to_string())).await?;
                    // A new session begins with what happens from now on.
                    told = Some(*grown.borrow_and_update());
                }
                Some(6) if frame["d"]["session_id"] == SESSION => {
                    let seq = frame["d"]["seq"].as_u64().unwrap_or(1);
                    told = usize::try_from(seq.saturating_sub(1)).ok();
                }
                _other => socket.send(Message::text(r#"{"op":9,"d":false}"#)).await?,
            }
        }
    }
}

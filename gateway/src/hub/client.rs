//! One client of a shard: what the shard knows of it, and how it is told.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::Instant,
};

use bytes::Bytes;
use schemas::{EntityKey, Timestamp};

use super::Delivery;
use crate::{
    auth::Identity,
    frame::{self, CloseCode},
    outbox::{Full, Outbox, Pending, Weight},
};

/// A session's number within its shard.
pub type SessionId = u64;

/// What a client is, to the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    /// Speaks the WebSocket protocol.
    WebSocket,
    /// Reads server-sent events.
    EventStream,
}

/// A client's part that the shard looks after.
#[derive(Debug)]
pub struct Client {
    /// Its number.
    pub id: SessionId,
    /// What it speaks.
    pub kind: ClientKind,
    /// Where its bytes go.
    pub outbox: Outbox,
    /// Since when it is here.
    pub since: Instant,
    /// When it was last heard.
    pub heard: Cell<Instant>,
    /// When it was last pinged.
    pub pinged: Cell<Instant>,
    /// Who it is, once authenticated.
    pub identity: RefCell<Option<Rc<Identity>>>,
    /// When its token ends.
    pub expires: Cell<Option<Timestamp>>,
    /// Whether the token's end was announced.
    pub expiry_announced: Cell<bool>,
    /// Where it is.
    pub joined: RefCell<HashMap<EntityKey, Place>>,
    /// How it was closed, once it is.
    pub closed: Cell<Option<CloseCode>>,
}

/// A client at an entity.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Whether it is shown there.
    pub(super) is_shown: bool,
    /// Where it stands among the entity's subscribers, so that leaving takes no search.
    pub(super) at: usize,
}

impl Client {
    /// Queues a JSON message.
    pub fn send_json(&self, value: &serde_json::Value) {
        self.send(frame::text(value.to_string().as_bytes()), Weight::Counted);
    }

    /// Queues a frame; a client that is too slow for it is closed with 4508.
    pub fn send(&self, frame: Bytes, weight: Weight) {
        if let Err(Full) = self.outbox.push(frame, weight) {
            self.close(CloseCode::TooSlow, "too slow; resume with since", Pending::Drop);
        }
    }

    /// Ends the connection.
    pub fn close(&self, code: CloseCode, reason: &str, pending: Pending) {
        self.closed.set(self.closed.get().or(Some(code)));
        match self.kind {
            ClientKind::WebSocket => self.outbox.end(frame::close(code, reason), pending),
            ClientKind::EventStream => self.outbox.end(Bytes::new(), pending),
        }
    }

    /// Gives whether the socket had nothing to write before.
    pub(super) fn send_changes(&self, delivery: &Delivery) -> bool {
        let was_empty = self.outbox.is_empty();
        match self.kind {
            ClientKind::WebSocket => self.send(delivery.frames(), Weight::Counted),
            ClientKind::EventStream => {
                for change in delivery.changes() {
                    self.send(crate::http::event_of(change), Weight::Counted);
                }
            }
        }
        was_empty
    }
}

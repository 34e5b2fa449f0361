//! What a tail can be asked, and what it answers to a join.

use std::sync::Arc;

use actors::{
    ports::{Loaded, StoreError},
    runtime::ring::Counted,
};
use bytes::Bytes;
use schemas::{EntityKey, Offset, Seq};
use tokio::sync::oneshot;

use super::{ChangeJson, Reader, ReplyTo, SessionId};
use crate::problem::Problem;

/// An entity as JSON.
#[derive(Debug, Clone)]
pub struct View {
    /// Its seq.
    pub seq: Seq,
    /// Its state.
    pub state: Bytes,
}

/// A session that wants an entity's changes.
#[derive(Debug)]
pub struct SubscribeTo {
    /// The worker.
    pub shard: usize,
    /// The session there.
    pub session: SessionId,
    /// The request's own id, as JSON.
    pub request: Arc<str>,
    /// Who reads.
    pub reader: Reader,
    /// From where it resumes.
    pub since: Option<Seq>,
    /// Whether the session is to be shown to the others there.
    pub show: bool,
    /// What the store has after `since`, once the tail has said that it needs it.
    pub journal: Option<Vec<ChangeJson>>,
}

/// What a tail can be asked.
#[derive(Debug)]
pub enum Request {
    /// The entity's state.
    View {
        /// Which.
        key: EntityKey,
        /// For whom.
        reader: Reader,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<View, Problem>>,
    },
    /// Whether it may be read, and its seq.
    Check {
        /// Which.
        key: EntityKey,
        /// By whom.
        reader: Reader,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Seq, Problem>>,
    },
    /// A session joins.
    Subscribe {
        /// Which entity.
        key: EntityKey,
        /// The session.
        to: SubscribeTo,
    },
    /// A session has left.
    Unsubscribe {
        /// Which entity.
        key: EntityKey,
        /// The session's worker.
        shard: usize,
    },
    /// What came of a command.
    Await {
        /// Where the command stands.
        command_offset: Offset,
        /// Whose it is.
        key: EntityKey,
        /// Where the answer goes.
        reply: ReplyTo,
    },
    /// The outcomes that the store may not have yet.
    Recent {
        /// Of which entity.
        key: EntityKey,
        /// Where the answer goes.
        reply: oneshot::Sender<Vec<Arc<Counted>>>,
    },
    /// The store has answered.
    Loaded {
        /// About which entity.
        key: EntityKey,
        /// What it knows.
        result: Result<Loaded, StoreError>,
    },
    /// The store is this far; none if it did not say.
    Stored(Option<Offset>),
    /// Answer this once the tail has read up to here: another node may have told more.
    After(Offset, Box<Request>),
}

impl Request {
    /// Which entity's state it is about, if it is.
    pub(super) fn key(&self) -> Option<&EntityKey> {
        match self {
            Self::View { key, .. } | Self::Check { key, .. } | Self::Subscribe { key, .. } => {
                Some(key)
            }
            Self::Unsubscribe { .. }
            | Self::Await { .. }
            | Self::Recent { .. }
            | Self::Loaded { .. }
            | Self::Stored(_)
            | Self::After(..) => None,
        }
    }

    /// Whether it needs the partition to be followed.
    pub(super) fn wants_tail(&self) -> bool {
        match self {
            Self::View { .. }
            | Self::Check { .. }
            | Self::Subscribe { .. }
            | Self::Await { .. }
            | Self::Recent { .. } => true,
            Self::Unsubscribe { .. } | Self::Loaded { .. } | Self::Stored(_) | Self::After(..) => {
                false
            }
        }
    }
}

/// How a join ended.
#[derive(Debug)]
pub enum Joined {
    /// The answer, as the `ok` object; changes after `seq` follow.
    Here {
        /// The entity's seq.
        seq: Seq,
        /// The JSON.
        answer: Bytes,
    },
    /// Ask again with the store's changes after `since`.
    NeedsJournal,
}

/// A join's end, on its way to the session.
#[derive(Debug)]
pub struct JoinResult {
    /// The entity.
    pub key: EntityKey,
    /// Who asked.
    pub to: SubscribeTo,
    /// What came of it.
    pub result: Result<Joined, Problem>,
}

//! What the runtime needs from the world: Log, Store, Mappings, Signals, Clock. Each has a memory
//! implementation in [`crate::memory`] and a real one in the crate `infra`. The comments here
//! are the contract.

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use schemas::{EntityKey, Epoch, Kind, Offset, Seq, TenantId, Timestamp, UserName};
use serde_json::Value;

use crate::domain::entity::ListingChange;

/// A stream of records.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// `<kind>.commands`.
    Commands(Kind),
    /// `<kind>.outcomes`.
    Outcomes(Kind),
    /// `partner.<name>`.
    Partner(UserName),
    /// `bridge.inbound`: what chat platforms sent, as received.
    Inbound,
    /// `changes`: what partners read.
    Changes,
    /// `dlq`: what could not be understood, with the reason in its headers.
    Dlq,
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commands(kind) => write!(f, "{kind}.commands"),
            Self::Outcomes(kind) => write!(f, "{kind}.outcomes"),
            Self::Partner(name) => write!(f, "partner.{name}"),
            Self::Inbound => f.write_str("bridge.inbound"),
            Self::Changes => f.write_str("changes"),
            Self::Dlq => f.write_str("dlq"),
        }
    }
}

impl std::str::FromStr for Topic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("{text:?} is no topic");
        match text {
            "bridge.inbound" => return Ok(Self::Inbound),
            "changes" => return Ok(Self::Changes),
            "dlq" => return Ok(Self::Dlq),
            _other => {}
        }
        match text.split_once('.').ok_or_else(unknown)? {
            ("partner", name) => name.parse().map(Self::Partner).map_err(|_| unknown()),
            (kind, "commands") => kind.parse().map(Self::Commands).map_err(|_| unknown()),
            (kind, "outcomes") => kind.parse().map(Self::Outcomes).map_err(|_| unknown()),
            (_, _) => Err(unknown()),
        }
    }
}

/// One ordered part of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Topic,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Puts the two together.
    pub fn new(topic: Topic, partition: i32) -> Self {
        Self { topic, partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// Headers of a record: names and bytes, in order.
pub type Headers = Vec<(String, Bytes)>;

/// What an append's failure means for those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sequence {
    /// Nothing: it stands alone.
    #[default]
    Alone,
    /// The first of a sequence, such as an owner's fence: forgives the failures before it.
    Begins,
    /// Part of a sequence, such as an owner's outcomes: fails if one before it failed since the
    /// sequence began, so that no outcome lands behind one that is missing (R6).
    Continues,
}

/// A record to be appended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewRecord {
    /// The key by which its partition was chosen.
    pub key: Bytes,
    /// The bytes.
    pub value: Bytes,
    /// What goes with it.
    pub headers: Headers,
    /// What its failure means for those after it.
    pub sequence: Sequence,
}

/// A record as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in its partition.
    pub offset: Offset,
    /// The key by which its partition was chosen.
    pub key: Bytes,
    /// The bytes, Avro in single-object encoding or whatever was written.
    pub value: Bytes,
    /// The bytes as received, where the log's adapter took another framing off.
    pub received: Option<Bytes>,
    /// What goes with it.
    pub headers: Headers,
}

impl Record {
    /// The bytes as they stand in the log.
    pub fn received(&self) -> &Bytes {
        self.received.as_ref().unwrap_or(&self.value)
    }

    /// The bytes of its key, value and headers.
    pub fn content_bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.key.len() + self.value.len() + headers.sum::<usize>()
    }
}

/// Why the log did not do it. After an error of `append` the record may or may not be there.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// Too many appends are waiting; this one was not taken and is not in the log.
    #[error("the log has too many appends waiting")]
    Busy,
    /// The log cannot be reached or written to.
    #[error("the log is unavailable: {0}")]
    Unavailable(Arc<str>),
    /// What was read is not what was written.
    #[error("the log is damaged at {at}: {reason}")]
    Damaged {
        /// Which record.
        at: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Where a partition begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The offset of the first record that is still there.
    pub first: Offset,
    /// The offset that the next record will get.
    pub end: Offset,
}

/// The durable log.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// How many partitions the topic has; the same for the life of the data.
    fn partitions(&self, topic: &Topic) -> i32;

    /// Appends a record and answers its offset once it is durable. Records of one partition
    /// become durable in the order of the calls, whether or not the futures are polled. A failed
    /// append may still have happened; [`Sequence`] says what it means for later ones. Never waits for room: refuses with [`LogError::Busy`].
    fn append(
        &self,
        to: &TopicPartition,
        record: NewRecord,
    ) -> BoxFuture<'static, Result<Offset, LogError>>;

    /// Reads from `from` on, forever. Only durable records are seen, each once, in order.
    async fn tail(&self, of: &TopicPartition, from: Offset) -> Result<Box<dyn Tail>, LogError>;

    /// Where the partition begins and ends now.
    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds, LogError>;

    /// Joins a group; dropping the claims leaves it.
    async fn claims(&self, group: Group) -> Result<Box<dyn Claims>, LogError>;
}

/// A reader's place in one partition.
#[async_trait]
pub trait Tail: Send {
    /// The next records, at least one and at most a few hundred; waits for them. Cancel safe.
    async fn next(&mut self) -> Result<Vec<Record>, LogError>;
}

/// Nodes that share partitions among them; each partition is claimed by one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Who decides: partitions of `<kind>.commands`.
    Owners,
    /// Who writes the store: partitions of `<kind>.outcomes`.
    Projectors,
    /// Who moves partners' records: partitions of `partner.<name>`.
    Forwarders,
    /// Who talks to chat platforms: partitions of `bridge.inbound` and `room.outcomes`.
    Bridges,
}

/// What a group tells this node.
#[derive(Debug)]
pub enum Claim {
    /// These partitions are this node's from now on.
    Assigned(Vec<TopicPartition>),
    /// Give these up: finish what is in flight within a bounded time, then drop the release.
    Revoked(Vec<TopicPartition>, Release),
    /// These are somebody else's already.
    Lost(Vec<TopicPartition>),
}

/// The group waits until this is dropped, for a bounded time, before somebody else is assigned
/// what was revoked.
#[derive(Debug)]
pub struct Release {
    _sender: std::sync::mpsc::Sender<std::convert::Infallible>,
}

impl Release {
    /// A release, and what is disconnected when it is dropped.
    pub fn new() -> (Self, std::sync::mpsc::Receiver<std::convert::Infallible>) {
        let (sender, receiver) = std::sync::mpsc::channel();
        (Self { _sender: sender }, receiver)
    }
}

/// A node's membership in a group.
#[async_trait]
pub trait Claims: Send {
    /// The next claim; waits for it. Cancel safe.
    async fn next(&mut self) -> Result<Claim, LogError>;

    /// Says how far this member's partitions are done, for those who watch the group's lag.
    /// Nothing is ever read from there on (R4), so a log without watchers does nothing.
    fn report(&mut self, _positions: Vec<(TopicPartition, Offset)>) {}
}

/// How far a reader has folded a partition's outcomes (R7, R12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// The epoch in force; none before the first fence.
    pub epoch: Option<Epoch>,
    /// The offset of the next outcome to read.
    pub offset: Offset,
    /// The offset of the last command that has an outcome; -1 before the first.
    pub last_command_offset: Offset,
}

impl Checkpoint {
    /// The checkpoint of a partition that nobody has read.
    pub const START: Self = Self { epoch: None, offset: 0, last_command_offset: -1 };
}

/// An outcome in the journal: the bytes of the log, with what finds them.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalRow {
    /// The entity.
    pub key: EntityKey,
    /// The outcome's offset in its partition.
    pub offset: Offset,
    /// The entity's seq after it, or [`JournalRow::UNCHANGED`] if the outcome does not say.
    pub last_seq: Seq,
    /// How many changes it has; 0 for rejections and changes to what is already so.
    pub changes: i64,
    /// The command's time.
    pub at: Timestamp,
    /// The outcome as the log holds it.
    pub value: Bytes,
}

impl JournalRow {
    /// The outcome made no change: the seq is that of the row before.
    pub const UNCHANGED: Seq = -1;
}

/// An entity's state as of an outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotRow {
    /// The entity.
    pub key: EntityKey,
    /// The offset of the last outcome in it.
    pub offset: Offset,
    /// The entity's seq.
    pub seq: Seq,
    /// The bytes of `Entity::to_snapshot`.
    pub value: Bytes,
}

/// One step of the projector, written in one transaction.
#[derive(Debug, Clone)]
pub struct StoreWrite {
    /// Which kind's outcomes.
    pub kind: Kind,
    /// Which partition of them.
    pub partition: i32,
    /// What the checkpoint must be now.
    pub expected: Checkpoint,
    /// What it becomes.
    pub next: Checkpoint,
    /// The outcomes of this step.
    pub journal: Vec<JournalRow>,
    /// What they do to the list of entities, in order.
    pub listing: Vec<(EntityKey, ListingChange)>,
    /// When entities want to be woken; the last one counts.
    pub timers: BTreeMap<EntityKey, Option<Timestamp>>,
    /// Newer snapshots.
    pub snapshots: Vec<SnapshotRow>,
}

impl StoreWrite {
    /// A step that changes nothing and stays at `checkpoint`.
    pub fn at(kind: Kind, partition: i32, checkpoint: Checkpoint) -> Self {
        Self {
            kind,
            partition,
            expected: checkpoint,
            next: checkpoint,
            journal: Vec::new(),
            listing: Vec::new(),
            timers: BTreeMap::new(),
            snapshots: Vec::new(),
        }
    }
}

/// Why the store did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another projector has written: the checkpoint is not the expected one (R7).
    #[error("the checkpoint is {found:?}, another projector has written")]
    Stale {
        /// What it is.
        found: Checkpoint,
    },
    /// The store cannot be reached or written to.
    #[error("the store is unavailable: {0}")]
    Unavailable(Arc<str>),
    /// What was read is not what was written.
    #[error("the store is damaged at {at}: {reason}")]
    Damaged {
        /// What.
        at: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// An entity as the store knows it, all of one moment.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The newest snapshot.
    pub snapshot: Option<SnapshotRow>,
    /// Every outcome after it, in order.
    pub journal: Vec<JournalRow>,
    /// The checkpoint of the entity's partition at that moment.
    pub checkpoint: Checkpoint,
}

/// Which part of an entity's journal is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalQuery {
    /// Outcomes whose last seq is greater than this.
    pub after: Seq,
    /// Outcomes whose first seq is less than this.
    pub before: Seq,
    /// From which end to count `limit`.
    pub order: Order,
    /// At most so many outcomes.
    pub limit: i64,
    /// Whether outcomes without changes are wanted too.
    pub empty: EmptyOutcomes,
}

/// From which end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The oldest first.
    OldestFirst,
    /// The newest first.
    NewestFirst,
}

/// What to do with outcomes that made no change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyOutcomes {
    /// Pass over them.
    Skip,
    /// Give them too.
    Include,
}

/// Which entities are wanted, and for whom.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// Of which tenant; all of them for maintenance.
    pub tenant: Option<TenantId>,
    /// Of which kind.
    pub kind: Kind,
    /// Only what this user may see; all for an admin.
    pub reader: Option<UserName>,
    /// Only titles that contain this, case-insensitively.
    pub text: Option<String>,
    /// After this entity (ordered by id).
    pub after: Option<String>,
    /// At most so many.
    pub limit: i64,
}

/// An entity in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRow {
    /// The entity.
    pub key: EntityKey,
    /// Its title.
    pub title: String,
    /// Its seq when the projector last saw it.
    pub seq: Seq,
    /// The time of its first change.
    pub created_at: Timestamp,
    /// The time of its last change.
    pub updated_at: Timestamp,
}

/// What the store knows of one partition.
#[derive(Debug, Clone, Default)]
pub struct PartitionState {
    /// How far the projector is.
    pub checkpoint: Checkpoint,
    /// Which entities want to be woken, and when.
    pub timers: Vec<(EntityKey, Timestamp)>,
}

/// Journal, snapshots, checkpoints, lists. It may lag behind the log; it may not lie.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Everything about one entity, read at one moment.
    async fn load(&self, key: &EntityKey, partition: i32) -> Result<Loaded, StoreError>;

    /// Writes one step in one transaction if the checkpoint is the expected one (R7); a snapshot
    /// never replaces a newer one.
    async fn commit(&self, write: StoreWrite) -> Result<(), StoreError>;

    /// A part of an entity's journal.
    async fn journal(
        &self,
        key: &EntityKey,
        query: JournalQuery,
    ) -> Result<Vec<JournalRow>, StoreError>;

    /// Entities, ordered by id.
    async fn list(&self, query: ListQuery) -> Result<Vec<ListRow>, StoreError>;

    /// Checkpoint and timers of one partition.
    async fn partition(&self, kind: Kind, partition: i32) -> Result<PartitionState, StoreError>;
}

/// What a value of [`Mappings`] must be for a write to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its name.
    pub key: String,
    /// What it must be; `None` is that there is none.
    pub value: Option<Bytes>,
}

/// Small values by name, for what has its own life beside the entities: which message of a platform
/// is which of a room, and how far a link is.
#[async_trait]
pub trait Mappings: Send + Sync + 'static {
    /// The value of this name.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError>;

    /// Every value whose name begins so, by name.
    async fn list(&self, prefix: &str) -> Result<Vec<(String, Bytes)>, StoreError>;

    /// Sets values, or takes them away, all or none; says whether what was expected held, and does
    /// nothing if it did not.
    async fn write(
        &self,
        changes: Vec<(String, Option<Bytes>)>,
        expected: Option<Expected>,
    ) -> Result<bool, StoreError>;
}

/// Something live about an entity, not kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Signal {
    /// A client's signal: typing, a cursor, a read mark.
    Sent {
        /// `typing`, `cursor`, `read` …
        kind: String,
        /// Who, as a principal.
        by: String,
        /// What goes with it.
        data: Value,
    },
    /// People came or went.
    Presence {
        /// Who came.
        joined: Vec<String>,
        /// Who went.
        left: Vec<String>,
    },
    /// Somebody's status changed.
    Status {
        /// Who.
        user: String,
        /// `online`, `away` or `busy`.
        status: String,
        /// In their own words.
        text: Option<String>,
    },
}

/// Presence, typing, cursors, status: live, shared by the nodes, lost without harm. Methods do
/// not wait: what cannot be delivered is dropped, and presence is repeated until it is.
#[async_trait]
pub trait Signals: Send + Sync + 'static {
    /// Tells everybody at the entity.
    fn publish(&self, key: &EntityKey, signal: Signal);

    /// A session of `user` is at the entity now, or again. Publishes if it is the user's first.
    fn enter(&self, key: &EntityKey, user: &str, session: u64);

    /// It is not any more. Publishes if it was the user's last.
    fn leave(&self, key: &EntityKey, user: &str, session: u64);

    /// Who is at the entity, each once, sorted by name.
    fn present(&self, key: &EntityKey) -> Vec<String>;

    /// Everything published from now on; a reader that is slow loses the oldest.
    fn subscribe(&self) -> tokio::sync::broadcast::Receiver<(EntityKey, Signal)>;
}

/// The time outside the actors.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

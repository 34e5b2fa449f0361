//! What came of a command (R1), and the fence that opens an epoch (R2).

use apache_avro::{AvroSchema, AvroSchemaComponent};
use serde::{Deserialize, Serialize};

use crate::{
    CommandId, EntityId, EntityKey, Epoch, Offset, Principal, Rejection, Seq, TenantId, Timestamp,
    board::BoardChange, event::EventChange, room::RoomChange,
};

/// One fact about one entity, with its number.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Its number within the entity.
    pub seq: Seq,
    /// The seq that this change takes back.
    pub undoes: Option<Seq>,
    /// The seq, as the redo named it, that this change brings back.
    pub redoes: Option<Seq>,
    /// What happened.
    pub body: ChangeBody,
}

/// What happened to an entity of one kind.
#[derive(Debug, Clone, PartialEq)]
pub enum ChangeBody {
    /// To a board.
    Board(BoardChange),
    /// To an event.
    Event(EventChange),
    /// To a room.
    Room(RoomChange),
}

/// The result of deciding one command.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It holds: these changes, possibly none, and the entity's seq after them.
    Accepted {
        /// The entity's seq after the changes.
        seq: Seq,
        /// The changes, numbered without a gap up to `seq`.
        changes: Vec<Change>,
    },
    /// It does not hold.
    Rejected(Rejection),
    /// It could not be decided at all (R11, R10); the reason says why.
    Skipped {
        /// Why, for people.
        reason: String,
    },
}

/// A record of `<kind>.outcomes`: what came of exactly one command.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The command's offset in `<kind>.commands`, same partition.
    pub command_offset: Offset,
    /// The command's id; of an undecodable command, one derived from its position.
    pub command_id: CommandId,
    /// The entity; none if the command could not be decoded.
    pub key: Option<EntityKey>,
    /// The command's time.
    pub at: Timestamp,
    /// Who asked.
    pub by: Principal,
    /// A digest of principal and body, by which a repeat under another meaning is known.
    pub fingerprint: i64,
    /// Whether the same command id was decided before: `verdict` then holds the first seq range
    /// or the first rejection and makes no change.
    pub repeats: Option<Repeat>,
    /// When the entity wants to be woken next, if at all (durable timers).
    pub wake_at: Option<Timestamp>,
    /// What came of it.
    pub verdict: Verdict,
}

/// What a repeated command did the first time: the changes after `after` up to `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[serde(rename_all = "camelCase")]
pub struct Repeat {
    /// The entity's seq before the first outcome.
    pub after: Seq,
    /// The entity's seq after it; equal to `after` if it made no change.
    pub to: Seq,
}

/// The record by which a new owner takes a partition (R2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fence {
    /// The node that takes the partition, and which of its attempts this is: unique per fence.
    pub owner: String,
    /// When.
    pub at: Timestamp,
}

/// What stands in `<kind>.outcomes`.
#[derive(Debug, Clone, PartialEq)]
pub enum OutcomeRecord {
    /// What came of a command.
    Outcome(Box<Outcome>),
    /// A new owner.
    Fence(Fence),
}

/// One change as partners read it in `changes`, as Avro. The record's key in the topic is
/// `tenant/kind:id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublicChange<C: AvroSchemaComponent> {
    /// The tenant.
    pub tenant: TenantId,
    /// The entity.
    pub entity: EntityId,
    /// The change's number within the entity. A reader that takes only the one that follows the
    /// last it took of a key has each change once.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// Who asked.
    pub by: Principal,
    /// The command that it came of.
    pub command_id: CommandId,
    /// The seq that this change takes back.
    pub undoes: Option<Seq>,
    /// The seq, as the redo named it, that this change brings back.
    pub redoes: Option<Seq>,
    /// What happened.
    pub body: C,
}

#[derive(Debug, Serialize, Deserialize, AvroSchema)]
#[serde(rename_all = "camelCase")]
#[serde(rename = "Change")]
pub(crate) struct ChangeWire<C: AvroSchemaComponent> {
    pub(crate) seq: Seq,
    pub(crate) undoes: Option<Seq>,
    pub(crate) redoes: Option<Seq>,
    pub(crate) body: C,
}

#[derive(Debug, Serialize, Deserialize, AvroSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[avro(repr = "union_of_records")]
pub(crate) enum VerdictWire<C: AvroSchemaComponent> {
    Accepted { seq: Seq, changes: Vec<ChangeWire<C>> },
    Rejected { code: crate::Code, reason: String, errors: Vec<crate::FieldError> },
    Skipped { reason: String },
}

#[derive(Debug, Serialize, Deserialize, AvroSchema)]
#[serde(rename_all = "camelCase")]
#[serde(rename = "Outcome")]
pub(crate) struct OutcomeWire<C: AvroSchemaComponent> {
    pub(crate) epoch: Epoch,
    pub(crate) command_offset: Offset,
    pub(crate) command_id: CommandId,
    pub(crate) entity: Option<EntityKey>,
    pub(crate) at: Timestamp,
    pub(crate) by: Principal,
    pub(crate) fingerprint: i64,
    pub(crate) repeats: Option<Repeat>,
    pub(crate) wake_at: Option<Timestamp>,
    pub(crate) result: VerdictWire<C>,
}

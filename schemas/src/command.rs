//! A command with everything its actor needs to decide it.

use apache_avro::AvroSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CommandId, EntityKey, Kind, Principal, Seq, TenantId, Timestamp, board::BoardCommand,
    event::EventCommand, room::RoomCommand,
};

/// What is asked of an entity of one kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Of a board.
    Board(BoardCommand),
    /// Of an event.
    Event(EventCommand),
    /// Of a room.
    Room(RoomCommand),
}

impl Body {
    /// The kind of entity this can be asked of.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Board(_) => Kind::Board,
            Self::Event(_) => Kind::Event,
            Self::Room(_) => Kind::Room,
        }
    }

    /// Whether this makes the entity.
    pub fn creates(&self) -> bool {
        matches!(
            self,
            Self::Board(BoardCommand::CreateBoard { .. })
                | Self::Event(EventCommand::CreateEvent { .. })
                | Self::Room(RoomCommand::CreateRoom { .. })
        )
    }
}

/// A wish addressed to one entity: a record of `<kind>.commands`.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The entity, with its tenant.
    pub key: EntityKey,
    /// The idempotency key (R8).
    pub id: CommandId,
    /// The tenant that the principal belongs to; in another tenant it sees nothing (R14).
    pub tenant: TenantId,
    /// Who asks.
    pub principal: Principal,
    /// The roles in the tenant that the principal's token carries; `admin` may do everything.
    pub roles: Vec<String>,
    /// When it was taken in: the only clock that `decide` sees (R9).
    pub at: Timestamp,
    /// Accepted only if the entity is at exactly this seq.
    pub expect: Option<Seq>,
    /// What is asked.
    pub body: Body,
}

/// A command as Avro writes it; `B` is one kind's enum, borrowed to write, owned to read.
#[derive(Debug, Serialize, Deserialize, AvroSchema)]
#[serde(rename_all = "camelCase")]
#[serde(rename = "Command")]
pub(crate) struct CommandWire<B: apache_avro::AvroSchemaComponent> {
    pub(crate) key: EntityKey,
    pub(crate) command_id: CommandId,
    pub(crate) tenant: TenantId,
    pub(crate) principal: Principal,
    pub(crate) roles: Vec<String>,
    pub(crate) at: Timestamp,
    pub(crate) expect: Option<Seq>,
    pub(crate) body: B,
}

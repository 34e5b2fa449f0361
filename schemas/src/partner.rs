//! What partners write to `partner.<name>`. Tenant and principal are not in it: they come from
//! the partner's registration.

use apache_avro::AvroSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CommandId, Seq, Timestamp, board::BoardCommand, event::EventCommand, room::RoomCommand,
};

/// A partner's command, as JSON (`body` is `{"type": …, …}`) or as Avro (`body` is the union of
/// that kind's commands).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartnerCommand<B: apache_avro::AvroSchemaComponent> {
    /// The idempotency key; derived from topic, partition and offset if absent.
    #[serde(default)]
    pub command_id: Option<CommandId>,
    /// When the partner made it; kept for its own records, never used to decide.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// Accepted only if the entity is at exactly this seq.
    #[serde(default)]
    pub expect: Option<Seq>,
    /// What is asked.
    pub body: B,
}

/// A partner's command to a board, as Avro.
pub type PartnerBoardCommand = PartnerCommand<BoardCommand>;
/// A partner's command to an event, as Avro.
pub type PartnerEventCommand = PartnerCommand<EventCommand>;
/// A partner's command to a room, as Avro.
pub type PartnerRoomCommand = PartnerCommand<RoomCommand>;

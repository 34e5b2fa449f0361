//! What people may be in an entity.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A member's role. Boards and events know owner, editor and viewer; rooms know owner, admin,
/// moderator, member, guest and readOnly.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Everything, including giving and taking roles.
    Owner,
    /// Rooms: everything but what touches owners.
    Admin,
    /// Rooms: mute, kick, ban, pin, delete what others wrote.
    Moderator,
    /// Boards and events: change anything but members.
    Editor,
    /// Rooms: read, write, react.
    Member,
    /// Rooms: read, write and react, but no pins and no broadcast mentions.
    Guest,
    /// Boards and events: look.
    Viewer,
    /// Rooms: look.
    ReadOnly,
}

crate::avro_enum!(Role: "owner", "admin", "moderator", "editor", "member", "guest", "viewer", "readOnly");

/// What everybody of the tenant may do unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TenantRole {
    /// Nothing: members only.
    None,
    /// Look.
    Viewer,
    /// Boards and events: change things.
    Editor,
    /// Rooms: take part.
    Member,
}

crate::avro_enum!(TenantRole: "none", "viewer", "editor", "member");

//! Commands and changes of a room. Field by field they are the tables of PROTOCOL.md.
#![expect(missing_docs, reason = "fields are explained in PROTOCOL.md, variants here")]

use apache_avro::AvroSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ItemId, Patch, Timestamp, UserName,
    board::Attachment,
    content::Node,
    role::{Role, TenantRole},
};

/// How one becomes a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Access {
    /// By joining.
    #[default]
    Open,
    /// By `setMember` of an admin.
    Invite,
    /// By asking, and `setMember` of an admin.
    Request,
}

crate::avro_enum!(Access: "open", "invite", "request");

/// A chat platform that rooms can be linked to.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Platform {
    /// Slack.
    Slack,
    /// Microsoft Teams.
    Teams,
    /// Discord.
    Discord,
    /// Telegram.
    Telegram,
}

crate::avro_enum!(Platform: "slack", "teams", "discord", "telegram");

impl Platform {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Slack, Self::Teams, Self::Discord, Self::Telegram];

    /// Its name in keys, addresses and settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Teams => "teams",
            Self::Discord => "discord",
            Self::Telegram => "telegram",
        }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|platform| platform.as_str() == text);
        found.ok_or_else(|| format!("must be slack, teams, discord or telegram, got {text:?}"))
    }
}

/// Which way messages go over a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// Both ways.
    #[default]
    Both,
    /// From the platform into the room.
    In,
    /// From the room to the platform.
    Out,
}

crate::avro_enum!(Direction: "both", "in", "out");

/// How a link is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LinkHealth {
    /// Nothing has been sent or received yet.
    #[default]
    Unknown,
    /// The platform takes what is sent.
    Connected,
    /// It asks to wait, or answers with errors that pass.
    Throttled,
    /// It refuses the bot's credentials or rights.
    CredentialsRefused,
    /// The channel is not there, or the bot is not in it.
    ChannelGone,
}

crate::avro_enum!(LinkHealth: "unknown", "connected", "throttled", "credentialsRefused", "channelGone");

/// Where a message on a chat platform came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    pub platform: String,
    pub workspace: String,
    pub channel: String,
    pub message: String,
    /// The author's name there.
    pub author: String,
}

/// What `roomUpdated` sets.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomFields {
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub title: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub topic: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub access: Patch<Access>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub tenant_role: Patch<TenantRole>,
}

/// Everything a room can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[avro(repr = "union_of_records")]
pub enum RoomCommand {
    /// Makes the room; the sender becomes its owner.
    CreateRoom {
        title: String,
        #[serde(default)]
        topic: Option<String>,
        #[serde(default)]
        access: Option<Access>,
        #[serde(default)]
        tenant_role: Option<TenantRole>,
    },
    /// Changes the room's own fields.
    UpdateRoom {
        #[serde(default)]
        title: Patch<String>,
        #[serde(default)]
        topic: Patch<String>,
        #[serde(default)]
        access: Patch<Access>,
        #[serde(default)]
        tenant_role: Patch<TenantRole>,
    },
    /// Says something: Markdown `text` or the tree `content`, not both.
    Post {
        #[serde(default)]
        text: Option<String>,
        #[serde(default)]
        content: Option<Vec<Node>>,
        #[serde(default)]
        message: Option<ItemId>,
        #[serde(default)]
        reply_to: Option<ItemId>,
        /// The message that opens the thread.
        #[serde(default)]
        thread: Option<ItemId>,
        #[serde(default)]
        attachments: Option<Vec<Attachment>>,
    },
    /// Replaces what one wrote.
    Edit {
        message: ItemId,
        #[serde(default)]
        text: Option<String>,
        #[serde(default)]
        content: Option<Vec<Node>>,
    },
    /// Takes a message back; moderators may take back anybody's.
    Delete { message: ItemId },
    /// Adds one's reaction.
    React { message: ItemId, emoji: String },
    /// Takes one's reaction back.
    Unreact { message: ItemId, emoji: String },
    /// Pins a message.
    Pin { message: ItemId },
    /// Unpins it.
    Unpin { message: ItemId },
    /// Moves one's read position to this message.
    MarkRead { message: ItemId },
    /// Becomes a member of an open room, or asks to (access `request`).
    Join {},
    /// Stops being a member.
    Leave {},
    /// Gives a user a role.
    SetMember { user: UserName, role: Role },
    /// Takes a user's membership away (a kick).
    RemoveMember { user: UserName },
    /// Lets a user read only, for good or until a time.
    Mute {
        user: UserName,
        #[serde(default)]
        until: Option<Timestamp>,
    },
    /// Lets a muted user write again.
    Unmute { user: UserName },
    /// Removes a user and keeps them out.
    Ban { user: UserName },
    /// Lets a banned user come back.
    Unban { user: UserName },
    /// Seconds that must pass between two messages of a member; 0 is off.
    SetSlowMode { seconds: i64 },
    /// Words that no message may contain.
    SetWordFilter { words: Vec<String> },
    /// Sent by the timer (principal `system`): ends the mutes that are over.
    EndMutes {},
    /// Sent by bridges: says what was said on a chat platform.
    Relay {
        origin: Origin,
        content: Vec<Node>,
        #[serde(default)]
        message: Option<ItemId>,
        #[serde(default)]
        reply_to: Option<ItemId>,
        #[serde(default)]
        thread: Option<ItemId>,
        #[serde(default)]
        attachments: Option<Vec<Attachment>>,
    },
    /// Sent by bridges: somebody on a chat platform reacted; `user` is who, as people see them.
    RelayReact { message: ItemId, emoji: String, user: String },
    /// Sent by bridges: they took it back.
    RelayUnreact { message: ItemId, emoji: String, user: String },
    /// Binds the room to a channel of a chat platform.
    Link {
        platform: Platform,
        /// A Slack team, a Discord guild, a Teams tenant; empty on Telegram.
        #[serde(default)]
        workspace: String,
        channel: String,
        #[serde(default)]
        direction: Option<Direction>,
    },
    /// Ends that.
    Unlink { link: ItemId },
    /// Sent by bridges: says how a link is doing.
    SetLinkHealth {
        link: ItemId,
        health: LinkHealth,
        #[serde(default)]
        reason: Option<String>,
    },
}

/// Everything that can have happened to a room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[avro(repr = "union_of_records")]
pub enum RoomChange {
    /// The room exists.
    RoomCreated { title: String, topic: Option<String>, access: Access, tenant_role: TenantRole },
    /// The room's own fields changed.
    RoomUpdated { fields: RoomFields },
    /// Somebody said something.
    MessagePosted {
        message: ItemId,
        /// The principal who wrote it.
        author: String,
        text: String,
        content: Vec<Node>,
        reply_to: Option<ItemId>,
        thread: Option<ItemId>,
        attachments: Vec<Attachment>,
        origin: Option<Origin>,
    },
    /// A message says something else now.
    MessageEdited { message: ItemId, text: String, content: Vec<Node> },
    /// A message was taken back.
    MessageDeleted { message: ItemId },
    /// Somebody reacted.
    ReactionAdded { message: ItemId, emoji: String, user: String },
    /// Somebody took a reaction back.
    ReactionRemoved { message: ItemId, emoji: String, user: String },
    /// A message is pinned.
    MessagePinned { message: ItemId },
    /// A message is not pinned any more.
    MessageUnpinned { message: ItemId },
    /// Somebody has read up to here.
    ReadMoved { user: UserName, message: ItemId },
    /// Somebody asks to become a member.
    JoinRequested { user: UserName },
    /// A user has a role.
    MemberSet { user: UserName, role: Role },
    /// A user is no member any more; a request to join is withdrawn or refused.
    MemberRemoved { user: UserName },
    /// A user may read only.
    MemberMuted { user: UserName, until: Option<Timestamp> },
    /// A user may write again.
    MemberUnmuted { user: UserName },
    /// A user is out and stays out.
    MemberBanned { user: UserName },
    /// A user may come back.
    MemberUnbanned { user: UserName },
    /// Members must wait so many seconds between messages.
    SlowModeSet { seconds: i64 },
    /// No message may contain these words.
    WordFilterSet { words: Vec<String> },
    /// The room is bound to a channel of a chat platform.
    LinkAdded {
        link: ItemId,
        platform: Platform,
        workspace: String,
        channel: String,
        direction: Direction,
    },
    /// It is not any more.
    LinkRemoved { link: ItemId },
    /// A link is doing otherwise than before.
    LinkHealthChanged { link: ItemId, health: LinkHealth, reason: Option<String> },
}

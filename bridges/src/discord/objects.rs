//! What Discord sends, as far as it is read (docs.discord.com/developers/resources/message,
//! docs.discord.com/developers/events/gateway-events).

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
pub(super) struct Payload {
    pub(super) op: Option<i64>,
    pub(super) t: Option<String>,
    #[serde(default)]
    pub(super) d: Value,
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) id: String,
    #[serde(default)]
    pub(super) username: String,
    pub(super) global_name: Option<String>,
    #[serde(default)]
    pub(super) bot: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Member {
    pub(super) nick: Option<String>,
    pub(super) user: Option<User>,
    pub(super) permissions: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Posted {
    #[serde(default)]
    pub(super) id: String,
    pub(super) channel_id: Option<String>,
    pub(super) guild_id: Option<String>,
    pub(super) author: Option<User>,
    pub(super) member: Option<Member>,
    pub(super) content: Option<String>,
    #[serde(default, deserialize_with = "even_null")]
    pub(super) edited_timestamp: Option<Value>,
    #[serde(rename = "type", default)]
    pub(super) kind: i64,
    pub(super) webhook_id: Option<String>,
    #[serde(default)]
    pub(super) mentions: Vec<Mentioned>,
    #[serde(default)]
    pub(super) mention_channels: Vec<Channel>,
    #[serde(default)]
    pub(super) attachments: Vec<Attachment>,
    #[serde(default)]
    pub(super) embeds: Vec<Embed>,
    #[serde(default)]
    pub(super) sticker_items: Vec<Sticker>,
    #[serde(default)]
    pub(super) stickers: Vec<Sticker>,
    #[serde(default)]
    pub(super) components: Vec<Value>,
    pub(super) poll: Option<Poll>,
    pub(super) message_reference: Option<Reference>,
    #[serde(default)]
    pub(super) message_snapshots: Vec<Snapshot>,
}

/// Tells what is `null` from what is left out.
fn even_null<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(input).map(Some)
}

#[derive(Debug, Deserialize)]
pub(super) struct Mentioned {
    #[serde(flatten)]
    pub(super) user: User,
    pub(super) member: Option<Nick>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Nick {
    pub(super) nick: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Channel {
    pub(super) id: String,
    pub(super) guild_id: Option<String>,
    pub(super) name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Attachment {
    pub(super) id: String,
    pub(super) filename: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) size: Option<u64>,
    pub(super) url: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Embed {
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) url: Option<String>,
    pub(super) author: Option<EmbedName>,
    pub(super) footer: Option<EmbedText>,
    pub(super) image: Option<EmbedPicture>,
    #[serde(default)]
    pub(super) fields: Vec<EmbedField>,
}

#[derive(Debug, Deserialize)]
pub(super) struct EmbedName {
    pub(super) name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct EmbedText {
    pub(super) text: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct EmbedPicture {
    pub(super) url: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct EmbedField {
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Sticker {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Poll {
    pub(super) question: PollText,
    #[serde(default)]
    pub(super) answers: Vec<PollAnswer>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PollAnswer {
    pub(super) poll_media: PollText,
}

#[derive(Debug, Deserialize)]
pub(super) struct PollText {
    pub(super) text: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Reference {
    #[serde(rename = "type", default)]
    pub(super) kind: i64,
    pub(super) message_id: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Snapshot {
    pub(super) message: SnapshotMessage,
}

#[derive(Debug, Deserialize)]
pub(super) struct SnapshotMessage {
    #[serde(default)]
    pub(super) content: String,
    #[serde(default)]
    pub(super) attachments: Vec<Attachment>,
    #[serde(default)]
    pub(super) embeds: Vec<Embed>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Deleted {
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) ids: Vec<String>,
    pub(super) channel_id: String,
    pub(super) guild_id: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Reacted {
    pub(super) user_id: Option<String>,
    pub(super) channel_id: String,
    pub(super) message_id: String,
    pub(super) guild_id: Option<String>,
    pub(super) member: Option<Member>,
    pub(super) emoji: Option<Emoji>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Emoji {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) animated: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Typing {
    pub(super) channel_id: String,
    pub(super) guild_id: Option<String>,
    pub(super) user_id: String,
    pub(super) member: Option<Member>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Interaction {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: i64,
    pub(super) guild_id: Option<String>,
    pub(super) channel_id: Option<String>,
    pub(super) member: Option<Member>,
    pub(super) user: Option<User>,
    #[serde(default)]
    pub(super) data: Value,
}

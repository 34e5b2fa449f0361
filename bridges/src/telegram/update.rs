//! `Update` and what is in it, as far as it is read (core.telegram.org/bots/api#update).

use serde::{Deserialize, Deserializer};

use super::entity::Entity;

/// Some libraries write `null` for a list that is left out.
fn or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

#[derive(Debug, Deserialize)]
pub(super) struct Update {
    pub(super) message: Option<Message>,
    pub(super) edited_message: Option<Message>,
    pub(super) channel_post: Option<Message>,
    pub(super) edited_channel_post: Option<Message>,
    pub(super) message_reaction: Option<MessageReaction>,
    pub(super) my_chat_member: Option<ChatMemberUpdated>,
    /// What else there is, to be named.
    #[serde(flatten)]
    pub(super) rest: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Chat {
    pub(super) id: i64,
    pub(super) title: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) id: i64,
    #[serde(default)]
    pub(super) is_bot: bool,
    #[serde(default)]
    pub(super) first_name: String,
    pub(super) last_name: Option<String>,
    pub(super) username: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) message_id: i64,
    pub(super) message_thread_id: Option<i64>,
    /// Whether the thread is a forum's topic; in other groups it is the answered message.
    #[serde(default)]
    pub(super) is_topic_message: bool,
    pub(super) from: Option<User>,
    pub(super) sender_chat: Option<Chat>,
    pub(super) chat: Chat,
    pub(super) reply_to_message: Option<Replied>,
    pub(super) text: Option<String>,
    #[serde(default, deserialize_with = "or_null")]
    pub(super) entities: Vec<Entity>,
    pub(super) caption: Option<String>,
    #[serde(default, deserialize_with = "or_null")]
    pub(super) caption_entities: Vec<Entity>,
    #[serde(default, deserialize_with = "or_null")]
    pub(super) photo: Vec<Media>,
    pub(super) document: Option<Media>,
    pub(super) animation: Option<Media>,
    pub(super) audio: Option<Media>,
    pub(super) video: Option<Media>,
    pub(super) video_note: Option<Media>,
    pub(super) voice: Option<Media>,
    pub(super) sticker: Option<Media>,
    pub(super) poll: Option<Poll>,
    pub(super) location: Option<Location>,
    pub(super) venue: Option<Venue>,
    pub(super) contact: Option<Contact>,
    pub(super) dice: Option<Dice>,
    pub(super) game: Option<Titled>,
    pub(super) invoice: Option<Titled>,
    pub(super) checklist: Option<Checklist>,
    pub(super) story: Option<serde_json::Value>,
    pub(super) paid_media: Option<serde_json::Value>,
    pub(super) forward_origin: Option<ForwardOrigin>,
    #[serde(default, deserialize_with = "or_null")]
    pub(super) new_chat_members: Vec<User>,
    pub(super) left_chat_member: Option<User>,
    pub(super) new_chat_title: Option<String>,
    pub(super) pinned_message: Option<Replied>,
    pub(super) migrate_to_chat_id: Option<i64>,
    /// What else there is, to be named.
    #[serde(flatten)]
    pub(super) rest: serde_json::Map<String, serde_json::Value>,
}

/// Another message, of which only its number is needed.
#[derive(Debug, Deserialize)]
pub(super) struct Replied {
    pub(super) message_id: i64,
}

/// Any of the things that can be downloaded.
#[derive(Debug, Deserialize)]
pub(super) struct Media {
    pub(super) file_id: String,
    pub(super) file_name: Option<String>,
    pub(super) mime_type: Option<String>,
    pub(super) file_size: Option<u64>,
    /// Of a sticker.
    pub(super) emoji: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Poll {
    pub(super) question: String,
    #[serde(default)]
    pub(super) options: Vec<PollOption>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PollOption {
    pub(super) text: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Titled {
    #[serde(default)]
    pub(super) title: String,
    #[serde(default)]
    pub(super) description: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Checklist {
    #[serde(default)]
    pub(super) title: String,
    #[serde(default)]
    pub(super) tasks: Vec<Task>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Task {
    #[serde(default)]
    pub(super) text: String,
    pub(super) completion_date: Option<i64>,
}

/// Who said first what is passed on: one of them is there.
#[derive(Debug, Deserialize)]
pub(super) struct ForwardOrigin {
    pub(super) sender_user: Option<User>,
    pub(super) sender_user_name: Option<String>,
    pub(super) sender_chat: Option<Chat>,
    pub(super) chat: Option<Chat>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Location {
    pub(super) latitude: f64,
    pub(super) longitude: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Venue {
    pub(super) title: String,
    #[serde(default)]
    pub(super) address: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Contact {
    #[serde(default)]
    pub(super) phone_number: String,
    #[serde(default)]
    pub(super) first_name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Dice {
    pub(super) emoji: String,
    pub(super) value: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct ChatMemberUpdated {
    pub(super) chat: Chat,
    pub(super) new_chat_member: ChatMember,
}

#[derive(Debug, Deserialize)]
pub(super) struct ChatMember {
    pub(super) status: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct MessageReaction {
    pub(super) chat: Chat,
    pub(super) message_id: i64,
    pub(super) user: Option<User>,
    pub(super) actor_chat: Option<Chat>,
    #[serde(default)]
    pub(super) new_reaction: Vec<Reaction>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Reaction {
    pub(super) emoji: Option<String>,
    pub(super) custom_emoji_id: Option<String>,
}

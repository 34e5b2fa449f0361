//! An update as what happened.

use schemas::content::{Node, NodeType};
use serde::Deserialize as _;
use serde_json::Value;

use super::{
    entity::{EMOJI_PREFIX, tree_of},
    update::{
        Chat, ChatMemberUpdated, ForwardOrigin, Media, Message, MessageReaction, Poll, Task,
        Update, User,
    },
};
use crate::{
    Author, Inbound, Names, Place,
    message::{self, File},
};

/// What an update says.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// By which it is known when it comes again; grows within a week.
    pub update: Option<i64>,
    /// What happened.
    pub inbound: Vec<Inbound>,
}

/// The bytes are no update.
#[derive(Debug, thiserror::Error)]
#[error("this is no update of Telegram: {0}")]
pub struct ParseError(#[from] serde_json::Error);

/// Reads an update, or a message by itself.
///
/// # Errors
/// If it is no JSON object. What means nothing for a room is [`Inbound::Unsupported`].
pub fn parse(update: &[u8], names: &dyn Names) -> Result<Parsed, ParseError> {
    let mut object: serde_json::Map<String, Value> = serde_json::from_slice(update)?;
    let number = object.get("update_id").and_then(Value::as_i64);
    if object.contains_key("message_id") && object.contains_key("chat") {
        object = serde_json::Map::from_iter([("message".to_owned(), Value::Object(object))]);
    }
    let inbound = match Update::deserialize(Value::Object(object)) {
        Ok(update) => of_update(update, names),
        Err(error) => {
            vec![Inbound::Unreadable(format!("update that cannot be read: {error}"))]
        }
    };
    Ok(Parsed { update: number, inbound })
}

fn of_update(update: Update, names: &dyn Names) -> Vec<Inbound> {
    let posted = update.message.or(update.channel_post);
    let edited = update.edited_message.or(update.edited_channel_post);
    match (posted, edited, update.message_reaction, update.my_chat_member) {
        (Some(message), ..) => of_message(message, names),
        (None, Some(message), ..) => vec![Inbound::Edited(said(message, names))],
        (None, None, Some(reaction), _) => vec![of_reaction(reaction)],
        (None, None, None, Some(member)) if member.is_out() => {
            vec![Inbound::Gone { place: member.place() }]
        }
        (None, None, None, Some(_)) => {
            vec![Inbound::Unsupported("update with my_chat_member".to_owned())]
        }
        (None, None, None, None) => {
            vec![Inbound::Unsupported(first_key(&update.rest, "update"))]
        }
    }
}

impl ChatMemberUpdated {
    /// Whether the bot is not in the chat any more.
    fn is_out(&self) -> bool {
        ["left", "kicked"].contains(&self.new_chat_member.status.as_str())
    }

    fn place(&self) -> Place {
        let channel = self.chat.id.to_string();
        Place { workspace: String::new(), channel, thread: None }
    }
}

/// What an object has that nobody here knows, such as `message with game`.
fn first_key(rest: &serde_json::Map<String, serde_json::Value>, what: &str) -> String {
    // These say how a message is, and not what it says.
    let known = [
        "update_id",
        "date",
        "edit_date",
        "author_signature",
        "media_group_id",
        "via_bot",
        "has_protected_content",
        "has_media_spoiler",
        "is_automatic_forward",
        "is_from_offline",
        "is_paid_post",
        "show_caption_above_media",
        "link_preview_options",
        "reply_markup",
        "sender_boost_count",
        "business_connection_id",
        "effect_id",
    ];
    match rest.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => format!("{what} with {key}"),
        None => format!("{what} with nothing in it"),
    }
}

fn of_message(message: Message, names: &dyn Names) -> Vec<Inbound> {
    let place = place(&message);
    if let Some(to) = message.migrate_to_chat_id {
        return vec![Inbound::Moved { place, to: to.to_string() }];
    }
    if !message.new_chat_members.is_empty() {
        let joined = |user: &User| Inbound::Joined { place: place.clone(), author: author(user) };
        return message.new_chat_members.iter().map(joined).collect();
    }
    if let Some(user) = &message.left_chat_member {
        return vec![Inbound::Left { place, author: author(user) }];
    }
    if let Some(title) = message.new_chat_title {
        return vec![Inbound::Titled { place, title }];
    }
    if let Some(pinned) = &message.pinned_message {
        let (message_id, author) = (pinned.message_id.to_string(), author_of(&message));
        return vec![Inbound::Pinned { place, message: message_id, author }];
    }
    let unknown = first_key(&message.rest, "message");
    let said = said(message, names);
    if said.content.is_empty() && said.files.is_empty() {
        return vec![Inbound::Unsupported(unknown)];
    }
    vec![Inbound::Posted(said)]
}

fn place(message: &Message) -> Place {
    let topic = message.message_thread_id.filter(|_| message.is_topic_message);
    Place {
        workspace: String::new(),
        channel: message.chat.id.to_string(),
        thread: topic.map(|topic| topic.to_string()),
    }
}

fn author(user: &User) -> Author {
    let full = [Some(user.first_name.as_str()), user.last_name.as_deref()];
    let full: Vec<_> = full.into_iter().flatten().filter(|name| !name.is_empty()).collect();
    let name = match (full.is_empty(), &user.username) {
        (false, _) => full.join(" "),
        (true, Some(username)) => username.clone(),
        (true, None) => user.id.to_string(),
    };
    Author { id: user.id.to_string(), name, is_bot: user.is_bot }
}

/// A chat speaks for itself: a channel, or an administrator who stays anonymous.
fn author_of_chat(chat: &Chat) -> Author {
    let id = chat.id.to_string();
    Author { name: chat.title.clone().unwrap_or_else(|| id.clone()), id, is_bot: false }
}

fn author_of(message: &Message) -> Author {
    match (&message.sender_chat, &message.from) {
        (Some(chat), _) => author_of_chat(chat),
        (None, Some(user)) => author(user),
        (None, None) => author_of_chat(&message.chat),
    }
}

fn said(message: Message, names: &dyn Names) -> message::Message {
    let (place, author) = (place(&message), author_of(&message));
    let mut content = match (&message.text, &message.caption) {
        (Some(text), _) => tree_of(text, &message.entities, names),
        (None, Some(caption)) => tree_of(caption, &message.caption_entities, names),
        (None, None) => Vec::new(),
    };
    content.extend(in_words(&message));
    if let Some(origin) = &message.forward_origin {
        content = forwarded(origin, content);
    }
    // In a forum every message answers its topic's first.
    let replied = message.reply_to_message.map(|replied| replied.message_id);
    let replied = replied.filter(|replied| place.thread.as_ref() != Some(&replied.to_string()));
    let photo = message.photo.into_iter().max_by_key(|size| size.file_size);
    let media = [
        ("photo.jpg", photo),
        // An animation comes as a document too.
        ("animation.mp4", message.animation),
        ("audio.mp3", message.audio),
        ("video.mp4", message.video),
        ("video.mp4", message.video_note),
        ("voice.ogg", message.voice),
        ("sticker.webp", message.sticker),
        ("document", message.document),
    ];
    let mut files: Vec<File> = Vec::new();
    for (name, media) in media.into_iter().filter_map(|(name, media)| Some((name, media?))) {
        if files.iter().all(|known| known.id != media.file_id) {
            files.push(file(name, media));
        }
    }
    let reply_to = replied.map(|replied| replied.to_string());
    let id = message.message_id.to_string();
    message::Message { id, place, author, content, reply_to, files }
}

/// What is passed on is a quotation with the name of who said it.
fn forwarded(origin: &ForwardOrigin, content: Vec<Node>) -> Vec<Node> {
    let chat = origin.sender_chat.as_ref().or(origin.chat.as_ref());
    let name = match (&origin.sender_user, &origin.sender_user_name, chat) {
        (Some(user), ..) => author(user).name,
        (None, Some(name), _) => name.clone(),
        (None, None, Some(chat)) => author_of_chat(chat).name,
        (None, None, None) => return content,
    };
    let name = Node::of(NodeType::Bold, vec![Node::text(format!("{name}:"))]);
    let first = Node::of(NodeType::Paragraph, vec![name]);
    vec![Node::of(NodeType::Quote, [first].into_iter().chain(content).collect())]
}

fn file(name: &str, media: Media) -> File {
    File {
        id: media.file_id,
        name: media.file_name.unwrap_or_else(|| name.to_owned()),
        media_type: media.mime_type,
        size: media.file_size,
        url: None,
    }
}

/// What a room can show only in words.
fn in_words(message: &Message) -> Vec<Node> {
    let mut lines = Vec::new();
    if let Some(emoji) = message.sticker.as_ref().and_then(|sticker| sticker.emoji.clone()) {
        lines.push(emoji);
    }
    if let Some(Poll { question, options }) = &message.poll {
        lines.push(format!("📊 {question}"));
        lines.extend(options.iter().map(|option| format!("• {}", option.text)));
    }
    if let Some(venue) = &message.venue {
        lines.push(format!("📍 {}, {}", venue.title, venue.address));
    }
    if let Some(location) = &message.location {
        lines.push(format!("📍 {}, {}", location.latitude, location.longitude));
    }
    if let Some(contact) = &message.contact {
        lines.push(format!("👤 {} {}", contact.first_name, contact.phone_number));
    }
    if let Some(dice) = &message.dice {
        lines.push(format!("{} {}", dice.emoji, dice.value));
    }
    for (sign, titled) in [("🎮", &message.game), ("🧾", &message.invoice)] {
        if let Some(titled) = titled {
            lines.push(format!("{sign} {} {}", titled.title, titled.description));
        }
    }
    if let Some(list) = &message.checklist {
        lines.push(format!("☑ {}", list.title));
        let sign = |task: &Task| if task.completion_date.is_some() { "☑" } else { "☐" };
        lines.extend(list.tasks.iter().map(|task| format!("{} {}", sign(task), task.text)));
    }
    if message.story.is_some() {
        lines.push("[a story]".to_owned());
    }
    if message.paid_media.is_some() {
        lines.push("[paid media]".to_owned());
    }
    if lines.is_empty() {
        return Vec::new();
    }
    let mut children = Vec::new();
    for line in lines {
        if !children.is_empty() {
            children.push(Node::empty(NodeType::LineBreak));
        }
        children.push(Node::text(line));
    }
    vec![Node::of(NodeType::Paragraph, children)]
}

fn of_reaction(reaction: MessageReaction) -> Inbound {
    let author = match (&reaction.user, &reaction.actor_chat) {
        (Some(user), _) => author(user),
        (None, Some(chat)) => author_of_chat(chat),
        (None, None) => author_of_chat(&reaction.chat),
    };
    let emoji = reaction.new_reaction.into_iter().filter_map(|reaction| {
        let custom = reaction.custom_emoji_id.map(|id| format!("{EMOJI_PREFIX}{id}"));
        reaction.emoji.or(custom)
    });
    Inbound::Reactions {
        place: Place {
            workspace: String::new(),
            channel: reaction.chat.id.to_string(),
            thread: None,
        },
        message: reaction.message_id.to_string(),
        author,
        emoji: emoji.collect(),
    }
}

//! A Gateway event, an interaction or a message object as what happened
//! (docs.discord.com/developers/events/gateway-events).

use std::collections::HashMap;

use schemas::content::{Node, NodeType};
use serde::Deserialize;
use serde_json::Value;

use super::{
    custom_emoji,
    markdown::from_markdown,
    objects::{
        Attachment, Channel, Deleted, Embed, EmbedField, Emoji, Interaction, Member, Payload, Poll,
        PollAnswer, Posted, Reacted, Reference, Snapshot, Sticker, Typing, User,
    },
};
use crate::{
    Author, Inbound, Names, Place,
    card::{Card, Field},
    message::{File, Known, Message, Reaction, paragraph},
};

/// What a payload says.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// Discord asks whether an interactions endpoint is ours; the answer is a pong.
    Ping,
    /// An event.
    Event {
        /// The interaction's own id; the Gateway numbers its events within a session.
        id: Option<String>,
        /// What happened.
        inbound: Vec<Inbound>,
    },
}

/// The bytes are no payload.
#[derive(Debug, thiserror::Error)]
#[error("this is no payload of Discord: {0}")]
pub struct ParseError(#[from] serde_json::Error);

/// The right to administer a server, in `permissions`.
const ADMINISTRATOR: u64 = 1 << 3;
/// The right to manage its channels.
const MANAGE_CHANNELS: u64 = 1 << 4;

/// Reads a payload: of the Gateway, of an interactions endpoint, or a message object by itself.
///
/// # Errors
/// If it is no JSON object. What means nothing for a room is [`Inbound::Unsupported`].
pub fn parse(payload: &[u8], names: &dyn Names) -> Result<Parsed, ParseError> {
    let object: serde_json::Map<String, Value> = serde_json::from_slice(payload)?;
    let has = |key: &str| object.contains_key(key);
    let (is_dispatch, is_interaction) = (has("op"), has("application_id") && has("token"));
    let says = ["content", "embeds", "components", "attachments", "poll", "message_snapshots"];
    let is_ping = is_interaction && object.get("type").is_some_and(|kind| *kind == 1);
    let is_message = says.into_iter().any(has);
    let value = Value::Object(object);
    let event = |id, inbound| Parsed::Event { id, inbound };
    if is_dispatch {
        let Payload { op, t, d } = Payload::deserialize(value)?;
        return Ok(match (op, t) {
            (Some(0), Some(name)) => event(None, of_dispatch(&name, d, names)),
            (op, _) => {
                let what = format!("gateway opcode {}", op.unwrap_or(-1));
                event(None, vec![Inbound::Unsupported(what)])
            }
        });
    }
    if is_ping {
        return Ok(Parsed::Ping);
    }
    if is_interaction {
        let inbound = read("interaction", value.clone(), |interaction: Interaction| {
            Some(vec![of_interaction(interaction)])
        });
        return Ok(event(value["id"].as_str().map(str::to_owned), inbound));
    }
    if is_message {
        return Ok(event(None, of_dispatch("MESSAGE_CREATE", value, names)));
    }
    let keys = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
    let keys: Vec<_> = keys.take(4).collect();
    let what = format!("object with {}", keys.join(", "));
    Ok(event(None, vec![Inbound::Unsupported(what)]))
}

/// Reads what an event holds; names the event if it cannot be read or says nothing.
fn read<T: for<'de> Deserialize<'de>>(
    name: &str,
    data: Value,
    then: impl FnOnce(T) -> Option<Vec<Inbound>>,
) -> Vec<Inbound> {
    match T::deserialize(data) {
        Ok(data) => then(data)
            .unwrap_or_else(|| vec![Inbound::Unsupported(format!("{name} without what it needs"))]),
        Err(error) => vec![Inbound::Unreadable(format!("{name} that cannot be read: {error}"))],
    }
}

fn of_dispatch(name: &str, data: Value, names: &dyn Names) -> Vec<Inbound> {
    match name {
        "MESSAGE_CREATE" => read(name, data, |posted| of_message(posted, names)),
        "MESSAGE_UPDATE" => read(name, data, |posted: Posted| {
            // Where there is no time only a preview came: nobody edited anything.
            let is_preview = posted.edited_timestamp == Some(Value::Null);
            posted.content.as_ref().filter(|_| !is_preview)?;
            said(posted, names).map(|message| vec![Inbound::Edited(message)])
        }),
        "MESSAGE_DELETE" | "MESSAGE_DELETE_BULK" => read(name, data, |deleted: Deleted| {
            let place = place(deleted.guild_id, deleted.channel_id);
            let gone = |message| Inbound::Deleted { place: place.clone(), message };
            Some(deleted.id.into_iter().chain(deleted.ids).map(gone).collect())
        }),
        "MESSAGE_REACTION_ADD" => read(name, data, |reacted| reaction(reacted, Reaction::Added)),
        "MESSAGE_REACTION_REMOVE" => {
            read(name, data, |reacted| reaction(reacted, Reaction::Removed))
        }
        "TYPING_START" => read(name, data, |typing: Typing| {
            let author = author_of(typing.member, typing.user_id);
            let place = place(typing.guild_id, typing.channel_id);
            Some(vec![Inbound::Typing { place, author }])
        }),
        "CHANNEL_UPDATE" => read(name, data, |channel: Channel| {
            let place = place(channel.guild_id, channel.id);
            Some(vec![Inbound::Titled { place, title: channel.name? }])
        }),
        "CHANNEL_DELETE" => read(name, data, |channel: Channel| {
            Some(vec![Inbound::Gone { place: place(channel.guild_id, channel.id) }])
        }),
        "INTERACTION_CREATE" => {
            read(name, data, |interaction| Some(vec![of_interaction(interaction)]))
        }
        other => vec![Inbound::Unsupported(format!("event {other}"))],
    }
}

fn place(guild: Option<String>, channel: String) -> Place {
    Place { workspace: guild.unwrap_or_default(), channel, thread: None }
}

fn name_of(user: &User, nick: Option<&str>) -> String {
    let name = nick.or(user.global_name.as_deref()).unwrap_or(&user.username);
    if name.is_empty() { user.id.clone() } else { name.to_owned() }
}

fn author_of(member: Option<Member>, id: String) -> Author {
    let Some(member) = member else { return Author { name: id.clone(), id, is_bot: false } };
    let nick = member.nick.as_deref();
    match &member.user {
        Some(user) => Author { name: name_of(user, nick), id, is_bot: user.bot },
        None => Author { name: nick.map_or_else(|| id.clone(), str::to_owned), id, is_bot: false },
    }
}

impl Posted {
    fn author(&self) -> Author {
        let nick = self.member.as_ref().and_then(|member| member.nick.as_deref());
        match &self.author {
            Some(user) => Author {
                id: self.webhook_id.clone().unwrap_or_else(|| user.id.clone()),
                name: name_of(user, nick),
                is_bot: user.bot || self.webhook_id.is_some(),
            },
            None => {
                let id = self.webhook_id.clone().unwrap_or_default();
                Author { name: id.clone(), id, is_bot: self.webhook_id.is_some() }
            }
        }
    }
}

/// Message types are numbers (docs.discord.com/developers/resources/message#message-object-message-types).
fn of_message(posted: Posted, names: &dyn Names) -> Option<Vec<Inbound>> {
    let here = |posted: &Posted| {
        Some(place(posted.guild_id.clone(), posted.channel_id.clone().unwrap_or_default()))
    };
    let author = posted.author();
    Some(vec![match posted.kind {
        // Default, reply, the answer to a command, the message that opens a thread.
        0 | 19 | 20 | 21 | 23 => Inbound::Posted(said(posted, names)?),
        4 => Inbound::Titled { place: here(&posted)?, title: posted.content? },
        6 => Inbound::Pinned {
            place: here(&posted)?,
            message: posted.message_reference?.message_id?,
            author,
        },
        7 => Inbound::Joined { place: here(&posted)?, author },
        other => Inbound::Unsupported(format!("system message of type {other}")),
    }])
}

fn said(posted: Posted, names: &dyn Names) -> Option<Message> {
    let author = posted.author();
    let shown: HashMap<String, String> = posted
        .mentions
        .iter()
        .map(|mentioned| {
            let nick = mentioned.member.as_ref().and_then(|member| member.nick.as_deref());
            (mentioned.user.id.clone(), name_of(&mentioned.user, nick))
        })
        .chain(
            posted.mention_channels.into_iter().filter_map(|known| Some((known.id, known.name?))),
        )
        .collect();
    let names = &Known { names, shown };
    let mut content = from_markdown(posted.content.as_deref().unwrap_or_default(), names);
    let mut files: Vec<File> = posted.attachments.into_iter().map(File::from).collect();
    let mut reply_to = None;
    match posted.message_reference {
        Some(Reference { kind: 0, message_id }) => reply_to = message_id,
        Some(_forwarded) => {}
        None => {}
    }
    for Snapshot { message } in posted.message_snapshots {
        let mut quoted = from_markdown(&message.content, names);
        quoted.extend(message.embeds.into_iter().map(|embed| embed.card(names)));
        content.push(Node::of(NodeType::Quote, quoted));
        files.extend(message.attachments.into_iter().map(File::from));
    }
    content.extend(posted.embeds.into_iter().map(|embed| embed.card(names)));
    for component in &posted.components {
        of_component(&mut content, component, names, 0);
    }
    for Sticker { id, name } in posted.sticker_items.into_iter().chain(posted.stickers) {
        let url = format!("https://media.discordapp.net/stickers/{id}.webp");
        let link = Node::of(NodeType::Link, vec![Node::text(format!("[sticker {name}]"))]);
        content.push(paragraph(vec![Node { url: Some(url), ..link }]));
    }
    if let Some(poll) = posted.poll {
        content.extend(poll.content());
    }
    Some(Message {
        id: posted.id,
        place: place(posted.guild_id, posted.channel_id.unwrap_or_default()),
        author,
        content,
        reply_to,
        files,
    })
}

impl Poll {
    fn content(self) -> Vec<Node> {
        let item = |answer: PollAnswer| {
            let text = Node::text(answer.poll_media.text.unwrap_or_default());
            Node::of(NodeType::ListItem, vec![paragraph(vec![text])])
        };
        let question = Node::text(format!("📊 {}", self.question.text.unwrap_or_default()));
        let mut content = vec![paragraph(vec![Node::of(NodeType::Bold, vec![question])])];
        let items: Vec<_> = self.answers.into_iter().map(item).collect();
        if !items.is_empty() {
            content.push(Node { ordered: Some(false), ..Node::of(NodeType::List, items) });
        }
        content
    }
}

impl Embed {
    fn card(self, names: &dyn Names) -> Node {
        let field = |field: EmbedField| Field {
            name: field.name,
            value: from_markdown(&field.value, names),
        };
        Card {
            title: self.title.unwrap_or_default(),
            url: self.url,
            author: self.author.and_then(|author| author.name),
            content: from_markdown(self.description.as_deref().unwrap_or_default(), names),
            fields: self.fields.into_iter().map(field).collect(),
            picture: self.image.and_then(|image| image.url),
            footer: self.footer.map(|footer| footer.text),
        }
        .into_node()
    }
}

/// Components that say something (docs.discord.com/developers/components/reference); buttons and
/// the like cannot be used from elsewhere and are named.
fn of_component(content: &mut Vec<Node>, component: &Value, names: &dyn Names, depth: usize) {
    let inner = component["components"].as_array().into_iter().flatten();
    let text = |key: &str| component[key].as_str().unwrap_or_default().to_owned();
    match component["type"].as_i64() {
        // An action row, a section, a container.
        Some(1 | 9 | 17) if depth < 8 => {
            for component in inner {
                of_component(content, component, names, depth + 1);
            }
        }
        Some(10) => content.extend(from_markdown(&text("content"), names)),
        Some(12) => {
            for item in component["items"].as_array().into_iter().flatten() {
                let url = item["media"]["url"].as_str().unwrap_or_default();
                let shown = item["description"].as_str().unwrap_or(url);
                let link = Node::of(NodeType::Link, vec![Node::text(shown)]);
                content.push(paragraph(vec![Node { url: Some(url.to_owned()), ..link }]));
            }
        }
        Some(14) => {}
        Some(2) => {
            let what = format!("[button {}]", text("label"));
            let node = Node { text: Some(what), ..Node::empty(NodeType::Unsupported) };
            content.push(paragraph(vec![node]));
        }
        kind => {
            let what = format!("[component {}]", kind.unwrap_or(0));
            let node = Node { text: Some(what), ..Node::empty(NodeType::Unsupported) };
            content.push(paragraph(vec![node]));
        }
    }
}

impl From<Attachment> for File {
    fn from(attachment: Attachment) -> Self {
        Self {
            name: attachment.filename.unwrap_or_else(|| attachment.id.clone()),
            id: attachment.id,
            media_type: attachment.content_type,
            size: attachment.size,
            url: attachment.url,
        }
    }
}

fn reaction(reacted: Reacted, change: Reaction) -> Option<Vec<Inbound>> {
    let place = place(reacted.guild_id, reacted.channel_id);
    let emoji = match reacted.emoji? {
        Emoji { id: Some(id), name, animated } => {
            let kind = if animated { "gif" } else { "webp" };
            let node = custom_emoji(&name.unwrap_or_default(), &id, kind);
            format!("{}:{id}", node.target.unwrap_or_default())
        }
        Emoji { id: None, name, .. } => name?,
    };
    let (message, author) = (reacted.message_id, author_of(reacted.member, reacted.user_id?));
    Some(vec![match change {
        Reaction::Added => Inbound::Reacted { place, message, author, emoji },
        Reaction::Removed => Inbound::Unreacted { place, message, author, emoji },
    }])
}

fn of_interaction(interaction: Interaction) -> Inbound {
    let name = interaction.data["name"].as_str();
    let (Some(name), Some(channel), 2) = (name, interaction.channel_id, interaction.kind) else {
        return Inbound::Unsupported(format!(
            "interaction {} of type {}",
            interaction.id, interaction.kind
        ));
    };
    let options = interaction.data["options"].as_array().into_iter().flatten();
    let arguments: Vec<_> = options
        .filter_map(|option| match &option["value"] {
            Value::String(text) => Some(text.clone()),
            Value::Null => option["name"].as_str().map(str::to_owned),
            other => Some(other.to_string()),
        })
        .collect();
    let permissions = interaction.member.as_ref().and_then(|member| member.permissions.as_ref());
    let permissions: u64 = permissions.and_then(|bits| bits.parse().ok()).unwrap_or(0);
    let user = interaction.user.map(|user| (user.id.clone(), name_of(&user, None)));
    let author = match (interaction.member, user) {
        (Some(member), _) => {
            let id = member.user.as_ref().map(|user| user.id.clone()).unwrap_or_default();
            author_of(Some(member), id)
        }
        (None, Some((id, name))) => Author { id, name, is_bot: false },
        (None, None) => Author { id: String::new(), name: String::new(), is_bot: false },
    };
    Inbound::Asked {
        place: place(interaction.guild_id, channel),
        author,
        text: [name.to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" "),
        is_admin: permissions & (ADMINISTRATOR | MANAGE_CHANNELS) != 0,
    }
}

#[cfg(test)]
mod tests;

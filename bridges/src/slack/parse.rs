//! An Events API payload as what happened (docs.slack.dev/reference/events).

use std::collections::BTreeSet;

use schemas::content::{Node, NodeType};
use serde::Deserialize;
use serde_json::Value;

use super::{
    mrkdwn::from_mrkdwn,
    rich_text::{from_blocks, is_known},
};
use crate::{
    Author, Inbound, Names, Place,
    card::{self, Card, Field},
    message::{File, Message},
};

/// What a payload says.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// Slack asks whether this is ours: the challenge is the answer.
    Challenge(String),
    /// An event.
    Event {
        /// By which it is known when it comes again.
        id: Option<String>,
        /// What happened.
        inbound: Vec<Inbound>,
    },
    /// Events are not sent for a while, because there were too many.
    RateLimited,
}

/// The bytes are no payload.
#[derive(Debug, thiserror::Error)]
#[error("this is no payload of Slack: {0}")]
pub struct ParseError(#[from] serde_json::Error);

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    Message(Box<Posted>),
    ReactionAdded(Reacted),
    ReactionRemoved(Reacted),
    PinAdded(Pinned),
    PinRemoved(Pinned),
    ChannelRename {
        channel: Renamed,
    },
    ChannelDeleted {
        channel: String,
    },
    ChannelArchive {
        channel: String,
    },
    AppMention(Box<Posted>),
    MemberJoinedChannel(Member),
    MemberLeftChannel(Member),
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Posted {
    subtype: Option<String>,
    #[serde(default)]
    channel: Channel,
    user: Option<String>,
    username: Option<String>,
    bot_id: Option<String>,
    ts: Option<String>,
    thread_ts: Option<String>,
    #[serde(default)]
    text: String,
    #[serde(default)]
    blocks: Vec<Value>,
    #[serde(default)]
    attachments: Vec<Attachment>,
    #[serde(default)]
    files: Vec<SlackFile>,
    message: Option<Box<Posted>>,
    deleted_ts: Option<String>,
    topic: Option<String>,
    name: Option<String>,
}

/// The id of a channel, or the channel itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Channel {
    Id(String),
    Whole { id: String },
}

impl Default for Channel {
    fn default() -> Self {
        Self::Id(String::new())
    }
}

impl Channel {
    fn id(&self) -> &str {
        match self {
            Self::Id(id) | Self::Whole { id } => id,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Attachment {
    #[serde(default)]
    fallback: String,
    #[serde(default)]
    pretext: String,
    #[serde(default)]
    text: String,
    author_name: Option<String>,
    #[serde(default)]
    fields: Vec<AttachmentField>,
    image_url: Option<String>,
    footer: Option<String>,
    title: Option<String>,
    title_link: Option<String>,
    #[serde(default)]
    blocks: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct AttachmentField {
    #[serde(default)]
    title: String,
    #[serde(default)]
    value: String,
}

/// A stub has only its id.
#[derive(Debug, Deserialize)]
struct SlackFile {
    id: String,
    name: Option<String>,
    mimetype: Option<String>,
    size: Option<u64>,
    url_private: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Reacted {
    user: String,
    reaction: String,
    item: Item,
}

#[derive(Debug, Deserialize)]
struct Member {
    user: String,
    channel: String,
}

impl Member {
    fn place_and_author(self, team: String) -> (Place, Author) {
        let place = Place { workspace: team, channel: self.channel, thread: None };
        (place, person(self.user))
    }
}

#[derive(Debug, Deserialize)]
struct Renamed {
    id: String,
    name: String,
}

impl Renamed {
    fn titled(self, team: String) -> Option<Inbound> {
        let place = Place { workspace: team, channel: self.id, thread: None };
        Some(Inbound::Titled { place, title: self.name })
    }
}

#[derive(Debug, Deserialize)]
struct Pinned {
    user: String,
    item: Item,
}

#[derive(Debug, Deserialize)]
struct Item {
    channel: Option<String>,
    ts: Option<String>,
    message: Option<Stamped>,
}

#[derive(Debug, Deserialize)]
struct Stamped {
    ts: String,
}

/// Reads a payload: of the Events API, of Socket Mode, a slash command, or an event or message by
/// itself.
///
/// # Errors
/// If it is no JSON object. What means nothing for a room is [`Inbound::Unsupported`].
pub fn parse(payload: &[u8], names: &dyn Names) -> Result<Parsed, ParseError> {
    let object: serde_json::Map<String, Value> = serde_json::from_slice(payload)?;
    let mut payload = Value::Object(object);
    // An envelope of Socket Mode holds what would come over HTTP.
    if payload["envelope_id"].is_string() && payload["payload"].is_object() {
        payload = payload["payload"].take();
    }
    let text = |key: &str| payload[key].as_str().map(str::to_owned);
    let kind = text("type").unwrap_or_default();
    let team = text("team_id").or_else(|| text("team")).unwrap_or_default();
    let (id, event) = match kind.as_str() {
        "url_verification" => {
            return Ok(Parsed::Challenge(text("challenge").unwrap_or_default()));
        }
        "app_rate_limited" => return Ok(Parsed::RateLimited),
        "event_callback" => (text("event_id"), payload["event"].take()),
        _by_itself => (None, payload),
    };
    let asked = asked(&event, &team);
    Ok(Parsed::Event { id, inbound: vec![asked.unwrap_or_else(|| of_event(&event, team, names))] })
}

/// The most users of a payload whose names are asked for.
const MENTIONED_MOST: usize = 20;

/// The ids of users that a payload mentions, in its text (`<@U012>`) or in its blocks.
pub(crate) fn mentioned(payload: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(payload);
    let marks = ["<@", "\"user_id\":\"", "\"user_id\": \""];
    let behind = marks.iter().flat_map(|mark| text.split(mark).skip(1));
    let ids = behind.filter_map(|rest| {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
        // Users begin with U, those of other workspaces with W.
        Some(&rest[..end]).filter(|id| id.starts_with(['U', 'W']) && id.len() > 1)
    });
    ids.take(MENTIONED_MOST).map(str::to_owned).collect()
}

fn of_event(event: &Value, team: String, names: &dyn Names) -> Inbound {
    // A message as the Web API gives or takes it has no type.
    let says = ["ts", "blocks", "attachments", "text"];
    let says_something = says.iter().any(|key| !event[key].is_null());
    let is_message = event["type"].is_null() && says_something;
    let kind =
        event["type"].as_str().unwrap_or(if is_message { "message" } else { "without a type" });
    let read = match (is_message, Event::deserialize(event)) {
        (true, _) => match Posted::deserialize(event) {
            Ok(posted) => of_message(posted, &team, names),
            Err(error) => return unreadable(kind, &error),
        },
        (false, Ok(Event::Message(posted))) => of_message(*posted, &team, names),
        (false, Ok(Event::ReactionAdded(reacted))) => reaction(reacted, team, Change::Added),
        (false, Ok(Event::ReactionRemoved(reacted))) => reaction(reacted, team, Change::Removed),
        (false, Ok(Event::PinAdded(pinned))) => pin(pinned, team, Change::Added),
        (false, Ok(Event::PinRemoved(pinned))) => pin(pinned, team, Change::Removed),
        (false, Ok(Event::ChannelRename { channel })) => channel.titled(team),
        (false, Ok(Event::ChannelDeleted { channel } | Event::ChannelArchive { channel })) => {
            Some(Inbound::Gone { place: Place { workspace: team, channel, thread: None } })
        }
        (false, Ok(Event::Other)) if is_known(event) => {
            // A block by itself is what a message with nothing else says.
            let alone = serde_json::json!({"blocks": [event]});
            Posted::deserialize(alone).ok().and_then(|posted| of_message(posted, &team, names))
        }
        // It comes as a message too, under the same `ts`, so a room has it once.
        (false, Ok(Event::AppMention(posted))) => of_message(*posted, &team, names),
        (false, Ok(Event::MemberJoinedChannel(member))) => {
            let (place, author) = member.place_and_author(team);
            Some(Inbound::Joined { place, author })
        }
        (false, Ok(Event::MemberLeftChannel(member))) => {
            let (place, author) = member.place_and_author(team);
            Some(Inbound::Left { place, author })
        }
        (false, Ok(Event::Other)) => None,
        (false, Err(error)) if !event["type"].is_null() => return unreadable(kind, &error),
        (false, Err(_)) => None,
    };
    let subtype =
        event["subtype"].as_str().map(|subtype| format!(" {subtype}")).unwrap_or_default();
    read.unwrap_or_else(|| Inbound::Unsupported(format!("event {kind}{subtype}")))
}

fn unreadable(kind: &str, error: &serde_json::Error) -> Inbound {
    Inbound::Unreadable(format!("event {kind} that cannot be read: {error}"))
}

/// A slash command (docs.slack.dev/interactivity/implementing-slash-commands). It says nothing about
/// who may administer the channel.
fn asked(payload: &Value, team: &str) -> Option<Inbound> {
    let text = |key: &str| payload[key].as_str();
    let (command, user) = (text("command")?, text("user_id")?);
    let place =
        Place { workspace: team.to_owned(), channel: text("channel_id")?.to_owned(), thread: None };
    let name = text("user_name").unwrap_or(user).to_owned();
    let author = Author { id: user.to_owned(), name, is_bot: false };
    let said = format!("{} {}", command.trim_start_matches('/'), text("text").unwrap_or_default());
    Some(Inbound::Asked { place, author, text: said.trim().to_owned(), is_admin: false })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Added,
    Removed,
}

fn person(id: String) -> Author {
    Author { name: id.clone(), id, is_bot: false }
}

impl Posted {
    fn place(&self, team: &str) -> Place {
        // The message that opens a thread names itself.
        let thread = self.thread_ts.clone().filter(|thread| Some(thread) != self.ts.as_ref());
        Place { workspace: team.to_owned(), channel: self.channel.id().to_owned(), thread }
    }

    fn author(&self) -> Author {
        let bot = self.bot_id.clone();
        let id = bot.clone().or_else(|| self.user.clone()).unwrap_or_default();
        let name = self.username.clone().unwrap_or_else(|| id.clone());
        Author { id, name, is_bot: bot.is_some() }
    }

    fn content(&self, names: &dyn Names) -> Vec<Node> {
        let mut content = if self.blocks.is_empty() {
            from_mrkdwn(&self.text, names)
        } else {
            from_blocks(&self.blocks, names)
        };
        content.extend(self.attachments.iter().map(|attachment| attachment.card(names)));
        content
    }

    fn said(self, team: &str, names: &dyn Names) -> Message {
        Message {
            id: self.ts.clone().unwrap_or_default(),
            place: self.place(team),
            author: self.author(),
            content: self.content(names),
            reply_to: None,
            files: self.files.into_iter().map(File::from).collect(),
        }
    }
}

impl Attachment {
    fn card(&self, names: &dyn Names) -> Node {
        if !self.blocks.is_empty() {
            return card::of_blocks(from_blocks(&self.blocks, names));
        }
        let mut content = from_mrkdwn(&self.pretext, names);
        content.extend(from_mrkdwn(&self.text, names));
        let field = |field: &AttachmentField| Field {
            name: field.title.clone(),
            value: from_mrkdwn(&field.value, names),
        };
        let card = Card {
            title: self.title.clone().unwrap_or_default(),
            url: self.title_link.clone(),
            author: self.author_name.clone(),
            content,
            fields: self.fields.iter().map(field).collect(),
            picture: self.image_url.clone(),
            footer: self.footer.clone(),
        };
        let node = card.into_node();
        if node.text.is_none() && node.children.is_empty() {
            return Node::of(NodeType::Card, from_mrkdwn(&self.fallback, names));
        }
        node
    }
}

impl From<SlackFile> for File {
    fn from(file: SlackFile) -> Self {
        Self {
            name: file.name.unwrap_or_else(|| file.id.clone()),
            id: file.id,
            media_type: file.mimetype,
            size: file.size,
            url: file.url_private,
        }
    }
}

fn of_message(mut posted: Posted, team: &str, names: &dyn Names) -> Option<Inbound> {
    match posted.subtype.as_deref() {
        None | Some("bot_message" | "me_message" | "file_share" | "thread_broadcast") => {
            Some(Inbound::Posted(posted.said(team, names)))
        }
        Some("message_changed") => {
            let mut changed = *posted.message?;
            // What opened a thread leaves a mark where it was.
            if changed.subtype.as_deref() == Some("tombstone") {
                let place = posted_place(&posted.channel, team);
                return Some(Inbound::Deleted { place, message: changed.ts? });
            }
            changed.channel = posted.channel;
            Some(Inbound::Edited(changed.said(team, names)))
        }
        Some("message_deleted") => {
            let message = posted.deleted_ts.take()?;
            Some(Inbound::Deleted { place: posted.place(team), message })
        }
        Some("channel_join" | "group_join") => {
            Some(Inbound::Joined { place: posted.place(team), author: posted.author() })
        }
        Some("channel_leave" | "group_leave") => {
            Some(Inbound::Left { place: posted.place(team), author: posted.author() })
        }
        Some("channel_topic" | "group_topic") => {
            let title = posted.topic.take()?;
            Some(Inbound::Titled { place: posted.place(team), title })
        }
        Some("channel_name" | "group_name") => {
            let title = posted.name.take()?;
            Some(Inbound::Titled { place: posted.place(team), title })
        }
        Some(_) => None,
    }
}

fn posted_place(channel: &Channel, team: &str) -> Place {
    Place { workspace: team.to_owned(), channel: channel.id().to_owned(), thread: None }
}

fn reaction(reacted: Reacted, team: String, change: Change) -> Option<Inbound> {
    let place = Place { workspace: team, channel: reacted.item.channel?, thread: None };
    let (message, author, emoji) = (reacted.item.ts?, person(reacted.user), reacted.reaction);
    Some(match change {
        Change::Added => Inbound::Reacted { place, message, author, emoji },
        Change::Removed => Inbound::Unreacted { place, message, author, emoji },
    })
}

fn pin(pinned: Pinned, team: String, change: Change) -> Option<Inbound> {
    let place = Place { workspace: team, channel: pinned.item.channel?, thread: None };
    let author = person(pinned.user);
    let message = pinned.item.message.map(|message| message.ts).or(pinned.item.ts)?;
    Some(match change {
        Change::Added => Inbound::Pinned { place, message, author },
        Change::Removed => Inbound::Unpinned { place, message, author },
    })
}

#[cfg(test)]
mod tests;

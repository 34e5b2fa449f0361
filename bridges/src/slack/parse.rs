//! An Events API payload as what happened (docs.slack.dev/reference/events).

use schemas::content::Node;
use serde::Deserialize;
use serde_json::Value;

use super::{mrkdwn::from_mrkdwn, rich_text::from_blocks};
use crate::{
    Author, Inbound, Names, Place,
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
        id: String,
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
enum Payload {
    UrlVerification { challenge: String },
    EventCallback { team_id: Option<String>, event_id: String, event: Value },
    AppRateLimited {},
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    Message(Box<Posted>),
    ReactionAdded(Reacted),
    ReactionRemoved(Reacted),
    PinAdded(Pinned),
    PinRemoved(Pinned),
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Posted {
    subtype: Option<String>,
    channel: Option<String>,
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

#[derive(Debug, Deserialize)]
struct Attachment {
    #[serde(default)]
    fallback: String,
    #[serde(default)]
    text: String,
    title: Option<String>,
    title_link: Option<String>,
    #[serde(default)]
    blocks: Vec<Value>,
}

/// A stub has only its id.
#[derive(Debug, Deserialize)]
struct SlackFile {
    id: String,
    name: Option<String>,
    mimetype: Option<String>,
    size: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Reacted {
    user: String,
    reaction: String,
    item: Item,
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

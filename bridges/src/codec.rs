//! The four platforms behind one pair of functions: what a payload becomes, and what a message
//! becomes.

use schemas::{
    board::Attachment,
    content::{Node, from_markdown},
    room::Platform,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Inbound, Names, discord, slack, teams, telegram};

/// What a platform sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    /// By which it is known when it comes again, where the platform has such a thing.
    pub id: Option<String>,
    /// What must be answered at once: Slack's challenge, Discord's ping.
    pub answer: Option<Value>,
    /// What happened.
    pub inbound: Vec<Inbound>,
    /// Where answers go, at Teams.
    pub service_url: Option<String>,
}

/// The bytes are no payload of the platform.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Not Slack's.
    #[error(transparent)]
    Slack(#[from] slack::ParseError),
    /// Not Teams'.
    #[error(transparent)]
    Teams(#[from] teams::ParseError),
    /// Not Discord's.
    #[error(transparent)]
    Discord(#[from] discord::ParseError),
    /// Not Telegram's.
    #[error(transparent)]
    Telegram(#[from] telegram::ParseError),
}

/// Reads a payload.
///
/// # Errors
/// If it is none.
pub fn parse(platform: Platform, payload: &[u8], names: &dyn Names) -> Result<Payload, ParseError> {
    let read = |id, inbound| Payload { id, answer: None, inbound, service_url: None };
    Ok(match platform {
        Platform::Slack => match slack::parse(payload, names)? {
            slack::Parsed::Challenge(challenge) => {
                Payload { answer: Some(json!({"challenge": challenge})), ..read(None, Vec::new()) }
            }
            slack::Parsed::RateLimited => {
                let what = "app_rate_limited: events are left out for a minute";
                read(None, vec![Inbound::Unsupported(what.to_owned())])
            }
            slack::Parsed::Event { id, inbound } => read(id, inbound),
        },
        Platform::Teams => {
            let teams::Parsed { id, service_url, inbound } = teams::parse(payload, names)?;
            Payload { service_url, ..read(id, inbound) }
        }
        Platform::Discord => match discord::parse(payload, names)? {
            discord::Parsed::Ping => {
                Payload { answer: Some(json!({"type": 1})), ..read(None, Vec::new()) }
            }
            discord::Parsed::Event { id, inbound } => read(id, inbound),
        },
        Platform::Telegram => {
            let telegram::Parsed { update, inbound } = telegram::parse(payload, names)?;
            read(update.map(|update| update.to_string()), inbound)
        }
    })
}

/// A message to be written for a platform.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outgoing {
    /// The name under which it is shown.
    pub author: Option<String>,
    /// What it says, as a tree.
    pub content: Vec<Node>,
    /// What it says, as Markdown, where there is no tree.
    pub text: Option<String>,
    /// The channel's id on the platform; Telegram's is a number.
    pub channel: String,
    /// The thread's id on the platform.
    pub thread: Option<String>,
    /// The platform's id of the message that it answers.
    pub reply_to: Option<String>,
    /// The platform's ids of its parts, if it is there already and is to be edited.
    pub known: Vec<String>,
    /// At Discord a webhook of the channel, as `id/token`.
    pub webhook: Option<String>,
    /// What the message is known by here.
    pub id: String,
}

/// A request to a platform's API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Call {
    /// The HTTP method.
    pub method: &'static str,
    /// The path behind the API's address.
    pub path: String,
    /// The body as JSON, `null` for none.
    pub body: Value,
    /// What is uploaded with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Attachment>,
}

impl Call {
    /// A call without a file.
    pub(crate) fn new(method: &'static str, path: String, body: Value) -> Self {
        Self { method, path, body, file: None }
    }
}

impl From<slack::Call> for Call {
    fn from(call: slack::Call) -> Self {
        Self::new("POST", call.method.to_owned(), call.arguments)
    }
}

impl From<telegram::Call> for Call {
    fn from(call: telegram::Call) -> Self {
        Self::new("POST", call.method.to_owned(), call.parameters)
    }
}

impl From<discord::Call> for Call {
    fn from(discord::Call { method, path, body }: discord::Call) -> Self {
        Self::new(method, path, body)
    }
}

impl From<teams::Call> for Call {
    fn from(teams::Call { method, path, body }: teams::Call) -> Self {
        Self::new(method, path, body)
    }
}

/// An id that the platform could not have given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {value:?} is no number, as Telegram's ids are")]
pub struct IdError {
    /// Which field.
    pub field: &'static str,
    /// What it holds.
    pub value: String,
}

fn number(field: &'static str, value: &str) -> Result<i64, IdError> {
    value.parse().map_err(|_| IdError { field, value: value.to_owned() })
}

/// Where the messages of a chat go on Telegram.
pub(crate) fn telegram_target(
    channel: &str,
    thread: Option<&str>,
) -> Result<telegram::Target, IdError> {
    let topic = thread.map(|thread| number("thread", thread)).transpose()?;
    Ok(telegram::Target { chat: number("channel", channel)?, topic })
}

/// The calls that post a message, or edit it where its parts are known.
///
/// # Errors
/// If an id cannot be the platform's.
pub fn render(
    platform: Platform,
    message: &Outgoing,
    names: &dyn Names,
) -> Result<Vec<Call>, IdError> {
    let read = message.text.as_deref().filter(|_| message.content.is_empty()).map(from_markdown);
    let content = read.as_deref().unwrap_or(&message.content);
    let (channel, thread) = (message.channel.as_str(), message.thread.as_deref());
    let (author, reply_to) = (message.author.as_deref(), message.reply_to.as_deref());
    let known: Vec<&str> = message.known.iter().map(String::as_str).collect();
    let is_new = known.is_empty();
    Ok(match platform {
        Platform::Slack => {
            // Slack has threads where others have answers.
            let target = slack::Target { channel, thread: thread.or(reply_to) };
            let calls = match is_new {
                true => slack::post(target, author, content, &message.id, names),
                false => slack::edit(target, &known, author, content, &message.id, names),
            };
            calls.into_iter().map(Call::from).collect()
        }
        Platform::Teams => {
            let target = teams::Target { channel, thread };
            let calls = match is_new {
                true => teams::post(target, author, content, reply_to, names),
                false => teams::edit(target, &known, author, content, names),
            };
            calls.into_iter().map(Call::from).collect()
        }
        Platform::Discord => {
            let webhook = message.webhook.as_deref();
            let target = discord::Target { channel, webhook, thread };
            let mark = message.id.as_str();
            let calls = match is_new {
                true => discord::post(target, author, content, reply_to, mark, names),
                false => discord::edit(target, &known, author, content, mark, names),
            };
            calls.into_iter().map(Call::from).collect()
        }
        Platform::Telegram => {
            let target = telegram_target(channel, thread)?;
            let reply_to = reply_to.map(|id| number("replyTo", id)).transpose()?;
            let known =
                known.iter().map(|id| number("known", id)).collect::<Result<Vec<_>, _>>()?;
            let calls = match is_new {
                true => telegram::post(target, author, content, reply_to, names),
                false => telegram::edit(target, &known, author, content, names),
            };
            calls.into_iter().map(Call::from).collect()
        }
    })
}

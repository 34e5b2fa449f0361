//! Slack: Events API payloads in (docs.slack.dev/apis/events-api), Web API calls out. Text is sent as
//! `rich_text` blocks, in which text is never markup, with an escaped `text` beside them for
//! notifications.

mod mrkdwn;
mod parse;
mod render;
mod rich_text;
mod verify;

pub use mrkdwn::{escape, from_mrkdwn};
pub(crate) use parse::mentioned;
pub use parse::{ParseError, Parsed, parse};
pub(crate) use render::marked;
pub use render::{Call, Target, delete, edit, post, react};
pub use rich_text::from_blocks;
pub use verify::{Refused, verify};

/// The longest text of a message in characters: posts may be longer, edits of those are refused
/// ("msg_too_long" of chat.update).
pub const TEXT_MOST: usize = 4_000;

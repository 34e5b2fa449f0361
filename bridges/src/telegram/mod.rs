//! Telegram's Bot API (core.telegram.org/bots/api): updates in, methods out. Text is always sent as
//! `text` with `entities`, never with `parse_mode`, so no text can become markup.

mod entity;
mod parse;
mod render;
mod update;

pub use entity::{Entity, EntityKind};
pub use parse::{ParseError, Parsed, parse};
pub use render::{Call, Target, delete, edit, post, react};

/// The longest text of a message, in UTF-16 code units ("sendMessage").
pub const TEXT_MOST: usize = 4_096;
/// The longest caption of a file, in UTF-16 code units ("sendPhoto").
pub const CAPTION_MOST: usize = 1_024;
/// The most entities that a message may have; Telegram passes over those behind them.
pub const ENTITIES_MOST: usize = 100;
/// The most messages that one `deleteMessages` takes.
pub const DELETES_MOST: usize = 100;

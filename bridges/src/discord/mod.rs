//! Discord (docs.discord.com): Gateway events and interactions in, HTTP calls out. Every call says
//! whom it may mention, so that no text can mention anybody.

mod markdown;
mod objects;
mod parse;
mod render;
mod verify;

pub use markdown::from_markdown;
pub use parse::{ParseError, Parsed, parse};
pub(crate) use render::nonce;
pub use render::{Call, Target, delete, edit, post, react};
use schemas::content::{Node, NodeType};
pub use verify::{Refused, verify};

/// The longest text of a message, in UTF-16 code units, which are never fewer than what Discord
/// counts ("Create Message").
pub const TEXT_MOST: usize = 2_000;
/// The longest name that a webhook may show, in characters ("Execute Webhook").
pub const NAME_MOST: usize = 80;

/// Stands between what would be a mention otherwise; nobody sees it.
const WORD_JOINER: char = '\u{2060}';
/// Keeps two marks apart that would be another one together; nobody sees it.
const APART: char = '\u{200b}';
/// Where the pictures of custom emoji are.
const EMOJI_ADDRESS: &str = "https://cdn.discordapp.com/emojis/";

/// The node of a custom emoji whose picture is a `webp` or `gif`.
fn custom_emoji(name: &str, id: &str, kind: &str) -> Node {
    Node {
        text: Some(format!(":{name}:")),
        url: Some(format!("{EMOJI_ADDRESS}{id}.{kind}")),
        ..Node::target(NodeType::Emoji, name)
    }
}

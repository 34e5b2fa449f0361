//! Microsoft Teams through the Bot Framework
//! (learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference):
//! activities in and out. Text is sent as the HTML subset of Teams (`textFormat: xml`), in which
//! everything foreign is escaped.

mod adaptive;
mod html;
mod parse;
mod render;
mod verify;

pub use adaptive::{of_adaptive, to_adaptive};
pub use html::{escape, from_html};
pub use parse::{ParseError, Parsed, parse};
pub use render::{Call, Target, delete, edit, post};
pub use verify::{Key, Refused, Webhook, kid_of, verify, verify_webhook};

/// The longest text of an activity with its mentions, in bytes: 100 KB an activity are taken, 80 are
/// advised ("Format your bot messages").
pub const TEXT_MOST: usize = 78_000;

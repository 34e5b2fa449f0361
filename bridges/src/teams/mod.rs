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

/// The longest activity, in bytes of UTF-16: 100 KB are taken, 80 are advised ("Format your bot
/// messages"); what is answered to goes beside it.
pub const ACTIVITY_MOST: usize = 78_000;

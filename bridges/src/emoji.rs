//! Emoji where a platform shows only characters.

use schemas::content::Node;

/// What stands for an emoji node in text: its own text, else the character of its name, else
/// `:name:`.
pub(crate) fn shown(node: &Node) -> String {
    let name = node.target.as_deref().unwrap_or_default();
    match (&node.text, emojis::get_by_shortcode(name)) {
        (Some(text), _) => text.clone(),
        (None, Some(emoji)) => emoji.as_str().to_owned(),
        (None, None) => format!(":{name}:"),
    }
}

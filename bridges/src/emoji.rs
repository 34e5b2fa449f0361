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

/// A reaction as a character: `tada` and `:tada:` are 🎉; what has no name stays.
pub(crate) fn character(reaction: &str) -> String {
    let name = reaction.trim_matches(':');
    // Slack says skin tones behind the name.
    let name = name.split("::").next().unwrap_or(name);
    emojis::get_by_shortcode(name)
        .map_or_else(|| reaction.to_owned(), |emoji| emoji.as_str().to_owned())
}

/// A reaction as a name: 🎉 is `tada`; what is none stays.
pub(crate) fn shortcode(reaction: &str) -> String {
    let named = emojis::get(reaction).and_then(|emoji| emoji.shortcode());
    named.map_or_else(|| reaction.trim_matches(':').to_owned(), str::to_owned)
}

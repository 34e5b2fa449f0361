//! What a message may say: its two forms, their bounds, and the word filter.

use std::collections::BTreeSet;

use schemas::{
    CommandId, ItemId, Rejection,
    board::Attachment,
    content::{DEEPEST, Node, NodeType, from_markdown, to_markdown},
};

use crate::domain::access::{check_count, check_optional_text, check_text};

/// Characters of a message, in either form.
pub(super) const MESSAGE_MOST: usize = 40_000;
/// Nodes of a message.
pub(super) const NODES_MOST: usize = 5_000;
/// Attachments of a message.
pub(super) const ATTACHMENTS_MOST: usize = 20;
/// Characters of an attachment's name.
const NAME_MOST: usize = 255;
/// Characters of an attachment's address.
const URL_MOST: usize = 2_048;
/// Characters of an attachment's media type (RFC 6838: twice 127 and the slash).
const MEDIA_TYPE_MOST: usize = 255;
/// Words of a filter.
pub(super) const FILTER_MOST: usize = 500;
/// Characters of a filtered word.
const WORD_MOST: usize = 64;

/// A message in both forms.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) text: String,
    pub(super) content: Vec<Node>,
}

/// Makes the other form of what was given. Exactly one must be.
pub(super) fn words(text: Option<&str>, content: Option<&[Node]>) -> Result<Words, Rejection> {
    match (text, content) {
        (Some(_), Some(_)) => {
            Err(Rejection::field("content", "must not be given together with text"))
        }
        (None, None) => Err(Rejection::field("text", "either text or content must be given")),
        (Some(text), None) => {
            check_text("text", text, MESSAGE_MOST)?;
            let content = from_markdown(text);
            check_tree("text", &content)?;
            Ok(Words { text: text.to_owned(), content })
        }
        (None, Some(content)) => {
            check_tree("content", content)?;
            let text = to_markdown(content);
            check_text("content", &text, MESSAGE_MOST)?;
            Ok(Words { text, content: content.to_vec() })
        }
    }
}

/// Checks depth, node count and texts of a tree, without recursion: it may be as deep as
/// whoever sent it liked.
fn check_tree(field: &str, content: &[Node]) -> Result<(), Rejection> {
    let mut stack: Vec<(usize, &Node)> = content.iter().map(|node| (1, node)).collect();
    let mut nodes = 0;
    let mut characters = 0;
    while let Some((depth, node)) = stack.pop() {
        nodes += 1;
        if nodes > NODES_MOST {
            return Err(Rejection::field(field, format!("has more than {NODES_MOST} nodes")));
        }
        if depth > DEEPEST {
            return Err(Rejection::field(field, format!("nests deeper than {DEEPEST} levels")));
        }
        if node.level.is_some_and(|level| !(1..=6).contains(&level)) {
            return Err(Rejection::field(field, "has a heading whose level is not 1 to 6"));
        }
        for text in [&node.text, &node.target, &node.url, &node.language].into_iter().flatten() {
            check_optional_text(field, text, MESSAGE_MOST)?;
            characters += text.chars().count();
        }
        if characters > MESSAGE_MOST {
            let message = format!("has more than {MESSAGE_MOST} characters");
            return Err(Rejection::field(field, message));
        }
        stack.extend(node.children.iter().map(|child| (depth + 1, child)));
    }
    Ok(())
}

/// Where the files of platforms are had from a node; only their bridges say so.
const FILES_PATH: &str = "/bridges/files/";

/// Whose word on where a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FilesOf {
    /// Somebody here.
    User,
    /// A bridge, whose files are had from this server.
    Bridge,
}

/// Checks attachments and gives those without an id one.
pub(super) fn attachments(
    given: &[Attachment],
    of: FilesOf,
    command_id: CommandId,
) -> Result<Vec<Attachment>, Rejection> {
    check_count("attachments", given.len(), ATTACHMENTS_MOST)?;
    let mut ids = BTreeSet::new();
    let mut checked = Vec::with_capacity(given.len());
    for (index, attachment) in given.iter().enumerate() {
        let path = |field: &str| format!("attachments[{index}].{field}");
        check_text(&path("name"), &attachment.name, NAME_MOST)?;
        match of {
            FilesOf::Bridge if attachment.url.starts_with(FILES_PATH) => {
                check_text(&path("url"), &attachment.url, URL_MOST)?;
            }
            FilesOf::Bridge | FilesOf::User => check_url(&path("url"), &attachment.url)?,
        }
        if let Some(media_type) = &attachment.media_type {
            check_text(&path("mediaType"), media_type, MEDIA_TYPE_MOST)?;
        }
        if attachment.size.is_some_and(|size| size < 0) {
            return Err(Rejection::field(path("size"), "must not be negative"));
        }
        let id = attachment.id.clone();
        let id = id.unwrap_or_else(|| ItemId::derived_nth(command_id, index + 1));
        if !ids.insert(id.clone()) {
            return Err(Rejection::field(path("id"), "is another attachment's id"));
        }
        checked.push(Attachment { id: Some(id), ..attachment.clone() });
    }
    Ok(checked)
}

fn check_url(field: &str, url: &str) -> Result<(), Rejection> {
    check_text(field, url, URL_MOST)?;
    let after_scheme = url.split_once("://").filter(|(scheme, _)| {
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    });
    match after_scheme {
        Some((_, rest))
            if !rest.is_empty()
                && !rest.starts_with(['/', '?', '#'])
                && !url.contains(char::is_whitespace) =>
        {
            Ok(())
        }
        Some(_) | None => Err(Rejection::field(field, "must be an http or https address")),
    }
}

/// Whether a message mentions everybody (`@here` and the like).
pub(super) fn has_broadcast(content: &[Node]) -> bool {
    let mut stack: Vec<&Node> = content.iter().collect();
    while let Some(node) = stack.pop() {
        if node.kind == NodeType::BroadcastMention {
            return true;
        }
        stack.extend(&node.children);
    }
    false
}

/// Checks a word filter and brings it into the form that [`filtered`] takes: lower case, trimmed,
/// each word once.
pub(super) fn filter(words: &[String]) -> Result<Vec<String>, Rejection> {
    check_count("words", words.len(), FILTER_MOST)?;
    let mut seen = BTreeSet::new();
    let mut filter = Vec::new();
    for (index, word) in words.iter().enumerate() {
        check_text(&format!("words[{index}]"), word, WORD_MOST)?;
        let word = word.trim().to_lowercase();
        if seen.insert(word.clone()) {
            filter.push(word);
        }
    }
    Ok(filter)
}

/// Whether a message contains one of the words: as a whole word, whatever the case and however
/// it is marked up.
pub(super) fn filtered(filter: &[String], content: &[Node]) -> bool {
    if filter.is_empty() {
        return false;
    }
    let plain = plain_text(content).to_lowercase();
    // Most words of a filter are not there: a look-up of their first part saves the search.
    let parts: BTreeSet<&str> = parts(&plain).collect();
    filter.iter().any(|word| {
        self::parts(word).next().is_none_or(|part| parts.contains(part)) && stands_in(&plain, word)
    })
}

/// The runs of letters and digits in a text.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty())
}

/// Whether `word` stands in `text` with no letter or digit glued to its own.
fn stands_in(text: &str, word: &str) -> bool {
    let glued = |inner: Option<char>, outer: Option<char>| {
        inner.is_some_and(char::is_alphanumeric) && outer.is_some_and(char::is_alphanumeric)
    };
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !glued(word.chars().next(), before) && !glued(word.chars().next_back(), after)
    })
}

/// The words of a message without marks; blocks and line breaks separate.
fn plain_text(content: &[Node]) -> String {
    let mut plain = String::new();
    let mut stack: Vec<&Node> = content.iter().rev().collect();
    while let Some(node) = stack.pop() {
        match node.kind {
            NodeType::Paragraph
            | NodeType::Heading
            | NodeType::Quote
            | NodeType::List
            | NodeType::ListItem
            | NodeType::CodeBlock
            | NodeType::Card
            | NodeType::LineBreak => plain.push('\n'),
            NodeType::Mention | NodeType::BroadcastMention => plain.push('@'),
            NodeType::ChannelMention => plain.push('#'),
            NodeType::Emoji => plain.push(':'),
            NodeType::Bold
            | NodeType::Italic
            | NodeType::Underline
            | NodeType::Strike
            | NodeType::Spoiler
            | NodeType::Text
            | NodeType::Code
            | NodeType::Link
            | NodeType::Unsupported => {}
        }
        for text in [&node.text, &node.target].into_iter().flatten() {
            plain.push_str(text);
        }
        if node.kind == NodeType::Emoji {
            plain.push(':');
        }
        stack.extend(node.children.iter().rev());
    }
    plain
}

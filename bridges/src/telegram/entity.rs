//! Text with entities (core.telegram.org/bots/api#messageentity) as a tree and back. Offsets and
//! lengths count UTF-16 code units.

use std::cmp::Reverse;

use schemas::content::{Node, NodeType};
use serde::{Deserialize, Serialize};

use crate::Names;

/// What a part of a text is; of two with the same place, the earlier one here is the outer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// A quotation.
    Blockquote,
    /// A quotation that is folded up.
    ExpandableBlockquote,
    /// A block of code in `language`.
    Pre,
    /// Text that leads to `url`.
    TextLink,
    /// Bold.
    Bold,
    /// Italic.
    Italic,
    /// Underlined.
    Underline,
    /// Struck through.
    Strikethrough,
    /// Hidden until asked for.
    Spoiler,
    /// Code in a line.
    Code,
    /// `@username`.
    Mention,
    /// A user without a username, in `user`.
    TextMention,
    /// A plain address.
    Url,
    /// A custom emoji by `custom_emoji_id`; the text is what stands for it elsewhere.
    CustomEmoji,
    /// What Telegram finds in any text by itself: hashtags, cashtags, commands, addresses of mail,
    /// telephone numbers; and kinds that came later.
    #[serde(other)]
    Other,
}

/// A part of a text that means something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: EntityKind,
    /// Where it begins, in UTF-16 code units.
    pub offset: usize,
    /// How long it is, in UTF-16 code units.
    pub length: usize,
    /// Where a `text_link` leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Whom a `text_mention` means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<EntityUser>,
    /// The language of a `pre`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Which custom emoji.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_emoji_id: Option<String>,
}

/// Whom a mention means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityUser {
    /// The user's number.
    pub id: i64,
}

impl Entity {
    /// One of these units and nothing else.
    pub(super) fn new(kind: EntityKind, offset: usize, length: usize) -> Self {
        Self { kind, offset, length, url: None, user: None, language: None, custom_emoji_id: None }
    }
}

/// More entities than Telegram ever sends are passed over.
const READ_MOST: usize = 1_000;
/// Stands before the number of a custom emoji in a tree.
pub(super) const EMOJI_PREFIX: &str = "telegram:";
/// Put behind an `@` that must not become a mention; invisible.
pub(super) const WORD_JOINER: char = '\u{2060}';

/// An entity with its place in bytes.
#[derive(Debug, Clone, Copy)]
struct Span<'a> {
    start: usize,
    end: usize,
    entity: &'a Entity,
}

/// Reads a text with its entities. Never fails: what does not lie within the text is passed over.
pub(super) fn tree_of(text: &str, entities: &[Entity], names: &dyn Names) -> Vec<Node> {
    let reader = Reader { text, names };
    reader.blocks((0, text.len()), &nested(text, entities))
}

/// The entities that lie in the text, outer ones first, each either within another or apart from it.
fn nested<'a>(text: &str, entities: &'a [Entity]) -> Vec<Span<'a>> {
    let places = byte_places(text);
    let last = places.len() - 1;
    let mut waiting: Vec<Span<'a>> = entities
        .iter()
        .take(READ_MOST)
        .filter_map(|entity| {
            let start = *places.get(entity.offset)?;
            let end = places[entity.offset.saturating_add(entity.length).min(last)];
            (start < end).then_some(Span { start, end, entity })
        })
        .collect();
    let order = |span: &Span<'_>| (span.start, Reverse(span.end), span.entity.kind);
    waiting.sort_by_key(|span| Reverse(order(span)));
    let mut spans: Vec<Span<'a>> = Vec::with_capacity(waiting.len());
    while let Some(span) = waiting.pop() {
        // One that reaches out of an outer one is cut at its end; the rest comes in its turn.
        let outer =
            spans.iter().filter(|outer| outer.start <= span.start && span.start < outer.end);
        match outer.map(|outer| outer.end).filter(|end| *end < span.end).min() {
            Some(end) => {
                let rest = Span { start: end, ..span };
                let at = waiting.partition_point(|other| order(other) > order(&rest));
                waiting.insert(at, rest);
                let inside = Span { end, ..span };
                let at = waiting.partition_point(|other| order(other) > order(&inside));
                waiting.insert(at, inside);
            }
            None => spans.push(span),
        }
    }
    spans
}

/// The byte at which each UTF-16 code unit begins, and the end; the second half of a surrogate pair
/// begins where its character does.
fn byte_places(text: &str) -> Vec<usize> {
    let mut places = Vec::with_capacity(text.len() + 1);
    for (at, c) in text.char_indices() {
        places.extend(std::iter::repeat_n(at, c.len_utf16()));
    }
    places.push(text.len());
    places
}

struct Reader<'a> {
    text: &'a str,
    names: &'a dyn Names,
}

impl Reader<'_> {
    fn blocks(&self, (start, end): (usize, usize), spans: &[Span<'_>]) -> Vec<Node> {
        let mut blocks = Vec::new();
        let mut at = start;
        for (index, span) in spans.iter().enumerate() {
            if span.start < at || span.end > end {
                continue;
            }
            let block = match span.entity.kind {
                EntityKind::Pre => Node {
                    text: Some(self.text[span.start..span.end].to_owned()),
                    language: span.entity.language.clone(),
                    ..Node::empty(NodeType::CodeBlock)
                },
                EntityKind::Blockquote | EntityKind::ExpandableBlockquote => {
                    // Marks that reach over it hold within it too.
                    let inside: Vec<_> =
                        spans[..index].iter().chain(&spans[index + 1..]).copied().collect();
                    Node::of(NodeType::Quote, self.blocks((span.start, span.end), &inside))
                }
                EntityKind::Mention
                | EntityKind::TextMention
                | EntityKind::Url
                | EntityKind::TextLink
                | EntityKind::Bold
                | EntityKind::Italic
                | EntityKind::Underline
                | EntityKind::Strikethrough
                | EntityKind::Spoiler
                | EntityKind::Code
                | EntityKind::CustomEmoji
                | EntityKind::Other => continue,
            };
            blocks.extend(self.paragraphs(at, span.start, spans));
            blocks.push(block);
            at = span.end;
        }
        blocks.extend(self.paragraphs(at, end, spans));
        blocks
    }

    /// Paragraphs are set apart by an empty line; the line breaks around them are not theirs.
    fn paragraphs(&self, start: usize, end: usize, spans: &[Span<'_>]) -> Vec<Node> {
        let mut paragraphs = Vec::new();
        let mut at = start;
        for piece in self.text[start..end].split("\n\n") {
            let inside = piece.trim_matches('\n');
            if !inside.is_empty() {
                let from = at + piece.len() - piece.trim_start_matches('\n').len();
                let children = self.inline(from, from + inside.len(), spans);
                paragraphs.push(Node::of(NodeType::Paragraph, children));
            }
            at += piece.len() + 2;
        }
        paragraphs
    }

    fn inline(&self, start: usize, end: usize, spans: &[Span<'_>]) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut at = start;
        for (index, span) in spans.iter().enumerate() {
            let (from, to) = (span.start.max(start), span.end.min(end));
            if from < at || from >= to {
                continue;
            }
            let inner = &spans[index + 1..];
            let Some(node) = self.node(from, to, span.entity, inner) else { continue };
            self.plain(&mut nodes, at, from);
            nodes.push(node);
            at = to;
        }
        self.plain(&mut nodes, at, end);
        nodes
    }

    /// What an entity makes of its text; none if it is only text.
    fn node(&self, from: usize, to: usize, entity: &Entity, inner: &[Span<'_>]) -> Option<Node> {
        let said = &self.text[from..to];
        let with = |kind| Node::of(kind, self.inline(from, to, inner));
        let mention =
            |user: &str| self.names.here(user).map(|name| Node::target(NodeType::Mention, name));
        match entity.kind {
            EntityKind::Bold => Some(with(NodeType::Bold)),
            EntityKind::Italic => Some(with(NodeType::Italic)),
            EntityKind::Underline => Some(with(NodeType::Underline)),
            EntityKind::Strikethrough => Some(with(NodeType::Strike)),
            EntityKind::Spoiler => Some(with(NodeType::Spoiler)),
            EntityKind::Code => {
                Some(Node { text: Some(said.to_owned()), ..Node::empty(NodeType::Code) })
            }
            EntityKind::TextLink => Some(Node { url: entity.url.clone(), ..with(NodeType::Link) }),
            EntityKind::Url => {
                let scheme = if said.contains("://") { "" } else { "http://" };
                let url = Some(format!("{scheme}{said}"));
                Some(Node { url, ..Node::of(NodeType::Link, vec![Node::text(said)]) })
            }
            EntityKind::Mention => mention(said),
            EntityKind::TextMention => mention(&entity.user.as_ref()?.id.to_string()),
            EntityKind::CustomEmoji => {
                let id = entity.custom_emoji_id.as_ref()?;
                let emoji = Node::target(NodeType::Emoji, format!("{EMOJI_PREFIX}{id}"));
                Some(Node { text: Some(said.to_owned()), ..emoji })
            }
            EntityKind::Pre
            | EntityKind::Blockquote
            | EntityKind::ExpandableBlockquote
            | EntityKind::Other => None,
        }
    }

    fn plain(&self, nodes: &mut Vec<Node>, from: usize, to: usize) {
        let mut said = &self.text[from..to];
        if self.text[..from].ends_with('@') {
            said = said.strip_prefix(WORD_JOINER).unwrap_or(said);
        }
        for (number, line) in said.split('\n').enumerate() {
            if number > 0 {
                nodes.push(Node::empty(NodeType::LineBreak));
            }
            if line.is_empty() {
                continue;
            }
            let line = line.replace(&format!("@{WORD_JOINER}"), "@");
            match nodes.last_mut() {
                Some(Node { kind: NodeType::Text, text: Some(before), .. }) => {
                    before.push_str(&line);
                }
                _other => nodes.push(Node::text(line)),
            }
        }
    }
}

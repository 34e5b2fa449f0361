//! The unified message: one tree that Markdown and the four chat platforms are read into and
//! written from.

mod markdown;

use apache_avro::AvroSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use markdown::{from_markdown, to_markdown};

/// What a node of a message is. Blocks stand at the top and inside quotes and list items;
/// everything else stands inside blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NodeType {
    /// A block of running text.
    Paragraph,
    /// A block with a `level` from 1 to 6.
    Heading,
    /// A block quotation.
    Quote,
    /// A list of `listItem`s, `ordered` or not.
    List,
    /// One item of a list.
    ListItem,
    /// A block of code: `text`, `language`.
    CodeBlock,
    /// Bold.
    Bold,
    /// Italic.
    Italic,
    /// Underlined.
    Underline,
    /// Struck through.
    Strike,
    /// Hidden until asked for.
    Spoiler,
    /// A run of `text`.
    Text,
    /// Code in a line: `text`.
    Code,
    /// A link to `url`.
    Link,
    /// A person: `target` is the user's name.
    Mention,
    /// A channel or room: `target`.
    ChannelMention,
    /// Everybody: `target` is `here`, `channel` or `everyone`.
    BroadcastMention,
    /// An emoji by name: `target` is the name, `url` a custom one's picture.
    Emoji,
    /// A line break within a block.
    LineBreak,
    /// Something a platform sent that has no place here; `text` says what.
    Unsupported,
    /// A block set apart, as apps send them: `text` is its title, `url` where that leads, and
    /// blocks are inside.
    Card,
}

crate::avro_enum!(NodeType: "paragraph", "heading", "quote", "list", "listItem", "codeBlock", "bold", "italic", "underline", "strike", "spoiler", "text", "code", "link", "mention", "channelMention", "broadcastMention", "emoji", "lineBreak", "unsupported", "card");

/// A node of a message. Which fields mean something is said at [`NodeType`]; the others are
/// absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// What this node is.
    #[serde(rename = "type")]
    pub kind: NodeType,
    /// Literal text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Whom or what a mention or emoji means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Where a link leads, or a custom emoji's picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The language of a code block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Whether a list counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered: Option<bool>,
    /// A heading's level, from 1 to 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<i32>,
    /// What is inside.
    #[serde(default)]
    pub children: Vec<Node>,
}

/// The deepest nesting a message may have.
pub const DEEPEST: usize = 32;

impl NodeType {
    /// Whether it stands by itself and not in running text.
    pub fn is_block(self) -> bool {
        match self {
            Self::Paragraph
            | Self::Heading
            | Self::Quote
            | Self::List
            | Self::ListItem
            | Self::CodeBlock
            | Self::Card => true,
            Self::Bold
            | Self::Italic
            | Self::Underline
            | Self::Strike
            | Self::Spoiler
            | Self::Text
            | Self::Code
            | Self::Link
            | Self::Mention
            | Self::ChannelMention
            | Self::BroadcastMention
            | Self::Emoji
            | Self::LineBreak
            | Self::Unsupported => false,
        }
    }
}

impl Node {
    /// A node with children and nothing else.
    pub fn of(kind: NodeType, children: Vec<Self>) -> Self {
        Self { children, ..Self::empty(kind) }
    }

    /// A run of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::empty(NodeType::Text) }
    }

    /// A node without anything.
    pub fn empty(kind: NodeType) -> Self {
        Self {
            kind,
            text: None,
            target: None,
            url: None,
            language: None,
            ordered: None,
            level: None,
            children: Vec::new(),
        }
    }

    /// A mention, emoji or the like of `target`.
    pub fn target(kind: NodeType, target: impl Into<String>) -> Self {
        Self { target: Some(target.into()), ..Self::empty(kind) }
    }

    /// How many levels of nodes are below and including this one.
    pub fn depth(&self) -> usize {
        1 + self.children.iter().map(Self::depth).max().unwrap_or(0)
    }
}

/// The users that a message mentions, each once, in order of appearance.
pub fn mentions(content: &[Node]) -> Vec<&str> {
    let mut found = Vec::new();
    let mut stack: Vec<&Node> = content.iter().rev().collect();
    while let Some(node) = stack.pop() {
        match (node.kind, &node.target) {
            (NodeType::Mention, Some(user)) if !found.contains(&user.as_str()) => found.push(user),
            _other => {}
        }
        stack.extend(node.children.iter().rev());
    }
    found
}

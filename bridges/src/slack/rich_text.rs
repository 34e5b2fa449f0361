//! Blocks (docs.slack.dev/reference/block-kit/blocks) as a tree: `rich_text`, which Slack's own
//! clients send, and what apps send beside it.

use schemas::content::{Node, NodeType};
use serde::Deserialize;

use super::mrkdwn::from_mrkdwn;
use crate::{
    Names,
    card::Card,
    message::{foreign_markdown, paragraph},
};

/// A block, as far as it says something.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    RichText {
        elements: Vec<Element>,
    },
    Section {
        text: Option<Text>,
        #[serde(default)]
        fields: Vec<Text>,
    },
    Header {
        text: Text,
    },
    Context {
        elements: Vec<Contextual>,
    },
    Markdown {
        text: String,
    },
    Image {
        image_url: Option<String>,
        #[serde(default)]
        alt_text: String,
    },
    Divider {},
    Video {
        title: Text,
        title_url: Option<String>,
        video_url: Option<String>,
        description: Option<Text>,
    },
    Table {
        rows: Vec<Vec<Cell>>,
    },
    #[serde(other)]
    Other,
}

/// A cell of a table.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Cell {
    RawText {
        text: String,
    },
    RichText {
        elements: Vec<Element>,
    },
    #[serde(other)]
    Other,
}

/// A text object.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Text {
    PlainText { text: String },
    Mrkdwn { text: String },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Contextual {
    PlainText {
        text: String,
    },
    Mrkdwn {
        text: String,
    },
    #[serde(other)]
    Other,
}

/// What stands in a `rich_text` block.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Element {
    RichTextSection {
        elements: Vec<Inline>,
    },
    RichTextList {
        style: String,
        elements: Vec<Element>,
    },
    RichTextPreformatted {
        elements: Vec<Inline>,
        language: Option<String>,
    },
    RichTextQuote {
        elements: Vec<Inline>,
    },
    #[serde(other)]
    Other,
}

/// What stands in a section of rich text.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Inline {
    Text {
        text: String,
        #[serde(default)]
        style: Style,
    },
    Link {
        url: String,
        text: Option<String>,
        #[serde(default)]
        style: Style,
    },
    User {
        user_id: String,
        #[serde(default)]
        style: Style,
    },
    Usergroup {
        usergroup_id: String,
    },
    Channel {
        channel_id: String,
    },
    Broadcast {
        range: String,
    },
    Emoji {
        name: String,
    },
    Date {
        timestamp: i64,
        fallback: Option<String>,
    },
    Color {
        value: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
struct Style {
    #[serde(default)]
    bold: bool,
    #[serde(default)]
    italic: bool,
    #[serde(default)]
    strike: bool,
    #[serde(default)]
    underline: bool,
    #[serde(default)]
    code: bool,
}

/// Reads the `blocks` of a message. A block that cannot be shown, or is none, becomes a node that
/// names it.
pub fn from_blocks(blocks: &[serde_json::Value], names: &dyn Names) -> Vec<Node> {
    let mut tree = Vec::new();
    for block in blocks {
        let kind = block["type"].as_str().unwrap_or("without a type");
        match Block::deserialize(block) {
            Ok(Block::Other) | Err(_) => tree.push(unsupported(&format!("block {kind}"))),
            Ok(block) => push_block(&mut tree, block, names),
        }
    }
    tree
}

/// Whether it is a block that can be read.
pub(super) fn is_known(block: &serde_json::Value) -> bool {
    matches!(Block::deserialize(block), Ok(known) if !matches!(known, Block::Other))
}

fn unsupported(what: &str) -> Node {
    let node = Node { text: Some(format!("[{what}]")), ..Node::empty(NodeType::Unsupported) };
    paragraph(vec![node])
}

fn push_block(tree: &mut Vec<Node>, block: Block, names: &dyn Names) {
    match block {
        Block::RichText { elements } => {
            for element in elements {
                push_element(tree, element, names);
            }
        }
        Block::Section { text, fields } => {
            for text in text.into_iter().chain(fields) {
                push_text(tree, text, names);
            }
        }
        Block::Header { text: Text::PlainText { text } | Text::Mrkdwn { text } } => {
            let heading = Node::of(NodeType::Heading, vec![Node::text(text)]);
            tree.push(Node { level: Some(2), ..heading });
        }
        Block::Context { elements } => {
            for element in elements {
                match element {
                    Contextual::PlainText { text } => tree.push(paragraph(vec![Node::text(text)])),
                    Contextual::Mrkdwn { text } => tree.extend(from_mrkdwn(&text, names)),
                    // A picture beside the text.
                    Contextual::Other => {}
                }
            }
        }
        Block::Markdown { text } => tree.extend(foreign_markdown(&text)),
        Block::Image { image_url: Some(url), alt_text } => {
            let shown = if alt_text.is_empty() { url.clone() } else { alt_text };
            let link = Node::of(NodeType::Link, vec![Node::text(shown)]);
            tree.push(paragraph(vec![Node { url: Some(url), ..link }]));
        }
        Block::Image { image_url: None, alt_text } => {
            tree.push(unsupported(&format!("picture {alt_text}")));
        }
        Block::Video { title, title_url, video_url, description } => {
            let (Text::PlainText { text } | Text::Mrkdwn { text }) = title;
            let mut content = Vec::new();
            if let Some(description) = description {
                push_text(&mut content, description, names);
            }
            let picture = video_url.filter(|url| Some(url) != title_url.as_ref());
            let card = Card { title: text, url: title_url, content, picture, ..Card::default() };
            tree.push(card.into_node());
        }
        Block::Table { rows } => {
            for row in rows {
                let mut line = Vec::new();
                for (number, cell) in row.into_iter().enumerate() {
                    if number > 0 {
                        line.push(Node::text(" | "));
                    }
                    line.extend(of_cell(cell, names));
                }
                tree.push(paragraph(line));
            }
        }
        Block::Divider {} => tree.push(paragraph(vec![Node::text("———")])),
        Block::Other => {}
    }
}

/// What a cell says, in one line.
fn of_cell(cell: Cell, names: &dyn Names) -> Vec<Node> {
    match cell {
        Cell::RawText { text } => vec![Node::text(text)],
        Cell::RichText { elements } => {
            let mut blocks = Vec::new();
            for element in elements {
                push_element(&mut blocks, element, names);
            }
            blocks.into_iter().flat_map(|block| block.children).collect()
        }
        Cell::Other => {
            vec![Node { text: Some("[cell]".to_owned()), ..Node::empty(NodeType::Unsupported) }]
        }
    }
}

fn push_text(tree: &mut Vec<Node>, text: Text, names: &dyn Names) {
    match text {
        Text::PlainText { text } => tree.push(paragraph(vec![Node::text(text)])),
        Text::Mrkdwn { text } => tree.extend(from_mrkdwn(&text, names)),
    }
}

fn push_element(tree: &mut Vec<Node>, element: Element, names: &dyn Names) {
    match element {
        Element::RichTextSection { elements } => tree.extend(paragraphs(&elements, names)),
        Element::RichTextQuote { elements } => {
            tree.push(Node::of(NodeType::Quote, paragraphs(&elements, names)));
        }
        Element::RichTextPreformatted { elements, language } => {
            let text = Some(elements.iter().map(plain).collect());
            tree.push(Node { text, language, ..Node::empty(NodeType::CodeBlock) });
        }
        Element::RichTextList { style, elements } => {
            let items = elements.into_iter().map(|element| {
                let mut children = Vec::new();
                push_element(&mut children, element, names);
                Node::of(NodeType::ListItem, children)
            });
            let list = Node::of(NodeType::List, items.collect());
            tree.push(Node { ordered: Some(style == "ordered"), ..list });
        }
        Element::Other => tree.push(unsupported("rich text")),
    }
}

/// Running text; Slack writes paragraphs as two line breaks in one section.
fn paragraphs(elements: &[Inline], names: &dyn Names) -> Vec<Node> {
    let mut paragraphs = vec![Vec::new()];
    for element in elements {
        let Inline::Text { text, style } = element else {
            last(&mut paragraphs).push(inline(element, names));
            continue;
        };
        for (number, piece) in text.split("\n\n").enumerate() {
            if number > 0 {
                paragraphs.push(Vec::new());
            }
            for (number, line) in piece.split('\n').enumerate() {
                if number > 0 {
                    last(&mut paragraphs).push(Node::empty(NodeType::LineBreak));
                }
                if !line.is_empty() {
                    last(&mut paragraphs).push(styled(line, *style));
                }
            }
        }
    }
    for children in &mut paragraphs {
        let is_break = |node: &Node| node.kind == NodeType::LineBreak;
        while children.last().is_some_and(is_break) {
            children.pop();
        }
        let leading = children.iter().take_while(|node| is_break(node)).count();
        children.drain(..leading);
    }
    paragraphs.into_iter().filter(|children| !children.is_empty()).map(paragraph).collect()
}

fn last(paragraphs: &mut [Vec<Node>]) -> &mut Vec<Node> {
    paragraphs.last_mut().expect("there is one from the start")
}

fn styled(text: &str, style: Style) -> Node {
    if style.code {
        return Node { text: Some(text.to_owned()), ..Node::empty(NodeType::Code) };
    }
    marked(Node::text(text), style)
}

fn marked(mut node: Node, style: Style) -> Node {
    let marks = [
        (style.underline, NodeType::Underline),
        (style.strike, NodeType::Strike),
        (style.italic, NodeType::Italic),
        (style.bold, NodeType::Bold),
    ];
    for (is_set, kind) in marks {
        if is_set {
            node = Node::of(kind, vec![node]);
        }
    }
    node
}

fn inline(element: &Inline, names: &dyn Names) -> Node {
    match element {
        Inline::Text { text, style } => styled(text, *style),
        Inline::Link { url, text, style } => {
            let shown = text.as_ref().unwrap_or(url);
            let link = Node::of(NodeType::Link, vec![Node::text(shown)]);
            marked(Node { url: Some(url.clone()), ..link }, *style)
        }
        Inline::User { user_id, style } => match names.here(user_id) {
            Some(name) => marked(Node::target(NodeType::Mention, name), *style),
            None => {
                let shown = names.shown(user_id).unwrap_or_else(|| user_id.clone());
                marked(Node::text(format!("@{shown}")), *style)
            }
        },
        Inline::Usergroup { usergroup_id } => Node::text(format!("@{usergroup_id}")),
        Inline::Channel { channel_id } => Node::target(NodeType::ChannelMention, channel_id),
        Inline::Broadcast { range } => Node::target(NodeType::BroadcastMention, range),
        Inline::Emoji { name } => Node::target(NodeType::Emoji, name),
        Inline::Date { timestamp, fallback } => {
            Node::text(fallback.clone().unwrap_or_else(|| timestamp.to_string()))
        }
        Inline::Color { value } => Node::text(value),
        Inline::Other => {
            Node { text: Some("[rich text]".to_owned()), ..Node::empty(NodeType::Unsupported) }
        }
    }
}

/// What an element says in a block of code.
fn plain(element: &Inline) -> String {
    match element {
        Inline::Text { text, .. } => text.clone(),
        Inline::Link { url, text, .. } => text.as_ref().unwrap_or(url).clone(),
        Inline::User { user_id: name, .. }
        | Inline::Usergroup { usergroup_id: name }
        | Inline::Broadcast { range: name } => format!("@{name}"),
        Inline::Channel { channel_id } => format!("#{channel_id}"),
        Inline::Emoji { name } => format!(":{name}:"),
        Inline::Date { timestamp, fallback } => {
            fallback.clone().unwrap_or_else(|| timestamp.to_string())
        }
        Inline::Color { value } => value.clone(),
        Inline::Other => "[rich text]".to_owned(),
    }
}

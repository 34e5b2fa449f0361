//! Cards: what Slack calls attachments and blocks, Discord embeds, and Teams Adaptive Cards. In the
//! tree a card is a `card` node: `text` is its title, `url` where the title leads, and inside are
//! its blocks. Fields are paragraphs that begin with a bold name and a line break.

use schemas::content::{Node, NodeType};

use crate::message::paragraph;

/// The parts of a card.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Card {
    /// Its title; may be empty.
    pub title: String,
    /// Where the title leads.
    pub url: Option<String>,
    /// Who is named above it.
    pub author: Option<String>,
    /// What it says.
    pub content: Vec<Node>,
    /// Named values.
    pub fields: Vec<Field>,
    /// The address of a picture.
    pub picture: Option<String>,
    /// What is said below it.
    pub footer: Option<String>,
}

/// A named value of a card.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it says.
    pub value: Vec<Node>,
}

/// A paragraph with nothing but a picture's address.
pub(crate) fn picture(url: &str, shown: &str) -> Node {
    let shown = if shown.is_empty() { url } else { shown };
    let link = Node::of(NodeType::Link, vec![Node::text(shown)]);
    paragraph(vec![Node { url: Some(url.to_owned()), ..link }])
}

impl Card {
    /// The card as a node.
    pub fn into_node(self) -> Node {
        let mut children = Vec::new();
        if let Some(author) = self.author {
            children.push(paragraph(vec![Node::text(author)]));
        }
        children.extend(self.content);
        for Field { name, value } in self.fields {
            let name = Node::of(NodeType::Bold, vec![Node::text(name)]);
            let mut value = value.into_iter();
            match value.next() {
                Some(Node { kind: NodeType::Paragraph, children: first, .. }) => {
                    let line = [name, Node::empty(NodeType::LineBreak)];
                    children.push(paragraph(line.into_iter().chain(first).collect()));
                }
                other => {
                    children.push(paragraph(vec![name]));
                    children.extend(other);
                }
            }
            children.extend(value);
        }
        if let Some(url) = self.picture {
            children.push(picture(&url, ""));
        }
        if let Some(footer) = self.footer {
            let footer = Node::of(NodeType::Italic, vec![Node::text(footer)]);
            children.push(paragraph(vec![footer]));
        }
        let title = (!self.title.is_empty()).then_some(self.title);
        Node { text: title, url: self.url, ..Node::of(NodeType::Card, children) }
    }
}

/// A card in blocks that every platform has, for those that have no cards and for what stands
/// inside a card: the title in bold or as a link, then what it says.
pub(crate) fn as_blocks(card: &Node) -> Vec<Node> {
    let mut blocks = Vec::new();
    if let Some(title) = &card.text {
        let title = Node::of(NodeType::Bold, vec![Node::text(title)]);
        let title = match &card.url {
            Some(url) => Node { url: Some(url.clone()), ..Node::of(NodeType::Link, vec![title]) },
            None => title,
        };
        blocks.push(paragraph(vec![title]));
    } else if let Some(url) = &card.url {
        blocks.push(picture(url, ""));
    }
    blocks.extend(card.children.iter().cloned());
    blocks
}

/// The reverse of [`as_blocks`]: a first paragraph that is nothing but bold is the title.
pub(crate) fn of_blocks(blocks: Vec<Node>) -> Node {
    let mut title = None;
    if let Some(Node { kind: NodeType::Paragraph, children, .. }) = blocks.first()
        && let [first] = &children[..]
    {
        title = match (first.kind, &first.children[..]) {
            (NodeType::Bold, [Node { kind: NodeType::Text, text: Some(text), .. }]) => {
                Some((text.clone(), None))
            }
            (NodeType::Bold, [Node { kind: NodeType::Link, url, children, .. }])
            | (NodeType::Link, [Node { kind: NodeType::Bold, url, children, .. }]) => {
                let url = url.as_ref().or(first.url.as_ref()).cloned();
                match &children[..] {
                    [Node { kind: NodeType::Text, text: Some(text), .. }] => {
                        Some((text.clone(), url))
                    }
                    _other => None,
                }
            }
            _other => None,
        };
    }
    match title {
        Some((text, url)) => Node {
            text: Some(text),
            url,
            ..Node::of(NodeType::Card, blocks.into_iter().skip(1).collect())
        },
        None => Node::of(NodeType::Card, blocks),
    }
}

//! A message as calls of the Web API.

use schemas::content::{Node, NodeType, to_markdown};
use serde_json::{Value, json};

use super::{TEXT_MOST, mrkdwn::escape};
use crate::{
    Names, card,
    message::{Reaction, words},
    split::split,
};

/// What an edit keeps of a post's arguments.
const EDITED: [&str; 4] = ["channel", "text", "blocks", "attachments"];

/// The type of our metadata.
const MARK: &str = "switchyard_part";

/// One method with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The method's name.
    pub method: &'static str,
    /// Its arguments.
    pub arguments: Value,
}

/// Where messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The channel's id.
    pub channel: &'a str,
    /// The `ts` of the message that opens the thread.
    pub thread: Option<&'a str>,
}

/// The calls that post a message: one for each part, under the author's own name. `mark` is unique to
/// the message; by it a part that may have been posted is found again.
pub fn post(
    target: Target<'_>,
    author: Option<&str>,
    content: &[Node],
    mark: &str,
    names: &dyn Names,
) -> Vec<Call> {
    let call = |(number, mut arguments): (usize, Value)| {
        arguments["metadata"] = json!({"event_type": MARK,
            "event_payload": {"part": format!("{mark} {number}")}});
        if let Some(thread) = target.thread {
            arguments["thread_ts"] = thread.into();
        }
        if let Some(author) = author {
            arguments["username"] = author.into();
        }
        arguments["unfurl_links"] = false.into();
        arguments["unfurl_media"] = false.into();
        Call { method: "chat.postMessage", arguments }
    };
    let parts = parts(content, names).map(|part| arguments(target.channel, &part, names));
    parts.enumerate().map(call).collect()
}

/// The mark of a message that a call posted, or as Slack lists it with its metadata
/// (docs.slack.dev/messaging/message-metadata).
pub(crate) fn marked(message: &Value) -> Option<&str> {
    let metadata = &message["metadata"];
    let is_ours = metadata["event_type"] == MARK;
    metadata["event_payload"]["part"].as_str().filter(|_| is_ours)
}

/// The calls that make the messages `known`, the parts of an earlier post, say `content`: the first
/// ones are edited, those that are missing are posted, those that are too many are deleted.
pub fn edit(
    target: Target<'_>,
    known: &[&str],
    author: Option<&str>,
    content: &[Node],
    mark: &str,
    names: &dyn Names,
) -> Vec<Call> {
    let new = post(target, author, content, mark, names);
    let spare = known.get(new.len()..).unwrap_or_default();
    let mut calls = Vec::with_capacity(new.len() + spare.len());
    for (number, mut call) in new.into_iter().enumerate() {
        if let Some(ts) = known.get(number) {
            let Value::Object(fields) = &mut call.arguments else { continue };
            fields.retain(|name, _| EDITED.contains(&name.as_str()));
            // What is left out stays as it was.
            for name in ["blocks", "attachments"] {
                fields.entry(name).or_insert_with(|| json!([]));
            }
            fields.insert("ts".into(), (*ts).into());
            call.method = "chat.update";
        }
        calls.push(call);
    }
    calls.extend(spare.iter().map(|ts| delete(target.channel, ts)));
    calls
}

/// The call that deletes a message of ours.
pub fn delete(channel: &str, ts: &str) -> Call {
    Call { method: "chat.delete", arguments: json!({"channel": channel, "ts": ts}) }
}

/// The call that adds a reaction by its name, or takes it back.
pub fn react(channel: &str, ts: &str, name: &str, change: Reaction) -> Call {
    let method = match change {
        Reaction::Added => "reactions.add",
        Reaction::Removed => "reactions.remove",
    };
    Call { method, arguments: json!({"channel": channel, "timestamp": ts, "name": name}) }
}

fn parts(content: &[Node], names: &dyn Names) -> impl Iterator<Item = Vec<Node>> {
    let size = |nodes: &[Node]| {
        let text = escape(&to_markdown(nodes)).chars().count();
        // An element cannot hold more than the whole message may.
        text.max(rich_text(nodes, names).to_string().chars().count() / 10)
    };
    // Slack takes no message that says nothing.
    let says_something = |part: &Vec<Node>| !words(part).trim().is_empty();
    split(content.to_vec(), TEXT_MOST, &size).into_iter().filter(says_something)
}

fn arguments(channel: &str, part: &[Node], names: &dyn Names) -> Value {
    let block =
        |nodes: &[Node]| json!([{"type": "rich_text", "elements": rich_text(nodes, names)}]);
    let (cards, rest): (Vec<_>, Vec<_>) =
        part.iter().cloned().partition(|node| node.kind == NodeType::Card);
    let mut arguments = json!({
        "channel": channel,
        // What notifications show; the blocks are what is read.
        "text": escape(&to_markdown(part)),
    });
    if !words(&rest).trim().is_empty() {
        arguments["blocks"] = block(&rest);
    }
    let attachment = |card: &Node| {
        let fallback = escape(&to_markdown(std::slice::from_ref(card)));
        json!({"fallback": fallback, "blocks": block(&card::as_blocks(card))})
    };
    if !cards.is_empty() {
        arguments["attachments"] = cards.iter().map(attachment).collect();
    }
    arguments
}

/// The elements of a `rich_text` block.
fn rich_text(blocks: &[Node], names: &dyn Names) -> Value {
    let mut writer = Writer { elements: Vec::new(), names };
    for (number, block) in blocks.iter().enumerate() {
        writer.block(block, 0, number + 1 < blocks.len());
    }
    Value::Array(writer.elements)
}

/// The marks that hold.
#[derive(Debug, Clone, Copy, Default)]
struct Style {
    bold: bool,
    italic: bool,
    strike: bool,
    underline: bool,
    code: bool,
}

impl Style {
    fn to_json(self) -> Option<Value> {
        let marks = [
            ("bold", self.bold),
            ("italic", self.italic),
            ("strike", self.strike),
            ("underline", self.underline),
            ("code", self.code),
        ];
        let set: serde_json::Map<_, _> = marks
            .into_iter()
            .filter(|(_, is_set)| *is_set)
            .map(|(name, _)| (name.to_owned(), Value::Bool(true)))
            .collect();
        (!set.is_empty()).then_some(Value::Object(set))
    }
}

struct Writer<'a> {
    elements: Vec<Value>,
    names: &'a dyn Names,
}

impl Writer<'_> {
    /// `more` follow: Slack shows a section's end without an empty line.
    fn block(&mut self, block: &Node, indent: usize, more: bool) {
        match block.kind {
            NodeType::Paragraph | NodeType::ListItem => self.section(&block.children, more),
            NodeType::Heading => {
                let bold = Node::of(NodeType::Bold, block.children.clone());
                self.section(&[bold], more);
            }
            NodeType::Quote => {
                let elements = self.flat(&block.children);
                self.elements.push(json!({"type": "rich_text_quote", "elements": elements}));
            }
            NodeType::CodeBlock => {
                let text = block.text.as_deref().filter(|text| !text.is_empty()).unwrap_or(" ");
                let elements = [json!({"type": "text", "text": text})];
                let mut code = json!({"type": "rich_text_preformatted", "elements": elements});
                if let Some(language) = &block.language {
                    code["language"] = language.as_str().into();
                }
                self.elements.push(code);
            }
            NodeType::List => self.list(block, indent),
            NodeType::Card => {
                let blocks = card::as_blocks(block);
                for (number, block) in blocks.iter().enumerate() {
                    self.block(block, indent, more || number + 1 < blocks.len());
                }
            }
            NodeType::Bold
            | NodeType::Italic
            | NodeType::Underline
            | NodeType::Strike
            | NodeType::Spoiler
            | NodeType::Text
            | NodeType::Code
            | NodeType::Link
            | NodeType::Mention
            | NodeType::ChannelMention
            | NodeType::BroadcastMention
            | NodeType::Emoji
            | NodeType::LineBreak
            | NodeType::Unsupported => self.section(std::slice::from_ref(block), more),
        }
    }

    fn section(&mut self, children: &[Node], more: bool) {
        let mut elements = Vec::new();
        self.inlines(&mut elements, children, Style::default());
        if more && !elements.is_empty() {
            elements.push(json!({"type": "text", "text": "\n\n"}));
        }
        if !elements.is_empty() {
            self.elements.push(json!({"type": "rich_text_section", "elements": elements}));
        }
    }

    /// Lists stand beside each other, each with its indent.
    fn list(&mut self, list: &Node, indent: usize) {
        let style = if list.ordered == Some(true) { "ordered" } else { "bullet" };
        let mut items: Vec<Value> = Vec::new();
        let mut first = 0;
        let close = |items: &mut Vec<Value>, first: usize| {
            let mut element = json!({"type": "rich_text_list", "style": style, "indent": indent});
            if first > 0 {
                element["offset"] = first.into();
            }
            element["elements"] = std::mem::take(items).into();
            element
        };
        for (number, item) in list.children.iter().enumerate() {
            let (lists, rest): (Vec<_>, Vec<_>) =
                item.children.iter().partition(|child| child.kind == NodeType::List);
            let rest: Vec<Node> = rest.into_iter().cloned().collect();
            let elements = self.flat(&rest);
            items.push(json!({"type": "rich_text_section", "elements": elements}));
            if !lists.is_empty() {
                let closed = close(&mut items, first);
                self.elements.push(closed);
                for inner in lists {
                    self.list(inner, indent + 1);
                }
                first = number + 1;
            }
        }
        if !items.is_empty() {
            let closed = close(&mut items, first);
            self.elements.push(closed);
        }
    }

    /// Blocks where only running text can stand, with what sets them apart as text.
    fn flat(&self, blocks: &[Node]) -> Vec<Value> {
        let mut elements = Vec::new();
        for (number, block) in blocks.iter().enumerate() {
            if number > 0 {
                elements.push(json!({"type": "text", "text": "\n\n"}));
            }
            match (&block.text, block.kind) {
                (Some(code), NodeType::CodeBlock) => {
                    let style = Style { code: true, ..Style::default() };
                    push_text(&mut elements, code, style);
                }
                _other if block.children.is_empty() => {
                    self.inlines(&mut elements, std::slice::from_ref(block), Style::default());
                }
                _other => self.inlines(&mut elements, &block.children, Style::default()),
            }
        }
        elements
    }

    fn inlines(&self, elements: &mut Vec<Value>, nodes: &[Node], style: Style) {
        for node in nodes {
            let text = node.text.as_deref().unwrap_or_default();
            let target = node.target.as_deref().unwrap_or_default();
            let children = &node.children;
            match node.kind {
                NodeType::Bold => self.inlines(elements, children, Style { bold: true, ..style }),
                NodeType::Italic => {
                    self.inlines(elements, children, Style { italic: true, ..style });
                }
                NodeType::Underline => {
                    self.inlines(elements, children, Style { underline: true, ..style });
                }
                NodeType::Strike => {
                    self.inlines(elements, children, Style { strike: true, ..style });
                }
                NodeType::Spoiler => {
                    push_text(elements, "||", style);
                    self.inlines(elements, children, style);
                    push_text(elements, "||", style);
                }
                NodeType::Text | NodeType::Unsupported => push_text(elements, text, style),
                NodeType::Code => push_text(elements, text, Style { code: true, ..style }),
                NodeType::Link => link(elements, node, style),
                NodeType::Mention => match self.names.there(target) {
                    Some(id) => {
                        push(elements, json!({"type": "user", "user_id": id}), style);
                    }
                    None => push_text(elements, &format!("@{target}"), style),
                },
                NodeType::ChannelMention => push_text(elements, &format!("#{target}"), style),
                NodeType::BroadcastMention => push_text(elements, &format!("@{target}"), style),
                NodeType::Emoji => emoji(elements, node, target, style),
                NodeType::LineBreak => push_text(elements, "\n", style),
                NodeType::Paragraph
                | NodeType::Heading
                | NodeType::Quote
                | NodeType::List
                | NodeType::ListItem
                | NodeType::Card => {
                    if !elements.is_empty() {
                        push_text(elements, "\n", style);
                    }
                    self.inlines(elements, children, style);
                }
                NodeType::CodeBlock => push_text(elements, text, Style { code: true, ..style }),
            }
        }
    }
}

fn push(elements: &mut Vec<Value>, mut element: Value, style: Style) {
    if let Some(style) = style.to_json() {
        element["style"] = style;
    }
    elements.push(element);
}

/// Slack takes no empty text.
fn push_text(elements: &mut Vec<Value>, text: &str, style: Style) {
    if !text.is_empty() {
        push(elements, json!({"type": "text", "text": text}), style);
    }
}

/// A link has one text and one style; Slack shows only the web's addresses and those of mail.
fn link(elements: &mut Vec<Value>, node: &Node, style: Style) {
    let url = node.url.as_deref().unwrap_or_default();
    let shown = words(&node.children);
    let is_shown = ["http://", "https://", "mailto:"].iter().any(|scheme| {
        url.get(..scheme.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(scheme))
    });
    if !is_shown {
        return push_text(elements, &format!("{shown} ({url})"), style);
    }
    let mut element = json!({"type": "link", "url": url});
    if !shown.is_empty() {
        element["text"] = shown.into();
    }
    push(elements, element, style);
}

fn emoji(elements: &mut Vec<Value>, node: &Node, name: &str, style: Style) {
    match &node.text {
        // A custom one of another platform, which says what stands for it.
        Some(text) => push_text(elements, text, style),
        None => push(elements, json!({"type": "emoji", "name": name}), style),
    }
}

#[cfg(test)]
mod tests;

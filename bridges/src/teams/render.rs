//! A message as calls of the Connector API.

use schemas::content::{Node, NodeType};
use serde_json::{Value, json};

use super::{ACTIVITY_MOST, adaptive::to_adaptive, html::escape};
use crate::{Names, card, emoji, message::with_author, split::split};

/// One request to the conversation's own service URL.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The HTTP method.
    pub method: &'static str,
    /// The path behind the service URL.
    pub path: String,
    /// The activity, `null` for none.
    pub body: Value,
}

/// Where messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The conversation's id.
    pub channel: &'a str,
    /// The id of the message that opens the thread.
    pub thread: Option<&'a str>,
}

impl Target<'_> {
    pub(crate) fn activities(&self) -> String {
        let id = match self.thread {
            Some(root) => format!("{};messageid={root}", self.channel),
            None => self.channel.to_owned(),
        };
        let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
        format!("v3/conversations/{id}/activities")
    }

    fn activity(&self, id: &str) -> String {
        let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
        format!("{}/{id}", self.activities())
    }
}

/// The calls that post a message: one for each part and each card. `author` is shown in front.
pub fn post(
    target: Target<'_>,
    author: Option<&str>,
    content: &[Node],
    reply_to: Option<&str>,
    names: &dyn Names,
) -> Vec<Call> {
    let call = |(number, mut body): (usize, Value)| {
        if let Some(message) = reply_to.filter(|_| number == 0) {
            body["replyToId"] = message.into();
        }
        Call { method: "POST", path: target.activities(), body }
    };
    activities(author, content, names).into_iter().enumerate().map(call).collect()
}

/// The calls that make the activities `known`, the parts of an earlier post, say `content`: the first
/// ones are edited, those that are missing are posted, those that are too many are deleted.
pub fn edit(
    target: Target<'_>,
    known: &[&str],
    author: Option<&str>,
    content: &[Node],
    names: &dyn Names,
) -> Vec<Call> {
    let new = post(target, author, content, None, names);
    let spare = known.get(new.len()..).unwrap_or_default();
    let mut calls = Vec::with_capacity(new.len() + spare.len());
    for (number, call) in new.into_iter().enumerate() {
        calls.push(match known.get(number) {
            Some(id) => Call { method: "PUT", path: target.activity(id), body: call.body },
            None => call,
        });
    }
    calls.extend(spare.iter().map(|id| delete(target, id)));
    calls
}

/// The call that deletes an activity of ours.
pub fn delete(target: Target<'_>, activity: &str) -> Call {
    Call { method: "DELETE", path: target.activity(activity), body: Value::Null }
}

fn activities(author: Option<&str>, content: &[Node], names: &dyn Names) -> Vec<Value> {
    let (cards, rest): (Vec<_>, Vec<_>) =
        content.iter().cloned().partition(|node| node.kind == NodeType::Card);
    let named = if rest.is_empty() && cards.is_empty() { rest } else { with_author(author, &rest) };
    let size = |nodes: &[Node]| size_of(&part_of(nodes, names).activity());
    let parts = split(named, ACTIVITY_MOST, &size);
    let texts = parts.iter().map(|nodes| part_of(nodes, names));
    let texts = texts.filter(|part| part.says_something).map(Part::activity);
    // Text and cards go apart: an activity with both is shown differently by each client.
    let card_size = |cards: &[Node]| cards.iter().map(|card| size_of(&card_activity(card))).sum();
    let cards = cards.into_iter().flat_map(|card| split(vec![card], ACTIVITY_MOST, &card_size));
    let cards: Vec<_> = cards.flatten().collect();
    texts.chain(cards.iter().map(card_activity)).collect()
}

fn card_activity(card: &Node) -> Value {
    json!({"type": "message", "attachments": [{
        "contentType": "application/vnd.microsoft.card.adaptive",
        "content": to_adaptive(card),
    }]})
}

struct Part {
    html: String,
    entities: Vec<Value>,
    says_something: bool,
}

/// In bytes, as Teams counts them.
fn size_of(activity: &Value) -> usize {
    activity.to_string().encode_utf16().count() * 2
}

impl Part {
    fn activity(self) -> Value {
        let mut activity = json!({"type": "message", "textFormat": "xml", "text": self.html});
        if !self.entities.is_empty() {
            activity["entities"] = self.entities.into();
        }
        activity
    }
}

fn part_of(content: &[Node], names: &dyn Names) -> Part {
    let mut writer =
        Writer { html: String::new(), entities: Vec::new(), says_something: false, names };
    writer.blocks(content);
    Part { html: writer.html, entities: writer.entities, says_something: writer.says_something }
}

struct Writer<'a> {
    html: String,
    entities: Vec<Value>,
    says_something: bool,
    names: &'a dyn Names,
}

impl Writer<'_> {
    fn blocks(&mut self, blocks: &[Node]) {
        for block in blocks {
            self.block(block);
        }
    }

    fn element(&mut self, tag: &str, write: impl FnOnce(&mut Self)) {
        self.html.push_str(&format!("<{tag}>"));
        write(self);
        self.html.push_str(&format!("</{tag}>"));
    }

    fn block(&mut self, block: &Node) {
        match block.kind {
            NodeType::Paragraph => self.element("p", |writer| writer.inlines(&block.children)),
            NodeType::Heading => {
                // Teams knows three.
                let tag = format!("h{}", block.level.unwrap_or(2).clamp(1, 3));
                self.element(&tag, |writer| writer.inlines(&block.children));
            }
            NodeType::Quote => {
                self.element("blockquote", |writer| writer.blocks(&block.children));
            }
            NodeType::List => {
                let tag = if block.ordered == Some(true) { "ol" } else { "ul" };
                self.element(tag, |writer| writer.blocks(&block.children));
            }
            NodeType::ListItem => self.element("li", |writer| match &block.children[..] {
                [Node { kind: NodeType::Paragraph, children, .. }] => writer.inlines(children),
                several => writer.blocks(several),
            }),
            NodeType::CodeBlock => self.code_block(block),
            NodeType::Card => self.blocks(&card::as_blocks(block)),
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
            | NodeType::Unsupported => self.inline(block),
        }
    }

    fn code_block(&mut self, block: &Node) {
        let class = match &block.language {
            Some(language) => format!(" class=\"language-{}\"", escape(language)),
            None => String::new(),
        };
        let text = block.text.as_deref().unwrap_or_default();
        self.says_something = true;
        self.html.push_str(&format!("<pre><code{class}>{}</code></pre>", escape(text)));
    }

    fn inlines(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.inline(node);
        }
    }

    fn inline(&mut self, node: &Node) {
        let text = node.text.as_deref().unwrap_or_default();
        let target = node.target.as_deref().unwrap_or_default();
        let children = &node.children;
        match node.kind {
            NodeType::Bold => self.element("b", |writer| writer.inlines(children)),
            NodeType::Italic => self.element("i", |writer| writer.inlines(children)),
            NodeType::Underline => self.element("u", |writer| writer.inlines(children)),
            NodeType::Strike => self.element("s", |writer| writer.inlines(children)),
            NodeType::Spoiler => {
                self.text("||");
                self.inlines(children);
                self.text("||");
            }
            NodeType::Text | NodeType::Unsupported => self.text(text),
            NodeType::Code => self.element("code", |writer| writer.text(text)),
            NodeType::Link => self.link(node),
            NodeType::Mention => self.mention(target),
            NodeType::ChannelMention => self.text(&format!("#{target}")),
            NodeType::BroadcastMention => self.text(&format!("@{target}")),
            NodeType::Emoji => self.text(&emoji::shown(node)),
            NodeType::LineBreak => self.html.push_str("<br>"),
            NodeType::Paragraph
            | NodeType::Heading
            | NodeType::Quote
            | NodeType::List
            | NodeType::ListItem
            | NodeType::CodeBlock
            | NodeType::Card => self.block(node),
        }
    }

    fn text(&mut self, text: &str) {
        self.says_something |= !text.trim().is_empty();
        self.html.push_str(&escape(text));
    }

    fn link(&mut self, node: &Node) {
        let url = node.url.as_deref().unwrap_or_default();
        let is_known = ["https://", "http://", "mailto:"].iter().any(|scheme| {
            url.get(..scheme.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(scheme))
        });
        if !is_known {
            self.inlines(&node.children);
            return self.text(&format!(" ({url})"));
        }
        self.html.push_str(&format!("<a href=\"{}\">", escape(url)));
        let before = self.html.len();
        self.inlines(&node.children);
        if self.html.len() == before {
            self.text(url);
        }
        self.html.push_str("</a>");
    }

    /// The text of a mention stands verbatim in the message and in the entity.
    fn mention(&mut self, user: &str) {
        let Some(id) = self.names.there(user) else { return self.text(&format!("@{user}")) };
        let text = format!("<at>{}</at>", escape(user));
        self.html.push_str(&text);
        self.says_something = true;
        let entity =
            json!({"type": "mention", "mentioned": {"id": id, "name": user}, "text": text});
        if !self.entities.contains(&entity) {
            self.entities.push(entity);
        }
    }
}

#[cfg(test)]
mod tests;

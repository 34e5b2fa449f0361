//! A message as calls of the Bot API.

use schemas::content::{Node, NodeType};
use serde_json::{Value, json};

use super::{
    DELETES_MOST, ENTITIES_MOST, TEXT_MOST,
    entity::{EMOJI_PREFIX, Entity, EntityKind, EntityUser, WORD_JOINER},
};
use crate::{Names, card, emoji, message::with_author, split::split};

/// One method with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The method's name.
    pub method: &'static str,
    /// What it is told.
    pub parameters: Value,
}

/// Where messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The chat's number.
    pub chat: i64,
    /// The forum's topic.
    pub topic: Option<i64>,
}

/// The calls that post a message: one for each part. `author` is shown in front, `reply_to` is the
/// number of the message that is answered.
pub fn post(
    target: Target,
    author: Option<&str>,
    content: &[Node],
    reply_to: Option<i64>,
    names: &dyn Names,
) -> Vec<Call> {
    let mut calls = Vec::new();
    for (number, part) in parts(author, content, names).into_iter().enumerate() {
        let mut parameters = json!({
            "chat_id": target.chat,
            "text": part.text,
            "entities": part.entities,
            "link_preview_options": {"is_disabled": true},
        });
        if let Some(topic) = target.topic {
            parameters["message_thread_id"] = topic.into();
        }
        if let Some(message) = reply_to.filter(|_| number == 0) {
            // What is answered may be gone meanwhile.
            parameters["reply_parameters"] =
                json!({"message_id": message, "allow_sending_without_reply": true});
        }
        calls.push(Call { method: "sendMessage", parameters });
    }
    calls
}

/// The calls that make the messages `known`, the parts of an earlier post, say `content`: the first
/// ones are edited, those that are missing are posted, those that are too many are deleted.
pub fn edit(
    target: Target,
    known: &[i64],
    author: Option<&str>,
    content: &[Node],
    names: &dyn Names,
) -> Vec<Call> {
    let new = post(target, author, content, None, names);
    let spare = known.get(new.len()..).unwrap_or_default();
    let mut calls = Vec::with_capacity(new.len() + 1);
    for (number, call) in new.into_iter().enumerate() {
        let Some(message) = known.get(number) else {
            calls.push(call);
            continue;
        };
        let Call { mut parameters, .. } = call;
        if let Some(fields) = parameters.as_object_mut() {
            fields.remove("message_thread_id");
            fields.insert("message_id".into(), (*message).into());
        }
        calls.push(Call { method: "editMessageText", parameters });
    }
    calls.extend(delete(target, spare));
    calls
}

/// The calls that delete messages. Telegram refuses those older than 48 hours.
pub fn delete(target: Target, messages: &[i64]) -> Vec<Call> {
    let call = |messages: &[i64]| Call {
        method: "deleteMessages",
        parameters: json!({"chat_id": target.chat, "message_ids": messages}),
    };
    messages.chunks(DELETES_MOST).map(call).collect()
}

/// The call that sets the bot's reaction to a message; none takes it back.
pub fn react(target: Target, message: i64, emoji: Option<&str>) -> Call {
    let reaction = |emoji: &str| match emoji.strip_prefix(EMOJI_PREFIX) {
        Some(id) => json!({"type": "custom_emoji", "custom_emoji_id": id}),
        None => json!({"type": "emoji", "emoji": emoji}),
    };
    let reactions: Vec<_> = emoji.map(reaction).into_iter().collect();
    let parameters = json!({"chat_id": target.chat, "message_id": message, "reaction": reactions});
    Call { method: "setMessageReaction", parameters }
}

/// Text with its entities.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) text: String,
    pub(super) entities: Vec<Entity>,
}

pub(super) fn parts(author: Option<&str>, content: &[Node], names: &dyn Names) -> Vec<Part> {
    let content = with_author(author, content);
    let size = |nodes: &[Node]| {
        let part = part_of(nodes, names);
        // Entities beyond the bound would be lost without a word.
        let too_many = part.entities.len().saturating_sub(ENTITIES_MOST);
        part.text.encode_utf16().count() + too_many * TEXT_MOST
    };
    let parts = split(content, TEXT_MOST, &size);
    let parts = parts.iter().map(|nodes| part_of(nodes, names));
    // Telegram takes no message that says nothing.
    parts.filter(|part| !part.text.trim().is_empty()).collect()
}

fn part_of(content: &[Node], names: &dyn Names) -> Part {
    let mut writer = Writer { part: Part::default(), length: 0, styles: Vec::new(), names };
    writer.blocks(content, Quoted::Not);
    let mut part = writer.part;
    let order = |entity: &Entity| (entity.offset, std::cmp::Reverse(entity.length), entity.kind);
    part.entities.sort_by_key(order);
    part
}

/// Whether blocks stand in a quotation, where there can be no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoted {
    Not,
    Inside,
}

struct Writer<'a> {
    part: Part,
    /// Of the text, in UTF-16 code units.
    length: usize,
    /// The marks that hold here.
    styles: Vec<EntityKind>,
    names: &'a dyn Names,
}

impl Writer<'_> {
    fn blocks(&mut self, blocks: &[Node], quoted: Quoted) {
        let mut before: Option<NodeType> = None;
        for block in blocks {
            if let Some(before) = before {
                let is_set_apart = |kind| matches!(kind, NodeType::CodeBlock | NodeType::Quote);
                let apart = is_set_apart(before) || is_set_apart(block.kind);
                self.write(if apart { "\n" } else { "\n\n" });
            }
            before = Some(block.kind);
            self.block(block, quoted);
        }
    }

    fn block(&mut self, block: &Node, quoted: Quoted) {
        match block.kind {
            NodeType::Heading => self.styled(EntityKind::Bold, &block.children),
            NodeType::Quote if quoted == Quoted::Not => {
                let start = self.length;
                self.blocks(&block.children, Quoted::Inside);
                self.mark(EntityKind::Blockquote, start, |_| {});
            }
            NodeType::Quote => {
                self.write("» ");
                self.blocks(&block.children, quoted);
            }
            NodeType::List => self.list(block, quoted, 0),
            NodeType::CodeBlock => {
                let start = self.length;
                self.write(block.text.as_deref().unwrap_or_default());
                self.mark(EntityKind::Pre, start, |entity| {
                    entity.language.clone_from(&block.language);
                });
            }
            NodeType::Paragraph | NodeType::ListItem => self.inlines(&block.children),
            NodeType::Card => self.blocks(&card::as_blocks(block), quoted),
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

    fn list(&mut self, list: &Node, quoted: Quoted, depth: usize) {
        for (number, item) in list.children.iter().enumerate() {
            if number > 0 {
                self.write("\n");
            }
            self.write(&"  ".repeat(depth));
            match list.ordered {
                Some(true) => self.write(&format!("{}. ", number + 1)),
                Some(false) | None => self.write("• "),
            }
            for (place, child) in item.children.iter().enumerate() {
                if place > 0 {
                    self.write("\n");
                }
                match child.kind {
                    NodeType::List => self.list(child, quoted, depth + 1),
                    _other => self.block(child, quoted),
                }
            }
        }
    }

    fn inlines(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.inline(node);
        }
    }

    fn inline(&mut self, node: &Node) {
        let text = node.text.as_deref().unwrap_or_default();
        let target = node.target.as_deref().unwrap_or_default();
        match node.kind {
            NodeType::Bold => self.styled(EntityKind::Bold, &node.children),
            NodeType::Italic => self.styled(EntityKind::Italic, &node.children),
            NodeType::Underline => self.styled(EntityKind::Underline, &node.children),
            NodeType::Strike => self.styled(EntityKind::Strikethrough, &node.children),
            NodeType::Spoiler => self.styled(EntityKind::Spoiler, &node.children),
            NodeType::Text | NodeType::Unsupported => self.foreign(text),
            NodeType::Code => self.code(text),
            NodeType::Link => self.link(node),
            NodeType::Mention => self.mention(target),
            NodeType::ChannelMention => self.foreign(&format!("#{target}")),
            NodeType::BroadcastMention => self.foreign(&format!("@{target}")),
            NodeType::Emoji => self.emoji(node, target),
            NodeType::LineBreak => self.write("\n"),
            NodeType::Paragraph
            | NodeType::Heading
            | NodeType::Quote
            | NodeType::List
            | NodeType::ListItem
            | NodeType::CodeBlock
            | NodeType::Card => self.block(node, Quoted::Inside),
        }
    }

    fn styled(&mut self, kind: EntityKind, children: &[Node]) {
        if self.styles.contains(&kind) {
            return self.inlines(children);
        }
        let start = self.length;
        self.styles.push(kind);
        self.inlines(children);
        self.styles.pop();
        self.mark(kind, start, |_| {});
    }

    fn code(&mut self, text: &str) {
        let start = self.length;
        self.write(text);
        self.mark(EntityKind::Code, start, |_| {});
    }

    fn link(&mut self, node: &Node) {
        let url = node.url.as_deref().unwrap_or_default();
        let start = self.length;
        self.inlines(&node.children);
        // Other schemes mean things within Telegram; `tg://user` is a mention.
        let is_web = ["http://", "https://"].iter().any(|scheme| {
            url.get(..scheme.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(scheme))
        });
        if !is_web {
            return self.foreign(&format!(" ({url})"));
        }
        if self.length == start {
            self.foreign(url);
        }
        self.mark(EntityKind::TextLink, start, |entity| entity.url = Some(url.to_owned()));
    }

    fn mention(&mut self, user: &str) {
        let there = self.names.there(user).and_then(|id| id.parse().ok());
        let Some(id) = there else { return self.foreign(&format!("@{user}")) };
        let start = self.length;
        self.foreign(user);
        self.mark(EntityKind::TextMention, start, |entity| entity.user = Some(EntityUser { id }));
    }

    fn emoji(&mut self, node: &Node, target: &str) {
        let start = self.length;
        self.foreign(&emoji::shown(node));
        if let Some(id) = target.strip_prefix(EMOJI_PREFIX) {
            self.mark(EntityKind::CustomEmoji, start, |entity| {
                entity.custom_emoji_id = Some(id.to_owned());
            });
        }
    }

    /// Writes what somebody else wrote: no `@` in it becomes a mention, nor one before it.
    fn foreign(&mut self, text: &str) {
        for c in text.chars() {
            let names = c.is_ascii_alphanumeric() || c == '_';
            if names && self.part.text.ends_with('@') {
                self.write(WORD_JOINER.encode_utf8(&mut [0; 4]));
            }
            self.write(c.encode_utf8(&mut [0; 4]));
        }
    }

    fn write(&mut self, text: &str) {
        self.part.text.push_str(text);
        self.length += text.encode_utf16().count();
    }

    /// Marks what was written since `start`, leaving out what may not be marked so.
    fn mark(&mut self, kind: EntityKind, start: usize, set: impl Fn(&mut Entity)) {
        let mut inside: Vec<_> = self
            .part
            .entities
            .iter()
            .filter(|inner| inner.offset >= start && !may_contain(kind, inner.kind))
            .map(|inner| (inner.offset, inner.offset + inner.length))
            .collect();
        inside.sort_unstable();
        inside.push((self.length, self.length));
        let mut from = start;
        for (begin, end) in inside {
            if from < begin {
                let mut entity = Entity::new(kind, from, begin - from);
                set(&mut entity);
                self.part.entities.push(entity);
            }
            from = from.max(end);
        }
    }
}

/// "Entities must not be nested", core.telegram.org/bots/api#formatting-options.
fn may_contain(outer: EntityKind, inner: EntityKind) -> bool {
    let is_code = matches!(inner, EntityKind::Code | EntityKind::Pre);
    let stands_alone =
        matches!(inner, EntityKind::TextLink | EntityKind::TextMention | EntityKind::CustomEmoji);
    match outer {
        EntityKind::Bold
        | EntityKind::Italic
        | EntityKind::Underline
        | EntityKind::Strikethrough
        | EntityKind::Spoiler => !is_code,
        EntityKind::TextLink | EntityKind::TextMention | EntityKind::CustomEmoji => {
            !is_code && !stands_alone
        }
        EntityKind::Code
        | EntityKind::Pre
        | EntityKind::Blockquote
        | EntityKind::ExpandableBlockquote
        | EntityKind::Mention
        | EntityKind::Url
        | EntityKind::Other => true,
    }
}

#[cfg(test)]
mod tests;

//! A message as calls of the HTTP API.

use schemas::content::{Node, NodeType};
use serde_json::{Value, json};

use super::{APART, EMOJI_ADDRESS, NAME_MOST, TEXT_MOST, WORD_JOINER, markdown::address_length};
use crate::{
    Names, card, emoji,
    message::{Reaction, words},
    split::split,
};

/// The most characters that a card's texts may have together ("Embed Limits").
const EMBED_MOST: usize = 6_000;
/// The most characters of a card's title.
const EMBED_TITLE_MOST: usize = 256;
/// The most characters of what a card says.
const EMBED_TEXT_MOST: usize = 4_096;
/// The most cards of a message.
const EMBEDS_MOST: usize = 10;

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The HTTP method.
    pub method: &'static str,
    /// The path behind the API's address.
    pub path: String,
    /// The body, `null` for none.
    pub body: Value,
}

/// Where messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The channel's id.
    pub channel: &'a str,
    /// A webhook of the channel as `id/token`, by which authors are shown under their own name;
    /// without one the bot itself speaks.
    pub webhook: Option<&'a str>,
    /// The thread's id.
    pub thread: Option<&'a str>,
}

impl Target<'_> {
    fn new_message(&self) -> String {
        match (self.webhook, self.thread) {
            (Some(webhook), None) => format!("/webhooks/{webhook}?wait=true"),
            (Some(webhook), Some(thread)) => {
                format!("/webhooks/{webhook}?wait=true&thread_id={thread}")
            }
            (None, thread) => format!("/channels/{}/messages", thread.unwrap_or(self.channel)),
        }
    }

    fn message(&self, id: &str) -> String {
        match (self.webhook, self.thread) {
            (Some(webhook), None) => format!("/webhooks/{webhook}/messages/{id}"),
            (Some(webhook), Some(thread)) => {
                format!("/webhooks/{webhook}/messages/{id}?thread_id={thread}")
            }
            (None, thread) => format!("/channels/{}/messages/{id}", thread.unwrap_or(self.channel)),
        }
    }
}

/// The calls that post a message: one for each part. `mark` is unique to the message: with it the
/// bot's own calls can be repeated within some minutes without a second message. Webhooks cannot
/// answer; there the answered message is left out.
pub fn post(
    target: Target<'_>,
    author: Option<&str>,
    content: &[Node],
    reply_to: Option<&str>,
    mark: &str,
    names: &dyn Names,
) -> Vec<Call> {
    let prefix = author.filter(|_| target.webhook.is_none());
    let parts = parts(&crate::message::with_author(prefix, content), names);
    let call = |(number, part): (usize, Part)| {
        let mut body = part.body();
        match (target.webhook, author) {
            (Some(_), Some(author)) => body["username"] = webhook_name(author).into(),
            (Some(_), None) => {}
            (None, _) => {
                body["nonce"] = nonce(mark, number).into();
                body["enforce_nonce"] = true.into();
                if let Some(message) = reply_to.filter(|_| number == 0) {
                    body["message_reference"] =
                        json!({"message_id": message, "fail_if_not_exists": false});
                }
            }
        }
        Call { method: "POST", path: target.new_message(), body }
    };
    parts.into_iter().enumerate().map(call).collect()
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
    let new = post(target, author, content, None, mark, names);
    let spare = known.get(new.len()..).unwrap_or_default();
    let mut calls = Vec::with_capacity(new.len() + spare.len());
    for (number, mut call) in new.into_iter().enumerate() {
        if let Some(id) = known.get(number) {
            if let Value::Object(fields) = &mut call.body {
                fields.retain(|name, _| {
                    !["username", "nonce", "enforce_nonce"].contains(&name.as_str())
                });
                // What is left out stays as it was.
                fields.entry("embeds").or_insert_with(|| json!([]));
            }
            call = Call { method: "PATCH", path: target.message(id), body: call.body };
        }
        calls.push(call);
    }
    calls.extend(spare.iter().map(|id| delete(target, id)));
    calls
}

/// The call that deletes a message of ours.
pub fn delete(target: Target<'_>, message: &str) -> Call {
    Call { method: "DELETE", path: target.message(message), body: Value::Null }
}

/// The call that adds the bot's reaction, an emoji or `name:id`, or takes it back.
pub fn react(channel: &str, message: &str, emoji: &str, change: Reaction) -> Call {
    let emoji: String = form_urlencoded::byte_serialize(emoji.as_bytes()).collect();
    let path = format!("/channels/{channel}/messages/{message}/reactions/{emoji}/@me");
    let method = match change {
        Reaction::Added => "PUT",
        Reaction::Removed => "DELETE",
    };
    Call { method, path, body: Value::Null }
}

/// At most 25 characters.
pub(crate) fn nonce(mark: &str, part: usize) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(format!("{part} {mark}"));
    hex::encode(&digest[..12])
}

/// A name that Discord takes: no longer than it may be, and none of those it keeps for itself.
fn webhook_name(author: &str) -> String {
    let mut name: String = author.chars().take(NAME_MOST).collect();
    for kept in ["clyde", "discord"] {
        while let Some(at) = name.to_ascii_lowercase().find(kept) {
            // Nobody sees it, and the name is another.
            name.insert(at + 1, WORD_JOINER);
            name = name.chars().take(NAME_MOST).collect();
        }
    }
    if name.trim().is_empty() { "-".to_owned() } else { name }
}

#[derive(Debug, Default)]
struct Part {
    text: String,
    users: Vec<String>,
    embeds: Vec<Value>,
}

impl Part {
    fn body(self) -> Value {
        let mut body = json!({
            "content": self.text,
            "allowed_mentions": {"parse": [], "users": self.users, "replied_user": false},
        });
        if !self.embeds.is_empty() {
            body["embeds"] = self.embeds.into();
        }
        body
    }
}

fn parts(content: &[Node], names: &dyn Names) -> Vec<Part> {
    let size = |nodes: &[Node]| {
        let part = part_of(nodes, names);
        let letters = part.embeds.iter().map(letters).sum::<usize>();
        let too_much = letters > EMBED_MOST || part.embeds.len() > EMBEDS_MOST;
        part.text.encode_utf16().count() + if too_much { TEXT_MOST + 1 } else { 0 }
    };
    let parts = split(content.to_vec(), TEXT_MOST, &size);
    let parts = parts.iter().map(|nodes| part_of(nodes, names));
    // Discord takes no message that says nothing.
    parts.filter(|part| !part.text.trim().is_empty() || !part.embeds.is_empty()).collect()
}

fn letters(embed: &Value) -> usize {
    let count = |key: &str| embed[key].as_str().map_or(0, |text| text.encode_utf16().count());
    count("title") + count("description")
}

fn part_of(content: &[Node], names: &dyn Names) -> Part {
    let mut writer = Writer::new(names);
    let mut embeds = Vec::new();
    let mut rest: Vec<Node> = Vec::new();
    for block in content {
        let embed = (block.kind == NodeType::Card).then(|| embed(block, names)).flatten();
        match embed {
            Some(embed) => embeds.push(embed),
            None => rest.push(block.clone()),
        }
    }
    writer.blocks(&rest);
    Part { text: writer.text, users: writer.users, embeds }
}

/// A card as an embed, if it fits one. What it mentions is shown and calls nobody.
fn embed(card: &Node, names: &dyn Names) -> Option<Value> {
    let mut inside = Writer::new(names);
    inside.blocks(&card.children);
    let title = card.text.clone().unwrap_or_default();
    let fits = title.encode_utf16().count() <= EMBED_TITLE_MOST
        && inside.text.encode_utf16().count() <= EMBED_TEXT_MOST
        && !(title.is_empty() && inside.text.trim().is_empty());
    if !fits {
        return None;
    }
    let mut embed = json!({"type": "rich"});
    if !title.is_empty() {
        embed["title"] = inside_title(&title).into();
    }
    if !inside.text.is_empty() {
        embed["description"] = inside.text.into();
    }
    if let Some(url) = card.url.as_deref().filter(|url| is_web(url)) {
        embed["url"] = url.into();
    }
    Some(embed)
}

/// A title has marks too.
fn inside_title(title: &str) -> String {
    let mut writer = Writer::new(&crate::message::NoNames);
    writer.foreign(title);
    writer.text
}

fn is_web(url: &str) -> bool {
    let begins = |scheme: &str| {
        url.get(..scheme.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(scheme))
    };
    (begins("https://") || begins("http://"))
        && !url.contains(|c: char| c.is_whitespace() || "<>()\\".contains(c))
}

struct Writer<'a> {
    text: String,
    /// Who may be mentioned, by the tree.
    users: Vec<String>,
    names: &'a dyn Names,
    /// What stands on this line, as far as signs behind it could begin a block.
    line: Line,
    /// The marks that hold here.
    marks: Vec<&'static str>,
}

/// What a line holds so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// White space.
    Blank,
    /// A number behind it.
    Number,
    /// Something else.
    Said,
}

impl Line {
    fn with(self, c: char) -> Self {
        match (self, c) {
            (_, '\n') => Self::Blank,
            (Self::Blank, c) if c.is_whitespace() => Self::Blank,
            (Self::Blank | Self::Number, c) if c.is_ascii_digit() => Self::Number,
            (Self::Blank | Self::Number | Self::Said, _) => Self::Said,
        }
    }
}

impl<'a> Writer<'a> {
    fn new(names: &'a dyn Names) -> Self {
        Self { text: String::new(), users: Vec::new(), names, line: Line::Blank, marks: Vec::new() }
    }

    fn blocks(&mut self, blocks: &[Node]) {
        let mut before: Option<NodeType> = None;
        for block in blocks {
            if let Some(before) = before {
                let tight = |kind| matches!(kind, NodeType::CodeBlock | NodeType::Heading);
                // An empty line parts two quotes or two lists.
                let apart = !tight(before) && !tight(block.kind);
                self.raw(if apart { "\n\n" } else { "\n" });
            }
            before = Some(block.kind);
            self.block(block);
        }
    }

    fn block(&mut self, block: &Node) {
        match block.kind {
            NodeType::Paragraph | NodeType::ListItem => self.inlines(&block.children),
            NodeType::Heading => {
                let level = usize::try_from(block.level.unwrap_or(2)).unwrap_or(2).clamp(1, 3);
                self.raw(&"#".repeat(level));
                self.raw(" ");
                self.inlines(&one_line(&block.children));
            }
            NodeType::Quote => self.quote(&block.children),
            NodeType::CodeBlock => self.code_block(block),
            NodeType::List => self.list(block, 0),
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

    /// Each line begins with `> `. A quotation in it is not one at Discord.
    fn quote(&mut self, blocks: &[Node]) {
        let mut flat: Vec<Node> = Vec::new();
        for block in blocks {
            match block.kind {
                NodeType::Quote => flat.extend(block.children.iter().cloned()),
                _other => flat.push(block.clone()),
            }
        }
        let inside = self.apart(&flat);
        let quoted: Vec<_> = inside.split('\n').map(|line| format!("> {line}")).collect();
        self.raw(&quoted.join("\n"));
    }

    /// Blocks by themselves, for what is done to each of their lines.
    fn apart(&mut self, blocks: &[Node]) -> String {
        let users = std::mem::take(&mut self.users);
        let mut inside = Writer { users, ..Writer::new(self.names) };
        inside.blocks(blocks);
        self.users = inside.users;
        inside.text
    }

    fn code_block(&mut self, block: &Node) {
        let text = block.text.as_deref().unwrap_or_default();
        let language = block.language.as_deref().unwrap_or_default();
        let is_name = |c: char| c.is_alphanumeric() || "+-_.#".contains(c);
        let language = if language.chars().all(is_name) { language } else { "" };
        // Nothing can be escaped in code.
        let text = text.replace("```", "`\u{200b}`\u{200b}`");
        self.raw(&format!("```{language}\n{text}\n```"));
    }

    fn list(&mut self, list: &Node, depth: usize) {
        for (number, item) in list.children.iter().enumerate() {
            if number > 0 {
                self.raw("\n");
            }
            self.raw(&"  ".repeat(depth));
            match list.ordered {
                Some(true) => self.raw(&format!("{}. ", number + 1)),
                Some(false) | None => self.raw("- "),
            }
            for (place, child) in item.children.iter().enumerate() {
                if place > 0 {
                    self.raw("\n");
                }
                if child.kind == NodeType::List {
                    self.list(child, depth + 1);
                    continue;
                }
                let inside = self.apart(std::slice::from_ref(child));
                let indent = "  ".repeat(depth + 1);
                // An empty line would end the list.
                let lines = inside.split('\n').filter(|line| !line.trim().is_empty());
                for (number, line) in lines.enumerate() {
                    if number > 0 {
                        self.raw("\n");
                    }
                    if number + place > 0 {
                        self.raw(&indent);
                    }
                    self.raw(line);
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
            NodeType::Bold => self.marked("**", &node.children),
            NodeType::Italic => self.marked("*", &node.children),
            NodeType::Underline => self.marked("__", &node.children),
            NodeType::Strike => self.marked("~~", &node.children),
            NodeType::Spoiler => self.marked("||", &node.children),
            NodeType::Text | NodeType::Unsupported => self.foreign(text),
            NodeType::Code => self.code(text),
            NodeType::Link => self.link(node),
            NodeType::Mention => match self.names.there(target) {
                Some(id) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) => {
                    self.raw(&format!("<@{id}>"));
                    if !self.users.contains(&id) {
                        self.users.push(id);
                    }
                }
                Some(_) | None => self.foreign(&format!("@{target}")),
            },
            NodeType::ChannelMention => self.foreign(&format!("#{target}")),
            NodeType::BroadcastMention => self.foreign(&format!("@{target}")),
            NodeType::Emoji => self.emoji(node, target),
            NodeType::LineBreak => self.raw("\n"),
            NodeType::Paragraph
            | NodeType::Heading
            | NodeType::Quote
            | NodeType::List
            | NodeType::ListItem
            | NodeType::CodeBlock
            | NodeType::Card => self.block(node),
        }
    }

    /// A mark opens before what can be seen and closes behind it; around nothing it is text.
    fn marked(&mut self, mark: &'static str, children: &[Node]) {
        if self.marks.contains(&mark) {
            return self.inlines(children);
        }
        self.marks.push(mark);
        self.mark(mark, children);
        self.marks.pop();
    }

    fn mark(&mut self, mark: &str, children: &[Node]) {
        let start = self.text.len();
        let line = self.line;
        self.raw(mark);
        let opened = self.text.len();
        self.inlines(children);
        let inside = self.text.split_off(opened);
        let trimmed = inside.trim();
        if trimmed.is_empty() {
            self.text.truncate(start);
            self.line = line;
            self.raw(&inside);
            return;
        }
        let begins = inside.len() - inside.trim_start().len();
        let ends = inside.trim_end().len();
        self.text.truncate(start);
        self.raw(&inside[..begins]);
        let sign = &mark[..1];
        self.part_from(sign);
        self.raw(mark);
        if trimmed.starts_with(sign) {
            self.raw(APART.encode_utf8(&mut [0; 4]));
        }
        self.raw(trimmed);
        self.part_from(sign);
        self.raw(mark);
        self.raw(&inside[ends..]);
    }

    /// Two marks of one sign beside each other would be one longer.
    fn part_from(&mut self, sign: &str) {
        if self.text.ends_with(sign) {
            self.raw(APART.encode_utf8(&mut [0; 4]));
        }
    }

    fn code(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let ticks = "`".repeat(if longest == 1 { 2 } else { 1 });
        // Three in a row would begin a block, and two are what closes.
        let text = if longest > 1 { text.replace("``", "`\u{200b}`") } else { text.to_owned() };
        let ticks = if longest > 1 { "``".to_owned() } else { ticks };
        let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
        self.part_from("`");
        self.raw(&format!("{ticks}{space}{text}{space}{ticks}"));
    }

    fn link(&mut self, node: &Node) {
        let url = node.url.as_deref().unwrap_or_default();
        let shown = words(&node.children);
        let is_bare = address_length(url) == url.len() && shown == url;
        if is_bare {
            return self.raw(url);
        }
        if !is_web(url) || shown.trim().is_empty() || shown.contains("://") {
            self.inlines(&node.children);
            return self.foreign(&format!(" ({url})"));
        }
        self.raw("[");
        self.inlines(&node.children);
        self.raw(&format!("](<{url}>)"));
    }

    fn emoji(&mut self, node: &Node, name: &str) {
        let custom = node.url.as_deref().and_then(|url| {
            let (id, kind) = url.strip_prefix(EMOJI_ADDRESS)?.split_once('.')?;
            let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
            let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_~".contains(&b));
            let animated = if kind == "gif" { "a" } else { "" };
            (is_id && is_name && name.len() > 1).then(|| format!("<{animated}:{name}:{id}>"))
        });
        match custom {
            Some(custom) => self.raw(&custom),
            None => self.foreign(&emoji::shown(node)),
        }
    }

    /// Writes what somebody else wrote: it is neither markup nor a mention.
    fn foreign(&mut self, text: &str) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let before = self.text.chars().next_back();
            let address =
                if before.is_some_and(char::is_alphanumeric) { 0 } else { address_length(rest) };
            if address > 0 {
                // An address has no marks, but it must not end one that is open.
                let (address, behind) = rest.split_at(address);
                if !address.contains(['*', '_', '~', '|', '`', '@', '\\']) {
                    self.raw(address);
                    rest = behind;
                    continue;
                }
            }
            rest = &rest[c.len_utf8()..];
            match c {
                '@' | '#' | ':' | '&' if before == Some('<') => {
                    self.raw(WORD_JOINER.encode_utf8(&mut [0; 4]))
                }
                '-' | '>' | '+' | '#' if self.line == Line::Blank => self.raw("\\"),
                '.' if self.line == Line::Number => self.raw("\\"),
                '\\' | '*' | '_' | '~' | '|' | '`' | '<' | '[' | ']' => self.raw("\\"),
                _text => {}
            }
            self.raw(c.encode_utf8(&mut [0; 4]));
            if c == '@' && ["everyone", "here"].iter().any(|name| rest.starts_with(name)) {
                self.raw(WORD_JOINER.encode_utf8(&mut [0; 4]));
            }
        }
    }

    fn raw(&mut self, text: &str) {
        self.text.push_str(text);
        self.line = text.chars().fold(self.line, Line::with);
    }
}

/// A heading ends with its line.
fn one_line(nodes: &[Node]) -> Vec<Node> {
    let line = |node: &Node| match node.kind {
        NodeType::LineBreak => Node::text(" "),
        _other => Node { children: one_line(&node.children), ..node.clone() },
    };
    nodes.iter().map(line).collect()
}

#[cfg(test)]
mod tests;

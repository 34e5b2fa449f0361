//! Markdown (CommonMark with strikethrough, `@user`, `:emoji:`, `||spoiler||` being text) to the
//! tree and back. Raw HTML is text, never markup.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::{DEEPEST, Node, NodeType};

/// Reads Markdown into a tree. Never fails: what is no markup is text. Nesting deeper than
/// [`DEEPEST`] is flattened.
pub fn from_markdown(text: &str) -> Vec<Node> {
    let mut builder = Builder { stack: vec![Node::empty(NodeType::Paragraph)], skipped: 0 };
    let events = Parser::new_ext(text, Options::ENABLE_STRIKETHROUGH).into_offset_iter();
    for (event, range) in events {
        let escaped = text[..range.start].ends_with('\\');
        builder.event(event, escaped);
    }
    while builder.stack.len() > 1 {
        builder.close();
    }
    builder.stack.pop().map(|root| root.children).unwrap_or_default()
}

struct Builder {
    stack: Vec<Node>,
    /// How many opened tags were too deep to become nodes.
    skipped: usize,
}

impl Builder {
    /// Takes one event; `escaped` says that its first character stood behind a backslash.
    fn event(&mut self, event: Event<'_>, escaped: bool) {
        match event {
            Event::Start(tag) => self.open(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.text(&text, escaped),
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                let text = Some(text.into_string());
                self.push(Node { text, ..Node::empty(NodeType::Code) });
            }
            Event::Html(text) | Event::InlineHtml(text) | Event::FootnoteReference(text) => {
                self.push_text(&text);
            }
            Event::SoftBreak | Event::HardBreak => self.push(Node::empty(NodeType::LineBreak)),
            Event::Rule => self.push_text("———"),
            Event::TaskListMarker(done) => self.push_text(if done { "[x] " } else { "[ ] " }),
        }
    }

    fn open(&mut self, tag: Tag<'_>) {
        let node = match tag {
            Tag::Paragraph | Tag::HtmlBlock => Node::empty(NodeType::Paragraph),
            Tag::Heading { level, .. } => {
                Node { level: Some(level as i32), ..Node::empty(NodeType::Heading) }
            }
            Tag::BlockQuote(_) => Node::empty(NodeType::Quote),
            Tag::CodeBlock(kind) => {
                let language = match kind {
                    CodeBlockKind::Fenced(name) if !name.is_empty() => Some(name.into_string()),
                    CodeBlockKind::Fenced(_) | CodeBlockKind::Indented => None,
                };
                let text = Some(String::new());
                Node { language, text, ..Node::empty(NodeType::CodeBlock) }
            }
            Tag::List(first) => {
                Node { ordered: Some(first.is_some()), ..Node::empty(NodeType::List) }
            }
            Tag::Item => Node::empty(NodeType::ListItem),
            Tag::Emphasis => Node::empty(NodeType::Italic),
            Tag::Strong => Node::empty(NodeType::Bold),
            Tag::Strikethrough => Node::empty(NodeType::Strike),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                Node { url: Some(dest_url.into_string()), ..Node::empty(NodeType::Link) }
            }
            Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::Table(_)
            | Tag::TableHead
            | Tag::TableRow
            | Tag::TableCell
            | Tag::Superscript
            | Tag::Subscript
            | Tag::MetadataBlock(_) => Node::empty(NodeType::Paragraph),
        };
        if self.stack.len() >= DEEPEST {
            self.skipped += 1;
        } else {
            self.stack.push(node);
        }
    }

    fn end(&mut self, _: TagEnd) {
        if self.skipped > 0 {
            self.skipped -= 1;
        } else {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.stack.len() < 2 {
            return;
        }
        if let Some(mut node) = self.stack.pop() {
            if let Some(text) = node.text.as_mut().filter(|text| text.ends_with('\n')) {
                text.pop();
            }
            self.push(node);
        }
    }

    fn push(&mut self, node: Node) {
        if let Some(parent) = self.stack.last_mut() {
            parent.children.push(node);
        }
    }

    fn text(&mut self, text: &str, escaped: bool) {
        match self.stack.last_mut() {
            Some(Node { kind: NodeType::CodeBlock, text: Some(code), .. }) => code.push_str(text),
            _other => {
                let plain = self.stack.iter().any(|node| node.kind == NodeType::Link);
                if plain { self.push_text(text) } else { self.inline(text, escaped) }
            }
        }
    }

    fn push_text(&mut self, text: &str) {
        let siblings = self.stack.last_mut().map(|parent| &mut parent.children);
        let Some(siblings) = siblings else { return };
        match siblings.last_mut() {
            Some(Node { kind: NodeType::Text, text: Some(before), .. }) => before.push_str(text),
            _other => siblings.push(Node::text(text)),
        }
    }

    /// Splits running text at `@user`, `@here` and `:emoji:`.
    fn inline(&mut self, text: &str, escaped: bool) {
        let mut rest = text;
        let mut plain_until =
            if escaped { text.chars().next().map_or(0, char::len_utf8) } else { 0 };
        let before = self.stack.last().and_then(|parent| parent.children.last());
        let glued = before
            .and_then(|node| node.text.as_deref())
            .is_some_and(|text| text.ends_with(char::is_alphanumeric));
        let mut first = true;
        while let Some(found) = rest[plain_until..].find(['@', ':']) {
            let at = plain_until + found;
            let starts_word = match rest[..at].chars().next_back() {
                Some(c) => !c.is_alphanumeric(),
                None => !(first && glued),
            };
            let special = starts_word.then(|| special(&rest[at..])).flatten();
            match special {
                Some((node, length)) => {
                    if at > 0 {
                        self.push_text(&rest[..at]);
                    }
                    self.push(node);
                    rest = &rest[at + length..];
                    plain_until = 0;
                    first = false;
                }
                None => plain_until = at + 1,
            }
        }
        if !rest.is_empty() {
            self.push_text(rest);
        }
    }
}

/// A mention or emoji at the start of `text`, with its length in bytes.
fn special(text: &str) -> Option<(Node, usize)> {
    if let Some(rest) = text.strip_prefix('@') {
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')))
            .unwrap_or(rest.len());
        let name = rest[..end].trim_end_matches(['.', '-']);
        let kind = match name {
            "" => return None,
            "here" | "channel" | "everyone" => NodeType::BroadcastMention,
            _other => NodeType::Mention,
        };
        return (name.len() <= 64).then(|| (Node::target(kind, name), 1 + name.len()));
    }
    let rest = text.strip_prefix(':')?;
    let end = rest.find(':')?;
    let name = &rest[..end];
    let valid = (2..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-'))
        && name.bytes().any(|b| !b.is_ascii_digit());
    valid.then(|| (Node::target(NodeType::Emoji, name), end + 2))
}

/// Writes a tree as Markdown that [`from_markdown`] reads back to the same words and marks.
pub fn to_markdown(content: &[Node]) -> String {
    let mut out = String::new();
    blocks(&mut out, content, "");
    out
}

fn blocks(out: &mut String, nodes: &[Node], indent: &str) {
    let mut first = true;
    let mut inside_run = false;
    for node in nodes {
        let block = node.kind.is_block();
        if !first && (block || !inside_run) {
            out.push_str("\n\n");
            out.push_str(indent);
        }
        first = false;
        inside_run = !block;
        match node.kind {
            NodeType::Heading => {
                let level = node.level.unwrap_or(1).clamp(1, 6);
                out.push_str(&"#".repeat(usize::try_from(level).unwrap_or(1)));
                out.push(' ');
                inlines(out, &node.children, indent);
            }
            NodeType::Quote => {
                out.push_str("> ");
                blocks(out, &node.children, &format!("{indent}> "));
            }
            NodeType::List => list(out, node, indent),
            NodeType::CodeBlock => code_block(out, node, indent),
            NodeType::Paragraph | NodeType::ListItem => inlines(out, &node.children, indent),
            NodeType::Card => card(out, node, indent),
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
            | NodeType::Unsupported => inlines(out, std::slice::from_ref(node), indent),
        }
    }
}

/// Markdown has no cards: the title in bold, or as a link, then what is inside.
fn card(out: &mut String, node: &Node, indent: &str) {
    let title = node.text.as_ref().or(node.url.as_ref());
    let mut inside = Vec::with_capacity(node.children.len() + 1);
    if let Some(title) = title {
        let bold = Node::of(NodeType::Bold, vec![Node::text(title)]);
        let title = match &node.url {
            Some(url) => Node { url: Some(url.clone()), ..Node::of(NodeType::Link, vec![bold]) },
            None => bold,
        };
        inside.push(Node::of(NodeType::Paragraph, vec![title]));
    }
    inside.extend(node.children.iter().cloned());
    blocks(out, &inside, indent);
}

fn list(out: &mut String, node: &Node, indent: &str) {
    for (index, item) in node.children.iter().enumerate() {
        if index > 0 {
            out.push('\n');
            out.push_str(indent);
        }
        let marker =
            if node.ordered == Some(true) { format!("{}. ", index + 1) } else { "- ".into() };
        out.push_str(&marker);
        blocks(out, &item.children, &format!("{indent}{}", " ".repeat(marker.len())));
    }
}

fn code_block(out: &mut String, node: &Node, indent: &str) {
    let code = node.text.as_deref().unwrap_or_default();
    let fence = "`".repeat(longest_run(code, '`').max(2) + 1);
    out.push_str(&fence);
    out.push_str(node.language.as_deref().unwrap_or_default());
    for line in code.split('\n') {
        out.push('\n');
        out.push_str(indent);
        out.push_str(line);
    }
    out.push('\n');
    out.push_str(indent);
    out.push_str(&fence);
}

fn longest_run(text: &str, wanted: char) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == wanted { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

fn inlines(out: &mut String, nodes: &[Node], indent: &str) {
    for node in nodes {
        let target = node.target.as_deref().unwrap_or_default();
        let text = node.text.as_deref().unwrap_or_default();
        match node.kind {
            NodeType::Bold => wrapped(out, "**", node, indent),
            NodeType::Italic => wrapped(out, "*", node, indent),
            NodeType::Strike => wrapped(out, "~~", node, indent),
            NodeType::Spoiler => wrapped(out, "||", node, indent),
            NodeType::Underline => inlines(out, &node.children, indent),
            NodeType::Text | NodeType::Unsupported => escape(out, text),
            NodeType::Code => {
                let fence = "`".repeat(longest_run(text, '`') + 1);
                let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
                out.push_str(&format!("{fence}{pad}{text}{pad}{fence}"));
            }
            NodeType::Link => {
                out.push('[');
                inlines(out, &node.children, indent);
                out.push_str("](<");
                let url = node.url.as_deref().unwrap_or_default();
                out.push_str(&url.replace(['<', '>', '\n'], ""));
                out.push_str(">)");
            }
            NodeType::Mention | NodeType::BroadcastMention => {
                out.push('@');
                out.push_str(target);
            }
            NodeType::ChannelMention => {
                out.push('#');
                out.push_str(target);
            }
            NodeType::Emoji => {
                out.push(':');
                out.push_str(target);
                out.push(':');
            }
            NodeType::LineBreak => {
                out.push('\n');
                out.push_str(indent);
            }
            NodeType::Paragraph
            | NodeType::Heading
            | NodeType::Quote
            | NodeType::List
            | NodeType::ListItem
            | NodeType::CodeBlock
            | NodeType::Card => blocks(out, std::slice::from_ref(node), indent),
        }
    }
}

fn wrapped(out: &mut String, mark: &str, node: &Node, indent: &str) {
    out.push_str(mark);
    inlines(out, &node.children, indent);
    out.push_str(mark);
}

/// Puts a backslash before what Markdown, mentions or emoji would take for markup.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '~' | '@' | '#' | '&') {
            out.push('\\');
        }
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(nodes: &[Node]) -> String {
        nodes
            .iter()
            .map(|node| match node.kind {
                NodeType::LineBreak => "\n".into(),
                _other => node.text.clone().unwrap_or_default() + &plain(&node.children),
            })
            .collect()
    }

    #[test]
    fn marks_mentions_and_emoji_become_nodes() {
        let tree = from_markdown("**hi** @ada see [x](https://e.org) `c` :tada: ~~no~~ a@b.c");
        let kinds: Vec<_> = tree[0].children.iter().map(|node| node.kind).collect();
        use NodeType::{Bold, Code, Emoji, Link, Mention, Strike, Text};
        assert_eq!(
            kinds,
            [Bold, Text, Mention, Text, Link, Text, Code, Text, Emoji, Text, Strike, Text]
        );
        assert_eq!(tree[0].children[2].target.as_deref(), Some("ada"));
        assert_eq!(super::super::mentions(&tree), ["ada"]);
    }

    #[test]
    fn html_is_text_and_depth_is_bounded() {
        assert!(plain(&from_markdown("<script>alert(1)</script>")).contains("<script>"));
        let deep = from_markdown(&"> ".repeat(500));
        assert!(deep.iter().map(Node::depth).max().unwrap_or(0) <= DEEPEST);
    }

    #[test]
    fn code_keeps_its_backticks() {
        let source = "```rust\nlet a = \"```\";\n```";
        let tree = from_markdown("````rust\nlet a = \"```\";\n````");
        assert_eq!(from_markdown(&to_markdown(&tree)), tree, "{source}");
    }

    proptest! {
        #[test]
        fn any_text_parses_and_plain_text_survives(text in "[ -~äß€😀\n]{0,200}") {
            let tree = from_markdown(&text);
            to_markdown(&tree);
            let words = Node::of(NodeType::Paragraph, vec![Node::text(text.replace('\n', " ").trim())]);
            let back = from_markdown(&to_markdown(std::slice::from_ref(&words)));
            prop_assert_eq!(mentions_in(&back), 0);
        }
    }

    fn mentions_in(nodes: &[Node]) -> usize {
        super::super::mentions(nodes).len()
    }
}

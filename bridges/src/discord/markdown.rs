//! Discord's Markdown (support.discord.com, "Markdown Text 101"; docs.discord.com,
//! "Message Formatting"): read into a tree.

use schemas::{
    Timestamp,
    content::{DEEPEST, Node, NodeType},
};

use super::{APART, WORD_JOINER};
use crate::Names;

/// How far from its opening a mark is looked for, in bytes: the longest message there is.
const LOOKED_AT_MOST: usize = 16_384;

/// An address has at most so many characters.
const ADDRESS_MOST: usize = 2_048;

/// The marks in the order in which they are tried.
const MARKS: [(&str, NodeType); 6] = [
    ("||", NodeType::Spoiler),
    ("~~", NodeType::Strike),
    ("__", NodeType::Underline),
    ("**", NodeType::Bold),
    ("*", NodeType::Italic),
    ("_", NodeType::Italic),
];

/// Reads Markdown. Never fails: what is no markup is text.
pub fn from_markdown(text: &str, names: &dyn Names) -> Vec<Node> {
    Reader { names }.blocks(text, 0)
}

struct Reader<'a> {
    names: &'a dyn Names,
}

impl Reader<'_> {
    fn blocks(&self, text: &str, depth: usize) -> Vec<Node> {
        let mut blocks = Vec::new();
        let mut rest = text;
        // Blocks of code stand between three backticks, whatever is in them.
        while let Some((before, behind)) = rest.split_once("```") {
            let Some((code, after)) = behind.split_once("```") else { break };
            if before.ends_with('\\') || before.lines().any(|line| line.starts_with(">>> ")) {
                break;
            }
            self.lines(&mut blocks, before, depth);
            blocks.push(code_block(code));
            rest = after;
        }
        self.lines(&mut blocks, rest, depth);
        blocks
    }

    fn lines(&self, blocks: &mut Vec<Node>, text: &str, depth: usize) {
        let mut lines = text.split('\n').peekable();
        let mut paragraph: Vec<&str> = Vec::new();
        while let Some(line) = lines.next() {
            if depth < DEEPEST / 4
                && let Some(inside) = line.strip_prefix(">>> ")
            {
                self.paragraph(blocks, &mut paragraph);
                let all = [inside].into_iter().chain(lines).collect::<Vec<_>>().join("\n");
                blocks.push(Node::of(NodeType::Quote, self.blocks(&all, depth + 1)));
                return;
            }
            if depth < DEEPEST / 4
                && let Some(inside) = quoted(line)
            {
                self.paragraph(blocks, &mut paragraph);
                let mut all = vec![inside];
                while let Some(inside) = lines.peek().and_then(|line| quoted(line)) {
                    all.push(inside);
                    lines.next();
                }
                blocks.push(Node::of(NodeType::Quote, self.blocks(&all.join("\n"), depth + 1)));
            } else if let Some((level, inside)) = heading(line) {
                self.paragraph(blocks, &mut paragraph);
                let heading = Node::of(NodeType::Heading, self.inline(inside, 0));
                blocks.push(Node { level: Some(level), ..heading });
            } else if let Some(inside) = line.strip_prefix("-# ") {
                // Small print, which nothing else has.
                self.paragraph(blocks, &mut paragraph);
                self.paragraph(blocks, &mut vec![inside]);
            } else if item(line).is_some() {
                self.paragraph(blocks, &mut paragraph);
                let mut items: Vec<Item> = item(line).into_iter().collect();
                while let Some(line) = lines.peek() {
                    match (item(line), items.last_mut()) {
                        (Some(item), _) => items.push(item),
                        // A line that stands further in goes on with its item.
                        (None, Some(last)) if is_inside(line, last) => {
                            last.text.push('\n');
                            last.text.push_str(line.trim_start());
                        }
                        (None, _) => break,
                    }
                    lines.next();
                }
                self.lists(blocks, &items, 0);
            } else {
                paragraph.push(line);
            }
        }
        self.paragraph(blocks, &mut paragraph);
    }

    fn paragraph(&self, blocks: &mut Vec<Node>, lines: &mut Vec<&str>) {
        let nodes = self.inline(&lines.join("\n"), 0);
        lines.clear();
        // Marks reach over empty lines, so these part what is not within one.
        let is_break = |node: &Node| node.kind == NodeType::LineBreak;
        let mut current: Vec<Node> = Vec::new();
        let mut breaks = 0;
        for node in nodes {
            if is_break(&node) {
                breaks += 1;
                continue;
            }
            match breaks {
                _any if current.is_empty() => {}
                0 => {}
                1 => current.push(Node::empty(NodeType::LineBreak)),
                _more => {
                    blocks.push(Node::of(NodeType::Paragraph, std::mem::take(&mut current)));
                }
            }
            breaks = 0;
            current.push(node);
        }
        if !current.is_empty() {
            blocks.push(Node::of(NodeType::Paragraph, current));
        }
    }

    /// Lists of consecutive items: a new one where counting begins or ends, an inner one where
    /// items stand further in.
    fn lists(&self, blocks: &mut Vec<Node>, items: &[Item], depth: usize) {
        let mut rest = items;
        while let [first, behind @ ..] = rest {
            let inner = behind.iter().take_while(|item| item.indent > first.indent).count();
            let paragraph = Node::of(NodeType::Paragraph, self.inline(&first.text, 0));
            let mut children = vec![paragraph];
            if depth < DEEPEST / 4 {
                self.lists(&mut children, &behind[..inner], depth + 1);
            } else {
                let deep = |item: &Item| Node::of(NodeType::Paragraph, self.inline(&item.text, 0));
                children.extend(behind[..inner].iter().map(deep));
            }
            let node = Node::of(NodeType::ListItem, children);
            match blocks.last_mut() {
                Some(list)
                    if list.kind == NodeType::List
                        && list.ordered == Some(first.ordered)
                        && rest.len() < items.len() =>
                {
                    list.children.push(node);
                }
                Some(_) | None => {
                    let list = Node::of(NodeType::List, vec![node]);
                    blocks.push(Node { ordered: Some(first.ordered), ..list });
                }
            }
            rest = &behind[inner..];
        }
    }

    fn inline(&self, text: &str, depth: usize) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let rest = &text[at..];
            let before = text[..at].chars().next_back();
            let found = match c {
                '\n' => Some((Node::empty(NodeType::LineBreak), 1)),
                '`' => code(rest),
                '<' => self.token(rest),
                '[' if depth < DEEPEST / 4 => self.masked_link(rest, depth),
                'h' => address(rest, before),
                '@' => broadcast(rest),
                '*' | '_' | '~' | '|' if depth < DEEPEST / 4 => self.marked(rest, before, depth),
                _text => None,
            };
            if let Some((node, length)) = found {
                flush(&mut nodes, &mut plain);
                nodes.push(node);
                at += length;
                continue;
            }
            let escaped = rest[c.len_utf8()..].chars().next().filter(char::is_ascii_punctuation);
            match (c, escaped) {
                ('\\', Some(escaped)) => {
                    plain.push(escaped);
                    at += 2;
                }
                // Ours: they keep foreign text from being a mention, and marks apart.
                (WORD_JOINER, _) if matches!(before, Some('<' | '@')) => at += c.len_utf8(),
                (APART, _) if is_beside_mark(before, &rest[c.len_utf8()..]) => at += c.len_utf8(),
                _text => {
                    plain.push(c);
                    at += c.len_utf8();
                }
            }
        }
        flush(&mut nodes, &mut plain);
        nodes
    }

    fn marked(&self, text: &str, before: Option<char>, depth: usize) -> Option<(Node, usize)> {
        for (mark, kind) in MARKS {
            let Some(behind) = text.strip_prefix(mark) else { continue };
            // An underscore in a word is one.
            if mark == "_" && before.is_some_and(char::is_alphanumeric) {
                continue;
            }
            if mark == "*" && behind.starts_with([' ', '\n']) {
                continue;
            }
            let Some(end) = closer(behind, mark) else { continue };
            let children = self.inline(&behind[..end], depth + 1);
            return Some((Node::of(kind, children), mark.len() * 2 + end));
        }
        None
    }

    fn masked_link(&self, text: &str, depth: usize) -> Option<(Node, usize)> {
        let end = closing_bracket(text)?;
        let behind = text[end + 1..].strip_prefix('(')?;
        let closed = match behind.strip_prefix('<') {
            Some(angled) => angled.find(">)")? + 2,
            None => behind.find(')')?,
        };
        let inside = behind[..closed].trim_start_matches('<').trim_end_matches('>');
        let url = inside.split_whitespace().next()?;
        if !is_web(url) {
            return None;
        }
        let link = Node::of(NodeType::Link, self.inline(&text[1..end], depth + 1));
        Some((Node { url: Some(url.to_owned()), ..link }, end + 2 + closed + 1))
    }

    /// What stands between `<` and `>`.
    fn token(&self, text: &str) -> Option<(Node, usize)> {
        let end = text.find('>').filter(|end| *end < LOOKED_AT_MOST)?;
        let inside = &text[1..end];
        let is_id = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
        let node = if let Some(id) = inside.strip_prefix("@&").filter(|id| is_id(id)) {
            Node::text(format!("@{id}"))
        } else if let Some(id) =
            inside.strip_prefix("@!").or_else(|| inside.strip_prefix('@')).filter(|id| is_id(id))
        {
            match self.names.here(id) {
                Some(name) => Node::target(NodeType::Mention, name),
                None => Node::text(format!("@{}", self.names.shown(id).unwrap_or(id.to_owned()))),
            }
        } else if let Some(id) = inside.strip_prefix('#').filter(|id| is_id(id)) {
            let name = self.names.shown(id).unwrap_or_else(|| id.to_owned());
            Node::target(NodeType::ChannelMention, name)
        } else if let Some(command) = inside.strip_prefix('/') {
            Node::text(format!("/{}", command.split(':').next().unwrap_or(command)))
        } else if let Some(rest) = inside.strip_prefix("t:") {
            Node::text(time(rest)?)
        } else if let Some(place) = inside.strip_prefix("id:") {
            Node::text(format!("[{place}]"))
        } else if is_web(inside) && !inside.contains([' ', '\n']) {
            link(inside)
        } else {
            custom_emoji(inside)?
        };
        Some((node, end + 1))
    }
}

fn is_beside_mark(before: Option<char>, behind: &str) -> bool {
    let is_mark = |c: char| "*_~|`".contains(c);
    before.is_some_and(is_mark) || behind.starts_with(is_mark)
}

fn flush(nodes: &mut Vec<Node>, plain: &mut String) {
    if !plain.is_empty() {
        nodes.push(Node::text(std::mem::take(plain)));
    }
}

fn code_block(code: &str) -> Node {
    let is_language = |line: &str| {
        !line.is_empty() && line.chars().all(|c| c.is_alphanumeric() || "+-_.#".contains(c))
    };
    let (language, code) = match code.split_once('\n') {
        Some((first, behind)) if is_language(first) && !behind.trim().is_empty() => {
            (Some(first.to_owned()), behind)
        }
        Some(("", behind)) => (None, behind),
        Some(_) | None => (None, code),
    };
    let code = code.strip_suffix('\n').unwrap_or(code);
    Node { text: Some(code.to_owned()), language, ..Node::empty(NodeType::CodeBlock) }
}

fn quoted(line: &str) -> Option<&str> {
    line.strip_prefix("> ")
}

fn heading(line: &str) -> Option<(i32, &str)> {
    let inside = line.trim_start_matches('#');
    let level = i32::try_from(line.len() - inside.len()).ok()?;
    let inside = inside.strip_prefix(' ').filter(|inside| !inside.trim().is_empty())?;
    (1..=3).contains(&level).then_some((level, inside))
}

struct Item {
    indent: usize,
    ordered: bool,
    text: String,
}

fn is_inside(line: &str, item: &Item) -> bool {
    let indent = line.len() - line.trim_start_matches(' ').len();
    indent > item.indent && !line.trim().is_empty()
}

fn item(line: &str) -> Option<Item> {
    let inside = line.trim_start_matches(' ');
    let indent = line.len() - inside.len();
    let (ordered, text) = match inside.strip_prefix("- ").or_else(|| inside.strip_prefix("* ")) {
        Some(text) => (false, text),
        None => {
            let behind = inside.trim_start_matches(|c: char| c.is_ascii_digit());
            let digits = inside.len() - behind.len();
            let text = behind.strip_prefix(". ").filter(|_| (1..=9).contains(&digits))?;
            (true, text)
        }
    };
    (!text.trim().is_empty()).then(|| Item { indent, ordered, text: text.to_owned() })
}

/// Code in a line: between as many backticks as it begins with.
fn code(text: &str) -> Option<(Node, usize)> {
    let inside = text.trim_start_matches('`');
    let ticks = &text[..text.len() - inside.len()];
    let mut from = 0;
    let end = loop {
        let found = from + inside[from..].find(ticks)?;
        let run = inside[found..].len() - inside[found..].trim_start_matches('`').len();
        if run == ticks.len() {
            break found;
        }
        from = found + run;
    };
    let code = &inside[..end];
    let bare = match code.strip_prefix(' ').and_then(|code| code.strip_suffix(' ')) {
        Some(bare) if bare.starts_with('`') || bare.ends_with('`') => bare,
        Some(_) | None => code,
    };
    let node = Node { text: Some(bare.to_owned()), ..Node::empty(NodeType::Code) };
    (!bare.is_empty()).then_some((node, ticks.len() * 2 + end))
}

/// Where the mark that closes begins, passing over what is escaped and over code.
fn closer(text: &str, mark: &str) -> Option<usize> {
    let sign = mark.as_bytes()[0];
    let mut at = 0;
    while at < text.len().min(LOOKED_AT_MOST) {
        match text.as_bytes()[at] {
            b'\\' => at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
            b'`' => at += code(&text[at..]).map_or(1, |(_, length)| length),
            byte if byte == sign => {
                let run = text[at..].bytes().take_while(|byte| *byte == sign).count();
                // Of a longer run the end closes: what is before it belongs to marks inside.
                let closes = if mark.len() == 1 { run % 2 == 1 } else { run >= 2 };
                let end = at + run - mark.len().min(run);
                let behind = text[at + run..].chars().next();
                let in_word = mark == "_" && behind.is_some_and(char::is_alphanumeric);
                if closes && end > 0 && !in_word {
                    return Some(end);
                }
                at += run;
            }
            _text => at += text[at..].chars().next().map_or(1, char::len_utf8),
        }
    }
    None
}

/// The `]` that closes the first character.
fn closing_bracket(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut escaped = false;
    for (at, c) in text.char_indices().take(LOOKED_AT_MOST) {
        match c {
            _any if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => depth += 1,
            ']' if depth == 1 => return (at > 1).then_some(at),
            ']' => depth -= 1,
            _text => {}
        }
    }
    None
}

fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

fn link(url: &str) -> Node {
    Node { url: Some(url.to_owned()), ..Node::of(NodeType::Link, vec![Node::text(url)]) }
}

/// The length of the address at the beginning of a text, as Discord's own client sees it.
pub(super) fn address_length(text: &str) -> usize {
    if !is_web(text) {
        return 0;
    }
    let near = text.char_indices().nth(ADDRESS_MOST).map_or(text, |(end, _)| &text[..end]);
    let end = near.find(|c: char| c.is_whitespace() || c == '<').unwrap_or(near.len());
    let address = text[..end]
        .trim_end_matches(['.', ',', ':', ';', '"', '\'', ')', ']', '*', '_', '~', '|', '`']);
    if address.ends_with("//") { 0 } else { address.len() }
}

fn address(text: &str, before: Option<char>) -> Option<(Node, usize)> {
    if before.is_some_and(char::is_alphanumeric) {
        return None;
    }
    let length = address_length(text);
    (length > 0).then(|| (link(&text[..length]), length))
}

fn broadcast(text: &str) -> Option<(Node, usize)> {
    let name = ["everyone", "here"].into_iter().find(|name| text[1..].starts_with(name))?;
    Some((Node::target(NodeType::BroadcastMention, name), name.len() + 1))
}

/// `unix` or `unix:style`: the time in words that need no clock.
fn time(text: &str) -> Option<String> {
    let seconds: i64 = text.split(':').next()?.parse().ok()?;
    Some(Timestamp::from_millis(seconds.saturating_mul(1000)).to_string())
}

/// `:name:id` or `a:name:id`.
fn custom_emoji(text: &str) -> Option<Node> {
    let mut parts = text.split(':');
    let (animated, name, id) = (parts.next()?, parts.next()?, parts.next()?);
    let is_name = (2..=32).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'~');
    let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
    if !is_name || !is_id || parts.next().is_some() {
        return None;
    }
    let kind = match animated {
        "" => "webp",
        "a" => "gif",
        _other => return None,
    };
    Some(super::custom_emoji(name, id, kind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemas::content::to_markdown;

    use super::*;
    use crate::message::NoNames;

    #[test]
    fn every_mark_is_read() {
        let read = |text: &str| to_markdown(&from_markdown(text, &NoNames));
        assert_eq!(read("**b** *i* _i_ ~~s~~ `c`"), "**b** *i* *i* ~~s~~ `c`");
        assert_eq!(read("***bi*** **b *bi***"), "***bi*** **b *bi***");
        assert_eq!(read("snake_case_name 2*3"), "snake\\_case\\_name 2\\*3");
        assert_eq!(read("\\*no\\* ``a ` b``"), "\\*no\\* ``a ` b``");
        assert_eq!(read("# One\n-# small\n> q1\n> q2\nx"), "# One\n\nsmall\n\n> q1\n> q2\n\nx");
        assert_eq!(read("- a\n  - b\n- c\n1. d"), "- a\n\n  - b\n- c\n\n1. d");
        assert_eq!(read("a\n```rs\nlet a = *b*;\n```\nz"), "a\n\n```rs\nlet a = *b*;\n```\n\nz");
        assert_eq!(read("[e](<https://e.org/a_b>) <@&7>"), "[e](<https://e.org/a_b>) \\@7");
        assert_eq!(read("<t:1618953630:F>"), "2021-04-20T21:20:30Z");
    }

    #[test]
    fn what_has_no_markdown_of_ours_is_kept_in_the_tree() {
        let tree = from_markdown("__u__ ||s|| <:party:123> @everyone <#42>", &NoNames);
        let kinds: Vec<_> = tree[0].children.iter().map(|node| node.kind).collect();
        let expected = [
            NodeType::Underline,
            NodeType::Text,
            NodeType::Spoiler,
            NodeType::Text,
            NodeType::Emoji,
            NodeType::Text,
            NodeType::BroadcastMention,
            NodeType::Text,
            NodeType::ChannelMention,
        ];
        assert_eq!(kinds, expected);
        assert_eq!(tree[0].children[4].text.as_deref(), Some(":party:"));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[ -~é😀\n]{0,300}") {
            from_markdown(&text, &NoNames);
        }

        #[test]
        fn many_marks_are_read(text in "[*_~|`<>@\\[\\]()# \n-]{0,200}") {
            from_markdown(&text, &NoNames);
        }
    }
}

//! Slack's own markup (docs.slack.dev/messaging/formatting-message-text): `*bold*`, `_italic_`,
//! `~strike~`, `` `code` ``, blocks of code, quotes, `<…>` for links and mentions, `:emoji:`. Only `&`,
//! `<` and `>` are escaped.

use schemas::content::{Node, NodeType};

use crate::Names;

/// How many marks of its kind are looked at to find the one that closes another.
const CLOSERS_MOST: usize = 32;

/// Reads markup. Never fails: what is no markup is text.
pub fn from_mrkdwn(text: &str, names: &dyn Names) -> Vec<Node> {
    let mut blocks = Vec::new();
    let mut rest = text;
    // Blocks of code stand between three backticks, whatever is in them.
    while let Some((before, behind)) = rest.split_once("```") {
        let Some((code, after)) = behind.split_once("```") else { break };
        lines(&mut blocks, before, names);
        let code = unescape(code.strip_prefix('\n').unwrap_or(code));
        let code = code.strip_suffix('\n').unwrap_or(&code).to_owned();
        blocks.push(Node { text: Some(code), ..Node::empty(NodeType::CodeBlock) });
        rest = after;
    }
    lines(&mut blocks, rest, names);
    blocks
}

/// Writes text so that Slack takes none of it for markup of its own kind: no link, no mention.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// Lines that begin with `>` are quotes; an empty line ends a paragraph.
fn lines(blocks: &mut Vec<Node>, text: &str, names: &dyn Names) {
    let mut paragraph: Vec<&str> = Vec::new();
    let mut quoted: Vec<&str> = Vec::new();
    for line in text.split('\n') {
        match line.strip_prefix("&gt;").or_else(|| line.strip_prefix('>')) {
            Some(inside) => {
                push_paragraph(blocks, &mut paragraph, names);
                quoted.push(inside.strip_prefix(' ').unwrap_or(inside));
            }
            None => {
                push_quote(blocks, &mut quoted, names);
                if line.trim().is_empty() {
                    push_paragraph(blocks, &mut paragraph, names);
                } else {
                    paragraph.push(line);
                }
            }
        }
    }
    push_quote(blocks, &mut quoted, names);
    push_paragraph(blocks, &mut paragraph, names);
}

fn push_paragraph(blocks: &mut Vec<Node>, lines: &mut Vec<&str>, names: &dyn Names) {
    if !lines.is_empty() {
        blocks.push(Node::of(NodeType::Paragraph, inline(&lines.join("\n"), names)));
        lines.clear();
    }
}

fn push_quote(blocks: &mut Vec<Node>, lines: &mut Vec<&str>, names: &dyn Names) {
    if !lines.is_empty() {
        let paragraph = Node::of(NodeType::Paragraph, inline(&lines.join("\n"), names));
        blocks.push(Node::of(NodeType::Quote, vec![paragraph]));
        lines.clear();
    }
}

fn inline(text: &str, names: &dyn Names) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut plain = String::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let before = text[..at].chars().next_back();
        let found = match c {
            '<' => token(&text[at..], names),
            '`' => code(&text[at..]),
            '*' | '_' | '~' => marked(&text[at..], c, before, names),
            ':' => emoji(&text[at..], before),
            '\n' => Some((Node::empty(NodeType::LineBreak), 1)),
            _text => None,
        };
        match found {
            Some((node, length)) => {
                flush(&mut nodes, &mut plain);
                nodes.push(node);
                at += length;
            }
            None => {
                plain.push(c);
                at += c.len_utf8();
            }
        }
    }
    flush(&mut nodes, &mut plain);
    nodes
}

fn flush(nodes: &mut Vec<Node>, plain: &mut String) {
    if !plain.is_empty() {
        nodes.push(Node::text(unescape(plain)));
        plain.clear();
    }
}

fn code(text: &str) -> Option<(Node, usize)> {
    let end = text[1..].find('`').filter(|length| *length > 0)?;
    let inside = &text[1..=end];
    let is_line = !inside.contains('\n');
    let node = Node { text: Some(unescape(inside)), ..Node::empty(NodeType::Code) };
    is_line.then_some((node, end + 2))
}

/// A mark begins where a word could and ends where one could, on the same line.
fn marked(
    text: &str,
    mark: char,
    before: Option<char>,
    names: &dyn Names,
) -> Option<(Node, usize)> {
    if before.is_some_and(char::is_alphanumeric) || text[1..].starts_with([' ', '\n', mark]) {
        return None;
    }
    let line = text.split('\n').next().unwrap_or_default();
    let ends = line[1..].match_indices(mark).map(|(at, _)| at + 1);
    // Whoever opens so many marks means none of them.
    for end in ends.take(CLOSERS_MOST) {
        let inside = &line[1..end];
        let closes =
            !inside.ends_with(' ') && !line[end + 1..].starts_with(|c: char| c.is_alphanumeric());
        if closes && !inside.is_empty() {
            let kind = match mark {
                '*' => NodeType::Bold,
                '_' => NodeType::Italic,
                _tilde => NodeType::Strike,
            };
            return Some((Node::of(kind, inline(inside, names)), end + 1));
        }
    }
    None
}

fn emoji(text: &str, before: Option<char>) -> Option<(Node, usize)> {
    if before.is_some_and(char::is_alphanumeric) {
        return None;
    }
    let end = text[1..].find(':').filter(|length| (1..=100).contains(length))?;
    let name = &text[1..=end];
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_+-'".contains(c);
    let is_emoji = name.chars().all(is_name) && !name.bytes().all(|b| b.is_ascii_digit());
    is_emoji.then(|| (Node::target(NodeType::Emoji, name), end + 2))
}

/// What stands between `<` and `>`.
fn token(text: &str, names: &dyn Names) -> Option<(Node, usize)> {
    let end = text.find('>')?;
    let inside = &text[1..end];
    let (what, label) = match inside.split_once('|') {
        Some((what, label)) => (what, Some(unescape(label))),
        None => (inside, None),
    };
    let node = match what.chars().next()? {
        '@' => user(&what[1..], label, names),
        '#' => {
            let id = &what[1..];
            Node::target(NodeType::ChannelMention, label.unwrap_or_else(|| id.to_owned()))
        }
        '!' => special(&what[1..], label),
        _address if what.contains(':') && !what.contains([' ', '\n', '<']) => {
            let url = unescape(what);
            let shown = label.unwrap_or_else(|| url.clone());
            Node { url: Some(url), ..Node::of(NodeType::Link, vec![Node::text(shown)]) }
        }
        _text => return None,
    };
    Some((node, end + 1))
}

fn user(id: &str, label: Option<String>, names: &dyn Names) -> Node {
    match names.here(id) {
        Some(name) => Node::target(NodeType::Mention, name),
        None => {
            let shown = label.or_else(|| names.shown(id));
            Node::text(format!("@{}", shown.as_deref().unwrap_or(id)))
        }
    }
}

fn special(what: &str, label: Option<String>) -> Node {
    let (name, rest) = what.split_once('^').unwrap_or((what, ""));
    match name {
        "here" | "channel" | "everyone" => Node::target(NodeType::BroadcastMention, name),
        // `<!date^1392734382^{date}|February 18th, 2014>` has its text in every case.
        "date" => Node::text(label.unwrap_or_else(|| rest.to_owned())),
        "subteam" => {
            // The label has its own `@`.
            let name = label.unwrap_or_else(|| rest.to_owned());
            Node::text(format!("@{}", name.trim_start_matches('@')))
        }
        _later => Node::text(label.unwrap_or_else(|| format!("<!{what}>"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemas::content::to_markdown;

    use super::*;
    use crate::message::NoNames;

    struct Ada;

    impl Names for Ada {
        fn here(&self, platform_user: &str) -> Option<String> {
            (platform_user == "U1").then(|| "ada".to_owned())
        }

        fn there(&self, _: &str) -> Option<String> {
            None
        }
    }

    #[test]
    fn every_mark_is_read() {
        let read = |text: &str| to_markdown(&from_mrkdwn(text, &Ada));
        assert_eq!(read("*b* _i_ ~s~ `c`"), "**b** *i* ~~s~~ `c`");
        assert_eq!(read("*b _bi_*"), "**b *bi***");
        assert_eq!(
            read("2*3*4 snake_case_name a * b *"),
            "2\\*3\\*4 snake\\_case\\_name a \\* b \\*"
        );
        assert_eq!(read("<@U1> <@U2|eve> <#C1|general> <!here>"), "@ada \\@eve #general @here");
        assert_eq!(
            read("<https://e.org?a=1&amp;b=2|e &amp; o>"),
            "[e \\& o](<https://e.org?a=1&b=2>)"
        );
        assert_eq!(read("<!subteam^S1|@devs> <!date^1^{date}|today>"), "\\@devs today");
        assert_eq!(read("&lt;b&gt; &amp;amp;"), "\\<b\\> \\&amp;");
        assert_eq!(read("&gt; q1\n&gt; q2\nx\n\ny :tada:"), "> q1\n> q2\n\nx\n\ny :tada:");
        assert_eq!(read("a\n```\nlet a = *b*;\n```\nz"), "a\n\n```\nlet a = *b*;\n```\n\nz");
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[ -~é😀\n]{0,300}") {
            from_mrkdwn(&text, &NoNames);
        }

        #[test]
        fn escaped_text_names_nobody(text in "[a-z<>@!#|^&;: ]{0,100}") {
            let tree = from_mrkdwn(&escape(&text), &Ada);
            let markdown = to_markdown(&tree);
            prop_assert!(schemas::content::mentions(&tree).is_empty(), "{markdown}");
            let is_broadcast = |node: &Node| node.kind == NodeType::BroadcastMention;
            prop_assert!(!tree.iter().flat_map(|block| &block.children).any(is_broadcast));
        }
    }
}

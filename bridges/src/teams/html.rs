//! The HTML that Teams sends and takes
//! (learn.microsoft.com/microsoftteams/platform/bots/how-to/format-your-bot-messages).

use std::collections::BTreeMap;

use html5gum::{Token, Tokenizer};
use schemas::content::{DEEPEST, Node, NodeType};

use crate::card::picture;

/// Whether line breaks in text are shown, as in an activity's `text`, or are white space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    Kept,
    Folded,
}

/// Whom a name in the text means; `None` leaves the mention out.
pub(super) type Mentioned<'a> = &'a dyn Fn(&str) -> Option<Node>;

/// Reads HTML that mentions nobody who is known. Never fails: what is no markup is text.
pub fn from_html(html: &str) -> Vec<Node> {
    read(html, Lines::Folded, &|name| Some(Node::text(format!("@{name}"))))
}

/// Writes text so that Teams takes none of it for markup.
pub fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}

/// Reads HTML or what Teams makes of plain text.
pub(super) fn read(html: &str, lines: Lines, mentioned: Mentioned<'_>) -> Vec<Node> {
    Reader { lines, mentioned }.blocks(&elements(html))
}

#[derive(Debug)]
enum Html {
    Text(String),
    Element(Element),
}

#[derive(Debug)]
struct Element {
    tag: String,
    attributes: BTreeMap<String, String>,
    children: Vec<Html>,
}

impl Element {
    fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map(String::as_str).unwrap_or_default()
    }

    fn text(&self) -> String {
        self.children
            .iter()
            .map(|child| match child {
                Html::Text(text) => text.clone(),
                Html::Element(element) if element.tag == "br" => "\n".to_owned(),
                Html::Element(element) => element.text(),
            })
            .collect()
    }
}

/// A tree of whatever tags there are: what is not closed ends with what it is in, and what was not
/// opened is passed over.
fn elements(html: &str) -> Vec<Html> {
    let string = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut roots = Vec::new();
    let mut open: Vec<Element> = Vec::new();
    let add = |open: &mut Vec<Element>, roots: &mut Vec<Html>, child: Html| match open.last_mut() {
        Some(parent) => parent.children.push(child),
        None => roots.push(child),
    };
    let close = |open: &mut Vec<Element>, roots: &mut Vec<Html>| {
        if let Some(element) = open.pop() {
            add(open, roots, Html::Element(element));
        }
    };
    for Ok(token) in Tokenizer::new(html) {
        match token {
            Token::StartTag(start) => {
                let tag = string(&start.name);
                let attributes = start
                    .attributes
                    .iter()
                    .map(|(name, value)| (string(name), string(value)))
                    .collect();
                let is_void = start.self_closing
                    || ["br", "img", "hr", "input", "meta", "link", "col"].contains(&tag.as_str());
                // One of these ends the one before it.
                if ["li", "p", "tr", "td", "th"].contains(&tag.as_str())
                    && open.last().is_some_and(|last| last.tag == tag)
                {
                    close(&mut open, &mut roots);
                }
                let element = Element { tag, attributes, children: Vec::new() };
                if is_void || open.len() >= DEEPEST {
                    add(&mut open, &mut roots, Html::Element(element));
                } else {
                    open.push(element);
                }
            }
            Token::EndTag(end) => {
                let tag = string(&end.name);
                if open.iter().any(|element| element.tag == tag) {
                    while open.last().is_some_and(|element| element.tag != tag) {
                        close(&mut open, &mut roots);
                    }
                    close(&mut open, &mut roots);
                }
            }
            Token::String(text) => add(&mut open, &mut roots, Html::Text(string(&text))),
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    while !open.is_empty() {
        close(&mut open, &mut roots);
    }
    roots
}

struct Reader<'a> {
    lines: Lines,
    mentioned: Mentioned<'a>,
}

impl Reader<'_> {
    fn blocks(&self, children: &[Html]) -> Vec<Node> {
        let mut blocks = Vec::new();
        let mut running: Vec<Node> = Vec::new();
        for child in children {
            match child {
                Html::Element(element) if is_block(element) => {
                    flush(&mut blocks, &mut running);
                    self.block(&mut blocks, element);
                }
                _inline => self.inline(&mut running, child),
            }
        }
        flush(&mut blocks, &mut running);
        blocks
    }

    fn block(&self, blocks: &mut Vec<Node>, element: &Element) {
        let Element { tag, children, .. } = element;
        match tag.as_str() {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                let level = i32::from(tag.as_bytes()[1] - b'0');
                let heading = Node::of(NodeType::Heading, self.inlines(children));
                blocks.push(Node { level: Some(level), ..heading });
            }
            "blockquote" => {
                let inside = self.blocks(children);
                // Teams quotes what is answered; the answer says so itself.
                let is_reply = element.attribute("itemtype").ends_with("/Reply");
                if !is_reply && !inside.is_empty() {
                    blocks.push(Node::of(NodeType::Quote, inside));
                }
            }
            "ul" | "ol" => {
                let items = children.iter().filter_map(|child| match child {
                    Html::Element(item) if item.tag == "li" => {
                        Some(Node::of(NodeType::ListItem, self.blocks(&item.children)))
                    }
                    Html::Element(_) | Html::Text(_) => None,
                });
                let items: Vec<_> = items.collect();
                if !items.is_empty() {
                    let list = Node::of(NodeType::List, items);
                    blocks.push(Node { ordered: Some(tag == "ol"), ..list });
                }
            }
            "pre" | "codeblock" => {
                let text = element.text().replace('\u{a0}', " ");
                let text = text.strip_suffix('\n').unwrap_or(&text).to_owned();
                let language = language(element);
                let text = Some(text);
                blocks.push(Node { text, language, ..Node::empty(NodeType::CodeBlock) });
            }
            "hr" => blocks.push(Node::of(NodeType::Paragraph, vec![Node::text("———")])),
            "tr" => {
                let mut cells: Vec<Node> = Vec::new();
                for child in children {
                    let Html::Element(cell) = child else { continue };
                    if !cells.is_empty() {
                        cells.push(Node::text(" | "));
                    }
                    cells.extend(self.inlines(&cell.children));
                }
                flush(blocks, &mut cells);
            }
            _container => blocks.extend(self.blocks(children)),
        }
    }

    fn inlines(&self, children: &[Html]) -> Vec<Node> {
        let mut nodes = Vec::new();
        for child in children {
            self.inline(&mut nodes, child);
        }
        nodes
    }

    fn inline(&self, nodes: &mut Vec<Node>, child: &Html) {
        let element = match child {
            Html::Text(text) => return self.text(nodes, text),
            Html::Element(element) => element,
        };
        let mut wrapped = |kind| {
            let children = self.inlines(&element.children);
            if !children.is_empty() {
                nodes.push(Node::of(kind, children));
            }
        };
        let is_mention = element.attribute("itemtype").ends_with("/Mention");
        match element.tag.as_str() {
            "b" | "strong" => wrapped(NodeType::Bold),
            "i" | "em" => wrapped(NodeType::Italic),
            "u" | "ins" => wrapped(NodeType::Underline),
            "s" | "strike" | "del" => wrapped(NodeType::Strike),
            "br" => nodes.push(Node::empty(NodeType::LineBreak)),
            "code" => {
                let text = Some(element.text().replace('\u{a0}', " "));
                nodes.push(Node { text, ..Node::empty(NodeType::Code) });
            }
            "at" => nodes.extend((self.mentioned)(element.text().trim())),
            "span" if is_mention => nodes.extend((self.mentioned)(element.text().trim())),
            "a" => {
                let url = element.attribute("href");
                let mut shown = self.inlines(&element.children);
                if url.is_empty() {
                    return nodes.append(&mut shown);
                }
                if shown.is_empty() {
                    shown.push(Node::text(url));
                }
                let link = Node::of(NodeType::Link, shown);
                nodes.push(Node { url: Some(url.to_owned()), ..link });
            }
            // Emoji say with `alt` which character they are.
            "emoji" => nodes.push(Node::text(element.attribute("alt"))),
            "img" if element.attribute("itemtype").ends_with("/Emoji") => {
                nodes.push(Node::text(element.attribute("alt")));
            }
            "img" => {
                let alt = element.attribute("alt");
                nodes.extend(picture(element.attribute("src"), alt).children);
            }
            "script" | "style" | "attachment" => {}
            _other => {
                if is_block(element) && !nodes.is_empty() {
                    nodes.push(Node::empty(NodeType::LineBreak));
                }
                nodes.extend(self.inlines(&element.children));
            }
        }
    }

    fn text(&self, nodes: &mut Vec<Node>, text: &str) {
        let text = text.replace('\u{a0}', " ").replace('\r', "");
        match self.lines {
            Lines::Folded => {
                let folded = fold(&text);
                let is_apart =
                    folded != " " || nodes.last().is_some_and(|node| !node.kind.is_block());
                if !folded.is_empty() && is_apart {
                    nodes.push(Node::text(folded));
                }
            }
            Lines::Kept => {
                for (number, line) in text.split('\n').enumerate() {
                    if number > 0 {
                        nodes.push(Node::empty(NodeType::LineBreak));
                    }
                    if !line.is_empty() {
                        nodes.push(Node::text(line));
                    }
                }
            }
        }
    }
}

/// White space in a row is one space.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' ' | '\n' | '\t' if folded.ends_with(' ') => {}
            ' ' | '\n' | '\t' => folded.push(' '),
            other => folded.push(other),
        }
    }
    folded
}

fn is_block(element: &Element) -> bool {
    const BLOCKS: [&str; 26] = [
        "p",
        "div",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "blockquote",
        "ul",
        "ol",
        "li",
        "pre",
        "codeblock",
        "hr",
        "table",
        "thead",
        "tbody",
        "tfoot",
        "tr",
        "section",
        "article",
        "header",
        "footer",
        "body",
        "html",
    ];
    BLOCKS.contains(&element.tag.as_str())
}

/// `class="language-rust"` of code in it, or the class of a block of code itself.
fn language(element: &Element) -> Option<String> {
    if element.tag == "codeblock" {
        return Some(element.attribute("class").to_lowercase()).filter(|name| !name.is_empty());
    }
    element.children.iter().find_map(|child| match child {
        Html::Element(code) if code.tag == "code" => {
            code.attribute("class").strip_prefix("language-").map(str::to_owned)
        }
        Html::Element(_) | Html::Text(_) => None,
    })
}

/// Running text becomes paragraphs: two line breaks part them.
fn flush(blocks: &mut Vec<Node>, running: &mut Vec<Node>) {
    let is_break = |node: &Node| node.kind == NodeType::LineBreak;
    let is_blank = |node: &Node| {
        node.kind == NodeType::Text && node.text.as_ref().is_none_or(|text| text.trim().is_empty())
    };
    let mut current: Vec<Node> = Vec::new();
    let mut breaks = 0;
    for node in running.drain(..) {
        if is_break(&node) {
            breaks += 1;
            continue;
        }
        if (current.is_empty() || breaks > 0) && is_blank(&node) {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemas::content::to_markdown;

    use super::*;

    #[test]
    fn every_element_is_read() {
        let read = |html: &str| to_markdown(&from_html(html));
        assert_eq!(
            read("<p><b>b</b> <em>i</em> <s>s</s> <code>c</code></p>"),
            "**b** *i* ~~s~~ `c`"
        );
        assert_eq!(
            read("<div><p>a<br>b</p>\n<p>&nbsp;</p><p>c &lt;x&gt;</p></div>"),
            "a\nb\n\nc \\<x\\>"
        );
        assert_eq!(
            read("<a href=\"https://e.org?a=1&amp;b=2\">e</a>"),
            "[e](<https://e.org?a=1&b=2>)"
        );
        assert_eq!(read("<ul><li>a<li><p>b</p><ol><li>c</ol></ul>"), "- a\n- b\n\n  1. c");
        assert_eq!(
            read("<codeblock class=\"Rust\"><code>let a;<br>x</code></codeblock>"),
            "```rust\nlet a;\nx\n```"
        );
        assert_eq!(read("<blockquote>q</blockquote>x"), "> q\n\nx");
        assert_eq!(read("hi <at>Eve</at><emoji alt=\"😀\"></emoji>"), "hi \\@Eve😀");
        assert_eq!(read("<table><tr><td>a</td><td>b</td></tr></table>"), "a | b");
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[ -~é😀\n]{0,300}") {
            from_html(&text);
        }

        #[test]
        fn many_tags_are_read(text in "(<(/?)(b|p|li|ul|pre|at|div|span|blockquote)>|x| ){0,120}") {
            for node in from_html(&text) {
                prop_assert!(node.depth() <= 2 * DEEPEST);
            }
        }
    }
}

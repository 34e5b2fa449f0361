//! Long messages in parts: each part is a tree of its own within the platform's limit, so that no
//! mark, link, code block or character is broken, whatever the platform's markup is.

use schemas::content::{Node, NodeType};

/// Splits `content` into parts that `size` finds no larger than `limit`. White space at which it was
/// cut is left out; nothing else is. A single character that does not fit stays a part of its own.
pub fn split(content: Vec<Node>, limit: usize, size: &dyn Fn(&[Node]) -> usize) -> Vec<Vec<Node>> {
    let mut parts = Vec::new();
    let mut current: Vec<Node> = Vec::new();
    for node in content {
        current.push(node);
        if size(&current) <= limit {
            continue;
        }
        let node = current.pop();
        if !current.is_empty() {
            parts.push(std::mem::take(&mut current));
        }
        let mut pieces = node.map(|node| cut(node, limit, size)).unwrap_or_default();
        current.extend(pieces.pop());
        parts.extend(pieces.into_iter().map(|piece| vec![piece]));
    }
    if !current.is_empty() {
        parts.push(current);
    }
    parts
}

/// Cuts one node into pieces that fit.
fn cut(node: Node, limit: usize, size: &dyn Fn(&[Node]) -> usize) -> Vec<Node> {
    if size(std::slice::from_ref(&node)) <= limit {
        return vec![node];
    }
    if !node.children.is_empty() {
        let shell = Node { children: Vec::new(), ..node.clone() };
        let inside = |children: &[Node]| {
            let whole = Node { children: children.to_vec(), ..shell.clone() };
            size(std::slice::from_ref(&whole))
        };
        if inside(&[Node::text("x")]) <= limit {
            let groups = split(node.children, limit, &inside);
            return groups.into_iter().map(|children| Node { children, ..shell.clone() }).collect();
        }
        return unwrapped(node, limit, size);
    }
    match &node.text {
        Some(text) if text.chars().nth(1).is_some() => cut_text(&node, text, limit, size),
        Some(_) | None => vec![node],
    }
}

/// A mark that is too large by itself, such as a link with a long address, is given up for what it
/// says.
fn unwrapped(node: Node, limit: usize, size: &dyn Fn(&[Node]) -> usize) -> Vec<Node> {
    let mut children = node.children;
    if let Some(url) = node.url {
        children.push(Node::text(format!(" {url}")));
    }
    children.into_iter().flat_map(|child| cut(child, limit, size)).collect()
}

fn cut_text(node: &Node, text: &str, limit: usize, size: &dyn Fn(&[Node]) -> usize) -> Vec<Node> {
    let piece = |text: &str| Node { text: Some(text.to_owned()), ..node.clone() };
    let fits = |text: &str| size(&[piece(text)]) <= limit;
    let mut pieces = Vec::new();
    let mut rest = text;
    while !fits(rest) {
        let most = longest_fitting(rest, &fits);
        let at = place_to_cut(rest, most, node.kind);
        let (before, after) = rest.split_at(at);
        let (before, after) = match node.kind {
            NodeType::CodeBlock => (before.strip_suffix('\n').unwrap_or(before), after),
            _running_text => (before.trim_end(), after.trim_start()),
        };
        if !before.is_empty() {
            pieces.push(piece(before));
        }
        rest = after;
        if rest.chars().nth(1).is_none() {
            break;
        }
    }
    if !rest.is_empty() {
        pieces.push(piece(rest));
    }
    pieces
}

/// The end of the longest beginning that fits, at least one character.
fn longest_fitting(text: &str, fits: &dyn Fn(&str) -> bool) -> usize {
    let ends: Vec<usize> = text.char_indices().map(|(at, c)| at + c.len_utf8()).collect();
    let count = ends.partition_point(|end| fits(&text[..*end]));
    ends.get(count.max(1) - 1).copied().unwrap_or(text.len())
}

/// Behind the last line break or space in the second half of what fits, else where it ends.
fn place_to_cut(text: &str, most: usize, kind: NodeType) -> usize {
    let beginning = &text[..most];
    let behind = |found: Option<usize>| found.map(|at| at + 1).filter(|at| *at > most / 2);
    let line = behind(beginning.rfind('\n'));
    match kind {
        NodeType::CodeBlock => line.unwrap_or(most),
        _running_text => line.or_else(|| behind(beginning.rfind(' '))).unwrap_or(most),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemas::content::{from_markdown, to_markdown};

    use super::*;

    fn words(nodes: &[Node]) -> String {
        let text = |node: &Node| {
            let own = node.text.iter().chain(&node.target).flat_map(|text| text.chars());
            own.filter(|c| !c.is_whitespace()).collect::<String>() + &words(&node.children)
        };
        nodes.iter().map(text).collect()
    }

    fn size(nodes: &[Node]) -> usize {
        to_markdown(nodes).chars().count()
    }

    #[test]
    fn a_code_block_stays_one_in_every_part() {
        let code: String = (0..50).map(|n| format!("line {n}\n")).collect();
        let parts = split(from_markdown(&format!("before\n\n```rust\n{code}```")), 120, &size);
        assert!(parts.len() > 3);
        for part in &parts[1..] {
            assert_eq!(part[0].kind, NodeType::CodeBlock);
            assert_eq!(part[0].language.as_deref(), Some("rust"));
            let lines = part[0].text.as_deref().unwrap_or_default();
            assert!(lines.lines().all(|line| line.starts_with("line ")), "{lines}");
        }
    }

    #[test]
    fn a_link_is_not_broken_but_given_up_if_it_cannot_fit() {
        let long = format!("https://e.org/{}", "a".repeat(200));
        let parts = split(from_markdown(&format!("see [this]({long}) now")), 60, &size);
        let said: String = parts.iter().map(|part| words(part)).collect();
        assert_eq!(said, format!("seethis{long}now"));
        let fits = split(from_markdown("some words and [a link](https://e.org) more"), 32, &size);
        assert!(fits.iter().any(|part| to_markdown(part).contains("[a link](<https://e.org>)")));
    }

    proptest! {
        #[test]
        fn parts_are_within_the_limit_and_say_everything(
            text in "[ -~äß€😀👩‍🚀\n]{0,600}",
            limit in 40_usize..200,
        ) {
            let whole = from_markdown(&text);
            let expected = words(&whole);
            let parts = split(whole, limit, &size);
            for part in &parts {
                prop_assert!(size(part) <= limit, "{} > {limit}: {part:?}", size(part));
            }
            prop_assert_eq!(parts.iter().map(|part| words(part)).collect::<String>(), expected);
        }
    }
}

//! What the tests of all platforms need.

use std::collections::BTreeSet;

use proptest::prelude::*;
use schemas::content::{Node, NodeType};

use crate::Names;

/// Only ada is known, under this id.
pub(crate) struct Ada(pub(crate) &'static str);

impl Names for Ada {
    fn here(&self, platform_user: &str) -> Option<String> {
        (platform_user == self.0).then(|| "ada".to_owned())
    }

    fn there(&self, user: &str) -> Option<String> {
        (user == "ada").then(|| self.0.to_owned())
    }
}

/// Each character that can be seen, with the marks that hold there; code carries no other mark.
pub(crate) fn shown(content: &[Node]) -> Vec<(char, BTreeSet<String>)> {
    fn walk(nodes: &[Node], marks: &BTreeSet<String>, out: &mut Vec<(char, BTreeSet<String>)>) {
        for node in nodes {
            let mut marks = marks.clone();
            match node.kind {
                NodeType::Paragraph | NodeType::Text | NodeType::LineBreak => {}
                NodeType::Link => drop(marks.insert(node.url.clone().unwrap_or_default())),
                NodeType::Code | NodeType::CodeBlock => {
                    marks
                        .retain(|mark| ["Quote", "List"].iter().any(|kept| mark.starts_with(kept)));
                    marks.insert(format!("{:?} {:?}", node.kind, node.language));
                }
                _marked => drop(marks.insert(format!("{:?} {:?}", node.kind, node.ordered))),
            }
            let said = node.text.iter().chain(&node.target).flat_map(|text| text.chars());
            out.extend(said.filter(|c| !c.is_whitespace()).map(|c| (c, marks.clone())));
            walk(&node.children, &marks, out);
        }
    }
    let mut out = Vec::new();
    walk(content, &BTreeSet::new(), &mut out);
    out
}

/// Messages of running text in these marks, with mentions, links, code, quotes and lists.
pub(crate) fn tree(marks: &[NodeType]) -> impl Strategy<Value = Vec<Node>> + use<> {
    let leaf = prop_oneof![
        6 => "[a-zß😀@<>&*_#|~`\\[\\]()\\\\.1-]{1,8}".prop_map(Node::text),
        1 => "[a-z<]{1,6}".prop_map(|text| Node { text: Some(text), ..Node::empty(NodeType::Code) }),
        1 => Just(Node::target(NodeType::Mention, "ada")),
        1 => Just(Node::empty(NodeType::LineBreak)),
        1 => ("[a-z]{1,6}", "[a-z]{1,6}").prop_map(|(text, host)| {
            let link = Node::of(NodeType::Link, vec![Node::text(text)]);
            Node { url: Some(format!("https://{host}.org/")), ..link }
        }),
    ];
    let kinds = marks.to_vec();
    let marked = leaf.prop_recursive(3, 24, 4, move |inner| {
        let children = prop::collection::vec(inner, 1..4);
        let kind = prop::sample::select(kinds.clone());
        (kind, children).prop_map(|(kind, children)| Node::of(kind, children))
    });
    let paragraph = prop::collection::vec(marked, 1..5)
        .prop_map(|children| Node::of(NodeType::Paragraph, children));
    let code = ("c[a-z (<]{0,8}", prop::option::of("[a-z]{1,4}")).prop_map(|(text, language)| {
        Node { text: Some(text), language, ..Node::empty(NodeType::CodeBlock) }
    });
    let quote = prop::collection::vec(paragraph.clone(), 1..3)
        .prop_map(|children| Node::of(NodeType::Quote, children));
    // An item that begins with nothing is none on some platforms.
    let item = paragraph.clone().prop_map(|mut paragraph| {
        paragraph.children.insert(0, Node::text("i"));
        Node::of(NodeType::ListItem, vec![paragraph])
    });
    let list = (prop::collection::vec(item, 1..4), any::<bool>()).prop_map(|(items, ordered)| {
        Node { ordered: Some(ordered), ..Node::of(NodeType::List, items) }
    });
    let block = prop_oneof![4 => paragraph, 1 => code, 1 => quote, 1 => list];
    prop::collection::vec(block, 1..5)
}

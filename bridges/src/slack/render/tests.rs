use std::collections::BTreeSet;

use proptest::prelude::*;
use schemas::content::from_markdown;

use super::*;
use crate::{message::NoNames, slack::from_blocks};

struct Ada;

impl Names for Ada {
    fn here(&self, platform_user: &str) -> Option<String> {
        (platform_user == "U1").then(|| "ada".to_owned())
    }

    fn there(&self, user: &str) -> Option<String> {
        (user == "ada").then(|| "U1".to_owned())
    }
}

const CHANNEL: Target<'static> = Target { channel: "C1", thread: None };

fn blocks_of(call: &Call) -> Vec<Value> {
    call.arguments["blocks"].as_array().cloned().unwrap_or_default()
}

/// Each character that can be seen, with the marks that hold there.
fn shown(content: &[Node]) -> Vec<(char, BTreeSet<String>)> {
    fn walk(nodes: &[Node], marks: &BTreeSet<String>, out: &mut Vec<(char, BTreeSet<String>)>) {
        for node in nodes {
            let mut marks = marks.clone();
            match node.kind {
                NodeType::Paragraph | NodeType::Text | NodeType::LineBreak => {}
                NodeType::Link => drop(marks.insert(node.url.clone().unwrap_or_default())),
                NodeType::Code | NodeType::CodeBlock => {
                    // Code in a line carries no other mark here.
                    marks.retain(|mark| mark.starts_with("Quote") || mark.starts_with("List"));
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

fn marked() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        6 => "[a-zß😀@<>&*_]{1,8}".prop_map(Node::text),
        1 => "[a-z<]{1,6}".prop_map(|text| Node { text: Some(text), ..Node::empty(NodeType::Code) }),
        1 => Just(Node::target(NodeType::Mention, "ada")),
        1 => Just(Node::target(NodeType::Emoji, "tada")),
        1 => Just(Node::empty(NodeType::LineBreak)),
        1 => ("[a-z]{1,6}", "[a-z]{1,6}").prop_map(|(text, host)| {
            let link = Node::of(NodeType::Link, vec![Node::text(text)]);
            Node { url: Some(format!("https://{host}.org/")), ..link }
        }),
    ];
    let kind = prop::sample::select(vec![
        NodeType::Bold,
        NodeType::Italic,
        NodeType::Underline,
        NodeType::Strike,
    ]);
    // Emoji carry no mark at Slack.
    leaf.prop_recursive(3, 24, 4, move |inner| {
        let inner = inner.prop_filter("emoji", |node| node.kind != NodeType::Emoji);
        let children = prop::collection::vec(inner, 1..4);
        (kind.clone(), children).prop_map(|(kind, children)| Node::of(kind, children))
    })
}

fn tree() -> impl Strategy<Value = Vec<Node>> {
    let paragraph = || {
        prop::collection::vec(marked(), 1..5)
            .prop_map(|children| Node::of(NodeType::Paragraph, children))
    };
    let code = ("[a-z (<]{1,9}", prop::option::of("[a-z]{1,4}")).prop_map(|(text, language)| {
        Node { text: Some(text), language, ..Node::empty(NodeType::CodeBlock) }
    });
    let quote = prop::collection::vec(paragraph(), 1..3)
        .prop_map(|children| Node::of(NodeType::Quote, children));
    let item = paragraph().prop_map(|paragraph| Node::of(NodeType::ListItem, vec![paragraph]));
    let list = (prop::collection::vec(item, 1..4), any::<bool>()).prop_map(|(items, ordered)| {
        Node { ordered: Some(ordered), ..Node::of(NodeType::List, items) }
    });
    let block = prop_oneof![4 => paragraph(), 1 => code, 1 => quote, 1 => list];
    prop::collection::vec(block, 1..5)
}

proptest! {
    #[test]
    fn what_slack_can_show_comes_back(content in tree()) {
        let calls = post(CHANNEL, None, &content, "m", &Ada);
        let back: Vec<_> =
            calls.iter().flat_map(|call| from_blocks(&blocks_of(call), &Ada)).collect();
        prop_assert_eq!(shown(&back), shown(&content));
    }

    #[test]
    fn parts_are_within_the_limit(text in "[ -~ä😀\n]{0,9000}") {
        for call in post(CHANNEL, Some("Ada"), &from_markdown(&text), "m", &NoNames) {
            let text = call.arguments["text"].as_str().unwrap();
            prop_assert!((1..=TEXT_MOST).contains(&text.chars().count()));
        }
    }

    #[test]
    fn no_text_becomes_a_mention(text in "[a-zU1@<>!#|^& ]{0,200}") {
        for call in post(CHANNEL, Some("Ada"), &[Node::text(text)], "m", &Ada) {
            let said = call.arguments["text"].as_str().unwrap();
            prop_assert!(!said.contains(['<', '>']), "{said}");
            let blocks = call.arguments["blocks"].to_string();
            for kind in ["user", "usergroup", "broadcast", "channel"] {
                let named = format!("\"type\":\"{kind}\"");
                prop_assert!(!blocks.contains(&named), "{blocks}");
            }
        }
    }
}

#[test]
fn a_message_with_everything_is_written_as_slack_wants_it() {
    let content = from_markdown("**hi** @ada and @everyone <x>\n\n1. a\n2. b");
    let target = Target { channel: "C1", thread: Some("1.2") };
    let calls = post(target, Some("Eve"), &content, "m", &Ada);
    let [Call { method: "chat.postMessage", arguments }] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(arguments["username"], "Eve");
    assert_eq!(arguments["thread_ts"], "1.2");
    assert_eq!(super::marked(arguments), Some("m 0"));
    let elements = &arguments["blocks"][0]["elements"];
    assert_eq!(
        elements[0]["elements"][0],
        json!({"type": "text", "text": "hi", "style": {"bold": true}})
    );
    assert_eq!(elements[0]["elements"][2], json!({"type": "user", "user_id": "U1"}));
    assert_eq!(elements[0]["elements"][4], json!({"type": "text", "text": "@everyone"}));
    assert_eq!(elements[1]["style"], "ordered");
    assert_eq!(elements[1]["elements"].as_array().map(Vec::len), Some(2));
}

#[test]
fn an_edit_edits_adds_and_deletes_parts() {
    let long: String = (0..900).map(|n| format!("word{n} ")).collect();
    let methods = |known: &[&str], content: &[Node]| -> Vec<&'static str> {
        edit(CHANNEL, known, None, content, "m", &NoNames).iter().map(|call| call.method).collect()
    };
    let long = from_markdown(&long);
    assert_eq!(methods(&["1"], &long), ["chat.update", "chat.postMessage"]);
    let short = from_markdown("short");
    assert_eq!(methods(&["1", "2"], &short), ["chat.update", "chat.delete"]);
    let calls = edit(CHANNEL, &["1", "2"], None, &short, "m", &NoNames);
    assert_eq!(calls[0].arguments["ts"], "1");
    assert!(calls[0].arguments.get("unfurl_links").is_none());
    assert_eq!(calls[1].arguments["ts"], "2");
}

#[test]
fn blocks_that_nobody_knows_are_named() {
    let blocks = [json!({"type": "of_the_future"}), json!({}), json!({"type": "rich_text"})];
    let said: Vec<_> = from_blocks(&blocks, &NoNames)
        .iter()
        .map(|block| block.children[0].text.clone().unwrap_or_default())
        .collect();
    assert_eq!(said, ["[block of_the_future]", "[block without a type]", "[block rich_text]"]);
}

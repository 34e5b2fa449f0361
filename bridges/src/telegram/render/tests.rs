use std::collections::BTreeSet;

use proptest::prelude::*;
use schemas::content::from_markdown;

use super::*;
use crate::{Inbound, message::NoNames, telegram::parse};

struct Ada;

impl Names for Ada {
    fn here(&self, platform_user: &str) -> Option<String> {
        (platform_user == "77" || platform_user == "@ada_l").then(|| "ada".to_owned())
    }

    fn there(&self, user: &str) -> Option<String> {
        (user == "ada").then(|| "77".to_owned())
    }
}

const CHAT: Target = Target { chat: -100, topic: None };

/// Each character that can be seen, with the marks that hold there.
fn shown(content: &[Node]) -> Vec<(char, BTreeSet<String>)> {
    fn walk(nodes: &[Node], marks: &BTreeSet<String>, out: &mut Vec<(char, BTreeSet<String>)>) {
        for node in nodes {
            let mut marks = marks.clone();
            let name = match node.kind {
                NodeType::Paragraph | NodeType::Text | NodeType::LineBreak => None,
                NodeType::Link => node.url.clone(),
                _marked => Some(format!("{:?} {:?}", node.kind, node.language)),
            };
            let stands_alone = matches!(node.kind, NodeType::Code | NodeType::CodeBlock);
            if stands_alone {
                marks.retain(|mark| mark.starts_with("Quote"));
            }
            marks.extend(name);
            let said = node.text.iter().chain(&node.target).flat_map(|text| text.chars());
            out.extend(said.filter(|c| !c.is_whitespace()).map(|c| (c, marks.clone())));
            walk(&node.children, &marks, out);
        }
    }
    let mut out = Vec::new();
    walk(content, &BTreeSet::new(), &mut out);
    out
}

/// What Telegram would send of a message that was posted.
fn come_back(call: &Call, names: &dyn Names) -> Vec<Node> {
    let update = json!({"update_id": 1, "message": {"message_id": 2, "date": 0,
        "chat": {"id": -100, "type": "group"}, "from": {"id": 5, "first_name": "E"},
        "text": call.parameters["text"], "entities": call.parameters["entities"]}});
    let parsed = parse(update.to_string().as_bytes(), names).unwrap();
    match parsed.inbound.into_iter().next() {
        Some(Inbound::Posted(message)) => message.content,
        other => panic!("{other:?}"),
    }
}

fn leaf() -> impl Strategy<Value = Node> {
    let word = "[a-zäß€😀👩‍🚀@_]{1,8}";
    prop_oneof![
        6 => word.prop_map(Node::text),
        1 => word.prop_map(|text| Node { text: Some(text), ..Node::empty(NodeType::Code) }),
        1 => Just(Node::target(NodeType::Mention, "ada")),
        1 => Just(Node::empty(NodeType::LineBreak)),
    ]
}

fn marked() -> impl Strategy<Value = Node> {
    let kind = prop::sample::select(vec![
        NodeType::Bold,
        NodeType::Italic,
        NodeType::Underline,
        NodeType::Strike,
        NodeType::Spoiler,
    ]);
    leaf().prop_recursive(3, 24, 4, move |inner| {
        let children = prop::collection::vec(inner, 1..4);
        (kind.clone(), children).prop_map(|(kind, children)| Node::of(kind, children))
    })
}

fn tree() -> impl Strategy<Value = Vec<Node>> {
    let paragraph = prop::collection::vec(marked(), 1..5)
        .prop_map(|children| Node::of(NodeType::Paragraph, children));
    let link = ("[a-z]{1,6}", "[a-z]{1,6}").prop_map(|(text, host)| {
        let link = Node::of(NodeType::Link, vec![Node::text(text)]);
        let url = Some(format!("https://{host}.org/"));
        Node::of(NodeType::Paragraph, vec![Node { url, ..link }])
    });
    let code = ("[a-z (]{1,9}", prop::option::of("[a-z]{1,4}")).prop_map(|(text, language)| Node {
        text: Some(text),
        language,
        ..Node::empty(NodeType::CodeBlock)
    });
    let block = prop_oneof![4 => paragraph, 1 => link, 1 => code];
    let quote = prop::collection::vec(block.clone(), 1..3)
        .prop_map(|children| Node::of(NodeType::Quote, children));
    prop::collection::vec(prop_oneof![4 => block, 1 => quote], 1..5)
}

proptest! {
    #[test]
    fn what_telegram_can_show_comes_back(content in tree()) {
        let calls = post(CHAT, None, &content, None, &Ada);
        let back: Vec<_> = calls.iter().flat_map(|call| come_back(call, &Ada)).collect();
        prop_assert_eq!(shown(&back), shown(&content));
    }

    #[test]
    fn parts_are_within_the_limits_and_their_entities_within_them(text in "[ -~ä€😀👩‍🚀\n]{0,9000}") {
        let content = from_markdown(&text);
        for call in post(CHAT, Some("Ada"), &content, None, &NoNames) {
            let text = call.parameters["text"].as_str().unwrap();
            let units: Vec<u16> = text.encode_utf16().collect();
            prop_assert!((1..=TEXT_MOST).contains(&units.len()), "{}", units.len());
            let entities = call.parameters["entities"].as_array().unwrap();
            prop_assert!(entities.len() <= ENTITIES_MOST);
            for entity in entities {
                let at = |name: &str| entity[name].as_u64().map(|at| at as usize).unwrap();
                let (start, end) = (at("offset"), at("offset") + at("length"));
                prop_assert!(end <= units.len());
                for edge in [start, end] {
                    let splits = units.get(edge).is_some_and(|unit| (0xDC00..0xE000).contains(unit));
                    prop_assert!(!splits, "an entity ends within a character");
                }
            }
        }
    }

    #[test]
    fn no_text_becomes_a_mention(text in "[a-z@_ *\\[\\]()<>!&#:/.]{0,200}", author in "[a-z@]{1,20}") {
        // Marks within a word change nothing.
        let letters = text.chars().map(|c| Node::of(NodeType::Italic, vec![Node::text(c)]));
        let marked = Node::of(NodeType::Paragraph, letters.collect());
        let content = [Node::of(NodeType::Paragraph, vec![Node::text(text)]), marked];
        for call in post(CHAT, Some(&author), &content, None, &Ada) {
            let said = call.parameters["text"].as_str().unwrap();
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            prop_assert!(!said.split('@').skip(1).any(|behind| behind.starts_with(is_name)), "{said}");
            let entities = call.parameters["entities"].as_array().unwrap();
            let is_mark = |kind: &serde_json::Value| kind == "bold" || kind == "italic";
            prop_assert!(entities.iter().all(|entity| is_mark(&entity["type"])));
        }
    }

    #[test]
    fn any_entities_are_read_without_panic(
        text in "[a-z@ 😀\n]{0,20}",
        entities in prop::collection::vec((0_usize..12, 0_usize..30, 0_usize..30), 0..20),
    ) {
        let kinds = ["bold", "italic", "code", "pre", "blockquote", "text_link", "mention",
            "text_mention", "custom_emoji", "url", "hashtag", "of the future"];
        let entities: Vec<_> = entities.into_iter().map(|(kind, offset, length)| {
            json!({"type": kinds[kind], "offset": offset, "length": length})
        }).collect();
        let call = Call { method: "", parameters: json!({"text": format!("x{text}"), "entities": entities}) };
        let words = |nodes: &[Node]| shown(nodes).into_iter().map(|(c, _)| c).collect::<String>();
        let expected: String = format!("x{text}").chars().filter(|c| !c.is_whitespace()).collect();
        prop_assert_eq!(words(&come_back(&call, &NoNames)), expected);
    }
}

#[test]
fn a_message_with_everything_is_written_as_telegram_wants_it() {
    let content = from_markdown(
        "**hi** @ada and @bob, see [this](https://e.org) `x` :tada:\n\n> said\n\n```rust\nlet a;\n```\n\n- a\n- b",
    );
    let calls = post(Target { chat: -100, topic: Some(3) }, Some("Eve"), &content, Some(9), &Ada);
    let [Call { method: "sendMessage", parameters }] = &calls[..] else { panic!("{calls:?}") };
    let text = "Eve: hi ada and @\u{2060}bob, see this x 🎉\nsaid\nlet a;\n• a\n• b";
    assert_eq!(parameters["text"], text);
    assert_eq!(parameters["message_thread_id"], 3);
    assert_eq!(parameters["reply_parameters"]["message_id"], 9);
    let kinds: Vec<_> = parameters["entities"].as_array().unwrap().iter().collect();
    let kinds: Vec<_> = kinds.iter().map(|entity| entity["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["bold", "bold", "text_mention", "text_link", "code", "blockquote", "pre"]);
    assert_eq!(parameters["entities"][2]["user"]["id"], 77);
    assert_eq!(parameters["entities"][6]["language"], "rust");
}

#[test]
fn a_link_within_telegram_is_no_link() {
    let mention = Node::of(NodeType::Link, vec![Node::text("you")]);
    let mention = Node { url: Some("tg://user?id=77".into()), ..mention };
    let calls = post(CHAT, None, &[Node::of(NodeType::Paragraph, vec![mention])], None, &Ada);
    assert_eq!(calls[0].parameters["text"], "you (tg://user?id=77)");
    assert_eq!(calls[0].parameters["entities"], json!([]));
}

#[test]
fn an_edit_edits_adds_and_deletes_parts() {
    let long: String = (0..900).map(|n| format!("word{n} ")).collect();
    let content = from_markdown(&long);
    let methods = |known: &[i64], content: &[Node]| -> Vec<&'static str> {
        edit(CHAT, known, None, content, &NoNames).iter().map(|call| call.method).collect()
    };
    assert_eq!(methods(&[1, 2], &content), ["editMessageText", "editMessageText"]);
    assert_eq!(methods(&[1], &content), ["editMessageText", "sendMessage"]);
    let short = from_markdown("short");
    assert_eq!(methods(&[1, 2, 3], &short), ["editMessageText", "deleteMessages"]);
    let calls = edit(CHAT, &[1, 2, 3], None, &short, &NoNames);
    assert_eq!(calls[1].parameters["message_ids"], json!([2, 3]));
}

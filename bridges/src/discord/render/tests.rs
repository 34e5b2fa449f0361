use proptest::prelude::*;
use schemas::content::from_markdown;

use super::*;
use crate::{
    discord,
    message::NoNames,
    testing::{Ada, shown, tree},
};

const ADA: Ada = Ada("77");
const CHANNEL: Target<'static> = Target { channel: "3", webhook: None, thread: None };
const MARKS: [NodeType; 5] =
    [NodeType::Bold, NodeType::Italic, NodeType::Underline, NodeType::Strike, NodeType::Spoiler];

fn said(call: &Call) -> &str {
    call.body["content"].as_str().unwrap_or_default()
}

proptest! {
    #[test]
    fn what_discord_can_show_comes_back(content in tree(&MARKS)) {
        let calls = post(CHANNEL, None, &content, None, "m", &ADA);
        let back: Vec<_> =
            calls.iter().flat_map(|call| discord::from_markdown(said(call), &ADA)).collect();
        let texts: Vec<_> = calls.iter().map(said).collect();
        prop_assert_eq!(shown(&back), shown(&content), "{:?}", texts);
    }

    #[test]
    fn parts_are_within_the_limit(text in "[ -~ä😀\n]{0,6000}") {
        for call in post(CHANNEL, Some("Ada"), &from_markdown(&text), None, "m", &NoNames) {
            prop_assert!((1..=TEXT_MOST).contains(&said(&call).encode_utf16().count()));
        }
    }

    #[test]
    fn no_text_becomes_a_mention(
        text in "[a-z7@<>!#&: \\\\*_]{0,100}(@everyone|<@77>|<@!77>|<@&77>|<#77>|@here)?[ -~]{0,20}",
        author in "[a-z@<>7&]{1,20}|@everyone",
    ) {
        let content = [Node::of(NodeType::Paragraph, vec![Node::text(text)])];
        for call in post(CHANNEL, Some(&author), &content, None, "m", &ADA) {
            prop_assert_eq!(&call.body["allowed_mentions"]["parse"], &json!([]));
            prop_assert_eq!(&call.body["allowed_mentions"]["users"], &json!([]));
            for mention in ["@everyone", "@here", "<@7", "<@!7", "<@&7", "<#7"] {
                prop_assert!(!said(&call).contains(mention), "{}", said(&call));
            }
        }
    }

    #[test]
    fn a_webhook_has_a_name_that_discord_takes(author in ".{0,120}|(CLYDE|disCord| ){1,20}") {
        let target = Target { webhook: Some("1/t"), ..CHANNEL };
        let calls = post(target, Some(&author), &[Node::text("x")], None, "m", &NoNames);
        let name = calls[0].body["username"].as_str().unwrap().to_lowercase();
        prop_assert!((1..=NAME_MOST).contains(&name.chars().count()));
        prop_assert!(!name.contains("clyde") && !name.contains("discord"), "{name}");
    }
}

#[test]
fn a_message_with_everything_is_written_as_discord_wants_it() {
    let content = from_markdown(
        "# One\n\n**hi** @ada @bob `x` :tada: [this](https://e.org/a_b)\n\n> said\n\n```rust\nlet a;\n```\n\n1. a\n2. b",
    );
    let calls = post(CHANNEL, None, &content, Some("9"), "m", &ADA);
    let [call] = &calls[..] else { panic!("{calls:?}") };
    let text = "# One\n**hi** <@77> @bob `x` 🎉 [this](<https://e.org/a_b>)\n\n> said\n```rust\nlet a;\n```\n1. a\n2. b";
    assert_eq!(said(call), text);
    assert_eq!((call.method, call.path.as_str()), ("POST", "/channels/3/messages"));
    assert_eq!(call.body["allowed_mentions"]["users"], json!(["77"]));
    assert_eq!(call.body["message_reference"]["message_id"], "9");
    assert_eq!(call.body["enforce_nonce"], true);
    assert!(call.body["nonce"].as_str().is_some_and(|nonce| nonce.len() <= 25));
}

#[test]
fn a_card_is_an_embed() {
    let card = Node {
        text: Some("Title".into()),
        url: Some("https://e.org/".into()),
        ..Node::of(NodeType::Card, from_markdown("**n**\nv"))
    };
    let calls = post(CHANNEL, None, &[card], None, "m", &NoNames);
    let embed = json!([{"type": "rich", "title": "Title", "description": "**n**\nv",
        "url": "https://e.org/"}]);
    assert_eq!(calls[0].body["embeds"], embed);
}

#[test]
fn an_edit_edits_adds_and_deletes_parts_and_mentions_nobody() {
    let long: String = (0..400).map(|n| format!("word{n} ")).collect();
    let target = Target { webhook: Some("1/t"), thread: Some("5"), ..CHANNEL };
    let calls = edit(target, &["8"], Some("Ada"), &from_markdown(&long), "m", &NoNames);
    let seen: Vec<_> = calls.iter().map(|call| (call.method, call.path.as_str())).collect();
    let expected = [
        ("PATCH", "/webhooks/1/t/messages/8?thread_id=5"),
        ("POST", "/webhooks/1/t?wait=true&thread_id=5"),
    ];
    assert_eq!(seen, expected);
    assert_eq!(calls[0].body["allowed_mentions"]["parse"], json!([]));
    let calls = edit(target, &["8", "9"], Some("Ada"), &[Node::text("x")], "m", &NoNames);
    assert_eq!(
        (calls[1].method, calls[1].path.as_str()),
        ("DELETE", "/webhooks/1/t/messages/9?thread_id=5")
    );
}

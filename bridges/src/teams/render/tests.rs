use proptest::prelude::*;
use schemas::content::from_markdown;

use super::*;
use crate::{
    Inbound,
    message::NoNames,
    teams,
    testing::{Ada, shown, tree},
};

const ADA: Ada = Ada("29:1");
const CHANNEL: Target<'static> = Target { channel: "19:c@thread.tacv2", thread: None };
const MARKS: [NodeType; 4] =
    [NodeType::Bold, NodeType::Italic, NodeType::Underline, NodeType::Strike];

/// What Teams would send of an activity that was posted.
fn come_back(call: &Call) -> Vec<Node> {
    let mut activity = call.body.clone();
    activity["id"] = "1".into();
    activity["conversation"] = json!({"id": "19:c@thread.tacv2"});
    let parsed = teams::parse(activity.to_string().as_bytes(), &ADA).unwrap();
    match parsed.inbound.into_iter().next() {
        Some(Inbound::Posted(message)) => message.content,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn what_teams_can_show_comes_back(content in tree(&MARKS)) {
        let calls = post(CHANNEL, None, &content, None, &ADA);
        let back: Vec<_> = calls.iter().flat_map(come_back).collect();
        let texts: Vec<_> = calls.iter().map(|call| call.body["text"].to_string()).collect();
        prop_assert_eq!(shown(&back), shown(&content), "{:?}", texts);
    }

    #[test]
    fn no_text_becomes_a_mention(
        text in "[a-z<>/&;@ ]{0,100}(<at>ada</at>|&lt;at&gt;)?[ -~]{0,20}",
        author in "[a-z<>&@]{1,20}|<at>ada</at>",
    ) {
        let content = [Node::of(NodeType::Paragraph, vec![Node::text(text.clone())])];
        let card = Node { text: Some(text.clone()), ..Node::of(NodeType::Card, content.to_vec()) };
        for call in post(CHANNEL, Some(&author), &[content[0].clone(), card], None, &ADA) {
            let said = call.body.to_string();
            prop_assert!(!said.contains("<at"), "{said}");
            prop_assert!(call.body.get("entities").is_none());
        }
    }

}

proptest! {
    // Long texts are read and cut many times over.
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn parts_are_within_the_limit(text in "[ -~ä😀\n]{0,300}", times in 1_usize..400) {
        let content = from_markdown(&text.repeat(times));
        for call in post(CHANNEL, Some("Ada"), &content, None, &NoNames) {
            prop_assert!(call.body["text"].is_string() && size_of(&call.body) <= ACTIVITY_MOST);
        }
    }
}

#[test]
fn a_message_with_everything_is_written_as_teams_wants_it() {
    let content =
        from_markdown("**hi** @ada @bob `x` :tada: [t](https://e.org/?a&b)\n\n> s\n\n- a\n- b");
    let target = Target { thread: Some("1"), ..CHANNEL };
    let calls = post(target, Some("Eve"), &content, Some("9"), &ADA);
    let [call] = &calls[..] else { panic!("{calls:?}") };
    let text = "<p><b>Eve:</b> <b>hi</b> <at>ada</at> @bob <code>x</code> 🎉 \
        <a href=\"https://e.org/?a&amp;b\">t</a></p><blockquote><p>s</p></blockquote>\
        <ul><li>a</li><li>b</li></ul>";
    assert_eq!(call.body["text"], text);
    assert_eq!(call.path, "v3/conversations/19%3Ac%40thread.tacv2%3Bmessageid%3D1/activities");
    assert_eq!(call.body["entities"][0]["mentioned"]["id"], "29:1");
    assert_eq!(call.body["replyToId"], "9");
}

#[test]
fn an_edit_edits_adds_and_deletes_parts() {
    let methods = |known: &[&str], content: &[Node]| -> Vec<&'static str> {
        edit(CHANNEL, known, None, content, &NoNames).iter().map(|call| call.method).collect()
    };
    let card = Node { text: Some("T".into()), ..Node::empty(NodeType::Card) };
    assert_eq!(methods(&["1"], &[Node::text("x"), card]), ["PUT", "POST"]);
    assert_eq!(methods(&["1", "2"], &[Node::text("x")]), ["PUT", "DELETE"]);
}

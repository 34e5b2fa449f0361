use schemas::content::to_markdown;
use serde_json::json;

use super::*;
use crate::message::NoNames;

#[test]
fn who_is_mentioned_is_found_in_text_and_blocks() {
    let payload = br#"{"text":"<@U1> <@W2|w> <@x> <!here>","b":{"user_id":"U_eve"},"t":"<@U"}"#;
    let found: Vec<_> = mentioned(payload).into_iter().collect();
    assert_eq!(found, ["U1", "U_eve", "W2"]);
}

fn event(event: Value) -> Inbound {
    let payload = json!({"type": "event_callback", "team_id": "T1", "event_id": "Ev1",
        "event": event});
    match parse(payload.to_string().as_bytes(), &NoNames).unwrap() {
        Parsed::Event { id, mut inbound } => {
            assert_eq!((id.as_deref(), inbound.len()), (Some("Ev1"), 1));
            inbound.remove(0)
        }
        other => panic!("{other:?}"),
    }
}

fn place(thread: Option<&str>) -> Place {
    Place { workspace: "T1".into(), channel: "C1".into(), thread: thread.map(str::to_owned) }
}

#[test]
fn a_challenge_and_a_limit_are_no_events() {
    let read = |payload: Value| parse(payload.to_string().as_bytes(), &NoNames).unwrap();
    let challenge = json!({"type": "url_verification", "challenge": "c", "token": "t"});
    assert_eq!(read(challenge), Parsed::Challenge("c".into()));
    let limited = json!({"type": "app_rate_limited", "minute_rate_limited": 1});
    assert_eq!(read(limited), Parsed::RateLimited);
    assert!(parse(b"[]", &NoNames).is_err());
}

#[test]
fn a_message_in_a_thread_with_a_stub_of_a_file() {
    let Inbound::Posted(message) = event(json!({"type": "message", "channel": "C1",
        "user": "U1", "ts": "2.0", "thread_ts": "1.0", "text": "*hi*", "subtype": "file_share",
        "files": [{"id": "F1", "file_access": "check_file_info"}]}))
    else {
        panic!("it is posted")
    };
    assert_eq!((message.id.as_str(), &message.place), ("2.0", &place(Some("1.0"))));
    assert_eq!(to_markdown(&message.content), "**hi**");
    assert_eq!((message.files[0].id.as_str(), message.files[0].size), ("F1", None));
}

#[test]
fn edits_deletions_reactions_and_pins() {
    let Inbound::Edited(message) = event(json!({"type": "message", "channel": "C1",
        "subtype": "message_changed", "ts": "9.0",
        "message": {"type": "message", "user": "U1", "ts": "1.0", "text": "new"}}))
    else {
        panic!("it is edited")
    };
    assert_eq!((message.id.as_str(), message.place), ("1.0", place(None)));
    let deleted = event(json!({"type": "message", "channel": "C1", "ts": "9.0",
        "subtype": "message_deleted", "deleted_ts": "1.0"}));
    assert_eq!(deleted, Inbound::Deleted { place: place(None), message: "1.0".into() });
    let item = json!({"type": "message", "channel": "C1", "ts": "1.0"});
    let reacted = event(json!({"type": "reaction_removed", "user": "U1",
        "reaction": "tada", "item": item}));
    assert!(matches!(reacted, Inbound::Unreacted { emoji, .. } if emoji == "tada"));
    let pinned = event(json!({"type": "pin_added", "user": "U1", "channel_id": "C1",
        "item": {"type": "message", "channel": "C1", "message": {"ts": "1.0"}}}));
    assert!(matches!(pinned, Inbound::Pinned { message, .. } if message == "1.0"));
}

#[test]
fn a_mention_of_the_app_and_a_table_say_something() {
    let mention = event(json!({"type": "app_mention", "channel": "C1", "user": "U1",
        "ts": "1.0", "text": "<@U2> hi"}));
    assert!(matches!(mention, Inbound::Posted(message) if message.id == "1.0"));
    let cell = |text: &str| json!({"type": "raw_text", "text": text});
    let Inbound::Posted(message) = event(json!({"type": "message", "channel": "C1", "ts": "1.0",
        "user": "U1", "blocks": [{"type": "table", "rows": [[cell("a"), cell("b")]]}]}))
    else {
        panic!("it is posted")
    };
    assert_eq!(to_markdown(&message.content), "a | b");
}

#[test]
fn what_nobody_knows_is_named() {
    let unknown = event(json!({"type": "app_mention_of_the_future"}));
    let named = Inbound::Unsupported("event app_mention_of_the_future".into());
    assert_eq!(unknown, named);
    let broken = event(json!({"type": "message", "channel": 7}));
    let Inbound::Unreadable(reason) = broken else { panic!("{broken:?}") };
    assert!(reason.starts_with("event message that cannot be read: "), "{reason}");
}

use schemas::content::to_markdown;
use serde_json::json;

use super::*;
use crate::message::NoNames;

fn dispatch(name: &str, data: Value) -> Inbound {
    let payload = json!({"op": 0, "s": 3, "t": name, "d": data});
    match parse(payload.to_string().as_bytes(), &NoNames).unwrap() {
        Parsed::Event { mut inbound, .. } => {
            assert_eq!(inbound.len(), 1, "{inbound:?}");
            inbound.remove(0)
        }
        Parsed::Ping => panic!("no ping"),
    }
}

fn user() -> Value {
    json!({"id": "5", "username": "ada", "global_name": "Ada"})
}

#[test]
fn a_reply_with_a_mention_an_embed_and_a_file() {
    let Inbound::Posted(message) = dispatch(
        "MESSAGE_CREATE",
        json!({
            "id": "9", "channel_id": "3", "guild_id": "1", "type": 19, "author": user(),
            "member": {"nick": "Countess"}, "content": "hi <@7> **b**",
            "mentions": [{"id": "7", "username": "eve"}],
            "message_reference": {"message_id": "8"},
            "attachments": [{"id": "2", "filename": "a.png", "url": "https://e.org/a.png", "size": 3}],
            "embeds": [{"title": "T", "url": "https://e.org", "description": "*d*",
                "fields": [{"name": "n", "value": "v"}]}],
        }),
    ) else {
        panic!("it is posted")
    };
    assert_eq!(
        (message.author.name.as_str(), message.reply_to.as_deref()),
        ("Countess", Some("8"))
    );
    assert_eq!(to_markdown(&message.content[..1]), "hi \\@eve **b**");
    assert_eq!(message.content[1].kind, NodeType::Card);
    assert_eq!(message.files[0].url.as_deref(), Some("https://e.org/a.png"));
}

#[test]
fn edits_deletions_and_reactions() {
    let edited = dispatch(
        "MESSAGE_UPDATE",
        json!({"id": "9", "channel_id": "3",
        "author": user(), "content": "new", "edited_timestamp": "2026-11-21T00:00:00Z"}),
    );
    assert!(matches!(edited, Inbound::Edited(message) if message.id == "9"));
    let preview = dispatch("MESSAGE_UPDATE", json!({"id": "9", "channel_id": "3", "embeds": []}));
    assert!(matches!(preview, Inbound::Unsupported(_)));
    let preview = json!({"id": "9", "channel_id": "3", "author": user(), "content": "old",
        "edited_timestamp": null});
    assert!(matches!(dispatch("MESSAGE_UPDATE", preview), Inbound::Unsupported(_)));
    let deleted = dispatch("MESSAGE_DELETE", json!({"id": "9", "channel_id": "3"}));
    assert!(matches!(deleted, Inbound::Deleted { message, .. } if message == "9"));
    let reacted = dispatch(
        "MESSAGE_REACTION_ADD",
        json!({"user_id": "5", "channel_id": "3",
        "message_id": "9", "emoji": {"id": "77", "name": "party"}}),
    );
    assert!(matches!(reacted, Inbound::Reacted { emoji, .. } if emoji == "party:77"));
}

#[test]
fn a_ping_a_command_and_what_nobody_knows() {
    let read = |payload: Value| parse(payload.to_string().as_bytes(), &NoNames).unwrap();
    let ping = json!({"id": "1", "application_id": "2", "type": 1, "token": "t", "version": 1});
    assert_eq!(read(ping), Parsed::Ping);
    let command = json!({"id": "1", "application_id": "2", "type": 2, "token": "t",
        "channel_id": "3", "guild_id": "4", "member": {"user": user(), "permissions": "16"},
        "data": {"name": "link", "options": [{"name": "room", "value": "general"}]}});
    let Parsed::Event { id, inbound } = read(command) else { panic!("an event") };
    assert_eq!(id.as_deref(), Some("1"));
    assert!(
        matches!(&inbound[0], Inbound::Asked { text, is_admin: true, .. } if text == "link general")
    );
    assert!(parse(b"[]", &NoNames).is_err());
    let unknown = dispatch("THE_FUTURE", json!({}));
    assert_eq!(unknown, Inbound::Unsupported("event THE_FUTURE".into()));
}

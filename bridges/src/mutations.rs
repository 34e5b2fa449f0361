//! Payloads that are almost right: every value of some that are, blanked, taken away or of another
//! type; and bytes that break off. Nothing of it may panic, and what can be read can be written for
//! every platform.
//!
//! `SWITCHYARD_SAMPLES` names a folder with further payloads, `{platform}/*.json`, each by itself or
//! as `payload` of an object.

use std::{collections::BTreeMap, fs, path::Path};

use schemas::room::Platform;
use serde_json::{Value, json};

use crate::{
    Inbound,
    codec::{Outgoing, Payload, parse, render},
    message::NoNames,
    simulator::channel,
};

fn slack() -> Vec<Value> {
    let event = |event: Value| json!({"type": "event_callback", "team_id": "T", "event_id": "Ev", "event": event});
    let blocks = json!([{"type": "rich_text", "elements": [
        {"type": "rich_text_section", "elements": [
            {"type": "text", "text": "hi", "style": {"bold": true, "code": false}},
            {"type": "link", "url": "https://e.org/", "text": "l"},
            {"type": "user", "user_id": "U2"}, {"type": "emoji", "name": "tada", "unicode": "1f389"},
            {"type": "channel", "channel_id": "C2"}, {"type": "broadcast", "range": "here"},
            {"type": "date", "timestamp": 1, "format": "{date}", "fallback": "f"}]},
        {"type": "rich_text_list", "style": "ordered", "indent": 1, "elements": [
            {"type": "rich_text_section", "elements": [{"type": "text", "text": "a"}]}]},
        {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "code"}]},
        {"type": "rich_text_quote", "elements": [{"type": "text", "text": "q"}]}]},
        {"type": "section", "text": {"type": "mrkdwn", "text": "*b*"},
            "fields": [{"type": "plain_text", "text": "f"}]},
        {"type": "image", "image_url": "https://e.org/i.png", "alt_text": "i"},
        {"type": "actions", "elements": [{"type": "button", "text": {"type": "plain_text", "text": "b"}}]}]);
    vec![
        event(json!({"type": "message", "channel": "C1", "user": "U1", "ts": "1.2",
            "thread_ts": "1.1", "text": "*b* _i_ ~s~ `c` <https://e.org|l> <@U2> <!here> <!date^1^{date}|d> &lt;",
            "attachments": [{"title": "t", "title_link": "https://e.org", "text": "x", "image_url": "https://e.org/i",
                "fields": [{"title": "n", "value": "v", "short": true}], "footer": "f", "color": "#fff"}],
            "files": [{"id": "F1", "name": "a.png", "mimetype": "image/png", "size": 3, "url_private": "https://files.slack.com/a"}]})),
        event(
            json!({"type": "message", "channel": "C1", "user": "U1", "ts": "1.2", "text": "", "blocks": blocks}),
        ),
        event(
            json!({"type": "message", "subtype": "message_changed", "channel": "C1", "ts": "1.3",
            "message": {"type": "message", "user": "U1", "ts": "1.2", "text": "new", "edited": {"ts": "1.3"}}}),
        ),
        event(
            json!({"type": "message", "subtype": "message_deleted", "channel": "C1", "deleted_ts": "1.2"}),
        ),
        event(json!({"type": "reaction_added", "user": "U1", "reaction": "tada",
            "item": {"type": "message", "channel": "C1", "ts": "1.2"}})),
        event(
            json!({"type": "pin_added", "user": "U1", "item": {"channel": "C1", "message": {"ts": "1.2"}}}),
        ),
        json!({"command": "/link", "text": "r", "user_id": "U1", "user_name": "eve", "channel_id": "C1", "team_id": "T"}),
    ]
}

fn teams() -> Vec<Value> {
    let activity = |kind: &str| {
        json!({"type": kind, "id": "1", "timestamp": "2026-11-21T00:00:00Z", "channelId": "msteams",
            "serviceUrl": "https://smba.example/", "from": {"id": "29:1", "name": "Eve"},
            "recipient": {"id": "28:b", "name": "bot"},
            "conversation": {"id": "19:c@thread.tacv2;messageid=7", "tenantId": "T", "conversationType": "channel"},
            "channelData": {"tenant": {"id": "T"}}})
    };
    let mut message = activity("message");
    message["text"] =
        "<p><b>b</b> <at>Ada</at> <a href=\"https://e.org\">l</a></p><ul><li>a</li></ul>".into();
    message["textFormat"] = "xml".into();
    message["entities"] = json!([{"type": "mention", "text": "<at>Ada</at>", "mentioned": {"id": "29:2", "name": "Ada"}}]);
    message["attachments"] = json!([
        {"contentType": "image/png", "contentUrl": "https://smba.example/v3/attachments/1", "name": "a.png"},
        {"contentType": "application/vnd.microsoft.card.adaptive", "content": {"type": "AdaptiveCard",
            "body": [{"type": "TextBlock", "text": "**t**", "weight": "Bolder"},
                {"type": "FactSet", "facts": [{"title": "n", "value": "v"}]},
                {"type": "ColumnSet", "columns": [{"items": [{"type": "Image", "url": "https://e.org/i"}]}]}],
            "actions": [{"type": "Action.OpenUrl", "title": "o", "url": "https://e.org"}]}},
        {"contentType": "application/vnd.microsoft.teams.file.download.info", "name": "f",
            "content": {"downloadUrl": "https://x.sharepoint.com/f", "uniqueId": "u"}}]);
    let mut reaction = activity("messageReaction");
    reaction["replyToId"] = "7".into();
    reaction["reactionsAdded"] = json!([{"type": "like"}]);
    let mut update = activity("conversationUpdate");
    update["membersAdded"] = json!([{"id": "29:3", "name": "Bob"}]);
    vec![message, activity("messageDelete"), reaction, update, activity("typing")]
}

fn discord() -> Vec<Value> {
    let event = |kind: &str, data: Value| json!({"op": 0, "t": kind, "s": 1, "d": data});
    let message = json!({"id": "9", "channel_id": "5", "guild_id": "1", "type": 0,
        "author": {"id": "2", "username": "eve", "global_name": "Eve"}, "member": {"nick": "E"},
        "content": "**b** *i* __u__ ~~s~~ ||x|| `c` <@3> <@&4> <#6> <:p:7> <t:1:R> > q\n```rs\nx\n```\n- a",
        "mentions": [{"id": "3", "username": "bob"}], "message_reference": {"message_id": "8"},
        "attachments": [{"id": "1", "filename": "a.png", "size": 3, "content_type": "image/png",
            "url": "https://cdn.discordapp.com/a.png"}],
        "embeds": [{"title": "t", "url": "https://e.org", "description": "*d*", "author": {"name": "n"},
            "fields": [{"name": "n", "value": "v", "inline": true}], "image": {"url": "https://e.org/i"},
            "footer": {"text": "f"}}],
        "sticker_items": [{"id": "1", "name": "s", "format_type": 1}],
        "poll": {"question": {"text": "q"}, "answers": [{"answer_id": 1, "poll_media": {"text": "a"}}]}});
    vec![
        event("MESSAGE_CREATE", message.clone()),
        event("MESSAGE_UPDATE", message),
        event("MESSAGE_DELETE", json!({"id": "9", "channel_id": "5", "guild_id": "1"})),
        event(
            "MESSAGE_REACTION_ADD",
            json!({"user_id": "2", "channel_id": "5", "guild_id": "1",
            "message_id": "9", "emoji": {"id": "7", "name": "p"}, "member": {"user": {"id": "2", "username": "e"}}}),
        ),
        json!({"id": "1", "application_id": "2", "type": 2, "token": "t", "channel_id": "5", "guild_id": "1",
            "member": {"user": {"id": "2", "username": "eve"}, "permissions": "8"},
            "data": {"name": "link", "options": [{"name": "room", "type": 3, "value": "r"}]}}),
    ]
}

fn telegram() -> Vec<Value> {
    let message = |more: Value| {
        let mut message = json!({"message_id": 5, "date": 1, "message_thread_id": 3, "is_topic_message": true,
            "chat": {"id": -100, "type": "supergroup", "title": "g"},
            "from": {"id": 2, "is_bot": false, "first_name": "Eve", "last_name": "E", "username": "eve"}});
        for (name, value) in more.as_object().into_iter().flatten() {
            message[name] = value.clone();
        }
        json!({"update_id": 7, "message": message})
    };
    let entity = |kind: &str, offset: i64, length: i64| json!({"type": kind, "offset": offset, "length": length});
    let mut link = entity("text_link", 3, 4);
    link["url"] = "https://e.org/".into();
    vec![
        message(json!({"text": "😀 bold e\u{301} code", "reply_to_message": {"message_id": 4},
            "entities": [entity("bold", 0, 7), link, entity("custom_emoji", 0, 2), entity("code", 11, 4),
                entity("blockquote", 0, 15)]})),
        message(json!({"caption": "c", "caption_entities": [entity("italic", 0, 1)],
            "photo": [{"file_id": "f", "file_size": 3}], "document": {"file_id": "d", "file_name": "a.txt",
                "mime_type": "text/plain", "file_size": 1}})),
        message(json!({"poll": {"question": "q", "options": [{"text": "a"}]}})),
        message(
            json!({"sticker": {"file_id": "s", "emoji": "😀"}, "location": {"latitude": 1.0, "longitude": 2.0}}),
        ),
        json!({"update_id": 8, "edited_message": message(json!({"text": "e"}))["message"]}),
        json!({"update_id": 9, "message_reaction": {"chat": {"id": -100, "type": "supergroup"}, "message_id": 5,
            "user": {"id": 2, "is_bot": false, "first_name": "E"}, "date": 1, "old_reaction": [],
            "new_reaction": [{"type": "emoji", "emoji": "👍"}]}}),
    ]
}

fn own(platform: Platform) -> Vec<Value> {
    match platform {
        Platform::Slack => slack(),
        Platform::Teams => teams(),
        Platform::Discord => discord(),
        Platform::Telegram => telegram(),
    }
}

/// Further payloads, if there are any.
fn others(platform: Platform) -> Vec<Value> {
    let Ok(folder) = std::env::var("SWITCHYARD_SAMPLES") else { return Vec::new() };
    let folder = Path::new(&folder).join(platform.as_str());
    let files =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |path: &Path| -> Value {
        let value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let payload = value.get("payload").cloned();
        payload.unwrap_or(value)
    };
    files.map(|file| read(&file.unwrap().path())).collect()
}

/// How a value is spoiled.
#[derive(Clone, Copy)]
enum Spoil {
    Gone,
    Blank,
    To(fn() -> Value),
}

const SPOILS: [Spoil; 9] = [
    Spoil::Gone,
    Spoil::Blank,
    Spoil::To(|| Value::Null),
    Spoil::To(|| json!(-1)),
    Spoil::To(|| json!(i64::MAX)),
    Spoil::To(|| json!([])),
    Spoil::To(|| json!([{"type": "text"}, 1, null, "x"])),
    Spoil::To(|| json!({"id": 1, "text": {"type": true}})),
    Spoil::To(|| json!("\u{202e}<@U1> @everyone 👩‍👩‍👧‍👦 \\` ``` || ")),
];

fn paths(value: &Value, at: &str, out: &mut Vec<String>) {
    let mut below = |name: &str, child: &Value| {
        let path = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        out.push(path.clone());
        paths(child, &path, out);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, child)| below(name, child)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(number, child)| below(&number.to_string(), child));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn spoiled(payload: &Value, path: &str, spoil: Spoil) -> Value {
    let mut payload = payload.clone();
    match spoil {
        Spoil::Gone => {
            let (parent, name) = path.rsplit_once('/').unwrap();
            let name = name.replace("~1", "/").replace("~0", "~");
            match payload.pointer_mut(parent).unwrap() {
                Value::Object(fields) => drop(fields.shift_remove(&name)),
                Value::Array(items) => drop(items.remove(name.parse().unwrap())),
                _leaf => {}
            }
        }
        Spoil::Blank => {
            let value = payload.pointer_mut(path).unwrap();
            *value = match value {
                Value::String(_) => json!(""),
                Value::Number(_) => json!(0),
                Value::Bool(held) => json!(!*held),
                Value::Array(_) => json!([]),
                Value::Object(_) => json!({}),
                Value::Null => json!(""),
            };
        }
        Spoil::To(make) => *payload.pointer_mut(path).unwrap() = make(),
    }
    payload
}

/// Reads a payload, and writes what it says for every platform; says what it was.
fn taken(platform: Platform, payload: &[u8]) -> &'static str {
    let Ok(Payload { inbound, answer, .. }) = parse(platform, payload, &NoNames) else {
        return "no payload";
    };
    for one in &inbound {
        let (Inbound::Posted(said) | Inbound::Edited(said)) = one else { continue };
        for to in Platform::ALL {
            let message = Outgoing {
                author: Some(said.author.name.clone()),
                content: said.content.clone(),
                channel: channel(to).to_owned(),
                id: "m".to_owned(),
                ..Outgoing::default()
            };
            render(to, &message, &NoNames).unwrap();
        }
    }
    match inbound.first() {
        Some(Inbound::Posted(_) | Inbound::Edited(_)) => "message",
        Some(Inbound::Unsupported(_)) => "unsupported",
        Some(Inbound::Unreadable(_)) => "unreadable",
        Some(_) => "event",
        None if answer.is_some() => "answered",
        None => "nothing",
    }
}

#[test]
fn no_payload_that_is_almost_right_does_harm() {
    for platform in Platform::ALL {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        let own = own(platform);
        for payload in &own {
            let what = taken(platform, payload.to_string().as_bytes());
            assert!(["message", "event"].contains(&what), "{platform}: {what}: {payload}");
        }
        for payload in own.iter().chain(&others(platform)) {
            let mut all = Vec::new();
            paths(payload, "", &mut all);
            for path in &all {
                for spoil in SPOILS {
                    let bytes = spoiled(payload, path, spoil).to_string();
                    *counts.entry(taken(platform, bytes.as_bytes())).or_default() += 1;
                }
            }
            let text = payload.to_string();
            for end in (0..text.len()).step_by(7) {
                *counts.entry(taken(platform, &text.as_bytes()[..end])).or_default() += 1;
            }
        }
        println!("{platform}: {counts:?}");
        assert!(counts.values().sum::<u64>() > 1_000, "{platform}: {counts:?}");
    }
}

//! What a platform tells an app of what the app's own bot did: Slack and Discord send it back like
//! anything else that happens in a channel.

use std::{sync::Arc, time::Duration};

use schemas::room::Platform;
use serde_json::{Value, json};

use super::{DISCORD_BOT, SLACK_BOT, SLACK_BOT_USER, Shared, people::People, workspace};

/// A request that is not taken is repeated so often.
const ATTEMPTS: u32 = 5;
/// The pause between them.
const PAUSE: Duration = Duration::from_millis(200);

/// What the bot did to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act<'a> {
    Posted,
    Edited,
    Deleted,
    Reacted(&'a str),
    Unreacted(&'a str),
}

/// Tells the node, if it is to be told; `body` is that of the call.
pub(super) fn tell(
    shared: &Arc<Shared>,
    platform: Platform,
    (channel, id): (&str, &str),
    act: Act<'_>,
    body: &Value,
) {
    let Some(node) = shared.told() else { return };
    let event = match platform {
        Platform::Slack => slack(channel, id, act, body),
        Platform::Discord => discord(channel, id, act, body),
        // These do not tell a bot what it did.
        Platform::Teams | Platform::Telegram => return,
    };
    let Some(address) = shared.address() else { return };
    let people = People::new(shared.clone(), address, &node);
    actix_web::rt::spawn(async move {
        for _ in 0..ATTEMPTS {
            match people.send(platform, &event).await {
                Ok(_) => return,
                Err(error) => tracing::debug!(%error, "an echo is not taken"),
            }
            actix_web::rt::time::sleep(PAUSE).await;
        }
    });
}

fn slack(channel: &str, id: &str, act: Act<'_>, body: &Value) -> Value {
    let said = || {
        let mut message = json!({"type": "message", "ts": id, "bot_id": SLACK_BOT,
            "user": SLACK_BOT_USER, "text": body["text"]});
        if body["files"].is_array() {
            // What is uploaded comes under the bot's user.
            message = json!({"type": "message", "subtype": "file_share", "ts": id,
                "user": SLACK_BOT_USER, "text": "", "files": body["files"]});
        }
        for key in ["blocks", "username", "thread_ts", "attachments"] {
            if !body[key].is_null() {
                message[key] = body[key].clone();
            }
        }
        message
    };
    let reaction = |kind: &str, name: &str| {
        json!({"type": kind, "user": SLACK_BOT_USER, "reaction": name, "event_ts": id,
            "item": {"type": "message", "channel": channel, "ts": id}})
    };
    let event = match act {
        Act::Posted => {
            let mut event = said();
            event["channel"] = channel.into();
            event
        }
        Act::Edited => json!({"type": "message", "subtype": "message_changed",
            "channel": channel, "message": said()}),
        Act::Deleted => json!({"type": "message", "subtype": "message_deleted",
            "channel": channel, "deleted_ts": id}),
        Act::Reacted(name) => reaction("reaction_added", name),
        Act::Unreacted(name) => reaction("reaction_removed", name),
    };
    let of = format!("Ev{id} {act:?} {body}");
    json!({"type": "event_callback", "team_id": workspace(Platform::Slack), "event_id": of,
        "event": event})
}

fn discord(channel: &str, id: &str, act: Act<'_>, body: &Value) -> Value {
    let guild = workspace(Platform::Discord);
    let message = || {
        json!({"id": id, "channel_id": channel, "guild_id": guild, "type": 0,
            "author": {"id": DISCORD_BOT, "username": "switchyard", "bot": true},
            "content": body["content"], "nonce": body["nonce"]})
    };
    let reaction = |emoji: &str| {
        json!({"user_id": DISCORD_BOT, "channel_id": channel, "message_id": id,
            "guild_id": guild, "emoji": {"id": null, "name": emoji}})
    };
    let (kind, data) = match act {
        Act::Posted => ("MESSAGE_CREATE", message()),
        Act::Edited => {
            let mut edited = message();
            edited["edited_timestamp"] = "2026-11-21T00:00:00Z".into();
            ("MESSAGE_UPDATE", edited)
        }
        Act::Deleted => {
            ("MESSAGE_DELETE", json!({"id": id, "channel_id": channel, "guild_id": guild}))
        }
        Act::Reacted(emoji) => ("MESSAGE_REACTION_ADD", reaction(emoji)),
        Act::Unreacted(emoji) => ("MESSAGE_REACTION_REMOVE", reaction(emoji)),
    };
    json!({"op": 0, "t": kind, "s": 1, "d": data})
}

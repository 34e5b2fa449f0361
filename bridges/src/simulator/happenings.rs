//! What people on the platforms do beside talking: commands to the bot, coming, titles, moving; and
//! who of them may administer a channel.

use schemas::room::Platform;
use serde_json::{Value, json};

use super::people::{People, number_of, slack_event, telegram_message};

/// The one who administers every channel.
pub const ADMIN: &str = "boss";
/// The bot's name at Telegram.
const TELEGRAM_BOT: &str = "simulated_bot";
/// `MANAGE_CHANNELS` at Discord.
const MANAGE_CHANNELS: &str = "16";

impl People {
    /// Somebody gives the bot a command, such as `link 1`; what Discord and Slack send of it.
    pub fn asked(&self, platform: Platform, channel: &str, user: &str, command: &str) -> Value {
        let (name, room) = command.split_once(' ').unwrap_or((command, ""));
        match platform {
            Platform::Slack => json!({"command": format!("/{name}"), "text": room,
                "team_id": "T", "channel_id": channel, "user_id": format!("U_{user}"),
                "user_name": user}),
            Platform::Discord => {
                let options = match room {
                    "" => json!([]),
                    room => json!([{"name": "room", "type": 3, "value": room}]),
                };
                let permissions = if user == ADMIN { MANAGE_CHANNELS } else { "0" };
                json!({"type": 2, "id": self.new_id(platform), "application_id": "3", "token": "t",
                    "guild_id": "1", "channel_id": channel,
                    "member": {"permissions": permissions,
                        "user": {"id": number_of(user).to_string(), "username": user}},
                    "data": {"name": name, "options": options}})
            }
            Platform::Teams | Platform::Telegram => {
                let id = self.new_id(platform);
                self.posted(platform, channel, (&id, user), &format!("/{command}"), None)
            }
        }
    }

    /// Somebody comes to the channel. Slack says it twice.
    pub fn joined(&self, platform: Platform, channel: &str, user: &str) -> Vec<Value> {
        let id = self.new_id(platform);
        match platform {
            Platform::Slack => {
                let user = format!("U_{user}");
                vec![
                    slack_event(&json!({"type": "member_joined_channel", "user": user,
                        "channel": channel, "event_ts": self.new_id(platform)})),
                    slack_event(&json!({"type": "message", "subtype": "channel_join", "ts": id,
                        "user": user, "channel": channel, "text": "has joined the channel"})),
                ]
            }
            Platform::Teams => {
                let mut activity = self.activity("conversationUpdate", channel, &id, user);
                activity["membersAdded"] = json!([{"id": format!("29:{user}"), "name": user}]);
                vec![activity]
            }
            Platform::Discord => vec![json!({"op": 0, "t": "MESSAGE_CREATE", "s": 1,
                "d": {"id": id, "channel_id": channel, "guild_id": "1", "type": 7, "content": "",
                    "author": {"id": number_of(user).to_string(), "username": user}}})],
            Platform::Telegram => {
                let member = json!({"id": number_of(user), "is_bot": false, "first_name": user});
                vec![self.service_message(channel, user, "new_chat_members", json!([member]))]
            }
        }
    }

    /// The channel has another title.
    pub fn titled(&self, platform: Platform, channel: &str, title: &str) -> Value {
        let id = self.new_id(platform);
        match platform {
            Platform::Slack => slack_event(&json!({"type": "channel_rename", "event_ts": id,
                "channel": {"id": channel, "name": title}})),
            Platform::Teams => {
                let mut activity = self.activity("conversationUpdate", channel, &id, ADMIN);
                activity["channelData"]["eventType"] = "channelRenamed".into();
                activity["channelData"]["channel"] = json!({"id": channel, "name": title});
                activity
            }
            Platform::Discord => json!({"op": 0, "t": "CHANNEL_UPDATE", "s": 1,
                "d": {"id": channel, "guild_id": "1", "name": title}}),
            Platform::Telegram => {
                self.service_message(channel, ADMIN, "new_chat_title", title.into())
            }
        }
    }

    /// A group of Telegram becomes a supergroup, which has another id.
    pub fn migrated(&self, channel: &str, to: &str) -> Value {
        let to = to.parse::<i64>().unwrap_or_default();
        self.service_message(channel, ADMIN, "migrate_to_chat_id", to.into())
    }

    /// The bot is put out of a group of Telegram.
    pub fn put_out(&self, channel: &str) -> Value {
        let chat = channel.parse::<i64>().unwrap_or_default();
        let bot = json!({"id": 1, "is_bot": true, "first_name": "bot"});
        json!({"update_id": self.new_number(), "my_chat_member": {"date": 0,
            "chat": {"id": chat, "type": "supergroup"},
            "from": {"id": number_of(ADMIN), "is_bot": false, "first_name": ADMIN},
            "old_chat_member": {"status": "member", "user": bot},
            "new_chat_member": {"status": "kicked", "user": bot}}})
    }

    fn service_message(&self, channel: &str, user: &str, name: &str, value: Value) -> Value {
        let id = self.new_id(Platform::Telegram);
        let mut message = telegram_message(channel, &id, user, "");
        message[name] = value;
        if let Some(message) = message.as_object_mut() {
            message.remove("text");
        }
        json!({"update_id": self.new_number(), "message": message})
    }
}

/// What Telegram answers to the methods that say who somebody is.
pub(super) fn telegram_says(method: &str, body: &Value) -> Option<Value> {
    match method {
        "getMe" => Some(json!({"id": 1, "is_bot": true, "username": TELEGRAM_BOT})),
        "getChatMember" => {
            let is_admin = body["user_id"] == number_of(ADMIN);
            Some(json!({"status": if is_admin { "administrator" } else { "member" }}))
        }
        _other => None,
    }
}

/// Somebody of Slack by name.
pub(super) fn slack_user(id: &str, name: &str) -> Value {
    json!({"id": id, "name": name, "profile": {"display_name": name}, "is_admin": name == ADMIN,
        "is_owner": false})
}

//! What people on the platforms do, as requests to a node.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, Mac as _};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use schemas::room::Platform;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::message::Reaction;

use super::{KeptFile, SLACK_SECRET, Shared, TEAMS_APP, TEAMS_KID, TELEGRAM_SECRET, files};

/// Discord's key for requests to the interactions endpoint.
const DISCORD_SEED: [u8; 32] = [7; 32];

pub(super) fn discord_public_key() -> String {
    hex::encode(SigningKey::from_bytes(&DISCORD_SEED).verifying_key().as_bytes())
}

/// A node did not take a request.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// It could not be reached.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    /// It answered otherwise than 200.
    #[error("{status}: {body}")]
    Status {
        /// With what.
        status: u16,
        /// And this.
        body: String,
    },
    /// A token could not be signed.
    #[error("no token: {0}")]
    Token(#[from] jsonwebtoken::errors::Error),
}

/// People on the platforms. Their ids are names: `U_eve` on Slack, `29:eve` on Teams; on Discord and
/// Telegram ada is 6, the one who administers is 7, and everybody else is 5.
pub struct People {
    shared: Arc<Shared>,
    simulators: SocketAddr,
    node: String,
    http: reqwest::Client,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl People {
    pub(super) fn new(shared: Arc<Shared>, simulators: SocketAddr, node: &str) -> Self {
        Self { shared, simulators, node: node.to_owned(), http: reqwest::Client::new() }
    }

    /// Sends a payload as the platform would: signed, over the Gateway, or over Socket Mode and long
    /// polling where those are used.
    ///
    /// # Errors
    /// If the node does not answer 200.
    pub async fn send(&self, platform: Platform, payload: &Value) -> Result<Value, NotTaken> {
        let is_taken = match platform {
            Platform::Slack => self.shared.socket_mode().is_some_and(|way| way.take(payload)),
            Platform::Telegram => self.shared.polling.take(payload),
            Platform::Teams | Platform::Discord => false,
        };
        if is_taken {
            return Ok(Value::Null);
        }
        if let (Platform::Discord, Some(0), Some(gateway)) =
            (platform, payload["op"].as_i64(), self.shared.gateway())
        {
            gateway.tell(payload);
            return Ok(Value::Null);
        }
        let body = payload.to_string();
        let headers = match platform {
            Platform::Slack => self.slack_headers(&body),
            Platform::Teams => vec![("authorization", format!("Bearer {}", self.teams_token()?))],
            Platform::Discord => {
                let time = now().to_string();
                let signed =
                    SigningKey::from_bytes(&DISCORD_SEED).sign(format!("{time}{body}").as_bytes());
                vec![
                    ("x-signature-timestamp", time),
                    ("x-signature-ed25519", hex::encode(signed.to_bytes())),
                ]
            }
            Platform::Telegram => {
                vec![("x-telegram-bot-api-secret-token", TELEGRAM_SECRET.to_owned())]
            }
        };
        self.send_with(platform, body, &headers).await
    }

    /// Sends a body with headers of any kind.
    ///
    /// # Errors
    /// If the node does not answer 200.
    pub async fn send_with(
        &self,
        platform: Platform,
        body: String,
        headers: &[(&str, String)],
    ) -> Result<Value, NotTaken> {
        let url = format!("http://{}/bridges/{platform}/events", self.node);
        let mut request = self.http.post(url).header("content-type", "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let body = answer.text().await?;
        if status != 200 {
            return Err(NotTaken::Status { status, body });
        }
        Ok(serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// The headers of a request of Slack.
    pub fn slack_headers(&self, body: &str) -> Vec<(&'static str, String)> {
        let time = now().to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(SLACK_SECRET.as_bytes())
            .unwrap_or_else(|_| unreachable!("any key fits HMAC"));
        mac.update(format!("v0:{time}:{body}").as_bytes());
        let signature = format!("v0={}", hex::encode(mac.finalize().into_bytes()));
        vec![("x-slack-request-timestamp", time), ("x-slack-signature", signature)]
    }

    /// The header of a request of an outgoing webhook of Teams whose security token is `token`, in
    /// base64.
    pub fn webhook_header(&self, token: &str, body: &str) -> (&'static str, String) {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let key = STANDARD.decode(token).unwrap_or_default();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key)
            .unwrap_or_else(|_| unreachable!("any key fits HMAC"));
        mac.update(body.as_bytes());
        ("authorization", format!("HMAC {}", STANDARD.encode(mac.finalize().into_bytes())))
    }

    /// A token of the Bot Connector.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn teams_token(&self) -> Result<String, NotTaken> {
        self.teams_token_with(json!({}))
    }

    /// The same with other claims.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn teams_token_with(&self, other: Value) -> Result<String, NotTaken> {
        let mut claims = json!({"iss": "https://api.botframework.com", "aud": TEAMS_APP,
            "exp": now() + 600, "nbf": now() - 10, "serviceurl": self.service_url()});
        for (name, value) in other.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        let header = Header { kid: Some(TEAMS_KID.to_owned()), ..Header::new(Algorithm::RS256) };
        let key = EncodingKey::from_rsa_pem(self.shared.teams_pem().as_bytes())?;
        Ok(encode(&header, &claims, &key)?)
    }

    /// Where answers to Teams go.
    pub fn service_url(&self) -> String {
        format!("http://{}/teams/", self.simulators)
    }

    /// An id that the platform gives next.
    pub fn new_id(&self, platform: Platform) -> String {
        self.shared.world().new_id(platform)
    }

    /// A message of somebody: `markup` in the platform's own form, in answer to `reply_to`.
    pub fn posted(
        &self,
        platform: Platform,
        channel: &str,
        (id, user): (&str, &str),
        markup: &str,
        reply_to: Option<&str>,
    ) -> Value {
        match platform {
            Platform::Slack => {
                let mut event = json!({"type": "message", "channel": channel, "ts": id,
                    "user": format!("U_{user}"), "text": markup});
                if let Some(root) = reply_to {
                    event["thread_ts"] = root.into();
                }
                slack_event(&event)
            }
            Platform::Teams => {
                let mut activity = self.activity("message", channel, id, user);
                activity["text"] = markup.into();
                activity["textFormat"] = "xml".into();
                if let Some(message) = reply_to {
                    activity["replyToId"] = message.into();
                }
                activity
            }
            Platform::Discord => json!({"op": 0, "t": "MESSAGE_CREATE", "s": 1,
                "d": discord_message(channel, id, user, markup, reply_to)}),
            Platform::Telegram => {
                let mut message = telegram_message(channel, id, user, markup);
                if let Some(replied) = reply_to.and_then(|id| id.parse::<i64>().ok()) {
                    message["reply_to_message"] = json!({"message_id": replied});
                }
                json!({"update_id": self.new_number(), "message": message})
            }
        }
    }

    /// The same message with a file: its name, media type and bytes.
    pub fn with_file(
        &self,
        platform: Platform,
        payload: Value,
        (name, media_type, bytes): (&str, &str, Bytes),
    ) -> Value {
        let id = format!("F{}", self.new_number());
        let (name, media_type) = (name.to_owned(), media_type.to_owned());
        let file = KeptFile { id, name, media_type, bytes };
        self.shared.world().bring(platform, file.clone());
        files::with_file(platform, &self.simulators.to_string(), payload, &file)
    }

    /// The same message, saying something else now.
    pub fn edited(
        &self,
        platform: Platform,
        channel: &str,
        (id, user): (&str, &str),
        markup: &str,
    ) -> Value {
        match platform {
            Platform::Slack => slack_event(&json!({"type": "message", "channel": channel,
                "subtype": "message_changed", "ts": self.new_id(platform),
                "message": {"type": "message", "user": format!("U_{user}"),
                    "ts": id, "text": markup}})),
            Platform::Teams => {
                let mut activity = self.activity("messageUpdate", channel, id, user);
                activity["text"] = markup.into();
                activity["textFormat"] = "xml".into();
                activity["timestamp"] = self.new_number().into();
                activity["timestamp"] = activity["timestamp"].to_string().into();
                activity
            }
            Platform::Discord => {
                let mut message = discord_message(channel, id, user, markup, None);
                message["edited_timestamp"] = "2026-11-21T00:00:00Z".into();
                json!({"op": 0, "t": "MESSAGE_UPDATE", "s": 1, "d": message})
            }
            Platform::Telegram => json!({"update_id": self.new_number(),
                "edited_message": telegram_message(channel, id, user, markup)}),
        }
    }

    /// Somebody reacts to a message with `emoji`, which is the platform's name of it, or takes
    /// that back.
    pub fn reacted(
        &self,
        platform: Platform,
        channel: &str,
        (id, user): (&str, &str),
        emoji: &str,
        change: Reaction,
    ) -> Value {
        let is_added = change == Reaction::Added;
        match platform {
            Platform::Slack => {
                let kind = if is_added { "reaction_added" } else { "reaction_removed" };
                slack_event(&json!({"type": kind, "user": format!("U_{user}"), "reaction": emoji,
                    "item": {"type": "message", "channel": channel, "ts": id},
                    "event_ts": self.new_id(platform)}))
            }
            Platform::Teams => {
                let mut activity = self.activity("messageReaction", channel, id, user);
                let key = if is_added { "reactionsAdded" } else { "reactionsRemoved" };
                activity["id"] = self.new_id(platform).into();
                activity["replyToId"] = id.into();
                activity[key] = json!([{"type": emoji}]);
                activity
            }
            Platform::Discord => {
                let kind =
                    if is_added { "MESSAGE_REACTION_ADD" } else { "MESSAGE_REACTION_REMOVE" };
                json!({"op": 0, "t": kind, "s": 1, "d": {"user_id": "5", "channel_id": channel,
                    "guild_id": "1", "message_id": id, "emoji": {"id": null, "name": emoji},
                    "member": {"user": {"id": "5", "username": user}}}})
            }
            Platform::Telegram => {
                let reaction = json!({"type": "emoji", "emoji": emoji});
                let (old, new) = match change {
                    Reaction::Added => (json!([]), json!([reaction])),
                    Reaction::Removed => (json!([reaction]), json!([])),
                };
                json!({"update_id": self.new_number(), "message_reaction": {
                    "chat": {"id": channel.parse::<i64>().unwrap_or_default(), "type": "supergroup"},
                    "message_id": id.parse::<i64>().unwrap_or_default(), "date": 0,
                    "user": {"id": 5, "is_bot": false, "first_name": user},
                    "old_reaction": old, "new_reaction": new}})
            }
        }
    }

    /// The message is taken back; Telegram does not say so.
    pub fn deleted(&self, platform: Platform, channel: &str, id: &str) -> Option<Value> {
        match platform {
            Platform::Slack => Some(slack_event(&json!({"type": "message", "channel": channel,
                "subtype": "message_deleted", "ts": self.new_id(platform), "deleted_ts": id}))),
            Platform::Teams => Some(self.activity("messageDelete", channel, id, "somebody")),
            Platform::Discord => Some(json!({"op": 0, "t": "MESSAGE_DELETE", "s": 1,
                "d": {"id": id, "channel_id": channel, "guild_id": "1"}})),
            Platform::Telegram => None,
        }
    }

    /// Somebody is typing in Teams.
    pub fn typing_in_teams(&self, channel: &str, id: &str) -> Value {
        self.activity("typing", channel, id, "somebody")
    }

    /// Somebody is typing; Slack and Telegram do not say so.
    pub fn typing(&self, platform: Platform, channel: &str, user: &str) -> Option<Value> {
        match platform {
            Platform::Slack | Platform::Telegram => None,
            Platform::Teams => Some(self.activity("typing", channel, &self.new_id(platform), user)),
            Platform::Discord => Some(json!({"op": 0, "t": "TYPING_START", "s": 1, "d": {
                "channel_id": channel, "guild_id": "1", "user_id": "5", "timestamp": 1,
                "member": {"user": {"id": "5", "username": user}}}})),
        }
    }

    pub(super) fn new_number(&self) -> u64 {
        let mut world = self.shared.world();
        world.next += 1;
        world.next
    }

    pub(super) fn activity(&self, kind: &str, channel: &str, id: &str, user: &str) -> Value {
        json!({"type": kind, "id": id, "timestamp": "2026-11-21T00:00:00Z", "channelId": "msteams",
            "serviceUrl": self.service_url(),
            "from": {"id": format!("29:{user}"), "name": user},
            "recipient": {"id": "28:bot", "name": "bot"},
            "conversation": {"id": channel, "conversationType": "channel"},
            "channelData": {"tenant": {"id": "T"}}})
    }
}

/// The ids of people where they are numbers.
pub(super) fn number_of(user: &str) -> i64 {
    match user {
        "ada" => 6,
        super::ADMIN => 7,
        _somebody => 5,
    }
}

pub(super) fn slack_event(event: &Value) -> Value {
    let kind = event["ts"].as_str().or(event["event_ts"].as_str()).unwrap_or_default();
    json!({"type": "event_callback", "team_id": "T", "event_id": format!("Ev{kind}"),
        "event": event})
}

fn discord_message(
    channel: &str,
    id: &str,
    user: &str,
    markup: &str,
    reply_to: Option<&str>,
) -> Value {
    let mut message = json!({"id": id, "channel_id": channel, "guild_id": "1", "type": 0,
        "author": {"id": number_of(user).to_string(), "username": user}, "content": markup});
    if let Some(replied) = reply_to {
        message["message_reference"] = json!({"message_id": replied});
    }
    message
}

pub(super) fn telegram_message(channel: &str, id: &str, user: &str, text: &str) -> Value {
    json!({"message_id": id.parse::<i64>().unwrap_or_default(), "date": 0,
        "chat": {"id": channel.parse::<i64>().unwrap_or_default(), "type": "supergroup"},
        "from": {"id": number_of(user), "is_bot": false, "first_name": user}, "text": text})
}

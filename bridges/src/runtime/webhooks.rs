//! Requests of the platforms: verified, appended to `bridge.inbound`, then answered. The same again
//! does no harm, since what it asks has the same command ids.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use schemas::room::Platform;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use super::{Bridges, RunError, arrival::Arrival, keys};
use crate::{
    Author, Inbound, Place,
    codec::{self, Payload},
    discord, slack, teams,
};

/// Keys of the Bot Connector are fetched anew after this.
const KEYS_FRESH_FOR: Duration = Duration::from_secs(24 * 3_600);
/// A key that is not known makes nobody fetch more often than this.
const KEYS_FETCHED_EVERY: Duration = Duration::from_secs(3_600);

/// A request as received.
#[derive(Debug, Clone)]
pub struct Request {
    /// From whom the path says it is.
    pub platform: Platform,
    /// Headers by lower-case name.
    pub headers: HashMap<String, String>,
    /// The raw body.
    pub body: Bytes,
}

/// What it is answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It is durable, or asked nothing but this answer.
    Taken(Value),
    /// It is not from the platform: 401.
    Refused(String),
    /// It is no payload: 400.
    Malformed(String),
    /// The platform is not configured: 404.
    Unknown,
    /// It cannot be kept now, and may be sent again: 503.
    Unavailable(String),
}

/// Who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// The platform to its app.
    Platform,
    /// An outgoing webhook of Teams, made by whoever owns a team: its word on where answers go is
    /// not taken.
    Webhook,
    /// Whoever it is, the platform is not configured.
    Nobody,
}

/// The keys of the Bot Connector.
#[derive(Default)]
pub(super) struct TeamsKeys(RwLock<Option<(Vec<teams::Key>, Instant)>>);

impl Bridges {
    /// Takes a request of a platform.
    pub async fn receive(&self, request: &Request) -> Answer {
        let now = self.ports.clock.now().as_millis() / 1_000;
        let sender = match self.verify(request, now).await {
            Ok(Sender::Nobody) => return Answer::Unknown,
            Ok(sender) => sender,
            Err(reason) => return Answer::Refused(reason),
        };
        let body = match json_of(request) {
            Ok(body) => body,
            Err(reason) => return Answer::Malformed(reason),
        };
        let payload = codec::parse(request.platform, &body, &self.names(request.platform));
        let Payload { answer, inbound, service_url, .. } = match payload {
            Ok(payload) => payload,
            Err(error) => return Answer::Malformed(error.to_string()),
        };
        if let Some(answer) = answer {
            return Answer::Taken(answer);
        }
        if let [Inbound::Typing { place, author }] = &inbound[..] {
            return self
                .typing_answered(request.platform, (place, author), sender, service_url)
                .await;
        }
        let arrival = Arrival { platform: request.platform, payload: body, id: None, sender };
        match arrival.keep_as(self, &inbound).await {
            Ok(()) => Answer::Taken(accepted(request.platform, &inbound)),
            Err(error) => Answer::Unavailable(error.to_string()),
        }
    }

    /// Keeps where answers to a conversation of Teams go.
    pub(super) async fn remember_service_url(
        &self,
        place: &Place,
        url: &str,
    ) -> Result<(), RunError> {
        let key = keys::service_url(&place.channel);
        if self.mappings.get(&key).await?.as_deref() != Some(url.as_bytes()) {
            let value = Bytes::from(url.to_owned());
            self.mappings.write(vec![(key, Some(value))], None).await?;
        }
        Ok(())
    }

    /// What is live is not kept, but where answers go is.
    async fn typing_answered(
        &self,
        platform: Platform,
        (place, author): (&Place, &Author),
        sender: Sender,
        service_url: Option<String>,
    ) -> Answer {
        let done = async {
            if let Some(url) = service_url.filter(|_| sender == Sender::Platform) {
                self.remember_service_url(place, &url).await?;
            }
            self.typing_there(platform, place, author).await
        };
        match done.await {
            Ok(()) => Answer::Taken(json!({})),
            Err(error) => Answer::Unavailable(error.to_string()),
        }
    }

    /// Who sends it; an error if that is not the platform.
    async fn verify(&self, request: &Request, now: i64) -> Result<Sender, String> {
        let header = |name: &str| request.headers.get(name).map(String::as_str).unwrap_or_default();
        let body = &request.body;
        match request.platform {
            Platform::Slack => {
                let Some(settings) = &self.settings.slack else { return Ok(Sender::Nobody) };
                let time = header("x-slack-request-timestamp");
                let signature = header("x-slack-signature");
                let without =
                    "bridges.slack has no signing_secret: its events come over Socket Mode";
                let secret = settings.signing_secret().ok_or(without)?.as_bytes();
                slack::verify(secret, time, signature, body, now).map_err(|e| e.to_string())?;
            }
            Platform::Discord => {
                let Some(settings) = &self.settings.discord else { return Ok(Sender::Nobody) };
                let time = header("x-signature-timestamp");
                let signature = header("x-signature-ed25519");
                discord::verify(&settings.public_key, time, signature, body, now)
                    .map_err(|e| e.to_string())?;
            }
            Platform::Telegram => {
                let Some(settings) = &self.settings.telegram else { return Ok(Sender::Nobody) };
                let given = header("x-telegram-bot-api-secret-token").as_bytes();
                let secret = settings.webhook_secret.as_deref().unwrap_or_default().as_bytes();
                if secret.is_empty() {
                    let reason =
                        "bridges.telegram has no webhook_secret: its updates are asked for";
                    return Err(reason.to_owned());
                }
                if !bool::from(given.ct_eq(secret)) {
                    return Err("X-Telegram-Bot-Api-Secret-Token is not the secret".to_owned());
                }
            }
            Platform::Teams => {
                let Some(settings) = &self.settings.teams else { return Ok(Sender::Nobody) };
                let given = header("authorization");
                if given.starts_with("HMAC ") {
                    let keys =
                        settings.webhook_tokens.iter().filter_map(|t| teams::Webhook::new(t));
                    let mut checked = keys.map(|key| teams::verify_webhook(&key, given, body));
                    if !checked.any(|checked| checked.is_ok()) {
                        return Err(teams::Refused::Signature.to_string());
                    }
                    return Ok(Sender::Webhook);
                }
                let kid = teams::kid_of(given).map_err(|e| e.to_string())?;
                let keys = self.keys_of_teams(&kid).await?;
                teams::verify(given, body, &settings.app_id, &settings.issuer, &keys)
                    .map_err(|e| e.to_string())?;
            }
        }
        Ok(Sender::Platform)
    }

    /// The keys of the Bot Connector; fetched again where one is named that is not among them.
    async fn keys_of_teams(&self, kid: &str) -> Result<Vec<teams::Key>, String> {
        let settings = self.settings.teams.as_ref().ok_or("teams is not configured")?;
        let held = self.teams_keys.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((keys, at)) = &held {
            let is_known = keys.iter().any(|key| key.kid == kid);
            let fresh_for = if is_known { KEYS_FRESH_FOR } else { KEYS_FETCHED_EVERY };
            if at.elapsed() < fresh_for {
                return Ok(keys.clone());
            }
        }
        let failed = |error: super::client::SendError| format!("the keys cannot be had: {error}");
        let metadata = self.client.document(&settings.openid_metadata).await.map_err(failed)?;
        let address = metadata["jwks_uri"].as_str().ok_or("the metadata name no jwks_uri")?;
        let set = self.client.document(address).await.map_err(failed)?;
        let keys: Vec<teams::Key> = serde_json::from_value(set["keys"].clone())
            .map_err(|error| format!("the keys cannot be read: {error}"))?;
        let mut held = self.teams_keys.0.write().unwrap_or_else(PoisonError::into_inner);
        *held = Some((keys.clone(), Instant::now()));
        Ok(keys)
    }
}

/// Slash commands of Slack are forms, and interactions are forms with JSON in them.
fn json_of(request: &Request) -> Result<Bytes, String> {
    let kind = request.headers.get("content-type").map(String::as_str).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Ok(request.body.clone());
    }
    let fields: serde_json::Map<String, Value> = form_urlencoded::parse(&request.body)
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect();
    match fields.get("payload").and_then(Value::as_str) {
        Some(payload) => Ok(Bytes::from(payload.to_owned())),
        None => serde_json::to_vec(&fields).map(Bytes::from).map_err(|error| error.to_string()),
    }
}

/// An interaction of Discord must be answered with something that people see.
fn accepted(platform: Platform, inbound: &[Inbound]) -> Value {
    let is_asked = inbound.iter().any(|inbound| matches!(inbound, Inbound::Asked { .. }));
    match platform {
        Platform::Discord if is_asked => {
            // 4: a message; 64: only who asked sees it.
            json!({"type": 4, "data": {"content": "Taken.", "flags": 64,
                "allowed_mentions": {"parse": []}}})
        }
        Platform::Discord => json!({"type": 6}),
        Platform::Slack | Platform::Teams | Platform::Telegram => json!({}),
    }
}

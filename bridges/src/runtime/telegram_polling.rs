//! Telegram's long polling (core.telegram.org/bots/api#getupdates): the way in for a bot without
//! `webhook_secret`, which needs no address that Telegram can reach. One poller a token over the whole
//! cluster: the node that reads the first partition of `bridge.inbound` is it. An update is in the log
//! before the next request confirms it, so a crash at any moment makes Telegram send it again, and
//! what comes again has no second effect.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use reqwest::header::RETRY_AFTER;
use schemas::room::Platform;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Bridges, RunError, TelegramSettings,
    arrival::Arrival,
    json as bytes_of,
    pauses::{PAUSE, Pauses, Trouble},
    webhooks::Sender,
};

/// So long Telegram waits for an update before it answers with none, in seconds.
const POLL: u64 = 25;
/// An answer must be there within this; longer than Telegram waits.
const ANSWER_WITHIN: Duration = Duration::from_secs(POLL + 15);
/// An answer without updates is not followed by the next request sooner than this after its own.
const EMPTY_PAUSE: Duration = PAUSE;
/// Where Telegram asks to wait and does not say how long.
const WAIT: Duration = Duration::from_secs(1);
/// Numbers of updates begin anew, at random, after a week without any ("Update"). A place that is older
/// than this might be above the new ones, and would confirm them unseen.
const PLACE_HOLDS_MILLIS: i64 = 6 * 24 * 3_600 * 1_000;
/// What is asked for: reactions are not among what comes by itself.
const ALLOWED: [&str; 7] = [
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "message_reaction",
    "my_chat_member",
    "callback_query",
];

/// How far the updates are read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Next {
    /// The last `update_id` and one.
    offset: i64,
    /// When that update was read, in milliseconds since 1970.
    at: i64,
}

impl Next {
    /// The offset to ask with.
    fn offset(self, now: i64) -> Option<i64> {
        (now.saturating_sub(self.at) < PLACE_HOLDS_MILLIS).then_some(self.offset)
    }
}

/// What a bot's place is kept under; of its token only the part that is no secret.
fn place_of(token: &str) -> String {
    let (bot, _secret) = token.split_once(':').unwrap_or_default();
    format!("telegram-polling|{bot}")
}

/// Asks for updates until the task is dropped.
pub(super) async fn run(bridges: Arc<Bridges>) {
    let Some(settings) = bridges.settings.telegram.clone().filter(TelegramSettings::is_polled)
    else {
        return;
    };
    let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).build().unwrap_or_default();
    let poller = Poller { bridges: &bridges, settings: &settings, http };
    let mut pauses = Pauses::new();
    loop {
        let Err(trouble) = poller.poll(&mut pauses).await;
        let pause = pauses.after(&trouble);
        trouble.tell(Platform::Telegram, pause);
        sleep(pause).await;
    }
}

struct Poller<'a> {
    bridges: &'a Bridges,
    settings: &'a TelegramSettings,
    http: reqwest::Client,
}

impl Poller<'_> {
    /// Polls until something is wrong.
    async fn poll(&self, pauses: &mut Pauses) -> Result<std::convert::Infallible, Trouble> {
        // Whoever has a webhook is answered 409. What waits for it waits for us then.
        self.ask("deleteWebhook", json!({"drop_pending_updates": false})).await?;
        let key = place_of(&self.settings.bot_token);
        let kept = self.bridges.mappings.get(&key).await.map_err(RunError::from)?;
        // What cannot be read is not needed: Telegram knows what was not confirmed.
        let mut next: Option<Next> = kept.and_then(|value| serde_json::from_slice(&value).ok());
        loop {
            let began = Instant::now();
            let mut question = json!({"timeout": POLL, "allowed_updates": ALLOWED});
            if let Some(offset) = next.and_then(|next| next.offset(self.now())) {
                question["offset"] = offset.into();
            }
            let answer = self.ask("getUpdates", question).await?;
            let Value::Array(updates) = answer else {
                return Err(Trouble::passing("getUpdates answers no list"));
            };
            if updates.is_empty() {
                pauses.reset();
                sleep_until(began + EMPTY_PAUSE).await;
                continue;
            }
            next = Some(self.keep(&key, &updates, next).await?);
            pauses.reset();
        }
    }

    fn now(&self) -> i64 {
        self.bridges.ports.clock.now().as_millis()
    }

    /// Keeps updates in their order, and then the place behind them.
    async fn keep(
        &self,
        key: &str,
        updates: &[Value],
        before: Option<Next>,
    ) -> Result<Next, Trouble> {
        let numbers = updates.iter().filter_map(|update| update["update_id"].as_i64());
        let asked = before.and_then(|next| next.offset(self.now()));
        let last = numbers.max().filter(|last| asked.is_none_or(|asked| *last >= asked));
        let Some(last) = last else {
            // They would come for ever.
            return Err(Trouble::passing("getUpdates answers updates that are not asked for"));
        };
        for update in updates {
            let id = update["update_id"].to_string();
            let payload = Bytes::from(update.to_string());
            let arrival = Arrival {
                platform: Platform::Telegram,
                payload,
                id: Some(&id),
                sender: Sender::Platform,
            };
            arrival.keep(self.bridges).await.map_err(RunError::from)?;
        }
        let next = Next { offset: last.saturating_add(1), at: self.now() };
        let change = (key.to_owned(), Some(bytes_of(&next)));
        self.bridges.mappings.write(vec![change], None).await.map_err(RunError::from)?;
        Ok(next)
    }

    /// Makes a call; gives its result.
    async fn ask(&self, method: &str, parameters: Value) -> Result<Value, Trouble> {
        let TelegramSettings { api, bot_token, .. } = self.settings;
        let url = format!("{}/bot{bot_token}/{method}", api.trim_end_matches('/'));
        // The address holds the token.
        let failed =
            |error: reqwest::Error| Trouble::Passing(format!("{method}: {}", error.without_url()));
        let response = self.http.post(url).json(&parameters).send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let header = header.and_then(|seconds| seconds.parse::<u64>().ok());
        let body = response.bytes().await.map_err(failed)?;
        let mut body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if body["ok"] == true {
            return Ok(body["result"].take());
        }
        Err(refusal(method, status, &body, header))
    }
}

/// What an answer means that is not ok.
fn refusal(method: &str, status: u16, body: &Value, header: Option<u64>) -> Trouble {
    let said = body["description"].as_str().unwrap_or("an answer that is none");
    let what = format!("{method}: {status} {said}");
    match status {
        // A token that is none has no methods.
        401 | 404 => Trouble::Refused(format!("{what}: is bridges.telegram.bot_token right?")),
        409 => Trouble::Passing(format!(
            "{what}: somebody else polls with this token, or has set a webhook"
        )),
        429 => {
            let asked = body["parameters"]["retry_after"].as_u64().or(header);
            Trouble::Wait(asked.map_or(WAIT, Duration::from_secs))
        }
        _other => Trouble::Passing(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_not_used_when_numbers_may_have_begun_anew() {
        let next = Next { offset: 8, at: 1_000 };
        assert_eq!(next.offset(1_000), Some(8));
        assert_eq!(next.offset(1_000 + PLACE_HOLDS_MILLIS - 1), Some(8));
        assert_eq!(next.offset(1_000 + PLACE_HOLDS_MILLIS), None);
    }

    #[test]
    fn the_secret_of_a_token_is_in_no_name() {
        assert_eq!(place_of("123:secret"), "telegram-polling|123");
        assert_eq!(place_of("secret"), "telegram-polling|");
    }

    #[test]
    fn refusals_are_told_apart() {
        let body = json!({"ok": false, "description": "Too Many Requests: retry after 7",
            "parameters": {"retry_after": 7}});
        let of = |status| refusal("getUpdates", status, &body, None);
        assert!(matches!(of(429), Trouble::Wait(wait) if wait == Duration::from_secs(7)));
        assert!(matches!(of(401), Trouble::Refused(_)));
        assert!(matches!(of(409), Trouble::Passing(what) if what.contains("somebody else")));
        assert!(matches!(of(502), Trouble::Passing(_)));
        let waited = refusal("getUpdates", 429, &Value::Null, Some(3));
        assert!(matches!(waited, Trouble::Wait(wait) if wait == Duration::from_secs(3)));
    }
}

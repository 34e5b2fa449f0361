//! Telegram's `getUpdates` (core.telegram.org/bots/api#getupdates): updates wait until a request with a
//! higher offset confirms them, and a second request ends the first with 409.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::{HttpResponse, http::StatusCode, web};
use schemas::room::Platform;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{Shared, Simulators, TELEGRAM_TOKEN, server::fault};

/// The most updates of one answer, and how many it has where nobody says.
const MOST: usize = 100;
/// The longest that Telegram waits, in seconds.
const WAIT_MOST: u64 = 50;

type Data = web::Data<Arc<Shared>>;

/// What waits for the bot.
pub(super) struct Polling {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// Whether what people do waits here, or is sent to the webhook.
    is_used: bool,
    /// Not confirmed yet, the oldest first.
    updates: Vec<Value>,
    /// The number of the last update.
    last: i64,
    /// Where updates are sent; while it is there, nobody may ask for them.
    webhook: Option<String>,
    /// How many requests for updates there were.
    polls: u64,
}

impl Default for Polling {
    /// With a webhook, as whoever used it before has left it.
    fn default() -> Self {
        let webhook = Some("https://switchyard.example/bridges/telegram/updates".to_owned());
        let state = State { webhook, ..State::default() };
        Self { state: Mutex::new(state), changed: watch::Sender::new(()) }
    }
}

impl Polling {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the node is to ask for updates.
    pub(super) fn is_used(&self) -> bool {
        self.state().is_used
    }

    /// Has an update wait, numbered behind those before it; says whether this way is used.
    pub(super) fn take(&self, update: &Value) -> bool {
        let mut state = self.state();
        if !state.is_used {
            return false;
        }
        let mut update = update.clone();
        state.last = update["update_id"].as_i64().unwrap_or_default().max(state.last + 1);
        update["update_id"] = state.last.into();
        state.updates.push(update);
        self.changed.send_replace(());
        true
    }

    /// Updates from this offset on, once there are some; an error if somebody else asks meanwhile.
    async fn updates(&self, question: &Value) -> Result<Vec<Value>, String> {
        let mut changed = self.changed.subscribe();
        let this = {
            let mut state = self.state();
            state.polls += 1;
            match question["offset"].as_i64().unwrap_or_default() {
                // The last so many.
                offset if offset < 0 => {
                    let keep = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
                    let first = state.updates.len().saturating_sub(keep);
                    state.updates.drain(..first);
                }
                offset => {
                    state.updates.retain(|update| update["update_id"].as_i64() >= Some(offset));
                }
            }
            state.polls
        };
        // Whoever waits sees that there is another.
        self.changed.send_replace(());
        let most = question["limit"].as_u64().and_then(|limit| usize::try_from(limit).ok());
        let most = most.unwrap_or(MOST).clamp(1, MOST);
        let wait = question["timeout"].as_u64().unwrap_or_default().min(WAIT_MOST);
        let until = Instant::now() + Duration::from_secs(wait);
        loop {
            {
                let state = self.state();
                if state.webhook.is_some() {
                    return Err("can't use getUpdates method while webhook is active; use \
                                deleteWebhook to delete the webhook first"
                        .to_owned());
                }
                if state.polls != this {
                    return Err("terminated by other getUpdates request; make sure that only one \
                                bot instance is running"
                        .to_owned());
                }
                if !state.updates.is_empty() {
                    return Ok(state.updates.iter().take(most).cloned().collect());
                }
            }
            if !matches!(timeout_at(until, changed.changed()).await, Ok(Ok(()))) {
                return Ok(Vec::new());
            }
        }
    }

    fn set_webhook(&self, question: &Value) {
        let mut state = self.state();
        if question["drop_pending_updates"] == true {
            state.updates.clear();
        }
        let url = question["url"].as_str().filter(|url| !url.is_empty());
        state.webhook = url.map(str::to_owned);
        self.changed.send_replace(());
    }
}

impl Simulators {
    /// What people do on Telegram waits from now on until it is asked for, as for a bot without a
    /// webhook. Settings say so from then on.
    pub fn use_polling(&self) {
        self.shared.polling.state().is_used = true;
    }

    /// How many updates wait that were not confirmed.
    pub fn unconfirmed(&self) -> usize {
        self.shared.polling.state().updates.len()
    }

    /// How often updates were asked for.
    pub fn polls(&self) -> u64 {
        self.shared.polling.state().polls
    }
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/telegram/bot{token}/getUpdates", web::post().to(get_updates))
        .route("/telegram/bot{token}/setWebhook", web::post().to(set_webhook))
        .route("/telegram/bot{token}/deleteWebhook", web::post().to(delete_webhook));
}

fn refused(status: StatusCode, reason: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({"ok": false, "error_code": status.as_u16(),
        "description": reason}))
}

/// The answer to who may not ask now.
fn refusal(shared: &Shared, token: &str) -> Option<HttpResponse> {
    let wrong = token != TELEGRAM_TOKEN;
    let unauthorized = || wrong.then(|| refused(StatusCode::UNAUTHORIZED, "Unauthorized"));
    fault(shared, Platform::Telegram).or_else(unauthorized)
}

/// Parameters are JSON; a request may have none.
fn question(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or(Value::Null)
}

async fn get_updates(shared: Data, token: web::Path<String>, body: web::Bytes) -> HttpResponse {
    if let Some(refusal) = refusal(&shared, &token) {
        return refusal;
    }
    match shared.polling.updates(&question(&body)).await {
        Ok(updates) => HttpResponse::Ok().json(json!({"ok": true, "result": updates})),
        Err(reason) => refused(StatusCode::CONFLICT, &format!("Conflict: {reason}")),
    }
}

async fn set_webhook(shared: Data, token: web::Path<String>, body: web::Bytes) -> HttpResponse {
    if let Some(refusal) = refusal(&shared, &token) {
        return refusal;
    }
    shared.polling.set_webhook(&question(&body));
    HttpResponse::Ok().json(json!({"ok": true, "result": true}))
}

async fn delete_webhook(shared: Data, token: web::Path<String>, body: web::Bytes) -> HttpResponse {
    if let Some(refusal) = refusal(&shared, &token) {
        return refusal;
    }
    let mut question = question(&body);
    question["url"] = Value::Null;
    shared.polling.set_webhook(&question);
    HttpResponse::Ok().json(json!({"ok": true, "result": true}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polled() -> Polling {
        let polling = Polling::default();
        polling.state().is_used = true;
        polling.set_webhook(&json!({"url": ""}));
        polling
    }

    fn numbers(updates: &[Value]) -> Vec<i64> {
        updates.iter().filter_map(|update| update["update_id"].as_i64()).collect()
    }

    #[tokio::test]
    async fn updates_wait_until_they_are_confirmed() {
        let polling = polled();
        for number in [5, 9, 2] {
            assert!(polling.take(&json!({"update_id": number})));
        }
        for _ in 0..2 {
            let updates = polling.updates(&json!({"offset": 0})).await.unwrap();
            assert_eq!(numbers(&updates), [5, 9, 10]);
        }
        let updates = polling.updates(&json!({"offset": 9, "limit": 1})).await.unwrap();
        assert_eq!(numbers(&updates), [9]);
        assert_eq!(numbers(&polling.updates(&json!({"offset": -1})).await.unwrap()), [10]);
        assert!(polling.updates(&json!({"offset": 11})).await.unwrap().is_empty());
        assert!(polling.state().updates.is_empty());
    }

    #[tokio::test]
    async fn one_asks_at_a_time_and_none_beside_a_webhook() {
        let polling = polled();
        let question = json!({"timeout": 20});
        let now = json!({});
        let (first, second) = tokio::join!(polling.updates(&question), polling.updates(&now));
        assert!(first.unwrap_err().starts_with("terminated by other getUpdates"));
        assert!(second.unwrap().is_empty());
        polling.set_webhook(&json!({"url": "https://e.org"}));
        assert!(polling.updates(&now).await.unwrap_err().contains("webhook is active"));
    }
}

//! Calls to the platforms' APIs, and what their answers mean.

mod people;

use std::{
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use dashmap::DashMap;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header::RETRY_AFTER};
use schemas::room::Platform;
use serde_json::Value;
use tokio::{sync::OnceCell, time::timeout};

use super::Settings;
use crate::{codec::Call, slack};

/// An API must answer within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Where a platform asks to wait and does not say how long.
pub(super) const WAIT: Duration = Duration::from_secs(1);
/// No platform is obeyed beyond this; it is asked again then.
const WAIT_MOST: Duration = Duration::from_secs(300);
/// A name is asked for again after this.
const NAME_HOLDS: Duration = Duration::from_secs(3_600);
/// A name must be answered within this; without one, it is not asked for again for as long.
const NAME_WITHIN: Duration = Duration::from_secs(3);
/// Pages of a thread that are looked through for a message.
const THREAD_PAGES: usize = 10;
/// Names that are remembered.
const NAMES_MOST: usize = 10_000;
/// A token is had anew so long before it ends.
const TOKEN_MARGIN: Duration = Duration::from_secs(120);

/// Why a call did not do what it should.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum SendError {
    /// Later, says the platform.
    #[error("the platform asks to wait {0:?}")]
    Wait(Duration),
    /// Something that passes: it cannot be reached, or has a fault. Whether it was done is unknown.
    #[error("{0}")]
    Passing(String),
    /// The bot's credentials or rights do not suffice.
    #[error("{0}")]
    Credentials(String),
    /// The channel is not there, or the bot is not in it.
    #[error("{0}")]
    Gone(String),
    /// There is nothing to do: the message is not there any more, or is as it should be.
    #[error("{0}")]
    Moot(String),
    /// It will never be taken.
    #[error("{0}")]
    Refused(String),
}

/// What a platform's API answered.
pub(super) struct Answered {
    status: StatusCode,
    /// How long it asks to wait.
    wait: Option<Duration>,
    body: Value,
}

pub(super) struct Client {
    pub(super) http: reqwest::Client,
    pub(super) settings: Settings,
    teams_token: RwLock<Option<(String, Instant)>>,
    /// Names of Slack's users, and until when they hold.
    names: DashMap<String, (String, Instant)>,
    /// The bot's own ids at Slack and Discord.
    own: (OnceCell<Vec<String>>, OnceCell<Vec<String>>),
}

impl Client {
    pub(super) fn new(settings: Settings) -> Self {
        let http = reqwest::Client::builder()
            .timeout(ANSWER_WITHIN)
            // No call needs one, and what they lead to was looked at by nobody.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap_or_default();
        Self {
            http,
            settings,
            teams_token: RwLock::new(None),
            names: DashMap::new(),
            own: Default::default(),
        }
    }

    /// Makes a call; gives the id of the message that it made, if it made one.
    pub(super) async fn call(
        &self,
        platform: Platform,
        call: &Call,
        service_url: Option<&str>,
    ) -> Result<Option<String>, SendError> {
        match platform {
            Platform::Slack => self.slack(call).await,
            Platform::Teams => self.teams(call, service_url).await,
            Platform::Discord => self.discord(call).await,
            Platform::Telegram => self.telegram(call).await,
        }
    }

    /// The message that a call made, where it may have been made before and the platform can say so.
    ///
    /// # Errors
    /// If the platform cannot be asked now.
    pub(super) async fn find(
        &self,
        platform: Platform,
        call: &Call,
    ) -> Result<Option<String>, SendError> {
        match platform {
            Platform::Slack => match self.find_on_slack(call).await {
                Err(error @ (SendError::Wait(_) | SendError::Passing(_))) => Err(error),
                // Without the right to look there is nothing to find.
                Err(_) => Ok(None),
                Ok(found) => Ok(found),
            },
            // Discord knows the nonce of a call that is repeated; the others have nothing.
            Platform::Teams | Platform::Discord | Platform::Telegram => Ok(None),
        }
    }

    async fn find_on_slack(&self, call: &Call) -> Result<Option<String>, SendError> {
        let mark = slack::marked(&call.body).filter(|_| call.path == "chat.postMessage");
        let Some(mark) = mark else { return Ok(None) };
        let settings = self.settings.slack.as_ref().ok_or_else(not_configured)?;
        let channel = call.body["channel"].as_str().unwrap_or_default();
        let thread = call.body["thread_ts"].as_str();
        let method =
            if thread.is_some() { "conversations.replies" } else { "conversations.history" };
        let api = settings.api.trim_end_matches('/');
        let mut cursor = String::new();
        // A channel is listed from its newest message on, a thread from its first.
        for _ in 0..if thread.is_some() { THREAD_PAGES } else { 1 } {
            let mut query = vec![("channel", channel), ("limit", "100")];
            query.push(("include_all_metadata", "true"));
            query.extend(thread.map(|thread| ("ts", thread)));
            query
                .extend(Some(("cursor", cursor.as_str())).filter(|(_, cursor)| !cursor.is_empty()));
            let query: String =
                form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
            let request = self.http.get(format!("{api}/{method}?{query}"));
            let request = request.bearer_auth(&settings.bot_token);
            let body = Self::of_slack(self.answer_of(request).await?)?;
            let mut messages = body["messages"].as_array().into_iter().flatten();
            let found = messages.find(|message| slack::marked(message) == Some(mark));
            if let Some(ts) = found.and_then(|found| found["ts"].as_str()) {
                return Ok(Some(ts.to_owned()));
            }
            match body["response_metadata"]["next_cursor"].as_str() {
                Some(next) if !next.is_empty() => cursor = next.to_owned(),
                Some(_) | None => break,
            }
        }
        Ok(None)
    }

    /// Whether a bot of the platform is ours; `None` while that cannot be asked.
    pub(super) async fn is_own(&self, platform: Platform, id: &str) -> Option<bool> {
        let call = |method, path: &str| Call::new(method, path.to_owned(), Value::Null);
        let (call, keys, cell) = match platform {
            Platform::Slack => (call("POST", "auth.test"), ["bot_id", "user_id"], &self.own.0),
            Platform::Discord => (call("GET", "/users/@me"), ["id", "id"], &self.own.1),
            // These do not send a bot what it said.
            Platform::Teams | Platform::Telegram => return Some(false),
        };
        let ask = || async {
            let (url, bearer) = match platform {
                Platform::Slack => {
                    let settings = self.settings.slack.as_ref().ok_or_else(not_configured)?;
                    let url = format!("{}/{}", settings.api.trim_end_matches('/'), call.path);
                    (url, format!("Bearer {}", settings.bot_token))
                }
                Platform::Teams | Platform::Discord | Platform::Telegram => {
                    let settings = self.settings.discord.as_ref().ok_or_else(not_configured)?;
                    let url = format!("{}{}", settings.api.trim_end_matches('/'), call.path);
                    (url, format!("Bot {}", settings.bot_token))
                }
            };
            let (_, _, body) = self.send(&call, url, Some(bearer)).await?;
            let ids = keys.map(|key| body[key].as_str().unwrap_or_default().to_owned());
            if ids.iter().all(String::is_empty) {
                return Err(SendError::Credentials(body.to_string()));
            }
            Ok(ids.to_vec())
        };
        match cell.get_or_try_init(ask).await {
            Ok(own) => Some(own.iter().any(|own| own == id)),
            // A bot whose credentials are refused says nothing that could come back.
            Err(SendError::Credentials(_)) => Some(false),
            Err(error) => {
                tracing::warn!(%platform, %error, "who the bot is cannot be asked");
                None
            }
        }
    }

    pub(super) async fn send(
        &self,
        call: &Call,
        url: String,
        authorization: Option<String>,
    ) -> Result<(StatusCode, Option<Duration>, Value), SendError> {
        let method = Method::from_bytes(call.method.as_bytes())
            .map_err(|_| SendError::Refused(format!("{} is no method", call.method)))?;
        let mut request = self.http.request(method, url);
        if let Some(authorization) = authorization {
            request = request.header(reqwest::header::AUTHORIZATION, authorization);
        }
        if !call.body.is_null() {
            request = request.json(&call.body);
        }
        let Answered { status, wait, body } = self.answer_of(request).await?;
        Ok((status, wait, body))
    }

    pub(super) async fn answer_of(&self, request: RequestBuilder) -> Result<Answered, SendError> {
        // The address may hold a token.
        let failed = |error: reqwest::Error| SendError::Passing(error.without_url().to_string());
        let response = request.send().await.map_err(failed)?;
        let (status, wait) = (response.status(), retry_after(&response));
        let body = response.bytes().await.map_err(failed)?;
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Ok(Answered { status, wait, body })
    }

    /// The name that people see of somebody on Slack, whose events say ids only.
    pub(super) async fn name_on_slack(&self, id: &str) -> Option<String> {
        if let Some(known) = self.names.get(id)
            && Instant::now() < known.1
        {
            return Some(known.0.clone());
        }
        let settings = self.settings.slack.as_ref()?;
        let id_there: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
        let url = format!("{}/users.info?user={id_there}", settings.api.trim_end_matches('/'));
        let call = Call::new("GET", String::new(), Value::Null);
        let bearer = format!("Bearer {}", settings.bot_token);
        let asked = timeout(NAME_WITHIN, self.send(&call, url, Some(bearer))).await;
        let body = asked.ok().and_then(Result::ok).map(|(_, _, body)| body).unwrap_or_default();
        let user = &body["user"];
        let names = [&user["profile"]["display_name"], &user["real_name"], &user["name"]];
        let found = names.into_iter().filter_map(Value::as_str).find(|name| !name.is_empty());
        // Somebody without a name is asked for again soon, but not with every message.
        let holds = if found.is_some() { NAME_HOLDS } else { NAME_WITHIN };
        let name = found.unwrap_or(id);
        if self.names.len() >= NAMES_MOST {
            self.names.clear();
        }
        self.names.insert(id.to_owned(), (name.to_owned(), Instant::now() + holds));
        Some(name.to_owned())
    }

    /// Asks a platform who the bot is; gives what it said.
    pub(super) async fn check(&self, platform: Platform) -> Result<String, SendError> {
        let call = |method, path: &str| Call::new(method, path.to_owned(), Value::Null);
        match platform {
            Platform::Slack => {
                self.slack(&call("POST", "auth.test")).await?;
            }
            Platform::Telegram => {
                self.telegram(&call("POST", "getMe")).await?;
            }
            Platform::Discord => {
                self.discord(&call("GET", "/users/@me")).await?;
                self.discord_gateway().await?;
            }
            Platform::Teams => {
                self.token_of_teams().await?;
                let settings = self.settings.teams.as_ref().ok_or_else(not_configured)?;
                self.document(&settings.openid_metadata).await?;
            }
        }
        Ok("the credentials hold".to_owned())
    }

    /// Where Discord's Gateway is.
    pub(super) async fn discord_gateway(&self) -> Result<String, SendError> {
        let settings = self.settings.discord.as_ref().ok_or_else(not_configured)?;
        let url = format!("{}/gateway/bot", settings.api.trim_end_matches('/'));
        let call = Call::new("GET", String::new(), Value::Null);
        let bearer = format!("Bot {}", settings.bot_token);
        let (status, _, body) = self.send(&call, url, Some(bearer)).await?;
        let url = body["url"].as_str().map(str::to_owned);
        url.ok_or_else(|| SendError::Credentials(format!("{status}: {body}")))
    }

    /// A JSON document at an address.
    pub(super) async fn document(&self, url: &str) -> Result<Value, SendError> {
        let failed = |error: reqwest::Error| SendError::Passing(error.to_string());
        let response = self.http.get(url).send().await.map_err(failed)?;
        response.error_for_status().map_err(failed)?.json().await.map_err(failed)
    }

    async fn slack(&self, call: &Call) -> Result<Option<String>, SendError> {
        let settings = self.settings.slack.as_ref().ok_or_else(not_configured)?;
        let url = format!("{}/{}", settings.api.trim_end_matches('/'), call.path);
        let bearer = format!("Bearer {}", settings.bot_token);
        let (status, wait, body) = self.send(call, url, Some(bearer)).await?;
        let body = Self::of_slack(Answered { status, wait, body })?;
        Ok(body["ts"].as_str().map(str::to_owned))
    }

    /// The body of an answer of Slack, if it did what it was asked.
    pub(super) fn of_slack(answered: Answered) -> Result<Value, SendError> {
        let Answered { status, wait, body } = answered;
        general(status, wait)?;
        if body["ok"] == true {
            return Ok(body);
        }
        let error = body["error"].as_str().unwrap_or("an answer that is none").to_owned();
        Err(match error.as_str() {
            "ratelimited" | "rate_limited" => SendError::Wait(wait.unwrap_or(WAIT)),
            "invalid_auth" | "not_authed" | "account_inactive" | "token_revoked"
            | "token_expired" | "missing_scope" | "no_permission" => SendError::Credentials(error),
            "channel_not_found" | "not_in_channel" | "is_archived" => SendError::Gone(error),
            "message_not_found" | "file_not_found" | "file_deleted" | "already_reacted"
            | "no_reaction" | "already_pinned" | "no_pin" | "not_pinned" => SendError::Moot(error),
            "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" => {
                SendError::Passing(error)
            }
            _other => SendError::Refused(error),
        })
    }

    async fn telegram(&self, call: &Call) -> Result<Option<String>, SendError> {
        let settings = self.settings.telegram.as_ref().ok_or_else(not_configured)?;
        let api = settings.api.trim_end_matches('/');
        let url = format!("{api}/bot{}/{}", settings.bot_token, call.path);
        let (status, wait, body) = self.send(call, url, None).await?;
        Self::of_telegram(Answered { status, wait, body })
    }

    /// The id of the message that a call to Telegram made.
    pub(super) fn of_telegram(answered: Answered) -> Result<Option<String>, SendError> {
        let Answered { status, wait, body } = answered;
        if body["ok"] == true {
            return Ok(body["result"]["message_id"].as_i64().map(|id| id.to_string()));
        }
        let said = body["description"].as_str().unwrap_or("an answer that is none").to_owned();
        let asked = body["parameters"]["retry_after"].as_u64().map(Duration::from_secs);
        Err(match status.as_u16() {
            429 => SendError::Wait(asked.or(wait).unwrap_or(WAIT).min(WAIT_MOST)),
            401 | 404 => SendError::Credentials(said),
            403 => SendError::Gone(said),
            400 if said.contains("not enough rights") => SendError::Credentials(said),
            400 if said.contains("chat not found") || said.contains("upgraded") => {
                SendError::Gone(said)
            }
            400 if [
                "not modified",
                "to edit not found",
                "to delete not found",
                "can't be deleted",
            ]
            .iter()
            .any(|moot| said.contains(moot)) =>
            {
                SendError::Moot(said)
            }
            400..=499 => SendError::Refused(said),
            _other => SendError::Passing(format!("{status}: {said}")),
        })
    }

    async fn discord(&self, call: &Call) -> Result<Option<String>, SendError> {
        let settings = self.settings.discord.as_ref().ok_or_else(not_configured)?;
        let url = format!("{}{}", settings.api.trim_end_matches('/'), call.path);
        // The address of a webhook is its own credential.
        let is_webhook = call.path.starts_with("/webhooks/");
        let bearer = (!is_webhook).then(|| format!("Bot {}", settings.bot_token));
        let (status, wait, body) = self.send(call, url, bearer).await?;
        Self::of_discord(Answered { status, wait, body })
    }

    /// The id of the message that a call to Discord made.
    pub(super) fn of_discord(answered: Answered) -> Result<Option<String>, SendError> {
        let Answered { status, wait, body } = answered;
        let said = || {
            let message = body["message"].as_str().unwrap_or("an answer that is none");
            format!("{status}: {message}")
        };
        match (status.as_u16(), body["code"].as_i64()) {
            (200..=299, _) => Ok(body["id"].as_str().map(str::to_owned)),
            (429, _) => {
                let asked = body["retry_after"].as_f64().map(|seconds| {
                    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(WAIT_MOST)
                });
                Err(SendError::Wait(asked.or(wait).unwrap_or(WAIT).min(WAIT_MOST)))
            }
            (401, _) => Err(SendError::Credentials(said())),
            // Unknown message, unknown emoji.
            (404, Some(10_008 | 10_014)) => Err(SendError::Moot(said())),
            (404, _) => Err(SendError::Gone(said())),
            (403, _) => Err(SendError::Credentials(said())),
            (400..=499, _) => Err(SendError::Refused(said())),
            (_, _) => Err(SendError::Passing(said())),
        }
    }

    async fn teams(
        &self,
        call: &Call,
        service_url: Option<&str>,
    ) -> Result<Option<String>, SendError> {
        let unknown = || SendError::Gone("the conversation has not written to the bot yet".into());
        let service_url = service_url.ok_or_else(unknown)?;
        let token = self.token_of_teams().await?;
        let url = format!("{}/{}", service_url.trim_end_matches('/'), call.path);
        let (status, wait, body) = self.send(call, url, Some(format!("Bearer {token}"))).await?;
        let said = || {
            let message = body["error"]["message"].as_str().unwrap_or("an answer that is none");
            format!("{status}: {message}")
        };
        match status.as_u16() {
            200..=299 => Ok(body["id"].as_str().map(str::to_owned)),
            429 => Err(SendError::Wait(wait.unwrap_or(WAIT))),
            412 | 500..=599 => Err(SendError::Passing(said())),
            401 => {
                // It may have been revoked before its time.
                *self.teams_token.write().unwrap_or_else(PoisonError::into_inner) = None;
                Err(SendError::Credentials(said()))
            }
            403 => Err(SendError::Gone(said())),
            404 if call.method == "POST" => Err(SendError::Gone(said())),
            404 => Err(SendError::Moot(said())),
            _other => Err(SendError::Refused(said())),
        }
    }

    pub(super) async fn token_of_teams(&self) -> Result<String, SendError> {
        let settings = self.settings.teams.as_ref().ok_or_else(not_configured)?;
        let held = self.teams_token.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((token, until)) = held
            && Instant::now() < until
        {
            return Ok(token);
        }
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", settings.app_id.as_str()),
            ("client_secret", settings.app_password.as_str()),
            ("scope", "https://api.botframework.com/.default"),
        ];
        let body: String =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self
            .http
            .post(&settings.token_url)
            .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        let failed = |error: reqwest::Error| SendError::Passing(error.to_string());
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let answer: Value = response.json().await.map_err(failed)?;
        let Some(token) = answer["access_token"].as_str() else {
            let said = answer["error_description"].as_str().unwrap_or("no token");
            return Err(SendError::Credentials(format!("{status}: {said}")));
        };
        let lasts = Duration::from_secs(answer["expires_in"].as_u64().unwrap_or(3_600));
        let until = Instant::now() + lasts.saturating_sub(TOKEN_MARGIN);
        let mut held = self.teams_token.write().unwrap_or_else(PoisonError::into_inner);
        *held = Some((token.to_owned(), until));
        Ok(token.to_owned())
    }
}

pub(super) fn not_configured() -> SendError {
    SendError::Credentials("the platform is not configured".to_owned())
}

pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let seconds: f64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().map(|wait| wait.min(WAIT_MOST))
}

/// What a status means at every platform that says the rest in the body.
fn general(status: StatusCode, wait: Option<Duration>) -> Result<(), SendError> {
    match status.as_u16() {
        429 => Err(SendError::Wait(wait.unwrap_or(WAIT))),
        500..=599 => Err(SendError::Passing(status.to_string())),
        401 | 403 => Err(SendError::Credentials(status.to_string())),
        _other => Ok(()),
    }
}

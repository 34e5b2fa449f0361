//! What platforms say about people and about the bot, as they say it.

use serde_json::{Value, json};

use super::{Client, SendError, not_configured};
use crate::codec::Call;

impl Client {
    /// What the Bot API answers to a method, with `result` in it.
    pub(in crate::runtime) async fn answer_of_telegram(
        &self,
        call: &Call,
    ) -> Result<Value, SendError> {
        let settings = self.settings.telegram.as_ref().ok_or_else(not_configured)?;
        let api = settings.api.trim_end_matches('/');
        let url = format!("{api}/bot{}/{}", settings.bot_token, call.path);
        let (status, _, body) = self.send(call, url, None).await?;
        if body["ok"] == true {
            return Ok(body);
        }
        let said = body["description"].as_str().unwrap_or("an answer that is none");
        Err(SendError::Refused(format!("{status}: {said}")))
    }

    /// The name by which commands name the bot; `None` while that cannot be asked.
    pub(in crate::runtime) async fn bot_on_telegram(&self) -> Option<String> {
        let call = Call::new("POST", "getMe".to_owned(), json!({}));
        let body = self.answer_of_telegram(&call).await.ok()?;
        body["result"]["username"].as_str().map(str::to_owned)
    }

    /// What Slack says about a user, with `user` in it where `ok` is true.
    pub(in crate::runtime) async fn user_of_slack(&self, id: &str) -> Result<Value, SendError> {
        let settings = self.settings.slack.as_ref().ok_or_else(not_configured)?;
        let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
        let url = format!("{}/users.info?user={id}", settings.api.trim_end_matches('/'));
        let call = Call::new("GET", String::new(), Value::Null);
        let bearer = format!("Bearer {}", settings.bot_token);
        let (_, _, body) = self.send(&call, url, Some(bearer)).await?;
        Ok(body)
    }
}

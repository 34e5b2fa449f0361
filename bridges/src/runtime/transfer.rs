//! Bytes of files from a platform and to one.

use std::time::Duration;

use reqwest::{
    Body, Method, RequestBuilder, Response,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE},
    multipart::{Form, Part},
};
use schemas::{board::Attachment, room::Platform};
use serde_json::json;

use super::{
    client::{Client, SendError, WAIT, not_configured, retry_after},
    files::{KeptFile, Opened, is_for_the_bot, is_of_platform},
};
use crate::codec::Call;

/// A file must have passed within this.
const FILE_WITHIN: Duration = Duration::from_secs(300);

impl Client {
    /// Begins to fetch a file from its platform.
    pub(super) async fn download(&self, file: &KeptFile) -> Result<Response, SendError> {
        match file.platform {
            Platform::Slack => self.download_from_slack(file).await,
            Platform::Telegram => self.download_from_telegram(file).await,
            Platform::Discord => self.download_from_discord(file).await,
            Platform::Teams => self.download_from_teams(file).await,
        }
    }

    async fn fetch(&self, request: RequestBuilder) -> Result<Response, SendError> {
        // The address may hold a token.
        let failed = |error: reqwest::Error| SendError::Passing(error.without_url().to_string());
        let response = request.timeout(FILE_WITHIN).send().await.map_err(failed)?;
        match response.status().as_u16() {
            200..=299 => Ok(response),
            429 => Err(SendError::Wait(retry_after(&response).unwrap_or(WAIT))),
            status @ 500..=599 => Err(SendError::Passing(format!("the file is answered {status}"))),
            status => Err(SendError::Refused(format!("the file is answered {status}"))),
        }
    }

    fn trusted(&self, file: &KeptFile, url: &str) -> Result<(), SendError> {
        let service_url = file.service_url.as_deref();
        match is_of_platform(&self.settings, file.platform, url, service_url) {
            true => Ok(()),
            false => Err(SendError::Refused(format!("{} is elsewhere", file.id))),
        }
    }

    /// What was shared through Slack Connect is a stub that only its id says
    /// (docs.slack.dev/apis/web-api/slack-connect).
    async fn download_from_slack(&self, file: &KeptFile) -> Result<Response, SendError> {
        let settings = self.settings.slack.as_ref().ok_or_else(not_configured)?;
        let bearer = format!("Bearer {}", settings.bot_token);
        let url = match &file.url {
            Some(url) => url.clone(),
            None => {
                let id: String = form_urlencoded::byte_serialize(file.id.as_bytes()).collect();
                let api = settings.api.trim_end_matches('/');
                let request = self.http.get(format!("{api}/files.info?file={id}"));
                let request = request.header(AUTHORIZATION, &bearer);
                let body = Self::of_slack(self.answer_of(request).await?)?;
                let found = &body["file"];
                let found =
                    found["url_private_download"].as_str().or(found["url_private"].as_str());
                let refused = || SendError::Refused("files.info names no address".to_owned());
                found.ok_or_else(refused)?.to_owned()
            }
        };
        self.trusted(file, &url)?;
        let response = self.fetch(self.http.get(url).header(AUTHORIZATION, bearer)).await?;
        let given = response.headers().get(CONTENT_TYPE).and_then(|given| given.to_str().ok());
        let is_page = given.is_some_and(|given| given.starts_with("text/html"));
        if is_page && !file.media_type.starts_with("text/html") {
            let reason = "Slack shows a page for signing in: the scope files:read is missing";
            return Err(SendError::Refused(reason.to_owned()));
        }
        Ok(response)
    }

    async fn download_from_telegram(&self, file: &KeptFile) -> Result<Response, SendError> {
        let settings = self.settings.telegram.as_ref().ok_or_else(not_configured)?;
        let (api, token) = (settings.api.trim_end_matches('/'), &settings.bot_token);
        let call = Call::new("POST", "getFile".to_owned(), json!({"file_id": file.id}));
        let url = format!("{api}/bot{token}/getFile");
        let (status, wait, body) = self.send(&call, url, None).await?;
        let Some(path) = body["result"]["file_path"].as_str() else {
            let said = body["description"].as_str().unwrap_or("no file_path");
            let error = format!("getFile is answered {status}: {said}");
            let asked = body["parameters"]["retry_after"].as_u64().map(Duration::from_secs);
            return Err(match status.as_u16() {
                429 => SendError::Wait(asked.or(wait).unwrap_or(WAIT)),
                500..=599 => SendError::Passing(error),
                _other => SendError::Refused(error),
            });
        };
        self.fetch(self.http.get(format!("{api}/file/bot{token}/{path}"))).await
    }

    /// Addresses of attachments end after a day; then Discord says the new one.
    async fn download_from_discord(&self, file: &KeptFile) -> Result<Response, SendError> {
        let settings = self.settings.discord.as_ref().ok_or_else(not_configured)?;
        let url = file.url.as_deref().unwrap_or_default();
        self.trusted(file, url)?;
        let first = self.fetch(self.http.get(url)).await;
        let Err(SendError::Refused(_)) = first else { return first };
        let call = Call::new(
            "POST",
            "/attachments/refresh-urls".to_owned(),
            json!({"attachment_urls": [url]}),
        );
        let address = format!("{}{}", settings.api.trim_end_matches('/'), call.path);
        let bearer = format!("Bot {}", settings.bot_token);
        let (_, _, body) = self.send(&call, address, Some(bearer)).await?;
        match body["refreshed_urls"][0]["refreshed"].as_str() {
            Some(url) => {
                self.trusted(file, url)?;
                self.fetch(self.http.get(url)).await
            }
            None => first,
        }
    }

    async fn download_from_teams(&self, file: &KeptFile) -> Result<Response, SendError> {
        let url = file.url.as_deref().unwrap_or_default();
        self.trusted(file, url)?;
        let mut request = self.http.get(url);
        if is_for_the_bot(url, file.service_url.as_deref()) {
            request = request.bearer_auth(self.token_of_teams().await?);
        }
        self.fetch(request).await
    }

    /// Brings a file to a channel; gives by which it can be taken back.
    pub(super) async fn upload(
        &self,
        platform: Platform,
        call: &Call,
        file: &Attachment,
        opened: Opened,
    ) -> Result<Option<String>, SendError> {
        match platform {
            Platform::Slack => self.upload_to_slack(call, file, opened).await,
            Platform::Discord => {
                let form = Form::new()
                    .text("payload_json", call.body.to_string())
                    .part("files[0]", part(file, opened)?);
                let settings = self.settings.discord.as_ref().ok_or_else(not_configured)?;
                let url = format!("{}{}", settings.api.trim_end_matches('/'), call.path);
                let bearer = format!("Bot {}", settings.bot_token);
                let request = self.http.post(url).header(AUTHORIZATION, bearer).multipart(form);
                Self::of_discord(self.answered(request).await?)
            }
            Platform::Telegram => {
                // The parameter has the method's name: `photo` for `sendPhoto`.
                let field = call.path.strip_prefix("send").unwrap_or_default().to_lowercase();
                let mut form = Form::new();
                for (name, value) in call.body.as_object().into_iter().flatten() {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    form = form.text(name.clone(), text);
                }
                let form = form.part(field, part(file, opened)?);
                let settings = self.settings.telegram.as_ref().ok_or_else(not_configured)?;
                let api = settings.api.trim_end_matches('/');
                let url = format!("{api}/bot{}/{}", settings.bot_token, call.path);
                Self::of_telegram(self.answered(self.http.post(url).multipart(form)).await?)
            }
            // It fetches the file itself.
            Platform::Teams => Err(SendError::Refused("Teams takes no bytes".to_owned())),
        }
    }

    async fn answered(
        &self,
        request: RequestBuilder,
    ) -> Result<super::client::Answered, SendError> {
        self.answer_of(request.timeout(FILE_WITHIN)).await
    }

    /// docs.slack.dev/messaging/working-with-files: an address is asked for, the bytes go there, and
    /// then the file is shared.
    async fn upload_to_slack(
        &self,
        call: &Call,
        file: &Attachment,
        opened: Opened,
    ) -> Result<Option<String>, SendError> {
        let settings = self.settings.slack.as_ref().ok_or_else(not_configured)?;
        let unknown = || SendError::Refused(format!("nobody says how long {} is", file.name));
        let told = file.size.and_then(|size| u64::try_from(size).ok());
        let length = opened.length.or(told).ok_or_else(unknown)?;
        let bearer = format!("Bearer {}", settings.bot_token);
        let api = settings.api.trim_end_matches('/');
        let form: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("filename", &file.name)
            .append_pair("length", &length.to_string())
            .finish();
        let request = self
            .http
            .request(Method::POST, format!("{api}/files.getUploadURLExternal"))
            .header(AUTHORIZATION, &bearer)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let body = Self::of_slack(self.answered(request).await?)?;
        let (Some(url), Some(id)) = (body["upload_url"].as_str(), body["file_id"].as_str()) else {
            return Err(SendError::Refused(
                "files.getUploadURLExternal gives no address".to_owned(),
            ));
        };
        let request = self
            .http
            .post(url)
            .header(CONTENT_LENGTH, length)
            .body(Body::wrap_stream(opened.bytes));
        self.fetch(request).await?;
        let mut body = call.body.clone();
        body["files"] = json!([{"id": id, "title": file.name}]);
        let request = self
            .http
            .post(format!("{api}/{}", call.path))
            .header(AUTHORIZATION, bearer)
            .json(&body);
        Self::of_slack(self.answered(request).await?)?;
        Ok(Some(id.to_owned()))
    }
}

fn part(file: &Attachment, opened: Opened) -> Result<Part, SendError> {
    let Opened { media_type, length, bytes } = opened;
    let body = Body::wrap_stream(bytes);
    let part = match length {
        Some(length) => Part::stream_with_length(body, length),
        None => Part::stream(body),
    };
    let refused = |error: reqwest::Error| SendError::Refused(error.to_string());
    part.file_name(file.name.clone()).mime_str(&media_type).map_err(refused)
}

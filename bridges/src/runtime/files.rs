//! Files of platforms: known by a key that nobody can guess, and fetched from where they are when
//! somebody wants them. They stream through; none is ever whole in memory.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream::BoxStream};
use hmac::{Hmac, Mac as _};
use reqwest::{Response, Url};
use schemas::{board::Attachment, room::Platform};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{Bridges, RunError, Settings, client::SendError, keys};
use crate::{
    codec::Call,
    message::File,
    upload::{FILES_PATH, most_bytes},
};

/// Characters of a name that are part of an address.
const NAME_MOST: usize = 100;

/// What files may pass.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileSettings {
    /// The most bytes of a file; what is larger is named in the message and not carried.
    pub most_bytes: u64,
    /// Media types, `image/*` for all of a kind.
    pub types: Vec<String>,
}

impl Default for FileSettings {
    fn default() -> Self {
        let types = [
            "image/*",
            "video/*",
            "audio/*",
            "text/plain",
            "text/csv",
            "text/markdown",
            "application/pdf",
            "application/json",
            "application/zip",
            "application/gzip",
            "application/msword",
            "application/vnd.*",
        ];
        Self { most_bytes: 20 << 20, types: types.map(str::to_owned).into() }
    }
}

impl FileSettings {
    fn allows(&self, media_type: &str) -> bool {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        self.types.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(kind) => essence.len() > kind.len() && essence.starts_with(kind),
            None => essence.eq_ignore_ascii_case(allowed),
        })
    }
}

/// A file as a platform has it, kept under its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptFile {
    pub(super) platform: Platform,
    pub(super) id: String,
    pub(super) url: Option<String>,
    pub(super) media_type: String,
    /// Where answers to Teams go, which hands out files there.
    pub(super) service_url: Option<String>,
}

/// What becomes of a file that came with a message.
pub(super) enum Carried {
    /// It can be had from any node.
    Kept(Attachment, String, KeptFile),
    /// It is somewhere else, for anybody.
    Linked(Attachment),
    /// It is only named, with the reason.
    Named(String),
}

/// A file on its way.
pub struct Opened {
    /// Its media type.
    pub media_type: String,
    /// Its bytes, where that is known before they come.
    pub length: Option<u64>,
    /// The bytes; an error if they break off or are more than they may be.
    pub bytes: BoxStream<'static, Result<Bytes, std::io::Error>>,
}

/// The media type of a name, where the platform says none.
fn media_type_of(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        Some("mp4") => "video/mp4",
        Some("mp3") => "audio/mpeg",
        Some("ogg" | "oga") => "audio/ogg",
        Some("txt" | "log") => "text/plain",
        Some("csv") => "text/csv",
        Some("md") => "text/markdown",
        Some("pdf") => "application/pdf",
        Some("json") => "application/json",
        Some("zip") => "application/zip",
        Some("doc") => "application/msword",
        Some("docx") => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        Some("xlsx") => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        Some("pptx") => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        Some(_) | None => "application/octet-stream",
    }
}

/// An address as it would be fetched; none with a name and password in it, which are a trick.
fn address(url: &str) -> Option<Url> {
    let url = Url::parse(url).ok()?;
    let is_plain = url.username().is_empty() && url.password().is_none();
    (is_plain && ["http", "https"].contains(&url.scheme())).then_some(url)
}

fn is_same_origin(url: &str, other: &str) -> bool {
    address(url).zip(address(other)).is_some_and(|(url, other)| url.origin() == other.origin())
}

/// Whether an address is at one of these domains or below it, over HTTPS.
fn is_within(url: &str, domains: &[&str]) -> bool {
    let Some(url) = address(url) else { return false };
    let is_below = |host: &str| {
        domains.iter().any(|domain| {
            host.strip_suffix(domain).is_some_and(|left| left.is_empty() || left.ends_with('.'))
        })
    };
    url.scheme() == "https" && url.port().is_none() && url.host_str().is_some_and(is_below)
}

/// Whether a file of Teams is handed out to the bot only, rather than to whoever has its address.
pub(super) fn is_for_the_bot(url: &str, service_url: Option<&str>) -> bool {
    let path = address(url).is_some_and(|url| url.path().contains("/v3/attachments/"));
    path && !is_within(url, &["sharepoint.com"])
        || service_url.is_some_and(|service_url| is_same_origin(url, service_url))
}

/// Whether an address is the platform's own, so that the bot's credentials may go there and what is
/// there is not somebody's trick.
pub(super) fn is_of_platform(
    settings: &Settings,
    platform: Platform,
    url: &str,
    service_url: Option<&str>,
) -> bool {
    let within = |domains: &[&str]| is_within(url, domains);
    match platform {
        Platform::Slack => {
            let api = settings.slack.as_ref().map(|settings| settings.api.as_str());
            within(&["slack.com", "slack-files.com"])
                || api.is_some_and(|api| is_same_origin(url, api))
        }
        Platform::Teams => {
            within(&["sharepoint.com", "botframework.com", "skype.com", "smba.trafficmanager.net"])
                || within(&["teams.microsoft.com"])
                || service_url.is_some_and(|service| is_same_origin(url, service))
        }
        Platform::Discord => {
            let api = settings.discord.as_ref().map(|settings| settings.api.as_str());
            within(&["discordapp.com", "discordapp.net", "discord.com"])
                || api.is_some_and(|api| is_same_origin(url, api))
        }
        // It hands out files by their ids only.
        Platform::Telegram => false,
    }
}

impl Bridges {
    /// Says what becomes of a file of a message.
    pub(super) fn carried(
        &self,
        platform: Platform,
        file: &File,
        service_url: Option<&str>,
    ) -> Carried {
        let media_type = match file.media_type.as_deref() {
            Some(known) if !known.ends_with("/*") => known,
            Some(_) | None => media_type_of(&file.name),
        };
        let url = file.url.as_deref();
        let is_known = match (platform, url) {
            (Platform::Telegram, _) | (Platform::Slack, None) => !file.id.is_empty(),
            (Platform::Slack | Platform::Discord | Platform::Teams, Some(url)) => {
                is_of_platform(&self.settings, platform, url, service_url)
            }
            (Platform::Discord | Platform::Teams, None) => false,
        };
        let attachment = |url: String| Attachment {
            id: None,
            name: file.name.clone(),
            url,
            media_type: Some(media_type.to_owned()),
            size: file.size.and_then(|size| i64::try_from(size).ok()),
        };
        if !is_known {
            return match url.filter(|url| address(url).is_some()) {
                Some(url) => Carried::Linked(attachment(url.to_owned())),
                None => Carried::Named(format!("[file {}]", file.name)),
            };
        }
        let settings = &self.settings.files;
        if let Some(size) = file.size.filter(|size| *size > settings.most_bytes) {
            let most = settings.most_bytes;
            return Carried::Named(format!(
                "[file {}: {size} bytes, more than {most} are not carried]",
                file.name
            ));
        }
        if !settings.allows(media_type) {
            let name = &file.name;
            return Carried::Named(format!("[file {name}: {media_type} is not carried]"));
        }
        let kept = KeptFile {
            platform,
            id: file.id.clone(),
            url: file.url.clone(),
            media_type: media_type.to_owned(),
            service_url: service_url.map(str::to_owned),
        };
        let key = self.key_of(&kept);
        let name: String = file.name.chars().take(NAME_MOST).collect();
        let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let path = format!("{FILES_PATH}{key}/{}", name.replace('+', "%20"));
        Carried::Kept(attachment(path), key, kept)
    }

    /// Nobody without the bot's credentials can make it up, and every node makes the same.
    fn key_of(&self, kept: &KeptFile) -> String {
        let Settings { slack, teams, discord, telegram, .. } = &self.settings;
        let secret = match kept.platform {
            Platform::Slack => slack.as_ref().map(|settings| &settings.bot_token),
            Platform::Teams => teams.as_ref().map(|settings| &settings.app_password),
            Platform::Discord => discord.as_ref().map(|settings| &settings.bot_token),
            Platform::Telegram => telegram.as_ref().map(|settings| &settings.bot_token),
        };
        let secret = secret.map(String::as_bytes).unwrap_or_default();
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
        mac.update(format!("file {} {}", kept.platform, kept.id).as_bytes());
        if let Some(url) = kept.url.as_deref().filter(|_| kept.id.is_empty()) {
            mac.update(url.as_bytes());
        }
        hex::encode(&mac.finalize().into_bytes()[..16])
    }

    /// Opens the file with this key; `None` if there is none.
    ///
    /// # Errors
    /// Says why the platform does not hand it out.
    pub async fn open(&self, key: &str) -> Result<Option<Opened>, String> {
        match self.open_kept(key).await {
            Ok(opened) => Ok(Some(opened)),
            Err(OpenError::Unknown) => Ok(None),
            Err(OpenError::Platform(error)) => Err(error.to_string()),
            Err(OpenError::Run(error)) => Err(error.to_string()),
        }
    }

    async fn open_kept(&self, key: &str) -> Result<Opened, OpenError> {
        let known = self.mappings.get(&keys::file(key)).await.map_err(RunError::from)?;
        let known = known.ok_or(OpenError::Unknown)?;
        let kept: KeptFile = serde_json::from_slice(&known).map_err(RunError::from)?;
        let response = self.client.download(&kept).await.map_err(OpenError::Platform)?;
        opened(response, kept.media_type, self.settings.files.most_bytes)
    }

    /// Opens what an attachment of ours stands for.
    pub(super) async fn open_attachment(&self, file: &Attachment) -> Result<Opened, SendError> {
        let path = file.url.find(FILES_PATH).map(|at| &file.url[at + FILES_PATH.len()..]);
        let key = path.and_then(|path| path.split('/').next()).unwrap_or_default();
        self.open_kept(key).await.map_err(|error| match error {
            OpenError::Unknown => SendError::Refused(format!("there is no file {key}")),
            // Its own platform's trouble is not this one's.
            OpenError::Platform(SendError::Wait(pause)) => SendError::Wait(pause),
            OpenError::Platform(SendError::Passing(reason)) => SendError::Passing(reason),
            OpenError::Platform(error) => SendError::Refused(error.to_string()),
            OpenError::Run(error) => SendError::Passing(error.to_string()),
        })
    }

    /// Makes a call, with its file if it has one.
    pub(super) async fn make(
        &self,
        platform: Platform,
        call: &Call,
        service_url: Option<&str>,
    ) -> Result<Option<String>, SendError> {
        match (&call.file, platform) {
            (Some(file), Platform::Slack | Platform::Discord | Platform::Telegram) => {
                let opened = self.open_attachment(file).await?;
                match self.client.upload(platform, call, file, opened).await {
                    // A picture that is no photo, such as a very long one, is a document still.
                    Err(SendError::Refused(reason)) if reason.contains("PHOTO_") => {
                        let call = Call { path: "sendDocument".to_owned(), ..call.clone() };
                        let opened = self.open_attachment(file).await?;
                        self.client.upload(platform, &call, file, opened).await
                    }
                    made => made,
                }
            }
            // Teams fetches the file itself.
            (Some(_), Platform::Teams) | (None, _) => {
                self.client.call(platform, call, service_url).await
            }
        }
    }

    /// What can be sent to a channel, each with an address that the platform can use, and what is
    /// said of the rest.
    pub(super) fn to_carry(
        &self,
        platform: Platform,
        files: &[Attachment],
    ) -> (Vec<Attachment>, Vec<String>) {
        let (mut carried, mut said) = (Vec::new(), Vec::new());
        for file in files {
            let size = file.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
            let most = most_bytes(platform);
            let url = match (platform, &self.settings.public_url) {
                // Its bots show nothing else.
                (Platform::Teams, Some(public)) if is_picture(file) => {
                    Some(format!("{}{}", public.trim_end_matches('/'), file.url))
                }
                (Platform::Teams, _) => None,
                (Platform::Slack | Platform::Discord | Platform::Telegram, _) => {
                    Some(file.url.clone())
                }
            };
            match url {
                Some(url) if size <= most => carried.push(Attachment { url, ..file.clone() }),
                Some(_) => said.push(format!(
                    "[file {}: {size} bytes, more than the {most} that {platform} takes]",
                    file.name
                )),
                None => said.push(format!("[file {}]", file.name)),
            }
        }
        (carried, said)
    }
}

/// What Teams fetches for a bot ("Send and receive files through a bot").
fn is_picture(file: &Attachment) -> bool {
    let media_type = file.media_type.as_deref().unwrap_or_default();
    ["image/png", "image/jpeg", "image/gif"].contains(&media_type)
}

/// Whether a node hands an attachment out, rather than somebody else.
pub(super) fn is_carried(file: &Attachment) -> bool {
    file.url.starts_with(FILES_PATH)
}

enum OpenError {
    Unknown,
    Platform(SendError),
    Run(RunError),
}

impl From<RunError> for OpenError {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

fn opened(response: Response, media_type: String, most: u64) -> Result<Opened, OpenError> {
    let length = response.content_length();
    if let Some(length) = length.filter(|length| *length > most) {
        let reason = format!("it has {length} bytes, more than the {most} that are carried");
        return Err(OpenError::Platform(SendError::Refused(reason)));
    }
    let bytes = bounded(response.bytes_stream(), most).boxed();
    Ok(Opened { media_type, length, bytes })
}

/// Breaks off what is longer than was said.
fn bounded(
    bytes: impl Stream<Item = Result<Bytes, reqwest::Error>>,
    most: u64,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    bytes.scan(0_u64, move |seen, chunk| {
        let chunk =
            chunk.map_err(|error| std::io::Error::other(error.without_url())).and_then(|chunk| {
                *seen = seen.saturating_add(chunk.len() as u64);
                match *seen <= most {
                    true => Ok(chunk),
                    false => Err(std::io::Error::other(format!("it has more than {most} bytes"))),
                }
            });
        std::future::ready(Some(chunk))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_allowed_by_kind_and_by_name() {
        let settings = FileSettings::default();
        for allowed in ["image/png", "text/plain; charset=utf-8", "application/pdf"] {
            assert!(settings.allows(allowed), "{allowed}");
        }
        for other in ["image/", "application/x-msdownload", "text/html", ""] {
            assert!(!settings.allows(other), "{other}");
        }
    }

    #[test]
    fn only_the_platforms_own_addresses_are_fetched() {
        let slack = serde_json::json!({"signing_secret": "s", "bot_token": "b",
            "api": "http://127.0.0.1:1/slack/api/"});
        let settings =
            Settings { slack: Some(serde_json::from_value(slack).unwrap()), ..Settings::default() };
        let holds = |url: &str| is_of_platform(&settings, Platform::Slack, url, None);
        assert!(holds("https://files.slack.com/files-pri/T-F/a.png"));
        assert!(holds("http://127.0.0.1:1/slack/files/F1"));
        for other in [
            "http://files.slack.com/a",
            "https://evilslack.com/a",
            "https://files.slack.com.evil.example/a",
            "https://files.slack.com@evil.example/a",
            "http://127.0.0.1:2/slack/files/F1",
            "http://169.254.169.254/latest",
            "ftp://files.slack.com/a",
            "https://evil.example\\.slack.com/a",
            "https://files.slack.com:444/a",
        ] {
            assert!(!holds(other), "{other}");
        }
        let teams = |url: &str, service| is_of_platform(&settings, Platform::Teams, url, service);
        assert!(teams("https://x.sharepoint.com/a", None));
        assert!(teams("https://smba.example/v3/a", Some("https://smba.example/emea/")));
        assert!(!teams("https://smba.example/v3/a", None));
        assert!(!teams("https://evil.example\\.sharepoint.com/v3/attachments/a", None));
        assert!(is_for_the_bot("https://smba.skype.com/v3/attachments/a", None));
        assert!(!is_for_the_bot("https://x.sharepoint.com/a?/v3/attachments/", None));
    }
}

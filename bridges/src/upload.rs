//! Files on their way to a platform: what each of them takes, and the call that brings one there.

use schemas::{board::Attachment, room::Platform};
use serde_json::{Value, json};

use crate::codec::{Call, IdError, Outgoing, telegram_target};

/// Where the files of platforms are had from a node: `/bridges/files/{key}/{name}`.
pub const FILES_PATH: &str = "/bridges/files/";

/// The most bytes of a file that a platform takes from a bot.
pub fn most_bytes(platform: Platform) -> u64 {
    const MEBIBYTE: u64 = 1 << 20;
    match platform {
        // docs.slack.dev/messaging/working-with-files
        Platform::Slack => 1_024 * MEBIBYTE,
        // "Inline images … up to 1 MB" ("Send and receive files through a bot").
        Platform::Teams => MEBIBYTE,
        // docs.discord.com/developers/reference#uploading-files
        Platform::Discord => 10 * MEBIBYTE,
        // core.telegram.org/bots/api#sending-files
        Platform::Telegram => 50_000_000,
    }
}

/// The Bot API's method for a media type.
fn telegram_method(media_type: &str, size: Option<i64>) -> &'static str {
    // "The photo must be at most 10 MB in size."
    let is_small = size.is_none_or(|size| size <= 10_000_000);
    match media_type {
        "image/jpeg" | "image/png" | "image/webp" if is_small => "sendPhoto",
        "image/gif" => "sendAnimation",
        "video/mp4" => "sendVideo",
        "audio/mpeg" | "audio/mp4" => "sendAudio",
        "audio/ogg" => "sendVoice",
        _other => "sendDocument",
    }
}

/// The call that brings a file to a channel. `number` tells the files of a message apart; Teams
/// fetches the file from its address, which must be one that Teams can reach.
///
/// # Errors
/// If an id cannot be the platform's.
pub fn upload(
    platform: Platform,
    message: &Outgoing,
    number: usize,
    file: &Attachment,
) -> Result<Call, IdError> {
    let (channel, thread) = (message.channel.as_str(), message.thread.as_deref());
    let media_type = file.media_type.as_deref().unwrap_or("application/octet-stream");
    let (path, body) = match platform {
        Platform::Slack => {
            let mut body = json!({"channel_id": channel});
            if let Some(thread) = thread.or(message.reply_to.as_deref()) {
                body["thread_ts"] = thread.into();
            }
            ("files.completeUploadExternal".to_owned(), body)
        }
        Platform::Teams => {
            let target = crate::teams::Target { channel, thread };
            let body = json!({"type": "message", "attachments": [{
                "contentType": media_type, "contentUrl": file.url, "name": file.name}]});
            (target.activities(), body)
        }
        Platform::Discord => {
            let body = json!({
                "attachments": [{"id": 0, "filename": file.name}],
                "allowed_mentions": {"parse": []},
                "nonce": crate::discord::nonce(&format!("{} file", message.id), number),
                "enforce_nonce": true,
            });
            (format!("/channels/{}/messages", thread.unwrap_or(channel)), body)
        }
        Platform::Telegram => {
            let target = telegram_target(channel, thread)?;
            let mut body = json!({"chat_id": target.chat});
            if let Some(topic) = target.topic {
                body["message_thread_id"] = topic.into();
            }
            (telegram_method(media_type, file.size).to_owned(), body)
        }
    };
    Ok(Call { method: "POST", path, body, file: Some(file.clone()) })
}

/// The call that takes a file back, where that is not the same as deleting its message.
pub(crate) fn withdraw(id: &str) -> Call {
    let body: Value = json!({"file": id});
    Call { method: "POST", path: "files.delete".to_owned(), body, file: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Attachment {
        Attachment {
            id: None,
            name: "cat.png".into(),
            url: "https://node.example/bridges/files/k/cat.png".into(),
            media_type: Some("image/png".into()),
            size: Some(3),
        }
    }

    #[test]
    fn each_platform_gets_a_file_in_its_own_way() {
        let message = |channel: &str| Outgoing {
            channel: channel.into(),
            id: "m".into(),
            ..Outgoing::default()
        };
        let call = |platform, channel| upload(platform, &message(channel), 0, &picture()).unwrap();
        assert_eq!(call(Platform::Slack, "C1").body, json!({"channel_id": "C1"}));
        assert_eq!(call(Platform::Discord, "5").path, "/channels/5/messages");
        assert_eq!(call(Platform::Telegram, "-100").path, "sendPhoto");
        let teams = call(Platform::Teams, "19:c");
        assert_eq!(teams.body["attachments"][0]["contentUrl"], picture().url);
        let wrong = upload(Platform::Telegram, &message("C1"), 0, &picture());
        assert_eq!(wrong.unwrap_err().field, "channel");
    }

    #[test]
    fn what_is_no_photo_at_telegram_is_sent_otherwise() {
        for (media_type, size, method) in [
            ("image/png", 11_000_000, "sendDocument"),
            ("image/svg+xml", 1, "sendDocument"),
            ("video/mp4", 1, "sendVideo"),
            ("audio/ogg", 1, "sendVoice"),
        ] {
            assert_eq!(telegram_method(media_type, Some(size)), method, "{media_type}");
        }
    }
}

//! Calls on their way: each is made until the platform has taken it or never will, and what came of it
//! is kept.

use std::time::Duration;

use actors::{
    ports::{Topic, TopicPartition},
    span,
};
use schemas::{
    CommandId, ItemId,
    room::{LinkHealth, Platform, RoomCommand},
};
use tokio::time::sleep;
use tracing::Instrument as _;

use super::{
    super::{
        RunError,
        client::SendError,
        json,
        keys::{self, Copy, LinkRow, Sent, Unsent},
        unsent,
    },
    Link, Shown,
};
use crate::codec::Call;

/// The first pause after a fault of the platform; each is twice the one before.
const RETRY: Duration = Duration::from_millis(100);
/// The longest of these pauses.
const RETRY_MOST: Duration = Duration::from_secs(30);
/// A call is given up after so many faults in a row.
const ATTEMPTS: u32 = 14;
/// A link whose credentials are refused or whose channel is gone tries again after this.
const RECOVER: Duration = Duration::from_secs(30);
impl Link<'_> {
    /// Makes calls in order, each until the platform has taken it or never will. Adds what they made.
    pub(super) async fn carry_out(
        &mut self,
        calls: Vec<Call>,
        shown: Option<Shown>,
        learnt: &mut Vec<(String, Option<bytes::Bytes>)>,
    ) -> Result<(), RunError> {
        let (mut ids, mut file_ids) = (Vec::new(), Vec::new());
        for call in &calls {
            let message = shown.as_ref().map(|shown| &shown.message);
            let made = self.make(call, message).await?;
            if call.file.is_some() {
                file_ids.extend(made);
            } else if !is_deletion(call) {
                ids.extend(made.or_else(|| edited_id(self.row.platform, call)));
            }
        }
        let Some(Shown { message, author, root, files, named }) = shown else { return Ok(()) };
        let LinkRow { platform, workspace, channel, .. } = self.row;
        let known = self.copy(&message).await?.unwrap_or_default();
        for id in ids.iter().chain(&file_ids) {
            let sent = Sent { room: self.row.room.clone(), message: message.clone() };
            let key = keys::sent(*platform, workspace, channel, id);
            learnt.push((key, Some(json(&sent))));
        }
        let file_ids = if file_ids.is_empty() { known.file_ids.clone() } else { file_ids };
        let copy = Copy { ids, file_ids, author, root, files, named, ..known };
        learnt.push((keys::copy(self.row, &message), Some(json(&copy))));
        Ok(())
    }

    async fn make(
        &mut self,
        call: &Call,
        message: Option<&ItemId>,
    ) -> Result<Option<String>, RunError> {
        let platform = self.row.platform;
        let mut faults = 0;
        loop {
            let service_url = match platform {
                Platform::Teams => {
                    self.bridges.mappings.get(&keys::service_url(&self.row.channel)).await?
                }
                Platform::Slack | Platform::Discord | Platform::Telegram => None,
            };
            let service_url = service_url.and_then(|url| String::from_utf8(url.to_vec()).ok());
            let looked = match self.may_be_made {
                true => self.bridges.client.find(platform, call).await,
                false => Ok(None),
            };
            let is_new = matches!(looked, Ok(None));
            let result = match looked {
                Ok(Some(id)) => Ok(Some(id)),
                Ok(None) => {
                    let cause = self.cause.as_deref();
                    let span = span!("call", cause, platform = %platform, room = %self.row.room);
                    self.bridges.make(platform, call, service_url.as_deref()).instrument(span).await
                }
                Err(error) => Err(error),
            };
            // Behind what was found there may be more; only what is posted anew is surely the first.
            let is_post = platform == Platform::Slack && call.path == "chat.postMessage";
            self.may_be_made = matches!(result, Err(SendError::Passing(_)))
                || (self.may_be_made && !(is_new && is_post));
            let pause = match result {
                Ok(made) => {
                    self.tell(LinkHealth::Connected, None).await;
                    return Ok(made);
                }
                Err(SendError::Moot(_)) => return Ok(None),
                Err(SendError::Wait(pause)) => {
                    let reason = format!("the platform asks to wait {} ms", pause.as_millis());
                    self.tell(LinkHealth::Throttled, Some(reason)).await;
                    pause
                }
                Err(SendError::Passing(reason)) => {
                    faults += 1;
                    if faults >= ATTEMPTS {
                        self.give_up(call, message, &reason).await?;
                        return Ok(None);
                    }
                    self.tell(LinkHealth::Throttled, Some(reason)).await;
                    backoff(faults)
                }
                // A reaction, a pin or a file is not worth more than what is said behind it.
                Err(SendError::Credentials(reason) | SendError::Gone(reason))
                    if message.is_none() || call.file.is_some() =>
                {
                    self.give_up(call, message, &reason).await?;
                    return Ok(None);
                }
                Err(SendError::Credentials(reason)) => {
                    self.tell(LinkHealth::CredentialsRefused, Some(reason)).await;
                    RECOVER
                }
                Err(SendError::Gone(reason)) => {
                    self.tell(LinkHealth::ChannelGone, Some(reason)).await;
                    RECOVER
                }
                Err(SendError::Refused(reason)) => {
                    self.give_up(call, message, &reason).await?;
                    return Ok(None);
                }
            };
            sleep(pause).await;
        }
    }

    /// What cannot be sent is kept where it can be sent again from (`dlq retry`).
    async fn give_up(
        &self,
        call: &Call,
        message: Option<&ItemId>,
        reason: &str,
    ) -> Result<(), RunError> {
        let unsent = Unsent {
            call: serde_json::to_value(call)?,
            row: self.row.clone(),
            message: message.cloned(),
        };
        let now = self.bridges.ports.clock.now();
        let letter = unsent::letter(&unsent, reason, now);
        let dlq = TopicPartition::new(Topic::Dlq, 0);
        self.bridges.ports.log.append(&dlq, letter).await?;
        Ok(())
    }

    /// Says how the link is, where that has changed; if it cannot be said now, it is with the next
    /// change.
    async fn tell(&mut self, health: LinkHealth, reason: Option<String>) {
        if self.health == Some(health) {
            return;
        }
        self.said += 1;
        let source = format!("{}/{}/{}", self.row.link, self.said, self.bridges.ports.clock.now());
        let body = RoomCommand::SetLinkHealth { link: self.row.link.clone(), health, reason };
        let id = CommandId::derived(&source);
        if self.bridges.ask(self.row.platform, self.room, id, body).await.is_ok() {
            self.health = Some(health);
        }
    }
}

fn is_deletion(call: &Call) -> bool {
    call.method == "DELETE" || ["chat.delete", "deleteMessages"].contains(&call.path.as_str())
}

/// The id in an edit: the platform does not say it again in every answer.
fn edited_id(platform: Platform, call: &Call) -> Option<String> {
    match platform {
        Platform::Slack => call.body["ts"].as_str().map(str::to_owned),
        Platform::Telegram => call.body["message_id"].as_i64().map(|id| id.to_string()),
        Platform::Teams | Platform::Discord if ["PUT", "PATCH"].contains(&call.method) => {
            let id = call.path.split('?').next()?.rsplit('/').next()?;
            Some(id.to_owned())
        }
        Platform::Teams | Platform::Discord => None,
    }
}

fn backoff(faults: u32) -> Duration {
    let doubled = RETRY * 2_u32.saturating_pow(faults.min(10).saturating_sub(1));
    let most = doubled.min(RETRY_MOST);
    // Between half and the whole, so that many do not come back at once.
    most.mul_f64(rand::random_range(0.5..=1.0))
}

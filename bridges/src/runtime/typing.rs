//! Who is typing: told live, kept nowhere, lost without harm.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actors::{
    ports::{Signal, Topic},
    runtime::partitioner::partition_of,
};
use schemas::{
    EntityKey, Kind,
    room::{Direction, Platform},
};
use serde_json::{Value, json};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, timeout},
};

use super::{
    Bridges, RunError,
    keys::{self, LinkRow},
};
use crate::{
    Author, Place,
    capabilities::{Ability, support},
    codec::{Call, telegram_target},
    teams,
};

/// The kind of the signal.
const TYPING: &str = "typing";
/// A channel is told at most so often; platforms show it for 5 to 10 seconds.
const EVERY: Duration = Duration::from_secs(4);
/// A platform that does not answer within this is not told.
const CALL_WITHIN: Duration = Duration::from_secs(3);
/// Rooms of which it is remembered when their channels were told last.
const ROOMS_MOST: usize = 10_000;

impl Bridges {
    /// Somebody types in a channel: the rooms that are linked to it are told.
    pub(super) async fn typing_there(
        &self,
        platform: Platform,
        place: &Place,
        author: &Author,
    ) -> Result<(), RunError> {
        if self.client.is_own(platform, &author.id).await == Some(true) {
            return Ok(());
        }
        for (_, value) in self.mappings.list(&keys::links_of_channel(platform, place)).await? {
            let row: LinkRow = serde_json::from_slice(&value)?;
            let Some(room) = row.room().filter(|_| row.direction != Direction::Out) else {
                continue;
            };
            if self.settings.may_use(platform, &room.tenant) {
                let by = format!("bridge:{platform}");
                let data = json!({"user": author.name, "channel": place.channel});
                self.signals.publish(&room, Signal::Sent { kind: TYPING.to_owned(), by, data });
            }
        }
        Ok(())
    }
}

/// Tells the channels of a partition's rooms that somebody types, until the task is dropped.
pub(super) async fn run(bridges: Arc<Bridges>, partition: i32) {
    let mut signals = bridges.signals.subscribe();
    let count = bridges.ports.log.partitions(&Topic::Outcomes(Kind::Room));
    let mut told: HashMap<EntityKey, Instant> = HashMap::new();
    loop {
        let (room, by, data) = match signals.recv().await {
            Ok((room, Signal::Sent { kind, by, data })) if kind == TYPING => (room, by, data),
            // What was lost is of no use any more.
            Ok(_) | Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        if partition_of(room.to_string().as_bytes(), count) != partition {
            continue;
        }
        if told.get(&room).is_some_and(|at| at.elapsed() < EVERY) {
            continue;
        }
        if told.len() >= ROOMS_MOST {
            told.retain(|_, at| at.elapsed() < EVERY);
        }
        told.insert(room.clone(), Instant::now());
        if let Err(error) = tell(&bridges, partition, &room, &by, &data).await {
            tracing::debug!(%room, %error, "nobody is told who is typing");
        }
    }
}

async fn tell(
    bridges: &Arc<Bridges>,
    partition: i32,
    room: &EntityKey,
    by: &str,
    data: &Value,
) -> Result<(), RunError> {
    let links = format!("{}{room}|", keys::links_of_partition(partition));
    for (_, value) in bridges.mappings.list(&links).await? {
        let row: LinkRow = serde_json::from_slice(&value)?;
        let is_theirs = by == format!("bridge:{}", row.platform) && data["channel"] == row.channel;
        let takes = support(row.platform, Ability::Typing).goes_out();
        if is_theirs || !takes || row.direction == Direction::In {
            continue;
        }
        let Some(call) = call(&row) else { continue };
        let service_url = bridges.mappings.get(&keys::service_url(&row.channel)).await?;
        let service_url = service_url.and_then(|url| String::from_utf8(url.to_vec()).ok());
        let Ok(permit) = bridges.tellers.clone().try_acquire_owned() else { return Ok(()) };
        let bridges = bridges.clone();
        tokio::spawn(async move {
            let told = bridges.client.call(row.platform, &call, service_url.as_deref());
            if let Ok(Err(error)) = timeout(CALL_WITHIN, told).await {
                tracing::debug!(platform = %row.platform, %error, "typing is not told");
            }
            drop(permit);
        });
    }
    Ok(())
}

fn call(row: &LinkRow) -> Option<Call> {
    let channel = row.channel.as_str();
    match row.platform {
        // It has nothing of the kind for channels.
        Platform::Slack => None,
        Platform::Teams => {
            let target = teams::Target { channel, thread: None };
            Some(Call::new("POST", target.activities(), json!({"type": TYPING})))
        }
        Platform::Discord => {
            Some(Call::new("POST", format!("/channels/{channel}/typing"), json!({})))
        }
        Platform::Telegram => {
            let chat = telegram_target(channel, None).ok()?.chat;
            let body = json!({"chat_id": chat, "action": TYPING});
            Some(Call::new("POST", "sendChatAction".to_owned(), body))
        }
    }
}

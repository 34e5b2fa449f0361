//! What a channel is told of the commands that were given in it: a message of the bot, once the rooms
//! have decided. It is not repeated where it fails.

use std::{sync::Arc, time::Duration};

use actors::ports::{LogError, TopicPartition};
use schemas::{
    CommandId, EntityKey, Kind, Offset, OutcomeRecord, Verdict, codec, content::Node,
    room::Platform,
};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{Bridges, RunError, inbound::Happened, keys};
use crate::{
    Place,
    codec::{Outgoing, render},
    message::paragraph,
};

/// A room must decide within this, or the channel is told that it did not.
const DECIDES_WITHIN: Duration = Duration::from_secs(10);

/// A command that a room was sent, by which its answer is found.
pub(super) struct Sent {
    pub(super) room: EntityKey,
    pub(super) id: CommandId,
    pub(super) of: TopicPartition,
    /// The answer is not before this.
    pub(super) from: Offset,
    /// What the channel is told if the room agrees.
    pub(super) done: String,
}

impl Happened<'_> {
    /// Tells the channel `text` and what rooms decide, in a task of its own: a platform that is slow
    /// holds up nobody. While as many are told as may be at a time, others are not.
    pub(super) fn tell(
        &self,
        place: &Place,
        text: String,
        sent: Vec<Sent>,
    ) -> Result<(), RunError> {
        let Ok(permit) = self.bridges.tellers.clone().try_acquire_owned() else {
            let channel = &place.channel;
            tracing::warn!(platform = %self.platform, channel, "too many ask at once to tell all");
            return Ok(());
        };
        let (platform, place) = (self.platform, place.clone());
        let teller = Teller { bridges: self.bridges.clone(), platform, place, _permit: permit };
        let mark = format!("{} told", self.source);
        tokio::spawn(async move {
            let mut lines = Vec::from_iter(Some(text).filter(|text| !text.is_empty()));
            for sent in sent {
                lines.push(teller.decision(&sent).await);
            }
            teller.say(&lines, &mark).await;
        });
        Ok(())
    }
}

/// Tells a channel something.
struct Teller {
    bridges: Arc<Bridges>,
    platform: Platform,
    place: Place,
    _permit: OwnedSemaphorePermit,
}

impl Teller {
    /// What a room made of a command, in words.
    async fn decision(&self, sent: &Sent) -> String {
        let room = sent.room.entity.id();
        match timeout(DECIDES_WITHIN, self.verdict(sent)).await {
            Ok(Ok(Verdict::Accepted { .. })) => sent.done.clone(),
            Ok(Ok(Verdict::Rejected(rejection))) => {
                format!("The room {room} says no: {}", rejection.reason)
            }
            Ok(Ok(Verdict::Skipped { reason })) => format!("The room {room} says no: {reason}"),
            Ok(Err(error)) => format!("What the room {room} says cannot be read: {error}"),
            Err(_elapsed) => format!("The room {room} has not answered yet; /links tells later."),
        }
    }

    async fn verdict(&self, sent: &Sent) -> Result<Verdict, LogError> {
        let mut tail = self.bridges.ports.log.tail(&sent.of, sent.from).await?;
        loop {
            for record in tail.next().await? {
                if let Ok(OutcomeRecord::Outcome(outcome)) =
                    codec::decode_outcome(Kind::Room, &record.value)
                    && outcome.command_id == sent.id
                    && outcome.key.as_ref() == Some(&sent.room)
                {
                    return Ok(outcome.verdict);
                }
            }
        }
    }

    async fn say(&self, lines: &[String], mark: &str) {
        let Self { bridges, platform, place, .. } = self;
        let message = Outgoing {
            content: lines.iter().map(|line| paragraph(vec![Node::text(line)])).collect(),
            channel: place.channel.clone(),
            thread: place.thread.clone(),
            id: CommandId::derived(mark).to_string(),
            ..Outgoing::default()
        };
        let calls = match render(*platform, &message, &bridges.names(*platform)) {
            Ok(calls) => calls,
            Err(error) => {
                tracing::warn!(%platform, %error, "a channel cannot be told");
                return;
            }
        };
        let service_url = match bridges.mappings.get(&keys::service_url(&place.channel)).await {
            Ok(url) => url.and_then(|url| String::from_utf8(url.to_vec()).ok()),
            Err(_unknown) => None,
        };
        for call in &calls {
            let told = bridges.client.call(*platform, call, service_url.as_deref()).await;
            if let Err(error) = told {
                tracing::warn!(%platform, channel = place.channel, %error, "a channel is not told");
            }
        }
    }
}

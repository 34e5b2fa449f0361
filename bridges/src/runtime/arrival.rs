//! How what a platform sends stands in `bridge.inbound`. It is kept there before the platform is told
//! that it is received, over whichever way it came.

use std::time::Duration;

use actors::{
    ports::{LogError, NewRecord, Record, Topic, TopicPartition},
    runtime::partitioner::partition_of,
    span, trace,
};
use bytes::Bytes;
use schemas::{Timestamp, room::Platform};
use tokio::time::sleep;
use tracing::{Instrument as _, Span};

use super::{Bridges, inbound, webhooks::Sender};
use crate::{Inbound, Place, codec::parse};

/// The header that names the platform of a payload.
pub(super) const PLATFORM: &str = "platform";
/// The header of a payload that came over an outgoing webhook.
pub(super) const WEBHOOK: &str = "webhook";
/// The header by which a payload is known when it comes again.
pub(super) const ID: &str = "id";
/// The header that says when it came, in milliseconds since the Unix epoch.
const AT: &str = "at";

/// A log that is busy is asked again so often, which is within the 3 s that Slack waits.
const TRIES: u32 = 20;
/// After this.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// A payload that came.
#[derive(Debug)]
pub(super) struct Arrival<'a> {
    pub(super) platform: Platform,
    pub(super) payload: Bytes,
    /// By which it is known when it comes again, where the payload itself does not say.
    pub(super) id: Option<&'a str>,
    pub(super) sender: Sender,
}

impl Arrival<'_> {
    /// Reads the payload, appends it and waits until it is durable. What cannot be read is kept, so that
    /// whoever reads `bridge.inbound` makes a dead letter of it.
    ///
    /// # Errors
    /// If it may not be in the log: the platform must not be told that it is.
    pub(super) async fn keep(self, bridges: &Bridges) -> Result<(), LogError> {
        let parsed = parse(self.platform, &self.payload, &bridges.names(self.platform));
        let unreadable = |error| vec![Inbound::Unreadable(format!("{error}"))];
        let inbound = parsed.map_or_else(unreadable, |parsed| parsed.inbound);
        self.keep_as(bridges, &inbound).await
    }

    /// The same where it is read already. What could never matter to a room is passed over.
    pub(super) async fn keep_as(
        self,
        bridges: &Bridges,
        inbound: &[Inbound],
    ) -> Result<(), LogError> {
        let nowhere = Place::default();
        let is_unreadable = inbound.iter().any(|one| matches!(one, Inbound::Unreadable(_)));
        let place = inbound.iter().find_map(inbound::place_of);
        let Some(place) = place.or(is_unreadable.then_some(&nowhere)) else { return Ok(()) };
        // A webhook is a request that is traced already; what comes over a connection of ours begins here.
        let current = trace::traceparent(&Span::current());
        let cause = current.as_deref().or_else(|| trace::begins(None));
        let span = span!("arrive", cause, platform = %self.platform);
        let record = self.record(place, bridges.ports.clock.now());
        append(bridges, record).instrument(span).await
    }

    fn record(self, place: &Place, at: Timestamp) -> NewRecord {
        let Self { platform, payload, id, sender } = self;
        let known = [
            (PLATFORM, Some(Bytes::from_static(platform.as_str().as_bytes()))),
            (AT, Some(at.as_millis().to_string().into())),
            (ID, id.map(|id| Bytes::from(id.to_owned()))),
            (WEBHOOK, (sender == Sender::Webhook).then(|| Bytes::from_static(b"1"))),
        ];
        let headers = known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let key = format!("{platform}:{}:{}", place.workspace, place.channel);
        NewRecord {
            key: key.into(),
            value: payload,
            headers: headers.collect(),
            ..NewRecord::default()
        }
    }
}

async fn append(bridges: &Bridges, record: NewRecord) -> Result<(), LogError> {
    let count = bridges.ports.log.partitions(&Topic::Inbound);
    let to = TopicPartition::new(Topic::Inbound, partition_of(&record.key, count));
    for _ in 1..TRIES {
        match trace::append(&*bridges.ports.log, &to, record.clone()).await {
            // It was not taken, so its place in the order is still free.
            Err(LogError::Busy) => sleep(BUSY_PAUSE).await,
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        }
    }
    trace::append(&*bridges.ports.log, &to, record).await?;
    Ok(())
}

/// What a header of a record says.
pub(super) fn header<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    let (_, value) = record.headers.iter().find(|(known, _)| known == name)?;
    std::str::from_utf8(value).ok()
}

/// When a record came.
pub(super) fn came_at(record: &Record) -> Option<Timestamp> {
    header(record, AT)?.parse().ok().map(Timestamp::from_millis)
}

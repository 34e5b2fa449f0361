//! What comes without a request that could be answered: kept in `bridge.inbound` as webhooks are, and
//! only then told to the platform as received.

use std::time::Duration;

use actors::{
    ports::{LogError, Topic, TopicPartition},
    runtime::partitioner::partition_of,
};
use bytes::Bytes;
use schemas::room::Platform;
use tokio::time::sleep;

use super::{Bridges, inbound};
use crate::{Inbound, Place, codec::parse};

/// A log that is busy is asked again so often, which is within the 3 s that Slack waits.
const TRIES: u32 = 20;
/// After this.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Appends a payload and waits until it is durable. `id` is by which it is known when it comes again,
/// where the payload itself does not say. What could never matter to a room is passed over; what cannot be
/// read is kept, so that whoever reads `bridge.inbound` makes a dead letter of it.
///
/// # Errors
/// If it may not be in the log: the platform must not be told that it is.
pub(super) async fn keep(
    bridges: &Bridges,
    platform: Platform,
    payload: Bytes,
    id: &str,
) -> Result<(), LogError> {
    let nowhere = Place::default();
    let parsed = parse(platform, &payload, &bridges.names(platform));
    let inbound = match &parsed {
        Ok(parsed) => parsed.inbound.as_slice(),
        Err(_) => &[],
    };
    let is_unreadable =
        parsed.is_err() || inbound.iter().any(|one| matches!(one, Inbound::Unreadable(_)));
    let place = inbound.iter().find_map(inbound::place_of);
    let Some(place) = place.or(is_unreadable.then_some(&nowhere)) else { return Ok(()) };
    let record = inbound::record_known_as(platform, place, payload, id);
    let count = bridges.ports.log.partitions(&Topic::Inbound);
    let to = TopicPartition::new(Topic::Inbound, partition_of(&record.key, count));
    for _ in 1..TRIES {
        match bridges.ports.log.append(&to, record.clone()).await {
            // It was not taken, so its place in the order is still free.
            Err(LogError::Busy) => sleep(BUSY_PAUSE).await,
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        }
    }
    bridges.ports.log.append(&to, record).await?;
    Ok(())
}

//! Calls that were given up: their dead letters, and what becomes of those that are sent again.

use actors::ports::{Headers, NewRecord, Topic, TopicPartition};
use bytes::Bytes;
use schemas::Timestamp;
use serde_json::Value;

use super::{
    Bridges, RunError,
    client::SendError,
    inbound::Append,
    json,
    keys::{self, Copy, LinkRow, Sent, Unsent},
};
use crate::codec::Call;

/// The dead letter of a call that cannot be made: retried, it comes here.
pub(super) fn letter(unsent: &Unsent, reason: &str, now: Timestamp) -> NewRecord {
    let LinkRow { platform, workspace, channel, link, .. } = &unsent.row;
    tracing::warn!(%platform, %link, reason, "a call goes to dlq");
    let headers: Headers = [
        ("topic", Topic::Inbound.to_string()),
        ("partition", "0".to_owned()),
        ("offset", "-1".to_owned()),
        ("reason", format!("link {link}: {reason}")),
        ("time", now.to_string()),
    ]
    .map(|(name, text)| (name.to_owned(), Bytes::from(text)))
    .into();
    let key = format!("{platform}:{workspace}:{channel}");
    NewRecord { key: key.into(), value: json(unsent), headers, ..NewRecord::default() }
}

/// A call out of `dlq`, made once more; a message that comes of it is known from now on.
pub(super) async fn again(
    bridges: &Bridges,
    unsent: &Unsent,
    letter_id: &str,
    appends: &mut Vec<Append>,
) -> Result<(), RunError> {
    let done = keys::resent(letter_id);
    if bridges.mappings.get(&done).await?.is_some() {
        // The node ended before it could save that it had read this.
        return Ok(());
    }
    let done = (done, Some(Bytes::from_static(b"1")));
    let LinkRow { room, platform, workspace, channel, .. } = &unsent.row;
    let service_url = bridges.mappings.get(&keys::service_url(channel)).await?;
    let service_url = service_url.and_then(|url| String::from_utf8(url.to_vec()).ok());
    let made = match call_of(&unsent.call) {
        Some(call) => match bridges.client.find(*platform, &call).await {
            Ok(Some(id)) => Ok(Some(id)),
            Ok(None) => bridges.make(*platform, &call, service_url.as_deref()).await,
            Err(error) => Err(error),
        },
        None => Err(SendError::Refused("this is no call".to_owned())),
    };
    let id = match made {
        Ok(id) => id,
        Err(SendError::Moot(_)) => None,
        Err(error) => {
            let letter = letter(unsent, &error.to_string(), bridges.ports.clock.now());
            appends.push(bridges.ports.log.append(&TopicPartition::new(Topic::Dlq, 0), letter));
            return Ok(());
        }
    };
    let (Some(id), Some(message)) = (id, &unsent.message) else {
        bridges.mappings.write(vec![done], None).await?;
        return Ok(());
    };
    let key = keys::copy(&unsent.row, message);
    let mut copy: Copy = match bridges.mappings.get(&key).await? {
        Some(value) => serde_json::from_slice(&value)?,
        None => Copy::default(),
    };
    let sent = Sent { room: room.clone(), message: message.clone() };
    let sent = (keys::sent(*platform, workspace, channel, &id), Some(json(&sent)));
    match unsent.call["file"].is_null() {
        true => copy.ids.push(id),
        false => copy.file_ids.push(id),
    }
    bridges.mappings.write(vec![(key, Some(json(&copy))), sent, done], None).await?;
    Ok(())
}

fn call_of(value: &Value) -> Option<Call> {
    let method = ["POST", "PUT", "PATCH", "DELETE"]
        .into_iter()
        .find(|method| value["method"] == **method)?;
    let path = value["path"].as_str()?.to_owned();
    let file = serde_json::from_value(value["file"].clone()).ok()?;
    Some(Call { method, path, body: value["body"].clone(), file })
}

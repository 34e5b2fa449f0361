//! Moves partners' records from `partner.<name>` to `<kind>.commands`. Tenant and principal come
//! from the partner's registration; a record without a command id gets one derived from its
//! place, so that moving it twice has no second effect (R8).

use std::{collections::HashSet, time::Duration};

use futures_util::{
    TryFutureExt as _,
    stream::{FuturesOrdered, StreamExt as _},
};
use schemas::{
    Command, CommandId, EntityId, EntityKey, Kind, Principal, Rejection, TenantId, UserName,
    codec::{self, PartnerRecord},
    json,
};
use serde::Deserialize;
use tokio::time::sleep;

use super::{
    dead_letter,
    partition::Ports,
    partitioner::partition_of,
    place::{Doing, Place, PlaceError},
};
use crate::{
    ports::{Checkpoint, LogError, NewRecord, Record, Topic, TopicPartition},
    span, trace,
};

/// The header by which a record that is retried from `dlq` names its letter, as `dlq/<offset>`:
/// its command id follows from that, so that retrying twice has no second effect.
pub const RETRY_HEADER: &str = "switchyard-retry";
/// The longest value of a record, in bytes; as much as HTTP and WebSocket take.
const VALUE_MOST: usize = 1 << 20;
/// With so many records under way no more are read.
const MOST_UNDER_WAY: usize = 1_000;
/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);

/// A partner, as the configuration registers it.
#[derive(Debug, Clone)]
pub struct Partner {
    /// The name in `partner.<name>`.
    pub name: UserName,
    /// The tenant that its commands go to.
    pub tenant: TenantId,
    /// The kinds it may write to; empty means all.
    pub kinds: HashSet<Kind>,
    /// The commands it may send, by type; empty means all.
    pub commands: HashSet<String>,
}

/// A partner's record as JSON.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonRecord {
    #[serde(default)]
    command_id: Option<CommandId>,
    #[serde(default)]
    #[expect(dead_code, reason = "checked to be a time; decisions use the forwarder's clock")]
    at: Option<schemas::Timestamp>,
    #[serde(default)]
    expect: Option<schemas::Seq>,
    body: serde_json::Value,
}

/// Reads a partner's record in any of its forms.
///
/// # Errors
/// A rejection that names what is wrong, for `dlq` and for the produce endpoint.
pub fn read_partner_record(
    partner: &Partner,
    key: &[u8],
    value: &[u8],
) -> Result<(EntityId, PartnerRecord), Rejection> {
    let entity: EntityId = std::str::from_utf8(key)
        .ok()
        .and_then(|key| key.parse().ok())
        .ok_or_else(|| Rejection::field("key", "must be kind:id, such as board:42"))?;
    let kind = entity.kind();
    let record = if value.first() == Some(&b'{') {
        let value: serde_json::Value = serde_json::from_slice(value)
            .map_err(|error| Rejection::field("value", error.to_string()))?;
        let record: JsonRecord = json::from_value(value)?;
        let body = json::body_from_value(kind, record.body)?;
        PartnerRecord { command_id: record.command_id, expect: record.expect, body }
    } else {
        codec::decode_partner(kind, value)
            .map_err(|error| Rejection::field("value", error.to_string()))?
    };
    if let Some(name) = json::body_type(&record.body).filter(|name| !partner.may_send(name)) {
        return Err(Rejection::field("body.type", format!("{name} is not allowed here")));
    }
    if record.body.kind() != kind {
        let reason = format!("{entity} takes no commands of a {}", record.body.kind());
        return Err(Rejection::field("key", reason));
    }
    if !partner.kinds.is_empty() && !partner.kinds.contains(&kind) {
        return Err(Rejection::field("key", format!("{kind} is not allowed here")));
    }
    Ok((entity, record))
}

impl Partner {
    fn may_send(&self, command: &str) -> bool {
        self.commands.is_empty() || self.commands.contains(command)
    }
}

/// Forwards one partition of a partner's records until the task is dropped.
pub async fn forward(partner: Partner, partition: i32, ports: Ports) {
    loop {
        if let Err(error) = run(&partner, partition, &ports).await {
            let topic = Topic::Partner(partner.name.clone());
            tracing::warn!(%topic, %error, "forwarding starts anew");
        }
        sleep(PAUSE).await;
    }
}

async fn run(partner: &Partner, partition: i32, ports: &Ports) -> Result<(), PlaceError> {
    let of = TopicPartition::new(Topic::Partner(partner.name.clone()), partition);
    let mut place = Place::load(ports.store.clone(), Doing::Forwarding, &of).await?;
    let mut tail = ports.log.tail(&of, place.at().offset).await?;
    let mut under_way = FuturesOrdered::new();
    loop {
        // What comes meanwhile is not kept waiting for what is under way.
        tokio::select! {
            biased;
            error = place.keep() => return Err(error.into()),
            Some(moved) = under_way.next() => {
                place.move_to(Checkpoint { offset: moved?, ..place.at() });
            }
            records = tail.next(), if under_way.len() < MOST_UNDER_WAY => {
                for record in records? {
                    let append = move_record(partner, ports, &of, &record);
                    under_way.push_back(append.map_ok(move |_| record.offset + 1));
                }
            }
        }
    }
}

/// The letter that a record is retried from, if it is.
fn retried(record: &Record) -> Option<String> {
    let (_, letter) = record.headers.iter().find(|(name, _)| name == RETRY_HEADER)?;
    let letter = std::str::from_utf8(letter).ok()?;
    letter.strip_prefix("dlq/")?.parse::<schemas::Offset>().ok()?;
    Some(letter.to_owned())
}

fn move_record(
    partner: &Partner,
    ports: &Ports,
    of: &TopicPartition,
    record: &Record,
) -> futures_util::future::BoxFuture<'static, Result<schemas::Offset, LogError>> {
    let read = if record.value.len() <= VALUE_MOST {
        read_partner_record(partner, &record.key, &record.value)
    } else {
        let reason = format!("has {} bytes, {VALUE_MOST} are allowed", record.value.len());
        Err(Rejection::field("value", reason))
    };
    let headers = &record.headers;
    let (reason, encoded) = match read {
        Err(rejection) => (rejection.reason, None),
        Ok((entity, read)) => {
            let place = retried(record).unwrap_or_else(|| format!("{of}/{}", record.offset));
            let command = Command {
                key: EntityKey::new(partner.tenant.clone(), entity),
                id: read.command_id.unwrap_or_else(|| CommandId::derived(&place)),
                tenant: partner.tenant.clone(),
                principal: Principal::Partner(partner.name.clone()),
                roles: Vec::new(),
                at: ports.clock.now(),
                expect: read.expect,
                body: read.body,
            };
            match codec::encode_command(&command) {
                Ok(value) => (String::new(), Some((command.key, value))),
                Err(error) => (error.to_string(), None),
            }
        }
    };
    if let Some((key, value)) = encoded {
        let topic = Topic::Commands(key.entity.kind());
        let key = key.to_string();
        let partition = partition_of(key.as_bytes(), ports.log.partitions(&topic));
        let record = NewRecord { key: key.into(), value: value.into(), ..NewRecord::default() };
        let span = span!("forward", trace::cause(headers), topic = %of);
        let to = TopicPartition::new(topic, partition);
        return span.in_scope(|| trace::append(&*ports.log, &to, record));
    }
    let received = (record.key.clone(), record.received().clone());
    let letter = dead_letter::letter(of, record.offset, received, &reason, ports.clock.now());
    ports.log.append(&dead_letter::place(), letter)
}

//! Producing over HTTP, in the shape of the Kafka REST proxy v2
//! (`POST /topics/{name}`, `application/vnd.kafka.{json,avro,binary}.v2+json`).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use actors::{
    ports::{NewRecord, Topic, TopicPartition},
    runtime::partitioner::partition_of,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use schemas::{
    Body, Code, Kind, Rejection, Timestamp,
    codec::{self, PartnerRecord},
    json,
    partner::{PartnerBoardCommand, PartnerEventCommand, PartnerRoomCommand},
};
use serde::Deserialize;
use serde_json::{Value, json as value};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::body;
use crate::{app::App, config::PartnerKey, hub::log_problem, problem::Problem};

/// A signature older or newer than this (milliseconds) is refused.
const SIGNATURE_AGE: i64 = 300_000;
/// Signatures remembered against replay.
const MOST_SIGNATURES: usize = 1_000_000;
/// Records of one request.
const MOST_RECORDS: usize = 1_000;
/// The content type of answers.
const ANSWER_TYPE: &str = "application/vnd.kafka.v2+json";

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/topics/{name}", web::post().to(produce));
}

#[derive(Debug, Deserialize)]
struct Produce {
    records: Vec<ProduceRecord>,
    #[serde(default)]
    value_schema_id: Option<u32>,
    #[serde(default)]
    #[expect(dead_code, reason = "part of the proxy's shape; keys are plain text here")]
    key_schema_id: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct ProduceRecord {
    key: Value,
    value: Value,
    #[serde(default)]
    partition: Option<i32>,
}

/// How keys and values are written in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Embedded {
    Json,
    Avro,
    Binary,
}

/// Signatures that were seen, so that none holds twice.
#[derive(Debug, Default)]
pub struct Replays(Mutex<HashMap<String, Timestamp>>);

impl Replays {
    /// Remembers a signature.
    fn is_new(&self, signature: &str, at: Timestamp) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.len() < MOST_SIGNATURES && seen.insert(signature.to_owned(), at).is_none()
    }

    /// Forgets those that are too old to be accepted anyway.
    pub fn tidy(&self, now: Timestamp) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, at| at.plus_millis(2 * SIGNATURE_AGE) > now);
    }
}

async fn produce(
    app: web::Data<App>,
    name: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let raw = body(&app, payload).await?;
    let partner = authenticate(&app, &name, &request, &raw)?;
    let embedded = embedded(&request)?;
    let malformed = |error: serde_json::Error| {
        Problem::new(Code::Invalid, format!("the body is not JSON: {error}"))
            .with_status(StatusCode::BAD_REQUEST)
    };
    let parsed: Value = serde_json::from_slice(&raw).map_err(malformed)?;
    let produce: Produce = json::from_value(parsed)?;
    if produce.records.is_empty() || produce.records.len() > MOST_RECORDS {
        let detail = format!("must have 1 to {MOST_RECORDS} entries");
        return Err(Rejection::field("records", detail).into());
    }
    if let Some(id) = produce.value_schema_id {
        return Err(Rejection::field("value_schema_id", format!("unknown schema id {id}")).into());
    }
    let topic = Topic::Partner(partner.partner.name.clone());
    let partitions = app.hub().ports().log.partitions(&topic);
    let mut appends = Vec::with_capacity(produce.records.len());
    let mut records = Vec::with_capacity(produce.records.len());
    for (place, record) in produce.records.iter().enumerate() {
        if record.partition.is_some_and(|partition| !(0..partitions).contains(&partition)) {
            let field = format!("records[{place}].partition");
            return Err(Rejection::field(field, format!("must be 0 to {}", partitions - 1)).into());
        }
        let given = record.partition;
        let record = to_record(record, embedded, place)?;
        let partition = given.unwrap_or_else(|| partition_of(&record.key, partitions));
        records.push((partition, record));
    }
    for (partition, record) in records {
        let to = TopicPartition::new(topic.clone(), partition);
        appends.push((partition, app.hub().ports().log.append(&to, record)));
    }
    let mut offsets = Vec::with_capacity(appends.len());
    for (partition, append) in appends {
        offsets.push(match append.await {
            Ok(offset) => {
                value!({"partition": partition, "offset": offset, "error_code": null, "error": null})
            }
            Err(error) => {
                let problem = log_problem(error);
                value!({"partition": null, "offset": null, "error_code": 50003, "error": problem.detail})
            }
        });
    }
    let answer = value!({"offsets": offsets, "key_schema_id": null, "value_schema_id": null});
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, ANSWER_TYPE))
        .body(answer.to_string()))
}

fn embedded(request: &HttpRequest) -> Result<Embedded, Problem> {
    let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let given = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match given {
        "application/vnd.kafka.json.v2+json" | "application/json" => Ok(Embedded::Json),
        "application/vnd.kafka.avro.v2+json" => Ok(Embedded::Avro),
        "application/vnd.kafka.binary.v2+json" => Ok(Embedded::Binary),
        other => {
            let detail = format!(
                "content type {other:?} is not application/vnd.kafka.{{json,avro,binary}}.v2+json"
            );
            Err(Problem::new(Code::Invalid, detail).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
        }
    }
}

fn to_record(
    record: &ProduceRecord,
    embedded: Embedded,
    place: usize,
) -> Result<NewRecord, Problem> {
    let field = |name: &str| format!("records[{place}].{name}");
    let text = |name: &str, value: &Value| -> Result<String, Problem> {
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| Rejection::field(field(name), "must be a string").into())
    };
    let decoded = |name: &str, value: &Value| -> Result<Bytes, Problem> {
        let bytes = STANDARD.decode(text(name, value)?);
        bytes.map(Bytes::from).map_err(|_| Rejection::field(field(name), "must be base64").into())
    };
    let (key, value): (Bytes, Bytes) = match embedded {
        Embedded::Json => {
            (text("key", &record.key)?.into(), record.value.to_string().into_bytes().into())
        }
        Embedded::Binary => (decoded("key", &record.key)?, decoded("value", &record.value)?),
        Embedded::Avro => {
            let key = text("key", &record.key)?;
            let kind = key.split(':').next().and_then(|kind| kind.parse().ok());
            let kind = kind
                .ok_or_else(|| Problem::from(Rejection::field(field("key"), "must be kind:id")))?;
            let partner = avro_json(kind, record.value.clone()).map_err(|mut rejection| {
                for error in &mut rejection.errors {
                    error.field = field(&format!("value.{}", error.field));
                }
                Problem::from(rejection)
            })?;
            let value = codec::encode_partner(&partner)
                .map_err(|error| Rejection::field(field("value"), error.to_string()))?;
            (key.into(), value.into())
        }
    };
    Ok(NewRecord { key, value, ..NewRecord::default() })
}

/// Reads the JSON form of an Avro record of `partner.<kind>`: the body is `{"moveTask": {…}}`.
fn avro_json(kind: Kind, record: Value) -> Result<PartnerRecord, Rejection> {
    Ok(match kind {
        Kind::Board => {
            let record: PartnerBoardCommand = json::from_value(record)?;
            let body = Body::Board(record.body);
            PartnerRecord { command_id: record.command_id, expect: record.expect, body }
        }
        Kind::Event => {
            let record: PartnerEventCommand = json::from_value(record)?;
            let body = Body::Event(record.body);
            PartnerRecord { command_id: record.command_id, expect: record.expect, body }
        }
        Kind::Room => {
            let record: PartnerRoomCommand = json::from_value(record)?;
            let body = Body::Room(record.body);
            PartnerRecord { command_id: record.command_id, expect: record.expect, body }
        }
    })
}

/// The partner that the topic and the request's key or signature agree on.
fn authenticate<'a>(
    app: &'a App,
    topic: &str,
    request: &HttpRequest,
    raw: &[u8],
) -> Result<&'a PartnerKey, Problem> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let refused = |detail: &str| Problem::new(Code::Unauthenticated, detail);
    let (Some(key), signature) = (header("x-switchyard-key"), header("x-switchyard-signature"))
    else {
        if let Some(peer) = request.peer_addr() {
            app.limit_anonymous(peer.ip())?;
        }
        return Err(refused("X-Switchyard-Key is missing"));
    };
    let name = topic.strip_prefix("partner.").unwrap_or_default();
    let partner =
        app.config().partners.iter().find(|partner| partner.partner.name.as_str() == name);
    // An unknown topic and a wrong key look alike, so that names cannot be guessed.
    let partner = partner.ok_or_else(|| refused("the key does not fit this topic"))?;
    match signature {
        None if bool::from(key.as_bytes().ct_eq(partner.key.as_bytes())) => Ok(partner),
        None => Err(refused("the key does not fit this topic")),
        Some(signature) => {
            let timestamp = header("x-switchyard-timestamp")
                .ok_or_else(|| refused("X-Switchyard-Timestamp is missing"))?;
            check_signature(app, partner, key, timestamp, signature, raw)?;
            Ok(partner)
        }
    }
}

/// `v1=<hex HMAC-SHA256 of "v1:{timestamp}:{raw body}">`, timestamp in seconds since 1970.
fn check_signature(
    app: &App,
    partner: &PartnerKey,
    key: &str,
    timestamp: &str,
    signature: &str,
    raw: &[u8],
) -> Result<(), Problem> {
    let refused = |detail: &str| Problem::new(Code::Unauthenticated, detail);
    let named = key == partner.partner.name.as_str()
        || bool::from(key.as_bytes().ct_eq(partner.key.as_bytes()));
    let given = signature.strip_prefix("v1=").and_then(|signature| hex::decode(signature).ok());
    let given = given.filter(|_| named).ok_or_else(|| refused("the signature does not hold"))?;
    let seconds: i64 =
        timestamp.parse().map_err(|_| refused("X-Switchyard-Timestamp must be Unix seconds"))?;
    let now = app.hub().ports().clock.now();
    let age = now.as_millis() - seconds.saturating_mul(1_000);
    if age.abs() > SIGNATURE_AGE {
        return Err(refused("X-Switchyard-Timestamp is more than 300 s off"));
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(partner.key.as_bytes())
        .map_err(|_| refused("the partner has no usable key"))?;
    mac.update(format!("v1:{timestamp}:").as_bytes());
    mac.update(raw);
    mac.verify_slice(&given).map_err(|_| refused("the signature does not hold"))?;
    if app.replays().is_new(&hex::encode(&given), now) {
        Ok(())
    } else {
        Err(refused("this signature was used before"))
    }
}

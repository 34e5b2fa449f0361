//! A schema registry over its REST API (Confluent's, which others speak too): this release's
//! schemas are registered at the start, and the schemas of others are looked up by id as their
//! records come. Within the program every record is in single-object encoding; Confluent framing
//! is put on where a record leaves and taken off where it enters.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use actors::{
    ports::{LogError, Record, Topic},
    runtime::forwarder::RETRY_HEADER,
};
use dashmap::DashMap;
use schemas::{
    EntityId, Kind,
    codec::{self, Fingerprint, LearnError, Subject},
};
use serde::Deserialize;
use serde_json::json;

use super::unavailable;

/// The registry must answer within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);
/// An id that the registry does not know is asked for again after this.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Ids that may be remembered; more are forgotten all together.
const MOST_IDS: usize = 20_000;

/// Where the registry is.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// The address of its API, with user and password if it wants them.
    pub url: String,
    /// Stands before every subject's name.
    pub prefix: String,
}

/// Why the registry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It does not answer, or with what is no answer.
    #[error("registry.url: the schema registry does not answer")]
    Http(#[from] reqwest::Error),
    /// It refuses.
    #[error("registry.url: the schema registry refuses {path}: {status} {said}")]
    Refused {
        /// What was asked.
        path: String,
        /// The status of its answer.
        status: reqwest::StatusCode,
        /// Its reason.
        said: String,
    },
    /// It holds a schema that this release's does not fit.
    #[error(
        "schema registry: the schema of {subject} does not fit the one registered there; \
         is this release older than another node's?"
    )]
    Incompatible {
        /// Which.
        subject: String,
    },
    /// It holds a schema that cannot be used.
    #[error("schema registry: the schema of {subject} cannot be used")]
    Schema {
        /// Which.
        subject: String,
        /// Why.
        #[source]
        source: LearnError,
    },
}

/// What an id stands for.
#[derive(Debug, Clone)]
enum Known {
    Schema(Fingerprint),
    /// No schema that could be used, when it was last asked for.
    Nothing(Instant),
}

/// The registry, and what it said.
pub(super) struct Registry {
    settings: RegistrySettings,
    client: reqwest::Client,
    /// The ids of this release's schemas.
    own: HashMap<Fingerprint, u32>,
    known: DashMap<(u32, Subject), Known>,
}

#[derive(Debug, Deserialize)]
struct Registered {
    id: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    schema: String,
    /// Absent where it is Avro.
    #[serde(default)]
    schema_type: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Version {
    id: u32,
    schema: String,
}

#[derive(Debug, Deserialize)]
struct Compatibility {
    is_compatible: bool,
}

impl Registry {
    /// Registers this release's schemas, if they fit those that are there, and learns the others
    /// of the same subjects.
    ///
    /// # Errors
    /// If it does not answer within 6 s, refuses, or holds what does not fit.
    pub(super) async fn start(settings: RegistrySettings) -> Result<Self, RegistryError> {
        let client = reqwest::Client::builder().timeout(ANSWER_WITHIN).build()?;
        let mut registry = Self { settings, client, own: HashMap::new(), known: DashMap::new() };
        for subject in Subject::ALL {
            // Nodes that start at the same time are in each other's way once.
            match registry.register(subject).await {
                Err(RegistryError::Refused { path, status, .. }) => {
                    tracing::info!(path, %status, "the schema registry is asked again");
                    tokio::time::sleep(ASK_AGAIN).await;
                    registry.register(subject).await?;
                }
                result => result?,
            }
        }
        Ok(registry)
    }

    async fn register(&mut self, subject: Subject) -> Result<(), RegistryError> {
        let name = format!("{}{}", self.settings.prefix, subject.name());
        let versions = format!("subjects/{name}/versions");
        let numbers: Option<Vec<u32>> = self.ask(self.client.get(self.url(&versions))).await?;
        let mut registered = HashMap::new();
        for number in numbers.iter().flatten() {
            let get = self.client.get(self.url(&format!("{versions}/{number}")));
            let Some(Version { id, schema }) = self.ask(get).await? else { continue };
            let learned = codec::learn(subject, &schema)
                .map_err(|source| RegistryError::Schema { subject: name.clone(), source })?;
            registered.insert(learned, id);
        }
        if registered.is_empty() {
            // Readers are upgraded first: a new schema must read what the one before it wrote.
            let put = self.client.put(self.url(&format!("config/{name}")));
            let put = put.json(&json!({ "compatibility": "BACKWARD" }));
            let _set: Option<serde_json::Value> = self.ask(put).await?;
        }
        for (fingerprint, schema) in codec::schemas_of(subject) {
            if let Some(id) = registered.get(&fingerprint) {
                self.own.insert(fingerprint, *id);
                continue;
            }
            let body = json!({ "schema": schema });
            if !registered.is_empty() {
                let path = format!("compatibility/{versions}/latest");
                let answer = self.ask(self.client.post(self.url(&path)).json(&body)).await?;
                if answer.is_some_and(|Compatibility { is_compatible }| !is_compatible) {
                    return Err(RegistryError::Incompatible { subject: name });
                }
            }
            let post = self.client.post(self.url(&versions)).json(&body);
            if let Some(Registered { id }) = self.ask(post).await? {
                self.own.insert(fingerprint, id);
                registered.insert(fingerprint, id);
            }
        }
        for (fingerprint, id) in registered {
            self.known.insert((id, subject), Known::Schema(fingerprint));
        }
        Ok(())
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.settings.url.trim_end_matches('/'))
    }

    /// The answer; none if there is no such thing.
    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<Option<T>, RegistryError> {
        let response = request
            .header("accept", "application/vnd.schemaregistry.v1+json, application/json")
            .send()
            .await
            .map_err(reqwest::Error::without_url)?;
        let (status, path) = (response.status(), response.url().path().to_owned());
        if status == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            let said = response.text().await.unwrap_or_default().chars().take(300).collect();
            return Err(RegistryError::Refused { path, status, said });
        }
        Ok(Some(response.json().await.map_err(reqwest::Error::without_url)?))
    }

    /// The schema that `id` stands for where `topic` and `key` say what to expect; none if the
    /// registry has no such Avro schema. One that it did not have is asked for again after a while,
    /// or if `asks_anew`.
    async fn schema(
        &self,
        id: u32,
        topic: &Topic,
        key: &[u8],
        asks_anew: bool,
    ) -> Result<Option<Fingerprint>, RegistryError> {
        let candidates = candidates(topic, key);
        let mut asked_lately = false;
        for subject in &candidates {
            match self.known.get(&(id, *subject)).as_deref() {
                Some(Known::Schema(fingerprint)) => return Ok(Some(*fingerprint)),
                Some(Known::Nothing(at)) => asked_lately |= at.elapsed() < ASK_AGAIN,
                None => {}
            }
        }
        let Some(first) = candidates.first().copied().filter(|_| asks_anew || !asked_lately) else {
            return Ok(None);
        };
        let get = self.client.get(self.url(&format!("schemas/ids/{id}")));
        let found: Option<Found> = self.ask(get).await?;
        if self.known.len() >= MOST_IDS {
            self.known.clear();
        }
        let found = found.filter(|found| found.schema_type.as_deref().unwrap_or("AVRO") == "AVRO");
        let learned = found.and_then(|Found { schema, .. }| {
            let subject = subject_of(&schema, &candidates)?;
            Some((subject, codec::learn(subject, &schema).ok()?))
        });
        let (subject, known) = match learned {
            Some((subject, fingerprint)) => (subject, Known::Schema(fingerprint)),
            None => (first, Known::Nothing(Instant::now())),
        };
        self.known.insert((id, subject), known);
        Ok(learned.map(|(_, fingerprint)| fingerprint))
    }

    /// Takes Confluent framing off; a record whose id is unknown stays as it is, and is refused by
    /// whoever decodes it.
    ///
    /// # Errors
    /// If the registry must be asked and does not answer: the record may be good.
    pub(super) async fn unframe(&self, topic: &Topic, record: &mut Record) -> Result<(), LogError> {
        let Some(id) = codec::confluent_id(&record.value) else { return Ok(()) };
        // Whoever retries a letter has just registered what was missing.
        let is_retried = record.headers.iter().any(|(name, _)| name == RETRY_HEADER);
        let found = self.schema(id, topic, &record.key, is_retried).await.map_err(unavailable)?;
        if let Some(fingerprint) = found {
            let value = codec::from_confluent(&record.value, fingerprint).into();
            record.received = Some(std::mem::replace(&mut record.value, value));
        }
        Ok(())
    }

    /// Puts Confluent framing on what this release wrote; other bytes stay as they are.
    pub(super) fn frame(&self, topic: &Topic, value: &[u8]) -> Option<Vec<u8>> {
        if matches!(topic, Topic::Dlq | Topic::Inbound) {
            return None;
        }
        let id = self.own.get(&codec::fingerprint_of(value)?)?;
        Some(codec::to_confluent(value, *id))
    }
}

/// What may stand in `topic` under `key`.
fn candidates(topic: &Topic, key: &[u8]) -> Vec<Subject> {
    match topic {
        Topic::Commands(kind) => vec![Subject::Command(*kind)],
        Topic::Outcomes(kind) => vec![Subject::Outcome(*kind), Subject::Fence],
        Topic::Partner(_) => {
            let entity: Option<EntityId> =
                std::str::from_utf8(key).ok().and_then(|key| key.parse().ok());
            // Without a key that names an entity, the record is refused whatever its schema is.
            vec![Subject::Partner(entity.map_or(Kind::Board, |entity| entity.kind()))]
        }
        Topic::Inbound | Topic::Changes | Topic::Dlq => Vec::new(),
    }
}

/// Among several, the one that the schema's own name says.
fn subject_of(schema: &str, candidates: &[Subject]) -> Option<Subject> {
    let [first, rest @ ..] = candidates else { return None };
    let schema: serde_json::Value = serde_json::from_str(schema).ok()?;
    let is_fence = schema["name"] == "Fence";
    rest.iter().copied().find(|subject| is_fence && *subject == Subject::Fence).or(Some(*first))
}

//! Appends: idempotent producers (`acks=all`), whose order within a partition is the order of the
//! calls. A gap ends one: librdkafka reports a fatal error rather than write what follows a
//! record that failed (`enable.gapless.guarantee`), and the next append makes a new producer, in
//! which older sequences do not continue (R6).

use std::sync::{Arc, PoisonError, RwLock};

use actors::ports::{LogError, NewRecord, Sequence, Topic, TopicPartition};
use dashmap::DashMap;
use futures_util::future::BoxFuture;
use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer as _},
};
use schemas::Offset;

use super::{KafkaSettings, registry::Registry, unavailable};

/// Records that may wait in the producer; more are refused as busy.
const QUEUE: &str = "200000";

/// The producers of one node. A broker works on one request of a connection at a time, so commands
/// and outcomes do not wait for each other, nor for what nobody waits for.
pub(super) struct Producers {
    commands: Producer,
    outcomes: Producer,
    rest: Producer,
}

impl Producers {
    pub(super) fn new(
        settings: &KafkaSettings,
        registry: &Option<Arc<Registry>>,
    ) -> Result<Self, KafkaError> {
        let make = |linger| Producer::new(settings, registry.clone(), linger);
        Ok(Self { commands: make("0")?, outcomes: make("0")?, rest: make("5")? })
    }

    /// The one that writes `topic`.
    pub(super) fn of(&self, topic: &Topic) -> &Producer {
        match topic {
            Topic::Commands(_) => &self.commands,
            Topic::Outcomes(_) => &self.outcomes,
            Topic::Partner(_) | Topic::Inbound | Topic::Changes | Topic::Dlq => &self.rest,
        }
    }
}

/// A producer. Cheap to clone.
#[derive(Clone)]
pub(super) struct Producer(Arc<Shared>);

struct Shared {
    config: ClientConfig,
    prefix: String,
    registry: Option<Arc<Registry>>,
    /// Held for the moment of a clone or of a replacement, never over an await.
    current: RwLock<Current>,
    /// The generation in which the partition's sequence began; none once it is broken.
    sequences: DashMap<TopicPartition, u64>,
}

#[derive(Clone)]
struct Current {
    generation: u64,
    producer: FutureProducer,
}

impl Producer {
    /// `linger` is how long a record may wait for others of its batch, in milliseconds.
    fn new(
        settings: &KafkaSettings,
        registry: Option<Arc<Registry>>,
        linger: &str,
    ) -> Result<Self, KafkaError> {
        let mut config = settings.client(&[
            ("linger.ms", linger),
            ("max.in.flight", "5"),
            ("message.timeout.ms", "30000"),
            ("queue.buffering.max.messages", QUEUE),
            ("queue.buffering.max.kbytes", "262144"),
            ("compression.type", "none"),
        ]);
        config
            .set("enable.idempotence", "true")
            .set("enable.gapless.guarantee", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random");
        let producer = config.create()?;
        Ok(Self(Arc::new(Shared {
            config,
            prefix: settings.prefix.clone(),
            registry,
            current: RwLock::new(Current { generation: 0, producer }),
            sequences: DashMap::new(),
        })))
    }

    pub(super) fn append(
        &self,
        to: &TopicPartition,
        record: NewRecord,
    ) -> BoxFuture<'static, Result<Offset, LogError>> {
        let shared = self.0.clone();
        let Current { generation, producer } = shared.current();
        match record.sequence {
            Sequence::Alone => {}
            Sequence::Begins => drop(shared.sequences.insert(to.clone(), generation)),
            Sequence::Continues => {
                if shared.sequences.get(to).is_none_or(|began| *began != generation) {
                    let error = unavailable("an append before it failed");
                    return Box::pin(async move { Err(error) });
                }
            }
        }
        let name = format!("{}{}", shared.prefix, to.topic);
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: Some(&value[..]) });
        }
        let framed =
            shared.registry.as_ref().and_then(|registry| registry.frame(&to.topic, &record.value));
        let sent = producer.send_result(
            FutureRecord::to(&name)
                .partition(to.partition)
                .key(&record.key[..])
                .payload(framed.as_deref().unwrap_or(&record.value))
                .headers(headers),
        );
        let sequence = record.sequence;
        let to = to.clone();
        match sent {
            Ok(delivery) => Box::pin(async move {
                match delivery.await {
                    Ok(Ok(delivered)) => Ok(delivered.offset),
                    Ok(Err((error, _))) => Err(shared.failed(&to, sequence, generation, &error)),
                    Err(_canceled) => Err(shared.failed(
                        &to,
                        sequence,
                        generation,
                        &KafkaError::MessageProduction(RDKafkaErrorCode::PurgeInflight),
                    )),
                }
            }),
            Err((error, _)) => {
                let error = shared.failed(&to, sequence, generation, &error);
                Box::pin(async move { Err(error) })
            }
        }
    }
}

impl Shared {
    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Breaks the sequence, and replaces the producer if it can do nothing more.
    fn failed(
        &self,
        to: &TopicPartition,
        sequence: Sequence,
        generation: u64,
        error: &KafkaError,
    ) -> LogError {
        if sequence != Sequence::Alone {
            self.sequences.remove_if(to, |_, began| *began == generation);
        }
        let mut code = error.rdkafka_error_code();
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.generation == generation
            && let Some((fatal, reason)) = current.producer.client().fatal_error()
        {
            code = Some(fatal);
            tracing::warn!(code = %fatal, reason, "the producer is replaced");
            match self.config.create() {
                Ok(producer) => {
                    let next = Current { generation: generation + 1, producer };
                    let old = std::mem::replace(&mut *current, next);
                    // Its end waits for its thread.
                    std::thread::spawn(move || drop(old));
                }
                Err(error) => tracing::error!(%error, "no producer can be made"),
            }
        }
        match code {
            Some(RDKafkaErrorCode::QueueFull) => LogError::Busy,
            Some(
                // Who may write no topic at all may not begin to write idempotently.
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed,
            ) => {
                let name = format!("{}{}", self.prefix, to.topic);
                tracing::error!(topic = name, "the topic may not be written: no right to write");
                unavailable(format!("topic {name} may not be written: no right to write"))
            }
            Some(_) | None => unavailable(error),
        }
    }
}

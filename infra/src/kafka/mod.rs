//! The log on Apache Kafka, through rdkafka (librdkafka). Three producers, a few consumers that many
//! tails share, and a membership in a consumer group for each claim.

mod claims;
mod lanes;
mod producer;
mod registry;
mod topics;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use actors::ports::{Bounds, Claims, Group, Log, LogError, NewRecord, Tail, Topic, TopicPartition};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
};
use schemas::{Kind, Offset, UserName};
use serde::Deserialize;
use tokio::time::Instant;

use self::{lanes::Lanes, producer::Producers, registry::Registry};
pub use self::{
    registry::{RegistryError, RegistrySettings},
    topics::{TopicError, check, create},
};

/// A question to the brokers must be answered within this.
const ASK_WITHIN: Duration = Duration::from_secs(8);
/// A pause before a question is put again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// The largest record that is written or read, in bytes.
const MOST_BYTES: usize = 8 << 20;

/// How the brokers are reached and what the topics are.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// Stands before every topic's and group's name.
    pub prefix: String,
    /// Partitions of each of the six topics of commands and outcomes.
    pub partitions: i32,
    /// Replicas of every topic that is created.
    pub replication: i32,
    /// A member that is not heard for so long loses its partitions. The broker says how long where
    /// it runs the groups.
    pub session_timeout: Duration,
    /// Who assigns partitions to members.
    pub group_protocol: GroupProtocol,
    /// Any further properties of librdkafka, such as those of SASL; those that the rules depend on
    /// stay as they are.
    pub properties: BTreeMap<String, String>,
    /// The partners that have topics.
    pub partners: Vec<UserName>,
    /// Whether a chat platform is configured, which has a topic of its own.
    pub has_bridges: bool,
    /// The schema registry; without one, records are in single-object encoding.
    pub registry: Option<RegistrySettings>,
}

/// Who assigns partitions to the members of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GroupProtocol {
    /// A member, cooperatively.
    Classic,
    /// The broker (KIP-848; Kafka 4.0 or newer).
    Consumer,
}

impl KafkaSettings {
    /// The name that a topic has at the brokers.
    pub fn name_of(&self, topic: &Topic) -> String {
        format!("{}{topic}", self.prefix)
    }

    /// Every topic that the program needs.
    pub fn topics(&self) -> Vec<Topic> {
        let pair = |kind| [Topic::Commands(kind), Topic::Outcomes(kind)];
        let mut topics: Vec<_> = Kind::ALL.into_iter().flat_map(pair).collect();
        topics.extend(self.partners.iter().cloned().map(Topic::Partner));
        topics.extend([Topic::Changes, Topic::Dlq]);
        if self.has_bridges {
            topics.push(Topic::Inbound);
        }
        topics
    }

    /// What every client has; `tuned` and the user's properties may say otherwise.
    fn client(&self, tuned: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("client.id", "switchyard")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.keepalive.enable", "true")
            // A broker that hangs is given up after this, so that another can lead.
            .set("socket.timeout.ms", "10000");
        for (name, value) in tuned {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", &self.brokers)
            .set("message.max.bytes", MOST_BYTES.to_string());
        config
    }

    fn consumer(&self) -> ClientConfig {
        let mut config = self.client(&[
            ("fetch.min.bytes", "1"),
            // A partition that is added waits at most so long for the fetch under way.
            ("fetch.wait.max.ms", "100"),
            ("fetch.queue.backoff.ms", "5"),
            ("fetch.error.backoff.ms", "50"),
            ("queued.max.messages.kbytes", "16384"),
            ("topic.metadata.refresh.interval.ms", "30000"),
            ("check.crcs", "true"),
        ]);
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("fetch.message.max.bytes", (1 << 20).to_string())
            .set("fetch.max.bytes", (MOST_BYTES + (1 << 20)).to_string())
            .set("receive.message.max.bytes", (2 * MOST_BYTES + (1 << 20)).to_string());
        config
    }
}

/// What went wrong with Kafka, as the log's users see it.
fn unavailable(error: impl std::fmt::Display) -> LogError {
    LogError::Unavailable(error.to_string().into())
}

/// The log on Kafka.
pub struct KafkaLog {
    settings: Arc<KafkaSettings>,
    /// How many partitions the topics had at the start.
    counts: HashMap<Topic, i32>,
    producers: Producers,
    lanes: Lanes,
    asking: Arc<BaseConsumer>,
}

impl KafkaLog {
    /// Connects, and checks that every topic is there as it must be.
    ///
    /// # Errors
    /// If the brokers cannot be reached, or a topic is missing or of another shape.
    pub async fn open(settings: KafkaSettings) -> Result<Self, TopicError> {
        let settings = Arc::new(settings);
        let counts = check(&settings).await?;
        let registry = match settings.registry.clone() {
            Some(registry) => Some(Arc::new(Registry::start(registry).await?)),
            None => None,
        };
        let asking = settings.consumer().set("group.id", "none").create();
        let asking: BaseConsumer = asking.map_err(TopicError::Client)?;
        Ok(Self {
            producers: Producers::new(&settings, &registry).map_err(TopicError::Client)?,
            lanes: Lanes::new(settings.clone(), registry),
            asking: Arc::new(asking),
            counts,
            settings,
        })
    }

    /// What the topics are.
    pub fn settings(&self) -> &KafkaSettings {
        &self.settings
    }

    /// librdkafka answers from what it remembers of the leaders and does not ask again when that
    /// has become wrong (a broker died), so this does.
    async fn ask_bounds(&self, of: &TopicPartition) -> Result<Bounds, LogError> {
        let deadline = Instant::now() + ASK_WITHIN;
        loop {
            let (asking, name) = (self.asking.clone(), self.settings.name_of(&of.topic));
            let partition = of.partition;
            let left = deadline.saturating_duration_since(Instant::now());
            let ask = move || {
                asking.fetch_watermarks(&name, partition, left).inspect_err(|_| {
                    if let Err(error) = asking.fetch_metadata(Some(&name), left) {
                        tracing::debug!(%error, topic = name, "the leaders cannot be asked for");
                    }
                })
            };
            match tokio::task::spawn_blocking(ask).await.map_err(unavailable)? {
                Ok((first, end)) => return Ok(Bounds { first, end }),
                Err(error) if deadline <= Instant::now() + ASK_AGAIN => {
                    return Err(unavailable(error));
                }
                Err(_may_pass) => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    }
}

#[async_trait]
impl Log for KafkaLog {
    fn partitions(&self, topic: &Topic) -> i32 {
        self.counts.get(topic).copied().unwrap_or(0)
    }

    fn append(
        &self,
        to: &TopicPartition,
        record: NewRecord,
    ) -> BoxFuture<'static, Result<Offset, LogError>> {
        self.producers.of(&to.topic).append(to, record)
    }

    async fn tail(&self, of: &TopicPartition, from: Offset) -> Result<Box<dyn Tail>, LogError> {
        let bounds = self.ask_bounds(of).await?;
        if from < bounds.first {
            let at = format!("{of}/{from}");
            let reason = format!("retention has removed it: the log begins at {}", bounds.first);
            return Err(LogError::Damaged { at, reason });
        }
        Ok(Box::new(self.lanes.open(of, from)?))
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds, LogError> {
        self.ask_bounds(of).await
    }

    async fn claims(&self, group: Group) -> Result<Box<dyn Claims>, LogError> {
        Ok(Box::new(claims::join(&self.settings, group)?))
    }
}

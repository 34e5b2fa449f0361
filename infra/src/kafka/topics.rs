//! The topics at the brokers: made by `switchyard topics create`, checked at every start.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use actors::ports::Topic;
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

use super::{ASK_AGAIN, KafkaSettings, MOST_BYTES, RegistryError};

/// The brokers must answer within this, so that a wrong address is named soon.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);
/// A topic that was made is known at every broker within this.
const KNOWN_WITHIN: Duration = Duration::from_secs(3);
/// A fetch that is not allowed is refused within this.
const REFUSED_WITHIN: Duration = Duration::from_millis(200);
/// Commands, dead letters and public changes are kept so long; outcomes for ever.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Why the topics cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// librdkafka refuses a property.
    #[error("kafka: the client cannot be made")]
    Client(#[source] KafkaError),
    /// No broker answers.
    #[error("kafka.brokers: no broker at {brokers} answers")]
    Unreachable {
        /// The addresses.
        brokers: String,
        /// Why.
        #[source]
        source: KafkaError,
    },
    /// The brokers do not let the client in.
    #[error("kafka.properties: the brokers at {brokers} refuse the credentials: {said}")]
    Refused {
        /// The addresses.
        brokers: String,
        /// What they say.
        said: String,
    },
    /// Topics are not as they must be.
    #[error("{}; `switchyard topics create` makes what is missing", .0.join("; "))]
    Wrong(Vec<String>),
    /// The schema registry cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A topic cannot be made.
    #[error("topic {topic} cannot be made: {reason}")]
    NotMade {
        /// Which.
        topic: String,
        /// Why.
        reason: RDKafkaErrorCode,
    },
}

/// Checks every topic; gives the number of partitions of each.
///
/// # Errors
/// If no broker answers, or a topic is missing, may not be used, or has another number of
/// partitions than it must have. All that is wrong is named.
pub async fn check(settings: &KafkaSettings) -> Result<HashMap<Topic, i32>, TopicError> {
    let asking = Asking::connect(settings).await?;
    let topics: Vec<_> =
        settings.topics().into_iter().map(|topic| (settings.name_of(&topic), topic)).collect();
    let until = Instant::now() + KNOWN_WITHIN;
    let mut counts = HashMap::new();
    let mut wrong = Vec::new();
    for (name, topic) in topics {
        match asking.partitions(&name, until).await? {
            Err(RDKafkaErrorCode::UnknownTopicOrPartition) | Ok(0) => {
                wrong.push(format!("topic {name} is missing"));
            }
            Err(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                wrong.push(format!("topic {name} may not be used: no right to describe it"));
            }
            Err(error) => wrong.push(format!("topic {name} cannot be used: {error}")),
            Ok(count) if is_paired(&topic) && count != settings.partitions => {
                let wanted = settings.partitions;
                wrong.push(format!(
                    "topic {name} has {count} partitions and kafka.partitions is {wanted}"
                ));
            }
            Ok(count) => drop(counts.insert(topic, count)),
        }
    }
    if wrong.is_empty() {
        let names = settings.topics().iter().map(|topic| settings.name_of(topic)).collect();
        for name in asking.unreadable(names).await? {
            wrong.push(format!("topic {name} may not be used: no right to read it"));
        }
    }
    if wrong.is_empty() { Ok(counts) } else { Err(TopicError::Wrong(wrong)) }
}

/// Makes the topics that are not there; gives their names.
///
/// # Errors
/// If no broker answers or one cannot be made.
pub async fn create(settings: &KafkaSettings) -> Result<Vec<String>, TopicError> {
    // Says in a moment whether anybody is there, which the admin client does not.
    Asking::connect(settings).await?;
    let admin: AdminClient<DefaultClientContext> =
        settings.client(&[]).create().map_err(TopicError::Client)?;
    let (kept, most) = (KEPT.as_millis().to_string(), MOST_BYTES.to_string());
    let topics = settings.topics();
    let names: Vec<_> = topics.iter().map(|topic| settings.name_of(topic)).collect();
    let new: Vec<_> = topics
        .iter()
        .zip(&names)
        .map(|(topic, name)| {
            let count = match topic {
                Topic::Commands(_) | Topic::Outcomes(_) | Topic::Changes => settings.partitions,
                Topic::Partner(_) | Topic::Inbound => settings.partitions.min(8),
                Topic::Dlq => 1,
            };
            let kept = if matches!(topic, Topic::Outcomes(_)) { "-1" } else { kept.as_str() };
            let replication = TopicReplication::Fixed(settings.replication);
            NewTopic::new(name, count, replication)
                .set("retention.ms", kept)
                .set("max.message.bytes", &most)
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(ANSWER_WITHIN));
    let made = admin.create_topics(&new, &options).await.map_err(TopicError::Client)?;
    let mut created = Vec::new();
    for result in made {
        match result {
            Ok(name) => created.push(name),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, reason)) => return Err(TopicError::NotMade { topic, reason }),
        }
    }
    Ok(created)
}

/// Whether the topic must have as many partitions as the others of its kind.
fn is_paired(topic: &Topic) -> bool {
    match topic {
        Topic::Commands(_) | Topic::Outcomes(_) => true,
        Topic::Partner(_) | Topic::Inbound | Topic::Changes | Topic::Dlq => false,
    }
}

/// Remembers why the brokers turn it away, which answers do not say.
#[derive(Default)]
struct Refusals(Mutex<Option<String>>);

impl ClientContext for Refusals {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Authentication) {
            let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Some(reason.to_owned());
        }
        tracing::debug!(%error, reason, "a broker reports");
    }
}

impl ConsumerContext for Refusals {}

impl Refusals {
    fn said(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hear(&self, consumer: &BaseConsumer<Self>) {
        let started = Instant::now();
        while self.said().is_none() && started.elapsed() < 2 * REFUSED_WITHIN {
            // Records are not asked for; errors reach `error`.
            consumer.poll(REFUSED_WITHIN / 4);
        }
    }
}

/// A connection for questions about topics.
struct Asking {
    consumer: Arc<BaseConsumer<Refusals>>,
    brokers: String,
}

impl Asking {
    async fn connect(settings: &KafkaSettings) -> Result<Self, TopicError> {
        let mut config = settings.consumer();
        config.set("group.id", "none").set("auto.offset.reset", "latest");
        let consumer = config.create_with_context(Refusals::default());
        let consumer = Arc::new(consumer.map_err(TopicError::Client)?);
        let asking = Self { consumer, brokers: settings.brokers.clone() };
        asking.ask(|consumer| consumer.fetch_metadata(None, ANSWER_WITHIN).map(|_| ())).await?;
        Ok(asking)
    }

    /// Asks, away from the runtime's threads.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&BaseConsumer<Refusals>) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, TopicError> {
        let consumer = self.consumer.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let answer = question(&consumer);
            if answer.is_err() {
                // Why the brokers refused is heard while polling.
                consumer.context().hear(&consumer);
            }
            answer
        });
        let answer = answer.await.unwrap_or(Err(KafkaError::Canceled));
        answer.map_err(|source| {
            let brokers = self.brokers.clone();
            match self.consumer.context().said() {
                Some(said) => TopicError::Refused { brokers, said },
                None => TopicError::Unreachable { brokers, source },
            }
        })
    }

    /// Those of the topics whose records may not be read, as the answers to fetches say. An answer
    /// does not say which topic it means, so they are asked for one by one if one is refused.
    async fn unreadable(&self, names: Vec<String>) -> Result<Vec<String>, TopicError> {
        if !self.refuses(names.clone()).await? {
            return Ok(Vec::new());
        }
        let mut unreadable = Vec::new();
        for name in names {
            if self.refuses(vec![name.clone()]).await? {
                unreadable.push(name);
            }
        }
        Ok(unreadable)
    }

    async fn refuses(&self, names: Vec<String>) -> Result<bool, TopicError> {
        self.ask(move |consumer| {
            let mut list = TopicPartitionList::with_capacity(names.len());
            for name in &names {
                list.add_partition_offset(name, 0, Offset::End)?;
            }
            consumer.assign(&list)?;
            let started = Instant::now();
            let mut is_refused = false;
            while !is_refused && started.elapsed() < REFUSED_WITHIN {
                let answer = consumer.poll(REFUSED_WITHIN / 4);
                let error = answer.and_then(Result::err);
                is_refused = error.and_then(|error| error.rdkafka_error_code())
                    == Some(RDKafkaErrorCode::TopicAuthorizationFailed);
            }
            consumer.unassign()?;
            Ok(is_refused)
        })
        .await
    }

    /// How many partitions a topic has. One that was made a moment ago may not be known everywhere,
    /// so before `until` a missing one is asked for again.
    async fn partitions(
        &self,
        name: &str,
        until: Instant,
    ) -> Result<Result<i32, RDKafkaErrorCode>, TopicError> {
        loop {
            let asked = name.to_owned();
            let ask = move |consumer: &BaseConsumer<Refusals>| {
                consumer.fetch_metadata(Some(&asked), ANSWER_WITHIN)
            };
            let metadata = self.ask(ask).await?;
            let topic = metadata.topics().first();
            let found = match topic.map(|topic| (topic.error(), topic.partitions().len())) {
                None => Ok(0),
                Some((Some(error), _)) => Err(error.into()),
                Some((None, count)) => Ok(i32::try_from(count).unwrap_or(i32::MAX)),
            };
            match found {
                Err(RDKafkaErrorCode::UnknownTopicOrPartition) | Ok(0)
                    if Instant::now() < until =>
                {
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                found => return Ok(found),
            }
        }
    }
}

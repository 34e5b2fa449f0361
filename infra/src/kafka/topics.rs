//! The topics at the brokers: made by `switchyard topics create`, checked at every start.

use std::{collections::HashMap, time::Duration};

use actors::ports::Topic;
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    metadata::Metadata,
};

use super::{KafkaSettings, MOST_BYTES, RegistryError};

/// The brokers must answer within this, so that a wrong address is named soon.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);
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
    let metadata = fetch(settings).await?;
    let mut counts = HashMap::new();
    let mut wrong = Vec::new();
    for topic in settings.topics() {
        let name = settings.name_of(&topic);
        let found = metadata.topics().iter().find(|found| found.name() == name);
        let error = found.and_then(|found| found.error().map(RDKafkaErrorCode::from));
        let count = found.map_or(0, |found| found.partitions().len());
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        match (error, count) {
            (Some(RDKafkaErrorCode::UnknownTopicOrPartition), _) | (None, 0) => {
                wrong.push(format!("topic {name} is missing"));
            }
            (Some(error), _) => wrong.push(format!("topic {name} cannot be used: {error}")),
            (None, count) if is_paired(&topic) && count != settings.partitions => {
                let wanted = settings.partitions;
                wrong.push(format!(
                    "topic {name} has {count} partitions and kafka.partitions is {wanted}"
                ));
            }
            (None, count) => drop(counts.insert(topic, count)),
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
    fetch(settings).await?;
    let admin: AdminClient<DefaultClientContext> =
        settings.client().create().map_err(TopicError::Client)?;
    let (kept, most) = (KEPT.as_millis().to_string(), MOST_BYTES.to_string());
    let topics = settings.topics();
    let names: Vec<_> = topics.iter().map(|topic| settings.name_of(topic)).collect();
    let new: Vec<_> = topics
        .iter()
        .zip(&names)
        .map(|(topic, name)| {
            let count = match topic {
                Topic::Commands(_) | Topic::Outcomes(_) | Topic::Changes => settings.partitions,
                Topic::Partner(_) => settings.partitions.min(8),
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
        Topic::Partner(_) | Topic::Changes | Topic::Dlq => false,
    }
}

async fn fetch(settings: &KafkaSettings) -> Result<Metadata, TopicError> {
    let consumer: BaseConsumer = settings.client().create().map_err(TopicError::Client)?;
    let ask = move || consumer.fetch_metadata(None, ANSWER_WITHIN);
    let unreachable =
        |source| TopicError::Unreachable { brokers: settings.brokers.clone(), source };
    match tokio::task::spawn_blocking(ask).await {
        Ok(answer) => answer.map_err(unreachable),
        Err(_ended) => Err(unreachable(KafkaError::Canceled)),
    }
}

//! Claims: membership in a consumer group with cooperative assignment. Nothing is consumed through
//! it (partitions are paused as they are assigned); it only says which ones are this node's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self as std_mpsc, RecvTimeoutError},
    },
    time::Duration,
};

use actors::ports::{Claim, Claims, Group, LogError, Release, Topic, TopicPartition};
use async_trait::async_trait;
use rdkafka::{
    ClientContext, Offset as At, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance},
    error::{KafkaError, RDKafkaErrorCode},
};
use schemas::{Kind, Offset};
use tokio::sync::mpsc;

use super::{GroupProtocol, KafkaSettings, unavailable};

/// How long giving up partitions may take before they are given up all the same.
const RELEASE_WITHIN: Duration = Duration::from_secs(6);
/// Claims that may wait; the group's thread waits for room.
const CLAIMS: usize = 64;
/// How long a poll waits, and so how long leaving may take to begin.
const POLL: Duration = Duration::from_millis(20);

/// A membership. Dropping it leaves the group.
pub(super) struct KafkaClaims {
    claims: mpsc::Receiver<Claim>,
    leaving: Arc<AtomicBool>,
    reports: Option<std_mpsc::Sender<Vec<(TopicPartition, Offset)>>>,
    /// Kept where there is nothing to claim, so that `next` waits and does not end.
    _open: Option<mpsc::Sender<Claim>>,
}

#[async_trait]
impl Claims for KafkaClaims {
    async fn next(&mut self) -> Result<Claim, LogError> {
        self.claims.recv().await.ok_or_else(|| unavailable("the group's consumer has ended"))
    }

    fn report(&mut self, positions: Vec<(TopicPartition, Offset)>) {
        if let Some(reports) = &self.reports {
            // A thread that has ended has no group to tell.
            reports.send(positions).ok();
        }
    }
}

impl Drop for KafkaClaims {
    fn drop(&mut self) {
        self.leaving.store(true, Ordering::Relaxed);
    }
}

struct Context {
    prefix: String,
    sender: mpsc::Sender<Claim>,
}

impl Context {
    fn places(&self, list: &TopicPartitionList) -> Vec<TopicPartition> {
        let place = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            let topic: Topic = element.topic().strip_prefix(&self.prefix)?.parse().ok()?;
            Some(TopicPartition::new(topic, element.partition()))
        };
        list.elements().into_iter().filter_map(place).collect()
    }

    /// Whoever claims may be gone; then there is nothing to tell.
    fn tell(&self, claim: Claim) {
        self.sender.blocking_send(claim).ok();
    }
}

impl ClientContext for Context {}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(list) = rebalance else { return };
        let places = self.places(list);
        if places.is_empty() {
            return;
        }
        if consumer.assignment_lost() {
            return self.tell(Claim::Lost(places));
        }
        let (release, released) = Release::new();
        self.tell(Claim::Revoked(places, release));
        // The group waits for this callback, so the next owner comes after the release.
        if matches!(released.recv_timeout(RELEASE_WITHIN), Err(RecvTimeoutError::Timeout)) {
            tracing::warn!("partitions are given up before they were released");
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                if let Err(error) = consumer.pause(list) {
                    tracing::warn!(%error, "an assignment cannot be paused");
                }
                // Told even if there is nothing, so that the node knows that it is a member.
                self.tell(Claim::Assigned(self.places(list)));
            }
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => tracing::warn!(%error, "rebalance"),
        }
    }
}

/// Joins the group.
pub(super) fn join(settings: &KafkaSettings, group: Group) -> Result<KafkaClaims, LogError> {
    let (name, topics): (&str, Vec<Topic>) = match group {
        Group::Owners => ("owners", Kind::ALL.map(Topic::Commands).to_vec()),
        Group::Projectors => ("projectors", Kind::ALL.map(Topic::Outcomes).to_vec()),
        Group::Forwarders => {
            ("forwarders", settings.partners.iter().cloned().map(Topic::Partner).collect())
        }
        Group::Bridges => ("bridges", vec![Topic::Outcomes(Kind::Room), Topic::Inbound]),
    };
    let (sender, claims) = mpsc::channel(CLAIMS);
    let leaving = Arc::new(AtomicBool::new(false));
    if topics.is_empty() {
        return Ok(KafkaClaims { claims, leaving, reports: None, _open: Some(sender) });
    }
    let mut config = settings.consumer();
    match settings.group_protocol {
        GroupProtocol::Classic => config
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", settings.session_timeout.as_millis().to_string())
            // Members hear of a rebalance with their next heartbeat, so this is most of a handover.
            .set("heartbeat.interval.ms", "100"),
        GroupProtocol::Consumer => config.set("group.protocol", "consumer"),
    };
    let consumer: BaseConsumer<Context> = config
        .set("group.id", format!("{}{name}", settings.prefix))
        .set("max.poll.interval.ms", "300000")
        .set("auto.offset.reset", "latest")
        .create_with_context(Context { prefix: settings.prefix.clone(), sender })
        .map_err(unavailable)?;
    let names: Vec<_> = topics.iter().map(|topic| settings.name_of(topic)).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    consumer.subscribe(&names).map_err(unavailable)?;
    let stop = leaving.clone();
    let (reports, reported) = std_mpsc::channel::<Vec<(TopicPartition, Offset)>>();
    let prefix = settings.prefix.clone();
    std::thread::Builder::new()
        .name(format!("kafka-{name}"))
        .spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if let Some(Err(error)) = consumer.poll(POLL) {
                    report(&error, &format!("{prefix}{name}"));
                }
                if let Ok(positions) = reported.try_recv() {
                    commit(&consumer, &prefix, &positions);
                }
            }
            // Dropping it leaves the group at once.
        })
        .map_err(unavailable)?;
    Ok(KafkaClaims { claims, leaving, reports: Some(reports), _open: None })
}

/// librdkafka tries again by itself; what only an operator can mend is said aloud.
fn report(error: &KafkaError, group: &str) {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::GroupAuthorizationFailed | RDKafkaErrorCode::TopicAuthorizationFailed,
        ) => tracing::error!(%error, group, "the group may not be joined: no right to read it"),
        Some(_) | None => tracing::debug!(%error, group, "the group's consumer reports"),
    }
}

/// For those who watch the group's lag; reading never begins there (R4).
fn commit(consumer: &BaseConsumer<Context>, prefix: &str, positions: &[(TopicPartition, Offset)]) {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    let added: Result<(), _> = positions.iter().try_for_each(|(of, offset)| {
        let name = format!("{prefix}{}", of.topic);
        list.add_partition_offset(&name, of.partition, At::Offset(*offset))
    });
    if let Err(error) = added.and_then(|()| consumer.commit(&list, CommitMode::Async)) {
        tracing::debug!(%error, "positions are not committed");
    }
}

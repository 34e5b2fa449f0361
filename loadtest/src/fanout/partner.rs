//! Messages that a partner produces to its topic, instead of publishers over sockets: there are no
//! answers, so what is accepted shows in the deliveries alone.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};

use super::Room;
use crate::cli::FanoutArgs;
use crate::error::Error;
use crate::pacer::{Backlog, Outlet, Shot};
use crate::proto::push_stamped;

/// So long the broker has to be there.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Writes to the partner's topic as the pacer says.
pub(super) struct Partner {
    rooms: Arc<[Room]>,
    topic: String,
    payload: usize,
    record: String,
    producer: ThreadedProducer<Failures>,
    failures: Arc<AtomicU64>,
}

/// Counts the records that the broker did not take.
struct Failures(Arc<AtomicU64>);

impl rdkafka::ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Relaxed);
        }
    }
}

impl Partner {
    /// Connects; a topic that is not there is an error.
    pub(super) fn connect(
        brokers: &str,
        topic: &str,
        rooms: &Arc<[Room]>,
        args: &FanoutArgs,
    ) -> Result<Self, Error> {
        let failures = Arc::new(AtomicU64::new(0));
        let producer: ThreadedProducer<Failures> = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "0")
            .create_with_context(Failures(Arc::clone(&failures)))?;
        let metadata = producer.client().fetch_metadata(Some(topic), CONNECT_WITHIN)?;
        if metadata.topics().iter().all(|topic| topic.partitions().is_empty()) {
            return Err(Error::Setup(format!("there is no topic {topic}")));
        }
        let (rooms, topic, record) = (Arc::clone(rooms), topic.to_owned(), String::new());
        Ok(Self { rooms, topic, payload: args.payload, record, producer, failures })
    }

    /// Records that the broker did not take.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }
}

impl Outlet for Partner {
    fn fire(&mut self, shot: Shot) {
        self.record.clear();
        self.record.push_str(r#"{"body":{"type":"post","text":""#);
        push_stamped(&mut self.record, shot, self.payload);
        self.record.push_str(r#""}}"#);
        let key = &self.rooms[shot.slot].entity;
        loop {
            let record = BaseRecord::to(&self.topic).key(key).payload(&self.record);
            match self.producer.send(record) {
                Ok(()) => return,
                // The producer's thread makes room; the message is late, which counts.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    std::thread::yield_now();
                }
                Err(_) => {
                    self.failures.fetch_add(1, Relaxed);
                    return;
                }
            }
        }
    }

    fn flush(&mut self) -> Backlog {
        if self.producer.in_flight_count() > 0 { Backlog::Some } else { Backlog::None }
    }
}

//! What plain rdkafka reaches: one idempotent producer (`acks=all`) and one consumer of a topic that
//! is made for the measurement and removed again; from handing a record over until it is consumed.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use super::Baseline;
use crate::error::Error;
use crate::measure::{Distribution, histogram};
use crate::schedule::{Clock, Schedule};

/// As many as a kind of entity has on a small cluster.
const PARTITIONS: i32 = 6;
/// What is under way at the end must be consumed within this.
const DRAIN: Duration = Duration::from_secs(20);
/// A record begins with the time at which it was meant to be sent.
const STAMP: usize = size_of::<u64>();

/// How records are sent.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// As fast as so many outstanding records allow.
    InFlight(usize),
    /// So many a second, from their intended times on.
    Rate(f64),
}

/// Measures for `duration` with records of `record_bytes`.
///
/// # Errors
/// If no broker answers within 10 s or the topic cannot be made.
pub async fn measure(
    brokers: &str,
    record_bytes: usize,
    pace: Pace,
    duration: Duration,
) -> Result<Baseline, Error> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    let topic = format!("loadtest-{}", uuid::Uuid::now_v7());
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(10)));
    let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(-1));
    for made in admin.create_topics([&new], &options).await? {
        made.map_err(|(_, code)| KafkaError::AdminOp(code))?;
    }
    let name = topic.clone();
    let run = move || Run::new(&config, &name, record_bytes)?.measure(pace, duration);
    let measured = tokio::task::spawn_blocking(run).await;
    admin.delete_topics(&[&topic], &options).await?;
    // A panic in the measurement goes on here.
    measured.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

struct Run {
    topic: String,
    producer: ThreadedProducer<DefaultProducerContext>,
    consumer: BaseConsumer,
    record: Vec<u8>,
    clock: Clock,
}

impl Run {
    fn new(config: &ClientConfig, topic: &str, record_bytes: usize) -> Result<Self, Error> {
        let producer = config
            .clone()
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "0")
            .create()?;
        let consumer: BaseConsumer = config
            .clone()
            .set("group.id", "loadtest")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.min.bytes", "1")
            .set("fetch.queue.backoff.ms", "5")
            .create()?;
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&all)?;
        let record = vec![b'x'; record_bytes.max(STAMP)];
        let mut run =
            Self { topic: topic.to_owned(), producer, consumer, record, clock: Clock::start() };
        run.warm_up()?;
        run.clock = Clock::start();
        Ok(run)
    }

    /// Connections are made and every partition is fetched before anything is timed.
    fn warm_up(&mut self) -> Result<(), Error> {
        for partition in 0..PARTITIONS {
            self.send(partition, u64::MAX)?;
        }
        let started = Instant::now();
        let mut seen = 0;
        while seen < PARTITIONS && started.elapsed() < DRAIN {
            if let Some(record) = self.consumer.poll(Duration::from_millis(10)) {
                record?;
                seen += 1;
            }
        }
        Ok(())
    }

    fn send(&mut self, partition: i32, stamp: u64) -> Result<(), Error> {
        self.record[..STAMP].copy_from_slice(&stamp.to_be_bytes());
        loop {
            let record = BaseRecord::<(), [u8]>::to(&self.topic);
            let sent = self.producer.send(record.partition(partition).payload(&self.record));
            match sent {
                Ok(()) => return Ok(()),
                // The producer's thread makes room.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    std::thread::yield_now();
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    fn measure(mut self, pace: Pace, duration: Duration) -> Result<Baseline, Error> {
        let end_ns = duration.as_nanos() as u64;
        let (consumed, freed) = mpsc::channel();
        let consumer = std::mem::replace(&mut self.consumer, ClientConfig::new().create()?);
        let (total, expected) = mpsc::channel();
        let clock = self.clock;
        let reading = std::thread::spawn(move || read(&consumer, clock, &consumed, &expected));
        let sent = match pace {
            Pace::InFlight(count) => self.send_closed(count, end_ns, &freed)?,
            Pace::Rate(rate) => self.send_open(rate, end_ns)?,
        };
        // The reader lives until it has been told how many there are.
        total.send(sent).ok();
        self.producer.flush(DRAIN)?;
        let latencies = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let seconds = self.clock.now_ns() as f64 / 1e9;
        Ok(Baseline {
            rate: latencies.len() as f64 / seconds,
            commits: None,
            latency: Distribution::of("kafka produce to consume", &latencies),
        })
    }

    fn send_closed(
        &mut self,
        count: usize,
        end_ns: u64,
        freed: &mpsc::Receiver<()>,
    ) -> Result<u64, Error> {
        let mut sent = 0;
        loop {
            if sent >= count as u64 && freed.recv().is_err() {
                return Ok(sent);
            }
            let now = self.clock.now_ns();
            if now >= end_ns {
                return Ok(sent);
            }
            self.send(place(sent), now)?;
            sent += 1;
        }
    }

    fn send_open(&mut self, rate: f64, end_ns: u64) -> Result<u64, Error> {
        let period = Schedule::period_ns(rate);
        let mut sent = 0;
        loop {
            let due = (sent as f64 * period) as u64;
            if due >= end_ns {
                return Ok(sent);
            }
            let now = self.clock.now_ns();
            if due > now {
                // Wakes when it is due; nobody unparks this thread.
                std::thread::park_timeout(Duration::from_nanos(due - now));
                continue;
            }
            self.send(place(sent), due)?;
            sent += 1;
        }
    }
}

fn place(number: u64) -> i32 {
    i32::try_from(number % u64::from(PARTITIONS.unsigned_abs())).unwrap_or(0)
}

/// Reads until it is told how many there are and has them all.
fn read(
    consumer: &BaseConsumer,
    clock: Clock,
    consumed: &mpsc::Sender<()>,
    expected: &mpsc::Receiver<u64>,
) -> Result<Histogram<u64>, Error> {
    let mut latencies = histogram();
    let mut total = None;
    let mut last = Instant::now();
    loop {
        total = total.or_else(|| expected.try_recv().ok());
        if total.is_some_and(|total| latencies.len() >= total || last.elapsed() > DRAIN) {
            return Ok(latencies);
        }
        let Some(record) = consumer.poll(Duration::from_millis(5)) else { continue };
        let record = record?;
        let stamp = record.payload().and_then(|payload| payload.first_chunk());
        let stamp = stamp.copied().map_or(u64::MAX, u64::from_be_bytes);
        if stamp != u64::MAX {
            latencies.saturating_record(clock.now_ns().saturating_sub(stamp));
            last = Instant::now();
            // Whoever sends at a rate does not wait.
            consumed.send(()).ok();
        }
    }
}

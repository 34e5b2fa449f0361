//! Tails. A consumer has one position in a partition, and three readers may want the same one (an
//! owner, a projector, a gateway), so there are a few consumers, the lanes, and a tail takes the
//! first lane that is not in its partition yet. A lane has one thread that polls and hands records
//! to bounded channels; what is not taken is paused at the broker (back-pressure).

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc},
    time::Duration,
};

use actors::ports::{LogError, Record, Tail, Topic, TopicPartition};
use async_trait::async_trait;
use bytes::Bytes;
use rdkafka::{
    Message as _, Offset as At, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::{BorrowedMessage, Headers as _},
};
use schemas::Offset;
use tokio::sync::mpsc;

use super::{KafkaSettings, registry::Registry, unavailable};

/// How long a poll waits: so long an opened tail may wait for its lane.
const POLL: Duration = Duration::from_millis(5);
/// How long a poll waits while a reader has no room.
const POLL_BLOCKED: Duration = Duration::from_millis(1);
/// Records that one round takes before it hands them on.
const BURST: usize = 500;
/// Batches that may wait for a reader.
const BATCHES: usize = 4;

type Taken = Arc<Mutex<HashSet<TopicPartition>>>;
type Batch = Result<Vec<Record>, LogError>;

/// Every lane of a node.
pub(super) struct Lanes {
    settings: Arc<KafkaSettings>,
    registry: Option<Arc<Registry>>,
    lanes: Mutex<Vec<Lane>>,
}

struct Lane {
    taken: Taken,
    opens: std_mpsc::Sender<Open>,
}

struct Open {
    of: TopicPartition,
    from: Offset,
    sender: mpsc::Sender<Batch>,
}

/// One reader's place.
pub(super) struct KafkaTail {
    batches: mpsc::Receiver<Batch>,
    topic: Topic,
    registry: Option<Arc<Registry>>,
}

#[async_trait]
impl Tail for KafkaTail {
    async fn next(&mut self) -> Result<Vec<Record>, LogError> {
        let ended = || Err(unavailable("the consumer has ended"));
        let mut batch = self.batches.recv().await.unwrap_or_else(ended)?;
        if let Some(registry) = &self.registry {
            for record in &mut batch {
                registry.unframe(&self.topic, record).await?;
            }
        }
        Ok(batch)
    }
}

impl Lanes {
    pub(super) fn new(settings: Arc<KafkaSettings>, registry: Option<Arc<Registry>>) -> Self {
        Self { settings, registry, lanes: Mutex::default() }
    }

    /// Reads `of` from `from` on.
    pub(super) fn open(&self, of: &TopicPartition, from: Offset) -> Result<KafkaTail, LogError> {
        let (sender, batches) = mpsc::channel(BATCHES);
        let tail = KafkaTail { batches, topic: of.topic.clone(), registry: self.registry.clone() };
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = Open { of: of.clone(), from, sender };
        for lane in lanes.iter() {
            if !lock(&lane.taken).insert(of.clone()) {
                continue;
            }
            match lane.opens.send(open) {
                Ok(()) => return Ok(tail),
                Err(std_mpsc::SendError(back)) => open = back,
            }
        }
        let lane = Lane::start(&self.settings, lanes.len())?;
        lock(&lane.taken).insert(of.clone());
        lane.opens.send(open).map_err(|_| unavailable("a consumer cannot be started"))?;
        lanes.push(lane);
        Ok(tail)
    }
}

fn lock(taken: &Taken) -> std::sync::MutexGuard<'_, HashSet<TopicPartition>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lane {
    fn start(settings: &KafkaSettings, number: usize) -> Result<Self, LogError> {
        // The consumer joins no group; librdkafka wants a name all the same.
        let consumer = settings.consumer().set("group.id", "none").create::<BaseConsumer>();
        let consumer = consumer.map_err(unavailable)?;
        let (opens, waiting) = std_mpsc::channel();
        let taken = Taken::default();
        let mut polling = Polling {
            prefix: settings.prefix.clone(),
            consumer,
            taken: taken.clone(),
            sinks: HashMap::new(),
            touched: HashSet::new(),
        };
        std::thread::Builder::new()
            .name(format!("kafka-lane-{number}"))
            .spawn(move || polling.run(&waiting))
            .map_err(unavailable)?;
        Ok(Self { taken, opens })
    }
}

/// What a lane's thread owns.
struct Polling {
    prefix: String,
    consumer: BaseConsumer,
    taken: Taken,
    /// By topic name and partition.
    sinks: HashMap<String, HashMap<i32, Sink>>,
    touched: HashSet<(String, i32)>,
}

struct Sink {
    of: TopicPartition,
    sender: mpsc::Sender<Batch>,
    /// The next offset; earlier ones were handed on before.
    next: Offset,
    waiting: Vec<Record>,
    /// What ends the reader behind what waits.
    gap: Option<LogError>,
    is_paused: bool,
}

impl Polling {
    /// Until the log is dropped.
    fn run(&mut self, opens: &std_mpsc::Receiver<Open>) {
        loop {
            loop {
                match opens.try_recv() {
                    Ok(open) => self.open(open),
                    Err(std_mpsc::TryRecvError::Empty) => break,
                    Err(std_mpsc::TryRecvError::Disconnected) => return,
                }
            }
            self.take_burst();
            self.hand_on();
            self.close_abandoned();
        }
    }

    fn open(&mut self, Open { of, from, sender }: Open) {
        let name = format!("{}{}", self.prefix, of.topic);
        let mut list = TopicPartitionList::with_capacity(1);
        let assigned = list
            .add_partition_offset(&name, of.partition, At::Offset(from))
            .and_then(|()| self.consumer.incremental_assign(&list));
        if let Err(error) = assigned {
            // Whoever asked may be gone already.
            sender.try_send(Err(unavailable(error))).ok();
            lock(&self.taken).remove(&of);
            return;
        }
        let partition = of.partition;
        let sink =
            Sink { of, sender, next: from, waiting: Vec::new(), gap: None, is_paused: false };
        self.sinks.entry(name).or_default().insert(partition, sink);
    }

    fn take_burst(&mut self) {
        let blocked = self.sinks.values().flat_map(HashMap::values).any(|sink| sink.is_paused);
        let mut wait = if blocked { POLL_BLOCKED } else { POLL };
        for _ in 0..BURST {
            match self.consumer.poll(wait) {
                None => return,
                Some(Ok(message)) => {
                    let sink = self
                        .sinks
                        .get_mut(message.topic())
                        .and_then(|sinks| sinks.get_mut(&message.partition()));
                    if let Some(sink) = sink
                        && message.offset() >= sink.next
                    {
                        // Nothing is compacted and no transaction writes here.
                        if message.offset() > sink.next && sink.gap.is_none() {
                            let at = format!("{}/{}", sink.of, sink.next);
                            let reason = format!("the next record is {}", message.offset());
                            sink.gap = Some(LogError::Damaged { at, reason });
                        }
                        if sink.gap.is_some() {
                            let place = (message.topic().to_owned(), message.partition());
                            self.touched.insert(place);
                            continue;
                        }
                        sink.next = message.offset() + 1;
                        sink.waiting.push(record_of(&message));
                        if sink.waiting.len() == 1 {
                            let place = (message.topic().to_owned(), message.partition());
                            self.touched.insert(place);
                        }
                    }
                }
                // librdkafka tries again by itself; where that takes long, appends and health say so.
                Some(Err(error)) => tracing::debug!(%error, "a consumer reports"),
            }
            wait = Duration::ZERO;
        }
    }

    /// Gives the readers what has come; those without room are paused until they have some.
    fn hand_on(&mut self) {
        let Self { consumer, sinks, touched, .. } = self;
        touched.retain(|(name, partition)| {
            let sink = sinks.get_mut(name).and_then(|sinks| sinks.get_mut(partition));
            let Some(sink) = sink else { return false };
            let Ok(room) = sink.sender.try_reserve() else {
                set_paused(consumer, sink, name, true);
                // A reader that is gone is found by `close_abandoned`.
                return !sink.sender.is_closed();
            };
            let batch = std::mem::take(&mut sink.waiting);
            match &sink.gap {
                Some(gap) if batch.is_empty() => {
                    room.send(Err(gap.clone()));
                    return false;
                }
                Some(_) | None => room.send(Ok(batch)),
            }
            set_paused(consumer, sink, name, false);
            sink.gap.is_some()
        });
    }

    fn close_abandoned(&mut self) {
        let Self { consumer, sinks, taken, .. } = self;
        for (name, sinks) in sinks.iter_mut() {
            sinks.retain(|partition, sink| {
                if !sink.sender.is_closed() {
                    return true;
                }
                // librdkafka would remember it, and the partition's next reader would read nothing.
                set_paused(consumer, sink, name, false);
                let mut list = TopicPartitionList::with_capacity(1);
                list.add_partition(name, *partition);
                if let Err(error) = consumer.incremental_unassign(&list) {
                    tracing::warn!(topic = name, partition, %error, "cannot stop reading");
                }
                lock(taken).remove(&sink.of);
                false
            });
        }
    }
}

fn set_paused(consumer: &BaseConsumer, sink: &mut Sink, name: &str, paused: bool) {
    if sink.is_paused == paused {
        return;
    }
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(name, sink.of.partition);
    let changed = if paused { consumer.pause(&list) } else { consumer.resume(&list) };
    match changed {
        Ok(()) => sink.is_paused = paused,
        Err(error) => tracing::warn!(topic = name, %error, "cannot pause or resume"),
    }
}

fn record_of(message: &BorrowedMessage<'_>) -> Record {
    let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice).unwrap_or_default();
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        let pair = |header: rdkafka::message::Header<'_, &[u8]>| {
            (header.key.to_owned(), copy(header.value))
        };
        headers.iter().map(pair).collect()
    });
    Record {
        offset: message.offset(),
        key: copy(message.key()),
        value: copy(message.payload()),
        received: None,
        headers,
    }
}

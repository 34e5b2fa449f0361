//! Tails. An owner, a projector, a publisher and a gateway of one node read the same partition, so
//! a partition is fetched once for all who are near each other in it: its feed keeps what was read
//! lately, and hands it to each reader over a bounded channel. Who falls behind, or begins far from
//! the others, reads by a feed of its own until the distance is small.
//!
//! A consumer has one position in a partition, so there are a few consumers, the lanes: the first
//! has the feeds that are shared, the others those of who is elsewhere. A lane has one thread that
//! polls; a feed whose readers have no room is paused at the broker (back-pressure).

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError, Weak, mpsc as std_mpsc},
    time::{Duration, Instant},
};

use actors::ports::{LogError, Record, Tail, Topic, TopicPartition};
use async_trait::async_trait;
use bytes::Bytes;
use dashmap::DashMap;
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
/// Records that one round takes before it hands them on, and the most in a batch.
const BURST: usize = 500;
/// Batches that may wait for a reader.
const BATCHES: usize = 4;
/// What a feed keeps for its slower readers, in records and bytes.
const KEEPS: usize = 2_048;
const KEEPS_BYTES: usize = 512 << 10;
/// A batch is closed with the record that makes it so large.
const BATCH_BYTES: usize = 1 << 20;
/// A reader this far before a shared feed may wait for it, in records.
const NEAR: Offset = KEEPS as Offset / 2;
/// How often readers of other lanes are looked at whether they may join.
const JOIN_EVERY: Duration = Duration::from_millis(200);

type Batch = Result<Vec<Record>, LogError>;

/// Every lane of a node.
pub(super) struct Lanes {
    shared: Arc<Shared>,
    registry: Option<Arc<Registry>>,
}

struct Shared {
    settings: Arc<KafkaSettings>,
    /// How to reach each lane's thread; they end when this is dropped.
    lanes: Mutex<Vec<std_mpsc::Sender<Open>>>,
    /// The records that each feed of the first lane has: from, and up to but without.
    shared: DashMap<TopicPartition, (Offset, Offset)>,
}

struct Open {
    of: TopicPartition,
    reader: Reader,
}

struct Reader {
    /// The offset of the next record for it.
    next: Offset,
    sender: mpsc::Sender<Batch>,
}

/// One reader's place.
pub(super) struct KafkaTail {
    batches: mpsc::Receiver<Batch>,
    /// Received and not handed on yet: the registry is being asked.
    waiting: Vec<Record>,
    topic: Topic,
    registry: Option<Arc<Registry>>,
}

#[async_trait]
impl Tail for KafkaTail {
    async fn next(&mut self) -> Result<Vec<Record>, LogError> {
        if self.waiting.is_empty() {
            let ended = || Err(unavailable("the consumer has ended"));
            self.waiting = self.batches.recv().await.unwrap_or_else(ended)?;
        }
        if let Some(registry) = &self.registry {
            for record in &mut self.waiting {
                registry.unframe(&self.topic, record).await?;
            }
        }
        Ok(std::mem::take(&mut self.waiting))
    }
}

impl Lanes {
    pub(super) fn new(settings: Arc<KafkaSettings>, registry: Option<Arc<Registry>>) -> Self {
        let shared = Shared { settings, lanes: Mutex::default(), shared: DashMap::new() };
        Self { shared: Arc::new(shared), registry }
    }

    /// Reads `of` from `from` on.
    pub(super) fn open(&self, of: &TopicPartition, from: Offset) -> Result<KafkaTail, LogError> {
        let (sender, batches) = mpsc::channel(BATCHES);
        let (topic, registry) = (of.topic.clone(), self.registry.clone());
        let tail = KafkaTail { batches, waiting: Vec::new(), topic, registry };
        self.shared.open(0, Open { of: of.clone(), reader: Reader { next: from, sender } })?;
        Ok(tail)
    }
}

impl Shared {
    /// Has the lane of this number, which is made if it is the next one, read.
    fn open(self: &Arc<Self>, number: usize, open: Open) -> Result<(), LogError> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if number == lanes.len() {
            lanes.push(self.start(number)?);
        }
        lanes[number].send(open).map_err(|_| unavailable("a consumer has ended"))
    }

    fn start(self: &Arc<Self>, number: usize) -> Result<std_mpsc::Sender<Open>, LogError> {
        // The consumer joins no group; librdkafka wants a name all the same.
        let consumer = self.settings.consumer().set("group.id", "none").create::<BaseConsumer>();
        let (opens, waiting) = std_mpsc::channel();
        let mut lane = Lane {
            number,
            shared: Arc::downgrade(self),
            prefix: self.settings.prefix.clone(),
            consumer: consumer.map_err(unavailable)?,
            feeds: HashMap::new(),
            touched: HashSet::new(),
        };
        std::thread::Builder::new()
            .name(format!("kafka-lane-{number}"))
            .spawn(move || lane.run(&waiting))
            .map_err(unavailable)?;
        Ok(opens)
    }
}

/// What a lane's thread owns.
struct Lane {
    number: usize,
    shared: Weak<Shared>,
    prefix: String,
    consumer: BaseConsumer,
    /// By topic name and partition.
    feeds: HashMap<String, HashMap<i32, Feed>>,
    /// Feeds with something to hand on.
    touched: HashSet<(String, i32)>,
}

impl Lane {
    /// Until the log is dropped.
    fn run(&mut self, opens: &std_mpsc::Receiver<Open>) {
        let mut joins = Instant::now();
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
            if self.number > 0 && joins.elapsed() > JOIN_EVERY {
                self.join_shared();
                joins = Instant::now();
            }
            self.close_abandoned();
        }
    }

    fn open(&mut self, open: Open) {
        let name = format!("{}{}", self.prefix, open.of.topic);
        let partition = open.of.partition;
        let known = self.feeds.get_mut(&name).and_then(|feeds| feeds.get_mut(&partition));
        if let Some(feed) = known {
            if feed.covers(open.reader.next) {
                feed.readers.push(open.reader);
                self.touched.insert((name, partition));
            } else {
                self.pass_on(self.number + 1, open);
            }
            return;
        }
        let mut list = TopicPartitionList::with_capacity(1);
        let assigned = list
            .add_partition_offset(&name, partition, At::Offset(open.reader.next))
            .and_then(|()| self.consumer.incremental_assign(&list));
        if let Err(error) = assigned {
            // Whoever asked may be gone already.
            open.reader.sender.try_send(Err(unavailable(error))).ok();
            return;
        }
        let feed = Feed::new(open);
        if let Some(shared) = self.shared.upgrade().filter(|_| self.number == 0) {
            shared.shared.insert(feed.of.clone(), feed.has());
        }
        self.feeds.entry(name).or_default().insert(partition, feed);
    }

    /// Has another lane read.
    fn pass_on(&self, number: usize, open: Open) {
        let Some(shared) = self.shared.upgrade() else { return };
        let sender = open.reader.sender.clone();
        if let Err(error) = shared.open(number, open) {
            sender.try_send(Err(error)).ok();
        }
    }

    fn take_burst(&mut self) {
        let blocked = self.feeds.values().flat_map(HashMap::values).any(|feed| feed.is_paused);
        let mut wait = if blocked { POLL_BLOCKED } else { POLL };
        for _ in 0..BURST {
            match self.consumer.poll(wait) {
                None => return,
                Some(Ok(message)) => {
                    let feed = self
                        .feeds
                        .get_mut(message.topic())
                        .and_then(|feeds| feeds.get_mut(&message.partition()));
                    if let Some(feed) = feed
                        && feed.take(&message)
                    {
                        self.touched.insert((message.topic().to_owned(), message.partition()));
                    }
                }
                // librdkafka tries again by itself; where that takes long, appends and health say so.
                Some(Err(error)) => tracing::debug!(%error, "a consumer reports"),
            }
            wait = Duration::ZERO;
        }
    }

    /// Gives the readers what has come; those that fell behind go to the next lane.
    fn hand_on(&mut self) {
        let mut behind = Vec::new();
        let shared = self.shared.upgrade().filter(|_| self.number == 0);
        let Self { consumer, feeds, touched, .. } = self;
        touched.retain(|(name, partition)| {
            let feed = feeds.get_mut(name).and_then(|feeds| feeds.get_mut(partition));
            let Some(feed) = feed else { return false };
            feed.hand_on();
            let left = feed.trim();
            behind.extend(left.into_iter().map(|reader| Open { of: feed.of.clone(), reader }));
            if let Some(shared) = &shared
                && let Some(mut has) = shared.shared.get_mut(&feed.of)
            {
                *has = feed.has();
            }
            set_paused(consumer, feed, name, feed.is_full());
            feed.has_waiting()
        });
        for open in behind {
            self.pass_on(self.number + 1, open);
        }
    }

    /// Sends readers that have come near to the first lane.
    fn join_shared(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        for feed in self.feeds.values_mut().flat_map(HashMap::values_mut) {
            if feed.gap.is_some() {
                continue;
            }
            // Where the first lane does not read it, it will.
            let has = shared.shared.get(&feed.of).map(|has| *has);
            let joins = |reader: &mut Reader| {
                has.is_none_or(|(first, next)| (first..=next + NEAR).contains(&reader.next))
            };
            for reader in feed.readers.extract_if(.., joins) {
                let sender = reader.sender.clone();
                if let Err(error) = shared.open(0, Open { of: feed.of.clone(), reader }) {
                    sender.try_send(Err(error)).ok();
                }
            }
        }
    }

    fn close_abandoned(&mut self) {
        let shared = self.shared.upgrade().filter(|_| self.number == 0);
        let Self { consumer, feeds, .. } = self;
        for (name, feeds) in feeds.iter_mut() {
            feeds.retain(|partition, feed| {
                feed.readers.retain(|reader| !reader.sender.is_closed());
                if !feed.readers.is_empty() {
                    return true;
                }
                // librdkafka would remember it, and the partition's next reader would read nothing.
                set_paused(consumer, feed, name, false);
                let mut list = TopicPartitionList::with_capacity(1);
                list.add_partition(name, *partition);
                if let Err(error) = consumer.incremental_unassign(&list) {
                    tracing::warn!(topic = name, partition, %error, "cannot stop reading");
                }
                if let Some(shared) = &shared {
                    shared.shared.remove(&feed.of);
                }
                false
            });
        }
    }
}

/// One partition as a lane reads it.
struct Feed {
    of: TopicPartition,
    /// What was read lately; the last one is before `next`, and none is missing between.
    recent: VecDeque<Record>,
    bytes: usize,
    /// The offset of the next record from the broker.
    next: Offset,
    /// What ends the readers behind what there is.
    gap: Option<LogError>,
    readers: Vec<Reader>,
    is_paused: bool,
}

impl Feed {
    fn new(Open { of, reader }: Open) -> Self {
        let (recent, next) = (VecDeque::new(), reader.next);
        Self { of, recent, bytes: 0, next, gap: None, readers: vec![reader], is_paused: false }
    }

    /// The offset of the oldest record that it still has.
    fn first(&self) -> Offset {
        self.next - self.recent.len() as Offset
    }

    /// The offsets of what it has: from, and up to but without.
    fn has(&self) -> (Offset, Offset) {
        (self.first(), self.next)
    }

    fn covers(&self, from: Offset) -> bool {
        self.gap.is_none() && (self.first()..=self.next + NEAR).contains(&from)
    }

    /// Takes what the broker gave; says whether there is something to hand on.
    fn take(&mut self, message: &BorrowedMessage<'_>) -> bool {
        if self.gap.is_some() || message.offset() < self.next {
            return self.gap.is_some();
        }
        // Nothing is compacted and no transaction writes here.
        if message.offset() > self.next {
            let at = format!("{}/{}", self.of, self.next);
            let reason = format!("the next record is {}", message.offset());
            self.gap = Some(LogError::Damaged { at, reason });
            return true;
        }
        let record = record_of(message);
        self.next += 1;
        self.bytes += record.content_bytes();
        self.recent.push_back(record);
        true
    }

    /// Gives each reader what it has room for.
    fn hand_on(&mut self) {
        let first = self.first();
        let Self { recent, readers, next, gap, .. } = self;
        readers.retain_mut(|reader| {
            while reader.next < *next {
                // A reader that is gone is found by `close_abandoned`.
                let Ok(room) = reader.sender.try_reserve() else { return true };
                let from = usize::try_from(reader.next - first);
                let from = from.expect("`trim` gives away readers that are behind the first");
                let mut left = BATCH_BYTES;
                let fits = |record: &&Record| {
                    let fits = left > 0;
                    left = left.saturating_sub(record.content_bytes());
                    fits
                };
                let batch: Vec<_> =
                    recent.range(from..).take(BURST).take_while(fits).cloned().collect();
                reader.next += batch.len() as Offset;
                room.send(Ok(batch));
            }
            let Some(gap) = gap else { return true };
            reader.sender.try_send(Err(gap.clone())).is_err_and(|error| {
                // Full: again when there is room.
                matches!(error, mpsc::error::TrySendError::Full(_))
            })
        });
    }

    /// Forgets the oldest beyond the bounds, if the foremost reader has them; gives the readers
    /// that do not have them yet.
    fn trim(&mut self) -> Vec<Reader> {
        let foremost = self.foremost();
        while (self.recent.len() > KEEPS || self.bytes > KEEPS_BYTES) && self.first() < foremost {
            let forgotten = self.recent.pop_front();
            self.bytes -= forgotten.as_ref().map_or(0, Record::content_bytes);
        }
        let first = self.first();
        self.readers.extract_if(.., |reader| reader.next < first).collect()
    }

    fn foremost(&self) -> Offset {
        self.readers.iter().map(|reader| reader.next).max().unwrap_or(self.next)
    }

    /// Whether even the foremost reader has enough before it.
    fn is_full(&self) -> bool {
        let ahead = usize::try_from(self.next - self.foremost()).unwrap_or(0);
        let bytes =
            || self.recent.iter().rev().take(ahead).map(Record::content_bytes).sum::<usize>();
        ahead >= BURST || (self.bytes > KEEPS_BYTES && bytes() > KEEPS_BYTES)
    }

    fn has_waiting(&self) -> bool {
        let next = self.next;
        !self.readers.is_empty()
            && (self.gap.is_some() || self.readers.iter().any(|reader| reader.next < next))
    }
}

fn set_paused(consumer: &BaseConsumer, feed: &mut Feed, name: &str, paused: bool) {
    if feed.is_paused == paused {
        return;
    }
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(name, feed.of.partition);
    let changed = if paused { consumer.pause(&list) } else { consumer.resume(&list) };
    match changed {
        Ok(()) => feed.is_paused = paused,
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

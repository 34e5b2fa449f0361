//! Log, store, signals and clock in memory, with switches for faults. For tests and the
//! simulator; always compiled, so that the ports never drift away from them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use schemas::{EntityKey, Kind, Offset, Timestamp, UserName, role::TenantRole};
use tokio::sync::{broadcast, watch};

use crate::{
    domain::entity::ListingChange,
    ports::{
        Bounds, Checkpoint, Claim, Claims, Clock, EmptyOutcomes, Expected, Group, JournalQuery,
        JournalRow, ListQuery, ListRow, Loaded, Log, LogError, Mappings, NewRecord, Order,
        PartitionState, Record, Sequence, Signal, Signals, SnapshotRow, Store, StoreError,
        StoreWrite, Tail, Topic, TopicPartition,
    },
};

/// Takes a lock that is never held across a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A log in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryLog {
    shared: Arc<SharedLog>,
}

struct SharedLog {
    partitions: i32,
    records: Mutex<HashMap<TopicPartition, Vec<Record>>>,
    grown: watch::Sender<u64>,
    broken: Mutex<HashSet<TopicPartition>>,
    refuse: AtomicUsize,
    lose: AtomicUsize,
}

impl MemoryLog {
    /// An empty log with so many partitions for each kind.
    pub fn new(partitions: i32) -> Self {
        Self {
            shared: Arc::new(SharedLog {
                partitions,
                records: Mutex::default(),
                grown: watch::Sender::new(0),
                broken: Mutex::default(),
                refuse: AtomicUsize::new(0),
                lose: AtomicUsize::new(0),
            }),
        }
    }

    /// Fault switch: the next `count` appends are refused and not in the log.
    pub fn refuse_appends(&self, count: usize) {
        self.shared.refuse.store(count, Ordering::SeqCst);
    }

    /// Fault switch: the next `count` appends are in the log but answered as failed.
    pub fn lose_acknowledgements(&self, count: usize) {
        self.shared.lose.store(count, Ordering::SeqCst);
    }
}

/// Takes one from a counter of faults; whether there was one.
fn take_one(counter: &AtomicUsize) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

#[async_trait]
impl Log for MemoryLog {
    fn partitions(&self, topic: &Topic) -> i32 {
        match topic {
            Topic::Commands(_) | Topic::Outcomes(_) => self.shared.partitions,
            Topic::Inbound | Topic::Partner(_) | Topic::Changes | Topic::Dlq => 1,
        }
    }

    fn append(
        &self,
        to: &TopicPartition,
        record: NewRecord,
    ) -> BoxFuture<'static, Result<Offset, LogError>> {
        let failure = || LogError::Unavailable("fault switch".into());
        let refused = {
            let mut broken = lock(&self.shared.broken);
            match record.sequence {
                Sequence::Begins => drop(broken.remove(to)),
                Sequence::Continues if broken.contains(to) => {
                    return std::future::ready(Err(failure())).boxed();
                }
                Sequence::Continues | Sequence::Alone => {}
            }
            let refused = take_one(&self.shared.refuse);
            if refused {
                broken.insert(to.clone());
            }
            refused
        };
        if refused {
            return std::future::ready(Err(failure())).boxed();
        }
        let offset = {
            let mut records = lock(&self.shared.records);
            let partition = records.entry(to.clone()).or_default();
            let offset = partition.len() as Offset;
            let NewRecord { key, value, headers, .. } = record;
            partition.push(Record { offset, key, value, received: None, headers });
            offset
        };
        self.shared.grown.send_modify(|grown| *grown += 1);
        let result = if take_one(&self.shared.lose) { Err(failure()) } else { Ok(offset) };
        std::future::ready(result).boxed()
    }

    async fn tail(&self, of: &TopicPartition, from: Offset) -> Result<Box<dyn Tail>, LogError> {
        Ok(Box::new(MemoryTail {
            shared: self.shared.clone(),
            grown: self.shared.grown.subscribe(),
            of: of.clone(),
            next: from,
        }))
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds, LogError> {
        let end = lock(&self.shared.records).get(of).map_or(0, Vec::len) as Offset;
        Ok(Bounds { first: 0, end })
    }

    async fn claims(&self, group: Group) -> Result<Box<dyn Claims>, LogError> {
        Ok(Box::new(ClaimEverything::new(group, self.shared.partitions, &[])))
    }
}

struct MemoryTail {
    shared: Arc<SharedLog>,
    grown: watch::Receiver<u64>,
    of: TopicPartition,
    next: Offset,
}

#[async_trait]
impl Tail for MemoryTail {
    async fn next(&mut self) -> Result<Vec<Record>, LogError> {
        loop {
            self.grown.mark_unchanged();
            let batch: Vec<Record> = {
                let records = lock(&self.shared.records);
                let of = records.get(&self.of).map_or(&[][..], Vec::as_slice);
                let from = usize::try_from(self.next).unwrap_or(usize::MAX);
                of.iter().skip(from).take(256).cloned().collect()
            };
            if let Some(last) = batch.last() {
                self.next = last.offset + 1;
                return Ok(batch);
            }
            if self.grown.changed().await.is_err() {
                return Err(LogError::Unavailable("the log is closed".into()));
            }
        }
    }
}

/// Values by name, in memory.
#[derive(Debug, Default)]
pub struct MemoryMappings(Mutex<BTreeMap<String, Bytes>>);

#[async_trait]
impl Mappings for MemoryMappings {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(lock(&self.0).get(key).cloned())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Bytes)>, StoreError> {
        let values = lock(&self.0);
        let found =
            values.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    async fn write(
        &self,
        changes: Vec<(String, Option<Bytes>)>,
        expected: Option<Expected>,
    ) -> Result<bool, StoreError> {
        let mut values = lock(&self.0);
        if expected.is_some_and(|expected| values.get(&expected.key) != expected.value.as_ref()) {
            return Ok(false);
        }
        for (key, value) in changes {
            match value {
                Some(value) => drop(values.insert(key, value)),
                None => drop(values.remove(&key)),
            }
        }
        Ok(true)
    }
}

/// The membership of a node that is alone: everything is its own, once and for all.
#[derive(Debug)]
pub struct ClaimEverything {
    all: Option<Vec<TopicPartition>>,
}

impl ClaimEverything {
    /// Claims all that a group shares: `partitions` of each kind, or one of each partner.
    pub fn new(group: Group, partitions: i32, partners: &[UserName]) -> Self {
        let (topics, partitions) = match group {
            Group::Owners => (Kind::ALL.map(Topic::Commands).to_vec(), partitions),
            Group::Projectors => (Kind::ALL.map(Topic::Outcomes).to_vec(), partitions),
            Group::Forwarders => (partners.iter().cloned().map(Topic::Partner).collect(), 1),
            Group::Bridges => (vec![Topic::Outcomes(Kind::Room)], partitions),
        };
        let of = |topic: Topic| {
            (0..partitions).map(move |partition| TopicPartition::new(topic.clone(), partition))
        };
        let mut all: Vec<_> = topics.into_iter().flat_map(of).collect();
        if group == Group::Bridges {
            all.push(TopicPartition::new(Topic::Inbound, 0));
        }
        Self { all: Some(all) }
    }
}

#[async_trait]
impl Claims for ClaimEverything {
    async fn next(&mut self) -> Result<Claim, LogError> {
        match self.all.take() {
            Some(all) => Ok(Claim::Assigned(all)),
            None => std::future::pending().await,
        }
    }
}

#[derive(Debug, Clone)]
struct Listed {
    title: String,
    tenant_role: TenantRole,
    members: HashSet<String>,
    seq: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Default)]
struct Tables {
    checkpoints: HashMap<(Kind, i32), Checkpoint>,
    journal: BTreeMap<EntityKey, Vec<JournalRow>>,
    snapshots: HashMap<EntityKey, SnapshotRow>,
    timers: HashMap<EntityKey, (i32, Timestamp)>,
    listed: BTreeMap<EntityKey, Listed>,
}

/// A store in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
    compare_and_set: bool,
    held: watch::Sender<bool>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        let held = watch::Sender::new(false);
        Self { tables: Arc::default(), compare_and_set: true, held }
    }
}

impl MemoryStore {
    /// Mutation switch: a store that keeps R7, or one that lets an older projector overwrite.
    pub fn with_compare_and_set(compare_and_set: bool) -> Self {
        Self { compare_and_set, ..Self::default() }
    }

    /// Fault switch: no [`Store::commit`] ends any more.
    pub fn hold_commits(&self) {
        self.held.send_replace(true);
    }

    /// Lets the commits that are held end.
    pub fn release_commits(&self) {
        self.held.send_replace(false);
    }

    /// [`Store::commit`], at once.
    ///
    /// # Errors
    /// `Stale` if another projector has written.
    pub fn commit_now(&self, write: StoreWrite) -> Result<(), StoreError> {
        let mut tables = lock(&self.tables);
        let place = (write.kind, write.partition);
        let found = tables.checkpoints.get(&place).copied().unwrap_or(Checkpoint::START);
        if self.compare_and_set && found != write.expected {
            return Err(StoreError::Stale { found });
        }
        tables.checkpoints.insert(place, write.next);
        for row in write.journal {
            tables.take_row(row);
        }
        for (key, change) in write.listing {
            tables.list(&key, change);
        }
        for (key, wish) in write.timers {
            match wish {
                Some(at) => tables.timers.insert(key, (write.partition, at)),
                None => tables.timers.remove(&key),
            };
        }
        for row in write.snapshots {
            let newer = tables.snapshots.get(&row.key).is_none_or(|old| old.offset < row.offset);
            if newer {
                tables.snapshots.insert(row.key.clone(), row);
            }
        }
        Ok(())
    }

    /// [`Store::load`], at once.
    pub fn load_now(&self, key: &EntityKey, partition: i32) -> Loaded {
        let tables = lock(&self.tables);
        let snapshot = tables.snapshots.get(key).cloned();
        let from = snapshot.as_ref().map_or(-1, |row| row.offset);
        let rows = tables.journal.get(key).map_or(&[][..], Vec::as_slice);
        let place = (key.entity.kind(), partition);
        Loaded {
            journal: rows.iter().filter(|row| row.offset > from).cloned().collect(),
            snapshot,
            checkpoint: tables.checkpoints.get(&place).copied().unwrap_or(Checkpoint::START),
        }
    }

    /// [`Store::partition`], at once.
    pub fn partition_now(&self, kind: Kind, partition: i32) -> PartitionState {
        let tables = lock(&self.tables);
        let of_partition = tables
            .timers
            .iter()
            .filter(|(key, (number, _))| *number == partition && key.entity.kind() == kind);
        PartitionState {
            checkpoint: tables
                .checkpoints
                .get(&(kind, partition))
                .copied()
                .unwrap_or(Checkpoint::START),
            timers: of_partition.map(|(key, (_, at))| (key.clone(), *at)).collect(),
        }
    }

    /// Every row of an entity's journal, in order.
    pub fn journal_now(&self, key: &EntityKey) -> Vec<JournalRow> {
        lock(&self.tables).journal.get(key).cloned().unwrap_or_default()
    }

    /// Every entity that has a journal.
    pub fn keys(&self) -> Vec<EntityKey> {
        lock(&self.tables).journal.keys().cloned().collect()
    }
}

impl Tables {
    fn take_row(&mut self, mut row: JournalRow) {
        let before = self.journal.get(&row.key).and_then(|rows| rows.last());
        if row.last_seq == JournalRow::UNCHANGED {
            row.last_seq = before.map_or(0, |row| row.last_seq);
        }
        let listed = self.listed.entry(row.key.clone()).or_insert_with(|| Listed {
            title: String::new(),
            tenant_role: TenantRole::None,
            members: HashSet::new(),
            seq: 0,
            created_at: row.at,
            updated_at: row.at,
        });
        listed.seq = row.last_seq;
        listed.updated_at = row.at;
        self.journal.entry(row.key.clone()).or_default().push(row);
    }

    fn list(&mut self, key: &EntityKey, change: ListingChange) {
        let Some(listed) = self.listed.get_mut(key) else { return };
        match change {
            ListingChange::Created { title, tenant_role, owner } => {
                listed.title = title;
                listed.tenant_role = tenant_role;
                listed.members.extend(owner.map(|owner| owner.to_string()));
            }
            ListingChange::Updated { title, tenant_role } => {
                listed.title = title.unwrap_or_else(|| listed.title.clone());
                listed.tenant_role = tenant_role.unwrap_or(listed.tenant_role);
            }
            ListingChange::MemberAdded(user) => {
                listed.members.insert(user.to_string());
            }
            ListingChange::MemberRemoved(user) => {
                listed.members.remove(user.as_str());
            }
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self, key: &EntityKey, partition: i32) -> Result<Loaded, StoreError> {
        Ok(self.load_now(key, partition))
    }

    async fn commit(&self, write: StoreWrite) -> Result<(), StoreError> {
        // The sender is ours, so waiting cannot fail.
        self.held.subscribe().wait_for(|held| !held).await.ok();
        self.commit_now(write)
    }

    async fn journal(
        &self,
        key: &EntityKey,
        query: JournalQuery,
    ) -> Result<Vec<JournalRow>, StoreError> {
        let rows = self.journal_now(key);
        let wanted = |row: &&JournalRow| {
            row.last_seq > query.after
                && row.last_seq - row.changes + 1 < query.before
                && (row.changes > 0 || query.empty == EmptyOutcomes::Include)
        };
        let limit = usize::try_from(query.limit).unwrap_or(0);
        let mut found: Vec<_> = match query.order {
            Order::OldestFirst => rows.iter().filter(wanted).take(limit).cloned().collect(),
            Order::NewestFirst => rows.iter().rev().filter(wanted).take(limit).cloned().collect(),
        };
        found.sort_by_key(|row| row.offset);
        Ok(found)
    }

    async fn list(&self, query: ListQuery) -> Result<Vec<ListRow>, StoreError> {
        let tables = lock(&self.tables);
        let text = query.text.as_ref().map(|text| text.to_lowercase());
        let wanted = |(key, listed): &(&EntityKey, &Listed)| {
            key.entity.kind() == query.kind
                && !listed.title.is_empty()
                && query.tenant.as_ref().is_none_or(|tenant| key.tenant == *tenant)
                && query.after.as_ref().is_none_or(|after| key.entity.id() > after.as_str())
                && text.as_ref().is_none_or(|text| listed.title.to_lowercase().contains(text))
                && query.reader.as_ref().is_none_or(|reader| {
                    listed.tenant_role != TenantRole::None
                        || listed.members.contains(reader.as_str())
                })
        };
        let limit = usize::try_from(query.limit).unwrap_or(0);
        let row = |(key, listed): (&EntityKey, &Listed)| ListRow {
            key: key.clone(),
            title: listed.title.clone(),
            seq: listed.seq,
            created_at: listed.created_at,
            updated_at: listed.updated_at,
        };
        Ok(tables.listed.iter().filter(wanted).take(limit).map(row).collect())
    }

    async fn partition(&self, kind: Kind, partition: i32) -> Result<PartitionState, StoreError> {
        Ok(self.partition_now(kind, partition))
    }
}

/// How many signals a slow subscriber may be behind before it loses the oldest.
const SIGNALS: usize = 4_096;

/// Signals within this process: the adapter of a node that is alone.
pub struct MemorySignals {
    present: Mutex<HashMap<EntityKey, BTreeMap<String, HashSet<u64>>>>,
    sender: broadcast::Sender<(EntityKey, Signal)>,
}

impl Default for MemorySignals {
    fn default() -> Self {
        Self { present: Mutex::default(), sender: broadcast::Sender::new(SIGNALS) }
    }
}

impl MemorySignals {
    /// Where somebody is.
    pub fn places(&self) -> Vec<EntityKey> {
        lock(&self.present).keys().cloned().collect()
    }
}

impl Signals for MemorySignals {
    fn publish(&self, key: &EntityKey, signal: Signal) {
        // No subscriber is no fault: signals are for those who are there.
        drop(self.sender.send((key.clone(), signal)));
    }

    fn enter(&self, key: &EntityKey, user: &str, session: u64) {
        let first = {
            let mut present = lock(&self.present);
            let sessions =
                present.entry(key.clone()).or_default().entry(user.to_owned()).or_default();
            sessions.insert(session) && sessions.len() == 1
        };
        if first {
            let joined = vec![user.to_owned()];
            self.publish(key, Signal::Presence { joined, left: Vec::new() });
        }
    }

    fn leave(&self, key: &EntityKey, user: &str, session: u64) {
        let last = {
            let mut present = lock(&self.present);
            let Some(people) = present.get_mut(key) else { return };
            let Some(sessions) = people.get_mut(user) else { return };
            let last = sessions.remove(&session) && sessions.is_empty();
            if last {
                people.remove(user);
            }
            if people.is_empty() {
                present.remove(key);
            }
            last
        };
        if last {
            let left = vec![user.to_owned()];
            self.publish(key, Signal::Presence { joined: Vec::new(), left });
        }
    }

    fn present(&self, key: &EntityKey) -> Vec<String> {
        lock(&self.present)
            .get(key)
            .map(|people| people.keys().cloned().collect())
            .unwrap_or_default()
    }

    fn subscribe(&self) -> broadcast::Receiver<(EntityKey, Signal)> {
        self.sender.subscribe()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock at so many milliseconds since the Unix epoch.
    pub fn at(millis: i64) -> Self {
        Self(AtomicI64::new(millis))
    }

    /// Moves it.
    pub fn advance(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

//! The embedded log: one writer that commits everything waiting in one transaction (group
//! commit), readers that follow from memory and fall back to the file.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actors::{
    memory::ClaimEverything,
    ports::{
        Bounds, Claims, Group, Headers, Log, LogError, NewRecord, Record, Sequence, Tail, Topic,
        TopicPartition,
    },
};
use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt as _};
use schemas::{Kind, Offset, UserName};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    DataFolder, OpenError,
    file::{self, Synchronous},
};
use crate::crc::crc;

mod read;

use read::{Hot, SqliteTail};

/// Appends that may wait for the writer; more are refused.
const WAITING: usize = 65_536;
/// Records committed in one transaction.
const GROUP: usize = 4_096;
/// Bits of a place that hold the offset.
const OFFSET_BITS: u32 = 40;
/// Rows that one statement inserts at most. A group that fits needs no more than that statement, which
/// is a transaction of its own: each further one would cost a trip to the thread that SQLite runs on.
const ROWS: usize = 64;

/// How the log is kept.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// Partitions of each kind.
    pub partitions: i32,
    /// What a commit waits for.
    pub synchronous: Synchronous,
    /// The partners that have a topic.
    pub partners: Vec<UserName>,
    /// The file grows no larger than so many bytes; appends fail then. 0 is no bound.
    pub most_bytes: u64,
}

/// The log in `log.db`.
pub struct SqliteLog {
    shared: Arc<Shared>,
    partitions: i32,
    appends: mpsc::Sender<Append>,
    _folder: Arc<DataFolder>,
}

struct Shared {
    path: PathBuf,
    readers: SqlitePool,
    ids: HashMap<TopicPartition, i64>,
    ends: HashMap<i64, watch::Sender<Offset>>,
    hot: HashMap<i64, Mutex<Hot>>,
}

impl Shared {
    fn new(
        path: PathBuf,
        readers: SqlitePool,
        ids: HashMap<TopicPartition, i64>,
        ends: HashMap<i64, Offset>,
    ) -> Arc<Self> {
        Arc::new(Self {
            path,
            readers,
            hot: ids.values().map(|id| (*id, Mutex::default())).collect(),
            ends: ends.into_iter().map(|(id, end)| (id, watch::Sender::new(end))).collect(),
            ids,
        })
    }
}

struct Append {
    id: i64,
    record: NewRecord,
    done: Done,
}

/// Where an append's end is told.
type Done = oneshot::Sender<Result<Offset, LogError>>;

impl SqliteLog {
    /// Opens the log of a data folder, making it if needed.
    ///
    /// # Errors
    /// If the file is damaged, newer than this release, or has another number of partitions.
    pub async fn open(folder: Arc<DataFolder>, settings: LogSettings) -> Result<Self, OpenError> {
        let path = folder.file("log.db");
        let mut options = file::options(&path, settings.synchronous);
        if settings.most_bytes > 0 {
            options = options.pragma("max_page_count", (settings.most_bytes / 4_096).to_string());
        }
        let schema = include_str!("../../migrations/sqlite/log.1.sql");
        let mut writer = file::open(&path, &options, schema).await?;
        let database = |source| OpenError::Database { path: path.clone(), source };
        check_partitions(&mut writer, settings.partitions, &path).await?;
        let mut ids = HashMap::new();
        for of in topics(&settings) {
            let id = topic_id(&mut writer, &of).await.map_err(database)?;
            ids.insert(of, id);
        }
        let ends = read_ends(&mut writer, ids.values().copied()).await.map_err(database)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_lazy_with(file::options(&path, settings.synchronous).read_only(true));
        let shared = Shared::new(path, readers, ids, ends);
        let (appends, waiting) = mpsc::channel(WAITING);
        let shared_too = shared.clone();
        let writer =
            Writer { broken: HashSet::new(), connection: writer, options, shared: shared_too };
        tokio::spawn(writer.run(waiting));
        Ok(Self { shared, partitions: settings.partitions, appends, _folder: folder })
    }

    /// Opens the log for reading, as it is now, beside whatever process writes it.
    ///
    /// # Errors
    /// If the file is not there, is damaged, or is newer than this release.
    pub async fn look_at(folder: Arc<DataFolder>) -> Result<Self, OpenError> {
        let path = folder.file("log.db");
        let database = |source| OpenError::Database { path: path.clone(), source };
        let options = file::options(&path, Synchronous::Normal).read_only(true);
        let mut reader = file::open_read_only(&path, &options).await?;
        let rows = sqlx::query("SELECT id, topic, partition FROM topics")
            .fetch_all(&mut reader)
            .await
            .map_err(database)?;
        let mut ids = HashMap::new();
        for row in &rows {
            let id: i64 = row.try_get(0).map_err(database)?;
            let topic: String = row.try_get(1).map_err(database)?;
            let partition: i32 = row.try_get(2).map_err(database)?;
            if let Ok(topic) = topic.parse() {
                ids.insert(TopicPartition::new(topic, partition), id);
            }
        }
        let of_kind = |of: &&TopicPartition| of.topic == Topic::Outcomes(Kind::Board);
        let partitions = ids.keys().filter(of_kind).count();
        let ends = read_ends(&mut reader, ids.values().copied()).await.map_err(database)?;
        let readers = SqlitePoolOptions::new().max_connections(2).connect_lazy_with(options);
        let shared = Shared::new(path, readers, ids, ends);
        let (appends, _nobody) = mpsc::channel(1);
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        Ok(Self { shared, partitions, appends, _folder: folder })
    }

    /// Tidies up before the end: afterwards `log.db` alone is a whole copy.
    pub async fn close(&self) {
        let options = file::options(&self.shared.path, Synchronous::Full);
        if let Err(error) = file::checkpoint(&options).await {
            tracing::warn!(%error, "log.db keeps its write-ahead log");
        }
    }

    /// Reads the whole file and compares every record with its checksum.
    ///
    /// # Errors
    /// The first record that differs, or the file cannot be read.
    pub async fn check(&self) -> Result<u64, LogError> {
        let mut checked = 0;
        for of in self.shared.ids.keys() {
            let end = self.bounds(of).await?.end;
            let mut next = 0;
            while next < end {
                let records = self.shared.read(of, next, end).await?;
                let Some(last) = records.last() else { break };
                next = last.offset + 1;
                checked += records.len() as u64;
            }
        }
        Ok(checked)
    }
}

fn topics(settings: &LogSettings) -> Vec<TopicPartition> {
    let mut topics = Vec::new();
    for kind in Kind::ALL {
        for partition in 0..settings.partitions {
            topics.push(TopicPartition::new(Topic::Commands(kind), partition));
            topics.push(TopicPartition::new(Topic::Outcomes(kind), partition));
        }
    }
    let partners = settings.partners.iter().cloned().map(Topic::Partner);
    topics.extend(
        partners
            .chain([Topic::Inbound, Topic::Changes, Topic::Dlq])
            .map(|topic| TopicPartition::new(topic, 0)),
    );
    topics
}

async fn check_partitions(
    connection: &mut SqliteConnection,
    wanted: i32,
    path: &std::path::Path,
) -> Result<(), OpenError> {
    let database = |source| OpenError::Database { path: path.to_owned(), source };
    sqlx::query("INSERT OR IGNORE INTO settings (name, value) VALUES ('partitions', ?)")
        .bind(wanted.to_string())
        .execute(&mut *connection)
        .await
        .map_err(database)?;
    let found: String = sqlx::query_scalar("SELECT value FROM settings WHERE name = 'partitions'")
        .fetch_one(&mut *connection)
        .await
        .map_err(database)?;
    let found = found.parse().unwrap_or(0);
    if found == wanted { Ok(()) } else { Err(OpenError::Partitions { found, wanted }) }
}

async fn topic_id(
    connection: &mut SqliteConnection,
    of: &TopicPartition,
) -> Result<i64, sqlx::Error> {
    sqlx::query("INSERT OR IGNORE INTO topics (topic, partition) VALUES (?, ?)")
        .bind(of.topic.to_string())
        .bind(of.partition)
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar("SELECT id FROM topics WHERE topic = ? AND partition = ?")
        .bind(of.topic.to_string())
        .bind(of.partition)
        .fetch_one(connection)
        .await
}

/// The offset that comes next in each partition.
async fn read_ends(
    connection: &mut SqliteConnection,
    ids: impl Iterator<Item = i64>,
) -> Result<HashMap<i64, Offset>, sqlx::Error> {
    let mut ends = HashMap::new();
    for id in ids {
        let last: Option<i64> =
            sqlx::query_scalar("SELECT max(place) FROM records WHERE place >= ? AND place < ?")
                .bind(id << OFFSET_BITS)
                .bind((id + 1) << OFFSET_BITS)
                .fetch_one(&mut *connection)
                .await?;
        ends.insert(id, last.map_or(0, |place| offset_of(place) + 1));
    }
    Ok(ends)
}

fn offset_of(place: i64) -> Offset {
    place & ((1 << OFFSET_BITS) - 1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unavailable(error: &sqlx::Error) -> LogError {
    LogError::Unavailable(error.to_string().into())
}

/// The one task that writes.
struct Writer {
    /// Partitions in which an append failed since their sequence began.
    broken: HashSet<i64>,
    connection: SqliteConnection,
    options: SqliteConnectOptions,
    shared: Arc<Shared>,
}

impl Writer {
    async fn run(mut self, mut waiting: mpsc::Receiver<Append>) {
        let mut group = Vec::with_capacity(GROUP);
        while waiting.recv_many(&mut group, GROUP).await > 0 {
            let (records, done) = self.place(&mut group);
            match self.commit(&records).await {
                Ok(()) => {
                    self.publish(&records);
                    for ((_, record), done) in records.iter().zip(done) {
                        // Whoever asked may be gone; the record stays.
                        done.send(Ok(record.offset)).ok();
                    }
                }
                Err(error) => {
                    tracing::error!(%error, records = records.len(), "the log cannot be written");
                    self.broken.extend(records.iter().map(|(id, _)| *id));
                    for done in done {
                        done.send(Err(unavailable(&error))).ok();
                    }
                    self.recover().await;
                }
            }
        }
    }

    /// Gives every waiting record its offset; refuses those behind one that failed.
    fn place(&mut self, group: &mut Vec<Append>) -> (Vec<(i64, Record)>, Vec<Done>) {
        let mut next: HashMap<i64, Offset> = HashMap::new();
        let mut records = Vec::with_capacity(group.len());
        let mut waiting = Vec::with_capacity(group.len());
        for Append { id, record, done } in group.drain(..) {
            match record.sequence {
                Sequence::Begins => drop(self.broken.remove(&id)),
                Sequence::Continues if self.broken.contains(&id) => {
                    let error = LogError::Unavailable("an append before this one failed".into());
                    done.send(Err(error)).ok();
                    continue;
                }
                Sequence::Continues | Sequence::Alone => {}
            }
            let end = next.entry(id).or_insert_with(|| *self.shared.ends[&id].borrow());
            let NewRecord { key, value, headers, .. } = record;
            records.push((id, Record { offset: *end, key, value, received: None, headers }));
            waiting.push(done);
            *end += 1;
        }
        (records, waiting)
    }

    async fn commit(&mut self, records: &[(i64, Record)]) -> Result<(), sqlx::Error> {
        if records.len() <= ROWS {
            return insert(&mut self.connection, records).await;
        }
        let mut transaction = self.connection.begin().await?;
        for rows in records.chunks(ROWS) {
            insert(&mut transaction, rows).await?;
        }
        transaction.commit().await
    }

    fn publish(&self, records: &[(i64, Record)]) {
        let mut ends: HashMap<i64, Offset> = HashMap::new();
        for (id, record) in records {
            lock(&self.shared.hot[id]).push(record.clone());
            ends.insert(*id, record.offset + 1);
        }
        for (id, end) in ends {
            self.shared.ends[&id].send_replace(end);
        }
    }

    /// After a failed commit it is not known what is in the file: asks it.
    async fn recover(&mut self) {
        match self.options.connect().await {
            Ok(connection) => self.connection = connection,
            Err(error) => {
                tracing::error!(%error, "the log cannot be opened again");
                return;
            }
        }
        let ids: Vec<_> = self.shared.ids.values().copied().collect();
        match read_ends(&mut self.connection, ids.into_iter()).await {
            Ok(ends) => {
                for (id, end) in ends {
                    let known = *self.shared.ends[&id].borrow();
                    if end != known {
                        lock(&self.shared.hot[&id]).clear();
                        self.shared.ends[&id].send_replace(end);
                    }
                }
            }
            Err(error) => tracing::error!(%error, "the log cannot be read"),
        }
    }
}

async fn insert(
    connection: &mut SqliteConnection,
    rows: &[(i64, Record)],
) -> Result<(), sqlx::Error> {
    let values = vec!["(?, ?, ?, ?, ?)"; rows.len()].join(", ");
    let statement =
        format!("INSERT INTO records (place, crc, key, value, headers) VALUES {values}");
    let mut insert = sqlx::query(AssertSqlSafe(statement));
    for (id, record) in rows {
        let place = (id << OFFSET_BITS) | record.offset;
        let headers = headers_to_bytes(&record.headers);
        let sum = checksum(place, &record.key, &record.value, &headers);
        insert = insert
            .bind(place)
            .bind(sum)
            .bind(record.key.to_vec())
            .bind(record.value.to_vec())
            .bind(headers);
    }
    insert.execute(connection).await?;
    Ok(())
}

fn checksum(place: i64, key: &[u8], value: &[u8], headers: &[u8]) -> i64 {
    crc(&[&place.to_be_bytes(), key, value, headers])
}

fn headers_to_bytes(headers: &Headers) -> Vec<u8> {
    if headers.is_empty() {
        return Vec::new();
    }
    let pairs: Vec<(&str, &[u8])> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_ref())).collect();
    serde_json::to_vec(&pairs).unwrap_or_default()
}

fn headers_from_bytes(bytes: &[u8]) -> Headers {
    let pairs: Vec<(String, Vec<u8>)> = serde_json::from_slice(bytes).unwrap_or_default();
    pairs.into_iter().map(|(name, value)| (name, value.into())).collect()
}

#[async_trait]
impl Log for SqliteLog {
    fn partitions(&self, topic: &Topic) -> i32 {
        match topic {
            Topic::Commands(_) | Topic::Outcomes(_) => self.partitions,
            Topic::Partner(_) | Topic::Inbound | Topic::Changes | Topic::Dlq => 1,
        }
    }

    fn append(
        &self,
        to: &TopicPartition,
        record: NewRecord,
    ) -> BoxFuture<'static, Result<Offset, LogError>> {
        let Some(id) = self.shared.ids.get(to).copied() else {
            let error = LogError::Unavailable(format!("there is no topic {to}").into());
            return std::future::ready(Err(error)).boxed();
        };
        let (done, answer) = oneshot::channel();
        match self.appends.try_send(Append { id, record, done }) {
            Ok(()) => async move {
                let gone = || LogError::Unavailable("the log's writer is gone".into());
                answer.await.unwrap_or_else(|_| Err(gone()))
            }
            .boxed(),
            Err(mpsc::error::TrySendError::Full(_)) => {
                std::future::ready(Err(LogError::Busy)).boxed()
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                let error = LogError::Unavailable("the log's writer is gone".into());
                std::future::ready(Err(error)).boxed()
            }
        }
    }

    async fn tail(&self, of: &TopicPartition, from: Offset) -> Result<Box<dyn Tail>, LogError> {
        let unknown = || LogError::Unavailable(format!("there is no topic {of}").into());
        let id = *self.shared.ids.get(of).ok_or_else(unknown)?;
        Ok(Box::new(SqliteTail::new(self.shared.clone(), of, id, from)))
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds, LogError> {
        let unknown = || LogError::Unavailable(format!("there is no topic {of}").into());
        let id = self.shared.ids.get(of).ok_or_else(unknown)?;
        Ok(Bounds { first: 0, end: *self.shared.ends[id].borrow() })
    }

    async fn claims(&self, group: Group) -> Result<Box<dyn Claims>, LogError> {
        let partner = |of: &TopicPartition| match &of.topic {
            Topic::Partner(name) => Some(name.clone()),
            Topic::Commands(_)
            | Topic::Outcomes(_)
            | Topic::Inbound
            | Topic::Changes
            | Topic::Dlq => None,
        };
        let partners: Vec<_> = self.shared.ids.keys().filter_map(partner).collect();
        Ok(Box::new(ClaimEverything::new(group, self.partitions, &partners)))
    }
}

//! A cache of hot reads: pages of journals that can never change again, such as the history that
//! everybody who opens a room scrolls through. It is asked first and never needed: a page that is not
//! there, a Redis that is away or slow, and the store is read.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use actors::ports::{
    EmptyOutcomes, JournalQuery, JournalRow, ListQuery, ListRow, Loaded, Order, PartitionState,
    Store, StoreError, StoreWrite,
};
use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use schemas::{EntityKey, Kind, Timestamp};
use tokio::time::timeout;

/// Redis must answer within this, else the store is read.
const ANSWER_WITHIN: Duration = Duration::from_millis(50);
/// After Redis did not answer it is left alone for so long.
const PAUSE: Duration = Duration::from_secs(1);
/// A page with more bytes is not kept.
const MOST_BYTES: usize = 256 << 10;

/// A store with a cache before its journals.
pub struct CachedStore {
    store: Arc<dyn Store>,
    client: redis::Client,
    prefix: String,
    kept: Duration,
    connection: Mutex<Connection>,
}

enum Connection {
    Open(MultiplexedConnection),
    /// Not to be made before.
    Away(Instant),
}

impl CachedStore {
    /// Keeps pages for `kept`, under names that begin with `prefix`.
    ///
    /// # Errors
    /// If the address is none.
    pub fn new(
        store: Arc<dyn Store>,
        url: &str,
        prefix: &str,
        kept: Duration,
    ) -> Result<Self, super::RedisError> {
        let client = redis::Client::open(url).map_err(super::RedisError::Address)?;
        let connection = Mutex::new(Connection::Away(Instant::now()));
        Ok(Self { store, client, prefix: prefix.to_owned(), kept, connection })
    }

    fn name(&self, key: &EntityKey, query: JournalQuery) -> String {
        let JournalQuery { after, before, order, limit, empty } = query;
        let order = match order {
            Order::OldestFirst => "oldest",
            Order::NewestFirst => "newest",
        };
        let empty = match empty {
            EmptyOutcomes::Skip => "changes",
            EmptyOutcomes::Include => "all",
        };
        format!("{}journal:{key}:{after}:{before}:{limit}:{order}:{empty}", self.prefix)
    }

    fn set(&self, connection: Connection) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    async fn connection(&self) -> Option<MultiplexedConnection> {
        match &*self.connection.lock().unwrap_or_else(PoisonError::into_inner) {
            Connection::Open(connection) => return Some(connection.clone()),
            Connection::Away(until) if *until > Instant::now() => return None,
            Connection::Away(_) => {}
        }
        let connecting = timeout(ANSWER_WITHIN, self.client.get_multiplexed_async_connection());
        let connection = connecting.await.ok().and_then(Result::ok);
        self.set(match &connection {
            Some(connection) => Connection::Open(connection.clone()),
            None => Connection::Away(Instant::now() + PAUSE),
        });
        connection
    }

    async fn ask<T: redis::FromRedisValue>(&self, pipeline: &redis::Pipeline) -> Option<T> {
        let mut connection = self.connection().await?;
        match timeout(ANSWER_WITHIN, pipeline.query_async(&mut connection)).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(_)) | Err(_) => {
                self.set(Connection::Away(Instant::now() + PAUSE));
                None
            }
        }
    }

    /// What is kept under `name`: two items for each row, its numbers and its value.
    async fn kept(&self, name: &str, key: &EntityKey) -> Option<Vec<JournalRow>> {
        let mut get = redis::pipe();
        get.cmd("LRANGE").arg(name).arg(0).arg(-1);
        let (items,): (Vec<Vec<u8>>,) = self.ask(&get).await?;
        let rows: Option<Vec<_>> = items.chunks(2).map(|item| row_of(key, item)).collect();
        rows.filter(|rows| !rows.is_empty())
    }

    async fn keep(&self, name: &str, rows: &[JournalRow]) {
        let mut put = redis::pipe();
        // Two nodes may keep the same page at the same time.
        put.atomic().cmd("DEL").arg(name).ignore().cmd("RPUSH").arg(name);
        for row in rows {
            let JournalRow { offset, last_seq, changes, at, value, .. } = row;
            put.arg(format!("{offset} {last_seq} {changes} {}", at.as_millis())).arg(&value[..]);
        }
        put.ignore().cmd("EXPIRE").arg(name).arg(self.kept.as_secs()).ignore();
        self.ask::<()>(&put).await;
    }
}

fn row_of(key: &EntityKey, item: &[Vec<u8>]) -> Option<JournalRow> {
    let [numbers, value] = item else { return None };
    let numbers = std::str::from_utf8(numbers).ok()?;
    let numbers: Result<Vec<i64>, _> = numbers.split(' ').map(str::parse).collect();
    let [offset, last_seq, changes, at] = numbers.ok()?[..] else { return None };
    let (key, at) = (key.clone(), Timestamp::from_millis(at));
    Some(JournalRow { key, offset, last_seq, changes, at, value: value.clone().into() })
}

/// Whether the store will always answer so: nothing that is still to come can be part of the page.
fn is_settled(query: JournalQuery, rows: &[JournalRow]) -> bool {
    let is_full = i64::try_from(rows.len()).is_ok_and(|count| count >= query.limit);
    let last = rows.last().map_or(0, |row| row.last_seq);
    is_full
        && match (query.order, query.empty) {
            // What comes later stands behind it.
            (Order::OldestFirst, _) => true,
            // It ends where it was asked to end; what makes no change could still come there.
            (Order::NewestFirst, EmptyOutcomes::Skip) => last >= query.before.saturating_sub(1),
            (Order::NewestFirst, EmptyOutcomes::Include) => false,
        }
}

#[async_trait]
impl Store for CachedStore {
    async fn load(&self, key: &EntityKey, partition: i32) -> Result<Loaded, StoreError> {
        self.store.load(key, partition).await
    }

    async fn commit(&self, write: StoreWrite) -> Result<(), StoreError> {
        self.store.commit(write).await
    }

    async fn journal(
        &self,
        key: &EntityKey,
        query: JournalQuery,
    ) -> Result<Vec<JournalRow>, StoreError> {
        let name = self.name(key, query);
        if let Some(rows) = self.kept(&name, key).await {
            return Ok(rows);
        }
        let rows = self.store.journal(key, query).await?;
        let bytes: usize = rows.iter().map(|row| row.value.len()).sum();
        if is_settled(query, &rows) && bytes <= MOST_BYTES {
            self.keep(&name, &rows).await;
        }
        Ok(rows)
    }

    async fn list(&self, query: ListQuery) -> Result<Vec<ListRow>, StoreError> {
        self.store.list(query).await
    }

    async fn partition(&self, kind: Kind, partition: i32) -> Result<PartitionState, StoreError> {
        self.store.partition(kind, partition).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(last_seq: i64) -> JournalRow {
        let key = "main/room:1".parse().expect("a key");
        let at = Timestamp::from_millis(7);
        JournalRow { key, offset: last_seq * 2, last_seq, changes: 1, at, value: vec![1].into() }
    }

    fn query(order: Order, empty: EmptyOutcomes) -> JournalQuery {
        JournalQuery { after: 0, before: 4, order, limit: 3, empty }
    }

    #[test]
    fn only_pages_that_stay_as_they_are_are_kept() {
        use {EmptyOutcomes::*, Order::*};
        let all = [row(1), row(2), row(3)];
        assert!(is_settled(query(OldestFirst, Skip), &all));
        assert!(is_settled(query(OldestFirst, Include), &all));
        assert!(is_settled(query(NewestFirst, Skip), &all));
        assert!(!is_settled(query(NewestFirst, Include), &all), "a refusal may come");
        assert!(!is_settled(query(OldestFirst, Skip), &all[..2]), "more may come");
        let early = [row(0), row(1), row(2)];
        assert!(!is_settled(query(NewestFirst, Skip), &early), "the third may come");
    }

    #[test]
    fn what_is_no_row_is_not_taken_for_one() {
        let row = row(3);
        let item = |numbers: &str| vec![numbers.as_bytes().to_vec(), vec![1]];
        assert_eq!(row_of(&row.key, &item("6 3 1 7")), Some(row.clone()));
        for wrong in ["", "6 3 1", "6 3 1 7 8", "6 3 one 7"] {
            assert_eq!(row_of(&row.key, &item(wrong)), None, "{wrong}");
        }
        assert_eq!(row_of(&row.key, &item("6 3 1 7")[..1]), None);
    }
}

//! How the log is read: the newest records from memory, older ones from the file.

use std::{collections::VecDeque, sync::Arc};

use actors::ports::{LogError, Record, Tail, TopicPartition};
use async_trait::async_trait;
use schemas::Offset;
use sqlx::Row as _;
use tokio::{sync::watch, task::JoinHandle};

use super::{OFFSET_BITS, Shared, checksum, headers_from_bytes, lock, offset_of, unavailable};
use crate::sqlite::file;

/// Records of a partition that followers find in memory, and the bytes that they may have; beyond
/// either the oldest goes. For outcomes of some hundred bytes it is the bytes that count.
const HOT: usize = 16_384;
const HOT_BYTES: usize = 4 << 20;
/// Records handed out at once.
const BATCH: usize = 256;

/// Place, checksum, key, value and headers of a row.
type Row = (i64, i64, Vec<u8>, Vec<u8>, Vec<u8>);

/// The newest records of a partition.
#[derive(Default)]
pub(super) struct Hot {
    records: VecDeque<Record>,
    bytes: usize,
}

impl Hot {
    pub(super) fn push(&mut self, record: Record) {
        self.bytes += size(&record);
        self.records.push_back(record);
        while self.records.len() > HOT || self.bytes > HOT_BYTES {
            let Some(oldest) = self.records.pop_front() else { return };
            self.bytes -= size(&oldest);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The records from `next` on, a batch at most; none if the first is not held.
    fn from(&self, next: Offset) -> Option<Vec<Record>> {
        let first = self.records.front()?.offset;
        let skip = usize::try_from(next.checked_sub(first)?).ok()?;
        let batch: Vec<_> = self.records.iter().skip(skip).take(BATCH).cloned().collect();
        (!batch.is_empty()).then_some(batch)
    }
}

/// About what a record takes in memory.
fn size(record: &Record) -> usize {
    size_of::<Record>() + record.content_bytes()
}

impl Shared {
    /// Reads from the file, at most [`BATCH`] records from `from` up to before `end`.
    pub(super) async fn read(
        &self,
        of: &TopicPartition,
        from: Offset,
        end: Offset,
    ) -> Result<Vec<Record>, LogError> {
        let base = self.ids[of] << OFFSET_BITS;
        let rows = sqlx::query(
            "SELECT place, crc, key, value, headers FROM records \
             WHERE place >= ? AND place < ? ORDER BY place LIMIT ?",
        )
        .bind(base | from)
        .bind(base | end)
        .bind(BATCH as i64)
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.reading_failed(of, &error))?;
        let mut records = Vec::with_capacity(rows.len());
        for (row, expected) in rows.iter().zip(from..) {
            records.push(self.record(of, row, expected)?);
        }
        Ok(records)
    }

    fn record(
        &self,
        of: &TopicPartition,
        row: &sqlx::sqlite::SqliteRow,
        expected: Offset,
    ) -> Result<Record, LogError> {
        let damaged = |offset: Offset, reason: &str| LogError::Damaged {
            at: format!("{of}/{offset} in {}", self.path.display()),
            reason: reason.to_owned(),
        };
        let parts = || -> Result<Row, sqlx::Error> {
            Ok((
                row.try_get(0)?,
                row.try_get(1)?,
                row.try_get(2)?,
                row.try_get(3)?,
                row.try_get(4)?,
            ))
        };
        let (place, sum, key, value, headers) =
            parts().map_err(|error| damaged(expected, &error.to_string()))?;
        let offset = offset_of(place);
        if offset != expected {
            return Err(damaged(expected, "the record is missing"));
        }
        if checksum(place, &key, &value, &headers) != sum {
            return Err(damaged(offset, "the checksum does not match"));
        }
        let headers = headers_from_bytes(&headers);
        Ok(Record { offset, key: key.into(), value: value.into(), received: None, headers })
    }

    fn reading_failed(&self, of: &TopicPartition, error: &sqlx::Error) -> LogError {
        if file::is_damage(error) {
            let at = format!("{of} in {}", self.path.display());
            LogError::Damaged { at, reason: error.to_string() }
        } else {
            unavailable(error)
        }
    }
}

/// A reader's place in one partition.
pub(super) struct SqliteTail {
    shared: Arc<Shared>,
    of: TopicPartition,
    id: i64,
    end: watch::Receiver<Offset>,
    next: Offset,
    /// A read of the file. It goes on while nobody awaits it: `next` may be given up and called again.
    reading: Option<JoinHandle<Result<Vec<Record>, LogError>>>,
}

impl SqliteTail {
    pub(super) fn new(shared: Arc<Shared>, of: &TopicPartition, id: i64, from: Offset) -> Self {
        let end = shared.ends[&id].subscribe();
        Self { shared, of: of.clone(), id, end, next: from, reading: None }
    }

    /// From memory or, for those who are far behind, from the file.
    async fn read(&mut self, end: Offset) -> Result<Vec<Record>, LogError> {
        let reading = match &mut self.reading {
            Some(reading) => reading,
            none => {
                if let Some(records) = lock(&self.shared.hot[&self.id]).from(self.next) {
                    return Ok(records);
                }
                let (shared, of, from) = (self.shared.clone(), self.of.clone(), self.next);
                none.insert(tokio::spawn(async move { shared.read(&of, from, end).await }))
            }
        };
        let read = reading.await;
        self.reading = None;
        read.unwrap_or_else(|error| Err(LogError::Unavailable(error.to_string().into())))
    }
}

#[async_trait]
impl Tail for SqliteTail {
    async fn next(&mut self) -> Result<Vec<Record>, LogError> {
        loop {
            let end = *self.end.borrow_and_update();
            if self.next < end {
                let records = self.read(end).await?;
                let Some(last) = records.last() else {
                    let at = format!("{}/{}", self.of, self.next);
                    return Err(LogError::Damaged { at, reason: "the record is missing".into() });
                };
                self.next = last.offset + 1;
                return Ok(records);
            }
            if self.end.changed().await.is_err() {
                return Err(LogError::Unavailable("the log is closed".into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actors::ports::{Headers, Log as _, NewRecord, Topic};
    use bytes::Bytes;
    use schemas::Kind;
    use tokio::{task::yield_now, time::timeout};

    use super::*;
    use crate::sqlite::{DataFolder, LogSettings, SqliteLog, Synchronous};

    async fn open(folder: &std::path::Path) -> SqliteLog {
        let synchronous = Synchronous::Normal;
        let settings =
            LogSettings { partitions: 1, synchronous, partners: Vec::new(), most_bytes: 0 };
        SqliteLog::open(Arc::new(DataFolder::open(folder).unwrap()), settings).await.unwrap()
    }

    fn place() -> TopicPartition {
        TopicPartition::new(Topic::Commands(Kind::Room), 0)
    }

    async fn append(log: &SqliteLog, value: Bytes) {
        log.append(&place(), NewRecord { value, ..NewRecord::default() }).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_given_up_and_asked_for_again_comes_from_the_file_too() {
        let folder = tempfile::tempdir().unwrap();
        let log = open(folder.path()).await;
        for record in 0..1_000_u16 {
            append(&log, Bytes::copy_from_slice(&record.to_be_bytes())).await;
        }
        drop(log);
        // A log that was just opened has nothing in memory.
        let log = open(folder.path()).await;
        let mut tail = log.tail(&place(), 0).await.unwrap();
        let mut read = Vec::new();
        let impatient = async {
            while read.len() < 1_000 {
                tokio::select! {
                    biased;
                    records = tail.next() => read.extend(records.unwrap()),
                    () = yield_now() => {}
                }
            }
        };
        timeout(Duration::from_secs(30), impatient).await.expect("a read begins again and again");
        let offsets: Vec<_> = read.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, (0..1_000).collect::<Vec<_>>());
        assert!(read.iter().zip(0_u16..).all(|(r, n)| r.value[..] == n.to_be_bytes()));
    }

    #[test]
    fn memory_holds_the_newest_within_its_bounds() {
        let mut hot = Hot::default();
        let record = |offset, bytes| Record {
            offset,
            key: Bytes::new(),
            value: Bytes::from(vec![0; bytes]),
            received: None,
            headers: Headers::new(),
        };
        for offset in 0..10 {
            hot.push(record(offset, HOT_BYTES / 4));
        }
        assert!(hot.from(6).is_none(), "too large for all");
        assert_eq!(hot.from(7).unwrap().len(), 3);
        hot.push(record(10, HOT_BYTES));
        assert!(hot.from(10).is_none(), "one that alone is too large");
        for offset in 11..20_000 {
            hot.push(record(offset, 0));
        }
        assert_eq!(hot.records.len(), HOT);
        assert_eq!(hot.from(19_999).unwrap().len(), 1);
        assert!(hot.from(20_000).is_none());
        assert_eq!(hot.bytes, HOT * size(&record(0, 0)));
    }
}

//! The embedded store: journal, snapshots, checkpoints, lists and timers in `store.db`. One
//! writing connection; commits are not awaited by anybody who was answered, so they go to the
//! operating system only: what a power failure takes is projected again from the log.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
};

use actors::{
    domain::entity::ListingChange,
    ports::{
        Checkpoint, EmptyOutcomes, JournalQuery, JournalRow, ListQuery, ListRow, Loaded, Order,
        PartitionState, SnapshotRow, Store, StoreError, StoreWrite,
    },
};
use async_trait::async_trait;
use schemas::{EntityKey, Kind, Seq, Timestamp, UserName, role::TenantRole};
use sqlx::{
    AssertSqlSafe, Connection as _, Row as _, Sqlite, SqliteConnection, SqlitePool, Transaction,
    sqlite::{SqlitePoolOptions, SqliteRow},
};
use tokio::sync::Mutex;

use super::{
    DataFolder, OpenError,
    file::{self, Synchronous},
};
use crate::crc::crc;

mod mappings;

/// Entities whose row id and seq the writer keeps at hand.
const KNOWN: usize = 100_000;
/// How many journal rows one statement inserts; any step is made of these.
const SHAPES: [usize; 3] = [64, 8, 1];

/// The store in `store.db`.
pub struct SqliteStore {
    path: PathBuf,
    /// None where the store is only looked at.
    writer: Option<Mutex<Writer>>,
    readers: SqlitePool,
    _folder: Arc<DataFolder>,
}

struct Writer {
    connection: SqliteConnection,
    /// The entities that want to be woken, so that the many that do not cost nothing.
    timed: HashSet<EntityKey>,
    /// Row id and seq of entities; true to the file because this process alone writes it.
    known: HashMap<EntityKey, (i64, Seq)>,
}

impl SqliteStore {
    /// Opens the store of a data folder, making it if needed.
    ///
    /// # Errors
    /// If the file is damaged or newer than this release.
    pub async fn open(folder: Arc<DataFolder>) -> Result<Self, OpenError> {
        let path = folder.file("store.db");
        let options = file::options(&path, Synchronous::Normal);
        let schema = include_str!("../../migrations/sqlite/store.1.sql");
        let mut connection = file::open(&path, &options, schema).await?;
        mappings::make(&mut connection)
            .await
            .map_err(|source| OpenError::Database { path: path.clone(), source })?;
        let timed: Vec<String> = sqlx::query_scalar("SELECT key FROM timers")
            .fetch_all(&mut connection)
            .await
            .map_err(|source| OpenError::Database { path: path.clone(), source })?;
        let timed = timed.iter().filter_map(|key| key.parse().ok()).collect();
        let readers =
            SqlitePoolOptions::new().max_connections(4).connect_lazy_with(options.read_only(true));
        let writer = Some(Mutex::new(Writer { connection, timed, known: HashMap::new() }));
        Ok(Self { path, writer, readers, _folder: folder })
    }

    /// Opens the store for reading, beside whatever process writes it.
    ///
    /// # Errors
    /// If the file is not there, is damaged, or is newer than this release.
    pub async fn look_at(folder: Arc<DataFolder>) -> Result<Self, OpenError> {
        let path = folder.file("store.db");
        let options = file::options(&path, Synchronous::Normal).read_only(true);
        drop(file::open_read_only(&path, &options).await?);
        let readers = SqlitePoolOptions::new().max_connections(2).connect_lazy_with(options);
        Ok(Self { path, writer: None, readers, _folder: folder })
    }

    /// Tidies up before the end: afterwards `store.db` alone is a whole copy.
    pub async fn close(&self) {
        let options = file::options(&self.path, Synchronous::Normal);
        if let Err(error) = file::checkpoint(&options).await {
            tracing::warn!(%error, "store.db keeps its write-ahead log");
        }
    }

    fn error(&self, error: &sqlx::Error) -> StoreError {
        if file::is_damage(error) {
            let at = self.path.display().to_string();
            StoreError::Damaged { at, reason: error.to_string() }
        } else {
            StoreError::Unavailable(error.to_string().into())
        }
    }

    fn journal_row(&self, key: &EntityKey, row: &SqliteRow) -> Result<JournalRow, StoreError> {
        let parts = || -> Result<_, sqlx::Error> {
            Ok((
                row.try_get::<i64, _>(0)?,
                row.try_get::<i64, _>(1)?,
                row.try_get::<i64, _>(2)?,
                row.try_get::<i64, _>(3)?,
                row.try_get::<i64, _>(4)?,
                row.try_get::<Vec<u8>, _>(5)?,
            ))
        };
        let (offset, last_seq, changes, at, sum, value) =
            parts().map_err(|error| self.error(&error))?;
        if crc(&[&value]) != sum {
            let at = format!("the journal of {key}, offset {offset}, in {}", self.path.display());
            return Err(StoreError::Damaged { at, reason: "the checksum does not match".into() });
        }
        let at = Timestamp::from_millis(at);
        Ok(JournalRow { key: key.clone(), offset, last_seq, changes, at, value: value.into() })
    }

    async fn read_entity(
        &self,
        connection: &mut SqliteConnection,
        key: &EntityKey,
        partition: i32,
    ) -> Result<Loaded, StoreError> {
        let failed = |error| self.error(&error);
        let checkpoint =
            read_checkpoint(connection, key.entity.kind(), partition).await.map_err(failed)?;
        let found = sqlx::query(
            "SELECT e.id, s.offset, s.seq, s.crc, s.value FROM entities e \
             LEFT JOIN snapshots s ON s.entity = e.id WHERE e.key = ?",
        )
        .bind(key.to_string())
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
        let Some(found) = found else {
            return Ok(Loaded { snapshot: None, journal: Vec::new(), checkpoint });
        };
        let id: i64 = found.try_get(0).map_err(failed)?;
        let snapshot = self.snapshot_row(key, &found)?;
        let (seq, offset) = snapshot.as_ref().map_or((0, -1), |row| (row.seq, row.offset));
        let rows = sqlx::query(
            "SELECT offset, last_seq, changes, at, crc, value FROM journal \
             WHERE entity = ? AND last_seq >= ? AND offset > ? ORDER BY last_seq, offset",
        )
        .bind(id)
        .bind(seq)
        .bind(offset)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
        let journal: Result<_, _> = rows.iter().map(|row| self.journal_row(key, row)).collect();
        Ok(Loaded { snapshot, journal: journal?, checkpoint })
    }

    fn snapshot_row(
        &self,
        key: &EntityKey,
        row: &SqliteRow,
    ) -> Result<Option<SnapshotRow>, StoreError> {
        let parts = || -> Result<_, sqlx::Error> {
            Ok((
                row.try_get::<Option<i64>, _>(1)?,
                row.try_get::<Option<i64>, _>(2)?,
                row.try_get::<Option<i64>, _>(3)?,
                row.try_get::<Option<Vec<u8>>, _>(4)?,
            ))
        };
        let (Some(offset), Some(seq), Some(sum), Some(value)) =
            parts().map_err(|error| self.error(&error))?
        else {
            return Ok(None);
        };
        if crc(&[&value]) != sum {
            let at = format!("the snapshot of {key} in {}", self.path.display());
            return Err(StoreError::Damaged { at, reason: "the checksum does not match".into() });
        }
        Ok(Some(SnapshotRow { key: key.clone(), offset, seq, value: value.into() }))
    }
}

async fn read_checkpoint(
    connection: &mut SqliteConnection,
    kind: Kind,
    partition: i32,
) -> Result<Checkpoint, sqlx::Error> {
    let row = sqlx::query(
        "SELECT epoch, offset, last_command_offset FROM checkpoints \
         WHERE kind = ? AND partition = ?",
    )
    .bind(kind.as_str())
    .bind(partition)
    .fetch_optional(connection)
    .await?;
    match row {
        None => Ok(Checkpoint::START),
        Some(row) => Ok(Checkpoint {
            epoch: row.try_get(0)?,
            offset: row.try_get(1)?,
            last_command_offset: row.try_get(2)?,
        }),
    }
}

impl Writer {
    async fn commit(&mut self, write: StoreWrite) -> Result<Result<(), Checkpoint>, sqlx::Error> {
        let Self { connection, timed, known } = self;
        if known.len() > KNOWN {
            known.clear();
        }
        let mut transaction = connection.begin().await?;
        if !compare_and_set(&mut transaction, &write).await? {
            let found = read_checkpoint(&mut transaction, write.kind, write.partition).await?;
            transaction.rollback().await?;
            return Ok(Err(found));
        }
        let rows = place_rows(&mut transaction, known, &write).await?;
        insert_journal(&mut transaction, &rows).await?;
        for (key, change) in &write.listing {
            list(&mut transaction, known, key, change).await?;
        }
        for (key, wish) in &write.timers {
            if wish.is_some() {
                timed.insert(key.clone());
            }
            if timed.contains(key) {
                set_timer(&mut transaction, &write, key, *wish).await?;
            }
        }
        for row in &write.snapshots {
            save_snapshot(&mut transaction, row).await?;
        }
        transaction.commit().await?;
        for (key, wish) in &write.timers {
            if wish.is_none() {
                timed.remove(key);
            }
        }
        Ok(Ok(()))
    }
}

/// R7: the checkpoint moves only if it is where the projector left it.
async fn compare_and_set(
    transaction: &mut Transaction<'_, Sqlite>,
    write: &StoreWrite,
) -> Result<bool, sqlx::Error> {
    let StoreWrite { kind, partition, expected, next, .. } = write;
    if *expected == Checkpoint::START {
        sqlx::query("INSERT OR IGNORE INTO checkpoints VALUES (?, ?, NULL, 0, -1)")
            .bind(kind.as_str())
            .bind(partition)
            .execute(&mut **transaction)
            .await?;
    }
    let updated = sqlx::query(
        "UPDATE checkpoints SET epoch = ?, offset = ?, last_command_offset = ? \
         WHERE kind = ? AND partition = ? \
         AND epoch IS ? AND offset = ? AND last_command_offset = ?",
    )
    .bind(next.epoch)
    .bind(next.offset)
    .bind(next.last_command_offset)
    .bind(kind.as_str())
    .bind(partition)
    .bind(expected.epoch)
    .bind(expected.offset)
    .bind(expected.last_command_offset)
    .execute(&mut **transaction)
    .await?;
    Ok(updated.rows_affected() == 1)
}

struct PlacedRow<'a> {
    entity: i64,
    last_seq: Seq,
    row: &'a JournalRow,
}

/// Finds or makes the entities of the journal's rows and moves them to their newest seq.
async fn place_rows<'a>(
    transaction: &mut Transaction<'_, Sqlite>,
    known: &mut HashMap<EntityKey, (i64, Seq)>,
    write: &'a StoreWrite,
) -> Result<Vec<PlacedRow<'a>>, sqlx::Error> {
    let mut placed = Vec::with_capacity(write.journal.len());
    let mut moved: HashMap<i64, (Seq, Timestamp)> = HashMap::new();
    for row in &write.journal {
        let (entity, seq) = match known.get(&row.key) {
            Some(entity) => *entity,
            None => {
                let entity = find_or_insert(transaction, &row.key, row.at).await?;
                known.insert(row.key.clone(), entity);
                entity
            }
        };
        let last_seq = if row.last_seq == JournalRow::UNCHANGED { seq } else { row.last_seq };
        known.insert(row.key.clone(), (entity, last_seq));
        moved.insert(entity, (last_seq, row.at));
        placed.push(PlacedRow { entity, last_seq, row });
    }
    for (entity, (seq, at)) in moved {
        sqlx::query("UPDATE entities SET seq = ?, updated_at = ? WHERE id = ?")
            .bind(seq)
            .bind(at.as_millis())
            .bind(entity)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(placed)
}

async fn find_or_insert(
    transaction: &mut Transaction<'_, Sqlite>,
    key: &EntityKey,
    at: Timestamp,
) -> Result<(i64, Seq), sqlx::Error> {
    sqlx::query(
        "INSERT OR IGNORE INTO entities (key, tenant, kind, entity, seq, created_at, updated_at) \
         VALUES (?, ?, ?, ?, 0, ?, ?)",
    )
    .bind(key.to_string())
    .bind(key.tenant.as_str())
    .bind(key.entity.kind().as_str())
    .bind(key.entity.id())
    .bind(at.as_millis())
    .bind(at.as_millis())
    .execute(&mut **transaction)
    .await?;
    let row = sqlx::query("SELECT id, seq FROM entities WHERE key = ?")
        .bind(key.to_string())
        .fetch_one(&mut **transaction)
        .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

async fn insert_journal(
    transaction: &mut Transaction<'_, Sqlite>,
    rows: &[PlacedRow<'_>],
) -> Result<(), sqlx::Error> {
    let mut rest = rows;
    for shape in SHAPES {
        let values = vec!["(?, ?, ?, ?, ?, ?, ?)"; shape].join(", ");
        let statement = format!(
            "INSERT INTO journal (entity, last_seq, offset, changes, at, crc, value) VALUES {values}"
        );
        while rest.len() >= shape {
            let (now, others) = rest.split_at(shape);
            rest = others;
            let mut insert = sqlx::query(AssertSqlSafe(statement.clone()));
            for PlacedRow { entity, last_seq, row } in now {
                insert = insert
                    .bind(entity)
                    .bind(last_seq)
                    .bind(row.offset)
                    .bind(row.changes)
                    .bind(row.at.as_millis())
                    .bind(crc(&[&row.value]))
                    .bind(row.value.to_vec());
            }
            insert.execute(&mut **transaction).await?;
        }
    }
    Ok(())
}

async fn list(
    transaction: &mut Transaction<'_, Sqlite>,
    known: &HashMap<EntityKey, (i64, Seq)>,
    key: &EntityKey,
    change: &ListingChange,
) -> Result<(), sqlx::Error> {
    let Some((entity, _)) = known.get(key) else { return Ok(()) };
    let open = |role: &TenantRole| *role != TenantRole::None;
    let query = match change {
        ListingChange::Created { title, tenant_role, owner } => {
            if let Some(owner) = owner {
                add_member(transaction, *entity, owner).await?;
            }
            sqlx::query("UPDATE entities SET title = ?, open = ? WHERE id = ?")
                .bind(title)
                .bind(open(tenant_role))
                .bind(entity)
        }
        ListingChange::Updated { title, tenant_role } => sqlx::query(
            "UPDATE entities SET title = coalesce(?, title), open = coalesce(?, open) WHERE id = ?",
        )
        .bind(title)
        .bind(tenant_role.as_ref().map(open))
        .bind(entity),
        ListingChange::MemberAdded(user) => return add_member(transaction, *entity, user).await,
        ListingChange::MemberRemoved(user) => {
            sqlx::query("DELETE FROM members WHERE entity = ? AND user = ?")
                .bind(entity)
                .bind(user.as_str())
        }
    };
    query.execute(&mut **transaction).await?;
    Ok(())
}

async fn add_member(
    transaction: &mut Transaction<'_, Sqlite>,
    entity: i64,
    user: &UserName,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query("INSERT OR IGNORE INTO members (entity, user) VALUES (?, ?)");
    query.bind(entity).bind(user.as_str()).execute(&mut **transaction).await?;
    Ok(())
}

async fn set_timer(
    transaction: &mut Transaction<'_, Sqlite>,
    write: &StoreWrite,
    key: &EntityKey,
    wish: Option<Timestamp>,
) -> Result<(), sqlx::Error> {
    let query = match wish {
        Some(at) => sqlx::query("INSERT OR REPLACE INTO timers VALUES (?, ?, ?, ?)")
            .bind(key.to_string())
            .bind(write.kind.as_str())
            .bind(write.partition)
            .bind(at.as_millis()),
        None => sqlx::query("DELETE FROM timers WHERE key = ?").bind(key.to_string()),
    };
    query.execute(&mut **transaction).await?;
    Ok(())
}

async fn save_snapshot(
    transaction: &mut Transaction<'_, Sqlite>,
    row: &SnapshotRow,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO snapshots (entity, offset, seq, crc, value) \
         SELECT id, ?, ?, ?, ? FROM entities WHERE key = ? \
         ON CONFLICT (entity) DO UPDATE SET offset = excluded.offset, seq = excluded.seq, \
         crc = excluded.crc, value = excluded.value WHERE excluded.offset > offset",
    )
    .bind(row.offset)
    .bind(row.seq)
    .bind(crc(&[&row.value]))
    .bind(row.value.to_vec())
    .bind(row.key.to_string())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self, key: &EntityKey, partition: i32) -> Result<Loaded, StoreError> {
        let failed = |error| self.error(&error);
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        // One transaction, so that checkpoint, snapshot and journal are of one moment.
        let mut transaction = connection.begin().await.map_err(failed)?;
        let loaded = self.read_entity(&mut transaction, key, partition).await?;
        transaction.rollback().await.map_err(failed)?;
        Ok(loaded)
    }

    async fn commit(&self, write: StoreWrite) -> Result<(), StoreError> {
        let Some(writer) = &self.writer else {
            return Err(StoreError::Unavailable("the store is open for reading only".into()));
        };
        let mut writer = writer.lock().await;
        match writer.commit(write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(found)) => {
                writer.known.clear();
                Err(StoreError::Stale { found })
            }
            Err(error) => {
                writer.known.clear();
                Err(self.error(&error))
            }
        }
    }

    async fn journal(
        &self,
        key: &EntityKey,
        query: JournalQuery,
    ) -> Result<Vec<JournalRow>, StoreError> {
        let order = match query.order {
            Order::OldestFirst => "ASC",
            Order::NewestFirst => "DESC",
        };
        let empty = match query.empty {
            EmptyOutcomes::Skip => "AND j.changes > 0",
            EmptyOutcomes::Include => "",
        };
        let statement = format!(
            "SELECT j.offset, j.last_seq, j.changes, j.at, j.crc, j.value \
             FROM journal j JOIN entities e ON e.id = j.entity \
             WHERE e.key = ? AND j.last_seq > ? AND j.last_seq - j.changes + 1 < ? {empty} \
             ORDER BY j.last_seq {order}, j.offset {order} LIMIT ?"
        );
        let rows = sqlx::query(AssertSqlSafe(statement))
            .bind(key.to_string())
            .bind(query.after)
            .bind(query.before)
            .bind(query.limit)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.error(&error))?;
        let rows: Result<Vec<_>, _> = rows.iter().map(|row| self.journal_row(key, row)).collect();
        let mut rows = rows?;
        if query.order == Order::NewestFirst {
            rows.reverse();
        }
        Ok(rows)
    }

    async fn list(&self, query: ListQuery) -> Result<Vec<ListRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT e.key, e.title, e.seq, e.created_at, e.updated_at FROM entities e \
             WHERE e.kind = ? AND e.title IS NOT NULL \
             AND (? IS NULL OR e.tenant = ?) AND e.entity > ? \
             AND (? IS NULL OR instr(lower(e.title), lower(?)) > 0) \
             AND (? IS NULL OR e.open OR EXISTS \
                 (SELECT 1 FROM members m WHERE m.entity = e.id AND m.user = ?)) \
             ORDER BY e.entity, e.tenant LIMIT ?",
        )
        .bind(query.kind.as_str())
        .bind(query.tenant.as_ref().map(schemas::TenantId::as_str))
        .bind(query.tenant.as_ref().map(schemas::TenantId::as_str))
        .bind(query.after.unwrap_or_default())
        .bind(&query.text)
        .bind(&query.text)
        .bind(query.reader.as_ref().map(schemas::UserName::as_str))
        .bind(query.reader.as_ref().map(schemas::UserName::as_str))
        .bind(query.limit)
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.error(&error))?;
        let read = |row: &SqliteRow| -> Result<_, sqlx::Error> {
            Ok((
                row.try_get::<String, _>(0)?,
                row.try_get::<String, _>(1)?,
                row.try_get::<i64, _>(2)?,
                row.try_get::<i64, _>(3)?,
                row.try_get::<i64, _>(4)?,
            ))
        };
        let mut list = Vec::with_capacity(rows.len());
        for row in &rows {
            let (key, title, seq, created_at, updated_at) =
                read(row).map_err(|error| self.error(&error))?;
            let Ok(key) = key.parse() else {
                let at = format!("entity {key:?} in {}", self.path.display());
                return Err(StoreError::Damaged { at, reason: "its key is no key".into() });
            };
            let created_at = Timestamp::from_millis(created_at);
            let updated_at = Timestamp::from_millis(updated_at);
            list.push(ListRow { key, title, seq, created_at, updated_at });
        }
        Ok(list)
    }

    async fn partition(&self, kind: Kind, partition: i32) -> Result<PartitionState, StoreError> {
        let failed = |error| self.error(&error);
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        let mut transaction = connection.begin().await.map_err(failed)?;
        let checkpoint =
            read_checkpoint(&mut transaction, kind, partition).await.map_err(failed)?;
        let rows = sqlx::query("SELECT key, at FROM timers WHERE kind = ? AND partition = ?")
            .bind(kind.as_str())
            .bind(partition)
            .fetch_all(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.rollback().await.map_err(failed)?;
        let mut timers = Vec::with_capacity(rows.len());
        for row in &rows {
            let key: String = row.try_get(0).map_err(failed)?;
            let at: i64 = row.try_get(1).map_err(failed)?;
            if let Ok(key) = key.parse() {
                timers.push((key, Timestamp::from_millis(at)));
            }
        }
        Ok(PartitionState { checkpoint, timers })
    }
}

//! Reading: one entity at one moment, journals, lists, checkpoints.

use actors::ports::{
    Checkpoint, EmptyOutcomes, JournalQuery, JournalRow, ListQuery, ListRow, Loaded, Order,
    PartitionState, SnapshotRow, StoreError,
};
use schemas::{EntityKey, Kind, TenantId, Timestamp, UserName};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::unavailable;
use crate::crc::crc;

type JournalTuple = (i64, i64, i64, i64, i64, Vec<u8>);

/// Checkpoint (0), snapshot (1) and journal rows (2) of one moment. One statement sees one moment
/// of the database, and unlike a transaction it leaves nothing open when its reader is dropped.
const LOAD: &str = r#"
WITH c AS (SELECT * FROM checkpoints WHERE kind = $2 AND partition = $3),
     e AS (SELECT id FROM entities WHERE key = $1),
     s AS (SELECT snapshots.* FROM snapshots JOIN e ON snapshots.entity = e.id)
SELECT 0 AS what, "offset" AS at_offset, last_command_offset AS seq, epoch AS more,
       0::int8 AS at, 0::int8 AS crc, NULL::bytea AS value FROM c
UNION ALL
SELECT 1, "offset", seq, NULL, 0, crc, value FROM s
UNION ALL
SELECT 2, j."offset", j.last_seq, j.changes, j.at, j.crc, j.value FROM journal j
JOIN e ON j.entity = e.id
WHERE j.last_seq >= coalesce((SELECT seq FROM s), 0)
  AND j."offset" > coalesce((SELECT "offset" FROM s), -1)
ORDER BY what, seq, at_offset"#;

type LoadTuple = (i32, i64, i64, Option<i64>, i64, i64, Option<Vec<u8>>);

pub(super) async fn load(
    pool: &PgPool,
    key: &EntityKey,
    partition: i32,
) -> Result<Loaded, StoreError> {
    let rows: Vec<LoadTuple> = sqlx::query_as(LOAD)
        .bind(key.to_string())
        .bind(key.entity.kind().as_str())
        .bind(partition)
        .fetch_all(pool)
        .await
        .map_err(unavailable)?;
    let mut loaded = Loaded { snapshot: None, journal: Vec::new(), checkpoint: Checkpoint::START };
    for (what, offset, seq, more, at, sum, value) in rows {
        match (what, value) {
            (0, _) => {
                let (epoch, last_command_offset) = (more, seq);
                loaded.checkpoint = Checkpoint { epoch, offset, last_command_offset };
            }
            (1, Some(value)) => {
                check(&value, sum, || format!("the snapshot of {key} in PostgreSQL"))?;
                let snapshot = SnapshotRow { key: key.clone(), offset, seq, value: value.into() };
                loaded.snapshot = Some(snapshot);
            }
            (_journal, Some(value)) => {
                let changes = more.unwrap_or(0);
                loaded.journal.push(journal_row(key, (offset, seq, changes, at, sum, value))?);
            }
            (_, None) => {}
        }
    }
    Ok(loaded)
}

fn check(value: &[u8], sum: i64, at: impl Fn() -> String) -> Result<(), StoreError> {
    if crc(&[value]) == sum {
        return Ok(());
    }
    Err(StoreError::Damaged { at: at(), reason: "the checksum does not match".into() })
}

fn journal_row(key: &EntityKey, row: JournalTuple) -> Result<JournalRow, StoreError> {
    let (offset, last_seq, changes, at, sum, value) = row;
    check(&value, sum, || format!("the journal of {key}, offset {offset}, in PostgreSQL"))?;
    let at = Timestamp::from_millis(at);
    Ok(JournalRow { key: key.clone(), offset, last_seq, changes, at, value: value.into() })
}

pub(super) async fn checkpoint(
    connection: &mut PgConnection,
    kind: Kind,
    partition: i32,
) -> Result<Checkpoint, sqlx::Error> {
    let found: Option<(Option<i64>, i64, i64)> = sqlx::query_as(
        r#"SELECT epoch, "offset", last_command_offset FROM checkpoints
           WHERE kind = $1 AND partition = $2"#,
    )
    .bind(kind.as_str())
    .bind(partition)
    .fetch_optional(connection)
    .await?;
    Ok(found.map_or(Checkpoint::START, |(epoch, offset, last_command_offset)| Checkpoint {
        epoch,
        offset,
        last_command_offset,
    }))
}

pub(super) async fn journal(
    pool: &PgPool,
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
        r#"SELECT j."offset", j.last_seq, j.changes, j.at, j.crc, j.value
           FROM journal j JOIN entities e ON e.id = j.entity
           WHERE e.key = $1 AND j.last_seq > $2 AND j.last_seq - j.changes + 1 < $3 {empty}
           ORDER BY j.last_seq {order}, j."offset" {order} LIMIT $4"#
    );
    let rows: Vec<JournalTuple> = sqlx::query_as(AssertSqlSafe(statement))
        .bind(key.to_string())
        .bind(query.after)
        .bind(query.before)
        .bind(query.limit)
        .fetch_all(pool)
        .await
        .map_err(unavailable)?;
    let rows: Result<Vec<_>, _> = rows.into_iter().map(|row| journal_row(key, row)).collect();
    let mut rows = rows?;
    if query.order == Order::NewestFirst {
        rows.reverse();
    }
    Ok(rows)
}

pub(super) async fn list(pool: &PgPool, query: ListQuery) -> Result<Vec<ListRow>, StoreError> {
    let rows: Vec<(String, String, i64, i64, i64)> = sqlx::query_as(
        "SELECT e.key, e.title, e.seq, e.created_at, e.updated_at FROM entities e \
         WHERE e.kind = $1 AND e.title IS NOT NULL \
         AND ($2::text IS NULL OR e.tenant = $2) AND e.entity > $3 \
         AND ($4::text IS NULL OR strpos(lower(e.title), lower($4)) > 0) \
         AND ($5::text IS NULL OR e.open OR EXISTS \
             (SELECT 1 FROM members m WHERE m.entity = e.id AND m.member = $5)) \
         ORDER BY e.entity, e.tenant LIMIT $6",
    )
    .bind(query.kind.as_str())
    .bind(query.tenant.as_ref().map(TenantId::as_str))
    .bind(query.after.unwrap_or_default())
    .bind(&query.text)
    .bind(query.reader.as_ref().map(UserName::as_str))
    .bind(query.limit)
    .fetch_all(pool)
    .await
    .map_err(unavailable)?;
    let row = |(key, title, seq, created_at, updated_at): (String, String, i64, i64, i64)| {
        let key = key.parse().map_err(|_| StoreError::Damaged {
            at: format!("entity {key:?} in PostgreSQL"),
            reason: "its key is no key".into(),
        })?;
        let created_at = Timestamp::from_millis(created_at);
        let updated_at = Timestamp::from_millis(updated_at);
        Ok(ListRow { key, title, seq, created_at, updated_at })
    };
    rows.into_iter().map(row).collect()
}

pub(super) async fn partition(
    pool: &PgPool,
    kind: Kind,
    partition: i32,
) -> Result<PartitionState, StoreError> {
    let rows: Vec<(Option<String>, i64, Option<i64>, i64)> = sqlx::query_as(
        r#"SELECT NULL AS key, "offset" AS at, epoch, last_command_offset FROM checkpoints
           WHERE kind = $1 AND partition = $2
           UNION ALL
           SELECT key, at, NULL, 0 FROM timers WHERE kind = $1 AND partition = $2"#,
    )
    .bind(kind.as_str())
    .bind(partition)
    .fetch_all(pool)
    .await
    .map_err(unavailable)?;
    let mut state = PartitionState { checkpoint: Checkpoint::START, timers: Vec::new() };
    for (key, at, epoch, last_command_offset) in rows {
        match key {
            None => {
                state.checkpoint = Checkpoint { epoch, offset: at, last_command_offset };
            }
            Some(key) => {
                let key = key.parse().ok();
                state.timers.extend(key.map(|key| (key, Timestamp::from_millis(at))));
            }
        }
    }
    Ok(state)
}

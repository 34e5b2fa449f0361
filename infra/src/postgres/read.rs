//! Reading: one entity at one moment, journals, lists, checkpoints.

use actors::ports::{
    Checkpoint, EmptyOutcomes, JournalQuery, JournalRow, ListQuery, ListRow, Loaded, Order,
    PartitionState, SnapshotRow, StoreError,
};
use schemas::{EntityKey, Kind, TenantId, Timestamp, UserName};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::unavailable;
use crate::crc::crc;

/// Reads checkpoint, snapshot and journal as of one moment.
const ONE_MOMENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

type JournalTuple = (i64, i64, i64, i64, i64, Vec<u8>);

pub(super) async fn load(
    pool: &PgPool,
    key: &EntityKey,
    partition: i32,
) -> Result<Loaded, StoreError> {
    let mut transaction = pool.begin_with(ONE_MOMENT).await.map_err(unavailable)?;
    let checkpoint =
        checkpoint(&mut transaction, key.entity.kind(), partition).await.map_err(unavailable)?;
    let found: Option<(i64, Option<i64>, Option<i64>, Option<i64>, Option<Vec<u8>>)> =
        sqlx::query_as(
            r#"SELECT e.id, s."offset", s.seq, s.crc, s.value FROM entities e
               LEFT JOIN snapshots s ON s.entity = e.id WHERE e.key = $1"#,
        )
        .bind(key.to_string())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(unavailable)?;
    let Some((id, offset, seq, sum, value)) = found else {
        transaction.rollback().await.map_err(unavailable)?;
        return Ok(Loaded { snapshot: None, journal: Vec::new(), checkpoint });
    };
    let snapshot = match (offset, seq, sum, value) {
        (Some(offset), Some(seq), Some(sum), Some(value)) => {
            check(&value, sum, || format!("the snapshot of {key} in PostgreSQL"))?;
            Some(SnapshotRow { key: key.clone(), offset, seq, value: value.into() })
        }
        _none => None,
    };
    let (seq, offset) = snapshot.as_ref().map_or((0, -1), |row| (row.seq, row.offset));
    let rows: Vec<JournalTuple> = sqlx::query_as(
        r#"SELECT "offset", last_seq, changes, at, crc, value FROM journal
           WHERE entity = $1 AND last_seq >= $2 AND "offset" > $3 ORDER BY last_seq, "offset""#,
    )
    .bind(id)
    .bind(seq)
    .bind(offset)
    .fetch_all(&mut *transaction)
    .await
    .map_err(unavailable)?;
    transaction.rollback().await.map_err(unavailable)?;
    let journal: Result<_, _> = rows.into_iter().map(|row| journal_row(key, row)).collect();
    Ok(Loaded { snapshot, journal: journal?, checkpoint })
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
    let mut transaction = pool.begin_with(ONE_MOMENT).await.map_err(unavailable)?;
    let checkpoint = checkpoint(&mut transaction, kind, partition).await.map_err(unavailable)?;
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT key, at FROM timers WHERE kind = $1 AND partition = $2")
            .bind(kind.as_str())
            .bind(partition)
            .fetch_all(&mut *transaction)
            .await
            .map_err(unavailable)?;
    transaction.rollback().await.map_err(unavailable)?;
    let timer = |(key, at): (String, i64)| Some((key.parse().ok()?, Timestamp::from_millis(at)));
    Ok(PartitionState { checkpoint, timers: rows.into_iter().filter_map(timer).collect() })
}

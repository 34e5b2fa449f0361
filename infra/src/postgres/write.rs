//! Writing: one step of a projector in one transaction. Rows go as arrays, so that a step is a
//! handful of statements whatever its size.

use std::collections::HashMap;

use actors::{
    domain::entity::ListingChange,
    ports::{Checkpoint, JournalRow, StoreWrite},
    runtime::guards::{Guards, Point},
};
use schemas::{EntityKey, Seq, Timestamp, UserName, role::TenantRole};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::read;
use crate::crc::crc;

/// Row id and seq of the entities of a step.
type Known = HashMap<EntityKey, (i64, Seq)>;

/// Writes the step; if the checkpoint is not the expected one, gives what it is and writes
/// nothing.
pub(super) async fn commit(
    pool: &PgPool,
    write: &StoreWrite,
    guards: &Guards,
) -> Result<Option<Checkpoint>, sqlx::Error> {
    // A step that says nothing may be repeated; it shows nothing of R7.
    if !write.journal.is_empty() {
        (guards.passes)(Point::BeforeCommit);
    }
    let mut transaction = pool.begin().await?;
    if !compare_and_set(&mut transaction, write, guards).await? {
        let found = read::checkpoint(&mut transaction, write.kind, write.partition).await?;
        transaction.rollback().await?;
        return Ok(Some(found));
    }
    if !write.journal.is_empty() {
        let mut known = find_or_insert(&mut transaction, &write.journal).await?;
        insert_journal(&mut transaction, &mut known, &write.journal, guards).await?;
        for (key, change) in &write.listing {
            list(&mut transaction, &known, key, change).await?;
        }
    }
    set_timers(&mut transaction, write).await?;
    (guards.passes)(Point::MidSnapshot);
    save_snapshots(&mut transaction, write).await?;
    transaction.commit().await?;
    Ok(None)
}

/// R7: the checkpoint moves only if it is where the projector left it. The row's lock keeps a
/// second projector waiting until this one has committed.
async fn compare_and_set(
    connection: &mut PgConnection,
    write: &StoreWrite,
    guards: &Guards,
) -> Result<bool, sqlx::Error> {
    let StoreWrite { kind, partition, expected, next, .. } = write;
    if *expected == Checkpoint::START {
        sqlx::query("INSERT INTO checkpoints VALUES ($1, $2, NULL, 0, -1) ON CONFLICT DO NOTHING")
            .bind(kind.as_str())
            .bind(partition)
            .execute(&mut *connection)
            .await?;
    }
    let updated = sqlx::query(
        r#"UPDATE checkpoints SET epoch = $1, "offset" = $2, last_command_offset = $3
           WHERE kind = $4 AND partition = $5 AND ($9 OR
           (epoch IS NOT DISTINCT FROM $6 AND "offset" = $7 AND last_command_offset = $8))"#,
    )
    .bind(next.epoch)
    .bind(next.offset)
    .bind(next.last_command_offset)
    .bind(kind.as_str())
    .bind(partition)
    .bind(expected.epoch)
    .bind(expected.offset)
    .bind(expected.last_command_offset)
    .bind(!guards.compare_and_set)
    .execute(connection)
    .await?;
    Ok(updated.rows_affected() == 1)
}

async fn find_or_insert(
    connection: &mut PgConnection,
    rows: &[JournalRow],
) -> Result<Known, sqlx::Error> {
    let mut first: HashMap<&EntityKey, Timestamp> = HashMap::new();
    for row in rows {
        first.entry(&row.key).or_insert(row.at);
    }
    let keys: Vec<String> = first.keys().map(ToString::to_string).collect();
    let tenants: Vec<&str> = first.keys().map(|key| key.tenant.as_str()).collect();
    let kinds: Vec<&str> = first.keys().map(|key| key.entity.kind().as_str()).collect();
    let ids: Vec<&str> = first.keys().map(|key| key.entity.id()).collect();
    let times: Vec<i64> = first.values().map(|at| at.as_millis()).collect();
    sqlx::query(
        "INSERT INTO entities (key, tenant, kind, entity, seq, created_at, updated_at) \
         SELECT k, t, d, i, 0, at, at \
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int8[]) AS n(k, t, d, i, at) \
         ON CONFLICT (key) DO NOTHING",
    )
    .bind(&keys)
    .bind(&tenants)
    .bind(&kinds)
    .bind(&ids)
    .bind(&times)
    .execute(&mut *connection)
    .await?;
    let found: Vec<(String, i64, i64)> =
        sqlx::query_as("SELECT key, id, seq FROM entities WHERE key = ANY($1)")
            .bind(&keys)
            .fetch_all(connection)
            .await?;
    let known = |(key, id, seq): (String, i64, i64)| Some((key.parse().ok()?, (id, seq)));
    Ok(found.into_iter().filter_map(known).collect())
}

async fn insert_journal(
    connection: &mut PgConnection,
    known: &mut Known,
    rows: &[JournalRow],
    guards: &Guards,
) -> Result<(), sqlx::Error> {
    let (mut entities, mut seqs) = (Vec::new(), Vec::new());
    let mut moved: HashMap<i64, (Seq, i64)> = HashMap::new();
    for row in rows {
        let entity = known.get_mut(&row.key).ok_or(sqlx::Error::RowNotFound)?;
        if row.last_seq != JournalRow::UNCHANGED {
            entity.1 = row.last_seq;
        }
        entities.push(entity.0);
        seqs.push(entity.1);
        moved.insert(entity.0, (entity.1, row.at.as_millis()));
    }
    let offsets: Vec<i64> = rows.iter().map(|row| row.offset).collect();
    let changes: Vec<i64> = rows.iter().map(|row| row.changes).collect();
    let times: Vec<i64> = rows.iter().map(|row| row.at.as_millis()).collect();
    let sums: Vec<i64> = rows.iter().map(|row| crc(&[&row.value])).collect();
    let values: Vec<&[u8]> = rows.iter().map(|row| &row.value[..]).collect();
    // Rows that are there already are what R7 keeps from happening.
    let existing = if guards.compare_and_set { "" } else { " ON CONFLICT DO NOTHING" };
    let insert = format!(
        r#"INSERT INTO journal (entity, last_seq, "offset", changes, at, crc, value)
           SELECT * FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[], $5::int8[],
                                $6::int8[], $7::bytea[]){existing}"#
    );
    sqlx::query(AssertSqlSafe(insert))
        .bind(&entities)
        .bind(&seqs)
        .bind(&offsets)
        .bind(&changes)
        .bind(&times)
        .bind(&sums)
        .bind(&values)
        .execute(&mut *connection)
        .await?;
    let ids: Vec<i64> = moved.keys().copied().collect();
    let (seqs, times): (Vec<i64>, Vec<i64>) = moved.values().copied().unzip();
    sqlx::query(
        "UPDATE entities e SET seq = n.seq, updated_at = n.at \
         FROM unnest($1::int8[], $2::int8[], $3::int8[]) AS n(id, seq, at) WHERE e.id = n.id",
    )
    .bind(&ids)
    .bind(&seqs)
    .bind(&times)
    .execute(connection)
    .await?;
    Ok(())
}

async fn list(
    connection: &mut PgConnection,
    known: &Known,
    key: &EntityKey,
    change: &ListingChange,
) -> Result<(), sqlx::Error> {
    let Some((entity, _)) = known.get(key) else { return Ok(()) };
    let open = |role: &TenantRole| *role != TenantRole::None;
    let query = match change {
        ListingChange::Created { title, tenant_role, owner } => {
            if let Some(owner) = owner {
                add_member(connection, *entity, owner).await?;
            }
            sqlx::query("UPDATE entities SET title = $1, open = $2 WHERE id = $3")
                .bind(title)
                .bind(open(tenant_role))
                .bind(entity)
        }
        ListingChange::Updated { title, tenant_role } => sqlx::query(
            "UPDATE entities SET title = coalesce($1, title), open = coalesce($2, open) \
             WHERE id = $3",
        )
        .bind(title)
        .bind(tenant_role.as_ref().map(open))
        .bind(entity),
        ListingChange::MemberAdded(user) => return add_member(connection, *entity, user).await,
        ListingChange::MemberRemoved(user) => {
            sqlx::query("DELETE FROM members WHERE entity = $1 AND member = $2")
                .bind(entity)
                .bind(user.as_str())
        }
    };
    query.execute(connection).await?;
    Ok(())
}

async fn add_member(
    connection: &mut PgConnection,
    entity: i64,
    user: &UserName,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query("INSERT INTO members VALUES ($1, $2) ON CONFLICT DO NOTHING");
    query.bind(entity).bind(user.as_str()).execute(connection).await?;
    Ok(())
}

async fn set_timers(connection: &mut PgConnection, write: &StoreWrite) -> Result<(), sqlx::Error> {
    let none =
        |(key, wish): (&EntityKey, &Option<Timestamp>)| wish.is_none().then(|| key.to_string());
    let gone: Vec<String> = write.timers.iter().filter_map(none).collect();
    if !gone.is_empty() {
        sqlx::query("DELETE FROM timers WHERE key = ANY($1)")
            .bind(&gone)
            .execute(&mut *connection)
            .await?;
    }
    for (key, wish) in &write.timers {
        let Some(at) = wish else { continue };
        sqlx::query(
            "INSERT INTO timers VALUES ($1, $2, $3, $4) ON CONFLICT (key) DO UPDATE \
             SET partition = excluded.partition, at = excluded.at",
        )
        .bind(key.to_string())
        .bind(write.kind.as_str())
        .bind(write.partition)
        .bind(at.as_millis())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn save_snapshots(
    connection: &mut PgConnection,
    write: &StoreWrite,
) -> Result<(), sqlx::Error> {
    for row in &write.snapshots {
        sqlx::query(
            r#"INSERT INTO snapshots SELECT id, $1, $2, $3, $4 FROM entities WHERE key = $5
               ON CONFLICT (entity) DO UPDATE SET "offset" = excluded."offset",
               seq = excluded.seq, crc = excluded.crc, value = excluded.value
               WHERE excluded."offset" > snapshots."offset""#,
        )
        .bind(row.offset)
        .bind(row.seq)
        .bind(crc(&[&row.value]))
        .bind(&row.value[..])
        .bind(row.key.to_string())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

//! Values by name.

use actors::ports::{Expected, Mappings, StoreError};
use async_trait::async_trait;
use bytes::Bytes;

use sqlx::PgPool;

use super::{PostgresStore, unavailable};

/// Of nodes that start together one makes the table: they lock this number.
const MAKING: i64 = 8_417_002;

/// Makes the table. It is no migration: a release that does not know one refuses to start, and the
/// release before this one may start again while a cluster is upgraded.
pub(super) async fn make(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MAKING).execute(&mut *transaction).await?;
    // Whoever may not make tables may use one that is there.
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass('mappings') IS NOT NULL")
        .fetch_one(&mut *transaction)
        .await?;
    if !is_there {
        let sql = include_str!("../../migrations/postgres/mappings.sql");
        sqlx::raw_sql(sql).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

#[async_trait]
impl Mappings for PostgresStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let found: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT value FROM mappings WHERE key = $1")
                .bind(key)
                .fetch_optional(&self.pool)
                .await
                .map_err(unavailable)?;
        Ok(found.map(Bytes::from))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Bytes)>, StoreError> {
        let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(
            "SELECT key, value FROM mappings WHERE key >= $1 AND starts_with(key, $1) \
             AND key < $1 || chr(1114111) ORDER BY key",
        )
        .bind(prefix)
        .fetch_all(&self.pool)
        .await
        .map_err(unavailable)?;
        Ok(rows.into_iter().map(|(key, value)| (key, Bytes::from(value))).collect())
    }

    async fn write(
        &self,
        changes: Vec<(String, Option<Bytes>)>,
        expected: Option<Expected>,
    ) -> Result<bool, StoreError> {
        let pool = self.pool.clone();
        // In a task of its own, as every commit here.
        let written = tokio::spawn(async move {
            let mut transaction = pool.begin().await?;
            if let Some(expected) = expected {
                let found: Option<Vec<u8>> =
                    sqlx::query_scalar("SELECT value FROM mappings WHERE key = $1 FOR UPDATE")
                        .bind(&expected.key)
                        .fetch_optional(&mut *transaction)
                        .await?;
                if found.as_deref() != expected.value.as_deref() {
                    return Ok(false);
                }
            }
            for (key, value) in changes {
                let query = match &value {
                    Some(value) => sqlx::query(
                        "INSERT INTO mappings VALUES ($1, $2) \
                         ON CONFLICT (key) DO UPDATE SET value = $2",
                    )
                    .bind(&key)
                    .bind(&value[..]),
                    None => sqlx::query("DELETE FROM mappings WHERE key = $1").bind(&key),
                };
                query.execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
            Ok(true)
        });
        let ended =
            |error: tokio::task::JoinError| StoreError::Unavailable(error.to_string().into());
        written.await.map_err(ended)?.map_err(unavailable)
    }
}

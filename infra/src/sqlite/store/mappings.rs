//! Values by name in `store.db`.

use actors::ports::{Expected, Mappings, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use sqlx::{Connection as _, SqliteConnection};

use super::SqliteStore;

/// Makes the table; a store of the first release has none.
pub(super) async fn make(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS mappings \
         (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[async_trait]
impl Mappings for SqliteStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let found: Option<Vec<u8>> = sqlx::query_scalar("SELECT value FROM mappings WHERE key = ?")
            .bind(key)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.error(&error))?;
        Ok(found.map(Bytes::from))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Bytes)>, StoreError> {
        let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(
            "SELECT key, value FROM mappings WHERE key >= ? AND substr(key, 1, length(?)) = ? \
             AND key < ? ORDER BY key",
        )
        .bind(prefix)
        .bind(prefix)
        .bind(prefix)
        .bind(format!("{prefix}\u{10ffff}"))
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.error(&error))?;
        Ok(rows.into_iter().map(|(key, value)| (key, Bytes::from(value))).collect())
    }

    async fn write(
        &self,
        changes: Vec<(String, Option<Bytes>)>,
        expected: Option<Expected>,
    ) -> Result<bool, StoreError> {
        let read_only = || StoreError::Unavailable("the store is only looked at".into());
        let mut writer = self.writer.as_ref().ok_or_else(read_only)?.lock().await;
        let written = async {
            let mut transaction = writer.connection.begin().await?;
            if let Some(expected) = expected {
                let found: Option<Vec<u8>> =
                    sqlx::query_scalar("SELECT value FROM mappings WHERE key = ?")
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
                        "INSERT INTO mappings VALUES (?1, ?2) \
                         ON CONFLICT (key) DO UPDATE SET value = ?2",
                    )
                    .bind(&key)
                    .bind(&value[..]),
                    None => sqlx::query("DELETE FROM mappings WHERE key = ?").bind(&key),
                };
                query.execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
            Ok(true)
        };
        written.await.map_err(|error: sqlx::Error| self.error(&error))
    }
}

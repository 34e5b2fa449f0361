//! The store on PostgreSQL, shared by all nodes. Projectors of different partitions write at the
//! same time; each step is one transaction that moves its checkpoint by compare-and-set (R7).

mod mappings;
mod read;
mod replica;
mod write;

use std::{str::FromStr as _, sync::Arc, time::Duration};

use actors::{
    ports::{
        Checkpoint, JournalQuery, JournalRow, ListQuery, ListRow, Loaded, PartitionState, Store,
        StoreError, StoreWrite,
    },
    runtime::guards::Guards,
};
use async_trait::async_trait;
use schemas::{EntityKey, Kind};
use sqlx::{
    ConnectOptions as _, PgPool, SqlStr,
    migrate::{Migration, MigrationType, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};

use self::replica::Replica;

/// A connection must be had within this.
const CONNECT_WITHIN: Duration = Duration::from_secs(6);
/// Statements that take longer are logged.
const SLOW: Duration = Duration::from_millis(500);
/// A statement that takes longer is given up by the server.
const STATEMENT_TIMEOUT: &str = "30s";
/// The oldest release of the server that the statements here are written for.
const OLDEST_SERVER: i32 = 130_000;

/// How the database is reached.
#[derive(Debug, Clone)]
pub struct PostgresSettings {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// A streaming replica for lists and old history.
    pub replica_url: Option<String>,
    /// The replica is left alone while it is further behind.
    pub replica_lag: Duration,
    /// Connections of this node to each server.
    pub connections: u32,
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The address is none.
    #[error("{key} is no PostgreSQL address")]
    Address {
        /// Which setting.
        key: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The server cannot be reached or refuses.
    #[error("{key}: the server cannot be used")]
    Unreachable {
        /// Which setting.
        key: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The server is too old.
    #[error("postgres.url: the server is release {found}, 13 or newer is needed")]
    TooOld {
        /// Its release.
        found: String,
    },
    /// The tables cannot be made or changed.
    #[error("postgres.url: the migrations cannot be run")]
    Migrations(#[from] sqlx::migrate::MigrateError),
    /// The data were written with another number of partitions.
    #[error(
        "kafka.partitions is {wanted} and the store was filled with {found}: changing it moves keys"
    )]
    Partitions {
        /// What is configured.
        wanted: i32,
        /// What the store holds.
        found: String,
    },
}

/// The store in PostgreSQL.
pub struct PostgresStore {
    pool: PgPool,
    replica: Option<Replica>,
    guards: Arc<Guards>,
}

fn migrations() -> Migrator {
    let sql = include_str!("../../migrations/postgres/1_store.sql");
    let first =
        Migration::new(1, "store".into(), MigrationType::Simple, SqlStr::from_static(sql), false);
    Migrator::with_migrations(vec![first])
}

fn pool(key: &'static str, url: &str, connections: u32) -> Result<PgPool, PostgresError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|source| PostgresError::Address { key, source })?
        .application_name("switchyard")
        .options([("statement_timeout", STATEMENT_TIMEOUT)])
        .log_slow_statements(log::LevelFilter::Warn, SLOW);
    let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(CONNECT_WITHIN);
    Ok(pool.connect_lazy_with(options))
}

impl PostgresStore {
    /// Connects, makes the tables if needed, and compares the number of partitions.
    ///
    /// # Errors
    /// If a server cannot be used or the data do not fit.
    pub async fn open(
        settings: &PostgresSettings,
        partitions: i32,
        guards: Arc<Guards>,
    ) -> Result<Self, PostgresError> {
        let pool = pool("postgres.url", &settings.url, settings.connections)?;
        let unreachable = |source| PostgresError::Unreachable { key: "postgres.url", source };
        // A pool would try again and in the end say only that it took too long.
        drop(pool.connect_options().connect().await.map_err(unreachable)?);
        let (release, text): (i32, String) = sqlx::query_as(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version')",
        )
        .fetch_one(&pool)
        .await
        .map_err(unreachable)?;
        if release < OLDEST_SERVER {
            return Err(PostgresError::TooOld { found: text });
        }
        migrations().run(&pool).await?;
        mappings::make(&pool).await.map_err(unreachable)?;
        let found: String = sqlx::query_scalar(
            "INSERT INTO settings VALUES ('partitions', $1) \
             ON CONFLICT (name) DO UPDATE SET value = settings.value RETURNING value",
        )
        .bind(partitions.to_string())
        .fetch_one(&pool)
        .await
        .map_err(unreachable)?;
        if found != partitions.to_string() {
            return Err(PostgresError::Partitions { wanted: partitions, found });
        }
        let replica = match &settings.replica_url {
            Some(url) => {
                let replica = self::pool("postgres.replica_url", url, settings.connections)?;
                let primary = pool.clone();
                Some(Replica::watch(primary, replica, settings.replica_lag))
            }
            None => None,
        };
        Ok(Self { pool, replica, guards })
    }

    /// Where history and lists are read: the replica while it keeps up.
    fn readable(&self) -> &PgPool {
        self.replica.as_ref().and_then(Replica::pool).unwrap_or(&self.pool)
    }
}

fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(error.to_string().into())
}

#[async_trait]
impl Store for PostgresStore {
    async fn load(&self, key: &EntityKey, partition: i32) -> Result<Loaded, StoreError> {
        read::load(&self.pool, key, partition).await
    }

    async fn commit(&self, write: StoreWrite) -> Result<(), StoreError> {
        // In a task of its own: a projector that is dropped must not leave a transaction open on
        // a connection that goes back to the pool, where the next reader would see its past.
        let (pool, guards) = (self.pool.clone(), self.guards.clone());
        let commit = tokio::spawn(async move { write::commit(&pool, &write, &guards).await });
        let ended =
            |error: tokio::task::JoinError| StoreError::Unavailable(error.to_string().into());
        let found: Option<Checkpoint> = commit.await.map_err(ended)?.map_err(unavailable)?;
        found.map_or(Ok(()), |found| Err(StoreError::Stale { found }))
    }

    async fn journal(
        &self,
        key: &EntityKey,
        query: JournalQuery,
    ) -> Result<Vec<JournalRow>, StoreError> {
        // The gateway adds what the store has not yet, as far as the primary told it: rows of the
        // replica would leave a hole between the two.
        read::journal(&self.pool, key, query).await
    }

    async fn list(&self, query: ListQuery) -> Result<Vec<ListRow>, StoreError> {
        read::list(self.readable(), query).await
    }

    async fn partition(&self, kind: Kind, partition: i32) -> Result<PartitionState, StoreError> {
        read::partition(&self.pool, kind, partition).await
    }
}

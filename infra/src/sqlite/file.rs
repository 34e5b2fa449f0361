//! Opening a SQLite file: settings, schema version, integrity.

use std::path::Path;

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::OpenError;

/// How far a commit must have gone when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// To the disk: nothing acknowledged is lost when the power goes.
    Full,
    /// To the operating system: nothing acknowledged is lost when the process dies.
    Normal,
}

impl From<Synchronous> for SqliteSynchronous {
    fn from(synchronous: Synchronous) -> Self {
        match synchronous {
            Synchronous::Full => Self::Full,
            Synchronous::Normal => Self::Normal,
        }
    }
}

/// Settings with which every writing connection to `path` is made.
pub(super) fn options(path: &Path, synchronous: Synchronous) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous.into())
        .pragma("cache_size", "-65536")
        .pragma("wal_autocheckpoint", "4000")
        .pragma("temp_store", "memory")
        .disable_statement_logging()
}

/// Opens the writing connection: makes the schema in a new file, refuses a damaged or a newer one.
pub(super) async fn open(
    path: &Path,
    options: &SqliteConnectOptions,
    schema: &'static str,
) -> Result<SqliteConnection, OpenError> {
    let database = |source| OpenError::Database { path: path.to_owned(), source };
    let damaged = |reason: String| OpenError::Damaged { path: path.to_owned(), reason };
    let is_new = std::fs::metadata(path).map_or(true, |file| file.len() == 0);
    let mut connection = match options.connect().await {
        Ok(connection) => connection,
        Err(error) if is_damage(&error) => return Err(damaged(error.to_string())),
        Err(error) => return Err(database(error)),
    };
    if !is_new {
        let check = sqlx::query("PRAGMA quick_check(1)").fetch_one(&mut connection).await;
        match check.and_then(|row| row.try_get::<String, _>(0)) {
            Ok(verdict) if verdict == "ok" => {}
            Ok(verdict) => return Err(damaged(verdict)),
            Err(error) if is_damage(&error) => return Err(damaged(error.to_string())),
            Err(error) => return Err(database(error)),
        }
    }
    let version: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut connection)
        .await
        .map_err(database)?;
    match version {
        0 => {
            let mut transaction = connection.begin().await.map_err(database)?;
            sqlx::raw_sql(schema).execute(&mut *transaction).await.map_err(database)?;
            sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA user_version = {VERSION}")))
                .execute(&mut *transaction)
                .await
                .map_err(database)?;
            transaction.commit().await.map_err(database)?;
        }
        VERSION => {}
        found => {
            return Err(OpenError::Version { path: path.to_owned(), found, known: VERSION });
        }
    }
    Ok(connection)
}

/// Moves the write-ahead log into the file, so that the file alone is a whole copy.
pub(super) async fn checkpoint(options: &SqliteConnectOptions) -> Result<(), sqlx::Error> {
    let mut connection = options.connect().await?;
    sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
    connection.close().await
}

/// Opens a file that is there, for reading.
pub(super) async fn open_read_only(
    path: &Path,
    options: &SqliteConnectOptions,
) -> Result<SqliteConnection, OpenError> {
    let failed = |source: sqlx::Error| {
        if is_damage(&source) {
            OpenError::Damaged { path: path.to_owned(), reason: source.to_string() }
        } else {
            OpenError::Database { path: path.to_owned(), source }
        }
    };
    let options = options.clone().create_if_missing(false);
    let mut connection = options.connect().await.map_err(failed)?;
    let version: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    if version == VERSION {
        Ok(connection)
    } else {
        Err(OpenError::Version { path: path.to_owned(), found: version, known: VERSION })
    }
}

/// The schema version of this release.
const VERSION: i64 = 1;

/// Whether SQLite says that the file is not what it wrote (SQLITE_CORRUPT, SQLITE_NOTADB and
/// their extensions, whose low byte is 11 or 26).
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .and_then(|code| code.parse::<u32>().ok())
        .is_some_and(|code| matches!(code & 0xff, 11 | 26))
}

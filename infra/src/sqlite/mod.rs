//! Log and store of a node that is alone: two SQLite files in one data folder, which one process
//! at a time may use.

mod file;
mod log;
mod store;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

pub use file::Synchronous;
pub use log::{LogSettings, SqliteLog};
pub use store::SqliteStore;

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or its lock file cannot be made or read.
    #[error("the data folder {} cannot be used", path.display())]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process uses it.
    #[error("the data folder {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// A file is there but cannot be opened.
    #[error("{} cannot be opened as a database", path.display())]
    Database {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A file is there but is not whole.
    #[error("{} is damaged: {reason}; restore it from a backup", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A file was written by a release or for a purpose that this one does not know.
    #[error("{} has schema version {found}, this release knows up to {known}", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// What it says.
        found: i64,
        /// What is known.
        known: i64,
    },
    /// The number of partitions differs from what the data was written with.
    #[error("the data was written with {found} partitions a kind, not {wanted}; keys would move")]
    Partitions {
        /// What the data says.
        found: i32,
        /// What the configuration says.
        wanted: i32,
    },
}

/// The exclusive right to a data folder, held while this lives.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// None for a reader: SQLite lets it look while another process writes.
    _lock: Option<File>,
}

impl DataFolder {
    /// Makes the folder if needed and takes its lock.
    ///
    /// # Errors
    /// If it cannot be made, or if another process holds it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let folder = |source| OpenError::Folder { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(folder)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(folder)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: Some(lock) }),
            Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
            Err(fs::TryLockError::Error(source)) => Err(folder(source)),
        }
    }

    /// Looks at a folder that another process may be using; nothing can be written.
    ///
    /// # Errors
    /// If there is no such folder.
    pub fn look_at(path: &Path) -> Result<Self, OpenError> {
        let missing = |source| OpenError::Folder { path: path.to_owned(), source };
        fs::metadata(path.join("log.db")).map_err(missing)?;
        Ok(Self { path: path.to_owned(), _lock: None })
    }

    /// Where a file of this folder is.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

//! What can keep a load run from being carried out. A run that was carried out and did not meet
//! its objectives is not an error but a verdict (`slo`). Causes are chained as sources.

use std::path::PathBuf;

/// Why a run could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line asks for something that cannot be: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// An HTTP call got no answer.
    #[error("{call}")]
    Http {
        /// Method and path.
        call: String,
        /// What the client library says.
        source: reqwest::Error,
    },
    /// An HTTP call was answered, but not with what the run needs.
    #[error("{call}: HTTP {status}: {detail}")]
    Answer {
        /// Method and path.
        call: String,
        /// The status code.
        status: u16,
        /// The beginning of the body.
        detail: String,
    },
    /// Too little could be opened to measure anything.
    #[error("{0}")]
    Setup(String),
    /// A file could not be read or written.
    #[error("{path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The SQLite baseline failed.
    #[error("the SQLite baseline")]
    Baseline(#[from] sqlx::Error),
    /// Kafka failed.
    #[error("Kafka")]
    Kafka(#[from] rdkafka::error::KafkaError),
    /// A thread or runtime of the harness itself could not be started or died.
    #[error("harness: {0}")]
    Harness(String),
}

impl Error {
    /// The exit code: 2 for wrong use, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Http { .. }
            | Self::Answer { .. }
            | Self::Setup(_)
            | Self::File { .. }
            | Self::Baseline(_)
            | Self::Kafka(_)
            | Self::Harness(_) => 1,
        }
    }
}

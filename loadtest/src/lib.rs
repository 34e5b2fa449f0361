//! The load harness: puts a Switchyard server under load as many clients would, and holds it to
//! what it promises.
//!
//! Three principles. Messages are sent at times fixed beforehand and latencies count from those
//! times, so a stalled server cannot hide by making the harness wait (`schedule`, `pacer`). Loss,
//! repeats and order are counted exactly, by each subscriber and against the journal (`ledger`,
//! `commands`). And the harness is cheap, because it shares the machine with what it measures
//! (`socket`, `frame`, `scan`, `fleet`).
//!
//! A scenario is a module with `run(&Args) -> Result<Report, Error>` and a `Listener` for its
//! sockets; a new one is added to `cli::Scenario` and to `run`.

mod api;
pub mod baseline;
pub mod capacity;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod error;
pub mod fanout;
mod fleet;
mod frame;
pub mod html;
pub mod idle;
pub mod ledger;
pub mod measure;
pub mod merge;
#[cfg(test)]
mod mock;
mod pacer;
mod plot;
pub mod procfs;
mod progress;
pub mod prometheus;
pub mod proto;
mod random;
pub mod report;
mod run;
pub mod scan;
pub mod scenario;
pub mod schedule;
pub mod slo;
mod socket;
pub mod units;

pub use run::run;

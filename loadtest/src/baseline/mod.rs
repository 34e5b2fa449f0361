//! What the machine gives to a plain client of the same log, measured in the same run: the bar that
//! a server is compared with.

pub mod kafka;
pub mod sqlite;

use serde::{Deserialize, Serialize};

use crate::measure::Distribution;
use crate::units::{format_count, format_ns};

/// Both measurements, and what the server reached beside them.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Baselines {
    /// What was measured.
    pub of: String,
    /// The size of a record: that of a command.
    pub record_bytes: usize,
    /// Outstanding records.
    pub in_flight: usize,
    /// Before the load.
    pub before: Baseline,
    /// After the load.
    pub after: Baseline,
    /// The server's accepted commands a second over the mean of both.
    pub ratio: f64,
}

/// One measurement.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// Durable records a second.
    pub rate: f64,
    /// Transactions a second, where there are any.
    pub commits: Option<f64>,
    /// From handing a record over until it is durable, or read by a consumer.
    pub latency: Distribution,
}

impl Baselines {
    /// For the table.
    pub fn lines(&self) -> [(String, String); 3] {
        let text = |measured: &Baseline| {
            let at = |quantile| measured.latency.at(quantile).map_or_else(String::new, format_ns);
            let commits = measured.commits.map_or_else(String::new, |commits| {
                format!(" in {} commits/s", format_count(commits.round()))
            });
            let rate = format_count(measured.rate.round());
            format!("{rate}/s{commits}, p50 {}, p99 {}", at(0.5), at(0.99))
        };
        let name = |when| format!("{} {when} ({} in flight)", self.of, self.in_flight);
        [
            (name("before"), text(&self.before)),
            (name("after"), text(&self.after)),
            (format!("server / {}", self.of), format!("{:.2}", self.ratio)),
        ]
    }
}

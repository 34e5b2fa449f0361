//! What came of a run: one structure for the table, the JSON file and the page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::baseline::Baselines;
use crate::capacity::Step;
use crate::compare::Compared;
use crate::measure::{Distribution, Second};
use crate::procfs::{Machine, Sample, Usage};
use crate::slo::{Slo, Verdict};
use crate::units::{format_bytes, format_count, format_ns};

/// Everything that a run measured.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Which scenario.
    pub scenario: String,
    /// The harness's version.
    pub version: String,
    /// When it began, in milliseconds since 1970.
    pub started_at_ms: u64,
    /// The options, defaults filled in, without the token.
    pub parameters: Value,
    /// Where the harness ran.
    pub machine: Machine,
    /// The measured time in seconds.
    pub measured_seconds: f64,
    /// Rates per second.
    pub rates: Vec<Rate>,
    /// Counts by name, in the order of the table.
    pub counts: Map<String, Value>,
    /// Errors by code: refusals, failed connections.
    pub errors: BTreeMap<String, u64>,
    /// Sockets that were closed during the run, by code.
    pub closed: BTreeMap<String, u64>,
    /// Latencies; the first is the one that objectives are about.
    pub distributions: Vec<Distribution>,
    /// The first distribution second by second, warm-up included.
    pub series: Vec<Second>,
    /// The phases of a scenario file.
    #[serde(default)]
    pub phases: Vec<Phase>,
    /// What the servers used, second by second of the measured time.
    #[serde(default)]
    pub usage: Vec<Sample>,
    /// What the server used, if its process id was given.
    pub server: Option<ProcessUse>,
    /// What the harness itself used.
    pub harness: Option<ProcessUse>,
    /// Plain SQLite group commit on the same disk.
    pub baseline: Option<Baselines>,
    /// What the reader has to know to judge the numbers.
    pub notes: Vec<String>,
    /// When it measured.
    #[serde(default)]
    pub window: Option<Measured>,
    /// The rates that `capacity` tried.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Beside an earlier report.
    #[serde(default)]
    pub comparison: Vec<Compared>,
    /// The objectives and whether they were met.
    pub slo: Vec<Verdict>,
}

/// One phase of a scenario file.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Its beginning, in seconds of the run.
    pub from_seconds: f64,
    /// Its end.
    pub until_seconds: f64,
    /// What was meant for this phase, by its intended time.
    pub distributions: Vec<Distribution>,
}

/// The measured time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// The first intended send time, where the series begins.
    pub origin_ms: u64,
    /// The end of the warm-up.
    pub from_ms: u64,
    /// The end of the sending.
    pub until_ms: u64,
}

/// A rate, as meant and as reached.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// Of what.
    pub name: String,
    /// What the schedule asked for; none in a closed loop.
    pub intended: Option<f64>,
    /// What arrived within the measured window.
    pub achieved: f64,
}

/// What a process used during the measured window.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessUse {
    /// At its beginning.
    pub before: Usage,
    /// At its end.
    pub after: Usage,
    /// Between them: 1.0 is one core.
    pub cores: f64,
    /// CPU time for each thing done, in microseconds, if anything was.
    pub cpu_us_each: Option<f64>,
    /// What that thing is.
    pub each: String,
    /// How many were done.
    #[serde(default)]
    pub done: u64,
    /// The time between the readings.
    #[serde(default)]
    pub seconds: f64,
}

impl ProcessUse {
    /// Between two readings, `seconds` apart, with `done` things done.
    pub fn between(before: Usage, after: Usage, seconds: f64, done: u64, each: &str) -> Self {
        let cpu = after.cpu_seconds - before.cpu_seconds;
        Self {
            before,
            after,
            cores: cpu / seconds.max(1e-9),
            cpu_us_each: (done > 0).then(|| cpu * 1e6 / done as f64),
            each: each.to_owned(),
            done,
            seconds,
        }
    }
}

impl Report {
    /// An empty report that begins now.
    pub fn new(scenario: &str, parameters: Value) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            scenario: scenario.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at_ms: now.as_millis() as u64,
            parameters,
            machine: Machine::here(),
            measured_seconds: 0.0,
            rates: Vec::new(),
            counts: Map::new(),
            errors: BTreeMap::new(),
            closed: BTreeMap::new(),
            distributions: Vec::new(),
            series: Vec::new(),
            phases: Vec::new(),
            usage: Vec::new(),
            server: None,
            harness: None,
            baseline: None,
            notes: Vec::new(),
            window: None,
            steps: Vec::new(),
            comparison: Vec::new(),
            slo: Vec::new(),
        }
    }

    /// Sets a count.
    pub fn set_count(&mut self, name: &str, count: u64) {
        self.counts.insert(name.to_owned(), count.into());
    }

    /// A count by name; `errors` is the sum of all errors and closed sockets.
    pub fn count(&self, name: &str) -> Option<u64> {
        if name == "errors" {
            return Some(self.errors.values().chain(self.closed.values()).sum());
        }
        self.counts.get(name)?.as_u64()
    }

    /// Holds the report to its objectives.
    pub fn judge(&mut self, slos: &[Slo]) {
        self.slo = slos.iter().map(|slo| slo.judge(self)).collect();
    }

    /// Whether every objective was met, and nothing got worse than its bound.
    pub fn is_met(&self) -> bool {
        self.slo.iter().all(|verdict| verdict.met) && self.comparison.iter().all(|one| one.met)
    }

    /// The steps of `capacity`, the plain log beside the server, and the earlier report.
    pub fn extra_lines(&self) -> Vec<(String, String)> {
        let mut lines: Vec<(String, String)> = Vec::new();
        for step in &self.steps {
            lines.push((format!("rate {}", format_count(step.rate)), step.summary()));
        }
        if let Some(baseline) = &self.baseline {
            lines.extend(baseline.lines());
        }
        for one in &self.comparison {
            lines.push((format!("compared: {}", one.name), one.summary()));
        }
        lines
    }

    /// The report for a terminal.
    pub fn table(&self) -> String {
        let mut out = String::new();
        self.write_table(&mut out).expect("writing to a string does not fail");
        out
    }

    fn write_table(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{} · {} s measured", self.scenario, self.measured_seconds)?;
        for rate in &self.rates {
            let intended = rate.intended.map_or_else(String::new, |intended| {
                format!("  of {} intended", format_count(intended))
            });
            line(out, &rate.name, &format!("{}/s{intended}", format_count(rate.achieved)))?;
        }
        for (name, count) in &self.counts {
            line(out, name, &format_count(count.as_f64().unwrap_or_default()))?;
        }
        for (title, counts) in [("error", &self.errors), ("closed", &self.closed)] {
            for (code, count) in counts {
                line(out, &format!("{title}: {code}"), &format_count(*count as f64))?;
            }
        }
        write_latencies(out, "latency", &self.distributions)?;
        for phase in &self.phases {
            let (from, until) = (phase.from_seconds, phase.until_seconds);
            let head = format!("phase {}, {from} to {until} s", phase.name);
            write_latencies(out, &head, &phase.distributions)?;
        }
        for (name, used) in [("server", &self.server), ("harness", &self.harness)] {
            if let Some(used) = used {
                line(out, name, &used.summary())?;
            }
        }
        for (name, text) in self.extra_lines() {
            line(out, &name, &text)?;
        }
        for note in &self.notes {
            writeln!(out, "  note: {note}")?;
        }
        for verdict in &self.slo {
            let word = if verdict.met { "met" } else { "NOT MET" };
            let text = format!("{word}, measured {}", verdict.measured);
            line(out, &format!("slo {}", verdict.objective), &text)?;
        }
        Ok(())
    }
}

impl ProcessUse {
    /// One line for people.
    pub fn summary(&self) -> String {
        let each = self
            .cpu_us_each
            .map_or_else(String::new, |us| format!(", {us:.2} µs CPU a {}", self.each));
        format!(
            "{:.2} cores{each}, RSS {} → {} (peak {})",
            self.cores,
            format_bytes(self.before.rss_bytes),
            format_bytes(self.after.rss_bytes),
            format_bytes(self.after.peak_rss_bytes),
        )
    }
}

fn line(out: &mut String, name: &str, value: &str) -> std::fmt::Result {
    writeln!(out, "  {name:<34} {value}")
}

fn write_latencies(
    out: &mut String,
    head: &str,
    distributions: &[Distribution],
) -> std::fmt::Result {
    if distributions.is_empty() {
        return Ok(());
    }
    write!(out, "  {head:<34}")?;
    for head in ["p50", "p90", "p99", "p99.9", "max", "count"] {
        write!(out, " {head:>10}")?;
    }
    writeln!(out)?;
    for distribution in distributions {
        write!(out, "  {:<34}", distribution.name)?;
        for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
            let value = distribution.at(quantile).map_or_else(|| "–".to_owned(), format_ns);
            write!(out, " {value:>10}")?;
        }
        writeln!(out, " {:>10}", format_count(distribution.count as f64))?;
    }
    Ok(())
}

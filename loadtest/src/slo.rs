//! Service level objectives: `p99=50ms`, `lost=0`. An objective that the scenario does not measure
//! is not met: silence proves nothing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::report::Report;
use crate::units::{format_ns, parse_duration};

const LATENCIES: [(&str, f64); 7] = [
    ("p50", 0.50),
    ("p75", 0.75),
    ("p90", 0.90),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p999", 0.999),
    ("max", 1.0),
];
const COUNTS: [&str; 7] =
    ["lost", "duplicate", "reordered", "errors", "unsent", "unanswered", "not back"];

/// One objective.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo {
    /// The distribution's name; the first one, if not given.
    of: Option<String>,
    name: &'static str,
    bound: Bound,
}

#[derive(Debug, Clone, PartialEq)]
enum Bound {
    Latency { quantile: f64, at_most_ns: u64 },
    Count { at_most: u64 },
}

/// Whether an objective was met, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Verdict {
    /// The objective as given: `p99=50ms`.
    pub objective: String,
    /// What was measured, or that it was not.
    pub measured: String,
    /// Whether that is within the objective.
    pub met: bool,
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, bound) =
            text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=BOUND"))?;
        let (of, name) = match name.split_once('.') {
            Some((of, name)) => (Some(of.to_owned()), name),
            None => (None, name),
        };
        if let Some(&(name, quantile)) = LATENCIES.iter().find(|(known, _)| *known == name) {
            let at_most_ns = parse_duration(bound)?.as_nanos() as u64;
            return Ok(Self { of, name, bound: Bound::Latency { quantile, at_most_ns } });
        }
        let count = COUNTS.iter().find(|known| **known == name && of.is_none());
        if let Some(&name) = count {
            let at_most = bound.parse().map_err(|_| format!("`{bound}` is not a count"))?;
            return Ok(Self { of, name, bound: Bound::Count { at_most } });
        }
        let latencies: Vec<&str> = LATENCIES.iter().map(|&(name, _)| name).collect();
        Err(format!(
            "`{name}` is not known; latencies: {}; counts: {}",
            latencies.join(", "),
            COUNTS.join(", ")
        ))
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(of) = &self.of {
            write!(formatter, "{of}.")?;
        }
        match self.bound {
            Bound::Latency { at_most_ns, .. } => {
                write!(formatter, "{} ≤ {}", self.name, format_ns(at_most_ns))
            }
            Bound::Count { at_most } => write!(formatter, "{} ≤ {at_most}", self.name),
        }
    }
}

impl Slo {
    /// Holds the report to this objective.
    pub fn judge(&self, report: &Report) -> Verdict {
        let (measured, met) = match self.bound {
            Bound::Latency { quantile, at_most_ns } => {
                let chosen = match &self.of {
                    Some(of) => report.distributions.iter().find(|one| one.name == *of),
                    None => report.distributions.first(),
                };
                let measured = chosen.and_then(|chosen| chosen.at(quantile));
                (measured.map(format_ns), measured.is_some_and(|ns| ns <= at_most_ns))
            }
            Bound::Count { at_most } => {
                let measured = report.count(self.name);
                (measured.map(|n| n.to_string()), measured.is_some_and(|n| n <= at_most))
            }
        };
        Verdict {
            objective: self.to_string(),
            measured: measured.unwrap_or_else(|| "not measured".to_owned()),
            met,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Distribution, histogram};

    fn report(latencies_ns: &[u64], lost: u64) -> Report {
        let mut measured = histogram();
        for &ns in latencies_ns {
            measured.record(ns).unwrap();
        }
        let mut report = Report::new("test", serde_json::Value::Null);
        report.distributions.push(Distribution::of("delivery", &measured));
        report.set_count("lost", lost);
        report
    }

    #[test]
    fn objectives_are_read() {
        for good in ["p50=1ms", "p90=2ms", "p99=50ms", "p999=1s", "max=2s", "lost=0", "errors=10"] {
            assert!(good.parse::<Slo>().is_ok(), "{good}");
        }
        for wrong in ["p99", "p99=50", "p98=1ms", "lost=few", "lost=-1", "=1ms", "lost=1ms"] {
            assert!(wrong.parse::<Slo>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn latencies_are_held_to_their_bound() {
        let fast = report(&[1_000_000; 100], 0);
        let mut slow_tail = [1_000_000; 100];
        slow_tail[98..].fill(80_000_000);
        let slow = report(&slow_tail, 0);
        let slo: Slo = "p99=50ms".parse().unwrap();
        assert!(slo.judge(&fast).met);
        assert!(!slo.judge(&slow).met);
        assert!("p50=50ms".parse::<Slo>().unwrap().judge(&slow).met);
    }

    #[test]
    fn an_objective_may_name_its_distribution() {
        let report = report(&[80_000_000], 0);
        assert!(!"delivery.p99=50ms".parse::<Slo>().unwrap().judge(&report).met);
        assert!("delivery.p99=90ms".parse::<Slo>().unwrap().judge(&report).met);
        assert!(!"http.p99=90ms".parse::<Slo>().unwrap().judge(&report).met);
        assert!("delivery.lost=0".parse::<Slo>().is_err());
    }

    #[test]
    fn counts_are_held_to_their_bound() {
        let slo: Slo = "lost=2".parse().unwrap();
        assert!(slo.judge(&report(&[1], 2)).met);
        let verdict = slo.judge(&report(&[1], 3));
        assert_eq!((verdict.measured.as_str(), verdict.met), ("3", false));
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        assert!(!"p99=1h".parse::<Slo>().unwrap().judge(&report(&[], 0)).met);
        assert!(!"reordered=0".parse::<Slo>().unwrap().judge(&report(&[1], 0)).met);
    }
}

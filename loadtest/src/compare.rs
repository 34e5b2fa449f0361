//! Compares a report with an earlier one: ratios, and bounds on how much worse it may be.

use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::report::Report;
use crate::units::{format_count, format_ns};

/// What a bound without a name is for.
const COMMON: [&str; 3] = ["rate", "p99", "cpu"];

/// How much worse something may be than it was.
#[derive(Debug, Clone, PartialEq)]
pub struct WorseBy {
    /// `rate`, `p50`, `p99`, `cpu` or a distribution's, as `http.p99`; all common ones, if not given.
    name: Option<String>,
    percent: f64,
}

/// One measurement beside the earlier one.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// What.
    pub name: String,
    /// Earlier: per second, nanoseconds, or microseconds of CPU.
    pub before: f64,
    /// Now.
    pub now: f64,
    /// Now over before.
    pub ratio: f64,
    /// How many percent worse it may be, if there is a bound.
    pub worse_by_percent: Option<f64>,
    /// Whether it is within the bound.
    pub met: bool,
}

impl FromStr for WorseBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, bound) = match text.split_once('=') {
            Some((name, bound)) => (Some(name.to_owned()), bound),
            None => (None, text),
        };
        let percent = bound.strip_suffix('%').and_then(|number| number.parse().ok());
        match percent {
            Some(percent) if (0.0..=1e6).contains(&percent) => Ok(Self { name, percent }),
            Some(_) | None => Err(format!("`{bound}` is not a percentage, as 20%")),
        }
    }
}

/// Reads a report that was written with `--json`.
pub fn read(path: &Path) -> Result<Report, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| Error::File { path: path.to_owned(), source })?;
    serde_json::from_str(&text)
        .map_err(|error| Error::Usage(format!("{}: not a report: {error}", path.display())))
}

/// Everything that both reports have, and whether it is within its bound. A bound for something that
/// they do not both have is wrong use.
pub fn compare(before: &Report, now: &Report, bounds: &[WorseBy]) -> Result<Vec<Compared>, Error> {
    if before.scenario != now.scenario {
        return Err(Error::Usage(format!(
            "--baseline: it is of the scenario `{}`, not `{}`",
            before.scenario, now.scenario
        )));
    }
    let earlier = measurements(before);
    let mut compared = Vec::new();
    for (name, now) in measurements(now) {
        let found = earlier.iter().find(|(other, _)| *other == name);
        let Some(&(_, before)) = found.filter(|(_, before)| *before > 0.0) else { continue };
        let ratio = now / before;
        let own = bounds.iter().rev().find(|bound| bound.name.as_deref() == Some(name.as_str()));
        let of_all = || {
            let is_common = COMMON.contains(&name.as_str());
            bounds.iter().rev().find(|bound| is_common && bound.name.is_none())
        };
        let worse_by_percent = own.or_else(of_all).map(|bound| bound.percent);
        let worse = if name == "rate" { 1.0 / ratio.max(1e-9) } else { ratio };
        let met = worse_by_percent.is_none_or(|percent| worse <= 1.0 + percent / 100.0);
        compared.push(Compared { name, before, now, ratio, worse_by_percent, met });
    }
    for name in bounds.iter().filter_map(|bound| bound.name.as_ref()) {
        if !compared.iter().any(|one| one.name == *name) {
            return Err(Error::Usage(format!(
                "--worse-by {name}: the reports do not both have it"
            )));
        }
    }
    Ok(compared)
}

fn measurements(report: &Report) -> Vec<(String, f64)> {
    let mut all = Vec::new();
    if let Some(rate) = report.rates.first() {
        all.push(("rate".to_owned(), rate.achieved));
    }
    for (number, distribution) in report.distributions.iter().enumerate() {
        for (quantile, name) in [(0.5, "p50"), (0.99, "p99")] {
            let Some(ns) = distribution.at(quantile) else { continue };
            if number == 0 {
                all.push((name.to_owned(), ns as f64));
            }
            all.push((format!("{}.{name}", distribution.name), ns as f64));
        }
    }
    if let Some(us) = report.server.as_ref().and_then(|server| server.cpu_us_each) {
        all.push(("cpu".to_owned(), us));
    }
    all
}

impl Compared {
    /// One line for people.
    pub fn summary(&self) -> String {
        let text = |value: f64| match self.name.as_str() {
            "rate" => format!("{}/s", format_count(value)),
            "cpu" => format!("{value:.2} µs"),
            _ => format_ns(value as u64),
        };
        let bound = self.worse_by_percent.map_or_else(String::new, |percent| {
            let word = if self.met { "within" } else { "WORSE BY MORE THAN" };
            format!(", {word} {percent}%")
        });
        format!("{} → {}, × {:.2}{bound}", text(self.before), text(self.now), self.ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Distribution, histogram};
    use crate::report::Rate;

    fn report(rate: f64, ns: u64) -> Report {
        let mut measured = histogram();
        measured.record(ns).unwrap();
        let mut report = Report::new("t", serde_json::Value::Null);
        report.rates.push(Rate { name: "x".to_owned(), intended: None, achieved: rate });
        report.distributions.push(Distribution::of("delivery", &measured));
        report
    }

    fn misses(now: &Report, bounds: &[&str]) -> Vec<String> {
        let bounds: Vec<WorseBy> = bounds.iter().map(|bound| bound.parse().unwrap()).collect();
        let compared = compare(&report(100.0, 10_000_000), now, &bounds).unwrap();
        compared.into_iter().filter(|one| !one.met).map(|one| one.name).collect()
    }

    #[test]
    fn what_is_worse_than_its_bound_is_found() {
        let worse = report(70.0, 13_000_000);
        assert!(misses(&worse, &[]).is_empty());
        assert_eq!(misses(&worse, &["20%"]), ["rate", "p99"]);
        assert_eq!(misses(&worse, &["50%"]), [""; 0]);
        assert_eq!(misses(&worse, &["50%", "delivery.p50=10%"]), ["delivery.p50"]);
        assert_eq!(misses(&worse, &["20%", "rate=50%"]), ["p99"]);
        assert!(misses(&report(200.0, 5_000_000), &["0%"]).is_empty());
    }

    #[test]
    fn what_cannot_be_compared_is_wrong_use() {
        let (now, bounds) = (report(1.0, 1), ["cpu=1%".parse().unwrap()]);
        assert!(compare(&now, &now, &bounds).unwrap_err().to_string().contains("cpu"));
        let other = Report::new("u", serde_json::Value::Null);
        assert!(compare(&other, &now, &[]).is_err());
        for wrong in ["20", "p99=", "x%", "-1%"] {
            assert!(wrong.parse::<WorseBy>().is_err(), "{wrong}");
        }
    }
}

//! `capacity`: raises the rate of a fan-out until the objectives do not hold, then halves the
//! interval between the highest rate that held and the lowest that did not.

use serde::{Deserialize, Serialize};

use crate::cli::CapacityArgs;
use crate::error::Error;
use crate::fanout;
use crate::progress::note;
use crate::report::Report;
use crate::slo::Slo;
use crate::units::{format_count, format_ns};

/// A start that does not hold is halved this often before giving up.
const MOST_HALVINGS: i32 = 6;

/// One rate that was tried.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Messages a second into each room.
    pub rate: f64,
    /// Deliveries a second that arrived.
    pub deliveries: f64,
    /// The 99th percentile of the delivery latency.
    pub p99_ns: Option<u64>,
    /// The servers' CPU: 1.0 is one core.
    pub server_cores: Option<f64>,
    /// The harness's CPU.
    pub harness_cores: Option<f64>,
    /// Whether the objectives held.
    pub held: bool,
}

impl Step {
    fn of(rate: f64, report: &Report, held: bool) -> Self {
        Self {
            rate,
            deliveries: report.rates.first().map_or(0.0, |rate| rate.achieved),
            p99_ns: report.distributions.first().and_then(|first| first.at(0.99)),
            server_cores: report.server.as_ref().map(|server| server.cores),
            harness_cores: report.harness.as_ref().map(|harness| harness.cores),
            held,
        }
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        let cores = |cores: Option<f64>, name| {
            cores.map_or_else(String::new, |cores| format!(", {name} {cores:.2} cores"))
        };
        format!(
            "{}: {} deliveries/s, p99 {}{}{}",
            if self.held { "held" } else { "did not hold" },
            format_count(self.deliveries.round()),
            self.p99_ns.map_or_else(|| "–".to_owned(), format_ns),
            cores(self.server_cores, "server"),
            cores(self.harness_cores, "harness"),
        )
    }
}

/// The objectives: those given, or p99 of 100 ms without loss.
pub fn objectives(args: &CapacityArgs) -> Vec<Slo> {
    let given = &args.fanout.common.output.slos;
    if !given.is_empty() {
        return given.clone();
    }
    let default = ["p99=100ms", "lost=0"];
    default.map(|slo| slo.parse().expect("the default objectives are valid")).to_vec()
}

/// Runs the steps; the report is that of the highest rate that held, or of the lowest that was tried.
pub async fn run(args: &CapacityArgs) -> Result<Report, Error> {
    let slos = objectives(args);
    let (mut steps, mut best, mut lowest) = (Vec::new(), None, None);
    let (mut held, mut failed) = (None, None);
    while let Some(rate) = next_rate(args, held, failed) {
        note(&format!("trying {} messages a second into each room", format_count(rate)));
        let mut fanout = args.fanout.clone();
        fanout.rate = rate;
        let mut report = fanout::run(&fanout).await?;
        report.judge(&slos);
        let holds = report.is_met() && report.count("messages unanswered") == Some(0);
        let step = Step::of(rate, &report, holds);
        note(&step.summary());
        steps.push(step);
        if holds {
            held = Some(rate);
            best = Some(report);
        } else {
            failed = Some(rate);
            lowest = Some(report);
        }
    }
    let is_bounded = failed.is_some();
    let deliveries = best.as_ref().and_then(|best| best.rates.first()).map(|rate| rate.achieved);
    let mut report = best
        .or(lowest)
        .ok_or_else(|| Error::Usage("--up-to: below --rate, so nothing was tried".to_owned()))?;
    report.scenario = "capacity".to_owned();
    report.set_count("capacity, deliveries a second", deliveries.unwrap_or(0.0).round() as u64);
    if !is_bounded {
        report.notes.push("every rate held; raise --up-to to find the limit".to_owned());
    }
    if steps.iter().any(|step| step.harness_cores.is_some_and(|cores| cores > 0.9)) {
        report
            .notes
            .push("the harness used a whole core in a step: it may be the limit itself".to_owned());
    }
    report.steps = steps;
    Ok(report)
}

/// The rate to try next, by the highest that held and the lowest that did not; none at the end.
fn next_rate(args: &CapacityArgs, held: Option<f64>, failed: Option<f64>) -> Option<f64> {
    let start = args.fanout.rate;
    match (held, failed) {
        (None, None) => (start <= args.up_to).then_some(start),
        (Some(held), None) => (held < args.up_to).then(|| (held * 2.0).min(args.up_to)),
        (None, Some(failed)) => (failed > start / 2f64.powi(MOST_HALVINGS)).then_some(failed / 2.0),
        (Some(held), Some(failed)) => {
            let is_close = failed - held <= failed * args.precision / 100.0;
            (!is_close).then(|| f64::midpoint(held, failed))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Scenario};

    /// The rates tried on a server that holds up to `limit`, and the highest that held.
    fn search(limit: f64, more: &str) -> (Vec<f64>, Option<f64>) {
        let line = format!("loadtest capacity --rate 10 {more}");
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Scenario::Capacity(args) = &cli.scenario else { panic!("not capacity") };
        let (mut tried, mut held, mut failed) = (Vec::new(), None, None);
        while let Some(rate) = next_rate(args, held, failed) {
            assert!(tried.len() < 50, "{tried:?}");
            tried.push(rate);
            *(if rate <= limit { &mut held } else { &mut failed }) = Some(rate);
        }
        (tried, held)
    }

    #[test]
    fn the_interval_is_doubled_then_halved() {
        let (tried, held) = search(65.0, "--precision 10");
        assert_eq!(tried, [10.0, 20.0, 40.0, 80.0, 60.0, 70.0, 65.0]);
        assert_eq!(held, Some(65.0));
    }

    #[test]
    fn a_start_that_is_too_high_is_halved() {
        assert_eq!(search(3.0, "--precision 25").0, [10.0, 5.0, 2.5, 3.75, 3.125]);
        let (tried, held) = search(0.0, "");
        assert_eq!((tried.len(), held), (7, None));
    }

    #[test]
    fn it_ends_at_the_highest_rate_that_may_be_tried() {
        assert_eq!(search(1e9, "--up-to 50"), (vec![10.0, 20.0, 40.0, 50.0], Some(50.0)));
        assert!(search(1e9, "--up-to 5").0.is_empty());
    }
}

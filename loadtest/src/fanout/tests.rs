//! A lying server is found out, with exactly the right counts.

use std::time::Duration;

use clap::Parser;

use crate::cli::{Cli, Scenario};
use crate::mock::{Lies, Mock};
use crate::report::Report;

const LONGEST: Duration = Duration::from_secs(20);

async fn fanout(lies: Lies, more: &str) -> Report {
    let mock = Mock::start(lies).await;
    let line = format!(
        "loadtest fanout --url {} --rooms 2 --subscribers 3 --rate 50 --duration 1s --warmup 200ms \
         --drain 1s --seed 1 --threads 2 {more}",
        mock.url()
    );
    let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
    let Scenario::Fanout(args) = &cli.scenario else { panic!("not fanout") };
    let run = super::run(args);
    tokio::time::timeout(LONGEST, run).await.expect("it ends in time").unwrap()
}

fn counts(report: &Report) -> [u64; 3] {
    ["lost", "duplicate", "reordered"].map(|name| report.count(name).unwrap())
}

#[tokio::test]
async fn an_honest_server_has_no_findings() {
    let report = fanout(Lies::default(), "").await;
    assert_eq!(counts(&report), [0, 0, 0]);
    assert_eq!(report.count("errors"), Some(0), "{:?} {:?}", report.errors, report.closed);
    let sent = report.count("messages sent").unwrap();
    assert_eq!(sent, 2 * 60);
    assert_eq!(report.count("messages accepted"), Some(sent));
    assert_eq!(report.count("deliveries"), Some(sent * 3));
    // The phases shift which messages fall into the window by at most one a room.
    assert!(report.distributions[0].count.abs_diff(2 * 3 * 50) <= 6);
    assert!(report.series.len() >= 2);
}

#[tokio::test]
async fn dropped_doubled_and_swapped_changes_are_counted() {
    let lies = Lies {
        drop: [5, 6, 20].into(),
        double: [8, 30].into(),
        swap: [12, 25, 40, 44].into(),
        ..Lies::default()
    };
    let report = fanout(lies, "").await;
    // Two rooms with three subscribers each are lied to alike.
    assert_eq!(counts(&report), [6 * 3, 6 * 2, 6 * 4]);
    assert_eq!(report.count("messages unanswered"), Some(0));
    let slos = ["lost=0", "duplicate=11", "reordered=24"].map(|slo| slo.parse().unwrap());
    let mut judged = report;
    judged.judge(&slos);
    assert_eq!(judged.slo.iter().map(|v| v.met).collect::<Vec<_>>(), [false, false, true]);
}

#[tokio::test]
async fn a_missing_last_change_is_lost() {
    let lies = Lies { drop: [61].into(), ..Lies::default() };
    assert_eq!(counts(&fanout(lies, "").await), [6, 0, 0]);
}

#[tokio::test]
async fn a_stall_is_in_the_latency_of_everything_it_held_up() {
    let stall = Duration::from_millis(400);
    let lies = Lies { delay: [(30, stall)].into(), ..Lies::default() };
    let report = fanout(lies, "").await;
    assert_eq!(counts(&report), [0, 0, 0]);
    let delivery = &report.distributions[0];
    assert!(delivery.max_ns >= 390_000_000, "{}", delivery.max_ns);
    // At 50 a second, 20 messages were due while it lasted: a fifth waited over 200 ms at p90.
    assert!(delivery.at(0.90).unwrap() >= 150_000_000, "{:?}", delivery.percentiles);
    assert!(delivery.at(0.50).unwrap() < 100_000_000, "{:?}", delivery.percentiles);
}

#[tokio::test]
async fn refusals_are_errors_and_no_loss() {
    let lies = Lies { refuse: [3, 4].into(), ..Lies::default() };
    let report = fanout(lies, "").await;
    assert_eq!(counts(&report), [0, 0, 0]);
    assert_eq!(report.errors["rate_limited"], 4);
    assert_eq!(report.count("messages accepted"), Some(2 * 58));
}

#[tokio::test]
async fn centrifugo_is_held_to_the_same() {
    let lies =
        Lies { drop: [5, 6].into(), double: [8].into(), swap: [12].into(), ..Lies::default() };
    let mock = Mock::start(lies).await;
    let line = format!(
        "loadtest fanout --proto centrifugo --url {} --rooms 2 --subscribers 3 --rate 50 \
         --duration 1s --warmup 200ms --drain 1s --seed 1",
        mock.centrifugo_url()
    );
    let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
    let Scenario::Fanout(args) = &cli.scenario else { panic!("not fanout") };
    let run = super::run(args);
    let report = tokio::time::timeout(LONGEST, run).await.expect("it ends in time").unwrap();
    assert_eq!(counts(&report), [6 * 2, 6, 6]);
    assert_eq!(report.count("errors"), Some(0), "{:?} {:?}", report.errors, report.closed);
    assert_eq!(report.count("messages accepted"), Some(2 * 60));
    assert_eq!(report.count("messages unanswered"), Some(0));
}

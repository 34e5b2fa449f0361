//! A server that forgets or repeats commands is found out by its journal.

use std::time::Duration;

use clap::Parser;

use crate::cli::{Cli, Scenario};
use crate::mock::{Lies, Mock};
use crate::report::Report;

const LONGEST: Duration = Duration::from_secs(20);

async fn commands(lies: Lies, more: &str) -> Report {
    let mock = Mock::start(lies).await;
    let line = format!(
        "loadtest commands --url {} --entities 2 --connections 3 --duration 500ms --warmup 100ms \
         --drain 1s {more}",
        mock.url()
    );
    let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
    let Scenario::Commands(args) = &cli.scenario else { panic!("not commands") };
    let run = super::run(args);
    tokio::time::timeout(LONGEST, run).await.expect("it ends in time").unwrap()
}

fn count(report: &Report, name: &str) -> u64 {
    report.count(name).unwrap()
}

#[tokio::test]
async fn an_honest_server_has_no_findings_on_schedule() {
    let report = commands(Lies::default(), "--rate 200").await;
    let sent = count(&report, "sent");
    assert!(sent.abs_diff(120) <= 3, "{sent}");
    for name in ["accepted", "changes in journals"] {
        assert_eq!(count(&report, name), sent, "{name}");
    }
    for name in ["lost", "duplicate", "reordered", "gaps in journals", "refused", "unanswered"] {
        assert_eq!(count(&report, name), 0, "{name}");
    }
    assert_eq!(count(&report, "journal contradicts the answer"), 0);
    assert_eq!(count(&report, "answered twice or unasked"), 0);
}

#[tokio::test]
async fn a_closed_loop_goes_on_until_the_end() {
    let report = commands(Lies::default(), "--in-flight 7 --kind board").await;
    assert!(count(&report, "sent") > 100);
    assert_eq!(count(&report, "accepted"), count(&report, "sent"));
    assert_eq!(count(&report, "changes in journals"), count(&report, "sent"));
    assert_eq!(count(&report, "lost") + count(&report, "duplicate"), 0);
}

#[tokio::test]
async fn forgotten_and_repeated_commands_are_counted() {
    let lies = Lies { forget: [5, 6, 9].into(), repeat: [12, 20].into(), ..Lies::default() };
    let report = commands(lies, "--rate 200").await;
    assert_eq!(count(&report, "lost"), 2 * 3);
    assert_eq!(count(&report, "gaps in journals"), 2 * 3);
    // Each repeat is a command with two effects and a seq that occurs twice.
    assert_eq!(count(&report, "duplicate"), 2 * 2 * 2);
}

#[tokio::test]
async fn refusals_are_counted_apart() {
    let lies = Lies { refuse: [3, 4].into(), ..Lies::default() };
    let report = commands(lies, "--rate 200").await;
    assert_eq!(count(&report, "refused"), 3 * 2);
    assert_eq!(report.errors["rate_limited"], 6);
    assert_eq!(count(&report, "lost"), 0);
}

//! A run against a server of the tests: storms, slow readers and lies are counted exactly.

use std::time::Duration;

use clap::Parser;

use super::file::File;
use super::run;
use crate::cli::{Cli, Scenario};
use crate::mock::{Lies, Mock};
use crate::report::Report;

async fn scenario(lies: Lies, text: &str, more: &str) -> Report {
    scenario_at(&Mock::start(lies).await, text, more).await
}

async fn scenario_at(mock: &Mock, text: &str, more: &str) -> Report {
    let line = format!("loadtest run x.toml --url {} --seed 3 --drain 2s {more}", mock.url());
    let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
    let Scenario::Run(args) = &cli.scenario else { panic!("not run") };
    let file: File = toml::from_str(text).unwrap();
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, run(args, &file)).await.expect("it ends in time").unwrap()
}

fn counts(report: &Report, names: &[&str]) -> Vec<u64> {
    names.iter().map(|name| report.count(name).unwrap_or_else(|| panic!("{name}"))).collect()
}

const FINDINGS: [&str; 5] = ["lost", "duplicate", "reordered", "not back", "errors"];

#[tokio::test]
async fn a_storm_loses_nothing_and_everyone_is_back() {
    let report = scenario(
        Lies::default(),
        r#"
        name = "t"
        join = { rooms = 2 }
        phases = [
          { name = "open", duration = "300ms", measured = false, sockets = { from = 0, to = 6 } },
          { name = "storm", duration = "1s", commands = 100, signals = 20, requests = 20,
            storm = { at = "200ms", jitter = "300ms" } },
        ]"#,
        "--threads 2",
    )
    .await;
    assert_eq!(counts(&report, &FINDINGS), [0; 5], "{:?} {:?}", report.errors, report.closed);
    let names = ["sockets opened", "sockets resumed", "storm 1: cut off", "storm 1: back"];
    assert_eq!(counts(&report, &names), [6; 4]);
    assert!(report.count("storm 1: ms until all were back").unwrap() <= 1_000);
    assert!(report.count("changes caught up").unwrap() > 0);
    assert_eq!(counts(&report, &["commands sent", "commands accepted"]), [100; 2]);
    for name in ["delivery", "command", "signal", "http", "resume", "back"] {
        let found = report.distributions.iter().find(|one| one.name == name);
        assert!(found.is_some_and(|found| found.count > 0), "{name}");
    }
    let names: Vec<&str> = report.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(names, ["open", "storm"]);
    assert_eq!(report.phases[0].distributions[0].name, "open");
}

#[tokio::test]
async fn what_a_storm_does_not_explain_is_lost() {
    let lies = Lies { drop: [70].into(), forget: [70].into(), ..Lies::default() };
    let report = scenario(
        lies,
        r#"
        name = "t"
        join = { rooms = 1 }
        phases = [
          { name = "open", duration = "200ms", sockets = 4 },
          { name = "storm", duration = "1s", commands = 100,
            storm = { at = "100ms", jitter = "200ms" } },
        ]"#,
        "",
    )
    .await;
    assert_eq!(counts(&report, &FINDINGS), [4, 0, 0, 0, 0]);
}

#[tokio::test]
async fn who_does_not_read_has_no_latency_and_misses_nothing() {
    let report = scenario(
        Lies::default(),
        r#"
        name = "t"
        join = { rooms = 1 }
        phases = [
          { name = "open", duration = "200ms", sockets = 4 },
          { name = "slow", duration = "1s", commands = 100,
            slow = { at = "100ms", for = "700ms" } },
        ]"#,
        "",
    )
    .await;
    assert_eq!(counts(&report, &FINDINGS), [0; 5]);
    // 70 of 100 messages were sent to each of the four while it did not read.
    assert!(report.count("changes caught up").unwrap() >= 4 * 60);
    assert!(report.distributions[0].count <= 4 * 40);
}

#[tokio::test]
async fn sockets_without_rooms_are_idle() {
    let report = scenario(
        Lies::default(),
        r#"
        name = "t"
        phases = [
          { name = "up", duration = "300ms", sockets = { from = 0, to = 5 } },
          { name = "down", duration = "300ms", sockets = { from = 5, to = 2 } },
        ]"#,
        "",
    )
    .await;
    assert_eq!(counts(&report, &FINDINGS), [0; 5]);
    assert_eq!(report.count("sockets opened"), Some(5));
    assert_eq!(report.distributions[0].name, "open");
}

/// Two processes in one room, of which one only listens, and began earlier; gives what it found.
async fn listener_beside_a_sender(lies: Lies) -> Report {
    let mock = Mock::start(lies).await;
    let file = |commands: u32, seconds: u32| {
        format!(
            r#"
            name = "t"
            join = {{ rooms = 1 }}
            phases = [
              {{ name = "open", duration = "200ms", measured = false, sockets = 3 }},
              {{ name = "steady", duration = "{seconds}s", commands = {commands} }},
            ]"#
        )
    };
    let named = "--rooms-named shared";
    let (listens, sends) = (file(0, 5), file(100, 1));
    let sender = async {
        tokio::time::sleep(EARLIER).await;
        scenario_at(&mock, &sends, named).await
    };
    let (sender, listener) = tokio::join!(sender, scenario_at(&mock, &listens, named));
    assert_eq!(counts(&sender, &["commands accepted"]), [100]);
    listener
}

/// How much earlier the listener's clock begins: a sender's stamp that is taken for its own shows.
const EARLIER: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn processes_that_share_rooms_measure_what_the_other_sends() {
    let report = listener_beside_a_sender(Lies::default()).await;
    assert_eq!(counts(&report, &FINDINGS), [0; 5], "{:?} {:?}", report.errors, report.closed);
    let delivery = report.distributions.iter().find(|one| one.name == "delivery");
    let delivery = delivery.expect("what came is measured");
    assert_eq!(delivery.count, 3 * 100);
    assert!(
        delivery.min_ns < EARLIER.as_nanos() as u64 / 2,
        "{} ns by two clocks",
        delivery.min_ns
    );
}

#[tokio::test]
async fn what_does_not_come_of_another_s_messages_is_lost() {
    // The room's last message: nothing behind it shows the gap.
    let lies = Lies { drop: [101].into(), ..Lies::default() };
    let report = listener_beside_a_sender(lies).await;
    assert_eq!(counts(&report, &FINDINGS), [3, 0, 0, 0, 0]);
}

#[tokio::test]
async fn what_a_connection_took_with_it_is_sent_again_and_has_one_effect() {
    let mock = Mock::start(Lies { cut: [30].into(), ..Lies::default() }).await;
    let report = scenario_at(
        &mock,
        r#"
        name = "t"
        join = { rooms = 1 }
        senders = { count = 1 }
        phases = [
          { name = "open", duration = "200ms", sockets = 2 },
          { name = "steady", duration = "1200ms", commands = 100 },
        ]"#,
        "",
    )
    .await;
    assert_eq!(counts(&report, &["unanswered", "lost", "duplicate"]), [0; 3]);
    assert!(report.count("commands sent again").unwrap() >= 1);
    // Nothing is sent while the sender is away.
    let [accepted, unsent] = counts(&report, &["commands accepted", "unsent"])[..] else {
        panic!()
    };
    assert_eq!(accepted + unsent, 120);
    assert!(accepted > 40, "{accepted}");
    assert_eq!(mock.seqs(), [1 + accepted], "a command was done twice");
}

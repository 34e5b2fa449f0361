//! `idle`: many sockets that do nothing but answer pings, to see what one costs the server.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::api::{locate, room_body};
use crate::cli::IdleArgs;
use crate::error::Error;
use crate::fleet::{Fleet, Listener, Opener, Plan};
use crate::procfs::Usage;
use crate::progress::{Progress, note};
use crate::proto::{Presence, Proto};
use crate::report::{ProcessUse, Report};
use crate::run::{add_counts, create_all, id_prefix, parameters, seed};
use crate::scan::{Answer, JOIN};
use crate::schedule::{Clock, Window};
use crate::socket::{Closed, Outbox};

/// Runs the scenario.
pub async fn run(args: &IdleArgs) -> Result<Report, Error> {
    let common = &args.common;
    let seed = seed(common);
    let mut report = Report::new("idle", parameters(args, seed));
    let (endpoints, api) = locate(&common.urls, args.proto).await?;
    let accounts = api.accounts(common, args.proto).await?;
    let prefix = id_prefix();
    let rooms = match (args.join, args.joined_own) {
        (_, true) => args.sockets,
        (true, false) => 1,
        (false, false) => 0,
    };
    if args.proto == Proto::Switchyard {
        let bodies: Vec<Value> =
            (0..rooms).map(|number| room_body(&format!("{prefix}-{number}"))).collect();
        create_all(&api, &accounts, "rooms", bodies).await?;
    }

    let progress = Arc::new(Progress::new("ready", common.threads));
    let ready_with = if rooms > 0 { Ready::WithJoin } else { Ready::WithGreeting };
    let mut crews: Vec<(Holding, Vec<Plan>)> = (0..common.threads)
        .map(|_| (Holding::new(ready_with, args.proto, Arc::clone(&progress)), vec![]))
        .collect();
    for number in 0..args.sockets {
        let (holding, plans) = &mut crews[number % common.threads];
        let (slot, token) = (holding.add(), accounts.token(number));
        let first = if rooms > 0 {
            let entity = args.proto.room(&format!("{prefix}-{}", number % rooms));
            Some(args.proto.join(&token, &entity, Presence::Shown))
        } else {
            args.proto.greeting(&token)
        };
        plans.push(Plan { slot, token, first });
    }
    let read = || Usage::of_all(&common.server_pids);
    let (before, own_before) = (read()?, Usage::of_self());
    note(&format!("opening {} sockets", args.sockets));
    let clock = Clock::start();
    let mut fleet = Fleet::start(clock, &Opener::new(endpoints, common, seed), &progress, crews)?;
    fleet.settled().await?;
    let opened_ns = clock.now_ns();
    report.set_count("opened ms", opened_ns / 1_000_000);
    progress.show_until(clock, "holding", opened_ns + args.window.duration.as_nanos() as u64).await;
    let (after, own_after) = (read()?, Usage::of_self());
    let summaries = fleet.finish(common.drain).await?;

    let mut ready = 0;
    for summary in summaries {
        ready += summary.ready;
        add_counts(&mut report.errors, summary.errors);
        add_counts(&mut report.closed, summary.closed);
    }
    report.measured_seconds = args.window.duration.as_secs_f64();
    report.set_count("sockets ready", ready);
    let seconds = clock.now_ns() as f64 / 1e9;
    let used = |before: Option<Usage>, after: Option<Usage>| {
        Some(ProcessUse::between(before?, after?, seconds, ready, "socket"))
    };
    if let (Some(before), Some(after)) = (before, after)
        && let Some(each) = after.rss_bytes.saturating_sub(before.rss_bytes).checked_div(ready)
    {
        report.set_count("server bytes a socket", each);
    }
    report.server = used(before, after);
    report.harness = used(own_before, own_after);
    Ok(report)
}

/// The sockets of one thread.
struct Holding {
    ready_with: Ready,
    proto: Proto,
    progress: Arc<Progress>,
    sockets: Vec<State>,
    unsettled: usize,
    summary: Held,
}

/// What makes a socket ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    /// The server's greeting.
    WithGreeting,
    /// The answer to its join.
    WithJoin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Opening,
    Ready,
    Failed,
}

/// What a thread hands over at the end.
#[derive(Debug, Default)]
struct Held {
    ready: u64,
    errors: BTreeMap<String, u64>,
    closed: BTreeMap<String, u64>,
}

impl Holding {
    fn new(ready_with: Ready, proto: Proto, progress: Arc<Progress>) -> Self {
        Self {
            ready_with,
            proto,
            progress,
            sockets: Vec::new(),
            unsettled: 0,
            summary: Held::default(),
        }
    }

    fn add(&mut self) -> usize {
        self.sockets.push(State::Opening);
        self.unsettled += 1;
        self.sockets.len() - 1
    }

    fn settle(&mut self, slot: usize, result: Result<(), String>) {
        if self.sockets[slot] != State::Opening {
            return;
        }
        self.unsettled -= 1;
        match result {
            Ok(()) => {
                self.sockets[slot] = State::Ready;
                self.summary.ready += 1;
                self.progress.add_done(1);
            }
            Err(name) => {
                self.sockets[slot] = State::Failed;
                self.progress.add_error();
                *self.summary.errors.entry(name).or_default() += 1;
            }
        }
    }
}

impl Listener for Holding {
    type Summary = Held;

    fn on_opened(&mut self, _: usize, _: Arc<Outbox>) {}

    fn on_text(&mut self, slot: usize, text: &[u8], _: u64) {
        let mut result = None;
        let scanned = self.proto.scan(text, |item| match (item.id, item.answer) {
            (Some(JOIN), Some(Answer::Ok { .. })) => result = Some(Ok(())),
            (_, Some(Answer::Error { code })) => {
                result = Some(Err(format!("join: {}", String::from_utf8_lossy(code))));
            }
            (_, None)
                if self.ready_with == Ready::WithGreeting && item.kind == Some(b"connected") =>
            {
                result = Some(Ok(()));
            }
            (_, Some(Answer::Ok { .. }) | None) => {}
        });
        if scanned.is_err() {
            result = Some(Err("not JSON".to_owned()));
        }
        if let Some(result) = result {
            self.settle(slot, result);
        }
    }

    fn on_closed(&mut self, slot: usize, closed: &Closed) {
        match self.sockets[slot] {
            State::Opening => self.settle(slot, Err(format!("connect: {}", closed.label()))),
            State::Ready => {
                self.progress.add_error();
                *self.summary.closed.entry(closed.label()).or_default() += 1;
            }
            State::Failed => {}
        }
    }

    fn is_settled(&self) -> bool {
        self.unsettled == 0
    }

    fn begin(&mut self, _: Window) {}

    fn is_drained(&self) -> bool {
        true
    }

    fn p99_ns(&self) -> u64 {
        0
    }

    fn finish(self) -> Held {
        self.summary
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Scenario};
    use crate::mock::{Lies, Mock};

    async fn idle(more: &str) -> Report {
        let mock = Mock::start(Lies::default()).await;
        let line = format!(
            "loadtest idle --url {} --sockets 20 --duration 200ms --drain 1s --server-pid {} {more}",
            mock.url(),
            std::process::id()
        );
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Scenario::Idle(args) = &cli.scenario else { panic!("not idle") };
        tokio::time::timeout(Duration::from_secs(20), run(args)).await.expect("it ends").unwrap()
    }

    #[tokio::test]
    async fn every_socket_becomes_ready() {
        for more in ["", "--join", "--joined-own", "--connections-from 127.0.0.2,127.0.0.3"] {
            let report = idle(more).await;
            assert_eq!(report.count("sockets ready"), Some(20), "{more}");
            assert_eq!(report.count("errors"), Some(0), "{more}");
            assert!(report.count("server bytes a socket").is_some());
        }
    }

    #[tokio::test]
    async fn failures_to_connect_are_counted_by_kind() {
        // 192.0.2.0/24 is for documentation: no machine may send from it.
        let report = idle("--connections-from 192.0.2.1").await;
        assert_eq!(report.count("sockets ready"), Some(0));
        assert_eq!(report.errors.values().sum::<u64>(), 20);
        assert!(report.errors.keys().all(|name| name.starts_with("connect: ")));
    }
}

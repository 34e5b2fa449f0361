//! `commands`: every command has an id of its own; afterwards the journal is read over HTTP and
//! held against the answers. An accepted command that is not there is lost, one that is there
//! twice is a duplicate. What was refused is counted apart: a "no" is not a loss.

mod audit;
mod listener;
mod source;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use self::audit::{Audit, audit};
use self::listener::{Answering, Load, Reply, Summary};
use self::source::{Sent, Source};
use crate::api::{Accounts, Api, board_body, locate, room_body};
use crate::baseline::{self, Baseline, Baselines, kafka::Pace};
use crate::cli::{CommandsArgs, Kind};
use crate::error::Error;
use crate::fleet::{Fleet, Opener, Plan};
use crate::measure::{Distribution, Recorder};
use crate::pacer::{Backlog, Outlet, Pacer, Shot};
use crate::progress::{Progress, note};
use crate::proto::Proto;
use crate::report::{Rate, Report};
use crate::run::{add_counts, create_all, id_prefix, parameters, seed, watch, window};
use crate::schedule::{Clock, Schedule, Window};
use crate::socket::{Flushed, Outbox};

const DEFAULT_BASELINE_IN_FLIGHT: usize = 64;
/// How far the two baselines may be apart, as a part of their mean, without a note.
const STEADY: f64 = 0.2;

/// An entity that commands go to.
#[derive(Debug)]
struct Entity {
    id: String,
    /// Its seq before the run.
    base: u64,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Board => "board",
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Room => "rooms",
            Self::Board => "boards",
        }
    }
}

/// What all threads know of a connection.
#[derive(Debug, Default)]
struct Connection {
    /// Commands sent, known when the sending is over.
    sent: AtomicU64,
    /// Where the pacer writes.
    outbox: Mutex<Option<Arc<Outbox>>>,
}

/// Runs the scenario.
pub async fn run(args: &CommandsArgs) -> Result<Report, Error> {
    let common = &args.common;
    let seed = seed(common);
    let mut report = Report::new("commands", parameters(args, seed));
    let (endpoints, api) = locate(&common.urls, Proto::Switchyard).await?;
    let accounts = api.accounts(common, Proto::Switchyard).await?;
    note(&format!("creating {} {}", args.entities, args.kind.plural()));
    let entities = create(&api, &accounts, args).await?;
    let sources: Vec<Source> =
        (0..args.connections).map(|number| Source::new(number, args, &entities, seed)).collect();
    let record_bytes = sources[0].sample_bytes();
    let before = measure_baseline(args, record_bytes).await?;

    let clock = Clock::start();
    let progress = Arc::new(Progress::new("answers", common.threads));
    let connections: Arc<[Connection]> =
        (0..args.connections).map(|_| Connection::default()).collect();
    let mut crews: Vec<(Answering, Vec<Plan>)> = (0..common.threads)
        .map(|_| (Answering::new(clock, Arc::clone(&connections), Arc::clone(&progress)), vec![]))
        .collect();
    for (number, source) in sources.iter().enumerate() {
        let (answering, plans) = &mut crews[number % common.threads];
        let load = match (args.rate, args.in_flight) {
            (Some(rate), _) => Load::Open {
                rate: rate / args.connections as f64,
                phase_ns: phase_ns(number, rate),
            },
            (None, in_flight) => Load::Closed {
                source: Box::new(source.clone()),
                in_flight: share(in_flight.unwrap_or(1), args.connections, number),
            },
        };
        let slot = answering.add(number, load);
        plans.push(Plan { slot, token: accounts.token(number), first: None });
    }
    let mut fleet = Fleet::start(clock, &Opener::new(endpoints, common, seed), &progress, crews)?;
    fleet.settled().await?;

    let window = window(clock, &args.window);
    fleet.begin(window);
    let paced = match args.rate {
        Some(rate) => {
            let schedules = (0..args.connections)
                .map(|number| {
                    schedule(window, rate / args.connections as f64, phase_ns(number, rate))
                })
                .collect();
            let outlet = Senders::new(&connections, sources);
            Some(Pacer::start(clock, schedules, window, outlet)?)
        }
        None => None,
    };
    watch(clock, window, common, &progress, "command", &mut report).await?;
    let paced = match paced {
        Some(pacer) => Some(pacer.finished().await?),
        None => None,
    };
    for (number, connection) in connections.iter().enumerate() {
        if let Some(paced) = &paced {
            connection.sent.store(paced.fired[number], Relaxed);
        }
    }
    note("waiting for what is under way");
    let summaries = fleet.finish(common.drain).await?;
    let (mut total, mut sent) = sum(summaries, window, args.connections);
    if let Some(paced) = paced {
        sent = paced.outlet.sent;
        report.distributions.push(Distribution::of("harness lateness", &paced.lateness));
    }
    note("reading the journals");
    let audit = audit(&api, &accounts, args.kind, &entities, &sent, &total.replies).await?;
    fill(&mut report, args, &mut total, &sent, &audit);
    if let (Some(before), Some(after)) = (before, measure_baseline(args, record_bytes).await?) {
        let rate = f64::midpoint(before.rate, after.rate);
        let apart = (before.rate - after.rate).abs() / rate;
        if apart > STEADY {
            report.notes.push(format!(
                "the machine was not steady: the baselines are {:.0}% apart",
                apart * 100.0
            ));
        }
        let ratio = report.rates[0].achieved / rate;
        let in_flight = baseline_in_flight(args);
        let of = if args.baseline_sqlite.is_some() { "sqlite" } else { "kafka" }.to_owned();
        report.baseline = Some(Baselines { of, record_bytes, in_flight, before, after, ratio });
    }
    Ok(report)
}

async fn create(
    api: &Api,
    accounts: &Accounts,
    args: &CommandsArgs,
) -> Result<Arc<[Entity]>, Error> {
    let prefix = id_prefix();
    let ids: Vec<String> = (0..args.entities).map(|number| format!("{prefix}-{number}")).collect();
    let body = match args.kind {
        Kind::Room => room_body,
        Kind::Board => board_body,
    };
    let bodies = ids.iter().map(|id| body(id)).collect();
    let seqs = create_all(api, accounts, args.kind.plural(), bodies).await?;
    Ok(ids.into_iter().zip(seqs).map(|(id, base)| Entity { id, base }).collect())
}

async fn measure_baseline(
    args: &CommandsArgs,
    record_bytes: usize,
) -> Result<Option<Baseline>, Error> {
    let (in_flight, duration) = (baseline_in_flight(args), args.baseline_duration);
    match (&args.baseline_sqlite, &args.baseline_kafka) {
        (Some(folder), _) => {
            note("measuring SQLite group commit");
            baseline::sqlite::measure(folder, record_bytes, in_flight, duration).await.map(Some)
        }
        (None, Some(brokers)) => {
            note("measuring Kafka from producing to consuming");
            let pace = args.rate.map_or(Pace::InFlight(in_flight), Pace::Rate);
            baseline::kafka::measure(brokers, record_bytes, pace, duration).await.map(Some)
        }
        (None, None) => Ok(None),
    }
}

fn baseline_in_flight(args: &CommandsArgs) -> usize {
    args.baseline_in_flight.or(args.in_flight).unwrap_or(DEFAULT_BASELINE_IN_FLIGHT)
}

/// Connections take turns: the total is evenly spaced.
fn phase_ns(connection: usize, rate: f64) -> u64 {
    (connection as f64 * Schedule::period_ns(rate)) as u64
}

fn schedule(window: Window, rate: f64, phase_ns: u64) -> Schedule {
    Schedule::new(window.start_ns + phase_ns, rate)
}

/// The part of `total` that falls to one of `parts`.
fn share(total: usize, parts: usize, part: usize) -> usize {
    total / parts + usize::from(part < total % parts)
}

/// Sums the threads up; the second part is what each connection sent in a closed loop.
fn sum(summaries: Vec<Summary>, window: Window, connections: usize) -> (Summary, Vec<Vec<Sent>>) {
    let mut total = Summary { answers: Recorder::new(window), ..Summary::default() };
    let mut sent = vec![Vec::new(); connections];
    let mut replies = vec![Vec::new(); connections];
    for summary in summaries {
        total.answers.merge(summary.answers);
        total.unexpected += summary.unexpected;
        add_counts(&mut total.errors, summary.errors);
        add_counts(&mut total.closed, summary.closed);
        for (number, of_connection) in summary.replies {
            replies[number] = of_connection;
        }
        for (number, of_connection) in summary.sent {
            sent[number] = of_connection;
        }
    }
    total.replies = replies.into_iter().enumerate().collect();
    (total, sent)
}

fn fill(
    report: &mut Report,
    args: &CommandsArgs,
    total: &mut Summary,
    sent: &[Vec<Sent>],
    audit: &Audit,
) {
    let replies = || total.replies.iter().flat_map(|(_, replies)| replies).flatten();
    let answered = replies().count() as u64;
    let accepted = replies().filter(|reply| matches!(reply, Reply::Accepted { .. })).count() as u64;
    let sent = sent.iter().map(|sent| sent.len() as u64).sum::<u64>();
    report.rates.push(Rate {
        name: "accepted".to_owned(),
        intended: args.rate,
        achieved: total.answers.achieved_rate(),
    });
    for (name, count) in [
        ("sent", sent),
        ("accepted", accepted),
        ("refused", answered - accepted),
        ("unanswered", sent.saturating_sub(answered)),
        ("answered twice or unasked", total.unexpected),
        ("changes in journals", audit.changes),
        ("lost", audit.lost),
        ("duplicate", audit.duplicate),
        ("reordered", audit.reordered),
        ("gaps in journals", audit.gaps),
        ("journal contradicts the answer", audit.contradicted),
        ("refused but in journal", audit.refused_but_there),
        ("unanswered but in journal", audit.unanswered_but_there),
    ] {
        report.set_count(name, count);
    }
    report.distributions.insert(0, total.answers.distribution("accepted command"));
    report.series = total.answers.series();
    report.errors = std::mem::take(&mut total.errors);
    report.closed = std::mem::take(&mut total.closed);
    if report.errors.contains_key("rate_limited") {
        report
            .notes
            .push("the server limited the commands; lift limits.commands_per_minute".to_owned());
    }
}

/// The connections, written to by the pacer.
struct Senders {
    outboxes: Vec<Option<Arc<Outbox>>>,
    sources: Vec<Source>,
    sent: Vec<Vec<Sent>>,
    command: String,
    /// Connections with bytes that have not left.
    waiting: Vec<usize>,
}

impl Senders {
    fn new(connections: &[Connection], sources: Vec<Source>) -> Self {
        let outboxes = connections.iter().map(Connection::outbox).collect();
        Self {
            outboxes,
            sent: vec![Vec::new(); sources.len()],
            sources,
            command: String::new(),
            waiting: Vec::new(),
        }
    }
}

impl Connection {
    fn outbox(&self) -> Option<Arc<Outbox>> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_outbox(&self, outbox: Arc<Outbox>) {
        *self.outbox.lock().unwrap_or_else(PoisonError::into_inner) = Some(outbox);
    }
}

impl Outlet for Senders {
    fn fire(&mut self, shot: Shot) {
        let sent = self.sources[shot.slot].write(shot.number, &mut self.command);
        self.sent[shot.slot].push(sent);
        let Some(outbox) = &self.outboxes[shot.slot] else { return };
        outbox.queue_text(self.command.as_bytes());
        if !self.waiting.contains(&shot.slot) {
            self.waiting.push(shot.slot);
        }
    }

    fn flush(&mut self) -> Backlog {
        let outboxes = &self.outboxes;
        self.waiting.retain(|&slot| {
            outboxes[slot].as_ref().is_some_and(|outbox| outbox.flush() == Flushed::Partly)
        });
        if self.waiting.is_empty() { Backlog::None } else { Backlog::Some }
    }
}

#[cfg(test)]
mod tests;

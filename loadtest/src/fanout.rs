//! `fanout`: one publisher a room, or a partner for all, on a fixed schedule, many subscribers, each of which holds the
//! server to order, no gap and no repeat.
//!
//! A message's text is `<number>:<intended send time, ns of the run's clock>:<padding>`, so every
//! delivery tells its own latency. A room is served by one thread of the fleet.

mod listener;
mod partner;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use self::listener::{Listening, Summary};
use self::partner::Partner;
use crate::api::{locate, room_body};
use crate::cli::FanoutArgs;
use crate::error::Error;
use crate::fleet::{Fleet, Opener, Plan};
use crate::ledger::Findings;
use crate::measure::Distribution;
use crate::pacer::{Backlog, Outlet, Pacer, Shot};
use crate::progress::{Progress, note};
use crate::proto::{Presence, Proto};
use crate::random::Random;
use crate::report::{Rate, Report};
use crate::run::{add_counts, create_all, id_prefix, parameters, seed, watch, window};
use crate::schedule::{Clock, Schedule, Window};
use crate::socket::{Flushed, Outbox};

/// What all threads know of a room.
#[derive(Debug)]
struct Room {
    /// Its name on the wire.
    entity: String,
    /// When the room's first message is due after the start of the window, in nanoseconds: rooms
    /// do not all send at once.
    phase_ns: u64,
    /// Messages that were sent; known when the sending is over.
    sent: AtomicU64,
    /// Messages that were answered.
    answered: AtomicU64,
    /// The highest seq of a join or an accepted message.
    last_seq: AtomicU64,
    /// The publisher's socket is closed: nothing more will be answered.
    publisher_gone: AtomicBool,
    /// Where the pacer writes.
    publisher: OnceLock<Arc<Outbox>>,
}

impl Room {
    fn schedule(&self, window: Window, rate: f64) -> Schedule {
        Schedule::new(window.start_ns + self.phase_ns, rate)
    }

    fn is_answered(&self) -> bool {
        self.publisher_gone.load(Relaxed) || self.answered.load(Relaxed) >= self.sent.load(Relaxed)
    }
}

/// Runs the scenario.
pub async fn run(args: &FanoutArgs) -> Result<Report, Error> {
    let common = &args.common;
    let seed = seed(common);
    let mut report = Report::new("fanout", parameters(args, seed));
    let (endpoints, api) = locate(&common.urls, args.proto).await?;
    let accounts = api.accounts(common, args.proto).await?;
    let prefix = id_prefix();
    let ids: Vec<String> = (0..args.rooms).map(|number| format!("{prefix}-{number}")).collect();
    if args.proto == Proto::Switchyard {
        note(&format!("creating {} rooms", args.rooms));
        let bodies = ids.iter().map(|id| room_body(id)).collect();
        create_all(&api, &accounts, "rooms", bodies).await?;
    }

    let mut random = Random::new(seed);
    let rooms: Arc<[Room]> = ids
        .iter()
        .map(|id| Room {
            entity: args.proto.room(id),
            phase_ns: (random.next_unit() * Schedule::period_ns(args.rate)) as u64,
            sent: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            last_seq: AtomicU64::new(0),
            publisher_gone: AtomicBool::new(false),
            publisher: OnceLock::new(),
        })
        .collect();

    let partner = match (&args.partner_topic, &args.brokers) {
        (Some(_), Some(_)) if args.proto != Proto::Switchyard => {
            return Err(Error::Usage("only Switchyard has partners".to_owned()));
        }
        (Some(topic), Some(brokers)) => Some(Partner::connect(brokers, topic, &rooms, args)?),
        _ => None,
    };

    let clock = Clock::start();
    let progress = Arc::new(Progress::new("deliveries", common.threads));
    let mut crews: Vec<(Listening, Vec<Plan>)> = (0..common.threads)
        .map(|_| (Listening::new(Arc::clone(&rooms), args, Arc::clone(&progress)), vec![]))
        .collect();
    let mut account = 0;
    for number in 0..args.rooms {
        let (listening, plans) = &mut crews[number % common.threads];
        for _ in 0..args.subscribers {
            let (slot, token) = (listening.add_subscriber(number), accounts.token(account));
            let first = Some(args.proto.join(&token, &rooms[number].entity, Presence::Hidden));
            plans.push(Plan { slot, token, first });
            account += 1;
        }
        if args.partner_topic.is_none() {
            let (slot, token) = (listening.add_publisher(number), accounts.token(number));
            let first = args.proto.greeting(&token);
            plans.push(Plan { slot, token, first });
        }
    }

    let sockets: usize = crews.iter().map(|(_, plans)| plans.len()).sum();
    note(&format!("opening {sockets} sockets"));
    let mut fleet = Fleet::start(clock, &Opener::new(endpoints, common, seed), &progress, crews)?;
    fleet.settled().await?;
    report.set_count("opened ms", clock.now_ns() / 1_000_000);

    let window = window(clock, &args.window);
    fleet.begin(window);
    let schedules: Vec<_> = rooms.iter().map(|room| room.schedule(window, args.rate)).collect();
    let watched = watch(clock, window, common, &progress, "delivery", &mut report);
    let lateness = if let Some(partner) = partner {
        let pacer = Pacer::start(clock, schedules, window, partner)?;
        watched.await?;
        let paced = pacer.finished().await?;
        for (room, &sent) in rooms.iter().zip(&paced.fired) {
            room.sent.store(sent, Relaxed);
            // Nobody answers; each record makes one change, or is lost.
            room.last_seq.fetch_add(sent, Relaxed);
            room.answered.store(sent, Relaxed);
        }
        report.set_count("records not taken", paced.outlet.failures());
        paced.lateness
    } else {
        let pacer = Pacer::start(clock, schedules, window, Publishers::new(&rooms, args)?)?;
        watched.await?;
        let paced = pacer.finished().await?;
        for (room, &sent) in rooms.iter().zip(&paced.fired) {
            room.sent.store(sent, Relaxed);
        }
        paced.lateness
    };
    note("waiting for what is under way");
    let summaries = fleet.finish(common.drain).await?;
    let total = Summary::sum(summaries, window);
    fill(&mut report, args, &rooms, total);
    report.distributions.push(Distribution::of("harness lateness", &lateness));
    Ok(report)
}

fn fill(report: &mut Report, args: &FanoutArgs, rooms: &[Room], total: Summary) {
    let Summary { mut deliveries, answers, findings, tally, errors, closed } = total;
    let Findings { lost, duplicate, reordered } = findings;
    let sent: u64 = rooms.iter().map(|room| room.sent.load(Relaxed)).sum();
    let answered: u64 = rooms.iter().map(|room| room.answered.load(Relaxed)).sum();
    let publishing = args.rooms as f64 * args.rate;
    report.rates.push(Rate {
        name: "deliveries".to_owned(),
        intended: Some(publishing * args.subscribers as f64),
        achieved: deliveries.achieved_rate(),
    });
    let has_answers = args.partner_topic.is_none();
    if has_answers {
        report.rates.push(Rate {
            name: "messages answered".to_owned(),
            intended: Some(publishing),
            achieved: answers.achieved_rate(),
        });
        report.set_count("messages accepted", tally.accepted);
        report.set_count("messages unanswered", sent.saturating_sub(answered));
    }
    for (name, count) in [
        ("subscribers joined", tally.joined),
        ("messages sent", sent),
        ("deliveries", tally.delivered),
        ("lost", lost),
        ("duplicate", duplicate),
        ("reordered", reordered),
    ] {
        report.set_count(name, count);
    }
    report.distributions.push(deliveries.distribution("delivery"));
    if has_answers {
        report.distributions.push(answers.distribution("answer to publisher"));
    }
    report.series = deliveries.series();
    report.errors = errors;
    report.closed = closed;
    if report.errors.contains_key("rate_limited") {
        report
            .notes
            .push("the server limited the publishers; lift limits.commands_per_minute".to_owned());
    }
    if !report.closed.is_empty() {
        report
            .notes
            .push("sockets were closed; what came after is not counted as lost to them".to_owned());
    }
}

/// The publishers' sockets, written to by the pacer.
struct Publishers {
    rooms: Arc<[Room]>,
    proto: Proto,
    payload: usize,
    message: String,
    /// Rooms with bytes that have not left.
    waiting: Vec<usize>,
}

impl Publishers {
    fn new(rooms: &Arc<[Room]>, args: &FanoutArgs) -> Result<Self, Error> {
        if rooms.iter().all(|room| room.publisher.get().is_none()) {
            return Err(Error::Setup("no publisher could connect".to_owned()));
        }
        Ok(Self {
            rooms: Arc::clone(rooms),
            proto: args.proto,
            payload: args.payload,
            message: String::new(),
            waiting: Vec::new(),
        })
    }
}

impl Outlet for Publishers {
    fn fire(&mut self, shot: Shot) {
        let room = &self.rooms[shot.slot];
        let Some(outbox) = room.publisher.get() else { return };
        self.proto.write_post(&mut self.message, &room.entity, None, shot, self.payload);
        outbox.queue_text(self.message.as_bytes());
        if !self.waiting.contains(&shot.slot) {
            self.waiting.push(shot.slot);
        }
    }

    fn flush(&mut self) -> Backlog {
        let rooms = &self.rooms;
        self.waiting.retain(|&slot| {
            rooms[slot].publisher.get().is_some_and(|outbox| outbox.flush() == Flushed::Partly)
        });
        if self.waiting.is_empty() { Backlog::None } else { Backlog::Some }
    }
}

#[cfg(test)]
mod tests;

//! `run`: a scenario from a file. Phases say how many sockets are open and how many commands,
//! signals and HTTP requests a second there are; storms cut sockets off, which then resume with
//! `since`; slow readers stop reading for a time.
//!
//! All times are fixed before the run (`plan`) and all latencies count from them. Every socket holds
//! the server to order, no gap and no repeat over the whole run, however often it is cut off.

mod client;
mod crew;
pub mod file;
mod plan;
mod requests;
mod senders;
mod tally;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};

use self::crew::Crews;
use self::file::{Distribution as Spread, File, Join};
use self::plan::Span;
use self::requests::Requests;
use self::senders::{Outlets, Sender};
use self::tally::{Kind, Tally};
use crate::api::{Accounts, Api, locate_one, room_body};
use crate::cli::RunArgs;
use crate::error::Error;
use crate::measure::Distribution;
use crate::pacer::{Pacer, Shot};
use crate::progress::{Progress, note};
use crate::proto::Proto;
use crate::report::{Rate, Report};
use crate::run::{create_all, id_prefix, parameters, seed, unix_ns, watch};
use crate::schedule::{Clock, Profile, Timetable, Window};
use crate::socket::{Endpoint, Outbox};

/// Time for the senders to connect before the first phase.
const HEAD_START: Duration = Duration::from_secs(1);

/// Rooms that are asked at a time how far they are.
const ASKED_AT_A_TIME: usize = 8;

/// What all threads of a run know.
struct Field {
    clock: Clock,
    /// What the system's clock showed when ours was at zero, in nanoseconds since 1970. Stamps count from
    /// 1970, since other processes read them too.
    epoch_ns: u64,
    window: Window,
    spans: Vec<Span>,
    storms: Vec<u64>,
    commands: Profile,
    rooms: Vec<Room>,
    /// Where signals are written, by the number of the socket; none while it is away.
    sockets: Vec<Outlet>,
    senders: Vec<Sender>,
    sent: AtomicU64,
    answered: AtomicU64,
    /// Commands, signals and requests that were due while nobody could send them.
    unsent: AtomicU64,
}

struct Room {
    id: String,
    entity: String,
    /// The highest seq that every subscriber must see: of a message that was accepted, or what the room
    /// is at in the end if others write to it too.
    last_seq: AtomicU64,
}

/// Where the pacer writes, if anywhere.
#[derive(Default)]
struct Outlet(Mutex<Option<Arc<Outbox>>>);

impl Outlet {
    fn get(&self) -> Option<Arc<Outbox>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, outbox: Option<Arc<Outbox>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = outbox;
    }
}

impl Field {
    /// A shot as its message's stamp says it.
    fn stamped(&self, shot: Shot) -> Shot {
        Shot { intended_ns: shot.intended_ns + self.epoch_ns, ..shot }
    }

    /// When a message with this stamp was due by our clock; 0 if that was before it began.
    fn intended_ns(&self, stamped_ns: u64) -> u64 {
        stamped_ns.saturating_sub(self.epoch_ns)
    }

    fn tally(&self) -> Tally {
        Tally::new(self.window, &self.spans, self.storms.len())
    }
}

/// Runs the scenario.
pub async fn run(args: &RunArgs, file: &File) -> Result<Report, Error> {
    let common = &args.common;
    let seed = seed(common);
    let mut with = parameters(args, seed);
    with["scenario"] = serde_json::to_value(file).unwrap_or_default();
    let mut report = Report::new(&file.name, with);
    let mut endpoints = Vec::new();
    let mut apis: Vec<Api> = Vec::new();
    for url in &common.urls {
        let (endpoint, api) = locate_one(url, Proto::Switchyard).await?;
        endpoints.push(Endpoint { receive_buffer: file.receive_buffer, ..endpoint });
        apis.push(api);
    }
    let accounts = apis[0].accounts(common, Proto::Switchyard).await?;
    let prefix = args.rooms_named.clone().unwrap_or_else(id_prefix);
    let rooms = create_rooms(&apis[0], &accounts, file, &prefix).await?;

    let (clock, epoch_ns) = (Clock::start(), unix_ns());
    let start_ns = HEAD_START.as_nanos() as u64;
    let spans = plan::spans(file, start_ns);
    let unmeasured = file.phases.iter().take_while(|phase| !phase.measured).count();
    let window = Window {
        start_ns,
        from_ns: spans[unmeasured].from_ns,
        until_ns: spans.last().map_or(start_ns, |span| span.until_ns),
    };
    let profiles = [
        plan::profile(file, start_ns, |phase| phase.commands),
        plan::profile(file, start_ns, |phase| phase.signals),
        plan::profile(file, start_ns, |phase| phase.requests),
    ];
    let actions = plan::actions(file, &spans, seed);
    let senders = if file.join.is_some() { file.senders.count } else { 0 };
    let field = Arc::new(Field {
        clock,
        epoch_ns,
        window,
        storms: plan::storms(file, &spans),
        spans,
        commands: profiles[0].clone(),
        rooms,
        sockets: (0..actions.len()).map(|_| Outlet::default()).collect(),
        senders: (0..senders).map(|_| Sender::default()).collect(),
        sent: AtomicU64::new(0),
        answered: AtomicU64::new(0),
        unsent: AtomicU64::new(0),
    });

    let progress = Arc::new(Progress::new("deliveries", common.threads));
    let join = file.join.clone();
    let places = move |socket| places(join.as_ref(), socket);
    note(&format!("up to {} sockets, {} rooms", actions.len(), field.rooms.len()));
    let crews = Crews::start(
        &field,
        common,
        seed,
        endpoints,
        &accounts,
        &progress,
        actions,
        places.clone(),
    )?;
    let requests = Requests::start(&field, apis.clone(), &accounts, file, common.drain)?;
    let outlet = Outlets::new(&field, file, requests.outlet(), places, seed);
    let intended = profiles.each_ref().map(|profile| per_second(profile, window));
    let pacer = Pacer::start(clock, profiles.to_vec(), window, outlet)?;
    watch(clock, window, common, &progress, "delivery", &mut report).await?;
    let paced = pacer.finished().await?;
    drop(paced.outlet);
    if args.rooms_named.is_some() {
        report.notes.extend(note_seqs(&apis, &accounts, &field.rooms).await);
    }
    note("waiting for what is under way");
    let mut total = field.tally();
    for tally in crews.finish(common.drain).await? {
        total.merge(tally);
    }
    total.merge(requests.finish().await?);
    report.phases = total.phases(file.phases.iter().map(|phase| phase.name.clone()));
    fill(&mut report, &field, intended, total);
    report.distributions.push(Distribution::of("harness lateness", &paced.lateness));
    Ok(report)
}

async fn create_rooms(
    api: &Api,
    accounts: &Accounts,
    file: &File,
    prefix: &str,
) -> Result<Vec<Room>, Error> {
    let count = match &file.join {
        None => 0,
        Some(Join { rooms, distribution: Spread::Shared, .. }) => *rooms,
        Some(Join { per_socket, distribution: Spread::Own, .. }) => {
            per_socket * file.most_sockets().max(1)
        }
    };
    let ids: Vec<String> = (0..count).map(|number| format!("{prefix}-{number}")).collect();
    note(&format!("creating {count} rooms"));
    create_all(api, accounts, "rooms", ids.iter().map(|id| room_body(id)).collect()).await?;
    let room =
        |id: String| Room { entity: Proto::Switchyard.room(&id), id, last_seq: AtomicU64::new(0) };
    Ok(ids.into_iter().map(room).collect())
}

/// Asks how far the rooms are that others write to too: so much must come to everybody. Gives what is to
/// be noted if no server says it.
async fn note_seqs(apis: &[Api], accounts: &Accounts, rooms: &[Room]) -> Option<String> {
    let ask = |(number, room): (usize, &Room)| {
        let (id, token) = (room.id.clone(), accounts.token(number));
        async move {
            for api in apis {
                if let Ok(seq) = api.seq("rooms", &id, &token).await {
                    return Some((number, seq));
                }
            }
            None
        }
    };
    let asked: Vec<_> = rooms.iter().enumerate().map(ask).collect();
    let said: Vec<Option<(usize, u64)>> =
        stream::iter(asked).buffered(ASKED_AT_A_TIME).collect().await;
    for (number, seq) in said.iter().flatten() {
        rooms[*number].last_seq.fetch_max(*seq, Relaxed);
    }
    let silent = said.iter().filter(|seq| seq.is_none()).count();
    let note =
        || format!("{silent} rooms: no server says how far they are; loss at the end is not seen");
    (silent > 0).then(note)
}

/// The rooms that a socket joins.
fn places(join: Option<&Join>, socket: usize) -> Vec<usize> {
    let Some(join) = join else { return Vec::new() };
    let first = socket * join.per_socket;
    match join.distribution {
        Spread::Own => (first..first + join.per_socket).collect(),
        Spread::Shared => (first..first + join.per_socket).map(|room| room % join.rooms).collect(),
    }
}

/// What a profile asks for in the measured window, per second.
fn per_second(profile: &Profile, window: Window) -> f64 {
    let due_before = |ns: u64| {
        let (mut low, mut high) = (0u64, 1u64 << 40);
        while low < high {
            let middle = low.midpoint(high);
            if profile.intended_ns(middle).is_some_and(|at_ns| at_ns < ns) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    };
    (due_before(window.until_ns) - due_before(window.from_ns)) as f64 / window.seconds()
}

fn fill(report: &mut Report, field: &Field, intended: [f64; 3], mut total: Tally) {
    let achieved = total.of(Kind::Delivery).achieved_rate();
    report.rates.push(Rate { name: "deliveries".to_owned(), intended: None, achieved });
    for (kind, name, intended) in [
        (Kind::Command, "commands accepted", intended[0]),
        (Kind::Http, "http requests", intended[2]),
    ] {
        if intended > 0.0 {
            let achieved = total.of(kind).achieved_rate();
            report.rates.push(Rate { name: name.to_owned(), intended: Some(intended), achieved });
        }
    }
    let (sent, answered) = (field.sent.load(Relaxed), field.answered.load(Relaxed));
    let (counts, findings) = (total.counts, total.findings);
    for (name, count) in [
        ("sockets opened", counts.opened),
        ("sockets resumed", counts.resumed),
        ("not back", counts.not_back),
        ("commands sent", sent),
        ("commands sent again", counts.sent_again),
        ("commands accepted", counts.accepted),
        ("unanswered", sent.saturating_sub(answered)),
        ("unsent", field.unsent.load(Relaxed)),
        ("changes caught up", counts.caught_up),
        ("joins answered with the state", counts.restored),
        ("lost", findings.lost),
        ("duplicate", findings.duplicate),
        ("reordered", findings.reordered),
    ] {
        report.set_count(name, count);
    }
    for (number, (storm, &at_ns)) in total.storms.iter().zip(&field.storms).enumerate() {
        let name = |what: &str| format!("storm {}: {what}", number + 1);
        report.set_count(&name("cut off"), storm.dropped);
        report.set_count(&name("back"), storm.back);
        if storm.back == storm.dropped {
            let all_back_ms = storm.last_back_ns.saturating_sub(at_ns) / 1_000_000;
            report.set_count(&name("ms until all were back"), all_back_ms);
        }
    }
    report.distributions = total.distributions();
    report.series = total.of(Kind::Delivery).series();
    if report.series.is_empty() {
        report.series = total.of(Kind::Http).series();
    }
    if total.errors.contains_key("rate_limited") {
        report.notes.push("the server limited what was sent; lift its limits".to_owned());
    }
    report.errors = total.errors;
    report.closed = total.closed;
}

#[cfg(test)]
mod tests;

//! What one thread makes of the messages of its rooms.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::{Room, add_counts};
use crate::cli::FanoutArgs;
use crate::fleet::Listener;
use crate::ledger::{Findings, Ledger, Seen};
use crate::measure::Recorder;
use crate::progress::Progress;
use crate::proto::Proto;
use crate::scan::{Answer, Item, JOIN, stamp};
use crate::schedule::Window;
use crate::socket::{Closed, Outbox};

/// The sockets of one thread.
pub(super) struct Listening {
    rooms: Arc<[Room]>,
    rate: f64,
    proto: Proto,
    progress: Arc<Progress>,
    sockets: Vec<Role>,
    /// Sockets that are neither ready nor failed.
    unsettled: usize,
    measuring: Option<Measuring>,
    tally: Tally,
    errors: BTreeMap<String, u64>,
    closed: BTreeMap<String, u64>,
}

enum Role {
    Subscriber { room: usize, state: Subscriber },
    Publisher { room: usize, state: Publisher },
}

enum Subscriber {
    Joining,
    Joined(Ledger),
    /// Never joined.
    Failed,
    /// Closed after it had joined.
    CutOff(Ledger),
}

enum Publisher {
    Opening,
    Open,
    Gone,
}

struct Measuring {
    window: Window,
    deliveries: Recorder,
    answers: Recorder,
}

/// Counts over the whole run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) joined: u64,
    pub(super) accepted: u64,
    pub(super) delivered: u64,
}

/// What a thread hands over at the end.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) deliveries: Recorder,
    pub(super) answers: Recorder,
    pub(super) findings: Findings,
    pub(super) tally: Tally,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) closed: BTreeMap<String, u64>,
}

impl Summary {
    /// Of all threads.
    pub(super) fn sum(summaries: Vec<Self>, window: Window) -> Self {
        let mut total = Self {
            deliveries: Recorder::new(window),
            answers: Recorder::new(window),
            findings: Findings::default(),
            tally: Tally::default(),
            errors: BTreeMap::new(),
            closed: BTreeMap::new(),
        };
        for summary in summaries {
            total.deliveries.merge(summary.deliveries);
            total.answers.merge(summary.answers);
            total.findings.add(summary.findings);
            total.tally.joined += summary.tally.joined;
            total.tally.accepted += summary.tally.accepted;
            total.tally.delivered += summary.tally.delivered;
            add_counts(&mut total.errors, summary.errors);
            add_counts(&mut total.closed, summary.closed);
        }
        total
    }
}

impl Listening {
    pub(super) fn new(rooms: Arc<[Room]>, args: &FanoutArgs, progress: Arc<Progress>) -> Self {
        Self {
            rooms,
            rate: args.rate,
            proto: args.proto,
            progress,
            sockets: Vec::new(),
            unsettled: 0,
            measuring: None,
            tally: Tally::default(),
            errors: BTreeMap::new(),
            closed: BTreeMap::new(),
        }
    }

    /// Expects a subscriber of this room; gives its slot.
    pub(super) fn add_subscriber(&mut self, room: usize) -> usize {
        self.add(Role::Subscriber { room, state: Subscriber::Joining })
    }

    /// Expects the publisher of this room; gives its slot.
    pub(super) fn add_publisher(&mut self, room: usize) -> usize {
        self.add(Role::Publisher { room, state: Publisher::Opening })
    }

    fn add(&mut self, role: Role) -> usize {
        self.sockets.push(role);
        self.unsettled += 1;
        self.sockets.len() - 1
    }
}

/// Counts an error and shows it in the progress.
fn fail(errors: &mut BTreeMap<String, u64>, progress: &Progress, name: String) {
    progress.add_error();
    *errors.entry(name).or_default() += 1;
}

impl Listener for Listening {
    type Summary = Summary;

    fn on_opened(&mut self, slot: usize, outbox: Arc<Outbox>) {
        if let Role::Publisher { room, state } = &mut self.sockets[slot] {
            *state = Publisher::Open;
            self.unsettled -= 1;
            // Each room has one publisher, so the cell is empty.
            self.rooms[*room].publisher.set(outbox).ok();
        }
    }

    fn on_text(&mut self, slot: usize, text: &[u8], now_ns: u64) {
        let Self {
            rooms, rate, proto, progress, sockets, unsettled, measuring, tally, errors, ..
        } = self;
        let before = tally.delivered;
        let scanned = match &mut sockets[slot] {
            Role::Subscriber { room, state } => proto.scan(text, |item| match state {
                Subscriber::Joining => match item.answer {
                    Some(Answer::Ok { seq: Some(seq), .. }) if item.id == Some(JOIN) => {
                        *state = Subscriber::Joined(Ledger::joined_at(seq));
                        rooms[*room].last_seq.fetch_max(seq, Relaxed);
                        tally.joined += 1;
                        *unsettled -= 1;
                    }
                    Some(Answer::Error { code }) => {
                        let code = String::from_utf8_lossy(code);
                        fail(errors, progress, format!("join: {code}"));
                        *state = Subscriber::Failed;
                        *unsettled -= 1;
                    }
                    Some(Answer::Ok { .. }) | None => {}
                },
                Subscriber::Joined(ledger) => {
                    if let Some(Answer::Error { code }) = item.answer {
                        fail(errors, progress, String::from_utf8_lossy(code).into_owned());
                        return;
                    }
                    let (Some(seq), Some(entity)) = (item.seq, item.entity) else { return };
                    if entity != rooms[*room].entity.as_bytes() {
                        fail(errors, progress, "change of another entity".to_owned());
                        return;
                    }
                    if ledger.observe(seq) == Seen::Again {
                        return;
                    }
                    let Some((_, intended_ns)) = item.text.and_then(stamp) else { return };
                    tally.delivered += 1;
                    if let Some(measuring) = measuring {
                        measuring.deliveries.record(intended_ns, now_ns);
                    }
                }
                Subscriber::Failed | Subscriber::CutOff(_) => {}
            }),
            Role::Publisher { room, .. } => proto.scan(text, |item| {
                let (room, rate) = (&rooms[*room], *rate);
                answer(room, rate, &item, now_ns, measuring, tally, |code| {
                    fail(errors, progress, code);
                });
            }),
        };
        progress.add_done(tally.delivered - before);
        if scanned.is_err() {
            fail(errors, progress, "not JSON".to_owned());
        }
    }

    fn on_closed(&mut self, slot: usize, closed: &Closed) {
        let label = closed.label();
        let was_settled = match &mut self.sockets[slot] {
            Role::Subscriber { state, .. } => match std::mem::replace(state, Subscriber::Failed) {
                Subscriber::Joining => false,
                Subscriber::Joined(ledger) => {
                    *state = Subscriber::CutOff(ledger);
                    true
                }
                Subscriber::Failed | Subscriber::CutOff(_) => true,
            },
            Role::Publisher { room, state } => {
                self.rooms[*room].publisher_gone.store(true, Relaxed);
                !matches!(std::mem::replace(state, Publisher::Gone), Publisher::Opening)
            }
        };
        if was_settled {
            self.progress.add_error();
            *self.closed.entry(label).or_default() += 1;
        } else {
            self.unsettled -= 1;
            fail(&mut self.errors, &self.progress, format!("connect: {label}"));
        }
    }

    fn is_settled(&self) -> bool {
        self.unsettled == 0
    }

    fn begin(&mut self, window: Window) {
        let (deliveries, answers) = (Recorder::new(window), Recorder::new(window));
        self.measuring = Some(Measuring { window, deliveries, answers });
    }

    fn is_drained(&self) -> bool {
        self.rooms.iter().all(Room::is_answered)
            && self.sockets.iter().all(|role| match role {
                Role::Subscriber { room, state: Subscriber::Joined(ledger) } => {
                    ledger.has_all_up_to(self.rooms[*room].last_seq.load(Relaxed))
                }
                Role::Subscriber { .. } | Role::Publisher { .. } => true,
            })
    }

    fn p99_ns(&self) -> u64 {
        self.measuring.as_ref().map_or(0, |measuring| measuring.deliveries.p99_ns())
    }

    fn finish(self) -> Summary {
        let mut findings = Findings::default();
        for role in &self.sockets {
            let Role::Subscriber { room, state } = role else { continue };
            match state {
                Subscriber::Joined(ledger) => {
                    findings.add(ledger.close(self.rooms[*room].last_seq.load(Relaxed)));
                }
                Subscriber::CutOff(ledger) => findings.add(ledger.close_early()),
                Subscriber::Joining | Subscriber::Failed => {}
            }
        }
        let (deliveries, answers) = match self.measuring {
            Some(measuring) => (measuring.deliveries, measuring.answers),
            None => (Recorder::unused(), Recorder::unused()),
        };
        let Self { tally, errors, closed, .. } = self;
        Summary { deliveries, answers, findings, tally, errors, closed }
    }
}

/// Takes an answer to a publisher. The id is the message's number, which gives its intended time.
fn answer(
    room: &Room,
    rate: f64,
    item: &Item<'_>,
    now_ns: u64,
    measuring: &mut Option<Measuring>,
    tally: &mut Tally,
    mut refused: impl FnMut(String),
) {
    let (Some(number), Some(answer), Some(measuring)) = (item.id, &item.answer, measuring) else {
        return;
    };
    room.answered.fetch_add(1, Relaxed);
    let intended_ns = room.schedule(measuring.window, rate).intended_ns(number);
    measuring.answers.record(intended_ns, now_ns);
    match answer {
        Answer::Ok { seq, .. } => {
            tally.accepted += 1;
            match seq {
                Some(seq) => room.last_seq.fetch_max(*seq, Relaxed),
                // Nobody else writes to the room, which began at 0.
                None => room.last_seq.fetch_add(1, Relaxed),
            };
        }
        Answer::Error { code } => refused(String::from_utf8_lossy(code).into_owned()),
    }
}

//! What one thread makes of the answers to its connections.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::source::{Sent, Source};
use super::{Connection, schedule};
use crate::fleet::Listener;
use crate::measure::Recorder;
use crate::progress::Progress;
use crate::scan::{Answer, scan};
use crate::schedule::{Clock, Window};
use crate::socket::{Closed, Outbox};

/// What a command was answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// Accepted, with the entity's seq; without one it changed nothing.
    Accepted { seq: Option<u64> },
    /// Refused with a code that says that it took no effect.
    Refused,
    /// `timeout` or `unavailable`: it may have taken effect.
    Unknown,
}

/// How a connection is loaded.
pub(super) enum Load {
    /// By the pacer: command `n` is due at `phase + n / rate`.
    Open { rate: f64, phase_ns: u64 },
    /// An answer is followed by the next command.
    Closed { source: Box<Source>, in_flight: usize },
}

/// The connections of one thread.
pub(super) struct Answering {
    clock: Clock,
    connections: Arc<[Connection]>,
    progress: Arc<Progress>,
    sockets: Vec<Link>,
    unsettled: usize,
    window: Option<Window>,
    answers: Option<Recorder>,
    unexpected: u64,
    errors: BTreeMap<String, u64>,
    closed: BTreeMap<String, u64>,
}

struct Link {
    /// Number of the connection in the run.
    number: usize,
    load: Load,
    state: State,
    sent: Vec<Sent>,
    /// By the command's number.
    replies: Vec<Option<Reply>>,
    answered: u64,
    command: String,
}

enum State {
    Opening,
    Open(Arc<Outbox>),
    Gone,
}

/// What a thread hands over at the end; lists go by the connection's number.
pub(super) struct Summary {
    pub(super) answers: Recorder,
    pub(super) replies: Vec<(usize, Vec<Option<Reply>>)>,
    pub(super) sent: Vec<(usize, Vec<Sent>)>,
    pub(super) unexpected: u64,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) closed: BTreeMap<String, u64>,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            answers: Recorder::unused(),
            replies: Vec::new(),
            sent: Vec::new(),
            unexpected: 0,
            errors: BTreeMap::new(),
            closed: BTreeMap::new(),
        }
    }
}

impl Answering {
    pub(super) fn new(
        clock: Clock,
        connections: Arc<[Connection]>,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            clock,
            connections,
            progress,
            sockets: Vec::new(),
            unsettled: 0,
            window: None,
            answers: None,
            unexpected: 0,
            errors: BTreeMap::new(),
            closed: BTreeMap::new(),
        }
    }

    /// Expects the connection with this number; gives its slot.
    pub(super) fn add(&mut self, number: usize, load: Load) -> usize {
        self.sockets.push(Link {
            number,
            load,
            state: State::Opening,
            sent: Vec::new(),
            replies: Vec::new(),
            answered: 0,
            command: String::new(),
        });
        self.unsettled += 1;
        self.sockets.len() - 1
    }

    fn fail(&mut self, name: String) {
        self.progress.add_error();
        *self.errors.entry(name).or_default() += 1;
    }
}

impl Link {
    /// In a closed loop, sends the next command.
    fn send_next(&mut self, now_ns: u64) {
        let (Load::Closed { source, .. }, State::Open(outbox)) = (&mut self.load, &self.state)
        else {
            return;
        };
        let sent = source.write(self.sent.len() as u64, &mut self.command);
        self.sent.push(Sent { at_ns: now_ns, ..sent });
        outbox.queue_text(self.command.as_bytes());
    }

    /// When command `number` was meant to be sent; none if it was not.
    fn intended_ns(&self, number: u64, window: Window) -> Option<u64> {
        match &self.load {
            Load::Open { rate, phase_ns } => {
                let intended_ns = schedule(window, *rate, *phase_ns).intended_ns(number);
                (intended_ns < window.until_ns).then_some(intended_ns)
            }
            Load::Closed { .. } => self.sent.get(number as usize).map(|sent| sent.at_ns),
        }
    }

    /// Whether this is the first answer to that command.
    fn note(&mut self, number: u64, reply: Reply) -> bool {
        let index = number as usize;
        if self.replies.len() <= index {
            self.replies.resize(index + 1, None);
        }
        let first = self.replies[index].is_none();
        if first {
            self.replies[index] = Some(reply);
            self.answered += 1;
        }
        first
    }
}

impl Listener for Answering {
    type Summary = Summary;

    fn on_opened(&mut self, slot: usize, outbox: Arc<Outbox>) {
        let link = &mut self.sockets[slot];
        self.connections[link.number].set_outbox(Arc::clone(&outbox));
        link.state = State::Open(outbox);
        self.unsettled -= 1;
    }

    fn on_text(&mut self, slot: usize, text: &[u8], now_ns: u64) {
        let (Some(window), Some(answers)) = (self.window, &mut self.answers) else { return };
        let link = &mut self.sockets[slot];
        let mut codes = Vec::new();
        let (mut done, mut unexpected) = (0, 0);
        let scanned = scan(text, |item| {
            let (Some(number), Some(answer)) = (item.id, item.answer) else { return };
            let Some(intended_ns) = link.intended_ns(number, window) else {
                unexpected += 1;
                return;
            };
            let reply = match answer {
                Answer::Ok { seq, changes, .. } => {
                    // An empty list is an acceptance that changed nothing.
                    let changed = changes.is_empty() || changes.contains(&b'{');
                    Reply::Accepted { seq: seq.filter(|_| changed) }
                }
                Answer::Error { code: b"timeout" | b"unavailable" } => Reply::Unknown,
                Answer::Error { .. } => Reply::Refused,
            };
            if !link.note(number, reply) {
                unexpected += 1;
                return;
            }
            match answer {
                Answer::Ok { .. } => {
                    answers.record(intended_ns, now_ns);
                    done += 1;
                }
                Answer::Error { code } => codes.push(String::from_utf8_lossy(code).into_owned()),
            }
            if now_ns < window.until_ns {
                link.send_next(now_ns);
            }
        });
        self.unexpected += unexpected;
        self.progress.add_done(done);
        if scanned.is_err() {
            codes.push("not JSON".to_owned());
        }
        for code in codes {
            self.fail(code);
        }
    }

    fn on_closed(&mut self, slot: usize, closed: &Closed) {
        let label = closed.label();
        match std::mem::replace(&mut self.sockets[slot].state, State::Gone) {
            State::Opening => {
                self.unsettled -= 1;
                self.fail(format!("connect: {label}"));
            }
            State::Open(_) | State::Gone => {
                self.progress.add_error();
                *self.closed.entry(label).or_default() += 1;
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.unsettled == 0
    }

    fn begin(&mut self, window: Window) {
        self.window = Some(window);
        self.answers = Some(Recorder::new(window));
        let now_ns = self.clock.now_ns();
        for link in &mut self.sockets {
            let Load::Closed { in_flight, .. } = link.load else { continue };
            for _ in 0..in_flight {
                link.send_next(now_ns);
            }
            if let State::Open(outbox) = &link.state {
                // What does not leave now leaves when the first answer has been read.
                outbox.flush();
            }
        }
    }

    fn is_drained(&self) -> bool {
        self.sockets.iter().all(|link| {
            let sent = match link.load {
                Load::Open { .. } => self.connections[link.number].sent.load(Relaxed),
                Load::Closed { .. } => link.sent.len() as u64,
            };
            matches!(link.state, State::Gone) || link.answered >= sent
        })
    }

    fn p99_ns(&self) -> u64 {
        self.answers.as_ref().map_or(0, Recorder::p99_ns)
    }

    fn finish(self) -> Summary {
        let mut summary = Summary {
            answers: self.answers.unwrap_or_else(Recorder::unused),
            unexpected: self.unexpected,
            errors: self.errors,
            closed: self.closed,
            ..Summary::default()
        };
        for link in self.sockets {
            summary.replies.push((link.number, link.replies));
            summary.sent.push((link.number, link.sent));
        }
        summary
    }
}

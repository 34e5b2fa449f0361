//! Commands and signals: written by the pacer at their times, answered to the senders' sockets. What a
//! connection took with it unanswered is sent again over the next one, under the same command id.
//! Command `n` goes to room `n mod rooms` over a sender of that room's own, so that each room gets
//! its messages in order; signal `n` is sent by socket `n mod sockets` to the first room it joined.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::Field;
use super::crew::Crew;
use super::file::File;
use super::tally::Kind;
use crate::pacer::{self, Backlog, Shot};
use crate::proto::{Proto, push_stamped};
use crate::random::Random;
use crate::scan::{Answer, scan};
use crate::schedule::Timetable;
use crate::socket::{Flushed, Outbox, Socket};

/// Commands of one sender without an answer; more are not sent.
const MOST_UNANSWERED: usize = 10_000;
const RETRY: Duration = Duration::from_millis(500);
/// Length of a signal's text.
const SIGNAL_BYTES: usize = 32;

/// The slots of the pacer.
pub(super) const COMMANDS: usize = 0;
pub(super) const SIGNALS: usize = 1;

/// A connection for commands, whichever it is at the moment.
#[derive(Default)]
pub(super) struct Sender(Mutex<SenderState>);

#[derive(Default)]
struct SenderState {
    /// Where it writes; none while it is away.
    outbox: Option<Arc<Outbox>>,
    /// What it has sent, by number.
    unanswered: BTreeMap<u64, String>,
}

impl Sender {
    fn state(&self) -> MutexGuard<'_, SenderState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what is unanswered, then is open for more; gives how much it was.
    fn connected(&self, outbox: Arc<Outbox>) -> u64 {
        let mut state = self.state();
        for message in state.unanswered.values() {
            // What finds no room waits for the next connection.
            outbox.queue_text(message.as_bytes());
        }
        outbox.flush();
        state.outbox = Some(outbox);
        state.unanswered.len() as u64
    }

    fn disconnected(&self) {
        self.state().outbox = None;
    }

    /// Whether the command with this number still waited for its answer.
    fn answered(&self, number: u64) -> bool {
        self.state().unanswered.remove(&number).is_some()
    }
}

/// Where the pacer writes.
pub(super) struct Outlets<P> {
    field: Arc<Field>,
    payload: usize,
    requests: mpsc::Sender<Shot>,
    places: P,
    message: String,
    random: Random,
    /// Sockets with bytes that have not left.
    waiting: Vec<Arc<Outbox>>,
}

impl<P: Fn(usize) -> Vec<usize>> Outlets<P> {
    pub(super) fn new(
        field: &Arc<Field>,
        file: &File,
        requests: mpsc::Sender<Shot>,
        places: P,
        seed: u64,
    ) -> Self {
        Self {
            field: Arc::clone(field),
            payload: file.senders.payload,
            requests,
            places,
            message: String::new(),
            // Processes with one seed may share rooms, where no two commands have the same id.
            random: Random::new(!seed ^ u64::from(std::process::id()) << 32),
            waiting: Vec::new(),
        }
    }

    /// Whether it could be sent.
    fn command(&mut self, shot: Shot) -> bool {
        let room = shot.number as usize % self.field.rooms.len();
        let field = Arc::clone(&self.field);
        let mut sender = field.senders[room % field.senders.len()].state();
        let Some(outbox) = sender.outbox.clone() else { return false };
        if sender.unanswered.len() >= MOST_UNANSWERED {
            return false;
        }
        let (entity, id) = (&field.rooms[room].entity, self.random.command_id());
        let shot = field.stamped(shot);
        Proto::Switchyard.write_post(&mut self.message, entity, Some(id), shot, self.payload);
        if !self.queue(outbox) {
            return false;
        }
        sender.unanswered.insert(shot.number, self.message.clone());
        self.field.sent.fetch_add(1, Relaxed);
        true
    }

    fn signal(&mut self, shot: Shot) -> bool {
        let socket = shot.number as usize % self.field.sockets.len().max(1);
        let outbox = self.field.sockets.get(socket).and_then(super::Outlet::get);
        let (Some(outbox), Some(&room)) = (outbox, (self.places)(socket).first()) else {
            return false;
        };
        self.message.clear();
        write!(
            self.message,
            r#"{{"op":"signal","entity":"{}","kind":"typing","data":{{"text":""#,
            self.field.rooms[room].entity
        )
        .expect("writing to a string does not fail");
        push_stamped(&mut self.message, self.field.stamped(shot), SIGNAL_BYTES);
        self.message.push_str(r#""}}"#);
        self.queue(outbox)
    }

    /// Whether there was room for the message.
    fn queue(&mut self, outbox: Arc<Outbox>) -> bool {
        if outbox.queue_text(self.message.as_bytes()) == Flushed::Broken {
            return false;
        }
        if !self.waiting.iter().any(|other| Arc::ptr_eq(other, &outbox)) {
            self.waiting.push(outbox);
        }
        true
    }
}

impl<P: Fn(usize) -> Vec<usize> + Send + 'static> pacer::Outlet for Outlets<P> {
    fn fire(&mut self, shot: Shot) {
        let sent = match shot.slot {
            COMMANDS => self.command(shot),
            SIGNALS => self.signal(shot),
            _ => self.requests.try_send(shot).is_ok(),
        };
        self.field.unsent.fetch_add(u64::from(!sent), Relaxed);
    }

    fn flush(&mut self) -> Backlog {
        self.waiting.retain(|outbox| outbox.flush() == Flushed::Partly);
        if self.waiting.is_empty() { Backlog::None } else { Backlog::Some }
    }
}

/// Keeps a sender connected, to the next server if one closes or refuses it, and takes its answers.
pub(super) async fn answers(crew: Rc<Crew>, sender: usize, token: Arc<str>) {
    for endpoint in sender.. {
        let endpoint = &crew.endpoints[endpoint % crew.endpoints.len()];
        let masks = Random::new(crew.random.borrow_mut().next_u64());
        match Socket::connect(endpoint, &token, None, masks).await {
            Ok(socket) => read(&crew, sender, socket).await,
            Err(closed) => crew.fail(&format!("sender: {}", closed.label())),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn read(crew: &Crew, sender: usize, mut socket: Socket) {
    let field = &crew.field;
    let again = field.senders[sender].connected(socket.outbox());
    crew.tally.borrow_mut().counts.sent_again += again;
    loop {
        let batch = socket.next_batch(&crew.scratch, |text| {
            let now_ns = field.clock.now_ns();
            let scanned = scan(text, |item| {
                let (Some(number), Some(answer)) = (item.id, &item.answer) else { return };
                if !field.senders[sender].answered(number) {
                    crew.fail("command answered twice");
                    return;
                }
                field.answered.fetch_add(1, Relaxed);
                match answer {
                    Answer::Ok { seq, .. } => {
                        let room = &field.rooms[number as usize % field.rooms.len()];
                        room.last_seq.fetch_max(seq.unwrap_or(0), Relaxed);
                        let mut tally = crew.tally.borrow_mut();
                        tally.counts.accepted += 1;
                        if let Some(intended_ns) = field.commands.intended_ns(number) {
                            tally.record(Kind::Command, intended_ns, now_ns);
                        }
                    }
                    Answer::Error { code } => crew.fail(&String::from_utf8_lossy(code)),
                }
            });
            if scanned.is_err() {
                crew.fail("not JSON");
            }
        });
        if let Err(closed) = batch.await {
            field.senders[sender].disconnected();
            crew.fail(&format!("sender: {}", closed.label()));
            return;
        }
    }
}

//! One socket as the server's client: what it has joined, what it has seen there, and what it makes
//! of a message. No I/O.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Field;
use super::tally::{Kind, Tally};
use crate::ledger::{Ledger, Seen};
use crate::scan::{Answer, Item, scan, stamp};

/// When and why a socket connects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// When it was meant to.
    pub(super) intended_ns: u64,
    /// When it is tried; later than intended only after a failure.
    pub(super) at_ns: u64,
    pub(super) tries: u32,
    /// Why.
    pub(super) why: Why,
}

/// Why a socket connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The phase wants it.
    Phase,
    /// The server closed it.
    Closed,
    /// The storm with this number cut it off.
    Storm(usize),
}

impl Due {
    pub(super) fn at(intended_ns: u64, why: Why) -> Self {
        Self { intended_ns, at_ns: intended_ns, tries: 0, why }
    }
}

/// A socket over the whole run.
pub(super) struct Client {
    /// Its number in the run.
    pub(super) number: usize,
    pub(super) token: Arc<str>,
    places: Vec<Place>,
    due: Option<Due>,
    is_ready: bool,
    /// Which of the servers it is at, modulo their number; another one after it was closed or refused.
    pub(super) endpoint: usize,
    /// When the server closed it, until it has joined again.
    closed_ns: Option<u64>,
    /// What was sent before this was kept from it by its own doing, and has no latency.
    pub(super) blind_until_ns: u64,
}

/// A room that it joins.
struct Place {
    room: usize,
    ledger: Option<Ledger>,
    is_joined: bool,
}

impl Client {
    pub(super) fn new(number: usize, token: Arc<str>, rooms: Vec<usize>) -> Self {
        let place = |room| Place { room, ledger: None, is_joined: false };
        let places = rooms.into_iter().map(place).collect();
        let (due, is_ready, closed_ns) = (None, false, None);
        Self {
            number,
            token,
            places,
            due,
            is_ready,
            endpoint: number,
            closed_ns,
            blind_until_ns: 0,
        }
    }

    /// It shall be open.
    pub(super) fn wanted(&mut self, due: Due) {
        self.due = Some(due);
    }

    /// It shall not be open any more.
    pub(super) fn unwanted(&mut self) {
        self.due = None;
    }

    /// Why it connects again if it is closed now: a storm is over only when it is back.
    pub(super) fn why_again(&self) -> Why {
        self.due.filter(|_| !self.is_ready).map_or(Why::Closed, |due| due.why)
    }

    /// The server has closed the socket.
    pub(super) fn closed(&mut self, now_ns: u64) {
        self.closed_ns.get_or_insert(now_ns);
        self.endpoint += 1;
    }

    /// The socket is gone, whoever did it.
    pub(super) fn disconnected(&mut self) {
        self.is_ready = false;
        for place in &mut self.places {
            place.is_joined = false;
        }
    }

    /// What it sends first: a join for each place, whose id is the place's number.
    pub(super) fn joins(&self, field: &Field) -> Vec<String> {
        let join = |(id, place): (usize, &Place)| {
            let entity = &field.rooms[place.room].entity;
            let since = place
                .ledger
                .as_ref()
                .map_or_else(String::new, |ledger| format!(r#","since":{}"#, ledger.last_seq()));
            format!(r#"{{"id":{id},"op":"join","entity":"{entity}","presence":false{since}}}"#)
        };
        self.places.iter().enumerate().map(join).collect()
    }

    /// Takes a message; true if the socket has become ready with it.
    pub(super) fn on_text(
        &mut self,
        field: &Field,
        tally: &mut Tally,
        text: &[u8],
        now_ns: u64,
        delivered: &mut u64,
    ) -> bool {
        let was_ready = self.is_ready;
        let scanned = scan(text, |item| self.on_item(field, tally, &item, now_ns, delivered));
        if scanned.is_err() {
            tally.fail("not JSON");
        }
        let is_new = self.is_ready && !was_ready;
        if is_new {
            self.note_ready(field, tally, now_ns);
        }
        is_new
    }

    fn on_item(
        &mut self,
        field: &Field,
        tally: &mut Tally,
        item: &Item<'_>,
        now_ns: u64,
        delivered: &mut u64,
    ) {
        match &item.answer {
            Some(Answer::Ok { seq, changes, recovered }) => {
                let Some(id) = item.id else { return };
                let Some(seq) = *seq else { return };
                self.on_joined(field, tally, id as usize, seq, changes, *recovered);
                self.is_ready = self.places.iter().all(|place| place.is_joined);
            }
            Some(Answer::Error { code }) => {
                tally.fail(&format!("socket: {}", String::from_utf8_lossy(code)));
            }
            None if item.kind == Some(b"connected") => self.is_ready |= self.places.is_empty(),
            None => self.on_push(field, tally, item, now_ns, delivered),
        }
    }

    fn on_joined(
        &mut self,
        field: &Field,
        tally: &mut Tally,
        place: usize,
        seq: u64,
        changes: &[u8],
        recovered: bool,
    ) {
        let Some(place) = self.places.get_mut(place) else { return };
        place.is_joined = true;
        let Some(ledger) = &mut place.ledger else {
            place.ledger = Some(Ledger::joined_at(seq));
            return;
        };
        if !recovered {
            tally.counts.restored += 1;
            ledger.restore(seq);
            return;
        }
        let entity = field.rooms[place.room].entity.as_bytes();
        let scanned = scan(changes, |change| {
            if change.entity == Some(entity)
                && let Some(seq) = change.seq
                && ledger.observe(seq) == Seen::New
            {
                tally.counts.caught_up += 1;
            }
        });
        if scanned.is_err() && !changes.is_empty() {
            tally.fail("not JSON");
        }
    }

    fn on_push(
        &mut self,
        field: &Field,
        tally: &mut Tally,
        item: &Item<'_>,
        now_ns: u64,
        delivered: &mut u64,
    ) {
        let stamp = item.text.and_then(stamp).map(|(_, stamped_ns)| field.intended_ns(stamped_ns));
        let Some(seq) = item.seq else {
            if let Some(intended_ns) = stamp
                && intended_ns >= self.blind_until_ns
            {
                tally.record(Kind::Signal, intended_ns, now_ns);
            }
            return;
        };
        let of_change =
            |place: &&mut Place| item.entity == Some(field.rooms[place.room].entity.as_bytes());
        let Some(ledger) =
            self.places.iter_mut().find(of_change).and_then(|place| place.ledger.as_mut())
        else {
            tally.fail("change of another entity");
            return;
        };
        if ledger.observe(seq) == Seen::Again {
            return;
        }
        let Some(intended_ns) = stamp else { return };
        *delivered += 1;
        if intended_ns >= self.blind_until_ns {
            tally.record(Kind::Delivery, intended_ns, now_ns);
        } else {
            tally.counts.caught_up += 1;
        }
    }

    fn note_ready(&mut self, field: &Field, tally: &mut Tally, now_ns: u64) {
        self.blind_until_ns = now_ns;
        if let Some(closed_ns) = self.closed_ns.take() {
            tally.record(Kind::Silence, closed_ns, now_ns);
        }
        let Some(due) = self.due else { return };
        match due.why {
            Why::Phase => {
                tally.counts.opened += 1;
                tally.record(Kind::Open, due.intended_ns, now_ns);
            }
            Why::Closed | Why::Storm(_) => {
                tally.counts.resumed += 1;
                tally.record(Kind::Resume, due.intended_ns, now_ns);
            }
        }
        if let Why::Storm(storm) = due.why {
            tally.record(Kind::Back, field.storms[storm], now_ns);
            let storm = &mut tally.storms[storm];
            storm.back += 1;
            storm.last_back_ns = storm.last_back_ns.max(now_ns);
        }
    }

    /// Whether everything that was accepted has come.
    pub(super) fn has_all(&self, field: &Field) -> bool {
        self.due.is_none()
            || self.is_ready
                && self.places.iter().all(|place| {
                    let last = field.rooms[place.room].last_seq.load(Relaxed);
                    place.ledger.as_ref().is_none_or(|ledger| ledger.has_all_up_to(last))
                })
    }

    /// Sums up at the end of the run.
    pub(super) fn close(&self, field: &Field, tally: &mut Tally) {
        let is_away = self.due.is_some() && !self.is_ready;
        tally.counts.not_back += u64::from(is_away);
        for place in &self.places {
            let Some(ledger) = &place.ledger else { continue };
            let last = field.rooms[place.room].last_seq.load(Relaxed);
            tally.findings.add(if self.is_ready {
                ledger.close(last)
            } else {
                ledger.close_early()
            });
        }
    }
}

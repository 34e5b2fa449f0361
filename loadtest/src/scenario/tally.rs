//! What one thread of a scenario has counted and measured, over the run and for each phase.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::plan::Span;
use crate::ledger::Findings;
use crate::measure::{Distribution, Recorder, histogram};
use crate::report::Phase;
use crate::run::add_counts;
use crate::schedule::Window;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message, from its intended time to a subscriber.
    Delivery,
    /// A command, to its answer.
    Command,
    /// A signal, to a subscriber.
    Signal,
    /// An HTTP request, to the end of its answer.
    Http,
    /// A socket, from the time it was meant to open until it has joined.
    Open,
    /// A socket, from the time it was meant to come back until it has joined again.
    Resume,
    /// A socket that a storm cut off, from the storm until it has joined again.
    Back,
    /// A socket that the server closed, from then until it has joined again.
    Silence,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Delivery,
        Self::Command,
        Self::Signal,
        Self::Http,
        Self::Open,
        Self::Resume,
        Self::Back,
        Self::Silence,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Command => "command",
            Self::Signal => "signal",
            Self::Http => "http",
            Self::Open => "open",
            Self::Resume => "resume",
            Self::Back => "back",
            Self::Silence => "silence",
        }
    }
}

/// Counts by name.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) opened: u64,
    pub(super) resumed: u64,
    /// Changes that an answer to `join` brought, or that came of a time without reading.
    pub(super) caught_up: u64,
    /// Answers to `join` that gave the state in place of the changes.
    pub(super) restored: u64,
    /// Commands whose connection ended before their answer.
    pub(super) sent_again: u64,
    pub(super) accepted: u64,
    pub(super) not_back: u64,
}

/// One storm, as one thread saw it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StormTally {
    pub(super) dropped: u64,
    pub(super) back: u64,
    pub(super) last_back_ns: u64,
}

/// The tally of one thread.
#[derive(Debug)]
pub(super) struct Tally {
    spans: Vec<Span>,
    recorders: Vec<Recorder>,
    /// By kind, then by phase; made when the first value comes.
    phases: Vec<Vec<Option<Histogram<u64>>>>,
    pub(super) counts: Counts,
    pub(super) findings: Findings,
    pub(super) storms: Vec<StormTally>,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) closed: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn new(window: Window, spans: &[Span], storms: usize) -> Self {
        Self {
            spans: spans.to_vec(),
            recorders: Kind::ALL.iter().map(|_| Recorder::new(window)).collect(),
            phases: vec![vec![None; spans.len()]; Kind::ALL.len()],
            counts: Counts::default(),
            findings: Findings::default(),
            storms: vec![StormTally::default(); storms],
            errors: BTreeMap::new(),
            closed: BTreeMap::new(),
        }
    }

    pub(super) fn record(&mut self, kind: Kind, intended_ns: u64, now_ns: u64) {
        self.recorders[kind as usize].record(intended_ns, now_ns);
        let phase = self.spans.partition_point(|span| span.until_ns <= intended_ns);
        if let Some(slot) = self.phases[kind as usize].get_mut(phase) {
            let latency = now_ns.saturating_sub(intended_ns).max(1);
            slot.get_or_insert_with(histogram).saturating_record(latency);
        }
    }

    pub(super) fn fail(&mut self, name: &str) {
        *self.errors.entry(name.to_owned()).or_default() += 1;
    }

    pub(super) fn p99_ns(&self) -> u64 {
        self.recorders[Kind::Delivery as usize].p99_ns()
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (recorder, other) in self.recorders.iter_mut().zip(other.recorders) {
            recorder.merge(other);
        }
        let slots = self.phases.iter_mut().flatten();
        for (slot, other) in slots.zip(other.phases.into_iter().flatten()) {
            let Some(other) = other else { continue };
            slot.get_or_insert_with(histogram).add(other).expect("all have the same bounds");
        }
        self.counts.opened += other.counts.opened;
        self.counts.resumed += other.counts.resumed;
        self.counts.caught_up += other.counts.caught_up;
        self.counts.restored += other.counts.restored;
        self.counts.sent_again += other.counts.sent_again;
        self.counts.accepted += other.counts.accepted;
        self.counts.not_back += other.counts.not_back;
        self.findings.add(other.findings);
        for (storm, other) in self.storms.iter_mut().zip(other.storms) {
            storm.dropped += other.dropped;
            storm.back += other.back;
            storm.last_back_ns = storm.last_back_ns.max(other.last_back_ns);
        }
        add_counts(&mut self.errors, other.errors);
        add_counts(&mut self.closed, other.closed);
    }

    /// The distributions that have values, the most important first.
    pub(super) fn distributions(&self) -> Vec<Distribution> {
        let of = |&kind: &Kind| self.recorders[kind as usize].distribution(kind.name());
        Kind::ALL.iter().map(of).filter(|distribution| distribution.count > 0).collect()
    }

    /// The recorder of a kind.
    pub(super) fn of(&mut self, kind: Kind) -> &mut Recorder {
        &mut self.recorders[kind as usize]
    }

    /// The phases with the distributions that have values there.
    pub(super) fn phases(&self, names: impl Iterator<Item = String>) -> Vec<Phase> {
        let origin_ns = self.spans.first().map_or(0, |span| span.from_ns);
        let seconds = |ns: u64| (ns - origin_ns) as f64 / 1e9;
        let phase = |(number, name): (usize, String)| Phase {
            name,
            from_seconds: seconds(self.spans[number].from_ns),
            until_seconds: seconds(self.spans[number].until_ns),
            distributions: Kind::ALL
                .iter()
                .filter_map(|&kind| {
                    let measured = self.phases[kind as usize][number].as_ref()?;
                    Some(Distribution::of(kind.name(), measured))
                })
                .collect(),
        };
        names.enumerate().map(phase).collect()
    }
}

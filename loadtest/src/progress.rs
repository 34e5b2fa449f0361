//! How a run is going, on stderr: one line that renews itself on a terminal, a plain line every
//! five seconds elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::schedule::Clock;
use crate::units::{format_count, format_ns};

/// Counters that all threads of a run add to.
#[derive(Debug)]
pub(crate) struct Progress {
    unit: &'static str,
    done: AtomicU64,
    errors: AtomicU64,
    p99_ns: Vec<AtomicU64>,
}

impl Progress {
    /// `unit` is what is counted, in the plural.
    pub(crate) fn new(unit: &'static str, threads: usize) -> Self {
        let p99_ns = (0..threads).map(|_| AtomicU64::new(0)).collect();
        Self { unit, done: AtomicU64::new(0), errors: AtomicU64::new(0), p99_ns }
    }

    pub(crate) fn add_done(&self, count: u64) {
        self.done.fetch_add(count, Relaxed);
    }

    pub(crate) fn add_error(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    pub(crate) fn done(&self) -> u64 {
        self.done.load(Relaxed)
    }

    pub(crate) fn set_p99(&self, thread: usize, ns: u64) {
        self.p99_ns[thread].store(ns, Relaxed);
    }

    fn p99_ns(&self) -> u64 {
        self.p99_ns.iter().map(|ns| ns.load(Relaxed)).max().unwrap_or(0)
    }

    /// Shows the progress until the clock shows `until_ns`.
    pub(crate) async fn show_until(&self, clock: Clock, phase: &str, until_ns: u64) {
        let terminal = stderr().is_terminal();
        let period = Duration::from_secs(if terminal { 1 } else { 5 });
        let end = clock.instant(until_ns).into();
        let (mut last_done, mut last_ns) = (self.done(), clock.now_ns());
        loop {
            let next = tokio::time::Instant::now() + period;
            tokio::time::sleep_until(next.min(end)).await;
            let (done, now_ns) = (self.done(), clock.now_ns());
            let rate = (done - last_done) as f64 * 1e9 / (now_ns - last_ns).max(1) as f64;
            let line = format!(
                "{phase}: {} {}/s, p99 {}, {} errors",
                format_count(rate.round()),
                self.unit,
                format_ns(self.p99_ns()),
                self.errors.load(Relaxed),
            );
            say(terminal, &line);
            if next >= end {
                break;
            }
            (last_done, last_ns) = (done, now_ns);
        }
        if terminal {
            say(true, "");
        }
    }
}

/// Says one thing about a phase that has no numbers.
pub(crate) fn note(line: &str) {
    say(false, line);
}

/// A terminal gets the line in place of the last one.
fn say(in_place: bool, line: &str) {
    let mut out = stderr().lock();
    // Progress that nobody can read is no reason to stop a run.
    if in_place {
        write!(out, "\r\x1b[K{line}").and_then(|()| out.flush()).ok();
    } else {
        writeln!(out, "{line}").ok();
    }
}

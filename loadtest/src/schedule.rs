//! When each message is meant to be sent. The times are fixed before the run and depend on
//! nothing the server does, so a stall shows up in the latency of every message it held up
//! instead of in fewer messages (coordinated omission).

use std::time::{Duration, Instant};

const SECOND: f64 = 1e9;

/// The run's only clock: nanoseconds since it was started, monotonic.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Starts at zero now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since the start.
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The instant at which the clock shows `ns`.
    pub fn instant(&self, ns: u64) -> Instant {
        self.0 + Duration::from_nanos(ns)
    }
}

/// Evenly spaced intended send times: message `n` at `first + n / rate`.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    first_ns: u64,
    rate: f64,
}

impl Schedule {
    /// Message 0 is due at `first_ns`; `rate` is messages a second, above zero.
    pub fn new(first_ns: u64, rate: f64) -> Self {
        Self { first_ns, rate }
    }

    /// When message `n` is meant to be sent, in nanoseconds of the run's clock. Computed from
    /// `n`, not added up, so that rounding does not drift.
    pub fn intended_ns(&self, n: u64) -> u64 {
        self.first_ns + (n as f64 * SECOND / self.rate) as u64
    }

    /// The time between two messages, in nanoseconds.
    pub fn period_ns(rate: f64) -> f64 {
        SECOND / rate
    }
}

/// The part of the run that is measured, in nanoseconds of the run's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first intended send time of the run, warm-up included.
    pub start_ns: u64,
    /// The end of the warm-up.
    pub from_ns: u64,
    /// The end of the sending.
    pub until_ns: u64,
}

impl Window {
    /// A run that begins at `start_ns`, warms up and is then measured.
    pub fn new(start_ns: u64, warmup: Duration, duration: Duration) -> Self {
        let from_ns = start_ns + warmup.as_nanos() as u64;
        Self { start_ns, from_ns, until_ns: from_ns + duration.as_nanos() as u64 }
    }

    /// Whether something meant for `ns` is measured.
    pub fn contains(&self, ns: u64) -> bool {
        (self.from_ns..self.until_ns).contains(&ns)
    }

    /// The measured time in seconds.
    pub fn seconds(&self) -> f64 {
        (self.until_ns - self.from_ns) as f64 / SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intended_times_are_evenly_spaced_and_do_not_drift() {
        let schedule = Schedule::new(1_000, 3.0);
        assert_eq!(schedule.intended_ns(0), 1_000);
        assert_eq!(schedule.intended_ns(1), 1_000 + 333_333_333);
        assert_eq!(schedule.intended_ns(3), 1_000 + 1_000_000_000);
        assert_eq!(schedule.intended_ns(3 * 86_400), 1_000 + 86_400 * 1_000_000_000);
    }

    #[test]
    fn slow_rates_have_long_periods() {
        assert_eq!(Schedule::new(0, 0.5).intended_ns(2), 4_000_000_000);
    }

    #[test]
    fn the_window_begins_after_the_warmup() {
        let window = Window::new(10, Duration::from_nanos(5), Duration::from_nanos(20));
        assert!(!window.contains(14));
        assert!(window.contains(15));
        assert!(window.contains(34));
        assert!(!window.contains(35));
    }
}

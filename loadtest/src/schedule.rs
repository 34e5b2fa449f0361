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

/// Intended times by number.
pub trait Timetable: Send + 'static {
    /// When message `n` is meant to be sent; none if there is no such message.
    fn intended_ns(&self, n: u64) -> Option<u64>;
}

impl Timetable for Schedule {
    fn intended_ns(&self, n: u64) -> Option<u64> {
        Some(Self::intended_ns(self, n))
    }
}

/// A rate that changes over time: pieces, each constant or a linear ramp. Message `n` is due when
/// the area under the rate reaches `n`.
#[derive(Debug, Clone)]
pub struct Profile(Vec<Piece>);

#[derive(Debug, Clone, Copy)]
struct Piece {
    start_ns: u64,
    from: f64,
    /// How much the rate rises each second.
    slope: f64,
    /// Messages of the pieces before.
    before: f64,
    /// Messages of this piece.
    amount: f64,
}

impl Profile {
    /// Pieces one after the other, each with its length and the rates at both ends.
    pub fn new(start_ns: u64, parts: impl IntoIterator<Item = (Duration, f64, f64)>) -> Self {
        let (mut start_ns, mut before) = (start_ns, 0.0);
        let mut pieces = Vec::new();
        for (length, from, to) in parts {
            let seconds = length.as_secs_f64();
            let (slope, amount) = ((to - from) / seconds, f64::midpoint(from, to) * seconds);
            pieces.push(Piece { start_ns, from, slope, before, amount });
            start_ns += length.as_nanos() as u64;
            before += amount;
        }
        Self(pieces)
    }
}

impl Timetable for Profile {
    fn intended_ns(&self, n: u64) -> Option<u64> {
        let n = n as f64;
        let piece = self.0.iter().find(|piece| n < piece.before + piece.amount)?;
        let missing = (n - piece.before).max(0.0);
        if missing == 0.0 {
            return Some(piece.start_ns);
        }
        // The root of `slope / 2 · t² + from · t = missing`, in the form that suits a slope of 0.
        let root = (piece.from * piece.from + 2.0 * piece.slope * missing).max(0.0).sqrt();
        Some(piece.start_ns + (2.0 * missing / (piece.from + root) * SECOND) as u64)
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
    fn a_ramp_has_the_area_under_its_line() {
        let second = Duration::from_secs(1);
        let parts = [(second * 2, 0.0, 10.0), (second, 0.0, 0.0), (second, 10.0, 10.0)];
        let profile = Profile::new(5, parts);
        assert_eq!(profile.intended_ns(0), Some(5));
        // 2.5 t² = 2.5 after one second.
        let third = profile.intended_ns(3).unwrap();
        assert!(third.abs_diff(5 + 1_095_445_115) < 10, "{third}");
        assert_eq!(profile.intended_ns(10), Some(5 + 3_000_000_000));
        assert_eq!(profile.intended_ns(11), Some(5 + 3_100_000_000));
        assert_eq!(profile.intended_ns(19), Some(5 + 3_900_000_000));
        assert_eq!(profile.intended_ns(20), None);
    }

    #[test]
    fn a_falling_ramp_gets_slower() {
        let profile = Profile::new(0, [(Duration::from_secs(2), 10.0, 0.0)]);
        let times: Vec<u64> = (0..10).map(|n| profile.intended_ns(n).unwrap()).collect();
        let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.is_sorted(), "{gaps:?}");
        assert_eq!(profile.intended_ns(10), None);
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

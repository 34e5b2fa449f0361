//! How often a shard hands on what came: at once while there is little, in batches when writing would
//! take most of its thread's time. What waits meanwhile for one client goes out with one write.

use std::time::{Duration, Instant};

/// What one write earns of rest. The kernel needs about 8 µs for one (measured on loopback), so a shard
/// writes for a third of its time before it begins to collect.
const REST: Duration = Duration::from_micros(24);
/// The longest rest: what a batch may add to a delivery's latency.
const LONGEST: Duration = Duration::from_millis(15);
/// Shorter rests are saved up; a timer does not go off earlier.
const SHORTEST: Duration = Duration::from_millis(2);

/// When the shard may go on.
#[derive(Debug)]
pub(super) struct Pace {
    rested_at: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { rested_at: now }
    }

    /// Until when to collect, after so many sockets got something to write; nothing if it is not worth it.
    pub(super) fn after(&mut self, writes: usize, now: Instant) -> Option<Instant> {
        let writes = u32::try_from(writes).unwrap_or(u32::MAX);
        let rest = REST.saturating_mul(writes);
        self.rested_at = (self.rested_at.max(now) + rest).min(now + LONGEST);
        (self.rested_at - now >= SHORTEST).then_some(self.rested_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_goes_out_at_once() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for message in 0..1_000 {
            let now = start + Duration::from_millis(message);
            assert_eq!(pace.after(10, now), None, "ten writes a millisecond");
        }
    }

    #[test]
    fn many_small_ones_are_collected_too() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let rests = (0..1_000).filter_map(|_| pace.after(1, start)).count();
        assert!(rests > 900, "{rests} rests");
    }

    #[test]
    fn a_large_room_is_written_to_at_once_and_then_rests_for_a_bounded_time() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.after(500, start), Some(start + 500 * REST));
        assert_eq!(pace.after(100_000, start), Some(start + LONGEST));
        let later = start + Duration::from_secs(1);
        assert_eq!(pace.after(0, later), None);
    }
}

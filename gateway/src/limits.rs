//! Bounds on what one user, address or connection may do in a time.

use std::{
    cell::Cell,
    hash::Hash,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    state::keyed::DashMapStateStore,
};
use schemas::Code;

use crate::problem::Problem;

/// A bound per key, shared by the workers. Without a number it lets everything pass.
pub(crate) struct Keyed<K: Hash + Eq + Clone> {
    limiter: Option<RateLimiter<K, DashMapStateStore<K>, DefaultClock>>,
    what: &'static str,
}

impl<K: Hash + Eq + Clone> Keyed<K> {
    /// So many in `period`, sustained, and the same number at once; 0 is no bound.
    pub(crate) fn new(count: u32, period: Duration, what: &'static str) -> Self {
        let quota = NonZeroU32::new(count)
            .and_then(|count| Some(Quota::with_period(period / count.get())?.allow_burst(count)));
        Self { limiter: quota.map(RateLimiter::keyed), what }
    }

    /// Takes one.
    ///
    /// # Errors
    /// `rate_limited`, with the time after which there is one again.
    pub(crate) fn take(&self, key: &K) -> Result<(), Problem> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        limiter.check_key(key).map_err(|refusal| {
            let wait = refusal.wait_time_from(DefaultClock::default().now());
            refuse(self.what, wait)
        })
    }

    /// Forgets keys that are back at their full allowance.
    pub(crate) fn tidy(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
        }
    }
}

fn refuse(what: &str, wait: Duration) -> Problem {
    let seconds = (wait.as_secs_f64() * 10.0).ceil() / 10.0;
    Problem::new(Code::RateLimited, format!("too many {what}")).with_retry_after(seconds.max(0.1))
}

/// A bound of one connection: a bucket of a second's (or a minute's) allowance that refills
/// steadily. Twelve words smaller than a keyed one, and it dies with its connection.
#[derive(Debug)]
pub(crate) struct Bucket {
    left: Cell<f64>,
    at: Cell<Instant>,
    count: u32,
    period: Duration,
}

impl Bucket {
    /// So many in `period`; 0 is no bound.
    pub(crate) fn new(count: u32, period: Duration) -> Self {
        let left = Cell::new(f64::from(count));
        Self { left, at: Cell::new(Instant::now()), count, period }
    }

    /// Takes one.
    ///
    /// # Errors
    /// `rate_limited`, with the time after which there is one again.
    pub(crate) fn take(&self, what: &str) -> Result<(), Problem> {
        if self.count == 0 {
            return Ok(());
        }
        let rate = f64::from(self.count) / self.period.as_secs_f64();
        let now = Instant::now();
        let refilled = self.left.get() + (now - self.at.get()).as_secs_f64() * rate;
        self.at.set(now);
        self.left.set(refilled.min(f64::from(self.count)));
        if self.left.get() < 1.0 {
            return Err(refuse(what, Duration::from_secs_f64((1.0 - self.left.get()) / rate)));
        }
        self.left.set(self.left.get() - 1.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_waits() {
        let limit = Keyed::new(3, Duration::from_secs(60), "commands");
        for _ in 0..3 {
            assert!(limit.take(&"ada").is_ok());
        }
        let refused = limit.take(&"ada").unwrap_err();
        assert_eq!(refused.code, Code::RateLimited);
        assert!(refused.retry_after.unwrap() > 15.0);
        assert!(limit.take(&"bob").is_ok());
    }

    #[test]
    fn zero_lifts_a_limit() {
        let limit = Keyed::new(0, Duration::from_secs(60), "commands");
        let bucket = Bucket::new(0, Duration::from_secs(1));
        for _ in 0..10_000 {
            assert!(limit.take(&1).is_ok() && bucket.take("joins").is_ok());
        }
    }

    #[test]
    fn a_bucket_refuses_when_empty() {
        let bucket = Bucket::new(2, Duration::from_secs(3_600));
        assert!(bucket.take("joins").is_ok() && bucket.take("joins").is_ok());
        assert!(bucket.take("joins").unwrap_err().retry_after.unwrap() > 1_000.0);
    }
}

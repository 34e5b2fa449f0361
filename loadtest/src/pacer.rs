//! Sends on schedule. A thread of its own, because the timers of the async runtime are as coarse as
//! a millisecond, which would be measured as latency. It never waits for an answer, nor for a
//! socket that takes no bytes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::measure::histogram;
use crate::schedule::{Clock, Timetable, Window};

/// How soon a socket that took only a part is tried again.
const RETRY: Duration = Duration::from_millis(1);

/// How long after the last shot the sockets may take to accept what they have not yet.
const LAST_BYTES: Duration = Duration::from_secs(5);

/// One message that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shot {
    /// Index of its schedule.
    pub(crate) slot: usize,
    /// Its number within the schedule, from 0.
    pub(crate) number: u64,
    /// When it was meant to be sent.
    pub(crate) intended_ns: u64,
}

/// Whether everything that was fired has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backlog {
    None,
    Some,
}

/// Where the shots go.
pub(crate) trait Outlet: Send + 'static {
    /// Prepares a message. Must not block.
    fn fire(&mut self, shot: Shot);
    /// Sends what was prepared, as far as it goes. Must not block.
    fn flush(&mut self) -> Backlog;
}

/// What remains after the last shot.
#[derive(Debug)]
pub(crate) struct Paced<O> {
    /// The outlet.
    pub(crate) outlet: O,
    /// How many were fired of each schedule.
    pub(crate) fired: Vec<u64>,
    /// How late the harness itself was, in nanoseconds: within the measured latencies.
    pub(crate) lateness: Histogram<u64>,
}

/// A running pacer; dropping it stops the sending.
pub(crate) struct Pacer<O> {
    _stop: SyncSender<()>,
    done: oneshot::Receiver<Paced<O>>,
}

impl<O: Outlet> Pacer<O> {
    /// Fires every schedule until the end of the window.
    pub(crate) fn start<T: Timetable>(
        clock: Clock,
        schedules: Vec<T>,
        window: Window,
        mut outlet: O,
    ) -> Result<Self, Error> {
        let (stop, stopped) = sync_channel::<()>(1);
        let (finished, done) = oneshot::channel();
        let body = move || {
            let wait = |timeout: Duration| match stopped.recv_timeout(timeout) {
                Err(RecvTimeoutError::Timeout) => Wait::Over,
                Ok(()) | Err(RecvTimeoutError::Disconnected) => Wait::Stopped,
            };
            let (fired, lateness) = pace(clock, &schedules, window, &mut outlet, wait);
            // Nobody waits for it if the run was given up.
            finished.send(Paced { outlet, fired, lateness }).ok();
        };
        std::thread::Builder::new()
            .name("pacer".to_owned())
            .spawn(body)
            .map_err(|error| Error::Harness(format!("pacer: {error}")))?;
        Ok(Self { _stop: stop, done })
    }

    /// Waits for the last shot.
    pub(crate) async fn finished(self) -> Result<Paced<O>, Error> {
        self.done.await.map_err(|_| Error::Harness("the pacer died".to_owned()))
    }
}

enum Wait {
    Over,
    Stopped,
}

fn pace(
    clock: Clock,
    schedules: &[impl Timetable],
    window: Window,
    outlet: &mut impl Outlet,
    wait: impl Fn(Duration) -> Wait,
) -> (Vec<u64>, Histogram<u64>) {
    let mut fired = vec![0; schedules.len()];
    let mut lateness = histogram();
    let mut due = BinaryHeap::with_capacity(schedules.len());
    for (slot, schedule) in schedules.iter().enumerate() {
        if let Some(first_ns) = schedule.intended_ns(0) {
            due.push(Reverse((first_ns, slot)));
        }
    }
    while let Some(&Reverse((next_ns, _))) = due.peek() {
        if next_ns >= window.until_ns {
            break;
        }
        let now_ns = clock.now_ns();
        while let Some(mut first) = due.peek_mut() {
            let Reverse((intended_ns, slot)) = *first;
            if intended_ns > now_ns || intended_ns >= window.until_ns {
                break;
            }
            outlet.fire(Shot { slot, number: fired[slot], intended_ns });
            fired[slot] += 1;
            match schedules[slot].intended_ns(fired[slot]) {
                Some(next_ns) => *first = Reverse((next_ns, slot)),
                None => drop(PeekMut::pop(first)),
            }
            lateness.saturating_record((now_ns - intended_ns).max(1));
        }
        let mut pause = match due.peek() {
            Some(&Reverse((next_ns, _))) => {
                clock.instant(next_ns).saturating_duration_since(Instant::now())
            }
            None => Duration::ZERO,
        };
        if outlet.flush() == Backlog::Some {
            pause = pause.min(RETRY);
        }
        if !pause.is_zero() && matches!(wait(pause), Wait::Stopped) {
            return (fired, lateness);
        }
    }
    let give_up_ns = window.until_ns + LAST_BYTES.as_nanos() as u64;
    while outlet.flush() == Backlog::Some && clock.now_ns() < give_up_ns {
        if matches!(wait(RETRY), Wait::Stopped) {
            break;
        }
    }
    (fired, lateness)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;

    #[derive(Default)]
    struct Notes(Vec<Shot>);

    impl Outlet for Notes {
        fn fire(&mut self, shot: Shot) {
            self.0.push(shot);
        }

        fn flush(&mut self) -> Backlog {
            Backlog::None
        }
    }

    #[tokio::test]
    async fn every_intended_time_in_the_window_is_fired_once() {
        let clock = Clock::start();
        let window = Window::new(0, Duration::ZERO, Duration::from_millis(100));
        let schedules = vec![Schedule::new(0, 100.0), Schedule::new(5_000_000, 50.0)];
        let pacer = Pacer::start(clock, schedules, window, Notes::default()).unwrap();
        let paced = pacer.finished().await.unwrap();
        assert_eq!(paced.fired, [10, 5]);
        let times: Vec<u64> = paced.outlet.0.iter().map(|shot| shot.intended_ns).collect();
        assert!(times.is_sorted());
        let second: Vec<u64> =
            paced.outlet.0.iter().filter(|shot| shot.slot == 1).map(|shot| shot.number).collect();
        assert_eq!(second, [0, 1, 2, 3, 4]);
        assert_eq!(paced.lateness.len(), 15);
    }

    #[tokio::test]
    async fn a_slow_start_does_not_drop_shots() {
        let clock = Clock::start();
        let window = Window::new(0, Duration::ZERO, Duration::from_millis(20));
        tokio::time::sleep(Duration::from_millis(30)).await;
        let pacer =
            Pacer::start(clock, vec![Schedule::new(0, 1000.0)], window, Notes::default()).unwrap();
        let paced = pacer.finished().await.unwrap();
        assert_eq!(paced.fired, [20]);
        assert_eq!(paced.outlet.0[7].intended_ns, 7_000_000);
        assert!(paced.lateness.max() >= 30_000_000);
    }
}

//! Whether the fan-out moves. A canary goes through the queue of every shard each second, as changes do;
//! and a tail that stands still is compared with the log.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actors::ports::{Log, TopicPartition};
use futures_util::future::join_all;
use schemas::Offset;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{ShardMessage, TailGauge};

/// How often the fan-out is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// The log must say within this how far it is; else nothing new is known.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Partitions of which the log is asked at once.
const AT_ONCE: usize = 8;

/// Goes through a shard's queue.
#[derive(Debug, Clone)]
pub struct Canary(Arc<AtomicBool>);

impl Canary {
    /// The shard has taken it from its queue.
    pub fn came_through(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Shard {
    queue: mpsc::Sender<ShardMessage>,
    last: Option<Sent>,
}

/// A canary and since when it should go through.
#[derive(Debug)]
struct Sent {
    canary: Canary,
    since: Instant,
    /// A full queue had no room for it yet.
    is_queued: bool,
}

impl Sent {
    fn is_waiting(&self) -> bool {
        !self.canary.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
struct Seen {
    /// Where each tail stood when it was last seen.
    positions: HashMap<TopicPartition, Offset>,
    /// The tails that stand still though the log goes on, and since when.
    behind: HashMap<TopicPartition, Instant>,
}

#[derive(Debug)]
struct State {
    shards: Vec<Shard>,
    tails: Seen,
    looked_at: Instant,
}

/// What of the fan-out stands still.
#[derive(Debug)]
pub(super) struct Stall(Mutex<State>);

/// How a tail stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Nobody wants it, it moves, or there is nothing to read.
    Well,
    /// It should be further.
    Behind,
    /// The log did not say.
    Unknown,
}

impl Stall {
    pub(super) fn new(queues: Vec<mpsc::Sender<ShardMessage>>) -> Self {
        let shards = queues.into_iter().map(|queue| Shard { queue, last: None }).collect();
        Self(Mutex::new(State { shards, tails: Seen::default(), looked_at: Instant::now() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the longest stall lasts by now.
    pub(super) fn lasts(&self, now: Instant) -> Duration {
        let state = self.state();
        let sent = state.shards.iter().filter_map(|shard| shard.last.as_ref());
        let shards = sent.filter(|sent| sent.is_waiting()).map(|sent| sent.since);
        let oldest = shards.chain(state.tails.behind.values().copied()).min();
        let stalled = oldest.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        // Who looks may be what stands still.
        let unseen = now.saturating_duration_since(state.looked_at);
        stalled.max(unseen.saturating_sub(LOOK + ANSWER_WITHIN))
    }

    /// Sends a canary to each shard that has none on its way.
    fn send_canaries(&self, now: Instant) {
        for shard in &mut self.state().shards {
            let mut sent = match shard.last.take() {
                Some(waiting) if waiting.is_waiting() => waiting,
                Some(_) | None => {
                    Sent { canary: Canary(Arc::default()), since: now, is_queued: false }
                }
            };
            if !sent.is_queued {
                let canary = ShardMessage::Canary(sent.canary.clone());
                sent.is_queued = shard.queue.try_send(canary).is_ok();
            }
            shard.last = Some(sent);
        }
    }

    async fn stand(&self, log: &dyn Log, of: &TopicPartition, gauge: &TailGauge) -> Stand {
        let position = gauge.position.load(Ordering::Relaxed);
        let moved = self.state().tails.positions.insert(of.clone(), position) != Some(position);
        match gauge.wanted.load(Ordering::Relaxed) {
            false => Stand::Well,
            true if position < 0 => Stand::Behind,
            true if moved => Stand::Well,
            true => match timeout(ANSWER_WITHIN, log.bounds(of)).await {
                Ok(Ok(bounds)) if bounds.end > position => Stand::Behind,
                Ok(Ok(_)) => Stand::Well,
                Ok(Err(_)) | Err(_) => Stand::Unknown,
            },
        }
    }

    async fn look(&self, log: &dyn Log, gauges: &[(TopicPartition, Arc<TailGauge>)]) {
        let mut stands = Vec::with_capacity(gauges.len());
        for some in gauges.chunks(AT_ONCE) {
            stands
                .extend(join_all(some.iter().map(|(of, gauge)| self.stand(log, of, gauge))).await);
        }
        let now = Instant::now();
        let mut state = self.state();
        for ((of, _), stand) in gauges.iter().zip(stands) {
            match stand {
                Stand::Well => drop(state.tails.behind.remove(of)),
                Stand::Behind => drop(state.tails.behind.entry(of.clone()).or_insert(now)),
                Stand::Unknown => {}
            }
        }
        state.looked_at = now;
    }
}

/// Looks at the fan-out until the hub ends.
pub(super) async fn watch(
    stall: Weak<Stall>,
    log: Arc<dyn Log>,
    gauges: Vec<(TopicPartition, Arc<TailGauge>)>,
) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let Some(stall) = stall.upgrade() else { return };
        stall.send_canaries(Instant::now());
        stall.look(&*log, &gauges).await;
    }
}

#[cfg(test)]
mod tests {
    use actors::{
        memory::MemoryLog,
        ports::{NewRecord, Topic},
    };
    use schemas::Kind;

    use super::*;

    fn after(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_shard_that_takes_nothing_is_a_stall_until_it_does() {
        let (sender, mut queue) = mpsc::channel(2);
        let stall = Stall::new(vec![sender.clone()]);
        sender.try_send(ShardMessage::Drain(Duration::ZERO)).unwrap();
        sender.try_send(ShardMessage::Drain(Duration::ZERO)).unwrap();
        // The queue is full, so the canary waits before it.
        stall.send_canaries(Instant::now());
        stall.send_canaries(after(1));
        stall.state().looked_at = after(40);
        assert!(stall.lasts(after(40)) > Duration::from_secs(39));
        queue.try_recv().unwrap();
        queue.try_recv().unwrap();
        stall.send_canaries(after(40));
        let Ok(ShardMessage::Canary(canary)) = queue.try_recv() else { panic!("no canary") };
        assert!(stall.lasts(after(40)) > Duration::from_secs(39));
        canary.came_through();
        assert_eq!(stall.lasts(after(40)), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_tail_that_stands_still_before_the_end_of_the_log_is_a_stall() {
        let log = MemoryLog::new(1);
        let of = TopicPartition::new(Topic::Outcomes(Kind::Room), 0);
        log.append(&of, NewRecord::default()).await.unwrap();
        let gauge = Arc::new(TailGauge { wanted: true.into(), ..TailGauge::default() });
        let gauges = [(of.clone(), gauge.clone())];
        let stall = Stall::new(Vec::new());
        stall.look(&log, &gauges).await;
        assert_eq!(stall.lasts(Instant::now()), Duration::ZERO, "it may be about to move");
        stall.look(&log, &gauges).await;
        stall.state().looked_at = after(40);
        assert!(stall.lasts(after(40)) > Duration::from_secs(39));
        gauge.position.store(1, Ordering::Relaxed);
        stall.look(&log, &gauges).await;
        stall.state().looked_at = after(40);
        assert_eq!(stall.lasts(after(40)), Duration::ZERO);
        // Nothing to read is no stall, however long.
        stall.look(&log, &gauges).await;
        assert_eq!(stall.lasts(Instant::now()), Duration::ZERO);
    }

    #[test]
    fn nobody_looking_is_a_stall() {
        let stall = Stall::new(Vec::new());
        assert!(stall.lasts(after(60)) > Duration::from_secs(50));
    }
}

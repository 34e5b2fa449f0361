//! A tail whose log always has more.

use std::sync::atomic::AtomicU64;

use actors::{
    memory::{ManualClock, MemoryLog, MemoryStore},
    ports::{Bounds, Claims, Group, Log, NewRecord, Tail as LogTail, Topic},
};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use schemas::{Fence, Timestamp};
use tokio::{sync::oneshot, task::coop::consume_budget};

use super::*;

/// A log without an end; counts the batches that were taken while somebody waited.
#[derive(Clone)]
struct Endless {
    log: MemoryLog,
    requests: mpsc::Sender<Request>,
    next: Offset,
    taken: Arc<AtomicU64>,
}

#[async_trait]
impl Log for Endless {
    fn partitions(&self, topic: &Topic) -> i32 {
        self.log.partitions(topic)
    }

    fn append(
        &self,
        to: &TopicPartition,
        record: NewRecord,
    ) -> BoxFuture<'static, Result<Offset, LogError>> {
        self.log.append(to, record)
    }

    async fn tail(&self, _: &TopicPartition, _: Offset) -> Result<Box<dyn LogTail>, LogError> {
        Ok(Box::new(self.clone()))
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds, LogError> {
        self.log.bounds(of).await
    }

    async fn claims(&self, group: Group) -> Result<Box<dyn Claims>, LogError> {
        self.log.claims(group).await
    }
}

#[async_trait]
impl LogTail for Endless {
    async fn next(&mut self) -> Result<Vec<Record>, LogError> {
        consume_budget().await;
        if self.requests.capacity() < self.requests.max_capacity() {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        let offset = self.next;
        self.next += 1;
        let fence = Fence { owner: "a node".to_owned(), at: Timestamp::from_millis(offset) };
        let value = codec::encode_fence(&fence).unwrap().into();
        Ok(vec![Record { offset, key: <_>::default(), value, received: None, headers: Vec::new() }])
    }
}

#[tokio::test]
async fn all_who_wait_are_answered_between_two_batches() {
    const ASKED: usize = 300;
    let of = TopicPartition::new(Topic::Outcomes(Kind::Room), 0);
    let (sender, requests) = mpsc::channel(ASKED);
    let taken = Arc::new(AtomicU64::new(0));
    let log =
        Endless { log: MemoryLog::new(1), requests: sender.clone(), next: 0, taken: taken.clone() };
    let task = TailTask {
        of,
        kind: Kind::Room,
        partition: 0,
        ports: Ports {
            log: Arc::new(log),
            store: Arc::new(MemoryStore::default()),
            clock: Arc::new(ManualClock::at(0)),
        },
        guards: Arc::default(),
        shards: Shards::new(Vec::new()),
        searches: Arc::new(Semaphore::new(1)),
        to_self: sender.downgrade(),
        gauge: Arc::default(),
    };
    let key: EntityKey = "acme/room:r".parse().unwrap();
    let mut answers = Vec::new();
    for _ in 0..ASKED {
        let (reply, answer) = oneshot::channel();
        sender.send(Request::Recent { key: key.clone(), reply }).await.unwrap();
        answers.push(answer);
    }
    tokio::spawn(task.run(requests));
    for answer in answers {
        assert!(answer.await.unwrap().is_empty());
    }
    let batches = taken.load(Ordering::Relaxed);
    assert!(batches < 20, "{batches} batches were read before the last of {ASKED} was answered");
}

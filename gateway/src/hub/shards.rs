//! The way from tails to shards.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Delivery, ReplyTo, ShardMessage};

/// The queues of all shards.
#[derive(Clone)]
pub(super) struct Shards(Vec<mpsc::Sender<ShardMessage>>);

impl Shards {
    pub(super) fn new(queues: Vec<mpsc::Sender<ShardMessage>>) -> Self {
        Self(queues)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Waits while the shard's queue is full.
    pub(super) async fn send(&self, shard: usize, message: ShardMessage) {
        if let Some(shard) = self.0.get(shard) {
            // A shard ends with its worker, at shut-down only.
            shard.send(message).await.ok();
        }
    }

    /// Tells whoever asked what came of their command.
    pub(super) async fn reply(&self, reply: ReplyTo, delivery: &Arc<Delivery>) {
        match reply {
            // Whoever asked may be gone; the outcome stands.
            ReplyTo::Caller(caller) => drop(caller.send(delivery.clone())),
            ReplyTo::Session { shard, session, ticket } => {
                let delivery = delivery.clone();
                self.send(shard, ShardMessage::Decided { session, ticket, delivery }).await;
            }
        }
    }
}

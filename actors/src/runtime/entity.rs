//! The actor of one entity: owns its state, decides its commands one after another. Started by
//! its partition when a command comes, dropped when it has been quiet for a while.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, Addr, AsyncContext, Context, Handler, Message,
    WrapFuture as _,
};
use schemas::{Command, EntityKey, Offset, Timestamp};

use super::{
    guards::Guards,
    owner::{decide_and_apply, skipped},
    partition::{Broken, Decided, PartitionActor},
    replica::fold,
    ring::Counted,
};
use crate::{
    domain::entity::{Decision, Entity},
    ports::Store,
};

/// Commands that may wait for one entity. The partition's window is smaller, so it never fills.
pub(super) const MAILBOX: usize = 2_048;

/// An entity's actor.
pub(super) struct EntityActor {
    pub(super) key: EntityKey,
    pub(super) partition_number: i32,
    /// The partition's attempt that started this actor; said back in every answer.
    pub(super) attempt: u32,
    pub(super) partition: Addr<PartitionActor>,
    pub(super) store: Arc<dyn Store>,
    pub(super) guards: Arc<Guards>,
    /// Outcomes that the store may not have yet.
    pub(super) recent: Vec<Arc<Counted>>,
    pub(super) state: Option<Entity>,
}

/// Decide this command.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Decide {
    pub(super) offset: Offset,
    pub(super) command: Box<Command>,
}

/// Nobody needs this actor now.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Passivate;

impl Actor for EntityActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let store = self.store.clone();
        let key = self.key.clone();
        let partition = self.partition_number;
        let load = async move { store.load(&key, partition).await };
        ctx.wait(load.into_actor(self).map(|loaded, actor, ctx| {
            let state = loaded.map_err(|error| error.to_string()).and_then(|loaded| {
                let mut state = fold(&actor.key, &loaded).map_err(|error| error.to_string())?;
                let unknown = actor.recent.iter().filter(|c| c.offset >= loaded.checkpoint.offset);
                unknown.for_each(|counted| state.apply(&counted.outcome));
                Ok(state)
            });
            actor.recent = Vec::new();
            match state {
                Ok(state) => actor.state = Some(state),
                Err(reason) => {
                    tracing::error!(entity = %actor.key, reason, "an entity cannot be loaded");
                    actor.partition.try_send(Broken { attempt: actor.attempt }).ok();
                    ctx.stop();
                }
            }
        }));
    }
}

impl EntityActor {
    /// Starts the actor. A whole batch may be sent to it before it runs for the first time, so the
    /// mailbox must have its size before that.
    pub(super) fn start_with_mailbox(self) -> Addr<Self> {
        Self::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX);
            self
        })
    }

    /// Decides without letting a panic out (R11); after a panic in `apply` the state is gone and
    /// the actor with it.
    fn decide(&mut self, offset: Offset, command: &Command) -> (Decision, Option<Timestamp>) {
        let Some(mut state) = self.state.take() else {
            return (skipped("the entity's actor is gone"), None);
        };
        let guards = self.guards.clone();
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            let decided = decide_and_apply(&mut state, command, offset, &guards);
            (state, decided)
        }));
        match attempt {
            Ok((state, Ok(decided))) => {
                self.state = Some(state);
                decided
            }
            Ok((state, Err(unwritable))) => {
                let wake_at = state.next_wake();
                self.state = Some(state);
                (skipped(unwritable.to_string()), wake_at)
            }
            Err(_panic) => (skipped("the command makes its entity panic"), None),
        }
    }
}

impl Handler<Decide> for EntityActor {
    type Result = ();

    fn handle(&mut self, Decide { offset, command }: Decide, ctx: &mut Self::Context) {
        let (decision, wake_at) = self.decide(offset, &command);
        let attempt = self.attempt;
        let panicked = self.state.is_none();
        let answer = Decided { attempt, offset, command, decision, wake_at, panicked };
        if self.partition.try_send(answer).is_err() || panicked {
            ctx.stop();
        }
    }
}

impl Handler<Passivate> for EntityActor {
    type Result = ();

    fn handle(&mut self, Passivate: Passivate, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

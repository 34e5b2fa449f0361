//! What a node runs: an owner and a projector for every partition that is claimed for it, and
//! the forwarders. Owners live on arbiters (single-threaded event loops) by partition.

use std::collections::HashMap;

use actix::{Addr, Arbiter};
use schemas::Kind;
use tokio::{sync::watch, task::JoinHandle};

use super::{
    forwarder::{Partner, forward},
    owner::Phase,
    partition::{GetStatus, OwnerSettings, PartitionActor, PartitionStatus, Ports, Release},
    projection::project,
};
use crate::ports::{Claim, LogError};

type Owners = HashMap<(Kind, i32), Addr<PartitionActor>>;

/// A running node. Dropping it does not stop it; [`Node::shut_down`] does.
pub struct Node {
    owners: watch::Receiver<Owners>,
    claims: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
    arbiters: Vec<Arbiter>,
}

impl Node {
    /// Joins the owners and begins to work. `arbiters` threads carry the actors (at least one).
    ///
    /// # Errors
    /// If the log refuses the membership.
    pub async fn start(
        ports: Ports,
        settings: OwnerSettings,
        partners: Vec<Partner>,
        arbiters: usize,
    ) -> Result<Self, LogError> {
        let arbiters: Vec<_> = (0..arbiters.max(1)).map(|_| Arbiter::new()).collect();
        let handles: Vec<_> = arbiters.iter().map(Arbiter::handle).collect();
        let mut claims = ports.log.claims().await?;
        let (sender, owners) = watch::channel(Owners::new());
        let tasks = partners
            .into_iter()
            .map(|partner| tokio::spawn(forward(partner, ports.clone())))
            .collect();
        let claims = tokio::spawn(async move {
            let mut projections: HashMap<(Kind, i32), JoinHandle<()>> = HashMap::new();
            loop {
                match claims.next().await {
                    Ok(Claim::Assigned(assigned)) => {
                        for (kind, partition) in assigned {
                            let guards = settings.guards.clone();
                            let task = project(kind, partition, ports.clone(), guards);
                            projections.insert((kind, partition), tokio::spawn(task));
                            let place = usize::try_from(partition).unwrap_or(0) % handles.len();
                            let (ports, settings) = (ports.clone(), settings.clone());
                            let owner = start_on(&handles[place], move || {
                                PartitionActor::start_owning(kind, partition, ports, settings)
                            });
                            if let Some(owner) = owner.await {
                                sender.send_modify(|owners| {
                                    owners.insert((kind, partition), owner);
                                });
                            }
                        }
                    }
                    Ok(Claim::Revoked(gone) | Claim::Lost(gone)) => {
                        for place in gone {
                            if let Some(task) = projections.remove(&place) {
                                task.abort();
                            }
                            let mut owner = None;
                            sender.send_modify(|owners| owner = owners.remove(&place));
                            if let Some(owner) = owner {
                                owner.send(Release).await.ok();
                            }
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "the membership of the owners ended");
                        return;
                    }
                }
            }
        });
        Ok(Self { owners, claims, tasks, arbiters })
    }

    /// Where each partition of this node stands.
    pub async fn status(&self) -> Vec<PartitionStatus> {
        let owners: Vec<_> = self.owners.borrow().values().cloned().collect();
        let mut status = Vec::with_capacity(owners.len());
        for owner in owners {
            status.extend(owner.send(GetStatus).await);
        }
        status.sort_by_key(|status| (status.kind, status.partition));
        status
    }

    /// Whether every claimed partition decides commands; false before the first claim.
    pub async fn is_ready(&self) -> bool {
        let status = self.status().await;
        !status.is_empty()
            && status.iter().all(|status| matches!(status.phase, Phase::Deciding { .. }))
    }

    /// Finishes what is in flight and stops owners, projectors and forwarders.
    pub async fn shut_down(&self) {
        self.claims.abort();
        for task in &self.tasks {
            task.abort();
        }
        let owners: Vec<_> = self.owners.borrow().values().cloned().collect();
        let releases = owners.iter().map(|owner| owner.send(Release));
        futures_util::future::join_all(releases).await;
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
    }
}

async fn start_on<T: Send + 'static>(
    arbiter: &actix::ArbiterHandle,
    start: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, started) = tokio::sync::oneshot::channel();
    arbiter.spawn_fn(move || drop(sender.send(start())));
    started.await.ok()
}

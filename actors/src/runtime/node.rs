//! What a node runs for the partitions that are claimed for it: an owner for each of
//! `<kind>.commands`, a projector for each of `<kind>.outcomes`, a forwarder for each of
//! `partner.<name>`. Owners live on arbiters (single-threaded event loops) by partition.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use actix::{Addr, Arbiter, ArbiterHandle};
use futures_util::future::{BoxFuture, join_all};
use schemas::Offset;
use tokio::{
    sync::{Mutex, oneshot, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    forwarder::{Partner, forward},
    owner::Phase,
    partition::{
        Abandon, GetStatus, OwnerSettings, PartitionActor, PartitionStatus, Ports, Release,
    },
    place::{Doing, number_of},
    projection::project,
    publisher::{ChangesFormat, publish},
};
use crate::ports::{Claim, Claims, Group, LogError, Store, Topic, TopicPartition};

/// Finishing what is in flight and leaving the groups takes at most this.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// How often positions are told to the groups.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// What a node does beside serving clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Owns partitions and forwards partners' records.
    Actors,
    /// Writes journal and snapshots.
    Projector,
    /// Writes the public changes; a projector of a cluster does.
    Publisher(ChangesFormat),
}

/// Work for partitions that somebody else brings, such as the bridges'.
#[derive(Clone)]
pub struct Worker {
    /// With whom its partitions are shared.
    pub group: Group,
    /// What is done for one of them until it is dropped.
    pub make: Arc<Make>,
}

/// Makes the task that works for a partition.
pub type Make = dyn Fn(&TopicPartition) -> BoxFuture<'static, ()> + Send + Sync;

type Owners = HashMap<TopicPartition, Addr<PartitionActor>>;

/// A running node. Dropping it does not stop it; [`Node::shut_down`] does.
pub struct Node {
    roles: Vec<Role>,
    owners: watch::Receiver<Owners>,
    stop: watch::Sender<bool>,
    /// Whether the group of owners has answered, be it with nothing.
    joined: watch::Receiver<bool>,
    members: Mutex<Vec<JoinHandle<()>>>,
    arbiters: Vec<Arbiter>,
}

impl Node {
    /// Joins the groups of its roles and begins to work. `arbiters` threads carry the actors (at
    /// least one).
    ///
    /// # Errors
    /// If the log refuses a membership.
    pub async fn start(
        ports: Ports,
        settings: OwnerSettings,
        partners: Vec<Partner>,
        arbiters: usize,
        roles: Vec<Role>,
        workers: Vec<Worker>,
    ) -> Result<Self, LogError> {
        let arbiters: Vec<_> = (0..arbiters.max(1)).map(|_| Arbiter::new()).collect();
        let (owners, owned) = watch::channel(Owners::new());
        let (stop, stopped) = watch::channel(false);
        let (joins, joined) = watch::channel(false);
        let mut members = Vec::new();
        if roles.contains(&Role::Actors) {
            let claims = ports.log.claims(Group::Owners).await?;
            let handles = arbiters.iter().map(Arbiter::handle).collect();
            let (ports, settings) = (ports.clone(), settings.clone());
            let owning = Owning { ports, settings, handles, owners, joins };
            members.push(tokio::spawn(follow(claims, owning, stopped.clone())));
        }
        if roles.contains(&Role::Actors) && !partners.is_empty() {
            let claims = ports.log.claims(Group::Forwarders).await?;
            let (ports, store) = (ports.clone(), ports.store.clone());
            let forwarding = move |place: &TopicPartition| -> BoxFuture<'static, ()> {
                let Topic::Partner(name) = &place.topic else { return idle() };
                match partners.iter().find(|partner| partner.name == *name) {
                    Some(partner) => {
                        Box::pin(forward(partner.clone(), place.partition, ports.clone()))
                    }
                    None => idle(),
                }
            };
            members.push(tokio::spawn(follow(
                claims,
                Tasks::new(store, forwarding),
                stopped.clone(),
            )));
        }
        if roles.contains(&Role::Projector) {
            let claims = ports.log.claims(Group::Projectors).await?;
            let guards = settings.guards.clone();
            let format = roles.iter().find_map(|role| match role {
                Role::Publisher(format) => Some(*format),
                Role::Actors | Role::Projector => None,
            });
            let (ports, store) = (ports.clone(), ports.store.clone());
            let projecting = move |place: &TopicPartition| -> BoxFuture<'static, ()> {
                let Topic::Outcomes(kind) = place.topic else { return idle() };
                let partition = place.partition;
                let project = project(kind, partition, ports.clone(), guards.clone());
                let Some(format) = format else { return Box::pin(project) };
                let publish = publish(kind, partition, ports.clone(), format, guards.clone());
                Box::pin(async move {
                    tokio::join!(project, publish);
                })
            };
            let tasks = Tasks::new(store, projecting);
            members.push(tokio::spawn(follow(claims, tasks, stopped.clone())));
        }
        for Worker { group, make } in workers {
            let claims = ports.log.claims(group).await?;
            let tasks = Tasks::new(ports.store.clone(), move |place: &TopicPartition| make(place));
            members.push(tokio::spawn(follow(claims, tasks, stopped.clone())));
        }
        let members = Mutex::new(members);
        Ok(Self { roles, owners: owned, stop, joined, members, arbiters })
    }

    /// Where each partition that this node owns stands.
    pub async fn status(&self) -> Vec<PartitionStatus> {
        let owners = self.owners.borrow().values().cloned().collect();
        let mut status = status_of(owners).await;
        status.sort_by_key(|status| (status.kind, status.partition));
        status
    }

    /// Whether it has been told what it owns, and all of that decides commands.
    pub async fn is_ready(&self) -> bool {
        let status = self.status().await;
        status.iter().all(|status| matches!(status.phase, Phase::Deciding { .. }))
            && (*self.joined.borrow() || !self.roles.contains(&Role::Actors))
    }

    /// Finishes what is in flight, gives every partition up, then leaves the groups.
    pub async fn shut_down(&self) {
        self.stop.send_replace(true);
        let mut members = self.members.lock().await;
        if timeout(LEAVE_WITHIN, join_all(members.iter_mut())).await.is_err() {
            tracing::warn!("the groups are left before everything was finished");
            members.iter().for_each(JoinHandle::abort);
        }
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
    }
}

fn idle() -> BoxFuture<'static, ()> {
    Box::pin(std::future::ready(()))
}

/// What a member of a group does with its partitions.
trait Work: Send + 'static {
    /// They are ours.
    fn begin(&mut self, places: Vec<TopicPartition>) -> impl Future<Output = ()> + Send;

    /// Finishes what is in flight, within a bounded time, and gives them up.
    fn release(&mut self, places: Vec<TopicPartition>) -> impl Future<Output = ()> + Send;

    /// They are somebody else's: drops them at once.
    fn abandon(&mut self, places: Vec<TopicPartition>) -> impl Future<Output = ()> + Send;

    /// All that it has.
    fn places(&self) -> Vec<TopicPartition>;

    /// Where it stands, for those who watch the lag.
    fn positions(&self) -> impl Future<Output = Vec<(TopicPartition, Offset)>> + Send;
}

/// Does as the group says until the node stops; leaves the group after everything is released.
async fn follow<W: Work>(
    mut claims: Box<dyn Claims>,
    mut work: W,
    mut stopped: watch::Receiver<bool>,
) {
    let mut report = interval(REPORT_EVERY);
    report.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let claim = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            claim = claims.next() => Some(claim),
            _ = report.tick() => None,
        };
        let Some(claim) = claim else {
            claims.report(work.positions().await);
            continue;
        };
        match claim {
            Ok(Claim::Assigned(places)) => work.begin(places).await,
            Ok(Claim::Revoked(places, release)) => {
                work.release(places).await;
                drop(release);
            }
            Ok(Claim::Lost(places)) => work.abandon(places).await,
            Err(error) => {
                tracing::error!(%error, "a membership ended");
                break;
            }
        }
    }
    work.release(work.places()).await;
}

/// Owns partitions.
struct Owning {
    ports: Ports,
    settings: OwnerSettings,
    handles: Vec<ArbiterHandle>,
    owners: watch::Sender<Owners>,
    joins: watch::Sender<bool>,
}

impl Owning {
    fn take(&self, places: &[TopicPartition]) -> Vec<Addr<PartitionActor>> {
        let mut taken = Vec::with_capacity(places.len());
        self.owners.send_modify(|owners| {
            taken.extend(places.iter().filter_map(|place| owners.remove(place)));
        });
        taken
    }
}

impl Work for Owning {
    async fn begin(&mut self, places: Vec<TopicPartition>) {
        tracing::info!(count = places.len(), "partitions are ours");
        let starts = places.into_iter().filter_map(|place| {
            let Topic::Commands(kind) = place.topic else { return None };
            let thread = usize::try_from(place.partition).unwrap_or(0) % self.handles.len();
            let (ports, settings) = (self.ports.clone(), self.settings.clone());
            let partition = place.partition;
            let start = move || PartitionActor::start_owning(kind, partition, ports, settings);
            let owner = start_on(&self.handles[thread], start);
            Some(async move { Some((place, owner.await?)) })
        });
        let started = join_all(starts).await;
        self.owners.send_modify(|owners| owners.extend(started.into_iter().flatten()));
        self.joins.send_replace(true);
    }

    async fn release(&mut self, places: Vec<TopicPartition>) {
        let owners = self.take(&places);
        tracing::info!(count = owners.len(), "partitions are released");
        join_all(owners.iter().map(|owner| owner.send(Release))).await;
    }

    async fn abandon(&mut self, places: Vec<TopicPartition>) {
        let owners = self.take(&places);
        tracing::warn!(count = owners.len(), "partitions are lost");
        join_all(owners.iter().map(|owner| owner.send(Abandon))).await;
    }

    fn places(&self) -> Vec<TopicPartition> {
        self.owners.borrow().keys().cloned().collect()
    }

    async fn positions(&self) -> Vec<(TopicPartition, Offset)> {
        let owners = self.owners.borrow().values().cloned().collect();
        let position = |status: PartitionStatus| {
            let of = TopicPartition::new(Topic::Commands(status.kind), status.partition);
            (of, status.position.last_command_offset + 1)
        };
        status_of(owners).await.into_iter().map(position).collect()
    }
}

/// Those that end meanwhile say nothing.
async fn status_of(owners: Vec<Addr<PartitionActor>>) -> Vec<PartitionStatus> {
    let answers = join_all(owners.iter().map(|owner| owner.send(GetStatus))).await;
    answers.into_iter().flatten().collect()
}

/// Runs a task for each partition. The store's checkpoints keep two of them from doing harm.
struct Tasks<F> {
    store: Arc<dyn Store>,
    make: F,
    running: HashMap<TopicPartition, JoinHandle<()>>,
}

impl<F> Tasks<F> {
    fn new(store: Arc<dyn Store>, make: F) -> Self {
        Self { store, make, running: HashMap::new() }
    }
}

impl<F> Work for Tasks<F>
where
    F: Fn(&TopicPartition) -> BoxFuture<'static, ()> + Send + Sync + 'static,
{
    async fn begin(&mut self, places: Vec<TopicPartition>) {
        for place in places {
            let task = tokio::spawn((self.make)(&place));
            self.running.insert(place, task);
        }
    }

    async fn release(&mut self, places: Vec<TopicPartition>) {
        self.abandon(places).await;
    }

    async fn abandon(&mut self, places: Vec<TopicPartition>) {
        for task in places.iter().filter_map(|place| self.running.remove(place)) {
            task.abort();
            // An aborted task answers with that.
            task.await.ok();
        }
    }

    fn places(&self) -> Vec<TopicPartition> {
        self.running.keys().cloned().collect()
    }

    async fn positions(&self) -> Vec<(TopicPartition, Offset)> {
        let ask = |of: TopicPartition| async move {
            let (kind, place) = match &of.topic {
                Topic::Outcomes(kind) => (*kind, of.partition),
                Topic::Commands(_)
                | Topic::Partner(_)
                | Topic::Inbound
                | Topic::Changes
                | Topic::Dlq => number_of(Doing::Forwarding, &of),
            };
            let state = self.store.partition(kind, place).await.ok()?;
            Some((of, state.checkpoint.offset))
        };
        join_all(self.places().into_iter().map(ask)).await.into_iter().flatten().collect()
    }
}

async fn start_on<T: Send + 'static>(
    arbiter: &ArbiterHandle,
    start: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, started) = oneshot::channel();
    arbiter.spawn_fn(move || drop(sender.send(start())));
    started.await.ok()
}

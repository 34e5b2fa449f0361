//! Faults on real services under a steady load that checks: whatever is killed, stopped, cut off or
//! slow, nothing that was acknowledged is lost or doubled, no subscriber misses a change, and log,
//! store and snapshots agree afterwards.
//!
//! Each fault is made once; `SWITCHYARD_FAULT_RUNS=200` makes so many runs, over all faults in turn,
//! `SWITCHYARD_FAULT_CLUSTERS=3` on so many clusters at the same time.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
};
use tests::{
    proxy::Held,
    server::{Setup, TestServer},
    services::{SESSION_TIMEOUT, Services},
};

use crate::{cluster::ALONE, load::Load};

/// Long enough for the group to give the partitions of a silent node away.
pub(crate) const SILENCE: Duration = Duration::from_secs(SESSION_TIMEOUT.as_secs() + 2);
/// Runs before the services are made anew, so that logs stay small.
const RUNS_A_CLUSTER: usize = 12;

/// What is done under load.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// `kill -9` of a node with clients, which go elsewhere.
    Kill,
    /// SIGTERM of a node.
    End,
    /// SIGSTOP of a node past the session timeout, then SIGCONT.
    Zombie,
    /// SIGSTOP of a node with clients for a second.
    Pause,
    /// A node joins and leaves, again and again.
    Storm,
    /// One direction between a node and the broker is held back past the session timeout.
    OneWay(Held),
    /// A node ends at a point in the path of a command.
    Point(&'static str),
    /// An append fails unmade.
    LostAppend,
    /// The broker hangs for three seconds.
    BrokerHangs,
    /// `kill -9` of the only broker, which comes back.
    BrokerCrash,
    /// The broker's disk is slow.
    SlowDisk,
    /// PostgreSQL crashes and comes back.
    Postgres,
    /// Redis ends and comes back.
    Redis,
}

const FAULTS: [Fault; 18] = [
    Fault::Kill,
    Fault::End,
    Fault::Zombie,
    Fault::Pause,
    Fault::Storm,
    Fault::OneWay(Held::ToServer),
    Fault::OneWay(Held::ToClient),
    Fault::Point("after-decide:40"),
    Fault::Point("after-send:40"),
    Fault::Point("after-acknowledgement:40"),
    Fault::Point("after-fence:3"),
    Fault::Point("mid-snapshot:10"),
    Fault::LostAppend,
    Fault::BrokerHangs,
    Fault::BrokerCrash,
    Fault::SlowDisk,
    Fault::Postgres,
    Fault::Redis,
];

/// What `SWITCHYARD_FAULT_<name>` says.
fn asked(name: &str, usual: usize) -> usize {
    let asked = std::env::var(format!("SWITCHYARD_FAULT_{name}"));
    asked.ok().and_then(|asked| asked.parse().ok()).unwrap_or(usual)
}

/// Services and two nodes with clients, which outlive the runs.
struct Cluster {
    services: Services,
    first: TestServer,
    second: TestServer,
}

impl Cluster {
    async fn start(brokers: usize) -> anyhow::Result<Self> {
        let services = Services::start_with_brokers(brokers).await?;
        let (first, second) = tokio::try_join!(services.node("n1"), services.node("n2"))?;
        Ok(Self { services, first, second })
    }

    /// Makes the fault under load, and checks; gives how many commands were acknowledged.
    async fn run(&mut self, fault: Fault, run: &str) -> anyhow::Result<usize> {
        let mut load = Load::start(&[&self.first, &self.second], run).await?;
        load.progress(100).await?;
        self.make(fault, &mut load, run).await?;
        load.progress(150).await?;
        load.finish(&self.services, &self.second).await
    }

    async fn make(&mut self, fault: Fault, load: &mut Load, run: &str) -> anyhow::Result<()> {
        match fault {
            Fault::Kill => {
                self.first.kill().await?;
                load.move_to(0, &self.second);
                load.progress(100).await?;
                self.first.restart().await?;
                load.move_to(0, &self.first);
            }
            Fault::End => {
                let mut leaving = self.third(run, Setup::default()).await?;
                load.progress(50).await?;
                anyhow::ensure!(leaving.terminate().await?.success(), "a planned end fails");
            }
            Fault::Zombie => {
                let mut zombie = self.third(run, Setup::default()).await?;
                load.progress(50).await?;
                let pid = zombie.pid().context("it runs")?;
                self.services.signal(pid, "STOP").await?;
                tokio::time::sleep(SILENCE).await;
                self.services.signal(pid, "CONT").await?;
                load.progress(100).await?;
                zombie.terminate().await?;
            }
            Fault::Pause => {
                let pid = self.first.pid().context("it runs")?;
                self.services.signal(pid, "STOP").await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.services.signal(pid, "CONT").await?;
            }
            Fault::Storm => {
                for _ in 0..3 {
                    let mut third = self.third(run, Setup::default()).await?;
                    load.progress(30).await?;
                    third.terminate().await?;
                    load.progress(30).await?;
                }
            }
            Fault::OneWay(held) => {
                let mut cut_off = self.third(run, self.through_proxy()).await?;
                load.progress(50).await?;
                self.services.proxy.hold(held);
                tokio::time::sleep(SILENCE).await;
                self.services.proxy.hold(Held::Nothing);
                load.progress(100).await?;
                cut_off.terminate().await?;
            }
            Fault::Point(point) => {
                let mut third = self.third(run, Setup::default().faulty(point)).await?;
                third.wait_for_end(Duration::from_secs(60)).await.context("the point is passed")?;
            }
            Fault::LostAppend => {
                let faulty = Setup::default().faulty("lose-append:40");
                let mut third = self.third(run, faulty).await?;
                load.progress(200).await?;
                third.terminate().await?;
            }
            Fault::BrokerHangs => {
                self.services.signal(self.services.brokers[0], "STOP").await?;
                tokio::time::sleep(Duration::from_secs(3)).await;
                self.services.signal(self.services.brokers[0], "CONT").await?;
            }
            Fault::BrokerCrash => {
                self.services.signal(self.services.brokers[0], "KILL").await?;
                self.services.restart_broker(1).await?;
            }
            Fault::SlowDisk => {
                self.services.slow_disk(true)?;
                let slow = load.progress(50).await;
                self.services.slow_disk(false)?;
                slow?;
            }
            Fault::Postgres => {
                self.services.crash_postgres().await?;
            }
            Fault::Redis => {
                self.services.stop_redis().await?;
                load.progress(50).await?;
                self.services.start_redis().await?;
            }
        }
        Ok(())
    }

    /// A third node, which has no clients: it only owns partitions.
    async fn third(&self, run: &str, setup: Setup) -> anyhow::Result<TestServer> {
        self.services.node_with(&format!("third-{run}"), setup).await
    }

    fn through_proxy(&self) -> Setup {
        Setup::default().with("KAFKA__BROKERS", &self.services.proxy.address())
    }
}

/// Every so-many-th of the runs, on a cluster of their own.
async fn make_runs(first: usize, step: usize, runs: usize) -> anyhow::Result<usize> {
    let mut cluster = None;
    let mut all = 0;
    for (count, run) in (first..runs).step_by(step).enumerate() {
        if count % RUNS_A_CLUSTER == 0 {
            drop(cluster.take());
            cluster = Some(Cluster::start(1).await?);
        }
        let cluster = cluster.as_mut().context("a cluster")?;
        let fault = FAULTS[run % FAULTS.len()];
        let started = Instant::now();
        let commands = cluster.run(fault, &format!("r{run}-")).await;
        let commands = commands.with_context(|| format!("run {run}, {fault:?}"))?;
        all += commands;
        let seconds = started.elapsed().as_secs_f32();
        eprintln!("run {run}, {fault:?}: {commands} commands, {seconds:.1} s, clean");
    }
    Ok(all)
}

#[tokio::test]
async fn every_fault_is_survived() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    // The rest is `a_lost_broker_is_survived`.
    let runs = asked("RUNS", FAULTS.len() + 2);
    let runs = runs.saturating_sub(runs / 10);
    let clusters = asked("CLUSTERS", 1);
    let made = (0..clusters).map(|first| make_runs(first, clusters, runs));
    let all: usize = futures_util::future::try_join_all(made).await?.into_iter().sum();
    eprintln!("{runs} runs, {all} commands, none lost or doubled, no gap");
    Ok(())
}

/// Until every partition has as many replicas in sync as it should.
async fn wait_for_replicas(services: &Services) -> anyhow::Result<()> {
    let asking: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", &services.kafka).create()?;
    let started = Instant::now();
    loop {
        // The brokers may be electing whoever answers.
        let metadata = asking.fetch_metadata(None, Duration::from_secs(5));
        let is_whole = metadata.is_ok_and(|metadata| {
            let topics = metadata.topics().iter();
            topics.flat_map(|topic| topic.partitions()).all(|partition| {
                partition.isr().len() == partition.replicas().len() && partition.leader() >= 0
            })
        });
        if is_whole {
            return Ok(());
        }
        anyhow::ensure!(started.elapsed() < Duration::from_secs(60), "replicas stay behind");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_lost_broker_is_survived() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let mut cluster = Cluster::start(3).await?;
    let runs = (asked("RUNS", 0) / 10).max(2);
    for run in 0..runs {
        let Cluster { services, first, second } = &mut cluster;
        wait_for_replicas(services).await?;
        let started = Instant::now();
        let mut load = Load::start(&[first, second], &format!("b{run}-")).await?;
        load.progress(100).await?;
        let lost = run % 3;
        services.signal(services.brokers[lost], "KILL").await?;
        load.progress(150).await?;
        services.restart_broker(lost + 1).await?;
        load.progress(100).await?;
        let commands = load.finish(services, second).await;
        let commands = commands.with_context(|| format!("run {run}, broker {}", lost + 1))?;
        let seconds = started.elapsed().as_secs_f32();
        eprintln!(
            "run {run}, broker {} of 3 lost: {commands} commands, {seconds:.1} s, clean",
            lost + 1
        );
    }
    Ok(())
}

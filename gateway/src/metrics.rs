//! Counters in the text format of Prometheus (OpenMetrics).

use std::sync::atomic::Ordering;

use actors::{
    ports::{Topic, TopicPartition},
    runtime::{node::Node, partition::PartitionStatus},
};
use futures_util::future::join_all;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::app::App;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabel {
    kind: &'static str,
    partition: i32,
}

/// What is counted where it happens; the rest is read off the hub when asked.
#[derive(Debug, Default)]
pub struct Metrics {
    limited: Family<LimitLabel, Counter>,
    /// HTTP requests.
    pub requests: Counter,
}

impl Metrics {
    /// A limit refused something.
    pub fn limited(&self, limit: &'static str) {
        self.limited.get_or_create(&LimitLabel { limit }).inc();
    }
}

/// The metrics of a node as text.
pub(crate) async fn render(app: &App) -> String {
    let mut registry = Registry::with_prefix("switchyard");
    let metrics = app.metrics();
    registry.register("limit_refusals", "Refusals by limit", metrics.limited.clone());
    registry.register("http_requests", "HTTP requests", metrics.requests.clone());
    let gauge = |registry: &mut Registry, name: &str, help: &str, value: i64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    let clients = sum(app, |shard| shard.clients.load(Ordering::Relaxed) as u64);
    gauge(&mut registry, "clients", "Clients connected now", clients.cast_signed());
    let in_flight = app.hub().in_flight() as i64;
    gauge(&mut registry, "commands_in_flight", "Commands on their way", in_flight);
    let resident = resident_bytes().cast_signed();
    gauge(&mut registry, "resident_memory_bytes", "Memory of this process", resident);
    let counter = |registry: &mut Registry, name: &str, help: &str, value: u64| {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    };
    let deliveries = sum(app, |shard| shard.deliveries.load(Ordering::Relaxed));
    counter(&mut registry, "deliveries", "Changes handed to clients", deliveries);
    let too_slow = sum(app, |shard| shard.too_slow.load(Ordering::Relaxed));
    counter(&mut registry, "slow_clients_closed", "Clients closed for being slow", too_slow);
    let position: Family<PartitionLabel, Gauge> = Family::default();
    let ahead: Family<PartitionLabel, Gauge> = Family::default();
    for (kind, partition, tail) in app.hub().gauges() {
        let label = PartitionLabel { kind: kind.as_str(), partition };
        position.get_or_create(&label).set(tail.position.load(Ordering::Relaxed));
        ahead.get_or_create(&label).set(tail.ahead.load(Ordering::Relaxed) as i64);
    }
    registry.register("tail_offset", "Next outcome offset of the gateway's tail", position);
    registry.register("projector_lag_outcomes", "Outcomes the store has not yet", ahead);
    if let Some(node) = app.node() {
        let epochs: Family<PartitionLabel, Gauge> = Family::default();
        let commands: Family<PartitionLabel, Gauge> = Family::default();
        let lags: Family<PartitionLabel, Gauge> = Family::default();
        for (owned, lag) in owned(app, node).await {
            let label = PartitionLabel { kind: owned.kind.as_str(), partition: owned.partition };
            epochs.get_or_create(&label).set(owned.position.epoch.unwrap_or(-1));
            commands.get_or_create(&label).set(owned.position.last_command_offset + 1);
            if let Some(lag) = lag {
                lags.get_or_create(&label).set(lag);
            }
        }
        let help = "Commands in a partition that this node owns and has not decided";
        registry.register("owner_lag_commands", help, lags);
        registry.register("owner_epoch", "Epoch of a partition that this node owns", epochs);
        let help = "Next command offset of a partition that this node owns";
        registry.register("owner_command_offset", help, commands);
    }
    let mut text = String::new();
    // Writing into a string cannot fail.
    encode(&mut text, &registry).ok();
    text
}

/// The partitions that this node owns, and how many commands stand in the log of each that are not
/// decided; unknown where the log does not say.
pub(crate) async fn owned(app: &App, node: &Node) -> Vec<(PartitionStatus, Option<i64>)> {
    let owned = node.status().await.into_iter().map(|one| async move {
        let of = TopicPartition::new(Topic::Commands(one.kind), one.partition);
        let next = one.position.last_command_offset + 1;
        let bounds = app.hub().ports().log.bounds(&of).await.ok();
        (one, bounds.map(|bounds| (bounds.end - next.max(bounds.first)).max(0)))
    });
    join_all(owned).await
}

/// Resident memory of this process (`proc_pid_status(5)`, VmRSS); 0 where that cannot be read.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kibibytes.map_or(0, |kibibytes: u64| kibibytes * 1_024)
}

fn sum(app: &App, of: impl Fn(&crate::hub::ShardGauge) -> u64) -> u64 {
    app.shards().iter().map(|shard| of(shard)).sum()
}

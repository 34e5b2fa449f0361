//! Counters and histograms in the text format of Prometheus (OpenMetrics).

mod histogram;
mod process;

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use actix_web::http::{Method, StatusCode};
use actors::{
    ports::{Topic, TopicPartition},
    runtime::{node::Node, partition::PartitionStatus},
};
use futures_util::future::join_all;
use prometheus_client::{
    encoding::{
        EncodeLabelSet,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use schemas::{Code, Kind};
use tokio::time::timeout;

use self::histogram::Counters;
use self::histogram::Histogram;
use self::histogram::{Labelled, Sum};
pub(crate) use self::process::resident_bytes;
use crate::{app::App, frame::CloseCode, http::health};

/// Whoever is asked for a scrape must answer within this, or is not reachable.
const PROBE_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabel {
    kind: &'static str,
    partition: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    route: &'static str,
    method: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProblemLabel {
    interface: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CloseLabel {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShardLabel {
    shard: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabel {
    service: &'static str,
}

/// The classes of routes: the first part of a path, or what it stands for.
const ROUTES: [&str; 7] = ["api", "socket", "produce", "bridges", "health", "page", "echo"];
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "other"];
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const INTERFACES: [&str; 2] = ["http", "websocket"];
const CODES: [Code; 12] = [
    Code::Invalid,
    Code::Unauthenticated,
    Code::Forbidden,
    Code::NotFound,
    Code::Conflict,
    Code::WipLimit,
    Code::Full,
    Code::Transition,
    Code::TooLarge,
    Code::RateLimited,
    Code::Unavailable,
    Code::Timeout,
];
/// How sockets end; 1006 is a connection that ended without a word, as browsers call it.
const CLOSES: [&str; 14] = [
    "1000", "1001", "1002", "1003", "1006", "1007", "1008", "1009", "4401", "4403", "4408", "4429",
    "4508", "peer",
];
/// The place of 1006 there.
const WORDLESS: usize = 4;
/// The place of what the peer says.
const BY_PEER: usize = CLOSES.len() - 1;

/// Where a problem was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// Over HTTP.
    Http,
    /// Over a WebSocket.
    WebSocket,
}

/// What one worker counts about its clients.
#[derive(Debug, Default)]
pub struct ShardCounters {
    /// From the tail's reading of an outcome until the buffers of all who look have it.
    pub fan_out: Histogram,
    closed: Counters<{ CLOSES.len() }>,
}

impl ShardCounters {
    /// A socket is closed with a code; `None` for one that ended without.
    pub fn closed(&self, code: Option<CloseCode>) {
        let place = match code {
            None => WORDLESS,
            Some(CloseCode::Peer(_)) => BY_PEER,
            Some(code) => {
                let number = code.number().to_string();
                CLOSES.iter().position(|known| *known == number).unwrap_or(BY_PEER)
            }
        };
        self.closed.count(place);
    }
}

/// What commands on their way count.
#[derive(Debug, Default)]
pub struct CommandCounters([Histogram; Kind::ALL.len()]);

impl CommandCounters {
    /// A command was answered so long after it was taken.
    pub fn answered(&self, kind: Kind, after: Duration) {
        if let Some(place) = Kind::ALL.iter().position(|known| *known == kind) {
            self.0[place].observe(after);
        }
    }
}

/// What is counted where it happens; the rest is read off the hub when asked.
#[derive(Debug)]
pub struct Metrics {
    limited: Family<LimitLabel, Counter>,
    /// HTTP requests with a token or without, to what needs one.
    pub requests: Counter,
    authentication_failures: Counter,
    durations: Vec<Histogram>,
    problems: [Counters<{ CODES.len() }>; INTERFACES.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        let durations = ROUTES.len() * METHODS.len() * STATUSES.len();
        Self {
            limited: Family::default(),
            requests: Counter::default(),
            authentication_failures: Counter::default(),
            durations: (0..durations).map(|_| Histogram::default()).collect(),
            problems: Default::default(),
        }
    }
}

/// The class of a path.
fn route_of(path: &str) -> usize {
    let mut parts = path.trim_start_matches('/').split('/');
    let class = match parts.next().unwrap_or_default() {
        "api" => "api",
        "ws" if parts.next() == Some("echo") => "echo",
        "ws" => "socket",
        "topics" => "produce",
        "bridges" => "bridges",
        "health" | "live" | "ready" | "metrics" => "health",
        _ => "page",
    };
    ROUTES.iter().position(|route| *route == class).unwrap_or(0)
}

impl Metrics {
    /// A limit refused something.
    pub fn limited(&self, limit: &'static str) {
        self.limited.get_or_create(&LimitLabel { limit }).inc();
    }

    /// A token did not hold.
    pub fn authentication_failed(&self) {
        self.authentication_failures.inc();
    }

    /// An HTTP request was answered so long after its head was read.
    pub fn answered(&self, path: &str, method: &Method, status: StatusCode, after: Duration) {
        let route = route_of(path);
        let known = METHODS.iter().position(|known| *known == method.as_str());
        let method = known.unwrap_or(METHODS.len() - 1);
        let status = usize::from(status.as_u16() / 100).clamp(1, STATUSES.len()) - 1;
        let place = (route * METHODS.len() + method) * STATUSES.len() + status;
        if let Some(histogram) = self.durations.get(place) {
            histogram.observe(after);
        }
    }

    /// Somebody was told of a problem.
    pub fn problem(&self, interface: Interface, code: Code) {
        if let Some(place) = CODES.iter().position(|known| *known == code) {
            self.problems[interface as usize].count(place);
        }
    }

    fn requests_by_class(&self) -> Labelled<RequestLabel> {
        let label = |place: usize| RequestLabel {
            route: ROUTES[place / STATUSES.len() / METHODS.len()],
            method: METHODS[place / STATUSES.len() % METHODS.len()],
            status: STATUSES[place % STATUSES.len()],
        };
        let all = self.durations.iter().enumerate();
        Labelled(all.map(|(place, histogram)| (label(place), Sum::of([histogram]))).collect())
    }

    fn problems_by_code(&self) -> Family<ProblemLabel, Counter> {
        let family: Family<ProblemLabel, Counter> = Family::default();
        for (interface, counters) in INTERFACES.into_iter().zip(&self.problems) {
            for (place, code) in CODES.into_iter().enumerate() {
                let label = ProblemLabel { interface, code: code.as_str() };
                family.get_or_create(&label).inc_by(counters.get(place));
            }
        }
        family
    }
}

/// The metrics of a node as text.
pub(crate) async fn render(app: &App) -> String {
    let mut registry = Registry::with_prefix("switchyard");
    let metrics = app.metrics();
    registry.register("limit_refusals", "Refusals by limit", metrics.limited.clone());
    registry.register("http_requests", "HTTP requests", metrics.requests.clone());
    let help = "Tokens that did not hold";
    registry.register("authentication_failures", help, metrics.authentication_failures.clone());
    let help = "Problems that were answered, by code";
    registry.register("problems", help, metrics.problems_by_code());
    let help = "From the head of a request to the head of its answer";
    let durations = metrics.requests_by_class();
    registry.register_with_unit("http_request_duration", help, Unit::Seconds, durations);
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
    of_clients(app, &mut registry);
    queues(app, &mut registry).await;
    let mut own = Registry::default();
    process::register(&mut own);
    let mut text = String::new();
    // Writing into a string cannot fail.
    encode_registry(&mut text, &registry).ok();
    encode_registry(&mut text, &own).ok();
    encode_eof(&mut text).ok();
    text
}

/// What concerns commands and the clients that wait for what comes of them.
fn of_clients(app: &App, registry: &mut Registry) {
    let commands = Kind::ALL.iter().zip(&app.hub().command_counters().0);
    let commands = commands
        .map(|(kind, histogram)| (KindLabel { kind: kind.as_str() }, Sum::of([histogram])))
        .collect();
    let help = "From a command's append to its answer";
    registry.register_with_unit("command_duration", help, Unit::Seconds, Labelled(commands));
    let help = "From the tail's reading of an outcome to the buffers of a worker's clients";
    let fan_out = Sum::of(app.shards().iter().map(|shard| &shard.counters.fan_out));
    registry.register_with_unit("fan_out_duration", help, Unit::Seconds, fan_out);
    let closed: Family<CloseLabel, Counter> = Family::default();
    for (place, code) in CLOSES.into_iter().enumerate() {
        let count = sum(app, |shard| shard.counters.closed.get(place));
        closed.get_or_create(&CloseLabel { code }).inc_by(count);
    }
    registry.register("sockets_closed", "WebSockets that ended, by close code", closed);
}

/// What waits somewhere, and whether the services can be reached.
async fn queues(app: &App, registry: &mut Registry) {
    let waiting: Family<ShardLabel, Gauge> = Family::default();
    for (shard, queue) in app.hub().shards().iter().enumerate() {
        let messages = queue.max_capacity() - queue.capacity();
        waiting.get_or_create(&ShardLabel { shard: shard as u64 }).set(messages as i64);
    }
    let help = "Messages that wait for a worker's clients";
    registry.register("shard_queue_messages", help, waiting);
    let stalled: Gauge<f64, std::sync::atomic::AtomicU64> = Gauge::default();
    stalled.set(app.hub().stalled_for(Instant::now()).as_secs_f64());
    let help = "How long something in the fan-out has not moved though it should";
    registry.register("fan_out_stalled_seconds", help, stalled);
    let letters = TopicPartition::new(Topic::Dlq, 0);
    let letters = timeout(PROBE_WITHIN, app.hub().ports().log.bounds(&letters)).await;
    if let Ok(Ok(bounds)) = letters {
        let end: Gauge = Gauge::default();
        end.set(bounds.end);
        registry.register("dead_letter_offset", "Where the next dead letter will stand", end);
    }
    let reachable: Family<ServiceLabel, Gauge> = Family::default();
    for (service, is_up) in health::reachable(app, PROBE_WITHIN).await {
        reachable.get_or_create(&ServiceLabel { service }).set(i64::from(is_up));
    }
    let help = "Whether log (Kafka), store (PostgreSQL) and signals (Redis) can be reached";
    registry.register("service_up", help, reachable);
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

fn sum(app: &App, of: impl Fn(&crate::hub::ShardGauge) -> u64) -> u64 {
    app.shards().iter().map(|shard| of(shard)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded_whatever_is_asked_for() {
        let metrics = Metrics::default();
        let late = Duration::from_millis(3);
        let brew = Method::from_bytes(b"BREW").unwrap();
        metrics.answered("/api/v1/rooms/a", &Method::GET, StatusCode::OK, late);
        metrics.answered("/api/v1/rooms/b", &Method::GET, StatusCode::CREATED, late);
        metrics.answered("/anything/else", &brew, StatusCode::NOT_FOUND, late);
        metrics.problem(Interface::WebSocket, Code::Timeout);
        let mut registry = Registry::default();
        registry.register("requests", "", metrics.requests_by_class());
        registry.register("problems", "", metrics.problems_by_code());
        let mut text = String::new();
        encode_registry(&mut text, &registry).unwrap();
        assert!(
            text.contains(r#"requests_count{route="api",method="GET",status="2xx"} 2"#),
            "{text}"
        );
        assert!(text.contains(r#"requests_count{route="page",method="other",status="4xx"} 1"#));
        assert_eq!(text.matches("requests_count").count(), 2);
        assert!(text.contains(r#"problems_total{interface="websocket",code="timeout"} 1"#));
    }

    #[test]
    fn every_close_code_has_a_place() {
        let counters = ShardCounters::default();
        counters.closed(Some(CloseCode::TooSlow));
        counters.closed(Some(CloseCode::Peer(4_999)));
        counters.closed(None);
        let counted = |code: &str| {
            counters.closed.get(CLOSES.iter().position(|known| *known == code).unwrap())
        };
        assert_eq!((counted("4508"), counted("peer"), counted("1006")), (1, 1, 1));
    }
}

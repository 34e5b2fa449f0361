//! The command line, which is also the library's way to say what to run.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use serde::{Serialize, Serializer};

use crate::compare::WorseBy;
use crate::proto::Proto;
use crate::slo::Slo;
use crate::units::{parse_duration, parse_rate};

/// Puts a Switchyard server under load and checks what it promises.
///
/// Exit codes: 0 all objectives met, 1 an objective not met or the run failed, 2 wrong use.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version)]
pub struct Cli {
    /// What to run.
    #[command(subcommand)]
    pub scenario: Scenario,
}

/// What to run.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// A scenario file: phases, ramps, reconnect storms, slow readers
    Run(RunArgs),
    /// One publisher a room, many subscribers: delivery latency, loss, repeats, order
    Fanout(FanoutArgs),
    /// Commands to many entities: answer latency, and the journal afterwards
    Commands(CommandsArgs),
    /// Many sockets that do nothing: memory per socket, time to open
    Idle(IdleArgs),
    /// The highest rate of a fan-out at which the objectives hold
    Capacity(CapacityArgs),
    /// One report of those of several processes
    Merge(MergeArgs),
}

impl Scenario {
    /// What becomes of the report.
    pub fn output(&self) -> &OutputArgs {
        match self {
            Self::Run(args) => &args.common.output,
            Self::Fanout(args) => &args.common.output,
            Self::Commands(args) => &args.common.output,
            Self::Idle(args) => &args.common.output,
            Self::Capacity(args) => &args.fanout.common.output,
            Self::Merge(args) => &args.output,
        }
    }
}

/// The options that all scenarios have.
#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
#[command(next_help_heading = "Common options")]
pub struct CommonArgs {
    /// A server's WebSocket address; repeated, connections take turns, and HTTP goes to the first
    #[arg(long = "url", value_name = "URL", default_value = "ws://127.0.0.1:8080/ws")]
    pub urls: Vec<String>,
    /// Token for all connections [default: asks POST /dev/token for the users load-0, load-1, …]
    #[arg(long, conflicts_with = "dev_sub")]
    #[serde(skip)]
    pub token: Option<String>,
    /// One user for all connections, from POST /dev/token
    #[arg(long, value_name = "NAME")]
    pub dev_sub: Option<String>,
    /// How many users, load-0, load-1, …, without --token and --dev-sub
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one)]
    pub users: usize,
    /// How long to wait for what is under way at the end; what has not come by then is lost
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    #[serde(serialize_with = "seconds")]
    pub drain: Duration,
    #[command(flatten)]
    #[serde(flatten)]
    /// What becomes of the report.
    pub output: OutputArgs,
    /// A server's process id, to read its CPU time and memory from /proc; repeated, they are summed
    #[arg(long = "server-pid", value_name = "PID")]
    pub server_pids: Vec<u32>,
    /// Seed of phases, masks and command ids [default: from the time]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Source addresses of the connections, in turn
    #[arg(long, value_name = "ADDRESS,…", value_delimiter = ',')]
    pub connections_from: Vec<IpAddr>,
    /// Threads that read sockets; the schedule has one more of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub threads: usize,
    /// How many sockets to open at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one)]
    pub opening: usize,
}

/// What becomes of the report.
#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputArgs {
    /// An objective, repeatable: p50 p75 p90 p95 p99 p999 max =DURATION, also of a named
    /// distribution (http.p99=200ms); lost duplicate reordered errors =COUNT
    #[arg(long = "slo", value_name = "NAME=BOUND")]
    #[serde(rename = "slo", serialize_with = "texts")]
    pub slos: Vec<Slo>,
    /// Writes everything measured as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes a page with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Writes the result in Prometheus' text exposition format
    #[arg(long, value_name = "FILE")]
    pub prometheus: Option<PathBuf>,
    /// Compares with an earlier report of the same scenario, written with --json
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// How much worse than the baseline it may be, repeatable: 20% of rate, p99 and cpu, or of one
    /// by name: http.p99=20%
    #[arg(long = "worse-by", value_name = "[NAME=]PERCENT", requires = "baseline")]
    #[serde(skip)]
    pub worse_by: Vec<WorseBy>,
}

/// Options of `capacity`; --rate is where it begins.
#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CapacityArgs {
    /// The highest rate to try, messages a second into each room
    #[arg(long, value_name = "PER_SECOND", default_value = "100000", value_parser = parse_rate)]
    pub up_to: f64,
    /// How close the rates that held and did not shall come
    #[arg(long, value_name = "PERCENT", default_value = "10", value_parser = parse_rate)]
    pub precision: f64,
    #[command(flatten)]
    #[serde(flatten)]
    /// The fan-out.
    pub fanout: FanoutArgs,
}

/// Options of `merge`.
#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MergeArgs {
    /// Reports that were written with --json
    #[arg(value_name = "REPORT.json", required = true)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    /// What becomes of the report.
    pub output: OutputArgs,
}

/// When to measure, in scenarios without phases.
#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowArgs {
    /// How long to measure (idle: to hold)
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    #[serde(serialize_with = "seconds")]
    pub duration: Duration,
    /// How long to send before measuring; loss is counted from the first message
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    #[serde(serialize_with = "seconds")]
    pub warmup: Duration,
}

/// Options of `run`.
#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunArgs {
    /// The scenario file
    #[arg(value_name = "SCENARIO.toml")]
    pub file: PathBuf,
    /// How the rooms' names begin, so that several processes on one machine share them and each
    /// receives what all send [default: rooms that no other run has]
    #[arg(long, value_name = "PREFIX", value_parser = id_part)]
    pub rooms_named: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    /// The options that all scenarios have.
    pub common: CommonArgs,
}

/// Options of `fanout`.
#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FanoutArgs {
    /// How many rooms
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub rooms: usize,
    /// Subscribers of each room
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = at_least_one)]
    pub subscribers: usize,
    /// Messages a second into each room
    #[arg(long, value_name = "PER_SECOND", default_value = "10", value_parser = parse_rate)]
    pub rate: f64,
    /// Length of a message's text
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    pub payload: usize,
    /// What the server speaks
    #[arg(long, value_enum, default_value_t)]
    pub proto: Proto,
    /// Messages are produced to a partner's topic (switchyard.partner.NAME) instead of sent over sockets
    #[arg(long, value_name = "TOPIC", requires = "brokers")]
    pub partner_topic: Option<String>,
    /// Kafka brokers of the partner's topic (host:port, by commas)
    #[arg(long, value_name = "BROKERS", requires = "partner_topic")]
    pub brokers: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    /// When to measure.
    pub window: WindowArgs,
    #[command(flatten)]
    #[serde(flatten)]
    /// The options that all scenarios have.
    pub common: CommonArgs,
}

/// Options of `commands`.
#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
#[command(group = ArgGroup::new("load").required(true).args(["rate", "in_flight"]))]
pub struct CommandsArgs {
    /// How many entities
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = at_least_one)]
    pub entities: usize,
    /// How many connections
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one)]
    pub connections: usize,
    /// Open loop: commands a second in all, whatever the answers do
    #[arg(long, value_name = "PER_SECOND", value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// Closed loop: this many outstanding in all, for the maximum
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub in_flight: Option<usize>,
    /// What the entities are
    #[arg(long, value_enum, default_value_t = Kind::Room)]
    pub kind: Kind,
    /// Length of a message's text or of a task's title
    #[arg(long, value_name = "BYTES", default_value_t = 32)]
    pub payload: usize,
    /// Measures plain SQLite group commit in this folder before and after, for comparison
    #[arg(long, value_name = "DIR")]
    pub baseline_sqlite: Option<PathBuf>,
    /// Measure plain Kafka at these brokers (host:port, by commas), before and after: from producing
    /// to consuming, at the same rate or with as many outstanding
    #[arg(long, value_name = "BROKERS", conflicts_with = "baseline_sqlite")]
    pub baseline_kafka: Option<String>,
    /// How long each measurement of the baseline takes
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = parse_duration)]
    #[serde(serialize_with = "seconds")]
    pub baseline_duration: Duration,
    /// Outstanding records of the baseline [default: --in-flight, else 64]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub baseline_in_flight: Option<usize>,
    #[command(flatten)]
    #[serde(flatten)]
    /// When to measure.
    pub window: WindowArgs,
    #[command(flatten)]
    #[serde(flatten)]
    /// The options that all scenarios have.
    pub common: CommonArgs,
}

/// The kind of entity that `commands` writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Posts a short text.
    Room,
    /// Adds a task, moves it to and fro six times, deletes it, so that the board stays small.
    Board,
}

/// Options of `idle`.
#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdleArgs {
    /// How many sockets
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = at_least_one)]
    pub sockets: usize,
    /// All join one room
    #[arg(long, conflicts_with = "joined_own")]
    pub join: bool,
    /// Each joins a room of its own
    #[arg(long)]
    pub joined_own: bool,
    /// What the server speaks
    #[arg(long, value_enum, default_value_t)]
    pub proto: Proto,
    #[command(flatten)]
    #[serde(flatten)]
    /// When to measure.
    pub window: WindowArgs,
    #[command(flatten)]
    #[serde(flatten)]
    /// The options that all scenarios have.
    pub common: CommonArgs,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("`{text}` is not a count of at least 1")),
        Ok(count) => Ok(count),
    }
}

/// The longest prefix of names: a number follows, and an id has 64 characters.
const PREFIX_MOST: usize = 40;

fn id_part(text: &str) -> Result<String, String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=PREFIX_MOST).contains(&text.len()) && text.chars().all(is_allowed) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not 1 to {PREFIX_MOST} of A-Z a-z 0-9 _ -"))
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn texts<S: Serializer>(slos: &[Slo], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(slos.iter().map(Slo::to_string))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_need_exactly_one_kind_of_load() {
        let parse = |more: &[&str]| {
            let words = ["loadtest", "commands"].iter().chain(more);
            Cli::try_parse_from(words).map_err(|error| error.exit_code())
        };
        assert!(parse(&["--rate", "10"]).is_ok());
        assert!(parse(&["--in-flight", "10"]).is_ok());
        assert_eq!(parse(&[]).unwrap_err(), 2);
        assert_eq!(parse(&["--rate", "10", "--in-flight", "10"]).unwrap_err(), 2);
        assert_eq!(parse(&["--rate", "10", "--slo", "p42=1ms"]).unwrap_err(), 2);
        assert_eq!(parse(&["--rate", "10", "--worse-by", "20%"]).unwrap_err(), 2);
        assert!(parse(&["--rate", "10", "--worse-by", "20%", "--baseline", "a.json"]).is_ok());
    }

    #[test]
    fn the_names_of_shared_rooms_are_ids() {
        let parse = |prefix: &str| {
            Cli::try_parse_from(["loadtest", "run", "file.toml", "--rooms-named", prefix]).is_ok()
        };
        assert!(parse("storm_1"));
        for prefix in ["", "a b", "a:b", &"a".repeat(PREFIX_MOST + 1)] {
            assert!(!parse(prefix), "{prefix}");
        }
    }
}

//! The command line: PROTOCOL.md, "Command line".

use std::{
    io::{IsTerminal as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    bridge_tools,
    clock::SystemClock,
    config::{NodeRole, Overrides, Settings},
    demo::Demo,
    dlq::{self, DeadLetter, Resolution},
    inspect::{self, Until},
    kafka::{self, KafkaLog},
    postgres::PostgresStore,
    serve::{self, Opened, Server},
    sqlite::{DataFolder, SqliteLog, SqliteStore},
    telemetry::Telemetry,
    verify,
};
use actors::{
    ports::{Log, Store},
    runtime::guards::Guards,
};
use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use gateway::config::Profile;
use schemas::{EntityId, EntityKey, TenantId, Timestamp, UserName, codec::Subject};

/// Boards, events and rooms, live: every one an actor over a durable log.
#[derive(Debug, Parser)]
#[command(name = "switchyard", version, about)]
struct Arguments {
    /// What to do; `serve` if nothing is said.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node.
    Serve(Serve),
    /// Print a token signed with the configured secret.
    Token(Token),
    /// Show an entity: state, partition, epoch, lag, last outcomes.
    Inspect(Inspect),
    /// Fold the whole log and compare it with snapshots and journal; exit 1 if they differ.
    Verify(Place),
    /// Print an entity's state and every change as JSON lines.
    Export(Export),
    /// Make the topics on Kafka, or check them.
    Topics(Topics),
    /// Look at records that could not be understood; retry or drop them. The embedded log must not
    /// be served meanwhile to retry or drop.
    Dlq(Dlq),
    /// Check the apps at chat platforms; read what those send, and write what they are sent.
    Bridges(bridge_tools::Bridges),
    /// Print the documents that describe the interfaces.
    Schema {
        /// Which.
        document: Document,
    },
}

/// Where the data and the configuration are.
#[derive(Debug, Default, Args)]
pub(crate) struct Place {
    /// The data folder [default: switchyard-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The configuration file [default: switchyard.toml if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Default, Args)]
struct Serve {
    #[command(flatten)]
    place: Place,
    /// The address to listen on [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// How strict to be [default: development].
    #[arg(long)]
    profile: Option<ProfileName>,
    /// What this node does [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    roles: Vec<NodeRole>,
    /// Keep the log on Kafka: host:port, separated by commas.
    #[arg(long, value_name = "BROKERS")]
    kafka: Option<String>,
    /// Keep the store on PostgreSQL: postgres://user:password@host:port/database.
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// Share signals over Redis: redis://host:port.
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Add /ws/echo, which sends every message back, for conformance runners.
    #[arg(long)]
    ws_echo: bool,
    /// Simulate the four chat platforms, and show a room that is linked to them in five windows.
    #[arg(long)]
    demo: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProfileName {
    Development,
    Staging,
    Production,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Development => Self::Development,
            ProfileName::Staging => Self::Staging,
            ProfileName::Production => Self::Production,
        }
    }
}

#[derive(Debug, Args)]
struct Dlq {
    #[command(subcommand)]
    action: DlqAction,
}

#[derive(Debug, Subcommand)]
enum DlqAction {
    /// One line for each letter.
    List(Place),
    /// A letter with its headers and bytes.
    Show {
        /// Which.
        id: i64,
        #[command(flatten)]
        place: Place,
    },
    /// Append letters again where they came from.
    Retry {
        /// Which.
        #[arg(required = true)]
        ids: Vec<i64>,
        #[command(flatten)]
        place: Place,
    },
    /// Mark letters as not wanted.
    Drop {
        /// Which.
        #[arg(required = true)]
        ids: Vec<i64>,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct Topics {
    /// What to do.
    action: TopicsAction,
    #[command(flatten)]
    place: Place,
    /// The brokers: host:port, separated by commas.
    #[arg(long, value_name = "BROKERS")]
    kafka: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TopicsAction {
    /// Make those that are missing.
    Create,
    /// Name what is missing or of another shape; exit 1 if anything is.
    Check,
}

#[derive(Debug, Args)]
struct Token {
    #[command(flatten)]
    place: Place,
    /// Whom the token names.
    #[arg(long, value_name = "USER")]
    sub: UserName,
    /// Their tenant.
    #[arg(long, default_value = "main")]
    tenant: TenantId,
    /// Their roles in the tenant; `admin` may do everything.
    #[arg(long, value_delimiter = ',')]
    roles: Vec<String>,
    /// How long it holds: 90s, 30m, 1h, 7d.
    #[arg(long, default_value = "1h", value_parser = parse_duration)]
    ttl: Duration,
}

#[derive(Debug, Args)]
struct Inspect {
    #[command(flatten)]
    place: Place,
    /// The entity, such as board:42.
    entity: EntityId,
    /// Its tenant.
    #[arg(long, default_value = "main")]
    tenant: TenantId,
    /// The state after this change.
    #[arg(long, value_name = "N", conflicts_with = "at_time")]
    at_seq: Option<i64>,
    /// The state at this time (RFC 3339).
    #[arg(long, value_name = "T")]
    at_time: Option<Timestamp>,
    /// JSON instead of lines for people.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Export {
    #[command(flatten)]
    place: Place,
    /// The entity, such as board:42.
    entity: EntityId,
    /// Its tenant.
    #[arg(long, default_value = "main")]
    tenant: TenantId,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Document {
    /// HTTP.
    Openapi,
    /// WebSocket.
    Asyncapi,
    /// Every Avro schema of the topics.
    Avro,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration such as 90s, 30m, 1h or 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _other => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

/// Does what the command line says, keeping the rules of `guards`; gives the exit code: 0, 1 if it
/// fails, 2 if the command line is wrong.
pub fn main(guards: Guards) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap prints help to stdout and errors to stderr, and knows which is which.
            error.print().ok();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match run(arguments, Arc::new(guards)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("switchyard: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments, guards: Arc<Guards>) -> anyhow::Result<ExitCode> {
    match arguments.command.unwrap_or_else(|| Command::Serve(Serve::default())) {
        Command::Serve(arguments) => serve(arguments, guards),
        Command::Token(arguments) => token(arguments),
        Command::Inspect(arguments) => {
            let key = EntityKey::new(arguments.tenant.clone(), arguments.entity.clone());
            let history = block_on(history(&arguments.place, &key))?;
            let until = match (arguments.at_seq, arguments.at_time) {
                (Some(seq), _) => Until::Seq(seq),
                (None, Some(time)) => Until::Time(time),
                (None, None) => Until::Now,
            };
            print_inspection(&history.describe(until), arguments.json)
        }
        Command::Verify(place) => block_on(verify_data(&place)),
        Command::Export(arguments) => {
            let key = EntityKey::new(arguments.tenant, arguments.entity);
            let history = block_on(history(&arguments.place, &key))?;
            let lines: Vec<_> = history.export().iter().map(ToString::to_string).collect();
            print_lines(&lines)
        }
        Command::Topics(arguments) => block_on(topics(arguments)),
        Command::Dlq(Dlq { action }) => block_on(dead_letters(action)),
        Command::Bridges(arguments) => {
            let (lines, is_well) = bridge_tools::run(arguments)?;
            print_lines(&lines)?;
            Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Schema { document } => print_document(document),
    }
}

async fn dead_letters(action: DlqAction) -> anyhow::Result<ExitCode> {
    match action {
        DlqAction::List(place) => {
            let letters = dlq::list(&*look(&place).await?.log).await?;
            print_lines(&letters.iter().map(DeadLetter::line).collect::<Vec<_>>())
        }
        DlqAction::Show { id, place } => {
            let letter = dlq::find(&*look(&place).await?.log, id).await?;
            print_lines(&[serde_json::to_string_pretty(&letter.describe())?])
        }
        DlqAction::Retry { ids, place } => resolve(&place, &ids, Resolution::Retried).await,
        DlqAction::Drop { ids, place } => resolve(&place, &ids, Resolution::Dropped).await,
    }
}

async fn resolve(place: &Place, ids: &[i64], how: Resolution) -> anyhow::Result<ExitCode> {
    let settings = settings(place, Overrides::default())?;
    let Opened { ports, kept, .. } = serve::open(&settings, &Arc::default()).await?;
    for id in ids {
        dlq::resolve(&*ports.log, *id, how).await?;
    }
    kept.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn topics(arguments: Topics) -> anyhow::Result<ExitCode> {
    let overrides = Overrides { kafka: arguments.kafka, ..Overrides::default() };
    let settings = settings_unchecked(&arguments.place, overrides)?;
    let kafka = settings.kafka().context("kafka.brokers is not set; --kafka sets it")?;
    match arguments.action {
        TopicsAction::Create => {
            let made = kafka::create(&kafka).await?;
            print_lines(&made)
        }
        TopicsAction::Check => {
            let counts = kafka::check(&kafka).await?;
            let line = |(topic, count): (_, i32)| format!("{} {count}", kafka.name_of(topic));
            let mut lines: Vec<_> = counts.iter().map(|(t, n)| line((t, *n))).collect();
            lines.sort_unstable();
            print_lines(&lines)
        }
    }
}

/// As [`settings`], where a store is not needed beside the log.
fn settings_unchecked(place: &Place, overrides: Overrides) -> anyhow::Result<Settings> {
    let overrides = Overrides { data: place.data.clone(), ..overrides };
    Ok(Settings::load_unchecked(place.config.as_deref(), overrides)?)
}

pub(crate) fn settings(place: &Place, overrides: Overrides) -> anyhow::Result<Settings> {
    let overrides = Overrides { data: place.data.clone(), ..overrides };
    Ok(Settings::load(place.config.as_deref(), overrides)?)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    runtime()?.block_on(work)
}

/// Prints without failing when the reader has had enough.
fn print_lines(lines: &[String]) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        match writeln!(out, "{line}") {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            result => result?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn serve(arguments: Serve, guards: Arc<Guards>) -> anyhow::Result<ExitCode> {
    let mut settings = settings(
        &arguments.place,
        Overrides {
            listen: arguments.listen,
            profile: arguments.profile.map(Profile::from),
            ws_echo: arguments.ws_echo,
            roles: arguments.roles,
            kafka: arguments.kafka,
            postgres: arguments.postgres,
            redis: arguments.redis,
            ..Overrides::default()
        },
    )?;
    let system = actix_web::rt::System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("the threads of the runtime can be started")
    });
    system.block_on(async {
        let started = Instant::now();
        let telemetry = Telemetry::start(&settings.telemetry, &settings.node)?;
        let demo = match arguments.demo {
            true => Some(Demo::start(&mut settings).context("the simulators cannot be started")?),
            false => None,
        };
        let server = Server::start(&settings, guards).await?;
        let address = server.address();
        tracing::info!(
            %address, data = %settings.data.display(), node = settings.node,
            millis = started.elapsed().as_millis() as u64, "listening"
        );
        let scheme = if settings.tls.certificate.is_some() { "https" } else { "http" };
        eprintln!("switchyard is at {scheme}://{address}");
        if let Some(demo) = &demo {
            let page = demo.show(address).await.context("the demonstration cannot be shown")?;
            eprintln!("the demonstration is at {page}");
        }
        wait_for_the_end().await.context("signals cannot be awaited")?;
        tracing::info!("draining");
        server.stop().await;
        telemetry.stop().await;
        tracing::info!("stopped");
        Ok(ExitCode::SUCCESS)
    })
}

async fn wait_for_the_end() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn token(arguments: Token) -> anyhow::Result<ExitCode> {
    use actors::ports::Clock as _;
    let settings = settings(&arguments.place, Overrides::default())?;
    let Some(secret) = settings.secret()? else {
        bail!("there is no secret to sign with; set auth.secret");
    };
    let millis = i64::try_from(arguments.ttl.as_millis()).context("--ttl is too long")?;
    let token = gateway::auth::issue(
        &secret,
        &settings.auth.audience,
        &arguments.sub,
        &arguments.tenant,
        arguments.roles,
        SystemClock.now().plus_millis(millis),
    )?;
    print_lines(&[token])
}

/// Log and store, for reading beside whoever writes them.
struct Looked {
    log: Arc<dyn Log>,
    store: Arc<dyn Store>,
    /// The log, if it is embedded: then its checksums are ours to compare.
    embedded: Option<Arc<SqliteLog>>,
}

async fn look(place: &Place) -> anyhow::Result<Looked> {
    let settings = settings(place, Overrides::default())?;
    if let (Some(kafka), Some(postgres)) = (settings.kafka(), settings.postgres()) {
        let partitions = kafka.partitions;
        let log = Arc::new(KafkaLog::open(kafka).await?);
        let store = Arc::new(PostgresStore::open(&postgres, partitions, Arc::default()).await?);
        return Ok(Looked { log, store, embedded: None });
    }
    let folder = Arc::new(DataFolder::look_at(&settings.data)?);
    let log = Arc::new(SqliteLog::look_at(folder.clone()).await?);
    let store = Arc::new(SqliteStore::look_at(folder).await?);
    Ok(Looked { log: log.clone(), store, embedded: Some(log) })
}

async fn history(place: &Place, key: &EntityKey) -> anyhow::Result<inspect::History> {
    let Looked { log, store, .. } = look(place).await?;
    Ok(inspect::read(&*log, &*store, key).await?)
}

fn print_inspection(description: &serde_json::Value, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        return print_lines(&[serde_json::to_string_pretty(description)?]);
    }
    let mut lines = Vec::new();
    for name in ["entity", "tenant", "seq", "partition", "owner", "epoch", "lag"] {
        lines.push(format!("{name:<10} {}", plain(&description[name])));
    }
    lines.push("outcomes".into());
    for outcome in description["lastOutcomes"].as_array().into_iter().flatten() {
        lines.push(format!(
            "  {} {} {} {} {}",
            plain(&outcome["offset"]),
            plain(&outcome["at"]),
            plain(&outcome["by"]),
            plain(&outcome["result"]),
            outcome["details"],
        ));
    }
    lines.push(format!("state {}", serde_json::to_string_pretty(&description["state"])?));
    print_lines(&lines)
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

async fn verify_data(place: &Place) -> anyhow::Result<ExitCode> {
    let Looked { log, store, embedded } = look(place).await?;
    let on_terminal = std::io::stderr().is_terminal();
    let progress = |what: &str| {
        if on_terminal {
            eprint!("\r\x1b[Kverifying {what}");
        } else {
            eprintln!("verifying {what}");
        }
    };
    if let Some(embedded) = embedded {
        progress("checksums of the log");
        embedded.check().await?;
    }
    let report = verify::verify(&*log, &*store, progress).await?;
    if on_terminal {
        eprint!("\r\x1b[K");
    }
    for difference in &report.differences {
        eprintln!("{difference}");
    }
    let summary = format!(
        "{} records, {} outcomes, {} entities, {} differences",
        report.records,
        report.outcomes,
        report.entities,
        report.differences.len()
    );
    print_lines(&[summary])?;
    Ok(if report.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_document(document: Document) -> anyhow::Result<ExitCode> {
    let value = match document {
        Document::Openapi => gateway::openapi(),
        Document::Asyncapi => gateway::asyncapi(),
        Document::Avro => {
            let mut schemas = serde_json::Map::new();
            for subject in Subject::ALL {
                schemas.insert(subject.name().into(), serde_json::to_value(subject.schema())?);
            }
            schemas.into()
        }
    };
    print_lines(&[serde_json::to_string_pretty(&value)?])
}

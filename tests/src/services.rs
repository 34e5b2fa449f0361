//! Kafka, PostgreSQL and Redis on loopback, from `infra/services`, and nodes that share them.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rdkafka::{
    ClientConfig,
    producer::{FutureProducer, FutureRecord},
};
use schemas::{CommandId, EntityKey, codec, json};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{
    proxy::Proxy,
    server::{Setup, TestServer, program},
};

/// Starting a service must be done within this, fetching included.
const START_WITHIN: Duration = Duration::from_secs(180);
/// Building the previous release must be done within this.
const BUILD_WITHIN: Duration = Duration::from_secs(900);
/// Partitions of each kind: few, so that a broker for tests has little to do.
pub const PARTITIONS: i32 = 6;
/// The lowest session timeout that a broker allows as it comes.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/services").join(name)
}

/// What a script prints: lines of `name=value`.
async fn run(name: &str, arguments: &[&str]) -> anyhow::Result<Vec<(String, String)>> {
    run_with(name, arguments, &[]).await
}

async fn run_with(
    name: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> anyhow::Result<Vec<(String, String)>> {
    let mut command = Command::new(script(name));
    command.args(arguments).envs(environment.iter().copied()).kill_on_drop(true);
    let output = tokio::time::timeout(START_WITHIN, command.output());
    let output = output.await.with_context(|| format!("{name} {arguments:?} does not end"))??;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} {arguments:?}: {said}");
    let lines = String::from_utf8(output.stdout)?;
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.into(), value.into()));
    Ok(lines.lines().filter_map(pair).collect())
}

fn value(lines: &[(String, String)], name: &str) -> anyhow::Result<String> {
    let found = lines.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.clone()).with_context(|| format!("no {name} in {lines:?}"))
}

/// The program as the release before this one was; builds it if need be, which takes minutes.
///
/// # Errors
/// If it cannot be built.
pub async fn previous_release() -> anyhow::Result<PathBuf> {
    let debug = program();
    let target = debug.ancestors().nth(2).context("target/debug/switchyard")?;
    let mut command = Command::new(script("previous"));
    command.arg("build").arg(target).kill_on_drop(true);
    let output = tokio::time::timeout(BUILD_WITHIN, command.output()).await??;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// One Kafka, one PostgreSQL, one Redis. Dropping ends them.
pub struct Services {
    folder: TempDir,
    /// `host:port` of the brokers.
    pub kafka: String,
    /// `host:port` where the broker wants to know who asks, with [`Services::start_secured`].
    pub secured: Option<String>,
    /// The brokers' processes.
    pub brokers: Vec<u32>,
    /// The address of the database.
    pub postgres: String,
    /// The address of Redis.
    pub redis: String,
    /// The address of the schema registry's API, once it is started.
    pub registry: Option<String>,
    /// Further variables of nodes that are started from now on, without the prefix.
    pub further: Vec<(String, String)>,
    /// The proxy that nodes may reach the first broker through.
    pub proxy: Proxy,
    producer: FutureProducer,
}

impl Services {
    /// Starts them, Kafka with one broker, and makes the topics.
    ///
    /// # Errors
    /// If one does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with_brokers(1).await
    }

    /// As [`Services::start`], with so many brokers; from three on, topics have three replicas.
    ///
    /// # Errors
    /// If one does not start.
    pub async fn start_with_brokers(brokers: usize) -> anyhow::Result<Self> {
        Self::start_as(brokers, &[]).await
    }

    /// As [`Services::start`]; the broker has users `node` and `guest`, with passwords alike, who may
    /// do nothing until [`Services::allow`].
    ///
    /// # Errors
    /// If one does not start.
    pub async fn start_secured() -> anyhow::Result<Self> {
        Self::start_as(1, &[("KAFKA_SECURED", "1")]).await
    }

    async fn start_as(brokers: usize, environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        // PostgreSQL runs as another user where tests run as root.
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), all)?;
        let place = |name: &str| folder.path().join(name).display().to_string();
        let (kafka, postgres, redis) = (place("kafka"), place("postgres"), place("redis"));
        let count = brokers.to_string();
        let mut proxy = Proxy::bind().await?;
        let port = proxy.port.to_string();
        let mut start = vec!["start", &kafka, &count];
        // With several brokers each would need a proxy of its own.
        start.extend((brokers == 1).then_some(&*port));
        let (kafka, postgres, redis) = (start, ["start", &postgres], ["start", &redis]);
        let (kafka, postgres, redis) = tokio::try_join!(
            run_with("kafka", &kafka, environment),
            run("postgres", &postgres),
            run("redis", &redis)
        )?;
        if let Ok(behind) = value(&kafka, "behind") {
            proxy.lead_to(behind);
        }
        let brokers = kafka.iter().filter(|(name, _)| name == "pid");
        let bootstrap = value(&kafka, "bootstrap")?;
        let services = Self {
            producer: ClientConfig::new().set("bootstrap.servers", bootstrap).create()?,
            kafka: value(&kafka, "bootstrap")?,
            secured: value(&kafka, "secured").ok(),
            brokers: brokers.filter_map(|(_, pid)| pid.parse().ok()).collect(),
            postgres: value(&postgres, "url")?,
            redis: value(&redis, "url")?,
            registry: None,
            further: Vec::new(),
            proxy,
            folder,
        };
        let output = services.run(&["topics", "create"]).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "topics create: {said}");
        Ok(services)
    }

    /// Configuration variables of a node here, without the prefix.
    pub fn variables(&self) -> Vec<(String, String)> {
        let registry = self.registry.iter().map(|url| ("REGISTRY__URL".into(), url.clone()));
        let fixed = [
            ("KAFKA__BROKERS", self.kafka.clone()),
            ("KAFKA__PARTITIONS", PARTITIONS.to_string()),
            ("KAFKA__REPLICATION", if self.brokers.len() < 3 { "1" } else { "3" }.into()),
            ("KAFKA__SESSION_TIMEOUT_MS", SESSION_TIMEOUT.as_millis().to_string()),
            ("POSTGRES__URL", self.postgres.clone()),
            ("POSTGRES__CONNECTIONS", "8".into()),
            ("REDIS__URL", self.redis.clone()),
            ("AUTH__SECRET", "a secret that every node of a test shares".into()),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        fixed.into_iter().chain(registry).chain(self.further.iter().cloned()).collect()
    }

    /// Starts a schema registry too, for nodes that are started from now on.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_registry(&mut self) -> anyhow::Result<()> {
        let folder = self.folder.path().join("registry").display().to_string();
        self.registry = Some(value(&run("registry", &["start", &folder]).await?, "url")?);
        Ok(())
    }

    /// Has the Python partner do something: `write` or `read`, the topic, and what it needs; gives
    /// the lines that it prints.
    ///
    /// # Errors
    /// If there is no registry, or the partner fails.
    pub async fn partner(
        &self,
        what: &str,
        arguments: &[&str],
        input: &str,
    ) -> anyhow::Result<Vec<String>> {
        let registry = self.registry.as_deref().context("the registry is not started")?;
        let mut command = Command::new(script("partner"));
        command.args([what, &self.kafka, registry]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("stdin is piped")?;
        stdin.write_all(input.as_bytes()).await?;
        drop(stdin);
        let output = tokio::time::timeout(START_WITHIN, child.wait_with_output());
        let output = output.await.context("the partner does not end")??;
        ensure!(output.status.success(), "the partner ends with {}", output.status);
        Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
    }

    /// Runs the program against these services.
    ///
    /// # Errors
    /// If it cannot be started or does not end.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<std::process::Output> {
        let mut command = Command::new(program());
        for (name, value) in self.variables() {
            command.env(format!("SWITCHYARD__{name}"), value);
        }
        let run = command.args(arguments).kill_on_drop(true).output();
        Ok(tokio::time::timeout(START_WITHIN, run).await.context("still running")??)
    }

    /// Starts a node; a folder below theirs takes what it keeps.
    ///
    /// # Errors
    /// If it does not become ready.
    pub async fn node(&self, name: &str) -> anyhow::Result<TestServer> {
        self.node_with(name, Setup::default()).await
    }

    /// As [`Services::node`], set up differently.
    ///
    /// # Errors
    /// If it does not become ready.
    pub async fn node_with(&self, name: &str, mut setup: Setup) -> anyhow::Result<TestServer> {
        setup.variables.splice(0..0, self.variables());
        let setup = setup.with("NODE", name);
        TestServer::start_in(&self.folder.path().join(name), setup).await
    }

    /// Sends a signal to a process of theirs or of a node, by its number.
    ///
    /// # Errors
    /// If `kill` cannot be run or refuses.
    pub async fn signal(&self, pid: u32, signal: &str) -> anyhow::Result<()> {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status();
        ensure!(status.await?.success(), "kill -{signal} {pid}");
        Ok(())
    }

    /// Appends a command of `user:ada` to its topic as a node does, so many partitions beside the
    /// right one.
    ///
    /// # Errors
    /// If it is no command or the broker does not take it.
    pub async fn append_command(
        &self,
        entity: &str,
        body: serde_json::Value,
        beside: i32,
    ) -> anyhow::Result<()> {
        let key: EntityKey = format!("main/{entity}").parse()?;
        let kind = key.entity.kind();
        let command = schemas::Command {
            id: CommandId::derived(&body.to_string()),
            tenant: key.tenant.clone(),
            principal: "user:ada".parse()?,
            roles: Vec::new(),
            at: schemas::Timestamp::from_millis(1_700_000_000_000),
            expect: None,
            body: json::body_from_value(kind, body)?,
            key,
        };
        let (key, value) = (command.key.to_string(), codec::encode_command(&command)?);
        let right = actors::runtime::partitioner::partition_of(key.as_bytes(), PARTITIONS);
        let topic = format!("switchyard.{kind}.commands");
        let record = FutureRecord::to(&topic).key(&key).payload(&value);
        let record = record.partition((right + beside) % PARTITIONS);
        let sent = self.producer.send(record, Duration::from_secs(10)).await;
        sent.map(|_| ()).map_err(|(error, _)| error.into())
    }

    /// Appends records to a topic with the Java client and its default partitioner.
    ///
    /// # Errors
    /// If the client cannot be run or refuses.
    pub async fn produce_from_java(
        &self,
        topic: &str,
        records: &[(&str, String)],
    ) -> anyhow::Result<()> {
        let mut command = Command::new(script("kafka"));
        command.args(["produce", &self.kafka, topic]).stdin(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut input = child.stdin.take().context("stdin is piped")?;
        for (key, value) in records {
            input.write_all(format!("{key}|{value}\n").as_bytes()).await?;
        }
        drop(input);
        let status = tokio::time::timeout(START_WITHIN, child.wait()).await.context("java")??;
        ensure!(status.success(), "the Java client ends with {status}");
        Ok(())
    }

    /// Allows a user to do these operations with every topic and group.
    ///
    /// # Errors
    /// If the broker refuses.
    pub async fn allow(&self, user: &str, operations: &[&str]) -> anyhow::Result<()> {
        let mut arguments = vec!["allow", &self.kafka, user];
        arguments.extend(operations);
        run("kafka", &arguments).await.map(|_| ())
    }

    /// Starts a broker again that has ended; `number` counts from 1.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn restart_broker(&mut self, number: usize) -> anyhow::Result<()> {
        let folder = self.folder.path().join("kafka").display().to_string();
        let mut command = Command::new(script("kafka"));
        command.args(["again", &folder, &number.to_string()]).kill_on_drop(true);
        let output = tokio::time::timeout(START_WITHIN, command.output()).await??;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.brokers[number - 1] = String::from_utf8(output.stdout)?.trim().parse()?;
        Ok(())
    }

    /// Makes the brokers' disks slow, or as fast as they are.
    ///
    /// # Errors
    /// If the file that says so cannot be made or removed.
    pub fn slow_disk(&self, is_slow: bool) -> anyhow::Result<()> {
        let file = self.folder.path().join("kafka/slow");
        if is_slow {
            std::fs::write(file, "")?
        } else {
            std::fs::remove_file(file)?
        }
        Ok(())
    }

    /// Kills PostgreSQL and starts it again.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn crash_postgres(&self) -> anyhow::Result<()> {
        let folder = self.folder.path().join("postgres").display().to_string();
        run("postgres", &["crash", &folder]).await.map(|_| ())
    }

    /// Starts a replica of PostgreSQL; gives its address.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_replica(&self) -> anyhow::Result<String> {
        let folder = |name: &str| self.folder.path().join(name).display().to_string();
        let (primary, replica) = (folder("postgres"), folder("replica"));
        value(&run("postgres", &["replica", &primary, &replica]).await?, "url")
    }

    /// Ends Redis.
    ///
    /// # Errors
    /// If it cannot be ended.
    pub async fn stop_redis(&self) -> anyhow::Result<()> {
        let folder = self.folder.path().join("redis").display().to_string();
        run("redis", &["stop", &folder]).await.map(|_| ())
    }

    /// Starts Redis again where it was.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_redis(&self) -> anyhow::Result<()> {
        let folder = self.folder.path().join("redis").display().to_string();
        let port = self.redis.rsplit(':').next().context("a port")?;
        run("redis", &["start", &folder, port]).await.map(|_| ())
    }

    /// `switchyard verify` finds no difference.
    ///
    /// # Errors
    /// If it does.
    pub async fn verify(&self) -> anyhow::Result<()> {
        let output = self.run(&["verify"]).await?;
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "verify: {}: {said}{complained}", output.status);
        ensure!(said.contains(" 0 differences"), "verify says {said}{complained}");
        Ok(())
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let scripts = ["kafka", "postgres", "redis", "registry"].map(|name| (name, name));
        for (name, folder) in scripts.into_iter().chain([("postgres", "replica")]) {
            let folder = self.folder.path().join(folder);
            if !folder.exists() {
                continue;
            }
            // What does not end in time keeps nobody from ending the test.
            std::process::Command::new(script(name)).arg("stop").arg(folder).status().ok();
        }
    }
}

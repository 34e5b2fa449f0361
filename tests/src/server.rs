//! A real `switchyard serve` process on a port and in a data folder of its own.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// A node must be ready within this, and a command of the program done.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Where a node listens that may take any free port.
const ANY_PORT: &str = "127.0.0.1:0";

/// The program under test: built beside the test binary, or named by `SWITCHYARD_BIN`.
///
/// # Panics
/// If the test binary has no path.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("SWITCHYARD_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
    folder.join("switchyard")
}

/// How a node is started.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Further arguments of `serve`.
    pub arguments: Vec<String>,
    /// Configuration variables, without the prefix: `LIMITS__COMMANDS_PER_MINUTE`.
    pub variables: Vec<(String, String)>,
    /// What the program `faulty` switches on or off; none runs the program itself.
    pub faults: Option<String>,
    /// Another program than this release's.
    pub program: Option<PathBuf>,
}

impl Default for Setup {
    /// Without limits on commands, joins, signals and anonymous requests, which tests exceed.
    fn default() -> Self {
        let lifted =
            ["COMMANDS_PER_MINUTE", "JOINS_PER_SECOND", "SIGNALS_PER_SECOND", "ANONYMOUS_REQUESTS"];
        let variables =
            lifted.iter().map(|name| (format!("LIMITS__{name}"), "0".to_owned())).collect();
        Self { arguments: Vec::new(), variables, faults: None, program: None }
    }
}

impl Setup {
    /// The same with a configuration variable set.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with faults, as `faulty` names them.
    #[must_use]
    pub fn faulty(mut self, faults: &str) -> Self {
        self.faults = Some(faults.to_owned());
        self
    }

    /// The same with another program.
    #[must_use]
    pub fn program(mut self, program: &Path) -> Self {
        self.program = Some(program.to_owned());
        self
    }

    /// The same with an argument of `serve`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }
}

/// A running node. Dropping it kills the process; its folder goes when the last owner drops.
#[derive(Debug)]
pub struct TestServer {
    child: Child,
    /// `127.0.0.1:<port>`.
    pub address: String,
    /// The data folder.
    pub data: PathBuf,
    setup: Setup,
    _folder: Option<TempDir>,
}

impl TestServer {
    /// Starts a node in a folder of its own and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become ready in time.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Setup::default()).await
    }

    /// As [`TestServer::start`], set up differently.
    ///
    /// # Errors
    /// If it does not become ready in time.
    pub async fn start_with(setup: Setup) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut server = Self::start_in(folder.path(), setup).await?;
        server._folder = Some(folder);
        Ok(server)
    }

    /// Starts a node in a folder that outlives it.
    ///
    /// # Errors
    /// If it does not become ready in time.
    pub async fn start_in(data: &Path, setup: Setup) -> anyhow::Result<Self> {
        let server = Self::start_unready_in(data, setup).await?;
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// As [`TestServer::start_in`], without waiting until it is ready.
    ///
    /// # Errors
    /// If it does not start to listen in time.
    pub async fn start_unready_in(data: &Path, setup: Setup) -> anyhow::Result<Self> {
        let (child, address) = spawn(data, &setup, ANY_PORT).await?;
        Ok(Self { child, address, data: data.to_owned(), setup, _folder: None })
    }

    async fn wait_until_ready(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let answer = reqwest::get(self.url("/ready")).await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("the node at {} is not ready after {PATIENCE:?}", self.address)
    }

    /// An address below this node's.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The process.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// `kill -9`, and again until it is gone.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("kill -9")
    }

    /// Starts the killed or stopped node again, on another port.
    ///
    /// # Errors
    /// If it does not become ready in time.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.restart_on(ANY_PORT).await
    }

    /// As [`TestServer::restart`], on the same port, for clients that find back by themselves.
    ///
    /// # Errors
    /// If it does not become ready in time.
    pub async fn restart_here(&mut self) -> anyhow::Result<()> {
        let address = self.address.clone();
        self.restart_on(&address).await
    }

    async fn restart_on(&mut self, listen: &str) -> anyhow::Result<()> {
        let (child, address) = spawn(&self.data, &self.setup, listen).await?;
        self.child = child;
        self.address = address;
        self.wait_until_ready().await
    }

    /// SIGTERM, then waits for the end.
    ///
    /// # Errors
    /// If it does not exit in time.
    pub async fn terminate(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        let pid = self.child.id().context("the node has ended already")?;
        Command::new("kill").arg("-TERM").arg(pid.to_string()).status().await?;
        Ok(tokio::time::timeout(PATIENCE, self.child.wait()).await.context("still running")??)
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Errors
    /// If it does not within so long.
    pub async fn wait_for_end(&mut self, within: Duration) -> anyhow::Result<()> {
        tokio::time::timeout(within, self.child.wait()).await.context("still running")??;
        Ok(())
    }

    /// A development token.
    ///
    /// # Errors
    /// If the node gives none.
    pub async fn token(&self, user: &str) -> anyhow::Result<String> {
        let client = reqwest::Client::new();
        let request = client.post(self.url("/dev/token")).json(&json!({"sub": user}));
        let answer: Value = request.send().await?.json().await?;
        Ok(answer["token"].as_str().context("no token")?.to_owned())
    }

    /// Runs the program on this node's data: `run(&["verify"])`.
    ///
    /// # Errors
    /// If it cannot be started or does not end in time.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        run(&self.data, arguments).await
    }
}

/// Runs the program with `--data`.
///
/// # Errors
/// If it cannot be started or does not end in time.
pub async fn run(data: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(program());
    command.args(arguments).arg("--data").arg(data).stdin(Stdio::null()).kill_on_drop(true);
    Ok(tokio::time::timeout(PATIENCE, command.output()).await.context("still running")??)
}

/// Starts `serve` and reads from its stderr where it listens.
async fn spawn(data: &Path, setup: &Setup, listen: &str) -> anyhow::Result<(Child, String)> {
    let mut command = match &setup.faults {
        Some(faults) => {
            let mut command = Command::new(program().with_file_name("faulty"));
            command.env("SWITCHYARD_FAULTS", faults);
            command
        }
        None => Command::new(setup.program.clone().unwrap_or_else(program)),
    };
    command
        .args(["serve", "--listen", listen, "--data"])
        .arg(data)
        .args(&setup.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for (name, value) in &setup.variables {
        command.env(format!("SWITCHYARD__{name}"), value);
    }
    let mut child = command.spawn().with_context(|| format!("{}", program().display()))?;
    let stderr = child.stderr.take().context("stderr is piped")?;
    let mut lines = BufReader::new(stderr).lines();
    let mut said = Vec::new();
    let found = tokio::time::timeout(PATIENCE, async {
        while let Some(line) = lines.next_line().await? {
            if let Some((_, address)) =
                line.split_once("switchyard is at ").and_then(|(_, url)| url.split_once("://"))
            {
                return anyhow::Ok(address.trim().to_owned());
            }
            said.push(line);
        }
        bail!("the node ended: {}", said.join("\n"))
    });
    let address = found.await.context("the node says no address")??;
    // The pipe must be read to its end, or the node would block on a full one. What nodes say is
    // kept in the folder that SWITCHYARD_TEST_LOGS names, if it names one.
    let mut kept = std::env::var_os("SWITCHYARD_TEST_LOGS").and_then(|folder| {
        let name = format!("{}-{}.log", address.replace(':', "-"), child.id().unwrap_or(0));
        std::fs::File::create(Path::new(&folder).join(name)).ok()
    });
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(file) = &mut kept {
                writeln!(file, "{line}").ok();
            }
        }
    });
    Ok((child, address))
}

//! Configuration: defaults in code, then `switchyard.toml`, then `SWITCHYARD__…` variables, then
//! flags. An unknown key is an error that names it.

mod services;
mod telemetry;

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use actors::runtime::forwarder::Partner;
use gateway::config::{GatewayConfig, Limits, PartnerKey, Profile, TlsFiles, TokenKey};
use schemas::{Kind, TenantId, UserName, role::TenantRole};
use serde::Deserialize;

pub use self::{
    services::{KafkaConfig, PostgresConfig, RedisConfig, RegistryConfig},
    telemetry::{LogFormat, TelemetryConfig},
};
use crate::{kafka::KafkaSettings, postgres::PostgresSettings, sqlite::Synchronous};

/// The file that is read if it is there and no other is named.
const DEFAULT_FILE: &str = "switchyard.toml";

/// Everything the program can be told.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// development, staging or production.
    pub profile: Profile,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where log and store are kept.
    pub data: PathBuf,
    /// This process among others; made up if empty.
    pub node: String,
    /// The log.
    pub log: LogConfig,
    /// What this node does.
    pub roles: Vec<NodeRole>,
    /// The log on Kafka, if brokers are named; embedded otherwise.
    pub kafka: KafkaConfig,
    /// The store on PostgreSQL, if an address is named; embedded otherwise.
    pub postgres: PostgresConfig,
    /// Signals over Redis, if an address is named; within this node otherwise.
    pub redis: RedisConfig,
    /// The schema registry.
    pub registry: RegistryConfig,
    /// HTTPS and WSS instead of HTTP and WS, if both files are named.
    pub tls: TlsConfig,
    /// Tokens.
    pub auth: AuthConfig,
    /// Origins that browsers may come from beside the page's own; `*` for any.
    pub origins: Vec<String>,
    /// Bounds.
    pub limits: Limits,
    /// Partners by name.
    pub partners: BTreeMap<UserName, PartnerConfig>,
    /// Apps at chat platforms.
    pub bridges: bridges::runtime::Settings,
    /// Actors.
    pub actors: ActorsConfig,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// Threads that serve HTTP; 0 for one a core.
    pub workers: usize,
    /// Whether `/ws/echo` is there.
    pub ws_echo: bool,
}

/// The embedded log.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Partitions of each kind; fixed once there is data.
    pub partitions: i32,
    /// `full` (to the disk) or `normal` (to the operating system).
    pub synchronous: Synchronous,
    /// `log.db` grows no larger than so many bytes; 0 is no bound.
    pub max_bytes: u64,
}

/// What a node may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// Serves clients.
    Gateway,
    /// Owns partitions and forwards partners' records.
    Actors,
    /// Writes journal and snapshots.
    Projector,
    /// Talks to chat platforms.
    Bridges,
}

/// Tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// The shared secret of HS256 tokens. In development one is made in the data folder.
    pub secret: Option<String>,
    /// PEM files of public keys for RS256, ES256 or EdDSA tokens.
    pub public_keys: Vec<PathBuf>,
    /// Address of a JWK Set with further public keys (RFC 7517).
    pub jwks: Option<String>,
    /// What `aud` must be, if a token has one.
    pub audience: String,
}

impl AuthConfig {
    fn has_public_keys(&self) -> bool {
        !self.public_keys.is_empty() || self.jwks.is_some()
    }
}

/// TLS.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file of the certificate, then those it follows from.
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key.
    pub key: Option<PathBuf>,
}

/// One partner.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartnerConfig {
    /// The tenant that its commands go to.
    pub tenant: TenantId,
    /// Its key, or the HMAC key of its signatures.
    pub key: String,
    /// The kinds it may write to; all if empty.
    #[serde(default)]
    pub kinds: HashSet<Kind>,
    /// The commands it may send, by type; all if empty.
    #[serde(default)]
    pub commands: HashSet<String>,
}

/// Actors.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ActorsConfig {
    /// Threads that carry owners and entities.
    pub threads: usize,
    /// An entity without commands for so many seconds leaves memory.
    pub passivate_seconds: u64,
    /// At most so many idle entities of one partition stay in memory.
    pub most_entities: usize,
    /// Seconds that a command may take before the answer is `timeout`.
    pub command_timeout_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            profile: Profile::Development,
            listen: SocketAddr::from(([127, 0, 0, 1], 8_080)),
            data: PathBuf::from("switchyard-data"),
            node: String::new(),
            log: LogConfig::default(),
            roles: vec![
                NodeRole::Gateway,
                NodeRole::Actors,
                NodeRole::Projector,
                NodeRole::Bridges,
            ],
            kafka: KafkaConfig::default(),
            postgres: PostgresConfig::default(),
            redis: RedisConfig::default(),
            registry: RegistryConfig::default(),
            tls: TlsConfig::default(),
            auth: AuthConfig::default(),
            origins: Vec::new(),
            limits: Limits::default(),
            partners: BTreeMap::new(),
            bridges: bridges::runtime::Settings::default(),
            actors: ActorsConfig::default(),
            telemetry: TelemetryConfig::default(),
            workers: 0,
            ws_echo: false,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { partitions: 4, synchronous: Synchronous::Full, max_bytes: 0 }
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self { secret: None, public_keys: Vec::new(), jwks: None, audience: "switchyard".into() }
    }
}

impl Default for ActorsConfig {
    fn default() -> Self {
        Self {
            threads: 1,
            passivate_seconds: 60,
            most_entities: 10_000,
            command_timeout_seconds: 10,
        }
    }
}

/// Why the configuration does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("configuration")]
    Unreadable(#[from] config::ConfigError),
    /// It can be read but not run with.
    #[error("configuration key {key}: {reason}")]
    Refused {
        /// Which key to set.
        key: &'static str,
        /// Why.
        reason: String,
    },
    /// The development secret cannot be made or read.
    #[error("the secret in {} cannot be used", path.display())]
    Secret {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What flags set over everything else.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--profile`.
    pub profile: Option<Profile>,
    /// `--ws-echo`.
    pub ws_echo: bool,
    /// `--roles`.
    pub roles: Vec<NodeRole>,
    /// `--kafka`.
    pub kafka: Option<String>,
    /// `--postgres`.
    pub postgres: Option<String>,
    /// `--redis`.
    pub redis: Option<String>,
}

impl Settings {
    /// Reads the configuration.
    ///
    /// # Errors
    /// If the file or a variable cannot be read, a key is unknown, or it cannot be run with.
    pub fn load(file: Option<&Path>, overrides: Overrides) -> Result<Self, ConfigError> {
        let settings = Self::load_unchecked(file, overrides)?;
        settings.check()?;
        Ok(settings)
    }

    /// Reads the configuration without comparing its parts.
    ///
    /// # Errors
    /// If the file or a variable cannot be read, or a key is unknown.
    pub fn load_unchecked(file: Option<&Path>, overrides: Overrides) -> Result<Self, ConfigError> {
        let file = match file {
            Some(path) => config::File::from(path).required(true),
            None => config::File::new(DEFAULT_FILE, config::FileFormat::Toml).required(false),
        };
        let variables = config::Environment::with_prefix("SWITCHYARD")
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("origins")
            .with_list_parse_key("auth.public_keys")
            .with_list_parse_key("roles")
            .with_list_parse_key("bridges.admins")
            .with_list_parse_key("bridges.channel_admins")
            .with_list_parse_key("bridges.slack.tenants")
            .with_list_parse_key("bridges.teams.tenants")
            .with_list_parse_key("bridges.teams.webhook_tokens")
            .with_list_parse_key("bridges.discord.tenants")
            .with_list_parse_key("bridges.telegram.tenants");
        let mut settings: Self = config::Config::builder()
            .add_source(file)
            .add_source(variables)
            .build()?
            .try_deserialize()?;
        if let Some(listen) = overrides.listen {
            settings.listen = listen;
        }
        if let Some(data) = overrides.data {
            settings.data = data;
        }
        if let Some(profile) = overrides.profile {
            settings.profile = profile;
        }
        settings.ws_echo |= overrides.ws_echo;
        if !overrides.roles.is_empty() {
            settings.roles = overrides.roles;
        }
        settings.kafka.brokers = overrides.kafka.or(settings.kafka.brokers);
        settings.postgres.url = overrides.postgres.or(settings.postgres.url);
        settings.redis.url = overrides.redis.or(settings.redis.url);
        settings.telemetry.fill_in();
        if settings.node.is_empty() {
            settings.node = format!("{:08x}", rand::random::<u32>());
        }
        Ok(settings)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refused = |key, reason: &str| Err(ConfigError::Refused { key, reason: reason.into() });
        if !(1..=1_024).contains(&self.log.partitions) {
            return refused("log.partitions", "must be 1 to 1024");
        }
        if self.auth.secret.as_ref().is_some_and(|secret| secret.len() < 32) {
            return refused("auth.secret", "must have at least 32 bytes");
        }
        if self.roles.is_empty() {
            return refused(
                "roles",
                "must name at least one of gateway, actors, projector, bridges",
            );
        }
        if self.kafka.brokers.is_some() != self.postgres.url.is_some() {
            let reason = "kafka.brokers and postgres.url go together: several nodes share both";
            return refused("kafka.brokers", reason);
        }
        let needed = [NodeRole::Gateway, NodeRole::Actors, NodeRole::Projector];
        let has_needed = needed.iter().all(|role| self.roles.contains(role));
        if self.kafka.brokers.is_none() && !has_needed {
            return refused("roles", "a node without Kafka has gateway, actors and projector");
        }
        if !(1..=10_000).contains(&self.kafka.partitions) {
            return refused("kafka.partitions", "must be 1 to 10000");
        }
        if self.profile == Profile::Production
            && self.kafka.brokers.is_some()
            && self.kafka.replication < 2
        {
            return refused("kafka.replication", "production does not start with one replica");
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return refused("tls", "needs both certificate and key");
        }
        if let Some(address) = &self.auth.jwks
            && !address.starts_with("https://")
            && !(self.is_development() && address.starts_with("http://"))
        {
            return refused("auth.jwks", "must be an https:// address");
        }
        if let Some((key, reason)) = self.telemetry.fault() {
            return refused(key, reason);
        }
        if let Some((setting, reason)) = self.bridges.fault() {
            return refused("bridges", &format!("{setting}: {reason}"));
        }
        if self.profile != Profile::Production {
            return Ok(());
        }
        if self.auth.secret.is_none() && !self.auth.has_public_keys() {
            return refused(
                "auth.secret",
                "production needs a secret, auth.public_keys or auth.jwks",
            );
        }
        if self.origins.iter().any(|origin| origin == "*") {
            return refused("origins", "production does not start with an open origin list");
        }
        if self.partners.get("demo").is_some_and(|demo| demo.key == "demo") {
            return refused("partners.demo.key", "production does not start with the demo key");
        }
        Ok(())
    }

    fn is_development(&self) -> bool {
        self.profile == Profile::Development
    }

    /// The secret that signs tokens, if one is configured or may be made.
    ///
    /// # Errors
    /// If the development secret cannot be made or read.
    pub fn secret(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        match &self.auth.secret {
            Some(secret) => Ok(Some(secret.clone().into_bytes())),
            None if self.is_development() && !self.auth.has_public_keys() => {
                development_secret(&self.data).map(Some)
            }
            None => Ok(None),
        }
    }

    /// The partners, with the one that development has.
    pub fn partners(&self) -> Vec<PartnerKey> {
        let mut partners: Vec<_> = self
            .partners
            .iter()
            .map(|(name, partner)| PartnerKey {
                partner: Partner {
                    name: name.clone(),
                    tenant: partner.tenant.clone(),
                    kinds: partner.kinds.clone(),
                    commands: partner.commands.clone(),
                },
                key: partner.key.clone(),
            })
            .collect();
        if self.is_development()
            && !self.partners.contains_key("demo")
            && let (Ok(name), Ok(tenant)) = ("demo".parse(), "main".parse())
        {
            let (kinds, commands) = (HashSet::new(), HashSet::new());
            let partner = Partner { name, tenant, kinds, commands };
            partners.push(PartnerKey { partner, key: "demo".into() });
        }
        partners
    }

    /// The log on Kafka, if it is there.
    pub fn kafka(&self) -> Option<KafkaSettings> {
        let partners = self.partners().into_iter().map(|partner| partner.partner.name).collect();
        let has_bridges = !self.bridges.platforms().is_empty();
        self.kafka.settings(partners, has_bridges, &self.registry)
    }

    /// The store on PostgreSQL, if it is there.
    pub fn postgres(&self) -> Option<PostgresSettings> {
        self.postgres.settings()
    }

    /// What the gateway is told.
    ///
    /// # Errors
    /// If the development secret cannot be made or read.
    pub fn gateway(&self) -> Result<GatewayConfig, ConfigError> {
        let secret = self.secret()?;
        let mut token_keys: Vec<_> = secret.iter().cloned().map(TokenKey::Secret).collect();
        token_keys.extend(self.auth.public_keys.iter().cloned().map(TokenKey::PublicKey));
        token_keys.extend(self.auth.jwks.iter().cloned().map(TokenKey::Jwks));
        let mut limits = self.limits;
        if !self.is_development() && limits.connections == Limits::default().connections {
            limits.connections = 0;
            if limits.memory_bytes == 0 {
                limits.memory_bytes = memory_of_machine() / 4 * 3;
            }
        }
        let tls = self.tls.certificate.clone().zip(self.tls.key.clone());
        Ok(GatewayConfig {
            webhooks: None,
            files: None,
            identities: None,
            mappings: None,
            listen: self.listen,
            tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
            node: self.node.clone(),
            profile: self.profile,
            token_keys,
            development_secret: secret.filter(|_| self.is_development()),
            audience: self.auth.audience.clone(),
            origins: self.origins.clone(),
            partners: self.partners(),
            limits,
            tenant_role: if self.is_development() { TenantRole::Editor } else { TenantRole::None },
            workers: self.workers,
            serves_clients: true,
            guards: Arc::default(),
            ws_echo: self.ws_echo,
            command_timeout: Duration::from_secs(self.actors.command_timeout_seconds),
        })
    }
}

/// The bytes of memory that this process may use, by its control group or else by the machine
/// (`proc_meminfo(5)`); 0, which is no bound, where neither says.
fn memory_of_machine() -> u64 {
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").unwrap_or_default();
    let machine = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = machine.lines().find_map(|line| {
        let kibibytes = line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?;
        kibibytes.trim().parse::<u64>().ok().map(|kibibytes| kibibytes * 1_024)
    });
    group.trim().parse().ok().into_iter().chain(total).min().unwrap_or(0)
}

/// The secret that a development node makes in its data folder.
fn development_secret(data: &Path) -> Result<Vec<u8>, ConfigError> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let path = data.join("secret");
    let failed = |source| ConfigError::Secret { path: path.clone(), source };
    std::fs::create_dir_all(data).map_err(failed)?;
    let mut options = std::fs::File::options();
    match options.write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            let bytes: [u8; 32] = rand::random();
            let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            file.write_all(text.as_bytes()).map_err(failed)?;
            Ok(text.into_bytes())
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            std::fs::read(&path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

//! A whole node: adapters, owners, projectors, forwarders and gateway.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use actix_web::http::header::HeaderValue;
use actors::{
    memory::MemorySignals,
    ports::{LogError, Mappings, Signals, Store},
    runtime::{
        guards::Guards,
        node::{Node, Role},
        partition::{OwnerSettings, Ports},
    },
};
use bridges::runtime::{Answer, Bridges, Request};
use gateway::{
    Gateway, SignalsProbe, StartError,
    config::{Files, PlatformFile, WebhookAnswer, Webhooks},
};

use crate::{
    clock::SystemClock,
    config::{ConfigError, NodeRole, Settings},
    identities::Served,
    kafka::{KafkaLog, TopicError},
    postgres::{PostgresError, PostgresStore},
    redis::{CachedStore, RedisError, RedisSignals},
    sqlite::{DataFolder, LogSettings, OpenError, SqliteLog, SqliteStore},
};

/// A drain lasts at most this.
const DRAIN_WITHIN: Duration = Duration::from_secs(25);

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration does not hold.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Kafka cannot be used.
    #[error(transparent)]
    Kafka(#[from] TopicError),
    /// PostgreSQL cannot be used.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// Redis cannot be used.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The log refuses.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The gateway did not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// What must be tidied up at the end.
pub enum Kept {
    /// Log and store within this process.
    Embedded {
        /// The log.
        log: Arc<SqliteLog>,
        /// The store.
        store: Arc<SqliteStore>,
    },
    /// Elsewhere.
    Shared,
}

impl Kept {
    /// Tidies up.
    pub async fn close(self) {
        match self {
            Self::Embedded { log, store } => {
                log.close().await;
                store.close().await;
            }
            Self::Shared => {}
        }
    }
}

/// A running node.
pub struct Server {
    gateway: Gateway,
    node: Arc<Node>,
    kept: Kept,
}

/// Log and store, opened for writing.
pub struct Opened {
    /// What the runtime needs.
    pub ports: Ports,
    /// Values by name.
    pub mappings: Arc<dyn Mappings>,
    /// What must be tidied up at the end.
    pub kept: Kept,
}

/// Opens log and store, for writing by the rules of `guards`.
///
/// # Errors
/// If one of them cannot be used.
pub async fn open(settings: &Settings, guards: &Arc<Guards>) -> Result<Opened, ServeError> {
    let clock = Arc::new(SystemClock);
    if let (Some(kafka), Some(postgres)) = (settings.kafka(), settings.postgres()) {
        let partitions = kafka.partitions;
        let log = KafkaLog::open(kafka).await?;
        let store = PostgresStore::open(&postgres, partitions, guards.clone()).await?;
        let mappings = Arc::new(store);
        let store = cached(settings, mappings.clone())?;
        let ports = Ports { log: Arc::new(log), store, clock };
        return Ok(Opened { ports, mappings, kept: Kept::Shared });
    }
    let folder = Arc::new(DataFolder::open(&settings.data)?);
    let log_settings = LogSettings {
        partitions: settings.log.partitions,
        synchronous: settings.log.synchronous,
        partners: settings.partners().into_iter().map(|partner| partner.partner.name).collect(),
        most_bytes: settings.log.max_bytes,
    };
    let log = Arc::new(SqliteLog::open(folder.clone(), log_settings).await?);
    let store = Arc::new(SqliteStore::open(folder).await?);
    let ports = Ports { log: log.clone(), store: store.clone(), clock };
    Ok(Opened { ports, mappings: store.clone(), kept: Kept::Embedded { log, store } })
}

/// The store with a cache before it, where there is one.
fn cached(settings: &Settings, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, RedisError> {
    let kept = Duration::from_secs(settings.redis.cache_seconds);
    match &settings.redis.url {
        Some(url) if !kept.is_zero() => {
            let prefix = &settings.kafka.prefix;
            Ok(Arc::new(CachedStore::new(store, url, prefix, kept)?))
        }
        Some(_) | None => Ok(store),
    }
}

async fn signals(settings: &Settings) -> Result<(Arc<dyn Signals>, SignalsProbe), ServeError> {
    let Some(url) = &settings.redis.url else {
        // Alone, a node reaches all others there are; without Redis, several do not.
        let is_alone = settings.kafka.brokers.is_none();
        return Ok((Arc::new(MemorySignals::default()), Arc::new(move || is_alone)));
    };
    let signals = RedisSignals::start(url, &settings.kafka.prefix, &settings.node).await?;
    let signals = Arc::new(signals);
    let probed = signals.clone();
    Ok((signals, Arc::new(move || probed.is_connected())))
}

/// The way of the platforms' requests to the bridges.
fn webhooks(bridges: Arc<Bridges>) -> Webhooks {
    Arc::new(move |platform, headers, body| {
        let bridges = bridges.clone();
        Box::pin(async move {
            let Ok(platform) = platform.parse() else { return WebhookAnswer::Unknown };
            let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
            let headers =
                headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            match bridges.receive(&Request { platform, headers, body }).await {
                Answer::Taken(answer) => WebhookAnswer::Taken(answer),
                Answer::Refused(reason) => WebhookAnswer::Refused(reason),
                Answer::Malformed(reason) => WebhookAnswer::Malformed(reason),
                Answer::Unknown => WebhookAnswer::Unknown,
                Answer::Unavailable(reason) => WebhookAnswer::Unavailable(reason),
            }
        })
    })
}

/// The way to the platforms' files.
fn files(bridges: Arc<Bridges>) -> Files {
    Arc::new(move |key| {
        let bridges = bridges.clone();
        Box::pin(async move {
            let opened = bridges.open(&key).await?;
            Ok(opened.map(|bridges::runtime::Opened { media_type, length, bytes }| PlatformFile {
                media_type,
                length,
                bytes,
            }))
        })
    })
}

impl Server {
    /// Opens log and store and starts everything, keeping the rules of `guards`. Must be called within an actix system.
    ///
    /// # Errors
    /// If the configuration does not hold, a service cannot be used, or the address is taken.
    pub async fn start(settings: &Settings, guards: Arc<Guards>) -> Result<Self, ServeError> {
        let mut config = settings.gateway()?;
        let Opened { ports, mappings, kept } = open(settings, &guards).await?;
        config.guards = guards.clone();
        config.mappings = Some(mappings.clone());
        let (signals, probe) = signals(settings).await?;
        let mut workers = Vec::new();
        if !settings.bridges.platforms().is_empty() {
            let platforms = settings.bridges.clone();
            let bridges =
                Bridges::new(ports.clone(), mappings, platforms, guards.clone(), signals.clone());
            if settings.roles.contains(&NodeRole::Bridges) {
                workers.push(bridges.worker());
            }
            config.files = Some(files(bridges.clone()));
            bridges.identities().follow().await;
            config.identities = Some(Arc::new(Served(bridges.identities().clone())));
            config.webhooks = Some(webhooks(bridges));
        }
        let partners = config.partners.iter().map(|partner| partner.partner.clone()).collect();
        let owners = OwnerSettings {
            node: settings.node.clone(),
            passivate_after: Duration::from_secs(settings.actors.passivate_seconds),
            most_entities: settings.actors.most_entities,
            guards,
        };
        let role = |role: &NodeRole| match role {
            NodeRole::Gateway | NodeRole::Bridges => None,
            NodeRole::Actors => Some(Role::Actors),
            NodeRole::Projector => Some(Role::Projector),
        };
        let mut roles: Vec<_> = settings.roles.iter().filter_map(role).collect();
        if matches!(kept, Kept::Shared) {
            roles.push(Role::Publisher(settings.kafka.changes));
        }
        config.serves_clients = settings.roles.contains(&NodeRole::Gateway);
        let threads = settings.actors.threads;
        let node = Node::start(ports.clone(), owners, partners, threads, roles, workers).await?;
        let node = Arc::new(node);
        let gateway = Gateway::start(config, ports, signals, probe, Some(node.clone()))?;
        Ok(Self { gateway, node, kept })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// Whether it would answer `/ready` with 200.
    pub async fn is_ready(&self) -> bool {
        self.gateway.is_ready().await
    }

    /// Hands its partitions over, then drains the sockets; alone, drains first, so that what is
    /// asked meanwhile is still answered.
    pub async fn stop(self) {
        let Self { gateway, node, kept } = self;
        match &kept {
            Kept::Embedded { .. } => {
                gateway.drain(DRAIN_WITHIN).await;
                node.shut_down().await;
            }
            Kept::Shared => {
                gateway.announce_end();
                node.shut_down().await;
                gateway.drain(DRAIN_WITHIN).await;
            }
        }
        kept.close().await;
    }
}

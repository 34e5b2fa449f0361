//! A whole node: adapters, owners, projectors, forwarders and gateway.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use actors::{
    memory::MemorySignals,
    ports::LogError,
    runtime::{
        guards::Guards,
        node::Node,
        partition::{OwnerSettings, Ports},
    },
};
use gateway::{Gateway, StartError};

use crate::{
    clock::SystemClock,
    config::{ConfigError, Settings},
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
    /// The log refuses.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The gateway did not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// A running node.
pub struct Server {
    gateway: Gateway,
    node: Arc<Node>,
    log: Arc<SqliteLog>,
    store: Arc<SqliteStore>,
}

impl Server {
    /// Opens the data folder and starts everything. Must be called within an actix system.
    ///
    /// # Errors
    /// If the configuration does not hold, the folder cannot be used, or the address is taken.
    pub async fn start(settings: &Settings) -> Result<Self, ServeError> {
        let config = settings.gateway()?;
        let folder = Arc::new(DataFolder::open(&settings.data)?);
        let partners: Vec<_> =
            config.partners.iter().map(|partner| partner.partner.clone()).collect();
        let log_settings = LogSettings {
            partitions: settings.log.partitions,
            synchronous: settings.log.synchronous,
            partners: partners.iter().map(|partner| partner.name.clone()).collect(),
            most_bytes: settings.log.max_bytes,
        };
        let log = Arc::new(SqliteLog::open(folder.clone(), log_settings).await?);
        let store = Arc::new(SqliteStore::open(folder).await?);
        let ports = Ports { log: log.clone(), store: store.clone(), clock: Arc::new(SystemClock) };
        let owners = OwnerSettings {
            node: settings.node.clone(),
            passivate_after: Duration::from_secs(settings.actors.passivate_seconds),
            most_entities: settings.actors.most_entities,
            guards: Arc::new(Guards::default()),
        };
        let threads = settings.actors.threads;
        let node = Arc::new(Node::start(ports.clone(), owners, partners, threads).await?);
        let signals = Arc::new(MemorySignals::default());
        let gateway = Gateway::start(config, ports, signals, Some(node.clone()))?;
        Ok(Self { gateway, node, log, store })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// Whether it would answer `/ready` with 200.
    pub async fn is_ready(&self) -> bool {
        self.gateway.is_ready().await
    }

    /// Drains the sockets, then finishes what is in flight.
    pub async fn stop(self) {
        let Self { gateway, node, log, store } = self;
        gateway.drain(DRAIN_WITHIN).await;
        node.shut_down().await;
        log.close().await;
        store.close().await;
    }
}

//! Starting and stopping the HTTP server of a gateway.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{
    App as HttpApp, HttpServer,
    dev::ServerHandle,
    middleware::{Compress, DefaultHeaders},
    web,
};
use actors::{
    ports::Signals,
    runtime::{node::Node, partition::Ports},
};
use tokio::{sync::mpsc, task::JoinHandle, time::interval};

use crate::{
    app::App,
    auth::KeyError,
    config::GatewayConfig,
    http::{self, SessionsOfWorker},
    hub::{Hub, Sessions, ShardMessage, run_shard},
};

/// The head of a request must be there within this.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;
/// How often limits and signatures are tidied.
const TIDY: Duration = Duration::from_secs(60);
/// What the page and its scripts may do.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data: https:; \
     connect-src 'self' ws: wss:; object-src 'none'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'";

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A running gateway.
pub struct Gateway {
    app: App,
    address: SocketAddr,
    handle: ServerHandle,
    server: JoinHandle<io::Result<()>>,
    shards: Vec<mpsc::Sender<ShardMessage>>,
    tidy: JoinHandle<()>,
}

impl Gateway {
    /// Listens. Must be called within an actix system.
    ///
    /// # Errors
    /// If a key cannot be used or the address cannot be listened on.
    pub fn start(
        config: GatewayConfig,
        ports: Ports,
        signals: Arc<dyn Signals>,
        node: Option<Arc<Node>>,
    ) -> Result<Self, StartError> {
        let workers = match config.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let listen = config.listen;
        let idle_after = Duration::from_secs(u64::from(config.limits.idle_seconds));
        let hub = Hub::start(ports, signals, workers, config.limits.commands_in_flight);
        let shards = hub.shards();
        let app = App::new(config, hub, node, workers)?;
        let shared = app.clone();
        let factory = move || {
            let sessions = start_shard(&shared, idle_after);
            HttpApp::new()
                .wrap(
                    DefaultHeaders::new()
                        .add(("content-security-policy", CONTENT_SECURITY_POLICY))
                        .add(("x-content-type-options", "nosniff"))
                        .add(("referrer-policy", "no-referrer")),
                )
                .wrap(Compress::default())
                .app_data(web::Data::new(shared.clone()))
                .app_data(web::Data::new(SessionsOfWorker(sessions)))
                .configure(http::routes)
        };
        let failed = |source| StartError::Listen { address: listen, source };
        let server = HttpServer::new(factory)
            .workers(workers)
            .backlog(BACKLOG)
            .max_connections(20_000)
            .client_request_timeout(HEAD_WITHIN)
            .shutdown_timeout(5)
            .disable_signals()
            .bind(listen)
            .map_err(failed)?;
        let address = server.addrs().first().copied().unwrap_or(listen);
        let server = server.run();
        let handle = server.handle();
        let server = tokio::spawn(server);
        let tidied = app.clone();
        let tidy = tokio::spawn(async move {
            let mut every = interval(TIDY);
            loop {
                every.tick().await;
                tidied.tidy();
            }
        });
        Ok(Self { app, address, handle, server, shards, tidy })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it would answer `/ready` with 200.
    pub async fn is_ready(&self) -> bool {
        self.app.is_ready().await
    }

    /// Not ready at once; tells every socket, closes them within `within`, then stops listening.
    pub async fn drain(self, within: Duration) {
        self.app.start_draining();
        for shard in &self.shards {
            shard.send(ShardMessage::Drain(within)).await.ok();
        }
        let clients = || {
            let count = |shard: &Arc<crate::hub::ShardGauge>| {
                shard.clients.load(std::sync::atomic::Ordering::Relaxed)
            };
            self.app.shards().iter().map(count).sum::<usize>()
        };
        let gone = async {
            while clients() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(within, gone).await.is_err() {
            tracing::warn!(clients = clients(), "clients were still there when the drain ended");
        }
        self.tidy.abort();
        self.handle.stop(true).await;
        match self.server.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the HTTP server failed"),
            Err(error) => tracing::error!(%error, "the HTTP server panicked"),
        }
    }
}

/// Takes a shard for the worker thread that this runs on.
fn start_shard(app: &App, idle_after: Duration) -> Sessions {
    let (shard, queue) = app.hub().take_shard().expect("there is a shard for every worker");
    let gauge = app.shards()[shard].clone();
    let sessions = Sessions::new(app.hub().clone(), shard, idle_after, gauge);
    let signals = app.hub().signals().subscribe();
    actix_web::rt::spawn(run_shard(sessions.clone(), queue, signals));
    sessions
}

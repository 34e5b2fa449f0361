//! Starting and stopping the HTTP server of a gateway.

use std::{
    any::Any,
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use actix_codec::Framed;
use actix_cors::Cors;
use actix_http::{
    HttpService, Request,
    h1::{Codec, ExpectHandler},
};
use actix_server::{GracefulShutdownSignal, Server, ServerHandle};
use actix_service::{Service, ServiceFactory, fn_service, map_config};
use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{
    App as HttpApp,
    body::BoxBody,
    dev::{AppConfig, RequestHead, ServiceResponse},
    http::header::{self, HeaderValue},
    middleware::{Compat, Compress, DefaultHeaders, from_fn},
    rt::net::TcpStream,
    web,
};
use actors::{
    ports::Signals,
    runtime::{node::Node, partition::Ports},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    app::{App, SignalsProbe},
    auth::{self, KeyError},
    config::{GatewayConfig, TlsFiles},
    http::{self, SessionsOfWorker, socket::upgraded},
    hub::{Hub, Sessions, ShardMessage, run_shard},
};

/// The head of a request must be there within this.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Whoever is refused before their body was read has so long to read why; a connection that is cut at once
/// may take the answer with it.
const LINGER: Duration = Duration::from_secs(1);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;
/// Bytes that a peer does not take may wait for so long.
const STUCK_FOR: Duration = Duration::from_secs(60);
/// Bytes that the kernel buffers for a connection (it takes twice as many for its own use too).
const SEND_BUFFER: usize = 256 << 10;
/// How often the process looks at its memory.
const LOOK_AT_MEMORY: Duration = Duration::from_secs(1);
/// A browser need not ask again for so many seconds whether it may come from elsewhere.
const PREFLIGHT_HOLDS: usize = 3_600;
/// Browsers that came by TLS come by TLS for so long (RFC 6797).
const STRICT_TRANSPORT: &str = "max-age=31536000";
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
    /// The files for TLS cannot be used.
    #[error("tls: {} cannot be used: {reason}", path.display())]
    Tls {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
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
        signals_probe: SignalsProbe,
        node: Option<Arc<Node>>,
    ) -> Result<Self, StartError> {
        let workers = match config.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let listen = config.listen;
        let hub =
            Hub::start(ports, signals, workers, config.limits.commands_in_flight, &config.guards);
        let shards = hub.shards();
        let app = App::new(config, hub, node, workers, signals_probe)?;
        let shared = app.clone();
        let tls = app.config().tls.as_ref().map(tls_settings).transpose()?;
        let failed = |source| StartError::Listen { address: listen, source };
        let listener = listener(listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let builder = Server::build()
            .workers(workers)
            .backlog(BACKLOG)
            // `limits.connections` and `limits.memory_bytes` refuse with a reason; this would
            // leave clients waiting.
            .max_concurrent_connections(usize::MAX)
            .shutdown_timeout(5)
            .disable_signals();
        let ends = builder.graceful_shutdown_signal();
        let builder = match tls {
            Some(tls) => builder.listen("https", listener, move || {
                service(&shared, &ends).rustls_0_23(tls.clone())
            }),
            None => builder.listen("http", listener, move || service(&shared, &ends).tcp()),
        };
        let server = builder.map_err(failed)?.run();
        let handle = server.handle();
        let server = tokio::spawn(server);
        let tidied = app.clone();
        let tidy = tokio::spawn(async move {
            let (mut look, mut tidy) = (interval(LOOK_AT_MEMORY), interval(TIDY));
            let mut revoked = interval(auth::LOOK_EVERY);
            revoked.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = look.tick() => tidied.look_at_memory(),
                    _ = tidy.tick() => tidied.tidy(),
                    _ = revoked.tick() => tidied.look_at_revocations().await,
                }
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

    /// Not ready from now on; clients are served until [`Gateway::drain`].
    pub fn announce_end(&self) {
        self.app.start_draining();
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

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG as i32)?;
    Ok(socket.into())
}

/// What a worker does with its connections: requests go by the routes, those that ask for an upgrade are
/// handed over with their connection.
#[expect(clippy::type_complexity, reason = "aliases cannot hold what is not named")]
fn service<T>(
    shared: &App,
    ends: &GracefulShutdownSignal,
) -> HttpService<
    T,
    impl ServiceFactory<
        Request,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = actix_web::Error,
        InitError = (),
        Future: 'static,
        Service: Service<Request, Future: 'static> + 'static,
    > + use<T>,
    BoxBody,
    ExpectHandler,
    impl ServiceFactory<
        (Request, Framed<T, Codec>),
        Config = (),
        Response = (),
        Error = actix_http::Error,
        InitError = (),
        Future: 'static,
    > + use<T>,
>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let sessions = start_shard(shared);
    let config = shared.config();
    let headers = security_headers(config.tls.is_some());
    let headers = headers.into_iter().fold(DefaultHeaders::new(), DefaultHeaders::add);
    let routes = HttpApp::new()
        .wrap(Compress::default())
        .wrap(cross_origin(shared))
        .wrap(from_fn(http::observe))
        .wrap(Compat::new(headers))
        .app_data(web::Data::new(shared.clone()))
        .app_data(web::Data::new(SessionsOfWorker(sessions.clone())))
        .configure(if config.serves_clients { http::routes } else { http::own_routes });
    let app = shared.clone();
    let upgrade = move |(request, framed): (Request, Framed<T, Codec>)| {
        let (app, sessions) = (app.clone(), sessions.clone());
        async move {
            let parts = framed.into_parts();
            upgraded(&app, &sessions, &request, (parts.io, parts.read_buf)).await;
            Ok(())
        }
    };
    let ends = ends.clone();
    let ends = move || {
        let ends = ends.clone();
        async move { ends.notified().await }
    };
    HttpService::build()
        // Connections that are kept alive and idle end with the server, and not five seconds later.
        .graceful_shutdown_signal(ends)
        // An answer must not wait until the client has acknowledged the one before it.
        .tcp_nodelay(true)
        .client_request_timeout(HEAD_WITHIN)
        .client_disconnect_timeout(LINGER)
        .on_connect_ext(|connection: &T, _| bound_connection(connection))
        .upgrade(fn_service(upgrade))
        .finish(map_config(routes, |_| AppConfig::default()))
}

/// A peer that takes no bytes for [`STUCK_FOR`] is cut by the kernel: nothing else could, since
/// who waits for room in its window cannot be told to stop. And the kernel buffers [`SEND_BUFFER`] for it:
/// left to itself it takes megabytes, which are in no budget, before a slow client is found out.
fn bound_connection(connection: &dyn Any) {
    let plain = connection.downcast_ref::<TcpStream>();
    let stream = plain.or_else(|| {
        connection.downcast_ref::<TlsStream<TcpStream>>().map(|stream| stream.get_ref().0)
    });
    let Some(socket) = stream.map(SockRef::from) else { return };
    let bounded = socket
        .set_tcp_user_timeout(Some(STUCK_FOR))
        .and_then(|()| socket.set_send_buffer_size(SEND_BUFFER));
    if let Err(error) = bounded {
        tracing::warn!(%error, "cannot bound what a connection may hold");
    }
}

/// Headers of every response.
pub(crate) fn security_headers(is_tls: bool) -> Vec<(&'static str, &'static str)> {
    let mut headers = vec![
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ];
    if is_tls {
        headers.push(("strict-transport-security", STRICT_TRANSPORT));
    }
    headers
}

/// Lets pages of the allowed origins call the HTTP interface; the same list guards `/ws`.
fn cross_origin(app: &App) -> Cors {
    let app = app.clone();
    let allows = move |origin: &HeaderValue, head: &RequestHead| {
        let host = head.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        origin.to_str().is_ok_and(|origin| app.allows_origin(origin, host))
    };
    Cors::default()
        .allowed_origin_fn(allows)
        .allowed_methods(["GET", "POST", "PUT", "PATCH", "DELETE"])
        .allowed_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            header::HeaderName::from_static("idempotency-key"),
            header::HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([header::ETAG, header::LOCATION, header::RETRY_AFTER])
        .max_age(PREFLIGHT_HOLDS)
}

/// Reads certificate and key.
fn tls_settings(files: &TlsFiles) -> Result<rustls::ServerConfig, StartError> {
    fn failed(path: &Path) -> impl Fn(rustls::pki_types::pem::Error) -> StartError {
        move |error| StartError::Tls { path: path.to_owned(), reason: error.to_string() }
    }
    let bad = failed(&files.certificate);
    let certificates = CertificateDer::pem_file_iter(&files.certificate)
        .map_err(&bad)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(&bad)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(failed(&files.key))?;
    let refused = |error: rustls::Error| StartError::Tls {
        path: files.certificate.clone(),
        reason: error.to_string(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(refused)
}

/// Takes a shard for the worker thread that this runs on.
fn start_shard(app: &App) -> Sessions {
    let (shard, queue) = app.hub().take_shard().expect("there is a shard for every worker");
    let gauge = app.shards()[shard].clone();
    let revocations = app.verifier().revocations().clone();
    let limits = app.config().limits;
    let sessions = Sessions::new(app.hub().clone(), shard, limits, revocations, gauge);
    let signals = app.hub().signals().subscribe();
    actix_web::rt::spawn(run_shard(sessions.clone(), queue, signals));
    sessions
}

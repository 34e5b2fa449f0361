//! What every handler of a gateway shares.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use actors::runtime::node::Node;
use dashmap::DashMap;
use schemas::{Code, TenantId, UserName};

use crate::{
    auth::{Identity, KeyError, Verifier},
    config::GatewayConfig,
    http::produce::Replays,
    hub::{Hub, ShardGauge, ShardMessage},
    limits::Keyed,
    metrics::Metrics,
    problem::Problem,
};

/// The shared state of a gateway. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    config: GatewayConfig,
    verifier: Verifier,
    hub: Hub,
    node: Option<Arc<Node>>,
    commands: Keyed<(TenantId, String)>,
    anonymous: Keyed<IpAddr>,
    sockets: AtomicU32,
    /// Sockets that have not authenticated yet, by address.
    strangers: DashMap<IpAddr, u32>,
    /// Bytes, as of the last look.
    resident: AtomicU64,
    draining: AtomicBool,
    metrics: Metrics,
    replays: Replays,
    shards: Vec<Arc<ShardGauge>>,
    signals_probe: SignalsProbe,
}

/// Tells whether signals reach the other nodes now.
pub type SignalsProbe = Arc<dyn Fn() -> bool + Send + Sync>;

/// One of the sockets that a node may have; given back when dropped.
pub struct SocketPermit(App);

impl Drop for SocketPermit {
    fn drop(&mut self) {
        self.0.0.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One of the sockets that an address may have before they authenticate; given back when dropped.
pub struct StrangerPermit {
    app: App,
    address: IpAddr,
}

impl Drop for StrangerPermit {
    fn drop(&mut self) {
        let strangers = &self.app.0.strangers;
        strangers.entry(self.address).and_modify(|count| *count -= 1);
        strangers.remove_if(&self.address, |_, count| *count == 0);
    }
}

impl App {
    /// Puts the shared state together. `node` is this process's runtime, if it has one.
    ///
    /// # Errors
    /// If a key of the configuration cannot be used.
    pub fn new(
        config: GatewayConfig,
        hub: Hub,
        node: Option<Arc<Node>>,
        shards: usize,
        signals_probe: SignalsProbe,
    ) -> Result<Self, KeyError> {
        let verifier = Verifier::new(&config)?;
        let limits = config.limits;
        let minute = Duration::from_secs(60);
        Ok(Self(Arc::new(Shared {
            commands: Keyed::new(limits.commands_per_minute, minute, "commands"),
            anonymous: Keyed::new(
                limits.anonymous_requests,
                15 * minute,
                "requests without a token",
            ),
            config,
            verifier,
            hub,
            node,
            sockets: AtomicU32::new(0),
            strangers: DashMap::new(),
            resident: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            metrics: Metrics::default(),
            replays: Replays::default(),
            shards: (0..shards).map(|_| Arc::default()).collect(),
            signals_probe,
        })))
    }

    /// What the gateway was told.
    pub fn config(&self) -> &GatewayConfig {
        &self.0.config
    }

    /// Verifies tokens.
    pub fn verifier(&self) -> &Verifier {
        &self.0.verifier
    }

    /// The way to the entities.
    pub fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// This process's owners, if it has any.
    pub fn node(&self) -> Option<&Node> {
        self.0.node.as_deref()
    }

    /// Counters.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Signatures that were seen.
    pub fn replays(&self) -> &Replays {
        &self.0.replays
    }

    /// Every shard's counters.
    pub fn shards(&self) -> &[Arc<ShardGauge>] {
        &self.0.shards
    }

    /// Takes one of the user's commands.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn limit_commands(&self, identity: &Identity) -> Result<(), Problem> {
        let result =
            self.0.commands.take(&(identity.tenant.clone(), identity.principal.to_string()));
        result.inspect_err(|_| self.0.metrics.limited("commands"))
    }

    /// Takes one of the address's requests without a token.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn limit_anonymous(&self, address: IpAddr) -> Result<(), Problem> {
        let result = self.0.anonymous.take(&address);
        result.inspect_err(|_| self.0.metrics.limited("anonymous_requests"))
    }

    /// Takes one of the node's sockets.
    ///
    /// # Errors
    /// `unavailable` when all are taken.
    pub fn take_socket(&self) -> Result<SocketPermit, Problem> {
        let before = self.0.sockets.fetch_add(1, Ordering::Relaxed);
        let permit = SocketPermit(self.clone());
        let limits = &self.0.config.limits;
        let crowded = limits.connections > 0 && before >= limits.connections;
        let resident = self.0.resident.load(Ordering::Relaxed);
        if crowded || (limits.memory_bytes > 0 && resident > limits.memory_bytes) {
            self.0.metrics.limited("connections");
            let problem = Problem::new(Code::Unavailable, "this node has no connection to spare");
            return Err(problem.with_retry_after(5.0));
        }
        Ok(permit)
    }

    /// Takes one of the sockets that an address may have before they authenticate.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn take_stranger(&self, address: IpAddr) -> Result<StrangerPermit, Problem> {
        let most = self.0.config.limits.unauthenticated_sockets;
        let mut count = self.0.strangers.entry(address).or_default();
        if most > 0 && *count >= most {
            drop(count);
            self.0.metrics.limited("unauthenticated_sockets");
            let detail = "too many sockets of this address have not authenticated";
            return Err(Problem::new(Code::RateLimited, detail).with_retry_after(10.0));
        }
        *count += 1;
        Ok(StrangerPermit { app: self.clone(), address })
    }

    /// Takes over what other nodes were told of revoked tokens, and cuts whoever came with one.
    pub async fn look_at_revocations(&self) {
        match self.verifier().revocations().refresh().await {
            Ok(false) => {}
            Ok(true) => self.cut_revoked().await,
            Err(error) => tracing::warn!(%error, "revoked tokens cannot be looked at"),
        }
    }

    /// Cuts whoever came with a revoked token.
    pub async fn cut_revoked(&self) {
        for shard in self.hub().shards() {
            // A shard that is gone has nobody to cut.
            shard.send(ShardMessage::Revoked).await.ok();
        }
    }

    /// Not ready from now on.
    pub fn start_draining(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the node is about to stop.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }

    /// Whether every partition decides and every tail has caught up.
    pub async fn is_ready(&self) -> bool {
        if self.is_draining() {
            return false;
        }
        let owning = match self.node() {
            Some(node) => node.is_ready().await,
            None => true,
        };
        owning
            && self.0.hub.gauges().all(|(_, _, gauge)| {
                !gauge.wanted.load(Ordering::Relaxed) || gauge.position.load(Ordering::Relaxed) >= 0
            })
    }

    /// Whether signals reach the other nodes now.
    pub fn signals_reach_others(&self) -> bool {
        (self.0.signals_probe)()
    }

    /// Looks how much memory the process has, for `limits.memory_bytes`.
    pub fn look_at_memory(&self) {
        self.0.resident.store(crate::metrics::resident_bytes(), Ordering::Relaxed);
    }

    /// Forgets what limits no one any more; called once in a while.
    pub fn tidy(&self) {
        self.0.commands.tidy();
        self.0.anonymous.tidy();
        self.0.replays.tidy(self.0.hub.ports().clock.now());
    }

    /// Whether a browser may come from this origin.
    pub fn allows_origin(&self, origin: &str, host: Option<&str>) -> bool {
        let own = host.is_some_and(|host| {
            origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) == Some(host)
        });
        own || self.0.config.origins.iter().any(|allowed| allowed == "*" || allowed == origin)
    }

    /// A user for whom the page or a script in development wants a token.
    ///
    /// # Errors
    /// `not_found` outside development, `unavailable` if it cannot be signed.
    pub fn development_token(&self, user: &UserName, tenant: &TenantId) -> Result<String, Problem> {
        let gone = || Problem::new(Code::NotFound, "there is no such path");
        let secret = self.0.config.development_secret.as_deref().ok_or_else(gone)?;
        let expires = self.0.hub.ports().clock.now().plus_millis(12 * 60 * 60 * 1_000);
        crate::auth::issue(secret, &self.0.config.audience, user, tenant, Vec::new(), expires)
            .map_err(|error| Problem::new(Code::Unavailable, error.to_string()))
    }
}

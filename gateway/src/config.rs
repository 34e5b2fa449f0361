//! What a gateway can be told.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use actors::{
    ports::Mappings,
    runtime::{forwarder::Partner, guards::Guards},
};
use schemas::role::TenantRole;

pub use crate::http::{
    bridges::{Files, PlatformFile, WebhookAnswer, Webhooks},
    identities::{IdentityJson, IdentityTable},
};

/// How strict the program is about its own configuration, and what it offers to newcomers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Sign-in by name from loopback addresses, open tenants.
    Development,
    /// As production, but a refused start is a warning.
    Staging,
    /// Refuses to start with a development secret or an open origin list.
    Production,
}

/// A partner with the key it signs with.
#[derive(Debug, Clone)]
pub struct PartnerKey {
    /// What it may do.
    pub partner: Partner,
    /// The HMAC key of its HTTP requests.
    pub key: String,
}

/// Where the keys that verify tokens come from.
#[derive(Debug, Clone)]
pub enum TokenKey {
    /// HS256 with a shared secret.
    Secret(Vec<u8>),
    /// RS256, ES256 or EdDSA with a public key in PEM.
    PublicKey(PathBuf),
    /// The same with the keys of a JWK Set at an address.
    Jwks(String),
}

/// What a gateway that speaks TLS shows, in PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate, then those it follows from.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Bounds on what one user, address, connection or node may do; 0 lifts a limit.
#[derive(Debug, Clone, Copy, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// WebSocket connections of this node.
    pub connections: u32,
    /// WebSocket connections of one address that have not authenticated yet.
    pub unauthenticated_sockets: u32,
    /// Resident bytes of this process above which it takes no further connection.
    pub memory_bytes: u64,
    /// Commands of one user in a minute, sustained; the burst is the same number.
    pub commands_per_minute: u32,
    /// Signals of one connection in a second.
    pub signals_per_second: u32,
    /// HTTP requests without a token of one address in 15 minutes.
    pub anonymous_requests: u32,
    /// Joins of one connection in a second.
    pub joins_per_second: u32,
    /// People who are shown at one entity, about: each worker and node counts those that it knows of. Who
    /// comes when so many are there is not shown, until they join again.
    pub people_present: u32,
    /// Commands that may be on their way in this node; more are refused as `unavailable`.
    pub commands_in_flight: u32,
    /// Bytes that may wait for one slow reader before it is closed with 4508.
    pub buffer_bytes: u32,
    /// Bytes of the largest WebSocket message and HTTP body that is taken.
    pub message_bytes: u32,
    /// Seconds without any frame from a client after which it is closed with 4408.
    pub idle_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 5_000,
            unauthenticated_sockets: 1_000,
            memory_bytes: 0,
            commands_per_minute: 50,
            signals_per_second: 20,
            anonymous_requests: 100,
            joins_per_second: 32,
            people_present: 1_000,
            commands_in_flight: 8_192,
            buffer_bytes: 1 << 20,
            message_bytes: 1 << 20,
            idle_seconds: 60,
        }
    }
}

/// Everything a gateway can be told.
#[derive(Clone)]
pub struct GatewayConfig {
    /// Who takes the requests of chat platforms, if anybody does.
    pub webhooks: Option<Webhooks>,
    /// Hands out the files of chat platforms.
    pub files: Option<Files>,
    /// Who people of chat platforms are here, if any platform is configured.
    pub identities: Option<Arc<dyn IdentityTable>>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// HTTPS and WSS instead of HTTP and WS.
    pub tls: Option<TlsFiles>,
    /// This process, in greetings and health.
    pub node: String,
    /// The profile.
    pub profile: Profile,
    /// The keys that verify tokens; any may fit.
    pub token_keys: Vec<TokenKey>,
    /// The secret with which `/dev/token` signs; development only.
    pub development_secret: Option<Vec<u8>>,
    /// What `aud` must be, if a token has one.
    pub audience: String,
    /// Origins that browsers may come from beside the page's own; `*` for any.
    pub origins: Vec<String>,
    /// Registered partners.
    pub partners: Vec<PartnerKey>,
    /// Where revoked tokens are kept; without it none can be revoked.
    pub mappings: Option<Arc<dyn Mappings>>,
    /// Bounds.
    pub limits: Limits,
    /// What a new entity's `tenantRole` is if its creator does not say; rooms take `member` where
    /// this is `editor`.
    pub tenant_role: TenantRole,
    /// Worker threads; 0 for one a core.
    pub workers: usize,
    /// Whether clients are served; otherwise there are health, metrics and status only.
    pub serves_clients: bool,
    /// The rules that are kept.
    pub guards: Arc<Guards>,
    /// Whether `/ws/echo` is there, for conformance runners.
    pub ws_echo: bool,
    /// How long a command may take before the answer is `timeout`.
    pub command_timeout: Duration,
}

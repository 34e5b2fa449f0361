//! Servers that stand for the four platforms, for tests and demonstrations: they take the calls that
//! the bridges make, as the platforms' documents say, remember what is in each channel, and send what
//! people there do to a node, signed.
//!
//! They are faithful in ids, credentials, answers, errors and rate limits, as far as the bridges use
//! them.

mod demo;
mod echo;
mod files;
mod gateway;
mod happenings;
mod people;
mod polling;
mod server;
mod socket_mode;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use self::{gateway::Gateway, polling::Polling, socket_mode::SocketMode};
use actix_web::dev::ServerHandle;
use bytes::Bytes;
pub use demo::Room;
pub use happenings::ADMIN;
pub use people::{NotTaken, People};
use rsa::{
    RsaPrivateKey, pkcs1::EncodeRsaPrivateKey as _, pkcs8::LineEnding, traits::PublicKeyParts as _,
};
use schemas::room::Platform;
use serde_json::{Value, json};
pub use socket_mode::SocketCounts;

/// What the simulated apps are known by.
pub(crate) const SLACK_SECRET: &str = "slack-signing-secret";
pub(crate) const SLACK_TOKEN: &str = "xoxb-simulated";
pub(crate) const SLACK_APP_TOKEN: &str = "xapp-simulated";
pub(crate) const DISCORD_TOKEN: &str = "discord-simulated";
pub(crate) const TELEGRAM_TOKEN: &str = "1:telegram-simulated";
pub(crate) const TELEGRAM_SECRET: &str = "telegram-secret";
pub(crate) const TEAMS_APP: &str = "teams-app";
pub(crate) const TEAMS_PASSWORD: &str = "teams-password";
pub(crate) const TEAMS_BEARER: &str = "teams-bearer";
pub(crate) const TEAMS_KID: &str = "simulated-key";
/// The names of bots.
pub(crate) const SLACK_BOT: &str = "B0SIMULATED";
pub(crate) const SLACK_BOT_USER: &str = "U0SIMULATED";
pub(crate) const DISCORD_BOT: &str = "900000000000000001";

/// A channel of each platform, for demonstrations and tests.
pub fn channel(platform: Platform) -> &'static str {
    match platform {
        Platform::Slack => "C0GENERAL",
        Platform::Teams => "19:general@thread.tacv2",
        Platform::Discord => "200000000000000001",
        Platform::Telegram => "-1001",
    }
}

/// The workspace that the channel is in.
pub fn workspace(platform: Platform) -> &'static str {
    match platform {
        Platform::Slack | Platform::Teams => "T",
        Platform::Discord => "1",
        Platform::Telegram => "",
    }
}

/// A message in a simulated channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// The platform's id of it.
    pub id: String,
    /// When it came.
    pub at: Instant,
    /// The call's body that made it or edited it last.
    pub body: Value,
    /// How often it was edited.
    pub edits: u32,
    /// Whether it was taken back.
    pub deleted: bool,
    /// The bot's reactions, as the platform names them.
    pub reactions: Vec<String>,
    /// What came with it.
    pub files: Vec<KeptFile>,
}

/// A file that a platform holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFile {
    /// The platform's id of it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// How a platform fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Faults {
    /// Not at all.
    #[default]
    None,
    /// Every other call is answered 429 or 503, in turn, and not done.
    Half,
    /// The bot's credentials are refused.
    Credentials,
    /// Whatever it is asked, it will not.
    Refusing,
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) channels: BTreeMap<(Platform, String), Vec<Kept>>,
    pub(crate) next: u64,
    /// The node that is told what its own bot did.
    pub(crate) told: Option<String>,
    pub(crate) faults: BTreeMap<Platform, Faults>,
    pub(crate) calls: BTreeMap<Platform, u64>,
    /// Messages by the nonce they were sent with, at Discord.
    pub(crate) nonces: BTreeMap<String, String>,
    /// How often the bot said that somebody types in a channel.
    pub(crate) typing: BTreeMap<(Platform, String), u32>,
    /// Files that people or the bot have brought.
    pub(crate) files: BTreeMap<(Platform, String), KeptFile>,
}

impl World {
    /// Keeps a new message; gives its id.
    pub(crate) fn keep(&mut self, platform: Platform, channel: &str, body: Value) -> String {
        let id = self.new_id(platform);
        let kept = Kept {
            id: id.clone(),
            at: Instant::now(),
            body,
            edits: 0,
            deleted: false,
            reactions: Vec::new(),
            files: Vec::new(),
        };
        self.channels.entry((platform, channel.to_owned())).or_default().push(kept);
        id
    }

    /// The bot edits a message: what the call leaves out stays as it was.
    fn edit(kept: &mut Kept, body: Value) {
        kept.edits += 1;
        match (&mut kept.body, body) {
            (Value::Object(old), Value::Object(new)) => old.extend(new),
            (old, new) => *old = new,
        }
    }

    pub(crate) fn new_id(&mut self, platform: Platform) -> String {
        self.next += 1;
        match platform {
            Platform::Slack => {
                format!("17000{:05}.{:06}", self.next / 1_000_000, self.next % 1_000_000)
            }
            Platform::Teams => format!("17000{:08}", self.next),
            Platform::Discord => format!("11{:017}", self.next),
            Platform::Telegram => self.next.to_string(),
        }
    }

    pub(crate) fn find(
        &mut self,
        platform: Platform,
        channel: &str,
        id: &str,
    ) -> Option<&mut Kept> {
        let kept = self.channels.get_mut(&(platform, channel.to_owned()))?;
        kept.iter_mut().find(|kept| kept.id == id && !kept.deleted)
    }
}

pub(crate) struct Shared {
    world: Mutex<World>,
    address: OnceLock<SocketAddr>,
    gateway: OnceLock<Arc<Gateway>>,
    socket_mode: OnceLock<Arc<SocketMode>>,
    polling: Polling,
    room: OnceLock<Room>,
    pub(crate) teams_key: RsaPrivateKey,
}

impl Shared {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> Option<String> {
        self.world().told.clone()
    }

    fn room(&self) -> Option<Room> {
        self.room.get().cloned()
    }

    fn address(&self) -> Option<SocketAddr> {
        self.address.get().copied()
    }

    fn gateway(&self) -> Option<&Gateway> {
        self.gateway.get().map(|gateway| &**gateway)
    }

    fn socket_mode(&self) -> Option<&SocketMode> {
        self.socket_mode.get().map(|socket_mode| &**socket_mode)
    }

    pub(crate) fn teams_pem(&self) -> String {
        let pem = self.teams_key.to_pkcs1_pem(LineEnding::LF);
        pem.map(|pem| pem.to_string()).unwrap_or_default()
    }

    /// The keys as the Bot Connector lists them.
    pub(crate) fn teams_keys(&self) -> Value {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let encode = |number: &rsa::BigUint| URL_SAFE_NO_PAD.encode(number.to_bytes_be());
        json!({"keys": [{
            "kty": "RSA", "use": "sig", "kid": TEAMS_KID, "endorsements": ["msteams"],
            "n": encode(self.teams_key.n()), "e": encode(self.teams_key.e()),
        }]})
    }
}

/// One key a process: to find the primes takes seconds.
fn teams_key() -> io::Result<RsaPrivateKey> {
    static KEY: OnceLock<RsaPrivateKey> = OnceLock::new();
    if let Some(key) = KEY.get() {
        return Ok(key.clone());
    }
    let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2_048).map_err(io::Error::other)?;
    Ok(KEY.get_or_init(|| key).clone())
}

/// The four servers, on a loopback port of their own. They end when this is dropped.
pub struct Simulators {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Simulators {
    /// Starts them.
    ///
    /// # Errors
    /// If no port can be had or no key be made.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let teams_key = teams_key()?;
        let shared = Arc::new(Shared {
            world: Mutex::default(),
            address: OnceLock::new(),
            gateway: OnceLock::new(),
            socket_mode: OnceLock::new(),
            polling: Polling::default(),
            room: OnceLock::new(),
            teams_key,
        });
        shared.address.set(address).ok();
        let (started, starting) = mpsc::channel();
        let served = shared.clone();
        let thread = std::thread::Builder::new().name("simulators".into()).spawn(move || {
            let result = actix_web::rt::System::new().block_on(async {
                served.gateway.set(Gateway::start().await?).ok();
                served.socket_mode.set(SocketMode::start().await?).ok();
                let server = server::run(listener, address, served)?;
                started.send(server.handle()).ok();
                server.await
            });
            if let Err(error) = result {
                tracing::error!(%error, "the simulators ended");
            }
        })?;
        let ended = |_| io::Error::other("the simulators did not start");
        let server = starting.recv_timeout(Duration::from_secs(10)).map_err(ended)?;
        Ok(Self { address, shared, server, thread: Some(thread) })
    }

    /// Where they are; the page with the five windows is there too.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a node must be told to talk to them: names of settings below `bridges`, and values.
    pub fn settings(&self) -> Vec<(&'static str, &'static str, String)> {
        let at = |path: &str| format!("http://{}{path}", self.address);
        let is_socket = self.shared.socket_mode().is_some_and(SocketMode::is_used);
        let slack = match is_socket {
            true => ("slack", "app_token", SLACK_APP_TOKEN.to_owned()),
            false => ("slack", "signing_secret", SLACK_SECRET.to_owned()),
        };
        let telegram = ("telegram", "webhook_secret", TELEGRAM_SECRET.to_owned());
        let telegram = (!self.shared.polling.is_used()).then_some(telegram);
        let mut settings = vec![
            slack,
            ("slack", "bot_token", SLACK_TOKEN.to_owned()),
            ("slack", "api", at("/slack/api/")),
            ("discord", "public_key", people::discord_public_key()),
            ("discord", "bot_token", DISCORD_TOKEN.to_owned()),
            ("discord", "api", at("/discord")),
            ("telegram", "bot_token", TELEGRAM_TOKEN.to_owned()),
            ("telegram", "api", at("/telegram")),
            ("teams", "app_id", TEAMS_APP.to_owned()),
            ("teams", "app_password", TEAMS_PASSWORD.to_owned()),
            ("teams", "token_url", at("/teams/token")),
            ("teams", "openid_metadata", at("/teams/openid")),
        ];
        settings.extend(telegram);
        settings
    }

    /// The room that the page with the five windows shows.
    pub fn show(&self, room: Room) {
        self.shared.room.set(room).ok();
    }

    /// Tells the node at `node` what its own bot does, as Slack and Discord do.
    pub fn echo_to(&self, node: &str) {
        self.shared.world().told = Some(node.to_owned());
    }

    /// What the bot has put into a channel, the oldest first.
    pub fn kept(&self, platform: Platform, channel: &str) -> Vec<Kept> {
        let world = self.shared.world();
        world.channels.get(&(platform, channel.to_owned())).cloned().unwrap_or_default()
    }

    /// How often the bot said that somebody types in a channel.
    pub fn typing(&self, platform: Platform, channel: &str) -> u32 {
        let world = self.shared.world();
        world.typing.get(&(platform, channel.to_owned())).copied().unwrap_or(0)
    }

    /// How many calls a platform was asked, those that failed included.
    pub fn calls(&self, platform: Platform) -> u64 {
        self.shared.world().calls.get(&platform).copied().unwrap_or(0)
    }

    /// Has a platform fail from now on.
    pub fn fail(&self, platform: Platform, faults: Faults) {
        self.shared.world().faults.insert(platform, faults);
    }

    /// The people of the platforms, who write to the node at `node`, such as `127.0.0.1:8080`.
    pub fn people(&self, node: &str) -> People {
        People::new(self.shared.clone(), self.address, node)
    }
}

impl Drop for Simulators {
    fn drop(&mut self) {
        drop(self.server.stop(false));
        if let Some(thread) = self.thread.take() {
            // Its end is not worth waiting for.
            drop(thread);
        }
    }
}

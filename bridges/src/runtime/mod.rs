//! The bridges at work: what platforms send goes from `bridge.inbound` to the rooms that are linked,
//! and what happens in rooms goes to the channels.
//!
//! A node with the role `bridges` claims partitions of both topics. For a partition of
//! `room.outcomes` a watcher keeps the links of its rooms and runs a task for each, so that no link
//! waits for another; for a partition of `bridge.inbound` a task reads payloads. How far each of them
//! is and which message is which are kept in [`Mappings`], so they outlive a restart.

mod arrival;
mod asked;
mod client;
mod discord_gateway;
mod files;
mod happenings;
mod identities;
mod inbound;
mod keys;
mod outbound;
mod parked;
mod pauses;
mod slack_socket;
mod telegram_polling;
mod teller;
mod transfer;
mod typing;
mod unsent;
mod watcher;
mod webhooks;

use std::{collections::BTreeMap, sync::Arc};

use actors::{
    ports::{Group, LogError, Mappings, NewRecord, Signals, StoreError, Topic, TopicPartition},
    runtime::{guards::Guards, node::Worker, partition::Ports, partitioner::partition_of},
    trace,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use schemas::{
    Body, Command, CommandId, EntityKey, Offset, Principal, TenantId, UserName, codec,
    room::{Platform, RoomCommand},
};
use serde::Deserialize;
use tokio::{sync::Semaphore, task::JoinHandle};

use self::{client::Client, identities::PlatformNames, pauses::Trouble, webhooks::TeamsKeys};
pub use self::{
    files::{FileSettings, Opened},
    identities::{Identities, Identity, IdentityError, Source},
    webhooks::{Answer, Request},
};

/// So many channels are told at a time what came of their commands; more are not told.
const TELLERS: usize = 16;

/// What is known of the platforms' apps; a platform without its part is not talked to.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Plain names here of those who may link channels of any platform, by their identities.
    pub admins: Vec<UserName>,
    /// The platforms on which those who administer a channel may link it, too. Only Slack unless said
    /// otherwise: a bot of the others may be added to anybody's own group.
    pub channel_admins: Vec<Platform>,
    /// Whether rooms are told who joins and leaves channels.
    pub membership: bool,
    /// Slack.
    pub slack: Option<SlackSettings>,
    /// Microsoft Teams.
    pub teams: Option<TeamsSettings>,
    /// Discord.
    pub discord: Option<DiscordSettings>,
    /// Telegram.
    pub telegram: Option<TelegramSettings>,
    /// What files may pass.
    pub files: FileSettings,
    /// The address at which platforms reach the gateways, such as `https://chat.example`. Teams
    /// fetches files from there; without it files are only named there.
    pub public_url: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            admins: Vec::new(),
            channel_admins: vec![Platform::Slack],
            membership: true,
            slack: None,
            teams: None,
            discord: None,
            telegram: None,
            files: FileSettings::default(),
            public_url: None,
        }
    }
}

/// A Slack app.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlackSettings {
    /// The tenants whose rooms may be linked to its channels.
    #[serde(default = "main_tenant")]
    pub tenants: Vec<TenantId>,
    /// "Signing Secret" of its basic information, by which its requests are known. Not needed with
    /// `app_token`.
    pub signing_secret: Option<String>,
    /// An app-level token with the scope `connections:write`, begins with `xapp-`. With it events come
    /// over Socket Mode.
    pub app_token: Option<String>,
    /// "Bot User OAuth Token", begins with `xoxb-`.
    pub bot_token: String,
    /// The address of the Web API.
    #[serde(default = "slack_api")]
    pub api: String,
    /// Users there and their plain names here.
    #[serde(default)]
    pub users: BTreeMap<String, String>,
}

impl SlackSettings {
    /// The token to connect with, if events come over Socket Mode.
    fn app_token(&self) -> Option<&str> {
        self.app_token.as_deref().filter(|token| !token.is_empty())
    }

    /// The secret of signed requests, if they are taken.
    fn signing_secret(&self) -> Option<&str> {
        self.signing_secret.as_deref().filter(|secret| !secret.is_empty())
    }
}

fn main_tenant() -> Vec<TenantId> {
    "main".parse().into_iter().collect()
}

fn slack_api() -> String {
    "https://slack.com/api/".to_owned()
}

/// A bot of Microsoft Teams.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeamsSettings {
    /// The tenants whose rooms may be linked to its channels.
    #[serde(default = "main_tenant")]
    pub tenants: Vec<TenantId>,
    /// "Microsoft App ID".
    pub app_id: String,
    /// Its client secret.
    pub app_password: String,
    /// Where tokens to send with are had.
    #[serde(default = "teams_token")]
    pub token_url: String,
    /// Where the keys of those who send to the bot are listed.
    #[serde(default = "teams_metadata")]
    pub openid_metadata: String,
    /// Who must have issued the tokens of those who send.
    #[serde(default = "teams_issuer")]
    pub issuer: String,
    /// Security tokens of outgoing webhooks, in base64.
    #[serde(default)]
    pub webhook_tokens: Vec<String>,
    /// Users there and their plain names here.
    #[serde(default)]
    pub users: BTreeMap<String, String>,
}

fn teams_token() -> String {
    "https://login.microsoftonline.com/botframework.com/oauth2/v2.0/token".to_owned()
}

fn teams_metadata() -> String {
    "https://login.botframework.com/v1/.well-known/openidconfiguration".to_owned()
}

fn teams_issuer() -> String {
    "https://api.botframework.com".to_owned()
}

/// A Discord application with a bot.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscordSettings {
    /// The tenants whose rooms may be linked to its channels.
    #[serde(default = "main_tenant")]
    pub tenants: Vec<TenantId>,
    /// "Public Key" of its general information, in hex.
    pub public_key: String,
    /// The bot's token.
    pub bot_token: String,
    /// The address of the HTTP API.
    #[serde(default = "discord_api")]
    pub api: String,
    /// Users there and their plain names here.
    #[serde(default)]
    pub users: BTreeMap<String, String>,
}

fn discord_api() -> String {
    "https://discord.com/api/v10".to_owned()
}

/// A Telegram bot.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelegramSettings {
    /// The tenants whose rooms may be linked to its channels.
    #[serde(default = "main_tenant")]
    pub tenants: Vec<TenantId>,
    /// The bot's token, as BotFather says it.
    pub bot_token: String,
    /// What `setWebhook` was told as `secret_token`. Without it the bot asks for its updates by
    /// `getUpdates`, and takes the webhook away that it may have.
    pub webhook_secret: Option<String>,
    /// The address of the Bot API.
    #[serde(default = "telegram_api")]
    pub api: String,
    /// Users there and their plain names here.
    #[serde(default)]
    pub users: BTreeMap<String, String>,
}

impl TelegramSettings {
    /// Whether updates are asked for, and do not come by themselves.
    fn is_polled(&self) -> bool {
        self.webhook_secret.as_deref().is_none_or(str::is_empty)
    }
}

fn telegram_api() -> String {
    "https://api.telegram.org".to_owned()
}

/// Secrets are not for logs.
macro_rules! debug_without_secrets {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

debug_without_secrets!(SlackSettings, TeamsSettings, DiscordSettings, TelegramSettings);

impl Settings {
    /// The platforms that are talked to.
    pub fn platforms(&self) -> Vec<Platform> {
        let known = [
            (Platform::Slack, self.slack.is_some()),
            (Platform::Teams, self.teams.is_some()),
            (Platform::Discord, self.discord.is_some()),
            (Platform::Telegram, self.telegram.is_some()),
        ];
        known.into_iter().filter(|(_, is_known)| *is_known).map(|(platform, _)| platform).collect()
    }

    /// The first setting that cannot hold, by its name below `bridges`, and why.
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        let slack = self.slack.as_ref()?;
        match (slack.app_token(), slack.signing_secret()) {
            (None, None) => {
                Some(("slack.signing_secret", "needed where there is no app_token for Socket Mode"))
            }
            (Some(token), _) if !token.starts_with("xapp-") => {
                Some(("slack.app_token", "an app-level token begins with xapp-"))
            }
            (Some(_), _) | (None, Some(_)) => None,
        }
    }

    fn tenants(&self, platform: Platform) -> &[TenantId] {
        let tenants = match platform {
            Platform::Slack => self.slack.as_ref().map(|settings| &settings.tenants),
            Platform::Teams => self.teams.as_ref().map(|settings| &settings.tenants),
            Platform::Discord => self.discord.as_ref().map(|settings| &settings.tenants),
            Platform::Telegram => self.telegram.as_ref().map(|settings| &settings.tenants),
        };
        tenants.map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether rooms of a tenant may be linked to channels that the platform's bot is in.
    fn may_use(&self, platform: Platform, tenant: &TenantId) -> bool {
        self.tenants(platform).contains(tenant)
    }

    fn users(&self, platform: Platform) -> Option<&BTreeMap<String, String>> {
        match platform {
            Platform::Slack => self.slack.as_ref().map(|settings| &settings.users),
            Platform::Teams => self.teams.as_ref().map(|settings| &settings.users),
            Platform::Discord => self.discord.as_ref().map(|settings| &settings.users),
            Platform::Telegram => self.telegram.as_ref().map(|settings| &settings.users),
        }
    }
}

/// Why a task begins anew.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a value of the mappings cannot be read: {0}")]
    Value(#[from] serde_json::Error),
    #[error("another node has gone on from here")]
    Overtaken,
    #[error("{0} does not say who the bot is")]
    Unknown(Platform),
}

/// A task that ends with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Everything that the tasks share.
pub struct Bridges {
    ports: Ports,
    mappings: Arc<dyn Mappings>,
    settings: Settings,
    client: Client,
    identities: Arc<Identities>,
    /// Who may tell channels something at a time, beside the links.
    tellers: Arc<Semaphore>,
    guards: Arc<Guards>,
    signals: Arc<dyn Signals>,
    teams_keys: TeamsKeys,
}

impl Bridges {
    /// Puts it together.
    pub fn new(
        ports: Ports,
        mappings: Arc<dyn Mappings>,
        settings: Settings,
        guards: Arc<Guards>,
        signals: Arc<dyn Signals>,
    ) -> Arc<Self> {
        let client = Client::new(settings.clone());
        let identities = Arc::new(Identities::new(mappings.clone(), settings.clone()));
        let tellers = Arc::new(Semaphore::new(TELLERS));
        let teams_keys = TeamsKeys::default();
        Arc::new(Self {
            ports,
            mappings,
            settings,
            client,
            identities,
            tellers,
            guards,
            signals,
            teams_keys,
        })
    }

    /// Who users of platforms are here; whoever starts a node has them follow the store.
    pub fn identities(&self) -> &Arc<Identities> {
        &self.identities
    }

    /// The work for the partitions that a node claims.
    pub fn worker(self: &Arc<Self>) -> Worker {
        let bridges = self.clone();
        let make = move |place: &TopicPartition| -> BoxFuture<'static, ()> {
            let (bridges, partition) = (bridges.clone(), place.partition);
            match &place.topic {
                Topic::Inbound => Box::pin(inbound::run(bridges, partition)),
                Topic::Outcomes(_) => Box::pin(watcher::run(bridges, partition)),
                Topic::Commands(_) | Topic::Partner(_) | Topic::Changes | Topic::Dlq => {
                    Box::pin(std::future::ready(()))
                }
            }
        };
        Worker { group: Group::Bridges, make: Arc::new(make) }
    }

    /// Sends a room a command in the name of a platform's bridge.
    fn ask(
        &self,
        platform: Platform,
        room: &EntityKey,
        id: CommandId,
        body: RoomCommand,
    ) -> BoxFuture<'static, Result<Offset, LogError>> {
        let unwritable = |reason: String| -> BoxFuture<'static, Result<Offset, LogError>> {
            Box::pin(std::future::ready(Err(LogError::Unavailable(reason.into()))))
        };
        let name = match platform.as_str().parse() {
            Ok(name) => name,
            Err(error) => return unwritable(format!("{platform} is no principal: {error}")),
        };
        let command = Command {
            key: room.clone(),
            id,
            tenant: room.tenant.clone(),
            principal: Principal::Bridge(name),
            roles: Vec::new(),
            at: self.ports.clock.now(),
            expect: None,
            body: Body::Room(body),
        };
        let value = match codec::encode_command(&command) {
            Ok(value) => value,
            Err(error) => return unwritable(error.to_string()),
        };
        let topic = Topic::Commands(schemas::Kind::Room);
        let key = room.to_string();
        let partition = partition_of(key.as_bytes(), self.ports.log.partitions(&topic));
        let record = NewRecord { key: key.into(), value: value.into(), ..NewRecord::default() };
        trace::append(&*self.ports.log, &TopicPartition::new(topic, partition), record)
    }

    fn names(&self, platform: Platform) -> PlatformNames {
        self.identities.names(platform)
    }
}

fn json(value: &impl serde::Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// Asks every platform that is configured whether it takes the bot's credentials; gives a line for
/// each and whether all do.
pub async fn check(settings: &Settings) -> (Vec<String>, bool) {
    let client = Client::new(settings.clone());
    let (mut lines, mut all_hold) = (Vec::new(), true);
    for platform in Platform::ALL {
        if !settings.platforms().contains(&platform) {
            lines.push(format!("{platform:<10} not configured (bridges.{platform})"));
            continue;
        }
        match client.check(platform).await {
            Ok(said) => match socket_mode(settings, platform).await {
                Ok(()) => lines.push(format!("{platform:<10} {said}")),
                Err(trouble) => {
                    all_hold = false;
                    lines.push(format!("{platform:<10} {trouble}"));
                }
            },
            Err(error) => {
                all_hold = false;
                lines.push(format!("{platform:<10} {error}"));
            }
        }
    }
    (lines, all_hold)
}

/// Whether a connection can be had where events of Slack come over Socket Mode.
async fn socket_mode(settings: &Settings, platform: Platform) -> Result<(), Trouble> {
    let slack = settings.slack.as_ref().filter(|_| platform == Platform::Slack);
    match slack.and_then(|slack| Some((slack, slack.app_token()?))) {
        Some((slack, token)) => slack_socket::open(slack, token).await.map(drop),
        None => Ok(()),
    }
}

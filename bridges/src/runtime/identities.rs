//! Who users of platforms are here: what the configuration says, and over it what was set since.
//!
//! What was set is kept in [`Mappings`], so it outlives a restart and holds on every node; each node
//! reads it again every two seconds, and at once after an edit of its own. A user of a platform has
//! one name here, and a name stands for one user of each platform.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use actors::ports::{Expected, Mappings, StoreError};
use bytes::Bytes;
use schemas::{Code, FieldError, Rejection, TenantId, UserName, room::Platform};
use serde::Serialize;
use tokio::time::sleep;

use super::{Settings, json, keys};
use crate::Names;

/// How often is read what other nodes have set.
const AGAIN: Duration = Duration::from_secs(2);
/// An edit is tried so often where others come before it.
const TRIES: usize = 8;
/// Characters of a platform's id of a user.
const USER_MOST: usize = 200;

/// Where an identity comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// `bridges.<platform>.users`.
    Configuration,
    /// It was set since.
    Set,
}

/// A user of a platform and who that is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The platform.
    pub platform: Platform,
    /// The platform's id of the user.
    pub user: String,
    /// The plain name here.
    pub name: String,
    /// Where this comes from.
    pub source: Source,
}

/// Why an identity is not set or removed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It may not be.
    #[error("{}", .0.reason)]
    Refused(Rejection),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Rejection> for IdentityError {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection)
    }
}

/// The users of one platform.
#[derive(Debug, Default, PartialEq)]
struct People {
    /// Names here, by the platform's ids.
    here: BTreeMap<String, (String, Source)>,
    /// The platform's ids, by names here.
    there: BTreeMap<String, String>,
}

type Table = BTreeMap<Platform, People>;

/// The identity table of all platforms. Cheap to ask.
pub struct Identities {
    mappings: Arc<dyn Mappings>,
    settings: Settings,
    table: RwLock<Arc<Table>>,
}

impl Identities {
    /// The table as the configuration has it; [`Identities::refresh`] adds what was set since.
    pub fn new(mappings: Arc<dyn Mappings>, settings: Settings) -> Self {
        let table = RwLock::new(Arc::new(table(&settings, &[])));
        Self { mappings, settings, table }
    }

    /// Reads what was set.
    ///
    /// # Errors
    /// If the store cannot be read; the table is as before then.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let read = Arc::new(self.read().await?);
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    /// Reads what was set, now and every two seconds for as long as the table is used.
    pub async fn follow(self: &Arc<Self>) {
        self.refresh_or_warn().await;
        let table = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                sleep(AGAIN).await;
                let Some(table) = Weak::upgrade(&table) else { return };
                table.refresh_or_warn().await;
            }
        });
    }

    async fn refresh_or_warn(&self) {
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "identities stay as they were");
        }
    }

    /// Whether a tenant's rooms may be linked to a platform, so that the users there are its affair.
    pub fn concern(&self, platform: Platform, tenant: &TenantId) -> bool {
        self.settings.may_use(platform, tenant)
    }

    /// Whether a tenant is the one that commands in the platform's channels act in.
    pub fn is_affair_of(&self, platform: Platform, tenant: &TenantId) -> bool {
        self.settings.tenants(platform).first() == Some(tenant)
    }

    /// Every identity, by platform and user, as the store has them now.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn list(&self) -> Result<Vec<Identity>, StoreError> {
        let table = self.read().await?;
        let of = |(platform, people): (Platform, People)| {
            people.here.into_iter().map(move |(user, (name, source))| Identity {
                platform,
                user,
                name,
                source,
            })
        };
        Ok(table.into_iter().flat_map(of).collect())
    }

    /// Says who a user of a platform is from now on.
    ///
    /// # Errors
    /// `invalid` if the platform is not configured, or user or name cannot be one; `conflict` if
    /// another user of the platform has the name; or if the store cannot be used.
    pub async fn set(
        &self,
        platform: Platform,
        user: &str,
        name: &str,
    ) -> Result<Identity, IdentityError> {
        self.check_configured(platform)?;
        check_user(user)?;
        let name: UserName =
            name.parse().map_err(|error| Rejection::field("name", format!("{error}")))?;
        let key = keys::identity(platform, user);
        self.edit(|table| {
            let people = table.get(&platform).map(|people| &people.here);
            let has_it = |(other, (known, _)): &(&String, &(String, Source))| {
                known == name.as_str() && *other != user
            };
            if let Some((other, _)) = people.into_iter().flatten().find(has_it) {
                let message = format!("{name} is {other} of {platform} already; remove that first");
                return Err(Rejection {
                    code: Code::Conflict,
                    reason: format!("name: {message}"),
                    errors: vec![FieldError { field: "name".to_owned(), message }],
                });
            }
            Ok((key.clone(), Some(json(&Some(name.as_str())))))
        })
        .await?;
        let (user, name) = (user.to_owned(), name.to_string());
        Ok(Identity { platform, user, name, source: Source::Set })
    }

    /// A user of a platform is nobody here from now on, whatever the configuration says.
    ///
    /// # Errors
    /// `not_found` if they are nobody already; or if the store cannot be used.
    pub async fn remove(&self, platform: Platform, user: &str) -> Result<(), IdentityError> {
        self.check_configured(platform)?;
        check_user(user)?;
        let key = keys::identity(platform, user);
        let users = self.settings.users(platform);
        let is_configured = users.is_some_and(|users| users.contains_key(user));
        self.edit(|table| {
            let people = table.get(&platform);
            if !people.is_some_and(|people| people.here.contains_key(user)) {
                let reason = format!("{user} of {platform} is nobody here");
                return Err(Rejection::new(Code::NotFound, reason));
            }
            Ok((key.clone(), is_configured.then(|| json(&None::<&str>))))
        })
        .await
    }

    fn check_configured(&self, platform: Platform) -> Result<(), Rejection> {
        if self.settings.platforms().contains(&platform) {
            return Ok(());
        }
        Err(Rejection::field("platform", format!("bridges.{platform} is not configured")))
    }

    /// Makes a change that follows from the table, unless another edit came between.
    async fn edit(
        &self,
        change: impl Fn(&Table) -> Result<(String, Option<Bytes>), Rejection>,
    ) -> Result<(), IdentityError> {
        for _ in 0..TRIES {
            let edits = self.mappings.get(keys::IDENTITY_EDITS).await?;
            let wanted = change(&self.read().await?)?;
            let count = edits.as_deref().and_then(|value| serde_json::from_slice(value).ok());
            let count: i64 = count.unwrap_or(0);
            let counted = (keys::IDENTITY_EDITS.to_owned(), Some(json(&(count + 1))));
            let expected = Expected { key: keys::IDENTITY_EDITS.to_owned(), value: edits };
            if self.mappings.write(vec![wanted, counted], Some(expected)).await? {
                // It is written; the nodes' next look is soon if this one fails.
                self.refresh_or_warn().await;
                return Ok(());
            }
        }
        let reason = "others set identities at the same time; try again";
        Err(Rejection::new(Code::Conflict, reason).into())
    }

    async fn read(&self) -> Result<Table, StoreError> {
        let rows = self.mappings.list(keys::IDENTITIES).await?;
        Ok(table(&self.settings, &rows))
    }

    pub(super) fn names(&self, platform: Platform) -> PlatformNames {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner).clone();
        PlatformNames { table, platform }
    }
}

/// No platform's ids hold white space or control characters; bars part the names of what is kept.
fn check_user(user: &str) -> Result<(), Rejection> {
    let is_barred = |c: char| c == '|' || c.is_whitespace() || c.is_control();
    if user.is_empty() || user.chars().count() > USER_MOST || user.contains(is_barred) {
        let message = format!("must have 1 to {USER_MOST} characters, no white space and no bars");
        return Err(Rejection::field("user", message));
    }
    Ok(())
}

/// What was set goes over what is configured; `null` takes away.
fn table(settings: &Settings, rows: &[(String, Bytes)]) -> Table {
    let mut table = Table::new();
    for platform in Platform::ALL {
        let people = table.entry(platform).or_default();
        for (user, name) in settings.users(platform).into_iter().flatten() {
            people.here.insert(user.clone(), (name.clone(), Source::Configuration));
        }
    }
    for (key, value) in rows {
        let Some((platform, user)) = keys::identity_of(key) else { continue };
        let people = table.entry(platform).or_default();
        match serde_json::from_slice::<Option<String>>(value) {
            Ok(Some(name)) => drop(people.here.insert(user.to_owned(), (name, Source::Set))),
            Ok(None) => drop(people.here.remove(user)),
            Err(error) => tracing::warn!(key, %error, "an identity cannot be read"),
        }
    }
    for people in table.values_mut() {
        // Where the configuration gives a name twice, or one that was set, what was set comes first.
        let mut users: Vec<_> = people.here.iter().collect();
        users.sort_by_key(|(_, (_, source))| *source == Source::Configuration);
        for (user, (name, _)) in users {
            people.there.entry(name.clone()).or_insert_with(|| user.clone());
        }
    }
    table
}

/// The identities of one platform at one moment.
pub(super) struct PlatformNames {
    table: Arc<Table>,
    platform: Platform,
}

impl Names for PlatformNames {
    fn here(&self, platform_user: &str) -> Option<String> {
        let (name, _) = self.table.get(&self.platform)?.here.get(platform_user)?;
        Some(name.clone())
    }

    fn there(&self, user: &str) -> Option<String> {
        self.table.get(&self.platform)?.there.get(user).cloned()
    }
}

#[cfg(test)]
mod tests {
    use actors::memory::MemoryMappings;

    use super::*;

    fn identities() -> Identities {
        let slack = serde_json::json!({"signing_secret": "s", "bot_token": "t",
            "users": {"U1": "ada", "U2": "bob"}});
        let settings = serde_json::from_value(serde_json::json!({"slack": slack})).unwrap();
        Identities::new(Arc::new(MemoryMappings::default()), settings)
    }

    fn code(error: IdentityError) -> (Code, Option<String>) {
        match error {
            IdentityError::Refused(rejection) => {
                (rejection.code, rejection.errors.first().map(|error| error.field.clone()))
            }
            IdentityError::Store(error) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn what_is_set_goes_over_the_configuration() {
        let identities = identities();
        let names = || identities.names(Platform::Slack);
        assert_eq!(names().there("ada").as_deref(), Some("U1"));
        identities.set(Platform::Slack, "U1", "eve").await.unwrap();
        assert_eq!(names().here("U1").as_deref(), Some("eve"));
        assert_eq!(names().there("ada"), None);
        identities.set(Platform::Slack, "U9", "ada").await.unwrap();
        assert_eq!(names().there("ada").as_deref(), Some("U9"));
        // Somebody of the configuration stays away once removed.
        identities.remove(Platform::Slack, "U2").await.unwrap();
        identities.remove(Platform::Slack, "U9").await.unwrap();
        assert_eq!((names().here("U2"), names().here("U9")), (None, None));
        let again = Identities::new(identities.mappings.clone(), identities.settings.clone());
        again.refresh().await.unwrap();
        let listed = again.list().await.unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!((&*listed[0].user, &*listed[0].name), ("U1", "eve"));
        assert_eq!(listed[0].source, Source::Set);
    }

    #[tokio::test]
    async fn a_name_is_one_user_of_a_platform() {
        let identities = identities();
        let taken = identities.set(Platform::Slack, "U7", "ada").await.unwrap_err();
        assert_eq!(code(taken), (Code::Conflict, Some("name".to_owned())));
        identities.set(Platform::Slack, "U1", "ada").await.unwrap();
        for (user, name, field) in [("U|7", "eve", "user"), ("", "eve", "user"), ("U7", "", "name")]
        {
            let refused = identities.set(Platform::Slack, user, name).await.unwrap_err();
            assert_eq!(code(refused), (Code::Invalid, Some(field.to_owned())), "{user:?}");
        }
        let refused = identities.set(Platform::Teams, "29:1", "eve").await.unwrap_err();
        assert_eq!(code(refused), (Code::Invalid, Some("platform".to_owned())));
        let nobody = identities.remove(Platform::Slack, "U7").await.unwrap_err();
        assert_eq!(code(nobody), (Code::NotFound, None));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_edits_at_the_same_time_one_gets_a_name() {
        let identities = Arc::new(identities());
        let edits = (0..20).map(|number| {
            let identities = identities.clone();
            let user = format!("U10{number}");
            tokio::spawn(async move { identities.set(Platform::Slack, &user, "eve").await.is_ok() })
        });
        let done = futures_util::future::join_all(edits).await;
        assert_eq!(done.into_iter().filter(|done| *done.as_ref().unwrap()).count(), 1);
    }
}

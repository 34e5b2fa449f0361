//! The identity table of the bridges, for the gateway and for the command line.

use std::sync::Arc;

use actors::ports::{Mappings, StoreError};
use bridges::runtime::{Identities, Identity, IdentityError, Source};
use clap::{Args, Subcommand};
use futures_util::future::BoxFuture;
use gateway::{
    Problem,
    config::{IdentityJson, IdentityTable},
};
use schemas::{Code, Rejection, TenantId, room::Platform};

use crate::{
    cli::{Place, settings},
    config::{Overrides, Settings},
    serve::{self, Kept, Opened, ServeError},
    sqlite::{DataFolder, OpenError, SqliteStore},
};

/// The table as a gateway has it.
pub(crate) struct Served(pub(crate) Arc<Identities>);

fn json_of(identity: Identity) -> IdentityJson {
    let Identity { platform, user, name, source } = identity;
    IdentityJson { platform, user, name, source: word_for(source).to_owned() }
}

fn word_for(source: Source) -> &'static str {
    match source {
        Source::Configuration => "configuration",
        Source::Set => "set",
    }
}

fn unavailable(error: &StoreError) -> Problem {
    Problem::new(Code::Unavailable, error.to_string())
}

fn problem_of(error: IdentityError) -> Problem {
    match error {
        IdentityError::Refused(rejection) => rejection.into(),
        IdentityError::Store(error) => unavailable(&error),
    }
}

impl Served {
    /// Who users of a platform are may be said by the tenant that `/link` acts in there; by another
    /// that may link rooms too, somebody could be made an admin of the first.
    fn for_tenant(
        &self,
        platform: Platform,
        tenant: &TenantId,
    ) -> Result<Arc<Identities>, Rejection> {
        if self.0.is_affair_of(platform, tenant) {
            return Ok(self.0.clone());
        }
        let reason = format!("bridges.{platform}.tenants does not name this tenant first");
        Err(Rejection::new(Code::Forbidden, reason))
    }
}

impl IdentityTable for Served {
    fn list(&self, tenant: TenantId) -> BoxFuture<'static, Result<Vec<IdentityJson>, Problem>> {
        let identities = self.0.clone();
        Box::pin(async move {
            let mut listed = identities.list().await.map_err(|error| unavailable(&error))?;
            listed.retain(|identity| identities.concern(identity.platform, &tenant));
            Ok(listed.into_iter().map(json_of).collect())
        })
    }

    fn set(
        &self,
        tenant: TenantId,
        (platform, user): (Platform, String),
        name: String,
    ) -> BoxFuture<'static, Result<IdentityJson, Problem>> {
        let identities = self.for_tenant(platform, &tenant);
        Box::pin(async move {
            identities?.set(platform, &user, &name).await.map(json_of).map_err(problem_of)
        })
    }

    fn remove(
        &self,
        tenant: TenantId,
        (platform, user): (Platform, String),
    ) -> BoxFuture<'static, Result<(), Problem>> {
        let identities = self.for_tenant(platform, &tenant);
        Box::pin(async move { identities?.remove(platform, &user).await.map_err(problem_of) })
    }
}

/// `switchyard bridges identities`.
#[derive(Debug, Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// One line for each: platform, user, name here, and whether it is configured or was set.
    List(Place),
    /// Say who a user of a platform is here, whatever the configuration says. The embedded store
    /// must not be served meanwhile: beside a running node use its page or PUT.
    Set {
        /// slack, teams, discord or telegram.
        platform: Platform,
        /// The platform's id of the user.
        user: String,
        /// The plain name here.
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Make a user of a platform nobody here, whatever the configuration says. As for set.
    Remove {
        /// slack, teams, discord or telegram.
        platform: Platform,
        /// The platform's id of the user.
        user: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Does it; gives the lines to print.
pub(crate) async fn run(command: Command) -> anyhow::Result<Vec<String>> {
    match command.action {
        Action::List(place) => {
            let settings = settings(&place, Overrides::default())?;
            let (identities, kept) = open_or_look_at(&settings).await?;
            let listed = identities.list().await;
            kept.close().await;
            Ok(listed?.into_iter().map(line).collect())
        }
        Action::Set { platform, user, name, place } => {
            let settings = settings(&place, Overrides::default())?;
            let (identities, kept) = open(&settings).await.map_err(in_words)?;
            let set = identities.set(platform, &user, &name).await;
            kept.close().await;
            Ok(vec![line(set?)])
        }
        Action::Remove { platform, user, place } => {
            let settings = settings(&place, Overrides::default())?;
            let (identities, kept) = open(&settings).await.map_err(in_words)?;
            let removed = identities.remove(platform, &user).await;
            kept.close().await;
            removed?;
            Ok(Vec::new())
        }
    }
}

fn line(identity: Identity) -> String {
    let Identity { platform, user, name, source } = identity;
    format!("{platform:<10} {user} {name} ({})", word_for(source))
}

async fn open(settings: &Settings) -> Result<(Identities, Kept), ServeError> {
    let Opened { mappings, kept, .. } = serve::open(settings, &Arc::default()).await?;
    Ok((Identities::new(mappings, settings.bridges.clone()), kept))
}

/// As [`open`], beside a node that runs if there is one.
async fn open_or_look_at(settings: &Settings) -> anyhow::Result<(Identities, Kept)> {
    match open(settings).await {
        Err(ServeError::Open(OpenError::InUse(_))) => {
            let folder = Arc::new(DataFolder::look_at(&settings.data)?);
            let store: Arc<dyn Mappings> = Arc::new(SqliteStore::look_at(folder).await?);
            Ok((Identities::new(store, settings.bridges.clone()), Kept::Shared))
        }
        opened => Ok(opened?),
    }
}

fn in_words(error: ServeError) -> anyhow::Error {
    let is_served = matches!(error, ServeError::Open(OpenError::InUse(_)));
    let error = anyhow::Error::new(error);
    if !is_served {
        return error;
    }
    error.context(
        "a node serves this folder, and it alone writes there: use its page (Identities) or \
         PUT and DELETE /api/v1/bridges/identities/{platform}/{user}",
    )
}

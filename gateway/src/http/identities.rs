//! `/api/v1/bridges/identities`: who people of chat platforms are here, for admins.

use std::sync::Arc;

use actix_web::{HttpResponse, http::StatusCode, web};
use futures_util::future::BoxFuture;
use schemas::{Code, Rejection, TenantId, room::Platform};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Caller, json_body, json_response};
use crate::{app::App, auth::Identity, problem::Problem};

/// A user of a platform and who that is here, as clients see it.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityJson {
    /// The platform.
    pub platform: Platform,
    /// The platform's id of the user.
    pub user: String,
    /// The plain name here.
    pub name: String,
    /// `configuration`, or `set` if it was set since.
    pub source: String,
}

/// Whoever keeps the identity table. All of it is about the platforms whose channels the tenant's
/// rooms may be linked to; an edit elsewhere is `forbidden`.
pub trait IdentityTable: Send + Sync + 'static {
    /// Every identity, by platform and user.
    fn list(&self, tenant: TenantId) -> BoxFuture<'static, Result<Vec<IdentityJson>, Problem>>;

    /// Says who a user is; `conflict` if another of the platform has the name.
    fn set(
        &self,
        tenant: TenantId,
        of: (Platform, String),
        name: String,
    ) -> BoxFuture<'static, Result<IdentityJson, Problem>>;

    /// A user is nobody from now on; `not_found` if they are already.
    fn remove(
        &self,
        tenant: TenantId,
        of: (Platform, String),
    ) -> BoxFuture<'static, Result<(), Problem>>;
}

/// The body of `PUT`.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NameJson {
    /// The plain name here.
    name: String,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/bridges/identities", web::get().to(list))
        .route("/bridges/identities/{platform}/{user}", web::put().to(set))
        .route("/bridges/identities/{platform}/{user}", web::delete().to(remove));
}

/// The table, for an admin.
fn table_for(app: &App, identity: &Identity) -> Result<Arc<dyn IdentityTable>, Problem> {
    identity.administers()?;
    let missing = || Problem::new(Code::NotFound, "no chat platform is configured");
    app.config().identities.clone().ok_or_else(missing)
}

fn user_of(path: web::Path<(String, String)>) -> Result<(Platform, String), Problem> {
    let (platform, user) = path.into_inner();
    let platform = platform.parse().map_err(|error: String| Rejection::field("platform", error))?;
    Ok((platform, user))
}

async fn list(app: web::Data<App>, Caller(identity): Caller) -> Result<HttpResponse, Problem> {
    let identities = table_for(&app, &identity)?.list(identity.tenant).await?;
    Ok(json_response(StatusCode::OK, None, json!({"identities": identities}).to_string()))
}

async fn set(
    app: web::Data<App>,
    Caller(identity): Caller,
    path: web::Path<(String, String)>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let table = table_for(&app, &identity)?;
    let of = user_of(path)?;
    let fields = Value::Object(json_body(&app, payload).await?);
    let NameJson { name } = serde_path_to_error::deserialize(fields).map_err(|error| {
        let path = error.path().to_string();
        schemas::json::rejection(&path, &error.into_inner())
    })?;
    app.limit_commands(&identity)?;
    let set = table.set(identity.tenant, of, name).await?;
    Ok(json_response(StatusCode::OK, None, json!(set).to_string()))
}

async fn remove(
    app: web::Data<App>,
    Caller(identity): Caller,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let table = table_for(&app, &identity)?;
    let of = user_of(path)?;
    app.limit_commands(&identity)?;
    table.remove(identity.tenant, of).await?;
    Ok(HttpResponse::NoContent().finish())
}

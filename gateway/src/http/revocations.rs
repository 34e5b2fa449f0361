//! `/api/v1/revocations`: tokens that are no longer taken, for admins of a tenant.

use actix_web::{HttpResponse, http::StatusCode, web};
use schemas::{Code, Rejection, Timestamp, UserName};
use serde::Serialize;
use serde_json::json;

use super::{Caller, json_response};
use crate::{app::App, auth::Identity, problem::Problem};

/// Every token that a user was given up to a moment is not taken.
#[derive(Debug, Serialize)]
pub(super) struct RevocationJson {
    /// The user's plain name.
    user: String,
    /// The last moment, RFC 3339.
    until: String,
}

impl RevocationJson {
    fn new(user: &UserName, until: Timestamp) -> Self {
        Self { user: user.to_string(), until: until.to_string() }
    }
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/revocations", web::get().to(list))
        .route("/revocations/{user}", web::put().to(set))
        .route("/revocations/{user}", web::delete().to(remove));
}

async fn list(app: web::Data<App>, Caller(identity): Caller) -> Result<HttpResponse, Problem> {
    identity.administers()?;
    let listed = app.verifier().revocations().list(&identity.tenant);
    let listed: Vec<_> =
        listed.iter().map(|(user, until)| RevocationJson::new(user, *until)).collect();
    Ok(json_response(StatusCode::OK, None, json!({"revocations": listed}).to_string()))
}

async fn set(
    app: web::Data<App>,
    Caller(identity): Caller,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let now = app.hub().ports().clock.now();
    let user = change(&app, &identity, &path, Some(now)).await?;
    let revoked = json!(RevocationJson::new(&user, now));
    Ok(json_response(StatusCode::OK, None, revoked.to_string()))
}

async fn remove(
    app: web::Data<App>,
    Caller(identity): Caller,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    change(&app, &identity, &path, None).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn change(
    app: &App,
    identity: &Identity,
    user: &str,
    until: Option<Timestamp>,
) -> Result<UserName, Problem> {
    identity.administers()?;
    let user: UserName =
        user.parse().map_err(|error| Rejection::field("user", format!("{error}")))?;
    app.limit_commands(identity)?;
    let kept = app.verifier().revocations().set(&identity.tenant, &user, until).await;
    kept.map_err(|error| Problem::new(Code::Unavailable, error.to_string()))?;
    app.cut_revoked().await;
    Ok(user)
}

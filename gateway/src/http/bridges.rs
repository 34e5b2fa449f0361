//! `POST /bridges/{platform}/…`: requests of chat platforms, handed to whoever knows them.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::HeaderMap},
    web,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use schemas::Code;

use super::{body, json_response};
use crate::{app::App, problem::Problem};

/// What a platform's request is answered.
#[derive(Debug, Clone)]
pub enum WebhookAnswer {
    /// 200 with this JSON.
    Taken(serde_json::Value),
    /// 401.
    Refused(String),
    /// 400.
    Malformed(String),
    /// 404: the platform is not known or not configured.
    Unknown,
    /// 503.
    Unavailable(String),
}

/// Whoever takes the requests of chat platforms: the platform's name, headers, the raw body.
pub type Webhooks =
    Arc<dyn Fn(String, HeaderMap, Bytes) -> BoxFuture<'static, WebhookAnswer> + Send + Sync>;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/bridges/{platform}", web::post().to(receive))
        .route("/bridges/{platform}/{rest:.*}", web::post().to(receive));
}

async fn receive(
    app: web::Data<App>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let unknown = || Problem::new(Code::NotFound, "there is no bridge to this platform");
    let webhooks = app.config().webhooks.clone().ok_or_else(unknown)?;
    let platform = request.match_info().get("platform").unwrap_or_default().to_owned();
    let raw = body(&app, payload).await?;
    let headers = request.headers().clone();
    match webhooks(platform, headers, raw).await {
        WebhookAnswer::Taken(answer) => Ok(json_response(StatusCode::OK, None, answer.to_string())),
        WebhookAnswer::Refused(reason) => Err(Problem::new(Code::Unauthenticated, reason)),
        WebhookAnswer::Malformed(reason) => {
            Err(Problem::new(Code::Invalid, reason).with_status(StatusCode::BAD_REQUEST))
        }
        WebhookAnswer::Unknown => Err(unknown()),
        WebhookAnswer::Unavailable(reason) => Err(Problem::new(Code::Unavailable, reason)),
    }
}

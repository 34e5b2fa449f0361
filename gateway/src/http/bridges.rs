//! `POST /bridges/{platform}/…`: requests of chat platforms, handed to whoever knows them; and `GET
//! /bridges/files/{key}/{name}`: files of theirs. Who has such an address may have the file.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, ContentDisposition, DispositionParam,
            DispositionType, HeaderMap,
        },
    },
    web,
};
use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
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

/// A file of a platform on its way.
pub struct PlatformFile {
    /// Its media type, as the platform says it.
    pub media_type: String,
    /// Its bytes, where that is known before they come.
    pub length: Option<u64>,
    /// The bytes.
    pub bytes: BoxStream<'static, Result<Bytes, std::io::Error>>,
}

/// Whoever hands out the files of platforms: by key, `None` for none, an error for a platform that
/// does not give it now.
pub type Files =
    Arc<dyn Fn(String) -> BoxFuture<'static, Result<Option<PlatformFile>, String>> + Send + Sync>;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/bridges/files/{key}/{name}", web::get().to(file))
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

/// Media types that a browser shows without running anything in them.
fn is_shown(media_type: &str) -> bool {
    let kind = media_type.split('/').next().unwrap_or_default();
    ["image", "audio", "video"].contains(&kind) && !media_type.starts_with("image/svg")
}

async fn file(
    app: web::Data<App>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    if let Some(peer) = request.peer_addr() {
        app.limit_anonymous(peer.ip())?;
    }
    let (key, name) = path.into_inner();
    let unknown = || Problem::new(Code::NotFound, "there is no such file");
    let files = app.config().files.clone().ok_or_else(unknown)?;
    let failed = |reason| Problem::new(Code::Unavailable, reason);
    let found = files(key).await.map_err(failed)?.ok_or_else(unknown)?;
    let disposition = if is_shown(&found.media_type) {
        DispositionType::Inline
    } else {
        DispositionType::Attachment
    };
    let name = DispositionParam::Filename(name.replace(|c: char| c.is_control() || c == '"', "_"));
    let mut response = HttpResponse::Ok();
    response
        .content_type(found.media_type)
        .insert_header(ContentDisposition { disposition, parameters: vec![name] })
        // Nothing in it runs, whatever it is.
        .insert_header((CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"))
        .insert_header((CACHE_CONTROL, "private, max-age=86400, immutable"));
    if let Some(length) = found.length {
        response.no_chunking(length);
    }
    Ok(response.streaming(found.bytes))
}

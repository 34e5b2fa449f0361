//! The web page: files of `gateway/web`, embedded.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web,
};
use rust_embed::RustEmbed;
use schemas::Code;

use crate::problem::Problem;

#[derive(RustEmbed)]
#[folder = "web/"]
#[exclude = "*.md"]
#[exclude = "jsconfig.json"]
struct Files;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.default_service(web::to(file));
}

async fn file(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path = request.path().trim_start_matches('/');
    let path = if path.is_empty() { "index.html" } else { path };
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let missing = || {
        let detail = format!("there is no {} {}", request.method(), request.path());
        Problem::new(Code::NotFound, detail)
    };
    let file = Files::get(path).filter(|_| is_read).ok_or_else(missing)?;
    let etag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..8]));
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known == Some(etag.as_str()) {
        return Ok(HttpResponse::NotModified().insert_header((header::ETAG, etag)).finish());
    }
    Ok(HttpResponse::Ok()
        .content_type(media_type(path))
        .insert_header((header::ETAG, etag))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(file.data.into_owned()))
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "webmanifest" | "json" => "application/json",
        _other => "application/octet-stream",
    }
}

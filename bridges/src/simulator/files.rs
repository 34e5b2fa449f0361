//! Files at the simulated platforms: handed out to whom they are for, and taken as each of them does.

use actix_multipart::Multipart;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use schemas::room::Platform;
use serde_json::{Map, Value, json};

use super::{
    Kept, KeptFile, SLACK_TOKEN, Shared, TEAMS_BEARER, TELEGRAM_TOKEN, World,
    server::{Data, bearer, fault, text},
};

/// The most bytes that are taken.
const MOST: usize = 64 << 20;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/slack/api/files.info", web::get().to(slack_info))
        .route("/slack/api/files.getUploadURLExternal", web::post().to(slack_address))
        .route("/slack/files/{id}", web::get().to(slack_file))
        .route("/slack/upload/{id}", web::post().to(slack_upload))
        .route("/telegram/file/bot{token}/files/{id}", web::get().to(telegram_file))
        .route("/discord/cdn/{id}/{name}", web::get().to(discord_file))
        .route("/discord/attachments/refresh-urls", web::post().to(discord_refresh))
        .route("/teams/v3/attachments/{id}/views/original", web::get().to(teams_file));
}

impl World {
    /// Keeps a file; gives its id.
    pub(super) fn bring(&mut self, platform: Platform, file: KeptFile) -> String {
        let id = file.id.clone();
        self.files.insert((platform, id.clone()), file);
        id
    }

    /// Files belong to a message from now on.
    pub(super) fn attach(
        &mut self,
        platform: Platform,
        channel: &str,
        id: &str,
        files: Vec<KeptFile>,
    ) {
        if let Some(kept) = self.find(platform, channel, id) {
            kept.files = files;
        }
    }

    fn file(&self, platform: Platform, id: &str) -> Option<KeptFile> {
        self.files.get(&(platform, id.to_owned())).cloned()
    }
}

fn handed_out(file: Option<KeptFile>) -> HttpResponse {
    match file {
        Some(file) => HttpResponse::Ok().content_type(file.media_type).body(file.bytes),
        None => HttpResponse::NotFound().finish(),
    }
}

fn refused(error: &str) -> HttpResponse {
    HttpResponse::Ok().json(json!({"ok": false, "error": error}))
}

type Query = web::Query<std::collections::BTreeMap<String, String>>;

async fn slack_info(shared: Data, query: Query, request: HttpRequest) -> HttpResponse {
    if bearer(&request, "Bearer") != Some(SLACK_TOKEN) {
        return refused("invalid_auth");
    }
    let id = query.get("file").map(String::as_str).unwrap_or_default();
    let address = shared.address().map(|address| address.to_string()).unwrap_or_default();
    match shared.world().file(Platform::Slack, id) {
        Some(file) => HttpResponse::Ok().json(json!({"ok": true, "file": {"id": id,
            "name": file.name, "mimetype": file.media_type, "size": file.bytes.len(),
            "url_private": format!("http://{address}/slack/files/{id}")}})),
        None => refused("file_not_found"),
    }
}

/// Without the bot's token Slack shows its page for signing in, with 200.
async fn slack_file(shared: Data, id: web::Path<String>, request: HttpRequest) -> HttpResponse {
    if bearer(&request, "Bearer") != Some(SLACK_TOKEN) {
        return HttpResponse::Ok().content_type("text/html").body("<html>sign in</html>");
    }
    handed_out(shared.world().file(Platform::Slack, &id))
}

async fn slack_address(
    shared: Data,
    form: web::Form<std::collections::BTreeMap<String, String>>,
    request: HttpRequest,
) -> HttpResponse {
    if let Some(fault) = fault(&shared, Platform::Slack) {
        return fault;
    }
    if bearer(&request, "Bearer") != Some(SLACK_TOKEN) {
        return refused("invalid_auth");
    }
    let name = form.get("filename").cloned().unwrap_or_default();
    if name.is_empty() || form.get("length").is_none_or(|length| length.parse::<u64>().is_err()) {
        return refused("invalid_arguments");
    }
    let address = shared.address().map(|address| address.to_string()).unwrap_or_default();
    let mut world = shared.world();
    world.next += 1;
    let id = format!("F{:09}", world.next);
    let media_type = "application/octet-stream".to_owned();
    world
        .bring(Platform::Slack, KeptFile { id: id.clone(), name, media_type, bytes: Bytes::new() });
    HttpResponse::Ok().json(json!({"ok": true, "file_id": id,
        "upload_url": format!("http://{address}/slack/upload/{id}")}))
}

async fn slack_upload(shared: Data, id: web::Path<String>, mut body: web::Payload) -> HttpResponse {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) if bytes.len() + chunk.len() <= MOST => bytes.extend_from_slice(&chunk),
            Ok(_) => return HttpResponse::PayloadTooLarge().finish(),
            Err(error) => return HttpResponse::BadRequest().body(error.to_string()),
        }
    }
    match shared.world().files.get_mut(&(Platform::Slack, id.clone())) {
        Some(file) => file.bytes = bytes.freeze(),
        None => return HttpResponse::NotFound().finish(),
    }
    HttpResponse::Ok().body("OK")
}

/// Shares what was uploaded, as a message of its own in the channel; gives its id.
pub(super) fn complete(world: &mut World, body: &Value) -> Option<String> {
    let channel = text(body, "channel_id").to_owned();
    let ids = body["files"].as_array().into_iter().flatten().map(|file| text(file, "id"));
    let files: Option<Vec<_>> = ids.map(|id| world.file(Platform::Slack, id)).collect();
    let files = files.filter(|files| !files.is_empty())?;
    let said = json!({"files": body["files"], "thread_ts": body["thread_ts"]});
    let id = world.keep(Platform::Slack, &channel, said);
    world.attach(Platform::Slack, &channel, &id, files);
    Some(id)
}

pub(super) fn delete(world: &mut World, id: &str) -> HttpResponse {
    if world.files.remove(&(Platform::Slack, id.to_owned())).is_none() {
        return refused("file_not_found");
    }
    let holds = |kept: &&mut Kept| kept.files.iter().any(|file| file.id == id);
    for kept in world.channels.values_mut().flatten().filter(holds) {
        kept.deleted = true;
    }
    HttpResponse::Ok().json(json!({"ok": true}))
}

async fn telegram_file(shared: Data, path: web::Path<(String, String)>) -> HttpResponse {
    if path.0 != TELEGRAM_TOKEN {
        return HttpResponse::NotFound().finish();
    }
    handed_out(shared.world().file(Platform::Telegram, &path.1))
}

async fn discord_file(shared: Data, path: web::Path<(String, String)>) -> HttpResponse {
    handed_out(shared.world().file(Platform::Discord, &path.0))
}

async fn discord_refresh(body: web::Json<Value>) -> HttpResponse {
    let urls = body["attachment_urls"].as_array().into_iter().flatten();
    let urls: Vec<_> = urls.map(|url| json!({"original": url, "refreshed": url})).collect();
    HttpResponse::Ok().json(json!({"refreshed_urls": urls}))
}

async fn teams_file(shared: Data, id: web::Path<String>, request: HttpRequest) -> HttpResponse {
    if bearer(&request, "Bearer") != Some(TEAMS_BEARER) {
        return HttpResponse::Unauthorized().finish();
    }
    handed_out(shared.world().file(Platform::Teams, &id))
}

/// The body of a call, which is JSON, or a form with files in it.
pub(super) async fn json_or_form(
    platform: Platform,
    shared: &Shared,
    request: &HttpRequest,
    mut payload: web::Payload,
) -> Result<(Value, Vec<KeptFile>), String> {
    if request.content_type() != "multipart/form-data" {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            body.extend_from_slice(&chunk.map_err(|error| error.to_string())?);
            if body.len() > MOST {
                return Err("the body is too large".to_owned());
            }
        }
        return Ok((serde_json::from_slice(&body).unwrap_or(Value::Null), Vec::new()));
    }
    let mut form = Multipart::new(request.headers(), payload);
    let (mut fields, mut files) = (Map::new(), Vec::new());
    while let Some(field) = form.next().await {
        let mut field = field.map_err(|error| error.to_string())?;
        let disposition = field.content_disposition();
        let name = disposition.and_then(|found| found.get_name()).unwrap_or_default().to_owned();
        let file_name = disposition.and_then(|found| found.get_filename()).map(str::to_owned);
        let media_type = field.content_type().map(ToString::to_string);
        let mut bytes = BytesMut::new();
        while let Some(chunk) = field.next().await {
            bytes.extend_from_slice(&chunk.map_err(|error| error.to_string())?);
            if bytes.len() > MOST {
                return Err(format!("{name} is too large"));
            }
        }
        let Some(file_name) = file_name else {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            fields.insert(name, text.into());
            continue;
        };
        let mut world = shared.world();
        world.next += 1;
        let file = KeptFile {
            id: format!("file{}", world.next),
            name: file_name,
            media_type: media_type.unwrap_or_default(),
            bytes: bytes.freeze(),
        };
        world.bring(platform, file.clone());
        files.push(file);
    }
    let body = match fields.get("payload_json").and_then(Value::as_str) {
        Some(text) => serde_json::from_str(text).map_err(|error| error.to_string())?,
        None => Value::Object(fields),
    };
    Ok((body, files))
}

/// The part of a payload that says that somebody's message has a file with it.
pub(super) fn with_file(
    platform: Platform,
    address: &str,
    mut payload: Value,
    file: &KeptFile,
) -> Value {
    let KeptFile { id, name, media_type, bytes } = file;
    let size = bytes.len();
    match platform {
        Platform::Slack => {
            payload["event"]["subtype"] = "file_share".into();
            payload["event"]["files"] = json!([{"id": id, "name": name, "mimetype": media_type,
                "size": size, "url_private": format!("http://{address}/slack/files/{id}")}]);
        }
        Platform::Teams => {
            let url = format!("http://{address}/teams/v3/attachments/{id}/views/original");
            payload["attachments"] =
                json!([{"contentType": media_type, "contentUrl": url, "name": name}]);
        }
        Platform::Discord => {
            let url = format!("http://{address}/discord/cdn/{id}/{name}");
            payload["d"]["attachments"] = json!([{"id": id, "filename": name, "size": size,
                "content_type": media_type, "url": url}]);
        }
        Platform::Telegram => {
            let message = &mut payload["message"];
            // What stands beside a picture is its caption.
            message["caption"] = message["text"].take();
            message["caption_entities"] = message["entities"].take();
            // A photo has neither name nor type: it is a JPEG always.
            message["photo"] = json!([{"file_id": "small", "file_size": 1},
                {"file_id": id, "file_size": size}]);
            for gone in ["text", "entities"] {
                if let Some(fields) = message.as_object_mut() {
                    fields.shift_remove(gone);
                }
            }
        }
    }
    payload
}

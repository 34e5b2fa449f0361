//! What the platforms' APIs answer.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::Server,
    http::{StatusCode, header},
    web,
};
use schemas::room::Platform;
use serde_json::{Value, json};

use super::{
    DISCORD_BOT, DISCORD_TOKEN, Faults, SLACK_BOT, SLACK_BOT_USER, SLACK_TOKEN, Shared, TEAMS_APP,
    TEAMS_BEARER, TEAMS_PASSWORD, TELEGRAM_TOKEN, World, demo,
    echo::{self, Act},
    files, happenings, polling, socket_mode,
};

/// What Slack lists at a time, whatever it is asked.
const SLACK_PAGE: usize = 15;

pub(super) type Data = web::Data<Arc<Shared>>;

pub(super) fn run(
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
) -> std::io::Result<Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(shared.clone()))
            .app_data(web::Data::new(address))
            .app_data(web::JsonConfig::default().limit(1 << 20))
            .configure(demo::routes)
            .configure(files::routes)
            .configure(polling::routes)
            .configure(socket_mode::routes)
            .route("/slack/api/users.info", web::get().to(slack_user))
            .route("/slack/api/conversations.history", web::get().to(slack_history))
            .route("/slack/api/conversations.replies", web::get().to(slack_history))
            .route("/slack/api/{method}", web::post().to(slack))
            .route("/telegram/bot{token}/{method}", web::post().to(telegram))
            .route("/discord/users/@me", web::get().to(discord_me))
            .route("/discord/gateway/bot", web::get().to(discord_gateway))
            .route("/discord/channels/{channel}/typing", web::post().to(discord_typing))
            .route("/discord/channels/{channel}/messages", web::post().to(discord_post))
            .route("/discord/channels/{channel}/messages/{id}", web::patch().to(discord_edit))
            .route("/discord/channels/{channel}/messages/{id}", web::delete().to(discord_delete))
            .route(
                "/discord/channels/{channel}/messages/{id}/reactions/{emoji}/@me",
                web::put().to(discord_react),
            )
            .route(
                "/discord/channels/{channel}/messages/{id}/reactions/{emoji}/@me",
                web::delete().to(discord_unreact),
            )
            .route("/teams/token", web::post().to(teams_token))
            .route("/teams/openid", web::get().to(teams_openid))
            .route("/teams/keys", web::get().to(teams_keys))
            .route("/teams/v3/conversations/{id}/activities", web::post().to(teams_post))
            .route("/teams/v3/conversations/{id}/activities/{activity}", web::put().to(teams_edit))
            .route(
                "/teams/v3/conversations/{id}/activities/{activity}",
                web::delete().to(teams_delete),
            )
    });
    Ok(server.workers(1).disable_signals().listen(listener)?.run())
}

/// The answer of a platform that fails now, if it does.
pub(super) fn fault(shared: &Shared, platform: Platform) -> Option<HttpResponse> {
    let mut world = shared.world();
    let calls = world.calls.entry(platform).or_default();
    *calls += 1;
    let calls = *calls;
    match world.faults.get(&platform).copied().unwrap_or_default() {
        Faults::None => None,
        Faults::Half if calls.is_multiple_of(2) => None,
        Faults::Half if calls % 4 == 1 => Some(
            HttpResponse::TooManyRequests()
                .insert_header((header::RETRY_AFTER, "0.01"))
                .json(json!({"ok": false, "error": "ratelimited", "error_code": 429,
                    "retry_after": 0.01, "description": "Too Many Requests: retry after 0"})),
        ),
        Faults::Half => Some(HttpResponse::ServiceUnavailable().finish()),
        Faults::Refusing => Some(HttpResponse::BadRequest().json(json!({"ok": false,
            "error": "invalid_blocks", "error_code": 400, "description": "Bad Request",
            "message": "Invalid Form Body", "code": 50_035}))),
        Faults::Credentials => Some(HttpResponse::Unauthorized().json(json!({"ok": false,
            "error": "invalid_auth", "error_code": 401, "description": "Unauthorized",
            "message": "401: Unauthorized"}))),
    }
}

pub(super) fn bearer<'a>(request: &'a HttpRequest, scheme: &str) -> Option<&'a str> {
    let given = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    given.strip_prefix(scheme)?.strip_prefix(' ')
}

pub(super) fn text<'a>(body: &'a Value, key: &str) -> &'a str {
    body[key].as_str().unwrap_or_default()
}

fn body_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or(Value::Null)
}

async fn slack(
    shared: Data,
    method: web::Path<String>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let refused = |error: &str| HttpResponse::Ok().json(json!({"ok": false, "error": error}));
    if let Some(fault) = fault(&shared, Platform::Slack) {
        return fault;
    }
    if bearer(&request, "Bearer") != Some(SLACK_TOKEN) {
        return refused("invalid_auth");
    }
    let body = body_of(&body);
    let channel = text(&body, "channel").to_owned();
    let mut told = None;
    let mut world = shared.world();
    let id = match method.as_str() {
        "auth.test" => {
            return HttpResponse::Ok()
                .json(json!({"ok": true, "bot_id": SLACK_BOT, "user_id": SLACK_BOT_USER}));
        }
        "chat.postMessage" => {
            told = Some(Act::Posted);
            world.keep(Platform::Slack, &channel, body.clone())
        }
        "files.completeUploadExternal" => {
            let shared_as = files::complete(&mut world, &body);
            drop(world);
            let Some(id) = shared_as else { return refused("file_not_found") };
            let channel = text(&body, "channel_id");
            echo::tell(&shared, Platform::Slack, (channel, &id), Act::Posted, &body);
            return HttpResponse::Ok().json(json!({"ok": true, "files": body["files"]}));
        }
        "files.delete" => return files::delete(&mut world, text(&body, "file")),
        name => {
            let id = ["ts", "timestamp"].map(|key| text(&body, key)).concat();
            let Some(kept) = world.find(Platform::Slack, &channel, &id) else {
                return refused("message_not_found");
            };
            match name {
                "chat.update" => {
                    World::edit(kept, body.clone());
                    told = Some(Act::Edited);
                }
                "chat.delete" => {
                    kept.deleted = true;
                    told = Some(Act::Deleted);
                }
                "reactions.add" => {
                    kept.reactions.push(text(&body, "name").to_owned());
                    told = Some(Act::Reacted(text(&body, "name")));
                }
                "reactions.remove" => {
                    kept.reactions.retain(|name| name != text(&body, "name"));
                    told = Some(Act::Unreacted(text(&body, "name")));
                }
                "pins.add" | "pins.remove" => {}
                _unknown => return refused("unknown_method"),
            }
            id
        }
    };
    drop(world);
    if let Some(act) = told {
        echo::tell(&shared, Platform::Slack, (&channel, &id), act, &body);
    }
    HttpResponse::Ok().json(json!({"ok": true, "channel": channel, "ts": id}))
}

/// A page of a channel's messages, the newest first, or of a thread's, the oldest first.
async fn slack_history(
    shared: Data,
    query: web::Query<std::collections::BTreeMap<String, String>>,
    request: HttpRequest,
) -> HttpResponse {
    if bearer(&request, "Bearer") != Some(SLACK_TOKEN) {
        return HttpResponse::Ok().json(json!({"ok": false, "error": "invalid_auth"}));
    }
    let asked = |key: &str| query.get(key).map(String::as_str).unwrap_or_default();
    let world = shared.world();
    let kept = world.channels.get(&(Platform::Slack, asked("channel").to_owned()));
    let fits = |kept: &&super::Kept| !kept.deleted && text(&kept.body, "thread_ts") == asked("ts");
    let shown = |kept: &super::Kept| {
        let mut message = json!({"type": "message", "ts": kept.id, "text": kept.body["text"]});
        if asked("include_all_metadata") == "true" && !kept.body["metadata"].is_null() {
            message["metadata"] = kept.body["metadata"].clone();
        }
        message
    };
    let most = asked("limit").parse().unwrap_or(100).min(SLACK_PAGE);
    let mut listed: Vec<_> = kept.into_iter().flatten().filter(fits).map(shown).collect();
    if asked("ts").is_empty() {
        listed.reverse();
    }
    let from = asked("cursor").parse().unwrap_or(0);
    let next = from + most;
    let next = if next < listed.len() { next.to_string() } else { String::new() };
    let messages: Vec<_> = listed.into_iter().skip(from).take(most).collect();
    HttpResponse::Ok().json(json!({"ok": true, "messages": messages,
        "response_metadata": {"next_cursor": next}}))
}

/// `U_eve` is eve.
async fn slack_user(query: web::Query<std::collections::BTreeMap<String, String>>) -> HttpResponse {
    let id = query.get("user").map(String::as_str).unwrap_or_default();
    match id.strip_prefix("U_") {
        Some(name) => {
            HttpResponse::Ok().json(json!({"ok": true, "user": happenings::slack_user(id, name)}))
        }
        None => HttpResponse::Ok().json(json!({"ok": false, "error": "user_not_found"})),
    }
}

async fn telegram(
    shared: Data,
    path: web::Path<(String, String)>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let (token, method) = path.into_inner();
    let refused = |status: u16, description: &str| {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        HttpResponse::build(status).json(json!({"ok": false, "error_code": status.as_u16(),
            "description": description}))
    };
    if let Some(fault) = fault(&shared, Platform::Telegram) {
        return fault;
    }
    if token != TELEGRAM_TOKEN {
        return refused(401, "Unauthorized");
    }
    let read = files::json_or_form(Platform::Telegram, &shared, &request, body).await;
    let (body, files) = match read {
        Ok(read) => read,
        Err(reason) => return refused(400, &format!("Bad Request: {reason}")),
    };
    let chat = match &body["chat_id"] {
        Value::String(chat) => chat.clone(),
        other => other.to_string(),
    };
    let mut world = shared.world();
    if method == "sendChatAction" {
        *world.typing.entry((Platform::Telegram, chat)).or_default() += 1;
        return HttpResponse::Ok().json(json!({"ok": true, "result": true}));
    }
    if method == "getFile" {
        let id = text(&body, "file_id");
        return match world.files.contains_key(&(Platform::Telegram, id.to_owned())) {
            true => HttpResponse::Ok().json(json!({"ok": true, "result": {"file_id": id,
                "file_path": format!("files/{id}")}})),
            false => refused(400, "Bad Request: invalid file_id"),
        };
    }
    if method == "sendMessage" || !files.is_empty() {
        let id = world.keep(Platform::Telegram, &chat, body);
        world.attach(Platform::Telegram, &chat, &id, files);
        let number: i64 = id.parse().unwrap_or_default();
        return HttpResponse::Ok().json(json!({"ok": true, "result": {"message_id": number}}));
    }
    if let Some(result) = happenings::telegram_says(&method, &body) {
        return HttpResponse::Ok().json(json!({"ok": true, "result": result}));
    }
    if method == "deleteMessages" {
        for id in body["message_ids"].as_array().into_iter().flatten() {
            if let Some(kept) = world.find(Platform::Telegram, &chat, &id.to_string()) {
                kept.deleted = true;
            }
        }
        return HttpResponse::Ok().json(json!({"ok": true, "result": true}));
    }
    let id = body["message_id"].to_string();
    let Some(kept) = world.find(Platform::Telegram, &chat, &id) else {
        return refused(400, "Bad Request: message to edit not found");
    };
    match method.as_str() {
        "editMessageText" => World::edit(kept, body),
        "setMessageReaction" => {
            let reactions = body["reaction"].as_array().into_iter().flatten();
            kept.reactions = reactions.map(|reaction| text(reaction, "emoji").to_owned()).collect();
        }
        "pinChatMessage" | "unpinChatMessage" => {}
        _unknown => return refused(404, "Not Found"),
    }
    HttpResponse::Ok().json(json!({"ok": true, "result": true}))
}

/// The answer to a call to Discord that cannot be done.
pub(super) fn discord_refusal(shared: &Shared, request: &HttpRequest) -> Option<HttpResponse> {
    let body = json!({"message": "401: Unauthorized", "code": 0});
    let wrong = bearer(request, "Bot") != Some(DISCORD_TOKEN);
    let refused = || wrong.then(|| HttpResponse::Unauthorized().json(body));
    fault(shared, Platform::Discord).or_else(refused)
}

fn unknown_message() -> HttpResponse {
    HttpResponse::NotFound().json(json!({"message": "Unknown Message", "code": 10_008}))
}

async fn discord_me(shared: Data, request: HttpRequest) -> HttpResponse {
    let me = HttpResponse::Ok().json(json!({"id": DISCORD_BOT, "username": "bot"}));
    discord_refusal(&shared, &request).unwrap_or(me)
}

async fn discord_gateway(shared: Data, request: HttpRequest) -> HttpResponse {
    let address = shared.gateway().map(|gateway| gateway.address.to_string());
    let body = json!({"url": format!("ws://{}", address.unwrap_or_default()), "shards": 1});
    let answer = HttpResponse::Ok().json(body);
    discord_refusal(&shared, &request).unwrap_or(answer)
}

async fn discord_typing(
    shared: Data,
    channel: web::Path<String>,
    request: HttpRequest,
) -> HttpResponse {
    if let Some(refused) = discord_refusal(&shared, &request) {
        return refused;
    }
    *shared.world().typing.entry((Platform::Discord, channel.into_inner())).or_default() += 1;
    HttpResponse::NoContent().finish()
}

async fn discord_post(
    shared: Data,
    channel: web::Path<String>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    if let Some(refused) = discord_refusal(&shared, &request) {
        return refused;
    }
    let (body, files) = match files::json_or_form(Platform::Discord, &shared, &request, body).await
    {
        Ok(read) => read,
        Err(reason) => {
            return HttpResponse::BadRequest().json(json!({"message": reason, "code": 50_035}));
        }
    };
    let mut world = shared.world();
    let nonce = text(&body, "nonce").to_owned();
    let mut is_new = false;
    let known = world.nonces.get(&nonce).cloned().filter(|_| body["enforce_nonce"] == true);
    let id = match known {
        Some(id) => id,
        None => {
            let id = world.keep(Platform::Discord, &channel, body.clone());
            world.attach(Platform::Discord, &channel, &id, files);
            world.nonces.insert(nonce, id.clone());
            is_new = true;
            id
        }
    };
    drop(world);
    if is_new {
        echo::tell(&shared, Platform::Discord, (&channel, &id), Act::Posted, &body);
    }
    HttpResponse::Ok().json(json!({"id": id, "channel_id": channel.as_str()}))
}

/// Does what the bot asked to a message of its own, and tells it.
async fn discord_change(
    shared: Data,
    (channel, id): (&str, &str),
    request: HttpRequest,
    act: Act<'_>,
    body: Value,
) -> HttpResponse {
    if let Some(refused) = discord_refusal(&shared, &request) {
        return refused;
    }
    {
        let mut world = shared.world();
        let Some(kept) = world.find(Platform::Discord, channel, id) else {
            return unknown_message();
        };
        match act {
            Act::Posted => {}
            Act::Edited => World::edit(kept, body.clone()),
            Act::Deleted => kept.deleted = true,
            Act::Reacted(emoji) => kept.reactions.push(emoji.to_owned()),
            Act::Unreacted(emoji) => kept.reactions.retain(|held| held != emoji),
        }
    }
    echo::tell(&shared, Platform::Discord, (channel, id), act, &body);
    HttpResponse::Ok().json(json!({"id": id}))
}

async fn discord_edit(
    shared: Data,
    path: web::Path<(String, String)>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    discord_change(shared, (&path.0, &path.1), request, Act::Edited, body_of(&body)).await
}

async fn discord_delete(
    shared: Data,
    path: web::Path<(String, String)>,
    request: HttpRequest,
) -> HttpResponse {
    discord_change(shared, (&path.0, &path.1), request, Act::Deleted, Value::Null).await
}

async fn discord_react(
    shared: Data,
    path: web::Path<(String, String, String)>,
    request: HttpRequest,
) -> HttpResponse {
    let act = Act::Reacted(&path.2);
    discord_change(shared, (&path.0, &path.1), request, act, Value::Null).await
}

async fn discord_unreact(
    shared: Data,
    path: web::Path<(String, String, String)>,
    request: HttpRequest,
) -> HttpResponse {
    let act = Act::Unreacted(&path.2);
    discord_change(shared, (&path.0, &path.1), request, act, Value::Null).await
}

async fn teams_token(form: web::Form<std::collections::BTreeMap<String, String>>) -> HttpResponse {
    let given = |key: &str| form.get(key).map(String::as_str).unwrap_or_default();
    if (given("client_id"), given("client_secret")) != (TEAMS_APP, TEAMS_PASSWORD) {
        return HttpResponse::Unauthorized()
            .json(json!({"error": "invalid_client", "error_description": "wrong secret"}));
    }
    HttpResponse::Ok().json(json!({"access_token": TEAMS_BEARER, "expires_in": 3_600}))
}

async fn teams_openid(address: web::Data<SocketAddr>) -> HttpResponse {
    let keys = format!("http://{}/teams/keys", **address);
    HttpResponse::Ok().json(json!({"issuer": "https://api.botframework.com", "jwks_uri": keys}))
}

async fn teams_keys(shared: Data) -> HttpResponse {
    HttpResponse::Ok().json(shared.teams_keys())
}

/// The answer to a call to Teams that cannot be done.
pub(super) fn teams_refusal(shared: &Shared, request: &HttpRequest) -> Option<HttpResponse> {
    let body = json!({"error": {"code": "Unauthorized", "message": "wrong token"}});
    let wrong = bearer(request, "Bearer") != Some(TEAMS_BEARER);
    let refused = || wrong.then(|| HttpResponse::Unauthorized().json(body));
    fault(shared, Platform::Teams).or_else(refused)
}

/// A thread is part of its channel's id.
fn channel_of(conversation: &str) -> &str {
    conversation.split(";messageid=").next().unwrap_or(conversation)
}

async fn teams_post(
    shared: Data,
    conversation: web::Path<String>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    if let Some(refused) = teams_refusal(&shared, &request) {
        return refused;
    }
    let mut body = body_of(&body);
    if body["type"] == "typing" {
        let channel = channel_of(&conversation).to_owned();
        *shared.world().typing.entry((Platform::Teams, channel)).or_default() += 1;
        return HttpResponse::Created().json(json!({"id": ""}));
    }
    body["conversation"] = json!({"id": conversation.as_str()});
    let id = shared.world().keep(Platform::Teams, channel_of(&conversation), body);
    HttpResponse::Created().json(json!({"id": id}))
}

async fn teams_change(
    shared: Data,
    path: (&str, &str),
    request: HttpRequest,
    change: impl FnOnce(&mut super::Kept),
) -> HttpResponse {
    if let Some(refused) = teams_refusal(&shared, &request) {
        return refused;
    }
    let mut world = shared.world();
    match world.find(Platform::Teams, channel_of(path.0), path.1) {
        Some(kept) => {
            change(kept);
            HttpResponse::Ok().json(json!({"id": path.1}))
        }
        None => HttpResponse::NotFound()
            .json(json!({"error": {"code": "NotFound", "message": "no such activity"}})),
    }
}

async fn teams_edit(
    shared: Data,
    path: web::Path<(String, String)>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let change = |kept: &mut super::Kept| World::edit(kept, body_of(&body));
    teams_change(shared, (&path.0, &path.1), request, change).await
}

async fn teams_delete(
    shared: Data,
    path: web::Path<(String, String)>,
    request: HttpRequest,
) -> HttpResponse {
    teams_change(shared, (&path.0, &path.1), request, |kept| kept.deleted = true).await
}

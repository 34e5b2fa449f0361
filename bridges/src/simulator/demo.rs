//! A page with five windows: the room and what each platform shows.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use schemas::{content::to_markdown, room::Platform};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Kept, Shared, channel, people::People};
use crate::{message::NoNames, slack, teams};

/// Who writes in the windows of platforms.
const PERSON: &str = "eve";
/// The key of what a person said, in what is kept of it.
const SAID_BY: &str = "saidBy";

type Data = web::Data<Arc<Shared>>;

/// The room that the demonstration shows, at a node.
#[derive(Debug, Clone)]
pub struct Room {
    /// `127.0.0.1:8080`.
    pub node: String,
    /// Who writes in the room's own window.
    pub token: String,
    /// The room's id.
    pub room: String,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let file = |kind: &'static str, text: &'static str| {
        web::get().to(move || async move { HttpResponse::Ok().content_type(kind).body(text) })
    };
    config
        .route("/", file("text/html; charset=utf-8", include_str!("demo.html")))
        .route("/demo.js", file("text/javascript; charset=utf-8", include_str!("demo.js")))
        .route("/demo/windows", web::get().to(windows))
        .route("/demo/say", web::post().to(say))
        .route("/demo/edit", web::post().to(edit))
        .route("/demo/delete", web::post().to(delete));
}

#[derive(Debug, Deserialize)]
struct Act {
    window: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    text: String,
}

/// Bots' messages are shown as their platform would, as Markdown.
fn shown(platform: Platform, kept: &Kept) -> Value {
    let text = |key: &str| kept.body[key].as_str().unwrap_or_default().to_owned();
    let blocks = kept.body["blocks"].as_array();
    let said = match (platform, blocks) {
        (Platform::Slack, Some(blocks)) => to_markdown(&slack::from_blocks(blocks, &NoNames)),
        (Platform::Teams, _) if kept.body["attachments"].is_array() => {
            let content = &kept.body["attachments"][0]["content"];
            to_markdown(&[teams::of_adaptive(content)])
        }
        (Platform::Teams, _) => to_markdown(&teams::from_html(&text("text"))),
        (Platform::Discord, _) => text("content"),
        (Platform::Slack | Platform::Telegram, _) => text("text"),
    };
    let person = kept.body[SAID_BY].as_str();
    let author = kept.body["username"].as_str().unwrap_or("switchyard (bot)");
    json!({"id": kept.id, "author": person.unwrap_or(author), "text": said,
        "deleted": kept.deleted, "edited": kept.edits > 0, "reactions": kept.reactions,
        "own": person.is_some()})
}

async fn windows(shared: Data) -> HttpResponse {
    let mut windows = serde_json::Map::new();
    {
        let world = shared.world();
        for platform in Platform::ALL {
            let kept = world.channels.get(&(platform, channel(platform).to_owned()));
            let kept = kept.map(Vec::as_slice).unwrap_or_default();
            let newest = &kept[kept.len().saturating_sub(50)..];
            let shown: Vec<_> = newest.iter().map(|kept| shown(platform, kept)).collect();
            windows.insert(platform.to_string(), shown.into());
        }
    }
    if let Some(room) = shared.room() {
        let state = room.ask(reqwest::Method::GET, "", None).await;
        let messages = state.as_ref().ok().and_then(|state| state["state"]["messages"].as_array());
        let shown = |message: &Value| {
            let author = match message["origin"]["author"].as_str() {
                Some(name) => {
                    format!(
                        "{name} ({})",
                        message["origin"]["platform"].as_str().unwrap_or_default()
                    )
                }
                None => message["author"].as_str().unwrap_or_default().replace("user:", ""),
            };
            let reactions: Vec<_> = message["reactions"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name)
                .collect();
            json!({"id": message["id"], "author": author, "text": message["text"],
                "deleted": message["deleted"], "edited": message["editedAt"].is_string(),
                "reactions": reactions, "own": message["origin"].is_null()})
        };
        let messages: Vec<_> = messages.into_iter().flatten().map(shown).collect();
        windows.insert("room".to_owned(), messages.into());
    }
    HttpResponse::Ok().json(windows)
}

impl Room {
    async fn ask(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, String> {
        let url = format!("http://{}/api/v1/rooms/{}{path}", self.node, self.room);
        let mut request = reqwest::Client::new().request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(text);
        }
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    async fn command(&self, body: Value) -> Result<(), String> {
        self.ask(reqwest::Method::POST, "/commands", Some(body)).await.map(drop)
    }
}

fn answer(result: Result<(), String>) -> HttpResponse {
    match result {
        Ok(()) => HttpResponse::Ok().json(json!({})),
        Err(reason) => HttpResponse::BadGateway().body(reason),
    }
}

/// The window as a platform, and what is needed to act there; none is the room itself.
fn place(shared: &Arc<Shared>, window: &str) -> Result<(Room, Option<(Platform, People)>), String> {
    let room = shared.room().ok_or("the node is not there yet")?;
    if window == "room" {
        return Ok((room, None));
    }
    let platform: Platform = window.parse()?;
    let address = shared.address().ok_or("the simulators are not there yet")?;
    let people = People::new(shared.clone(), address, &room.node);
    Ok((room, Some((platform, people))))
}

async fn say(shared: Data, act: web::Json<Act>) -> HttpResponse {
    let result = async {
        let (room, there) = place(&shared, &act.window)?;
        let Some((platform, people)) = there else {
            return room.command(json!({"type": "post", "text": act.text})).await;
        };
        let channel = channel(platform);
        let said = json!({"text": act.text, "content": act.text, SAID_BY: PERSON});
        let id = shared.world().keep(platform, channel, said);
        let posted = people.posted(platform, channel, (&id, PERSON), &act.text, None);
        people.send(platform, &posted).await.map(drop).map_err(|error| error.to_string())
    };
    answer(result.await)
}

async fn edit(shared: Data, act: web::Json<Act>) -> HttpResponse {
    let result = async {
        let (room, there) = place(&shared, &act.window)?;
        let Some((platform, people)) = there else {
            let edit = json!({"type": "edit", "message": act.id, "text": act.text});
            return room.command(edit).await;
        };
        let channel = channel(platform);
        if let Some(kept) = shared.world().find(platform, channel, &act.id) {
            kept.body["text"] = act.text.as_str().into();
            kept.body["content"] = act.text.as_str().into();
            kept.edits += 1;
        }
        let edited = people.edited(platform, channel, (&act.id, PERSON), &act.text);
        people.send(platform, &edited).await.map(drop).map_err(|error| error.to_string())
    };
    answer(result.await)
}

async fn delete(shared: Data, act: web::Json<Act>) -> HttpResponse {
    let result = async {
        let (room, there) = place(&shared, &act.window)?;
        let Some((platform, people)) = there else {
            return room.command(json!({"type": "delete", "message": act.id})).await;
        };
        let channel = channel(platform);
        let told = people.deleted(platform, channel, &act.id);
        let told = told.ok_or_else(|| format!("{platform} tells nobody of deletions"))?;
        if let Some(kept) = shared.world().find(platform, channel, &act.id) {
            kept.deleted = true;
        }
        people.send(platform, &told).await.map(drop).map_err(|error| error.to_string())
    };
    answer(result.await)
}

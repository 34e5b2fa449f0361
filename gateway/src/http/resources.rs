//! The paths that people expect (`/boards/{id}/tasks`): thin names for commands and for parts of
//! the state.

use actix_web::{HttpRequest, HttpResponse, Resource, http::StatusCode, web};
use schemas::{Code, Kind};
use serde_json::{Map, Value};

use super::{Caller, Plural, entities, json_body, json_response, key_of};
use crate::{app::App, problem::Problem};

/// A path below an entity, and the command that it is another name for.
struct Name {
    kind: Kind,
    method: &'static str,
    /// `{}` stands for a thing's id.
    path: &'static str,
    command: &'static str,
    /// The command's field that takes the id of the path.
    field: Option<&'static str>,
}

const fn name(
    kind: Kind,
    method: &'static str,
    path: &'static str,
    command: &'static str,
    field: Option<&'static str>,
) -> Name {
    Name { kind, method, path, command, field }
}

const NAMES: &[Name] = &[
    name(Kind::Board, "POST", "columns", "addColumn", None),
    name(Kind::Board, "PATCH", "columns/{}", "updateColumn", Some("column")),
    name(Kind::Board, "DELETE", "columns/{}", "archiveColumn", Some("column")),
    name(Kind::Board, "POST", "columns/{}/move", "moveColumn", Some("column")),
    name(Kind::Board, "POST", "tasks", "addTask", None),
    name(Kind::Board, "PATCH", "tasks/{}", "updateTask", Some("task")),
    name(Kind::Board, "DELETE", "tasks/{}", "deleteTask", Some("task")),
    name(Kind::Board, "POST", "tasks/{}/move", "moveTask", Some("task")),
    name(Kind::Board, "POST", "tasks/{}/archive", "archiveTask", Some("task")),
    name(Kind::Board, "POST", "tasks/{}/restore", "restoreTask", Some("task")),
    name(Kind::Board, "POST", "tasks/{}/comments", "addComment", Some("task")),
    name(Kind::Board, "POST", "tasks/{}/checklist", "addChecklistItem", Some("task")),
    name(Kind::Board, "POST", "members", "setMember", None),
    name(Kind::Board, "DELETE", "members/{}", "removeMember", Some("user")),
    name(Kind::Event, "POST", "participants", "invite", None),
    name(Kind::Event, "POST", "respond", "respond", None),
    name(Kind::Event, "POST", "participants/{}/respond", "respond", Some("user")),
    name(Kind::Event, "POST", "participants/{}/checkIn", "checkIn", Some("user")),
    name(Kind::Event, "POST", "sessions", "addSession", None),
    name(Kind::Event, "PATCH", "sessions/{}", "updateSession", Some("session")),
    name(Kind::Event, "DELETE", "sessions/{}", "removeSession", Some("session")),
    name(Kind::Event, "POST", "members", "setMember", None),
    name(Kind::Event, "DELETE", "members/{}", "removeMember", Some("user")),
    name(Kind::Room, "POST", "messages", "post", None),
    name(Kind::Room, "PATCH", "messages/{}", "edit", Some("message")),
    name(Kind::Room, "DELETE", "messages/{}", "delete", Some("message")),
    name(Kind::Room, "POST", "messages/{}/reactions", "react", Some("message")),
    name(Kind::Room, "POST", "messages/{}/pin", "pin", Some("message")),
    name(Kind::Room, "POST", "messages/{}/read", "markRead", Some("message")),
    name(Kind::Room, "POST", "members", "setMember", None),
    name(Kind::Room, "DELETE", "members/{}", "removeMember", Some("user")),
];

/// A part of the state that has a path of its own.
const PARTS: &[(Kind, &str)] = &[
    (Kind::Board, "columns"),
    (Kind::Board, "tasks"),
    (Kind::Board, "members"),
    (Kind::Event, "participants"),
    (Kind::Event, "waitlist"),
    (Kind::Event, "sessions"),
    (Kind::Event, "members"),
    (Kind::Room, "messages"),
    (Kind::Room, "pins"),
    (Kind::Room, "members"),
];

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(resource("/{id}/{tail:.+}"));
}

fn resource(path: &str) -> Resource {
    web::resource(path).route(web::get().to(part)).route(web::route().to(command))
}

/// The id in `path` if it fits `pattern`; `None` inside if the pattern has no id.
fn fit<'a>(pattern: &str, path: &'a str) -> Option<Option<&'a str>> {
    let mut id = None;
    let mut given = path.split('/');
    for wanted in pattern.split('/') {
        let step = given.next()?;
        if wanted == "{}" {
            id = Some(step);
        } else if wanted != step {
            return None;
        }
    }
    given.next().is_none().then_some(id)
}

fn unknown(request: &HttpRequest) -> Problem {
    Problem::new(Code::NotFound, format!("there is no {} {}", request.method(), request.path()))
}

async fn command(
    app: web::Data<App>,
    Caller(identity): Caller,
    path: web::Path<(Plural, String, String)>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (Plural(kind), id, tail) = path.into_inner();
    let key = key_of(&identity, kind, &id)?;
    let found = NAMES.iter().find_map(|name| {
        let fits = name.kind == kind && name.method == request.method().as_str();
        let id = fits.then(|| fit(name.path, &tail)).flatten()?;
        Some((name, id))
    });
    let (name, id) = found.ok_or_else(|| unknown(&request))?;
    let mut fields: Map<String, Value> =
        if name.method == "DELETE" { Map::new() } else { json_body(&app, payload).await? };
    let mut insert = |field: &str, value: &str| match fields.insert(field.into(), value.into()) {
        None => Ok(()),
        Some(_) => Err(schemas::Rejection::field(field, "is given by the path")),
    };
    insert("type", name.command)?;
    if let (Some(field), Some(id)) = (name.field, id) {
        insert(field, id)?;
    }
    entities::send(&app, &identity, &key, &request, fields).await
}

async fn part(
    app: web::Data<App>,
    Caller(identity): Caller,
    path: web::Path<(Plural, String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (Plural(kind), id, tail) = path.into_inner();
    let key = key_of(&identity, kind, &id)?;
    if !PARTS.contains(&(kind, tail.as_str())) {
        return Err(unknown(&request));
    }
    let view = entities::present(&app, &identity, &key, None).await?;
    let state: Value = serde_json::from_slice(&view.state).unwrap_or_default();
    let body = state.get(&tail).cloned().unwrap_or_default().to_string();
    Ok(json_response(StatusCode::OK, Some(view.seq), body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fit_their_patterns() {
        assert_eq!(fit("tasks/{}/move", "tasks/t1/move"), Some(Some("t1")));
        assert_eq!(fit("tasks", "tasks"), Some(None));
        assert_eq!(fit("tasks", "tasks/t1"), None);
        assert_eq!(fit("tasks/{}", "tasks"), None);
    }

    #[test]
    fn every_name_is_a_command() {
        for name in NAMES {
            let body = serde_json::json!({"type": name.command});
            let refusal = schemas::json::body_from_value(name.kind, body).err();
            let unknown = refusal.is_some_and(|no| no.errors.iter().any(|e| e.field == "type"));
            assert!(!unknown, "{}", name.command);
        }
    }
}

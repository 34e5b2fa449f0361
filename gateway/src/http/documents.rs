//! `/openapi.json` and `/asyncapi.json`, made from the types that parse the traffic.

use actix_web::{HttpResponse, http::StatusCode, web};
use schemars::{JsonSchema, generate::SchemaSettings};
use schemas::{
    Kind,
    board::{BoardChange, BoardCommand},
    event::{EventChange, EventCommand},
    room::{RoomChange, RoomCommand},
};
use serde_json::{Map, Value, json};

use super::{
    identities::{IdentityJson, NameJson},
    json_response,
};
use crate::problem::Problem;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/openapi.json", web::get().to(|| async { document(&openapi()) }))
        .route("/asyncapi.json", web::get().to(|| async { document(&asyncapi()) }));
}

fn document(value: &Value) -> HttpResponse {
    json_response(StatusCode::OK, None, value.to_string())
}

/// The schemas of all bodies, by name: `board.addTask`, `board.taskAdded`, `problem`.
fn components() -> Map<String, Value> {
    let mut components = Map::new();
    collect::<BoardCommand>(Kind::Board, &mut components);
    collect::<BoardChange>(Kind::Board, &mut components);
    collect::<EventCommand>(Kind::Event, &mut components);
    collect::<EventChange>(Kind::Event, &mut components);
    collect::<RoomCommand>(Kind::Room, &mut components);
    collect::<RoomChange>(Kind::Room, &mut components);
    let problem = schema_of::<Problem>(&mut components);
    components.insert("Problem".into(), problem);
    let identity = schema_of::<IdentityJson>(&mut components);
    components.insert("Identity".into(), identity);
    let name = schema_of::<NameJson>(&mut components);
    components.insert("IdentityName".into(), name);
    components
}

/// Splits an enum `oneOf [{properties: {addTask: {…}}}]` into one component a variant.
fn collect<T: JsonSchema>(kind: Kind, components: &mut Map<String, Value>) {
    let schema = schema_of::<T>(components);
    for variant in schema["oneOf"].as_array().into_iter().flatten() {
        let Some((name, fields)) =
            variant["properties"].as_object().and_then(|properties| properties.iter().next())
        else {
            continue;
        };
        let mut fields = fields.clone();
        if let (Some(fields), Some(text)) = (fields.as_object_mut(), variant.get("description")) {
            fields.insert("description".into(), text.clone());
        }
        components.insert(format!("{kind}.{name}"), fields);
    }
}

/// The schema of a type; the types it refers to go into `components`.
fn schema_of<T: JsonSchema>(components: &mut Map<String, Value>) -> Value {
    // OpenAPI 3.1 and AsyncAPI 3.0 both speak this dialect of JSON Schema.
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let schema = generator.subschema_for::<T>();
    let mut schema = schema.to_value();
    for (name, definition) in generator.take_definitions(true) {
        if schema["$ref"].as_str().is_some_and(|path| path.ends_with(&format!("/{name}"))) {
            schema = definition;
        } else {
            components.insert(name, definition);
        }
    }
    schema
}

/// The component names of a kind's commands or changes.
fn names_of<T: JsonSchema>() -> Vec<String> {
    let schema = schema_of::<T>(&mut Map::new());
    let variants = schema["oneOf"].as_array().cloned().unwrap_or_default();
    let name = |variant: &Value| {
        variant["properties"].as_object().and_then(|fields| fields.keys().next().cloned())
    };
    variants.iter().filter_map(name).collect()
}

fn commands_of(kind: Kind) -> Vec<String> {
    match kind {
        Kind::Board => names_of::<BoardCommand>(),
        Kind::Event => names_of::<EventCommand>(),
        Kind::Room => names_of::<RoomCommand>(),
    }
}

fn changes_of(kind: Kind) -> Vec<String> {
    match kind {
        Kind::Board => names_of::<BoardChange>(),
        Kind::Event => names_of::<EventChange>(),
        Kind::Room => names_of::<RoomChange>(),
    }
}

/// A body `{type, …}`: a component with its type.
fn typed(kind: Kind, name: &str) -> Value {
    json!({
        "allOf": [
            {"type": "object", "required": ["type"], "properties": {"type": {"const": name}}},
            {"$ref": format!("#/components/schemas/{kind}.{name}")},
        ]
    })
}

/// The OpenAPI 3.1 document of the HTTP interface.
pub fn openapi() -> Value {
    let mut paths = Map::new();
    let problem = json!({"description": "a problem (RFC 9457)", "content": {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}});
    let ok = |text: &str| json!({"description": text, "content": {"application/json": {}}});
    let id = json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}});
    for kind in Kind::ALL {
        let plural = kind.plural();
        let create = commands_of(kind).into_iter().find(|name| name.starts_with("create"));
        let create = create.unwrap_or_default();
        let bodies: Vec<_> = commands_of(kind).iter().map(|name| typed(kind, name)).collect();
        paths.insert(
            format!("/api/v1/{plural}"),
            json!({
                "get": {"summary": "list", "parameters": [
                        {"name": "q", "in": "query", "schema": {"type": "string"}},
                        {"name": "limit", "in": "query", "schema": {"type": "integer"}},
                        {"name": "cursor", "in": "query", "schema": {"type": "string"}}],
                    "responses": {"200": ok("items and cursor"), "default": problem}},
                "post": {"summary": "create", "requestBody": {"content": {"application/json": {
                        "schema": {"$ref": format!("#/components/schemas/{kind}.{create}")}}}},
                    "responses": {"201": ok("entity, seq, state"), "default": problem}},
            }),
        );
        paths.insert(format!("/api/v1/{plural}/{{id}}"), json!({
            "get": {"summary": "state, now or in the past", "parameters": [id,
                    {"name": "at_seq", "in": "query", "schema": {"type": "integer"}},
                    {"name": "at_time", "in": "query", "schema": {"type": "string", "format": "date-time"}},
                    {"name": "min_seq", "in": "query", "schema": {"type": "integer"}}],
                "responses": {"200": ok("entity, seq, state"), "default": problem}},
        }));
        paths.insert(format!("/api/v1/{plural}/{{id}}/commands"), json!({
            "post": {"summary": "command", "parameters": [id,
                    {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "format": "uuid"}},
                    {"name": "If-Match", "in": "header", "schema": {"type": "string"}}],
                "requestBody": {"content": {"application/json": {"schema": {"oneOf": bodies}}}},
                "responses": {"200": ok("seq, changes, commandId"), "default": problem}},
        }));
        paths.insert(format!("/api/v1/{plural}/{{id}}/changes"), json!({
            "get": {"summary": "journal, paged or as server-sent events", "parameters": [id,
                    {"name": "after", "in": "query", "schema": {"type": "integer"}},
                    {"name": "before", "in": "query", "schema": {"type": "integer"}},
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 500}},
                    {"name": "rejected", "in": "query", "schema": {"type": "boolean"}}],
                "responses": {"200": ok("changes, more"), "default": problem}},
        }));
    }
    for (path, text) in [
        ("/health", "state of every service"),
        ("/live", "alive"),
        ("/ready", "ready for traffic"),
        ("/metrics", "OpenMetrics"),
    ] {
        paths.insert(
            path.into(),
            json!({"get": {"summary": text, "security": [],
            "responses": {"200": {"description": text}}}}),
        );
    }
    paths.insert("/topics/{name}".into(), json!({"post": {
        "summary": "produce to partner.<name>, in the shape of the Kafka REST proxy v2",
        "parameters": [{"name": "name", "in": "path", "required": true, "schema": {"type": "string"}}],
        "responses": {"200": ok("offsets"), "default": problem}}}));
    identities(&mut paths, &problem);
    revocations(&mut paths, &problem);
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Switchyard", "version": env!("CARGO_PKG_VERSION")},
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": components(),
        },
    })
}

/// The paths of the identity table.
fn identities(paths: &mut Map<String, Value>, problem: &Value) {
    let json = |schema: &str| {
        let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
        json!({"application/json": {"schema": schema}})
    };
    let listed = json!({"description": "identities", "content": {"application/json": {"schema": {
        "type": "object", "properties": {"identities": {"type": "array",
            "items": {"$ref": "#/components/schemas/Identity"}}}}}}});
    paths.insert(
        "/api/v1/bridges/identities".into(),
        json!({"get": {"summary": "who users of chat platforms are here; for admins",
            "responses": {"200": listed, "default": problem}}}),
    );
    let platform = json!({"name": "platform", "in": "path", "required": true,
        "schema": {"enum": ["slack", "teams", "discord", "telegram"]}});
    let user = json!({"name": "user", "in": "path", "required": true,
        "description": "the platform's id of the user", "schema": {"type": "string"}});
    paths.insert(
        "/api/v1/bridges/identities/{platform}/{user}".into(),
        json!({
            "put": {"summary": "say who a user is", "parameters": [platform, user],
                "requestBody": {"required": true, "content": json("IdentityName")},
                "responses": {"200": {"description": "the identity", "content": json("Identity")},
                    "default": problem}},
            "delete": {"summary": "a user is nobody from now on", "parameters": [platform, user],
                "responses": {"204": {"description": "done"}, "default": problem}},
        }),
    );
}

/// The paths of revoked tokens.
fn revocations(paths: &mut Map<String, Value>, problem: &Value) {
    let revocation = json!({"type": "object", "required": ["user", "until"], "properties": {
        "user": {"type": "string"},
        "until": {"type": "string", "format": "date-time",
            "description": "tokens that were issued up to this moment are not taken"}}});
    let listed = json!({"description": "revocations", "content": {"application/json": {"schema": {
        "type": "object", "properties": {"revocations": {"type": "array", "items": revocation}}}}}});
    paths.insert(
        "/api/v1/revocations".into(),
        json!({"get": {"summary": "users whose tokens are revoked; for admins",
            "responses": {"200": listed, "default": problem}}}),
    );
    let user =
        json!({"name": "user", "in": "path", "required": true, "schema": {"type": "string"}});
    let done = json!({"description": "done",
        "content": {"application/json": {"schema": revocation}}});
    paths.insert(
        "/api/v1/revocations/{user}".into(),
        json!({
            "put": {"summary": "revoke every token that a user has now, and cut their sockets with 4403",
                "parameters": [user], "responses": {"200": done, "default": problem}},
            "delete": {"summary": "take these tokens again", "parameters": [user],
                "responses": {"204": {"description": "done"}, "default": problem}},
        }),
    );
}

/// The AsyncAPI 3.0 document of the WebSocket interface.
pub fn asyncapi() -> Value {
    let mut messages = Map::new();
    for kind in Kind::ALL {
        for name in changes_of(kind) {
            let payload = json!({"type": "object", "properties": {
                "entity": {"type": "string"}, "seq": {"type": "integer"},
                "type": {"const": name}, "at": {"type": "string", "format": "date-time"},
                "by": {"type": "string"}, "commandId": {"type": "string", "format": "uuid"},
                "data": {"$ref": format!("#/components/schemas/{kind}.{name}")}}});
            messages.insert(format!("{kind}.{name}"), json!({"payload": payload}));
        }
    }
    let commands: Vec<_> = Kind::ALL
        .into_iter()
        .flat_map(|kind| commands_of(kind).into_iter().map(move |name| typed(kind, &name)))
        .collect();
    let mut request = |op: &str, fields: Value| {
        let mut properties = json!({"id": {"type": ["integer", "string"]}, "op": {"const": op}});
        if let (Some(properties), Value::Object(fields)) = (properties.as_object_mut(), fields) {
            properties.extend(fields);
        }
        messages.insert(
            format!("request.{op}"),
            json!({"payload": {"type": "object", "required": ["op"], "properties": properties}}),
        );
    };
    let entity = json!({"type": "string"});
    request("auth", json!({"token": {"type": "string"}}));
    request(
        "join",
        json!({"entity": entity, "since": {"type": "integer"}, "presence": {"type": "boolean"}}),
    );
    request("leave", json!({"entity": entity}));
    request(
        "command",
        json!({"entity": entity, "body": {"oneOf": commands},
        "commandId": {"type": "string", "format": "uuid"}, "expect": {"type": "integer"}}),
    );
    request("signal", json!({"entity": entity, "kind": {"type": "string"}, "data": {}}));
    request(
        "status",
        json!({"status": {"enum": ["online", "away", "busy"]}, "text": {"type": "string"}}),
    );
    request(
        "history",
        json!({"entity": entity, "before": {"type": "integer"},
        "after": {"type": "integer"}, "limit": {"type": "integer", "maximum": 500}}),
    );
    request("ping", json!({}));
    let reference = |name: &String| json!({"$ref": format!("#/channels/socket/messages/{name}")});
    let sent: Vec<_> =
        messages.keys().filter(|name| name.starts_with("request.")).map(reference).collect();
    let received: Vec<_> =
        messages.keys().filter(|name| !name.starts_with("request.")).map(reference).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {"title": "Switchyard", "version": env!("CARGO_PKG_VERSION")},
        "channels": {"socket": {"address": "/ws", "messages": messages}},
        "operations": {
            "request": {"action": "receive", "channel": {"$ref": "#/channels/socket"}, "messages": sent},
            "push": {"action": "send", "channel": {"$ref": "#/channels/socket"}, "messages": received},
        },
        "components": {"schemas": components()},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_change_is_described() {
        let document = openapi();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for name in [
            "board.moveTask",
            "event.respond",
            "room.post",
            "room.messagePosted",
            "Problem",
            "Identity",
        ] {
            assert!(schemas.contains_key(name), "{name}");
        }
        let text = document.to_string() + &asyncapi().to_string();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name} is referred to and missing");
        }
    }
}

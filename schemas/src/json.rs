//! The JSON edge: bodies `{"type": …, …}` in, changes out. Unknown fields in are errors that
//! name the field (PROTOCOL.md).

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    Body, Change, ChangeBody, Code, CommandId, EntityId, Kind, Principal, Rejection, Timestamp,
};

/// Reads a value of type `T`; an unknown field, a missing one or one of the wrong type is a
/// rejection that names it by its path.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Rejection> {
    read(value, "")
}

/// As [`from_value`], leaving the step `hidden` off the front of every path that is reported.
fn read<T: DeserializeOwned>(value: Value, hidden: &str) -> Result<T, Rejection> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let outcome = {
        let inner = serde_path_to_error::Deserializer::new(value, &mut track);
        serde_ignored::deserialize::<_, _, T>(inner, |path| unknown.push(path.to_string()))
    };
    match outcome {
        Err(error) => Err(rejection(&shorten(&track.path().to_string(), hidden), &error)),
        Ok(value) => match unknown.first() {
            None => Ok(value),
            Some(path) => Err(Rejection::field(shorten(path, hidden), "is not a field of this")),
        },
    }
}

/// What serde says of the value at `path`, as a rejection that names the field.
pub fn rejection(path: &str, error: &dyn std::error::Error) -> Rejection {
    let message = error.to_string();
    let path = if path == "." { "" } else { path };
    let field = match missing_or_unknown(&message) {
        // An unknown name is the last step of its path already.
        Some(name) if path.rsplit('.').next() == Some(name) => path.to_owned(),
        Some(name) if path.is_empty() => name.to_owned(),
        Some(name) => format!("{path}.{name}"),
        None => path.to_owned(),
    };
    if field.is_empty() {
        Rejection::new(Code::Invalid, message)
    } else {
        Rejection::field(field, message)
    }
}

/// Leaves the step `hidden` off the front of a path, and the `?` steps of options everywhere.
fn shorten(path: &str, hidden: &str) -> String {
    let steps = path.split('.').filter(|step| !matches!(*step, "?" | "." | ""));
    let path = steps.collect::<Vec<_>>().join(".");
    match path.strip_prefix(hidden) {
        Some("") => String::new(),
        Some(rest) if !hidden.is_empty() && rest.starts_with('.') => rest[1..].to_owned(),
        Some(_) | None => path,
    }
}

/// The name that serde puts between backquotes in "missing field `x`".
fn missing_or_unknown(message: &str) -> Option<&str> {
    let rest = message
        .strip_prefix("missing field `")
        .or_else(|| message.strip_prefix("unknown field `"))?;
    rest.split('`').next()
}

/// The `type` that a command has in JSON.
pub fn body_type(body: &Body) -> Option<String> {
    let tagged = match body {
        Body::Board(body) => serde_json::to_value(body),
        Body::Event(body) => serde_json::to_value(body),
        Body::Room(body) => serde_json::to_value(body),
    };
    match tagged.ok()? {
        Value::Object(tagged) => tagged.into_iter().next().map(|(name, _)| name),
        Value::String(name) => Some(name),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}

/// Reads a command's body for an entity of `kind`: `{"type": "moveTask", "task": …}`.
pub fn body_from_value(kind: Kind, value: Value) -> Result<Body, Rejection> {
    let Value::Object(mut fields) = value else {
        return Err(Rejection::field("body", "must be an object with a `type`"));
    };
    let name = match fields.remove("type") {
        Some(Value::String(name)) => name,
        Some(_) => return Err(Rejection::field("type", "must be a string")),
        None => return Err(Rejection::field("type", "is missing")),
    };
    let tagged = Value::Object(Map::from_iter([(name.clone(), Value::Object(fields))]));
    let body = match kind {
        Kind::Board => read(tagged, &name).map(Body::Board),
        Kind::Event => read(tagged, &name).map(Body::Event),
        Kind::Room => read(tagged, &name).map(Body::Room),
    };
    body.map_err(|rejection| {
        if rejection.reason.contains("unknown variant") && rejection.reason.contains(&name) {
            Rejection::field("type", format!("{name:?} is not a command of a {kind}"))
        } else {
            rejection
        }
    })
}

/// What every change of one outcome has in common.
#[derive(Debug, Clone, Copy)]
pub struct ChangeContext<'a> {
    /// The entity.
    pub entity: &'a EntityId,
    /// The command's time.
    pub at: Timestamp,
    /// Who asked.
    pub by: &'a Principal,
    /// The command.
    pub command_id: CommandId,
}

/// Writes a change as it looks everywhere: push, answer, journal, SSE.
///
/// The enum's own form `{"taskMoved":{…}}` is split at its first colon, which spares the hot path
/// a tree of values.
pub fn write_change(out: &mut Vec<u8>, context: ChangeContext<'_>, change: &Change) {
    let tagged = match &change.body {
        ChangeBody::Board(body) => to_vec(body),
        ChangeBody::Event(body) => to_vec(body),
        ChangeBody::Room(body) => to_vec(body),
    };
    let colon = tagged.iter().position(|byte| *byte == b':').unwrap_or(tagged.len());
    let name = tagged.get(1..colon).unwrap_or(b"\"\"");
    let data = tagged.get(colon + 1..tagged.len().saturating_sub(1)).unwrap_or(b"{}");
    out.extend_from_slice(b"{\"entity\":\"");
    out.extend_from_slice(context.entity.to_string().as_bytes());
    out.extend_from_slice(b"\",\"seq\":");
    out.extend_from_slice(change.seq.to_string().as_bytes());
    out.extend_from_slice(b",\"type\":");
    out.extend_from_slice(name);
    out.extend_from_slice(b",\"at\":\"");
    out.extend_from_slice(context.at.to_string().as_bytes());
    out.extend_from_slice(b"\",\"by\":\"");
    out.extend_from_slice(context.by.to_string().as_bytes());
    out.extend_from_slice(b"\",\"commandId\":\"");
    out.extend_from_slice(context.command_id.to_string().as_bytes());
    out.extend_from_slice(b"\",\"data\":");
    match change.undoes.map(|seq| ("undoes", seq)).or(change.redoes.map(|seq| ("redoes", seq))) {
        None => out.extend_from_slice(data),
        Some((name, seq)) => {
            out.extend_from_slice(&data[..data.len() - 1]);
            if data.len() > 2 {
                out.push(b',');
            }
            out.extend_from_slice(format!("\"{name}\":{seq}}}").as_bytes());
        }
    }
    out.push(b'}');
}

fn to_vec<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("changes have string keys only")
}

/// A change as a value, for where speed does not matter.
pub fn change_to_value(context: ChangeContext<'_>, change: &Change) -> Value {
    let mut bytes = Vec::new();
    write_change(&mut bytes, context, change);
    serde_json::from_slice(&bytes).expect("write_change writes JSON")
}

/// A rejection as the `error` of an answer.
pub fn rejection_to_value(rejection: &Rejection) -> Value {
    let mut error = json!({"code": rejection.code, "message": rejection.reason});
    if !rejection.errors.is_empty() {
        error["errors"] = json!(rejection.errors);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Patch, board::BoardCommand, outcome::ChangeBody};

    fn board(value: Value) -> Result<Body, Rejection> {
        body_from_value(Kind::Board, value)
    }

    fn field_of(value: Value) -> String {
        board(value).unwrap_err().errors[0].field.clone()
    }

    #[test]
    fn null_and_absent_are_different_things() {
        let body = board(json!({"type": "updateTask", "task": "t", "due": null})).unwrap();
        let Body::Board(BoardCommand::UpdateTask { due, title, .. }) = body else { panic!() };
        assert_eq!((due, title), (Patch::Clear, Patch::Keep));
    }

    #[test]
    fn bad_bodies_name_the_field() {
        assert_eq!(field_of(json!({"type": "addTask", "title": "x", "colour": "red"})), "colour");
        assert_eq!(field_of(json!({"type": "addTask"})), "title");
        assert_eq!(field_of(json!({"type": "addTask", "title": 5})), "title");
        assert_eq!(field_of(json!({"type": "fly"})), "type");
        assert_eq!(field_of(json!({"title": "x"})), "type");
        assert_eq!(field_of(json!("x")), "body");
        let nested = json!({"type": "createBoard", "title": "b", "columns": [{"title": "a"}, {"title": "b", "x": 1}]});
        assert_eq!(field_of(nested), "columns.1.x");
        let nested = json!({"type": "createBoard", "title": "b", "columns": [{"title": "a"}, {}]});
        assert_eq!(field_of(nested), "columns[1].title");
    }

    #[test]
    fn changes_carry_what_they_take_back() {
        let entity: EntityId = "board:42".parse().unwrap();
        let context = ChangeContext {
            entity: &entity,
            at: Timestamp::from_millis(0),
            by: &"user:ada".parse().unwrap(),
            command_id: CommandId::derived("x"),
        };
        let task: crate::ItemId = "t".parse().unwrap();
        let body = ChangeBody::Board(crate::board::BoardChange::TaskDeleted { task });
        let change = Change { seq: 7, undoes: Some(3), redoes: None, body };
        let value = change_to_value(context, &change);
        assert_eq!(value["type"], "taskDeleted");
        assert_eq!(value["data"], json!({"task": "t", "undoes": 3}));
        assert_eq!(value["at"], "1970-01-01T00:00:00Z");
    }
}

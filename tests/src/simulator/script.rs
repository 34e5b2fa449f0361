//! What the clients of a simulation ask for: commands that collide, that make several changes in
//! one outcome, and whose verdict depends on the time.

use rand::{Rng as _, rngs::StdRng};
use schemas::{Body, Kind, json::body_from_value};
use serde_json::{Value, json};

/// The first command to an entity: creates it.
pub(super) fn create(kind: Kind) -> Body {
    let body = match kind {
        Kind::Board => json!({"type": "createBoard", "title": "b", "tenantRole": "editor",
            "columns": [{"id": "a", "title": "A"}, {"id": "b", "title": "B", "wip": 3}]}),
        Kind::Event => json!({"type": "createEvent", "title": "e", "capacity": 2,
            "start": "2100-01-01T00:00:00Z", "end": "2100-01-01T01:00:00Z", "timeZone": "UTC",
            "tenantRole": "editor"}),
        Kind::Room => json!({"type": "createRoom", "title": "r", "tenantRole": "member"}),
    };
    body_from_value(kind, body).expect("a body")
}

/// Any later command, given at `now` (milliseconds since 1970).
pub(super) fn command(kind: Kind, rng: &mut StdRng, now: i64) -> Body {
    let soon = schemas::Timestamp::from_millis(now + rng.random_range(0..5_000));
    let body = match kind {
        Kind::Board => board(rng),
        Kind::Event => event(rng, soon),
        Kind::Room => room(rng, soon),
    };
    body_from_value(kind, body).expect("a body")
}

fn board(rng: &mut StdRng) -> Value {
    let task = format!("t{}", rng.random_range(0..4));
    let column = ["a", "b"][rng.random_range(0..2)];
    match rng.random_range(0..8) {
        0..2 => json!({"type": "addTask", "task": task, "title": "t", "column": column}),
        2..5 => json!({"type": "moveTask", "task": task, "column": column}),
        5 => json!({"type": "deleteTask", "task": task}),
        6 => json!({"type": "archiveTask", "task": task}),
        _undo => json!({"type": "undo", "seq": rng.random_range(1..30)}),
    }
}

fn event(rng: &mut StdRng, soon: schemas::Timestamp) -> Value {
    let user = format!("u{}", rng.random_range(0..5));
    match rng.random_range(0..9) {
        0 => json!({"type": "setStatus", "status": "published"}),
        1..5 => json!({"type": "respond", "user": user, "answer": "yes"}),
        5 => json!({"type": "respond", "user": user, "answer": "no"}),
        6 => json!({"type": "updateEvent", "capacity": rng.random_range(1..5)}),
        7 => json!({"type": "respond", "answer": "yes"}),
        _closing => json!({"type": "updateEvent", "registrationCloses": soon}),
    }
}

fn room(rng: &mut StdRng, soon: schemas::Timestamp) -> Value {
    let message = format!("m{}", rng.random_range(0..6));
    match rng.random_range(0..9) {
        0..3 => json!({"type": "post", "message": message, "text": "hi"}),
        3 => json!({"type": "pin", "message": message}),
        4 => json!({"type": "delete", "message": message}),
        5 => json!({"type": "react", "message": message, "emoji": "+1"}),
        6 => json!({"type": "setSlowMode", "seconds": rng.random_range(0..4)}),
        7 => {
            let user = format!("c{}", rng.random_range(0..4));
            json!({"type": "mute", "user": user, "until": soon})
        }
        _edit => {
            json!({"type": "edit", "message": message, "text": format!("e{}", rng.random_range(0..9))})
        }
    }
}

//! Given / when / then for every command, and random sequences for what always holds.

mod random;
mod undo;

use schemas::{
    Code, CommandId, Principal, Rejection, Seq, Timestamp,
    board::{BoardChange, BoardCommand},
};
use serde_json::{Value, json};

use super::Board;
use crate::domain::{Context, Draft, Meta, access::Actor};

/// A board with its journal, and who asks it what.
#[derive(Default)]
struct Desk {
    board: Option<Board>,
    seq: Seq,
    commands: usize,
    journal: Vec<(Draft<BoardChange>, Seq, Timestamp, Principal)>,
}

fn cmd(name: &str, fields: Value) -> BoardCommand {
    serde_json::from_value(json!({ name: fields })).expect("a well-formed command")
}

fn step(board: &mut Option<Board>, entry: &(Draft<BoardChange>, Seq, Timestamp, Principal)) {
    let (draft, seq, at, by) = entry;
    let meta = Meta { seq: *seq, at: *at, by, undoes: draft.undoes, redoes: draft.redoes };
    match board {
        Some(board) => board.apply(&draft.body, &meta),
        None => *board = Board::from_created(&draft.body, &meta),
    }
}

impl Desk {
    /// Columns `a` and `b` (two tasks at most), both with tasks `a1 a2 a3` and `b1`; ada owns,
    /// ed edits, vi looks.
    fn given() -> Self {
        let mut desk = Self::default();
        desk.ok(
            "ada",
            "createBoard",
            json!({"title": "T", "columns": [
            {"id": "a", "title": "A"}, {"id": "b", "title": "B", "maxTasks": 2}]}),
        );
        for (task, column) in [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")] {
            desk.ok("ada", "addTask", json!({"task": task, "column": column, "title": task}));
        }
        desk.ok("ada", "setMember", json!({"user": "ed", "role": "editor"}));
        desk.ok("ada", "setMember", json!({"user": "vi", "role": "viewer"}));
        desk
    }

    /// One column `a` without a task.
    fn bare() -> Self {
        let mut desk = Self::default();
        let columns = json!([{"id": "a", "title": "A"}]);
        desk.ok("ada", "createBoard", json!({"title": "T", "columns": columns}));
        desk
    }

    fn decide(&mut self, who: &str, command: &BoardCommand) -> Result<usize, Rejection> {
        let by: Principal = match who.contains(':') {
            true => who.parse().unwrap(),
            false => format!("user:{who}").parse().unwrap(),
        };
        self.commands += 1;
        let context = Context {
            actor: Actor { principal: &by, is_admin: false },
            at: Timestamp::from_millis(self.commands as i64 * 1_000),
            command_id: CommandId::derived(&self.commands.to_string()),
        };
        let drafts = match &self.board {
            Some(board) => board.decide(command, &context)?,
            None => Board::decide_create(command, &context)?,
        };
        let count = drafts.len();
        for draft in drafts {
            self.seq += 1;
            self.journal.push((draft, self.seq, context.at, by.clone()));
            step(&mut self.board, self.journal.last().unwrap());
        }
        Ok(count)
    }

    /// Accepted with at least one change: the seq after it.
    fn ok(&mut self, who: &str, name: &str, fields: Value) -> Seq {
        let count = self.decide(who, &cmd(name, fields.clone()));
        assert!(count.clone().is_ok_and(|count| count > 0), "{name} {fields}: {count:?}");
        self.seq
    }

    /// Accepted without a change.
    fn same(&mut self, who: &str, name: &str, fields: Value) {
        assert_eq!(self.decide(who, &cmd(name, fields.clone())), Ok(0), "{name} {fields}");
    }

    fn no(&mut self, who: &str, name: &str, fields: Value) -> Rejection {
        let before = self.board.clone();
        let answer = self.decide(who, &cmd(name, fields.clone()));
        assert_eq!(self.board, before);
        answer.expect_err(&format!("{name} {fields}"))
    }

    /// Refused with `code`; for `invalid`, the field is `field`.
    fn refused(&mut self, who: &str, name: &str, fields: Value, code: &str, field: &str) {
        let no = self.no(who, name, fields.clone());
        assert_eq!(no.code.as_str(), code, "{name} {fields}: {no}");
        if no.code == Code::Invalid {
            assert_eq!(no.errors[0].field, field, "{name} {fields}");
        }
    }

    fn view(&self) -> Value {
        Value::Object(self.board.as_ref().unwrap().view())
    }

    fn order(&self, column: usize) -> String {
        let ids = self.view()["columns"][column]["tasks"].clone();
        let ids: Vec<String> = serde_json::from_value(ids).unwrap();
        ids.join(" ")
    }
}

#[test]
fn a_new_board_has_four_columns_and_its_creator_as_owner() {
    let mut desk = Desk::default();
    desk.refused("ada", "archiveTask", json!({"task": "x"}), "not_found", "");
    desk.ok("ada", "createBoard", json!({"title": "T"}));
    let view = desk.view();
    let states: Vec<&str> =
        view["columns"].as_array().unwrap().iter().map(|c| c["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["todo", "inProgress", "review", "done"]);
    assert_eq!(view["columns"][1]["title"], "In Progress");
    assert_eq!(view["members"], json!({"ada": "owner"}));
    assert_eq!(view["tenantRole"], "none");
    assert_eq!(view["eventId"], Value::Null);
    desk.refused("ada", "createBoard", json!({"title": "T"}), "conflict", "");
}

#[test]
fn creation_is_checked() {
    let long = "x".repeat(201);
    for (fields, field) in [
        (json!({"title": " "}), "title"),
        (json!({"title": long}), "title"),
        (json!({"title": "T", "eventId": "room:1"}), "eventId"),
        (json!({"title": "T", "tenantRole": "member"}), "tenantRole"),
        (json!({"title": "T", "columns": []}), "columns"),
        (json!({"title": "T", "columns": [{"title": ""}]}), "columns[0].title"),
        (json!({"title": "T", "columns": [{"title": "A", "wip": 0}]}), "columns[0].wip"),
        (json!({"title": "T", "columns": [{"title": "A", "state": ""}]}), "columns[0].state"),
        (
            json!({"title": "T", "columns": [{"id": "a", "title": "A"}, {"id": "a", "title": "B"}]}),
            "columns[1].id",
        ),
    ] {
        Desk::default().refused("ada", "createBoard", fields, "invalid", field);
    }
}

#[test]
fn rights_are_checked_first() {
    let mut desk = Desk::given();
    let add = json!({"title": "X"});
    desk.refused("stranger", "addTask", add.clone(), "forbidden", "");
    desk.refused("vi", "addTask", add.clone(), "forbidden", "");
    desk.ok("partner:erp", "addTask", add.clone());
    desk.refused("ed", "setMember", json!({"user": "x", "role": "owner"}), "forbidden", "");
    desk.refused("ed", "removeMember", json!({"user": "vi"}), "forbidden", "");
    desk.refused("ed", "updateBoard", json!({"tenantRole": "editor"}), "forbidden", "");
    desk.refused("ada", "setMember", json!({"user": "x", "role": "guest"}), "invalid", "role");
    desk.refused("ada", "setMember", json!({"user": "ada", "role": "editor"}), "conflict", "");
    desk.refused("ada", "removeMember", json!({"user": "ada"}), "conflict", "");
    desk.refused("ada", "removeMember", json!({"user": "nobody"}), "not_found", "");
    desk.same("ada", "setMember", json!({"user": "ed", "role": "editor"}));
    desk.ok("ada", "setMember", json!({"user": "ed", "role": "owner"}));
    desk.ok("ed", "removeMember", json!({"user": "ada"}));
    desk.refused("ada", "addTask", add.clone(), "forbidden", "");
    desk.ok("ed", "updateBoard", json!({"tenantRole": "editor"}));
    desk.ok("stranger", "addTask", add);
}

#[test]
fn refusals_by_command() {
    for (name, fields, code, field) in [
        ("updateBoard", json!({"title": null}), "invalid", "title"),
        ("updateBoard", json!({"eventId": "board:1"}), "invalid", "eventId"),
        ("updateBoard", json!({"tenantRole": "member"}), "invalid", "tenantRole"),
        ("addColumn", json!({"column": "a", "title": "A"}), "conflict", ""),
        ("addColumn", json!({"title": "A", "wip": 10_001}), "invalid", "wip"),
        ("addColumn", json!({"title": "A", "after": "x"}), "invalid", "after"),
        ("updateColumn", json!({"column": "x"}), "not_found", ""),
        ("updateColumn", json!({"column": "a", "title": null}), "invalid", "title"),
        ("updateColumn", json!({"column": "a", "wip": 0}), "invalid", "wip"),
        ("moveColumn", json!({"column": "a", "after": "a"}), "invalid", "after"),
        ("moveColumn", json!({"column": "a", "after": "x"}), "invalid", "after"),
        ("archiveColumn", json!({"column": "a"}), "conflict", ""),
        ("archiveColumn", json!({"column": "x"}), "not_found", ""),
        ("restoreColumn", json!({"column": "x"}), "not_found", ""),
        ("addTask", json!({"task": "a1", "title": "X"}), "conflict", ""),
        ("addTask", json!({"title": "X", "column": "x"}), "not_found", ""),
        ("addTask", json!({"title": "X", "after": "b1"}), "invalid", "after"),
        ("addTask", json!({"title": ""}), "invalid", "title"),
        ("addTask", json!({"title": "X", "labels": [""]}), "invalid", "labels[0]"),
        ("addTask", json!({"title": "X", "estimate": -1.0}), "invalid", "estimate"),
        (
            "addTask",
            json!({"title": "X", "attachments": [{"name": "f", "url": "file:///x"}]}),
            "invalid",
            "attachments[0].url",
        ),
        ("updateTask", json!({"task": "a1", "title": null}), "invalid", "title"),
        ("updateTask", json!({"task": "x"}), "not_found", ""),
        ("moveTask", json!({"task": "x", "column": "a"}), "not_found", ""),
        ("moveTask", json!({"task": "a1", "column": "x"}), "not_found", ""),
        ("moveTask", json!({"task": "a1", "column": "a", "after": "a1"}), "invalid", "after"),
        ("moveTask", json!({"task": "a1", "column": "b", "after": "a2"}), "invalid", "after"),
        ("moveTask", json!({"task": "a1", "column": "b", "expectColumn": "b"}), "conflict", ""),
        ("duplicateTask", json!({"task": "x"}), "not_found", ""),
        ("duplicateTask", json!({"task": "a1", "copy": "a2"}), "conflict", ""),
        ("archiveTask", json!({"task": "x"}), "not_found", ""),
        ("restoreTask", json!({"task": "x"}), "not_found", ""),
        ("deleteTask", json!({"task": "x"}), "not_found", ""),
        ("addComment", json!({"task": "x", "text": "t"}), "not_found", ""),
        ("addComment", json!({"task": "a1", "text": ""}), "invalid", "text"),
        ("addChecklistItem", json!({"task": "a1", "text": ""}), "invalid", "text"),
        ("setChecklistItem", json!({"task": "a1", "item": "x", "done": true}), "not_found", ""),
        (
            "setTransitions",
            json!({"rules": [{"from": "a", "to": "b", "roles": ["guest"]}]}),
            "invalid",
            "rules[0].roles",
        ),
        ("undo", json!({"seq": 99}), "not_found", ""),
        ("undo", json!({"seq": 1}), "conflict", ""),
        ("undo", json!({"seq": 6}), "conflict", ""),
        ("redo", json!({"seq": 2}), "conflict", ""),
        ("redo", json!({"seq": 0}), "not_found", ""),
    ] {
        Desk::given().refused("ada", name, fields, code, field);
    }
}

#[test]
fn places_are_as_asked() {
    let mut desk = Desk::given();
    desk.ok("ed", "addTask", json!({"task": "t", "title": "X", "after": null}));
    desk.ok("ed", "addTask", json!({"task": "m", "title": "X", "after": "a1"}));
    assert_eq!(desk.order(0), "t a1 m a2 a3");
    desk.ok("ed", "moveTask", json!({"task": "t", "column": "a", "after": "a3"}));
    desk.same("ed", "moveTask", json!({"task": "t", "column": "a", "after": "a3"}));
    desk.same("ed", "moveTask", json!({"task": "a1", "column": "a"}));
    desk.ok("ed", "moveTask", json!({"task": "m", "column": "b", "after": "b1"}));
    assert_eq!((desk.order(0).as_str(), desk.order(1).as_str()), ("a1 a2 a3 t", "b1 m"));
    desk.ok("ed", "duplicateTask", json!({"task": "a1", "copy": "c"}));
    assert_eq!(desk.order(0), "a1 c a2 a3 t");
    desk.ok("ed", "moveColumn", json!({"column": "b"}));
    desk.same("ed", "moveColumn", json!({"column": "a", "after": "b"}));
    assert_eq!(desk.order(0), "b1 m");
}

#[test]
fn a_full_hard_column_takes_no_task() {
    let mut desk = Desk::given();
    desk.ok("ed", "addTask", json!({"task": "b2", "title": "X", "column": "b"}));
    desk.refused("ed", "addTask", json!({"title": "X", "column": "b"}), "wip_limit", "");
    desk.refused("ed", "moveTask", json!({"task": "a1", "column": "b"}), "wip_limit", "");
    desk.refused("ed", "duplicateTask", json!({"task": "b1"}), "wip_limit", "");
    desk.ok("ed", "moveTask", json!({"task": "b2", "column": "b"}));
    desk.ok("ed", "archiveTask", json!({"task": "b2"}));
    desk.ok("ed", "moveTask", json!({"task": "a1", "column": "b"}));
    desk.refused("ed", "restoreTask", json!({"task": "b2"}), "wip_limit", "");
    desk.ok("ed", "updateColumn", json!({"column": "b", "maxTasks": 1}));
    desk.ok("ed", "moveTask", json!({"task": "b1", "column": "b"}));
    desk.ok("ed", "updateColumn", json!({"column": "b", "wipMode": "soft"}));
    desk.ok("ed", "restoreTask", json!({"task": "b2"}));
    assert_eq!(desk.order(1), "b1 a1 b2");
}

#[test]
fn transitions_bind_once_set() {
    let mut desk = Desk::given();
    desk.ok(
        "ada",
        "setTransitions",
        json!({"rules": [
        {"from": "a", "to": "b", "roles": ["owner"]}]}),
    );
    let there = json!({"task": "a1", "column": "b"});
    desk.refused("ed", "moveTask", there.clone(), "transition", "");
    desk.ok("ada", "moveTask", there);
    desk.refused("ada", "moveTask", json!({"task": "a1", "column": "a"}), "transition", "");
    desk.ok("ed", "moveTask", json!({"task": "a1", "column": "b", "after": "b1"}));
    for task in ["a1", "b1"] {
        desk.ok("ed", "archiveTask", json!({"task": task}));
    }
    desk.ok("ed", "archiveColumn", json!({"column": "b"}));
    desk.same("ed", "archiveColumn", json!({"column": "b"}));
    desk.refused("ed", "moveTask", json!({"task": "a2", "column": "b"}), "conflict", "");
    desk.refused("ed", "restoreTask", json!({"task": "b1"}), "transition", "");
    desk.ok("ada", "setTransitions", json!({"rules": []}));
    desk.ok("ed", "restoreTask", json!({"task": "b1"}));
    assert_eq!(desk.order(0), "a2 a3 b1");
    desk.refused("ed", "archiveColumn", json!({"column": "a"}), "conflict", "");
    desk.ok("ed", "restoreColumn", json!({"column": "b"}));
    desk.same("ed", "restoreColumn", json!({"column": "b"}));
}

#[test]
fn the_last_column_stays() {
    let mut desk = Desk::bare();
    desk.refused("ada", "archiveColumn", json!({"column": "a"}), "conflict", "");
    let added = desk.ok("ada", "addColumn", json!({"column": "b", "title": "B"}));
    desk.ok("ada", "archiveColumn", json!({"column": "a"}));
    desk.refused("ada", "archiveColumn", json!({"column": "b"}), "conflict", "");
    desk.refused("ada", "undo", json!({"seq": added}), "conflict", "");
}

#[test]
fn tasks_carry_what_was_said() {
    let mut desk = Desk::given();
    desk.ok(
        "ed",
        "updateTask",
        json!({"task": "a1", "priority": "high", "labels": ["x", "x"],
        "estimate": 0.33333, "customFields": [{"name": "n", "value": "v"}]}),
    );
    desk.same("ed", "updateTask", json!({"task": "a1", "priority": "high", "labels": ["x"]}));
    desk.same("ed", "updateTask", json!({"task": "a1", "due": null, "assignees": []}));
    desk.ok("ed", "addComment", json!({"task": "a1", "text": "hi"}));
    desk.ok("ed", "addChecklistItem", json!({"task": "a1", "item": "i", "text": "do"}));
    desk.ok("ed", "setChecklistItem", json!({"task": "a1", "item": "i", "done": true}));
    desk.same("ed", "setChecklistItem", json!({"task": "a1", "item": "i", "done": true}));
    desk.ok("ed", "archiveTask", json!({"task": "a1"}));
    desk.same("ed", "archiveTask", json!({"task": "a1"}));
    desk.refused("ed", "moveTask", json!({"task": "a1", "column": "b"}), "conflict", "");
    desk.refused("ed", "addTask", json!({"task": "a1", "title": "X"}), "conflict", "");
    let task = desk.view()["tasks"]["a1"].clone();
    assert_eq!(task["estimate"], 0.333);
    assert_eq!(task["labels"], json!(["x"]));
    assert_eq!(task["comments"][0]["by"], "user:ed");
    assert_eq!(task["checklist"], json!([{"id": "i", "text": "do", "done": true}]));
    assert_eq!((&task["archived"], &task["due"]), (&json!(true), &Value::Null));
    desk.ok("ed", "deleteTask", json!({"task": "a1"}));
    desk.ok("ed", "addTask", json!({"task": "a1", "title": "again"}));
}

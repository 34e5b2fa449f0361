//! Undo and redo: each change back and forth, dependence, and what is too old.

use serde_json::json;

use super::Desk;
use crate::domain::board::history::MOST_ENTRIES;

/// What else must have happened for a command to fit.
type Command = (&'static str, serde_json::Value);

#[test]
fn each_change_goes_back_and_forth() {
    let archive = || ("archiveTask", json!({"task": "a2"}));
    let with_its_column = || {
        let task = ("archiveTask", json!({"task": "b1"}));
        vec![task, ("archiveColumn", json!({"column": "b"}))]
    };
    let item = || ("addChecklistItem", json!({"task": "a2", "item": "i", "text": "t"}));
    let column = || ("addColumn", json!({"column": "c", "title": "C", "after": "a"}));
    let comment = || ("addComment", json!({"task": "a2", "comment": "k", "text": "t"}));
    let cases: Vec<(Vec<Command>, Command)> = vec![
        (vec![], ("updateBoard", json!({"title": "U", "eventId": "event:1"}))),
        (vec![], ("updateBoard", json!({"tenantRole": "viewer"}))),
        (vec![], column()),
        (vec![], ("updateColumn", json!({"column": "b", "wip": null, "state": "s"}))),
        (vec![], ("moveColumn", json!({"column": "b"}))),
        (vec![column()], ("archiveColumn", json!({"column": "c"}))),
        (
            vec![column(), ("archiveColumn", json!({"column": "c"}))],
            ("restoreColumn", json!({"column": "c"})),
        ),
        (vec![], ("addTask", json!({"task": "n", "title": "N", "after": "a1"}))),
        (vec![], ("duplicateTask", json!({"task": "a1"}))),
        (vec![], ("updateTask", json!({"task": "a2", "title": "N", "labels": ["l"]}))),
        (vec![], ("moveTask", json!({"task": "a2", "column": "b"}))),
        (vec![], ("moveTask", json!({"task": "a2", "column": "a", "after": "a3"}))),
        (vec![], archive()),
        (vec![archive()], ("restoreTask", json!({"task": "a2"}))),
        (with_its_column(), ("restoreTask", json!({"task": "b1"}))),
        (with_its_column(), ("deleteTask", json!({"task": "b1"}))),
        (vec![comment(), item()], ("deleteTask", json!({"task": "a2"}))),
        (vec![comment(), archive()], ("deleteTask", json!({"task": "a2"}))),
        (vec![], comment()),
        (vec![], item()),
        (vec![item()], ("setChecklistItem", json!({"task": "a2", "item": "i", "done": true}))),
        (vec![], ("setTransitions", json!({"rules": [{"from": "a", "to": "b"}]}))),
    ];
    for (before, (name, fields)) in cases {
        let mut desk = Desk::given();
        for (name, fields) in before {
            desk.ok("ada", name, fields);
        }
        let without = desk.view();
        let seq = desk.ok("ada", name, fields);
        let with = desk.view();
        let undone = desk.ok("ada", "undo", json!({"seq": seq}));
        assert_eq!(desk.view(), without, "{name} undone");
        assert_eq!(desk.journal.last().unwrap().0.undoes, Some(seq));
        desk.refused("ada", "undo", json!({"seq": seq}), "conflict", "");
        desk.refused("ada", "undo", json!({"seq": undone}), "conflict", "");
        let redone = desk.ok("ada", "redo", json!({"seq": undone}));
        assert_eq!(desk.view(), with, "{name} redone");
        assert_eq!(desk.journal.last().unwrap().0.redoes, Some(undone));
        desk.refused("ada", "redo", json!({"seq": seq}), "conflict", "");
        desk.ok("ada", "undo", json!({"seq": redone}));
        assert_eq!(desk.view(), without, "{name} undone by its redo");
        desk.ok("ada", "redo", json!({"seq": seq}));
        desk.ok("ada", "undo", json!({"seq": seq}));
        assert_eq!(desk.view(), without, "{name} undone by its own seq");
    }
}

#[test]
fn a_later_change_of_the_same_thing_is_named() {
    let mut desk = Desk::given();
    let first = desk.ok("ed", "updateTask", json!({"task": "a1", "title": "X"}));
    let other = desk.ok("ed", "updateTask", json!({"task": "a1", "description": "D"}));
    let second = desk.ok("ed", "updateTask", json!({"task": "a1", "title": "Y"}));
    let no = desk.no("ed", "undo", json!({"seq": first}));
    assert!(no.reason.contains(&format!("taskUpdated (seq {second}) depends")), "{no}");
    desk.ok("ed", "undo", json!({"seq": other}));
    desk.ok("ed", "undo", json!({"seq": second}));
    desk.ok("ed", "undo", json!({"seq": first}));
    // The task's coming depends on nothing now: all that followed is undone.
    desk.ok("ed", "undo", json!({"seq": 2}));
    // But what is undone can't come back without the task.
    let no = desk.no("ed", "redo", json!({"seq": second}));
    assert!(no.reason.contains("taskDeleted (seq"), "{no}");
    desk.ok("ed", "redo", json!({"seq": 2}));
    desk.ok("ed", "redo", json!({"seq": first}));
    assert_eq!(desk.view()["tasks"]["a1"]["title"], "X");
}

#[test]
fn a_column_with_tasks_stays_and_a_place_that_is_gone_is_named() {
    let mut desk = Desk::given();
    let added = desk.ok("ed", "addColumn", json!({"column": "c", "title": "C"}));
    let moved = desk.ok("ed", "moveTask", json!({"task": "a1", "column": "c"}));
    let no = desk.no("ed", "undo", json!({"seq": added}));
    assert!(no.reason.contains(&format!("taskMoved (seq {moved})")), "{no}");
    let back = desk.ok("ed", "moveTask", json!({"task": "a1", "column": "a"}));
    let archived = desk.ok("ed", "archiveColumn", json!({"column": "c"}));
    let no = desk.no("ed", "undo", json!({"seq": back}));
    assert!(no.reason.contains(&format!("columnArchived (seq {archived})")), "{no}");
    desk.ok("ed", "undo", json!({"seq": archived}));
    desk.ok("ed", "undo", json!({"seq": back}));
    desk.ok("ed", "undo", json!({"seq": moved}));
    desk.ok("ed", "undo", json!({"seq": added}));
}

#[test]
fn compensation_keeps_limits_places_and_authors() {
    let mut desk = Desk::given();
    let moved = desk.ok("ed", "moveTask", json!({"task": "b1", "column": "a"}));
    for task in ["x", "y"] {
        desk.ok("ed", "addTask", json!({"task": task, "title": "X", "column": "b"}));
    }
    desk.refused("ed", "undo", json!({"seq": moved}), "wip_limit", "");
    let archived = desk.ok("ed", "archiveTask", json!({"task": "a2"}));
    desk.ok("ed", "deleteTask", json!({"task": "a1"}));
    desk.ok("ed", "undo", json!({"seq": archived}));
    assert_eq!(desk.order(0), "b1 a3 a2", "a1 is gone: the index counts");
    let said = desk.ok("ed", "addComment", json!({"task": "a2", "text": "mine"}));
    desk.ok("ada", "undo", json!({"seq": said}));
    desk.ok("ada", "redo", json!({"seq": said}));
    assert_eq!(desk.view()["tasks"]["a2"]["comments"][0]["by"], "user:ed");
    let role = desk.ok("ada", "updateBoard", json!({"tenantRole": "editor"}));
    desk.refused("ed", "undo", json!({"seq": role}), "forbidden", "");
    desk.refused("vi", "undo", json!({"seq": said}), "forbidden", "");
}

#[test]
fn what_is_too_old_is_forgotten() {
    let mut desk = Desk::given();
    let old = desk.ok("ed", "updateTask", json!({"task": "a1", "title": "X"}));
    for n in 0..MOST_ENTRIES {
        desk.ok("ed", "updateTask", json!({"task": "a2", "title": n.to_string()}));
    }
    desk.refused("ed", "undo", json!({"seq": old}), "not_found", "");
    desk.ok("ed", "undo", json!({"seq": desk.seq}));
    assert_eq!(desk.board.as_ref().unwrap().history.len(), MOST_ENTRIES);
}

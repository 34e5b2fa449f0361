//! Random commands by several actors with colliding ids: replay equals live, invariants hold.

use std::collections::BTreeMap;

use proptest::prelude::*;
use schemas::{
    board::{BoardCommand, WipMode},
    role::Role,
};
use serde_json::{Value, json};

use super::{Desk, cmd, step};
use crate::domain::board::Board;

fn command() -> impl Strategy<Value = BoardCommand> {
    let ids = prop::sample::select(vec!["a", "b", "c", "d"]);
    let tasks = || prop::sample::select(vec!["a1", "a2", "a3", "b1", "n", "m"]);
    let parts = (ids.clone(), ids, tasks(), tasks(), 0..4i64, 1..60i64);
    (0..36usize, parts).prop_map(|(kind, (column, other, task, second, n, seq))| {
        let after = match n {
            0 => Value::Null,
            1 => json!("b1"),
            _more => json!(second),
        };
        let next = if n == 0 { Value::Null } else { json!(other) };
        let role = ["owner", "editor", "viewer", "guest"][n as usize];
        let user = ["ada", "ed", "vi", "bo"][seq as usize % 4];
        match kind {
            0 => cmd("createBoard", json!({"title": "X"})),
            1 => cmd("updateBoard", json!({"title": seq.to_string(), "tenantRole": "editor"})),
            2 => cmd("addColumn", json!({"column": column, "title": "C", "wip": n, "after": next})),
            3 => cmd("updateColumn", json!({"column": column, "wip": n})),
            4 => cmd("updateColumn", json!({"column": column, "wip": null, "state": "s"})),
            5 => cmd("moveColumn", json!({"column": column, "after": next})),
            6 => cmd("archiveColumn", json!({"column": column})),
            7 => cmd("restoreColumn", json!({"column": column})),
            8..11 => cmd("addTask", json!({"task": task, "column": column, "title": "X"})),
            11 => cmd("addTask", json!({"title": "X", "after": after, "estimate": 0.1 * n as f64})),
            12 => cmd("updateTask", json!({"task": task, "title": seq.to_string()})),
            13 => cmd("updateTask", json!({"task": task, "labels": [role], "estimate": 1.0 / 3.0})),
            14..19 => cmd("moveTask", json!({"task": task, "column": column, "after": after})),
            19 => cmd("moveTask", json!({"task": task, "column": column, "expectColumn": other})),
            20 => cmd("duplicateTask", json!({"task": task, "copy": second})),
            21 => cmd("archiveTask", json!({"task": task})),
            22 => cmd("restoreTask", json!({"task": task})),
            23 => cmd("deleteTask", json!({"task": task})),
            24 => cmd("addComment", json!({"task": task, "comment": column, "text": "t"})),
            25 => cmd("addChecklistItem", json!({"task": task, "item": column, "text": "t"})),
            26 => cmd("setChecklistItem", json!({"task": task, "item": column, "done": n > 1})),
            27 => cmd(
                "setTransitions",
                json!({"rules": if n > 0 { json!([]) } else {
                json!([{"from": column, "to": other, "roles": ["editor"]}])}}),
            ),
            28 => cmd("setMember", json!({"user": user, "role": role})),
            29 => cmd("removeMember", json!({"user": user})),
            30..34 => cmd("undo", json!({"seq": seq})),
            _others => cmd("redo", json!({"seq": seq})),
        }
    })
}

/// Names each broken invariant; `before` are the columns' sizes before the command.
fn check(board: &Board, before: &BTreeMap<String, usize>) -> Result<(), TestCaseError> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    prop_assert!(!board.columns.is_empty());
    for column in &board.columns {
        let id = column.spec.id.as_str();
        for task in &column.order {
            *seen.entry(task.as_str()).or_default() += 1;
            let known = board.tasks.get(task);
            prop_assert!(known.is_some_and(|task| task.column == column.spec.id));
        }
        prop_assert!(board.archived_column(&column.spec.id).is_none());
        let most = column.spec.wip.map_or(usize::MAX, |wip| wip as usize);
        let held = before.get(id).copied().unwrap_or_default();
        let is_hard = column.spec.wip_mode == WipMode::Hard;
        prop_assert!(!is_hard || column.order.len() <= most.max(held), "{id} over its limit");
    }
    for (id, task) in &board.tasks {
        let times = seen.get(id.as_str()).copied().unwrap_or_default();
        prop_assert_eq!(times, usize::from(!task.archived), "{} stands so often", id);
    }
    prop_assert!(board.access.members.values().any(|role| *role == Role::Owner));
    Ok(())
}

fn sizes(board: &Board) -> BTreeMap<String, usize> {
    board.columns.iter().map(|c| (c.spec.id.to_string(), c.order.len())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn replay_is_live_and_invariants_hold(
        commands in prop::collection::vec((0..8usize, command()), 1..60),
        start in prop::sample::select(vec![Desk::given as fn() -> Desk, Desk::bare]),
    ) {
        let mut desk = start();
        for (who, command) in &commands {
            let who = ["ada", "ada", "ada", "ed", "ed", "vi", "bo", "partner:erp"][*who];
            let before = sizes(desk.board.as_ref().unwrap());
            let state = desk.board.clone();
            let changes = desk.decide(who, command).unwrap_or_default();
            let board = desk.board.as_ref().unwrap();
            prop_assert!((changes == 0) == (state.as_ref() == Some(board)), "{:?}", command);
            check(board, &before)?;
        }
        let live = desk.board.clone().unwrap();
        let mut replayed = None;
        for entry in &desk.journal {
            step(&mut replayed, entry);
        }
        let bytes = serde_json::to_vec(&live).unwrap();
        prop_assert_eq!(replayed.as_ref(), Some(&live));
        prop_assert_eq!(&serde_json::to_vec(&replayed).unwrap(), &bytes);
        let read: Board = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(&read, &live);
        prop_assert_eq!(serde_json::to_vec(&read).unwrap(), bytes);
    }

    #[test]
    fn all_can_be_undone_backwards(commands in prop::collection::vec(command(), 1..40)) {
        let mut desk = Desk::given();
        for (before, command) in commands.iter().enumerate() {
            let state = desk.view();
            let is_undo = matches!(command, BoardCommand::Undo { .. } | BoardCommand::Redo { .. });
            let is_member =
                matches!(command, BoardCommand::SetMember { .. } | BoardCommand::RemoveMember { .. });
            if is_undo || is_member || desk.decide("ada", command).unwrap_or_default() == 0 {
                continue;
            }
            let undo = cmd("undo", json!({"seq": desk.seq}));
            match desk.decide("ada", &undo) {
                Ok(_) => prop_assert_eq!(desk.view(), state, "{}: {:?}", before, command),
                // A column over a lowered limit takes nothing back.
                Err(no) => prop_assert_eq!(no.code, schemas::Code::WipLimit, "{}", no),
            }
            // Odd ones are kept, so that there is something to work on.
            if before % 2 == 1 {
                let redo = cmd("redo", json!({"seq": desk.seq}));
                desk.decide("ada", &redo).ok();
            }
        }
    }
}

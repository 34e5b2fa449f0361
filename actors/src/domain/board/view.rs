//! A board as `join` and GET give it, but for `entity` and `seq`.

use schemas::Timestamp;
use serde_json::{Map, Value, json};

use super::state::{Board, Column, Task};
use crate::domain::access::{Access, Actor};

impl Board {
    /// Boards have no timers.
    pub fn next_wake(&self) -> Option<Timestamp> {
        None
    }

    /// Boards have no timers.
    pub fn wake_command() -> Option<schemas::board::BoardCommand> {
        None
    }

    /// Rights, for the shared parts of the runtime.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Whether `actor` may look: with any role.
    pub fn may_read(&self, actor: Actor<'_>) -> bool {
        self.access.role_of(actor).is_some()
    }

    /// The title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Every field of PROTOCOL.md's state but `entity` and `seq`.
    pub fn view(&self) -> Map<String, Value> {
        let columns: Vec<Value> = self.columns.iter().map(column).collect();
        let archived: Vec<Value> = self
            .archived_columns
            .iter()
            .map(|spec| json!({"id": spec.id, "title": spec.title}))
            .collect();
        let tasks: Map<String, Value> =
            self.tasks.iter().map(|(id, one)| (id.to_string(), task(id.as_str(), one))).collect();
        let fields = [
            ("title", json!(self.title)),
            ("createdAt", json!(self.created_at)),
            ("createdBy", json!(self.access.created_by)),
            ("eventId", json!(self.event_id)),
            ("members", json!(self.access.members)),
            ("tenantRole", json!(self.access.tenant_role)),
            ("transitions", json!(self.transitions)),
            ("columns", Value::Array(columns)),
            ("archivedColumns", Value::Array(archived)),
            ("tasks", Value::Object(tasks)),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn column(column: &Column) -> Value {
    json!({
        "id": column.spec.id,
        "title": column.spec.title,
        "wip": column.spec.wip,
        "wipMode": column.spec.wip_mode,
        "state": column.spec.state,
        "tasks": column.order,
    })
}

fn task(id: &str, task: &Task) -> Value {
    json!({
        "id": id,
        "title": task.title,
        "column": task.column,
        "description": task.description,
        "priority": task.priority,
        "labels": task.labels,
        "assignees": task.assignees,
        "due": task.due,
        "estimate": task.estimate,
        "customFields": task.custom_fields,
        "attachments": task.attachments,
        "comments": task.comments,
        "checklist": task.checklist,
        "archived": task.archived,
    })
}

//! What a board is. The order of tasks is a `Vec` of ids a column; a task knows its column.

use std::collections::BTreeMap;

use schemas::{
    Code, EntityId, ItemId, Patch, Rejection, Timestamp, UserName,
    board::{
        Attachment, BoardChange, ChecklistItem, ColumnSpec, Comment, CustomField, Priority,
        TaskFields, TransitionRule, WipMode,
    },
};
use serde::{Deserialize, Serialize};

use super::history::{History, Place};
use crate::domain::access::{Access, conflict, not_found};

/// A board as its changes have made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Board {
    pub(super) title: String,
    pub(super) created_at: Timestamp,
    pub(super) event_id: Option<EntityId>,
    pub(super) access: Access,
    /// From left to right; never empty.
    pub(super) columns: Vec<Column>,
    /// In the order of archiving; they hold no tasks.
    pub(super) archived_columns: Vec<ColumnSpec>,
    pub(super) tasks: BTreeMap<ItemId, Task>,
    pub(super) transitions: Vec<TransitionRule>,
    pub(super) history: History,
}

/// A column on the board.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub(super) spec: ColumnSpec,
    /// From top to bottom.
    pub(super) order: Vec<ItemId>,
}

/// A task, on the board or archived.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub(super) title: String,
    /// Where it stands or, archived, stood; that column may be gone by now.
    pub(super) column: ItemId,
    pub(super) description: Option<String>,
    pub(super) priority: Option<Priority>,
    pub(super) labels: Vec<String>,
    pub(super) assignees: Vec<UserName>,
    pub(super) due: Option<Timestamp>,
    pub(super) estimate: Option<f64>,
    pub(super) custom_fields: Vec<CustomField>,
    pub(super) attachments: Vec<Attachment>,
    pub(super) comments: Vec<Comment>,
    pub(super) checklist: Vec<ChecklistItem>,
    pub(super) archived: bool,
}

impl Column {
    pub(super) fn new(spec: ColumnSpec) -> Self {
        Self { spec, order: Vec::new() }
    }

    /// `wip_limit` if one more task would exceed a hard limit.
    pub(super) fn check_room(&self) -> Result<(), Rejection> {
        let taken = i64::try_from(self.order.len()).unwrap_or(i64::MAX);
        match (self.spec.wip_mode, self.spec.wip) {
            (WipMode::Hard, Some(most)) if taken >= most => Err(Rejection::new(
                Code::WipLimit,
                format!("column {} holds {taken} tasks, {most} at most", self.spec.id),
            )),
            (WipMode::Hard, _) | (WipMode::Soft, _) => Ok(()),
        }
    }
}

impl Task {
    /// A task with nothing but its column.
    pub(super) fn empty(column: ItemId) -> Self {
        Self {
            title: String::new(),
            column,
            description: None,
            priority: None,
            labels: Vec::new(),
            assignees: Vec::new(),
            due: None,
            estimate: None,
            custom_fields: Vec::new(),
            attachments: Vec::new(),
            comments: Vec::new(),
            checklist: Vec::new(),
            archived: false,
        }
    }

    /// Takes over what `fields` sets and clears.
    pub(super) fn update(&mut self, fields: &TaskFields) {
        if let Patch::Set(title) = &fields.title {
            self.title.clone_from(title);
        }
        fields.description.apply_to(&mut self.description);
        fields.priority.apply_to(&mut self.priority);
        fields.labels.apply_or_default(&mut self.labels);
        fields.assignees.apply_or_default(&mut self.assignees);
        fields.due.apply_to(&mut self.due);
        fields.estimate.apply_to(&mut self.estimate);
        fields.custom_fields.apply_or_default(&mut self.custom_fields);
        fields.attachments.apply_or_default(&mut self.attachments);
    }

    /// The change that puts this task into `column` under the id `task`.
    pub(super) fn into_added(
        self,
        task: ItemId,
        column: ItemId,
        after: Option<ItemId>,
    ) -> BoardChange {
        BoardChange::TaskAdded {
            task,
            column,
            title: self.title,
            description: self.description,
            priority: self.priority,
            labels: self.labels,
            assignees: self.assignees,
            due: self.due,
            estimate: self.estimate,
            custom_fields: self.custom_fields,
            attachments: self.attachments,
            comments: self.comments,
            checklist: self.checklist,
            after,
        }
    }
}

impl Board {
    /// The column with this id if it is on the board.
    pub(super) fn column(&self, id: &ItemId) -> Option<&Column> {
        self.columns.iter().find(|column| column.spec.id == *id)
    }

    pub(super) fn column_mut(&mut self, id: &ItemId) -> Option<&mut Column> {
        self.columns.iter_mut().find(|column| column.spec.id == *id)
    }

    pub(super) fn column_index(&self, id: &ItemId) -> Option<usize> {
        self.columns.iter().position(|column| column.spec.id == *id)
    }

    pub(super) fn archived_column(&self, id: &ItemId) -> Option<&ColumnSpec> {
        self.archived_columns.iter().find(|spec| spec.id == *id)
    }

    /// The column, or why a task can't be put there.
    pub(super) fn need_column(&self, id: &ItemId) -> Result<&Column, Rejection> {
        match self.column(id) {
            Some(column) => Ok(column),
            None if self.archived_column(id).is_some() => {
                Err(conflict(format!("column {id} is archived")))
            }
            None => Err(not_found("column", id)),
        }
    }

    pub(super) fn need_task(&self, id: &ItemId) -> Result<&Task, Rejection> {
        self.tasks.get(id).ok_or_else(|| not_found("task", id))
    }

    /// The task if it stands in a column; `conflict` if it is archived.
    pub(super) fn need_task_on_board(&self, id: &ItemId) -> Result<&Task, Rejection> {
        let task = self.need_task(id)?;
        if task.archived {
            return Err(conflict(format!("task {id} is archived")));
        }
        Ok(task)
    }

    /// The place of `id` among the columns.
    pub(super) fn place_of_column(&self, index: usize) -> Place {
        Place { after: index.checked_sub(1).map(|left| self.columns[left].spec.id.clone()), index }
    }
}

/// The index at which something placed after `after` goes; none if that is not in `order`.
pub(super) fn slot<'a>(
    mut order: impl Iterator<Item = &'a ItemId>,
    after: Option<&ItemId>,
) -> Option<usize> {
    match after {
        None => Some(0),
        Some(after) => order.position(|id| id == after).map(|index| index + 1),
    }
}

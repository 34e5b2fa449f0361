//! Commands about tasks.

use schemas::{
    Code, ItemId, Patch, Rejection,
    board::{BoardChange, ChecklistItem, TaskFields},
    role::Role,
};

use super::{
    decide::{Decision, nothing, one},
    input,
    state::{Board, Column, Task},
};
use crate::domain::{
    Context,
    access::{check_text, conflict, not_found},
};

/// Which task goes where, as `addTask` says it.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) task: Option<&'a ItemId>,
    pub(super) column: Option<&'a ItemId>,
    pub(super) after: &'a Patch<ItemId>,
}

impl Board {
    pub(super) fn add_task(
        &self,
        target: Target<'_>,
        fields: TaskFields,
        context: &Context<'_>,
    ) -> Decision {
        let fields = input::task_fields(fields, context.command_id)?;
        let id = self.new_task_id(target.task, context)?;
        let column = match target.column {
            Some(column) => self.need_column(column)?,
            None => self.first_column()?,
        };
        let after = match target.after {
            Patch::Keep => column.order.last().cloned(),
            Patch::Clear => None,
            Patch::Set(after) => Some(need_above(column, after)?.clone()),
        };
        column.check_room()?;
        let mut task = Task::empty(column.spec.id.clone());
        task.update(&fields);
        one(task.into_added(id, column.spec.id.clone(), after))
    }

    pub(super) fn duplicate_task(
        &self,
        id: &ItemId,
        copy: Option<&ItemId>,
        context: &Context<'_>,
    ) -> Decision {
        let original = self.need_task_on_board(id)?;
        let copy_id = self.new_task_id(copy, context)?;
        let column = self.need_column(&original.column)?;
        column.check_room()?;
        let items = original.checklist.iter().enumerate();
        let copy = Task {
            comments: Vec::new(),
            checklist: items
                .map(|(n, item)| ChecklistItem {
                    id: ItemId::derived_nth(context.command_id, n + 1),
                    text: item.text.clone(),
                    done: item.done,
                })
                .collect(),
            title: original.title.clone(),
            column: original.column.clone(),
            description: original.description.clone(),
            priority: original.priority,
            labels: original.labels.clone(),
            assignees: original.assignees.clone(),
            due: original.due,
            estimate: original.estimate,
            custom_fields: original.custom_fields.clone(),
            attachments: original.attachments.clone(),
            archived: false,
        };
        one(copy.into_added(copy_id, column.spec.id.clone(), Some(id.clone())))
    }

    pub(super) fn update_task(
        &self,
        id: &ItemId,
        given: TaskFields,
        context: &Context<'_>,
    ) -> Decision {
        let task = self.need_task(id)?;
        let given = input::task_fields(given, context.command_id)?;
        let fields = TaskFields {
            title: input::altering(given.title, Some(&task.title)),
            description: input::altering(given.description, task.description.as_ref()),
            priority: input::altering(given.priority, task.priority.as_ref()),
            labels: input::altering_value(given.labels, &task.labels),
            assignees: input::altering_value(given.assignees, &task.assignees),
            due: input::altering(given.due, task.due.as_ref()),
            estimate: input::altering(given.estimate, task.estimate.as_ref()),
            custom_fields: input::altering_value(given.custom_fields, &task.custom_fields),
            attachments: input::altering_value(given.attachments, &task.attachments),
        };
        if fields == TaskFields::default() {
            return nothing();
        }
        one(BoardChange::TaskUpdated { task: id.clone(), fields })
    }

    pub(super) fn move_task(
        &self,
        id: &ItemId,
        to: &ItemId,
        after: Option<&ItemId>,
        expect_column: Option<&ItemId>,
        role: Role,
    ) -> Decision {
        let task = self.need_task_on_board(id)?;
        if let Some(expected) = expect_column
            && task.column != *expected
        {
            let found = &task.column;
            return Err(conflict(format!("task {id} is in column {found}, not in {expected}")));
        }
        let target = self.need_column(to)?;
        if let Some(after) = after {
            if after == id {
                return Err(Rejection::field("after", "must not be the task itself"));
            }
            need_above(target, after)?;
        }
        if task.column == *to {
            let index = target.order.iter().position(|one| one == id).unwrap_or_default();
            let above = index.checked_sub(1).map(|above| &target.order[above]);
            if above == after {
                return nothing();
            }
        } else {
            self.check_transition(&task.column, target, role)?;
            target.check_room()?;
        }
        one(BoardChange::TaskMoved {
            task: id.clone(),
            from: task.column.clone(),
            to: to.clone(),
            after: after.cloned(),
        })
    }

    pub(super) fn archive_task(&self, id: &ItemId) -> Decision {
        if self.need_task(id)?.archived {
            return nothing();
        }
        one(BoardChange::TaskArchived { task: id.clone() })
    }

    pub(super) fn restore_task(&self, id: &ItemId, role: Role) -> Decision {
        let task = self.need_task(id)?;
        if !task.archived {
            return nothing();
        }
        let column = match self.column(&task.column) {
            Some(column) => column,
            None => {
                let first = self.first_column()?;
                self.check_transition(&task.column, first, role)?;
                first
            }
        };
        column.check_room()?;
        one(BoardChange::TaskRestored {
            task: id.clone(),
            column: column.spec.id.clone(),
            after: column.order.last().cloned(),
        })
    }

    pub(super) fn delete_task(&self, id: &ItemId) -> Decision {
        self.need_task(id)?;
        one(BoardChange::TaskDeleted { task: id.clone() })
    }

    pub(super) fn add_comment(
        &self,
        id: &ItemId,
        comment: Option<&ItemId>,
        text: &str,
        context: &Context<'_>,
    ) -> Decision {
        let task = self.need_task(id)?;
        check_text("text", text, input::TEXT)?;
        let comment = comment.cloned().unwrap_or_else(|| ItemId::derived(context.command_id));
        if task.comments.iter().any(|known| known.id == comment) {
            return Err(conflict(format!("comment {comment} exists already")));
        }
        if task.comments.len() >= input::COMMENTS {
            return Err(conflict(format!("a task has {} comments at most", input::COMMENTS)));
        }
        one(BoardChange::CommentAdded { task: id.clone(), comment, text: text.to_owned() })
    }

    pub(super) fn add_checklist_item(
        &self,
        id: &ItemId,
        item: Option<&ItemId>,
        text: &str,
        context: &Context<'_>,
    ) -> Decision {
        let task = self.need_task(id)?;
        check_text("text", text, input::TEXT)?;
        let item = item.cloned().unwrap_or_else(|| ItemId::derived(context.command_id));
        if task.checklist.iter().any(|known| known.id == item) {
            return Err(conflict(format!("checklist item {item} exists already")));
        }
        if task.checklist.len() >= input::ITEMS {
            return Err(conflict(format!("a checklist has {} items at most", input::ITEMS)));
        }
        one(BoardChange::ChecklistItemAdded { task: id.clone(), item, text: text.to_owned() })
    }

    pub(super) fn set_checklist_item(&self, id: &ItemId, item: &ItemId, done: bool) -> Decision {
        let task = self.need_task(id)?;
        let known = task.checklist.iter().find(|known| known.id == *item);
        let known = known.ok_or_else(|| not_found("checklist item", item))?;
        if known.done == done {
            return nothing();
        }
        one(BoardChange::ChecklistItemSet { task: id.clone(), item: item.clone(), done })
    }

    pub(super) fn first_column(&self) -> Result<&Column, Rejection> {
        self.columns.first().ok_or_else(|| conflict("the board has no column"))
    }

    fn new_task_id(
        &self,
        given: Option<&ItemId>,
        context: &Context<'_>,
    ) -> Result<ItemId, Rejection> {
        let id = given.cloned().unwrap_or_else(|| ItemId::derived(context.command_id));
        if self.tasks.contains_key(&id) {
            return Err(conflict(format!("task {id} exists already")));
        }
        if self.tasks.len() >= input::TASKS {
            return Err(conflict(format!("a board has {} tasks at most", input::TASKS)));
        }
        Ok(id)
    }

    /// `transition` unless a rule lets `role` take a task from column `from` to `to`.
    fn check_transition(&self, from: &ItemId, to: &Column, role: Role) -> Result<(), Rejection> {
        let spec = self.column(from).map(|column| &column.spec);
        let Some(from) = spec.or_else(|| self.archived_column(from)).map(|spec| &spec.state) else {
            // The column was taken back by an undo: it has no state to come from.
            return Ok(());
        };
        let to = &to.spec.state;
        if self.transitions.is_empty() || from == to {
            return Ok(());
        }
        let mut rules = self.transitions.iter().filter(|rule| rule.from == *from && rule.to == *to);
        let allows =
            |roles: &[Role]| roles.is_empty() || role == Role::Owner || roles.contains(&role);
        if rules.clone().any(|rule| allows(&rule.roles)) {
            return Ok(());
        }
        let reason = match rules.next() {
            Some(_) => format!("your role may not take a task from state {from} to {to}"),
            None => format!("a task may not go from state {from} to {to}"),
        };
        Err(Rejection::new(Code::Transition, reason))
    }
}

/// `invalid` unless `after` stands in `column`.
fn need_above<'a>(column: &Column, after: &'a ItemId) -> Result<&'a ItemId, Rejection> {
    if column.order.contains(after) {
        return Ok(after);
    }
    let id = &column.spec.id;
    Err(Rejection::field("after", format!("must be a task in column {id}")))
}

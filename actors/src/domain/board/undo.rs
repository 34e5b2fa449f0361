//! Undo and redo: from an entry of the history to the changes that take it back, if nothing later
//! depends on it, what it names is still there, and limits hold. Workflow transitions do not bind
//! an undo: it restores what was allowed before.

use schemas::{
    ItemId, Rejection, Seq,
    board::{BoardChange, BoardFields},
    role::Role,
};

use super::{
    decide::{Decision, check_owner},
    history::{Direction, Entry, Place, Step, Thing},
    state::{Board, Task},
};
use crate::domain::{
    Draft,
    access::{conflict, not_found},
};

impl Board {
    /// Takes back the change with this seq, or the redo with it.
    pub(super) fn undo(&self, seq: Seq, role: Role) -> Decision {
        let latest = self.need_latest(seq)?;
        let asked = self.history.entry(seq);
        if asked.is_some_and(|entry| entry.direction == Direction::Undoes) {
            return Err(conflict(format!("change {seq} is an undo itself: redo takes it back")));
        }
        if latest.direction == Direction::Undoes {
            return Err(conflict(format!("change {seq} is undone already, by {}", latest.seq)));
        }
        let changes = self.take_back(latest, role)?.into_iter();
        Ok(changes.map(|body| Draft { body, undoes: Some(seq), redoes: None }).collect())
    }

    /// Takes back the undo with this seq, or the latest undo of the change with it.
    pub(super) fn redo(&self, seq: Seq, role: Role) -> Decision {
        let latest = self.need_latest(seq)?;
        if latest.direction == Direction::Does {
            return Err(conflict(format!("change {seq} is not undone")));
        }
        let changes = self.take_back(latest, role)?.into_iter();
        Ok(changes.map(|body| Draft { body, undoes: None, redoes: Some(seq) }).collect())
    }

    fn need_latest(&self, seq: Seq) -> Result<&Entry, Rejection> {
        self.history.latest(seq).ok_or_else(|| not_found("change that can be taken back,", seq))
    }

    fn take_back(&self, entry: &Entry, role: Role) -> Result<Vec<BoardChange>, Rejection> {
        let Some(step) = &entry.inverse else {
            return Err(conflict(format!("{} (seq {}) can't be undone", entry.name, entry.seq)));
        };
        if let Step::UpdateBoard(BoardFields { tenant_role, .. }) = step
            && !tenant_role.is_keep()
        {
            check_owner(role)?;
        }
        if let Some(later) = self.history.dependent(entry) {
            return Err(depends(later));
        }
        self.compensation(step)
    }

    fn compensation(&self, step: &Step) -> Result<Vec<BoardChange>, Rejection> {
        let change = match step {
            Step::UpdateBoard(fields) => BoardChange::BoardUpdated { fields: fields.clone() },
            Step::SetTransitions(rules) => BoardChange::TransitionsSet { rules: rules.clone() },
            Step::AddColumn { spec, place } => {
                if self.has_column(&spec.id) {
                    return Err(conflict(format!("column {} exists already", spec.id)));
                }
                let spec = spec.clone();
                BoardChange::ColumnAdded {
                    after: self.resolve_column(&spec.id, place),
                    column: spec.id,
                    title: spec.title,
                    wip: spec.wip,
                    wip_mode: spec.wip_mode,
                    state: spec.state,
                }
            }
            Step::RemoveColumn { column } => {
                self.check_leaves(column)?;
                BoardChange::ColumnRemoved { column: column.clone() }
            }
            Step::UpdateColumn { column, fields } => {
                self.need_column(column)?;
                BoardChange::ColumnUpdated { column: column.clone(), fields: fields.clone() }
            }
            Step::MoveColumn { column, place } => {
                self.need_column(column)?;
                let after = self.resolve_column(column, place);
                BoardChange::ColumnMoved { column: column.clone(), after }
            }
            Step::ArchiveColumn { column } => {
                self.check_leaves(column)?;
                BoardChange::ColumnArchived { column: column.clone() }
            }
            Step::RestoreColumn { column, place } => {
                if self.archived_column(column).is_none() {
                    return Err(conflict(format!("column {column} is not archived")));
                }
                let after = self.resolve_column(column, place);
                BoardChange::ColumnRestored { column: column.clone(), after }
            }
            Step::AddTask { task, content, place } => {
                return self.bring_back(task, content, place);
            }
            Step::DeleteTask { task } => {
                self.need_task(task)?;
                BoardChange::TaskDeleted { task: task.clone() }
            }
            Step::UpdateTask { task, fields } => {
                self.need_task(task)?;
                BoardChange::TaskUpdated { task: task.clone(), fields: fields.clone() }
            }
            Step::MoveTask { task, column, place } => {
                let from = self.need_task_on_board(task)?.column.clone();
                let after = self.resolve_task(task, column, place)?;
                if from != *column {
                    self.need_column(column)?.check_room()?;
                }
                BoardChange::TaskMoved { task: task.clone(), from, to: column.clone(), after }
            }
            Step::ArchiveTask { task, .. } => {
                self.need_task_on_board(task)?;
                BoardChange::TaskArchived { task: task.clone() }
            }
            Step::RestoreTask { task, column, place } => {
                if !self.need_task(task)?.archived {
                    return Err(conflict(format!("task {task} is not archived")));
                }
                let after = self.resolve_task(task, column, place)?;
                self.need_column(column)?.check_room()?;
                BoardChange::TaskRestored { task: task.clone(), column: column.clone(), after }
            }
            Step::AddComment { task, comment } => {
                let known = &self.need_task(task)?.comments;
                if known.iter().any(|one| one.id == comment.id)
                    || known.len() >= super::input::COMMENTS
                {
                    return Err(conflict(format!("comment {} has no place", comment.id)));
                }
                let (comment, text) = (comment.id.clone(), comment.text.clone());
                BoardChange::CommentAdded { task: task.clone(), comment, text }
            }
            Step::RemoveComment { task, comment } => {
                if !self.need_task(task)?.comments.iter().any(|one| one.id == *comment) {
                    return Err(not_found("comment", comment));
                }
                BoardChange::CommentRemoved { task: task.clone(), comment: comment.clone() }
            }
            Step::AddItem { task, item, text } => {
                let known = &self.need_task(task)?.checklist;
                if known.iter().any(|one| one.id == *item) || known.len() >= super::input::ITEMS {
                    return Err(conflict(format!("checklist item {item} has no place")));
                }
                let (task, item, text) = (task.clone(), item.clone(), text.clone());
                BoardChange::ChecklistItemAdded { task, item, text }
            }
            Step::RemoveItem { task, item } => {
                self.need_item(task, item)?;
                BoardChange::ChecklistItemRemoved { task: task.clone(), item: item.clone() }
            }
            Step::SetItem { task, item, done } => {
                self.need_item(task, item)?;
                let (task, item) = (task.clone(), item.clone());
                BoardChange::ChecklistItemSet { task, item, done: *done }
            }
        };
        Ok(vec![change])
    }

    /// A deleted task again. One that was archived is added and archived, by two changes: it is
    /// for a moment in its column, so that column needs room.
    fn bring_back(
        &self,
        task: &ItemId,
        content: &Task,
        place: &Place,
    ) -> Result<Vec<BoardChange>, Rejection> {
        if self.tasks.contains_key(task) {
            return Err(conflict(format!("task {task} exists already")));
        }
        if self.tasks.len() >= super::input::TASKS {
            return Err(conflict(format!("a board has {} tasks at most", super::input::TASKS)));
        }
        let column = match self.column(&content.column) {
            None if content.archived => self.first_column()?.spec.id.clone(),
            Some(_) | None => content.column.clone(),
        };
        let after = self.resolve_task(task, &column, place)?;
        self.need_column(&column)?.check_room()?;
        let mut changes = vec![content.clone().into_added(task.clone(), column, after)];
        if content.archived {
            changes.push(BoardChange::TaskArchived { task: task.clone() });
        }
        Ok(changes)
    }

    /// As `check_removable`, naming the change that stands against it where one does.
    fn check_leaves(&self, column: &ItemId) -> Result<(), Rejection> {
        match self.column(column).and_then(|column| self.history.last_into(column)) {
            Some(later) => Err(depends(later)),
            None => self.check_removable(column),
        }
    }

    fn resolve_column(&self, id: &ItemId, place: &Place) -> Option<ItemId> {
        let ids = self.columns.iter().map(|column| &column.spec.id);
        place.resolve(&ids.filter(|other| *other != id).collect::<Vec<_>>())
    }

    fn resolve_task(
        &self,
        task: &ItemId,
        column: &ItemId,
        place: &Place,
    ) -> Result<Option<ItemId>, Rejection> {
        match (self.column(column), self.history.last_whole(&Thing::Column(column.clone()))) {
            (Some(column), _) => {
                let others = column.order.iter().filter(|other| *other != task);
                Ok(place.resolve(&others.collect::<Vec<_>>()))
            }
            (None, Some(later)) => Err(depends(later)),
            (None, None) => Err(conflict(format!("column {column} is not on the board any more"))),
        }
    }

    fn need_item(&self, task: &ItemId, item: &ItemId) -> Result<(), Rejection> {
        match self.need_task(task)?.checklist.iter().any(|one| one.id == *item) {
            true => Ok(()),
            false => Err(not_found("checklist item", item)),
        }
    }
}

fn depends(later: &Entry) -> Rejection {
    conflict(format!("{} (seq {}) depends on it", later.name, later.seq))
}

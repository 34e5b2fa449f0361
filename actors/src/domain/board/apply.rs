//! From a change to the next state. Each arm first looks whether the change fits, then notes how
//! to take it back, then makes it.

use schemas::{
    EntityId, ItemId, Patch,
    board::{
        BoardChange, BoardFields, ChecklistItem, ColumnFields, ColumnSpec, Comment, TaskFields,
    },
    role::TenantRole,
};

use super::{
    history::{History, Part, Place, Step, Thing, Touch, Trace},
    state::{Board, Column, Task, slot},
};
use crate::domain::{Meta, access::Access};

impl Board {
    /// The board after its first change; none unless it is `boardCreated`.
    pub fn from_created(change: &BoardChange, meta: &Meta<'_>) -> Option<Self> {
        let BoardChange::BoardCreated { title, columns, event_id, tenant_role } = change else {
            return None;
        };
        let mut board = Self {
            title: title.clone(),
            created_at: meta.at,
            event_id: event_id.clone(),
            access: Access::new(meta.by.clone(), *tenant_role),
            columns: columns.iter().cloned().map(Column::new).collect(),
            archived_columns: Vec::new(),
            tasks: std::collections::BTreeMap::new(),
            transitions: Vec::new(),
            history: History::default(),
        };
        board.history.record(name(change), Trace::lasting(), meta);
        Some(board)
    }

    /// Takes a change over. One that does not fit, which `decide` never makes, changes nothing.
    pub fn apply(&mut self, change: &BoardChange, meta: &Meta<'_>) {
        if let Some(trace) = self.change(change, meta) {
            self.history.record(name(change), trace, meta);
        }
    }

    fn change(&mut self, change: &BoardChange, meta: &Meta<'_>) -> Option<Trace> {
        match change {
            BoardChange::BoardCreated { .. } => None,
            BoardChange::BoardUpdated { fields } => Some(self.apply_fields(fields)),
            BoardChange::ColumnAdded { column, title, wip, wip_mode, state, after } => {
                if self.has_column(column) {
                    return None;
                }
                let spec = ColumnSpec {
                    id: column.clone(),
                    title: title.clone(),
                    wip: *wip,
                    wip_mode: *wip_mode,
                    state: state.clone(),
                };
                self.insert_column(Column::new(spec), after.as_ref())?;
                Some(whole_column(column, Step::RemoveColumn { column: column.clone() }))
            }
            BoardChange::ColumnUpdated { column, fields } => self.apply_column(column, fields),
            BoardChange::ColumnMoved { column, after } => {
                let index = self.column_index(column)?;
                let place = self.place_of_column(index);
                if after.as_ref() == Some(column) || !self.has_slot(after.as_ref()) {
                    return None;
                }
                let moved = self.columns.remove(index);
                self.insert_column(moved, after.as_ref())?;
                let inverse = Step::MoveColumn { column: column.clone(), place };
                Some(Trace::of(Thing::Column(column.clone()), [Part::Place], inverse))
            }
            BoardChange::ColumnArchived { column } => {
                let (spec, place) = self.remove_column(column)?;
                self.archived_columns.push(spec);
                let step = Step::RestoreColumn { column: column.clone(), place };
                Some(whole_column(column, step))
            }
            BoardChange::ColumnRestored { column, after } => {
                let index = self.archived_columns.iter().position(|spec| spec.id == *column)?;
                if !self.has_slot(after.as_ref()) {
                    return None;
                }
                let spec = self.archived_columns.remove(index);
                self.insert_column(Column::new(spec), after.as_ref())?;
                Some(whole_column(column, Step::ArchiveColumn { column: column.clone() }))
            }
            BoardChange::ColumnRemoved { column } => {
                let (spec, place) = self.remove_column(column)?;
                Some(whole_column(column, Step::AddColumn { spec, place }))
            }
            BoardChange::TaskAdded {
                task: id,
                column,
                title,
                description,
                priority,
                labels,
                assignees,
                due,
                estimate,
                custom_fields,
                attachments,
                comments,
                checklist,
                after,
            } => {
                if self.tasks.contains_key(id) {
                    return None;
                }
                self.insert_task(id, column, after.as_ref())?;
                let task = Task {
                    title: title.clone(),
                    column: column.clone(),
                    description: description.clone(),
                    priority: *priority,
                    labels: labels.clone(),
                    assignees: assignees.clone(),
                    due: *due,
                    estimate: *estimate,
                    custom_fields: custom_fields.clone(),
                    attachments: attachments.clone(),
                    comments: comments.clone(),
                    checklist: checklist.clone(),
                    archived: false,
                };
                self.tasks.insert(id.clone(), task);
                let inverse = Step::DeleteTask { task: id.clone() };
                Some(Trace::task(id, Part::Whole, inverse).into_column(column))
            }
            BoardChange::TaskUpdated { task, fields } => self.apply_task(task, fields),
            BoardChange::TaskMoved { task: id, from, to, after } => {
                let task = self.tasks.get(id).filter(|task| !task.archived)?;
                let fits = slot(self.column(to)?.order.iter(), after.as_ref()).is_some();
                if task.column != *from || after.as_ref() == Some(id) || !fits {
                    return None;
                }
                let place = self.take_out(id, from)?;
                self.insert_task(id, to, after.as_ref())?;
                self.tasks.get_mut(id)?.column.clone_from(to);
                let inverse = Step::MoveTask { task: id.clone(), column: from.clone(), place };
                Some(Trace::task(id, Part::Place, inverse).into_column(to))
            }
            BoardChange::TaskArchived { task: id } => {
                let former = self.former_column(id, meta);
                let task = self.tasks.get_mut(id).filter(|task| !task.archived)?;
                task.archived = true;
                let column = task.column.clone();
                task.column = former.unwrap_or_else(|| column.clone());
                let place = self.take_out(id, &column)?;
                let inverse = Step::RestoreTask { task: id.clone(), column, place };
                Some(Trace::task(id, Part::Place, inverse))
            }
            BoardChange::TaskRestored { task: id, column, after } => {
                self.tasks.get(id).filter(|task| task.archived)?;
                self.insert_task(id, column, after.as_ref())?;
                let task = self.tasks.get_mut(id)?;
                task.archived = false;
                let former = Some(std::mem::replace(&mut task.column, column.clone()));
                let inverse = Step::ArchiveTask { task: id.clone(), former };
                Some(Trace::task(id, Part::Place, inverse).into_column(column))
            }
            BoardChange::TaskDeleted { task: id } => {
                let task = self.tasks.remove(id)?;
                let bottom = Place { after: None, index: usize::MAX };
                let place = self.take_out(id, &task.column).unwrap_or(bottom);
                let content = Box::new(task);
                let inverse = Step::AddTask { task: id.clone(), content, place };
                Some(Trace::task(id, Part::Whole, inverse))
            }
            BoardChange::CommentAdded { task: id, comment, text } => {
                let original = self.taken_back_comment(comment, meta);
                let comments = &mut self.tasks.get_mut(id)?.comments;
                if comments.iter().any(|known| known.id == *comment) {
                    return None;
                }
                comments.push(original.unwrap_or_else(|| Comment {
                    id: comment.clone(),
                    by: meta.by.to_string(),
                    at: meta.at,
                    text: text.clone(),
                }));
                let inverse = Step::RemoveComment { task: id.clone(), comment: comment.clone() };
                Some(Trace::task(id, Part::Comment(comment.clone()), inverse))
            }
            BoardChange::CommentRemoved { task: id, comment } => {
                let comments = &mut self.tasks.get_mut(id)?.comments;
                let index = comments.iter().position(|known| known.id == *comment)?;
                let removed = comments.remove(index);
                let inverse = Step::AddComment { task: id.clone(), comment: removed };
                Some(Trace::task(id, Part::Comment(comment.clone()), inverse))
            }
            BoardChange::ChecklistItemAdded { task: id, item, text } => {
                let checklist = &mut self.tasks.get_mut(id)?.checklist;
                if checklist.iter().any(|known| known.id == *item) {
                    return None;
                }
                let (new, text) = (item.clone(), text.clone());
                checklist.push(ChecklistItem { id: new, text, done: false });
                let inverse = Step::RemoveItem { task: id.clone(), item: item.clone() };
                Some(Trace::task(id, Part::Item(item.clone()), inverse))
            }
            BoardChange::ChecklistItemSet { task: id, item, done } => {
                let checklist = &mut self.tasks.get_mut(id)?.checklist;
                let known = checklist.iter_mut().find(|known| known.id == *item)?;
                let before = std::mem::replace(&mut known.done, *done);
                let (task, same) = (id.clone(), item.clone());
                let inverse = Step::SetItem { task, item: same, done: before };
                Some(Trace::task(id, Part::Item(item.clone()), inverse))
            }
            BoardChange::ChecklistItemRemoved { task: id, item } => {
                let checklist = &mut self.tasks.get_mut(id)?.checklist;
                let index = checklist.iter().position(|known| known.id == *item)?;
                let ChecklistItem { id: removed, text, .. } = checklist.remove(index);
                let inverse = Step::AddItem { task: id.clone(), item: removed, text };
                Some(Trace::task(id, Part::Item(item.clone()), inverse))
            }
            BoardChange::TransitionsSet { rules } => {
                let before = std::mem::replace(&mut self.transitions, rules.clone());
                Some(Trace::of(Thing::Board, [Part::Transitions], Step::SetTransitions(before)))
            }
            BoardChange::MemberSet { user, role } => {
                self.access.members.insert(user.clone(), *role);
                Some(Trace::lasting())
            }
            BoardChange::MemberRemoved { user } => {
                self.access.members.remove(user)?;
                Some(Trace::lasting())
            }
        }
    }

    fn apply_fields(&mut self, fields: &BoardFields) -> Trace {
        let mut before = BoardFields::default();
        let mut parts = Vec::new();
        if let Patch::Set(title) = &fields.title {
            before.title = Patch::Set(std::mem::replace(&mut self.title, title.clone()));
            parts.push(Part::Title);
        }
        note(&fields.event_id, Part::EventId, &mut parts);
        before.event_id = replace::<EntityId>(&fields.event_id, &mut self.event_id);
        if !fields.tenant_role.is_keep() {
            before.tenant_role = Patch::Set(self.access.tenant_role);
            let cleared = TenantRole::None;
            self.access.tenant_role = fields.tenant_role.as_set().copied().unwrap_or(cleared);
            parts.push(Part::TenantRole);
        }
        Trace::of(Thing::Board, parts, Step::UpdateBoard(before))
    }

    fn apply_column(&mut self, id: &ItemId, fields: &ColumnFields) -> Option<Trace> {
        let spec = &mut self.column_mut(id)?.spec;
        let mut parts = Vec::new();
        note(&fields.title, Part::Title, &mut parts);
        note(&fields.wip, Part::Wip, &mut parts);
        note(&fields.wip_mode, Part::WipMode, &mut parts);
        note(&fields.state, Part::State, &mut parts);
        let before = ColumnFields {
            title: replace_value(&fields.title, &mut spec.title),
            wip: replace(&fields.wip, &mut spec.wip),
            wip_mode: replace_value(&fields.wip_mode, &mut spec.wip_mode),
            state: replace_value(&fields.state, &mut spec.state),
        };
        let inverse = Step::UpdateColumn { column: id.clone(), fields: before };
        Some(Trace::of(Thing::Column(id.clone()), parts, inverse))
    }

    fn apply_task(&mut self, id: &ItemId, fields: &TaskFields) -> Option<Trace> {
        let task = self.tasks.get_mut(id)?;
        let mut parts = Vec::new();
        note(&fields.title, Part::Title, &mut parts);
        note(&fields.description, Part::Description, &mut parts);
        note(&fields.priority, Part::Priority, &mut parts);
        note(&fields.labels, Part::Labels, &mut parts);
        note(&fields.assignees, Part::Assignees, &mut parts);
        note(&fields.due, Part::Due, &mut parts);
        note(&fields.estimate, Part::Estimate, &mut parts);
        note(&fields.custom_fields, Part::CustomFields, &mut parts);
        note(&fields.attachments, Part::Attachments, &mut parts);
        let before = TaskFields {
            title: replace_value(&fields.title, &mut task.title),
            description: replace(&fields.description, &mut task.description),
            priority: replace(&fields.priority, &mut task.priority),
            labels: replace_value(&fields.labels, &mut task.labels),
            assignees: replace_value(&fields.assignees, &mut task.assignees),
            due: replace(&fields.due, &mut task.due),
            estimate: replace(&fields.estimate, &mut task.estimate),
            custom_fields: replace_value(&fields.custom_fields, &mut task.custom_fields),
            attachments: replace_value(&fields.attachments, &mut task.attachments),
        };
        let inverse = Step::UpdateTask { task: id.clone(), fields: before };
        Some(Trace::of(Thing::Task(id.clone()), parts, inverse))
    }

    /// The comment that a redo brings back, with its author and time.
    fn taken_back_comment(&self, id: &ItemId, meta: &Meta<'_>) -> Option<Comment> {
        match &self.history.latest(meta.redoes?)?.inverse {
            Some(Step::AddComment { comment, .. }) if comment.id == *id => Some(comment.clone()),
            Some(_) | None => None,
        }
    }

    /// The column that a task belonged to while it was archived before, maybe one that is archived
    /// itself, if an undo or a redo archives it again.
    fn former_column(&self, id: &ItemId, meta: &Meta<'_>) -> Option<ItemId> {
        self.history.family(meta.undoes.or(meta.redoes)?).find_map(|entry| match &entry.inverse {
            Some(Step::ArchiveTask { task, former }) if task == id => former.clone(),
            Some(Step::AddTask { task, content, .. }) if task == id && content.archived => {
                Some(content.column.clone())
            }
            Some(_) | None => None,
        })
    }

    fn has_slot(&self, after: Option<&ItemId>) -> bool {
        after.is_none_or(|after| self.column(after).is_some())
    }

    fn insert_column(&mut self, column: Column, after: Option<&ItemId>) -> Option<()> {
        let index = slot(self.columns.iter().map(|column| &column.spec.id), after)?;
        self.columns.insert(index, column);
        Some(())
    }

    fn remove_column(&mut self, id: &ItemId) -> Option<(ColumnSpec, Place)> {
        self.check_removable(id).ok()?;
        let index = self.column_index(id)?;
        let place = self.place_of_column(index);
        Some((self.columns.remove(index).spec, place))
    }

    fn insert_task(&mut self, id: &ItemId, to: &ItemId, after: Option<&ItemId>) -> Option<()> {
        let order = &mut self.column_mut(to)?.order;
        let index = slot(order.iter(), after)?;
        order.insert(index, id.clone());
        Some(())
    }

    /// Takes a task out of its column's order and says where it stood.
    fn take_out(&mut self, id: &ItemId, column: &ItemId) -> Option<Place> {
        let order = &mut self.column_mut(column)?.order;
        let index = order.iter().position(|other| other == id)?;
        order.remove(index);
        let after = index.checked_sub(1).map(|above| order[above].clone());
        Some(Place { after, index })
    }
}

impl Trace {
    /// Of a change that can't be taken back.
    fn lasting() -> Self {
        Self { touches: Vec::new(), column: None, inverse: None }
    }

    fn of(thing: Thing, parts: impl IntoIterator<Item = Part>, inverse: Step) -> Self {
        let touch = |part| Touch { thing: thing.clone(), part };
        let touches = parts.into_iter().map(touch).collect();
        Self { touches, column: None, inverse: Some(inverse) }
    }

    fn task(id: &ItemId, part: Part, inverse: Step) -> Self {
        Self::of(Thing::Task(id.clone()), [part], inverse)
    }

    fn into_column(self, column: &ItemId) -> Self {
        Self { column: Some(column.clone()), ..self }
    }
}

fn whole_column(id: &ItemId, inverse: Step) -> Trace {
    Trace::of(Thing::Column(id.clone()), [Part::Whole], inverse)
}

fn note<T>(patch: &Patch<T>, part: Part, parts: &mut Vec<Part>) {
    if !patch.is_keep() {
        parts.push(part);
    }
}

/// Writes `patch` into `field` and answers the patch that takes it back.
fn replace<T: Clone>(patch: &Patch<T>, field: &mut Option<T>) -> Patch<T> {
    match patch {
        Patch::Keep => Patch::Keep,
        Patch::Clear => Patch::from_option(field.take()),
        Patch::Set(value) => Patch::from_option(field.replace(value.clone())),
    }
}

/// As [`replace`], for a field whose cleared form is its default.
fn replace_value<T: Clone + Default>(patch: &Patch<T>, field: &mut T) -> Patch<T> {
    match patch {
        Patch::Keep => Patch::Keep,
        Patch::Clear => Patch::Set(std::mem::take(field)),
        Patch::Set(value) => Patch::Set(std::mem::replace(field, value.clone())),
    }
}

/// The change's type as clients read it.
fn name(change: &BoardChange) -> &'static str {
    match change {
        BoardChange::BoardCreated { .. } => "boardCreated",
        BoardChange::BoardUpdated { .. } => "boardUpdated",
        BoardChange::ColumnAdded { .. } => "columnAdded",
        BoardChange::ColumnUpdated { .. } => "columnUpdated",
        BoardChange::ColumnMoved { .. } => "columnMoved",
        BoardChange::ColumnArchived { .. } => "columnArchived",
        BoardChange::ColumnRestored { .. } => "columnRestored",
        BoardChange::ColumnRemoved { .. } => "columnRemoved",
        BoardChange::TaskAdded { .. } => "taskAdded",
        BoardChange::TaskUpdated { .. } => "taskUpdated",
        BoardChange::TaskMoved { .. } => "taskMoved",
        BoardChange::TaskArchived { .. } => "taskArchived",
        BoardChange::TaskRestored { .. } => "taskRestored",
        BoardChange::TaskDeleted { .. } => "taskDeleted",
        BoardChange::CommentAdded { .. } => "commentAdded",
        BoardChange::CommentRemoved { .. } => "commentRemoved",
        BoardChange::ChecklistItemAdded { .. } => "checklistItemAdded",
        BoardChange::ChecklistItemSet { .. } => "checklistItemSet",
        BoardChange::ChecklistItemRemoved { .. } => "checklistItemRemoved",
        BoardChange::TransitionsSet { .. } => "transitionsSet",
        BoardChange::MemberSet { .. } => "memberSet",
        BoardChange::MemberRemoved { .. } => "memberRemoved",
    }
}

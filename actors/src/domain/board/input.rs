//! The bounds of what a board is asked, each with the field's name, and what is filled in.

use std::collections::BTreeSet;

use schemas::{
    CommandId, ItemId, Patch, Rejection,
    board::{Attachment, CustomField, TaskFields},
    role::{Role, TenantRole},
};

use crate::domain::access::{check_count, check_optional_text, check_text};

/// Characters of a title.
pub(super) const TITLE: usize = 200;
/// Characters of a description, comment or checklist item.
pub(super) const TEXT: usize = 20_000;
/// Characters of a label, of a workflow state, of a custom field's name.
pub(super) const LABEL: usize = 64;
/// Labels, assignees, custom fields or attachments of a task, each.
pub(super) const TASK_LIST: usize = 50;
/// Characters of a custom field's value, of an attachment's address.
pub(super) const VALUE: usize = 2_000;
/// Columns of a board, archived ones included.
pub(super) const COLUMNS: usize = 100;
/// Tasks of a board, archived ones included.
pub(super) const TASKS: usize = 20_000;
/// Comments of a task.
pub(super) const COMMENTS: usize = 1_000;
/// Checklist items of a task.
pub(super) const ITEMS: usize = 200;
/// Transition rules of a board.
pub(super) const RULES: usize = 500;
/// Members of a board.
pub(super) const MEMBERS: usize = 1_000;
/// The largest WIP limit.
const WIP: i64 = 10_000;
/// The largest estimate, in the board's own unit.
const ESTIMATE: f64 = 1_000_000.0;

pub(super) fn check_wip(field: &str, wip: Option<i64>) -> Result<(), Rejection> {
    match wip {
        Some(wip) if !(1..=WIP).contains(&wip) => {
            Err(Rejection::field(field, format!("must be from 1 to {WIP}, or null for no limit")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Boards know no tenant role `member`.
pub(super) fn check_tenant_role(role: TenantRole) -> Result<(), Rejection> {
    match role {
        TenantRole::None | TenantRole::Viewer | TenantRole::Editor => Ok(()),
        TenantRole::Member => {
            Err(Rejection::field("tenantRole", "must be none, viewer or editor for a board"))
        }
    }
}

/// Boards know owner, editor and viewer.
pub(super) fn check_role(field: &str, role: Role) -> Result<(), Rejection> {
    match role {
        Role::Owner | Role::Editor | Role::Viewer => Ok(()),
        Role::Admin | Role::Moderator | Role::Member | Role::Guest | Role::ReadOnly => {
            Err(Rejection::field(field, "must be owner, editor or viewer for a board"))
        }
    }
}

/// A text that an update may not clear.
pub(super) fn check_kept(field: &str, text: &Patch<String>, most: usize) -> Result<(), Rejection> {
    match text {
        Patch::Keep => Ok(()),
        Patch::Clear => Err(Rejection::field(field, "can't be cleared")),
        Patch::Set(text) => check_text(field, text, most),
    }
}

/// Checks every field that is set and fills in the ids of attachments.
pub(super) fn task_fields(
    given: TaskFields,
    command_id: CommandId,
) -> Result<TaskFields, Rejection> {
    check_kept("title", &given.title, TITLE)?;
    if let Patch::Set(text) = &given.description {
        check_optional_text("description", text, TEXT)?;
    }
    Ok(TaskFields {
        labels: checked(given.labels, labels)?,
        assignees: checked(given.assignees, |users| {
            check_count("assignees", users.len(), TASK_LIST)?;
            Ok(unique(users))
        })?,
        estimate: checked(given.estimate, estimate)?,
        custom_fields: checked(given.custom_fields, custom_fields)?,
        attachments: checked(given.attachments, |files| attachments(files, command_id))?,
        ..given
    })
}

fn checked<T>(
    patch: Patch<T>,
    check: impl FnOnce(T) -> Result<T, Rejection>,
) -> Result<Patch<T>, Rejection> {
    Ok(match patch {
        Patch::Keep => Patch::Keep,
        Patch::Clear => Patch::Clear,
        Patch::Set(value) => Patch::Set(check(value)?),
    })
}

/// Each value once, where it stood first.
fn unique<T: Clone + Ord>(values: Vec<T>) -> Vec<T> {
    let mut seen = BTreeSet::new();
    values.into_iter().filter(|value| seen.insert(value.clone())).collect()
}

fn labels(labels: Vec<String>) -> Result<Vec<String>, Rejection> {
    check_count("labels", labels.len(), TASK_LIST)?;
    for (n, label) in labels.iter().enumerate() {
        check_text(&format!("labels[{n}]"), label, LABEL)?;
    }
    Ok(unique(labels))
}

/// Rounded to thousandths, so that its decimal form is exact wherever it is read again.
fn estimate(value: f64) -> Result<f64, Rejection> {
    if !(0.0..=ESTIMATE).contains(&value) {
        return Err(Rejection::field("estimate", format!("must be from 0 to {ESTIMATE}")));
    }
    // Adding zero makes of -0 a plain 0.
    Ok((value * 1_000.0).round() / 1_000.0 + 0.0)
}

fn custom_fields(fields: Vec<CustomField>) -> Result<Vec<CustomField>, Rejection> {
    check_count("customFields", fields.len(), TASK_LIST)?;
    let mut names = BTreeSet::new();
    for (n, field) in fields.iter().enumerate() {
        let path = format!("customFields[{n}].name");
        check_text(&path, &field.name, LABEL)?;
        check_optional_text(&format!("customFields[{n}].value"), &field.value, VALUE)?;
        if !names.insert(&field.name) {
            return Err(Rejection::field(path, "is there twice"));
        }
    }
    Ok(fields)
}

fn attachments(
    mut files: Vec<Attachment>,
    command_id: CommandId,
) -> Result<Vec<Attachment>, Rejection> {
    check_count("attachments", files.len(), TASK_LIST)?;
    let mut ids = BTreeSet::new();
    for (n, file) in files.iter_mut().enumerate() {
        check_text(&format!("attachments[{n}].name"), &file.name, TITLE)?;
        let path = format!("attachments[{n}].url");
        check_text(&path, &file.url, VALUE)?;
        if !file.url.starts_with("https://") && !file.url.starts_with("http://") {
            return Err(Rejection::field(path, "must begin with http:// or https://"));
        }
        if let Some(media_type) = &file.media_type {
            check_text(&format!("attachments[{n}].mediaType"), media_type, LABEL * 2)?;
        }
        if file.size.is_some_and(|bytes| bytes < 0) {
            return Err(Rejection::field(format!("attachments[{n}].size"), "must not be negative"));
        }
        let id = file.id.get_or_insert_with(|| ItemId::derived_nth(command_id, n + 1));
        if !ids.insert(id.clone()) {
            return Err(Rejection::field(format!("attachments[{n}].id"), "is there twice"));
        }
    }
    Ok(files)
}

/// The part of `patch` that alters `current`.
pub(super) fn altering<T: PartialEq>(patch: Patch<T>, current: Option<&T>) -> Patch<T> {
    match patch {
        Patch::Set(value) if current != Some(&value) => Patch::Set(value),
        Patch::Clear if current.is_some() => Patch::Clear,
        Patch::Set(_) | Patch::Clear | Patch::Keep => Patch::Keep,
    }
}

/// As [`altering`], for a field whose cleared form is its default.
pub(super) fn altering_value<T: PartialEq + Default>(patch: Patch<T>, current: &T) -> Patch<T> {
    match patch {
        Patch::Set(value) if *current != value => Patch::Set(value),
        Patch::Clear if *current != T::default() => Patch::Clear,
        Patch::Set(_) | Patch::Clear | Patch::Keep => Patch::Keep,
    }
}

//! What a board answers: rights first, then each command to its own function. Here is what
//! concerns the board itself and its members; see `columns`, `tasks` and `undo` for the rest.

use std::collections::BTreeSet;

use schemas::{
    EntityId, ItemId, Kind, Patch, Rejection, UserName,
    board::{
        BoardChange, BoardCommand, BoardFields, ColumnFields, ColumnSpec, NewColumn, TaskFields,
        TransitionRule,
    },
    role::{Role, TenantRole},
};

use super::{input, state::Board, tasks::Target};
use crate::domain::{
    Context, Draft,
    access::{check_count, check_text, conflict, forbidden, not_found},
};

/// What a command comes to.
pub(super) type Decision = Result<Vec<Draft<BoardChange>>, Rejection>;

/// A decision of one change.
pub(super) fn one(change: BoardChange) -> Decision {
    Ok(vec![change.into()])
}

/// The decision that everything is already so.
pub(super) fn nothing() -> Decision {
    Ok(Vec::new())
}

impl Board {
    /// Decides `createBoard`; anything else on a board that does not exist is `not_found`.
    pub fn decide_create(command: &BoardCommand, context: &Context<'_>) -> Decision {
        let BoardCommand::CreateBoard { title, columns, event_id, tenant_role } = command else {
            return Err(Rejection::new(schemas::Code::NotFound, "there is no such board"));
        };
        check_text("title", title, input::TITLE)?;
        check_event(event_id.as_ref())?;
        let tenant_role = tenant_role.unwrap_or(TenantRole::None);
        input::check_tenant_role(tenant_role)?;
        one(BoardChange::BoardCreated {
            title: title.clone(),
            columns: match columns {
                Some(columns) => first_columns(columns, context)?,
                None => default_columns(),
            },
            event_id: event_id.clone(),
            tenant_role,
        })
    }

    /// Decides a command on this board; `createBoard` is `conflict`.
    pub fn decide(&self, command: &BoardCommand, context: &Context<'_>) -> Decision {
        if let BoardCommand::CreateBoard { .. } = command {
            return Err(conflict("the board exists already"));
        }
        let role = self.access.role_of(context.actor).ok_or_else(|| forbidden("members"))?;
        check_may_edit(role)?;
        match command {
            BoardCommand::CreateBoard { .. } => Err(conflict("the board exists already")),
            BoardCommand::UpdateBoard { title, event_id, tenant_role } => self.update_board(
                BoardFields {
                    title: title.clone(),
                    event_id: event_id.clone(),
                    tenant_role: *tenant_role,
                },
                role,
            ),
            BoardCommand::AddColumn { column, title, wip, wip_mode, state, after } => {
                let new = NewColumn {
                    id: column.clone(),
                    title: title.clone(),
                    wip: *wip,
                    wip_mode: *wip_mode,
                    state: state.clone(),
                };
                self.add_column(new, after, context)
            }
            BoardCommand::UpdateColumn { column, title, wip, wip_mode, state } => {
                let fields = ColumnFields {
                    title: title.clone(),
                    wip: *wip,
                    wip_mode: *wip_mode,
                    state: state.clone(),
                };
                self.update_column(column, fields)
            }
            BoardCommand::MoveColumn { column, after } => self.move_column(column, after.as_ref()),
            BoardCommand::ArchiveColumn { column } => self.archive_column(column),
            BoardCommand::RestoreColumn { column } => self.restore_column(column),
            BoardCommand::AddTask {
                task,
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
                after,
            } => {
                let fields = TaskFields {
                    title: Patch::Set(title.clone()),
                    description: Patch::from_option(description.clone()),
                    priority: Patch::from_option(*priority),
                    labels: Patch::from_option(labels.clone()),
                    assignees: Patch::from_option(assignees.clone()),
                    due: Patch::from_option(*due),
                    estimate: Patch::from_option(*estimate),
                    custom_fields: Patch::from_option(custom_fields.clone()),
                    attachments: Patch::from_option(attachments.clone()),
                };
                let target = Target { task: task.as_ref(), column: column.as_ref(), after };
                self.add_task(target, fields, context)
            }
            BoardCommand::UpdateTask {
                task,
                title,
                description,
                priority,
                labels,
                assignees,
                due,
                estimate,
                custom_fields,
                attachments,
            } => {
                let fields = TaskFields {
                    title: title.clone(),
                    description: description.clone(),
                    priority: *priority,
                    labels: labels.clone(),
                    assignees: assignees.clone(),
                    due: *due,
                    estimate: *estimate,
                    custom_fields: custom_fields.clone(),
                    attachments: attachments.clone(),
                };
                self.update_task(task, fields, context)
            }
            BoardCommand::MoveTask { task, column, after, expect_column } => {
                self.move_task(task, column, after.as_ref(), expect_column.as_ref(), role)
            }
            BoardCommand::DuplicateTask { task, copy } => {
                self.duplicate_task(task, copy.as_ref(), context)
            }
            BoardCommand::ArchiveTask { task } => self.archive_task(task),
            BoardCommand::RestoreTask { task } => self.restore_task(task, role),
            BoardCommand::DeleteTask { task } => self.delete_task(task),
            BoardCommand::AddComment { task, comment, text } => {
                self.add_comment(task, comment.as_ref(), text, context)
            }
            BoardCommand::AddChecklistItem { task, item, text } => {
                self.add_checklist_item(task, item.as_ref(), text, context)
            }
            BoardCommand::SetChecklistItem { task, item, done } => {
                self.set_checklist_item(task, item, *done)
            }
            BoardCommand::SetTransitions { rules } => self.set_transitions(rules),
            BoardCommand::SetMember { user, role: given } => self.set_member(user, *given, role),
            BoardCommand::RemoveMember { user } => self.remove_member(user, role),
            BoardCommand::Undo { seq } => self.undo(*seq, role),
            BoardCommand::Redo { seq } => self.redo(*seq, role),
        }
    }

    fn update_board(&self, given: BoardFields, role: Role) -> Decision {
        input::check_kept("title", &given.title, input::TITLE)?;
        check_event(given.event_id.as_set())?;
        if let Patch::Set(tenant_role) = given.tenant_role {
            input::check_tenant_role(tenant_role)?;
        }
        let fields = BoardFields {
            title: input::altering(given.title, Some(&self.title)),
            event_id: input::altering(given.event_id, self.event_id.as_ref()),
            tenant_role: match given.tenant_role {
                Patch::Clear if self.access.tenant_role == TenantRole::None => Patch::Keep,
                other @ (Patch::Keep | Patch::Clear | Patch::Set(_)) => {
                    input::altering(other, Some(&self.access.tenant_role))
                }
            },
        };
        if fields == BoardFields::default() {
            return nothing();
        }
        if !fields.tenant_role.is_keep() {
            check_owner(role)?;
        }
        one(BoardChange::BoardUpdated { fields })
    }

    fn set_transitions(&self, rules: &[TransitionRule]) -> Decision {
        check_count("rules", rules.len(), input::RULES)?;
        for (n, rule) in rules.iter().enumerate() {
            check_text(&format!("rules[{n}].from"), &rule.from, input::LABEL)?;
            check_text(&format!("rules[{n}].to"), &rule.to, input::LABEL)?;
            check_count(&format!("rules[{n}].roles"), rule.roles.len(), 3)?;
            for role in &rule.roles {
                input::check_role(&format!("rules[{n}].roles"), *role)?;
            }
        }
        if self.transitions == rules {
            return nothing();
        }
        one(BoardChange::TransitionsSet { rules: rules.to_vec() })
    }

    fn set_member(&self, user: &UserName, given: Role, role: Role) -> Decision {
        check_owner(role)?;
        input::check_role("role", given)?;
        let current = self.access.members.get(user).copied();
        if current == Some(given) {
            return nothing();
        }
        self.check_owner_remains(user)?;
        if current.is_none() && self.access.members.len() >= input::MEMBERS {
            return Err(conflict(format!("a board has {} members at most", input::MEMBERS)));
        }
        one(BoardChange::MemberSet { user: user.clone(), role: given })
    }

    fn remove_member(&self, user: &UserName, role: Role) -> Decision {
        check_owner(role)?;
        if !self.access.members.contains_key(user) {
            return Err(not_found("member", user));
        }
        self.check_owner_remains(user)?;
        one(BoardChange::MemberRemoved { user: user.clone() })
    }

    /// `conflict` if `user` is the only owner, whose role is about to go.
    fn check_owner_remains(&self, user: &UserName) -> Result<(), Rejection> {
        let is_owner = self.access.members.get(user) == Some(&Role::Owner);
        if is_owner && !self.access.has_owner_besides(user) {
            return Err(conflict(format!("{user} is the last owner")));
        }
        Ok(())
    }
}

/// `forbidden` unless the role changes boards.
fn check_may_edit(role: Role) -> Result<(), Rejection> {
    match role {
        Role::Owner | Role::Editor => Ok(()),
        Role::Viewer
        | Role::Admin
        | Role::Moderator
        | Role::Member
        | Role::Guest
        | Role::ReadOnly => Err(forbidden("owners and editors")),
    }
}

/// `forbidden` unless the role gives rights to others.
pub(super) fn check_owner(role: Role) -> Result<(), Rejection> {
    if role == Role::Owner { Ok(()) } else { Err(forbidden("owners")) }
}

fn check_event(event: Option<&EntityId>) -> Result<(), Rejection> {
    match event {
        Some(entity) if entity.kind() != Kind::Event => {
            Err(Rejection::field("eventId", "must be event:<id>"))
        }
        Some(_) | None => Ok(()),
    }
}

fn default_columns() -> Vec<ColumnSpec> {
    let known =
        [("todo", "To Do"), ("inProgress", "In Progress"), ("review", "Review"), ("done", "Done")];
    let spec = |(id, title): (&str, &str)| ColumnSpec {
        id: id.parse().expect("the ids above are well-formed"),
        title: title.to_owned(),
        wip: None,
        wip_mode: schemas::board::WipMode::Hard,
        state: id.to_owned(),
    };
    known.into_iter().map(spec).collect()
}

fn first_columns(given: &[NewColumn], context: &Context<'_>) -> Result<Vec<ColumnSpec>, Rejection> {
    if given.is_empty() {
        return Err(Rejection::field("columns", "must not be empty"));
    }
    check_count("columns", given.len(), input::COLUMNS)?;
    let mut ids = BTreeSet::new();
    let mut specs = Vec::with_capacity(given.len());
    for (n, column) in given.iter().enumerate() {
        let derived = ItemId::derived_nth(context.command_id, n + 1);
        let spec = column_spec(column, derived, &format!("columns[{n}]."))?;
        if !ids.insert(spec.id.clone()) {
            return Err(Rejection::field(format!("columns[{n}].id"), "is there twice"));
        }
        specs.push(spec);
    }
    Ok(specs)
}

/// Checks a new column, whose fields are named with `path` before them, and fills in the defaults.
pub(super) fn column_spec(
    given: &NewColumn,
    derived: ItemId,
    path: &str,
) -> Result<ColumnSpec, Rejection> {
    check_text(&format!("{path}title"), &given.title, input::TITLE)?;
    input::check_wip(&format!("{path}wip"), given.wip)?;
    if let Some(state) = &given.state {
        check_text(&format!("{path}state"), state, input::LABEL)?;
    }
    let id = given.id.clone().unwrap_or(derived);
    Ok(ColumnSpec {
        title: given.title.clone(),
        wip: given.wip,
        wip_mode: given.wip_mode.unwrap_or_default(),
        state: given.state.clone().unwrap_or_else(|| id.to_string()),
        id,
    })
}

//! From a request to a command, and from an outcome to an answer: the part that WebSocket and
//! HTTP share.

use schemas::{
    Body, Code, Command, CommandId, EntityId, Outcome, Seq, Verdict, board::BoardCommand,
    event::EventCommand, json, role::TenantRole, room::RoomCommand,
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    app::App,
    auth::Identity,
    hub::{Repeated, answer_to_command, changes_json},
    problem::Problem,
};

/// A command as a client asks for it.
#[derive(Debug)]
pub(crate) struct NewCommand {
    /// Of which entity.
    pub entity: EntityId,
    /// `{type, …}`.
    pub body: Value,
    /// The idempotency key, if the client gave one.
    pub id: Option<CommandId>,
    /// Accepted only at exactly this seq.
    pub expect: Option<Seq>,
}

/// Checks shape and limits and stamps what the client left out.
///
/// # Errors
/// `invalid` with the field, `rate_limited` with the time to wait.
pub(crate) fn make(app: &App, identity: &Identity, new: NewCommand) -> Result<Command, Problem> {
    let mut body = json::body_from_value(new.entity.kind(), new.body)?;
    fill_in(&mut body, app.config().tenant_role);
    app.limit_commands(identity)?;
    Ok(Command {
        key: identity.key(new.entity),
        id: new.id.unwrap_or_else(|| CommandId::new(Uuid::now_v7())),
        tenant: identity.tenant.clone(),
        principal: identity.principal.clone(),
        roles: identity.roles.clone(),
        at: app.hub().ports().clock.now(),
        expect: new.expect,
        body,
    })
}

/// What a new entity's `tenantRole` is if its creator does not say, by profile.
fn fill_in(body: &mut Body, default: TenantRole) {
    let in_room = match default {
        TenantRole::Editor => TenantRole::Member,
        TenantRole::None | TenantRole::Viewer | TenantRole::Member => default,
    };
    match body {
        Body::Board(BoardCommand::CreateBoard { tenant_role: role @ None, .. })
        | Body::Event(EventCommand::CreateEvent { tenant_role: role @ None, .. }) => {
            *role = Some(default);
        }
        Body::Room(RoomCommand::CreateRoom { tenant_role: role @ None, .. }) => {
            *role = Some(in_room);
        }
        Body::Board(_) | Body::Event(_) | Body::Room(_) => {}
    }
}

/// The answer to a command that had been decided before: the first one's changes.
///
/// # Errors
/// If the journal cannot be read.
pub(crate) async fn repeated_answer(app: &App, outcome: &Outcome) -> Result<Vec<u8>, Problem> {
    let (Some(key), Some(repeat)) = (&outcome.key, outcome.repeats) else {
        return Err(Problem::new(Code::Unavailable, "the outcome names no entity"));
    };
    let query = actors::ports::JournalQuery {
        after: repeat.after,
        before: repeat.to + 1,
        order: actors::ports::Order::OldestFirst,
        limit: repeat.to - repeat.after,
        empty: actors::ports::EmptyOutcomes::Skip,
    };
    let first =
        if repeat.to > repeat.after { app.hub().journal(key, query).await? } else { Vec::new() };
    let changes: Vec<_> = first.iter().flat_map(changes_json).collect();
    Ok(answer_to_command(repeat.to, &changes, outcome.command_id, Repeated::Yes))
}

/// The answer to a command over HTTP.
///
/// # Errors
/// The rejection as a problem.
pub(crate) async fn answer(
    app: &App,
    delivery: &crate::hub::Delivery,
) -> Result<(Seq, Vec<u8>), Problem> {
    let outcome = delivery.outcome();
    match (&outcome.verdict, outcome.repeats) {
        (Verdict::Accepted { seq, .. }, None) => {
            let changes = delivery.changes();
            Ok((*seq, answer_to_command(*seq, changes, outcome.command_id, Repeated::No)))
        }
        (Verdict::Accepted { .. }, Some(repeat)) => {
            Ok((repeat.to, repeated_answer(app, outcome).await?))
        }
        (Verdict::Rejected(rejection), _) => Err(rejection.clone().into()),
        (Verdict::Skipped { reason }, _) => Err(Problem::new(Code::Invalid, reason.clone())),
    }
}

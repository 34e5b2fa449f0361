//! Commands to changes: the way in, the life of the event, and its administration.

use schemas::{
    Code, Rejection, UserName,
    event::{EventChange, EventCommand, EventFields, EventStatus, ParticipantRole},
    role::{Role, TenantRole},
};

use super::{
    Event, details,
    participants::Waiting,
    state::{can_edit, organises},
};
use crate::domain::{
    Context, Draft,
    access::{check_count, conflict, forbidden, not_found},
};

/// The most members that the administration of an event has.
const MOST_MEMBERS: usize = 1_000;

/// What a command comes to.
pub(super) type Decision = Result<Vec<Draft<EventChange>>, Rejection>;

/// One change, accepted.
pub(super) fn one(change: EventChange) -> Decision {
    Ok(vec![change.into()])
}

/// Accepted, and nothing to do.
pub(super) fn nothing() -> Decision {
    Ok(Vec::new())
}

impl Event {
    /// Decides the create command; anything else on an event that does not exist is `not_found`.
    pub fn decide_create(command: &EventCommand, _context: &Context<'_>) -> Decision {
        match details::from_create(command)? {
            Some(created) => one(created),
            None => Err(Rejection::new(Code::NotFound, "there is no such event")),
        }
    }

    /// Decides a command on an event that exists. Creating it again is `conflict`; a command that
    /// would alter nothing is accepted without changes.
    pub fn decide(&self, command: &EventCommand, context: &Context<'_>) -> Decision {
        match command {
            EventCommand::CreateEvent { .. } => Err(conflict("the event exists already")),
            EventCommand::UpdateEvent { .. } => self.update(command, context),
            EventCommand::SetStatus { status } => self.set_status(*status, context),
            EventCommand::Invite { user, role } => self.invite(user, *role, context),
            EventCommand::Respond { answer, user, plus_ones } => {
                self.respond(*answer, user.as_ref(), *plus_ones, context)
            }
            EventCommand::CheckIn { user } => self.check_in(user, context),
            EventCommand::SetRole { user, role } => self.set_role(user, *role, context),
            EventCommand::AddSession { .. } => self.add_session(command, context),
            EventCommand::UpdateSession { .. } => self.update_session(command, context),
            EventCommand::RemoveSession { session } => self.remove_session(session, context),
            EventCommand::SetReminders { before } => self.set_reminders(before, context),
            EventCommand::SetMember { user, role } => self.set_member(user, *role, context),
            EventCommand::RemoveMember { user } => self.remove_member(user, context),
            EventCommand::FireReminders {} => self.fire_reminders(context),
        }
    }

    fn update(&self, command: &EventCommand, context: &Context<'_>) -> Decision {
        self.check_organiser(context)?;
        let Some((details, tenant_role)) = details::from_update(&self.details, command)? else {
            return nothing();
        };
        let mut fields = details::difference(&self.details, &details);
        if tenant_role.as_set().is_some_and(|role| *role != self.access.tenant_role) {
            self.check_owner(context)?;
            fields.tenant_role = tenant_role;
        }
        if fields == EventFields::default() {
            return nothing();
        }
        let free = details.capacity.map(|capacity| capacity - self.places_used);
        if !fields.capacity.is_keep() && free.is_some_and(|free| free < 0) {
            let reason = format!("capacity: {} places are taken already", self.places_used);
            return Err(conflict(reason));
        }
        let mut drafts = vec![EventChange::EventUpdated { fields }.into()];
        drafts.extend(self.promotions(free, Waiting::AsItIs));
        Ok(drafts)
    }

    fn set_status(&self, to: EventStatus, context: &Context<'_>) -> Decision {
        use EventStatus::{Cancelled, Completed, Draft, Ongoing, Postponed, Published};
        self.check_organiser(context)?;
        let from = self.status;
        if from == to {
            return nothing();
        }
        let allowed = match (from, to) {
            (Draft, Published) | (Published, Ongoing) | (Ongoing, Completed) => true,
            (Draft | Published | Ongoing | Postponed, Cancelled) => true,
            (Published, Postponed) | (Postponed, Published) => true,
            (Published, Draft) => self.participants.values().all(|one| one.answer.is_none()),
            (Draft | Published | Ongoing | Completed | Cancelled | Postponed, _to) => false,
        };
        if allowed {
            return one(EventChange::EventStatusChanged { from, to });
        }
        let (from, to) = (details::word(from), details::word(to));
        Err(Rejection::new(Code::Transition, format!("an event can't go from {from} to {to} now")))
    }

    fn set_member(&self, user: &UserName, role: Role, context: &Context<'_>) -> Decision {
        self.check_owner(context)?;
        match role {
            Role::Owner | Role::Editor | Role::Viewer => {}
            Role::Admin | Role::Moderator | Role::Member | Role::Guest | Role::ReadOnly => {
                return Err(Rejection::field("role", "must be owner, editor or viewer"));
            }
        }
        match self.access.members.get(user) {
            Some(now) if *now == role => return nothing(),
            Some(Role::Owner) => self.check_not_last_owner(user)?,
            Some(_) => {}
            None => check_count("members", self.access.members.len() + 1, MOST_MEMBERS)?,
        }
        one(EventChange::MemberSet { user: user.clone(), role })
    }

    fn remove_member(&self, user: &UserName, context: &Context<'_>) -> Decision {
        self.check_owner(context)?;
        match self.access.members.get(user) {
            None => return Err(not_found("member", user)),
            Some(Role::Owner) => self.check_not_last_owner(user)?,
            Some(_) => {}
        }
        one(EventChange::MemberRemoved { user: user.clone() })
    }

    fn check_not_last_owner(&self, user: &UserName) -> Result<(), Rejection> {
        if self.access.has_owner_besides(user) {
            return Ok(());
        }
        Err(conflict(format!("{user} is the last owner")))
    }

    fn check_owner(&self, context: &Context<'_>) -> Result<(), Rejection> {
        match self.role_of(context.actor) {
            Some(Role::Owner) => Ok(()),
            Some(_) | None => Err(forbidden("owners")),
        }
    }

    /// Owners, editors, organisers and co-organisers.
    pub(super) fn check_organiser(&self, context: &Context<'_>) -> Result<(), Rejection> {
        let organises_here =
            self.participant_of(context.actor).is_some_and(|one| organises(one.role));
        if organises_here || self.role_of(context.actor).is_some_and(can_edit) {
            return Ok(());
        }
        Err(forbidden("organisers"))
    }

    /// As [`Self::check_organiser`], but without co-organisers.
    pub(super) fn check_full_organiser(&self, context: &Context<'_>) -> Result<(), Rejection> {
        let participant = self.participant_of(context.actor);
        let organises_here = participant.is_some_and(|one| one.role == ParticipantRole::Organiser);
        // A co-organiser whom only `tenantRole` makes an editor stays a co-organiser.
        let is_held_back = participant.is_some_and(|one| one.role == ParticipantRole::CoOrganiser)
            && !context.actor.is_admin
            && context.actor.principal.user().is_some_and(|u| !self.access.members.contains_key(u));
        if organises_here || (!is_held_back && self.role_of(context.actor).is_some_and(can_edit)) {
            return Ok(());
        }
        Err(forbidden("organisers, not co-organisers,"))
    }
}

/// A tenant role that events know.
pub(super) fn check_tenant_role(role: TenantRole) -> Result<TenantRole, Rejection> {
    match role {
        TenantRole::None | TenantRole::Viewer | TenantRole::Editor => Ok(role),
        TenantRole::Member => Err(Rejection::field("tenantRole", "must be none, viewer or editor")),
    }
}

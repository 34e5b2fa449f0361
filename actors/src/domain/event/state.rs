//! What an event knows, and the questions about it that several commands ask.

use std::collections::{BTreeMap, VecDeque};

use schemas::{
    EntityId, ItemId, Principal, Timestamp, UserName,
    event::{Answer, EventStatus, ParticipantRole, Standing, Visibility},
    role::Role,
};
use serde::{Deserialize, Serialize};

use super::{Reminder, Session};
use crate::domain::access::{Access, Actor};

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub(super) details: Details,
    pub(super) status: EventStatus,
    pub(super) created_at: Timestamp,
    pub(super) access: Access,
    pub(super) participants: BTreeMap<UserName, Participant>,
    /// Exactly the participants with standing `waitlisted`, in order of arrival.
    pub(super) waitlist: VecDeque<UserName>,
    /// The places that confirmed participants take: a sum kept up by `apply`, so that an answer
    /// costs the same in a small event and a large one.
    pub(super) places_used: i64,
    pub(super) sessions: BTreeMap<ItemId, Session>,
    pub(super) reminders: Vec<Reminder>,
}

/// What organisers say about an event: the fields of `createEvent` and `updateEvent`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// What it is called.
    pub title: String,
    /// When it begins.
    pub start: Timestamp,
    /// When it ends; after `start`.
    pub end: Timestamp,
    /// The IANA name of the zone whose calendar the event follows.
    pub time_zone: String,
    /// Whether it is about days and not hours.
    pub all_day: bool,
    /// Markdown.
    pub description: Option<String>,
    /// Where it is.
    pub place: Option<String>,
    /// How many places there are; no bound if none.
    pub capacity: Option<i64>,
    /// Whether people may queue once it is full. Those who wait when this is turned off keep
    /// their turn.
    pub waitlist: bool,
    /// How many more each participant may bring.
    pub max_plus_ones: i64,
    /// Before this, only organisers may say `yes` or `maybe`.
    pub registration_opens: Option<Timestamp>,
    /// From this on, only organisers may say `yes` or `maybe`.
    pub registration_closes: Option<Timestamp>,
    /// Whether `tenantRole` counts.
    pub visibility: Visibility,
    /// The board with the event's tasks.
    pub board_id: Option<EntityId>,
    /// The room where the event is talked about.
    pub room_id: Option<EntityId>,
}

/// Somebody who was asked or has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// What they said, if anything.
    pub answer: Option<Answer>,
    /// What became of it.
    pub standing: Standing,
    /// What they are here.
    pub role: ParticipantRole,
    /// How many come along.
    pub plus_ones: i64,
    /// Whether they are here.
    pub checked_in: bool,
}

impl Participant {
    /// Somebody who was asked and has not answered.
    pub(super) fn invited(role: ParticipantRole) -> Self {
        Self { answer: None, standing: Standing::Invited, role, plus_ones: 0, checked_in: false }
    }

    /// The places that this party needs.
    pub(super) fn party(&self) -> i64 {
        1 + self.plus_ones
    }
}

impl Event {
    /// Rights, for the shared parts of the runtime.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// What it is called.
    pub fn title(&self) -> &str {
        &self.details.title
    }

    /// Whether `actor` may look: whoever has a role, and every participant.
    pub fn may_read(&self, actor: Actor<'_>) -> bool {
        self.role_of(actor).is_some() || self.participant_of(actor).is_some()
    }

    /// As [`Access::role_of`], but a private event does not know `tenantRole`.
    pub(super) fn role_of(&self, actor: Actor<'_>) -> Option<Role> {
        let is_stranger = !actor.is_admin
            && actor.principal.user().is_some_and(|user| !self.access.members.contains_key(user));
        match self.details.visibility {
            Visibility::Private if is_stranger => None,
            Visibility::Private | Visibility::Tenant => self.access.role_of(actor),
        }
    }

    /// What `actor` is as a participant, if they are one.
    pub(super) fn participant_of(&self, actor: Actor<'_>) -> Option<&Participant> {
        actor.principal.user().and_then(|user| self.participants.get(user))
    }

    /// Whether `user` was made an organiser by name: an owner or editor among the members, or
    /// organiser or co-organiser among the participants. `tenantRole` does not count: it lets
    /// people change the event, but they register like everybody.
    pub(super) fn is_organiser_by_name(&self, user: &UserName) -> bool {
        self.access.members.get(user).is_some_and(|role| can_edit(*role))
            || self.participants.get(user).is_some_and(|participant| organises(participant.role))
    }

    /// Whether `user` needs a place at all: whoever made the event does not.
    pub(super) fn takes_place(&self, user: &UserName) -> bool {
        self.access.created_by.user() != Some(user)
    }

    /// The role somebody has who comes without an invitation that says otherwise.
    pub(super) fn first_role(&self, user: &UserName) -> ParticipantRole {
        match self.access.members.get(user) {
            Some(Role::Owner) => ParticipantRole::Organiser,
            Some(_) | None => ParticipantRole::Participant,
        }
    }

    /// Who made the event.
    pub(super) fn created_by(&self) -> &Principal {
        &self.access.created_by
    }
}

/// Whether a role in the administration lets one change the event.
pub(super) fn can_edit(role: Role) -> bool {
    match role {
        Role::Owner | Role::Editor => true,
        Role::Admin | Role::Moderator | Role::Member | Role::Guest => false,
        Role::Viewer | Role::ReadOnly => false,
    }
}

/// Whether a participant's role lets them change the event.
pub(super) fn organises(role: ParticipantRole) -> bool {
    match role {
        ParticipantRole::Organiser | ParticipantRole::CoOrganiser => true,
        ParticipantRole::Staff | ParticipantRole::Participant => false,
    }
}

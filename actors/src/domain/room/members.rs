//! Decisions about people: joining and leaving, roles, mutes, bans.

use schemas::{
    Code, Principal, Rejection, Timestamp, UserName,
    role::Role,
    room::{Access as Joining, RoomChange},
};

use super::{
    decide::{Decision, nothing, one},
    messages::require_user,
    state::{Room, rank},
};
use crate::domain::{
    Context,
    access::{conflict, forbidden, not_found},
};

/// Members of a room. Larger audiences read and write by `tenantRole`.
const MEMBERS_MOST: usize = 10_000;
/// Open requests to join.
pub(super) const REQUESTS_MOST: usize = 1_000;
/// Muted users.
pub(super) const MUTED_MOST: usize = 1_000;
/// Banned users.
const BANNED_MOST: usize = 10_000;

impl Room {
    pub(super) fn decide_join(&self, context: &Context<'_>) -> Decision {
        let user = require_user(context)?;
        if self.banned.contains(user) {
            return Err(Rejection::new(Code::Forbidden, "banned from this room"));
        }
        if self.access.members.contains_key(user) {
            return nothing();
        }
        match self.joining {
            Joining::Open => {
                self.check_room_for_one()?;
                one(RoomChange::MemberSet { user: user.clone(), role: Role::Member })
            }
            Joining::Invite => {
                Err(Rejection::new(Code::Forbidden, "an admin has to invite new members"))
            }
            Joining::Request if self.requests.contains(user) => nothing(),
            Joining::Request if self.requests.len() >= REQUESTS_MOST => {
                Err(conflict(format!("{REQUESTS_MOST} wait to join already")))
            }
            Joining::Request => one(RoomChange::JoinRequested { user: user.clone() }),
        }
    }

    /// Ends one's membership, or takes back the request for it.
    pub(super) fn decide_leave(&self, context: &Context<'_>) -> Decision {
        let user = require_user(context)?;
        if !self.access.members.contains_key(user) && !self.requests.contains(user) {
            return nothing();
        }
        self.check_not_last_owner(user)?;
        one(RoomChange::MemberRemoved { user: user.clone() })
    }

    pub(super) fn decide_set_member(
        &self,
        user: &UserName,
        role: Role,
        context: &Context<'_>,
    ) -> Decision {
        let acting = self.require(Role::Admin, context)?;
        match role {
            Role::Owner
            | Role::Admin
            | Role::Moderator
            | Role::Member
            | Role::Guest
            | Role::ReadOnly => {}
            Role::Editor | Role::Viewer => {
                let rule = "must be owner, admin, moderator, member, guest or readOnly";
                return Err(Rejection::field("role", rule));
            }
        }
        let before = self.access.members.get(user).copied();
        let high = |role: Role| rank(role) >= rank(Role::Admin);
        if (high(role) || before.is_some_and(high)) && acting != Role::Owner {
            return Err(forbidden("owners"));
        }
        if before == Some(role) {
            return nothing();
        }
        if self.banned.contains(user) {
            return Err(conflict(format!("{user} is banned")));
        }
        match before {
            Some(_) => self.check_not_last_owner(user)?,
            None => self.check_room_for_one()?,
        }
        one(RoomChange::MemberSet { user: user.clone(), role })
    }

    /// A kick, the refusal of a request, or one's own leaving.
    pub(super) fn decide_remove_member(&self, user: &UserName, context: &Context<'_>) -> Decision {
        if context.actor.principal.user() == Some(user) {
            return self.decide_leave(context);
        }
        self.require(Role::Moderator, context)?;
        if self.access.members.contains_key(user) {
            self.require_above(user, context)?;
            self.check_not_last_owner(user)?;
        } else if !self.requests.contains(user) {
            return Err(not_found("member", user));
        }
        one(RoomChange::MemberRemoved { user: user.clone() })
    }

    pub(super) fn decide_mute(
        &self,
        user: &UserName,
        until: Option<Timestamp>,
        context: &Context<'_>,
    ) -> Decision {
        self.require_above(user, context)?;
        if until.is_some_and(|until| until <= context.at) {
            return Err(Rejection::field("until", "must be in the future"));
        }
        match self.muted.get(user) {
            Some(before) if *before == until => return nothing(),
            None if self.muted.len() >= MUTED_MOST => {
                return Err(conflict(format!("{MUTED_MOST} users are muted already")));
            }
            Some(_) | None => {}
        }
        one(RoomChange::MemberMuted { user: user.clone(), until })
    }

    pub(super) fn decide_unmute(&self, user: &UserName, context: &Context<'_>) -> Decision {
        self.require_above(user, context)?;
        if !self.muted.contains_key(user) {
            return nothing();
        }
        one(RoomChange::MemberUnmuted { user: user.clone() })
    }

    pub(super) fn decide_ban(&self, user: &UserName, context: &Context<'_>) -> Decision {
        self.require_above(user, context)?;
        if self.banned.contains(user) {
            return nothing();
        }
        if self.banned.len() >= BANNED_MOST {
            return Err(conflict(format!("{BANNED_MOST} users are banned already")));
        }
        one(RoomChange::MemberBanned { user: user.clone() })
    }

    pub(super) fn decide_unban(&self, user: &UserName, context: &Context<'_>) -> Decision {
        self.require(Role::Moderator, context)?;
        if !self.banned.contains(user) {
            return nothing();
        }
        one(RoomChange::MemberUnbanned { user: user.clone() })
    }

    pub(super) fn decide_end_mutes(&self, context: &Context<'_>) -> Decision {
        if *context.actor.principal != Principal::System {
            return Err(forbidden("timers"));
        }
        let over = self.muted.iter().filter(|(_, until)| until.is_some_and(|u| u <= context.at));
        Ok(over.map(|(user, _)| RoomChange::MemberUnmuted { user: user.clone() }.into()).collect())
    }

    /// The actor must be a moderator or more, and more than `user`.
    fn require_above(&self, user: &UserName, context: &Context<'_>) -> Result<(), Rejection> {
        let role = self.require(Role::Moderator, context)?;
        if self.rank_of_user(user) >= rank(role) {
            return Err(forbidden(&format!("who stands above {user}")));
        }
        Ok(())
    }

    fn check_not_last_owner(&self, user: &UserName) -> Result<(), Rejection> {
        let is_owner = self.access.members.get(user) == Some(&Role::Owner);
        if is_owner && !self.access.has_owner_besides(user) {
            return Err(conflict(format!("{user} is the last owner")));
        }
        Ok(())
    }

    fn check_room_for_one(&self) -> Result<(), Rejection> {
        if self.access.members.len() >= MEMBERS_MOST {
            let reason = format!("the room has {MEMBERS_MOST} members, no more fit");
            return Err(Rejection::new(Code::Full, reason));
        }
        Ok(())
    }
}

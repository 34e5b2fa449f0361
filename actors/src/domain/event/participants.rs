//! Who comes: invitations, answers, the waitlist, check-in and roles.

use schemas::{
    Code, Principal, Rejection, UserName,
    event::{Answer, EventChange, EventStatus, ParticipantRole, Standing},
};

use super::{
    Event, Participant,
    decide::{Decision, nothing, one},
    details,
};
use crate::domain::{
    Context, Draft,
    access::{conflict, forbidden, not_found},
};

/// The most people that were asked or have answered.
const MOST_PARTICIPANTS: usize = 100_000;
/// The longest waitlist. All of it must fit into one outcome: lifting the capacity promotes all.
const LONGEST_WAITLIST: usize = 5_000;

/// How the waitlist looks once the causing change is there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Waiting<'a> {
    /// As it is now.
    AsItIs,
    /// Without this user.
    Without(&'a UserName),
    /// This user's party has this size.
    Resized(&'a UserName, i64),
}

impl Event {
    pub(super) fn invite(
        &self,
        user: &UserName,
        role: Option<ParticipantRole>,
        context: &Context<'_>,
    ) -> Decision {
        self.check_organiser(context)?;
        if role == Some(ParticipantRole::Organiser) {
            self.check_full_organiser(context)?;
        }
        self.check_not_over()?;
        if let Some(participant) = self.participants.get(user) {
            if role.is_none_or(|role| role == participant.role) {
                return nothing();
            }
            return Err(conflict(format!("{user} is a participant already; use setRole")));
        }
        self.check_room_for_participant()?;
        let role = role.unwrap_or_else(|| self.first_role(user));
        one(EventChange::ParticipantInvited { user: user.clone(), role })
    }

    /// Rights, then the state of the event, then what the answer comes to.
    pub(super) fn respond(
        &self,
        answer: Answer,
        user: Option<&UserName>,
        plus_ones: Option<i64>,
        context: &Context<'_>,
    ) -> Decision {
        let oneself = context.actor.principal.user();
        let Some(user) = user.or(oneself) else {
            return Err(Rejection::field("user", "must say for whom"));
        };
        if Some(user) != oneself {
            self.check_organiser(context)?;
        } else if !self.may_read(context.actor) {
            return Err(forbidden("who may see the event"));
        }
        let current = self.participants.get(user);
        self.check_may_respond_now(user, context)?;
        let plus_ones = self.plus_ones(answer, plus_ones, current)?;
        if current.is_some_and(|now| now.answer == Some(answer) && now.plus_ones == plus_ones) {
            return nothing();
        }
        self.check_registration(answer, user, context)?;
        if current.is_none() {
            self.check_room_for_participant()?;
        }
        let standing = match answer {
            Answer::Yes => self.standing_of_yes(user, plus_ones, current)?,
            Answer::No => Standing::Declined,
            Answer::Maybe => Standing::Tentative,
        };
        let change =
            EventChange::ParticipantResponded { user: user.clone(), answer, standing, plus_ones };
        let mut drafts = vec![change.into()];
        drafts.extend(self.promotions_after(user, standing, 1 + plus_ones));
        Ok(drafts)
    }

    pub(super) fn check_in(&self, user: &UserName, context: &Context<'_>) -> Decision {
        let participant = self.participant_of(context.actor);
        if participant.is_none_or(|one| one.role != ParticipantRole::Staff)
            && self.check_organiser(context).is_err()
        {
            return Err(forbidden("organisers and staff"));
        }
        match self.status {
            EventStatus::Published | EventStatus::Ongoing => {}
            EventStatus::Draft
            | EventStatus::Postponed
            | EventStatus::Completed
            | EventStatus::Cancelled => {
                let status = details::word(self.status);
                return Err(conflict(format!("nobody checks in while the event is {status}")));
            }
        }
        let Some(participant) = self.participants.get(user) else {
            return Err(not_found("participant", user));
        };
        if participant.standing != Standing::Confirmed {
            return Err(conflict(format!("{user} is not confirmed")));
        }
        if participant.checked_in {
            return nothing();
        }
        one(EventChange::ParticipantCheckedIn { user: user.clone() })
    }

    pub(super) fn set_role(
        &self,
        user: &UserName,
        role: ParticipantRole,
        context: &Context<'_>,
    ) -> Decision {
        self.check_organiser(context)?;
        let Some(participant) = self.participants.get(user) else {
            return Err(not_found("participant", user));
        };
        if [role, participant.role].contains(&ParticipantRole::Organiser) {
            self.check_full_organiser(context)?;
        }
        if participant.role == role {
            return nothing();
        }
        if self.first_role(user) == ParticipantRole::Organiser && role != ParticipantRole::Organiser
        {
            return Err(conflict(format!("{user} is an owner, and owners are organisers")));
        }
        one(EventChange::ParticipantRoleSet { user: user.clone(), role })
    }

    /// Who gets a place when `free` are there (none: no bound). Stops at the first who does not
    /// fit: a small party never passes a large one that came before it.
    pub(super) fn promotions(
        &self,
        free: Option<i64>,
        waiting: Waiting<'_>,
    ) -> Vec<Draft<EventChange>> {
        let mut free = free;
        let mut promoted = Vec::new();
        for user in &self.waitlist {
            let party = match waiting {
                Waiting::Without(gone) if gone == user => continue,
                Waiting::Resized(resized, party) if resized == user => party,
                Waiting::AsItIs | Waiting::Without(_) | Waiting::Resized(..) => {
                    self.participants.get(user).map_or(1, Participant::party)
                }
            };
            match &mut free {
                Some(left) if *left < party => break,
                Some(left) => *left -= party,
                None => {}
            }
            promoted.push(EventChange::ParticipantPromoted { user: user.clone() }.into());
        }
        promoted
    }

    /// The places free for others than `user`; none: no bound.
    fn free_without(&self, user: &UserName) -> Option<i64> {
        let own = self.participants.get(user).map_or(0, |now| self.places_of(user, now));
        self.details.capacity.map(|capacity| capacity - self.places_used + own)
    }

    fn promotions_after(
        &self,
        user: &UserName,
        standing: Standing,
        party: i64,
    ) -> Vec<Draft<EventChange>> {
        let takes = standing == Standing::Confirmed && self.takes_place(user);
        let free = self.free_without(user).map(|free| if takes { free - party } else { free });
        match standing {
            Standing::Waitlisted => self.promotions(free, Waiting::Resized(user, party)),
            Standing::Confirmed | Standing::Declined | Standing::Tentative | Standing::Invited => {
                self.promotions(free, Waiting::Without(user))
            }
        }
    }

    fn standing_of_yes(
        &self,
        user: &UserName,
        plus_ones: i64,
        current: Option<&Participant>,
    ) -> Result<Standing, Rejection> {
        if !self.takes_place(user) {
            return Ok(Standing::Confirmed);
        }
        let party = 1 + plus_ones;
        // A party that never fits would hold up everybody behind it for good.
        if self.details.capacity.is_some_and(|capacity| party > capacity) {
            return Err(full("more than the event has places for"));
        }
        let fits = self.free_without(user).is_none_or(|free| party <= free);
        match current.map(|now| (now.standing, now.party())) {
            Some((Standing::Confirmed, before)) => {
                let grows = party > before;
                if grows && (!fits || !self.waitlist.is_empty()) {
                    return Err(full("no place is free for more who come along"));
                }
                Ok(Standing::Confirmed)
            }
            // They keep their turn; if they fit now, the promotion that follows says so.
            Some((Standing::Waitlisted, _)) => Ok(Standing::Waitlisted),
            Some((Standing::Declined | Standing::Tentative | Standing::Invited, _)) | None => {
                if fits && self.waitlist.is_empty() {
                    return Ok(Standing::Confirmed);
                }
                if !self.details.waitlist {
                    return Err(full("the event is full"));
                }
                if self.waitlist.len() >= LONGEST_WAITLIST {
                    return Err(full("the waitlist is full"));
                }
                Ok(Standing::Waitlisted)
            }
        }
    }

    /// How many come along. Not said: as many as before, within today's bound if the answer is
    /// another one.
    fn plus_ones(
        &self,
        answer: Answer,
        asked: Option<i64>,
        current: Option<&Participant>,
    ) -> Result<i64, Rejection> {
        let most = self.details.max_plus_ones;
        let before = current.map_or(0, |now| now.plus_ones);
        let is_repeat = current.is_some_and(|now| now.answer == Some(answer));
        match (answer, asked) {
            (Answer::Yes | Answer::Maybe, Some(asked)) if asked == before && is_repeat => Ok(asked),
            (Answer::Yes | Answer::Maybe, Some(asked)) if !(0..=most).contains(&asked) => {
                Err(Rejection::field("plusOnes", format!("must be from 0 to {most}")))
            }
            (Answer::Yes | Answer::Maybe, Some(asked)) => Ok(asked),
            (Answer::Yes | Answer::Maybe, None) if is_repeat => Ok(before),
            (Answer::Yes | Answer::Maybe, None) => Ok(before.min(most)),
            (Answer::No, None | Some(0)) => Ok(0),
            (Answer::No, Some(_)) => Err(Rejection::field("plusOnes", "must be 0 with a no")),
        }
    }

    fn check_may_respond_now(
        &self,
        user: &UserName,
        context: &Context<'_>,
    ) -> Result<(), Rejection> {
        self.check_not_over()?;
        match self.status {
            EventStatus::Published | EventStatus::Ongoing => Ok(()),
            EventStatus::Draft
            | EventStatus::Postponed
            | EventStatus::Completed
            | EventStatus::Cancelled => {
                if self.participants.contains_key(user) || self.speaks_for_event(user, context) {
                    return Ok(());
                }
                let status = details::word(self.status);
                Err(conflict(format!("only the invited answer while the event is {status}")))
            }
        }
    }

    fn check_registration(
        &self,
        answer: Answer,
        user: &UserName,
        context: &Context<'_>,
    ) -> Result<(), Rejection> {
        match answer {
            Answer::No => return Ok(()),
            Answer::Yes | Answer::Maybe => {}
        }
        if self.speaks_for_event(user, context) {
            return Ok(());
        }
        if let Some(opens) = self.details.registration_opens.filter(|opens| context.at < *opens) {
            return Err(conflict(format!("registration opens at {opens}")));
        }
        if let Some(closes) = self.details.registration_closes.filter(|at| context.at >= *at) {
            return Err(conflict(format!("registration closed at {closes}")));
        }
        Ok(())
    }

    /// Whether an answer comes from an organiser, who is above window and draft. Partners and
    /// bridges carry the words of `user` and are not above anything for that.
    fn speaks_for_event(&self, user: &UserName, context: &Context<'_>) -> bool {
        let actor = context.actor;
        match actor.principal {
            Principal::System => true,
            Principal::User(name) => actor.is_admin || self.is_organiser_by_name(name),
            Principal::Partner(_) | Principal::Bridge(_) => {
                actor.is_admin
                    || *actor.principal == *self.created_by()
                    || self.is_organiser_by_name(user)
            }
        }
    }

    fn check_not_over(&self) -> Result<(), Rejection> {
        match self.status {
            EventStatus::Draft
            | EventStatus::Published
            | EventStatus::Ongoing
            | EventStatus::Postponed => Ok(()),
            EventStatus::Completed | EventStatus::Cancelled => {
                Err(conflict(format!("the event is {}", details::word(self.status))))
            }
        }
    }

    fn check_room_for_participant(&self) -> Result<(), Rejection> {
        if self.participants.len() >= MOST_PARTICIPANTS {
            return Err(conflict(format!("an event has {MOST_PARTICIPANTS} participants at most")));
        }
        Ok(())
    }
}

fn full(reason: &str) -> Rejection {
    Rejection::new(Code::Full, reason)
}

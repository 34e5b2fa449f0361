//! Changes to state. Nothing here can fail or asks anything but state, change and meta: a change
//! that does not fit changes nothing.

use std::collections::{BTreeMap, VecDeque};

use schemas::{
    Timestamp, UserName,
    event::{Answer, EventChange, EventFields, EventStatus, ParticipantRole, Standing},
};

use super::{Details, Event, Participant, Reminder, Session, details};
use crate::domain::{Meta, access::Access};

impl Event {
    /// The state after its first change; none unless it is the creation.
    pub fn from_created(change: &EventChange, meta: &Meta<'_>) -> Option<Self> {
        let EventChange::EventCreated {
            title,
            start,
            end,
            time_zone,
            all_day,
            description,
            place,
            capacity,
            waitlist,
            max_plus_ones,
            registration_opens,
            registration_closes,
            visibility,
            board_id,
            room_id,
            tenant_role,
        } = change
        else {
            return None;
        };
        Some(Self {
            details: Details {
                title: title.clone(),
                start: *start,
                end: *end,
                time_zone: time_zone.clone(),
                all_day: *all_day,
                description: description.clone(),
                place: place.clone(),
                capacity: *capacity,
                waitlist: *waitlist,
                max_plus_ones: *max_plus_ones,
                registration_opens: *registration_opens,
                registration_closes: *registration_closes,
                visibility: *visibility,
                board_id: board_id.clone(),
                room_id: room_id.clone(),
            },
            status: EventStatus::Draft,
            created_at: meta.at,
            access: Access::new(meta.by.clone(), *tenant_role),
            participants: BTreeMap::new(),
            waitlist: VecDeque::new(),
            places_used: 0,
            sessions: BTreeMap::new(),
            reminders: Vec::new(),
        })
    }

    /// The state after one more change.
    pub fn apply(&mut self, change: &EventChange, meta: &Meta<'_>) {
        match change {
            EventChange::EventCreated { .. } => {}
            EventChange::EventUpdated { fields } => self.apply_updated(fields, meta.at),
            EventChange::EventStatusChanged { from: _, to } => {
                self.status = *to;
                if *to == EventStatus::Published {
                    self.arm_reminders(meta.at);
                }
            }
            EventChange::ParticipantInvited { user, role } => {
                self.put(user, Participant::invited(*role));
            }
            EventChange::ParticipantResponded { user, answer, standing, plus_ones } => {
                self.apply_responded(user, *answer, *standing, *plus_ones);
            }
            EventChange::ParticipantPromoted { user } => self.apply_promoted(user),
            EventChange::ParticipantCheckedIn { user } => {
                if let Some(participant) = self.participants.get_mut(user) {
                    participant.checked_in = true;
                }
            }
            EventChange::ParticipantRoleSet { user, role } => self.apply_role(user, *role),
            EventChange::SessionAdded { session, title, start, end, track, speakers, place } => {
                let added = Session {
                    title: title.clone(),
                    start: *start,
                    end: *end,
                    track: track.clone(),
                    speakers: speakers.clone(),
                    place: place.clone(),
                };
                self.sessions.insert(session.clone(), added);
            }
            EventChange::SessionUpdated { session, fields } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.write(fields);
                }
            }
            EventChange::SessionRemoved { session } => {
                self.sessions.remove(session);
            }
            EventChange::RemindersSet { before } => self.apply_reminders(before, meta.at),
            EventChange::ReminderFired { before } => {
                for reminder in self.reminders.iter_mut().filter(|one| one.before == *before) {
                    reminder.fired = true;
                }
            }
            EventChange::MemberSet { user, role } => {
                self.access.members.insert(user.clone(), *role);
            }
            EventChange::MemberRemoved { user } => {
                self.access.members.remove(user);
            }
        }
    }

    /// The places that `participant` takes as `user`.
    pub(super) fn places_of(&self, user: &UserName, participant: &Participant) -> i64 {
        match participant.standing {
            Standing::Confirmed if self.takes_place(user) => participant.party(),
            Standing::Confirmed | Standing::Waitlisted | Standing::Declined => 0,
            Standing::Tentative | Standing::Invited => 0,
        }
    }

    fn apply_updated(&mut self, fields: &EventFields, at: Timestamp) {
        details::write(fields, &mut self.details);
        details::write_required(&fields.tenant_role, &mut self.access.tenant_role);
        if !(fields.start.is_keep() && fields.time_zone.is_keep()) {
            self.arm_reminders(at);
        }
    }

    fn apply_responded(
        &mut self,
        user: &UserName,
        answer: Answer,
        standing: Standing,
        plus_ones: i64,
    ) {
        let before = self.participants.get(user);
        let role = before.map_or_else(|| self.first_role(user), |participant| participant.role);
        // Who gives the place back has to check in again when they come after all.
        let checked_in = standing == Standing::Confirmed && before.is_some_and(|p| p.checked_in);
        let answer = Some(answer);
        self.put(user, Participant { answer, standing, role, plus_ones, checked_in });
    }

    fn apply_promoted(&mut self, user: &UserName) {
        let Some(participant) = self.participants.get(user).copied() else { return };
        if participant.standing == Standing::Waitlisted {
            self.put(user, Participant { standing: Standing::Confirmed, ..participant });
        }
    }

    fn apply_role(&mut self, user: &UserName, role: ParticipantRole) {
        if let Some(participant) = self.participants.get_mut(user) {
            participant.role = role;
        }
    }

    /// A reminder that was there before goes on as it was, fired or armed.
    fn apply_reminders(&mut self, before: &[String], at: Timestamp) {
        let known = std::mem::take(&mut self.reminders);
        for text in before {
            let new = || Reminder { before: text.clone(), fired: false, armed_at: at };
            let reminder = known.iter().find(|one| one.before == *text).cloned();
            self.reminders.push(reminder.unwrap_or_else(new));
        }
    }

    fn arm_reminders(&mut self, at: Timestamp) {
        for reminder in self.reminders.iter_mut().filter(|one| !one.fired) {
            reminder.armed_at = at;
        }
    }

    /// Puts a participant's new standing in, and keeps waitlist and places with it. Whoever waits
    /// already keeps their turn.
    fn put(&mut self, user: &UserName, next: Participant) {
        let before = self.participants.insert(user.clone(), next);
        let freed = before.map_or(0, |before| self.places_of(user, &before));
        self.places_used += self.places_of(user, &next) - freed;
        let waited = before.is_some_and(|before| before.standing == Standing::Waitlisted);
        let waits = next.standing == Standing::Waitlisted;
        if waits && !waited {
            self.waitlist.push_back(user.clone());
        }
        // Promotions take the first, so that a long waitlist empties without searching it.
        if waited && !waits && self.waitlist.front() == Some(user) {
            self.waitlist.pop_front();
        } else if waited && !waits {
            self.waitlist.retain(|name| name != user);
        }
    }
}

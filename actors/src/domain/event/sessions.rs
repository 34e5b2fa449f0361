//! The schedule: sessions, and who or what would be in two of them at once.

use schemas::{
    ItemId, Rejection, Timestamp,
    event::{EventChange, EventCommand, SessionFields},
};
use serde::{Deserialize, Serialize};

use super::{
    Event,
    decide::{Decision, nothing, one},
    details::{LONGEST_TITLE, changed, changed_option, set_required, write_required},
};
use crate::domain::{
    Context,
    access::{check_count, check_text, conflict, not_found},
};

/// The most sessions of one event.
const MOST_SESSIONS: usize = 1_000;
/// The most speakers of one session.
const MOST_SPEAKERS: usize = 50;
/// The longest name of a track, in characters.
const LONGEST_TRACK: usize = 64;

/// One entry of the schedule. It may lie outside the event's own times: people come early to
/// build up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// What it is called.
    pub title: String,
    /// When it begins.
    pub start: Timestamp,
    /// When it ends; after `start`.
    pub end: Timestamp,
    /// The strand of the schedule that it belongs to.
    pub track: Option<String>,
    /// Who speaks; compared letter by letter.
    pub speakers: Vec<String>,
    /// Where it is; compared letter by letter.
    pub place: Option<String>,
}

impl Session {
    fn check(&self) -> Result<(), Rejection> {
        check_text("title", &self.title, LONGEST_TITLE)?;
        if self.end <= self.start {
            return Err(Rejection::field("end", "must be after start"));
        }
        if let Some(track) = &self.track {
            check_text("track", track, LONGEST_TRACK)?;
        }
        if let Some(place) = &self.place {
            check_text("place", place, LONGEST_TITLE)?;
        }
        check_count("speakers", self.speakers.len(), MOST_SPEAKERS)?;
        for (n, speaker) in self.speakers.iter().enumerate() {
            let field = format!("speakers[{n}]");
            check_text(&field, speaker, LONGEST_TITLE)?;
            if self.speakers[..n].contains(speaker) {
                return Err(Rejection::field(field, "is there twice"));
            }
        }
        Ok(())
    }

    /// What both would need at the same time, if anything.
    pub(super) fn clash(&self, other: &Self) -> Option<String> {
        if self.end <= other.start || other.end <= self.start {
            return None;
        }
        if let Some(speaker) = self.speakers.iter().find(|one| other.speakers.contains(one)) {
            return Some(format!("speaker {speaker}"));
        }
        let place = self.place.as_ref().filter(|_| self.place == other.place)?;
        Some(format!("place {place}"))
    }

    /// Writes the fields of `sessionUpdated`.
    pub(super) fn write(&mut self, fields: &SessionFields) {
        write_required(&fields.title, &mut self.title);
        write_required(&fields.start, &mut self.start);
        write_required(&fields.end, &mut self.end);
        fields.track.apply_to(&mut self.track);
        fields.speakers.apply_or_default(&mut self.speakers);
        fields.place.apply_to(&mut self.place);
    }
}

impl Event {
    pub(super) fn add_session(&self, command: &EventCommand, context: &Context<'_>) -> Decision {
        let EventCommand::AddSession {
            session: id,
            title,
            start,
            end,
            track,
            speakers,
            place,
            allow_conflict,
        } = command
        else {
            return nothing();
        };
        self.check_organiser(context)?;
        let id = id.clone().unwrap_or_else(|| ItemId::derived(context.command_id));
        if self.sessions.contains_key(&id) {
            return Err(conflict(format!("there is a session {id} already")));
        }
        check_count("sessions", self.sessions.len() + 1, MOST_SESSIONS)?;
        let session = Session {
            title: title.clone(),
            start: *start,
            end: *end,
            track: track.clone(),
            speakers: speakers.clone().unwrap_or_default(),
            place: place.clone(),
        };
        session.check()?;
        if *allow_conflict != Some(true) {
            self.check_no_clash(&id, &session)?;
        }
        one(EventChange::SessionAdded {
            session: id,
            title: session.title,
            start: session.start,
            end: session.end,
            track: session.track,
            speakers: session.speakers,
            place: session.place,
        })
    }

    pub(super) fn update_session(&self, command: &EventCommand, context: &Context<'_>) -> Decision {
        let EventCommand::UpdateSession {
            session: id,
            title,
            start,
            end,
            track,
            speakers,
            place,
            allow_conflict,
        } = command
        else {
            return nothing();
        };
        self.check_organiser(context)?;
        let Some(now) = self.sessions.get(id) else {
            return Err(not_found("session", id));
        };
        let mut next = now.clone();
        set_required("title", title, &mut next.title)?;
        set_required("start", start, &mut next.start)?;
        set_required("end", end, &mut next.end)?;
        track.apply_to(&mut next.track);
        speakers.apply_or_default(&mut next.speakers);
        place.apply_to(&mut next.place);
        next.check()?;
        let fields = SessionFields {
            title: changed(&now.title, &next.title),
            start: changed(&now.start, &next.start),
            end: changed(&now.end, &next.end),
            track: changed_option(&now.track, &next.track),
            speakers: changed(&now.speakers, &next.speakers),
            place: changed_option(&now.place, &next.place),
        };
        if fields == SessionFields::default() {
            return nothing();
        }
        // A new title must not fail for a clash that was accepted before.
        let is_moved = !(fields.start.is_keep()
            && fields.end.is_keep()
            && fields.speakers.is_keep()
            && fields.place.is_keep());
        if is_moved && *allow_conflict != Some(true) {
            self.check_no_clash(id, &next)?;
        }
        one(EventChange::SessionUpdated { session: id.clone(), fields })
    }

    pub(super) fn remove_session(&self, id: &ItemId, context: &Context<'_>) -> Decision {
        self.check_organiser(context)?;
        if !self.sessions.contains_key(id) {
            return Err(not_found("session", id));
        }
        one(EventChange::SessionRemoved { session: id.clone() })
    }

    fn check_no_clash(&self, id: &ItemId, session: &Session) -> Result<(), Rejection> {
        for (other_id, other) in self.sessions.iter().filter(|(other, _)| *other != id) {
            if let Some(what) = session.clash(other) {
                let title = &other.title;
                return Err(conflict(format!("{what} is taken by session {other_id} ({title})")));
            }
        }
        Ok(())
    }
}

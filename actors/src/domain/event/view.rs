//! The state as clients read it.

use serde_json::{Map, Value, json};

use super::Event;

impl Event {
    /// The fields of PROTOCOL.md's state except `entity` and `seq`. Every field is always there.
    pub fn view(&self) -> Map<String, Value> {
        let details = &self.details;
        let mut view = Map::new();
        let mut put = |name: &str, value: Value| {
            view.insert(name.to_owned(), value);
        };
        put("title", json!(details.title));
        put("createdAt", json!(self.created_at));
        put("createdBy", json!(self.created_by()));
        put("description", json!(details.description));
        put("place", json!(details.place));
        put("status", json!(self.status));
        put("start", json!(details.start));
        put("end", json!(details.end));
        put("timeZone", json!(details.time_zone));
        put("allDay", json!(details.all_day));
        put("capacity", json!(details.capacity));
        put("waitlistEnabled", json!(details.waitlist));
        put("maxPlusOnes", json!(details.max_plus_ones));
        put("registrationOpens", json!(details.registration_opens));
        put("registrationCloses", json!(details.registration_closes));
        put("visibility", json!(details.visibility));
        put("boardId", json!(details.board_id));
        put("roomId", json!(details.room_id));
        put("tenantRole", json!(self.access.tenant_role));
        put("members", json!(self.access.members));
        put("participants", self.view_participants());
        put("waitlist", json!(self.waitlist));
        put("sessions", self.view_sessions());
        put("reminders", self.view_reminders());
        view
    }

    fn view_participants(&self) -> Value {
        let mut participants = Map::new();
        for (user, participant) in &self.participants {
            let value = json!({
                "answer": participant.answer,
                "standing": participant.standing,
                "role": participant.role,
                "checkedIn": participant.checked_in,
                "plusOnes": participant.plus_ones,
            });
            participants.insert(user.to_string(), value);
        }
        Value::Object(participants)
    }

    /// By start, then id.
    fn view_sessions(&self) -> Value {
        let mut sessions: Vec<_> = self.sessions.iter().collect();
        sessions.sort_by_key(|(id, session)| (session.start, *id));
        let view = sessions.into_iter().map(|(id, session)| {
            json!({
                "id": id,
                "title": session.title,
                "start": session.start,
                "end": session.end,
                "track": session.track,
                "speakers": session.speakers,
                "place": session.place,
            })
        });
        view.collect()
    }

    fn view_reminders(&self) -> Value {
        let view = self.reminders.iter();
        view.map(|one| json!({"before": one.before, "fired": one.fired})).collect()
    }
}

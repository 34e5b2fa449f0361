//! Given, when, then: commands by actors at times, and what comes of them.

mod participants;
mod properties;
mod schedule;

use schemas::{
    Code, CommandId, Principal, Rejection, Timestamp, UserName,
    event::{EventChange, EventCommand, EventStatus},
};
use serde_json::{Value, json};

use super::Event;
use crate::domain::{Context, Meta, access::Actor};

/// An event and everything that led to it.
#[derive(Default)]
struct Story {
    event: Option<Event>,
    log: Vec<(EventChange, Timestamp, Principal)>,
    sent: usize,
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

fn command(value: Value) -> EventCommand {
    // {"setStatus": {…}}: the derived form; {"type": …} is the gateway's.
    serde_json::from_value(value).unwrap()
}

fn create(fields: Value) -> EventCommand {
    let mut all = json!({"title": "Fair", "start": "2026-06-10T08:00:00Z",
        "end": "2026-06-10T16:00:00Z", "timeZone": "Europe/Vienna", "tenantRole": "viewer"});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    command(json!({"createEvent": all}))
}

const DAY: &str = "2026-05-01T12:00:00Z";

impl Story {
    /// Created by ada, everybody of the tenant may look.
    fn draft(fields: Value) -> Self {
        let mut story = Self::default();
        story.send("user:ada", DAY, &create(fields)).unwrap();
        story
    }

    fn published(fields: Value) -> Self {
        let mut story = Self::draft(fields);
        story.ok("ada", json!({"setStatus": {"status": "published"}}));
        story
    }

    fn send(
        &mut self,
        by: &str,
        at: &str,
        command: &EventCommand,
    ) -> Result<Vec<EventChange>, Rejection> {
        self.sent += 1;
        let principal: Principal = by.parse().unwrap();
        let actor = Actor { principal: &principal, is_admin: by == "user:root" };
        let command_id = CommandId::derived(&self.sent.to_string());
        let context = Context { actor, at: time(at), command_id };
        let drafts = match &self.event {
            Some(event) => event.decide(command, &context)?,
            None => Event::decide_create(command, &context)?,
        };
        for draft in &drafts {
            self.log.push((draft.body.clone(), context.at, principal.clone()));
            let seq = i64::try_from(self.log.len()).unwrap();
            step(&mut self.event, seq, self.log.last().unwrap());
        }
        Ok(drafts.into_iter().map(|draft| draft.body).collect())
    }

    fn ok(&mut self, by: &str, value: Value) -> Vec<EventChange> {
        self.send(&format!("user:{by}"), DAY, &command(value)).unwrap()
    }

    fn no(&mut self, by: &str, value: Value) -> (Code, String) {
        let rejection = self.send(&format!("user:{by}"), DAY, &command(value)).unwrap_err();
        (rejection.code, rejection.reason)
    }

    fn event(&self) -> &Event {
        self.event.as_ref().unwrap()
    }

    fn view(&self) -> Value {
        Value::Object(self.event().view())
    }
}

fn step(
    event: &mut Option<Event>,
    seq: i64,
    (change, at, by): &(EventChange, Timestamp, Principal),
) {
    let meta = Meta { seq, at: *at, by, undoes: None, redoes: None };
    match event {
        Some(event) => event.apply(change, &meta),
        None => *event = Event::from_created(change, &meta),
    }
}

#[test]
fn a_new_event_shows_every_field() {
    let view = Story::draft(json!({})).view();
    let expected = json!({"title": "Fair", "createdAt": DAY, "createdBy": "user:ada",
        "description": null, "place": null, "status": "draft", "start": "2026-06-10T08:00:00Z",
        "end": "2026-06-10T16:00:00Z", "timeZone": "Europe/Vienna", "allDay": false,
        "capacity": null, "waitlistEnabled": true, "maxPlusOnes": 0, "registrationOpens": null,
        "registrationCloses": null, "visibility": "tenant", "boardId": null, "roomId": null,
        "tenantRole": "viewer", "members": {"ada": "owner"}, "participants": {}, "waitlist": [],
        "sessions": [], "reminders": []});
    assert_eq!(view, expected);
}

#[test]
fn bad_fields_are_named_on_creation_and_update() {
    let cases = [
        ("title", json!("")),
        ("title", json!("x".repeat(201))),
        ("end", json!("2026-06-10T08:00:00Z")),
        ("timeZone", json!("Mars/Olympus")),
        ("timeZone", json!("")),
        ("capacity", json!(0)),
        ("capacity", json!(1_000_001)),
        ("maxPlusOnes", json!(21)),
        ("maxPlusOnes", json!(-1)),
        ("description", json!("x".repeat(20_001))),
        ("place", json!("\u{0}")),
        ("boardId", json!("room:1")),
        ("roomId", json!("board:1")),
        ("tenantRole", json!("member")),
    ];
    let mut draft = Story::draft(json!({}));
    for (field, value) in cases {
        let rejection =
            Story::default().send("user:ada", DAY, &create(json!({field: value}))).unwrap_err();
        assert_eq!((rejection.code, rejection.errors[0].field.as_str()), (Code::Invalid, field));
        let update = command(json!({"updateEvent": {field: value}}));
        let rejection = draft.send("user:ada", DAY, &update).unwrap_err();
        assert_eq!((rejection.code, rejection.errors[0].field.as_str()), (Code::Invalid, field));
    }
    for field in ["title", "start", "end", "timeZone"] {
        let (code, reason) = draft.no("ada", json!({"updateEvent": {field: null}}));
        assert!(code == Code::Invalid && reason.starts_with(field), "{reason}");
    }
    let window = json!({"registrationOpens": DAY, "registrationCloses": DAY});
    let (_, reason) = draft.no("ada", json!({"updateEvent": window}));
    assert!(reason.starts_with("registrationCloses"), "{reason}");
}

#[test]
fn creating_twice_is_conflict_and_nothing_else_creates() {
    let mut story = Story::draft(json!({}));
    let again = story.send("user:ada", DAY, &create(json!({}))).unwrap_err();
    assert_eq!(again.code, Code::Conflict);
    let status = command(json!({"setStatus": {"status": "published"}}));
    let missing = Story::default().send("user:ada", DAY, &status).unwrap_err();
    assert_eq!(missing.code, Code::NotFound);
}

#[test]
fn an_update_holds_what_differs_and_null_clears() {
    let mut story = Story::draft(json!({"place": "Hall", "capacity": 5, "waitlist": false}));
    assert!(story.ok("ada", json!({"updateEvent": {"title": "Fair", "place": "Hall"}})).is_empty());
    let changes = story.ok(
        "ada",
        json!({"updateEvent":
        {"title": "Fete", "place": null, "waitlist": null, "capacity": 5,
         "timeZone": "europe/berlin"}}),
    );
    let fields = serde_json::to_value(&changes[0]).unwrap();
    assert_eq!(
        fields["eventUpdated"]["fields"],
        json!({"title": "Fete", "place": null,
        "waitlist": true, "timeZone": "Europe/Berlin"})
    );
    assert_eq!(story.view()["place"], Value::Null);
}

#[test]
fn only_the_steps_of_the_lifecycle_are_allowed() {
    use EventStatus::{Cancelled, Completed, Draft, Ongoing, Postponed, Published};
    let all = [Draft, Published, Ongoing, Completed, Cancelled, Postponed];
    let allowed = [
        (Draft, Published),
        (Published, Ongoing),
        (Ongoing, Completed),
        (Draft, Cancelled),
        (Published, Cancelled),
        (Ongoing, Cancelled),
        (Postponed, Cancelled),
        (Published, Postponed),
        (Postponed, Published),
        (Published, Draft),
    ];
    for from in all {
        for to in all {
            let mut story = Story::draft(json!({}));
            story.event.as_mut().unwrap().status = from;
            let result = story.send("user:ada", DAY, &EventCommand::SetStatus { status: to });
            let expected = if from == to {
                Ok(vec![])
            } else if allowed.contains(&(from, to)) {
                Ok(vec![EventChange::EventStatusChanged { from, to }])
            } else {
                Err(Code::Transition)
            };
            assert_eq!(result.map_err(|no| no.code), expected, "{from:?} {to:?}");
        }
    }
    let mut story = Story::published(json!({}));
    story.ok("bob", json!({"respond": {"answer": "no"}}));
    let (code, reason) = story.no("ada", json!({"setStatus": {"status": "draft"}}));
    assert!(code == Code::Transition && reason.contains("published to draft"), "{reason}");
}

#[test]
fn members_are_the_owners_business_and_one_owner_stays() {
    let mut story = Story::draft(json!({}));
    story.ok("ada", json!({"setMember": {"user": "eve", "role": "editor"}}));
    assert!(story.ok("ada", json!({"setMember": {"user": "eve", "role": "editor"}})).is_empty());
    let set = |who: &str, role: &str| json!({"setMember": {"user": who, "role": role}});
    let remove = |who: &str| json!({"removeMember": {"user": who}});
    assert_eq!(story.no("eve", set("bob", "viewer")).0, Code::Forbidden);
    assert_eq!(story.no("eve", remove("ada")).0, Code::Forbidden);
    let (code, reason) = story.no("ada", set("bob", "moderator"));
    assert!(code == Code::Invalid && reason.starts_with("role"), "{reason}");
    assert_eq!(story.no("ada", set("ada", "viewer")).0, Code::Conflict);
    assert_eq!(story.no("ada", remove("ada")).0, Code::Conflict);
    assert_eq!(story.no("ada", remove("zoe")).0, Code::NotFound);
    story.ok("ada", set("eve", "owner"));
    story.ok("ada", remove("ada"));
    assert_eq!(story.view()["members"], json!({"eve": "owner"}));
    let role = json!({"updateEvent": {"tenantRole": "editor"}});
    story.ok("eve", set("bob", "editor"));
    assert_eq!(story.no("bob", role.clone()).0, Code::Forbidden);
    story.ok("root", role);
}

#[test]
fn lookers_change_nothing_and_a_private_event_is_for_its_people() {
    let mut story = Story::published(json!({}));
    let forbidden = [
        json!({"updateEvent": {"title": "Mine"}}),
        json!({"setStatus": {"status": "cancelled"}}),
        json!({"invite": {"user": "bob"}}),
        json!({"respond": {"answer": "yes", "user": "eve"}}),
        json!({"checkIn": {"user": "bob"}}),
        json!({"setRole": {"user": "bob", "role": "staff"}}),
        json!({"addSession": {"title": "A", "start": DAY, "end": "2026-06-01T00:00:00Z"}}),
        json!({"updateSession": {"session": "a"}}),
        json!({"removeSession": {"session": "a"}}),
        json!({"setReminders": {"before": []}}),
        json!({"setMember": {"user": "bob", "role": "owner"}}),
        json!({"removeMember": {"user": "ada"}}),
        json!({"fireReminders": {}}),
    ];
    for value in forbidden {
        assert_eq!(story.no("bob", value.clone()).0, Code::Forbidden, "{value}");
    }
    story.ok("ada", json!({"invite": {"user": "guest"}}));
    story.ok("ada", json!({"updateEvent": {"visibility": "private"}}));
    assert_eq!(story.no("bob", json!({"respond": {"answer": "yes"}})).0, Code::Forbidden);
    let may_read = |name: &str, is_admin: bool| {
        let principal = name.parse().unwrap();
        story.event().may_read(Actor { principal: &principal, is_admin })
    };
    assert!(!may_read("user:bob", false) && may_read("user:bob", true));
    assert!(may_read("user:guest", false) && may_read("user:ada", false));
    assert!(may_read("partner:erp", false) && may_read("system", false));
    story.ok("guest", json!({"respond": {"answer": "yes"}}));
}

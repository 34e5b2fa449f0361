//! Sessions and reminders.

use schemas::Timestamp;
use serde_json::{Value, json};

use super::{Code, DAY, Story, command, time};

fn session(id: &str, hours: (u32, u32), more: Value) -> Value {
    let (from, to) = hours;
    let mut fields = json!({"session": id, "title": id,
        "start": format!("2026-06-10T{from:02}:00:00Z"),
        "end": format!("2026-06-10T{to:02}:00:00Z")});
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"addSession": fields})
}

#[test]
fn a_speaker_or_place_is_in_one_session_at_a_time() {
    let mut story = Story::draft(json!({}));
    let hall = json!({"place": "Hall", "speakers": ["Ada"]});
    story.ok("ada", session("a", (10, 12), hall.clone()));
    let (code, reason) = story.no("ada", session("b", (11, 13), json!({"place": "Hall"})));
    assert!(code == Code::Conflict && reason.contains("session a"), "{reason}");
    let (code, reason) = story.no("ada", session("b", (9, 11), json!({"speakers": ["Ada"]})));
    assert!(code == Code::Conflict && reason.contains("session a"), "{reason}");
    story.ok("ada", session("b", (12, 13), hall.clone()));
    story.ok("ada", session("c", (10, 12), json!({})));
    story.ok("ada", session("d", (8, 9), json!({"place": "Room"})));
    let mut both = hall;
    both["allowConflict"] = json!(true);
    story.ok("ada", session("e", (10, 12), both));
    let moved = json!({"session": "b", "start": "2026-06-10T11:00:00Z"});
    assert_eq!(story.no("ada", json!({"updateSession": moved})).0, Code::Conflict);
    story.ok("ada", json!({"updateSession": {"session": "e", "title": "E"}}));
    assert!(story.ok("ada", json!({"updateSession": {"session": "e", "title": "E"}})).is_empty());
    let view = story.view();
    let order: Vec<_> = view["sessions"].as_array().unwrap().iter().map(|s| &s["id"]).collect();
    assert_eq!(order, ["d", "a", "c", "e", "b"]);
    story.ok("ada", json!({"removeSession": {"session": "a"}}));
    assert_eq!(story.no("ada", json!({"removeSession": {"session": "a"}})).0, Code::NotFound);
    let gone = json!({"updateSession": {"session": "a", "title": "A"}});
    assert_eq!(story.no("ada", gone).0, Code::NotFound);
    assert_eq!(story.no("ada", session("b", (1, 2), json!({}))).0, Code::Conflict);
}

#[test]
fn bad_sessions_are_refused_by_field() {
    let mut story = Story::draft(json!({}));
    let speakers: Vec<_> = (0..51).map(|n| n.to_string()).collect();
    let cases = [
        ("title", session("a", (1, 2), json!({"title": " "}))),
        ("end", session("a", (2, 2), json!({}))),
        ("track", session("a", (1, 2), json!({"track": "x".repeat(65)}))),
        ("place", session("a", (1, 2), json!({"place": ""}))),
        ("speakers", session("a", (1, 2), json!({"speakers": speakers}))),
        ("speakers[1]", session("a", (1, 2), json!({"speakers": ["A", "A"]}))),
    ];
    for (field, value) in cases {
        let rejection = story.send("user:ada", DAY, &command(value)).unwrap_err();
        assert_eq!((rejection.code, rejection.errors[0].field.as_str()), (Code::Invalid, field));
    }
}

fn reminders(before: &[&str]) -> Value {
    json!({"setReminders": {"before": before}})
}

fn fire(story: &mut Story, at: &str) -> Vec<Value> {
    let changes = story.send("system", at, &command(json!({"fireReminders": {}}))).unwrap();
    changes.iter().map(|change| serde_json::to_value(change).unwrap()).collect()
}

fn wake(story: &Story) -> Option<Timestamp> {
    story.event().next_wake()
}

#[test]
fn reminders_follow_the_calendar_across_a_change_of_clocks() {
    // 29 March 2026: Vienna goes from UTC+1 to UTC+2.
    let mut story = Story::draft(json!({"start": "2026-03-29T08:00:00Z"}));
    let early = "2026-03-01T00:00:00Z";
    for value in [reminders(&["P1D", "PT24H"]), json!({"setStatus": {"status": "published"}})] {
        assert_eq!(wake(&story), None);
        story.send("user:ada", early, &command(value)).unwrap();
    }
    assert_eq!(wake(&story), Some(time("2026-03-28T08:00:00Z")));
    let fired = fire(&mut story, "2026-03-28T08:00:00Z");
    assert_eq!(fired, [json!({"reminderFired": {"before": "PT24H"}})]);
    assert_eq!(wake(&story), Some(time("2026-03-28T09:00:00Z")));
    assert!(fire(&mut story, "2026-03-28T08:59:59Z").is_empty());
    assert_eq!(fire(&mut story, "2026-03-30T00:00:00Z").len(), 1, "late rather than never");
    assert_eq!(wake(&story), None);
    assert!(fire(&mut story, "2026-04-30T00:00:00Z").is_empty());
    assert_eq!(story.view()["reminders"][0], json!({"before": "P1D", "fired": true}));
}

#[test]
fn times_that_have_passed_are_not_made_up_for_and_a_moved_start_arms_again() {
    let mut story = Story::published(json!({"start": "2026-05-02T00:00:00Z"}));
    story.ok("ada", reminders(&["P1W", "PT1H"]));
    assert!(story.ok("ada", reminders(&["P1W", "PT1H"])).is_empty());
    assert_eq!(wake(&story), Some(time("2026-05-01T23:00:00Z")), "P1W has passed");
    assert_eq!(fire(&mut story, "2026-05-01T23:00:00Z").len(), 1);
    assert_eq!(wake(&story), None);
    story.ok("ada", json!({"updateEvent": {"start": "2026-06-10T08:00:00Z"}}));
    assert_eq!(wake(&story), Some(time("2026-06-03T08:00:00Z")), "PT1H was sent already");
    story.ok("ada", reminders(&["PT1H", "P2D"]));
    assert_eq!(story.view()["reminders"][0], json!({"before": "PT1H", "fired": true}));
    story.ok("ada", json!({"setStatus": {"status": "postponed"}}));
    assert_eq!(wake(&story), None);
    assert!(fire(&mut story, "2026-06-09T00:00:00Z").is_empty());
    let published = command(json!({"setStatus": {"status": "published"}}));
    story.send("user:ada", "2026-06-09T00:00:00Z", &published).unwrap();
    assert_eq!(wake(&story), None, "P2D passed while nobody knew when");
}

#[test]
fn bad_reminders_are_refused_by_place() {
    let mut story = Story::draft(json!({}));
    let bad = ["", "1 day", "-P1D", "P0D", "P", "P367D", "P1M", "P1Y", "PT9000H", "tomorrow"];
    for text in bad {
        let value = command(reminders(&["PT1H", text]));
        let rejection = story.send("user:ada", DAY, &value).unwrap_err();
        assert_eq!(
            (rejection.code, rejection.errors[0].field.as_str()),
            (Code::Invalid, "before[1]")
        );
    }
    assert_eq!(story.no("ada", reminders(&["P7D", "P1W"])).0, Code::Invalid);
    let eleven: Vec<_> = (1..=11).map(|n| format!("PT{n}H")).collect();
    assert_eq!(story.no("ada", json!({"setReminders": {"before": eleven}})).0, Code::Invalid);
    story.ok("ada", reminders(&["P366D", "P1W", "P1D", "PT1H", "PT30M", "P1DT12H"]));
    assert_eq!(story.no("ada", json!({"fireReminders": {}})).0, Code::Forbidden);
}

//! Answers, places, the waitlist, roles.

use serde_json::{Value, json};

use super::{Code, DAY, Story, command, user};

fn yes() -> Value {
    json!({"respond": {"answer": "yes"}})
}

fn no() -> Value {
    json!({"respond": {"answer": "no"}})
}

fn party(plus_ones: i64) -> Value {
    json!({"respond": {"answer": "yes", "plusOnes": plus_ones}})
}

fn standing(story: &Story, who: &str) -> Value {
    story.view()["participants"][who]["standing"].clone()
}

fn names(changes: &[schemas::event::EventChange]) -> Vec<Value> {
    changes.iter().map(|change| serde_json::to_value(change).unwrap()).collect()
}

#[test]
fn a_full_event_lets_people_wait_and_a_no_promotes_in_the_same_outcome() {
    let mut story = Story::published(json!({"capacity": 1}));
    story.ok("ada", yes());
    assert_eq!(standing(&story, "ada"), "confirmed");
    assert_eq!(story.view()["participants"]["ada"]["role"], "organiser");
    story.ok("bob", yes());
    story.ok("cid", yes());
    story.ok("dan", yes());
    assert!(story.ok("dan", yes()).is_empty());
    assert_eq!(story.view()["waitlist"], json!(["cid", "dan"]));
    let changes = names(&story.ok("bob", no()));
    assert_eq!(changes[0]["participantResponded"]["standing"], "declined");
    assert_eq!(changes[1], json!({"participantPromoted": {"user": "cid"}}));
    assert_eq!(changes.len(), 2);
    story.ok("bob", yes());
    assert_eq!(story.view()["waitlist"], json!(["dan", "bob"]));
    story.ok("cid", json!({"respond": {"answer": "maybe"}}));
    assert_eq!(standing(&story, "dan"), "confirmed");
}

#[test]
fn without_a_waitlist_a_full_event_says_full() {
    let mut story = Story::published(json!({"capacity": 1, "waitlist": false}));
    story.ok("bob", yes());
    assert_eq!(story.no("cid", yes()).0, Code::Full);
    assert!(story.view()["participants"].get("cid").is_none());
}

#[test]
fn parties_take_their_places_and_nobody_passes_the_first() {
    let mut story = Story::published(json!({"capacity": 4, "maxPlusOnes": 5}));
    story.ok("bob", party(2));
    story.ok("cid", party(1));
    assert_eq!(standing(&story, "cid"), "waitlisted");
    story.ok("dan", yes());
    assert_eq!(standing(&story, "dan"), "waitlisted", "dan would fit, but cid came first");
    assert_eq!(story.no("bob", party(3)).0, Code::Full, "growing would pass cid");
    assert_eq!(story.no("eve", party(5)).0, Code::Full, "never fits");
    let (code, reason) = story.no("eve", party(6));
    assert!(code == Code::Invalid && reason.starts_with("plusOnes"), "{reason}");
    let change = json!({"respond": {"answer": "no", "plusOnes": 1}});
    assert_eq!(story.no("eve", change).0, Code::Invalid);
    let changes = names(&story.ok("cid", party(0)));
    assert_eq!(changes[0]["participantResponded"]["standing"], "waitlisted");
    assert_eq!(changes[1], json!({"participantPromoted": {"user": "cid"}}));
    assert_eq!(story.view()["waitlist"], json!(["dan"]));
    story.ok("bob", party(1));
    assert_eq!(standing(&story, "dan"), "confirmed");
}

#[test]
fn when_the_first_of_the_waitlist_goes_the_next_who_fits_moves_up() {
    let mut story = Story::published(json!({"capacity": 2, "maxPlusOnes": 1}));
    story.ok("bob", yes());
    story.ok("cid", party(1));
    story.ok("dan", yes());
    story.ok("cid", no());
    assert_eq!(standing(&story, "dan"), "confirmed");
}

#[test]
fn raised_capacity_promotes_and_lowered_below_the_taken_is_conflict() {
    let mut story = Story::published(json!({"capacity": 1}));
    for who in ["bob", "cid", "dan", "eve"] {
        story.ok(who, yes());
    }
    let changes = names(&story.ok("ada", json!({"updateEvent": {"capacity": 2}})));
    assert_eq!(changes[1], json!({"participantPromoted": {"user": "cid"}}));
    assert_eq!(changes.len(), 2);
    let (code, reason) = story.no("ada", json!({"updateEvent": {"capacity": 1}}));
    assert!(code == Code::Conflict && reason.starts_with("capacity"), "{reason}");
    story.ok("ada", json!({"updateEvent": {"capacity": null}}));
    assert_eq!(story.view()["waitlist"], json!([]));
}

#[test]
fn answers_depend_on_the_status() {
    let mut story = Story::draft(json!({"tenantRole": "editor"}));
    assert_eq!(story.no("bob", yes()).0, Code::Conflict, "neither invited nor organiser by name");
    story.ok("ada", yes());
    story.ok("ada", json!({"invite": {"user": "bob"}}));
    assert_eq!(standing(&story, "bob"), "invited");
    assert_eq!(story.view()["participants"]["bob"]["answer"], Value::Null);
    story.ok("bob", yes());
    story.ok("ada", json!({"setStatus": {"status": "published"}}));
    story.ok("ada", json!({"setStatus": {"status": "postponed"}}));
    assert_eq!(story.no("cid", yes()).0, Code::Conflict);
    story.ok("bob", no());
    story.ok("ada", json!({"setStatus": {"status": "cancelled"}}));
    assert_eq!(story.no("bob", yes()).0, Code::Conflict);
    assert_eq!(story.no("ada", json!({"invite": {"user": "eve"}})).0, Code::Conflict);
    assert_eq!(standing(&story, "ada"), "confirmed");
}

#[test]
fn the_registration_window_binds_all_but_organisers() {
    let window = json!({"registrationOpens": "2026-05-02T00:00:00Z",
        "registrationCloses": "2026-05-03T00:00:00Z"});
    let mut story = Story::published(window);
    let mut at = |by: &str, when: &str, value: Value| {
        story.send(by, when, &command(value)).map(|changes| changes.len()).map_err(|no| no.code)
    };
    let maybe = json!({"respond": {"answer": "maybe"}});
    assert_eq!(at("user:bob", DAY, yes()), Err(Code::Conflict));
    assert_eq!(at("user:bob", DAY, maybe), Err(Code::Conflict));
    assert_eq!(at("user:bob", DAY, no()), Ok(1));
    assert_eq!(at("user:ada", DAY, yes()), Ok(1));
    assert_eq!(at("user:bob", "2026-05-02T00:00:00Z", yes()), Ok(1));
    assert_eq!(at("user:cid", "2026-05-03T00:00:00Z", yes()), Err(Code::Conflict));
    let for_cid = json!({"respond": {"answer": "yes", "user": "cid"}});
    assert_eq!(at("bridge:slack", DAY, for_cid.clone()), Err(Code::Conflict));
    assert_eq!(at("user:ada", DAY, for_cid), Ok(1));
    assert_eq!(at("partner:erp", DAY, yes()), Err(Code::Invalid));
}

#[test]
fn check_in_is_for_the_confirmed_and_by_organisers_and_staff() {
    let mut story = Story::published(json!({"capacity": 1}));
    let check = |who: &str| json!({"checkIn": {"user": who}});
    story.ok("bob", yes());
    story.ok("cid", yes());
    assert_eq!(story.no("ada", check("zoe")).0, Code::NotFound);
    assert_eq!(story.no("ada", check("cid")).0, Code::Conflict);
    assert_eq!(story.no("bob", check("bob")).0, Code::Forbidden);
    story.ok("ada", json!({"setRole": {"user": "cid", "role": "staff"}}));
    assert_eq!(story.ok("cid", check("bob")).len(), 1);
    assert!(story.ok("cid", check("bob")).is_empty());
    story.ok("bob", no());
    assert_eq!(story.view()["participants"]["bob"]["checkedIn"], false);
    story.ok("ada", json!({"setStatus": {"status": "postponed"}}));
    assert_eq!(story.no("ada", check("cid")).0, Code::Conflict);
}

#[test]
fn co_organisers_do_not_touch_organisers() {
    for tenant_role in ["viewer", "editor"] {
        let mut story = Story::published(json!({"tenantRole": tenant_role}));
        let set = |who: &str, role: &str| json!({"setRole": {"user": who, "role": role}});
        story.ok("ada", json!({"invite": {"user": "bob", "role": "coOrganiser"}}));
        story.ok("ada", json!({"invite": {"user": "cid", "role": "organiser"}}));
        story.ok("bob", json!({"invite": {"user": "dan"}}));
        assert!(story.ok("bob", json!({"invite": {"user": "dan"}})).is_empty());
        let again = json!({"invite": {"user": "dan", "role": "staff"}});
        assert_eq!(story.no("bob", again).0, Code::Conflict);
        story.ok("bob", set("dan", "staff"));
        assert!(story.ok("bob", set("dan", "staff")).is_empty());
        assert_eq!(story.no("bob", set("cid", "participant")).0, Code::Forbidden);
        assert_eq!(story.no("bob", set("dan", "organiser")).0, Code::Forbidden);
        let invite = json!({"invite": {"user": "eve", "role": "organiser"}});
        assert_eq!(story.no("bob", invite).0, Code::Forbidden);
        assert_eq!(story.no("bob", set("zoe", "staff")).0, Code::NotFound);
        story.ok("ada", yes());
        assert_eq!(story.no("cid", set("ada", "staff")).0, Code::Conflict);
        story.ok("cid", set("bob", "participant"));
        assert!(!story.event().is_organiser_by_name(&user("bob")));
    }
}

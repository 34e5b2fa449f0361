//! What holds whatever is asked in whatever order.

use proptest::prelude::*;
use schemas::event::{EventChange, EventCommand, Standing};
use serde_json::{Value, json};

use super::{Event, Story, Timestamp, command, create, step};
use schemas::role::Role;

const USERS: [&str; 5] = ["ada", "bob", "cid", "dan", "eve"];
const BY: [&str; 8] = [
    "user:ada",
    "user:bob",
    "user:cid",
    "user:dan",
    "user:eve",
    "user:root",
    "partner:erp",
    "system",
];

/// A random command with a principal and how many hours after the one before.
fn asked() -> impl Strategy<Value = (usize, i64, EventCommand)> {
    (0..BY.len(), 0..30_i64, wish().prop_map(command))
}

fn wish() -> impl Strategy<Value = Value> {
    let user = || prop::sample::select(&USERS[..]);
    let pick = |words: &'static [&'static str]| prop::sample::select(words);
    let hour = || (0..6_i64).prop_map(|n| Timestamp::from_millis(n * 3_600_000).to_string());
    let roles = &["organiser", "coOrganiser", "staff", "participant"];
    let members = &["owner", "editor", "viewer", "guest"];
    let statuses =
        &["draft", "published", "published", "published", "ongoing", "postponed", "completed"];
    let answers = &["yes", "yes", "yes", "no", "maybe"];
    let respond = (pick(answers), prop::option::of(user()), prop::option::of(-1..4_i64)).prop_map(
        |(answer, user, plus)| json!({"respond": {"answer": answer, "user": user, "plusOnes": plus}}),
    );
    let session = (pick(&["a", "b", "c"]), hour(), hour(), prop::option::of(pick(&["X", "Y"])));
    let session = (session, prop::collection::vec(pick(&["S", "T"]), 0..2), any::<bool>());
    let session = session.prop_map(|((id, start, end, place), speakers, is_new)| {
        let kind = if is_new { "addSession" } else { "updateSession" };
        json!({kind: {"session": id, "title": "T", "start": start, "end": end, "place": place,
            "speakers": speakers}})
    });
    let spans = &["P1D", "PT1H", "P1W", "PT30M"];
    let spans = prop::collection::vec(pick(spans), 0..4);
    let capacity = prop::option::of(0..6_i64);
    prop_oneof![
        8 => respond,
        2 => capacity.prop_map(|n| json!({"updateEvent": {"capacity": n}})),
        1 => any::<bool>().prop_map(|on| json!({"updateEvent": {"waitlist": on}})),
        1 => (0..4_i64).prop_map(|n| json!({"updateEvent": {"maxPlusOnes": n}})),
        1 => (0..400_i64).prop_map(|n| {
            let start = Timestamp::from_millis(n * 7_200_000).to_string();
            json!({"updateEvent": {"start": start, "end": "1980-01-01T00:00:00Z"}})
        }),
        1 => pick(&["private", "tenant"]).prop_map(|v| json!({"updateEvent": {"visibility": v}})),
        2 => pick(statuses).prop_map(|status| json!({"setStatus": {"status": status}})),
        1 => (user(), prop::option::of(pick(roles)))
            .prop_map(|(user, role)| json!({"invite": {"user": user, "role": role}})),
        1 => user().prop_map(|user| json!({"checkIn": {"user": user}})),
        1 => (user(), pick(roles))
            .prop_map(|(user, role)| json!({"setRole": {"user": user, "role": role}})),
        3 => session,
        1 => pick(&["a", "b"]).prop_map(|id| json!({"removeSession": {"session": id}})),
        1 => spans.prop_map(|before| json!({"setReminders": {"before": before}})),
        1 => (user(), pick(members))
            .prop_map(|(user, role)| json!({"setMember": {"user": user, "role": role}})),
        1 => user().prop_map(|user| json!({"removeMember": {"user": user}})),
        1 => Just(json!({"fireReminders": {}})),
    ]
}

fn check_invariants(event: &Event) {
    let places: i64 = (event.participants.iter())
        .filter(|(user, one)| one.standing == Standing::Confirmed && event.takes_place(user))
        .map(|(_, one)| 1 + one.plus_ones)
        .sum();
    assert_eq!(event.places_used, places);
    if let Some(capacity) = event.details.capacity {
        assert!(places <= capacity, "overbooked: {places} of {capacity}");
    }
    let mut waiting: Vec<_> = event.waitlist.iter().collect();
    waiting.sort();
    let waitlisted = event.participants.iter();
    let waitlisted = waitlisted.filter(|(_, one)| one.standing == Standing::Waitlisted);
    assert_eq!(waiting, waitlisted.map(|(user, _)| user).collect::<Vec<_>>());
    if let Some(first) = event.waitlist.front() {
        let party = event.participants[first].party();
        let capacity = event.details.capacity.expect("nobody waits for an event without bound");
        assert!(places + party > capacity, "{first} waits while {party} places are free");
    }
    let sessions: Vec<_> = event.sessions.values().collect();
    for (n, one) in sessions.iter().enumerate() {
        assert!(sessions[..n].iter().all(|other| one.clash(other).is_none()));
    }
    assert!(event.access.members.values().any(|role| *role == Role::Owner), "no owner");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn invariants_hold_and_replay_is_identical(wishes in prop::collection::vec(asked(), 1..60)) {
        let mut story = Story::default();
        let mut now = Timestamp::from_millis(0);
        let start = Timestamp::from_millis(40 * 86_400_000).to_string();
        let first = create(json!({"start": start, "end": "1980-01-01T00:00:00Z", "capacity": 3,
            "maxPlusOnes": 3, "tenantRole": "editor"}));
        story.send(BY[0], &now.to_string(), &first).unwrap();
        for (by, hours, wish) in wishes {
            now = now.plus_millis(hours * 3_600_000);
            // A "no" is as good as a "yes" here; panics and broken invariants are not.
            let waitlist = story.event().waitlist.clone();
            let answer = story.send(BY[by], &now.to_string(), &wish);
            check_invariants(story.event());
            let promoted = answer.iter().flatten().filter_map(|change| match change {
                EventChange::ParticipantPromoted { user } => Some(user),
                _other => None,
            });
            // Those promoted came first, and in their order, but for who left by this very command.
            let left = |user: &&_| story.event().participants[*user].standing != Standing::Declined
                && story.event().participants[*user].standing != Standing::Tentative;
            let due: Vec<_> = waitlist.iter().filter(left).collect();
            prop_assert!(promoted.eq(due.iter().copied().take(due.len() - due.iter()
                .filter(|user| story.event().waitlist.contains(user)).count())));
            if let Some(wake) = story.event().next_wake() {
                let mut woken = Story { event: story.event.clone(), ..Story::default() };
                let command = Event::wake_command().unwrap();
                let fired = woken.send("system", &wake.to_string(), &command).unwrap();
                prop_assert!(!fired.is_empty(), "a wake-up without progress");
                prop_assert!(woken.event().next_wake().is_none_or(|next| next > wake));
            }
        }
        let live = story.event();
        let mut replayed = None;
        for (n, entry) in story.log.iter().enumerate() {
            step(&mut replayed, i64::try_from(n).unwrap() + 1, entry);
        }
        let bytes = serde_json::to_vec(live).unwrap();
        prop_assert_eq!(replayed.as_ref(), Some(live));
        prop_assert_eq!(&serde_json::to_vec(&replayed).unwrap(), &bytes);
        prop_assert_eq!(&serde_json::from_slice::<Event>(&bytes).unwrap(), live);
    }
}

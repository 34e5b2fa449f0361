//! What holds after any commands by anybody: the room's invariants, and that a replay of the
//! changes gives the same room (R9).

use std::sync::OnceLock;

use proptest::prelude::*;
use schemas::{Timestamp, UserName, role::Role, room::RoomCommand};
use serde_json::json;

use super::{
    Room,
    messages::{EMOJI_MOST, PINS_MOST},
    tests::{Scene, command},
    timeline::WHOLE_MOST,
};
use crate::domain::Meta;

/// A room with so many messages that both bounds are passed within a few posts.
fn crowded() -> Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    let build = || {
        let mut scene = Scene::staffed();
        for n in 0..2_195 {
            let body = json!({"type": "post", "text": "x", "message": format!("c{n}")});
            scene.send("bob", &command(body)).unwrap();
        }
        scene
    };
    SCENE.get_or_init(build).clone()
}

fn who() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "ada",
        "ada",
        "adam",
        "mo",
        "bob",
        "gil",
        "rob",
        "eve",
        "admin:eve",
        "partner:erp",
        "bridge:slack",
        "system",
    ])
}

fn any_command() -> impl Strategy<Value = RoomCommand> {
    let user = proptest::sample::select(vec!["ada", "adam", "mo", "bob", "gil", "rob", "eve"]);
    let message =
        proptest::sample::select(vec!["a", "b", "c", "d", "e", "c0", "c1", "c1993", "c2194"]);
    let role = proptest::sample::select(vec![
        "owner",
        "admin",
        "moderator",
        "member",
        "guest",
        "readOnly",
        "editor",
    ]);
    let text = proptest::sample::select(vec!["hi @bob", "@here", "darn", "**x**", "", "y"]);
    let emoji = proptest::sample::select(vec!["👍", "x", "a b"]);
    let number = -1i64..40;
    let maybe = proptest::option::of(message.clone());
    let parts = (user, message, maybe.clone(), maybe, role, text, emoji, number, 0u8..30);
    parts.prop_map(|(user, message, reply, thread, role, text, emoji, number, which)| {
        let until = (number > 5).then(|| Timestamp::from_millis(number * 1_000));
        command(match which {
            0..=3 => json!({"type": "post", "text": text, "message": message}),
            4 => json!({"type": "post", "text": text, "replyTo": reply, "thread": thread}),
            5 => json!({"type": "post", "text": text, "thread": thread, "message": message}),
            6 => json!({"type": "edit", "message": message, "text": text}),
            7 | 8 => json!({"type": "delete", "message": message}),
            9 | 10 => json!({"type": "react", "message": message, "emoji": emoji}),
            11 => json!({"type": "unreact", "message": message, "emoji": emoji}),
            12 | 13 => json!({"type": "pin", "message": message}),
            14 => json!({"type": "unpin", "message": message}),
            15 => json!({"type": "markRead", "message": message}),
            16 => json!({"type": "join"}),
            17 => json!({"type": "leave"}),
            18 | 19 => json!({"type": "setMember", "user": user, "role": role}),
            20 => json!({"type": "removeMember", "user": user}),
            21 => json!({"type": "mute", "user": user, "until": until}),
            22 => json!({"type": "unmute", "user": user}),
            23 => json!({"type": "ban", "user": user}),
            24 => json!({"type": "unban", "user": user}),
            25 => json!({"type": "setSlowMode", "seconds": number}),
            26 => json!({"type": "setWordFilter", "words": ["darn"]}),
            27 => json!({"type": "updateRoom", "access": "request", "tenantRole": "viewer"}),
            28 => json!({"type": "updateRoom", "access": "open", "tenantRole": "member"}),
            _ => json!({"type": "endMutes"}),
        })
    })
}

fn check(room: &Room) {
    let members = &room.access.members;
    assert!(members.values().any(|role| *role == Role::Owner), "no owner");
    let is_banned = |user: &UserName| room.banned.contains(user);
    assert!(!members.keys().any(is_banned), "a banned member");
    assert!(!room.readings.keys().any(is_banned), "a banned reader");
    assert!(!room.requests.iter().any(is_banned), "a banned request");
    assert!(!room.requests.iter().any(|user| members.contains_key(user)), "a member asks to join");
    assert!(members.keys().all(|user| room.readings.contains_key(user)), "no read position");
    let newest = room.timeline.newest();
    assert!(room.readings.values().all(|reading| (0..=newest).contains(&reading.reached())));
    assert!(room.pins.len() <= PINS_MOST);
    for (index, pin) in room.pins.iter().enumerate() {
        assert!(!room.pins[..index].contains(pin), "pinned twice");
        let deleted = room.timeline.get(pin).is_some_and(|known| known.is_deleted());
        assert!(!deleted, "a deleted message is pinned");
    }
    assert!(room.timeline.whole().len() <= WHOLE_MOST);
    for message in room.timeline.whole() {
        assert!(message.said.is_some() || message.reactions.is_empty(), "reactions to nothing");
        assert!(message.reactions.len() <= EMOJI_MOST);
        for users in message.reactions.values() {
            assert!(!users.is_empty(), "an emoji of nobody");
            let mut unique = users.clone();
            unique.sort();
            unique.dedup();
            assert_eq!(unique.len(), users.len(), "reacted twice");
        }
        let root = message.thread.as_ref().and_then(|root| room.timeline.get(root));
        assert!(root.is_none_or(|root| root.thread().is_none()), "a thread in a thread");
    }
    assert!(room.slow.seconds() > 0 || room.slow.remembered() == 0);
}

fn bytes(room: &Room) -> Vec<u8> {
    serde_json::to_vec(room).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn replay_equals_live_and_the_invariants_hold(
        is_crowded in proptest::bool::weighted(0.2),
        steps in proptest::collection::vec((who(), any_command(), 0i64..3_000), 1..60),
    ) {
        let mut scene = if is_crowded { crowded() } else { Scene::staffed() };
        let start = scene.room.clone();
        let known = scene.journal.len();
        for (who, command, pause) in &steps {
            scene.now += pause;
            let before = scene.room.clone();
            match scene.send(who, command) {
                Ok(changes) if changes.is_empty() => prop_assert_eq!(&scene.room, &before),
                // Changes to messages kept in outline may leave no trace in the state.
                Ok(_) => {}
                Err(no) => {
                    prop_assert!(!no.reason.is_empty());
                    prop_assert_eq!(&scene.room, &before);
                }
            }
            check(&scene.room);
        }
        scene.room.timeline.check();
        scene.room.view();

        let mut replayed = start;
        let first = scene.seq + 1 - i64::try_from(scene.journal.len() - known).unwrap();
        for (seq, (change, at, by)) in (first..).zip(&scene.journal[known..]) {
            let at = Timestamp::from_millis(*at);
            replayed.apply(change, &Meta { seq, at, by, undoes: None, redoes: None });
        }
        prop_assert_eq!(&replayed, &scene.room);
        let live = bytes(&scene.room);
        prop_assert_eq!(&bytes(&replayed), &live);
        let back: Room = serde_json::from_slice(&live).unwrap();
        prop_assert_eq!(&bytes(&back), &live);
        prop_assert_eq!(&back, &scene.room);
    }

    #[test]
    fn a_replay_from_creation_equals_live(
        steps in proptest::collection::vec((who(), any_command(), 0i64..3_000), 1..60),
    ) {
        let mut scene = Scene::new(json!({"type": "createRoom", "title": "x", "tenantRole": "member"}));
        for (who, command, pause) in &steps {
            scene.now += pause;
            // Refusals are part of the game; the state is compared below.
            drop(scene.send(who, command));
            check(&scene.room);
        }
        let meta = |seq, at: &i64, by| {
            Meta { seq, at: Timestamp::from_millis(*at), by, undoes: None, redoes: None }
        };
        let (created, at, by) = &scene.journal[0];
        let mut replayed = Room::from_created(created, &meta(1, at, by)).unwrap();
        for ((change, at, by), seq) in scene.journal[1..].iter().zip(2..) {
            prop_assert!(Room::from_created(change, &meta(seq, at, by)).is_none());
            replayed.apply(change, &meta(seq, at, by));
        }
        prop_assert_eq!(&replayed, &scene.room);
        prop_assert_eq!(bytes(&replayed), bytes(&scene.room));
    }
}

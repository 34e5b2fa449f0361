//! Given / when / then for every command of a room.

use schemas::{
    Code, CommandId, Principal, Rejection, Seq, Timestamp,
    room::{RoomChange, RoomCommand},
};
use serde_json::{Value, json};

use super::Room;
use crate::domain::{Context, Draft, Meta, access::Actor};

/// A room, its clock and what happened last.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) room: Room,
    pub(super) seq: Seq,
    pub(super) now: i64,
    pub(super) commands: i64,
    /// Every accepted change with what `apply` was told.
    pub(super) journal: Vec<(RoomChange, i64, Principal)>,
}

/// A command as clients write it, `type` beside its fields.
pub(super) fn command(mut body: Value) -> RoomCommand {
    let tag = body.as_object_mut().and_then(|fields| fields.remove("type")).unwrap();
    serde_json::from_value(json!({ tag.as_str().unwrap(): body })).unwrap()
}

/// `ada` is a user, `admin:ada` one with the tenant's admin role; all else is a principal.
fn parse(who: &str) -> (Principal, bool) {
    if let Some(name) = who.strip_prefix("admin:") {
        return (format!("user:{name}").parse().unwrap(), true);
    }
    let full =
        if who.contains(':') || who == "system" { who.into() } else { format!("user:{who}") };
    (full.parse().unwrap(), false)
}

impl Scene {
    pub(super) fn new(create: Value) -> Self {
        let (ada, _) = parse("ada");
        let at = Timestamp::from_millis(0);
        let actor = Actor { principal: &ada, is_admin: false };
        let context = Context { actor, at, command_id: CommandId::derived("create") };
        let drafts = Room::decide_create(&command(create), &context).unwrap();
        assert_eq!(drafts.len(), 1);
        let created = drafts[0].body.clone();
        let meta = Meta { seq: 1, at, by: &ada, undoes: None, redoes: None };
        let room = Room::from_created(&created, &meta).unwrap();
        Self { room, seq: 1, now: 0, commands: 0, journal: vec![(created, 0, ada)] }
    }

    /// ada owns, adam administers, mo moderates, bob is a member, gil a guest, rob reads only.
    /// Whoever else comes has no role.
    pub(super) fn staffed() -> Self {
        let mut scene = Self::new(json!({"type": "createRoom", "title": "Lobby"}));
        for (user, role) in [
            ("adam", "admin"),
            ("mo", "moderator"),
            ("bob", "member"),
            ("gil", "guest"),
            ("rob", "readOnly"),
        ] {
            scene.ok("ada", json!({"type": "setMember", "user": user, "role": role}));
        }
        scene
    }

    pub(super) fn send(
        &mut self,
        who: &str,
        body: &RoomCommand,
    ) -> Result<Vec<RoomChange>, Rejection> {
        let (principal, is_admin) = parse(who);
        self.commands += 1;
        let at = Timestamp::from_millis(self.now);
        let command_id = CommandId::derived(&self.commands.to_string());
        let context = Context { actor: Actor { principal: &principal, is_admin }, at, command_id };
        let drafts = self.room.decide(body, &context)?;
        let mut changes = Vec::new();
        for Draft { body, undoes, redoes } in drafts {
            self.seq += 1;
            self.room.apply(&body, &Meta { seq: self.seq, at, by: &principal, undoes, redoes });
            self.journal.push((body.clone(), self.now, principal.clone()));
            changes.push(body);
        }
        Ok(changes)
    }

    /// The types of the changes that the command makes.
    fn ok(&mut self, who: &str, body: Value) -> Vec<String> {
        let changes = self.send(who, &command(body.clone()));
        let changes = changes.unwrap_or_else(|no| panic!("{who} {body}: {no}"));
        changes.iter().map(type_of).collect()
    }

    fn no(&mut self, who: &str, body: Value) -> Rejection {
        let before = self.room.clone();
        let answer = self.send(who, &command(body.clone()));
        let Err(rejection) = answer else { panic!("{who} {body}: accepted, {answer:?}") };
        assert_eq!(self.room, before);
        rejection
    }

    fn code(&mut self, who: &str, body: Value) -> Code {
        self.no(who, body).code
    }

    fn field(&mut self, who: &str, body: Value) -> String {
        let rejection = self.no(who, body);
        assert_eq!(rejection.code, Code::Invalid, "{rejection}");
        rejection.errors[0].field.clone()
    }

    fn post(&mut self, who: &str, id: &str) {
        self.ok(who, json!({"type": "post", "text": format!("says {id}"), "message": id}));
    }

    fn view(&self) -> Value {
        Value::Object(self.room.view())
    }
}

fn type_of(change: &RoomChange) -> String {
    let value = serde_json::to_value(change).unwrap();
    value.as_object().unwrap().keys().next().unwrap().clone()
}

#[test]
fn creating() {
    let context_for = |principal| Context {
        actor: Actor { principal, is_admin: false },
        at: Timestamp::from_millis(5),
        command_id: CommandId::derived("x"),
    };
    let (ada, _) = parse("ada");
    for (body, field) in [
        (json!({"type": "createRoom", "title": " "}), "title"),
        (json!({"type": "createRoom", "title": "x".repeat(201)}), "title"),
        (json!({"type": "createRoom", "title": "x", "topic": "x".repeat(1_001)}), "topic"),
        (json!({"type": "createRoom", "title": "x", "tenantRole": "editor"}), "tenantRole"),
    ] {
        let no = Room::decide_create(&command(body), &context_for(&ada)).unwrap_err();
        assert_eq!((no.code, no.errors[0].field.as_str()), (Code::Invalid, field));
    }
    let no = Room::decide_create(&command(json!({"type": "leave"})), &context_for(&ada));
    assert_eq!(no.unwrap_err().code, Code::NotFound);

    let mut scene = Scene::new(json!({"type": "createRoom", "title": "Lobby"}));
    assert_eq!(scene.code("bob", json!({"type": "createRoom", "title": "x"})), Code::Conflict);
    assert_eq!(
        scene.view(),
        json!({
            "title": "Lobby", "topic": null, "createdAt": "1970-01-01T00:00:00Z",
            "createdBy": "user:ada", "access": "open", "tenantRole": "none",
            "members": {"ada": "owner"}, "requests": [], "messages": [], "pins": [], "reads": {},
            "unread": {"ada": {"messages": 0, "mentions": 0}}, "muted": {}, "banned": [],
            "slowMode": 0, "wordFilter": [], "links": [],
        })
    );
}

#[test]
fn updating() {
    let mut scene = Scene::staffed();
    let update = json!({"type": "updateRoom", "title": "Hall", "topic": "x", "access": "invite", "tenantRole": "viewer"});
    assert_eq!(scene.code("mo", update.clone()), Code::Forbidden);
    assert_eq!(scene.ok("adam", update.clone()), ["roomUpdated"]);
    assert!(scene.ok("adam", update).is_empty());
    assert_eq!(scene.ok("adam", json!({"type": "updateRoom", "topic": null})), ["roomUpdated"]);
    let view = scene.view();
    assert_eq!(
        (&view["title"], &view["topic"], &view["access"], &view["tenantRole"]),
        (&json!("Hall"), &json!(null), &json!("invite"), &json!("viewer"))
    );
    for (field, value) in [("title", json!("")), ("tenantRole", json!("editor"))] {
        let body = json!({"type": "updateRoom", field: value});
        assert_eq!(scene.field("ada", body), field);
    }
    for field in ["title", "access", "tenantRole"] {
        // Absent and null differ only where the type says so.
        let body = json!({"type": "updateRoom", field: null});
        assert_eq!(scene.field("ada", body), field);
    }
}

#[test]
fn posting() {
    let mut scene = Scene::staffed();
    assert_eq!(scene.code("eve", json!({"type": "post", "text": "x"})), Code::Forbidden);
    assert_eq!(scene.code("rob", json!({"type": "post", "text": "x"})), Code::Forbidden);
    scene.ok("bob", json!({"type": "post", "text": "**hi** @ada", "message": "a"}));
    let paragraph = json!({"type": "paragraph", "children": [{"type": "text", "text": "yo"}]});
    scene.ok("gil", json!({"type": "post", "content": [paragraph], "message": "b", "replyTo": "a", "thread": "a"}));
    let files = json!([{"name": "f", "url": "https://e.org/f"}]);
    scene.ok("bridge:slack", json!({"type": "post", "attachments": files, "message": "c"}));
    let view = scene.view();
    let message = &view["messages"][0];
    assert_eq!((&message["author"], &message["text"]), (&json!("user:bob"), &json!("**hi** @ada")));
    assert_eq!(message["content"][0]["children"][0]["type"], "bold");
    assert_eq!(view["messages"][1]["text"], "yo");
    assert_eq!(view["messages"][1]["thread"], "a");
    assert_eq!(view["messages"][2]["author"], "bridge:slack");
    assert!(view["messages"][2]["attachments"][0]["id"].is_string());
    assert_eq!(view["messages"][2]["text"], "");
    assert_eq!(scene.ok("ada", json!({"type": "post", "text": "x"})), ["messagePosted"]);
    let derived = CommandId::derived(&scene.commands.to_string()).to_string();
    assert_eq!(scene.view()["messages"][3]["id"], derived.as_str());

    let mut deep = json!({"type": "text", "text": "x"});
    for _ in 0..32 {
        deep = json!({"type": "quote", "children": [deep]});
    }
    let wide: Vec<Value> = (0..5_001).map(|_| json!({"type": "text", "text": "x"})).collect();
    let many: Vec<Value> = (0..21).map(|_| files[0].clone()).collect();
    for (body, field) in [
        (json!({"type": "post"}), "text"),
        (json!({"type": "post", "text": "x", "content": []}), "content"),
        (json!({"type": "post", "text": "x", "content": [], "attachments": files}), "content"),
        (json!({"type": "post", "text": " \n"}), "text"),
        (json!({"type": "post", "text": "", "attachments": files}), "text"),
        (json!({"type": "post", "text": "x".repeat(40_001)}), "text"),
        (json!({"type": "post", "text": "*a* ".repeat(5_000)}), "text"),
        (json!({"type": "post", "content": []}), "content"),
        (json!({"type": "post", "content": [deep]}), "content"),
        (json!({"type": "post", "content": wide}), "content"),
        (json!({"type": "post", "content": [{"type": "heading", "level": 7}]}), "content"),
        (json!({"type": "post", "text": "x", "replyTo": "zz"}), "replyTo"),
        (json!({"type": "post", "text": "x", "thread": "zz"}), "thread"),
        (json!({"type": "post", "text": "x", "thread": "b"}), "thread"),
        (json!({"type": "post", "attachments": many}), "attachments"),
        (
            json!({"type": "post", "attachments": [{"name": "", "url": "http://e"}]}),
            "attachments[0].name",
        ),
        (
            json!({"type": "post", "attachments": [{"name": "f", "url": "ftp://e"}]}),
            "attachments[0].url",
        ),
        (
            json!({"type": "post", "attachments": [{"name": "f", "url": "http://"}]}),
            "attachments[0].url",
        ),
        (
            json!({"type": "post", "attachments": [{"name": "f", "url": "http://e", "size": -1}]}),
            "attachments[0].size",
        ),
    ] {
        assert_eq!(scene.field("bob", body.clone()), field, "{body}");
    }
    let again = json!({"type": "post", "text": "x", "message": "a"});
    assert_eq!(scene.code("bob", again), Code::Conflict);
    let loud = json!({"type": "post", "text": "@here wake up"});
    assert_eq!(scene.code("gil", loud.clone()), Code::Forbidden);
    scene.ok("bob", loud);
}

#[test]
fn editing_and_deleting() {
    let mut scene = Scene::staffed();
    scene.post("bob", "a");
    scene.now = 1_000;
    let edit = |text: &str| json!({"type": "edit", "message": "a", "text": text});
    assert_eq!(scene.code("ada", edit("x")), Code::Forbidden);
    assert_eq!(scene.code("eve", edit("x")), Code::Forbidden);
    assert_eq!(
        scene.code("bob", json!({"type": "edit", "message": "z", "text": "x"})),
        Code::NotFound
    );
    assert_eq!(scene.field("bob", edit("")), "text");
    assert_eq!(scene.ok("bob", edit("new")), ["messageEdited"]);
    assert!(scene.ok("bob", edit("new")).is_empty());
    assert_eq!(scene.view()["messages"][0]["text"], "new");
    assert_eq!(scene.view()["messages"][0]["editedAt"], "1970-01-01T00:00:01Z");

    scene.ok("bob", json!({"type": "pin", "message": "a"}));
    scene.ok("gil", json!({"type": "react", "message": "a", "emoji": "👍"}));
    let delete = json!({"type": "delete", "message": "a"});
    assert_eq!(scene.code("gil", delete.clone()), Code::Forbidden);
    assert_eq!(scene.code("mo", json!({"type": "delete", "message": "z"})), Code::NotFound);
    assert_eq!(scene.ok("mo", delete.clone()), ["messageUnpinned", "messageDeleted"]);
    assert!(scene.ok("bob", delete).is_empty());
    let view = scene.view();
    let message = &view["messages"][0];
    assert_eq!(message["deleted"], true);
    assert_eq!((&message["text"], &message["content"]), (&json!(null), &json!(null)));
    assert_eq!((&message["reactions"], &view["pins"]), (&json!({}), &json!([])));
    assert_eq!(scene.code("bob", edit("x")), Code::Conflict);
    let react = json!({"type": "react", "message": "a", "emoji": "x"});
    assert_eq!(scene.code("bob", react), Code::Conflict);
    assert_eq!(scene.code("bob", json!({"type": "pin", "message": "a"})), Code::Conflict);
}

#[test]
fn reacting_and_pinning() {
    let mut scene = Scene::staffed();
    scene.post("bob", "a");
    let react = |emoji: &str| json!({"type": "react", "message": "a", "emoji": emoji});
    let unreact = json!({"type": "unreact", "message": "a", "emoji": "👍"});
    assert_eq!(scene.ok("gil", react("👍")), ["reactionAdded"]);
    assert!(scene.ok("gil", react("👍")).is_empty());
    scene.ok("partner:erp", react("👍"));
    assert_eq!(scene.view()["messages"][0]["reactions"], json!({"👍": ["gil", "partner:erp"]}));
    assert_eq!(scene.ok("gil", unreact.clone()), ["reactionRemoved"]);
    assert!(scene.ok("gil", unreact.clone()).is_empty());
    scene.ok("partner:erp", unreact.clone());
    assert_eq!(scene.view()["messages"][0]["reactions"], json!({}));
    assert_eq!(scene.code("rob", react("x")), Code::Forbidden);
    assert_eq!(scene.code("rob", unreact), Code::Forbidden);
    for emoji in ["", "a b", &"x".repeat(65)] {
        assert_eq!(scene.field("bob", react(emoji)), "emoji");
    }
    let missing = json!({"type": "react", "message": "z", "emoji": "x"});
    assert_eq!(scene.code("bob", missing), Code::NotFound);
    for n in 0..50 {
        scene.ok("bob", react(&format!("e{n}")));
    }
    assert_eq!(scene.code("bob", react("e50")), Code::Conflict);
    scene.ok("gil", react("e49"));

    let pin = |id: &str| json!({"type": "pin", "message": id});
    let unpin = json!({"type": "unpin", "message": "a"});
    assert_eq!(scene.code("gil", pin("a")), Code::Forbidden);
    assert_eq!(scene.code("bob", pin("z")), Code::NotFound);
    assert_eq!(scene.ok("bob", pin("a")), ["messagePinned"]);
    assert!(scene.ok("bob", pin("a")).is_empty());
    assert_eq!(scene.code("gil", unpin.clone()), Code::Forbidden);
    assert_eq!(scene.ok("bob", unpin.clone()), ["messageUnpinned"]);
    assert!(scene.ok("bob", unpin).is_empty());
    assert_eq!(scene.code("bob", json!({"type": "unpin", "message": "z"})), Code::NotFound);
    for n in 0..101 {
        scene.post("bob", &format!("m{n}"));
    }
    for n in 0..100 {
        scene.ok("bob", pin(&format!("m{n}")));
    }
    assert_eq!(scene.code("bob", pin("m100")), Code::Conflict);
}

#[test]
fn reading_moves_forward_and_counts() {
    let mut scene = Scene::staffed();
    for id in ["a", "b", "c"] {
        scene.post("ada", id);
    }
    scene.ok("bob", json!({"type": "post", "text": "@here and @rob", "message": "d"}));
    scene.ok("ada", json!({"type": "post", "text": "@bob @bob", "message": "e"}));
    let read = |id: &str| json!({"type": "markRead", "message": id});
    assert_eq!(scene.view()["unread"]["bob"], json!({"messages": 4, "mentions": 1}));
    assert_eq!(scene.view()["unread"]["ada"], json!({"messages": 1, "mentions": 1}));
    assert_eq!(scene.ok("bob", read("b")), ["readMoved"]);
    assert!(scene.ok("bob", read("a")).is_empty());
    assert!(scene.ok("bob", read("b")).is_empty());
    assert_eq!(scene.view()["reads"], json!({"bob": "b"}));
    assert_eq!(scene.view()["unread"]["bob"], json!({"messages": 2, "mentions": 1}));
    scene.ok("ada", json!({"type": "delete", "message": "c"}));
    assert_eq!(scene.view()["unread"]["bob"], json!({"messages": 1, "mentions": 1}));
    assert_eq!(scene.ok("rob", read("e")), ["readMoved"]);
    assert_eq!(scene.code("rob", read("z")), Code::NotFound);
    assert_eq!(scene.code("eve", read("a")), Code::Forbidden);
    assert_eq!(scene.code("partner:erp", read("a")), Code::Forbidden);
    scene.ok("eve", json!({"type": "join"}));
    assert_eq!(scene.view()["unread"]["eve"], json!({"messages": 0, "mentions": 0}));
    scene.post("ada", "f");
    assert_eq!(scene.view()["unread"]["eve"], json!({"messages": 1, "mentions": 0}));
}

#[test]
fn joining_and_leaving() {
    let mut scene = Scene::staffed();
    let join = json!({"type": "join"});
    let leave = json!({"type": "leave"});
    assert_eq!(scene.ok("eve", join.clone()), ["memberSet"]);
    assert!(scene.ok("eve", join.clone()).is_empty());
    assert_eq!(scene.code("partner:erp", join.clone()), Code::Forbidden);
    assert_eq!(scene.ok("eve", leave.clone()), ["memberRemoved"]);
    assert!(scene.ok("eve", leave.clone()).is_empty());
    assert_eq!(scene.code("ada", leave.clone()), Code::Conflict);
    scene.ok("bob", json!({"type": "removeMember", "user": "bob"}));

    scene.ok("ada", json!({"type": "updateRoom", "access": "invite"}));
    assert_eq!(scene.code("eve", join.clone()), Code::Forbidden);
    scene.ok("ada", json!({"type": "updateRoom", "access": "request"}));
    for user in ["eve", "bob", "tim"] {
        assert_eq!(scene.ok(user, join.clone()), ["joinRequested"]);
        assert!(scene.ok(user, join.clone()).is_empty());
    }
    assert_eq!(scene.view()["requests"], json!(["eve", "bob", "tim"]));
    assert_eq!(scene.code("eve", json!({"type": "post", "text": "x"})), Code::Forbidden);
    scene.ok("adam", json!({"type": "setMember", "user": "eve", "role": "member"}));
    scene.ok("mo", json!({"type": "removeMember", "user": "bob"}));
    scene.ok("tim", leave);
    assert_eq!(scene.view()["requests"], json!([]));
    assert_eq!(scene.view()["members"]["eve"], "member");
    assert_eq!(scene.view()["members"]["bob"], json!(null));
}

#[test]
fn roles() {
    let mut scene = Scene::staffed();
    let set = |user: &str, role: &str| json!({"type": "setMember", "user": user, "role": role});
    for (who, user, role) in [
        ("mo", "eve", "member"),
        ("eve", "eve", "member"),
        ("partner:erp", "eve", "member"),
        ("adam", "eve", "admin"),
        ("adam", "eve", "owner"),
        ("adam", "ada", "member"),
        ("adam", "adam", "member"),
    ] {
        assert_eq!(scene.code(who, set(user, role)), Code::Forbidden, "{who} {user} {role}");
    }
    for role in ["editor", "viewer"] {
        assert_eq!(scene.field("ada", set("eve", role)), "role");
    }
    assert_eq!(scene.code("ada", set("ada", "member")), Code::Conflict);
    assert!(scene.ok("ada", set("ada", "owner")).is_empty());
    assert_eq!(scene.ok("adam", set("eve", "guest")), ["memberSet"]);
    scene.ok("ada", set("eve", "owner"));
    scene.ok("eve", set("ada", "member"));
    scene.ok("admin:tess", set("ada", "owner"));
    scene.ok("eve", json!({"type": "leave"}));

    let kick = |user: &str| json!({"type": "removeMember", "user": user});
    for (who, user) in [("bob", "gil"), ("mo", "adam"), ("adam", "ada"), ("admin:t", "ada")] {
        assert_eq!(scene.code(who, kick(user)), Code::Forbidden, "{who} {user}");
    }
    assert_eq!(scene.code("mo", kick("eve")), Code::NotFound);
    assert_eq!(scene.ok("mo", kick("bob")), ["memberRemoved"]);
    assert_eq!(scene.ok("ada", kick("adam")), ["memberRemoved"]);
}

#[test]
fn muting() {
    let mut scene = Scene::staffed();
    scene.post("bob", "a");
    let mute = |until: Value| json!({"type": "mute", "user": "bob", "until": until});
    let later = json!("1970-01-01T00:01:00Z");
    for who in ["gil", "bob", "eve"] {
        assert_eq!(scene.code(who, mute(later.clone())), Code::Forbidden, "{who}");
    }
    let mute_mo = json!({"type": "mute", "user": "mo"});
    assert_eq!(scene.code("mo", mute_mo), Code::Forbidden);
    assert_eq!(scene.field("mo", mute(json!("1970-01-01T00:00:00Z"))), "until");
    assert_eq!(scene.ok("mo", mute(later.clone())), ["memberMuted"]);
    assert!(scene.ok("mo", mute(later)).is_empty());
    for body in [
        json!({"type": "post", "text": "x"}),
        json!({"type": "edit", "message": "a", "text": "x"}),
        json!({"type": "react", "message": "a", "emoji": "x"}),
    ] {
        assert_eq!(scene.code("bob", body), Code::Forbidden);
    }
    scene.ok("bob", json!({"type": "markRead", "message": "a"}));
    assert_eq!(scene.room.next_wake(), Some(Timestamp::from_millis(60_000)));
    assert_eq!(scene.code("ada", json!({"type": "endMutes"})), Code::Forbidden);
    assert!(scene.ok("system", json!({"type": "endMutes"})).is_empty());
    scene.now = 60_000;
    scene.post("bob", "b");
    let wake = Room::wake_command().unwrap();
    assert_eq!(scene.send("system", &wake).unwrap().len(), 1);
    assert_eq!((scene.room.next_wake(), &scene.view()["muted"]), (None, &json!({})));

    scene.ok("mo", mute(json!(null)));
    assert_eq!(scene.view()["muted"], json!({"bob": null}));
    assert_eq!(scene.room.next_wake(), None);
    scene.ok("bob", json!({"type": "leave"}));
    scene.ok("bob", json!({"type": "join"}));
    assert_eq!(scene.code("bob", json!({"type": "post", "text": "x"})), Code::Forbidden);
    let unmute = json!({"type": "unmute", "user": "bob"});
    assert_eq!(scene.code("bob", unmute.clone()), Code::Forbidden);
    assert_eq!(scene.ok("mo", unmute.clone()), ["memberUnmuted"]);
    assert!(scene.ok("mo", unmute).is_empty());
    for n in 0..1_000 {
        scene.ok("mo", json!({"type": "mute", "user": format!("u{n}")}));
    }
    assert_eq!(scene.code("mo", json!({"type": "mute", "user": "one.more"})), Code::Conflict);
}

#[test]
fn banning() {
    let mut scene = Scene::staffed();
    scene.ok("ada", json!({"type": "updateRoom", "tenantRole": "member"}));
    scene.post("eve", "a");
    scene.ok("bob", json!({"type": "markRead", "message": "a"}));
    let ban = |user: &str| json!({"type": "ban", "user": user});
    for (who, user) in [("bob", "gil"), ("mo", "mo"), ("mo", "adam"), ("adam", "ada")] {
        assert_eq!(scene.code(who, ban(user)), Code::Forbidden, "{who} {user}");
    }
    for user in ["bob", "eve"] {
        assert_eq!(scene.ok("mo", ban(user)), ["memberBanned"]);
        assert!(scene.ok("mo", ban(user)).is_empty());
        let (principal, _) = parse(user);
        assert!(!scene.room.may_read(Actor { principal: &principal, is_admin: false }));
        assert!(scene.room.may_read(Actor { principal: &principal, is_admin: true }));
        for body in [
            json!({"type": "post", "text": "x"}),
            json!({"type": "join"}),
            json!({"type": "markRead", "message": "a"}),
            json!({"type": "delete", "message": "a"}),
        ] {
            assert_eq!(scene.code(user, body), Code::Forbidden);
        }
    }
    let read = json!({"type": "markRead", "message": "a"});
    assert!(scene.ok("admin:bob", read).is_empty(), "nothing is kept of who is banned");
    let view = scene.view();
    assert_eq!((&view["banned"], &view["reads"]), (&json!(["bob", "eve"]), &json!({})));
    assert_eq!(view["members"]["bob"], json!(null));
    let set = json!({"type": "setMember", "user": "bob", "role": "member"});
    assert_eq!(scene.code("ada", set), Code::Conflict);
    let unban = json!({"type": "unban", "user": "bob"});
    assert_eq!(scene.code("gil", unban.clone()), Code::Forbidden);
    assert_eq!(scene.ok("mo", unban.clone()), ["memberUnbanned"]);
    assert!(scene.ok("mo", unban).is_empty());
    scene.post("bob", "b");
}

#[test]
fn slow_mode() {
    let mut scene = Scene::staffed();
    scene.ok("ada", json!({"type": "updateRoom", "tenantRole": "member"}));
    let slow = |seconds: i64| json!({"type": "setSlowMode", "seconds": seconds});
    assert_eq!(scene.code("bob", slow(10)), Code::Forbidden);
    for seconds in [-1, 21_601] {
        assert_eq!(scene.field("mo", slow(seconds)), "seconds");
    }
    assert_eq!(scene.ok("mo", slow(10)), ["slowModeSet"]);
    assert!(scene.ok("mo", slow(10)).is_empty());
    let post = json!({"type": "post", "text": "x"});
    for who in ["bob", "gil", "eve"] {
        scene.ok(who, post.clone());
        scene.now += 1_500;
        let no = scene.no(who, post.clone());
        assert_eq!(no.code, Code::RateLimited);
        assert!(no.reason.contains(" 9 "), "{}", no.reason);
    }
    for who in ["mo", "mo", "partner:erp", "partner:erp", "bridge:slack", "bridge:slack"] {
        scene.ok(who, post.clone());
    }
    scene.now += 8_500;
    scene.ok("eve", post.clone());
    scene.ok("mo", slow(0));
    assert_eq!(scene.room.slow.remembered(), 0);
    scene.ok("eve", post.clone());
    scene.ok("eve", post.clone());
    scene.ok("mo", slow(10));
    for n in 0..=super::slow::POSTERS_MOST {
        scene.now += 1;
        scene.send(&format!("u{n}"), &command(post.clone())).unwrap();
        scene.journal.clear();
    }
    assert_eq!(scene.room.slow.remembered(), super::slow::POSTERS_MOST);
    scene.ok("u0", post.clone());
    assert_eq!(scene.code("u5", post), Code::RateLimited);
}

#[test]
fn filtering_words() {
    let mut scene = Scene::staffed();
    let set = |words: Value| json!({"type": "setWordFilter", "words": words});
    assert_eq!(scene.code("bob", set(json!(["x"]))), Code::Forbidden);
    assert_eq!(scene.field("mo", set(json!(["ok", ""]))), "words[1]");
    assert_eq!(scene.field("mo", set(json!(["x".repeat(65)]))), "words[0]");
    assert_eq!(scene.field("mo", set(json!(vec!["x"; 501]))), "words");
    let words = json!([" Darn ", "darn", "C++", "bad luck", "ÄRGER"]);
    assert_eq!(scene.ok("mo", set(words.clone())), ["wordFilterSet"]);
    assert!(scene.ok("mo", set(words)).is_empty());
    assert_eq!(scene.view()["wordFilter"], json!(["darn", "c++", "bad luck", "ärger"]));
    scene.post("bob", "a");
    for text in ["DARN!", "da**rn** it", "use c++.", "what bad luck", "Ärger", "`darn`", "@darn"] {
        assert_eq!(scene.field("bob", json!({"type": "post", "text": text})), "text", "{text}");
        let edit = json!({"type": "edit", "message": "a", "text": text});
        assert_eq!(scene.field("bob", edit), "text", "{text}");
    }
    for text in ["darned", "abc++", "bad", "luck bad", "verärgern"] {
        scene.ok("bob", json!({"type": "post", "text": text}));
    }
}

#[test]
fn who_may_look() {
    let mut scene = Scene::staffed();
    for (who, may) in [("rob", true), ("eve", false), ("admin:eve", true), ("partner:x", true)] {
        let (principal, is_admin) = parse(who);
        assert_eq!(scene.room.may_read(Actor { principal: &principal, is_admin }), may, "{who}");
    }
    scene.ok("ada", json!({"type": "updateRoom", "tenantRole": "viewer"}));
    scene.post("ada", "a");
    scene.ok("eve", json!({"type": "markRead", "message": "a"}));
    assert_eq!(scene.code("eve", json!({"type": "post", "text": "x"})), Code::Forbidden);
    assert_eq!(scene.view()["unread"]["eve"], json!({"messages": 0, "mentions": 0}));
}

#[test]
fn older_messages_are_kept_in_outline_and_then_forgotten() {
    let mut scene = Scene::staffed();
    scene.post("bob", "old");
    scene.ok("bob", json!({"type": "post", "text": "x", "message": "in", "thread": "old"}));
    scene.ok("bob", json!({"type": "pin", "message": "old"}));
    for n in 0..210 {
        scene.post("ada", &format!("m{n}"));
    }
    scene.room.timeline.check();
    assert_eq!(scene.view()["messages"].as_array().unwrap().len(), 200);
    assert_eq!(scene.view()["messages"][0]["id"], "m10");
    let edit = json!({"type": "edit", "message": "old", "text": "y"});
    assert_eq!(scene.code("ada", edit.clone()), Code::Forbidden);
    assert_eq!(scene.ok("bob", edit.clone()), ["messageEdited"]);
    let react = json!({"type": "react", "message": "old", "emoji": "x"});
    assert_eq!(scene.ok("gil", react.clone()), ["reactionAdded"]);
    scene.ok("gil", json!({"type": "markRead", "message": "old"}));
    assert_eq!(scene.view()["unread"]["gil"], json!({"messages": 211, "mentions": 0}));
    let thread = json!({"type": "post", "text": "x", "thread": "in"});
    assert_eq!(scene.field("bob", thread), "thread");
    scene.ok("bob", json!({"type": "post", "text": "x", "thread": "old", "replyTo": "old"}));
    let delete = json!({"type": "delete", "message": "old"});
    assert_eq!(scene.ok("bob", delete.clone()), ["messageUnpinned", "messageDeleted"]);
    assert!(scene.ok("bob", delete.clone()).is_empty());
    assert_eq!(scene.code("bob", edit), Code::Conflict);
    assert_eq!(scene.code("gil", react), Code::Conflict);
    for n in 210..2_300 {
        scene.post("ada", &format!("m{n}"));
    }
    scene.room.timeline.check();
    assert_eq!(scene.code("bob", delete), Code::NotFound);
    let again = json!({"type": "post", "text": "x", "message": "m2000"});
    assert_eq!(scene.code("bob", again), Code::Conflict);
    assert_eq!(scene.view()["unread"]["gil"], json!({"messages": 2200, "mentions": 0}));
}

#[test]
fn only_bridges_say_where_a_message_came_from() {
    let mut scene = Scene::staffed();
    let origin = json!({"platform": "slack", "workspace": "T1", "channel": "C1",
        "message": "1.2", "author": "Ada"});
    let content = json!([{"type": "paragraph", "children": [{"type": "text", "text": "hi"}]}]);
    let relay = json!({"type": "relay", "message": "m", "origin": origin, "content": content});
    for who in ["ada", "admin:eve", "partner:erp"] {
        assert_eq!(scene.code(who, relay.clone()), Code::Forbidden, "{who}");
    }
    scene.ok("bridge:slack", relay);
    let message = scene.view()["messages"][0].clone();
    assert_eq!(message["origin"], origin);
    assert_eq!((&message["author"], &message["text"]), (&json!("bridge:slack"), &json!("hi")));
}

#[test]
fn a_bridge_links_channels_of_its_own_platform_alone() {
    let mut scene = Scene::staffed();
    let link = |platform: &str, channel: &str| json!({"type": "link", "platform": platform, "workspace": "T1", "channel": channel});
    for who in ["bridge:teams", "bridge:erp", "partner:slack", "bob", "mo"] {
        assert_eq!(scene.code(who, link("slack", "C1")), Code::Forbidden, "{who}");
    }
    scene.ok("bridge:slack", link("slack", "C1"));
    scene.ok("adam", link("discord", "2"));
    let links = scene.view()["links"].clone();
    let unlink = |number: usize| json!({"type": "unlink", "link": links[number]["id"]});
    for (number, who) in [(0, "bridge:discord"), (1, "bridge:slack"), (0, "bob")] {
        assert_eq!(scene.code(who, unlink(number)), Code::Forbidden, "{who}");
    }
    let missing = json!({"type": "unlink", "link": "none"});
    assert_eq!(scene.code("bob", missing.clone()), Code::Forbidden);
    assert_eq!(scene.code("adam", missing), Code::NotFound);
    scene.ok("bridge:slack", unlink(0));
    scene.ok("bridge:discord", unlink(1));
    assert_eq!(scene.view()["links"], json!([]));
}

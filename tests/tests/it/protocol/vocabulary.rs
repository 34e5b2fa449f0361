//! "Vocabulary" and its details: commands, the changes that come of them, the states they make.

use anyhow::Context as _;
use serde_json::{Value, json};
use tests::{client::Client, server::TestServer};

/// Sends a command; the types and data of its changes.
async fn changes(
    client: &mut Client,
    entity: &str,
    body: Value,
) -> anyhow::Result<Vec<(String, Value)>> {
    let answer = client.command(entity, body).await?;
    let changes = answer["changes"].as_array().context("changes")?;
    let pair = |change: &Value| {
        (change["type"].as_str().unwrap_or_default().to_owned(), change["data"].clone())
    };
    Ok(changes.iter().map(pair).collect())
}

/// As [`changes`], where there is one.
async fn change(client: &mut Client, entity: &str, body: Value) -> anyhow::Result<(String, Value)> {
    let mut all = changes(client, entity, body).await?;
    anyhow::ensure!(all.len() == 1, "{all:?}");
    all.pop().context("one")
}

async fn state(client: &mut Client, entity: &str) -> anyhow::Result<Value> {
    Ok(client.call("join", json!({"entity": entity, "presence": false})).await?["state"].clone())
}

async fn refused(client: &mut Client, entity: &str, body: Value) -> anyhow::Result<String> {
    client.refused("command", json!({"entity": entity, "body": body})).await
}

/// Every field that the protocol names is there, whatever its value.
fn has(value: &Value, fields: &[&str]) {
    for field in fields {
        assert!(value.get(field).is_some(), "{field} is missing in {value}");
    }
}

const COMMON: &[&str] = &["title", "createdAt", "createdBy", "members"];

#[tokio::test]
async fn a_board_is_as_the_protocol_says() -> anyhow::Result<()> {
    const B: &str = "board:1";
    let server = TestServer::start().await?;
    let mut ada = Client::connect(&server, "ada").await?;
    let (kind, data) = change(&mut ada, B, json!({"type": "createBoard", "title": "b"})).await?;
    assert_eq!(kind, "boardCreated");
    let titles: Vec<_> =
        data["columns"].as_array().context("columns")?.iter().map(|c| &c["title"]).collect();
    assert_eq!(titles, ["To Do", "In Progress", "Review", "Done"]);
    let made = state(&mut ada, B).await?;
    has(&made, COMMON);
    assert_eq!(
        (&made["members"], &made["createdBy"]),
        (&json!({"ada": "owner"}), &json!("user:ada"))
    );
    has(&made["columns"][0], &["id", "title", "wip", "wipMode", "state", "tasks"]);
    let ids: Vec<_> =
        made["columns"].as_array().context("columns")?.iter().map(|c| c["id"].clone()).collect();
    let (first, last) = (ids[0].clone(), ids[3].clone());

    for (task, more) in [
        ("a", json!({})),
        ("b", json!({})),
        ("top", json!({"after": null})),
        ("mid", json!({"after": "a"})),
    ] {
        let mut body = json!({"type": "addTask", "task": task, "title": task});
        body.as_object_mut()
            .context("a body")?
            .extend(more.as_object().cloned().unwrap_or_default());
        let (kind, data) = change(&mut ada, B, body).await?;
        assert_eq!(
            (kind.as_str(), &data["task"], &data["column"]),
            ("taskAdded", &json!(task), &first)
        );
    }
    let now = state(&mut ada, B).await?;
    assert_eq!(now["columns"][0]["tasks"], json!(["top", "a", "mid", "b"]));
    has(
        &now["tasks"]["a"],
        &[
            "id",
            "title",
            "column",
            "description",
            "priority",
            "labels",
            "assignees",
            "due",
            "comments",
            "checklist",
            "archived",
        ],
    );
    assert_eq!(
        refused(&mut ada, B, json!({"type": "addTask", "task": "a", "title": "x"})).await?,
        "conflict"
    );

    let (kind, data) = change(&mut ada, B, json!({"type": "updateTask", "task": "a", "priority": "high", "assignees": ["bob"], "due": "2027-01-01T00:00:00Z"})).await?;
    assert_eq!(kind, "taskUpdated");
    assert_eq!(data["fields"]["priority"], "high");
    assert!(data["fields"].get("title").is_none());
    change(&mut ada, B, json!({"type": "updateTask", "task": "a", "priority": null})).await?;
    let task = state(&mut ada, B).await?["tasks"]["a"].clone();
    assert_eq!((&task["priority"], &task["assignees"]), (&Value::Null, &json!(["bob"])));

    let (kind, data) =
        change(&mut ada, B, json!({"type": "moveTask", "task": "b", "column": last})).await?;
    assert_eq!(
        (kind.as_str(), data),
        ("taskMoved", json!({"task": "b", "from": first, "to": last, "after": null}))
    );
    assert_eq!(
        changes(&mut ada, B, json!({"type": "moveTask", "task": "b", "column": last})).await?,
        [],
        "no change where it is already"
    );
    let expecting =
        json!({"type": "moveTask", "task": "b", "column": first, "expectColumn": first});
    assert_eq!(refused(&mut ada, B, expecting).await?, "conflict");
    let beside = json!({"type": "moveTask", "task": "a", "column": last, "after": "mid"});
    assert_eq!(
        refused(&mut ada, B, beside).await?,
        "invalid",
        "after must be in the target column"
    );

    let (kind, data) =
        change(&mut ada, B, json!({"type": "addComment", "task": "a", "text": "hm"})).await?;
    assert_eq!((kind.as_str(), &data["text"]), ("commentAdded", &json!("hm")));
    let (kind, data) =
        change(&mut ada, B, json!({"type": "addChecklistItem", "task": "a", "text": "one"}))
            .await?;
    assert_eq!(kind, "checklistItemAdded");
    let item = data["item"].clone();
    let (kind, _) = change(
        &mut ada,
        B,
        json!({"type": "setChecklistItem", "task": "a", "item": item, "done": true}),
    )
    .await?;
    assert_eq!(kind, "checklistItemSet");
    let task = state(&mut ada, B).await?["tasks"]["a"].clone();
    has(&task["comments"][0], &["id", "by", "at", "text"]);
    assert_eq!(task["checklist"], json!([{"id": item, "text": "one", "done": true}]));

    assert_eq!(
        change(&mut ada, B, json!({"type": "archiveTask", "task": "a"})).await?.0,
        "taskArchived"
    );
    let now = state(&mut ada, B).await?;
    assert_eq!(
        (&now["tasks"]["a"]["archived"], &now["columns"][0]["tasks"]),
        (&json!(true), &json!(["top", "mid"]))
    );
    assert_eq!(
        change(&mut ada, B, json!({"type": "restoreTask", "task": "a"})).await?.0,
        "taskRestored"
    );
    assert_eq!(state(&mut ada, B).await?["columns"][0]["tasks"], json!(["top", "mid", "a"]));
    assert_eq!(
        change(&mut ada, B, json!({"type": "deleteTask", "task": "mid"})).await?.0,
        "taskDeleted"
    );
    assert!(state(&mut ada, B).await?["tasks"].get("mid").is_none());

    let (kind, data) = change(
        &mut ada,
        B,
        json!({"type": "addColumn", "title": "Blocked", "maxTasks": 1, "after": first}),
    )
    .await?;
    assert_eq!(
        (kind.as_str(), &data["wip"], &data["wipMode"]),
        ("columnAdded", &json!(1), &json!("hard"))
    );
    let narrow = data["column"].clone();
    assert_eq!(state(&mut ada, B).await?["columns"][1]["id"], narrow);
    change(&mut ada, B, json!({"type": "moveTask", "task": "a", "column": narrow})).await?;
    assert_eq!(
        refused(&mut ada, B, json!({"type": "moveTask", "task": "top", "column": narrow})).await?,
        "wip_limit"
    );
    assert_eq!(
        refused(&mut ada, B, json!({"type": "addTask", "title": "x", "column": narrow})).await?,
        "wip_limit"
    );
    let (kind, data) =
        change(&mut ada, B, json!({"type": "updateColumn", "column": narrow, "wipMode": "soft"}))
            .await?;
    assert_eq!((kind.as_str(), &data["fields"]["wipMode"]), ("columnUpdated", &json!("soft")));
    let moved =
        ada.command(B, json!({"type": "moveTask", "task": "top", "column": narrow})).await?;
    let (kind, _) = change(&mut ada, B, json!({"type": "moveColumn", "column": narrow})).await?;
    assert_eq!(kind, "columnMoved");

    let undone = changes(&mut ada, B, json!({"type": "undo", "seq": moved["seq"]})).await?;
    assert_eq!(
        (undone[0].0.as_str(), &undone[0].1["undoes"], &undone[0].1["to"]),
        ("taskMoved", &moved["seq"], &first)
    );
    let redone = changes(&mut ada, B, json!({"type": "redo", "seq": moved["seq"]})).await?;
    assert_eq!((&redone[0].1["redoes"], &redone[0].1["to"]), (&moved["seq"], &narrow));

    let states: Vec<_> = state(&mut ada, B).await?["columns"]
        .as_array()
        .context("columns")?
        .iter()
        .map(|c| c["state"].clone())
        .collect();
    let of = |id: &Value, now: &Value| {
        now["columns"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|c| c["id"] == *id)
            .map(|c| c["state"].clone())
    };
    assert_eq!(states.len(), 5);
    let now = state(&mut ada, B).await?;
    let rules = json!([{"from": of(&first, &now), "to": of(&last, &now), "roles": []}]);
    assert_eq!(
        change(&mut ada, B, json!({"type": "setTransitions", "rules": rules})).await?.0,
        "transitionsSet"
    );
    assert_eq!(
        refused(&mut ada, B, json!({"type": "moveTask", "task": "b", "column": first})).await?,
        "transition"
    );
    assert_eq!(
        refused(&mut ada, B, json!({"type": "archiveColumn", "column": narrow})).await?,
        "conflict",
        "not empty"
    );
    Ok(())
}

#[tokio::test]
async fn an_event_is_as_the_protocol_says() -> anyhow::Result<()> {
    const E: &str = "event:1";
    let server = TestServer::start().await?;
    let mut ada = Client::connect(&server, "ada").await?;
    let create = json!({"type": "createEvent", "title": "e", "start": "2027-01-01T10:00:00Z",
        "end": "2027-01-01T12:00:00Z", "timeZone": "Europe/Berlin", "capacity": 1});
    assert_eq!(change(&mut ada, E, create).await?.0, "eventCreated");
    let now = state(&mut ada, E).await?;
    has(&now, COMMON);
    has(
        &now,
        &["status", "start", "end", "timeZone", "capacity", "participants", "waitlist", "sessions"],
    );
    assert_eq!((&now["status"], &now["capacity"]), (&json!("draft"), &json!(1)));

    let mut bob = Client::connect(&server, "bob").await?;
    let yes = json!({"type": "respond", "answer": "yes"});
    assert_eq!(
        refused(&mut bob, E, yes.clone()).await?,
        "conflict",
        "a draft takes the invited only"
    );
    let (kind, data) = change(&mut ada, E, json!({"type": "invite", "user": "bob"})).await?;
    assert_eq!((kind.as_str(), &data["user"]), ("participantInvited", &json!("bob")));
    let (kind, data) =
        change(&mut ada, E, json!({"type": "setStatus", "status": "published"})).await?;
    assert_eq!(
        (kind.as_str(), &data["from"], &data["to"]),
        ("eventStatusChanged", &json!("draft"), &json!("published"))
    );
    assert_eq!(
        refused(&mut ada, E, json!({"type": "setStatus", "status": "completed"})).await?,
        "transition"
    );

    let (kind, data) = change(&mut bob, E, yes.clone()).await?;
    assert_eq!(kind, "participantResponded");
    assert_eq!(
        (&data["user"], &data["answer"], &data["standing"]),
        (&json!("bob"), &json!("yes"), &json!("confirmed"))
    );
    let mut eve = Client::connect(&server, "eve").await?;
    let (_, data) = change(&mut eve, E, yes).await?;
    assert_eq!(data["standing"], "waitlisted");
    assert_eq!(state(&mut ada, E).await?["waitlist"], json!(["eve"]));
    assert_eq!(refused(&mut ada, E, json!({"type": "checkIn", "user": "eve"})).await?, "conflict");
    let freed = changes(&mut bob, E, json!({"type": "respond", "answer": "no"})).await?;
    assert_eq!(freed[0].1["standing"], "declined");
    assert_eq!((freed[1].0.as_str(), &freed[1].1["user"]), ("participantPromoted", &json!("eve")));
    assert_eq!(
        change(&mut ada, E, json!({"type": "checkIn", "user": "eve"})).await?.0,
        "participantCheckedIn"
    );
    let now = state(&mut ada, E).await?;
    has(&now["participants"]["eve"], &["answer", "standing", "role", "checkedIn"]);
    assert_eq!(
        (&now["participants"]["eve"]["checkedIn"], &now["waitlist"]),
        (&json!(true), &json!([]))
    );
    assert!(
        now["participants"].get("ada").is_none_or(|owner| owner["standing"] != "confirmed"),
        "the owner takes no place"
    );
    assert_eq!(
        change(&mut ada, E, json!({"type": "setRole", "user": "eve", "role": "staff"})).await?.0,
        "participantRoleSet"
    );

    let session = json!({"type": "addSession", "session": "s1", "title": "talk", "start": "2027-01-01T10:00:00Z",
        "end": "2027-01-01T11:00:00Z", "track": "main", "speakers": ["eve"], "place": "hall"});
    assert_eq!(change(&mut ada, E, session).await?.0, "sessionAdded");
    assert_eq!(
        change(&mut ada, E, json!({"type": "updateSession", "session": "s1", "title": "Talk"}))
            .await?
            .0,
        "sessionUpdated"
    );
    assert_eq!(state(&mut ada, E).await?["sessions"][0]["title"], "Talk");
    assert_eq!(
        change(&mut ada, E, json!({"type": "removeSession", "session": "s1"})).await?.0,
        "sessionRemoved"
    );
    let (kind, data) =
        change(&mut ada, E, json!({"type": "setReminders", "before": ["P1D", "PT1H"]})).await?;
    assert_eq!((kind.as_str(), &data["before"]), ("remindersSet", &json!(["P1D", "PT1H"])));
    let (kind, data) =
        change(&mut ada, E, json!({"type": "updateEvent", "title": "E", "description": "d"}))
            .await?;
    assert_eq!(
        (kind.as_str(), &data["fields"]),
        ("eventUpdated", &json!({"title": "E", "description": "d"}))
    );
    let backwards = json!({"type": "updateEvent", "end": "2026-01-01T00:00:00Z"});
    assert_eq!(refused(&mut ada, E, backwards).await?, "invalid");
    change(&mut ada, E, json!({"type": "setStatus", "status": "cancelled"})).await?;
    assert!(state(&mut ada, E).await?["participants"].get("eve").is_some(), "they are kept");
    Ok(())
}

#[tokio::test]
async fn a_room_is_as_the_protocol_says() -> anyhow::Result<()> {
    const R: &str = "room:1";
    let server = TestServer::start().await?;
    let mut ada = Client::connect(&server, "ada").await?;
    assert_eq!(
        change(&mut ada, R, json!({"type": "createRoom", "title": "r"})).await?.0,
        "roomCreated"
    );
    let now = state(&mut ada, R).await?;
    has(&now, COMMON);
    has(&now, &["messages", "pins", "reads", "links", "muted", "banned", "slowMode"]);

    let (kind, data) = change(
        &mut ada,
        R,
        json!({"type": "post", "message": "m1", "text": "**hi** @bob :wave: ~~no~~"}),
    )
    .await?;
    assert_eq!(kind, "messagePosted");
    assert_eq!((&data["message"], &data["author"]), (&json!("m1"), &json!("user:ada")));
    assert_eq!(data["text"], "**hi** @bob :wave: ~~no~~");
    assert!(data["content"].is_array() || data["content"].is_object(), "{data}");
    let by_content = json!({"type": "post", "message": "m2", "content": data["content"]});
    let (_, again) = change(&mut ada, R, by_content).await?;
    assert_eq!(
        (&again["text"], &again["content"]),
        (&data["text"], &data["content"]),
        "tree and text say the same"
    );
    assert_eq!(
        refused(&mut ada, R, json!({"type": "post", "message": "m1", "text": "x"})).await?,
        "conflict"
    );

    let mut bob = Client::connect(&server, "bob").await?;
    let (_, reply) = change(
        &mut bob,
        R,
        json!({"type": "post", "message": "m3", "text": "yo", "replyTo": "m1"}),
    )
    .await?;
    assert_eq!(reply["replyTo"], "m1");
    let message = state(&mut ada, R).await?["messages"][0].clone();
    has(
        &message,
        &[
            "id",
            "author",
            "at",
            "text",
            "content",
            "replyTo",
            "thread",
            "editedAt",
            "deleted",
            "reactions",
            "attachments",
            "origin",
        ],
    );
    assert_eq!(
        refused(&mut bob, R, json!({"type": "edit", "message": "m1", "text": "x"})).await?,
        "forbidden"
    );
    let (kind, data) =
        change(&mut ada, R, json!({"type": "edit", "message": "m1", "text": "hello"})).await?;
    assert_eq!((kind.as_str(), &data["text"]), ("messageEdited", &json!("hello")));
    assert_eq!(
        change(&mut bob, R, json!({"type": "react", "message": "m1", "emoji": "wave"})).await?.0,
        "reactionAdded"
    );
    let message = state(&mut ada, R).await?["messages"][0].clone();
    assert_eq!(message["reactions"], json!({"wave": ["bob"]}));
    assert!(message["editedAt"].is_string());
    assert_eq!(
        change(&mut bob, R, json!({"type": "unreact", "message": "m1", "emoji": "wave"})).await?.0,
        "reactionRemoved"
    );
    assert_eq!(
        change(&mut ada, R, json!({"type": "pin", "message": "m1"})).await?.0,
        "messagePinned"
    );
    assert_eq!(state(&mut ada, R).await?["pins"], json!(["m1"]));
    assert_eq!(
        change(&mut ada, R, json!({"type": "unpin", "message": "m1"})).await?.0,
        "messageUnpinned"
    );
    assert_eq!(
        change(&mut bob, R, json!({"type": "markRead", "message": "m2"})).await?.0,
        "readMoved"
    );
    assert_eq!(state(&mut ada, R).await?["reads"]["bob"], "m2");
    assert_eq!(
        change(&mut ada, R, json!({"type": "delete", "message": "m2"})).await?.0,
        "messageDeleted"
    );
    let gone = state(&mut ada, R).await?["messages"][1].clone();
    assert_eq!((&gone["id"], &gone["deleted"]), (&json!("m2"), &json!(true)));
    assert!(!gone.to_string().contains("hi"), "without text and content: {gone}");

    assert_eq!(
        change(&mut ada, R, json!({"type": "setMember", "user": "bob", "role": "moderator"}))
            .await?
            .0,
        "memberSet"
    );
    assert_eq!(state(&mut ada, R).await?["members"]["bob"], "moderator");
    let mut eve = Client::connect(&server, "eve").await?;
    eve.command(R, json!({"type": "post", "text": "me too"})).await?;
    assert_eq!(
        change(
            &mut bob,
            R,
            json!({"type": "mute", "user": "eve", "until": "2099-01-01T00:00:00Z"})
        )
        .await?
        .0,
        "memberMuted"
    );
    assert_eq!(refused(&mut eve, R, json!({"type": "post", "text": "x"})).await?, "forbidden");
    let muted = state(&mut ada, R).await?["muted"].clone();
    assert!(muted["eve"].as_str().is_some_and(|until| until.starts_with("2099-01-01")), "{muted}");
    assert_eq!(change(&mut bob, R, json!({"type": "ban", "user": "eve"})).await?.0, "memberBanned");
    let now = state(&mut ada, R).await?;
    assert_eq!(now["banned"], json!(["eve"]));
    assert!(now["members"].get("eve").is_none());
    assert_eq!(eve.refused("join", json!({"entity": R})).await?, "forbidden");
    assert_eq!(
        change(&mut bob, R, json!({"type": "unban", "user": "eve"})).await?.0,
        "memberUnbanned"
    );
    assert_eq!(
        change(&mut ada, R, json!({"type": "setSlowMode", "seconds": 60})).await?.0,
        "slowModeSet"
    );
    let mut dan = Client::connect(&server, "dan").await?;
    dan.command(R, json!({"type": "post", "text": "slowly"})).await?;
    assert_eq!(
        refused(&mut dan, R, json!({"type": "post", "text": "again"})).await?,
        "rate_limited"
    );
    assert_eq!(state(&mut ada, R).await?["slowMode"], 60);
    assert_eq!(
        change(&mut ada, R, json!({"type": "removeMember", "user": "bob"})).await?.0,
        "memberRemoved"
    );
    assert!(state(&mut ada, R).await?["members"].get("bob").is_none());
    Ok(())
}

//! The races of PRODUCT.md: many at once through the real gateway, then the invariant, then a
//! replay that gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tests::{
    client::{Client, Http},
    server::TestServer,
};
use uuid::Uuid;

use crate::{crash::verify, workers::journal};

const CLIENTS: usize = 20;
const COMMANDS: usize = 200;

/// `CLIENTS` connections of as many users.
async fn crowd(server: &TestServer) -> anyhow::Result<Vec<Client>> {
    let names: Vec<_> = (0..CLIENTS).map(|n| format!("user{n}")).collect();
    try_join_all(names.iter().map(|name| Client::connect(server, name))).await
}

/// Sends every command, round the clients, without waiting for answers; then gives the answers in
/// the order of the commands.
async fn all_at_once(
    clients: &mut [Client],
    entity: &str,
    bodies: Vec<Value>,
) -> anyhow::Result<Vec<Value>> {
    let count = clients.len();
    let answers = clients.iter_mut().enumerate().map(|(n, client)| {
        let own: Vec<_> = bodies.iter().skip(n).step_by(count).cloned().collect();
        async move {
            let mut sent = Vec::new();
            for body in own {
                sent.push(client.send("command", json!({"entity": entity, "body": body})).await?);
            }
            let mut answers = Vec::new();
            for id in sent {
                answers.push(client.answer(id).await?);
            }
            anyhow::Ok(answers)
        }
    });
    let mut answers: Vec<_> =
        try_join_all(answers).await?.into_iter().map(Vec::into_iter).collect();
    let all = (0..bodies.len()).map(|n| answers[n % count].next().context("an answer is missing"));
    all.collect()
}

/// The codes of the answers, counted; `ok` for those that are accepted.
fn codes(answers: &[Value]) -> BTreeMap<String, usize> {
    let mut codes = BTreeMap::new();
    for answer in answers {
        let code = if answer.get("ok").is_some() {
            "ok"
        } else {
            answer["error"]["code"].as_str().unwrap_or("?")
        };
        *codes.entry(code.to_owned()).or_insert(0) += 1;
    }
    codes
}

async fn state(server: &TestServer, entity: &str) -> anyhow::Result<(String, Value)> {
    let path = format!(
        "/api/v1/{}s/{}",
        entity.split(':').next().unwrap_or_default(),
        entity.split(':').nth(1).unwrap_or_default()
    );
    let answer = Http::new(server, "ada").await?.request("GET", &path).send().await?;
    ensure!(answer.status() == 200, "{path} answers {}", answer.status());
    let text = answer.text().await?;
    let value = serde_json::from_str(&text)?;
    Ok((text, value))
}

/// Stops the node, folds the log twice, starts it again: always the same bytes.
async fn replays_identically(server: &mut TestServer, entity: &str) -> anyhow::Result<()> {
    let (live, value) = state(server, entity).await?;
    assert!(server.terminate().await?.success());
    let first = server.run(&["inspect", entity, "--json"]).await?;
    let second = server.run(&["inspect", entity, "--json"]).await?;
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert_eq!(first.stdout, second.stdout, "two folds of one log");
    let inspected: Value = serde_json::from_slice(&first.stdout)?;
    assert_eq!(inspected["state"].to_string(), value["state"].to_string(), "the log and the node");
    verify(server).await?;
    server.restart().await?;
    assert_eq!(state(server, entity).await?.0, live, "before and after a restart");
    Ok(())
}

/// The columns as the journal alone tells them; `watch` sees them after each change.
fn fold_columns(
    journal: &[Value],
    mut watch: impl FnMut(&BTreeMap<String, Vec<String>>),
) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for change in journal {
        let data = &change["data"];
        let text =
            |name: &str| data[name].as_str().map(str::to_owned).context("a field is missing");
        let (task, into) = match change["type"].as_str() {
            Some("boardCreated") => {
                for column in data["columns"].as_array().into_iter().flatten() {
                    columns.insert(column["id"].as_str().context("an id")?.to_owned(), Vec::new());
                }
                continue;
            }
            Some("taskAdded") => (text("task")?, text("column")?),
            Some("taskMoved") => {
                let task = text("task")?;
                let from = columns.get_mut(&text("from")?).context("an unknown column")?;
                let place = from.iter().position(|one| *one == task);
                from.remove(place.with_context(|| format!("{change}: it is not there"))?);
                (task, text("to")?)
            }
            other => anyhow::bail!("unexpected {other:?}"),
        };
        let column = columns.get_mut(&into).context("an unknown column")?;
        let place = match data["after"].as_str() {
            None => 0,
            Some(after) => {
                let after = column.iter().position(|one| one == after);
                after.with_context(|| format!("{change}: `after` is not there"))? + 1
            }
        };
        column.insert(place, task);
        watch(&columns);
    }
    Ok(columns)
}

/// The columns of a state.
fn columns_of(state: &Value) -> BTreeMap<String, Vec<String>> {
    let list = |value: &Value| {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let columns = state["columns"].as_array().into_iter().flatten();
    columns
        .map(|one| (one["id"].as_str().unwrap_or_default().to_owned(), list(&one["tasks"])))
        .collect()
}

#[tokio::test]
async fn two_hundred_moves_of_the_same_cards_keep_every_card_in_one_place() -> anyhow::Result<()> {
    const COLUMNS: [&str; 3] = ["a", "b", "c"];
    let mut server = TestServer::start().await?;
    let mut clients = crowd(&server).await?;
    let columns = COLUMNS.map(|id| json!({"id": id, "title": id}));
    clients[0]
        .command("board:1", json!({"type": "createBoard", "title": "b", "columns": columns}))
        .await?;
    for (n, client) in clients.iter_mut().take(10).enumerate() {
        let add = json!({"type": "addTask", "task": format!("t{n}"), "title": "t"});
        client.command("board:1", add).await?;
    }
    // `after` names a card that others move about too, so many are refused; never half done.
    let moves = (0..COMMANDS).map(|n| {
        let after = (n % 2 == 0).then(|| format!("t{}", (n * 7 + 3) % 10));
        json!({"type": "moveTask", "task": format!("t{}", n % 10), "column": COLUMNS[n / 10 % 3], "after": after})
    });
    let answers = all_at_once(&mut clients, "board:1", moves.collect()).await?;
    let counted = codes(&answers);
    assert!(counted.keys().all(|code| code == "ok" || code == "invalid"), "{counted:?}");
    assert!(counted["ok"] >= COMMANDS / 2, "{counted:?}");

    let (_, value) = state(&server, "board:1").await?;
    let columns = columns_of(&value["state"]);
    let mut cards: Vec<_> = columns.values().flatten().cloned().collect();
    cards.sort();
    assert_eq!(cards, (0..10).map(|n| format!("t{n}")).collect::<Vec<_>>(), "each once");
    for (column, tasks) in &columns {
        for task in tasks {
            assert_eq!(value["state"]["tasks"][task]["column"], column.as_str());
        }
    }
    let journal = journal(&Http::new(&server, "ada").await?, "board:1").await?;
    assert_eq!(fold_columns(&journal, |_| {})?, columns, "the journal tells the same");
    replays_identically(&mut server, "board:1").await
}

#[tokio::test]
async fn a_hard_limit_holds_against_two_hundred_adds_and_moves() -> anyhow::Result<()> {
    const LIMIT: usize = 7;
    let mut server = TestServer::start().await?;
    let mut clients = crowd(&server).await?;
    let columns = json!([{"id": "todo", "title": "t"}, {"id": "doing", "title": "d", "wip": LIMIT, "wipMode": "hard"}]);
    clients[0]
        .command("board:1", json!({"type": "createBoard", "title": "b", "columns": columns}))
        .await?;
    let adds = (0..COMMANDS / 2)
        .map(|n| json!({"type": "addTask", "task": format!("old{n}"), "title": "t"}));
    assert_eq!(
        codes(&all_at_once(&mut clients, "board:1", adds.collect()).await?)["ok"],
        COMMANDS / 2
    );

    let rush = (0..COMMANDS).map(|n| match n % 2 {
        0 => json!({"type": "addTask", "task": format!("new{n}"), "column": "doing", "title": "t"}),
        _ => json!({"type": "moveTask", "task": format!("old{}", n / 2), "column": "doing"}),
    });
    let answers = all_at_once(&mut clients, "board:1", rush.collect()).await?;
    let expected = [("ok".to_owned(), LIMIT), ("wip_limit".to_owned(), COMMANDS - LIMIT)];
    assert_eq!(codes(&answers), BTreeMap::from(expected));

    // Now out and in at once: as many as fit, never more.
    let (_, value) = state(&server, "board:1").await?;
    let inside = columns_of(&value["state"])["doing"].clone();
    assert_eq!(inside.len(), LIMIT);
    let outside = columns_of(&value["state"])["todo"].clone();
    let turn = (0..COMMANDS).map(|n| match n % 4 {
        0 => json!({"type": "moveTask", "task": inside[n / 4 % LIMIT], "column": "todo"}),
        _ => json!({"type": "moveTask", "task": outside[n % outside.len()], "column": "doing"}),
    });
    let counted = codes(&all_at_once(&mut clients, "board:1", turn.collect()).await?);
    assert!(counted.keys().all(|code| code == "ok" || code == "wip_limit"), "{counted:?}");

    let journal = journal(&Http::new(&server, "ada").await?, "board:1").await?;
    let mut most = 0;
    let folded = fold_columns(&journal, |columns| most = most.max(columns["doing"].len()))?;
    assert_eq!(most, LIMIT, "it was full and never fuller");
    assert_eq!(folded, columns_of(&state(&server, "board:1").await?.1["state"]));
    replays_identically(&mut server, "board:1").await
}

/// A published event with places for `capacity`, and HTTP clients of two hundred users.
async fn event(server: &TestServer, capacity: usize, waitlist: bool) -> anyhow::Result<Vec<Http>> {
    let mut ada = Client::connect(server, "ada").await?;
    let event = json!({"type": "createEvent", "title": "e", "timeZone": "UTC", "capacity": capacity,
        "start": "2030-01-01T10:00:00Z", "end": "2030-01-01T11:00:00Z", "waitlist": waitlist});
    ada.command("event:1", event).await?;
    ada.command("event:1", json!({"type": "setStatus", "status": "published"})).await?;
    let names: Vec<_> = (0..COMMANDS).map(|n| format!("guest{n}")).collect();
    try_join_all(names.iter().map(|name| Http::new(server, name))).await
}

async fn respond(guests: &[&Http], answer: &str) -> anyhow::Result<Vec<(u16, Value)>> {
    let body = json!({"type": "respond", "answer": answer});
    let answers = guests.iter().map(|guest| guest.post("/api/v1/events/1/commands", body.clone()));
    try_join_all(answers).await
}

fn users(journal: &[Value], kind: &str, standing: Option<&str>) -> Vec<String> {
    let of_kind = journal.iter().filter(|change| change["type"] == kind);
    let with =
        of_kind.filter(|change| standing.is_none_or(|one| change["data"]["standing"] == one));
    with.filter_map(|change| change["data"]["user"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn two_hundred_yeses_fill_the_places_and_the_waitlist_in_order() -> anyhow::Result<()> {
    const PLACES: usize = 50;
    const LEAVE: usize = 20;
    let mut server = TestServer::start().await?;
    let guests = event(&server, PLACES, true).await?;
    let answers = respond(&guests.iter().collect::<Vec<_>>(), "yes").await?;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");

    let ada = Http::new(&server, "ada").await?;
    let first = journal(&ada, "event:1").await?;
    let confirmed = users(&first, "participantResponded", Some("confirmed"));
    let waiting = users(&first, "participantResponded", Some("waitlisted"));
    assert_eq!((confirmed.len(), waiting.len()), (PLACES, COMMANDS - PLACES));
    let (_, value) = state(&server, "event:1").await?;
    assert_eq!(value["state"]["waitlist"], json!(waiting), "in the order they came");

    let leaving: Vec<_> = confirmed.iter().take(LEAVE).cloned().collect();
    let number = |name: &String| name.trim_start_matches("guest").parse::<usize>();
    let places: Vec<_> = leaving.iter().map(number).collect::<Result<_, _>>()?;
    let answers = respond(&places.iter().map(|n| &guests[*n]).collect::<Vec<_>>(), "no").await?;
    for (status, answer) in &answers {
        let types: Vec<_> =
            answer["changes"].as_array().into_iter().flatten().map(|one| &one["type"]).collect();
        assert_eq!(
            (*status, types),
            (200, vec![&json!("participantResponded"), &json!("participantPromoted")]),
            "{answer}"
        );
    }
    let second = journal(&ada, "event:1").await?;
    assert_eq!(
        users(&second, "participantPromoted", None),
        waiting[..LEAVE],
        "first waiting, first in"
    );
    let (_, value) = state(&server, "event:1").await?;
    assert_eq!(value["state"]["waitlist"], json!(waiting[LEAVE..]));
    let standing: BTreeSet<_> = value["state"]["participants"]
        .as_object()
        .context("participants")?
        .iter()
        .filter(|(_, one)| one["standing"] == "confirmed")
        .map(|(name, _)| name.clone())
        .collect();
    let expected: BTreeSet<_> =
        confirmed[LEAVE..].iter().chain(&waiting[..LEAVE]).cloned().collect();
    assert_eq!(standing, expected);
    replays_identically(&mut server, "event:1").await
}

#[tokio::test]
async fn without_a_waitlist_the_others_hear_that_it_is_full() -> anyhow::Result<()> {
    const PLACES: usize = 3;
    let mut server = TestServer::start().await?;
    let guests = event(&server, PLACES, false).await?;
    let answers = respond(&guests.iter().collect::<Vec<_>>(), "yes").await?;
    let accepted = answers.iter().filter(|(status, _)| *status == 200).count();
    let full = answers.iter().filter(|(status, answer)| *status == 409 && answer["code"] == "full");
    assert_eq!((accepted, full.count()), (PLACES, COMMANDS - PLACES));
    let journal = journal(&Http::new(&server, "ada").await?, "event:1").await?;
    assert_eq!(users(&journal, "participantResponded", None).len(), PLACES);
    replays_identically(&mut server, "event:1").await
}

#[tokio::test]
async fn one_command_id_sent_two_hundred_times_has_one_effect() -> anyhow::Result<()> {
    let mut server = TestServer::start().await?;
    let mut clients = try_join_all((0..10).map(|_| Client::connect(&server, "ada"))).await?;
    clients[0].command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    let command = Uuid::now_v7().to_string();
    let body = json!({"type": "post", "text": "once"});
    let fields = json!({"entity": "room:1", "body": body, "commandId": command});
    let http = Http::new(&server, "ada").await?;
    let by_http = try_join_all((0..20).map(|_| async {
        let request = http.request("POST", "/api/v1/rooms/1/commands").json(&body);
        let answer = request.header("Idempotency-Key", &command).send().await?;
        ensure!(answer.status() == 200, "{}", answer.status());
        Ok(answer.json::<Value>().await?)
    }));
    let by_socket = try_join_all(clients.iter_mut().map(|client| async {
        let mut sent = Vec::new();
        for _ in 0..18 {
            sent.push(client.send("command", fields.clone()).await?);
        }
        let mut answers = Vec::new();
        for id in sent {
            let answer = client.answer(id).await?;
            answers.push(answer.get("ok").with_context(|| answer.to_string())?.clone());
        }
        anyhow::Ok(answers)
    }));
    let (by_http, by_socket): (Vec<Value>, _) = tokio::try_join!(by_http, by_socket)?;
    let answers: Vec<_> = by_http.into_iter().chain(by_socket.into_iter().flatten()).collect();
    assert_eq!(answers.len(), 200);
    let effect = &journal(&http, "room:1").await?[1..];
    assert_eq!(effect.len(), 1, "one message");
    for answer in &answers {
        assert_eq!((&answer["seq"], &answer["commandId"]), (&json!(2), &json!(command)));
        assert_eq!(answer["changes"], json!(effect));
    }
    let first = answers.iter().filter(|answer| answer["repeated"] != true).count();
    assert_eq!(first, 1, "all but the first say that they are repeated");
    replays_identically(&mut server, "room:1").await
}

#[tokio::test]
async fn after_a_gap_of_more_than_5000_the_state_comes_and_history_has_the_rest()
-> anyhow::Result<()> {
    const CHANGES: usize = 5_200;
    let mut server = TestServer::start().await?;
    let mut clients = crowd(&server).await?;
    clients[0].command("board:1", json!({"type": "createBoard", "title": "b"})).await?;
    clients[0].command("board:1", json!({"type": "addTask", "task": "t", "title": "t"})).await?;
    for block in 0..CHANGES / COMMANDS {
        let updates = (0..COMMANDS)
            .map(|n| json!({"type": "updateTask", "task": "t", "title": format!("{block}.{n}")}));
        let answers = all_at_once(&mut clients, "board:1", updates.collect()).await?;
        assert_eq!(codes(&answers)["ok"], COMMANDS, "{:?}", codes(&answers));
    }
    let last = CHANGES + 2;
    let client = &mut clients[0];

    let near = client.call("join", json!({"entity": "board:1", "since": last - 5_000})).await?;
    assert_eq!(near["recovered"], true);
    let seqs: Vec<_> =
        near["changes"].as_array().into_iter().flatten().map(|one| one["seq"].clone()).collect();
    assert_eq!(seqs, (last - 4_999..=last).map(Value::from).collect::<Vec<_>>());

    let far = client.call("join", json!({"entity": "board:1", "since": last - 5_001})).await?;
    assert_eq!((&far["recovered"], &far["seq"]), (&json!(false), &json!(last)));
    assert!(far.get("changes").is_none(), "never a part");
    assert_eq!(far["state"], state(&server, "board:1").await?.1["state"]);

    let mut pages = Vec::new();
    let mut after = 1;
    loop {
        let page = client
            .call("history", json!({"entity": "board:1", "after": after, "limit": 500}))
            .await?;
        pages.extend(page["changes"].as_array().context("changes")?.iter().cloned());
        after = pages.last().and_then(|one| one["seq"].as_u64()).context("an empty page")?;
        if page["more"] != true {
            break;
        }
    }
    assert!(pages == journal(&Http::new(&server, "ada").await?, "board:1").await?[1..]);
    assert_eq!(pages.len(), last - 1);
    replays_identically(&mut server, "board:1").await
}

//! Partners over `POST /topics/partner.demo`, and what happens by itself: reminders, mutes.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tests::{
    client::{Client, Http},
    server::{Setup, TestServer, run},
};
use uuid::Uuid;

use crate::{crash::verify, workers::journal};

const JSON: &str = "application/vnd.kafka.json.v2+json";
const AVRO: &str = "application/vnd.kafka.avro.v2+json";
const BINARY: &str = "application/vnd.kafka.binary.v2+json";

/// POSTs to a topic with the headers given; gives status and body.
async fn post(
    server: &TestServer,
    topic: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> anyhow::Result<(u16, Value)> {
    let mut request = reqwest::Client::new().post(server.url(&format!("/topics/{topic}")));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.body(body.to_string()).send().await?;
    let status = answer.status().as_u16();
    let text = answer.text().await?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

/// Produces with the demo key; gives the offsets.
async fn produce(server: &TestServer, form: &str, records: Value) -> anyhow::Result<Vec<i64>> {
    let count = records.as_array().map_or(0, Vec::len);
    let headers = [("content-type", form), ("x-switchyard-key", "demo")];
    let (status, body) =
        post(server, "partner.demo", &headers, &json!({"records": records})).await?;
    ensure!(status == 200, "{status}: {body}");
    let offsets = body["offsets"].as_array().context("offsets")?;
    ensure!(offsets.len() == count, "an offset for each record: {body}");
    for offset in offsets {
        ensure!(offset["partition"].is_i64(), "each has its partition: {body}");
    }
    offsets.iter().map(|one| one["offset"].as_i64().with_context(|| body.to_string())).collect()
}

/// Ada's board with one card in column `a`, joined.
async fn board(server: &TestServer) -> anyhow::Result<Client> {
    let mut ada = Client::connect(server, "ada").await?;
    let columns = json!([{"id": "a", "title": "A"}, {"id": "b", "title": "B"}]);
    ada.command("board:1", json!({"type": "createBoard", "title": "b", "columns": columns}))
        .await?;
    ada.command("board:1", json!({"type": "addTask", "task": "t", "title": "t"})).await?;
    ada.call("join", json!({"entity": "board:1"})).await?;
    Ok(ada)
}

fn move_to(column: &str) -> Value {
    json!({"body": {"type": "moveTask", "task": "t", "column": column}})
}

fn add(task: &str) -> Value {
    json!({"body": {"type": "addTask", "task": task, "title": task}})
}

async fn moved_to(client: &mut Client, column: &str) -> anyhow::Result<()> {
    let change = client.change("board:1").await?;
    ensure!(change["type"] == "taskMoved" && change["by"] == "partner:demo", "{change}");
    ensure!(change["data"]["to"] == column, "{change}");
    Ok(())
}

#[tokio::test]
async fn a_partner_moves_a_card_in_every_form() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut ada = board(&server).await?;
    produce(&server, JSON, json!([{"key": "board:1", "value": move_to("b")}])).await?;
    moved_to(&mut ada, "b").await?;

    let value = STANDARD.encode(move_to("a").to_string());
    let key = STANDARD.encode("board:1");
    produce(&server, BINARY, json!([{"key": key, "value": value}])).await?;
    moved_to(&mut ada, "a").await?;

    // The JSON encoding of Avro names the branch of a union (Avro 1.11, "JSON Encoding").
    let body = json!({"moveTask": {"task": "t", "column": "b"}});
    produce(&server, AVRO, json!([{"key": "board:1", "value": {"body": body}}])).await?;
    moved_to(&mut ada, "b").await?;

    // A Kafka client of a partner writes Avro bytes; over HTTP these are the binary form.
    let body = schemas::json::from_value(json!({"moveTask": {"task": "t", "column": "a"}}));
    let body = schemas::Body::Board(body.map_err(|error| anyhow::anyhow!("{error:?}"))?);
    let record = schemas::codec::PartnerRecord { command_id: None, expect: None, body };
    let value = STANDARD.encode(schemas::codec::encode_partner(&record)?);
    produce(&server, BINARY, json!([{"key": key, "value": value}])).await?;
    moved_to(&mut ada, "a").await
}

#[tokio::test]
async fn a_record_with_a_command_id_has_one_effect_and_without_each_its_own() -> anyhow::Result<()>
{
    let server = TestServer::start().await?;
    let mut ada = board(&server).await?;
    let mut known = add("known");
    known["commandId"] = Uuid::now_v7().to_string().into();
    let once = json!({"key": "board:1", "value": known});
    let each = json!({"key": "board:1", "value": {"body": {"type": "addTask", "title": "each"}}});
    let first = produce(&server, JSON, json!([once, each])).await?;
    let second = produce(&server, JSON, json!([once, each])).await?;
    assert!(first < second, "offsets grow: {first:?}, {second:?}");
    produce(&server, JSON, json!([{"key": "board:1", "value": move_to("b")}])).await?;
    ada.pushed_where(|object| object["type"] == "taskMoved").await?;

    let journal = journal(&Http::new(&server, "ada").await?, "board:1").await?;
    let titles: Vec<_> = journal
        .iter()
        .filter(|one| one["by"] == "partner:demo")
        .map(|one| one["data"]["title"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(titles, ["known", "each", "each", ""]);
    assert_eq!(journal[2]["commandId"], known["commandId"]);
    let mut ids: Vec<_> = journal.iter().map(|one| one["commandId"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), journal.len(), "each effect has its own command id");
    verify(&server).await
}

#[tokio::test]
async fn broken_records_are_taken_and_do_not_stop_those_after_them() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut ada = board(&server).await?;
    let record = |key: &str, value: Value| json!({"key": key, "value": value});
    let broken = json!([
        record("board:1", json!({"body": {"type": "noSuchCommand"}})),
        record("board:1", json!("no object")),
        record("board:1", json!({"body": {"type": "moveTask", "task": "t"}})),
        record("board:1", json!({"body": {"type": "moveTask", "task": "gone", "column": "b"}})),
        record(
            "board:1",
            json!({"commandId": "no-uuid", "body": {"type": "deleteTask", "task": "t"}})
        ),
        record("board:none", move_to("b")),
        record("no key", move_to("b")),
        record(
            "board:1",
            json!({"tenant": "other", "principal": "user:ada", "body": {"type": "deleteTask", "task": "t"}})
        ),
    ]);
    produce(&server, JSON, broken).await?;
    let bytes = json!([{"key": STANDARD.encode(b"\xff\xfe"), "value": STANDARD.encode(b"\xc3\x01\x00")},
        {"key": STANDARD.encode("board:1"), "value": ""}]);
    produce(&server, BINARY, bytes).await?;
    produce(&server, JSON, json!([record("board:1", move_to("b"))])).await?;
    moved_to(&mut ada, "b").await?;
    let (_, board) = Http::new(&server, "ada").await?.get("/api/v1/boards/1").await?;
    assert_eq!((&board["seq"], &board["state"]["tasks"]["t"]["column"]), (&json!(3), &json!("b")));
    verify(&server).await
}

#[tokio::test]
async fn a_wrong_key_and_an_unknown_topic_are_401_alike() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let body = json!({"records": [{"key": "board:1", "value": add("t")}]});
    let with = |key| [("content-type", JSON), ("x-switchyard-key", key)];
    let wrong = post(&server, "partner.demo", &with("guess"), &body).await?;
    let unknown = post(&server, "partner.other", &with("demo"), &body).await?;
    let foreign = post(&server, "board.commands", &with("demo"), &body).await?;
    assert_eq!((wrong.0, &wrong.1["code"]), (401, &json!("unauthenticated")));
    assert_eq!(unknown, wrong, "names cannot be guessed");
    assert_eq!(foreign, wrong, "only partners' topics are open");
    assert_eq!(post(&server, "partner.demo", &[("content-type", JSON)], &body).await?.0, 401);
    Ok(())
}

/// `X-Switchyard-Signature` as PROTOCOL.md has it.
fn signature(key: &str, timestamp: u64, body: &Value) -> anyhow::Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes())?;
    mac.update(format!("v1:{timestamp}:{body}").as_bytes());
    Ok(format!("v1={}", hex::encode(mac.finalize().into_bytes())))
}

async fn post_signed(
    server: &TestServer,
    timestamp: u64,
    signature: &str,
    body: &Value,
) -> anyhow::Result<u16> {
    let timestamp = timestamp.to_string();
    let headers = [
        ("content-type", JSON),
        ("x-switchyard-key", "demo"),
        ("x-switchyard-timestamp", &timestamp),
        ("x-switchyard-signature", signature),
    ];
    Ok(post(server, "partner.demo", &headers, body).await?.0)
}

#[tokio::test]
async fn a_signature_holds_once_for_its_body_and_time() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut ada = board(&server).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let body = json!({"records": [{"key": "board:1", "value": move_to("b")}]});
    let other = json!({"records": [{"key": "board:1", "value": move_to("a")}]});
    let right = signature("demo", now, &body)?;

    assert_eq!(
        post_signed(&server, now, &signature("guess", now, &body)?, &body).await?,
        401,
        "wrong key"
    );
    assert_eq!(post_signed(&server, now, &right, &other).await?, 401, "altered body");
    assert_eq!(post_signed(&server, now - 1, &right, &body).await?, 401, "altered time");
    assert_eq!(post_signed(&server, now, "v1=00", &body).await?, 401, "no signature");
    for old in [now - 310, now + 310] {
        let signature = signature("demo", old, &body)?;
        assert_eq!(post_signed(&server, old, &signature, &body).await?, 401, "{old} at {now}");
    }
    assert_eq!(post_signed(&server, now, &right, &body).await?, 200);
    moved_to(&mut ada, "b").await?;
    assert_eq!(post_signed(&server, now, &right, &body).await?, 401, "replayed");
    let upper = format!("v1={}", right.trim_start_matches("v1=").to_uppercase());
    assert_eq!(post_signed(&server, now, &upper, &body).await?, 401, "replayed in capitals");
    let again = signature("demo", now - 200, &other)?;
    assert_eq!(post_signed(&server, now - 200, &again, &other).await?, 200, "within 300 s");
    moved_to(&mut ada, "a").await
}

/// A moment some milliseconds from now, RFC 3339.
fn moment(millis: i64) -> anyhow::Result<String> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let json = serde_json::to_value(schemas::Timestamp::from_millis(now + millis))?;
    Ok(json.as_str().context("a timestamp is a string")?.to_owned())
}

/// A published event that starts `in_millis` from now, with reminders 1 s and 2 s before.
async fn event_with_reminders(server: &TestServer, in_millis: i64) -> anyhow::Result<Client> {
    let mut ada = Client::connect(server, "ada").await?;
    let event = json!({"type": "createEvent", "title": "e", "timeZone": "UTC",
        "start": moment(in_millis)?, "end": moment(in_millis + 3_600_000)?});
    ada.command("event:1", event).await?;
    ada.command("event:1", json!({"type": "setStatus", "status": "published"})).await?;
    ada.command("event:1", json!({"type": "setReminders", "before": ["PT1S", "PT2S"]})).await?;
    Ok(ada)
}

/// Both reminders, in the order in which they are due, each once.
async fn both_fire(server: &TestServer, ada: &mut Client) -> anyhow::Result<()> {
    for before in ["PT2S", "PT1S"] {
        let change = ada.change("event:1").await?;
        assert_eq!(
            (&change["type"], &change["data"]["before"]),
            (&json!("reminderFired"), &json!(before))
        );
        assert_eq!(change["by"], "system");
    }
    fired_twice_in_all(server).await
}

async fn fired_twice_in_all(server: &TestServer) -> anyhow::Result<()> {
    let http = Http::new(server, "ada").await?;
    let fired = journal(&http, "event:1").await?;
    assert_eq!(fired.iter().filter(|change| change["type"] == "reminderFired").count(), 2);
    let (_, event) = http.get("/api/v1/events/1").await?;
    let reminders = event["state"]["reminders"].as_array().context("reminders")?;
    assert!(reminders.iter().all(|one| one["fired"] == true), "{reminders:?}");
    Ok(())
}

#[tokio::test]
async fn reminders_fire_once_each_when_due() -> anyhow::Result<()> {
    let mut server = TestServer::start().await?;
    let mut ada = event_with_reminders(&server, 3_500).await?;
    ada.call("join", json!({"entity": "event:1"})).await?;
    both_fire(&server, &mut ada).await?;
    // Neither a further command nor a restart makes them fire again.
    ada.command("event:1", json!({"type": "updateEvent", "title": "f"})).await?;
    server.kill().await?;
    server.restart().await?;
    let mut ada = Client::connect(&server, "ada").await?;
    ada.command("event:1", json!({"type": "updateEvent", "title": "g"})).await?;
    fired_twice_in_all(&server).await?;
    verify(&server).await
}

#[tokio::test]
async fn reminders_outlive_a_kill() -> anyhow::Result<()> {
    let mut server = TestServer::start().await?;
    drop(event_with_reminders(&server, 7_000).await?);
    server.kill().await?;
    server.restart().await?;
    let mut ada = Client::connect(&server, "ada").await?;
    ada.call("join", json!({"entity": "event:1", "since": 3}))
        .await
        .map(|answer| assert_eq!(answer["changes"], json!([]), "none is due yet"))?;
    both_fire(&server, &mut ada).await?;
    verify(&server).await
}

#[tokio::test]
async fn a_mute_ends_by_itself() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut ada = Client::connect(&server, "ada").await?;
    let mut bob = Client::connect(&server, "bob").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    bob.call("join", json!({"entity": "room:1"})).await?;
    let until = moment(1_500)?;
    ada.command("room:1", json!({"type": "mute", "user": "bob", "until": until})).await?;
    assert_eq!(bob.change("room:1").await?["type"], "memberMuted");
    let post = json!({"entity": "room:1", "body": {"type": "post", "text": "hm"}});
    assert_eq!(bob.refused("command", post.clone()).await?, "forbidden");
    let unmuted = bob.change("room:1").await?;
    assert_eq!((&unmuted["type"], &unmuted["by"]), (&json!("memberUnmuted"), &json!("system")));
    assert_eq!(unmuted["data"]["user"], "bob");
    assert!(unmuted["at"].as_str() >= Some(until.as_str()), "not before {until}: {unmuted}");
    bob.call("command", post).await?;
    Ok(())
}

/// What `switchyard dlq …` prints on a node's data; the node must not run to retry or drop.
async fn dlq(data: &std::path::Path, arguments: &[&str]) -> anyhow::Result<String> {
    let arguments: Vec<_> = ["dlq"].iter().chain(arguments).copied().collect();
    let output = run(data, &arguments).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test]
async fn a_dead_letter_is_retried_once_what_was_wrong_is_mended() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("narrow.toml");
    let narrow = "[partners.demo]\ntenant = \"main\"\nkey = \"demo\"\ncommands = [\"addTask\"]\n";
    std::fs::write(&config, narrow)?;
    let data = folder.path().join("data");
    let setup = Setup::default().argument("--config").argument(config.to_str().context("a path")?);
    let mut server = TestServer::start_in(&data, setup).await?;
    let mut ada = board(&server).await?;
    produce(
        &server,
        JSON,
        json!([
            {"key": "board:1", "value": move_to("b")},
            {"key": "board:1", "value": {"body": {"type": "fly"}}},
            {"key": "board:1", "value": add("t2")},
        ]),
    )
    .await?;
    let added = ada.change("board:1").await?;
    assert_eq!(added["type"], "taskAdded", "what is allowed goes through: {added}");
    assert!(server.terminate().await?.success());

    let listed = dlq(&data, &["list"]).await?;
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.len(), 2, "{listed}");
    assert!(lines[0].starts_with("0 ") && lines[0].contains("partner.demo/0/0 open: "), "{listed}");
    assert!(lines[0].contains("moveTask is not allowed here"), "{listed}");
    let shown: Value = serde_json::from_str(&dlq(&data, &["show", "1"]).await?)?;
    assert_eq!(shown["key"]["text"], "board:1");
    assert!(shown["value"]["text"].as_str().is_some_and(|text| text.contains("fly")), "{shown}");
    assert!(dlq(&data, &["show", "7"]).await.is_err(), "there is none");
    dlq(&data, &["retry", "0"]).await?;
    dlq(&data, &["drop", "1"]).await?;
    assert!(dlq(&data, &["retry", "0"]).await.is_err(), "it was retried already");
    let listed = dlq(&data, &["list"]).await?;
    assert!(listed.contains("retried: ") && listed.contains("dropped: "), "{listed}");

    let mut server = TestServer::start_in(&data, Setup::default()).await?;
    let mut ada = Client::connect(&server, "ada").await?;
    ada.call("join", json!({"entity": "board:1", "since": 3})).await?;
    let started = std::time::Instant::now();
    let http = Http::new(&server, "ada").await?;
    while http.get("/api/v1/boards/1/tasks").await?.1["t"]["column"] != "b" {
        ensure!(started.elapsed().as_secs() < 15, "the retried record has no effect");
    }
    assert!(server.terminate().await?.success());
    verify(&server).await
}

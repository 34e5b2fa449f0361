//! Avro through a schema registry, with a partner whose client is written in Python.

use anyhow::Context as _;
use rdkafka::{
    ClientConfig,
    producer::{FutureProducer, FutureRecord},
};
use schemas::{
    Body, Kind,
    codec::{self, PartnerRecord, Subject},
    json,
};
use serde_json::{Value, json};
use tests::{client::Client, services::Services};

use crate::cluster::ALONE;

const TOPIC: &str = "switchyard.partner.demo";

/// What stands behind the header of single-object encoding.
const HEADER: usize = 10;

/// Registers a schema, as any client of a registry does; gives its id.
async fn register(services: &Services, subject: &str, schema: &Value) -> anyhow::Result<u32> {
    let registry = services.registry.as_deref().context("a registry")?;
    let answer: Value = reqwest::Client::new()
        .post(format!("{registry}/subjects/{subject}/versions"))
        .json(&json!({ "schema": schema.to_string() }))
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    Ok(u32::try_from(answer["id"].as_u64().context("an id")?)?)
}

/// The newest schema of partners' commands to boards with one field more at its end.
fn with_field(name: &str) -> anyhow::Result<Value> {
    let mut schema: Value = serde_json::from_str(
        codec::schemas_of(Subject::Partner(Kind::Board)).last().context("one")?.1,
    )?;
    let field = json!({"name": name, "type": ["null", "string"], "default": null});
    schema["fields"].as_array_mut().context("fields")?.push(field);
    Ok(schema)
}

/// A move of the task in a partner's own schema, framed by `id`.
fn moved_to(column: &str, id: u32) -> anyhow::Result<Vec<u8>> {
    let body = json!({"type": "moveTask", "task": "t", "column": column});
    let body = json::body_from_value(Kind::Board, body)?;
    anyhow::ensure!(matches!(body, Body::Board(_)));
    let record = codec::encode_partner(&PartnerRecord { command_id: None, expect: None, body })?;
    // The field more is null: branch 0 of its union.
    Ok([&[0][..], &id.to_be_bytes(), &record[HEADER..], &[0]].concat())
}

#[tokio::test]
async fn a_python_client_writes_and_reads_avro_through_the_registry() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let mut services = Services::start().await?;
    services.start_registry().await?;
    let (first, second) = tokio::try_join!(services.node("n1"), services.node("n2"))?;
    let mut ada = Client::connect(&first, "ada").await?;
    ada.command("board:1", json!({"type": "createBoard", "title": "b"})).await?;
    ada.command("board:1", json!({"type": "addTask", "task": "t", "title": "t"})).await?;
    let mut bob = Client::connect(&second, "bob").await?;
    bob.call("join", json!({"entity": "board:1"})).await?;

    let line = |column: &str| {
        let body = json!({"-type": "moveTask", "task": "t", "column": column});
        format!("board:1|{}\n", json!({ "body": body }))
    };
    let write = [TOPIC, "switchyard.partner.board"];
    services.partner("write", &write, &line("done")).await?;
    let moved = bob.change("board:1").await?;
    assert_eq!((&moved["by"], &moved["data"]["to"]), (&json!("partner:demo"), &json!("done")));

    // A record under an id that the registry does not have is set aside, and is as good as any
    // once the schema is there.
    let last = register(&services, "elsewhere", &with_field("other")?).await?;
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", &services.kafka).create()?;
    let broken = moved_to("review", last + 1)?;
    let record = FutureRecord::to(TOPIC).key("board:1").payload(&broken);
    producer.send(record, std::time::Duration::from_secs(10)).await.map_err(|(error, _)| error)?;
    services.partner("write", &write, &line("todo")).await?;
    // Same partition: what is behind it shows that it has been passed.
    bob.change("board:1").await?;
    let listed = String::from_utf8(services.run(&["dlq", "list"]).await?.stdout)?;
    assert!(listed.contains(&format!("schema id {}", last + 1)), "{listed}");
    let id = listed.split_whitespace().next().context("an id")?.to_owned();
    let shown: Value = serde_json::from_slice(&services.run(&["dlq", "show", &id]).await?.stdout)?;
    assert!(shown.to_string().contains("board:1"), "{shown}");
    assert_eq!(register(&services, "demo", &with_field("region")?).await?, last + 1);
    let retried = services.run(&["dlq", "retry", &id]).await?;
    assert!(retried.status.success(), "{}", String::from_utf8_lossy(&retried.stderr));
    let moved = bob.change("board:1").await?;
    assert_eq!((&moved["by"], &moved["data"]["to"]), (&json!("partner:demo"), &json!("review")));

    // What partners read.
    let lines = services.partner("read", &["switchyard.changes", "5"], "").await?;
    let last: Value = serde_json::from_str(lines.last().context("a line")?)?;
    assert_eq!(last["key"], "main/board:1");
    assert_eq!((&last["value"]["seq"], &last["value"]["by"]), (&json!(5), &json!("partner:demo")));
    services.verify().await
}

#[tokio::test]
async fn a_record_that_is_larger_than_a_dead_letter_stops_nothing() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let services = Services::start().await?;
    let node = services.node("n1").await?;
    let mut ada = Client::connect(&node, "ada").await?;
    ada.command("board:1", json!({"type": "createBoard", "title": "b"})).await?;
    ada.command("board:1", json!({"type": "addTask", "task": "t", "title": "t"})).await?;
    ada.call("join", json!({"entity": "board:1"})).await?;
    // The broker bounds what it stores, which is compressed: this comes out at 24 MiB.
    let large = vec![b'x'; 24 << 20];
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &services.kafka)
        .set("compression.type", "gzip")
        .set("message.max.bytes", (32 << 20).to_string())
        .create()?;
    let moved = json!({"body": {"type": "moveTask", "task": "t", "column": "done"}}).to_string();
    for payload in [&large[..], moved.as_bytes()] {
        let record = FutureRecord::to(TOPIC).key("board:1").payload(payload);
        let sent = producer.send(record, std::time::Duration::from_secs(20)).await;
        sent.map_err(|(error, _)| error)?;
    }
    assert_eq!(ada.change("board:1").await?["data"]["to"], "done");
    let listed = String::from_utf8(services.run(&["dlq", "list"]).await?.stdout)?;
    let id = listed.split_whitespace().next().context("an id")?.to_owned();
    let refused = services.run(&["dlq", "retry", &id]).await?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("beginning"), "{said}");
    services.verify().await
}

#[tokio::test]
async fn a_registry_that_does_not_fit_is_named() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let mut services = Services::start().await?;
    services.registry = Some("http://127.0.0.1:1".into());
    let refused = services.run(&["verify"]).await?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("registry.url"), "{said}");
    services.start_registry().await?;
    // A release that is to come has registered what this one's schema cannot read.
    let foreign = json!({"type": "record", "name": "Fence", "fields": [
        {"name": "owner", "type": "string"}, {"name": "at", "type": "string"}]});
    register(&services, "switchyard.fence", &foreign).await?;
    let registry = services.registry.clone().context("a registry")?;
    let put = reqwest::Client::new().put(format!("{registry}/config/switchyard.fence"));
    put.json(&json!({"compatibility": "BACKWARD"})).send().await?.error_for_status()?;
    let refused = services.run(&["verify"]).await?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("switchyard.fence"), "{said}");
    Ok(())
}

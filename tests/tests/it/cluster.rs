//! Several nodes on a real Kafka, PostgreSQL and Redis.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};
use serde_json::{Value, json};
use tests::{
    client::{Client, Http, upgrade},
    server::{PATIENCE, Setup, TestServer},
    services::{PARTITIONS, Services},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    sync::Mutex,
};

use crate::load::Load;

/// One cluster at a time: the machine may be small.
pub(crate) static ALONE: Mutex<()> = Mutex::const_new(());

const EVENT: &str = r#"{"type": "createEvent", "title": "e", "timeZone": "UTC",
    "start": "2030-01-01T10:00:00Z", "end": "2030-01-01T11:00:00Z"}"#;

#[tokio::test]
async fn clients_at_different_nodes_share_boards_rooms_events_and_presence() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let services = Services::start().await?;
    let (first, second, third) =
        tokio::try_join!(services.node("n1"), services.node("n2"), services.node("n3"))?;
    let mut ada = Client::connect(&first, "ada").await?;
    let mut bob = Client::connect(&second, "bob").await?;
    let mut eve = Client::connect(&third, "eve").await?;
    let creations = [
        ("board:1", json!({"type": "createBoard", "title": "b"})),
        ("room:1", json!({"type": "createRoom", "title": "r"})),
        ("event:1", serde_json::from_str(EVENT)?),
    ];
    for (entity, body) in creations {
        ada.command(entity, body).await?;
        for client in [&mut ada, &mut bob, &mut eve] {
            let joined = client.call("join", json!({"entity": entity})).await?;
            assert_eq!(joined["seq"], 1, "{entity}");
        }
    }
    let commands = [
        ("board:1", json!({"type": "addTask", "title": "t"})),
        ("room:1", json!({"type": "post", "text": "hi"})),
        ("event:1", json!({"type": "updateEvent", "title": "E"})),
    ];
    for (entity, body) in commands {
        let answer = bob.command(entity, body).await?;
        for client in [&mut ada, &mut eve] {
            assert_eq!(client.change(entity).await?, answer["changes"][0]);
        }
    }
    // Presence and signals cross nodes, and a dead node's people leave.
    let typing = json!({"entity": "room:1", "kind": "typing", "data": {}, "op": "signal"});
    eve.send_raw(typing.to_string().into()).await?;
    let signal = ada.pushed_where(|object| object.get("signal").is_some()).await?;
    assert_eq!((&signal["by"], &signal["entity"]), (&json!("user:eve"), &json!("room:1")));
    drop(third);
    let gone = ada
        .pushed_where(|object| {
            let left = object["presence"]["left"].as_array();
            object["entity"] == "room:1" && left.is_some_and(|left| left.contains(&json!("eve")))
        })
        .await
        .context("eve's node is dead and she stays")?;
    assert_eq!(gone["presence"]["joined"], json!([]));
    // A state read at another node is not older than what was answered there.
    let http = Http::new(&second, "bob").await?;
    let (status, board) = http.get("/api/v1/boards/1?min_seq=2").await?;
    assert_eq!((status, &board["seq"]), (200, &json!(2)));
    services.verify().await
}

#[tokio::test]
async fn each_role_can_have_a_node_of_its_own() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let services = Services::start().await?;
    let node = |name| services.node_with(name, Setup::default().with("ROLES", name));
    let (gateway, actors, projector) =
        tokio::try_join!(node("gateway"), node("actors"), node("projector"))?;
    let mut ada = Client::connect(&gateway, "ada").await?;
    ada.command("board:1", json!({"type": "createBoard", "title": "b"})).await?;
    let joined = ada.call("join", json!({"entity": "board:1"})).await?;
    assert_eq!(joined["state"]["title"], "b");
    assert_eq!(upgrade(&gateway).send().await?.status(), 101);
    let owned = async |server: &TestServer| {
        let health: Value = reqwest::get(server.url("/health")).await?.json().await?;
        let owned = health["services"]["owners"]["partitions"].as_array().map_or(0, Vec::len);
        anyhow::Ok(owned)
    };
    assert_eq!(owned(&actors).await?, 3 * PARTITIONS as usize);
    assert_eq!(Http::new(&gateway, "ada").await?.get("/api/v1/boards/1").await?.0, 200);
    assert_eq!(owned(&gateway).await?, 0);
    assert_eq!(owned(&projector).await?, 0);
    for other in [&actors, &projector] {
        let refused = upgrade(other).send().await?;
        assert_eq!(refused.status(), 404, "{}", refused.text().await?);
        let http = Http::new(other, "ada").await?;
        assert_eq!(http.get("/api/v1/boards/1").await?.0, 404);
        let metrics = reqwest::get(other.url("/metrics")).await?;
        assert_eq!(metrics.status(), 200, "whoever watches is served by all");
    }
    // Who projects has written the list, which a gateway reads from the store.
    let http = Http::new(&gateway, "ada").await?;
    let listed = async {
        loop {
            let (_, list) = http.get("/api/v1/boards").await?;
            if list["items"].as_array().is_some_and(|items| items.len() == 1) {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, listed).await.context("never listed")??;
    services.verify().await
}

#[tokio::test]
async fn killed_nodes_lose_and_double_nothing() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let services = Services::start().await?;
    let (mut first, second) = tokio::try_join!(services.node("n1"), services.node("n2"))?;
    let mut load = Load::start(&[&first, &second], "").await?;
    for _ in 0..3 {
        load.progress(200).await?;
        first.kill().await?;
        load.move_to(0, &second);
        let killed = Instant::now();
        load.progress(200).await?;
        eprintln!("200 commands after {:?}", killed.elapsed());
        first.restart().await?;
        load.move_to(0, &first);
    }
    load.progress(200).await?;
    load.finish(&services, &second).await.map(|_| ())
}

#[tokio::test]
async fn the_broker_may_assign_the_partitions() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let services = Services::start().await?;
    let setup = || Setup::default().with("KAFKA__GROUP_PROTOCOL", "consumer");
    let (mut first, second) =
        tokio::try_join!(services.node_with("n1", setup()), services.node_with("n2", setup()))?;
    let mut load = Load::start(&[&first, &second], "").await?;
    load.progress(200).await?;
    first.kill().await?;
    load.move_to(0, &second);
    let killed = Instant::now();
    load.progress(200).await?;
    eprintln!("200 commands after {:?}", killed.elapsed());
    load.finish(&services, &second).await.map(|_| ())
}

#[tokio::test]
async fn a_planned_end_hands_over_without_an_error() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let services = Services::start().await?;
    let (mut leaving, staying) = tokio::try_join!(services.node("n1"), services.node("n2"))?;
    let mut ada = Client::connect(&staying, "ada").await?;
    for n in 0..12 {
        ada.command(&format!("room:{n}"), json!({"type": "createRoom", "title": "r"})).await?;
    }
    let longest = async {
        let mut longest = Duration::ZERO;
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(6) {
            for n in 0..12 {
                let sent = Instant::now();
                let post = json!({"type": "post", "text": "x"});
                ada.command(&format!("room:{n}"), post).await?;
                longest = longest.max(sent.elapsed());
            }
        }
        anyhow::Ok(longest)
    };
    let end = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        leaving.terminate().await
    };
    let (longest, status) = tokio::try_join!(longest, end)?;
    eprintln!("the longest pause of a handover: {longest:?}");
    assert!(status.success());
    services.verify().await
}

/// A server that says that it is Redis 2.8, and knows nothing else.
async fn old_redis() -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                while let Ok(length @ 1..) = client.read(&mut buffer).await {
                    let asked = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    for command in asked.split('*').skip(1) {
                        let answer = if command.contains("INFO\r\n$6\r\nserver") {
                            "$22\r\nredis_version:2.8.24\r\n\r\n".to_owned()
                        } else {
                            "-ERR unknown command\r\n".to_owned()
                        };
                        if client.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    Ok(format!("redis://{address}"))
}

/// The program with these settings instead of those that work.
fn serve_with(
    services: &Services,
    settings: &[(&str, &str)],
    arguments: &[&str],
) -> tokio::process::Command {
    let mut variables = services.variables();
    variables.retain(|(known, _)| settings.iter().all(|(name, _)| name != known));
    let settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let mut command = tokio::process::Command::new(tests::server::program());
    for (name, value) in Setup::default().variables.into_iter().chain(variables).chain(settings) {
        command.env(format!("SWITCHYARD__{name}"), value);
    }
    command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments).kill_on_drop(true);
    command
}

/// What it says when it ends, within ten seconds and with exit code 1.
async fn refusal(mut command: tokio::process::Command) -> anyhow::Result<String> {
    let output = tokio::time::timeout(Duration::from_secs(10), command.output()).await??;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    Ok(said)
}

#[tokio::test]
async fn a_bad_set_up_is_named_within_ten_seconds() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let services = Services::start().await?;
    let refused = async |name: &str, value: &str| -> anyhow::Result<String> {
        refusal(serve_with(&services, &[(name, value)], &[])).await.context(name.to_owned())
    };
    let said = refused("KAFKA__BROKERS", "127.0.0.1:1").await?;
    assert!(said.contains("kafka.brokers"), "{said}");
    let said = refused("KAFKA__PARTITIONS", "7").await?;
    assert!(said.contains("board.commands") && said.contains("kafka.partitions"), "{said}");
    let said = refused("KAFKA__PREFIX", "other.").await?;
    assert!(said.contains("other.board.commands is missing"), "{said}");
    let wrong = services.postgres.replace("switchyard:switchyard", "switchyard:wrong");
    let said = refused("POSTGRES__URL", &wrong).await?;
    assert!(said.contains("postgres.url") && said.contains("password"), "{said}");
    let said = refused("POSTGRES__URL", "postgres://u:p@127.0.0.1:1/x").await?;
    assert!(said.contains("postgres.url"), "{said}");
    let said = refused("REDIS__URL", "nonsense").await?;
    assert!(said.contains("redis.url"), "{said}");
    let said = refused("REDIS__URL", &old_redis().await?).await?;
    assert!(said.contains("redis.url") && said.contains("2.8.24"), "{said}");
    // Somebody who may look and not make tables, at a database that has none.
    let owner = sqlx::PgPool::connect(&services.postgres).await?;
    for statement in ["CREATE ROLE guest LOGIN PASSWORD 'guest'", "CREATE DATABASE bare"] {
        sqlx::raw_sql(statement).execute(&owner).await?;
    }
    let guest = services.postgres.replace("switchyard:switchyard", "guest:guest");
    let guest = guest.replace("/switchyard", "/bare");
    let said = refused("POSTGRES__URL", &guest).await?;
    assert!(said.contains("migrations") && said.contains("permission denied"), "{said}");
    Ok(())
}

/// The first line that contains `wanted`, within ten seconds.
async fn says(node: &mut tokio::process::Child, wanted: &str) -> anyhow::Result<String> {
    let stderr = node.stderr.take().context("stderr is piped")?;
    let mut lines = tokio::io::BufReader::new(stderr).lines();
    let find = async {
        while let Some(line) = lines.next_line().await? {
            if line.contains(wanted) {
                return Ok(line);
            }
        }
        anyhow::bail!("it ends without {wanted:?}")
    };
    tokio::time::timeout(Duration::from_secs(10), find).await.context(wanted.to_owned())?
}

#[tokio::test]
async fn missing_rights_at_the_brokers_are_named_within_ten_seconds() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let services = Services::start_secured().await?;
    let secured = services.secured.as_deref().context("a secured listener")?;
    let folder = tempfile::tempdir()?;
    let login = |user: &str, password: &str| -> anyhow::Result<String> {
        let file = folder.path().join(format!("{user}-{password}.toml"));
        let properties = [
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", user),
            ("sasl.password", password),
        ];
        let lines = properties.map(|(name, value)| format!("{name:?} = {value:?}"));
        std::fs::write(&file, format!("[kafka.properties]\n{}\n", lines.join("\n")))?;
        Ok(file.display().to_string())
    };
    let data = folder.path().join("data").display().to_string();
    let serve = |config: &str| {
        let brokers = [("KAFKA__BROKERS", secured)];
        serve_with(&services, &brokers, &["--config", config, "--data", &data])
    };
    let said = refusal(serve(&login("node", "wrong")?)).await.context("a wrong password")?;
    assert!(said.contains("refuse the credentials"), "{said}");
    assert!(!said.contains("\"wrong\""), "the password is told: {said}");

    let node = login("node", "node")?;
    let said = refusal(serve(&node)).await.context("no rights")?;
    assert!(said.contains("switchyard.board.commands may not be used"), "{said}");
    services.allow("node", &["describe"]).await?;
    let said = refusal(serve(&node)).await.context("no right to read")?;
    assert!(said.contains("switchyard.board.commands may not be used"), "{said}");
    assert!(said.contains("no right to read"), "{said}");

    // What cannot be found out beforehand is said when it is met, and the node is not ready.
    services.allow("node", &["read"]).await?;
    let mut unready = serve(&node).stderr(std::process::Stdio::piped()).spawn()?;
    let said = says(&mut unready, "no right to write").await?;
    assert!(said.contains(".outcomes"), "{said}");
    unready.kill().await?;

    services.allow("node", &["write"]).await?;
    let setup = Setup::default().with("KAFKA__BROKERS", secured);
    let ready = services.node_with("n1", setup.argument("--config").argument(&node)).await?;
    let mut ada = Client::connect(&ready, "ada").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    Ok(())
}

#[tokio::test]
async fn without_redis_everything_but_signals_goes_on() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let services = Services::start().await?;
    let setup = Setup::default();
    let node = services.node_with("n1", setup).await?;
    let mut ada = Client::connect(&node, "ada").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    let state = async || -> anyhow::Result<Value> {
        let health: Value = reqwest::get(node.url("/health")).await?.json().await?;
        Ok(json!([health["status"], health["services"]["signals"]["state"]]))
    };
    let until = async |wanted: Value| -> anyhow::Result<()> {
        let started = Instant::now();
        while state().await? != wanted {
            anyhow::ensure!(started.elapsed() < Duration::from_secs(15), "{}", state().await?);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    };
    until(json!(["healthy", "healthy"])).await?;
    services.stop_redis().await?;
    until(json!(["degraded", "degraded"])).await?;
    ada.command("room:1", json!({"type": "post", "text": "still"})).await?;
    services.start_redis().await?;
    until(json!(["healthy", "healthy"])).await
}

#[tokio::test]
async fn history_is_served_from_the_cache_and_without_it() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let services = Services::start().await?;
    let node = services.node("n1").await?;
    let mut ada = Client::connect(&node, "ada").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    for n in 0..8 {
        ada.command("room:1", json!({"type": "post", "text": n.to_string()})).await?;
    }
    let store = sqlx::PgPool::connect(&services.postgres).await?;
    let journaled = async || -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar("SELECT count(*) FROM journal").fetch_one(&store).await?)
    };
    let started = Instant::now();
    while journaled().await? < 9 {
        anyhow::ensure!(started.elapsed() < Duration::from_secs(20), "nothing is projected");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Another node has nothing of it in memory.
    let other = services.node("n2").await?;
    let mut bob = Client::connect(&other, "bob").await?;
    let mut page = async |after: i64| {
        let query = json!({"entity": "room:1", "after": after, "limit": 2});
        anyhow::Ok(bob.call("history", query).await?["changes"].clone())
    };
    let first = page(1).await?;
    assert_eq!(first[0]["data"]["text"], "0");
    // What is in the cache is not read from the store any more.
    sqlx::query("DELETE FROM journal WHERE last_seq = 2").execute(&store).await?;
    assert_eq!(page(1).await?, first, "from the cache");
    services.stop_redis().await?;
    assert_eq!(page(3).await?[0]["data"]["text"], "2", "from the store");
    Ok(())
}

#[tokio::test]
async fn lists_are_read_from_a_replica_while_it_keeps_up() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let services = Services::start().await?;
    let url = services.start_replica().await?;
    let replica = sqlx::PgPool::connect(&url).await?;
    let setup = Setup::default().with("POSTGRES__REPLICA_URL", &url);
    let node = services.node_with("n1", setup.with("POSTGRES__REPLICA_LAG_MS", "1000")).await?;
    let mut ada = Client::connect(&node, "ada").await?;
    let http = Http::new(&node, "ada").await?;
    // Reads of the table at the replica, where only this node reads.
    let reads = async || -> anyhow::Result<i64> {
        let ask = "SELECT coalesce(seq_scan, 0) + coalesce(idx_scan, 0) FROM pg_stat_user_tables \
                   WHERE relname = 'entities'";
        Ok(sqlx::query_scalar(ask).fetch_one(&replica).await?)
    };
    let listed = async |id: &str| -> anyhow::Result<bool> {
        let list = http.get("/api/v1/rooms?limit=100").await?.1;
        Ok(list.to_string().contains(&format!("\"room:{id}\"")))
    };
    let until_listed = async |id: &str| -> anyhow::Result<()> {
        let started = Instant::now();
        while !listed(id).await? {
            anyhow::ensure!(started.elapsed() < Duration::from_secs(10), "{id} is not listed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    };
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    until_listed("1").await?;
    let (before, started) = (reads().await?, Instant::now());
    while reads().await? == before {
        anyhow::ensure!(started.elapsed() < Duration::from_secs(10), "the replica is not read");
        listed("1").await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It stops replaying: what is new is listed all the same.
    sqlx::query("SELECT pg_wal_replay_pause()").execute(&replica).await?;
    ada.command("room:2", json!({"type": "createRoom", "title": "r"})).await?;
    until_listed("2").await?;
    let behind: i64 = sqlx::query_scalar("SELECT count(*) FROM entities WHERE entity = '2'")
        .fetch_one(&replica)
        .await?;
    assert_eq!(behind, 0, "the replica has it, so the primary was not needed");
    Ok(())
}

#[tokio::test]
async fn a_java_client_moves_a_card_and_its_broken_record_is_in_dlq() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let services = Services::start().await?;
    let node = services.node("n1").await?;
    let mut ada = Client::connect(&node, "ada").await?;
    ada.command("board:1", json!({"type": "createBoard", "title": "b"})).await?;
    ada.command("board:1", json!({"type": "addTask", "task": "t", "title": "t"})).await?;
    ada.call("join", json!({"entity": "board:1"})).await?;
    let moving = json!({"body": {"type": "moveTask", "task": "t", "column": "done"}}).to_string();
    let broken = json!({"body": {"type": "fly"}}).to_string();
    let records = [("board:1", broken), ("board:1", moving)];
    services.produce_from_java("switchyard.partner.demo", &records).await?;
    let moved = ada.change("board:1").await?;
    assert_eq!((&moved["type"], &moved["by"]), (&json!("taskMoved"), &json!("partner:demo")));
    let listed = services.run(&["dlq", "list"]).await?;
    let listed = String::from_utf8(listed.stdout)?;
    assert!(listed.lines().count() == 1 && listed.contains("partner.demo/"), "{listed}");
    assert!(listed.contains("fly"), "{listed}");
    services.verify().await
}

#[tokio::test]
async fn a_backlog_for_one_entity_is_decided_in_one_go() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let services = Services::start().await?;
    let mut node = services.node("n1").await?;
    let mut ada = Client::connect(&node, "ada").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    node.kill().await?;
    for n in 0..300 {
        services
            .append_command("room:1", json!({"type": "post", "text": n.to_string()}), 0)
            .await?;
    }
    node.restart().await?;
    let http = Http::new(&node, "ada").await?;
    let (_, room) = http.get("/api/v1/rooms/1?min_seq=301").await?;
    assert_eq!(
        (&room["seq"], &room["state"]["messages"][199]["text"]),
        (&json!(301), &json!("299"))
    );
    // One that cannot go on begins anew with another fence, whose offset is its epoch: here there
    // are the first owner's fence and outcome before the second's fence.
    let health: Value = reqwest::get(node.url("/health")).await?.json().await?;
    let partitions = health["services"]["owners"]["partitions"].as_array().context("partitions")?;
    let kept = |one: &&Value| one["kind"] == "room" && one["offset"].as_i64() > Some(300);
    let epoch = partitions.iter().find(kept).map(|one| one["epoch"].clone());
    assert_eq!(epoch, Some(json!(2)));
    services.verify().await
}

/// What stands in `changes`: the value of each record, by key, in the order of the log; as readers
/// are told, only the seq that is the next of its key is taken.
fn published(services: &Services, wanted: usize) -> anyhow::Result<BTreeMap<String, Vec<Value>>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &services.kafka)
        .set("group.id", "a partner")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset("switchyard.changes", partition, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let started = Instant::now();
    while found.values().map(Vec::len).sum::<usize>() < wanted {
        anyhow::ensure!(started.elapsed() < Duration::from_secs(20), "only {found:?}");
        let Some(record) = consumer.poll(Duration::from_millis(100)) else { continue };
        let record = record?;
        let key = std::str::from_utf8(record.key().context("a key")?)?.to_owned();
        let value: Value = serde_json::from_slice(record.payload().context("a value")?)?;
        let changes = found.entry(key).or_default();
        let next = changes.last().map_or(Some(1), |last| last["seq"].as_i64().map(|seq| seq + 1));
        if value["seq"].as_i64() == next {
            changes.push(value);
        }
    }
    Ok(found)
}

#[tokio::test]
async fn partners_read_every_change_as_everybody_sees_it() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let services = Services::start().await?;
    let setup = Setup::default().with("KAFKA__CHANGES", "json");
    let mut node = services.node_with("n1", setup).await?;
    let mut ada = Client::connect(&node, "ada").await?;
    let mut expected: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for n in 0..4 {
        let room = format!("room:{n}");
        let created = ada.command(&room, json!({"type": "createRoom", "title": "r"})).await?;
        let changes = expected.entry(format!("main/{room}")).or_default();
        changes.extend(created["changes"].as_array().context("changes")?.iter().cloned());
        for text in ["a", "b", "c"] {
            let answer = ada.command(&room, json!({"type": "post", "text": text})).await?;
            changes.push(answer["changes"][0].clone());
        }
        if n == 1 {
            node.kill().await?;
            node.restart().await?;
            ada = Client::connect(&node, "ada").await?;
        }
    }
    let found = published(&services, 16)?;
    assert_eq!(found, expected);
    Ok(())
}

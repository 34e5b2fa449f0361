//! "WebSocket" and "Precise points, Sockets".

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tests::{
    client::{Client, KEY, upgrade},
    server::{Setup, TestServer},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

/// A room with its maker in it.
async fn room(server: &TestServer) -> anyhow::Result<Client> {
    let mut ada = Client::connect(server, "ada").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    ada.call("join", json!({"entity": "room:1"})).await?;
    Ok(ada)
}

fn post(text: &str) -> Value {
    json!({"type": "post", "text": text})
}

#[tokio::test]
async fn a_token_comes_in_any_of_three_places_and_the_greeting_after_it() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let token = server.token("ada").await?;
    let request = |name: &str, value: String| upgrade(&server).header(name, value);
    let by_header = request("authorization", format!("Bearer {token}")).send().await?;
    assert_eq!(by_header.status(), 101);
    assert_eq!(by_header.headers()["sec-websocket-accept"], KEY.1);
    let offers = format!("switchyard.v1, bearer.{token}");
    let by_offer = request("sec-websocket-protocol", offers).send().await?;
    assert_eq!(by_offer.status(), 101);
    assert_eq!(by_offer.headers()["sec-websocket-protocol"], "switchyard.v1");
    let by_url = reqwest::Client::new()
        .get(format!("{}?token={token}", server.url("/api/v1/rooms")))
        .send()
        .await?;
    assert_eq!(by_url.status(), 401, "never in the URL");

    let mut ada = Client::connect_with(&server, None).await?;
    assert_eq!(ada.refused("join", json!({"entity": "room:1"})).await?, "unauthenticated");
    let id = ada.send("auth", json!({"token": token})).await?;
    let greeting = ada.next().await?;
    assert_eq!(greeting["type"], "connected");
    assert_eq!(greeting["principal"], "user:ada");
    assert_eq!(greeting["heartbeat"], 25);
    assert!(greeting["session"].is_string() && greeting["node"].is_string());
    assert!(greeting["limits"].is_object());
    let answer = ada.answer(id).await?;
    assert_eq!(answer["ok"]["principal"], "user:ada");
    assert!(answer["ok"]["expiry"].as_str().is_some_and(|time| time.ends_with('Z')));
    Ok(())
}

#[tokio::test]
async fn who_does_not_authenticate_is_closed_after_ten_seconds() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let started = std::time::Instant::now();
    let mut client = Client::connect_with(&server, None).await?;
    assert_eq!(client.close_code().await?, 4401);
    assert!(started.elapsed() >= Duration::from_secs(9), "{:?}", started.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_join_answers_with_the_state_or_with_all_that_is_missing() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut ada = room(&server).await?;
    for n in 0..5 {
        ada.command("room:1", post(&n.to_string())).await?;
    }
    let mut bob = Client::connect(&server, "bob").await?;
    let fresh = bob.call("join", json!({"entity": "room:1"})).await?;
    assert_eq!((&fresh["entity"], &fresh["seq"]), (&json!("room:1"), &json!(6)));
    assert!(fresh.get("recovered").is_none());
    assert_eq!(fresh["state"]["messages"].as_array().map(Vec::len), Some(5));
    let since = bob.call("join", json!({"entity": "room:1", "since": 2})).await?;
    assert_eq!((&since["recovered"], &since["seq"]), (&json!(true), &json!(6)));
    let seqs: Vec<_> =
        since["changes"].as_array().into_iter().flatten().map(|c| &c["seq"]).collect();
    assert_eq!(seqs, [3, 4, 5, 6]);
    let level = bob.call("join", json!({"entity": "room:1", "since": 6})).await?;
    assert_eq!((&level["recovered"], &level["changes"]), (&json!(true), &json!([])));
    let all = bob.call("join", json!({"entity": "room:1", "since": 0})).await?;
    assert_eq!(all["changes"].as_array().map(Vec::len), Some(6));
    let above = bob.call("join", json!({"entity": "room:1", "since": 7})).await?;
    assert_eq!((&above["recovered"], &above["seq"]), (&json!(false), &json!(6)));
    assert_eq!(above["state"], fresh["state"]);

    // Five joins, one subscription.
    ada.command("room:1", post("once")).await?;
    assert_eq!(bob.change("room:1").await?["seq"], 7);
    bob.call("ping", json!({})).await?;
    assert!(bob.pushed.iter().all(|object| object["seq"] != 7), "subscribed once");

    assert_eq!(bob.call("leave", json!({"entity": "room:1"})).await?, json!({}));
    ada.command("room:1", post("after")).await?;
    bob.call("ping", json!({})).await?;
    assert!(bob.pushed.iter().all(|object| object["seq"] != 8), "left");
    assert_eq!(bob.refused("join", json!({"entity": "room:2"})).await?, "not_found");
    Ok(())
}

#[tokio::test]
async fn the_older_names_join_and_leave_too() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut ada = room(&server).await?;
    ada.command("board:1", json!({"type": "createBoard", "title": "b"})).await?;
    let event = json!({"type": "createEvent", "title": "e", "start": "2027-01-01T10:00:00Z",
        "end": "2027-01-01T11:00:00Z", "timeZone": "Europe/Berlin"});
    ada.command("event:1", event).await?;
    for (op, field, entity) in [
        ("joinEvent", "eventId", "event:1"),
        ("joinBoard", "boardId", "board:1"),
        ("joinRoom", "roomId", "room:1"),
    ] {
        assert_eq!(ada.call(op, json!({field: "1"})).await?["entity"], entity);
    }
    assert_eq!(ada.call("leaveRoom", json!({"roomId": "1"})).await?, json!({}));
    Ok(())
}

#[tokio::test]
async fn commands_are_answered_in_order_after_their_changes() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut ada = room(&server).await?;
    let mut sent = Vec::new();
    for n in 0..200 {
        let fields = json!({"entity": "room:1", "body": post(&n.to_string())});
        sent.push(ada.send("command", fields).await?);
    }
    for (n, id) in (0_i64..).zip(sent) {
        let answer = ada.answer(id).await?;
        assert_eq!(answer["ok"]["seq"], n + 2, "{answer}");
        let change = &answer["ok"]["changes"][0];
        assert_eq!(change["data"]["text"], n.to_string());
        ada.pushed.retain(|object| object.get("presence").is_none());
        let pushed = ada.pushed.pop_front().context("the change comes before the answer")?;
        assert_eq!(&pushed, change);
    }
    Ok(())
}

#[tokio::test]
async fn an_expectation_and_a_known_id_are_kept() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut ada = room(&server).await?;
    let expecting = |seq: i64| json!({"entity": "room:1", "expect": seq, "body": post("x")});
    assert_eq!(ada.call("command", expecting(1)).await?["seq"], 2);
    assert_eq!(ada.refused("command", expecting(1)).await?, "conflict");

    let id = Uuid::now_v7().to_string();
    let named = |body: Value| json!({"entity": "room:1", "commandId": id, "body": body});
    let first = ada.call("command", named(post("y"))).await?;
    assert_eq!((&first["commandId"], first.get("repeated")), (&json!(id), None));
    let again = ada.call("command", named(post("y"))).await?;
    assert_eq!(again["repeated"], true);
    assert_eq!((&again["seq"], &again["changes"]), (&first["seq"], &first["changes"]));
    assert_eq!(ada.refused("command", named(post("z"))).await?, "conflict");
    let mut bob = Client::connect(&server, "bob").await?;
    assert_eq!(bob.refused("command", named(post("y"))).await?, "conflict");

    let id = Uuid::now_v7().to_string();
    let wrong = json!({"entity": "room:1", "commandId": id,
        "body": {"type": "edit", "message": "none", "text": "t"}});
    let mut refusals = Vec::new();
    for _ in 0..2 {
        let sent = ada.send("command", wrong.clone()).await?;
        refusals.push(ada.answer(sent).await?["error"].clone());
    }
    assert_eq!(refusals[0], refusals[1], "a repeated rejection is the same rejection");
    let odd = json!({"entity": "room:1", "commandId": "7", "body": post("x")});
    assert_eq!(ada.refused("command", odd).await?, "invalid");
    Ok(())
}

#[tokio::test]
async fn history_pages_both_ways() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut ada = room(&server).await?;
    for n in 0..9 {
        ada.command("room:1", post(&n.to_string())).await?;
    }
    let mut page = async |fields: Value| -> anyhow::Result<(Vec<i64>, bool)> {
        let mut wanted = json!({"entity": "room:1"});
        wanted
            .as_object_mut()
            .context("an object")?
            .extend(fields.as_object().cloned().unwrap_or_default());
        let page = ada.call("history", wanted).await?;
        let seqs = page["changes"].as_array().into_iter().flatten();
        Ok((seqs.filter_map(|c| c["seq"].as_i64()).collect(), page["more"] == true))
    };
    assert_eq!(page(json!({})).await?, ((1..=10).collect(), false));
    assert_eq!(page(json!({"after": 2, "limit": 3})).await?, (vec![3, 4, 5], true));
    assert_eq!(page(json!({"before": 9, "limit": 3})).await?, (vec![6, 7, 8], true));
    assert_eq!(page(json!({"before": 3, "limit": 3})).await?, (vec![1, 2], false));
    assert_eq!(page(json!({"after": 10})).await?, (vec![], false));
    Ok(())
}

#[tokio::test]
async fn signals_presence_and_status_are_live() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut ada = room(&server).await?;
    let mut bob = Client::connect(&server, "bob").await?;
    bob.call("join", json!({"entity": "room:1"})).await?;
    let of_bob = |object: &Value, list: &str| {
        object["presence"][list].as_array().is_some_and(|users| users.contains(&json!("bob")))
    };
    let here = ada.pushed_where(|object| of_bob(object, "joined")).await?;
    assert_eq!(here["entity"], "room:1");

    let typing =
        json!({"op": "signal", "entity": "room:1", "kind": "typing", "data": {"on": true}});
    bob.send_raw(Message::text(typing.to_string())).await?;
    let signal = ada.pushed_where(|object| object.get("signal").is_some()).await?;
    let wanted =
        json!({"entity": "room:1", "signal": "typing", "by": "user:bob", "data": {"on": true}});
    assert_eq!(signal, wanted);

    let status = json!({"status": "busy", "text": "in a meeting"});
    assert_eq!(bob.call("status", status).await?, json!({}));
    let changed = ada.pushed_where(|object| object["type"] == "userStatusChanged").await?;
    let data = json!({"user": "bob", "status": "busy", "text": "in a meeting"});
    assert_eq!(changed, json!({"entity": "room:1", "type": "userStatusChanged", "data": data}));
    assert_eq!(bob.refused("status", json!({"status": "asleep"})).await?, "invalid");

    // One who only looks is not seen.
    let mut eve = Client::connect(&server, "eve").await?;
    eve.call("join", json!({"entity": "room:1", "presence": false})).await?;
    drop(bob);
    let gone = ada.pushed_where(|object| object.get("presence").is_some()).await?;
    assert!(of_bob(&gone, "left"), "{gone}");
    assert_eq!(
        ada.refused("signal", json!({"entity": "room:9", "kind": "typing"})).await?,
        "forbidden"
    );
    Ok(())
}

#[tokio::test]
async fn several_requests_may_come_in_an_array() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut ada = Client::connect(&server, "ada").await?;
    let both = json!([{"id": "a", "op": "ping"}, {"id": 7, "op": "ping"}]);
    ada.send_raw(Message::text(both.to_string())).await?;
    let answers = [ada.next().await?, ada.next().await?];
    assert_eq!((&answers[0]["id"], &answers[1]["id"]), (&json!("a"), &json!(7)));
    assert!(answers.iter().all(|one| one["ok"]["pong"].as_str().is_some_and(|t| t.ends_with('Z'))));
    for bad in [json!(1.5), json!(null), json!({}), json!(true)] {
        let request = json!({"id": bad, "op": "ping"});
        ada.send_raw(Message::text(request.to_string())).await?;
        let answer = ada.next().await?;
        assert_eq!(answer["error"]["code"], "invalid", "id {bad}: {answer}");
        assert!(answer.get("id").is_none());
    }
    Ok(())
}

#[tokio::test]
async fn a_capability_token_opens_what_it_names() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut ada = room(&server).await?;
    ada.command("board:1", json!({"type": "createBoard", "title": "b"})).await?;
    let secret = std::fs::read(server.data.join("secret"))?;
    let exp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() + 60;
    let claims = json!({"sub": "bob", "tenant": "main", "exp": exp,
        "caps": [{"entity": "room:*", "ops": ["join"]}]});
    let key = jsonwebtoken::EncodingKey::from_secret(&secret);
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key)?;
    let mut bob = Client::connect_with(&server, Some(&token)).await?;
    bob.call("join", json!({"entity": "room:1"})).await?;
    assert_eq!(bob.refused("join", json!({"entity": "board:1"})).await?, "forbidden");
    let command = json!({"entity": "room:1", "body": post("x")});
    assert_eq!(bob.refused("command", command).await?, "forbidden");
    assert_eq!(bob.refused("history", json!({"entity": "room:1"})).await?, "forbidden");
    Ok(())
}

/// A socket whose client reads nothing after the handshake.
async fn deaf(server: &TestServer, user: &str) -> anyhow::Result<TcpStream> {
    let token = server.token(user).await?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4_096)?;
    let mut stream = socket.connect(server.address.parse()?).await?;
    let join = json!({"id": 1, "op": "join", "entity": "room:1"}).to_string();
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Authorization: Bearer {token}\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    anyhow::ensure!(&answer == b"HTTP/1.1 101", "{}", String::from_utf8_lossy(&answer));
    // RFC 6455, 5.2: final text frame, masked with zeroes.
    let length = u8::try_from(join.len())?;
    stream.write_all(&[0x81, 0x80 | length, 0, 0, 0, 0]).await?;
    stream.write_all(join.as_bytes()).await?;
    Ok(stream)
}

#[tokio::test]
async fn a_slow_reader_is_closed_and_nobody_waits_for_it() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut ada = room(&server).await?;
    let mut slow = deaf(&server, "bob").await?;
    ada.pushed_where(|object| object["presence"]["joined"] == json!(["bob"])).await?;
    // Far more than its buffer and those of the two kernels' ends hold.
    let text = "x".repeat(9_000);
    for _ in 0..1_500 {
        ada.command("room:1", post(&text)).await?;
        ada.pushed.retain(|object| object.get("presence").is_some());
        if !ada.pushed.is_empty() {
            break;
        }
    }
    let left = ada.pushed_where(|object| object.get("presence").is_some()).await?;
    assert_eq!(left["presence"]["left"], json!(["bob"]), "it is cut");
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(15), slow.read_to_end(&mut rest)).await;
    // The kernel may reset what was never read; then there is no close frame to see.
    if read.is_ok_and(|read| read.is_ok()) {
        let code = rest
            .windows(4)
            .rposition(|bytes| bytes[0] == 0x88 && bytes[2..4] == 4508_u16.to_be_bytes());
        assert!(code.is_some(), "the last frame closes with 4508");
    }
    Ok(())
}

#[tokio::test]
async fn a_frame_that_breaks_the_framing_is_1002() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    for (what, frame) in [
        ("an unmasked frame", &[0x81_u8, 0x01, b'x'][..]),
        ("a reserved bit", &[0xc1, 0x81, 0, 0, 0, 0, b'x'][..]),
        ("a reserved opcode", &[0x83, 0x81, 0, 0, 0, 0, b'x'][..]),
        ("a fragmented ping", &[0x09, 0x80, 0, 0, 0, 0][..]),
        ("a continuation of nothing", &[0x80, 0x81, 0, 0, 0, 0, b'x'][..]),
        ("a length that is not minimal", &[0x81, 0xfe, 0, 1, 0, 0, 0, 0, b'x'][..]),
    ] {
        room(&server).await.ok();
        let mut stream = deaf(&server, "bob").await?;
        stream.write_all(frame).await?;
        let mut all = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut all));
        read.await.context(what)??;
        let code = all
            .windows(4)
            .rposition(|bytes| bytes[0] == 0x88 && bytes[2..4] == 1002_u16.to_be_bytes());
        assert!(code.is_some(), "{what}: no close frame with 1002");
    }
    Ok(())
}

#[tokio::test]
async fn expiry_is_announced_and_a_new_token_keeps_the_socket() -> anyhow::Result<()> {
    let server = TestServer::start_with(Setup::default()).await?;
    let secret = std::fs::read(server.data.join("secret"))?;
    let key = jsonwebtoken::EncodingKey::from_secret(&secret);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let token = |ttl: u64| {
        let claims = json!({"sub": "ada", "tenant": "main", "exp": now + ttl});
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key)
    };
    let mut ada = Client::connect_with(&server, Some(&token(2)?)).await?;
    let expiring = ada.pushed_where(|object| object["type"] == "tokenExpiring").await?;
    assert!(expiring["in"].as_i64().is_some_and(|seconds| seconds <= 60), "{expiring}");
    ada.call("auth", json!({"token": token(600)?})).await?;
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    let started = tokio::time::Instant::now();
    // Past the first token's end and its leeway.
    while started.elapsed() < Duration::from_secs(8) {
        ticks.tick().await;
        ada.call("ping", json!({})).await?;
    }
    Ok(())
}

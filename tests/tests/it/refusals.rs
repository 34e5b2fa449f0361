//! Bad input, each kind answered by the error that names it, and everybody else served meanwhile.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tests::{
    client::{Client, Http, upgrade},
    server::{Setup, TestServer},
};
use tokio_tungstenite::tungstenite::{Bytes, Message};

fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(now).unwrap_or(0) + seconds
}

fn sign(server: &TestServer, claims: &Value) -> anyhow::Result<String> {
    let secret = std::fs::read(server.data.join("secret"))?;
    let key = EncodingKey::from_secret(&secret);
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key)?)
}

#[tokio::test]
async fn requests_that_make_no_sense_name_what_is_wrong() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut ada = Client::connect(&server, "ada").await?;
    ada.send_raw(Message::text("{not json")).await?;
    let error = ada.next().await?;
    assert_eq!(error["error"]["code"], "invalid");
    assert!(error.get("id").is_none());
    for (request, field) in [
        (json!({"id": 1, "op": "fly"}), "op"),
        (json!({"id": 2, "op": "join", "entity": "room:1", "colour": 1}), "colour"),
        (json!({"id": 3, "op": "join", "entity": 7}), "entity"),
        (json!({"id": 4, "op": "join"}), "entity"),
        (json!({"id": 5, "op": "join", "entity": "boat:1"}), "entity"),
        (json!({"id": 6, "op": "command", "entity": "room:1", "body": {"type": "fly"}}), "type"),
        (
            json!({"id": 7, "op": "command", "entity": "room:1", "body": {"type": "post", "texd": "x"}}),
            "texd",
        ),
        (
            json!({"id": 8, "op": "command", "entity": "room:1", "body": {"type": "post", "text": 1}}),
            "text",
        ),
    ] {
        ada.send_raw(Message::text(request.to_string())).await?;
        let answer = ada.answer(request["id"].as_i64().context("an id")?).await?;
        assert_eq!(answer["error"]["code"], "invalid", "{answer}");
        assert_eq!(answer["error"]["errors"][0]["field"], field, "{answer}");
    }
    ada.call("ping", json!({})).await?;
    for _ in 0..10 {
        ada.send_raw(Message::text("[")).await?;
    }
    assert_eq!(ada.close_code().await?, 1008);
    Ok(())
}

#[tokio::test]
async fn frames_that_break_the_rules_close_the_socket_with_their_code() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut bob = Client::connect(&server, "bob").await?;
    for (message, code) in [
        (Message::text("x".repeat(2 << 20)), 1009),
        (Message::binary(Bytes::from_static(b"x")), 1003),
    ] {
        let mut ada = Client::connect(&server, "ada").await?;
        ada.send_raw(message).await?;
        assert_eq!(ada.close_code().await?, code);
        bob.call("ping", json!({})).await?;
    }
    let mut ada = Client::connect(&server, "ada").await?;
    // tungstenite does not look into a frame that is made by hand.
    let bad = tokio_tungstenite::tungstenite::protocol::frame::Frame::message(
        Bytes::from_static(b"\xff\xfe"),
        tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode::Data(
            tokio_tungstenite::tungstenite::protocol::frame::coding::Data::Text,
        ),
        true,
    );
    ada.send_raw(Message::Frame(bad)).await?;
    assert_eq!(ada.close_code().await?, 1007);
    bob.call("ping", json!({})).await?;
    Ok(())
}

#[tokio::test]
async fn tokens_that_do_not_hold_open_nothing() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let good = json!({"sub": "ada", "tenant": "main", "exp": in_seconds(60), "aud": "switchyard"});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let none = {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        format!("{head}.{}.", URL_SAFE_NO_PAD.encode(good.to_string()))
    };
    let wrong_key = EncodingKey::from_secret(b"another secret of thirty-two bytes");
    let bad = [
        ("expired", sign(&server, &with("exp", in_seconds(-60).into()))?),
        ("alg none", none),
        ("wrong key", jsonwebtoken::encode(&Header::new(Algorithm::HS256), &good, &wrong_key)?),
        ("wrong audience", sign(&server, &with("aud", "elsewhere".into()))?),
        ("no name", sign(&server, &with("sub", "a b".into()))?),
        ("garbage", "abc.def.ghi".to_owned()),
    ];
    for (what, token) in &bad {
        assert!(Client::connect_with(&server, Some(token)).await.is_err(), "{what}: handshake");
        let request = reqwest::Client::new().get(server.url("/api/v1/rooms")).bearer_auth(token);
        assert_eq!(request.send().await?.status(), 401, "{what}: HTTP");
        let mut client = Client::connect_with(&server, None).await?;
        assert_eq!(client.refused("auth", json!({"token": token})).await?, "unauthenticated");
        assert_eq!(client.close_code().await?, 4401, "{what}: auth");
    }
    Client::connect_with(&server, Some(&sign(&server, &good)?)).await?;
    // A socket is cut when its token ends; with the clock skew that is forgiven.
    let short = sign(&server, &with("exp", in_seconds(1).into()))?;
    let mut client = Client::connect_with(&server, Some(&short)).await?;
    assert_eq!(client.close_code().await?, 4401);
    Ok(())
}

#[tokio::test]
async fn http_refuses_with_problems() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let http = Http::new(&server, "ada").await?;
    let (status, _) = http.post("/api/v1/boards", json!({"id": "1", "title": "b"})).await?;
    assert_eq!(status, 201);
    let malformed = http.request("POST", "/api/v1/boards").body("{").send().await?;
    assert_eq!(malformed.status(), 400);
    assert_eq!(malformed.headers()["content-type"], "application/problem+json");
    let (status, problem) =
        http.post("/api/v1/boards", json!({"id": "2", "title": "b", "colour": "red"})).await?;
    assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("colour")));
    let large = json!({"title": "x".repeat(2 << 20)});
    assert_eq!(http.post("/api/v1/boards", large).await?.0, 413);
    assert_eq!(http.get("/api/v1/boards/none").await?.0, 404);
    assert_eq!(http.get("/api/v1/boards/a%20b").await?.0, 404);
    assert_eq!(http.get("/api/v1/boats/1").await?.0, 404);
    assert_eq!(http.get("/../Cargo.toml").await?.0, 404);
    assert_eq!(http.get("/%2e%2e/Cargo.toml").await?.0, 404);
    let commands = "/api/v1/boards/1/commands";
    let add = json!({"type": "addTask", "title": "t"});
    let stale = http.request("POST", commands).header("if-match", "\"9\"").json(&add);
    assert_eq!(stale.send().await?.status(), 412);
    let odd = http.request("POST", commands).header("idempotency-key", "x").json(&add);
    assert_eq!(odd.send().await?.status(), 422);
    let foreign = upgrade(&server).header("origin", "https://evil.example");
    assert_eq!(foreign.send().await?.status(), 403);
    Ok(())
}

#[tokio::test]
async fn another_tenant_sees_nothing() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut ada = Client::connect(&server, "ada").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    let claims = json!({"sub": "ada", "tenant": "other", "exp": in_seconds(600)});
    let mut eve = Client::connect_with(&server, Some(&sign(&server, &claims)?)).await?;
    let entity = json!({"entity": "room:1"});
    assert_eq!(eve.refused("join", entity.clone()).await?, "not_found");
    assert_eq!(eve.refused("history", entity).await?, "not_found");
    let post = json!({"entity": "room:1", "body": {"type": "post", "text": "x"}});
    assert_eq!(eve.refused("command", post).await?, "not_found");
    Ok(())
}

#[tokio::test]
async fn limits_refuse_and_say_when_to_come_back() -> anyhow::Result<()> {
    let server =
        TestServer::start_with(Setup::default().with("LIMITS__COMMANDS_PER_MINUTE", "50")).await?;
    let mut ada = Client::connect(&server, "ada").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    for n in 0..49 {
        ada.command("room:1", json!({"type": "post", "text": n.to_string()})).await?;
    }
    let post = json!({"entity": "room:1", "body": {"type": "post", "text": "one more"}});
    let id = ada.send("command", post).await?;
    let answer = ada.answer(id).await?;
    assert_eq!(answer["error"]["code"], "rate_limited");
    assert!(answer["error"]["retryAfter"].as_f64().is_some_and(|seconds| seconds > 0.0));
    let mut bob = Client::connect(&server, "bob").await?;
    bob.command("room:1", json!({"type": "post", "text": "hi"})).await?;
    Ok(())
}

#[tokio::test]
async fn a_drain_tells_everybody_and_ends_well() -> anyhow::Result<()> {
    let mut server = TestServer::start().await?;
    let mut ada = Client::connect(&server, "ada").await?;
    let stopping = tokio::time::timeout(Duration::from_secs(30), server.terminate());
    let (status, code) = tokio::join!(stopping, async {
        ada.pushed_where(|object| object["type"] == "drain").await?;
        ada.close_code().await
    });
    assert_eq!(code?, 1001);
    assert_eq!(status??.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_drain_answers_what_is_on_its_way() -> anyhow::Result<()> {
    let mut server = TestServer::start().await?;
    let mut ada = Client::connect(&server, "ada").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    let mut ids = Vec::new();
    for number in 0..40 {
        let body = json!({"type": "post", "text": number.to_string()});
        ids.push(ada.send("command", json!({"entity": "room:1", "body": body})).await?);
    }
    let stopping = tokio::time::timeout(Duration::from_secs(30), server.terminate());
    let (status, answers) = tokio::join!(stopping, async {
        for id in ids {
            ensure!(ada.answer(id).await?["ok"]["seq"].is_i64(), "{id} is answered");
        }
        ada.close_code().await
    });
    assert_eq!(answers?, 1001);
    assert_eq!(status??.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn who_comes_to_a_full_house_is_served_but_not_shown() -> anyhow::Result<()> {
    let server =
        TestServer::start_with(Setup::default().with("LIMITS__PEOPLE_PRESENT", "2")).await?;
    let join = json!({"entity": "room:1"});
    let of_room = |object: &Value| object["entity"] == "room:1" && !object["presence"].is_null();
    let mut ada = Client::connect(&server, "ada").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    let mut shown = Vec::new();
    let mut bob = Client::connect(&server, "bob").await?;
    let mut eve = Client::connect(&server, "eve").await?;
    for client in [&mut ada, &mut bob, &mut eve] {
        client.call("join", join.clone()).await?;
        shown.push(client.pushed_where(of_room).await?["presence"]["joined"].clone());
    }
    assert_eq!(shown, [json!(["ada"]), json!(["ada", "bob"]), json!(["ada", "bob"])]);
    // Changes come all the same, and a second socket of somebody shown changes nothing.
    bob.command("room:1", json!({"type": "post", "text": "hi"})).await?;
    assert_eq!(eve.change("room:1").await?["data"]["text"], "hi");
    let mut again = Client::connect(&server, "ada").await?;
    again.call("join", join.clone()).await?;
    assert_eq!(again.pushed_where(of_room).await?["presence"]["joined"], json!(["ada", "bob"]));
    // When somebody has gone there is room: nobody was told of eve before.
    bob.call("leave", join.clone()).await?;
    let left = |object: &Value| of_room(object) && object["presence"]["left"] == json!(["bob"]);
    ada.pushed_where(left).await?;
    eve.call("leave", join.clone()).await?;
    eve.call("join", join).await?;
    let told = ada.pushed_where(of_room).await?;
    assert_eq!(told["presence"], json!({"joined": ["eve"], "left": []}));
    Ok(())
}

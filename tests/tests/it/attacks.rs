//! What is done to a node on purpose: each kind is refused in its own way, and others are served meanwhile.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::{
    client::{Client, Http},
    server::{PATIENCE, Setup, TestServer},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

/// A connection on which bytes are sent as they are.
async fn raw(server: &TestServer, bytes: &[u8]) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(&server.address).await?;
    stream.write_all(bytes).await?;
    Ok(stream)
}

/// Everything that is answered until the node ends the connection.
async fn answered(mut stream: TcpStream) -> anyhow::Result<String> {
    let mut answer = Vec::new();
    // A connection that is reset has said what it had to say.
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.context("the connection does not end")?.ok();
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The status of the first answer on a connection.
async fn status(stream: &mut TcpStream) -> anyhow::Result<u16> {
    let mut head = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut head)).await.context("no answer")??;
    let head = std::str::from_utf8(&head)?;
    Ok(head.strip_prefix("HTTP/1.1 ").with_context(|| head.to_owned())?.parse()?)
}

/// A handshake with further headers.
fn handshake(server: &TestServer, path: &str, headers: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n",
        server.address
    )
    .into_bytes()
}

#[tokio::test]
async fn pages_of_elsewhere_open_no_socket() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let own = format!("http://{}", server.address);
    for (origin, wanted) in [
        (own.clone(), 101),
        ("http://evil.example".to_owned(), 403),
        ("null".to_owned(), 403),
        (format!("{own}.evil.example"), 403),
        (format!("{own}@evil.example"), 403),
        (format!("http://evil.example/{}", server.address), 403),
    ] {
        let bytes = handshake(&server, "/ws", &format!("Origin: {origin}\r\n"));
        let status = status(&mut raw(&server, &bytes).await?).await?;
        assert_eq!(status, wanted, "{origin}");
    }
    Ok(())
}

#[tokio::test]
async fn handshakes_that_are_none_are_refused_with_a_problem() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let good = String::from_utf8(handshake(&server, "/ws", ""))?;
    for (what, request, wanted) in [
        ("another path", good.replace("/ws", "/api/v1/rooms/1"), "404"),
        ("no echo", good.replace("/ws", "/ws/echo"), "404"),
        ("an older version", good.replace("Version: 13", "Version: 8"), "400"),
        ("no key", good.replace("Sec-WebSocket-Key", "X-Key"), "400"),
        ("a short key", good.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"), "400"),
        ("another method", good.replace("GET", "DELETE"), "426"),
        ("no upgrade", good.replace("Upgrade: websocket\r\n", "Connection: close\r\n"), "426"),
        (
            "a forged token",
            good.replace("\r\n\r\n", "\r\nAuthorization: Bearer a.b.c\r\n\r\n"),
            "401",
        ),
    ] {
        let answer = answered(raw(&server, request.as_bytes()).await?).await?;
        ensure!(answer.starts_with(&format!("HTTP/1.1 {wanted} ")), "{what}: {answer}");
        let head = answer.to_ascii_lowercase();
        ensure!(head.contains("content-type: application/problem+json"), "{what}: {answer}");
        ensure!(head.contains("x-content-type-options: nosniff"), "{what}: {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").context("a body")?;
        let problem: Value = serde_json::from_str(body).context(body.to_owned())?;
        ensure!(problem["code"].is_string() && problem["detail"].is_string(), "{what}: {body}");
    }
    Ok(())
}

#[tokio::test]
async fn compressed_frames_are_not_offered_and_not_taken() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let bytes = handshake(&server, "/ws", "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    let mut stream = raw(&server, &bytes).await?;
    // 1 MB of zeroes, deflated, with RSV1: what would be inflated is never looked at.
    let bomb = [0xec, 0xc1, 0x01, 0x01, 0, 0, 0, 0x80, 0x90, 0xfe, 0xaf, 0xee, 0x08];
    // A final text frame, masked with zeroes.
    stream.write_all(&[0xc1, 0x80 | u8::try_from(bomb.len())?, 0, 0, 0, 0]).await?;
    stream.write_all(&bomb).await?;
    let answer = answered(stream).await?;
    ensure!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    ensure!(!answer.to_ascii_lowercase().contains("sec-websocket-extensions"), "{answer}");
    ensure!(answer.contains("not the WebSocket protocol"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn fragments_count_together() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut bob = Client::connect(&server, "bob").await?;
    let mut ada = Client::connect(&server, "ada").await?;
    let fragment = |opcode, size: usize, is_last| {
        Message::Frame(Frame::message(vec![b' '; size], OpCode::Data(opcode), is_last))
    };
    // A request in a thousand pieces is a request.
    ada.send_raw(fragment(Data::Text, 1, false)).await?;
    for _ in 0..1_000 {
        ada.send_raw(fragment(Data::Continue, 1, false)).await?;
    }
    let ping = Frame::message(r#"{"id":900,"op":"ping"}"#, OpCode::Data(Data::Continue), true);
    ada.send_raw(Message::Frame(ping)).await?;
    assert!(ada.answer(900).await?["ok"]["pong"].is_string());
    ada.send_raw(fragment(Data::Text, 600 << 10, false)).await?;
    ada.send_raw(fragment(Data::Continue, 600 << 10, false)).await?;
    assert_eq!(ada.close_code().await?, 1009);
    bob.call("ping", json!({})).await?;
    Ok(())
}

#[tokio::test]
async fn who_sends_no_head_is_cut_and_others_are_served() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut slow = Vec::new();
    for _ in 0..100 {
        slow.push(raw(&server, b"GET /ws HTTP/1.1\r\nHost: a\r\nX-Slow: ").await?);
        slow.push(raw(&server, b"").await?);
    }
    let mut ada = Client::connect(&server, "ada").await?;
    ada.call("ping", json!({})).await?;
    for mut stream in slow {
        // Each further byte does not give it more time.
        stream.write_all(b"x").await.ok();
        let answer = answered(stream).await?;
        ensure!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    ada.call("ping", json!({})).await?;
    Ok(())
}

#[tokio::test]
async fn an_address_has_so_many_sockets_that_say_nobody() -> anyhow::Result<()> {
    let setup = Setup::default().with("LIMITS__UNAUTHENTICATED_SOCKETS", "20");
    let server = TestServer::start_with(setup).await?;
    let plain = handshake(&server, "/ws", "");
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut stream = raw(&server, &plain).await?;
        assert_eq!(status(&mut stream).await?, 101);
        held.push(stream);
    }
    let refused = answered(raw(&server, &plain).await?).await?;
    ensure!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    ensure!(refused.to_ascii_lowercase().contains("retry-after: 10"), "{refused}");
    // Who says who they are is let in, also from there.
    let mut ada = Client::connect(&server, "ada").await?;
    ada.call("ping", json!({})).await?;
    drop(held);
    let freed = async {
        while status(&mut raw(&server, &plain).await?).await? != 101 {
            sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, freed).await.context("what is closed is not given back")?
}

#[tokio::test]
async fn who_goes_on_over_a_limit_is_closed() -> anyhow::Result<()> {
    let setup = Setup::default().with("LIMITS__JOINS_PER_SECOND", "32");
    let server = TestServer::start_with(setup).await?;
    let mut bob = Client::connect(&server, "bob").await?;
    bob.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    let mut ada = Client::connect(&server, "ada").await?;
    let mut last = 0;
    for _ in 0..40 {
        last = ada.send("join", json!({"entity": "room:1"})).await?;
    }
    let refused = ada.answer(last).await?;
    assert_eq!(refused["error"]["code"], "rate_limited", "{refused}");
    assert!(refused["error"]["retryAfter"].as_f64().is_some_and(|after| after > 0.0));
    // 10,000 of them, though nothing is to be had: closed long before the last.
    for _ in 0..10_000 {
        if ada.send("join", json!({"entity": "room:1"})).await.is_err() {
            break;
        }
    }
    assert_eq!(ada.close_code().await?, 4429);
    bob.command("room:1", json!({"type": "post", "text": "still here"})).await?;
    Ok(())
}

#[tokio::test]
async fn paths_and_headers_that_play_tricks_reach_nothing() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    for path in [
        "/../Cargo.toml",
        "/parts/../../Cargo.toml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/parts/..%2f..%2fCargo.toml",
        "//etc/passwd",
        "/api/v1/rooms/..%2f..%2fmetrics",
        "/bridges/files/..%2f..%2fsecret/x",
        "/api/v1/rooms/1%00.txt",
        "/app.js%00.html",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = answered(raw(&server, request.as_bytes()).await?).await?;
        let code = answer.get(9..12).context(answer.clone())?;
        ensure!(["400", "401", "404"].contains(&code), "{path}: {answer}");
    }
    for (what, head) in [
        ("two lengths", "Content-Length: 3\r\nContent-Length: 4\r\n"),
        ("a length and chunks", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
        ("a length below zero", "Content-Length: -1\r\n"),
        ("a bare line feed in a name", "X-A\nB: 1\r\n"),
        ("a control character in a name", "X\u{1}: 1\r\n"),
    ] {
        let request =
            format!("POST /api/v1/rooms HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{head}\r\nabc");
        let answer = answered(raw(&server, request.as_bytes()).await?).await?;
        ensure!(answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
        ensure!(answer.matches("HTTP/1.1 ").count() == 1, "{what}: {answer}");
    }
    // What a client names comes back in no header of the answer.
    let http = Http::new(&server, "ada").await?;
    let split = json!({"id": "a\r\nSet-Cookie: x=1", "title": "r"});
    let (status, problem) = http.post("/api/v1/rooms", split).await?;
    assert_eq!((status, problem["code"].as_str()), (422, Some("invalid")), "{problem}");
    assert_eq!(http.get("/api/v1/rooms?limit=1").await?.0, 200);
    Ok(())
}

#[tokio::test]
async fn a_revoked_token_is_cut_and_opens_nothing() -> anyhow::Result<()> {
    let mut server = TestServer::start().await?;
    let token = server.token("ada").await?;
    let mut ada = Client::connect_with(&server, Some(&token)).await?;
    let mut bob = Client::connect(&server, "bob").await?;
    let admin = server.run(&["token", "--sub", "root", "--roles", "admin"]).await?;
    let admin = String::from_utf8(admin.stdout)?;
    let ask = async |method: &str, path: &str, token: &str| -> anyhow::Result<(u16, Value)> {
        let url = server.url(&format!("/api/v1/revocations{path}"));
        let request = reqwest::Client::new().request(method.parse()?, url);
        let answer = request.bearer_auth(token.trim()).send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_str(&answer.text().await?).unwrap_or_default()))
    };
    assert_eq!(ask("PUT", "/bob", &token).await?.0, 403, "who is no admin revokes nobody");
    assert_eq!(ask("PUT", "/a%20b", &admin).await?.0, 422);
    let (status, revoked) = ask("PUT", "/ada", &admin).await?;
    assert_eq!((status, &revoked["user"]), (200, &json!("ada")), "{revoked}");
    assert_eq!(ada.close_code().await?, 4403);
    assert_eq!(ask("GET", "", &token).await?.0, 401);
    assert_eq!(ask("GET", "", &admin).await?.1["revocations"], json!([revoked]));
    assert!(Client::connect_with(&server, Some(&token)).await.is_err());
    let mut later = Client::connect_with(&server, None).await?;
    later.send("auth", json!({"token": token})).await?;
    assert_eq!(later.close_code().await?, 4401);
    bob.call("ping", json!({})).await?;

    assert!(server.terminate().await?.success());
    server.restart().await?;
    let refused = Client::connect_with(&server, Some(&token)).await;
    if let Ok(mut early) = refused {
        // It came before the node had looked.
        assert_eq!(early.close_code().await?, 4403);
    }
    let url = server.url("/api/v1/revocations/ada");
    let taken = reqwest::Client::new().delete(url).bearer_auth(admin.trim()).send().await?;
    assert_eq!(taken.status().as_u16(), 204);
    Client::connect_with(&server, Some(&token)).await?.call("ping", json!({})).await?;
    Ok(())
}

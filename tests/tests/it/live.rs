//! A chat and a card move appear live; offline and back resumes without loss.

use serde_json::json;
use tests::{client::Client, server::TestServer};

#[tokio::test]
async fn a_message_reaches_the_other_and_its_sender_before_the_answer() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut ada = Client::connect(&server, "ada").await?;
    let mut bob = Client::connect(&server, "bob").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    ada.call("join", json!({"entity": "room:1"})).await?;
    let joined = bob.call("join", json!({"entity": "room:1"})).await?;
    assert_eq!(joined["seq"], 1);
    assert_eq!(joined["state"]["title"], "r");
    let answer = ada.command("room:1", json!({"type": "post", "text": "**hi**"})).await?;
    assert_eq!(answer["seq"], 2);
    let own = ada.pushed.iter().find(|object| object["seq"] == 2).cloned();
    assert_eq!(own.as_ref(), Some(&answer["changes"][0]), "the push comes before the answer");
    assert_eq!(Some(bob.change("room:1").await?), own);
    Ok(())
}

#[tokio::test]
async fn offline_and_back_resumes_without_loss() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut ada = Client::connect(&server, "ada").await?;
    ada.command("board:1", json!({"type": "createBoard", "title": "b"})).await?;
    let mut bob = Client::connect(&server, "bob").await?;
    let seq = bob.call("join", json!({"entity": "board:1"})).await?["seq"].clone();
    drop(bob);
    for n in 0..300 {
        let body = json!({"type": "addTask", "task": format!("t{n}"), "title": "t"});
        ada.command("board:1", body).await?;
    }
    let mut bob = Client::connect(&server, "bob").await?;
    let back = bob.call("join", json!({"entity": "board:1", "since": seq})).await?;
    assert_eq!(back["recovered"], true);
    let seqs: Vec<_> =
        back["changes"].as_array().into_iter().flatten().map(|c| c["seq"].as_i64()).collect();
    assert_eq!(seqs, (2..=301).map(Some).collect::<Vec<_>>());
    ada.command("board:1", json!({"type": "moveTask", "task": "t0", "column": "done"})).await?;
    assert_eq!(bob.change("board:1").await?["seq"], 302);
    Ok(())
}

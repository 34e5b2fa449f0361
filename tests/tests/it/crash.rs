//! `kill -9` under load, again and again: what was acknowledged is there once, and whoever was
//! connected loses and doubles nothing.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::{
    client::{Client, PATIENCE},
    server::{Setup, TestServer},
};
use tokio::sync::watch;

use crate::workers::{Scene, Worker, check, create_entities};

const ROUNDS: usize = 20;
const WRITERS: usize = 4;
/// Commands that a round lets be acknowledged before the kill; it varies so that kills hit
/// different moments.
const FEWEST_A_ROUND: usize = 100;
const MOST_A_ROUND: usize = 500;

/// `switchyard verify` finds no difference.
pub(crate) async fn verify(server: &TestServer) -> anyhow::Result<()> {
    let output = server.run(&["verify"]).await?;
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "verify: {}: {said}{complained}", output.status);
    ensure!(said.contains(" 0 differences"), "verify says {said}{complained}");
    Ok(())
}

#[tokio::test]
async fn twenty_kills_under_load_lose_and_double_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = TestServer::start_in(folder.path(), Setup::default()).await?;
    create_entities(&server, "").await?;
    let (scene, scenes) = watch::channel(Scene { address: server.address.clone(), stop: false });
    let (acknowledged, mut counted) = watch::channel(0);
    let mut running = Vec::new();
    for n in 0..WRITERS {
        let name = format!("writer{n}");
        running.push(Worker::new(&server, &name, "", scenes.clone(), acknowledged.clone()).await?);
    }
    running.push(Worker::new(&server, "watcher", "", scenes, acknowledged).await?);
    let running: Vec<_> = running.into_iter().map(|worker| tokio::spawn(worker.run())).collect();

    let started = std::time::Instant::now();
    for round in 0..ROUNDS {
        let more = FEWEST_A_ROUND + (round * 67) % (MOST_A_ROUND - FEWEST_A_ROUND);
        let target = *counted.borrow_and_update() + more;
        let reached = tokio::time::timeout(PATIENCE, counted.wait_for(|count| *count >= target));
        if !matches!(reached.await, Ok(Ok(_))) {
            for worker in running.into_iter().filter(|worker| worker.is_finished()) {
                worker.await?.map(|_| ()).with_context(|| format!("round {round}"))?;
            }
            anyhow::bail!("round {round}: {} of {target} acknowledged", *counted.borrow());
        }
        server.kill().await?;
        verify(&server).await.with_context(|| format!("after kill {round}"))?;
        server.restart().await.with_context(|| format!("after kill {round}"))?;
        scene.send_modify(|scene| scene.address.clone_from(&server.address));
    }
    let target = *counted.borrow_and_update() + FEWEST_A_ROUND;
    tokio::time::timeout(PATIENCE, counted.wait_for(|count| *count >= target)).await??;
    scene.send_modify(|scene| scene.stop = true);
    let mut workers = Vec::new();
    for worker in running {
        workers.push(worker.await??);
    }
    eprintln!("{} commands, {ROUNDS} kills, {:?}", *counted.borrow(), started.elapsed());
    for (worker, _) in &workers {
        assert!(worker.resumed > ROUNDS / 2, "{} came back {} times", worker.user, worker.resumed);
    }
    check(&server, "", &mut workers).await?;
    drop(workers);
    assert!(server.terminate().await?.success());
    verify(&server).await
}

#[tokio::test]
async fn a_graceful_restart_loses_nothing() -> anyhow::Result<()> {
    let mut server = TestServer::start().await?;
    create_entities(&server, "").await?;
    let mut ada = Client::connect(&server, "ada").await?;
    ada.call("join", json!({"entity": "room:1"})).await?;
    let mut expected = Vec::new();
    for n in 0..100 {
        let post = json!({"type": "post", "text": n.to_string()});
        expected.push(ada.command("room:1", post).await?["changes"][0].clone());
    }
    assert!(server.terminate().await?.success(), "SIGTERM ends with 0");
    let told = ada.pushed_where(|object| object["type"] == "drain").await?;
    assert!(told["reconnectIn"].is_array(), "{told}");
    assert_eq!(ada.close_code().await?, 1001);
    verify(&server).await?;
    server.restart().await?;
    let mut ada = Client::connect(&server, "ada").await?;
    let back = ada.call("join", json!({"entity": "room:1", "since": 1})).await?;
    assert_eq!(back["recovered"], true);
    assert_eq!(back["changes"], Value::Array(expected));
    assert_eq!(ada.command("room:1", json!({"type": "post", "text": "on"})).await?["seq"], 102);
    verify(&server).await
}

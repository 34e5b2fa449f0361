//! Each rule switched off on real services, one at a time: the faults that are survived with it
//! (`faults.rs`) must be noticed without it, by the clients or by `verify`.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tests::{client::Client, proxy::Held, server::Setup, services::Services};

use crate::{cluster::ALONE, faults::SILENCE, load::Load};

/// Times that a fault is made; whether it meets the rule depends on the moment.
const ATTEMPTS: usize = 4;

/// What meets the rule.
#[derive(Debug, Clone, Copy)]
enum Trial {
    /// Owners are killed.
    Kill,
    /// An owner's appends are held back until somebody else owns its partitions.
    LateAppends,
    /// An append fails.
    LostAppend,
}

/// Whether the fault is noticed with the rule off.
async fn notices(rule: &str, trial: Trial) -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    for attempt in 0..ATTEMPTS {
        let services = Services::start().await?;
        match attempt_once(&services, rule, trial, attempt).await {
            Ok(()) => eprintln!("{rule} off, attempt {attempt}: nothing noticed"),
            Err(found) => {
                eprintln!("{rule} off: {found:#}");
                return Ok(());
            }
        }
    }
    anyhow::bail!("{rule} is off and nobody notices")
}

async fn attempt_once(
    services: &Services,
    rule: &str,
    trial: Trial,
    attempt: usize,
) -> anyhow::Result<()> {
    let off = || Setup::default().faulty(rule);
    let (mut first, second) =
        tokio::try_join!(services.node_with("n1", off()), services.node_with("n2", off()))?;
    let mut load = Load::start(&[&first, &second], &format!("m{attempt}-")).await?;
    load.progress(200).await?;
    match trial {
        Trial::Kill => {
            // The store must be behind when an owner takes over: nobody can write it meanwhile.
            let store = sqlx::PgPool::connect(&services.postgres).await?;
            let mut frozen = store.begin().await?;
            sqlx::raw_sql("LOCK TABLE checkpoints IN EXCLUSIVE MODE").execute(&mut *frozen).await?;
            load.progress(100).await?;
            first.kill().await?;
            load.move_to(0, &second);
            load.progress(200).await?;
            frozen.rollback().await?;
        }
        Trial::LateAppends => {
            let cut_off = off().with("KAFKA__BROKERS", &services.proxy.address());
            let third = services.node_with("n3", cut_off).await?;
            // Whether something is on its way when the door closes is a matter of milliseconds.
            for _ in 0..4 {
                load.progress(300).await?;
                services.proxy.hold(Held::ToServer);
                tokio::time::sleep(SILENCE).await;
                services.proxy.hold(Held::Nothing);
            }
            load.progress(300).await?;
            drop(third);
        }
        Trial::LostAppend => {
            let faulty = Setup::default().faulty(&format!("{rule},lose-append:60"));
            let third = services.node_with("n3", faulty).await?;
            load.progress(400).await?;
            drop(third);
        }
    }
    load.finish(services, &second).await.map(|_| ())
}

#[tokio::test]
async fn r2_fence() -> anyhow::Result<()> {
    notices("R2", Trial::Kill).await
}

#[tokio::test]
async fn r3_reader_rule() -> anyhow::Result<()> {
    notices("R3", Trial::LateAppends).await
}

#[tokio::test]
async fn r4_start_position() -> anyhow::Result<()> {
    notices("R4", Trial::Kill).await
}

#[tokio::test]
async fn r6_fail_stop() -> anyhow::Result<()> {
    notices("R6", Trial::LostAppend).await
}

/// A projector that stops just before it commits, and goes on when others have long projected its
/// partitions: no checkpoint goes back.
async fn late_commit(faults: &str) -> anyhow::Result<()> {
    let services = Services::start().await?;
    let (first, second) = tokio::try_join!(services.node("n1"), services.node("n2"))?;
    let third = services.node_with("n3", Setup::default().faulty(faults)).await?;
    let pid = third.pid().context("it runs")?;
    let mut load = Load::start(&[&first, &second], "r7-").await?;
    let stopped = async || {
        let status = tokio::fs::read_to_string(format!("/proc/{pid}/stat")).await?;
        anyhow::Ok(status.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T")))
    };
    let started = std::time::Instant::now();
    while !stopped().await? {
        anyhow::ensure!(started.elapsed() < Duration::from_secs(60), "it projects nothing");
        load.progress(20).await?;
    }
    tokio::time::sleep(SILENCE).await;
    load.progress(300).await?;
    load.finish(&services, &second).await.context("before it goes on")?;
    let store = sqlx::PgPool::connect(&services.postgres).await?;
    let checkpoints = async || -> Result<Vec<(String, i32, i64)>, sqlx::Error> {
        let ask = r#"SELECT kind, partition, "offset" FROM checkpoints WHERE partition >= 0
                     ORDER BY kind, partition"#;
        sqlx::query_as(ask).fetch_all(&store).await
    };
    let before = checkpoints().await?;
    services.signal(pid, "CONT").await?;
    // What it had begun to write it writes at once, if it may.
    let started = std::time::Instant::now();
    while started.elapsed() < Duration::from_secs(5) {
        let now = checkpoints().await?;
        let went_back = before.iter().zip(&now).find(|((.., before), (.., now))| now < before);
        if let Some(((kind, partition, from), (.., to))) = went_back {
            anyhow::bail!("the checkpoint of {kind}/{partition} goes from {from} back to {to}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    services.verify().await
}

#[tokio::test]
async fn r7_compare_and_set() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    // By the fortieth, commits are those of the load, whose partitions go on elsewhere.
    late_commit("before-commit:40").await.context("with R7 it writes nothing")?;
    for attempt in 0..3 * ATTEMPTS {
        match late_commit("R7,before-commit:40").await {
            Ok(()) => eprintln!("R7 off, attempt {attempt}: nothing noticed"),
            Err(found) if format!("{found:#}").contains("back to") => {
                eprintln!("R7 off: {found:#}");
                return Ok(());
            }
            Err(broken) => return Err(broken),
        }
    }
    anyhow::bail!("R7 is off and nobody notices")
}

/// A post on a partition that is not its room's, as a producer with another partitioner makes it:
/// whether it is in the room afterwards, and log and store agree.
async fn misplaced(setup: Setup) -> anyhow::Result<()> {
    let services = Services::start().await?;
    let node = services.node_with("n1", setup).await?;
    let mut ada = Client::connect(&node, "ada").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    ada.call("join", json!({"entity": "room:1"})).await?;
    services.append_command("room:1", json!({"type": "post", "text": "hi"}), 1).await?;
    let posted = ada.change("room:1").await?;
    anyhow::ensure!(posted["data"]["text"] == "hi", "{posted}");
    services.verify().await
}

#[tokio::test]
async fn r10_right_partition() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    misplaced(Setup::default()).await.context("with R10 it is sent to the right one")?;
    let found = misplaced(Setup::default().faulty("R10")).await;
    let found = found.err().context("R10 is off and nobody notices")?;
    eprintln!("R10 off: {found:#}");
    Ok(())
}

//! The data folder: in use, full, damaged, of another shape. A clean refusal, never wrong data.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
};

use serde_json::json;
use tests::{
    client::{Client, Http},
    server::{Setup, TestServer, program, run},
};

/// Starts `serve`, which is expected to refuse.
async fn refused(data: &Path, variables: &[(&str, &str)]) -> anyhow::Result<Output> {
    let mut command = tokio::process::Command::new(program());
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    command.envs(variables.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    Ok(tokio::time::timeout(tests::server::PATIENCE, command.output()).await??)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with a board of some tasks in it, its node stopped.
async fn filled() -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let mut server = TestServer::start_in(folder.path(), Setup::default()).await?;
    let mut ada = Client::connect(&server, "ada").await?;
    ada.command("board:1", json!({"type": "createBoard", "title": "b"})).await?;
    for n in 0..200 {
        ada.command("board:1", json!({"type": "addTask", "title": format!("task {n}")})).await?;
    }
    drop(ada);
    server.terminate().await?;
    Ok(folder)
}

#[tokio::test]
async fn a_second_process_is_refused() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let second = refused(&server.data, &[]).await?;
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("in use by another process"), "{}", said(&second));
    Http::new(&server, "ada").await?.get("/api/v1/rooms").await?;
    Ok(())
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let small = Setup::default().with("LOG__MAX_BYTES", "400000");
    let mut server = TestServer::start_in(folder.path(), small).await?;
    let mut ada = Client::connect(&server, "ada").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    let mut seq = 1;
    let refusal = loop {
        let body = json!({"type": "post", "text": "x".repeat(2_000)});
        let id = ada.send("command", json!({"entity": "room:1", "body": body})).await?;
        let answer = ada.answer(id).await?;
        match answer["ok"]["seq"].as_i64() {
            Some(next) => seq = next,
            None => break answer,
        }
        assert!(seq < 1_000, "the disk is never full");
    };
    let code = refusal["error"]["code"].as_str().unwrap_or_default().to_owned();
    assert!(["unavailable", "timeout"].contains(&code.as_str()), "{refusal}");
    server.kill().await?;
    assert!(run(folder.path(), &["verify"]).await?.status.success());
    let server = TestServer::start_in(folder.path(), Setup::default()).await?;
    let mut ada = Client::connect(&server, "ada").await?;
    let joined = ada.call("join", json!({"entity": "room:1"})).await?;
    assert!(joined["seq"].as_i64() >= Some(seq), "an acknowledged message is gone");
    ada.command("room:1", json!({"type": "post", "text": "room again"})).await?;
    Ok(())
}

#[tokio::test]
async fn damaged_files_are_refused_or_named() -> anyhow::Result<()> {
    let good = filled().await?;
    for file in ["log.db", "store.db"] {
        let bytes = fs::read(good.path().join(file))?;
        let damage = |bytes: &[u8]| -> anyhow::Result<tempfile::TempDir> {
            let copy = tempfile::tempdir()?;
            for name in ["log.db", "store.db", "secret"] {
                fs::copy(good.path().join(name), copy.path().join(name))?;
            }
            fs::write(copy.path().join(file), bytes)?;
            Ok(copy)
        };
        let truncated = damage(&bytes[..bytes.len() / 2])?;
        let output = refused(truncated.path(), &[]).await?;
        assert_eq!(output.status.code(), Some(1), "{file} truncated: {}", said(&output));
        assert!(said(&output).contains(file), "{}", said(&output));

        let mut header = bytes.clone();
        header[20] ^= 0x40;
        header[3] ^= 0x01;
        let output = refused(damage(&header)?.path(), &[]).await?;
        assert_eq!(output.status.code(), Some(1), "{file} header: {}", said(&output));
        assert!(said(&output).contains(file), "{}", said(&output));

        // A bit of a record: found by its checksum.
        let place = bytes.windows(8).rposition(|window| window == b"task 150").unwrap_or(0);
        assert!(place > 0, "{file} holds the task's title");
        let mut flipped = bytes.clone();
        flipped[place] ^= 0x01;
        let output = run(damage(&flipped)?.path(), &["verify"]).await?;
        assert_eq!(output.status.code(), Some(1), "{file} flipped: {}", said(&output));
        assert!(said(&output).contains("checksum"), "{}", said(&output));
    }
    Ok(())
}

#[tokio::test]
async fn the_configuration_is_held_to_its_word() -> anyhow::Result<()> {
    let folder = filled().await?;
    for (variables, named) in [
        (vec![("SWITCHYARD__LOG__PARTITIONS", "8")], "partitions"),
        (vec![("SWITCHYARD__LIMITS__COMANDS", "8")], "comands"),
        (vec![("SWITCHYARD__PROFILE", "production")], "auth.secret"),
        (
            vec![
                ("SWITCHYARD__PROFILE", "production"),
                ("SWITCHYARD__AUTH__SECRET", "0123456789abcdef0123456789abcdef"),
                ("SWITCHYARD__ORIGINS__0", "*"),
            ],
            "origins",
        ),
        (vec![("SWITCHYARD__AUTH__SECRET", "short")], "auth.secret"),
    ] {
        let output = refused(folder.path(), &variables).await?;
        assert_eq!(output.status.code(), Some(1), "{variables:?}: {}", said(&output));
        assert!(said(&output).contains(named), "{variables:?}: {}", said(&output));
    }
    Ok(())
}

#[tokio::test]
async fn the_other_commands_do_what_they_say() -> anyhow::Result<()> {
    let folder = filled().await?;
    let out = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let inspected = run(folder.path(), &["inspect", "board:1", "--at-seq", "3", "--json"]).await?;
    let inspected: serde_json::Value = serde_json::from_slice(&inspected.stdout)?;
    assert_eq!(inspected["seq"], 3);
    assert_eq!(inspected["state"]["title"], "b");
    let exported = run(folder.path(), &["export", "board:1"]).await?;
    assert_eq!(out(&exported).lines().count(), 202, "a head line and 201 changes");
    let token = run(folder.path(), &["token", "--sub", "ada"]).await?;
    assert_eq!(out(&token).trim().split('.').count(), 3);
    let missing = run(folder.path(), &["inspect", "board:none"]).await?;
    assert_eq!(missing.status.code(), Some(1));
    assert!(said(&missing).contains("board:none"));
    let wrong = run(folder.path(), &["inspect", "boat:1"]).await?;
    assert_eq!(wrong.status.code(), Some(2));
    for document in ["openapi", "asyncapi", "avro"] {
        let output =
            tokio::process::Command::new(program()).args(["schema", document]).output().await?;
        serde_json::from_slice::<serde_json::Value>(&output.stdout)?;
    }
    Ok(())
}

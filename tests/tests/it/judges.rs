//! Libraries that others wrote for the platforms, in Python, read what is rendered and write what is
//! parsed: `tests/judges`.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};
use bridges::{
    Names,
    codec::{self, Outgoing},
    slack,
};
use schemas::{
    content::{Node, NodeType},
    room::Platform,
};
use serde_json::{Map, json};
use tests::server::program;
use tokio::process::Command;

/// All judges must be done within this, fetching their libraries included.
const JUDGED_WITHIN: Duration = Duration::from_secs(400);

/// Only ada is known, under this id.
struct Ada(&'static str);

impl Names for Ada {
    fn here(&self, platform_user: &str) -> Option<String> {
        (platform_user == self.0).then(|| "ada".to_owned())
    }

    fn there(&self, user: &str) -> Option<String> {
        (user == "ada").then(|| self.0.to_owned())
    }
}

fn ada(platform: Platform) -> Ada {
    Ada(match platform {
        Platform::Slack => "U012ABCDEF",
        Platform::Teams => "29:1-abc_def",
        Platform::Discord => "80351110224678912",
        Platform::Telegram => "123456789",
    })
}

#[tokio::test]
async fn third_parties_read_what_is_rendered() -> anyhow::Result<()> {
    // What the program shows only with an identity table.
    let mention = |user: &str| Node::target(NodeType::Mention, user);
    let content = vec![mention("ada"), Node::text(" "), mention("bob")];
    let content = vec![Node::of(NodeType::Paragraph, content)];
    let message = Outgoing { content, channel: "-100".into(), ..Outgoing::default() };
    let (mut calls, mut ids) = (Map::new(), Map::new());
    for platform in Platform::ALL {
        let names = ada(platform);
        let rendered = codec::render(platform, &message, &names)?;
        calls.insert(platform.to_string(), serde_json::to_value(rendered)?);
        ids.insert(platform.to_string(), names.0.into());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (secret, body) = ("a signing secret", r#"{"type":"event_callback","say":"é👩‍🚀"}"#);
    let signed = json!({"secret": secret, "timestamp": now.to_string(), "body": body});
    let folder = tempfile::tempdir()?;
    let mapped = folder.path().join("mapped.json");
    let written = json!({"calls": calls, "ids": ids, "signed": signed});
    std::fs::write(&mapped, written.to_string())?;

    let mut judges = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("judges/run"));
    judges.arg(program()).arg(&mapped).kill_on_drop(true);
    let output = tokio::time::timeout(JUDGED_WITHIN, judges.output());
    let output = output.await.context("the judges do not end")??;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout)?;
    let signature = said.lines().find_map(|line| line.strip_prefix("signature "));
    let signature = signature.with_context(|| format!("a signature in {said}"))?;
    let at = i64::try_from(now)?;
    slack::verify(secret.as_bytes(), &now.to_string(), signature, body.as_bytes(), at)?;
    Ok(())
}

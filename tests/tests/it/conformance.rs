//! The WebSocket protocol, by the cases of an Autobahn runner that others wrote: `tests/judges`.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use tests::server::{Setup, TestServer};
use tokio::process::Command;

/// All cases must be done within this, fetching the runner included.
const JUDGED_WITHIN: Duration = Duration::from_secs(400);
/// So many there are without those of compression, which is not offered.
const CASES: usize = 301;

#[tokio::test]
async fn every_case_of_the_protocol_passes() -> anyhow::Result<()> {
    let server = TestServer::start_with(Setup::default().argument("--ws-echo")).await?;
    let reports = tempfile::tempdir()?;
    let mut runner = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("judges/run"));
    runner.arg("websocket").arg(format!("{}/ws/echo", server.address)).arg(reports.path());
    let output = tokio::time::timeout(JUDGED_WITHIN, runner.kill_on_drop(true).output());
    let output = output.await.context("the runner does not end")??;
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    let run = said.lines().find_map(|line| line.strip_prefix("wrote reports for "));
    let run = run.and_then(|line| line.split(' ').next()?.parse::<usize>().ok());
    ensure!(run.is_some_and(|run| run >= CASES), "{said}");
    Ok(())
}

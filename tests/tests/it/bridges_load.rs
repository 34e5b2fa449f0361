//! Bursts through the bridges. `SWITCHYARD_BURST` says how many messages, `SWITCHYARD_PROGRAM` names
//! another build of the program to measure; what is measured is printed and never asserted.

use std::{
    collections::HashMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use bridges::simulator::{Faults, Simulators, channel};
use futures_util::{StreamExt as _, stream};
use schemas::room::Platform;
use serde_json::json;
use tests::{
    client::{Client, Http},
    server::{PATIENCE, Setup, TestServer},
};
use tokio::time::sleep;

use crate::{
    bridges::{linked, said, setup},
    crash::verify,
};

/// Requests of a platform that are under way at a time.
const UNDER_WAY: usize = 64;

fn burst() -> usize {
    let said = std::env::var("SWITCHYARD_BURST").ok().and_then(|number| number.parse().ok());
    said.unwrap_or(200)
}

fn program(setup: Setup) -> Setup {
    match std::env::var("SWITCHYARD_PROGRAM") {
        Ok(path) => setup.program(Path::new(&path)),
        Err(_) => setup,
    }
}

/// How long messages took to a channel, each from when it was sent; sorted.
fn delays(simulators: &Simulators, to: Platform, sent: &[(String, Instant)]) -> Vec<Duration> {
    let shown = simulators.kept(to, channel(to));
    let arrived: HashMap<_, _> =
        shown.iter().map(|kept| (word_of(&said(to, kept)), kept.at)).collect();
    let mut took: Vec<_> = sent
        .iter()
        .filter_map(|(word, at)| Some(arrived.get(word)?.saturating_duration_since(*at)))
        .collect();
    took.sort_unstable();
    took
}

/// The last word of a message.
fn word_of(text: &str) -> String {
    text.split_whitespace().next_back().unwrap_or_default().to_owned()
}

/// Posts one message after the other; says when each was sent.
async fn post(
    ada: &mut Client,
    words: impl Iterator<Item = String>,
) -> anyhow::Result<Vec<(String, Instant)>> {
    let mut sent = Vec::new();
    for word in words {
        let at = Instant::now();
        ada.command("room:1", json!({"type": "post", "text": word})).await?;
        sent.push((word, at));
    }
    Ok(sent)
}

/// Waits until a channel shows so many messages; as long as more come, it is waited on.
async fn all_arrive(
    simulators: &Simulators,
    platform: Platform,
    wanted: usize,
) -> anyhow::Result<()> {
    let (mut shown, mut since) = (0, Instant::now());
    loop {
        let now = simulators.kept(platform, channel(platform)).len();
        if now >= wanted {
            return Ok(());
        }
        if now > shown {
            (shown, since) = (now, Instant::now());
        }
        ensure!(since.elapsed() < PATIENCE, "{platform} shows {now} of {wanted}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_failing_platform_gets_everything_in_order_and_stalls_nobody() -> anyhow::Result<()> {
    let burst = burst();
    let simulators = Simulators::start()?;
    let mut server = TestServer::start_with(program(setup(&simulators))).await?;
    let mut ada = Client::connect(&server, "ada").await?;
    linked(&mut ada, "room:1").await?;
    let quiet = burst / 10;
    let before = post(&mut ada, (0..quiet).map(|number| format!("q{number}."))).await?;
    for to in [Platform::Telegram, Platform::Slack] {
        all_arrive(&simulators, to, quiet).await?;
    }
    simulators.fail(Platform::Slack, Faults::Half);
    simulators.fail(Platform::Discord, Faults::Credentials);
    let within = post(&mut ada, (0..burst).map(|number| format!("n{number}."))).await?;
    let wanted: Vec<_> = before.iter().chain(&within).map(|(word, _)| word.clone()).collect();
    for to in [Platform::Telegram, Platform::Slack] {
        all_arrive(&simulators, to, wanted.len()).await?;
        let shown = simulators.kept(to, channel(to));
        let words: Vec<_> = shown.iter().map(|kept| word_of(&said(to, kept))).collect();
        assert!(words == wanted, "{to} shows other messages, or in another order: {words:?}");
    }
    for (what, sent) in [("before", &before), ("within", &within)] {
        let took = delays(&simulators, Platform::Telegram, sent);
        assert_eq!(took.len(), sent.len());
        let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
        println!("telegram {what} the burst of {burst}: p50 {p50:?}, p99 {p99:?}");
    }
    let http = Http::new(&server, "ada").await?;
    let state = http.get("/api/v1/rooms/1").await?.1["state"].clone();
    let health = |platform: &str| {
        let links = state["links"].as_array().into_iter().flatten();
        let mut found = links.filter(|link| link["platform"] == platform);
        found.next().map(|link| link["health"].clone()).unwrap_or_default()
    };
    assert_eq!(health("telegram"), "connected");
    assert_eq!(health("discord"), "credentialsRefused", "{state}");
    assert!(server.terminate().await?.success());
    verify(&server).await
}

#[tokio::test]
async fn a_burst_from_one_platform_reaches_the_others() -> anyhow::Result<()> {
    let burst = burst();
    let simulators = Simulators::start()?;
    let mut server = TestServer::start_with(program(setup(&simulators))).await?;
    let mut ada = Client::connect(&server, "ada").await?;
    linked(&mut ada, "room:1").await?;
    let people = Arc::new(simulators.people(&server.address));
    let from = Platform::Telegram;
    let started = Instant::now();
    let send = |number: usize| {
        let people = people.clone();
        async move {
            let word = format!("n{number}.");
            let id = people.new_id(from);
            let posted = people.posted(from, channel(from), (&id, "eve"), &word, None);
            let at = Instant::now();
            people.send(from, &posted).await?;
            anyhow::Ok((word, at))
        }
    };
    let sent: Vec<_> = stream::iter(0..burst).map(send).buffer_unordered(UNDER_WAY).collect().await;
    let sent = sent.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let taken = started.elapsed();
    for to in [Platform::Discord, Platform::Slack] {
        all_arrive(&simulators, to, burst).await?;
        let shown = simulators.kept(to, channel(to));
        let last = shown.iter().map(|kept| kept.at).max().unwrap_or(started);
        let took = delays(&simulators, to, &sent);
        ensure!(took.len() == burst && shown.len() == burst, "{to}: {} of {burst}", took.len());
        let a_second = burst as f64 / last.saturating_duration_since(started).as_secs_f64();
        println!(
            "{from} to {to}: {burst} messages, {a_second:.0}/s, webhooks taken within {taken:?}, \
             p50 {:?}, p99 {:?}",
            took[burst / 2],
            took[burst * 99 / 100]
        );
    }
    assert!(server.terminate().await?.success());
    verify(&server).await
}

//! Rooms linked to the four platforms, against simulators of them.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context as _, ensure};
use bridges::simulator::{Faults, Kept, NotTaken, People, Simulators, channel, workspace};
use schemas::room::Platform;
use serde_json::{Value, json};
use tests::{
    client::{Client, Http},
    server::{PATIENCE, Setup, TestServer, run},
    services::Services,
};
use tokio::{
    io::AsyncBufReadExt as _,
    time::{Duration, sleep},
};

use crate::{cluster::ALONE, crash::verify};

fn variable(platform: &str, name: &str) -> String {
    format!("BRIDGES__{}__{}", platform.to_uppercase(), name.to_uppercase())
}

fn variables(simulators: &Simulators) -> impl Iterator<Item = (String, String)> {
    let settings = simulators.settings().into_iter();
    settings.map(|(platform, name, value)| (variable(platform, name), value))
}

pub(crate) fn setup(simulators: &Simulators) -> Setup {
    variables(simulators).fold(Setup::default(), |setup, (name, value)| setup.with(&name, &value))
}

/// A room that is linked to a channel of each platform.
pub(crate) async fn linked(ada: &mut Client, room: &str) -> anyhow::Result<()> {
    ada.command(room, json!({"type": "createRoom", "title": "r"})).await?;
    for platform in Platform::ALL {
        let link = json!({"type": "link", "platform": platform,
            "workspace": workspace(platform), "channel": channel(platform)});
        ada.command(room, link).await?;
    }
    Ok(())
}

/// What a message says on a platform, whatever its form.
pub(crate) fn said(platform: Platform, kept: &Kept) -> String {
    match platform {
        Platform::Slack | Platform::Teams | Platform::Telegram => {
            kept.body["text"].as_str().unwrap_or_default().to_owned()
        }
        Platform::Discord => kept.body["content"].as_str().unwrap_or_default().to_owned(),
    }
}

/// Waits until a channel holds a message that fits.
pub(crate) async fn seen(
    simulators: &Simulators,
    platform: Platform,
    what: &str,
    fits: impl Fn(&Kept) -> bool,
) -> anyhow::Result<Kept> {
    let started = Instant::now();
    loop {
        let kept = simulators.kept(platform, channel(platform));
        if let Some(found) = kept.iter().find(|kept| fits(kept)) {
            return Ok(found.clone());
        }
        let held = kept.iter().map(|kept| said(platform, kept)).collect::<Vec<_>>();
        ensure!(started.elapsed() < PATIENCE, "{platform} does not show {what}: {held:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for a message in the room.
pub(crate) async fn message(
    http: &Http,
    room: &str,
    what: &str,
    fits: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    let started = Instant::now();
    loop {
        let state = http.get(&format!("/api/v1/rooms/{room}")).await?.1["state"].clone();
        let messages = state["messages"].as_array().cloned().unwrap_or_default();
        if let Some(found) = messages.iter().find(|message| fits(message)) {
            return Ok(found.clone());
        }
        ensure!(started.elapsed() < PATIENCE, "the room does not show {what}: {state}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Bold, a link, code and the like, as somebody writes them on a platform.
fn rich(platform: Platform, word: &str) -> String {
    match platform {
        Platform::Slack => format!("*{word}* <https://e.org/|link> `code`"),
        Platform::Teams => {
            format!("<p><b>{word}</b> <a href=\"https://e.org/\">link</a> <code>code</code></p>")
        }
        Platform::Discord => format!("**{word}** [link](https://e.org/) `code`"),
        Platform::Telegram => format!("{word} link code"),
    }
}

#[tokio::test]
async fn a_message_and_what_follows_it_cross_to_every_platform() -> anyhow::Result<()> {
    let simulators = Simulators::start()?;
    let mut server = TestServer::start_with(setup(&simulators)).await?;
    let people = simulators.people(&server.address);
    let mut ada = Client::connect(&server, "ada").await?;
    linked(&mut ada, "room:1").await?;
    let http = Http::new(&server, "ada").await?;

    // Teams' bots answer where they were written to.
    for from in Platform::ALL {
        let id = people.new_id(from);
        let markup = rich(from, &format!("from-{from}"));
        people.send(from, &people.posted(from, channel(from), (&id, "eve"), &markup, None)).await?;
        // The same again does no harm.
        people.send(from, &people.posted(from, channel(from), (&id, "eve"), &markup, None)).await?;
        let word = format!("from-{from}");
        let here = message(&http, "1", &word, |message| {
            message["text"].as_str().is_some_and(|text| text.contains(&word))
        })
        .await?;
        assert_eq!(here["origin"]["platform"], from.as_str());
        assert_eq!(here["author"], format!("bridge:{from}"));
        assert_eq!(here["origin"]["author"], "eve");
        for to in Platform::ALL.into_iter().filter(|to| *to != from && knows_us(*to, from)) {
            let copy = seen(&simulators, to, &word, |kept| said(to, kept).contains(&word)).await?;
            let text = copy.body.to_string();
            ensure!(text.contains("link") && text.contains("code"), "{to}: {text}");
            ensure!(from == Platform::Telegram || text.contains("https://e.org/"), "{to}: {text}");
        }
        let edited = rich(from, &format!("edited-{from}"));
        people.send(from, &people.edited(from, channel(from), (&id, "eve"), &edited)).await?;
        let word = format!("edited-{from}");
        for to in Platform::ALL.into_iter().filter(|to| *to != from && knows_us(*to, from)) {
            let copy = seen(&simulators, to, &word, |kept| said(to, kept).contains(&word)).await?;
            assert_eq!(copy.edits, 1, "{to}");
        }
        let message = here["id"].clone();
        ada.command("room:1", json!({"type": "react", "message": message, "emoji": "🎉"})).await?;
    }
    // Each once, whatever was sent twice.
    for to in Platform::ALL {
        let shown = simulators.kept(to, channel(to));
        for from in Platform::ALL.into_iter().filter(|from| *from != to && knows_us(to, *from)) {
            let word = format!("edited-{from}");
            let times = shown.iter().filter(|kept| said(to, kept).contains(&word)).count();
            assert_eq!(times, 1, "{to} shows {word}");
        }
    }

    // After a restart the same messages are still known.
    server.kill().await?;
    server.restart().await?;
    let mut ada = Client::connect(&server, "ada").await?;
    let posted = ada
        .command("room:1", json!({"type": "post", "message": "m", "text": "before the edit"}))
        .await?;
    assert_eq!(posted["changes"][0]["type"], "messagePosted");
    for to in Platform::ALL {
        seen(&simulators, to, "the post", |kept| said(to, kept).contains("before the edit"))
            .await?;
    }
    server.kill().await?;
    server.restart().await?;
    let mut ada = Client::connect(&server, "ada").await?;
    ada.command("room:1", json!({"type": "edit", "message": "m", "text": "behind it"})).await?;
    ada.command("room:1", json!({"type": "react", "message": "m", "emoji": "🎉"})).await?;
    for to in Platform::ALL {
        let copy = seen(&simulators, to, "the edit", |kept| {
            said(to, kept).contains("behind it")
                && (to == Platform::Teams || kept.reactions.len() == 1)
        })
        .await?;
        assert_eq!(copy.edits, 1, "{to}");
    }
    ada.command("room:1", json!({"type": "delete", "message": "m"})).await?;
    for to in Platform::ALL {
        seen(&simulators, to, "the deletion", |kept| {
            said(to, kept).contains("behind it") && kept.deleted
        })
        .await?;
    }
    assert!(server.terminate().await?.success());
    verify(&server).await
}

/// Teams' bots can write only where they were written to; the first that writes is Slack's eve.
fn knows_us(to: Platform, from: Platform) -> bool {
    to != Platform::Teams || from != Platform::Slack
}

/// Who is answered 401.
async fn refused(
    people: &People,
    platform: Platform,
    body: &Value,
    headers: &[(&str, String)],
) -> anyhow::Result<()> {
    match people.send_with(platform, body.to_string(), headers).await {
        Err(NotTaken::Status { status: 401, .. }) => Ok(()),
        other => anyhow::bail!("{platform} {headers:?}: {other:?}"),
    }
}

#[tokio::test]
async fn who_is_not_the_platform_is_refused_without_effect() -> anyhow::Result<()> {
    let simulators = Simulators::start()?;
    let mut server = TestServer::start_with(setup(&simulators)).await?;
    let people = simulators.people(&server.address);
    let mut ada = Client::connect(&server, "ada").await?;
    linked(&mut ada, "room:1").await?;
    let payload =
        |platform| people.posted(platform, channel(platform), ("17", "eve"), "forged", None);

    let body = payload(Platform::Slack);
    let mut headers = people.slack_headers(&body.to_string());
    refused(&people, Platform::Slack, &json!({"altered": 1}), &headers).await?;
    refused(&people, Platform::Slack, &body, &headers[..1]).await?;
    headers[0].1 = "1".into();
    refused(&people, Platform::Slack, &body, &headers).await?;

    let body = payload(Platform::Telegram);
    refused(&people, Platform::Telegram, &body, &[]).await?;
    let wrong = [("x-telegram-bot-api-secret-token", "telegram-secre".to_owned())];
    refused(&people, Platform::Telegram, &body, &wrong).await?;

    let body = payload(Platform::Teams);
    refused(&people, Platform::Teams, &body, &[]).await?;
    for claims in [
        json!({"iss": "https://evil.example"}),
        json!({"aud": "another-app"}),
        json!({"exp": 1_000_000}),
        json!({"nbf": 9_999_999_999_u64}),
        json!({"serviceurl": "https://evil.example"}),
    ] {
        let bearer = format!("Bearer {}", people.teams_token_with(claims)?);
        refused(&people, Platform::Teams, &body, &[("authorization", bearer)]).await?;
    }
    let bearer = ("authorization", format!("Bearer {}", people.teams_token()?));
    let mut elsewhere = body.clone();
    elsewhere["channelId"] = "emulator".into();
    refused(&people, Platform::Teams, &elsewhere, &[bearer]).await?;
    // An unsigned token, and one signed with the public key as a secret.
    for token in [
        "eyJhbGciOiJub25lIiwia2lkIjoic2ltdWxhdGVkLWtleSJ9.e30.",
        "eyJhbGciOiJIUzI1NiIsImtpZCI6InNpbXVsYXRlZC1rZXkifQ.e30.AAAA",
    ] {
        let bearer = ("authorization", format!("Bearer {token}"));
        refused(&people, Platform::Teams, &body, &[bearer]).await?;
    }
    let hmac = ("authorization", "HMAC AAAA".to_owned());
    refused(&people, Platform::Teams, &body, &[hmac]).await?;

    let body = json!({"type": 1, "id": "1", "application_id": "2", "token": "t"});
    refused(&people, Platform::Discord, &body, &[]).await?;
    assert_eq!(people.send(Platform::Discord, &body).await?, json!({"type": 1}));
    let challenge = json!({"type": "url_verification", "challenge": "c"});
    assert_eq!(people.send(Platform::Slack, &challenge).await?, json!({"challenge": "c"}));

    // The last is behind all of them.
    let sent =
        people.posted(Platform::Slack, channel(Platform::Slack), ("18", "eve"), "true", None);
    people.send(Platform::Slack, &sent).await?;
    let http = Http::new(&server, "ada").await?;
    message(&http, "1", "the true one", |message| message["text"] == "true").await?;
    let state = http.get("/api/v1/rooms/1").await?.1;
    assert_eq!(state["state"]["messages"].as_array().context("messages")?.len(), 1, "{state}");
    assert!(server.terminate().await?.success());
    Ok(())
}

#[tokio::test]
async fn the_demonstration_shows_one_conversation_in_five_windows() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = tokio::process::Command::new(tests::server::program());
    command.args(["serve", "--demo", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path());
    command.stderr(std::process::Stdio::piped()).kill_on_drop(true);
    let mut node = command.spawn()?;
    let mut lines = tokio::io::BufReader::new(node.stderr.take().context("stderr")?).lines();
    let address = loop {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await??.context("a line")?;
        if let Some(address) = line.strip_prefix("the demonstration is at ") {
            break address.to_owned();
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let client = reqwest::Client::new();
    let page = client.get(&address).send().await?.text().await?;
    assert!(page.contains("/demo.js"), "{page}");
    for window in ["room", "slack", "teams", "discord", "telegram"] {
        let said = json!({"window": window, "text": format!("from {window}.")});
        let answer = client.post(format!("{address}demo/say")).json(&said).send().await?;
        ensure!(answer.status().is_success(), "{window}: {}", answer.text().await?);
    }
    let started = Instant::now();
    loop {
        let windows: Value =
            client.get(format!("{address}demo/windows")).send().await?.json().await?;
        let all = ["room", "slack", "teams", "discord", "telegram"];
        let shows = |window: &str, from: &str| {
            let messages = windows[window].as_array().into_iter().flatten();
            let text = format!("from {from}.");
            messages.filter(|message| message["text"].to_string().contains(&text)).count() == 1
        };
        if all.iter().all(|window| all.iter().all(|from| shows(window, from))) {
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "{windows}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn credentials_are_checked() -> anyhow::Result<()> {
    let simulators = Simulators::start()?;
    let folder = tempfile::tempdir()?;
    let check = async || {
        let mut command = tokio::process::Command::new(tests::server::program());
        command.args(["bridges", "check", "--data"]).arg(folder.path());
        for (name, value) in variables(&simulators) {
            command.env(format!("SWITCHYARD__{name}"), value);
        }
        command.output().await
    };
    let held = check().await?;
    let said = String::from_utf8_lossy(&held.stdout).into_owned();
    assert!(held.status.success() && said.lines().count() == 4, "{said}");
    simulators.fail(Platform::Slack, Faults::Credentials);
    let refused = check().await?;
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.lines().any(|line| line.starts_with("slack") && line.contains("401")), "{said}");
    Ok(())
}

#[tokio::test]
async fn what_a_platform_refuses_is_kept_and_sent_again() -> anyhow::Result<()> {
    let simulators = Simulators::start()?;
    let mut server = TestServer::start_with(setup(&simulators)).await?;
    let mut ada = Client::connect(&server, "ada").await?;
    linked(&mut ada, "room:1").await?;
    simulators.fail(Platform::Slack, Faults::Refusing);
    let post = |text: &str| json!({"type": "post", "message": "m", "text": text});
    ada.command("room:1", post("refused at first")).await?;
    ada.command("room:1", json!({"type": "post", "text": "the next"})).await?;
    let fits = |kept: &Kept| said(Platform::Telegram, kept).contains("the next");
    seen(&simulators, Platform::Telegram, "the next", fits).await?;
    let started = Instant::now();
    while simulators.calls(Platform::Slack) < 2 {
        ensure!(started.elapsed() < PATIENCE, "slack is not asked");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(server.terminate().await?.success());
    simulators.fail(Platform::Slack, Faults::None);
    let listed = run(&server.data, &["dlq", "list"]).await?;
    let listed = String::from_utf8(listed.stdout)?;
    let first = listed.lines().next().context("a letter")?;
    assert!(first.contains("invalid_blocks"), "{listed}");
    let id = first.split_whitespace().next().context("an id")?;
    let retried = run(&server.data, &["dlq", "retry", id]).await?;
    assert!(retried.status.success(), "{}", String::from_utf8_lossy(&retried.stderr));
    server.restart().await?;
    let fits = |kept: &Kept| said(Platform::Slack, kept).contains("refused at first");
    seen(&simulators, Platform::Slack, "what was refused", fits).await?;
    // It is known from then on.
    let mut ada = Client::connect(&server, "ada").await?;
    ada.command("room:1", json!({"type": "edit", "message": "m", "text": "edited"})).await?;
    let fits = |kept: &Kept| said(Platform::Slack, kept).contains("edited") && kept.edits == 1;
    seen(&simulators, Platform::Slack, "the edit", fits).await?;
    assert!(server.terminate().await?.success());
    Ok(())
}

#[tokio::test]
async fn rooms_of_another_tenant_do_not_reach_the_channels() -> anyhow::Result<()> {
    let simulators = Simulators::start()?;
    let mut server =
        TestServer::start_with(setup(&simulators).with("BRIDGES__SLACK__TENANTS", "other")).await?;
    let people = simulators.people(&server.address);
    let mut ada = Client::connect(&server, "ada").await?;
    linked(&mut ada, "room:1").await?;
    let barred = json!({"type": "link", "platform": "slack", "workspace": "T", "channel": "C|x"});
    assert_eq!(
        ada.refused("command", json!({"entity": "room:1", "body": barred})).await?,
        "invalid"
    );
    let http = Http::new(&server, "ada").await?;
    let started = Instant::now();
    loop {
        let state = http.get("/api/v1/rooms/1").await?.1["state"].clone();
        let mut links = state["links"].as_array().into_iter().flatten();
        let slack = links.find(|link| link["platform"] == "slack").context("a link")?;
        if slack["health"] == "credentialsRefused" {
            break;
        }
        ensure!(started.elapsed() < PATIENCE, "{state}");
        sleep(Duration::from_millis(20)).await;
    }
    let secret =
        people.posted(Platform::Slack, channel(Platform::Slack), ("17", "eve"), "secret", None);
    people.send(Platform::Slack, &secret).await?;
    let open =
        people.posted(Platform::Telegram, channel(Platform::Telegram), ("18", "eve"), "open", None);
    people.send(Platform::Telegram, &open).await?;
    message(&http, "1", "the open one", |message| message["text"] == "open").await?;
    ada.command("room:1", json!({"type": "post", "text": "ours"})).await?;
    let fits = |kept: &Kept| said(Platform::Discord, kept).contains("ours");
    seen(&simulators, Platform::Discord, "ours", fits).await?;
    let state = http.get("/api/v1/rooms/1").await?.1.to_string();
    assert!(!state.contains("secret"), "{state}");
    assert!(simulators.kept(Platform::Slack, channel(Platform::Slack)).is_empty());
    assert!(server.terminate().await?.success());
    Ok(())
}

#[tokio::test]
async fn nodes_share_the_bridges_and_take_over_from_each_other() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let simulators = Simulators::start()?;
    let mut services = Services::start().await?;
    services.further.extend(variables(&simulators));
    let made = services.run(&["topics", "create"]).await?;
    assert!(String::from_utf8(made.stdout)?.contains("bridge.inbound"));
    let (mut first, second) = tokio::try_join!(services.node("n1"), services.node("n2"))?;
    let mut ada = Client::connect(&first, "ada").await?;
    linked(&mut ada, "room:1").await?;
    let say = async |node: &TestServer, from: Platform, word: &str| {
        let people = simulators.people(&node.address);
        let id = people.new_id(from);
        let posted = people.posted(from, channel(from), (&id, "eve"), word, None);
        people.send(from, &posted).await
    };
    let once = async |word: &str, from: Platform| -> anyhow::Result<()> {
        for to in [Platform::Slack, Platform::Discord, Platform::Telegram] {
            if to != from {
                seen(&simulators, to, word, |kept| said(to, kept).contains(word)).await?;
                let shown = simulators.kept(to, channel(to));
                let times = shown.iter().filter(|kept| said(to, kept).contains(word)).count();
                assert_eq!(times, 1, "{to} shows {word}");
            }
        }
        Ok(())
    };
    say(&second, Platform::Slack, "over the second").await?;
    once("over the second", Platform::Slack).await?;
    say(&first, Platform::Discord, "over the gateway").await?;
    once("over the gateway", Platform::Discord).await?;
    first.kill().await?;
    say(&second, Platform::Telegram, "after a death").await?;
    say(&second, Platform::Discord, "resumed").await?;
    once("after a death", Platform::Telegram).await?;
    once("resumed", Platform::Discord).await?;
    services.verify().await
}

#[tokio::test]
async fn twenty_kills_lose_nothing_and_double_nothing_that_comes_in() -> anyhow::Result<()> {
    const KILLS: usize = 20;
    const EACH: usize = 10;
    let simulators = Simulators::start()?;
    let mut server = TestServer::start_with(setup(&simulators)).await?;
    let mut ada = Client::connect(&server, "ada").await?;
    linked(&mut ada, "room:1").await?;
    let typing = simulators.people(&server.address).typing_in_teams(channel(Platform::Teams), "1");
    simulators.people(&server.address).send(Platform::Teams, &typing).await?;
    let mut written: BTreeMap<Platform, Vec<String>> = BTreeMap::new();
    for kill in 0..KILLS {
        let people = simulators.people(&server.address);
        let from = if kill % 2 == 0 { Platform::Slack } else { Platform::Telegram };
        for number in 0..EACH {
            let word = format!("w{}.", kill * EACH + number);
            let id = people.new_id(from);
            let sent = people.posted(from, channel(from), (&id, "eve"), &word, None);
            people.send(from, &sent).await?;
            written.entry(from).or_default().push(word);
        }
        server.kill().await?;
        server.restart().await?;
    }
    let http = Http::new(&server, "ada").await?;
    for (from, words) in &written {
        let last = words.last().context("some")?;
        message(&http, "1", last, |message| message["text"] == **last).await?;
        let state = http.get("/api/v1/rooms/1").await?.1["state"].clone();
        let messages = state["messages"].as_array().context("messages")?;
        let here: Vec<_> = messages
            .iter()
            .filter(|message| message["origin"]["platform"] == from.as_str())
            .filter_map(|message| message["text"].as_str())
            .collect();
        assert_eq!(here, *words, "from {from}: each once and in order");
    }
    for to in Platform::ALL {
        let others = written.iter().filter(|(from, _)| **from != to);
        let all: Vec<_> = others.flat_map(|(_, words)| words).collect();
        for word in &all {
            seen(&simulators, to, word, |kept| said(to, kept).contains(*word)).await?;
        }
        let shown = simulators.kept(to, channel(to));
        let texts: Vec<_> = shown.iter().map(|kept| said(to, kept)).collect();
        let times = |word: &str| texts.iter().filter(|text| text.contains(word)).count();
        let doubled = all.iter().filter(|word| times(word) > 1).count();
        println!("{to}: {doubled} of {} doubled by {KILLS} kills", all.len());
        let is_found_again = matches!(to, Platform::Discord | Platform::Slack);
        assert!(doubled == 0 || !is_found_again, "{to} knows what it was sent: {doubled} doubled");
    }
    assert!(server.terminate().await?.success());
    verify(&server).await
}

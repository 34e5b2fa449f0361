//! The ways in that need no address of ours: Telegram's long polling and Slack's Socket Mode.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use bridges::simulator::{NotTaken, People, Simulators, channel, workspace};
use schemas::room::Platform;
use serde_json::{Value, json};
use tests::{
    client::{Client, Http},
    server::{PATIENCE, TestServer},
};
use tokio::time::{Duration, sleep};

use crate::{
    bridges::{linked, message, setup},
    crash::verify,
};

/// Those that are connected to, and do not send by themselves.
const ASKED: [Platform; 2] = [Platform::Slack, Platform::Telegram];

fn simulators() -> anyhow::Result<Simulators> {
    let simulators = Simulators::start()?;
    simulators.use_polling();
    simulators.use_socket_mode();
    Ok(simulators)
}

async fn say(people: &People, platform: Platform, word: &str) -> anyhow::Result<()> {
    let id = people.new_id(platform);
    let posted = people.posted(platform, channel(platform), (&id, "eve"), word, None);
    people.send(platform, &posted).await?;
    Ok(())
}

async fn until(what: &str, holds: impl Fn() -> bool) -> anyhow::Result<()> {
    let started = Instant::now();
    while !holds() {
        ensure!(started.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// What the room shows of a platform, in its order.
async fn shown(http: &Http, platform: Platform) -> anyhow::Result<Vec<String>> {
    let state = http.get("/api/v1/rooms/1").await?.1["state"].clone();
    let messages = state["messages"].as_array().context("messages")?;
    let from = |message: &&Value| message["origin"]["platform"] == platform.as_str();
    let text = |message: &Value| message["text"].as_str().map(str::to_owned);
    Ok(messages.iter().filter(from).filter_map(text).collect())
}

#[tokio::test]
async fn what_is_fetched_arrives_once_and_in_order_across_kills() -> anyhow::Result<()> {
    const KILLS: usize = 4;
    const EACH: usize = 12;
    /// Of the acknowledgements of each round so many are lost.
    const LOST: usize = 3;
    let word = |platform: Platform, number: usize| format!("{platform}-{number}.");
    let simulators = simulators()?;
    let mut server = TestServer::start_with(setup(&simulators)).await?;
    let mut ada = Client::connect(&server, "ada").await?;
    linked(&mut ada, "room:1").await?;
    for kill in 0..KILLS {
        let people = simulators.people(&server.address);
        let http = Http::new(&server, "ada").await?;
        simulators.lose_acknowledgements(LOST);
        let first = kill * EACH;
        let numbers = first..first + EACH - LOST;
        for number in numbers {
            for platform in ASKED {
                say(&people, platform, &word(platform, number)).await?;
            }
        }
        // Some is in the room, more is on its way, and of Slack's nothing of this is acknowledged.
        let last = word(Platform::Slack, first + LOST - 1);
        message(&http, "1", &last, |message| message["text"] == *last).await?;
        server.kill().await?;
        simulators.lose_acknowledgements(0);
        // Nobody is there to take this.
        for number in first + EACH - LOST..first + EACH {
            for platform in ASKED {
                say(&people, platform, &word(platform, number)).await?;
            }
        }
        server.restart().await?;
    }
    let http = Http::new(&server, "ada").await?;
    for platform in ASKED {
        let all: Vec<_> = (0..KILLS * EACH).map(|number| word(platform, number)).collect();
        let last = all.last().context("some")?;
        message(&http, "1", last, |message| message["text"] == **last).await?;
        assert_eq!(shown(&http, platform).await?, all, "each once and in order");
    }
    until("slack's envelopes are acknowledged", || simulators.sockets().unacknowledged == 0)
        .await
        .with_context(|| format!("{:?}", simulators.sockets()))?;
    until("telegram's updates are confirmed", || simulators.unconfirmed() == 0).await?;
    let resent = simulators.sockets().resent;
    ensure!(resent >= u64::try_from(KILLS * LOST)?, "only {resent} were sent again");
    assert!(server.terminate().await?.success());
    verify(&server).await
}

#[tokio::test]
async fn the_ways_survive_refreshes_other_pollers_and_forged_webhooks() -> anyhow::Result<()> {
    let simulators = simulators()?;
    let mut server = TestServer::start_with(setup(&simulators)).await?;
    let mut ada = Client::connect(&server, "ada").await?;
    linked(&mut ada, "room:1").await?;
    let http = Http::new(&server, "ada").await?;
    let people = simulators.people(&server.address);
    let said = async |platform: Platform, word: &str| {
        say(&people, platform, word).await?;
        message(&http, "1", word, |message| message["text"] == word).await.map(drop)
    };

    said(Platform::Slack, "before.").await?;
    let before = simulators.sockets();
    assert_eq!((before.open, before.tickets), (1, 1), "one connection");
    for (number, reason) in [(2, "warning"), (3, "refresh_requested")] {
        say(&people, Platform::Slack, &format!("during {number}.")).await?;
        simulators.end_sockets(reason);
        said(Platform::Slack, &format!("after {number}.")).await?;
        until("the old connection is left", || simulators.sockets().open == 1).await?;
        // One for each, or more where a connection broke.
        assert!(simulators.sockets().tickets >= number, "{reason}");
    }
    let slack = ["before.", "during 2.", "after 2.", "during 3.", "after 3."];
    assert_eq!(shown(&http, Platform::Slack).await?, slack);

    said(Platform::Telegram, "first.").await?;
    // The node waits for the next, and is told that there is another.
    until("the node polls again", || simulators.unconfirmed() == 0).await?;
    let setting = |wanted: &str| {
        let mut settings = simulators.settings().into_iter();
        settings.find(|(platform, name, _)| (*platform, *name) == ("telegram", wanted))
    };
    let (_, _, api) = setting("api").context("an address")?;
    let (_, _, token) = setting("bot_token").context("a token")?;
    let other = reqwest::Client::new().post(format!("{api}/bot{token}/getUpdates"));
    let answer: Value = other.json(&json!({"timeout": 0})).send().await?.json().await?;
    assert_eq!(answer, json!({"ok": true, "result": []}));
    said(Platform::Telegram, "second.").await?;
    assert_eq!(shown(&http, Platform::Telegram).await?, ["first.", "second."]);

    // Nobody can have signed these: there is no secret.
    for platform in ASKED {
        let forged = people.posted(platform, channel(platform), ("17", "eve"), "forged", None);
        let mut headers = people.slack_headers(&forged.to_string());
        headers.push(("x-telegram-bot-api-secret-token", String::new()));
        match people.send_with(platform, forged.to_string(), &headers).await {
            Err(NotTaken::Status { status: 401, .. }) => {}
            other => anyhow::bail!("{platform}: {other:?}"),
        }
    }
    assert!(server.terminate().await?.success());
    verify(&server).await
}

#[tokio::test]
async fn a_link_counts_from_its_answer() -> anyhow::Result<()> {
    const LINKS: usize = 25;
    let simulators = Simulators::start()?;
    let mut server = TestServer::start_with(setup(&simulators)).await?;
    let people = simulators.people(&server.address);
    let mut ada = Client::connect(&server, "ada").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "R"})).await?;
    let say = async |channel: &str, word: &str| {
        let id = people.new_id(Platform::Telegram);
        let posted = people.posted(Platform::Telegram, channel, (&id, "eve"), word, None);
        people.send(Platform::Telegram, &posted).await
    };
    for number in 0..LINKS {
        let channel = format!("-100{number:03}");
        say(&channel, &format!("before {number}")).await?;
        // The bot's answer shows that everything until here is read.
        people
            .send(Platform::Telegram, &people.asked(Platform::Telegram, &channel, "eve", "links"))
            .await?;
        until("no answer", || !simulators.kept(Platform::Telegram, &channel).is_empty()).await?;
        let link = json!({"type": "link", "platform": "telegram",
            "workspace": workspace(Platform::Telegram), "channel": channel});
        ada.command("room:1", link).await?;
        for word in ["first", "second", "third"] {
            say(&channel, &format!("{word} {number}")).await?;
        }
    }
    let wanted: Vec<_> = (0..LINKS)
        .map(|number| ["first", "second", "third"].map(|word| format!("{word} {number}")))
        .collect();
    let http = Http::new(&server, "ada").await?;
    let started = Instant::now();
    let shown = loop {
        let shown = shown(&http, Platform::Telegram).await?;
        if shown.len() >= LINKS * 3 || started.elapsed() > PATIENCE {
            break shown;
        }
        sleep(Duration::from_millis(50)).await;
    };
    ensure!(shown.len() == LINKS * 3, "{shown:?}");
    for wanted in wanted {
        let of_this: Vec<_> = shown.iter().filter(|text| wanted.contains(text)).cloned().collect();
        ensure!(of_this == wanted, "{of_this:?}");
    }
    assert!(server.terminate().await?.success());
    verify(&server).await
}

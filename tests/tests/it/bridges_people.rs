//! Who people of the platforms are here, what they may ask of the bot, and what is told of them.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use bridges::simulator::{ADMIN, Kept, Simulators, channel, workspace};
use schemas::room::Platform;
use serde_json::{Value, json};
use tests::{
    client::{Client, Http},
    server::{PATIENCE, TestServer},
};
use tokio::time::{Duration, sleep, timeout};

use crate::{
    bridges::{linked, message, said, seen, setup},
    crash::verify,
};

/// Asks as somebody with the tenant's role `admin`; gives status and body.
async fn as_admin(
    server: &TestServer,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> anyhow::Result<(u16, Value)> {
    let token = server.run(&["token", "--sub", "root", "--roles", "admin"]).await?;
    let token = String::from_utf8(token.stdout)?;
    let url = server.url(&format!("/api/v1/bridges/identities{path}"));
    let mut request =
        reqwest::Client::new().request(method.parse()?, url).bearer_auth(token.trim());
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    Ok((status, serde_json::from_str(&answer.text().await?).unwrap_or(Value::Null)))
}

/// A user's id on a platform, as the simulators have it.
fn id_of(platform: Platform, user: &str) -> String {
    let number = match user {
        "ada" => "6",
        ADMIN => "7",
        _somebody => "5",
    };
    match platform {
        Platform::Slack => format!("U_{user}"),
        Platform::Teams => format!("29:{user}"),
        Platform::Discord | Platform::Telegram => number.to_owned(),
    }
}

async fn identified(server: &TestServer, platform: Platform, name: &str) -> anyhow::Result<()> {
    let path = format!("/{platform}/{}", id_of(platform, name));
    let (status, set) = as_admin(server, "PUT", &path, Some(json!({"name": name}))).await?;
    ensure!(status == 200, "{status} {set}");
    Ok(())
}

/// Telegram has no markup for a mention in text: there it is an entity.
fn mention(platform: Platform, mut payload: Value) -> Value {
    match platform {
        Platform::Slack | Platform::Discord => {}
        Platform::Teams => {
            payload["entities"] = json!([{"type": "mention", "text": "<at>ada</at>",
                "mentioned": {"id": id_of(platform, "ada"), "name": "ada"}}]);
        }
        Platform::Telegram => {
            payload["message"]["entities"] = json!([{"type": "text_mention", "offset": 0,
                "length": 3, "user": {"id": 6, "is_bot": false, "first_name": "ada"}}]);
        }
    }
    payload
}

#[tokio::test]
async fn an_identity_makes_mentions_real_both_ways() -> anyhow::Result<()> {
    let simulators = Simulators::start()?;
    let mut server = TestServer::start_with(setup(&simulators)).await?;
    let people = simulators.people(&server.address);
    let mut ada = Client::connect(&server, "ada").await?;
    linked(&mut ada, "room:1").await?;
    let http = Http::new(&server, "ada").await?;
    // Teams' bots answer where they were written to.
    let hello =
        people.posted(Platform::Teams, channel(Platform::Teams), ("1", "eve"), "hello", None);
    people.send(Platform::Teams, &hello).await?;
    message(&http, "1", "hello", |message| message["text"] == "hello").await?;

    ada.command("room:1", json!({"type": "post", "text": "nobody @ada yet"})).await?;
    for platform in Platform::ALL {
        let id = id_of(platform, "ada");
        let fits = |kept: &Kept| said(platform, kept).contains("nobody");
        let kept = seen(&simulators, platform, "the first", fits).await?.body;
        ensure!(!said_to(platform, &kept, &id), "{platform}: {kept}");
        identified(&server, platform, "ada").await?;
    }
    ada.command("room:1", json!({"type": "post", "text": "real @ada now"})).await?;
    for platform in Platform::ALL {
        let id = id_of(platform, "ada");
        let fits = |kept: &Kept| said(platform, kept).contains("real");
        let kept = seen(&simulators, platform, "the mention", fits).await?.body;
        ensure!(said_to(platform, &kept, &id), "{platform}: {kept}");
        let markup = match platform {
            Platform::Slack | Platform::Discord => format!("<@{id}> back{platform}"),
            Platform::Teams => format!("<at>ada</at> back{platform}"),
            Platform::Telegram => format!("ada back{platform}"),
        };
        let from = (people.new_id(platform), "eve");
        let payload = people.posted(platform, channel(platform), (&from.0, from.1), &markup, None);
        people.send(platform, &mention(platform, payload)).await?;
        let word = format!("back{platform}");
        let here = message(&http, "1", &word, |message| {
            message["text"].as_str().is_some_and(|text| text.contains(&word))
        })
        .await?;
        let content = here["content"].to_string();
        ensure!(content.contains(r#""target":"ada""#), "{platform}: {content}");
    }
    // Somebody of Slack without an identity here is named as people there see them.
    let id = people.new_id(Platform::Slack);
    let here = channel(Platform::Slack);
    let sent = people.posted(Platform::Slack, here, (&id, "eve"), "ask <@U_bob>", None);
    people.send(Platform::Slack, &sent).await?;
    message(&http, "1", "a name", |message| message["text"] == "ask \\@bob").await?;
    assert!(server.terminate().await?.success());
    Ok(())
}

/// Whether a call mentions somebody by the platform's own means.
fn said_to(platform: Platform, body: &Value, id: &str) -> bool {
    match platform {
        Platform::Slack => body["blocks"].to_string().contains(&format!(r#""user_id":"{id}""#)),
        Platform::Teams => body["entities"].to_string().contains(id),
        Platform::Discord => {
            let text = body["content"].as_str().unwrap_or_default();
            text.contains(&format!("<@{id}>")) && body["allowed_mentions"]["users"] == json!([id])
        }
        Platform::Telegram => {
            let mut entities = body["entities"].as_array().into_iter().flatten();
            entities.any(|entity| {
                entity["type"] == "text_mention" && format!("{}", entity["user"]["id"]) == id
            })
        }
    }
}

#[tokio::test]
async fn identities_are_for_admins_and_outlive_the_node() -> anyhow::Result<()> {
    let simulators = Simulators::start()?;
    let mut server = TestServer::start_with(setup(&simulators)).await?;
    let http = Http::new(&server, "ada").await?;
    let (status, problem) = http.get("/api/v1/bridges/identities").await?;
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")));
    identified(&server, Platform::Slack, "ada").await?;
    for (path, body, status, field) in [
        ("/slack/U_other", json!({"name": "ada"}), 409, "name"),
        ("/slack/U_other", json!({"name": "no name"}), 422, "name"),
        ("/slack/U_other", json!({"nam": "eve"}), 422, "nam"),
        ("/slack/U_other", json!({}), 422, "name"),
        ("/slack/U%7Cother", json!({"name": "eve"}), 422, "user"),
        ("/irc/U_other", json!({"name": "eve"}), 422, "platform"),
    ] {
        let (found, problem) = as_admin(&server, "PUT", path, Some(body.clone())).await?;
        assert_eq!((found, &problem["errors"][0]["field"]), (status, &json!(field)), "{body}");
    }
    assert_eq!(as_admin(&server, "DELETE", "/slack/U_other", None).await?.0, 404);
    let beside = server.run(&["bridges", "identities", "set", "telegram", "6", "ada"]).await?;
    let reason = String::from_utf8_lossy(&beside.stderr).into_owned();
    ensure!(!beside.status.success() && reason.contains("a node serves this folder"), "{reason}");

    server.kill().await?;
    server.restart().await?;
    let (_, listed) = as_admin(&server, "GET", "", None).await?;
    let rows = listed["identities"].as_array().context("identities")?.clone();
    ensure!(
        rows.contains(&json!({"platform": "slack", "user": "U_ada", "name": "ada",
            "source": "set"})),
        "{listed}"
    );
    assert_eq!(as_admin(&server, "DELETE", "/slack/U_ada", None).await?.0, 204);
    assert!(server.terminate().await?.success());
    Ok(())
}

/// The room's links to a platform.
async fn links(http: &Http, room: &str, platform: Platform) -> anyhow::Result<Vec<Value>> {
    let state = http.get(&format!("/api/v1/rooms/{room}")).await?.1["state"].clone();
    let links = state["links"].as_array().cloned().unwrap_or_default();
    Ok(links.into_iter().filter(|link| link["platform"] == platform.as_str()).collect())
}

#[tokio::test]
async fn who_administers_a_channel_links_it() -> anyhow::Result<()> {
    let simulators = Simulators::start()?;
    let server = setup(&simulators)
        .with("BRIDGES__ADMINS", ADMIN)
        .with("BRIDGES__CHANNEL_ADMINS", "slack,discord,telegram");
    let mut server = TestServer::start_with(server).await?;
    let people = simulators.people(&server.address);
    let mut ada = Client::connect(&server, "ada").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    let http = Http::new(&server, "ada").await?;
    // Teams says nobody's rights: its admins are named.
    identified(&server, Platform::Teams, ADMIN).await?;
    for platform in Platform::ALL {
        let here = channel(platform);
        let ask = async |user: &str, command: &str, answer: &str| -> anyhow::Result<()> {
            let before = simulators.kept(platform, here).len();
            people.send(platform, &people.asked(platform, here, user, command)).await?;
            let started = Instant::now();
            loop {
                let kept = simulators.kept(platform, here).split_off(before);
                if kept.iter().any(|kept| said(platform, kept).contains(answer)) {
                    return Ok(());
                }
                ensure!(started.elapsed() < PATIENCE, "{platform} {command}: {kept:?}");
                sleep(Duration::from_millis(20)).await;
            }
        };
        ask("eve", "link 1", "Only ").await?;
        assert!(links(&http, "1", platform).await?.is_empty(), "{platform}");
        ask(ADMIN, "link 2", "says no").await?;
        ask(ADMIN, "links", "linked to no room").await?;
        ask(ADMIN, "link 1", "linked to the room 1 now").await?;
        let word = format!("after-{platform}");
        let posted = json!({"type": "post", "text": word});
        // The link begins with what comes after it.
        ada.command("room:1", posted).await?;
        seen(&simulators, platform, &word, |kept| said(platform, kept).contains(&word)).await?;
        let word = format!("from-{platform}");
        let id = people.new_id(platform);
        people.send(platform, &people.posted(platform, here, (&id, "eve"), &word, None)).await?;
        message(&http, "1", &word, |message| message["text"] == *word).await?;
        ask(ADMIN, "links", "linked to: 1").await?;
        ask("eve", "unlink", "Only ").await?;
        assert_eq!(links(&http, "1", platform).await?.len(), 1, "{platform}");
        if platform == Platform::Discord {
            ask(ADMIN, "unlink 1", "not linked to the room 1 any more").await?;
            assert!(links(&http, "1", platform).await?.is_empty());
        }
    }
    // The commands themselves were told to nobody.
    let state = http.get("/api/v1/rooms/1").await?.1.to_string();
    ensure!(!state.contains("/link"), "{state}");
    assert!(server.terminate().await?.success());
    Ok(())
}

#[tokio::test]
async fn who_comes_and_how_a_channel_is_called_is_told() -> anyhow::Result<()> {
    let simulators = Simulators::start()?;
    let mut server = TestServer::start_with(setup(&simulators)).await?;
    let people = simulators.people(&server.address);
    let mut ada = Client::connect(&server, "ada").await?;
    linked(&mut ada, "room:1").await?;
    let http = Http::new(&server, "ada").await?;
    for (number, from) in [Platform::Teams, Platform::Slack, Platform::Discord, Platform::Telegram]
        .into_iter()
        .enumerate()
    {
        let user = format!("user{number}");
        for payload in people.joined(from, channel(from), &user) {
            people.send(from, &payload).await?;
        }
        people.send(from, &people.titled(from, channel(from), &format!("title{number}"))).await?;
        // The same title again is no news.
        people.send(from, &people.titled(from, channel(from), &format!("title{number}"))).await?;
        for (says, word) in [
            (format!("{user} joined"), "joined"),
            (format!("the title is now title{number}"), "the title"),
        ] {
            let fits =
                |message: &Value| message["text"].as_str().is_some_and(|text| text.contains(&says));
            let here = message(&http, "1", &says, fits).await?;
            assert_eq!(here["content"][0]["children"][0]["type"], "italic", "{here}");
            for to in Platform::ALL.into_iter().filter(|to| *to != from) {
                let fits = |kept: &Kept| said(to, kept).contains(&says);
                seen(&simulators, to, word, fits).await?;
            }
        }
    }
    let state = http.get("/api/v1/rooms/1").await?.1["state"].clone();
    // Four came, four titles; Slack says both that somebody came twice.
    assert_eq!(state["messages"].as_array().context("messages")?.len(), 8, "{state}");
    assert!(server.terminate().await?.success());
    Ok(())
}

#[tokio::test]
async fn a_group_that_becomes_a_supergroup_stays_linked() -> anyhow::Result<()> {
    const NEW: &str = "-100777";
    let simulators = Simulators::start()?;
    let mut server = TestServer::start_with(setup(&simulators)).await?;
    let people = simulators.people(&server.address);
    let mut ada = Client::connect(&server, "ada").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    let telegram = Platform::Telegram;
    let link = json!({"type": "link", "platform": telegram, "workspace": workspace(telegram),
        "channel": channel(telegram), "direction": "both"});
    ada.command("room:1", link).await?;
    let http = Http::new(&server, "ada").await?;
    let moved = people.migrated(channel(telegram), NEW);
    people.send(telegram, &moved).await?;
    // The same again does no harm.
    people.send(telegram, &moved).await?;
    let wait = async |what: &str, holds: &dyn Fn(&[Value]) -> bool| -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let links = links(&http, "1", telegram).await?;
            if holds(&links) {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "{what}: {links:?}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    wait("moved", &|links| links.len() == 1 && links[0]["channel"] == NEW).await?;
    ada.command("room:1", json!({"type": "post", "text": "to the new one"})).await?;
    let started = Instant::now();
    while simulators.kept(telegram, NEW).is_empty() {
        ensure!(started.elapsed() < PATIENCE, "nothing comes to the new group");
        sleep(Duration::from_millis(20)).await;
    }
    let back = people.posted(telegram, NEW, ("99", "eve"), "from the new one", None);
    people.send(telegram, &back).await?;
    message(&http, "1", "it", |message| message["text"] == "from the new one").await?;
    people.send(telegram, &people.put_out(NEW)).await?;
    wait("gone", &|links| links[0]["health"] == "channelGone").await?;
    ada.command("room:1", json!({"type": "post", "text": "let in again"})).await?;
    wait("connected again", &|links| links[0]["health"] == "connected").await?;
    assert!(server.terminate().await?.success());
    Ok(())
}

#[tokio::test]
async fn who_types_is_told_live_and_kept_nowhere() -> anyhow::Result<()> {
    let simulators = Simulators::start()?;
    let mut server = TestServer::start_with(setup(&simulators)).await?;
    let people = simulators.people(&server.address);
    let mut ada = Client::connect(&server, "ada").await?;
    linked(&mut ada, "room:1").await?;
    ada.call("join", json!({"entity": "room:1"})).await?;
    let takers = [Platform::Teams, Platform::Discord, Platform::Telegram];
    let told = |platform| simulators.typing(platform, channel(platform));
    for from in [Platform::Teams, Platform::Discord] {
        let before = takers.map(told);
        let started = Instant::now();
        let typing = people.typing(from, channel(from), "eve").context("it says so")?;
        // Said again until everybody has heard: it is lost while the link is not served yet, and a room's
        // channels are told at most every four seconds.
        let mut is_shown = false;
        loop {
            people.send(from, &typing).await?;
            let signal = ada.pushed_where(|object| object.get("signal").is_some());
            if let Ok(signal) = timeout(Duration::from_millis(300), signal).await {
                let signal = signal?;
                assert_eq!(
                    (&signal["signal"], &signal["data"]["user"]),
                    (&json!("typing"), &json!("eve"))
                );
                is_shown |= signal["by"] == format!("bridge:{from}");
            }
            sleep(Duration::from_millis(300)).await;
            let mut others = takers.into_iter().zip(before).filter(|(to, _)| *to != from);
            if is_shown && others.all(|(to, before)| told(to) > before) {
                break;
            }
            ensure!(started.elapsed() < PATIENCE, "{from}: {:?}", takers.map(told));
        }
        let own = takers.iter().position(|taker| *taker == from).context("a taker")?;
        assert_eq!(told(from), before[own], "{from} is not told of its own");
    }
    let state = Http::new(&server, "ada").await?.get("/api/v1/rooms/1").await?.1;
    assert_eq!(state["state"]["messages"], json!([]), "nothing is said");
    assert!(server.terminate().await?.success());
    verify(&server).await
}

/// The security token of an outgoing webhook.
const WEBHOOK: &str = "c2VjcmV0IG9mIHRoZSB3ZWJob29r";

#[tokio::test]
async fn an_outgoing_webhook_says_messages_and_nothing_else() -> anyhow::Result<()> {
    let simulators = Simulators::start()?;
    let server = setup(&simulators)
        .with("BRIDGES__ADMINS", ADMIN)
        .with("BRIDGES__TEAMS__WEBHOOK_TOKENS", WEBHOOK);
    let mut server = TestServer::start_with(server).await?;
    let people = simulators.people(&server.address);
    let mut ada = Client::connect(&server, "ada").await?;
    linked(&mut ada, "room:1").await?;
    ada.command("room:2", json!({"type": "createRoom", "title": "secret"})).await?;
    identified(&server, Platform::Teams, ADMIN).await?;
    let http = Http::new(&server, "ada").await?;
    let here = channel(Platform::Teams);
    let send = async |payload: Value| {
        let body = payload.to_string();
        let header = people.webhook_header(WEBHOOK, &body);
        people.send_with(Platform::Teams, body, &[header]).await
    };
    let said = people.posted(Platform::Teams, here, ("7", "eve"), "by a webhook", None);
    let mut elsewhere = said.clone();
    // Where answers would go is not for a webhook to say.
    elsewhere["serviceUrl"] = "http://127.0.0.1:9/".into();
    send(elsewhere).await?;
    message(&http, "1", "it", |message| message["text"] == "by a webhook").await?;
    // It knows the id of an admin, and of a message.
    send(people.asked(Platform::Teams, here, ADMIN, "link 2")).await?;
    let deleted = people.deleted(Platform::Teams, here, "7").context("it says so")?;
    send(deleted).await?;
    send(people.posted(Platform::Teams, here, ("8", "eve"), "the last", None)).await?;
    message(&http, "1", "the last", |message| message["text"] == "the last").await?;
    let first =
        message(&http, "1", "the first", |message| message["text"] == "by a webhook").await?;
    assert_eq!(first["deleted"], false);
    assert!(links(&http, "2", Platform::Teams).await?.is_empty(), "who asked is not known");
    let mut forged = said.to_string();
    let header = people.webhook_header(WEBHOOK, &forged);
    forged.push(' ');
    let refused = people.send_with(Platform::Teams, forged, &[header]).await;
    assert!(refused.is_err_and(|error| error.to_string().starts_with("401")));
    assert!(server.terminate().await?.success());
    verify(&server).await
}

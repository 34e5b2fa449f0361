//! One message with everything in it, from each platform to the three others and the room; what
//! follows it; and all of that once more behind a restart.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use bridges::{
    Inbound, Names,
    codec::parse,
    message::Reaction,
    simulator::{Kept, People, Simulators, channel},
};
use schemas::{content::Node, room::Platform};
use serde_json::{Value, json};
use tests::{
    client::{Client, Http},
    server::{PATIENCE, TestServer},
};
use tokio::time::{Instant, sleep};

use crate::{
    bridges::{linked, message, seen, setup},
    crash::verify,
};

/// A picture: what matters is that its bytes arrive.
const PICTURE: &[u8] = b"\xff\xd8\xff\xe0 not really a picture, but nobody looks inside \xff\xd9";

/// Where Teams is told that the node is.
const PUBLIC: &str = "https://node.example";

/// Ada's id on a platform.
fn ada_there(platform: Platform) -> &'static str {
    match platform {
        Platform::Slack => "U_ada",
        Platform::Teams => "29:ada",
        Platform::Discord => "77",
        Platform::Telegram => "78",
    }
}

/// Everybody's ids, as the configuration has them.
struct Identities(Platform);

impl Names for Identities {
    fn here(&self, platform_user: &str) -> Option<String> {
        (platform_user == ada_there(self.0)).then(|| "ada".to_owned())
    }

    fn there(&self, user: &str) -> Option<String> {
        (user == "ada").then(|| ada_there(self.0).to_owned())
    }
}

/// Bold, a link, a code block, a mention and a custom emoji, in the platform's own form, in answer to
/// `reply_to` and with a picture.
fn rich(people: &People, from: Platform, (id, word): (&str, &str), reply_to: &str) -> Value {
    let ada = ada_there(from);
    let markup = match from {
        Platform::Slack => {
            format!("*{word}* <https://e.org/|link> <@{ada}> :party_parrot:\n```\nlet a = 1;\n```")
        }
        Platform::Teams => format!(
            "<p><b>{word}</b> <a href=\"https://e.org/\">link</a> <at>Ada</at> \
             <emoji alt=\":party_parrot:\"></emoji></p><pre>let a = 1;</pre>"
        ),
        Platform::Discord => format!(
            "**{word}** [link](https://e.org/) <@{ada}> <:party_parrot:123>\n```\nlet a = 1;\n```"
        ),
        Platform::Telegram => format!("{word} link Ada 🦜\nlet a = 1;"),
    };
    let who = (id, "eve");
    let mut payload = people.posted(from, channel(from), who, &markup, Some(reply_to));
    match from {
        Platform::Slack | Platform::Discord => {}
        Platform::Teams => {
            payload["entities"] = json!([{"type": "mention", "text": "<at>Ada</at>",
                "mentioned": {"id": ada, "name": "Ada"}}]);
        }
        Platform::Telegram => {
            let at = |text: &str| {
                let found = markup.find(text).unwrap_or_default();
                (markup[..found].encode_utf16().count(), text.encode_utf16().count())
            };
            let entity = |kind: &str, text: &str, more: Value| {
                let (offset, length) = at(text);
                let mut entity = json!({"type": kind, "offset": offset, "length": length});
                for (name, value) in more.as_object().into_iter().flatten() {
                    entity[name] = value.clone();
                }
                entity
            };
            payload["message"]["entities"] = json!([
                entity("bold", word, json!({})),
                entity("text_link", "link", json!({"url": "https://e.org/"})),
                entity(
                    "text_mention",
                    "Ada",
                    json!({"user": {"id": 78, "is_bot": false,
                    "first_name": "Ada"}})
                ),
                entity("custom_emoji", "🦜", json!({"custom_emoji_id": "5"})),
                entity("pre", "let a = 1;", json!({})),
            ]);
        }
    }
    people.with_file(from, payload, ("cat.jpg", "image/jpeg", PICTURE.into()))
}

/// What people on a platform would read of a message of the bot, as the platform sends it.
fn read(to: Platform, kept: &Kept) -> anyhow::Result<Vec<Node>> {
    let mut body = kept.body.clone();
    let payload = match to {
        Platform::Slack => {
            body["ts"] = kept.id.as_str().into();
            json!({"type": "event_callback", "team_id": "T", "event_id": "1",
                "event": {"type": "message", "channel": "C", "user": "U", "ts": kept.id,
                    "text": body["text"], "blocks": body["blocks"]}})
        }
        Platform::Teams => {
            body["id"] = kept.id.as_str().into();
            body["textFormat"] = "xml".into();
            body["conversation"] = json!({"id": channel(to)});
            body
        }
        Platform::Discord => json!({"op": 0, "t": "MESSAGE_CREATE", "s": 1, "d": {
            "id": kept.id, "channel_id": channel(to), "guild_id": "1", "type": 0,
            "author": {"id": "5", "username": "x"}, "content": body["content"]}}),
        Platform::Telegram => json!({"update_id": 1, "message": {"message_id": 1, "date": 0,
            "chat": {"id": -1001, "type": "supergroup"}, "text": body["text"],
            "entities": body["entities"]}}),
    };
    let read = parse(to, payload.to_string().as_bytes(), &Identities(to))?;
    match read.inbound.into_iter().next() {
        Some(Inbound::Posted(said)) => Ok(said.content),
        other => anyhow::bail!("{to} would say {other:?} of {payload}"),
    }
}

/// Every kind of node with what it says.
fn found(content: &[Node]) -> BTreeSet<(String, String)> {
    fn words(node: &Node) -> String {
        let own = node.text.as_deref().or(node.target.as_deref()).unwrap_or_default();
        own.to_owned() + &node.children.iter().map(words).collect::<String>()
    }
    let mut all = BTreeSet::new();
    for node in content {
        all.insert((format!("{:?}", node.kind), words(node).trim().to_owned()));
        all.extend(node.url.iter().map(|url| ("url".to_owned(), url.clone())));
        all.extend(found(&node.children));
    }
    all
}

/// Which message a message answers, as the platform says it.
fn answered(to: Platform, kept: &Kept) -> Value {
    match to {
        Platform::Slack => kept.body["thread_ts"].clone(),
        Platform::Teams => {
            let conversation = kept.body["conversation"]["id"].as_str().unwrap_or_default();
            let root = conversation.split_once(";messageid=").map(|(_, root)| root);
            root.map(Value::from).unwrap_or_default()
        }
        Platform::Discord => kept.body["message_reference"]["message_id"].clone(),
        Platform::Telegram => Value::from(kept.body["reply_parameters"]["message_id"].to_string()),
    }
}

/// The text of a message of the bot.
fn text_of(kept: &Kept) -> String {
    let text = [&kept.body["text"], &kept.body["content"]].map(|text| text.as_str());
    text.into_iter().flatten().collect()
}

/// The bytes of the picture that a platform got behind a message.
async fn picture(
    simulators: &Simulators,
    node: &str,
    to: Platform,
    behind: &str,
) -> anyhow::Result<Vec<u8>> {
    let started = Instant::now();
    loop {
        let kept = simulators.kept(to, channel(to));
        let at = kept.iter().position(|kept| kept.id == behind).context("the message")?;
        let sent = kept.get(at + 1);
        let url = sent.and_then(|sent| sent.body["attachments"][0]["contentUrl"].as_str());
        if let (Platform::Teams, Some(url)) = (to, url) {
            // It would fetch this without being anybody.
            let path = url.strip_prefix(PUBLIC).context("a public address")?;
            let fetched = reqwest::get(format!("http://{node}{path}")).await?;
            ensure!(fetched.status().is_success(), "{url}: {}", fetched.status());
            ensure!(fetched.headers()["content-type"] == "image/jpeg", "{:?}", fetched.headers());
            return Ok(fetched.bytes().await?.to_vec());
        }
        if let Some(file) = sent.and_then(|sent| sent.files.first()) {
            return Ok(file.bytes.to_vec());
        }
        ensure!(started.elapsed() < PATIENCE, "{to} has no picture: {sent:?}");
        sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// The name of a reaction on a platform.
fn party(platform: Platform) -> &'static str {
    match platform {
        Platform::Slack => "tada",
        Platform::Teams | Platform::Discord | Platform::Telegram => "🎉",
    }
}

fn others(from: Platform) -> impl Iterator<Item = Platform> {
    Platform::ALL.into_iter().filter(move |to| *to != from)
}

struct Scene<'a> {
    simulators: &'a Simulators,
    people: People,
    http: Http,
    node: String,
}

impl Scene<'_> {
    /// Posts a message with everything in it and looks at what arrives; gives its id there and here.
    async fn posted(&self, from: Platform, word: &str) -> anyhow::Result<(String, String)> {
        let base_word = format!("base-{word}");
        let base = self.people.new_id(from);
        let who = (base.as_str(), "eve");
        let payload = self.people.posted(from, channel(from), who, &base_word, None);
        self.people.send(from, &payload).await?;
        let base_here = self.here(&base_word).await?;
        let id = self.people.new_id(from);
        let payload = rich(&self.people, from, (&id, word), &base);
        self.people.send(from, &payload).await?;

        let here = message(&self.http, "1", word, |message| {
            message["text"].as_str().is_some_and(|text| text.contains(&format!("**{word}**")))
        })
        .await?;
        let content: Vec<Node> = serde_json::from_value(here["content"].clone())?;
        holds(from, "the room", &content, word)?;
        let answers = [&here["replyTo"], &here["thread"]];
        ensure!(answers.contains(&&base_here["id"]), "{from}: {here}");
        let url = here["attachments"][0]["url"].as_str().context("an attachment")?;
        let fetched = reqwest::get(format!("http://{}{url}", self.node)).await?;
        ensure!(fetched.bytes().await? == PICTURE, "{from}: the room has other bytes");

        for to in others(from) {
            let base =
                seen(self.simulators, to, &base_word, |kept| text_of(kept).contains(&base_word))
                    .await?;
            let copy = self.copy(to, word, |_| true).await?;
            holds(to, "a copy", &read(to, &copy)?, word).with_context(|| format!("from {from}"))?;
            ensure!(answered(to, &copy) == base.id, "{from} to {to}: {:?}", copy.body);
            let bytes = picture(self.simulators, &self.node, to, &copy.id).await?;
            ensure!(bytes == PICTURE, "{from} to {to}: other bytes: {bytes:?}");
        }
        Ok((id, here["id"].as_str().context("an id")?.to_owned()))
    }

    async fn here(&self, word: &str) -> anyhow::Result<Value> {
        let fits =
            |message: &Value| message["text"].as_str().is_some_and(|text| text.contains(word));
        message(&self.http, "1", word, fits).await
    }

    async fn copy(
        &self,
        to: Platform,
        word: &str,
        fits: impl Fn(&Kept) -> bool,
    ) -> anyhow::Result<Kept> {
        let base = format!("base-{word}");
        seen(self.simulators, to, word, |kept| {
            let text = text_of(kept);
            text.contains(word) && !text.contains(&base) && fits(kept)
        })
        .await
    }

    /// Edits a message where it was written and looks at its copies.
    async fn edited(&self, from: Platform, id: &str, word: &str, times: u32) -> anyhow::Result<()> {
        let payload = self.people.edited(from, channel(from), (id, "eve"), word);
        self.people.send(from, &payload).await?;
        self.here(word).await?;
        for to in others(from) {
            let copy = self.copy(to, word, |kept| kept.edits >= times).await?;
            ensure!(copy.edits == times, "{from} to {to}: {} edits", copy.edits);
            ensure!(!text_of(&copy).contains("let a"), "{from} to {to}: {:?}", copy.body);
        }
        Ok(())
    }

    /// Somebody reacts to a message where it was written, and takes that back.
    async fn reacted(&self, from: Platform, id: &str, word: &str) -> anyhow::Result<()> {
        for (change, count) in [(Reaction::Added, 1), (Reaction::Removed, 0)] {
            let who = (id, "eve");
            let payload = self.people.reacted(from, channel(from), who, party(from), change);
            self.people.send(from, &payload).await?;
            message(&self.http, "1", "the reaction", |message| {
                let reactors = message["reactions"]["🎉"].as_array().map_or(0, Vec::len);
                message["text"].as_str().is_some_and(|text| text.contains(word))
                    && reactors == count
            })
            .await?;
            // Bots of Teams cannot react.
            for to in others(from).filter(|to| *to != Platform::Teams) {
                self.copy(to, word, |kept| kept.reactions.len() == count).await?;
            }
        }
        Ok(())
    }
}

/// Whether everything that was said is there.
fn holds(at: Platform, what: &str, content: &[Node], word: &str) -> anyhow::Result<()> {
    let found = found(content);
    let has = |kind: &str, text: &str| found.contains(&(kind.to_owned(), text.to_owned()));
    ensure!(has("Bold", word), "{at}, {what}: not bold: {found:?}");
    ensure!(has("url", "https://e.org/") && has("Link", "link"), "{at}, {what}: {found:?}");
    ensure!(has("CodeBlock", "let a = 1;"), "{at}, {what}: no code block: {found:?}");
    ensure!(has("Mention", "ada"), "{at}, {what}: no mention: {found:?}");
    let says = |text: &str| found.iter().any(|(_, said)| said.contains(text));
    ensure!(says("party_parrot") || says("🦜"), "{at}, {what}: no emoji: {found:?}");
    Ok(())
}

#[tokio::test]
async fn everything_in_a_message_arrives_everywhere_and_what_follows_it_too() -> anyhow::Result<()>
{
    let simulators = Simulators::start()?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("switchyard.toml");
    let users = Platform::ALL.map(|platform| {
        format!("[bridges.{platform}.users]\n\"{}\" = \"ada\"\n", ada_there(platform))
    });
    std::fs::write(&config, users.concat())?;
    let config = config.to_str().context("a path")?;
    let setup = setup(&simulators)
        .with("BRIDGES__PUBLIC_URL", PUBLIC)
        .argument("--config")
        .argument(config);
    let mut server = TestServer::start_with(setup).await?;
    let address = server.address.clone();
    simulators.echo_to(&address);
    let mut ada = Client::connect(&server, "ada").await?;
    linked(&mut ada, "room:1").await?;
    let people = simulators.people(&address);
    let http = Http::new(&server, "ada").await?;
    // Teams' bots know where to answer once somebody has written to them.
    let first = people.typing_in_teams(channel(Platform::Teams), "1");
    people.send(Platform::Teams, &first).await?;
    let scene = Scene { simulators: &simulators, people, http, node: address };

    let mut kept = Vec::new();
    for from in Platform::ALL {
        let word = format!("first-{from}");
        let (id, here) = scene.posted(from, &word).await?;
        let word = format!("second-{from}");
        scene.edited(from, &id, &word, 1).await?;
        scene.reacted(from, &id, &word).await?;
        match scene.people.deleted(from, channel(from), &id) {
            Some(deleted) => drop(scene.people.send(from, &deleted).await?),
            // Telegram does not say so; a member of the room's staff does.
            None => drop(ada.command("room:1", json!({"type": "delete", "message": here})).await?),
        }
        for to in others(from) {
            let copy = scene.copy(to, &word, |kept| kept.deleted).await?;
            let sent = simulators.kept(to, channel(to));
            let at = sent.iter().position(|kept| kept.id == copy.id).context("the copy")?;
            seen(&simulators, to, "the picture gone", |kept| {
                kept.id == sent[at + 1].id && kept.deleted
            })
            .await?;
        }
        let word = format!("third-{from}");
        kept.push((from, scene.posted(from, &word).await?.0));
    }
    server.kill().await?;
    server.restart_here().await?;
    for (from, id) in kept {
        scene.edited(from, &id, &format!("fourth-{from}"), 1).await?;
    }
    // What the bot did came back from Slack and Discord and was known as its own.
    let state = scene.http.get("/api/v1/rooms/1").await?.1["state"].clone();
    let messages = state["messages"].as_array().context("messages")?;
    ensure!(messages.len() == 16, "{} messages: {state}", messages.len());
    assert!(server.terminate().await?.success());
    verify(&server).await
}

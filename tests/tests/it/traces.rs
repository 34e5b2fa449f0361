//! One message is one trace, from where it comes in to every place that it goes to.

use anyhow::{Context as _, ensure};
use bridges::simulator::{Simulators, channel};
use schemas::room::Platform;
use serde_json::json;
use tests::{
    client::{Client, Http},
    collector::{Collector, Span, picture},
    server::{Setup, TestServer},
};

use crate::bridges::{linked, message, said, seen, setup};

/// The only span of a trace that fits.
fn one<'a>(
    trace: &'a [Span],
    what: &str,
    fits: impl Fn(&Span) -> bool,
) -> anyhow::Result<&'a Span> {
    let found: Vec<_> = trace.iter().filter(|span| fits(span)).collect();
    ensure!(found.len() == 1, "{} spans are {what}: {trace:#?}", found.len());
    Ok(found[0])
}

/// The hops behind the append of a command: decided, appended, handed out, and sent to these platforms.
fn check_the_rest(trace: &[Span], command: &Span, to: &[Platform]) -> anyhow::Result<()> {
    let caused_by = |name: &'static str, parent: &Span| {
        let parent = parent.id.clone();
        move |span: &Span| span.name == name && span.parent == parent
    };
    let decide = one(trace, "the decision", caused_by("decide", command))?;
    ensure!(decide.says("offset") == command.says("offset"), "{decide:?}");
    let outcome = one(trace, "the append of the outcome", caused_by("append", decide))?;
    ensure!(outcome.says("topic").starts_with("room.outcomes"), "{outcome:?}");
    let fan_out = one(trace, "the fan-out", caused_by("fan-out", outcome))?;
    ensure!(fan_out.says("offset") == outcome.says("offset"), "{fan_out:?}");
    for platform in to {
        one(trace, "the call", |span| {
            caused_by("call", outcome)(span) && span.says("platform") == platform.as_str()
        })?;
    }
    Ok(())
}

/// The trace that holds a span that fits.
fn trace_with(spans: &[Span], fits: impl Fn(&Span) -> bool) -> anyhow::Result<Vec<Span>> {
    let found = spans.iter().find(|span| fits(span)).context("there is no such trace")?;
    Ok(spans.iter().filter(|span| span.trace == found.trace).cloned().collect())
}

#[tokio::test]
async fn a_message_is_one_trace_wherever_it_comes_from() -> anyhow::Result<()> {
    let collector = Collector::start().await?;
    let simulators = Simulators::start()?;
    let setup = setup(&simulators)
        .with("TELEMETRY__OTLP_ENDPOINT", &collector.endpoint)
        .with("TELEMETRY__SAMPLE", "1");
    let mut server = TestServer::start_with(setup).await?;
    let mut ada = Client::connect(&server, "ada").await?;
    linked(&mut ada, "room:1").await?;
    let http = Http::new(&server, "ada").await?;
    let mut bob = Client::connect(&server, "bob").await?;
    bob.call("join", json!({"entity": "room:1"})).await?;

    let posted = ada.command("room:1", json!({"type": "post", "text": "confidential"})).await?;
    let others = [Platform::Slack, Platform::Discord, Platform::Telegram];
    for to in others {
        seen(&simulators, to, "the post", |kept| said(to, kept).contains("confidential")).await?;
    }
    let people = simulators.people(&server.address);
    let (id, place) = (people.new_id(Platform::Slack), channel(Platform::Slack));
    let payload = people.posted(Platform::Slack, place, (&id, "eve"), "from-slack", None);
    people.send(Platform::Slack, &payload).await?;
    message(&http, "1", "the message", |message| message["text"] == "from-slack").await?;
    for to in [Platform::Discord, Platform::Telegram] {
        seen(&simulators, to, "the copy", |kept| said(to, kept).contains("from-slack")).await?;
    }
    // A caller's own trace goes on here, and one that is not sampled leaves none.
    let caller = "0af7651916cd43dd8448eb211c80319c";
    for (flags, text) in [("01", "traced"), ("00", "untraced")] {
        let answer = http
            .request("POST", "/api/v1/rooms/1/messages")
            .header("traceparent", format!("00-{caller}-b7ad6b716920333{}-{flags}", flags.len()))
            .json(&json!({"text": text}))
            .send()
            .await?;
        ensure!(answer.status().is_success(), "{answer:?}");
    }
    // What waits is sent before the node ends.
    ensure!(server.terminate().await?.success());

    let spans = collector.spans();
    let id = posted["commandId"].as_str().context("commandId")?.to_owned();
    let trace = trace_with(&spans, |span| span.says("command_id") == id)?;
    let root = one(&trace, "the root", |span| span.parent.is_empty())?;
    assert_eq!((root.name.as_str(), root.says("entity")), ("command", "room:1"));
    let command = one(&trace, "the append of the command", |span| span.parent == root.id)?;
    ensure!(command.says("topic").starts_with("room.commands"), "{command:?}");
    check_the_rest(&trace, command, &others)?;
    if let Some(path) = std::env::var_os("SWITCHYARD_TRACE_SVG") {
        std::fs::write(path, picture(&trace))?;
    }

    let is_arrival =
        |span: &Span| span.name == "append" && span.says("topic").starts_with("bridge.inbound");
    let trace = trace_with(&spans, is_arrival)?;
    let root = one(&trace, "the root", |span| span.parent.is_empty())?;
    assert_eq!(root.name, "request");
    let arrive = one(&trace, "the arrival", |span| span.parent == root.id)?;
    let kept = one(&trace, "the append of the payload", is_arrival)?;
    assert_eq!((arrive.name.as_str(), &kept.parent), ("arrive", &arrive.id));
    let receive = one(&trace, "the reading", |span| span.parent == kept.id)?;
    let command = one(&trace, "the append of the command", |span| span.parent == receive.id)?;
    check_the_rest(&trace, command, &[Platform::Discord, Platform::Telegram])?;

    let trace = trace_with(&spans, |span| span.trace == caller)?;
    let request = one(&trace, "the request", |span| span.name == "request")?;
    assert_eq!((request.parent.as_str(), request.says("status")), ("b7ad6b7169203332", "200"));

    // Neither words nor tokens.
    let all = format!("{spans:?}");
    ensure!(!all.contains("confidential") && !all.contains("from-slack") && !all.contains("eyJ"));
    Ok(())
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_up_nothing() -> anyhow::Result<()> {
    // Connections wait for somebody who accepts them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    let setup = Setup::default()
        .with("TELEMETRY__OTLP_ENDPOINT", &format!("http://{}", silent.local_addr()?))
        .with("TELEMETRY__SAMPLE", "1");
    let mut server = TestServer::start_with(setup).await?;
    let mut ada = Client::connect(&server, "ada").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;
    // More than the exporter keeps.
    for number in 0..600 {
        let text = number.to_string();
        ada.command("room:1", json!({"type": "post", "text": text})).await?;
    }
    ensure!(server.terminate().await?.success());
    Ok(())
}

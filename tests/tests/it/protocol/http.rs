//! "HTTP" and "Precise points, HTTP".

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tests::{
    client::Http,
    server::{Setup, TestServer, program},
};
use uuid::Uuid;

async fn board(server: &TestServer) -> anyhow::Result<Http> {
    let http = Http::new(server, "ada").await?;
    let (status, answer) = http.post("/api/v1/boards", json!({"id": "1", "title": "b"})).await?;
    anyhow::ensure!(status == 201, "{answer}");
    Ok(http)
}

fn add(task: &str) -> Value {
    json!({"type": "addTask", "task": task, "title": task})
}

const COMMANDS: &str = "/api/v1/boards/1/commands";

#[tokio::test]
async fn creating_answers_with_place_tag_and_state_and_again_the_same() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let http = Http::new(&server, "ada").await?;
    let id = Uuid::now_v7().to_string();
    let create = async || {
        let request = http.request("POST", "/api/v1/rooms").header("idempotency-key", &id);
        let answer = request.json(&json!({"id": "lobby", "title": "Lobby"})).send().await?;
        let head = |name: &str| {
            answer.headers().get(name).and_then(|v| v.to_str().ok().map(str::to_owned))
        };
        let heads = (answer.status().as_u16(), head("location"), head("etag"));
        anyhow::Ok((heads, answer.json::<Value>().await?))
    };
    let (heads, body) = create().await?;
    assert_eq!(heads, (201, Some("/api/v1/rooms/lobby".into()), Some("\"1\"".into())));
    assert_eq!((&body["entity"], &body["seq"]), (&json!("room:lobby"), &json!(1)));
    assert_eq!(body["state"]["title"], "Lobby");
    assert_eq!(body["state"]["createdBy"], "user:ada");
    http.post("/api/v1/rooms/lobby/messages", json!({"text": "hi"})).await?;
    assert_eq!(create().await?, (heads, body), "the first answer, status included");
    let (status, problem) =
        http.post("/api/v1/rooms", json!({"id": "lobby", "title": "x"})).await?;
    assert_eq!((status, &problem["code"]), (409, &json!("conflict")));
    let (status, made) = http.post("/api/v1/rooms", json!({"title": "no id"})).await?;
    let path = made["entity"].as_str().and_then(|entity| entity.strip_prefix("room:"));
    let path = format!("/api/v1/rooms/{}", path.context("an id is made")?);
    assert_eq!((status, http.get(&path).await?.0), (201, 200));
    Ok(())
}

#[tokio::test]
async fn commands_answer_with_their_changes_or_with_a_problem() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let http = board(&server).await?;
    let (status, answer) = http.post(COMMANDS, add("t1")).await?;
    assert_eq!((status, &answer["seq"]), (200, &json!(2)));
    let change = &answer["changes"][0];
    assert_eq!((&change["entity"], &change["type"]), (&json!("board:1"), &json!("taskAdded")));
    assert_eq!((&change["seq"], &change["by"]), (&json!(2), &json!("user:ada")));
    assert_eq!(change["commandId"], answer["commandId"]);
    assert_eq!(change["data"]["task"], "t1");

    let (status, problem) = http.post(COMMANDS, add("t1")).await?;
    assert_eq!(
        (status, &problem["code"], &problem["status"]),
        (409, &json!("conflict"), &json!(409))
    );
    assert!(problem["detail"].is_string());
    let (status, problem) = http.post(COMMANDS, json!({"type": "addTask"})).await?;
    assert_eq!((status, &problem["code"]), (422, &json!("invalid")));
    assert_eq!(problem["errors"][0]["field"], "title");
    assert!(problem["errors"][0]["message"].is_string());

    let matching = |tag: &str| http.request("POST", COMMANDS).header("if-match", tag.to_owned());
    let stale = matching("\"1\"").json(&add("t2")).send().await?;
    assert_eq!(stale.status(), 412);
    assert_eq!(stale.json::<Value>().await?["code"], "conflict");
    let level = matching("\"2\"").json(&add("t2")).send().await?;
    assert_eq!((level.status().as_u16(), level.headers()["etag"].to_str()?), (200, "\"3\""));

    let id = Uuid::now_v7().to_string();
    let keyed = async |body: Value| {
        let request = http.request("POST", COMMANDS).header("idempotency-key", &id).json(&body);
        let answer = request.send().await?;
        anyhow::Ok((answer.status().as_u16(), answer.json::<Value>().await?))
    };
    let (status, first) = keyed(add("t3")).await?;
    assert_eq!((status, &first["commandId"]), (200, &json!(id)));
    let (status, again) = keyed(add("t3")).await?;
    assert_eq!(
        (status, &again["repeated"], &again["changes"]),
        (200, &json!(true), &first["changes"])
    );
    assert_eq!(keyed(add("t4")).await?.0, 409);
    assert_eq!(http.post("/api/v1/boards/none/commands", add("t")).await?.0, 404);
    Ok(())
}

#[tokio::test]
async fn the_present_and_the_past_can_be_read() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let http = board(&server).await?;
    for task in ["t1", "t2", "t3"] {
        http.post(COMMANDS, add(task)).await?;
    }
    let now = http.request("GET", "/api/v1/boards/1").send().await?;
    assert_eq!((now.status().as_u16(), now.headers()["etag"].to_str()?), (200, "\"4\""));
    let known =
        http.request("GET", "/api/v1/boards/1").header("if-none-match", "\"4\"").send().await?;
    assert_eq!((known.status().as_u16(), known.text().await?), (304, String::new()));
    let tasks = async |path: String| -> anyhow::Result<usize> {
        let (status, body) = http.get(&path).await?;
        anyhow::ensure!(status == 200, "{path}: {body}");
        Ok(body["state"]["tasks"].as_object().context("tasks")?.len())
    };
    for seq in 1..=4_usize {
        assert_eq!(tasks(format!("/api/v1/boards/1?at_seq={seq}")).await?, seq - 1);
    }
    assert_eq!(http.get("/api/v1/boards/1?at_seq=5").await?.0, 404);
    let (_, journal) = http.get("/api/v1/boards/1/changes?after=2&limit=1").await?;
    let time = journal["changes"][0]["at"].as_str().context("at")?.to_owned();
    assert_eq!(tasks(format!("/api/v1/boards/1?at_time={time}")).await?, 2);
    assert_eq!(http.get("/api/v1/boards/1?at_time=2001-01-01T00:00:00Z").await?.0, 404);
    assert_eq!(http.get("/api/v1/boards/1?at_time=yesterday").await?.0, 422);

    assert_eq!(tasks("/api/v1/boards/1?min_seq=4".into()).await?, 3);
    let (waited, ()) = tokio::join!(tasks("/api/v1/boards/1?min_seq=5".into()), async {
        http.post(COMMANDS, add("t4")).await.ok();
    });
    assert_eq!(waited?, 4, "min_seq waits");
    let (status, problem) = http.get("/api/v1/boards/1?min_seq=9").await?;
    assert_eq!((status, &problem["code"]), (504, &json!("timeout")));
    let (status, problem) = http.get("/api/v1/boards/1?colour=red").await?;
    assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!("colour")), "{problem}");
    let (status, problem) = http.get("/api/v1/boards/1?at_seq=x").await?;
    assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!("at_seq")), "{problem}");
    Ok(())
}

#[tokio::test]
async fn the_journal_is_paged_and_the_audit_shows_refusals() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let http = board(&server).await?;
    for n in 0..600 {
        let title = json!({"type": "addTask", "task": format!("t{n}"), "title": "t"});
        http.post(COMMANDS, title).await?;
    }
    let (_, page) = http.get("/api/v1/boards/1/changes?after=0&limit=1000").await?;
    assert_eq!(page["changes"].as_array().map(Vec::len), Some(500), "a limit above 500 is 500");
    assert_eq!(page["more"], true);
    let (_, page) = http.get("/api/v1/boards/1/changes?after=500").await?;
    assert_eq!(
        (page["changes"].as_array().map(Vec::len), &page["more"]),
        (Some(101), &json!(false))
    );
    http.post(COMMANDS, add("t0")).await?;
    let (_, plain) = http.get("/api/v1/boards/1/changes?after=600").await?;
    assert_eq!(plain["changes"].as_array().map(Vec::len), Some(1));
    let (_, audit) = http.get("/api/v1/boards/1/changes?after=600&rejected=true").await?;
    let text = audit.to_string();
    assert!(text.contains("\"conflict\"") && text.contains("user:ada"), "{text}");
    Ok(())
}

/// The `id:` and `data:` of the next events of a stream.
struct Events {
    stream: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

impl Events {
    async fn open(http: &Http, last: Option<&str>) -> anyhow::Result<Self> {
        let mut request = http
            .request("GET", "/api/v1/boards/1/changes?after=0")
            .header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await?;
        anyhow::ensure!(answer.status() == 200, "{}", answer.status());
        anyhow::ensure!(
            answer.headers()["content-type"].to_str()?.starts_with("text/event-stream")
        );
        Ok(Self { stream: answer.bytes_stream().boxed(), text: String::new() })
    }

    async fn next(&mut self) -> anyhow::Result<(String, Value)> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(|text| text.trim().to_owned())
                };
                let found = field("id:").zip(field("data:"));
                self.text = rest.to_owned();
                if let Some((id, data)) = found {
                    return Ok((id, serde_json::from_str(&data)?));
                }
            }
            let part = tokio::time::timeout(Duration::from_secs(15), self.stream.next()).await;
            let part = part.context("no event comes")?.context("the stream has ended")??;
            self.text.push_str(std::str::from_utf8(&part)?);
        }
    }
}

#[tokio::test]
async fn a_live_stream_resumes_where_it_was() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let http = board(&server).await?;
    http.post(COMMANDS, add("t1")).await?;
    let mut events = Events::open(&http, None).await?;
    for seq in 1..=2 {
        let (id, data) = events.next().await?;
        assert_eq!((id, &data["seq"]), (seq.to_string(), &json!(seq)));
    }
    let (_, answer) = http.post(COMMANDS, add("t2")).await?;
    assert_eq!(events.next().await?, ("3".into(), answer["changes"][0].clone()));
    drop(events);
    http.post(COMMANDS, add("t3")).await?;
    let mut events = Events::open(&http, Some("3")).await?;
    assert_eq!(events.next().await?.0, "4");
    http.post(COMMANDS, add("t4")).await?;
    assert_eq!(events.next().await?.0, "5");
    Ok(())
}

#[tokio::test]
async fn lists_are_paged_and_show_what_the_caller_may_see() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let ada = Http::new(&server, "ada").await?;
    for n in 0..7 {
        let room = json!({"id": format!("r{n}"), "title": format!("Room {n}")});
        ada.post("/api/v1/rooms", room).await?;
    }
    let secret =
        json!({"id": "secret", "title": "Secret", "access": "invite", "tenantRole": "none"});
    let (status, answer) = ada.post("/api/v1/rooms", secret).await?;
    assert_eq!(status, 201, "{answer}");
    let all = async |http: &Http, limit: usize| -> anyhow::Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        let mut cursor = String::new();
        loop {
            let (status, page) = http.get(&format!("/api/v1/rooms?limit={limit}{cursor}")).await?;
            anyhow::ensure!(status == 200, "{page}");
            let items = page["items"].as_array().context("items")?;
            anyhow::ensure!(items.len() <= limit, "{page}");
            for item in items {
                let entity = item["entity"].as_str().context("entity")?.to_owned();
                anyhow::ensure!(found.insert(entity), "{item} is listed twice");
            }
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(found),
            }
        }
    };
    // The list is the projector's; it may lag.
    let started = std::time::Instant::now();
    while all(&ada, 3).await?.len() < 8 && started.elapsed() < Duration::from_secs(10) {}
    assert_eq!(all(&ada, 3).await?.len(), 8);
    let bob = Http::new(&server, "bob").await?;
    let seen = all(&bob, 2).await?;
    assert_eq!(seen.len(), 7);
    assert!(!seen.contains("room:secret"));
    assert_eq!(bob.get("/api/v1/rooms/secret").await?.0, 403);
    let (_, found) = ada.get("/api/v1/rooms?q=room%205").await?;
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1), "{found}");
    Ok(())
}

#[tokio::test]
async fn the_paths_people_expect_are_names_of_commands() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let http = board(&server).await?;
    let (status, _) =
        http.post("/api/v1/boards/1/tasks", json!({"task": "t", "title": "t"})).await?;
    assert_eq!(status, 200);
    let (_, moved) = http.post("/api/v1/boards/1/tasks/t/move", json!({"column": "done"})).await?;
    assert_eq!(moved["changes"][0]["type"], "taskMoved");
    let (_, tasks) = http.get("/api/v1/boards/1/tasks").await?;
    assert_eq!(tasks["t"]["column"], "done");
    let event = json!({"id": "1", "title": "e", "start": "2027-01-01T10:00:00Z",
        "end": "2027-01-01T11:00:00Z", "timeZone": "Europe/Berlin"});
    http.post("/api/v1/events", event).await?;
    let (status, _) = http.post("/api/v1/events/1/participants", json!({"user": "bob"})).await?;
    assert_eq!(status, 200);
    let (_, participants) = http.get("/api/v1/events/1/participants").await?;
    assert!(participants["bob"].is_object(), "{participants}");
    http.post("/api/v1/rooms", json!({"id": "1", "title": "r"})).await?;
    let (_, posted) = http.post("/api/v1/rooms/1/messages", json!({"text": "hi"})).await?;
    assert_eq!(posted["changes"][0]["type"], "messagePosted");
    let (_, messages) = http.get("/api/v1/rooms/1/messages").await?;
    assert_eq!(messages[0]["text"], "hi");
    assert_eq!(http.post("/api/v1/rooms/1/nothing", json!({})).await?.0, 404);
    Ok(())
}

#[tokio::test]
async fn answers_carry_the_headers_that_browsers_need() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let http = board(&server).await?;
    let long = json!({"type": "addTask", "title": "long", "description": "word ".repeat(400)});
    http.post(COMMANDS, long).await?;
    let page = reqwest::get(server.url("/")).await?;
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str()?;
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe-inline"), "{policy}");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    assert!(page.headers().get("strict-transport-security").is_none(), "only with TLS");
    for coding in ["br", "gzip", "zstd"] {
        let request = http.request("GET", "/api/v1/boards/1").header("accept-encoding", coding);
        let answer = request.send().await?;
        assert_eq!(answer.headers()["content-encoding"], coding);
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    }
    let small = http.request("GET", "/live").header("accept-encoding", "gzip").send().await?;
    assert!(small.headers().get("content-encoding").is_none_or(|coding| coding == "identity"));
    Ok(())
}

#[tokio::test]
async fn other_origins_are_let_in_by_name_only() -> anyhow::Result<()> {
    let setup = Setup::default().with("ORIGINS", "https://app.example");
    let server = TestServer::start_with(setup).await?;
    let http = Http::new(&server, "ada").await?;
    let asked = async |origin: &str| {
        let request = http.request("OPTIONS", COMMANDS).header("origin", origin);
        let request = request
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,idempotency-key");
        let answer = request.send().await?;
        let allowed = answer.headers().get("access-control-allow-origin").cloned();
        anyhow::Ok(allowed.and_then(|value| value.to_str().ok().map(str::to_owned)))
    };
    assert_eq!(asked("https://app.example").await?.as_deref(), Some("https://app.example"));
    assert_eq!(asked("https://evil.example").await?, None);
    Ok(())
}

#[tokio::test]
async fn the_program_describes_itself_and_says_how_it_is() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let open: Value = reqwest::get(server.url("/openapi.json")).await?.json().await?;
    assert!(open["openapi"].as_str().is_some_and(|version| version.starts_with("3.")));
    assert!(open["paths"]["/api/v1/boards/{id}/commands"].is_object());
    let asynchronous: Value = reqwest::get(server.url("/asyncapi.json")).await?.json().await?;
    assert!(asynchronous["asyncapi"].is_string());
    for name in ["openapi", "asyncapi"] {
        let mut command = tokio::process::Command::new(program());
        let printed = command.args(["schema", name]).output().await?;
        let printed: Value = serde_json::from_slice(&printed.stdout)?;
        assert_eq!(printed, if name == "openapi" { open.clone() } else { asynchronous.clone() });
    }
    let health: Value = reqwest::get(server.url("/health")).await?.json().await?;
    assert_eq!(health["status"], "healthy", "{health}");
    for path in ["/live", "/ready"] {
        assert_eq!(reqwest::get(server.url(path)).await?.status(), 200, "{path}");
    }
    board(&server).await?;
    let metrics = reqwest::get(server.url("/metrics")).await?.text().await?;
    for line in [
        "# TYPE switchyard_command_duration_seconds histogram",
        "switchyard_command_duration_seconds_bucket{le=\"+Inf\",kind=\"board\"} ",
        "switchyard_http_request_duration_seconds_count{route=\"api\",method=\"POST\",status=\"2xx\"} ",
        "switchyard_service_up{service=\"store\"} 1",
        "switchyard_fan_out_stalled_seconds 0",
        "# HELP process_cpu_seconds ",
        "process_open_fds ",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
    Ok(())
}

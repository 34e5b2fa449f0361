//! The page in a real Chromium: two people see each other's doings, live and after an outage.
//! Needs `chromium` and `chromedriver` on the PATH.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use fantoccini::{
    ClientBuilder, Locator,
    actions::{InputSource as _, MOUSE_BUTTON_LEFT, MouseActions, PointerAction},
    elements::Element,
    wd::Capabilities,
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    client::{Client, Http},
    server::TestServer,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::{crash::verify, workers::journal};

/// What is waited for must be on the page within this; the page's longest pause between two tries
/// to connect is 15 s.
const PATIENCE: Duration = Duration::from_secs(30);
const ENTER: &str = "\u{e007}";

/// A program on the PATH.
fn find_program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found
        .with_context(|| format!("{name} is not on the PATH: install chromium and chromium-driver"))
}

/// A chromedriver on a port of its own.
struct Driver {
    child: Child,
    address: String,
}

impl Driver {
    async fn start() -> anyhow::Result<Self> {
        let mut command = Command::new(find_program("chromedriver")?);
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.kill_on_drop(true).spawn().context("chromedriver")?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
        let port = tokio::time::timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await? {
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    return Ok(port.trim_end_matches('.').to_owned());
                }
            }
            bail!("chromedriver ended")
        });
        let address =
            format!("http://127.0.0.1:{}", port.await.context("chromedriver is silent")??);
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, address })
    }

    /// A browser with a profile of its own, at the page, signed in.
    async fn window(&self, server: &TestServer, user: &str) -> anyhow::Result<Window> {
        let profile = tempfile::tempdir()?;
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1280,900",
        ]
        .map(str::to_owned);
        let mut arguments = arguments.to_vec();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let options = json!({"binary": find_program("chromium")?, "args": arguments});
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        let page = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&self.address)
            .await
            .context("Chromium does not start")?;
        let window = Window { page, user: user.to_owned(), _profile: profile };
        if let Err(error) = window.sign_in(server).await {
            window.close().await?;
            return Err(error);
        }
        Ok(window)
    }
}

/// One person's browser.
struct Window {
    page: fantoccini::Client,
    user: String,
    _profile: TempDir,
}

/// The selector of a mark (gateway/web/README.md).
fn mark(name: &str) -> String {
    format!("[data-testid=\"{name}\"]")
}

impl Window {
    async fn sign_in(&self, server: &TestServer) -> anyhow::Result<()> {
        self.page.goto(&server.url("/")).await?;
        let name = self.see(&mark("signin-name")).await?;
        self.buttons_have_names("the door").await?;
        name.send_keys(&self.user).await?;
        self.click(&mark("signin-submit")).await?;
        self.online().await
    }

    async fn online(&self) -> anyhow::Result<()> {
        self.see(&format!("{}[data-state=online]", mark("connection"))).await?;
        self.see(&format!("{}[hidden]", mark("offline-banner"))).await.map(|_| ())
    }

    async fn see(&self, css: &str) -> anyhow::Result<Element> {
        let found = self.page.wait().at_most(PATIENCE).every(Duration::from_millis(50));
        let found = found.for_element(Locator::Css(css)).await;
        found.with_context(|| format!("{} does not see {css}", self.user))
    }

    /// Clicks; an element that the page replaces at this moment is looked up again.
    async fn click(&self, css: &str) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            match self.see(css).await?.click().await {
                Ok(()) => return Ok(()),
                Err(error) if started.elapsed() > PATIENCE => {
                    return Err(error).with_context(|| format!("{} cannot click {css}", self.user));
                }
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    /// Waits until `expression` is `wanted`.
    async fn until(&self, expression: &str, wanted: &Value) -> anyhow::Result<()> {
        let started = Instant::now();
        let script = format!("return {expression}");
        loop {
            let is = self.page.execute(&script, Vec::new()).await?;
            if is == *wanted {
                return Ok(());
            }
            let too_late = started.elapsed() > PATIENCE;
            ensure!(!too_late, "{}: {expression} is {is}, not {wanted}", self.user);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn open(&self, route: &str) -> anyhow::Result<()> {
        self.page.execute("location.hash = arguments[0]", vec![route.into()]).await?;
        Ok(())
    }

    async fn post(&self, text: &str) -> anyhow::Result<()> {
        self.see(&mark("composer")).await?.send_keys(&format!("{text}{ENTER}")).await?;
        Ok(())
    }

    /// Waits until the messages are these, in this order, each once.
    async fn reads(&self, texts: &[String]) -> anyhow::Result<()> {
        let all = "[...document.querySelectorAll('[data-testid=message-text]')].map(one => one.textContent.trim())";
        self.until(all, &json!(texts)).await
    }

    /// Waits until the card is in the column, and nowhere else.
    async fn card_is_in(&self, task: &str, column: &str) -> anyhow::Result<()> {
        let places = format!(
            "[...document.querySelectorAll('[data-testid=card][data-task=\"{task}\"]')]\
            .map(one => one.closest('[data-column]')?.dataset.column ?? null)"
        );
        self.until(&places, &json!([column])).await
    }

    async fn drag(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let step = Some(Duration::from_millis(150));
        let to_element =
            |element, y| PointerAction::MoveToElement { element, duration: step, x: 0.0, y };
        let mouse = MouseActions::new("mouse".to_owned())
            .then(to_element(self.see(from).await?, 0.0))
            .then(PointerAction::Down { button: MOUSE_BUTTON_LEFT })
            .then(PointerAction::MoveBy { duration: step, x: 12.0, y: 12.0 })
            .then(to_element(self.see(to).await?, 0.0))
            .then(to_element(self.see(to).await?, 4.0))
            .then(PointerAction::Up { button: MOUSE_BUTTON_LEFT });
        Ok(self.page.perform_actions(mouse).await?)
    }

    /// Every button on the page, shown or not, says what it does.
    async fn buttons_have_names(&self, place: &str) -> anyhow::Result<()> {
        let script = "
            const text = (id) => document.getElementById(id)?.textContent ?? '';
            const name = (one) => (one.getAttribute('aria-labelledby') ?? '').split(' ').map(text).join(' ').trim()
                || (one.getAttribute('aria-label') ?? '').trim() || one.textContent.trim()
                || [...(one.labels ?? [])].map((label) => label.textContent).join(' ').trim()
                || (one.getAttribute('title') ?? '').trim();
            const all = [...document.querySelectorAll('button, [role=button], [role=menuitem], input[type=submit]')];
            return [all.length, all.filter((one) => name(one) === '').map((one) => one.outerHTML)]";
        let answer = self.page.execute(script, Vec::new()).await?;
        ensure!(answer[0].as_u64() > Some(0), "{place} has no button at all");
        ensure!(answer[1] == json!([]), "without a name at {place}: {}", answer[1]);
        Ok(())
    }

    async fn close(self) -> anyhow::Result<()> {
        Ok(self.page.close().await?)
    }
}

/// A room, a board with two cards and a published event.
async fn furnish(server: &TestServer) -> anyhow::Result<()> {
    let mut ada = Client::connect(server, "ada").await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "Kitchen"})).await?;
    let columns = json!([{"id": "a", "title": "A"}, {"id": "b", "title": "B"}]);
    ada.command("board:1", json!({"type": "createBoard", "title": "Plan", "columns": columns}))
        .await?;
    for task in ["t1", "t2"] {
        ada.command("board:1", json!({"type": "addTask", "task": task, "title": task})).await?;
    }
    let event = json!({"type": "createEvent", "title": "Feast", "timeZone": "UTC", "capacity": 1,
        "start": "2030-01-01T10:00:00Z", "end": "2030-01-01T11:00:00Z"});
    ada.command("event:1", event).await?;
    ada.command("event:1", json!({"type": "setStatus", "status": "published"})).await?;
    Ok(())
}

/// Ada's and Bob's windows; they are closed whatever comes of the story.
async fn with_two_windows<T>(
    server: &mut TestServer,
    story: impl AsyncFnOnce(&mut TestServer, &Window, &Window) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut driver = Driver::start().await?;
    let ada = driver.window(server, "ada").await?;
    let told = match driver.window(server, "bob").await {
        Ok(bob) => {
            let told = story(server, &ada, &bob).await;
            bob.close().await?;
            told
        }
        Err(error) => Err(error),
    };
    ada.close().await?;
    driver.child.kill().await?;
    told
}

#[tokio::test]
async fn messages_cards_and_answers_appear_live_at_the_other() -> anyhow::Result<()> {
    let mut server = TestServer::start().await?;
    furnish(&server).await?;
    with_two_windows(&mut server, async |server: &mut TestServer, ada: &Window, bob: &Window| {
        for window in [ada, bob] {
            window.open("#/rooms/1").await?;
        }
        bob.see(&mark("composer")).await?;
        ada.post("hello **bob**").await?;
        bob.reads(&["hello bob".to_owned()]).await?;
        bob.see(&format!("{} strong", mark("message-text"))).await?;
        bob.buttons_have_names("the room").await?;

        for window in [ada, bob] {
            window.open("#/boards/1").await?;
            window.card_is_in("t1", "a").await?;
        }
        ada.drag("[data-task=t1]", &format!("{}[data-column=b]", mark("column"))).await?;
        bob.card_is_in("t1", "b").await?;
        ada.card_is_in("t1", "b").await?;
        ada.page.execute("document.querySelector('[data-task=t1]').focus()", Vec::new()).await?;
        bob.click(&format!("[data-task=t1] {}", mark("card-move"))).await?;
        bob.buttons_have_names("the board with its menu").await?;
        bob.click(&mark("move-to-a")).await?;
        ada.card_is_in("t1", "a").await?;
        let http = Http::new(server, "ada").await?;
        let moves: Vec<_> = journal(&http, "board:1")
            .await?
            .iter()
            .filter(|change| change["type"] == "taskMoved")
            .map(|change| json!([change["by"], change["data"]["to"]]))
            .collect();
        assert_eq!(moves, [json!(["user:ada", "b"]), json!(["user:bob", "a"])]);

        for window in [ada, bob] {
            window.open("#/events/1").await?;
        }
        bob.click(&mark("rsvp-yes")).await?;
        bob.see(&format!("{}[data-standing=confirmed]", mark("standing"))).await?;
        ada.see(&format!("{} [data-user=bob]", mark("standing-confirmed"))).await?;
        ada.buttons_have_names("the event, to its organiser").await?;
        let (_, event) = http.get("/api/v1/events/1").await?;
        assert_eq!(event["state"]["participants"]["bob"]["standing"], "confirmed");
        bob.click(&mark("rsvp-no")).await?;
        bob.see(&format!("{}[data-standing=declined]", mark("standing"))).await?;

        for route in ["#/rooms", "#/boards", "#/events", "#/status"] {
            bob.open(route).await?;
            bob.see(&format!(
                "{}[aria-current=page][href='{route}']",
                mark(&route.replace("#/", "nav-"))
            ))
            .await?;
            bob.buttons_have_names(route).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_outage_loses_nothing_and_what_was_done_meanwhile_is_sent_once() -> anyhow::Result<()> {
    let mut server = TestServer::start().await?;
    furnish(&server).await?;
    with_two_windows(&mut server, async |server: &mut TestServer, ada: &Window, bob: &Window| {
        bob.open("#/boards/1").await?;
        bob.card_is_in("t2", "a").await?;
        for window in [ada, bob] {
            window.open("#/rooms/1").await?;
        }
        ada.post("before").await?;
        bob.reads(&["before".to_owned()]).await?;

        server.kill().await?;
        for window in [ada, bob] {
            window.see(&format!("{}:not([hidden])", mark("offline-banner"))).await?;
        }
        bob.post("while away").await?;
        bob.reads(&["before".to_owned(), "while away".to_owned()]).await?;
        bob.open("#/boards/1").await?;
        bob.click(&format!("[data-task=t2] {}", mark("card-move"))).await?;
        bob.click(&mark("move-to-b")).await?;
        bob.card_is_in("t2", "b").await?;

        server.restart_here().await?;
        let mut carol = Client::connect(server, "carol").await?;
        for n in 0..20 {
            carol.command("room:1", json!({"type": "post", "text": format!("carol {n}")})).await?;
        }
        bob.open("#/rooms/1").await?;
        for window in [ada, bob] {
            window.online().await?;
        }
        ada.post("after").await?;
        let after = mark("message-text");
        bob.until(&format!("[...document.querySelectorAll('{after}')].some(one => one.textContent.trim() === 'after')"), &json!(true)).await?;
        bob.until("document.querySelector('[data-testid=offline-banner]').hidden", &json!(true)).await?;

        carol.call("join", json!({"entity": "board:1", "since": 3})).await?;
        let http = Http::new(server, "ada").await?;
        let read = async || -> anyhow::Result<Vec<String>> {
            let journal = journal(&http, "room:1").await?;
            let posted = journal.iter().filter(|change| change["type"] == "messagePosted");
            Ok(posted.filter_map(|change| change["data"]["text"].as_str().map(str::to_owned)).collect())
        };
        // Bob reads his message from the node only once his page has sent it: no longer waiting.
        bob.until("document.querySelector('[data-testid=connection]').dataset.state", &json!("online")).await?;
        ada.until(&format!("[...document.querySelectorAll('{after}')].filter(one => one.textContent.trim() === 'while away').length"), &json!(1)).await?;
        let texts = read().await?;
        assert_eq!(texts.len(), 23, "each once: {texts:?}");
        for window in [ada, bob] {
            window.reads(&texts).await?;
        }
        ada.open("#/boards/1").await?;
        ada.card_is_in("t2", "b").await?;
        let moves = journal(&http, "board:1").await?.into_iter().filter(|one| one["type"] == "taskMoved");
        assert_eq!(moves.count(), 1, "the card moved once");
        Ok(())
    })
    .await?;
    assert!(server.terminate().await?.success());
    verify(&server).await
}

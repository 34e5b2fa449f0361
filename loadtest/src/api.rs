//! The HTTP side of a run: tokens, entities to put under load, and their journals afterwards.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::CommonArgs;
use crate::error::Error;
use crate::proto::Proto;
use crate::socket::Endpoint;

const TRIES: u32 = 5;
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const PAGE: usize = 500;

/// The server, by HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    base: String,
}

/// The tokens of the run's users.
#[derive(Debug, Clone)]
pub(crate) struct Accounts(Vec<Arc<str>>);

impl Accounts {
    /// The token of the connection with this number: users take turns.
    pub(crate) fn token(&self, number: usize) -> Arc<str> {
        Arc::clone(&self.0[number % self.0.len()])
    }
}

/// What came of a request of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Called {
    /// With a status that says yes; a command with the entity's seq.
    Accepted { posted: Option<u64> },
    /// With another status.
    Refused(u16),
    /// No answer, or one that broke off: how.
    Failed(&'static str),
}

/// One change of a journal, as far as the audit needs it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JournalChange {
    pub(crate) seq: u64,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) command_id: Option<uuid::Uuid>,
}

#[derive(Debug, Deserialize)]
struct Page {
    changes: Vec<JournalChange>,
    more: bool,
}

/// Takes the addresses of `--url` apart: where sockets connect, in turn, and the first server by HTTP.
pub(crate) async fn locate(urls: &[String], proto: Proto) -> Result<(Vec<Endpoint>, Api), Error> {
    let mut endpoints = Vec::with_capacity(urls.len());
    let mut first = None;
    for url in urls {
        let (endpoint, api) = locate_one(url, proto).await?;
        endpoints.push(endpoint);
        first.get_or_insert(api);
    }
    let api = first.ok_or_else(|| Error::Usage("--url: none is given".to_owned()))?;
    Ok((endpoints, api))
}

/// Takes one address apart.
pub(crate) async fn locate_one(url: &str, proto: Proto) -> Result<(Endpoint, Api), Error> {
    let wrong = |why: &str| Error::Usage(format!("--url {url}: {why}"));
    let parsed = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
    if parsed.scheme() != "ws" {
        return Err(wrong("only ws:// addresses; put TLS in front of neither side of a load test"));
    }
    let name = parsed.host_str().ok_or_else(|| wrong("no host"))?;
    let host = format!("{name}:{}", parsed.port().unwrap_or(80));
    let address: SocketAddr = tokio::net::lookup_host(&host)
        .await
        .map_err(|error| wrong(&error.to_string()))?
        .next()
        .ok_or_else(|| wrong("the name has no address"))?;
    let base = format!("http://{host}");
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .build()
        .map_err(|source| Error::Http { call: base.clone(), source })?;
    Ok((
        Endpoint { address, host, path: parsed.path().to_owned(), proto, receive_buffer: None },
        Api { http, base },
    ))
}

impl Api {
    /// The tokens that the options ask for.
    pub(crate) async fn accounts(
        &self,
        common: &CommonArgs,
        proto: Proto,
    ) -> Result<Accounts, Error> {
        if let Some(token) = &common.token {
            return Ok(Accounts(vec![token.as_str().into()]));
        }
        if proto == Proto::Centrifugo {
            return Ok(Accounts(vec!["".into()]));
        }
        if let Some(name) = &common.dev_sub {
            return Ok(Accounts(vec![self.dev_token(name).await?]));
        }
        let mut tokens = Vec::with_capacity(common.users);
        for number in 0..common.users {
            tokens.push(self.dev_token(&format!("load-{number}")).await?);
        }
        Ok(Accounts(tokens))
    }

    async fn dev_token(&self, name: &str) -> Result<Arc<str>, Error> {
        #[derive(Deserialize)]
        struct Issued {
            token: Arc<str>,
        }
        let path = "/dev/token";
        let body = json!({ "sub": name });
        let response = self.call(Method::POST, path, |request| request.json(&body)).await?;
        let issued: Issued = decode(path, accepted(path, response).await?).await?;
        Ok(issued.token)
    }

    /// Creates an entity, or takes the one that is there; gives its seq.
    pub(crate) async fn create(
        &self,
        plural: &str,
        body: &Value,
        token: &str,
    ) -> Result<u64, Error> {
        let path = format!("/api/v1/{plural}");
        let with = |request: RequestBuilder| request.bearer_auth(token).json(body);
        let response = self.call(Method::POST, &path, with).await?;
        if response.status() == StatusCode::CONFLICT {
            return self.seq(plural, body["id"].as_str().unwrap_or_default(), token).await;
        }
        let created: Numbered = decode(&path, accepted(&path, response).await?).await?;
        Ok(created.seq)
    }

    /// An entity's seq.
    pub(crate) async fn seq(&self, plural: &str, id: &str, token: &str) -> Result<u64, Error> {
        let path = format!("/api/v1/{plural}/{id}");
        let response = self.call(Method::GET, &path, |request| request.bearer_auth(token)).await?;
        let state: Numbered = decode(&path, accepted(&path, response).await?).await?;
        Ok(state.seq)
    }

    /// All changes of an entity after a seq.
    pub(crate) async fn journal(
        &self,
        plural: &str,
        id: &str,
        after: u64,
        token: &str,
    ) -> Result<Vec<JournalChange>, Error> {
        let mut changes: Vec<JournalChange> = Vec::new();
        loop {
            let from = changes.last().map_or(after, |last| last.seq);
            let path = format!("/api/v1/{plural}/{id}/changes?after={from}&limit={PAGE}");
            let with = |request: RequestBuilder| request.bearer_auth(token);
            let response = self.call(Method::GET, &path, with).await?;
            let page: Page = decode(&path, accepted(&path, response).await?).await?;
            let advanced = page.changes.last().is_some_and(|last| last.seq > from);
            changes.extend(page.changes);
            if !page.more {
                return Ok(changes);
            }
            if !advanced {
                return Err(Error::Setup(format!("{path}: says more, but gives nothing new")));
            }
        }
    }

    /// One request of a load, without a second try.
    pub(crate) async fn get(&self, path: &str, token: &str) -> Called {
        let request = self.http.get(format!("{}{path}", self.base)).bearer_auth(token);
        match request.send().await {
            Ok(response) if response.status().is_success() => match response.bytes().await {
                Ok(_) => Called::Accepted { posted: None },
                Err(error) => Called::Failed(failure(&error)),
            },
            Ok(response) => Called::Refused(response.status().as_u16()),
            Err(error) => Called::Failed(failure(&error)),
        }
    }

    /// One command of a load, without a second try.
    pub(crate) async fn post(&self, path: &str, body: &Value, token: &str) -> Called {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(token).json(body);
        match request.send().await {
            Ok(response) if response.status().is_success() => match response.json().await {
                Ok(Numbered { seq }) => Called::Accepted { posted: Some(seq) },
                Err(error) => Called::Failed(failure(&error)),
            },
            Ok(response) => Called::Refused(response.status().as_u16()),
            Err(error) => Called::Failed(failure(&error)),
        }
    }

    /// Calls, and again a few times while the server asks to wait.
    async fn call(
        &self,
        method: Method,
        path: &str,
        with: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Error> {
        let mut tries = 1;
        loop {
            let request = with(self.http.request(method.clone(), format!("{}{path}", self.base)));
            let response = request
                .send()
                .await
                .map_err(|source| Error::Http { call: format!("{method} {path}"), source })?;
            let wait = matches!(
                response.status(),
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
            );
            if !wait || tries == TRIES {
                return Ok(response);
            }
            tries += 1;
            let header = response.headers().get(RETRY_AFTER);
            let seconds = header.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(1);
            tokio::time::sleep(Duration::from_secs(seconds).min(LONGEST_WAIT)).await;
        }
    }
}

/// An answer that says an entity's seq.
#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

/// A short name to count by.
fn failure(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "connect"
    } else if error.is_decode() {
        "not what a command answers"
    } else {
        "broke off"
    }
}

async fn accepted(path: &str, response: Response) -> Result<Response, Error> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let mut detail = response.text().await.unwrap_or_default();
    detail.truncate(detail.char_indices().nth(300).map_or(detail.len(), |(at, _)| at));
    Err(Error::Answer { call: path.to_owned(), status: status.as_u16(), detail })
}

async fn decode<T: for<'a> Deserialize<'a>>(path: &str, response: Response) -> Result<T, Error> {
    response.json().await.map_err(|source| Error::Http { call: path.to_owned(), source })
}

/// The body that creates a room for load.
pub(crate) fn room_body(id: &str) -> Value {
    json!({ "id": id, "title": "Load test", "tenantRole": "member" })
}

/// The body that creates a board for load, with the columns `todo` and `done`.
pub(crate) fn board_body(id: &str) -> Value {
    json!({
        "id": id,
        "title": "Load test",
        "tenantRole": "editor",
        "columns": [{ "id": "todo", "title": "To do" }, { "id": "done", "title": "Done" }],
    })
}

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

/// Takes the address of `--url` apart: where sockets connect, and the server by HTTP.
pub(crate) async fn locate(url: &str) -> Result<(Endpoint, Api), Error> {
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
    Ok((Endpoint { address, host, path: parsed.path().to_owned() }, Api { http, base }))
}

impl Api {
    /// The tokens that the options ask for.
    pub(crate) async fn accounts(&self, common: &CommonArgs) -> Result<Accounts, Error> {
        if let Some(token) = &common.token {
            return Ok(Accounts(vec![token.as_str().into()]));
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
        #[derive(Deserialize)]
        struct Created {
            seq: u64,
        }
        let path = format!("/api/v1/{plural}");
        let with = |request: RequestBuilder| request.bearer_auth(token).json(body);
        let mut response = self.call(Method::POST, &path, with).await?;
        if response.status() == StatusCode::CONFLICT {
            let there = format!("{path}/{}", body["id"].as_str().unwrap_or_default());
            response = self.call(Method::GET, &there, |request| request.bearer_auth(token)).await?;
        }
        let created: Created = decode(&path, accepted(&path, response).await?).await?;
        Ok(created.seq)
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

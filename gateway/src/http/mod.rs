//! HTTP: everything that is not the WebSocket protocol.

pub(crate) mod bridges;
mod changes;
pub(crate) mod documents;
mod entities;
pub(crate) mod health;
pub(crate) mod identities;
mod observe;
mod page;
pub(crate) mod produce;
mod resources;
mod revocations;
pub(crate) mod socket;

use std::time::Duration;

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::{
        StatusCode,
        header::{self, HeaderMap},
    },
    web,
};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use schemas::{Code, CommandId, EntityKey, Kind, Rejection};
use serde_json::Value;

use crate::{app::App, auth::Identity, hub::ChangeJson, problem::Problem};

pub(crate) use changes::{SessionsOfWorker, event_of};
pub(crate) use observe::observe;

/// A body must be there within this.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// Smaller bodies are not worth compressing.
const COMPRESS_FROM: usize = 500;

/// Whoever makes a request, by their token.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub Identity);

impl FromRequest for Caller {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { caller(&request).await.map(Self) })
    }
}

async fn caller(request: &HttpRequest) -> Result<Identity, Problem> {
    let app = app_of(request)?;
    app.metrics().requests.inc();
    match bearer(request.headers()) {
        Some(token) => app.verifier().verify_or_refresh(token).await.map_err(|error| {
            app.metrics().authentication_failed();
            Problem::new(Code::Unauthenticated, error.to_string())
        }),
        None => {
            if let Some(peer) = request.peer_addr() {
                app.limit_anonymous(peer.ip())?;
            }
            Err(Problem::new(Code::Unauthenticated, "a bearer token is needed"))
        }
    }
}

fn app_of(request: &HttpRequest) -> Result<&App, Problem> {
    let app = request.app_data::<web::Data<App>>().map(|app| app.get_ref());
    app.ok_or_else(|| Problem::new(Code::Unavailable, "the gateway is not set up"))
}

/// The token of the `Authorization` header.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The plural in a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plural(pub Kind);

impl<'de> serde::Deserialize<'de> for Plural {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == text);
        kind.map(Self).ok_or_else(|| serde::de::Error::custom("must be boards, events or rooms"))
    }
}

/// The entity that a path names, in the caller's tenant.
fn key_of(identity: &Identity, kind: Kind, id: &str) -> Result<EntityKey, Problem> {
    // What cannot be an id names nothing.
    let entity = schemas::EntityId::new(kind, id)
        .map_err(|error| Problem::new(Code::NotFound, error.to_string()))?;
    Ok(identity.key(entity))
}

/// Reads a body of at most `limits.message_bytes`.
async fn body(app: &App, payload: web::Payload) -> Result<Bytes, Problem> {
    let most = app.config().limits.message_bytes as usize;
    let most = if most == 0 { usize::MAX } else { most };
    let read = tokio::time::timeout(BODY_WITHIN, payload.to_bytes_limited(most)).await;
    match read {
        Ok(Ok(Ok(bytes))) => Ok(bytes),
        Ok(Ok(Err(error))) => {
            Err(Problem::new(Code::Invalid, error.to_string()).with_status(StatusCode::BAD_REQUEST))
        }
        Ok(Err(_over)) => {
            Err(Problem::new(Code::TooLarge, format!("a body may have {most} bytes")))
        }
        Err(_elapsed) => Err(Problem::new(Code::Invalid, "the body did not come in time")
            .with_status(StatusCode::REQUEST_TIMEOUT)),
    }
}

/// Reads a body as a JSON object.
async fn json_body(
    app: &App,
    payload: web::Payload,
) -> Result<serde_json::Map<String, Value>, Problem> {
    let bytes = body(app, payload).await?;
    let malformed =
        |detail: String| Problem::new(Code::Invalid, detail).with_status(StatusCode::BAD_REQUEST);
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(malformed("the body must be a JSON object".into())),
        Err(error) => Err(malformed(format!("the body is not JSON: {error}"))),
    }
}

/// The command id of the `Idempotency-Key` header.
fn idempotency_key(request: &HttpRequest) -> Result<Option<CommandId>, Problem> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    text.parse().map(Some).map_err(|error: schemas::id::IdError| {
        Rejection::field("Idempotency-Key", error.to_string()).into()
    })
}

/// The seq of an ETag in `If-Match`; `*` is no expectation.
fn if_match(request: &HttpRequest) -> Result<Option<i64>, Problem> {
    let Some(value) = request.headers().get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let seq = text.trim_start_matches("W/").trim_matches('"').parse();
    seq.map(Some).map_err(|_| Rejection::field("If-Match", "must be \"<seq>\"").into())
}

/// JSON that is there already, with an ETag if it has a seq.
fn json_response(status: StatusCode, seq: Option<i64>, body: impl Into<Bytes>) -> HttpResponse {
    let body = body.into();
    let mut response = HttpResponse::build(status);
    response.content_type("application/json");
    if let Some(seq) = seq {
        response.insert_header((header::ETAG, format!("\"{seq}\"")));
    }
    if body.len() < COMPRESS_FROM {
        response.insert_header((header::CONTENT_ENCODING, "identity"));
    }
    response.body(body)
}

/// `{"changes":[…],"more":…}`.
fn changes_body(changes: &[ChangeJson], more: bool) -> Vec<u8> {
    let mut out = b"{\"changes\":".to_vec();
    crate::hub::write_array(&mut out, changes.iter().map(|change| &change.json[..]));
    out.extend_from_slice(format!(",\"more\":{more}}}").as_bytes());
    out
}

/// Reads a query string; an unknown, a missing or an ill-typed parameter is named.
fn query<T: serde::de::DeserializeOwned>(request: &HttpRequest) -> Result<T, Problem> {
    let pairs = form_urlencoded::parse(request.query_string().as_bytes());
    let deserializer = serde_urlencoded::Deserializer::new(pairs);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = error.path().to_string();
        let problem: Problem = schemas::json::rejection(&path, &error.into_inner()).into();
        problem.with_status(StatusCode::BAD_REQUEST)
    })
}

/// What a node without the role of a gateway answers.
pub(crate) fn own_routes(config: &mut web::ServiceConfig) {
    config.configure(health::routes).default_service(web::to(no_route));
}

/// Every route.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::scope("/api/v1")
                .configure(identities::routes)
                .configure(revocations::routes)
                .configure(entities::routes)
                .default_service(web::to(no_route)),
        )
        .configure(socket::routes)
        .configure(produce::routes)
        .configure(bridges::routes)
        .configure(health::routes)
        .configure(documents::routes)
        .configure(page::routes);
}

async fn no_route(request: HttpRequest) -> Result<HttpResponse, Problem> {
    Err(Problem::new(
        Code::NotFound,
        format!("there is no {} {}", request.method(), request.path()),
    ))
}

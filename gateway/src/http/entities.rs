//! Boards, events and rooms over HTTP: create, read (now and then), command, list.

use std::time::{Duration, Instant};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use actors::{
    domain::{access::Actor, entity::Entity},
    ports::{EmptyOutcomes, JournalQuery, ListQuery, Order},
};
use schemas::{Code, EntityKey, Outcome, Seq, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    Caller, Plural, changes, idempotency_key, if_match, json_body, json_response, key_of, query,
    resources,
};
use crate::{
    app::App,
    auth::Identity,
    commands::{self, NewCommand},
    hub::View,
    problem::Problem,
    session::reader_of,
};

/// How long `min_seq` waits.
const MIN_SEQ_WITHIN: Duration = Duration::from_secs(5);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Outcomes read from the journal at once when the past is folded.
const FOLD_STEP: i64 = 1_000;
/// The most entities in one list.
const MOST_LISTED: i64 = 500;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/{kind:boards|events|rooms}")
            .service(web::resource("").get(list).post(create))
            .service(web::resource("/{id}").get(get))
            .service(web::resource("/{id}/commands").post(command))
            .service(web::resource("/{id}/changes").get(changes::changes))
            .configure(resources::routes),
    );
}

/// Sends a command and waits for its outcome.
pub(super) async fn execute(
    app: &App,
    identity: &Identity,
    new: NewCommand,
) -> Result<(Seq, Vec<u8>), Problem> {
    if !identity.may("command", &new.entity) {
        return Err(Problem::new(Code::Forbidden, "the token does not allow commands here"));
    }
    let expects = new.expect.is_some();
    let command = commands::make(app, identity, new)?;
    let patience = app.config().command_timeout;
    let delivery = tokio::time::timeout(patience, app.hub().execute(&command)).await;
    let delivery = delivery.map_err(|_| {
        let detail = "no outcome yet; retry with the same Idempotency-Key to learn it";
        Problem::new(Code::Timeout, detail)
    })??;
    commands::answer(app, &delivery).await.map_err(|problem| {
        let about_expect = problem.errors.iter().any(|error| error.field == "expect");
        if expects && about_expect {
            problem.with_status(StatusCode::PRECONDITION_FAILED)
        } else {
            problem
        }
    })
}

async fn create(
    app: web::Data<App>,
    Caller(identity): Caller,
    kind: web::Path<Plural>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let Plural(kind) = kind.into_inner();
    let command_id =
        idempotency_key(&request)?.unwrap_or_else(|| schemas::CommandId::new(Uuid::now_v7()));
    let mut fields = json_body(&app, payload).await?;
    let id = match fields.remove("id") {
        None | Some(Value::Null) => command_id.to_string().replace('-', ""),
        Some(Value::String(id)) => id,
        Some(_) => return Err(schemas::Rejection::field("id", "must be a string").into()),
    };
    let entity = schemas::EntityId::new(kind, &id)
        .map_err(|error| schemas::Rejection::field("id", error.to_string()))?;
    let name = match kind {
        schemas::Kind::Board => "createBoard",
        schemas::Kind::Event => "createEvent",
        schemas::Kind::Room => "createRoom",
    };
    if fields.insert("type".into(), name.into()).is_some() {
        return Err(schemas::Rejection::field("type", "is not a field of this").into());
    }
    let key = identity.key(entity.clone());
    let new = NewCommand { entity, body: fields.into(), id: Some(command_id), expect: None };
    let (seq, _) = execute(&app, &identity, new).await?;
    let mut view = app.hub().view(&key, reader_of(&identity)).await?;
    if view.seq > seq {
        // A repeat gets the first answer, whatever has happened since.
        view = past(&app, &identity, &key, Moment::Seq(seq)).await?;
    }
    let mut response = view_response(StatusCode::CREATED, &key, &view);
    let location = format!("/api/v1/{}/{}", kind.plural(), key.entity.id());
    if let Ok(location) = header::HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn view_response(status: StatusCode, key: &EntityKey, view: &View) -> HttpResponse {
    let mut body =
        format!("{{\"entity\":\"{}\",\"seq\":{},\"state\":", key.entity, view.seq).into_bytes();
    body.extend_from_slice(&view.state);
    body.push(b'}');
    json_response(status, Some(view.seq), body)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GetQuery {
    at_seq: Option<Seq>,
    at_time: Option<String>,
    min_seq: Option<Seq>,
}

async fn get(
    app: web::Data<App>,
    Caller(identity): Caller,
    path: web::Path<(Plural, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (Plural(kind), id) = path.into_inner();
    let key = key_of(&identity, kind, &id)?;
    let wanted: GetQuery = query(&request)?;
    let view = match (wanted.at_seq, wanted.at_time) {
        (None, None) => present(&app, &identity, &key, wanted.min_seq).await?,
        (Some(seq), None) => past(&app, &identity, &key, Moment::Seq(seq)).await?,
        (None, Some(time)) => {
            let time: Timestamp = time
                .parse()
                .map_err(|error: String| schemas::Rejection::field("at_time", error))?;
            past(&app, &identity, &key, Moment::Time(time)).await?
        }
        (Some(_), Some(_)) => {
            return Err(schemas::Rejection::field("at_time", "not together with at_seq").into());
        }
    };
    let etag = format!("\"{}\"", view.seq);
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim() == etag)) {
        return Ok(HttpResponse::NotModified().insert_header((header::ETAG, etag)).finish());
    }
    Ok(view_response(StatusCode::OK, &key, &view))
}

/// The state now, at least as new as `min_seq` (R13).
pub(super) async fn present(
    app: &App,
    identity: &Identity,
    key: &EntityKey,
    min_seq: Option<Seq>,
) -> Result<View, Problem> {
    let started = Instant::now();
    loop {
        let view = app.hub().view(key, reader_of(identity)).await?;
        if min_seq.is_none_or(|least| view.seq >= least) {
            return Ok(view);
        }
        if started.elapsed() > MIN_SEQ_WITHIN {
            let detail = format!("{} is at seq {}", key.entity, view.seq);
            return Err(Problem::new(Code::Timeout, detail));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[derive(Debug, Clone, Copy)]
enum Moment {
    Seq(Seq),
    Time(Timestamp),
}

/// The state as it was, folded from the journal.
async fn past(
    app: &App,
    identity: &Identity,
    key: &EntityKey,
    moment: Moment,
) -> Result<View, Problem> {
    let now = app.hub().check(key, reader_of(identity)).await?;
    let last = match moment {
        Moment::Seq(seq) if !(1..=now).contains(&seq) => {
            let detail = format!("{} is at seq {now}", key.entity);
            return Err(Problem::new(Code::NotFound, detail));
        }
        Moment::Seq(seq) => seq,
        Moment::Time(_) => now,
    };
    let mut entity = Entity::new(key.clone());
    while entity.seq < last {
        let query = JournalQuery {
            after: entity.seq,
            before: last + 1,
            order: Order::OldestFirst,
            limit: FOLD_STEP,
            empty: EmptyOutcomes::Skip,
        };
        let before = entity.seq;
        for outcome in app.hub().journal(key, query).await? {
            if is_after(&outcome, moment) {
                return view_of(&entity, identity);
            }
            entity.apply_until(&outcome, last);
        }
        if entity.seq == before {
            return Err(Problem::new(Code::Unavailable, "the journal has a gap"));
        }
    }
    view_of(&entity, identity)
}

fn is_after(outcome: &Outcome, moment: Moment) -> bool {
    matches!(moment, Moment::Time(time) if outcome.at > time)
}

fn view_of(entity: &Entity, identity: &Identity) -> Result<View, Problem> {
    let actor = Actor { principal: &identity.principal, is_admin: identity.is_admin() };
    if entity.aggregate.is_none() {
        let detail = format!("{} did not exist then", entity.key.entity);
        return Err(Problem::new(Code::NotFound, detail));
    }
    if !entity.may_read(actor) {
        let detail = format!("{} was not open to you then", entity.key.entity);
        return Err(Problem::new(Code::Forbidden, detail));
    }
    let state = serde_json::to_vec(&entity.view()).unwrap_or_default().into();
    Ok(View { seq: entity.seq, state })
}

async fn command(
    app: web::Data<App>,
    Caller(identity): Caller,
    path: web::Path<(Plural, String)>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (Plural(kind), id) = path.into_inner();
    let key = key_of(&identity, kind, &id)?;
    let fields = json_body(&app, payload).await?;
    send(&app, &identity, &key, &request, fields).await
}

/// Sends the command that a request's headers and these fields make.
pub(super) async fn send(
    app: &App,
    identity: &Identity,
    key: &EntityKey,
    request: &HttpRequest,
    fields: Map<String, Value>,
) -> Result<HttpResponse, Problem> {
    let new = NewCommand {
        entity: key.entity.clone(),
        body: fields.into(),
        id: idempotency_key(request)?,
        expect: if_match(request)?,
    };
    let (seq, body) = execute(app, identity, new).await?;
    Ok(json_response(StatusCode::OK, Some(seq), body))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    q: Option<String>,
    limit: Option<i64>,
    cursor: Option<String>,
}

async fn list(
    app: web::Data<App>,
    Caller(identity): Caller,
    kind: web::Path<Plural>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let Plural(kind) = kind.into_inner();
    let wanted: ListParameters = query(&request)?;
    let limit = wanted.limit.unwrap_or(100).clamp(1, MOST_LISTED);
    let reader = if identity.is_admin() { None } else { identity.principal.user().cloned() };
    let rows = app
        .hub()
        .ports()
        .store
        .list(ListQuery {
            tenant: Some(identity.tenant.clone()),
            kind,
            reader,
            text: wanted.q.filter(|text| !text.is_empty()),
            after: wanted.cursor,
            limit: limit + 1,
        })
        .await
        .map_err(crate::hub::store_problem)?;
    let limit = usize::try_from(limit).unwrap_or(0);
    let cursor = (rows.len() > limit)
        .then(|| rows.get(limit - 1).map(|row| row.key.entity.id().to_owned()))
        .flatten();
    let items: Vec<_> = rows
        .iter()
        .take(limit)
        .filter(|row| identity.may("join", &row.key.entity))
        .map(|row| {
            json!({
                "entity": row.key.entity, "title": row.title, "seq": row.seq,
                "createdAt": row.created_at, "updatedAt": row.updated_at,
            })
        })
        .collect();
    let body = json!({"items": items, "cursor": cursor}).to_string();
    Ok(json_response(StatusCode::OK, None, body))
}

//! An entity's journal: paged, with the rejected commands for the audit, or live as server-sent
//! events (HTML standard, "Server-sent events").

use std::{rc::Rc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use actors::ports::{EmptyOutcomes, JournalQuery, Order};
use bytes::Bytes;
use schemas::{Code, EntityKey, Outcome, Seq, Verdict};
use serde::Deserialize;
use serde_json::json;

use super::{Caller, Plural, changes_body, json_response, key_of, query};
use crate::{
    app::App,
    auth::Identity,
    hub::{
        ChangeJson, ClientKind, HistoryRange, MOST_HISTORY, Sessions, SubscribeTo, changes_json,
    },
    outbox::{Outbox, Pending, Weight, outbox},
    problem::Problem,
    session::reader_of,
};

/// How often a stream that catches up looks whether its client has read.
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangesQuery {
    after: Option<Seq>,
    before: Option<Seq>,
    limit: Option<i64>,
    rejected: Option<bool>,
}

pub(super) async fn changes(
    app: web::Data<App>,
    sessions: web::Data<SessionsOfWorker>,
    Caller(identity): Caller,
    path: web::Path<(Plural, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (Plural(kind), id) = path.into_inner();
    let key = key_of(&identity, kind, &id)?;
    if !identity.may("history", &key.entity) {
        return Err(Problem::new(Code::Forbidden, "the token does not allow history here"));
    }
    let wanted: ChangesQuery = query(&request)?;
    let accepts = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if accepts.is_some_and(|accepts| accepts.contains("text/event-stream")) {
        let last = request.headers().get("last-event-id").and_then(|value| value.to_str().ok());
        let after = match last {
            Some(last) => Some(last.parse().map_err(|_| {
                Problem::from(schemas::Rejection::field("Last-Event-ID", "must be a seq"))
            })?),
            None => wanted.after,
        };
        return stream(app, &sessions.0, identity, key, after).await;
    }
    let limit = wanted.limit.unwrap_or(MOST_HISTORY).clamp(1, MOST_HISTORY);
    if wanted.rejected == Some(true) {
        return audit(&app, &identity, &key, wanted.after.unwrap_or(0), limit).await;
    }
    let range = match wanted.before {
        Some(before) => HistoryRange::Before(before),
        None => HistoryRange::After(wanted.after.unwrap_or(0)),
    };
    let (changes, more) = app.hub().history(&key, reader_of(&identity), range, limit).await?;
    Ok(json_response(StatusCode::OK, None, changes_body(&changes, more)))
}

/// Changes and rejected commands, in the order they were decided.
async fn audit(
    app: &App,
    identity: &Identity,
    key: &EntityKey,
    after: Seq,
    limit: i64,
) -> Result<HttpResponse, Problem> {
    app.hub().check(key, reader_of(identity)).await?;
    // An outcome without changes stands at the seq before it, so one step back finds those that
    // were decided at `after`.
    let query = JournalQuery {
        after: after - 1,
        before: Seq::MAX,
        order: Order::OldestFirst,
        limit: limit + 1,
        empty: EmptyOutcomes::Include,
    };
    let outcomes = app.hub().journal(key, query).await?;
    let limit = usize::try_from(limit).unwrap_or(0);
    let more = outcomes.len() > limit;
    let mut seq = after;
    let mut rows = Vec::new();
    for outcome in outcomes.iter().take(limit) {
        match &outcome.verdict {
            Verdict::Accepted { .. } => {
                let changes = changes_json(outcome);
                seq = changes.last().map_or(seq, |change| change.seq);
                rows.extend(changes.into_iter().filter(|change| change.seq > after));
            }
            Verdict::Rejected(_) | Verdict::Skipped { .. } => {
                rows.push(ChangeJson { seq, json: rejected(key, seq, outcome).into() });
            }
        }
    }
    Ok(json_response(StatusCode::OK, None, changes_body(&rows, more)))
}

fn rejected(key: &EntityKey, seq: Seq, outcome: &Outcome) -> String {
    let data = match &outcome.verdict {
        Verdict::Rejected(rejection) => schemas::json::rejection_to_value(rejection),
        Verdict::Skipped { reason } => json!({"code": "skipped", "message": reason}),
        Verdict::Accepted { .. } => json!({}),
    };
    json!({
        "entity": key.entity, "seq": seq, "type": "commandRejected", "at": outcome.at,
        "by": outcome.by, "commandId": outcome.command_id, "data": data,
    })
    .to_string()
}

/// This worker's sessions, for handlers.
pub(crate) struct SessionsOfWorker(pub Sessions);

/// A change as an event: its seq is the id by which a client resumes.
pub(crate) fn event_of(change: &ChangeJson) -> Bytes {
    let mut event = format!("id: {}\nevent: change\ndata: ", change.seq).into_bytes();
    event.extend_from_slice(&change.json);
    event.extend_from_slice(b"\n\n");
    event.into()
}

async fn stream(
    app: web::Data<App>,
    sessions: &Sessions,
    identity: Identity,
    key: EntityKey,
    after: Option<Seq>,
) -> Result<HttpResponse, Problem> {
    let permit = app.take_socket()?;
    let now = app.hub().check(&key, reader_of(&identity)).await?;
    let (sender, body) = outbox(app.config().limits.buffer_bytes as usize);
    let client = sessions.open(ClientKind::EventStream, sender.clone());
    client.expires.set(Some(identity.expires));
    let identity = Rc::new(identity);
    *client.identity.borrow_mut() = Some(identity.clone());
    let sessions = sessions.clone();
    actix_web::rt::spawn(async move {
        let _permit = permit;
        match catch_up(&app, &identity, &key, after.unwrap_or(now), &sender).await {
            Err(problem) => {
                tracing::info!(entity = %key.entity, %problem, "a stream ended");
                sender.end(Bytes::new(), Pending::Send);
            }
            Ok(reached) => {
                let to = SubscribeTo {
                    shard: sessions.shard(),
                    session: client.id,
                    request: "null".into(),
                    reader: reader_of(&identity),
                    since: Some(reached),
                    show: false,
                    journal: None,
                };
                app.hub().subscribe(&key, to).await.ok();
            }
        }
        while !sender.is_ending() {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        sessions.close(&client);
    });
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_ENCODING, "identity"));
    Ok(response.streaming(body))
}

/// Sends what the journal has after `after`, no faster than the client reads.
async fn catch_up(
    app: &App,
    identity: &Identity,
    key: &EntityKey,
    after: Seq,
    sender: &Outbox,
) -> Result<Seq, Problem> {
    let mut after = after;
    loop {
        let range = HistoryRange::After(after);
        let (changes, more) =
            app.hub().history(key, reader_of(identity), range, MOST_HISTORY).await?;
        for change in &changes {
            after = change.seq;
            // Exempt bytes are never refused.
            sender.push(event_of(change), Weight::Exempt).ok();
        }
        if !more || sender.is_ending() {
            return Ok(after);
        }
        while !sender.is_empty() && !sender.is_ending() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

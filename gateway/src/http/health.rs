//! Health for people, orchestrators and Prometheus.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use actors::{
    ports::{Topic, TopicPartition},
    runtime::owner::Phase,
};
use futures_util::future::join_all;
use schemas::{Code, Kind, TenantId, UserName};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{error::Elapsed, timeout};

use super::{json_body, json_response};
use crate::{app::App, metrics, problem::Problem};

/// A tail this many outcomes behind the log is unwell.
const LAGGING: i64 = 10_000;
/// A fan-out that has not moved for so long is unwell: longer than a hand-over between nodes takes.
const STALLED: Duration = Duration::from_secs(5);
/// One that has not moved for so long needs somebody.
const STUCK: Duration = Duration::from_secs(30);

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/health", web::get().to(health))
        .route("/live", web::get().to(live))
        .route("/ready", web::get().to(ready))
        .route("/metrics", web::get().to(metrics_text))
        .route("/dev/token", web::post().to(development_token));
}

async fn live() -> HttpResponse {
    json_response(StatusCode::OK, None, r#"{"status":"live"}"#)
}

async fn ready(app: web::Data<App>) -> HttpResponse {
    if app.is_ready().await {
        json_response(StatusCode::OK, None, r#"{"status":"ready"}"#)
    } else {
        let reason = if app.is_draining() { "draining" } else { "starting" };
        let body = json!({"status": "not ready", "reason": reason}).to_string();
        json_response(StatusCode::SERVICE_UNAVAILABLE, None, body)
    }
}

async fn metrics_text(app: web::Data<App>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(metrics::render(&app).await)
}

/// How one service is.
struct Service {
    name: &'static str,
    state: State,
    details: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Healthy,
    Degraded,
    Unhealthy,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

async fn health(app: web::Data<App>) -> HttpResponse {
    let services = [
        log(&app).await,
        store(&app).await,
        owners(&app).await,
        fan_out(&app).await,
        signals(&app),
    ];
    let worst = services.iter().map(|service| service.state).max().unwrap_or(State::Healthy);
    let named: serde_json::Map<String, Value> = services
        .into_iter()
        .map(|service| {
            let mut details = service.details;
            details["state"] = service.state.as_str().into();
            (service.name.to_owned(), details)
        })
        .collect();
    let status = match worst {
        State::Healthy | State::Degraded => StatusCode::OK,
        State::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = json!({
        "status": worst.as_str(),
        "node": app.config().node,
        "version": env!("CARGO_PKG_VERSION"),
        "draining": app.is_draining(),
        "services": named,
    });
    json_response(status, None, body.to_string())
}

fn millis_since(started: Instant) -> f64 {
    (started.elapsed().as_secs_f64() * 1e6).round() / 1e3
}

async fn log(app: &App) -> Service {
    let started = Instant::now();
    let of = TopicPartition::new(Topic::Outcomes(Kind::Board), 0);
    let result = app.hub().ports().log.bounds(&of).await;
    let mut details = json!({"latencyMs": millis_since(started)});
    let state = match result {
        Ok(_) => State::Healthy,
        Err(error) => {
            details["reason"] = error.to_string().into();
            State::Unhealthy
        }
    };
    Service { name: "log", state, details }
}

async fn store(app: &App) -> Service {
    let started = Instant::now();
    let result = app.hub().ports().store.partition(Kind::Board, 0).await;
    let mut details = json!({"latencyMs": millis_since(started)});
    let state = match result {
        Ok(_) => State::Healthy,
        Err(error) => {
            details["reason"] = error.to_string().into();
            State::Unhealthy
        }
    };
    let lag: usize =
        app.hub().gauges().map(|(_, _, gauge)| gauge.ahead.load(Ordering::Relaxed)).sum();
    details["lag"] = lag.into();
    Service { name: "store", state, details }
}

async fn owners(app: &App) -> Service {
    let Some(node) = app.node() else {
        return Service { name: "owners", state: State::Healthy, details: json!({}) };
    };
    let deciding = |phase: &Phase| matches!(phase, Phase::Deciding { .. });
    let all = node.is_ready().await;
    let owned = metrics::owned(app, node).await;
    let partitions: Vec<_> = owned
        .iter()
        .map(|(one, lag)| {
            json!({
                "kind": one.kind, "partition": one.partition,
                "epoch": one.position.epoch, "offset": one.position.offset,
                "deciding": deciding(&one.phase), "entities": one.entities, "lag": lag,
            })
        })
        .collect();
    let state = if all { State::Healthy } else { State::Unhealthy };
    let lag: i64 = owned.iter().filter_map(|(_, lag)| *lag).sum();
    Service { name: "owners", state, details: json!({"partitions": partitions, "lag": lag}) }
}

/// Fan-out is well while every tail keeps up with the log, and every shard takes what is queued.
async fn fan_out(app: &App) -> Service {
    let followed = app.hub().gauges().filter_map(|(kind, partition, gauge)| {
        let position = gauge.position.load(Ordering::Relaxed);
        (position >= 0).then(|| (TopicPartition::new(Topic::Outcomes(kind), partition), position))
    });
    let lags = followed.map(|(of, position)| async move {
        let bounds = app.hub().ports().log.bounds(&of).await;
        bounds.map_or(0, |bounds| (bounds.end - position).max(0))
    });
    let lag: i64 = join_all(lags).await.into_iter().sum();
    let stalled = app.hub().stalled_for(Instant::now());
    let lagging = if lag > LAGGING { State::Degraded } else { State::Healthy };
    let state = lagging.max(state_of_stall(stalled));
    let details = json!({"lag": lag, "stalledSeconds": stalled.as_secs()});
    Service { name: "fanOut", state, details }
}

fn state_of_stall(lasts: Duration) -> State {
    match lasts {
        lasts if lasts > STUCK => State::Unhealthy,
        lasts if lasts > STALLED => State::Degraded,
        _ => State::Healthy,
    }
}

/// Whether log, store and signals can be reached; who does not answer within a time cannot.
pub(crate) async fn reachable(app: &App, within: Duration) -> [(&'static str, bool); 3] {
    let is_well = |service: Result<Service, Elapsed>| {
        service.is_ok_and(|service| service.state == State::Healthy)
    };
    let (log, store) = tokio::join!(timeout(within, log(app)), timeout(within, store(app)));
    let signals = app.signals_reach_others();
    [("log", is_well(log)), ("store", is_well(store)), ("signals", signals)]
}

/// Everything but signals goes on while they reach this node only.
fn signals(app: &App) -> Service {
    let state = if app.signals_reach_others() { State::Healthy } else { State::Degraded };
    Service { name: "signals", state, details: json!({}) }
}

#[derive(Debug, Deserialize)]
struct TokenFields {
    sub: UserName,
    #[serde(default)]
    tenant: Option<TenantId>,
}

/// Development only, for loopback addresses: a token for whoever asks.
async fn development_token(
    app: web::Data<App>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    if !request.peer_addr().is_some_and(|peer| peer.ip().is_loopback()) {
        return Err(Problem::new(Code::NotFound, "there is no such path"));
    }
    let fields: TokenFields = schemas::json::from_value(json_body(&app, payload).await?.into())?;
    let tenant = match fields.tenant {
        Some(tenant) => tenant,
        None => "main".parse().map_err(|_| Problem::new(Code::Invalid, "tenant"))?,
    };
    let token = app.development_token(&fields.sub, &tenant)?;
    Ok(json_response(StatusCode::OK, None, json!({"token": token}).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_turns_health_after_its_bounds() {
        assert_eq!(state_of_stall(Duration::ZERO), State::Healthy);
        assert_eq!(state_of_stall(STALLED), State::Healthy);
        assert_eq!(state_of_stall(STALLED + Duration::from_millis(1)), State::Degraded);
        assert_eq!(state_of_stall(STUCK + Duration::from_millis(1)), State::Unhealthy);
    }
}

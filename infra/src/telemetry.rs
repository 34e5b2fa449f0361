//! Logs, and traces for whoever collects them. Logs are lines for people on a terminal, JSON elsewhere;
//! `RUST_LOG` narrows them. Traces go over OTLP (OpenTelemetry Protocol, HTTP with protobuf) if a collector is
//! named: in batches, from a thread of their own, and what does not fit its queue is dropped.

use std::{
    any::Any,
    collections::HashMap,
    io::IsTerminal as _,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use actors::trace::{self, Exporter, HEADER, TARGET};
use async_trait::async_trait;
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator as _,
    trace::{TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use tokio::runtime::Handle;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::filter_fn, fmt, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::config::{LogFormat, TelemetryConfig};

/// A collector must answer within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// At the end, spans that wait are sent within this.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// Why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
#[error("telemetry.otlp_endpoint {endpoint}: {reason}")]
pub struct TelemetryError {
    endpoint: String,
    reason: String,
}

/// What was started.
#[derive(Debug, Default)]
pub struct Telemetry {
    spans: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts logging to stderr, and exporting if a collector is named. Must be called within a runtime, which
    /// sends what is exported. A second call of a process changes nothing.
    ///
    /// # Errors
    /// If the collector's address cannot be used.
    pub fn start(config: &TelemetryConfig, node: &str) -> Result<Self, TelemetryError> {
        let spans = config.otlp_endpoint.as_deref().map(|endpoint| provider(endpoint, node));
        let spans = spans.transpose()?;
        let exported = spans.as_ref().map(|spans| {
            tracing_opentelemetry::layer()
                .with_tracer(spans.tracer("switchyard"))
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_filter(filter_fn(|metadata| metadata.target() == TARGET))
        });
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let lines = fmt::layer().with_writer(std::io::stderr);
        let is_text = match config.log_format {
            LogFormat::Auto => std::io::stderr().is_terminal(),
            LogFormat::Text => true,
            LogFormat::Json => false,
        };
        let (text, json) = match is_text {
            true => (Some(lines.with_ansi(std::io::stderr().is_terminal())), None),
            false => (None, Some(lines.json().flatten_event(true))),
        };
        let lines = text.map(|layer| layer.boxed()).or(json.map(|layer| layer.boxed()));
        let registry = tracing_subscriber::registry().with(exported);
        // Tests start several nodes in one process; the first subscriber serves them all.
        let is_first = registry.with(lines.with_filter(filter)).try_init().is_ok();
        if spans.is_some() && is_first {
            let ratio = config.sample;
            trace::install(Exporter {
                traceparent,
                follow,
                samples: Box::new(move || rand::random::<f64>() < ratio),
            });
        }
        Ok(Self { spans })
    }

    /// Sends what waits, for two seconds at most.
    pub async fn stop(self) {
        let Some(spans) = self.spans else { return };
        let stopped =
            tokio::task::spawn_blocking(move || spans.shutdown_with_timeout(FLUSH_WITHIN)).await;
        if !matches!(stopped, Ok(Ok(()))) {
            tracing::warn!(?stopped, "spans were not all exported");
        }
    }
}

fn provider(endpoint: &str, node: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let failed = |reason: String| TelemetryError { endpoint: endpoint.to_owned(), reason };
    let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).build();
    let http = http.map_err(|error| failed(error.to_string()))?;
    let sender = Sender { http, runtime: Handle::current(), is_failing: AtomicBool::new(false) };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(sender)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(ANSWER_WITHIN)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let resource = Resource::builder()
        .with_service_name("switchyard")
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", node.to_owned()),
        ])
        .build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        // What is not sampled has no span.
        .with_sampler(Sampler::AlwaysOn)
        .with_resource(resource);
    Ok(provider.build())
}

/// The header that names a span (W3C Trace Context).
fn traceparent(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let known = span.span_context();
    let header = || {
        let flags = known.trace_flags().to_u8();
        format!("00-{}-{}-{flags:02x}", known.trace_id(), known.span_id())
    };
    known.is_valid().then(header)
}

fn follow(cause: &str) -> Box<dyn Any> {
    let carrier = HashMap::from([(HEADER.to_owned(), cause.to_owned())]);
    let propagator = TraceContextPropagator::new();
    Box::new(propagator.extract_with_context(&Context::new(), &carrier).attach())
}

/// Sends batches over the runtime of the node.
#[derive(Debug)]
struct Sender {
    http: reqwest::Client,
    runtime: Handle,
    is_failing: AtomicBool,
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let call = self.http.request(head.method, head.uri.to_string());
        let call = call.headers(head.headers).body(body);
        let sent = self.runtime.spawn(async move {
            // Its timer is the runtime's.
            let answer = call.send().await?;
            let status = answer.status();
            Ok::<_, reqwest::Error>((status, answer.bytes().await?))
        });
        let result = sent.await.map_err(HttpError::from).and_then(|sent| Ok(sent?));
        let is_failing = !matches!(&result, Ok((status, _)) if status.is_success());
        // Once for each time that it is away.
        if is_failing && !self.is_failing.swap(true, Ordering::Relaxed) {
            let status = result.as_ref().ok().map(|(status, _)| status.as_u16());
            let error = result.as_ref().err();
            tracing::warn!(status, ?error, "the collector of traces takes nothing");
        }
        self.is_failing.store(is_failing, Ordering::Relaxed);
        let (status, body) = result?;
        Ok(Response::builder().status(status).body(body)?)
    }
}

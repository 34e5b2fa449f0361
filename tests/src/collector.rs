//! A collector of traces: takes what a node exports over OTLP (HTTP with protobuf) and keeps it.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, ensure};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value,
};
use prost::Message as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// A span as it came.
#[derive(Debug, Clone)]
pub struct Span {
    /// Its trace, in hexadecimal.
    pub trace: String,
    /// Its id, in hexadecimal.
    pub id: String,
    /// The id of the span that caused it; empty for none.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    /// Nanoseconds since the Unix epoch.
    pub end: u64,
    /// Its attributes as text.
    pub attributes: HashMap<String, String>,
}

impl Span {
    /// What an attribute says; nothing if it is not there.
    pub fn says(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).map(String::as_str).unwrap_or_default()
    }
}

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    /// What `telemetry.otlp_endpoint` must be.
    pub endpoint: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    /// Listens on a free port.
    ///
    /// # Errors
    /// If there is none.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let kept = Arc::clone(&spans);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move { serve(connection, &kept).await });
            }
        });
        Ok(Self { endpoint, spans })
    }

    /// What came by now.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(connection: TcpStream, kept: &Mutex<Vec<Span>>) -> anyhow::Result<()> {
    let mut connection = BufReader::new(connection);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            ensure!(connection.read_line(&mut head).await? > 0, "the node is gone");
        }
        ensure!(head.starts_with("POST /v1/traces "), "not an export: {head}");
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let mut body = vec![0; length.context("no Content-Length")?];
        connection.read_exact(&mut body).await?;
        let spans = decode(&body)?;
        kept.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
    }
}

fn decode(body: &[u8]) -> anyhow::Result<Vec<Span>> {
    let request = ExportTraceServiceRequest::decode(body)?;
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let spans = scopes.flat_map(|scope| scope.spans).map(|span| Span {
        trace: hex::encode(span.trace_id),
        id: hex::encode(span.span_id),
        parent: hex::encode(span.parent_span_id),
        name: span.name,
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        attributes: span
            .attributes
            .into_iter()
            .map(|attribute| {
                let value = attribute.value.and_then(|value| value.value);
                let text = match value {
                    Some(any_value::Value::StringValue(text)) => text,
                    Some(any_value::Value::IntValue(number)) => number.to_string(),
                    other => format!("{other:?}"),
                };
                (attribute.key, text)
            })
            .collect(),
    });
    Ok(spans.collect())
}

/// The height of a row of a picture.
const ROW: usize = 26;
/// Where the bars begin, and how long the whole trace is.
const BARS: (usize, usize) = (330, 620);

/// A trace as a picture: a row for each span below the one that caused it, a bar for its time.
pub fn picture(spans: &[Span]) -> String {
    let first = spans.iter().map(|span| span.start).min().unwrap_or(0);
    let last = spans.iter().map(|span| span.end).max().unwrap_or(0);
    let scale = BARS.1 as f64 / last.saturating_sub(first).max(1) as f64;
    let mut rows = Vec::new();
    let known = |id: &str| spans.iter().any(|span| span.id == id);
    let mut roots: Vec<_> = spans.iter().filter(|span| !known(&span.parent)).collect();
    roots.sort_by_key(|span| span.start);
    for root in roots {
        add_rows(root, 0, spans, &mut rows);
    }
    let (width, height) = (BARS.0 + BARS.1 + 110, (rows.len() + 1) * ROW);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (row, (depth, span)) in rows.iter().enumerate() {
        let (top, left) = (row * ROW + ROW / 2, 12 + depth * 16);
        let x = BARS.0 as f64 + (span.start - first) as f64 * scale;
        let wide = ((span.end - span.start) as f64 * scale).max(2.0);
        let about = match span.name.as_str() {
            "call" => span.says("platform"),
            _ => span.says("topic"),
        };
        let millis = (span.end - span.start) as f64 / 1e6;
        let colour = match span.name.as_str() {
            "append" => "#9aa7b8",
            "decide" => "#d08a2e",
            "fan-out" => "#3c8d5a",
            "call" => "#8a5bb5",
            _ => "#3f6fb5",
        };
        // Writing into a string cannot fail.
        writeln!(
            svg,
            "<text x=\"{left}\" y=\"{}\" fill=\"#222\">{} <tspan fill=\"#777\">{about}</tspan></text>\n\
             <rect x=\"{x:.1}\" y=\"{}\" width=\"{wide:.1}\" height=\"16\" rx=\"2\" fill=\"{colour}\"/>\n\
             <text x=\"{:.1}\" y=\"{}\" fill=\"#555\">{millis:.2} ms</text>",
            top + 13, span.name, top, x + wide + 6.0, top + 13
        )
        .ok();
    }
    svg.push_str("</svg>\n");
    svg
}

fn add_rows<'a>(
    span: &'a Span,
    depth: usize,
    spans: &'a [Span],
    rows: &mut Vec<(usize, &'a Span)>,
) {
    rows.push((depth, span));
    let mut caused: Vec<_> = spans.iter().filter(|other| other.parent == span.id).collect();
    caused.sort_by_key(|span| span.start);
    for other in caused {
        add_rows(other, depth + 1, spans, rows);
    }
}

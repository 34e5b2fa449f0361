//! What happened to one message, hop by hop: spans whose context goes with the records, in a header as
//! W3C Trace Context has it. Nothing is made, no span and no header, unless whoever exports spans has been
//! [installed](install) and the message's trace is sampled.
//!
//! Spans are those of `tracing`, with the target [`TARGET`]. They name ids, never tokens or what people say.

use std::{
    any::Any,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use schemas::Offset;
use tracing::{Instrument as _, Span, field};

use crate::ports::{Headers, Log, LogError, NewRecord, TopicPartition};

/// The target of spans that are exported.
pub const TARGET: &str = "switchyard::trace";
/// The header of records and of HTTP (W3C Trace Context, section 3.2).
pub const HEADER: &str = "traceparent";
/// The length of a header of version 00.
const LENGTH: usize = 55;

/// Whoever exports spans.
pub struct Exporter {
    /// The header that names a span; nothing if the span is not exported.
    pub traceparent: fn(&Span) -> Option<String>,
    /// Makes the spans that are made while it is held follow from the one that the header names; from
    /// none if it is empty.
    pub follow: fn(&str) -> Box<dyn Any>,
    /// Whether a trace that begins here is sampled.
    pub samples: Box<dyn Fn() -> bool + Send + Sync>,
}

static EXPORTER: OnceLock<Exporter> = OnceLock::new();
static IS_ON: AtomicBool = AtomicBool::new(false);

/// Spans are made from now on. A second exporter of a process is not used.
pub fn install(exporter: Exporter) {
    if EXPORTER.set(exporter).is_ok() {
        IS_ON.store(true, Ordering::Relaxed);
    }
}

/// Whether spans are made at all.
pub fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// A header that may be followed: well-formed, of version 00, and sampled.
pub fn sampled(header: &str) -> Option<&str> {
    let parts: Vec<&str> = header.split('-').collect();
    let [version, trace, parent, flags] = parts[..] else { return None };
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_null = |part: &str| part.bytes().all(|byte| byte == b'0');
    let holds = header.len() == LENGTH
        && version == "00"
        && is_hex(trace, 32)
        && is_hex(parent, 16)
        && is_hex(flags, 2)
        && !is_null(trace)
        && !is_null(parent);
    let flags = u8::from_str_radix(flags, 16).unwrap_or(0);
    (holds && flags & 1 == 1).then_some(header)
}

/// The cause of a trace that may begin here: `Some("")` for one that does, the header for one that goes on,
/// nothing for one that is not sampled.
pub fn begins(header: Option<&str>) -> Option<&str> {
    if !is_on() {
        return None;
    }
    match header {
        Some(header) => sampled(header),
        None => EXPORTER.get().is_some_and(|exporter| (exporter.samples)()).then_some(""),
    }
}

/// The cause that goes with a record.
pub fn cause(headers: &Headers) -> Option<&str> {
    if headers.is_empty() || !is_on() {
        return None;
    }
    let (_, value) = headers.iter().find(|(name, _)| name == HEADER)?;
    sampled(std::str::from_utf8(value).ok()?)
}

/// The header that names a span.
pub fn traceparent(span: &Span) -> Option<String> {
    if span.is_none() {
        return None;
    }
    (EXPORTER.get()?.traceparent)(span)
}

/// Makes a span that follows from a cause.
pub fn caused_by(cause: &str, make: impl FnOnce() -> Span) -> Span {
    let Some(exporter) = EXPORTER.get() else { return Span::none() };
    let held = (exporter.follow)(cause);
    let span = make();
    drop(held);
    if let Some(header) = (exporter.traceparent)(&span) {
        // Log lines within it say its trace.
        span.record("trace_id", header.split('-').nth(1).unwrap_or_default());
    }
    span
}

/// A span that is exported, with the cause that [`begins`](crate::trace::begins) or
/// [`cause`](crate::trace::cause) gave; none without one. Further fields are ids and counts.
#[macro_export]
macro_rules! span {
    ($name:literal, $cause:expr $(, $($fields:tt)*)?) => {
        match $cause {
            Some(cause) => $crate::trace::caused_by(cause, || {
                tracing::info_span!(
                    target: $crate::trace::TARGET, $name,
                    trace_id = tracing::field::Empty $(, $($fields)*)?
                )
            }),
            None => tracing::Span::none(),
        }
    };
}

/// Appends a record; where the current span is exported, in a span of its own that goes with the record.
pub fn append(
    log: &dyn Log,
    to: &TopicPartition,
    mut record: NewRecord,
) -> BoxFuture<'static, Result<Offset, LogError>> {
    if !is_on() {
        return log.append(to, record);
    }
    let cause = traceparent(&Span::current());
    let span = crate::span!("append", cause.as_deref(), topic = %to, offset = field::Empty);
    let Some(header) = traceparent(&span) else { return log.append(to, record) };
    record.headers.push((HEADER.to_owned(), Bytes::from(header)));
    let append = log.append(to, record);
    let appended = span.clone();
    Box::pin(
        async move {
            let result = append.await;
            if let Ok(offset) = &result {
                appended.record("offset", *offset);
            }
            result
        }
        .instrument(span),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_well_formed_and_sampled_is_followed() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(sampled(good), Some(good));
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert_eq!(sampled(bad), None, "{bad}");
        }
    }

    #[test]
    fn without_an_exporter_nothing_is_made() {
        let headers = vec![(
            HEADER.to_owned(),
            Bytes::from("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        )];
        assert_eq!((cause(&headers), begins(None)), (None, None));
        let span = crate::span!("decide", cause(&headers), offset = 1);
        assert!(span.is_none() && traceparent(&span).is_none());
    }
}

//! What the program says of itself.

use serde::Deserialize;

/// The variable by which OpenTelemetry's own libraries are told of a collector.
const STANDARD_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Logs and traces.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// The collector of traces, such as `http://host:4318`; none are made without.
    pub otlp_endpoint: Option<String>,
    /// The part of traces that begin here and are exported, 0 to 1; those that a caller's `traceparent` begins
    /// are exported if it says so.
    pub sample: f64,
    /// How logs look.
    pub log_format: LogFormat,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Lines for people.
    Text,
    /// An object a line.
    Json,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { otlp_endpoint: None, sample: 0.01, log_format: LogFormat::Auto }
    }
}

impl TelemetryConfig {
    /// Takes the collector that the environment names for all programs, if none is configured.
    pub(super) fn fill_in(&mut self) {
        let standard = std::env::var(STANDARD_VARIABLE).ok();
        self.otlp_endpoint = self.otlp_endpoint.take().or(standard).filter(|url| !url.is_empty());
    }

    /// The key that does not hold, and why.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        if !(0.0..=1.0).contains(&self.sample) {
            return Some(("telemetry.sample", "must be 0 to 1"));
        }
        let is_address = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        let holds = self.otlp_endpoint.as_ref().is_none_or(is_address);
        (!holds).then_some(("telemetry.otlp_endpoint", "must be an http:// or https:// address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_is_named() {
        let fault = |config: TelemetryConfig| config.fault().map(|(key, _)| key);
        let of = |sample, endpoint: Option<&str>| TelemetryConfig {
            sample,
            otlp_endpoint: endpoint.map(str::to_owned),
            ..TelemetryConfig::default()
        };
        assert_eq!(fault(of(1.0, Some("http://localhost:4318"))), None);
        assert_eq!(fault(of(0.0, None)), None);
        assert_eq!(fault(of(1.1, None)), Some("telemetry.sample"));
        assert_eq!(fault(of(f64::NAN, None)), Some("telemetry.sample"));
        assert_eq!(fault(of(1.0, Some("localhost:4317"))), Some("telemetry.otlp_endpoint"));
    }
}

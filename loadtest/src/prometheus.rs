//! The result in Prometheus' text exposition format (version 0.0.4), for a textfile collector or a
//! push gateway.

use std::fmt::{Display, Write};

use crate::report::Report;

const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];

/// The metrics of a report, each with the label `scenario`.
pub fn text(report: &Report) -> String {
    let mut out = Exposition { text: String::new(), scenario: escape(&report.scenario) };
    out.family("loadtest_measured_seconds", "gauge", "The measured time.");
    out.sample("loadtest_measured_seconds", &[], report.measured_seconds);
    out.family("loadtest_rate", "gauge", "What was reached, per second.");
    for rate in &report.rates {
        out.sample("loadtest_rate", &[("of", &rate.name)], rate.achieved);
    }
    out.family("loadtest_count", "gauge", "Counts over the whole run.");
    for (name, count) in &report.counts {
        out.sample("loadtest_count", &[("of", name)], count);
    }
    out.family("loadtest_errors", "gauge", "Errors by code.");
    for (code, count) in &report.errors {
        out.sample("loadtest_errors", &[("code", code)], count);
    }
    out.family("loadtest_closed", "gauge", "Sockets that were closed, by code.");
    for (code, count) in &report.closed {
        out.sample("loadtest_closed", &[("code", code)], count);
    }
    out.family("loadtest_latency_seconds", "summary", "Latencies from the intended time.");
    for distribution in &report.distributions {
        let of = ("of", distribution.name.as_str());
        for quantile in QUANTILES {
            let Some(ns) = distribution.at(quantile) else { continue };
            let labels = [of, ("quantile", &quantile.to_string())];
            out.sample("loadtest_latency_seconds", &labels, ns as f64 / 1e9);
        }
        let sum = distribution.mean_ns * distribution.count as f64 / 1e9;
        out.sample("loadtest_latency_seconds_sum", &[of], sum);
        out.sample("loadtest_latency_seconds_count", &[of], distribution.count);
    }
    if let Some(server) = &report.server {
        out.family("loadtest_server_cores", "gauge", "CPU of the servers: 1 is one core.");
        out.sample("loadtest_server_cores", &[], server.cores);
        out.family("loadtest_server_resident_bytes", "gauge", "Memory of the servers at the end.");
        out.sample("loadtest_server_resident_bytes", &[], server.after.rss_bytes);
    }
    out.family("loadtest_objective_met", "gauge", "1 if the objective was met.");
    for verdict in &report.slo {
        let labels = [("objective", verdict.objective.as_str())];
        out.sample("loadtest_objective_met", &labels, u8::from(verdict.met));
    }
    out.text
}

struct Exposition {
    text: String,
    scenario: String,
}

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}")
            .expect("writing to a string does not fail");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(&format!("{name}{{scenario=\"{}\"", self.scenario));
        for (label, text) in labels {
            self.text.push_str(&format!(",{label}=\"{}\"", escape(text)));
        }
        self.text.push_str(&format!("}} {value}\n"));
    }
}

/// A label's value: backslash, quote and line feed are escaped.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Distribution, histogram};

    #[test]
    fn every_line_is_a_comment_or_a_sample() {
        let mut measured = histogram();
        measured.record(2_000_000).unwrap();
        let mut report = Report::new("a \"b\"", serde_json::Value::Null);
        report.set_count("lost", 3);
        report.closed.insert("4508".to_owned(), 2);
        report.distributions.push(Distribution::of("delivery", &measured));
        report.judge(&["lost=0".parse().unwrap()]);
        let text = text(&report);
        for line in text.lines().filter(|line| !line.starts_with("# ")) {
            let (name, rest) = line.split_once("{scenario=\"a \\\"b\\\"\"").unwrap();
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            let (_, value) = rest.rsplit_once("} ").unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
        for sample in [
            r#"loadtest_count{scenario="a \"b\"",of="lost"} 3"#,
            r#"loadtest_closed{scenario="a \"b\"",code="4508"} 2"#,
            r#"of="delivery",quantile="0.99"} 0.002"#,
            r#"objective="lost ≤ 0"} 0"#,
        ] {
            assert!(text.contains(sample), "{sample}\n{text}");
        }
    }
}

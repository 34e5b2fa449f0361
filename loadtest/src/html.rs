//! The report as one page that needs nothing else: plots as inline SVG, tables, light and dark.

use std::fmt::Write;

use crate::measure::Distribution;
use crate::plot::{Axis, Line, Scale, escape, plot};
use crate::report::Report;
use crate::units::{format_bytes, format_count, format_ns};

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--paper:#fff;--rule:#d8dee4;
--c0:#0969da;--c1:#bc4c00;--c2:#1a7f37;--c3:#8250df;--bad:#cf222e}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--paper:#0d1117;--rule:#30363d;
--c0:#58a6ff;--c1:#f0883e;--c2:#56d364;--c3:#bc8cff;--bad:#ff7b72}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);
max-width:50rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .3rem}
p,.tick,.name{color:var(--soft)}svg{width:100%;height:auto;display:block}
.grid{stroke:var(--rule)}.tick,.name{font-size:11px;fill:var(--soft)}
.line{fill:none;stroke-width:1.8;stroke-linejoin:round}
.line0{stroke:var(--c0)}.line1{stroke:var(--c1)}.line2{stroke:var(--c2)}.line3{stroke:var(--c3)}
.legend{margin:0}.key{margin-right:1rem}.key::before{content:'';display:inline-block;width:.9rem;
height:.2rem;margin-right:.4rem;vertical-align:middle;background:currentColor}
.key0{color:var(--c0)}.key1{color:var(--c1)}.key2{color:var(--c2)}.key3{color:var(--c3)}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--rule)}
.number{text-align:right}.bad{color:var(--bad);font-weight:600}
pre{white-space:pre-wrap;color:var(--soft)}";

/// The page.
pub fn page(report: &Report) -> String {
    let mut out = String::new();
    write_page(&mut out, report).expect("writing to a string does not fail");
    out
}

fn write_page(out: &mut String, report: &Report) -> std::fmt::Result {
    let scenario = escape(&report.scenario);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>Load test: {scenario}</title><style>{STYLE}</style></head><body>"
    )?;
    let memory = report.machine.memory_bytes.map_or_else(String::new, format_bytes);
    writeln!(
        out,
        "<h1>Load test: {scenario}</h1>\n<p>{} s measured · {} cores · {memory} · {} · loadtest {}</p>",
        report.measured_seconds,
        report.machine.cores,
        escape(report.machine.processor.as_deref().unwrap_or("unknown processor")),
        escape(&report.version),
    )?;
    objectives(out, report)?;
    results(out, report)?;
    latencies(out, "Latencies", &report.distributions)?;
    for phase in &report.phases {
        let (from, until) = (phase.from_seconds, phase.until_seconds);
        let title = format!("Phase {}, {from} to {until} s", phase.name);
        latencies(out, &title, &phase.distributions)?;
    }
    out.push_str(&percentile_plot(&report.distributions));
    out.push_str(&latency_plot(report));
    out.push_str(&rate_plot(report));
    out.push_str(&usage_plots(report));
    for note in &report.notes {
        writeln!(out, "<p>{}</p>", escape(note))?;
    }
    let parameters = serde_json::to_string_pretty(&report.parameters).unwrap_or_default();
    writeln!(out, "<h2>Parameters</h2>\n<pre>{}</pre>\n</body></html>", escape(&parameters))
}

fn objectives(out: &mut String, report: &Report) -> std::fmt::Result {
    if report.slo.is_empty() {
        return Ok(());
    }
    writeln!(out, "<h2>Objectives</h2>\n<div class=\"wide\"><table>")?;
    writeln!(out, "<tr><th>Objective</th><th>Measured</th><th>Verdict</th></tr>")?;
    for verdict in &report.slo {
        let (class, word) = if verdict.met { ("", "met") } else { (" class=\"bad\"", "not met") };
        writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td{class}>{word}</td></tr>",
            escape(&verdict.objective),
            escape(&verdict.measured),
        )?;
    }
    writeln!(out, "</table></div>")
}

fn results(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "<h2>Results</h2>\n<div class=\"wide\"><table>")?;
    let mut row = |name: &str, value: &str| {
        let (name, value) = (escape(name), escape(value));
        writeln!(out, "<tr><td>{name}</td><td class=\"number\">{value}</td></tr>")
    };
    for rate in &report.rates {
        let intended = rate.intended.map_or_else(String::new, |intended| {
            format!(" of {} intended", format_count(intended))
        });
        row(&rate.name, &format!("{}/s{intended}", format_count(rate.achieved)))?;
    }
    for (name, count) in &report.counts {
        row(name, &format_count(count.as_f64().unwrap_or_default()))?;
    }
    for (title, counts) in [("error", &report.errors), ("closed", &report.closed)] {
        for (code, count) in counts {
            row(&format!("{title}: {code}"), &format_count(*count as f64))?;
        }
    }
    for (name, used) in [("server", &report.server), ("harness", &report.harness)] {
        if let Some(used) = used {
            row(name, &used.summary())?;
        }
    }
    for (name, text) in report.extra_lines() {
        row(&name, &text)?;
    }
    writeln!(out, "</table></div>")
}

fn latencies(out: &mut String, title: &str, distributions: &[Distribution]) -> std::fmt::Result {
    if distributions.is_empty() {
        return Ok(());
    }
    let title = escape(title);
    writeln!(out, "<h2>{title}</h2>\n<div class=\"wide\"><table>\n<tr><th></th>")?;
    let quantiles = [0.5, 0.9, 0.99, 0.999, 1.0];
    for head in ["p50", "p90", "p99", "p99.9", "max", "count"] {
        write!(out, "<th class=\"number\">{head}</th>")?;
    }
    writeln!(out, "</tr>")?;
    for distribution in distributions {
        write!(out, "<tr><td>{}</td>", escape(&distribution.name))?;
        for quantile in quantiles {
            let value = distribution.at(quantile).map_or_else(|| "–".to_owned(), format_ns);
            write!(out, "<td class=\"number\">{value}</td>")?;
        }
        let count = format_count(distribution.count as f64);
        writeln!(out, "<td class=\"number\">{count}</td></tr>")?;
    }
    writeln!(out, "</table></div>")
}

fn latency_axis() -> Axis {
    let label = |ns: f64| format_ns(ns as u64);
    Axis { name: "latency", scale: Scale::Logarithmic, label }
}

fn time_axis() -> Axis {
    let label = |seconds: f64| format!("{seconds}");
    Axis { name: "seconds since the first message", scale: Scale::Linear, label }
}

fn percentile_plot(distributions: &[Distribution]) -> String {
    let label = |quantile: f64| format!("{}%", (quantile * 1e8).round() / 1e6);
    let x = Axis { name: "percentile", scale: Scale::Nines, label };
    let lines: Vec<Line> = distributions
        .iter()
        .map(|distribution| Line {
            name: distribution.name.clone(),
            points: distribution.points.iter().map(|&(at, ns)| (at, ns as f64)).collect(),
        })
        .collect();
    plot("Latency by percentile", &x, &latency_axis(), &lines)
}

fn latency_plot(report: &Report) -> String {
    let line = |name: &str, pick: fn(&crate::measure::Second) -> u64| Line {
        name: name.to_owned(),
        points: report.series.iter().map(|at| (at.second as f64, pick(at) as f64)).collect(),
    };
    let lines = [line("p50", |at| at.p50_ns), line("p99", |at| at.p99_ns)];
    plot("Latency over time", &time_axis(), &latency_axis(), &lines)
}

fn rate_plot(report: &Report) -> String {
    let y = Axis { name: "per second", scale: Scale::Linear, label: format_count };
    let points = report.series.iter().map(|at| (at.second as f64, at.rate as f64)).collect();
    let name = report.rates.first().map_or_else(String::new, |rate| rate.name.clone());
    plot("Rate over time", &time_axis(), &y, &[Line { name, points }])
}

fn usage_plots(report: &Report) -> String {
    let x = Axis {
        name: "seconds of the measured time",
        scale: Scale::Linear,
        label: |seconds| format!("{seconds}"),
    };
    let cores = Axis { name: "cores", scale: Scale::Linear, label: |cores| format!("{cores:.2}") };
    let memory =
        Axis { name: "memory", scale: Scale::Linear, label: |bytes| format_bytes(bytes as u64) };
    let line = |pick: fn(&crate::procfs::Sample) -> f64| {
        let points = report.usage.iter().map(|sample| (sample.second, pick(sample))).collect();
        [Line { name: "server".to_owned(), points }]
    };
    let mut plots = plot("CPU", &x, &cores, &line(|sample| sample.cores));
    plots.push_str(&plot("Memory", &x, &memory, &line(|sample| sample.rss_bytes as f64)));
    plots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Second, histogram};
    use crate::report::Rate;

    fn report() -> Report {
        let mut measured = histogram();
        for ns in [1_000_000, 2_000_000, 40_000_000] {
            measured.record(ns).unwrap();
        }
        let mut report = Report::new("fan<out>", serde_json::json!({ "payload": "<&\">" }));
        report.rates.push(Rate {
            name: "deliveries".to_owned(),
            intended: Some(4_321.0),
            achieved: 1_234.0,
        });
        report.set_count("lost", 77);
        report.errors.insert("rate_limited".to_owned(), 5);
        report.distributions.push(Distribution::of("delivery", &measured));
        for second in 0..3 {
            let (p50_ns, p99_ns) = (1_000_000, 40_000_000);
            let rate = 1_000 + second;
            report.series.push(Second { second, rate, p50_ns, p99_ns, buckets: Vec::new() });
        }
        report.judge(&["p99=1ms".parse().unwrap()]);
        report
    }

    /// Every opened element is closed in order; void elements and `/>` need not be.
    fn assert_well_formed(page: &str) {
        let mut open = Vec::new();
        for piece in page.split('<').skip(1) {
            let (tag, _) = piece.split_once('>').unwrap_or_else(|| panic!("unclosed: {piece}"));
            let name = tag.split([' ', '/', '\n']).next().unwrap();
            if let Some(closed) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(closed), "in {tag}");
            } else if !tag.ends_with('/') && !matches!(name, "!doctype" | "meta") {
                open.push(name);
            }
        }
        assert_eq!(open, Vec::<&str>::new());
    }

    #[test]
    fn the_page_is_well_formed_and_has_the_numbers() {
        let page = page(&report());
        assert_well_formed(&page);
        for number in ["1,234/s of 4,321 intended", ">77<", "rate_limited", "40.0 ms", "not met"] {
            assert!(page.contains(number), "{number}");
        }
        assert_eq!(page.matches("<svg").count(), 3);
        assert!(!page.contains("NaN") && !page.contains("inf,"));
    }

    #[test]
    fn the_page_needs_nothing_else_and_escapes_what_it_is_given() {
        let page = page(&report());
        for outside in ["http:", "https:", "<script", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("fan&lt;out&gt;") && !page.contains("fan<out>"));
        assert!(page.contains("prefers-color-scheme:dark"));
    }

    #[test]
    fn an_empty_report_is_a_page_too() {
        assert_well_formed(&page(&Report::new("idle", serde_json::Value::Null)));
    }
}

//! What all scenarios do alike: begin, watch the window go by, read the server's use of the
//! machine, judge, write files.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use crate::api::{Accounts, Api};
use crate::cli::{CommonArgs, Scenario, WindowArgs};
use crate::error::Error;
use crate::procfs::{Sampler, Usage};
use crate::progress::{Progress, note};
use crate::report::{Measured, ProcessUse, Report};
use crate::scenario::file::File;
use crate::schedule::{Clock, Window};
use crate::{capacity, commands, compare, fanout, html, idle, merge, prometheus, scenario};

/// Time for all threads to learn of the window before its first message.
const HEAD_START: Duration = Duration::from_millis(100);
const CREATING_AT_A_TIME: usize = 8;

/// Runs a scenario, holds it to its objectives and writes the files that the options name.
pub async fn run(scenario: &Scenario) -> Result<Report, Error> {
    let output = scenario.output();
    let mut slos = output.slos.clone();
    let mut report = match scenario {
        Scenario::Run(args) => {
            let file = File::read(&args.file)?;
            slos.extend(file.slos().map_err(Error::Usage)?);
            scenario::run(args, &file).await?
        }
        Scenario::Fanout(args) => fanout::run(args).await?,
        Scenario::Commands(args) => commands::run(args).await?,
        Scenario::Idle(args) => idle::run(args).await?,
        Scenario::Capacity(args) => {
            slos = capacity::objectives(args);
            capacity::run(args).await?
        }
        Scenario::Merge(args) => merge::run(args)?,
    };
    report.judge(&slos);
    if let Some(path) = &output.baseline {
        report.comparison = compare::compare(&compare::read(path)?, &report, &output.worse_by)?;
    }
    if let Some(path) = &output.json {
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| Error::Harness(format!("report as JSON: {error}")))?;
        write(path, &text)?;
    }
    if let Some(path) = &output.html {
        write(path, &html::page(&report))?;
    }
    if let Some(path) = &output.prometheus {
        write(path, &prometheus::text(&report))?;
    }
    Ok(report)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// The options as they go into the report.
pub(crate) fn parameters(args: &impl serde::Serialize, seed: u64) -> Value {
    let mut parameters = serde_json::to_value(args).unwrap_or_default();
    parameters["seed"] = seed.into();
    parameters
}

/// The seed that was asked for, or one from the time.
pub(crate) fn seed(common: &CommonArgs) -> u64 {
    common.seed.unwrap_or_else(unix_ms)
}

/// A beginning for entity ids that no other run uses, not even one that began at the same time.
pub(crate) fn id_prefix() -> String {
    format!("load-{:x}-{:x}", unix_ms(), std::process::id())
}

pub(crate) fn unix_ms() -> u64 {
    unix_ns() / 1_000_000
}

pub(crate) fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

/// Creates an entity for each body, several at a time; gives their seqs in the same order.
pub(crate) async fn create_all(
    api: &Api,
    accounts: &Accounts,
    plural: &str,
    bodies: Vec<Value>,
) -> Result<Vec<u64>, Error> {
    let calls = bodies.into_iter().enumerate().map(|(number, body)| {
        let token = accounts.token(number);
        async move { api.create(plural, &body, &token).await }
    });
    stream::iter(calls).buffered(CREATING_AT_A_TIME).try_collect().await
}

/// The window of a run that begins in a moment.
pub(crate) fn window(clock: Clock, args: &WindowArgs) -> Window {
    let start_ns = clock.now_ns() + HEAD_START.as_nanos() as u64;
    Window::new(start_ns, args.warmup, args.duration)
}

/// What was read at one end of the window.
struct Reading {
    server: Option<Usage>,
    harness: Option<Usage>,
    done: u64,
}

fn read(common: &CommonArgs, progress: &Progress) -> Result<Reading, Error> {
    Ok(Reading {
        server: Usage::of_all(&common.server_pids)?,
        harness: Usage::of_self(),
        done: progress.done(),
    })
}

/// Shows progress until the window is over, and notes what it cost.
pub(crate) async fn watch(
    clock: Clock,
    window: Window,
    common: &CommonArgs,
    progress: &Arc<Progress>,
    each: &str,
    report: &mut Report,
) -> Result<(), Error> {
    let (now_ms, now_ns) = (unix_ms(), clock.now_ns());
    let at_ms = |ns: u64| now_ms + ns.saturating_sub(now_ns) / 1_000_000;
    let measured = Measured {
        origin_ms: at_ms(window.start_ns),
        from_ms: at_ms(window.from_ns),
        until_ms: at_ms(window.until_ns),
    };
    note(&format!("measuring for {} s", window.seconds()));
    progress.show_until(clock, "warm-up", window.from_ns).await;
    let before = read(common, progress)?;
    let sampler = Sampler::start(&common.server_pids);
    progress.show_until(clock, "measured", window.until_ns).await;
    report.usage = sampler.finish().await;
    let after = read(common, progress)?;
    let done = after.done - before.done;
    let used = |before: Option<Usage>, after: Option<Usage>| {
        Some(ProcessUse::between(before?, after?, window.seconds(), done, each))
    };
    report.window = Some(measured);
    report.measured_seconds = window.seconds();
    report.server = used(before.server, after.server);
    report.harness = used(before.harness, after.harness);
    Ok(())
}

/// Adds counts by name to others.
pub(crate) fn add_counts(
    to: &mut std::collections::BTreeMap<String, u64>,
    from: std::collections::BTreeMap<String, u64>,
) {
    for (name, count) in from {
        *to.entry(name).or_default() += count;
    }
}

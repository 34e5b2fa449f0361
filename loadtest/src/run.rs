//! What all scenarios do alike: begin, watch the window go by, read the server's use of the
//! machine, judge, write files.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use crate::api::{Accounts, Api};
use crate::cli::{CommonArgs, Scenario};
use crate::error::Error;
use crate::procfs::Usage;
use crate::progress::{Progress, note};
use crate::report::{ProcessUse, Report};
use crate::schedule::{Clock, Window};
use crate::{commands, fanout, html, idle};

/// Time for all threads to learn of the window before its first message.
const HEAD_START: Duration = Duration::from_millis(100);
const CREATING_AT_A_TIME: usize = 8;

/// Runs a scenario, holds it to its objectives and writes the files that the options name.
pub async fn run(scenario: &Scenario) -> Result<Report, Error> {
    let mut report = match scenario {
        Scenario::Fanout(args) => fanout::run(args).await?,
        Scenario::Commands(args) => commands::run(args).await?,
        Scenario::Idle(args) => idle::run(args).await?,
    };
    let common = scenario.common();
    report.judge(&common.slos);
    if let Some(path) = &common.json {
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| Error::Harness(format!("report as JSON: {error}")))?;
        write(path, &text)?;
    }
    if let Some(path) = &common.html {
        write(path, &html::page(&report))?;
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

/// A beginning for entity ids that no earlier run has used.
pub(crate) fn id_prefix() -> String {
    format!("load-{:x}", unix_ms())
}

pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
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
pub(crate) fn window(clock: Clock, common: &CommonArgs) -> Window {
    let start_ns = clock.now_ns() + HEAD_START.as_nanos() as u64;
    Window::new(start_ns, common.warmup, common.duration)
}

/// What was read at one end of the window.
struct Reading {
    server: Option<Usage>,
    harness: Option<Usage>,
    done: u64,
}

fn read(common: &CommonArgs, progress: &Progress) -> Result<Reading, Error> {
    Ok(Reading {
        server: common.server_pid.map(Usage::of).transpose()?,
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
    note(&format!("measuring for {} s", window.seconds()));
    progress.show_until(clock, "warm-up", window.from_ns).await;
    let before = read(common, progress)?;
    progress.show_until(clock, "measured", window.until_ns).await;
    let after = read(common, progress)?;
    let done = after.done - before.done;
    let used = |before: Option<Usage>, after: Option<Usage>| {
        Some(ProcessUse::between(before?, after?, window.seconds(), done, each))
    };
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

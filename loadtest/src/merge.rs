//! `merge`: one report of several processes that ran the same scenario at the same time, so that a
//! load may be larger than one process or one machine can make. Reports carry their histograms'
//! buckets, so percentiles of the sum are exact.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::MergeArgs;
use crate::compare;
use crate::error::Error;
use crate::measure::Second;
use crate::report::{Measured, ProcessUse, Report};
use crate::run::add_counts;

/// Below this part of the longest window, the overlap is worth a note.
const OVERLAPPING: f64 = 0.9;

/// Reads the reports and merges them.
pub fn run(args: &MergeArgs) -> Result<Report, Error> {
    let mut reports = Vec::with_capacity(args.files.len());
    for path in &args.files {
        reports.push(compare::read(path)?);
    }
    merge(reports)
}

fn merge(mut reports: Vec<Report>) -> Result<Report, Error> {
    reports.sort_by_key(|report| report.window.map(|window| window.origin_ms));
    let parameters: Vec<Value> = reports.iter().map(|report| report.parameters.clone()).collect();
    let windows: Vec<Measured> = reports.iter().filter_map(|report| report.window).collect();
    let same_servers =
        parameters.iter().all(|one| one.get("serverPids") == parameters[0].get("serverPids"));
    let count = reports.len();
    let mut all = reports.into_iter();
    let mut total = all.next().ok_or_else(|| Error::Usage("merge: no reports".to_owned()))?;
    for report in all {
        add(&mut total, report, same_servers)?;
    }
    total.parameters = json!({ "merged": parameters });
    total.slo.clear();
    total.comparison.clear();
    if windows.len() == count {
        overlap(&mut total, &windows);
    } else if !windows.is_empty() {
        total.notes.push("not every report says when it measured".to_owned());
    }
    // Each process divided the servers' memory by its own sockets alone.
    if count > 1 {
        total.counts.shift_remove("server bytes a socket");
    }
    Ok(total)
}

/// Measured is the time in which all of them did.
fn overlap(total: &mut Report, windows: &[Measured]) {
    let from_ms = windows.iter().map(|window| window.from_ms).max().unwrap_or(0);
    let until_ms = windows.iter().map(|window| window.until_ms).min().unwrap_or(0);
    let longest = windows.iter().map(|window| window.until_ms - window.from_ms).max().unwrap_or(0);
    let overlap_ms = until_ms.saturating_sub(from_ms);
    if (overlap_ms as f64) < longest as f64 * OVERLAPPING {
        total.notes.push(format!(
            "the windows overlap by {} of {} s only: rates are sums of different times",
            overlap_ms as f64 / 1e3,
            longest as f64 / 1e3
        ));
    }
    total.measured_seconds = overlap_ms as f64 / 1e3;
    total.window = Some(Measured { origin_ms: windows[0].origin_ms, from_ms, until_ms });
}

fn add(total: &mut Report, other: Report, same_servers: bool) -> Result<(), Error> {
    if total.scenario != other.scenario {
        return Err(Error::Usage(format!(
            "merge: `{}` and `{}` are different scenarios",
            total.scenario, other.scenario
        )));
    }
    for rate in other.rates {
        match total.rates.iter_mut().find(|mine| mine.name == rate.name) {
            Some(mine) => {
                mine.intended = mine.intended.zip(rate.intended).map(|(a, b)| a + b);
                mine.achieved += rate.achieved;
            }
            None => total.rates.push(rate),
        }
    }
    for (name, count) in other.counts {
        let (mine, count) = (total.count(&name), count.as_u64().unwrap_or(0));
        let is_time = name.split(' ').any(|word| word == "ms");
        let sum = match mine {
            Some(mine) if is_time => mine.max(count),
            Some(mine) => mine + count,
            None => count,
        };
        total.set_count(&name, sum);
    }
    add_counts(&mut total.errors, other.errors);
    add_counts(&mut total.closed, other.closed);
    for distribution in other.distributions {
        match total.distributions.iter_mut().find(|mine| mine.name == distribution.name) {
            Some(mine) => mine.add(&distribution),
            None => total.distributions.push(distribution),
        }
    }
    for (mine, phase) in total.phases.iter_mut().zip(other.phases) {
        for distribution in phase.distributions {
            match mine.distributions.iter_mut().find(|mine| mine.name == distribution.name) {
                Some(mine) => mine.add(&distribution),
                None => mine.distributions.push(distribution),
            }
        }
    }
    let origins = total.window.zip(other.window);
    let shift_ms = origins.map_or(0, |(mine, other)| other.origin_ms - mine.origin_ms);
    let shift = (shift_ms + 500) / 1000;
    total.series = add_series(std::mem::take(&mut total.series), other.series, shift);
    total.harness = sum_of(total.harness.take(), other.harness);
    let server = total.server.take();
    total.server = same_servers.then(|| span_of(server, other.server)).flatten();
    for note in other.notes {
        if !total.notes.contains(&note) {
            total.notes.push(note);
        }
    }
    Ok(())
}

fn add_series(mine: Vec<Second>, other: Vec<Second>, shift: u64) -> Vec<Second> {
    let mut seconds: BTreeMap<u64, Vec<(u64, u64)>> =
        mine.into_iter().map(|second| (second.second, second.buckets)).collect();
    for second in other {
        seconds.entry(second.second + shift).or_default().extend(second.buckets);
    }
    seconds.into_iter().map(|(second, buckets)| Second::of(second, &buckets)).collect()
}

/// Of several harnesses: the sum.
fn sum_of(mine: Option<ProcessUse>, other: Option<ProcessUse>) -> Option<ProcessUse> {
    let (mine, other) = (mine?, other?);
    let (before, after) = (mine.before.plus(other.before), mine.after.plus(other.after));
    let seconds = mine.seconds.max(other.seconds);
    Some(ProcessUse::between(before, after, seconds, mine.done + other.done, &mine.each))
}

/// Of the same servers, which all have read at their own times: from the first reading to the last.
fn span_of(mine: Option<ProcessUse>, other: Option<ProcessUse>) -> Option<ProcessUse> {
    let (mine, other) = (mine?, other?);
    let is_first = mine.before.cpu_seconds <= other.before.cpu_seconds;
    let before = if is_first { mine.before } else { other.before };
    let is_last = mine.after.cpu_seconds >= other.after.cpu_seconds;
    let after = if is_last { mine.after } else { other.after };
    let seconds = mine.seconds.max(other.seconds);
    Some(ProcessUse::between(before, after, seconds, mine.done + other.done, &mine.each))
}

#[cfg(test)]
mod tests;

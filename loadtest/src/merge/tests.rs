use super::*;
use crate::measure::{Distribution, histogram};
use crate::report::Rate;

fn report(origin_ms: u64, latencies_ns: &[u64]) -> Report {
    let mut measured = histogram();
    for &ns in latencies_ns {
        measured.record(ns).unwrap();
    }
    let mut report = Report::new("fanout", json!({ "serverPids": [7] }));
    let (from_ms, until_ms) = (origin_ms + 1_000, origin_ms + 11_000);
    report.window = Some(Measured { origin_ms, from_ms, until_ms });
    let rate = Rate { name: "deliveries".to_owned(), intended: Some(50.0), achieved: 40.0 };
    report.rates.push(rate);
    report.set_count("lost", 2);
    report.set_count("opened ms", latencies_ns.len() as u64);
    report.closed.insert("4508".to_owned(), 1);
    report.distributions.push(Distribution::of("delivery", &measured));
    let buckets: Vec<(u64, u64)> = latencies_ns.iter().map(|&ns| (ns, 1)).collect();
    report.series.push(Second::of(3, &buckets));
    // As it comes from a file.
    serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap()
}

#[test]
fn percentiles_of_the_sum_are_exact() {
    let (slow, fast): (Vec<u64>, Vec<u64>) =
        ((1..=100).map(|n| n * 7_777_777).collect(), (1..=900).map(|n| n * 1_234).collect());
    let merged = merge(vec![report(0, &slow), report(0, &fast)]).unwrap();
    let mut both = histogram();
    for &ns in slow.iter().chain(&fast) {
        both.record(ns).unwrap();
    }
    let expected = Distribution::of("delivery", &both);
    let found = &merged.distributions[0];
    assert_eq!(found.percentiles, expected.percentiles);
    assert_eq!(
        (found.count, found.min_ns, found.max_ns),
        (1_000, expected.min_ns, expected.max_ns)
    );
    assert_eq!(found.points, expected.points);
}

#[test]
fn counts_and_rates_are_summed_and_times_are_not() {
    let merged = merge(vec![report(500, &[1, 2]), report(0, &[3])]).unwrap();
    assert_eq!(merged.count("lost"), Some(4));
    assert_eq!(merged.count("opened ms"), Some(2));
    assert_eq!(merged.closed["4508"], 2);
    assert_eq!((merged.rates[0].intended, merged.rates[0].achieved), (Some(100.0), 80.0));
    assert_eq!(merged.measured_seconds, 9.5);
    assert!(merged.notes.is_empty(), "{:?}", merged.notes);
}

#[test]
fn seconds_are_shifted_to_the_first_beginning() {
    let merged = merge(vec![report(2_000, &[1_000_000]), report(0, &[2_000_000])]).unwrap();
    let seconds: Vec<(u64, u64)> =
        merged.series.iter().map(|second| (second.second, second.rate)).collect();
    assert_eq!(seconds, [(3, 1), (5, 1)]);
}

#[test]
fn windows_that_hardly_overlap_are_said() {
    let merged = merge(vec![report(0, &[1]), report(8_000, &[1])]).unwrap();
    assert_eq!(merged.measured_seconds, 2.0);
    assert!(merged.notes[0].contains("overlap by 2 of 10 s"), "{:?}", merged.notes);
}

#[test]
fn different_scenarios_are_not_merged() {
    let other = Report::new("idle", Value::Null);
    assert!(merge(vec![report(0, &[1]), other]).is_err());
}

//! Latencies: one HDR histogram (nanoseconds, three significant digits) for the measured window,
//! and for every second of the run the values of that second. Each thread has recorders of its
//! own; they are merged at the end.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::schedule::Window;

const HIGHEST_NS: u64 = 600_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;
const PERCENTILES: [f64; 8] = [0.50, 0.75, 0.90, 0.95, 0.99, 0.999, 0.9999, 1.0];

/// A histogram that takes up to 600 s; longer latencies are counted as 600 s.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST_NS, 3).expect("the bounds are valid")
}

fn second_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, HIGHEST_NS, 2).expect("the bounds are valid")
}

/// The latencies that one thread has seen.
#[derive(Debug)]
pub(crate) struct Recorder {
    window: Window,
    measured: Histogram<u64>,
    arrived_in_window: u64,
    second: u64,
    current: Histogram<u64>,
    /// Second of the run to the values of that second with their counts.
    seconds: BTreeMap<u64, Vec<(u64, u64)>>,
}

impl Recorder {
    pub(crate) fn new(window: Window) -> Self {
        Self {
            window,
            measured: histogram(),
            arrived_in_window: 0,
            second: 0,
            current: second_histogram(),
            seconds: BTreeMap::new(),
        }
    }

    /// For a thread that never came to the window.
    pub(crate) fn unused() -> Self {
        Self::new(Window { start_ns: 0, from_ns: 0, until_ns: 0 })
    }

    /// What was meant to happen at `intended_ns` was seen at `now_ns`. It counts as measured if
    /// it was meant for the window, however late it comes.
    pub(crate) fn record(&mut self, intended_ns: u64, now_ns: u64) {
        let latency = now_ns.saturating_sub(intended_ns).max(1);
        if self.window.contains(intended_ns) {
            self.measured.saturating_record(latency);
        }
        if self.window.contains(now_ns) {
            self.arrived_in_window += 1;
        }
        let second = now_ns.saturating_sub(self.window.start_ns) / SECOND_NS;
        if second != self.second {
            self.roll();
            self.second = second;
        }
        self.current.saturating_record(latency);
    }

    /// The 99th percentile of the window so far, in nanoseconds.
    pub(crate) fn p99_ns(&self) -> u64 {
        self.measured.value_at_quantile(0.99)
    }

    fn roll(&mut self) {
        if self.current.is_empty() {
            return;
        }
        self.seconds.entry(self.second).or_default().extend(buckets_of(&self.current));
        self.current.reset();
    }

    /// Adds what another thread has seen.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.roll();
        other.roll();
        self.measured.add(&other.measured).expect("all histograms have the same bounds");
        self.arrived_in_window += other.arrived_in_window;
        for (second, values) in other.seconds {
            self.seconds.entry(second).or_default().extend(values);
        }
    }

    /// How many arrived within the window, per second of it.
    pub(crate) fn achieved_rate(&self) -> f64 {
        self.arrived_in_window as f64 / self.window.seconds()
    }

    pub(crate) fn distribution(&self, name: &str) -> Distribution {
        Distribution::of(name, &self.measured)
    }

    /// Rate and percentiles of each second, from the first to the last with a value.
    pub(crate) fn series(&mut self) -> Vec<Second> {
        self.roll();
        let mut series = Vec::new();
        let last = self.seconds.last_key_value().map_or(0, |(&second, _)| second + 1);
        for second in 0..last {
            series.push(Second::of(second, self.seconds.get(&second).map_or(&[], Vec::as_slice)));
        }
        series
    }
}

/// One second of the run.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Second {
    /// Seconds since the first intended send time.
    pub second: u64,
    /// How many arrived in this second.
    pub rate: u64,
    /// Their median latency.
    pub p50_ns: u64,
    /// Their 99th percentile.
    pub p99_ns: u64,
    /// Latencies and how often they came, to merge reports.
    #[serde(default)]
    pub buckets: Vec<(u64, u64)>,
}

impl Second {
    /// A second of these latencies with their counts.
    pub fn of(second: u64, buckets: &[(u64, u64)]) -> Self {
        let mut merged = second_histogram();
        for &(value, count) in buckets {
            merged.saturating_record_n(value, count);
        }
        Self {
            second,
            rate: merged.len(),
            p50_ns: merged.value_at_quantile(0.5),
            p99_ns: merged.value_at_quantile(0.99),
            buckets: buckets_of(&merged),
        }
    }
}

fn buckets_of(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram
        .iter_recorded()
        .map(|value| (value.value_iterated_to(), value.count_at_value()))
        .collect()
}

/// A latency distribution, as reported.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Distribution {
    /// What was measured.
    pub name: String,
    /// How many values.
    pub count: u64,
    /// The least.
    pub min_ns: u64,
    /// The mean.
    pub mean_ns: f64,
    /// The greatest.
    pub max_ns: u64,
    /// The percentiles people ask for: `[0.99, ns]`.
    pub percentiles: Vec<(f64, u64)>,
    /// The whole curve, for plots: quantile and value, denser towards 1.
    pub points: Vec<(f64, u64)>,
    /// The histogram's buckets: latency and how often it came, to merge reports.
    #[serde(default)]
    pub buckets: Vec<(u64, u64)>,
}

impl Distribution {
    /// The distribution of a histogram in nanoseconds.
    pub fn of(name: &str, histogram: &Histogram<u64>) -> Self {
        let percentile = |&quantile: &f64| (quantile, histogram.value_at_quantile(quantile));
        let mut points = Vec::new();
        if !histogram.is_empty() {
            for value in histogram.iter_quantiles(8) {
                points.push((value.quantile_iterated_to(), value.value_iterated_to()));
            }
        }
        Self {
            name: name.to_owned(),
            count: histogram.len(),
            min_ns: histogram.min(),
            mean_ns: histogram.mean(),
            max_ns: histogram.max(),
            percentiles: PERCENTILES.iter().map(percentile).collect(),
            points,
            buckets: buckets_of(histogram),
        }
    }

    /// Adds the values of another one, exactly.
    pub fn add(&mut self, other: &Self) {
        let mut sum = histogram();
        for &(value, count) in self.buckets.iter().chain(&other.buckets) {
            sum.saturating_record_n(value, count);
        }
        *self = Self::of(&self.name, &sum);
    }

    /// The value at one of the reported percentiles; None if nothing was measured or the
    /// percentile is not reported.
    pub fn at(&self, quantile: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        self.percentiles.iter().find(|(at, _)| *at == quantile).map(|&(_, ns)| ns)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn window() -> Window {
        Window::new(0, Duration::from_secs(1), Duration::from_secs(2))
    }

    #[test]
    fn the_warmup_is_not_measured_but_is_in_the_series() {
        let mut recorder = Recorder::new(window());
        recorder.record(500_000_000, 600_000_000);
        recorder.record(1_500_000_000, 1_501_000_000);
        let distribution = recorder.distribution("x");
        assert_eq!(distribution.count, 1);
        assert!(distribution.at(0.5).unwrap().abs_diff(1_000_000) < 1_000);
        assert_eq!(recorder.series().len(), 2);
    }

    #[test]
    fn what_comes_after_the_end_is_measured_but_not_in_the_rate() {
        let mut recorder = Recorder::new(window());
        recorder.record(2_900_000_000, 3_100_000_000);
        recorder.record(2_900_000_000, 2_950_000_000);
        assert_eq!(recorder.distribution("x").count, 2);
        assert_eq!(recorder.achieved_rate(), 0.5);
    }

    #[test]
    fn merging_adds_windows_and_seconds() {
        let mut first = Recorder::new(window());
        let mut second = Recorder::new(window());
        first.record(1_200_000_000, 1_201_000_000);
        second.record(1_200_000_000, 1_204_000_000);
        second.record(2_200_000_000, 2_204_000_000);
        first.merge(second);
        assert_eq!(first.distribution("x").count, 3);
        let series = first.series();
        assert_eq!(series.iter().map(|second| second.rate).collect::<Vec<_>>(), [0, 2, 1]);
        assert!(series[1].p99_ns.abs_diff(4_000_000) < 100_000);
    }

    #[test]
    fn nothing_measured_has_no_percentiles() {
        assert_eq!(Recorder::new(window()).distribution("x").at(0.99), None);
    }
}

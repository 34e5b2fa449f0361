//! Counters and histograms with fixed labels: arrays of atomics, so that counting takes no lock and a
//! scrape sums them up.

use std::{
    array,
    fmt::Error,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

/// Upper bounds in seconds: from what a node alone needs to what a client gives up at.
const BOUNDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Durations, by how long they are.
#[derive(Debug, Default)]
pub struct Histogram {
    /// The last is of those beyond all bounds.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// What several histograms have counted.
#[derive(Debug, Default, Clone)]
pub(super) struct Sum {
    buckets: [u64; BOUNDS.len() + 1],
    seconds: f64,
}

impl Sum {
    pub(super) fn of<'a>(histograms: impl IntoIterator<Item = &'a Histogram>) -> Self {
        let mut sum = Self::default();
        for histogram in histograms {
            for (all, one) in sum.buckets.iter_mut().zip(&histogram.buckets) {
                *all += one.load(Ordering::Relaxed);
            }
            sum.seconds += histogram.nanos.load(Ordering::Relaxed) as f64 / 1e9;
        }
        sum
    }

    fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

impl EncodeMetric for Sum {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), Error> {
        let bounds = BOUNDS.into_iter().chain([f64::MAX]);
        let buckets: Vec<_> = bounds.zip(self.buckets).collect();
        encoder.encode_histogram::<NoLabelSet>(self.seconds, self.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// Histograms, each with its labels; those that have counted nothing are not shown.
#[derive(Debug)]
pub(super) struct Labelled<L>(pub(super) Vec<(L, Sum)>);

impl<L: EncodeLabelSet + std::fmt::Debug + Send + Sync + 'static> EncodeMetric for Labelled<L> {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), Error> {
        for (labels, sum) in self.0.iter().filter(|(_, sum)| sum.count() > 0) {
            sum.encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// A counter for each of `N` things.
#[derive(Debug)]
pub(super) struct Counters<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Counters<N> {
    /// Counts one of these.
    pub(super) fn count(&self, which: usize) {
        if let Some(counter) = self.0.get(which) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many there were.
    pub(super) fn get(&self, which: usize) -> u64 {
        self.0.get(which).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_at_the_bound_above_it() {
        let (one, other) = (Histogram::default(), Histogram::default());
        one.observe(Duration::from_micros(500));
        one.observe(Duration::from_micros(501));
        other.observe(Duration::from_secs(11));
        let sum = Sum::of([&one, &other]);
        assert_eq!((sum.buckets[0], sum.buckets[1], sum.buckets[BOUNDS.len()]), (1, 1, 1));
        assert_eq!(sum.count(), 3);
        assert!((sum.seconds - 11.001_001).abs() < 1e-9);
    }
}

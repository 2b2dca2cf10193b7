//! The result of one measurement, and the figures derived from it.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::bench::machine::Spent;

/// Times from a call until its record is known to be durable.
#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Latencies {
        let histogram = Histogram::new(3);
        // The valid range is 0 to 5.
        Latencies(histogram.expect("three significant digits are valid"))
    }

    pub(crate) fn note(&mut self, since: Instant) {
        let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // The histogram resizes itself, so recording cannot fail.
        let _ = self.0.record(nanos);
    }

    pub(crate) fn add(&mut self, other: &Latencies) {
        self.0 += &other.0;
    }

    fn micros_at(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1e3)
    }
}

/// One measurement of a log or a raw file.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Records that became durable; for bandwidths, pieces moved.
    pub(crate) records: u64,
    pub(crate) latencies: Latencies,
    pub(crate) spent: Spent,
    /// Bytes written to the disk, or read.
    pub(crate) moved_bytes: u64,
    /// The part of these bytes that is neither records nor their metadata.
    pub(crate) padding_bytes: u64,
    /// The records in `moved_bytes`: those of the batches that completed during the measurement.
    pub(crate) moved_records: u64,
    /// The batches or writes that moved them.
    pub(crate) writes: u64,
}

/// A figure of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    PerSecond,
    P50,
    P99,
    P999,
    Max,
    CpuMicros,
    Flushes,
    Bytes,
    DeviceBytes,
    Padding,
    MibPerSecond,
    BatchRecords,
}

impl Figure {
    /// All figures, with their names in JSON.
    pub(crate) const ALL: [(Figure, &str); 12] = [
        (Figure::PerSecond, "acked_per_second"),
        (Figure::P50, "p50_micros"),
        (Figure::P99, "p99_micros"),
        (Figure::P999, "p99_9_micros"),
        (Figure::Max, "max_micros"),
        (Figure::CpuMicros, "cpu_micros_per_append"),
        (Figure::Flushes, "device_flushes_per_append"),
        (Figure::Bytes, "bytes_per_append"),
        (Figure::DeviceBytes, "device_bytes_per_append"),
        (Figure::Padding, "padding_share"),
        (Figure::MibPerSecond, "mib_per_second"),
        (Figure::BatchRecords, "records_per_batch"),
    ];
}

impl Sample {
    /// The figure, if available.
    pub(crate) fn figure(&self, figure: Figure) -> Option<f64> {
        let per_record = |amount: f64| (self.records > 0).then(|| amount / self.records as f64);
        let seconds = self.spent.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let ratio = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        match figure {
            Figure::PerSecond => Some(self.records as f64 / seconds),
            Figure::P50 => self.latencies.micros_at(0.5),
            Figure::P99 => self.latencies.micros_at(0.99),
            Figure::P999 => self.latencies.micros_at(0.999),
            Figure::Max => self.latencies.micros_at(1.0),
            Figure::CpuMicros => per_record(micros(self.spent.cpu?)),
            Figure::Flushes => per_record(self.spent.flushes? as f64),
            Figure::Bytes => ratio(self.moved_bytes, self.moved_records),
            Figure::DeviceBytes => per_record(self.spent.device_bytes? as f64),
            Figure::Padding => ratio(self.padding_bytes, self.moved_bytes),
            Figure::BatchRecords => ratio(self.moved_records, self.writes),
            Figure::MibPerSecond => Some(self.moved_bytes as f64 / seconds / MIB),
        }
    }

    /// Whether more records became durable than the counted device flushes can explain.
    ///
    /// With `outstanding` unacknowledged records, one flush can acknowledge at most that many,
    /// because the next ones are written after it began. One flush may have ended before the count
    /// began, and one may have been counted late.
    pub(crate) fn is_unexplained(&self, outstanding: usize) -> Option<bool> {
        let possible = (self.spent.flushes? + 2).saturating_mul(outstanding as u64);
        Some(self.records > possible)
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

const MIB: f64 = 1048576.0;

/// The middle value; for an even number of values, the mean of the middle two. `None` if a value is
/// missing.
pub(crate) fn median(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect::<Option<_>>()?;
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[middle - 1], upper) })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample(records: u64, flushes: Option<u64>) -> Sample {
        let cpu = Some(Duration::from_millis(500));
        let spent =
            Spent { elapsed: Duration::from_secs(2), cpu, flushes, device_bytes: Some(8192) };
        Sample {
            records,
            latencies: Latencies::new(),
            spent,
            moved_bytes: 8192,
            padding_bytes: 2048,
            moved_records: 4,
            writes: 2,
        }
    }

    #[test]
    fn figures_are_per_second_and_per_record() {
        let sample = sample(1000, Some(50));
        assert_eq!(sample.figure(Figure::PerSecond), Some(500.0));
        assert_eq!(sample.figure(Figure::CpuMicros), Some(500.0));
        assert_eq!(sample.figure(Figure::Flushes), Some(0.05));
        assert_eq!(sample.figure(Figure::Bytes), Some(2048.0));
        assert_eq!(sample.figure(Figure::Padding), Some(0.25));
        assert_eq!(sample.figure(Figure::BatchRecords), Some(2.0));
        assert_eq!(sample.figure(Figure::P50), None);
    }

    #[test]
    fn more_records_than_the_flushes_can_have_done_are_unexplained() {
        assert_eq!(sample(1000, Some(98)).is_unexplained(10), Some(false));
        assert_eq!(sample(1001, Some(98)).is_unexplained(10), Some(true));
        assert_eq!(sample(1000, None).is_unexplained(10), None);
    }

    #[test]
    fn medians_are_of_all_rounds_or_of_none() {
        assert_eq!(median([Some(3.0), Some(1.0), Some(2.0)]), Some(2.0));
        assert_eq!(median([Some(4.0), Some(1.0)]), Some(2.5));
        assert_eq!(median([Some(4.0), None]), None);
        assert_eq!(median([]), None);
    }
}

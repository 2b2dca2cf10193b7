//! Counters and histograms of the commit path, for users who monitor a log.

use std::time::Duration;

use crate::io::Strategy;

/// A snapshot of a log's counters and histograms since it was opened.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let log = ringwal::Log::open(dir.path().join("log"))?;
/// log.append("one")?;
/// let metrics = log.metrics();
/// assert_eq!((metrics.records, metrics.record_bytes, metrics.batches), (1, 3, 1));
/// assert!(metrics.padding_bytes > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// How batches become durable now. A log that chose its strategy by itself may change it later,
    /// so this may differ from [`Log::backend`](crate::Log::backend).
    pub strategy: Option<Strategy>,
    /// Records in completed batches.
    pub records: u64,
    /// The bytes of those records, without their heads.
    pub record_bytes: u64,
    /// Completed batches.
    pub batches: u64,
    /// Completed batches that an appender wrote itself, without the ring thread.
    pub inline_batches: u64,
    /// How often the durable watermark was noted after a pause ([`Builder::note_after`]).
    ///
    /// [`Builder::note_after`]: crate::Builder::note_after
    pub notes: u64,
    /// How often such a note failed for lack of space; it is tried again.
    pub notes_refused: u64,
    /// Bytes written for completed batches: headers, heads, records and padding.
    pub written_bytes: u64,
    /// Bytes of padding among the written bytes.
    pub padding_bytes: u64,
    /// Batches that were synced together with their write.
    pub synced_batches: u64,
    /// Syncs apart from those.
    pub separate_syncs: u64,
    /// Spares that became segments.
    pub rotations: u64,
    /// Spare segments that were prepared.
    pub spares_prepared: u64,
    /// Prepared spares that were recycled segments.
    pub spares_recycled: u64,
    /// Prepared spares whose blocks were to be reserved only, not written: because batches were
    /// large, or [`preallocate`](crate::Builder::preallocate) says so.
    pub spares_reserved: u64,
    /// Spares that could not be prepared for lack of space.
    pub spares_refused: u64,
    /// Records per batch.
    pub batch_records: Histogram,
    /// From the first record of a batch to its submission, in microseconds.
    pub queue_micros: Histogram,
    /// From submission to completion of a batch, in microseconds.
    pub commit_micros: Histogram,
    /// From completion to the last wake-up of a round, in microseconds.
    pub wake_micros: Histogram,
    /// Batches in flight at the moment of the snapshot.
    pub in_flight: usize,
    /// Bytes of buffers that are filling or in flight at the moment of the snapshot.
    pub queued_bytes: usize,
}

/// Counts of values by their power of two.
///
/// ```
/// let mut histogram = ringwal::Histogram::default();
/// for value in [1, 2, 3, 1000] {
///     histogram.record(value);
/// }
/// assert_eq!((histogram.count(), histogram.sum(), histogram.max()), (4, 1006, 1000));
/// assert_eq!(histogram.quantile(0.5), 3); // the upper bound of the value's bucket
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; 65],
    count: u64,
    sum: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: [0; 65], count: 0, sum: 0, max: 0 }
    }
}

impl Histogram {
    /// Adds a value.
    pub fn record(&mut self, value: u64) {
        self.buckets[(u64::BITS - value.leading_zeros()) as usize] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
    }

    pub(crate) fn record_micros(&mut self, time: Duration) {
        self.record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// How many values were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all values; it saturates at `u64::MAX`.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The greatest value; 0 without values.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean; 0 without values.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// An upper bound of the value at `quantile` (0 to 1), within a factor of two; 0 if empty.
    pub fn quantile(&self, quantile: f64) -> u64 {
        let rank = (self.count as f64 * quantile.clamp(0.0, 1.0)).ceil() as u64;
        let mut seen = 0;
        for (bits, &count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank.max(1) {
                let bound = (u128::from(1u8) << bits) - 1;
                return u64::try_from(bound).unwrap_or(u64::MAX).min(self.max);
            }
        }
        self.max
    }
}

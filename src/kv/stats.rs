//! Statistics of a store: keys, live and dead bytes, memory.

use std::sync::atomic::Ordering;

use crate::Seq;
use crate::kv::index::Index;

/// Statistics of a store.
///
/// ```
/// use ringwal::kv::DataWal;
///
/// let dir = tempfile::tempdir()?;
/// let store = DataWal::open(dir.path().join("store"))?;
/// store.put("key", "old value")?;
/// store.put("key", "new value")?;
/// let stats = store.stats();
/// assert_eq!((stats.keys, stats.records), (1, 2));
/// assert_eq!(stats.dead_percent(), 50);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The number of keys.
    pub keys: u64,
    /// The records of the log: every put and delete that was not compacted away.
    pub records: u64,
    /// The bytes of the records that hold the current values, heads included.
    pub live_bytes: u64,
    /// The bytes of all other records, heads included: overwritten puts, and deletes.
    pub dead_bytes: u64,
    /// The bytes of all segments up to the end of their last batches: records, batch headers and
    /// padding. Compaction frees everything but the live records.
    pub log_bytes: u64,
    /// The number of segments.
    pub segments: u64,
    /// The bytes of segments that are compacted but still needed by a snapshot. They are removed
    /// when the snapshot is dropped.
    pub held_bytes: u64,
    /// The number of those segments.
    pub held_segments: u64,
    /// The first record of the segment at which the last compaction failed; `None` if it succeeded.
    /// No later segment is freed before this one is.
    pub stuck_at: Option<Seq>,
    /// The damaged records in that segment that hold current values; [`DataWal::damaged`] lists
    /// them.
    ///
    /// [`DataWal::damaged`]: crate::kv::DataWal::damaged
    pub damaged_records: u64,
    /// The segments that are reserved for deletes and compaction now; see
    /// [`DataWalBuilder::reserve_segments`](crate::kv::DataWalBuilder::reserve_segments). There are
    /// none before the first write, and on a full disk there may be fewer than the option asks for.
    pub reserve_segments: u64,
    /// The bytes of the reserved segments, which `log_bytes` does not count.
    pub reserve_bytes: u64,
    /// The memory of the index in bytes.
    pub index_bytes: u64,
}

impl Stats {
    /// The dead share of the bytes of all records, in percent, rounded down.
    pub fn dead_percent(&self) -> u8 {
        let all = u128::from(self.live_bytes) + u128::from(self.dead_bytes);
        (u128::from(self.dead_bytes) * 100).checked_div(all).unwrap_or(0) as u8
    }
}

impl Stats {
    /// The fields that the index knows.
    pub(crate) fn of(index: &Index) -> Stats {
        Stats { index_bytes: index.bytes(), ..Stats::of_sums(index) }
    }

    /// The fields that the index knows without taking a lock.
    pub(crate) fn of_sums(index: &Index) -> Stats {
        let sums = &index.sums;
        let live_bytes = sums.live_bytes.load(Ordering::Relaxed);
        Stats {
            keys: sums.keys.load(Ordering::Relaxed),
            records: sums.records.load(Ordering::Relaxed),
            live_bytes,
            dead_bytes: sums.bytes.load(Ordering::Relaxed).saturating_sub(live_bytes),
            ..Stats::default()
        }
    }
}

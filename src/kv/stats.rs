//! The figures of a store.

use std::sync::atomic::Ordering;

use crate::Seq;
use crate::kv::index::Index;

/// The figures of a store.
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
    /// The keys that are there.
    pub keys: u64,
    /// The records of the log: each put and each delete that was not compacted away.
    pub records: u64,
    /// The bytes of the records that hold the values of those keys, with their heads.
    pub live_bytes: u64,
    /// The bytes of all other records, with their heads: what was put before, and deletes.
    pub dead_bytes: u64,
    /// The bytes of all segments up to the end of their last batches: records, the headers of
    /// batches, and their padding. Compaction frees all of it but the live records.
    pub log_bytes: u64,
    /// The segments of the log.
    pub segments: u64,
    /// The bytes of those among the segments that compaction is done with and that snapshots still
    /// need. They are removed when these are dropped.
    pub held_bytes: u64,
    /// How many segments that are.
    pub held_segments: u64,
    /// The first record of the segment that the last compaction could not get past; `None` if it
    /// got through. Nothing behind it is given back before that one is.
    pub stuck_at: Option<Seq>,
    /// How many records of keys are damaged there: [`DataWal::damaged`] names them.
    ///
    /// [`DataWal::damaged`]: crate::kv::DataWal::damaged
    pub damaged_records: u64,
    /// The segments that are held back for deletes and compaction, and ready now; see
    /// [`DataWalBuilder::reserve_segments`](crate::kv::DataWalBuilder::reserve_segments). There are
    /// none before the first write, and fewer than were asked for on a disk that is full.
    pub reserve_segments: u64,
    /// Their bytes, which `log_bytes` does not count.
    pub reserve_bytes: u64,
    /// The memory of the index.
    pub index_bytes: u64,
}

impl Stats {
    /// How much of the bytes of all records is dead, in percent, rounded down.
    pub fn dead_percent(&self) -> u8 {
        let all = u128::from(self.live_bytes) + u128::from(self.dead_bytes);
        (u128::from(self.dead_bytes) * 100).checked_div(all).unwrap_or(0) as u8
    }
}

impl Stats {
    /// What the index knows.
    pub(crate) fn of(index: &Index) -> Stats {
        Stats { index_bytes: index.bytes(), ..Stats::of_sums(index) }
    }

    /// What the index knows without a lock.
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

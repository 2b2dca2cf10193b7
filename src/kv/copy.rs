//! `compact_to`: writes the live records into a new store in another directory.

use std::path::Path;

use crate::kv::builder::StoreOptions;
use crate::kv::partial::PartialDir;
use crate::kv::{Snapshot, sort};
use crate::{Batch, Durability, Log, Result};

/// The records that [`compact_to`](crate::kv::DataWal::compact_to) or
/// [`compact`](crate::kv::DataWal::compact) wrote.
///
/// ```
/// use ringwal::kv::DataWal;
///
/// let dir = tempfile::tempdir()?;
/// let store = DataWal::open(dir.path().join("store"))?;
/// store.put("key", "old")?;
/// store.put("key", "new")?;
/// let copied = store.compact_to(dir.path().join("compact"))?;
/// assert_eq!((copied.keys, copied.records), (1, 1));
/// assert_eq!(DataWal::open(dir.path().join("compact"))?.stats().dead_bytes, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyStats {
    /// Live keys.
    pub keys: u64,
    /// Records: one for each live key.
    pub records: u64,
    /// The bytes of the records, with their heads, as [`live_bytes`](crate::kv::Stats::live_bytes)
    /// counts them.
    pub bytes: u64,
}

impl CopyStats {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.keys += 1;
        self.records += 1;
        self.bytes += bytes;
    }
}

impl Snapshot {
    pub(crate) fn compact_to(&self, dir: &Path, options: &StoreOptions) -> Result<CopyStats> {
        let partial = PartialDir::create(dir)?;
        let log = options.engine_in(&partial.content()).reserve_segments(0).open()?;
        let copied = self.write_log(log)?;
        partial.finish()?;
        Ok(copied)
    }

    /// Writes the records of all keys into a new log, sorted by key, and closes it.
    fn write_log(&self, log: Log) -> Result<CopyStats> {
        const BATCH_BYTES: u64 = 1 << 20;
        let mut copied = CopyStats::default();
        let mut batch = Batch::new();
        let mut bytes = 0;
        for slot in sort::by_key(&self.inner)? {
            if bytes > 0 && bytes + slot.record_bytes() > BATCH_BYTES {
                drop(log.at(Durability::Queued).submit(&batch)?);
                batch.clear();
                bytes = 0;
            }
            batch.push(self.inner.record(&slot)?.data())?;
            bytes += slot.record_bytes();
            copied.add(slot.record_bytes());
        }
        if bytes > 0 {
            drop(log.at(Durability::Queued).submit(&batch)?);
        }
        // Closing makes all of it durable, so no batch waits for a sync of its own.
        log.close()?;
        Ok(copied)
    }
}

//! The live records alone, in another directory.

use std::path::Path;

use crate::kv::beside::PartialDir;
use crate::kv::builder::Options;
#[cfg(doc)]
use crate::kv::{DataWal, Stats};
use crate::kv::{Snapshot, sort};
use crate::{Batch, Durability, Log, Result};

/// What was written by [`DataWal::compact_to`] or [`DataWal::compact`].
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
pub struct Copied {
    /// Live keys.
    pub keys: u64,
    /// Records; each live key has one.
    pub records: u64,
    /// The bytes of the records, with their heads, as [`Stats::live_bytes`] counts them.
    pub bytes: u64,
}

impl Copied {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.keys += 1;
        self.records += 1;
        self.bytes += bytes;
    }
}

impl Snapshot {
    pub(crate) fn compact_to(&self, dir: &Path, options: &Options) -> Result<Copied> {
        let partial = PartialDir::create(dir)?;
        let copied =
            self.write_log(options.engine(&partial.content()).reserve_segments(0).open()?)?;
        partial.finish()?;
        Ok(copied)
    }

    /// Writes the records of all keys into a new log, sorted by key, and closes it.
    fn write_log(&self, log: Log) -> Result<Copied> {
        const BATCH_BYTES: u64 = 1 << 20;
        let mut copied = Copied::default();
        let mut batch = Batch::new();
        let mut bytes = 0;
        for slot in sort::by_key(&self.shared)? {
            if bytes > 0 && bytes + slot.record_bytes() > BATCH_BYTES {
                drop(log.at(Durability::Queued).submit(&batch)?);
                batch.clear();
                bytes = 0;
            }
            batch.push(self.shared.record(&slot)?.data())?;
            bytes += slot.record_bytes();
            copied.add(slot.record_bytes());
        }
        if bytes > 0 {
            drop(log.at(Durability::Queued).submit(&batch)?);
        }
        // Makes all of it durable.
        log.close()?;
        Ok(copied)
    }
}

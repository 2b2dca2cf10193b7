//! The part of `DataWal` for operators: copies, compaction, statistics and reports.

use std::path::Path;
use std::sync::Arc;

use crate::kv::compact::Compacted;
use crate::kv::compactor::Compactor;
use crate::kv::copy::CopyStats;
use crate::kv::damaged::DamagedRecord;
use crate::kv::handle::DataWal;
use crate::kv::stats::Stats;
use crate::{Backend, BackupReport, Error, Metrics, Recovery, Result, Segment};
#[cfg(doc)]
use crate::{Log, kv::DataWalBuilder};

impl DataWal {
    /// Copies the store as it is now into the new directory `target`, which opens as a store. The
    /// copy has every put and delete that returned before this call, whatever its durability, and
    /// also the dead records that compaction has not freed. Writers and compaction go on; see
    /// [`Log::backup_to`]. ([`compact_to`](Self::compact_to) writes a new store with the live
    /// records alone.) [`Builder::backup_to`](crate::Builder::backup_to) copies a store that
    /// another process has open.
    ///
    /// ```
    /// use ringwal::kv::DataWal;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let store = DataWal::open(dir.path().join("store"))?;
    /// store.put("key", "value")?;
    /// store.backup_to(dir.path().join("monday"))?;
    /// let monday = DataWal::open(dir.path().join("monday"))?;
    /// assert_eq!(monday.get("key")?.as_deref(), Some(&b"value"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Log::backup_to`].
    pub fn backup_to(&self, target: impl AsRef<Path>) -> Result<BackupReport> {
        self.store.log.backup_to(target)
    }

    /// Writes the live records as of this call, sorted by key, into a new store in `dir`, durably.
    /// `dir` must not exist, or be an empty directory. This store does not change and stays usable
    /// meanwhile.
    ///
    /// The new store is made in a temporary directory beside `dir`, whose name begins with that of
    /// `dir` and ends in `.partial`, and is renamed when it is complete. Temporary directories of
    /// crashed attempts are removed if they have the marker file. An empty directory that is
    /// replaced keeps its mode.
    ///
    /// # Errors
    ///
    /// [`Error::NotEmpty`] changes nothing; of two concurrent attempts, the second to finish fails
    /// with it.
    /// [`Error::Corrupt`] when a value is damaged, [`Error::Io`], [`Error::NoSpace`].
    pub fn compact_to(&self, dir: impl AsRef<Path>) -> Result<CopyStats> {
        self.snapshot()?.compact_to(dir.as_ref(), &self.store.options)
    }

    /// Frees the space of dead records while readers and writers go on. Segment by segment, oldest
    /// first, it appends the live records again, makes them durable, and removes the segment. It
    /// stops after the last segment that has dead records or is mostly the padding of small
    /// batches; if there is none, it does nothing. It needs space for the live records of one
    /// segment, which is reserved for it ([`DataWalBuilder::reserve_segments`]).
    ///
    /// A crash at any moment leaves the same keys and values. When this returns, everything written
    /// so far is durable.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`] when there is no space for the copies; segments that are compacted by
    /// then stay so. [`Error::Corrupt`] when a live record is damaged: its segment and all later
    /// ones stay ([`Stats::stuck_at`]) until the keys of [`damaged`](Self::damaged) are put again
    /// or deleted. Damage to dead records is no error. [`Error::Closed`] or [`Error::Poisoned`].
    pub fn compact(&self) -> Result<Compacted> {
        self.store.compact(None)
    }

    /// The damaged live records that stopped the last compaction, in log order, each with its file,
    /// its offset, and its key if that is known. The other live records of their segment are
    /// copied. No space is freed until each of the keys is put again or deleted.
    pub fn damaged(&self) -> Vec<DamagedRecord> {
        self.store.retired().damaged().to_vec()
    }

    /// The error of the last background compaction, if it failed. The next attempt waits for a
    /// second, and twice as long after each further failure, up to about four minutes.
    pub fn compaction_failure(&self) -> Option<Arc<Error>> {
        self.compactor.as_ref().and_then(Compactor::failure)
    }

    /// Statistics of the store as it is now. They are exact if no thread writes meanwhile. After a
    /// failure or `close`, they are the last known ones.
    pub fn stats(&self) -> Stats {
        let segments = self.store.log.segments();
        let (before, stuck_at, damaged_records) = {
            let retired = self.store.retired();
            (retired.before(), retired.stuck_at(), retired.damaged().len() as u64)
        };
        let is_held = |segment: &&Segment| segment.last_seq.is_some_and(|last| last < before);
        let held = || segments.iter().filter(is_held);
        let (reserve_segments, reserve_bytes) = self.store.log.reserved();
        Stats {
            reserve_segments,
            reserve_bytes,
            log_bytes: segments.iter().map(|segment| segment.bytes).sum(),
            segments: segments.len() as u64,
            held_bytes: held().map(|segment| segment.bytes).sum(),
            held_segments: held().count() as u64,
            stuck_at,
            damaged_records,
            ..Stats::of(&self.store.index)
        }
    }

    /// The metrics of the engine since the store was opened.
    pub fn metrics(&self) -> Metrics {
        self.store.log.metrics()
    }

    /// The I/O backend in use, and why it was chosen.
    pub fn backend(&self) -> &Backend {
        self.store.log.backend()
    }

    /// The report of the recovery at open.
    pub fn recovery(&self) -> &Recovery {
        self.store.log.recovery()
    }

    /// Acknowledges the losses in [`Recovery::losses`]; see [`Log::acknowledge_loss`].
    ///
    /// # Errors
    ///
    /// As [`Log::acknowledge_loss`].
    pub fn acknowledge_loss(&self) -> Result<usize> {
        self.store.log.acknowledge_loss()
    }

    /// Runs one step of a store on a simulated disk; see [`Log::step`].
    #[cfg(any(test, feature = "sim"))]
    pub fn step(&self) -> bool {
        self.store.log.step()
    }
}

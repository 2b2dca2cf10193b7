//! The handle of an open store.

use crate::sync::plain::{Mutex, RwLock};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::kv::builder::{Options, check_durability};
use crate::kv::compactor::Compactor;
use crate::kv::index::{Index, Newest};
use crate::kv::record;
use crate::kv::snapshot::{Source, get};
use crate::kv::store::{Store, new_secret, replay};
use crate::kv::{
    Compacted, Copied, DamagedRecord, DataReader, DataWalBuilder, Items, Snapshot, Stats,
    WriteBatch,
};
use crate::{
    Backend, BackupReport, Durability, Error, Log, Metrics, RecordRef, Recovery, Result, Segment,
};

/// A key-value log that is open: see [the module](crate::kv).
///
/// It closes when it is told to ([`close`](Self::close)) or when it is dropped with its last
/// snapshot.
///
/// ```
/// use ringwal::kv::DataWal;
///
/// let dir = tempfile::tempdir()?;
/// let store = DataWal::open(dir.path().join("store"))?;
/// store.put("b", [1, 2, 3])?;
/// store.put("a", [])?;
/// assert!(store.delete("b")?);
/// assert_eq!(store.keys()?, [b"a"]);
/// store.close()?;
///
/// let store = DataWal::open(dir.path().join("store"))?;
/// assert_eq!(store.get("a")?, Some(vec![]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DataWal {
    store: Arc<Store>,
    compactor: Option<Compactor>,
}

impl DataWal {
    /// Opens the store in `dir` with default options, or creates it there.
    ///
    /// # Errors
    ///
    /// As [`Log::open`]; [`Error::NotALog`] when there is a log that is no key-value log.
    pub fn open(dir: impl AsRef<Path>) -> Result<DataWal> {
        DataWal::builder(dir).open()
    }

    /// A builder for the store in `dir`.
    pub fn builder(dir: impl AsRef<Path>) -> DataWalBuilder {
        DataWalBuilder::new(PathBuf::from(dir.as_ref()))
    }

    /// Opens the store in `dir` to read only, as it is now. Takes no lock, changes nothing, and
    /// works beside a live writer.
    ///
    /// # Errors
    ///
    /// As [`DataReader::open`].
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<DataReader> {
        DataReader::open(dir)
    }

    /// Opens the store on what `open_log` opens, which shows it every record.
    pub(crate) fn open_on(
        dir: &Path,
        options: Options,
        open_log: impl FnOnce(&mut dyn FnMut(RecordRef, &[u8]) -> Result<()>) -> Result<Log>,
    ) -> Result<DataWal> {
        let mut index = Index::new(new_secret()?);
        let log = open_log(&mut |place, bytes| replay(&mut index, dir, place, bytes))?;
        index.replayed();
        let percent = options.compact_percent;
        let store = Arc::new(Store {
            log,
            index,
            options,
            writing: RwLock::default(),
            compacting: Mutex::default(),
            retired: Mutex::default(),
            closing: AtomicBool::new(false),
        });
        let compactor = percent.map(|percent| Compactor::start(&store, percent)).transpose()?;
        Ok(DataWal { store, compactor })
    }

    /// Puts a value under a key, in place of what is there. When it returns, the put has the
    /// durability of the store ([`DataWalBuilder::durability`]).
    ///
    /// # Errors
    ///
    /// [`Error::KeyLength`], [`Error::ValueTooLarge`] and [`Error::NoSpace`] change nothing; a disk
    /// that is full for puts still takes deletes ([`DataWalBuilder::reserve_segments`]).
    /// [`Error::Closed`], or [`Error::Poisoned`] with the first failure of the log: then it is
    /// unknown whether the put will be there after reopening.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.put_with(key, value, self.store.options.durability)
    }

    /// [`put`](Self::put), with a durability of its own.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put); [`Error::Option`] for [`Durability::Queued`].
    pub fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        durability: Durability,
    ) -> Result<()> {
        check_durability(durability)?;
        let record = record::encode(key.as_ref(), Some(value.as_ref()))?;
        let hash = self.store.index.hash(key.as_ref());
        let done = self.store.append(hash, &record, true, durability, |_| true);
        self.nudge();
        done.map(drop)
    }

    /// The value under a key; `None` if the key is not there.
    ///
    /// # Errors
    ///
    /// [`Error::KeyLength`]; [`Error::Corrupt`], which names the place, when the value is damaged;
    /// [`Error::Closed`] or [`Error::Poisoned`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        let store = &self.store;
        store.log.require_own_process()?;
        let value =
            get(&store.index, |place| store.log.read(place), store.log.dir(), key.as_ref())?;
        if value.is_none() {
            store.check_stands()?;
        }
        Ok(value)
    }

    /// Deletes a key. Returns whether it was there; if not, nothing is written unless
    /// [`DataWalBuilder::delete_missing`] asks for it.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.delete_with(key, self.store.options.durability)
    }

    /// [`delete`](Self::delete), with a durability of its own.
    ///
    /// # Errors
    ///
    /// As [`put_with`](Self::put_with).
    pub fn delete_with(&self, key: impl AsRef<[u8]>, durability: Durability) -> Result<bool> {
        check_durability(durability)?;
        let record = record::encode(key.as_ref(), None)?;
        let hash = self.store.index.hash(key.as_ref());
        let always = self.store.options.delete_missing;
        // Beside another writer of the key, the delete is written: when it returns, what that
        // writer did must be over for readers, too.
        let goes = |newest| always || newest != Newest::Nothing;
        let newest = self.store.append(hash, &record, false, durability, goes);
        self.nudge();
        Ok(matches!(newest?, Newest::Landed(_) | Newest::Flying { is_put: true }))
    }

    /// Does all that is in `batch`, or nothing: after a crash, for readers, for snapshots. An empty
    /// batch does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::BatchTooLarge`] changes nothing; else as [`put`](Self::put).
    pub fn write(&self, batch: &WriteBatch) -> Result<()> {
        self.write_with(batch, self.store.options.durability)
    }

    /// [`write`](Self::write), with a durability of its own.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write); [`Error::Option`] for [`Durability::Queued`].
    pub fn write_with(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        check_durability(durability)?;
        let done = match batch.is_empty() {
            true => self.store.check_stands(),
            false => self.store.write(batch, durability),
        };
        self.nudge();
        done
    }

    /// Whether a key is there. Reads nothing from disk.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] or [`Error::Poisoned`]: behind a failure nobody knows before reopening.
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let store = &self.store;
        store.log.require_own_process()?;
        let is_there = store.index.get(store.index.hash(key.as_ref())).is_some();
        store.check_stands()?;
        Ok(is_there)
    }

    /// How many keys there are.
    ///
    /// # Errors
    ///
    /// As [`contains_key`](Self::contains_key).
    pub fn len(&self) -> Result<usize> {
        let keys = self.store.index.sums.keys.load(Ordering::Relaxed) as usize;
        self.store.check_stands()?;
        Ok(keys)
    }

    /// Whether there are no keys.
    ///
    /// # Errors
    ///
    /// As [`contains_key`](Self::contains_key).
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// All keys, sorted by their bytes.
    ///
    /// # Errors
    ///
    /// As [`snapshot`](Self::snapshot) and [`get`](Self::get).
    pub fn keys(&self) -> Result<Vec<Vec<u8>>> {
        self.snapshot()?.keys()
    }

    /// All keys and their values, sorted by the bytes of the keys. It has all of it in memory;
    /// [`iter`](Self::iter) has one at a time.
    ///
    /// # Errors
    ///
    /// As [`keys`](Self::keys).
    pub fn items(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.snapshot()?.items()
    }

    /// All keys and their values as they are now, in the order in which they lie in the log, one
    /// at a time. Writers go on meanwhile and are not seen.
    ///
    /// # Errors
    ///
    /// As [`snapshot`](Self::snapshot).
    pub fn iter(&self) -> Result<Items> {
        Ok(self.snapshot()?.into_iter())
    }

    /// The store as it is now, to be looked at while writers go on. It has everything up to a
    /// sequence number and nothing after it. Taking it waits for the writes that are under way
    /// and holds up those that come, for that moment.
    ///
    /// It has 20 bytes of memory for each key, and compaction frees nothing that it may show
    /// until it is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] or [`Error::Poisoned`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.store.check_stands()?;
        let snapshot = Snapshot::of(Source::Live(Store::pin(&self.store)), || {
            let _alone = self.store.writing.write();
            (self.store.index.slots(), self.store.log.appended_seq())
        });
        // A write that failed meanwhile may be there after reopening.
        self.store.check_stands()?;
        Ok(snapshot)
    }

    /// Blocks until everything so far survives a loss of power, whoever wrote it.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] or [`Error::Poisoned`].
    pub fn fsync(&self) -> Result<()> {
        self.store.check_stands()?;
        self.store.log.flush().map(drop)
    }

    /// Copies the store as it is now into the new directory `target`, which opens as a store: with
    /// every put and delete that has returned when this is called, whatever its durability, and
    /// with what compaction has not freed yet. Writers and compaction go on; see
    /// [`Log::backup_to`]. ([`compact_to`](Self::compact_to) writes a new store instead, with the
    /// live records alone.) A store that is open elsewhere is copied by
    /// [`Builder::backup_to`](crate::Builder::backup_to).
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

    /// Writes the live records, sorted by key, into a new store in `dir`, durably; it must be new
    /// or an empty directory. This store does not change, and goes on meanwhile: what is written
    /// is the store as of the call.
    ///
    /// It is made beside `dir`, in a directory of its own whose name begins with that of `dir` and
    /// ends in `.partial`, and gets its name when it is complete. What earlier attempts left there
    /// is removed if it has their marker. An empty directory that is replaced keeps its mode.
    ///
    /// # Errors
    ///
    /// [`Error::NotEmpty`] changes nothing; of two attempts at once, the later one gets it.
    /// [`Error::Corrupt`] when a value is damaged, [`Error::Io`], [`Error::NoSpace`].
    pub fn compact_to(&self, dir: impl AsRef<Path>) -> Result<Copied> {
        self.snapshot()?.compact_to(dir.as_ref(), &self.store.options)
    }

    /// Frees what dead records occupy, while readers and writers go on: segment by segment, oldest
    /// first, the live records are appended again, made durable, and the segment is removed. It
    /// goes as far as the last segment that has something dead, or that is mostly the padding of
    /// small batches; if there is none, it does nothing. It needs room for the live records of one
    /// segment, which is held back for it ([`DataWalBuilder::reserve_segments`]).
    ///
    /// A crash at any moment leaves the same keys and values. When it returns, everything so far
    /// is durable.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`] when there is no room for the copies: what is done by then stays done.
    /// [`Error::Corrupt`] when a record of a key is damaged: its segment stays, and so do those
    /// behind it ([`Stats::stuck_at`]), until the keys of [`damaged`](Self::damaged) are put again
    /// or deleted; damage to what is dead is no hindrance. [`Error::Closed`] or
    /// [`Error::Poisoned`].
    pub fn compact(&self) -> Result<Compacted> {
        self.store.compact(None)
    }

    /// The damaged records that the last compaction could not get past, in the order of the log,
    /// each with its file, its place, and its key if that is known. It got past everything else in
    /// their segment. Nothing is given back before each of the keys is put again or deleted.
    pub fn damaged(&self) -> Vec<DamagedRecord> {
        self.store.retired().damaged().to_vec()
    }

    /// How the last compaction in the background failed, if it did. The next one waits for a
    /// second, and twice as long after each further failure, up to some minutes.
    pub fn compaction_failure(&self) -> Option<Arc<Error>> {
        self.compactor.as_ref().and_then(Compactor::failure)
    }

    /// The figures of the store as it is now. They are exact when nobody writes meanwhile. Of a
    /// store that has failed or is closed, they are the last that were known.
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

    /// The figures of the engine since the store was opened.
    pub fn metrics(&self) -> Metrics {
        self.store.log.metrics()
    }

    /// What executes I/O here, and why.
    pub fn backend(&self) -> &Backend {
        self.store.log.backend()
    }

    /// What opening found.
    pub fn recovery(&self) -> &Recovery {
        self.store.log.recovery()
    }

    /// Acknowledges what [`Recovery::losses`] reports; see [`Log::acknowledge_loss`].
    ///
    /// # Errors
    ///
    /// As [`Log::acknowledge_loss`].
    pub fn acknowledge_loss(&self) -> Result<usize> {
        self.store.log.acknowledge_loss()
    }

    /// The store's directory.
    pub fn dir(&self) -> &Path {
        self.store.log.dir()
    }

    /// Makes everything durable, stops a compaction that is under way, and releases the store.
    /// Snapshots of it cannot be read any more. Closing again does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`] when the log had failed before; it is released all the same.
    pub fn close(&self) -> Result<()> {
        self.store.log.may_close()?;
        self.store.closing.store(true, Ordering::Relaxed);
        if let Some(compactor) = &self.compactor {
            compactor.stop();
        }
        self.store.log.close()
    }

    /// Tells the compactor to look, after something was written.
    fn nudge(&self) {
        if let Some(compactor) = &self.compactor {
            compactor.nudge(&self.store);
        }
    }
}

impl Drop for DataWal {
    fn drop(&mut self) {
        if self.store.log.require_own_process().is_err() {
            // Its thread runs in the parent alone.
            return std::mem::forget(self.compactor.take());
        }
        self.store.closing.store(true, Ordering::Relaxed);
        let Some(compactor) = &self.compactor else { return };
        match self.store.log.may_close() {
            Ok(()) => compactor.stop(),
            // In a waker nobody may wait: the thread ends by itself, with its handle of the store.
            Err(_) => compactor.wake(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    use crate::BackendKind;

    pub(crate) fn store(dir: &Path) -> DataWal {
        DataWal::builder(dir).backend(BackendKind::Std).open().unwrap()
    }

    impl DataWal {
        pub(crate) fn store(&self) -> &Store {
            &self.store
        }

        pub(crate) fn shared(&self) -> &Arc<Store> {
            &self.store
        }
    }
}

//! `DataWal`, the handle of an open store: what a program calls.

mod maintenance;

use crate::sync::plain::{Mutex, RwLock};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(doc)]
use crate::Error;
use crate::kv::builder::{StoreOptions, check_durability};
use crate::kv::compactor::Compactor;
use crate::kv::index::{Index, Newest};
use crate::kv::pin::Pin;
use crate::kv::record;
use crate::kv::snapshot::{SnapshotSource, get};
use crate::kv::store::{Store, new_secret, replay};
use crate::kv::{DataReader, DataWalBuilder, Items, Snapshot, WriteBatch};
use crate::{Builder, Durability, Log, RecordRef, Result};

/// What replay calls with the place and the bytes of each record.
type OnRecord<'a> = &'a mut dyn FnMut(RecordRef, &[u8]) -> Result<()>;

/// An open key-value log; see [the module](crate::kv).
///
/// [`close`](Self::close) closes it. So does dropping it together with its last snapshot.
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
    /// As [`Log::open`]; [`Error::NotALog`] when the directory has a log of another kind.
    pub fn open(dir: impl AsRef<Path>) -> Result<DataWal> {
        DataWal::builder(dir).open()
    }

    /// A builder for the store in `dir`.
    pub fn builder(dir: impl AsRef<Path>) -> DataWalBuilder {
        DataWalBuilder::new(PathBuf::from(dir.as_ref()))
    }

    /// Opens the store in `dir` to read only, as it is now. This takes no lock, changes nothing,
    /// and works beside a live writer.
    ///
    /// # Errors
    ///
    /// As [`DataReader::open`].
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<DataReader> {
        DataReader::open(dir)
    }

    /// Opens the store. `open_log` opens the engine's log and replays every record.
    pub(crate) fn open_on(
        options: StoreOptions,
        open_log: impl FnOnce(Builder, OnRecord<'_>) -> Result<Log>,
    ) -> Result<DataWal> {
        let mut index = Index::new(new_secret()?);
        let dir = options.dir();
        let log =
            open_log(options.engine(), &mut |place, bytes| replay(&mut index, dir, place, bytes))?;
        index.finish_replay();
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

    /// Puts a value under a key and replaces the old value. When this returns, the put has the
    /// durability of the store ([`DataWalBuilder::durability`]).
    ///
    /// # Errors
    ///
    /// [`Error::KeyLength`], [`Error::ValueTooLarge`] and [`Error::NoSpace`] change nothing; a disk
    /// that is too full for puts still takes deletes ([`DataWalBuilder::reserve_segments`]).
    /// [`Error::Closed`], or [`Error::Poisoned`] with the first failure of the log: then it is
    /// unknown whether the put survives.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.put_with(key, value, self.store.options.durability())
    }

    /// [`put`](Self::put) with another durability.
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
        self.wake_compactor();
        done.map(drop)
    }

    /// The value under a key; `None` if the key does not exist.
    ///
    /// # Errors
    ///
    /// [`Error::KeyLength`]; [`Error::Corrupt`], with file and offset, when the value is damaged;
    /// [`Error::Closed`] or [`Error::Poisoned`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        let store = &self.store;
        store.log.require_own_process()?;
        let value =
            get(&store.index, |place| store.log.read(place), store.log.dir(), key.as_ref())?;
        if value.is_none() {
            store.check_usable()?;
        }
        Ok(value)
    }

    /// Deletes a key. Returns whether it existed; if not, nothing is written unless
    /// [`DataWalBuilder::delete_missing`] is set.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.delete_with(key, self.store.options.durability())
    }

    /// [`delete`](Self::delete) with another durability.
    ///
    /// # Errors
    ///
    /// As [`put_with`](Self::put_with).
    pub fn delete_with(&self, key: impl AsRef<[u8]>, durability: Durability) -> Result<bool> {
        check_durability(durability)?;
        let record = record::encode(key.as_ref(), None)?;
        let hash = self.store.index.hash(key.as_ref());
        let always = self.store.options.delete_missing;
        // A pending delete of another thread is no reason to return early: its record is not
        // published, so a reader could still see the key after this call.
        let precondition = |newest| always || newest != Newest::Absent;
        let newest = self.store.append(hash, &record, false, durability, precondition);
        self.wake_compactor();
        Ok(matches!(newest?, Newest::Published(_) | Newest::Pending { is_put: true }))
    }

    /// Applies all of `batch` or none of it; a crash, a reader or a snapshot never sees a part. An
    /// empty batch does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::BatchTooLarge`] changes nothing; otherwise as [`put`](Self::put).
    pub fn write(&self, batch: &WriteBatch) -> Result<()> {
        self.write_with(batch, self.store.options.durability())
    }

    /// [`write`](Self::write) with another durability.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write); [`Error::Option`] for [`Durability::Queued`].
    pub fn write_with(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        check_durability(durability)?;
        let done = match batch.is_empty() {
            true => self.store.check_usable(),
            false => self.store.write(batch, durability),
        };
        self.wake_compactor();
        done
    }

    /// Whether a key exists. Reads nothing from disk.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] or [`Error::Poisoned`]: after a failure, only reopening tells.
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let store = &self.store;
        store.log.require_own_process()?;
        let exists = store.index.get(store.index.hash(key.as_ref())).is_some();
        store.check_usable()?;
        Ok(exists)
    }

    /// The number of keys.
    ///
    /// # Errors
    ///
    /// As [`contains_key`](Self::contains_key).
    pub fn len(&self) -> Result<usize> {
        let keys = self.store.index.sums.keys.load(Ordering::Relaxed) as usize;
        self.store.check_usable()?;
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

    /// All keys and values, sorted by the bytes of the keys, all in memory. [`iter`](Self::iter)
    /// returns one at a time.
    ///
    /// # Errors
    ///
    /// As [`keys`](Self::keys).
    pub fn items(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.snapshot()?.items()
    }

    /// Iterates over all keys and values as they are now, in log order. Later writes do not show.
    ///
    /// # Errors
    ///
    /// As [`snapshot`](Self::snapshot).
    pub fn iter(&self) -> Result<Items> {
        Ok(self.snapshot()?.into_iter())
    }

    /// A snapshot of the store as it is now, to be read while writers go on. It has everything up
    /// to a sequence number and nothing after it. Taking it waits for the writes in flight; writes
    /// that begin meanwhile wait for it.
    ///
    /// A snapshot takes 20 bytes of memory for each key. Until it is dropped, compaction frees
    /// nothing that it may read.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] or [`Error::Poisoned`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.store.check_usable()?;
        let snapshot = Snapshot::new(SnapshotSource::Open(Pin::new(&self.store)), || {
            let _no_writer = self.store.writing.write();
            (self.store.index.slots(), self.store.log.appended_seq())
        });
        // Check again: a write that failed meanwhile may exist after reopening.
        self.store.check_usable()?;
        Ok(snapshot)
    }

    /// Blocks until everything that any thread has written so far survives a loss of power.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] or [`Error::Poisoned`].
    pub fn fsync(&self) -> Result<()> {
        self.store.check_usable()?;
        self.store.log.flush().map(drop)
    }

    /// The store's directory.
    pub fn dir(&self) -> &Path {
        self.store.log.dir()
    }

    /// Makes everything durable, stops a running compaction, and releases the store. Its snapshots
    /// cannot be read any more. Closing again does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`] when the log had failed before; the store is released all the same.
    pub fn close(&self) -> Result<()> {
        self.store.log.may_close()?;
        self.store.closing.store(true, Ordering::Relaxed);
        if let Some(compactor) = &self.compactor {
            compactor.stop();
        }
        self.store.log.close()
    }

    /// After a write: wakes the compactor if a compaction is due.
    fn wake_compactor(&self) {
        if let Some(compactor) = &self.compactor {
            compactor.wake_if_due(&self.store);
        }
    }
}

impl Drop for DataWal {
    fn drop(&mut self) {
        if self.store.log.require_own_process().is_err() {
            // In a forked child there is no thread to join: it runs in the parent.
            return std::mem::forget(self.compactor.take());
        }
        self.store.closing.store(true, Ordering::Relaxed);
        let Some(compactor) = &self.compactor else { return };
        match self.store.log.may_close() {
            Ok(()) => compactor.stop(),
            // A waker must not block. The thread sees `closing`, ends by itself, and drops its
            // reference to the store.
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

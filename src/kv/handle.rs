//! `DataWal`, the handle of an open store: what a program calls.

mod maintenance;

use crate::sync::plain::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(doc)]
use crate::Error;
use crate::kv::builder::StoreOptions;
use crate::kv::compactor::Compactor;
use crate::kv::index::Index;
use crate::kv::pin::Pin;
use crate::kv::snapshot::{SnapshotSource, get};
use crate::kv::store::{Store, new_secret, replay};
use crate::kv::{DataReader, DataWalBuilder, Items, Snapshot};
use crate::wakers::may_block;
use crate::{Builder, Log, RecordRef, Result};

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
    pub(super) store: Arc<Store>,
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
            index: Arc::new(index),
            options,
            writing: Arc::default(),
            compacting: Mutex::default(),
            retired: Mutex::default(),
            closing: AtomicBool::new(false),
        });
        let compactor = percent.map(|percent| Compactor::start(&store, percent)).transpose()?;
        Ok(DataWal { store, compactor })
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
    /// [`Error::Closed`] or [`Error::Poisoned`]; [`Error::InWaker`] in a waker or a callback, since
    /// the writes that it waits for may be waiting for that.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.store.check_usable()?;
        may_block()?;
        let snapshot = Snapshot::new(SnapshotSource::Open(Pin::new(&self.store)), || {
            let _no_writer = self.store.writing.stop(&self.store.log);
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

    /// [`fsync`](Self::fsync) for a task: it blocks no thread.
    ///
    /// # Errors
    ///
    /// As [`fsync`](Self::fsync).
    pub async fn fsync_async(&self) -> Result<()> {
        self.store.check_usable()?;
        self.store.log.flush_in_turn().await
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
    pub(crate) fn wake_compactor(&self) {
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

//! `DataReader`: reads a store without its lock, also beside a live writer.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::kv::builder::{DataWalBuilder, StoreOptions};
use crate::kv::index::Index;
use crate::kv::snapshot::{SnapshotSource, get};
use crate::kv::store::{new_secret, replay};
use crate::kv::{CopyStats, Items, Snapshot, Stats};
use crate::{Error, Reader, Recovery, Result, Verdict};

/// A read-only view of a key-value log, as it was when the reader was opened.
///
/// A reader takes no lock and changes nothing. A writer may work and compact meanwhile: the reader
/// keeps all segments open. Beside a live writer it shows every write that had reached the
/// operating system, durable or not.
///
/// ```
/// use ringwal::kv::{DataReader, DataWal};
///
/// let dir = tempfile::tempdir()?;
/// let store = DataWal::open(dir.path().join("store"))?;
/// store.put("key", "then")?;
/// let reader = DataReader::open(dir.path().join("store"))?;
/// store.put("key", "now")?;
/// store.compact()?;
/// assert_eq!(reader.get("key")?.as_deref(), Some(&b"then"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DataReader {
    index: Index,
    reader: Arc<Reader>,
    snapshot: Snapshot,
    options: StoreOptions,
}

impl DataReader {
    /// Opens the store in `dir` as it is now. If a writer removes segments meanwhile, this starts
    /// again.
    ///
    /// # Errors
    ///
    /// [`Error::NotALog`], [`Error::Corrupt`] where acknowledged records are damaged or missing,
    /// [`Error::OtherKind`], [`Error::UnsupportedVersion`], [`Error::Io`], also after a hundred
    /// attempts during each of which a writer removed segments.
    pub fn open(dir: impl AsRef<Path>) -> Result<DataReader> {
        DataWalBuilder::new(PathBuf::from(dir.as_ref())).read_only()
    }

    pub(crate) fn open_with(options: StoreOptions) -> Result<DataReader> {
        let secret = new_secret()?;
        let dir = options.dir();
        let index = RefCell::new(Index::new(secret));
        // The engine may read the directory several times; each attempt begins with an empty index.
        let begin = &mut || *index.borrow_mut() = Index::new(secret);
        let reader = options.engine().read_only_snapshot(begin, &mut |place, bytes| {
            replay(&mut index.borrow_mut(), dir, place, bytes)
        })?;
        let mut index = index.into_inner();
        index.finish_replay();
        if let Some(Recovery { verdict: Verdict::Corrupt, corruption: Some(corruption), .. }) =
            reader.recovery()
        {
            return Err(Error::Corrupt(corruption.clone()));
        }
        let reader = Arc::new(reader);
        let source = SnapshotSource::ReadOnly(Arc::clone(&reader));
        let snapshot = Snapshot::new(source, || (index.slots(), reader.end_seq()));
        Ok(DataReader { index, reader, snapshot, options })
    }

    /// The value under a key; `None` if the key does not exist.
    ///
    /// # Errors
    ///
    /// [`Error::KeyLength`]; [`Error::Corrupt`], with file and offset, when the value is damaged;
    /// [`Error::Io`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        get(&self.index, |place| self.reader.read(place), self.dir(), key.as_ref())
    }

    /// Whether a key exists. Reads nothing from disk.
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> bool {
        self.index.get(self.index.hash(key.as_ref())).is_some()
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.snapshot.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.snapshot.is_empty()
    }

    /// All keys, sorted by their bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] when a record is damaged; [`Error::Io`].
    pub fn keys(&self) -> Result<Vec<Vec<u8>>> {
        self.snapshot.keys()
    }

    /// All keys and values, sorted by the bytes of the keys.
    ///
    /// # Errors
    ///
    /// As [`keys`](Self::keys).
    pub fn items(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.snapshot.items()
    }

    /// Iterates over all keys and values, in log order.
    pub fn iter(&self) -> Items {
        self.snapshot.iter()
    }

    /// Writes the live records, sorted by key, into a new store in `dir`; see
    /// [`DataWal::compact_to`](crate::kv::DataWal::compact_to).
    ///
    /// # Errors
    ///
    /// As [`DataWal::compact_to`](crate::kv::DataWal::compact_to).
    pub fn compact_to(&self, dir: impl AsRef<Path>) -> Result<CopyStats> {
        self.snapshot.compact_to(dir.as_ref(), &self.options)
    }

    /// Statistics of the store.
    pub fn stats(&self) -> Stats {
        let found = self.recovery();
        Stats { log_bytes: found.bytes, segments: found.segments, ..Stats::of(&self.index) }
    }

    /// The report of the recovery at open. Beside a live writer, the end of the log may look torn.
    pub fn recovery(&self) -> &Recovery {
        const NOTHING: &str = "a reader that was opened has the report of its opening";
        self.reader.recovery().expect(NOTHING)
    }

    /// The store's directory.
    pub fn dir(&self) -> &Path {
        self.reader.dir()
    }

    /// The snapshot that exports write.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl IntoIterator for &DataReader {
    type Item = Result<(Vec<u8>, Vec<u8>)>;
    type IntoIter = Items;

    fn into_iter(self) -> Items {
        self.iter()
    }
}

//! A store seen from outside, without opening it.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use crate::kv::builder::Options;
use crate::kv::index::Index;
use crate::kv::snapshot::{Source, get};
use crate::kv::store::{new_secret, replay};
use crate::kv::{Copied, DataWal, Items, Snapshot, Stats};
use crate::{Error, Reader, Recovery, Result, Verdict};

/// A key-value log as it was when this was opened, to read only.
///
/// It takes no lock and changes nothing; a writer may be at work, and may compact: the reader has
/// all segments open and keeps what it needs of them. Beside a live writer it shows what that one
/// had given to the operating system, whether or not it was durable.
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
    options: Options,
}

impl DataReader {
    /// Opens the store in `dir` as it is now. Beside a writer that compacts all the time it may
    /// look more than once.
    ///
    /// # Errors
    ///
    /// [`Error::NotALog`], [`Error::Corrupt`] where acknowledged records are damaged or missing,
    /// [`Error::OtherKind`], [`Error::UnsupportedVersion`], [`Error::Io`], also if a hundred looks
    /// found no whole store because a writer changed it under each.
    pub fn open(dir: impl AsRef<Path>) -> Result<DataReader> {
        DataWal::builder(dir).read_only()
    }

    pub(crate) fn open_with(dir: &Path, options: &Options) -> Result<DataReader> {
        let secret = new_secret()?;
        let seen = RefCell::new(Index::new(secret));
        let begin = &mut || *seen.borrow_mut() = Index::new(secret);
        let reader = options.engine(dir).read_only_snapshot(begin, &mut |place, bytes| {
            replay(&mut seen.borrow_mut(), dir, place, bytes)
        })?;
        let mut index = seen.into_inner();
        index.replayed();
        if let Some(Recovery { verdict: Verdict::Corrupt, corruption: Some(corruption), .. }) =
            reader.recovery()
        {
            return Err(Error::Corrupt(corruption.clone()));
        }
        let reader = Arc::new(reader);
        let source = Source::Seen(Arc::clone(&reader));
        let snapshot = Snapshot::of(source, || (index.slots(), reader.end_seq()));
        Ok(DataReader { index, reader, snapshot, options: options.clone() })
    }

    /// The value under a key; `None` if the key is not there.
    ///
    /// # Errors
    ///
    /// [`Error::KeyLength`]; [`Error::Corrupt`], which names the place, when the value is damaged;
    /// [`Error::Io`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        get(&self.index, |place| self.reader.read(place), self.dir(), key.as_ref())
    }

    /// Whether a key is there. Reads nothing from disk.
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> bool {
        self.index.get(self.index.hash(key.as_ref())).is_some()
    }

    /// How many keys there are.
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

    /// All keys and their values, sorted by the bytes of the keys.
    ///
    /// # Errors
    ///
    /// As [`keys`](Self::keys).
    pub fn items(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.snapshot.items()
    }

    /// All keys and their values, in the order in which they lie in the log, one at a time.
    pub fn iter(&self) -> Items {
        self.snapshot.iter()
    }

    /// Writes the live records, sorted by key, into a new store in `dir`; see
    /// [`DataWal::compact_to`].
    ///
    /// # Errors
    ///
    /// As [`DataWal::compact_to`].
    pub fn compact_to(&self, dir: impl AsRef<Path>) -> Result<Copied> {
        self.snapshot.compact_to(dir.as_ref(), &self.options)
    }

    /// The figures of the store.
    pub fn stats(&self) -> Stats {
        let found = self.recovery();
        Stats { log_bytes: found.bytes, segments: found.segments, ..Stats::of(&self.index) }
    }

    /// What opening found; beside a live writer the end may look torn.
    pub fn recovery(&self) -> &Recovery {
        const NOTHING: &str = "a reader that was opened has what opening found";
        self.reader.recovery().expect(NOTHING)
    }

    /// The store's directory.
    pub fn dir(&self) -> &Path {
        self.reader.dir()
    }

    /// What the export writes.
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

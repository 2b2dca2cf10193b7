//! Snapshots: all keys and values of a store as of one sequence number, for readers and exports.
//!
//! A snapshot holds the slots of all keys and reads the records that they point to. A snapshot of
//! an open store pins the segments of those records.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::kv::index::{Index, Slot};
use crate::kv::pin::Pin;
use crate::kv::record::{self, KvRecord};
use crate::{Corruption, CorruptionKind, Error, Reader, Record, RecordRef, Result, Seq, Witness};

/// Where a snapshot reads its records.
#[derive(Debug)]
pub(crate) enum SnapshotSource {
    /// An open store, with its segments pinned.
    Open(Pin),
    /// A store that was opened to read only.
    ReadOnly(Arc<Reader>),
}

impl SnapshotSource {
    pub(crate) fn read(&self, place: RecordRef) -> Result<Record> {
        match self {
            SnapshotSource::Open(pin) => pin.store().log.read(place),
            SnapshotSource::ReadOnly(reader) => reader.read(place),
        }
    }

    fn dir(&self) -> &Path {
        match self {
            SnapshotSource::Open(pin) => pin.store().log.dir(),
            SnapshotSource::ReadOnly(reader) => reader.dir(),
        }
    }
}

/// The store as of one sequence number: everything up to it, nothing after it.
///
/// ```
/// use ringwal::kv::DataWal;
///
/// let dir = tempfile::tempdir()?;
/// let store = DataWal::open(dir.path().join("store"))?;
/// store.put("key", "then")?;
/// let snapshot = store.snapshot()?;
/// store.put("key", "now")?;
/// for item in &snapshot {
///     assert_eq!(item?, (b"key".to_vec(), b"then".to_vec()));
/// }
/// assert_eq!(snapshot.seq().get(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) inner: Arc<SnapshotInner>,
}

/// The state that the clones and the iterators of a snapshot share.
pub(crate) struct SnapshotInner {
    pub(crate) source: SnapshotSource,
    /// In the order of the records.
    pub(crate) slots: Vec<Slot>,
    seq: Seq,
}

impl SnapshotInner {
    /// Reads and verifies the record of a slot, which is a put.
    pub(crate) fn record(&self, slot: &Slot) -> Result<Record> {
        let record = self.source.read(slot.place())?;
        match KvRecord::parse(record.data()) {
            Some(KvRecord { value: Some(_), .. }) => Ok(record),
            _ => Err(not_the_record(self.source.dir(), slot)),
        }
    }

    /// The key and the value at a slot.
    fn pair(&self, slot: &Slot) -> Result<(Vec<u8>, Vec<u8>)> {
        let record = self.record(slot)?;
        let Some(KvRecord { key, value: Some(value) }) = KvRecord::parse(record.data()) else {
            return Err(not_the_record(self.source.dir(), slot));
        };
        // Copy the key, so that a caller who collects keys does not keep the values in memory.
        let (key, at) = (key.to_vec(), record.data().len() - value.len());
        Ok((key, record.into_data_after(at)))
    }
}

impl Snapshot {
    /// Takes a snapshot. `list` runs after `source` is there, so the segments of the slots that it
    /// returns are pinned already.
    pub(crate) fn new(source: SnapshotSource, list: impl FnOnce() -> (Vec<Slot>, Seq)) -> Snapshot {
        let (slots, seq) = list();
        Snapshot { inner: Arc::new(SnapshotInner { source, slots, seq }) }
    }

    /// The sequence number of the snapshot: it has every put and delete up to this number.
    pub fn seq(&self) -> Seq {
        self.inner.seq
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.inner.slots.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All keys, sorted by their bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] when a record is damaged, [`Error::Closed`] or [`Error::Poisoned`].
    pub fn keys(&self) -> Result<Vec<Vec<u8>>> {
        let mut keys =
            self.iter().map(|item| item.map(|(key, _)| key)).collect::<Result<Vec<_>>>()?;
        keys.sort_unstable();
        Ok(keys)
    }

    /// All keys and values, sorted by the bytes of the keys.
    ///
    /// # Errors
    ///
    /// As [`keys`](Self::keys).
    pub fn items(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut items = self.iter().collect::<Result<Vec<_>>>()?;
        items.sort_unstable();
        Ok(items)
    }

    /// Iterates over all keys and values, in log order.
    pub fn iter(&self) -> Items {
        Items { inner: Arc::clone(&self.inner), next: 0 }
    }
}

impl IntoIterator for Snapshot {
    type Item = Result<(Vec<u8>, Vec<u8>)>;
    type IntoIter = Items;

    fn into_iter(self) -> Items {
        self.iter()
    }
}

impl IntoIterator for &Snapshot {
    type Item = Result<(Vec<u8>, Vec<u8>)>;
    type IntoIter = Items;

    fn into_iter(self) -> Items {
        self.iter()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("seq", &self.seq())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// An iterator over the keys and values of a [`Snapshot`]. It ends after an error.
///
/// ```
/// use ringwal::kv::DataWal;
///
/// let dir = tempfile::tempdir()?;
/// let store = DataWal::open(dir.path().join("store"))?;
/// store.put("key", "value")?;
/// for item in store.iter()? {
///     let (key, value) = item?;
///     println!("{} bytes under {key:?}", value.len());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Items {
    inner: Arc<SnapshotInner>,
    next: usize,
}

impl Iterator for Items {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let slot = self.inner.slots.get(self.next)?;
        self.next += 1;
        let item = self.inner.pair(slot);
        if item.is_err() {
            self.next = self.inner.slots.len();
        }
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.inner.slots.len() - self.next;
        (0, Some(left))
    }
}

impl std::iter::FusedIterator for Items {}

impl fmt::Debug for Items {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.inner.slots.len() - self.next;
        f.debug_struct("Items").field("left", &left).finish_non_exhaustive()
    }
}

/// Looks a key up in an index and reads its value.
pub(crate) fn get(
    index: &Index,
    read: impl Fn(RecordRef) -> Result<Record>,
    dir: &Path,
    key: &[u8],
) -> Result<Option<Vec<u8>>> {
    record::check_key(key)?;
    let hash = index.hash(key);
    let mut last = None;
    loop {
        let Some(slot) = index.get(hash) else { return Ok(None) };
        match read(slot.place()) {
            Ok(record) => {
                let Some(at) = record::value_at(record.data(), key) else {
                    return Err(not_the_record(dir, &slot));
                };
                return Ok(Some(record.into_data_after(at)));
            }
            // Compaction removed the segment between the lookup and the read. The index already
            // points to the copy, so look again; an unchanged slot is a real error.
            Err(Error::Truncated { .. }) if last != Some(slot) => last = Some(slot),
            Err(error) => return Err(error),
        }
    }
}

/// The error for a record with a valid checksum that is not the one in the index.
pub(crate) fn not_the_record(dir: &Path, slot: &Slot) -> Error {
    let place = slot.place();
    let range = (place.seq(), place.seq());
    let kind = CorruptionKind::Damaged;
    Error::Corrupt(Corruption::new(dir, place.offset(), range, kind, Witness::Itself))
}

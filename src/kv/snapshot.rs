//! The store of one moment.
//!
//! A snapshot has the slots of all keys and reads from where they point. One of an open store pins
//! the segments that its slots may point to.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::kv::compact::Pin;
use crate::kv::index::{Index, Slot};
use crate::kv::record::{self, Entry};
use crate::{Corruption, CorruptionKind, Error, Reader, Record, RecordRef, Result, Seq, Witness};

/// Where records are read from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A store that is open, with what must stay for this.
    Live(Pin),
    /// A store that was looked at.
    Seen(Arc<Reader>),
}

impl Source {
    pub(crate) fn read(&self, place: RecordRef) -> Result<Record> {
        match self {
            Source::Live(pin) => pin.store.log.read(place),
            Source::Seen(reader) => reader.read(place),
        }
    }

    fn dir(&self) -> &Path {
        match self {
            Source::Live(pin) => pin.store.log.dir(),
            Source::Seen(reader) => reader.dir(),
        }
    }
}

/// The store as it was at one moment: everything up to a sequence number, nothing after it.
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
    pub(crate) shared: Arc<Moment>,
}

/// What the clones and the iterators of a snapshot share.
pub(crate) struct Moment {
    pub(crate) source: Source,
    /// In the order of their records.
    pub(crate) slots: Vec<Slot>,
    seq: Seq,
}

impl Moment {
    /// The record of a slot, with its bytes verified and known to be a put.
    pub(crate) fn record(&self, slot: &Slot) -> Result<Record> {
        let record = self.source.read(slot.place())?;
        match Entry::parse(record.data()) {
            Some(Entry { value: Some(_), .. }) => Ok(record),
            _ => Err(not_the_record(self.source.dir(), slot)),
        }
    }

    /// The key and the value of a slot.
    fn pair(&self, slot: &Slot) -> Result<(Vec<u8>, Vec<u8>)> {
        let record = self.record(slot)?;
        let Some(Entry { key, value: Some(value) }) = Entry::parse(record.data()) else {
            return Err(not_the_record(self.source.dir(), slot));
        };
        // The key alone has memory of its own: who collects keys does not keep the values.
        let (key, at) = (key.to_vec(), record.data().len() - value.len());
        Ok((key, record.into_data_after(at)))
    }
}

impl Snapshot {
    /// A snapshot of what `look` finds, once the source is there.
    pub(crate) fn of(source: Source, look: impl FnOnce() -> (Vec<Slot>, Seq)) -> Snapshot {
        let (slots, seq) = look();
        Snapshot { shared: Arc::new(Moment { source, slots, seq }) }
    }

    /// The last record that it knows of: the next put or delete got a higher number.
    pub fn seq(&self) -> Seq {
        self.shared.seq
    }

    /// How many keys it has.
    pub fn len(&self) -> usize {
        self.shared.slots.len()
    }

    /// Whether it has no keys.
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

    /// All keys and their values, sorted by the bytes of the keys.
    ///
    /// # Errors
    ///
    /// As [`keys`](Self::keys).
    pub fn items(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut items = self.iter().collect::<Result<Vec<_>>>()?;
        items.sort_unstable();
        Ok(items)
    }

    /// All keys and their values, in the order in which they lie in the log, one at a time.
    pub fn iter(&self) -> Items {
        Items { moment: Arc::clone(&self.shared), next: 0 }
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

/// The keys and values of a [`Snapshot`], one at a time. After an error there are no more.
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
    moment: Arc<Moment>,
    next: usize,
}

impl Iterator for Items {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let slot = self.moment.slots.get(self.next)?;
        self.next += 1;
        let item = self.moment.pair(slot);
        if item.is_err() {
            self.next = self.moment.slots.len();
        }
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.moment.slots.len() - self.next;
        (0, Some(left))
    }
}

impl std::iter::FusedIterator for Items {}

impl fmt::Debug for Items {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.moment.slots.len() - self.next;
        f.debug_struct("Items").field("left", &left).finish_non_exhaustive()
    }
}

/// The value under a key, through an index.
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
            // Compacted between the look at the index and the read: the index knows where to.
            Err(Error::Truncated { .. }) if last != Some(slot) => last = Some(slot),
            Err(error) => return Err(error),
        }
    }
}

/// A record whose checksum holds and that is not the one the index means.
pub(crate) fn not_the_record(dir: &Path, slot: &Slot) -> Error {
    let place = slot.place();
    let range = (place.seq(), place.seq());
    let kind = CorruptionKind::Damaged;
    Error::Corrupt(Corruption::new(dir, place.offset(), range, kind, Witness::Itself))
}

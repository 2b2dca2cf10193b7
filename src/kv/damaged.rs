//! Records of keys that compaction cannot copy, because their bytes went bad.

use std::path::PathBuf;

use crate::kv::index::Slot;
use crate::kv::record::Entry;
use crate::kv::store::Store;
use crate::mutation::mutated;
use crate::{Corruption, Error, Result, Seq};

/// A record that a compaction could not get past: see
/// [`DataWal::damaged`](crate::kv::DataWal::damaged).
///
/// ```
/// use ringwal::kv::DataWal;
///
/// let dir = tempfile::tempdir()?;
/// let store = DataWal::open(dir.path().join("store"))?;
/// store.put("key", "value")?;
/// store.compact()?;
/// for damaged in store.damaged() {
///     // None here. Whoever has the value elsewhere puts it again, else the key is given up.
///     if let Some(key) = &damaged.key {
///         store.delete(key)?;
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamagedRecord {
    /// Its sequence number.
    pub seq: Seq,
    /// Its file.
    pub path: PathBuf,
    /// Where its head begins there, in bytes.
    pub offset: u64,
    /// The key, if its own bytes are whole: then they are certainly those of the key whose value is
    /// damaged.
    pub key: Option<Vec<u8>>,
}

/// The damaged records of a segment, with how it was noticed.
pub(super) type Damaged = Vec<(Slot, Corruption)>;

impl Store {
    /// Those that are still the newest of their keys.
    pub(super) fn still_live(&self, mut damaged: Damaged) -> Damaged {
        if damaged.is_empty() {
            return damaged;
        }
        let mut live = Vec::new();
        damaged.sort_unstable_by_key(|(slot, _)| slot.seq());
        self.index.each_slot(|slot| {
            if damaged.binary_search_by_key(&slot.seq(), |(slot, _)| slot.seq()).is_ok() {
                live.push(slot.seq());
            }
        });
        damaged.retain(|(slot, _)| live.contains(&slot.seq()));
        damaged
    }

    /// An error if there are any, which are kept to be told.
    pub(super) fn require_none(&self, damaged: Damaged) -> Result<()> {
        let told = damaged.iter().map(|(slot, corruption)| DamagedRecord {
            seq: Seq::new(slot.seq()),
            path: corruption.path.clone(),
            offset: slot.place().offset(),
            key: self.key_of(slot),
        });
        self.retired().damaged = told.collect();
        match damaged.into_iter().next() {
            Some((_, first)) if !mutated("kv_free_behind_damage") => Err(Error::Corrupt(first)),
            _ => Ok(()),
        }
    }

    /// The key of a damaged record, if it can be known: what lies there is then of the hash that
    /// the index has for the place.
    fn key_of(&self, slot: &Slot) -> Option<Vec<u8>> {
        let bytes = self.log.read_unverified(slot.place()).ok()?;
        let key = Entry::parse(&bytes)?.key;
        (self.index.get(self.index.hash(key)) == Some(*slot)).then(|| key.to_vec())
    }
}

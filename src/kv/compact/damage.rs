//! Records that a compaction cannot copy because their bytes are damaged: which of them matter, and
//! what the user is told.

use crate::kv::damaged::DamagedRecord;
use crate::kv::index::Slot;
use crate::kv::record::KvRecord;
use crate::kv::store::Store;
use crate::mutation::mutated;
use crate::{Corruption, Error, Result, Seq};

/// The damaged records of a segment, with the evidence.
pub(super) type Damaged = Vec<(Slot, Corruption)>;

impl Store {
    /// The damaged records that are still the newest of their keys.
    pub(super) fn still_live(&self, mut damaged: Damaged) -> Damaged {
        if damaged.is_empty() {
            return damaged;
        }
        let mut live = Vec::new();
        damaged.sort_unstable_by_key(|(slot, _)| slot.seq());
        self.index.for_each_slot(|slot| {
            if damaged.binary_search_by_key(&slot.seq(), |(slot, _)| slot.seq()).is_ok() {
                live.push(slot.seq());
            }
        });
        damaged.retain(|(slot, _)| live.contains(&slot.seq()));
        damaged
    }

    /// Keeps the damaged records for [`DataWal::damaged`](crate::kv::DataWal::damaged). Returns an
    /// error if there are any.
    pub(super) fn require_none(&self, damaged: Damaged) -> Result<()> {
        let reported = damaged.iter().map(|(slot, corruption)| DamagedRecord {
            seq: Seq::new(slot.seq()),
            path: corruption.path.clone(),
            offset: slot.place().offset(),
            key: self.key_of(slot),
        });
        self.retired().damaged = reported.collect();
        match damaged.into_iter().next() {
            Some((_, first)) if !mutated("kv_free_behind_damage") => Err(Error::Corrupt(first)),
            _ => Ok(()),
        }
    }

    /// The key of a damaged record, if it is intact: its hash then leads to this very slot.
    fn key_of(&self, slot: &Slot) -> Option<Vec<u8>> {
        let bytes = self.log.read_unverified(slot.place()).ok()?;
        let key = KvRecord::parse(&bytes)?.key;
        (self.index.get(self.index.hash(key)) == Some(*slot)).then(|| key.to_vec())
    }
}

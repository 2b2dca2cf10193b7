//! What the handle, the snapshots and the compactor of an open store share: the log, the index, and
//! how a record gets into both.

use crate::sync::plain::{Mutex, MutexGuard, RwLock};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::kv::WriteBatch;
use crate::kv::builder::Options;
use crate::kv::compact::Retired;
use crate::kv::index::{Index, KeyHash, Newest, Placed, Slot};
use crate::kv::record::Entry;
use crate::mutation::mutated;
use crate::{Commit, Durability, Error, Log, RecordRef, Result};

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) log: Log,
    pub(crate) index: Index,
    pub(crate) options: Options,
    /// Held shared by a write until readers see it, and alone to take a snapshot, which therefore
    /// has everything up to a number and nothing after it.
    pub(crate) writing: RwLock<()>,
    /// Held by who compacts.
    pub(crate) compacting: Mutex<()>,
    pub(crate) retired: Mutex<Retired>,
    pub(crate) closing: AtomicBool,
}

/// A secret for an index, which nobody knows.
pub(crate) fn new_secret() -> Result<[u8; 32]> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| {
        let source = std::io::Error::other(error.to_string());
        Error::io("get random bytes", "", source)
    })?;
    Ok(secret)
}

/// Enters a record that recovery found.
pub(crate) fn replay(index: &mut Index, dir: &Path, place: RecordRef, bytes: &[u8]) -> Result<()> {
    let entry = Entry::parse(bytes);
    let (Some(entry), Some(slot)) = (entry, Slot::of(place)) else {
        let reason = format!("record {} is not one of a key-value log", place.seq());
        return Err(Error::NotALog { path: dir.to_path_buf(), reason });
    };
    let (hash, is_put) = (index.hash(entry.key), entry.value.is_some());
    index.replay(Placed { hash, slot, is_put });
    Ok(())
}

impl Store {
    /// Appends a record of one key, if `goes` says so in the face of the key's newest record, and
    /// shows it to readers once it is acknowledged. Returns what was the newest record.
    pub(crate) fn append(
        &self,
        hash: KeyHash,
        record: &[u8],
        is_put: bool,
        durability: Durability,
        goes: impl FnOnce(Newest) -> bool,
    ) -> Result<Newest> {
        // Before any lock of the store: in a forked child, one may be held for ever.
        self.log.require_own_process()?;
        let writing = self.writing.read();
        let mut turn = self.index.turn([hash]);
        let newest = turn.newest(hash);
        if !goes(newest) {
            drop((turn, writing));
            self.check_stands()?;
            if durability == Durability::Synced && !mutated("kv_nothing_unsynced") {
                // What took the key away may not be durable yet.
                self.log.flush()?;
            }
            return Ok(newest);
        }
        let mut departed = None;
        let admitted = |commit: &Commit| {
            let slot = self.slot_of(commit.record_ref());
            departed = Some(slot.map(|slot| turn.depart(vec![Placed { hash, slot, is_put }])));
        };
        let commit = match is_put {
            true => self.log.append_noting(record, durability, admitted),
            false => self.log.append_delete_noting(record, durability, admitted),
        };
        drop(commit?);
        if let Some(departed) = departed.transpose()? {
            departed.land();
        }
        Ok(newest)
    }

    pub(crate) fn write(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        self.log.require_own_process()?;
        let hashes: Vec<KeyHash> = batch.ops.iter().map(|op| self.index.hash(&op.key)).collect();
        let _writing = self.writing.read();
        let turn = self.index.turn(hashes.iter().copied());
        let mut departed = None;
        let admitted = |commit: &Commit| {
            let mut place = commit.record_ref();
            let placed = hashes.iter().zip(&batch.ops).enumerate().map(|(at, (&hash, op))| {
                place = if at == 0 { place } else { place.next(op.bytes) };
                Ok(Placed { hash, slot: self.slot_of(place)?, is_put: op.is_put })
            });
            departed = Some(placed.collect::<Result<_>>().map(|placed| turn.depart(placed)));
        };
        let commit = match batch.ops.iter().any(|op| op.is_put) {
            true => self.log.append_batch_noting(&batch.records, durability, admitted),
            false => self.log.append_deletes_noting(&batch.records, durability, admitted),
        };
        drop(commit?);
        if let Some(departed) = departed.transpose()? {
            departed.land();
        }
        Ok(())
    }

    /// The slot for a place that the log gave just now.
    pub(crate) fn slot_of(&self, place: RecordRef) -> Result<Slot> {
        Slot::of(place).ok_or_else(|| {
            let reason = "a segment of it has 4 GiB or more".to_owned();
            Error::NotALog { path: self.log.dir().to_path_buf(), reason }
        })
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        match self.closing.load(Ordering::Relaxed) {
            true => Err(Error::Closed),
            false => Ok(()),
        }
    }

    /// An error unless the log stands. Behind a failure it is unknown which of the last records are
    /// there, so whatever answers from the index asks this, after the look: a record that fails
    /// leaves the index only when the log has ended.
    pub(crate) fn check_stands(&self) -> Result<()> {
        if mutated("kv_answer_when_ended") {
            return self.check_open();
        }
        self.log.require_own_process()?;
        self.check_open()?;
        self.log.check()
    }

    pub(crate) fn retired(&self) -> MutexGuard<'_, Retired> {
        self.retired.lock()
    }
}

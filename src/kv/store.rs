//! The state that the handle, the snapshots and the compactor of an open store share: the log, the
//! index, and the way of a record into both.

use crate::sync::plain::{Mutex, MutexGuard, RwLock};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::kv::WriteBatch;
use crate::kv::builder::StoreOptions;
use crate::kv::index::{Index, IndexEntry, KeyHash, Newest, Slot};
use crate::kv::record::KvRecord;
use crate::kv::retired::Retired;
use crate::mutation::mutated;
use crate::{Commit, Durability, Error, Log, RecordRef, Result, Truncated};

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) log: Log,
    pub(crate) index: Index,
    pub(crate) options: StoreOptions,
    /// Each write holds it shared until readers see the write. Taking a snapshot holds it
    /// exclusively, so a snapshot has everything up to a number and nothing after it.
    pub(crate) writing: RwLock<()>,
    /// Held by the thread that compacts.
    pub(crate) compacting: Mutex<()>,
    pub(crate) retired: Mutex<Retired>,
    pub(crate) closing: AtomicBool,
}

/// A random secret for the hashes of an index.
pub(crate) fn new_secret() -> Result<[u8; 32]> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| {
        let source = std::io::Error::other(error.to_string());
        Error::io("get random bytes", "", source)
    })?;
    Ok(secret)
}

/// Enters a record from recovery into an index.
pub(crate) fn replay(index: &mut Index, dir: &Path, place: RecordRef, bytes: &[u8]) -> Result<()> {
    let record = KvRecord::parse(bytes);
    let (Some(record), Some(slot)) = (record, Slot::of(place)) else {
        let reason = format!("record {} is not a record of a key-value log", place.seq());
        return Err(Error::NotALog { path: dir.to_path_buf(), reason });
    };
    let (hash, is_put) = (index.hash(record.key), record.value.is_some());
    index.replay(IndexEntry { hash, slot, is_put });
    Ok(())
}

impl Store {
    /// Appends a record of one key if `precondition` holds for the key's newest record, and shows
    /// it to readers once it is acknowledged. Returns the newest record before it.
    pub(crate) fn append(
        &self,
        hash: KeyHash,
        record: &[u8],
        is_put: bool,
        durability: Durability,
        precondition: impl FnOnce(Newest) -> bool,
    ) -> Result<Newest> {
        // Before any lock of the store: in a forked child, a lock may be held for ever.
        self.log.require_own_process()?;
        let writing = self.writing.read();
        let mut shard = self.index.lock_shards([hash]);
        let newest = shard.newest(hash);
        if !precondition(newest) {
            drop((shard, writing));
            self.check_usable()?;
            if durability == Durability::Synced && !mutated("kv_nothing_unsynced") {
                // The caller relies on the delete that removed the key, which may not be durable.
                self.log.flush()?;
            }
            return Ok(newest);
        }
        let mut pending = None;
        // The log calls this once the record has its number, before the disk is waited for: so the
        // shard is locked for the number alone, and numbers of a key follow the order of writers.
        let admitted = |commit: &Commit| {
            let slot = self.slot_of(commit.record_ref());
            pending = Some(slot.map(|slot| shard.begin(vec![IndexEntry { hash, slot, is_put }])));
        };
        let commit = match is_put {
            true => self.log.append_noting(record, durability, admitted),
            false => self.log.append_delete_noting(record, durability, admitted),
        };
        // Publish only what is acknowledged. On an error, dropping `pending` forgets the record.
        drop(commit?);
        if let Some(pending) = pending.transpose()? {
            pending.publish();
        }
        Ok(newest)
    }

    /// Appends a batch and shows all of it to readers at once, when it is acknowledged.
    pub(crate) fn write(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        self.log.require_own_process()?;
        let hashes: Vec<KeyHash> = batch.ops.iter().map(|op| self.index.hash(&op.key)).collect();
        let _writing = self.writing.read();
        let shards = self.index.lock_shards(hashes.iter().copied());
        let mut pending = None;
        let admitted = |commit: &Commit| {
            let mut place = commit.record_ref();
            let entries = hashes.iter().zip(&batch.ops).enumerate().map(|(at, (&hash, op))| {
                place = if at == 0 { place } else { place.next(op.bytes) };
                Ok(IndexEntry { hash, slot: self.slot_of(place)?, is_put: op.is_put })
            });
            pending = Some(entries.collect::<Result<_>>().map(|entries| shards.begin(entries)));
        };
        let commit = match batch.ops.iter().any(|op| op.is_put) {
            true => self.log.append_batch_noting(&batch.records, durability, admitted),
            false => self.log.append_deletes_noting(&batch.records, durability, admitted),
        };
        drop(commit?);
        if let Some(pending) = pending.transpose()? {
            pending.publish();
        }
        Ok(())
    }

    /// The slot for a place that the log has just given.
    pub(crate) fn slot_of(&self, place: RecordRef) -> Result<Slot> {
        Slot::of(place).ok_or_else(|| {
            let reason = "one of its segments has 4 GiB or more".to_owned();
            Error::NotALog { path: self.log.dir().to_path_buf(), reason }
        })
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        match self.closing.load(Ordering::Relaxed) {
            true => Err(Error::Closed),
            false => Ok(()),
        }
    }

    /// An error unless the log is open and has not failed. After a failure it is unknown which of
    /// the last records exist, so every answer from the index is checked with this, afterwards: a
    /// record that fails leaves the index only when the log has ended.
    pub(crate) fn check_usable(&self) -> Result<()> {
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

    /// Removes the segments that are retired and that no snapshot needs.
    pub(super) fn free(&self, retired: &Retired) -> Result<Truncated> {
        self.log.truncate_before(retired.needed_from())
    }
}

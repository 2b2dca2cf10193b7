//! The state that the handle, the snapshots and the compactor of an open store share: the log, the
//! index, and the way of a record from one to the other.

use crate::sync::plain::{Mutex, MutexGuard};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::kv::builder::StoreOptions;
use crate::kv::index::{Index, IndexEntry, Slot};
use crate::kv::record::KvRecord;
use crate::kv::retired::Retired;
use crate::kv::writing::Writing;
use crate::mutation::mutated;
use crate::{Error, Log, RecordRef, Result, Truncated};

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) log: Log,
    /// Shared with the writes of tasks that are on their way: they may outlive the handle.
    pub(crate) index: Arc<Index>,
    pub(crate) options: StoreOptions,
    pub(crate) writing: Arc<Writing>,
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

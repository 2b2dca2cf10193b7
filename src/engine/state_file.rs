//! The `state` file: reads the state that counts, and replaces it, for recovery and an open log.
//!
//! 1. The slot that counts is never written. A new state goes into the other slot, and counts once
//!    it is synced. So a torn or failed write costs nothing.
//!    The remains of a torn write are overwritten before any record is shown
//!    ([`StateFile::settle`]): otherwise a later torn write could complete them, and a state that
//!    never counted would count. The same holds for a slot with a cut that is finished: if it
//!    counted again, because the newer slot went bad, it would remove the records after the cut.
//! 2. The file appears whole: it is created under another name, synced and renamed, and the
//!    directory is synced. The directory's own name is durable before that.
//! 3. A writer has the file locked, from before it trusts the content until the log is closed. The
//!    file `lock` can be deleted under an open log, but without `state` there is no log. A new file
//!    is locked under its temporary name already, and so is the file that it replaces.

use std::io;

use crate::engine::recovery::Identity;
use crate::error::{Error, Result};
use crate::format::{
    SLOT_BYTES, SLOT_DISTANCE, STATE_BYTES, State, StateError, VERSION, newest, slot_of, state_file,
};
use crate::io::{Access, LockGuard, Storage, StorageFile};
use crate::mutation::mutated;
use crate::replication::ShardId;
use crate::segment::name::{state_name, state_temp_name};
use crate::segment::reader::Origin;

/// Generations kept back: more than any change, its recovery and the close after it use.
const GENERATIONS_KEPT: u64 = 64;

/// A log's `state` file.
#[derive(Debug)]
pub(crate) struct StateFile {
    file: Box<dyn StorageFile>,
    current: State,
    slot: usize,
    /// The other slot held no state when the file was opened.
    is_torn: bool,
    /// The other slot must never count: it has a torn write, or a cut that is finished.
    is_unsettled: bool,
    /// The lock of a file opened to write, if the platform has such locks.
    lock: Option<Box<dyn LockGuard>>,
}

/// The `state` file of a directory, as opened.
#[derive(Debug)]
pub(crate) enum StateOnDisk {
    Valid(StateFile),
    Missing,
    Unreadable,
}

impl StateFile {
    /// Opens the shard's `state` file. A file opened to write is synced before it is trusted: if
    /// the process that wrote it was killed, it may not be durable.
    pub(crate) fn open(
        storage: &dyn Storage,
        shard: ShardId,
        names: &[String],
        to_write: bool,
    ) -> Result<StateOnDisk> {
        let name = state_name(shard);
        if !names.contains(&name) {
            return Ok(StateOnDisk::Missing);
        }
        let access = if to_write { Access::Write } else { Access::Read };
        let file = storage.open(&name, access)?;
        let lock = if to_write { lock(&*file)? } else { None };
        if to_write {
            file.sync()?;
            file.drop_cache();
        }
        let mut bytes = vec![0; STATE_BYTES];
        let len = file.read_at(&mut bytes, 0)?;
        match newest(&bytes[..len]) {
            Ok((current, _)) if current.shard != shard.get() => Ok(StateOnDisk::Unreadable),
            Ok((current, slot)) => {
                let other = slot_of(&bytes[..len], 1 - slot);
                let (is_torn, is_unsettled) = match State::decode(other) {
                    Ok(other) => (false, other.cutting && !current.cutting),
                    Err(_) => {
                        let is_blank = other.len() == SLOT_BYTES && other.iter().all(|&b| b == 0);
                        let is_torn = !is_blank || current.generation > 1;
                        (is_torn, is_torn)
                    }
                };
                Ok(StateOnDisk::Valid(StateFile {
                    file,
                    current,
                    slot,
                    is_torn,
                    is_unsettled,
                    lock,
                }))
            }
            Err(StateError::OtherVersion(version)) => Err(Error::UnsupportedVersion {
                path: storage.dir().join(&name),
                version,
                newest: VERSION,
            }),
            Err(_) => Ok(StateOnDisk::Unreadable),
        }
    }

    /// Creates the shard's `state` file, durably: for a new log, or for the log of batches with
    /// this origin. A file with its temporary name is replaced.
    pub(crate) fn create(
        storage: &dyn Storage,
        shard: ShardId,
        origin: Option<Origin>,
        first_seq: u64,
        identity: &Identity,
    ) -> Result<StateFile> {
        let (name, temp) = (state_name(shard), state_temp_name(shard));
        let names = storage.list()?;
        if names.contains(&temp) {
            let _nobody_creates_it = lock(&*storage.open(&temp, Access::Write)?)?;
            storage.remove(&temp)?;
        }
        let mut log_id = [0; 16];
        getrandom::fill(&mut log_id).map_err(|error| {
            Error::io("get random bytes", storage.dir(), io::Error::other(error.to_string()))
        })?;
        if let Some(tag) = origin.and_then(|origin| origin.tag) {
            log_id[..8].copy_from_slice(&tag.to_le_bytes());
        }
        let adopted = origin.is_some_and(|origin| origin.stand_alone);
        let state = State { generation: 1, adopted, ..State::new(log_id, shard.get(), first_seq) };
        let current = identity.completed(&state);
        let file = storage.open(&temp, Access::Create).map_err(|error| match error {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                Error::Locked { path: storage.dir().join(&temp), pid: None }
            }
            error => error,
        })?;
        let guard = lock(&*file)?;
        // From here on no other process creates one; but one may have been faster.
        let _replaced = lock_unreadable(storage, shard)?;
        file.write_at(&state_file(&current, None), 0)?;
        file.sync()?;
        // The directory's own name is durable before `state` exists, so later openings need not
        // sync it.
        if !mutated("skip_parent_sync") {
            storage.sync_parent()?;
        }
        storage.rename(&temp, &name)?;
        storage.sync_dir()?;
        // Open it by its final name, for error messages.
        let file = storage.open(&name, Access::Write)?;
        let (is_torn, is_unsettled) = (false, false);
        Ok(StateFile { file, current, slot: 0, is_torn, is_unsettled, lock: guard })
    }

    /// The lock on the file, for the owner of the open log.
    pub(crate) fn take_lock(&mut self) -> Option<Box<dyn LockGuard>> {
        self.lock.take()
    }

    /// The state that counts.
    pub(crate) fn current(&self) -> &State {
        &self.current
    }

    /// An error if there are not enough generations left to make a change, to finish it and to
    /// close the log. Call this before a change begins.
    pub(crate) fn require_generations(&self) -> Result<()> {
        let is_near_end = self.current.generation > u64::MAX - GENERATIONS_KEPT;
        if is_near_end { Err(Error::StatesUsedUp) } else { Ok(()) }
    }

    /// Makes `state` the one that counts, durably, with the next generation. After an error, either
    /// state may count at the next open, and the file must not be written any more.
    pub(crate) fn write(&mut self, state: State) -> Result<()> {
        let Some(generation) = self.current.generation.checked_add(1) else {
            return Err(Error::StatesUsedUp);
        };
        let state = State { generation, ..state };
        let slot = if mutated("state_in_place") { self.slot } else { 1 - self.slot };
        debug_assert!(slot != self.slot || mutated("state_in_place"), "invariant 1");
        self.file.write_at(state.encode().as_slice(), (slot * SLOT_DISTANCE) as u64)?;
        if !mutated("skip_state_sync") {
            self.file.sync()?;
        }
        self.is_unsettled = self.current.cutting && !state.cutting;
        self.current = state;
        self.slot = slot;
        Ok(())
    }

    /// Whether the other slot held no state when the file was opened: a write was torn, or the slot
    /// went bad.
    pub(crate) fn was_torn(&self) -> bool {
        self.is_torn
    }

    /// Overwrites the other slot, durably, if its content must never count.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if self.is_unsettled && !mutated("leave_torn_state") {
            self.write(self.current.clone())
        } else {
            Ok(())
        }
    }
}

/// Locks a `state` file, under its temporary or its final name.
fn lock(file: &dyn StorageFile) -> Result<Option<Box<dyn LockGuard>>> {
    if mutated("leave_state_unlocked") { Ok(None) } else { file.lock() }
}

/// Locks the file that a new one is to replace, if there is one. It must hold no state; otherwise
/// another writer was faster.
fn lock_unreadable(storage: &dyn Storage, shard: ShardId) -> Result<Option<Box<dyn LockGuard>>> {
    let name = state_name(shard);
    if !storage.list()?.contains(&name) {
        return Ok(None);
    }
    match StateFile::open(storage, shard, std::slice::from_ref(&name), true)? {
        StateOnDisk::Valid(_) => Err(Error::Locked { path: storage.dir().join(name), pid: None }),
        StateOnDisk::Missing | StateOnDisk::Unreadable => {
            lock(&*storage.open(&name, Access::Write)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::mem::Memory;

    fn reopen(memory: &Memory) -> StateFile {
        let names = memory.list().unwrap();
        match StateFile::open(memory, ShardId::SINGLE, &names, true).unwrap() {
            StateOnDisk::Valid(file) => file,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_write_goes_into_the_slot_that_does_not_count() {
        let memory = Memory::default();
        let mut file =
            StateFile::create(&memory, ShardId::SINGLE, None, 1, &Identity::default()).unwrap();
        for last_seq in 1..6 {
            let before = memory.get("state").unwrap();
            file.write(State { last_seq, ..file.current().clone() }).unwrap();
            let after = memory.get("state").unwrap();
            let kept = usize::from(last_seq % 2 == 0) * SLOT_DISTANCE..;
            assert_eq!(before[kept.start..][..SLOT_BYTES], after[kept.start..][..SLOT_BYTES]);
            assert_eq!(reopen(&memory).current(), file.current());
        }
    }

    #[test]
    fn a_write_torn_anywhere_leaves_the_state_before_it() {
        let memory = Memory::default();
        let mut file =
            StateFile::create(&memory, ShardId::SINGLE, None, 1, &Identity::default()).unwrap();
        let before = file.current().clone();
        file.write(State { last_seq: 9, ..before.clone() }).unwrap();
        for len in [0, 1, 512, 4095] {
            let torn = memory.copy();
            torn.edit("state", |bytes| bytes[SLOT_DISTANCE + len..].fill(0));
            let counts = if len < 104 { &before } else { file.current() };
            assert_eq!(reopen(&torn).current(), counts, "torn after {len} bytes");
        }
    }

    #[test]
    fn a_torn_write_is_not_completed_by_a_later_torn_write() {
        const SECTOR: usize = 512;
        let memory = Memory::default();
        let mut file =
            StateFile::create(&memory, ShardId::SINGLE, None, 1, &Identity::default()).unwrap();
        file.write(State { last_seq: 9, ..file.current().clone() }).unwrap();
        memory.edit("state", |bytes| bytes[SLOT_DISTANCE + SECTOR..].fill(0xff));
        for settled in [false, true] {
            let memory = memory.copy();
            let mut file = reopen(&memory);
            let shown = file.current().last_seq;
            assert_eq!(shown, 0);
            if settled {
                file.settle().unwrap();
            }
            let before = memory.get("state").unwrap();
            let slot = (1 - file.slot) * SLOT_DISTANCE;
            file.write(State { last_seq: 3, ..file.current().clone() }).unwrap();
            memory.edit("state", |bytes| {
                bytes[slot..][..SECTOR].copy_from_slice(&before[slot..][..SECTOR]);
            });
            let came_back = reopen(&memory).current().last_seq == 9;
            assert_eq!(came_back, !settled);
        }
    }

    #[test]
    fn a_cut_that_was_finished_does_not_begin_again_when_the_newer_slot_goes_bad() {
        let memory = Memory::default();
        let mut file =
            StateFile::create(&memory, ShardId::SINGLE, None, 1, &Identity::default()).unwrap();
        let mut cutting = State { cutting: true, ..file.current().clone() };
        cutting.cuts.add(4);
        file.write(cutting.clone()).unwrap();
        file.write(State { cutting: false, ..cutting }).unwrap();
        let crashed_before = memory.copy();
        file.settle().unwrap();
        reopen(&crashed_before).settle().unwrap();
        for memory in [memory, crashed_before] {
            for slot in [0, 1] {
                let memory = memory.copy();
                memory.edit("state", |bytes| bytes[slot * SLOT_DISTANCE + 40] ^= 1);
                let left = reopen(&memory);
                assert_eq!(
                    (left.current().cuts.newest(), left.current().cutting),
                    (Some(4), false)
                );
                assert!(left.was_torn());
            }
        }
    }

    #[test]
    fn the_file_gets_its_name_when_it_is_durable() {
        let memory = Memory::default();
        memory.put("state.tmp", vec![1; 100]);
        StateFile::create(&memory, ShardId::SINGLE, None, 1, &Identity::default()).unwrap();
        assert_eq!(
            memory.changes(),
            [
                "remove state.tmp",
                "create state.tmp",
                "write state.tmp",
                "sync state.tmp",
                "rename state",
                "sync ."
            ]
        );
    }

    #[test]
    fn a_state_that_cannot_be_counted_is_not_written() {
        let memory = Memory::default();
        let mut file =
            StateFile::create(&memory, ShardId::SINGLE, None, 1, &Identity::default()).unwrap();
        assert!(file.require_generations().is_ok());
        file.current.generation = u64::MAX - GENERATIONS_KEPT;
        file.write(file.current.clone()).unwrap();
        assert!(matches!(file.require_generations(), Err(Error::StatesUsedUp)));
        while file.current.generation < u64::MAX {
            file.write(file.current.clone()).unwrap();
        }
        let before = memory.get("state");
        let next = State { last_seq: 9, ..file.current.clone() };
        assert!(matches!(file.write(next), Err(Error::StatesUsedUp)));
        assert_eq!(memory.get("state"), before);
        assert_eq!(reopen(&memory).current(), file.current());
    }

    /// Two processes begin a log at the same time, and the file `lock` is deleted between them.
    #[cfg(unix)]
    #[test]
    fn only_one_process_creates_the_file_and_the_slower_one_fails_with_locked() {
        use crate::io::StdStorage;
        let dir = tempfile::tempdir().unwrap();
        let storage = StdStorage::new(dir.path());
        let create = || StateFile::create(&storage, ShardId::SINGLE, None, 1, &Identity::default());
        let is_locked = |made: Result<StateFile>| matches!(made, Err(Error::Locked { .. }));
        {
            let begun = storage.open("state.tmp", Access::Create).unwrap();
            let _guard = begun.lock();
            assert!(is_locked(create()), "it is being created");
        }
        let file = create().unwrap();
        assert!(is_locked(create()), "it was created a moment ago");
        let open = || StateFile::open(&storage, ShardId::SINGLE, &storage.list().unwrap(), true);
        assert!(matches!(open(), Err(Error::Locked { .. })));
        drop(file);
        assert!(matches!(open().unwrap(), StateOnDisk::Valid(_)));
        storage.open("state", Access::Write).unwrap().set_bytes(0).unwrap();
        create().unwrap();
    }

    #[test]
    fn the_state_of_another_shard_is_unreadable() {
        let memory = Memory::default();
        StateFile::create(&memory, ShardId(3), None, 1, &Identity::default()).unwrap();
        memory.put("state", memory.get("s00003-state").unwrap());
        let found = StateFile::open(&memory, ShardId::SINGLE, &memory.names(), false).unwrap();
        assert!(matches!(found, StateOnDisk::Unreadable), "{found:?}");
    }
}

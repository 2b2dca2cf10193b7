//! A disk that is simulated, to be cut off at any moment: [`SimDisk`].
//!
//! It is one directory in memory, both planes of I/O, without threads, files or a clock. Everything
//! that happens by chance follows from one seed. It keeps each file twice, as a reader sees it and
//! as it is on stable storage; a [`crash`](SimDisk::crash) decides what became of the difference.
//!
//! What a log on it must **survive**, without losing what was acknowledged:
//!
//! - A power cut at any moment, also in the middle of a call and during recovery. Each 512-byte
//!   sector that was written and not synced is then as it was, as it was written, or garbage;
//!   unsynced lengths are there or not; unsynced creations, renames and removals have happened or
//!   not, each on its own.
//! - The death of the process at any moment: what the operating system had stays, and is not
//!   durable by that.
//! - Completions that come late and in any order. A sync covers no more than the contract says.
//! - Operations that fail once or for good, with any errno. What a failed write or sync was about
//!   is as after a crash, and a later sync says that all is well.
//! - A full disk.
//!
//! What it must **detect**: bytes that were durable and changed ([`damage`](SimDisk::damage)).
//!
//! **Out of scope**: a drive that acknowledges a flush and does not do it; sectors that change
//! although nobody wrote to them or next to them within the sector; a sector that is torn inside of
//! an aligned 8-byte word; a rename of which only one half survives; a write of a dead process that
//! lands after the next one opened the log; reads that are rotten only once.
//!
//! Numbered properties:
//!
//! 1. The same seed and the same calls give the same results (but for the random salts that a log
//!    writes).
//! 2. After a power cut every call fails, and nothing changes.
//! 3. A queue behaves as the numbered obligations of [`crate::io`] allow, and no better.
//!
//! Threading: everything may be called from any thread; only a single thread can be repeated.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::io::{Access, LockGuard, Storage, StorageFile};

use dice::Dice;
use state::{Change, Fault, State};

pub(crate) use queue::{SimQueue, SimWake};

mod dice;
mod queue;
mod state;
#[cfg(test)]
mod tests;

/// A simulated disk. A clone is the same disk.
///
/// ```
/// use ringwal::io::SimDisk;
/// use ringwal::Log;
///
/// let disk = SimDisk::new(1);
/// let log = Log::builder("sim").open_sim(&disk)?;
/// let durable = log.append("acknowledged")?;
/// let _lost = log.append_async("on its way")?;
/// let disk = disk.crash();
/// drop(log);
///
/// let log = Log::builder("sim").open_sim(&disk)?;
/// assert!(log.durable_seq() >= durable);
/// # Ok::<(), ringwal::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    dir: Arc<Path>,
}

impl SimDisk {
    /// An empty disk whose chances follow from `seed`.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk::of(State::new(Dice::new(seed)))
    }

    fn of(state: State) -> SimDisk {
        let dir = Arc::from(state.dir.as_path());
        SimDisk { state: Arc::new(Mutex::new(state)), dir }
    }

    /// Cuts the power now, if that has not happened, and gives the disk as it is when it comes
    /// back. This one stays without power.
    pub fn crash(&self) -> SimDisk {
        let mut after = self.leave();
        after.crash();
        SimDisk::of(after)
    }

    /// Kills the process now and gives the disk as the next process finds it: the operating
    /// system still has everything, also what is not durable. For the dead process the disk stays
    /// without power.
    pub fn kill(&self) -> SimDisk {
        let mut after = self.leave();
        after.kill();
        SimDisk::of(after)
    }

    /// Takes the content out.
    fn leave(&self) -> State {
        let mut state = self.state();
        let mut after = State::new(state.dice.clone());
        std::mem::swap(&mut *state, &mut after);
        state.off = true;
        state.calls = after.calls;
        after
    }

    /// Lets the call number `index`, counted from now, fail with `errno`; and all after it, if
    /// `for_good`.
    pub fn fail_at(&self, index: u64, errno: i32, for_good: bool) {
        let mut state = self.state();
        state.fault = Some(Fault { at: state.calls + index, for_good, errno: Some(errno) });
    }

    /// Cuts the power in the middle of call number `index`, counted from now.
    pub fn power_off_at(&self, index: u64) {
        let mut state = self.state();
        state.fault = Some(Fault { at: state.calls + index, for_good: true, errno: None });
    }

    /// Lets the queue itself fail at the `index`-th time from now that it is waited for.
    pub fn fail_queue_at(&self, index: u64) {
        self.state().queue_fails_at = Some(index);
    }

    /// Lets nothing fail any more.
    pub fn heal(&self) {
        let mut state = self.state();
        state.fault = None;
        state.queue_fails_at = None;
    }

    /// Whether there was a power cut.
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// How many calls there were, of both planes.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// The bytes that all files together may have; `None` is no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity_bytes = bytes;
    }

    /// The unit of writes, a power of two from 512 to 4096; 512 at first.
    pub fn set_unit(&self, bytes: u64) {
        self.state().unit_bytes = bytes;
    }

    /// The content of a file as a reader sees it.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(name).map(|&inode| state.inodes[inode].seen.clone())
    }

    /// Changes bytes of a file behind everyone's back, durably, within its length.
    pub fn damage(&self, name: &str, offset: u64, bytes: &[u8]) {
        let mut state = self.state();
        if let Some(&inode) = state.names.get(name) {
            state.inodes[inode].damage(offset as usize, bytes);
        }
    }

    /// Remembers all calls from now on, for [`trace`](Self::trace).
    pub fn start_trace(&self) {
        self.state().trace = Some(Vec::new());
    }

    /// The calls since [`start_trace`](Self::start_trace), one line each.
    pub fn trace(&self) -> Vec<String> {
        self.state().trace.clone().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call, which may fail. The fault that it fails with comes with the error.
    fn call(&self, op: &'static str, name: &str) -> Result<MutexGuard<'_, State>, Failed<'_>> {
        let mut state = self.state();
        let fail = |state, source, cut| Failed {
            error: Error::io(op, self.dir.join(name), source),
            state,
            cut,
        };
        let number = state.calls;
        if !state.off {
            state.calls += 1;
            if let Some(trace) = &mut state.trace {
                trace.push(format!("{number} {op} {name}"));
            }
        }
        if state.off {
            return Err(fail(state, std::io::Error::other("the power is off"), false));
        }
        let hit = |fault: &Fault| number == fault.at || fault.for_good && number > fault.at;
        match state.fault.filter(hit).map(|fault| fault.errno) {
            Some(Some(errno)) => Err(fail(state, std::io::Error::from_raw_os_error(errno), false)),
            Some(None) => {
                state.off = true;
                Err(fail(state, std::io::Error::other("the power went out"), true))
            }
            None => Ok(state),
        }
    }

    fn missing(&self, op: &'static str, name: &str) -> Error {
        Error::io(op, self.dir.join(name), std::io::ErrorKind::NotFound.into())
    }

    /// Fails if the disk has no room for a file to grow to `end`.
    fn check_room(&self, state: &State, inode: usize, end: usize, name: &str) -> Result<()> {
        let grown = end.saturating_sub(state.inodes[inode].seen.len()) as u64;
        match state.capacity_bytes {
            Some(capacity) if grown > 0 && state.used_bytes() + grown > capacity => {
                let source = std::io::ErrorKind::StorageFull.into();
                Err(Error::io("write", self.dir.join(name), source))
            }
            _ => Ok(()),
        }
    }
}

/// A call that failed, and the disk as it is.
struct Failed<'a> {
    error: Error,
    state: MutexGuard<'a, State>,
    /// The power went out in this very call: it may have happened.
    cut: bool,
}

impl From<Failed<'_>> for Error {
    fn from(failed: Failed<'_>) -> Error {
        failed.error
    }
}

impl Storage for SimDisk {
    fn dir(&self) -> &Path {
        &self.dir
    }

    fn list(&self) -> Result<Vec<String>> {
        Ok(self.call("list", "")?.names.keys().cloned().collect())
    }

    fn open(&self, name: &str, access: Access) -> Result<Box<dyn StorageFile>> {
        let mut state = match self.call("open", name) {
            Ok(state) => state,
            Err(mut failed) => {
                if failed.cut && access == Access::Create {
                    let inode = new_inode(&mut failed.state);
                    failed.state.rename_perhaps(vec![(name.to_owned(), Some(inode))]);
                }
                return Err(failed.error);
            }
        };
        let inode = match (access, state.names.get(name).copied()) {
            (Access::Create, Some(_)) => {
                let source = std::io::ErrorKind::AlreadyExists.into();
                return Err(Error::io("open", self.dir.join(name), source));
            }
            (Access::Create, None) => {
                let inode = new_inode(&mut state);
                state.rename_all(vec![(name.to_owned(), Some(inode))]);
                inode
            }
            (_, Some(inode)) => inode,
            (_, None) => return Err(self.missing("open", name)),
        };
        Ok(Box::new(SimFile { disk: self.clone(), name: name.to_owned(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let changes = |state: &State| {
            let inode = state.names.get(from).copied()?;
            Some(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))])
        };
        self.change_names("rename", from, changes)
    }

    fn remove(&self, name: &str) -> Result<()> {
        let changes =
            |state: &State| state.names.contains_key(name).then(|| vec![(name.to_owned(), None)]);
        self.change_names("remove", name, changes)
    }

    fn sync_dir(&self) -> Result<()> {
        self.call("sync directory", "")?.sync_names();
        Ok(())
    }

    fn lock(&self, name: &str) -> Result<Box<dyn LockGuard>> {
        let mut state = self.call("lock", name)?;
        if !state.names.contains_key(name) {
            let inode = new_inode(&mut state);
            state.rename_all(vec![(name.to_owned(), Some(inode))]);
        }
        if !state.locked.insert(name.to_owned()) {
            return Err(Error::Locked { path: self.dir.join(name), pid: None });
        }
        Ok(Box::new(SimLock { disk: self.clone(), name: name.to_owned() }))
    }
}

impl SimDisk {
    fn change_names(
        &self,
        op: &'static str,
        name: &str,
        changes: impl Fn(&State) -> Option<Vec<(String, Option<usize>)>>,
    ) -> Result<()> {
        match self.call(op, name) {
            Ok(mut state) => {
                let changes = changes(&state).ok_or_else(|| self.missing(op, name))?;
                state.rename_all(changes);
                Ok(())
            }
            Err(mut failed) => {
                if let (true, Some(changes)) = (failed.cut, changes(&failed.state)) {
                    failed.state.rename_perhaps(changes);
                }
                Err(failed.error)
            }
        }
    }
}

fn new_inode(state: &mut State) -> usize {
    state.inodes.push(state::Inode::default());
    state.inodes.len() - 1
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    name: String,
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().locked.remove(&self.name);
    }
}

/// An open file.
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    name: String,
    inode: usize,
}

impl SimFile {
    fn change(&self, op: &'static str, change: Change, end: usize) -> Result<()> {
        match self.disk.call(op, &self.name) {
            Ok(mut state) => {
                self.disk.check_room(&state, self.inode, end, &self.name)?;
                let now = state.tick();
                state.inodes[self.inode].change(now, now, change);
                Ok(())
            }
            Err(mut failed) => {
                let id = failed.state.tick();
                if let Some(inode) = failed.state.inodes.get_mut(self.inode) {
                    inode.begin(id, change, true);
                }
                Err(failed.error)
            }
        }
    }
}

impl StorageFile for SimFile {
    fn bytes(&self) -> Result<u64> {
        let state = self.disk.call("stat", &self.name)?;
        Ok(state.inodes[self.inode].seen.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let state = self.disk.call("read", &self.name)?;
        let from = state.inodes[self.inode].seen.get(offset as usize..).unwrap_or(&[]);
        let len = from.len().min(buf.len());
        buf[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        let end = offset as usize + data.len();
        self.change("write", Change::write(offset as usize, data.to_vec()), end)
    }

    fn write_zeros(&self, from: u64, to: u64) -> Result<()> {
        let zeros = vec![0; to.saturating_sub(from) as usize];
        self.change("write zeros", Change::write(from as usize, zeros), to as usize)
    }

    fn set_bytes(&self, bytes: u64) -> Result<()> {
        self.change("cut", Change::Length(bytes as usize), 0)
    }

    fn sync(&self) -> Result<()> {
        match self.disk.call("sync", &self.name) {
            Ok(mut state) => {
                state.inodes[self.inode].sync(|_| true);
                Ok(())
            }
            Err(mut failed) => {
                if let Some(inode) = failed.state.inodes.get_mut(self.inode) {
                    inode.fail_sync(|_| true);
                }
                Err(failed.error)
            }
        }
    }

    fn drop_cache(&self) {
        let mut state = self.disk.state();
        let State { inodes, dice, .. } = &mut *state;
        if let Some(inode) = inodes.get_mut(self.inode) {
            inode.drop_cache(dice);
        }
    }
}

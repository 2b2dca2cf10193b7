//! A simulated disk, whose power can be cut at any moment: [`SimDisk`].
//!
//! The disk is one new directory in memory with both planes of I/O, without threads, files or a
//! clock. All chance follows from one seed. The disk keeps the content of each file twice: as
//! readers see it, and as it is on stable storage. A [`crash`](SimDisk::crash) decides what happens
//! to the difference. [`SimFault`] lists the faults.
//!
//! A log on it must **survive** the following without losing an acknowledged record:
//!
//! - A power cut at any moment, even in the middle of a call and during recovery. Each 512-byte
//!   sector that was written and not synced is then old, new or garbage. Each unsynced change of a
//!   length, creation, rename and removal has happened or not, on its own. Unless the parent
//!   directory was synced, everything may be gone.
//! - The death of the process at any moment. Bytes that the operating system had stay, but do not
//!   become durable by that.
//! - Completions that come late and in any order. A sync covers no more than the contract says.
//! - Operations that fail once or permanently, with any errno; writes that end short; writes and
//!   linked syncs that are cancelled. The bytes of a failed write or sync are as after a crash,
//!   while a later sync succeeds.
//! - A kernel that is busy (`EAGAIN`, `EBUSY`, `EINTR` from enter).
//! - A full disk, and a process without descriptors for a while.
//! - A file `lock` that vanishes, followed by another writer.
//!
//! A log must **detect** the following: it returns either the right bytes or an error that names
//! the place:
//!
//! - Durable bytes that changed ([`damage`](SimDisk::damage)), and reads that are rotten, stale or
//!   misdirected, once or permanently, wherever a later witness proves that the missing records had
//!   been acknowledged: a later batch or segment, a checkpoint, a clean close.
//!
//! **Out of scope**:
//!
//! - A drive that acknowledges a flush without doing it.
//! - A sector that changes although nothing in it was written; a sector that is torn inside of an
//!   aligned 8-byte word; a rename of which only one half survives; a write of a dead process that
//!   lands after the next process opened the log.
//! - Damage without a later witness. Damage to the last batch looks like a torn tail, and damage to
//!   the newest slot of `state` like a slot that was never finished.
//! - A stale or misdirected sector under [`Log::read`](crate::Log::read) that has a whole record of
//!   the same length at the same place. A record states its length and its bytes, and only the
//!   batch around it tells which record it is. Readers and recovery read whole batches.
//!
//! Numbered properties:
//!
//! 1. The same seed and the same calls give the same results, except for the random salts that a
//!    log writes.
//! 2. After a power cut every call fails, and nothing changes.
//! 3. A queue behaves as the numbered guarantees of [`crate::io`] allow, and no better.
//!
//! Threading: any thread may call anything; only the calls of a single thread are repeatable.

use crate::sync::plain::{Mutex, MutexGuard};
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};

use dice::Dice;
use fault::{Call, Struck};
use state::DiskState;

pub use fault::SimFault;
pub(crate) use queue::{SimQueue, SimWake};

mod dice;
mod fault;
mod inode;
mod queue;
mod state;
mod storage;
#[cfg(test)]
mod tests;

/// A simulated disk. A clone is the same disk.
///
/// A service tests its own use of a log by running it again and again. Each time it cuts the power
/// at the next call or lets that call fail, until no call is left:
///
/// ```
/// use ringwal::{Error, Log, SimDisk, SimFault};
///
/// const EIO: i32 = 5;
/// // All of a disk is in memory: small segments are fast.
/// let open = |disk: &SimDisk| Log::builder("sim").segment_bytes(65_536).open_sim(disk);
/// for (at, fault) in (0..).flat_map(|n| [(n, SimFault::PowerCut), (n, SimFault::Errno(EIO))]) {
///     let disk = SimDisk::new(at);
///     let log = open(&disk)?;
///     log.append("first")?;
///     disk.fail_at(at, fault);
///     let second = log.append("second");
///     if let Err(error) = &second {
///         // The log has stopped; the error says which operation failed, and on which file.
///         assert!(matches!(error.root_cause(), Error::Io { .. }), "{error}");
///     }
///     let nothing_failed = disk.struck().is_empty();
///     let disk = disk.crash();
///     drop(log);
///
///     let log = open(&disk)?;
///     let mut records = log.reader()?;
///     assert_eq!(records.next().expect("it was acknowledged")?.data(), b"first");
///     match records.next() {
///         Some(record) => assert_eq!(record?.data(), b"second"),
///         None => assert!(second.is_err(), "it was acknowledged"),
///     }
///     if nothing_failed {
///         break;
///     }
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<DiskState>>,
    dir: Arc<Path>,
}

impl SimDisk {
    /// An empty disk whose chance follows from `seed`.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk::of(DiskState::new(Dice::new(seed)))
    }

    fn of(state: DiskState) -> SimDisk {
        let dir = Arc::from(state.dir.as_path());
        SimDisk { state: Arc::new(Mutex::new(state)), dir }
    }

    /// Cuts the power, unless it is off already, and returns the disk as it is when the power comes
    /// back. This one stays off.
    pub fn crash(&self) -> SimDisk {
        let mut after = self.leave();
        after.crash();
        SimDisk::of(after)
    }

    /// Kills the process and returns the disk as the next process finds it: the operating system
    /// still has everything, including what is not durable. This one, the dead process's, stays
    /// off.
    pub fn kill(&self) -> SimDisk {
        let mut after = self.leave();
        after.kill();
        SimDisk::of(after)
    }

    /// A separate disk with the content that [`kill`](Self::kill) would leave, to look at what
    /// would happen. This one goes on.
    pub fn fork(&self) -> SimDisk {
        let mut copy = self.state().clone();
        copy.kill();
        SimDisk::of(copy)
    }

    /// Moves the state out, and turns this disk off.
    fn leave(&self) -> DiskState {
        let mut state = self.state();
        let mut after = DiskState::new(state.dice.clone());
        std::mem::swap(&mut *state, &mut after);
        state.off = true;
        state.calls = after.calls;
        state.plans.struck = std::mem::take(&mut after.plans.struck);
        after
    }

    /// Lets `fault` strike once: it spares `index` of the calls that it can strike, and strikes the
    /// next one. Several faults may be due at once.
    pub fn fail_at(&self, index: u64, fault: SimFault) {
        self.state().plans.add(index, fault, false);
    }

    /// Like [`fail_at`](Self::fail_at), and every such call from then on.
    pub fn fail_from(&self, index: u64, fault: SimFault) {
        self.state().plans.add(index, fault, true);
    }

    /// The calls that faults have struck, one line each.
    pub fn struck(&self) -> Vec<String> {
        self.state().plans.struck.clone()
    }

    /// Removes all faults, and makes all reads right again.
    pub fn heal(&self) {
        let mut state = self.state();
        state.plans.clear();
        state.inodes.iter_mut().for_each(|inode| inode.wrong.clear());
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// How many calls both planes have had.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// How many users the disk has besides this value. An open log, file or lock counts as at least
    /// one; a clone counts as one.
    pub fn users(&self) -> usize {
        Arc::strong_count(&self.state) - 1
    }

    /// Limits the total length of all files in bytes; `None` is no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity_bytes = bytes;
    }

    /// Sets the unit of writes, a power of two from 512 to 65,536; it begins as 512.
    pub fn set_unit(&self, bytes: u64) {
        self.state().unit_bytes = bytes;
    }

    /// The names of all files, in order.
    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// The content of a file as readers see it.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(name).map(|&inode| state.inodes[inode].seen.clone())
    }

    /// How many bytes this process has read from the file called `name`. Bytes that are read twice
    /// count twice.
    pub fn bytes_read(&self, name: &str) -> u64 {
        self.state().bytes_read.get(name).copied().unwrap_or(0)
    }

    /// Changes bytes of a file within its length, durably, as a failing drive does.
    pub fn damage(&self, name: &str, offset: u64, bytes: &[u8]) {
        let mut state = self.state();
        if let Some(&inode) = state.names.get(name) {
            state.inodes[inode].damage(offset as usize, bytes);
        }
    }

    /// Records all calls from now on, for [`trace`](Self::trace).
    pub fn start_trace(&self) {
        self.state().trace = Some(Vec::new());
    }

    /// The calls since [`start_trace`](Self::start_trace), one line each.
    pub fn trace(&self) -> Vec<String> {
        self.state().trace.clone().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, DiskState> {
        self.state.lock()
    }

    /// Counts a call. If it fails, the error comes with the fault that struck it.
    fn call(
        &self,
        op: &'static str,
        name: &str,
        call: Call,
    ) -> Result<MutexGuard<'_, DiskState>, Failed<'_>> {
        let mut state = self.state();
        let fail = |state, source, struck| {
            let error = Error::io(op, self.dir.join(name), source);
            Err(Failed { error, state, struck })
        };
        if state.off {
            return fail(state, std::io::Error::other("the power is off"), None);
        }
        let number = state.calls;
        state.calls += 1;
        if let Some(trace) = &mut state.trace {
            trace.push(format!("{number} {op} {name}"));
        }
        let Some(struck) = state.plans.strike(call, || format!("{number} {op} {name}")) else {
            return Ok(state);
        };
        state.off |= struck.fault == SimFault::PowerCut;
        fail(state, struck.fault.error(), Some(struck))
    }

    /// Enters the kernel; returns the errno if that fails.
    fn enter(&self) -> Option<i32> {
        match self.state().plans.strike(Call::Enter, || "enter".to_owned())?.fault {
            SimFault::Enter(errno) => Some(errno),
            _ => None,
        }
    }

    fn missing(&self, op: &'static str, name: &str) -> Error {
        Error::io(op, self.dir.join(name), std::io::ErrorKind::NotFound.into())
    }

    /// Fails if the disk has no room for the file to grow to `end`.
    fn check_room(&self, state: &DiskState, inode: usize, end: usize, name: &str) -> Result<()> {
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

/// A call that failed, and the locked state of the disk.
struct Failed<'a> {
    error: Error,
    state: MutexGuard<'a, DiskState>,
    /// The fault that struck it; `None` if the power was off.
    struck: Option<Struck>,
}

impl Failed<'_> {
    fn is(&self, fault: SimFault) -> bool {
        self.struck.is_some_and(|struck| struck.fault == fault)
    }
}

impl From<Failed<'_>> for Error {
    fn from(failed: Failed<'_>) -> Error {
        failed.error
    }
}

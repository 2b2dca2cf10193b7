//! A disk that is simulated, to be cut off at any moment: [`SimDisk`].
//!
//! It is one directory in memory, made a moment ago, and both planes of I/O, without threads, files
//! or a clock. Everything that happens by chance follows from one seed. It keeps each file twice,
//! as a reader sees it and as it is on stable storage; a [`crash`](SimDisk::crash) decides what
//! became of the difference. What fails, and when, is said by [`SimFault`].
//!
//! What a log on it must **survive**, without losing what was acknowledged:
//!
//! - A power cut at any moment, also in the middle of a call and during recovery. Each 512-byte
//!   sector that was written and not synced is then as it was, as it was written, or garbage;
//!   unsynced lengths are there or not; unsynced creations, renames and removals have happened or
//!   not, each on its own; and unless the directory above was synced, all of it may be gone.
//! - The death of the process at any moment: what the operating system had stays, and is not
//!   durable by that.
//! - Completions that come late and in any order. A sync covers no more than the contract says.
//! - Operations that fail once or for good, with any errno; that end short; that are cancelled, the
//!   write, or the sync that is linked to it. What a failed write or sync was about is as after a
//!   crash, and a later sync says that all is well.
//! - A kernel that takes nothing in just now (`EAGAIN`, `EBUSY`, `EINTR` from enter).
//! - A full disk, and a process without descriptors for a while.
//! - A file `lock` that vanishes, and another writer that comes then.
//!
//! What it must **detect**, which is to say an error that names the place, or the right bytes:
//!
//! - Bytes that were durable and changed ([`damage`](SimDisk::damage)), and reads that are rotten,
//!   stale or misdirected, once or for good, wherever a later witness proves that what is missing
//!   had been acknowledged: a later batch or segment, a checkpoint, a clean close.
//!
//! **Out of scope**:
//!
//! - A drive that acknowledges a flush and does not do it.
//! - Sectors that change although nobody wrote to them or next to them within the sector; a sector
//!   that is torn inside of an aligned 8-byte word; a rename of which only one half survives; a
//!   write of a dead process that lands after the next one opened the log.
//! - Damage that has no later witness: of the last batch, it cannot be told from a torn tail, and
//!   the newest of the two slots of `state` cannot be told from one that was never finished.
//! - A stale or misdirected sector under [`Log::read`](crate::Log::read), if it has a whole record
//!   of the same length at the same place: a record says its length and its bytes, and only the
//!   batch around it says which one it is. Readers and recovery read whole batches.
//!
//! Numbered properties:
//!
//! 1. The same seed and the same calls give the same results (but for the random salts that a log
//!    writes).
//! 2. After a power cut every call fails, and nothing changes.
//! 3. A queue behaves as the numbered obligations of [`crate::io`] allow, and no better.
//!
//! Threading: everything may be called from any thread; only a single thread can be repeated.

use crate::sync::plain::{Mutex, MutexGuard};
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};

use dice::Dice;
use fault::{Call, Struck};
use state::State;

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
/// A service tests its own use of a log by running it again and again, cutting the power or
/// letting another call fail each time, until nothing is left to fail:
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
///         // The log is over; the error says what failed, and where.
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

    /// A disk of its own with the same content, as [`kill`](Self::kill) would leave it; this one
    /// goes on. For a look at what would happen.
    pub fn fork(&self) -> SimDisk {
        let mut copy = self.state().clone();
        copy.kill();
        SimDisk::of(copy)
    }

    /// Takes the content out.
    fn leave(&self) -> State {
        let mut state = self.state();
        let mut after = State::new(state.dice.clone());
        std::mem::swap(&mut *state, &mut after);
        state.off = true;
        state.calls = after.calls;
        state.plans.struck = std::mem::take(&mut after.plans.struck);
        after
    }

    /// Lets `fault` happen once: of the calls that it can hit, it leaves `index` alone and strikes
    /// the next one. Several faults may be due at once.
    pub fn fail_at(&self, index: u64, fault: SimFault) {
        self.state().plans.add(index, fault, false);
    }

    /// Like [`fail_at`](Self::fail_at), and from then on for good.
    pub fn fail_from(&self, index: u64, fault: SimFault) {
        self.state().plans.add(index, fault, true);
    }

    /// What the faults struck so far, one line each.
    pub fn struck(&self) -> Vec<String> {
        self.state().plans.struck.clone()
    }

    /// Lets nothing fail any more, and no read be wrong.
    pub fn heal(&self) {
        let mut state = self.state();
        state.plans.clear();
        state.inodes.iter_mut().for_each(|inode| inode.wrong.clear());
    }

    /// Whether there was a power cut.
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// How many calls there were, of both planes.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// How many use the disk besides this value: an open log, file or lock is one each at least,
    /// a clone is one more.
    pub fn users(&self) -> usize {
        Arc::strong_count(&self.state) - 1
    }

    /// The bytes that all files together may have; `None` is no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity_bytes = bytes;
    }

    /// The unit of writes, a power of two from 512 to 65,536; 512 at first.
    pub fn set_unit(&self, bytes: u64) {
        self.state().unit_bytes = bytes;
    }

    /// The names of all files, in order.
    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// The content of a file as a reader sees it.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(name).map(|&inode| state.inodes[inode].seen.clone())
    }

    /// How many bytes of the file of a name this process read, in all calls:
    /// what it read again counts again.
    pub fn bytes_read(&self, name: &str) -> u64 {
        self.state().bytes_read.get(name).copied().unwrap_or(0)
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
        self.state.lock()
    }

    /// Counts a call, which may fail. The fault that it fails with comes with the error.
    fn call(
        &self,
        op: &'static str,
        name: &str,
        call: Call,
    ) -> Result<MutexGuard<'_, State>, Failed<'_>> {
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

    /// Enters the kernel; the errno that it answers with, if it does not work.
    fn enter(&self) -> Option<i32> {
        match self.state().plans.strike(Call::Enter, || "enter".to_owned())?.fault {
            SimFault::Enter(errno) => Some(errno),
            _ => None,
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
    /// What struck it; `None` if there is no power.
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

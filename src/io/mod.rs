//! The two planes of I/O that an engine runs on, as contracts.
//!
//! - [`Storage`] is blocking and knows one directory: names, positional reads, locks. Recovery,
//!   readers and tools need only this.
//! - [`IoQueue`] is completion-shaped and touched by one thread: "write these blocks, then make
//!   them durable", "prepare a spare segment", "give it its name". Operations are submitted,
//!   complete in any order, and buffers come back with the result. The commit path needs only
//!   this.
//!
//! [`StdStorage`] is the storage of every platform. Queues are [`StdQueue`] on every platform and
//! `UringQueue` on Linux; [`open_queue`] chooses, and says why. The engine sees the traits alone,
//! so a simulated disk can take their place.
//!
//! What every implementation of [`IoQueue`] owes the engine:
//!
//! 1. Every submitted operation completes exactly once, with its token and with the buffer that
//!    was moved in, unless the buffer cannot be known to be free (then it is leaked, never freed).
//! 2. `Ok` for a [`Op::Write`] with a [`Strategy`] means that all `len` bytes are on stable
//!    storage; without one, that the operating system has all of them. A short write is an error.
//!    That holds through the page cache only while no other operation that syncs the file is in
//!    flight: the system tells the failed writeback of a page to one of them. The engine sees to
//!    it.
//! 3. `Ok` for [`Op::Sync`] means that every write to that file that had *completed* before the
//!    sync was submitted is on stable storage. (A strategy that syncs the whole file gives the
//!    same for the other writes; [`Strategy::syncs_file`] tells.)
//! 4. `Ok` for [`Op::Install`] means that the new name is on stable storage.
//! 5. Nothing is retried after a failed write or sync.
//! 6. Dropping a queue waits for what is in flight.
//!
//! Threading: a queue belongs to the thread that made it; only its [`Wake`] crosses threads.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::mutation::mutated;

pub use crate::buf::{AlignedBuf, BUF_ALIGN};
pub use backend::{Backend, BackendKind, QueueOptions, Refusal};
pub use portable::{StdQueue, StdStorage};
pub use select::open_queue;
pub(crate) use select::require_set_up;
#[cfg(any(test, feature = "sim"))]
pub use sim::{SimDisk, SimFault};
#[cfg(any(test, feature = "sim"))]
pub(crate) use sim::{SimQueue, SimWake};
#[cfg(all(target_os = "linux", feature = "uring"))]
pub use uring::UringQueue;

mod backend;
mod file_worker;
#[cfg(test)]
pub(crate) mod mem;
mod portable;
#[cfg(all(target_os = "linux", feature = "uring"))]
mod probe;
#[cfg(all(target_os = "linux", feature = "uring"))]
mod refuse;
mod select;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
#[cfg(test)]
mod tests;
#[cfg(all(target_os = "linux", feature = "uring"))]
mod uring;

/// The blocking plane: one directory and the files in it, by name.
///
/// Names have no separators. All methods may be called from any thread. One that is only read
/// leaves out what would change it: that says [`Error::ReadOnly`] then.
///
/// ```
/// use ringwal::io::{Access, StdStorage, Storage};
///
/// let dir = tempfile::tempdir()?;
/// let storage = StdStorage::new(dir.path());
/// let file = storage.open("notes", Access::Create)?;
/// file.write_at(b"hello", 0)?;
/// file.sync()?;
/// storage.sync_dir()?; // only now does the name survive as well
/// assert_eq!(storage.list()?, ["notes"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Storage: Send + Sync + fmt::Debug {
    /// The directory, for messages.
    fn dir(&self) -> &Path;

    /// The path by which the operating system finds `name` in this very directory, also after it
    /// was renamed. [`dir`](Self::dir) is for messages.
    fn real_path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// From now on [`check_place`](Self::check_place) also asks whether `name` is still that of the
    /// file which has it now. Where that cannot be told, nothing is asked.
    fn must_keep(&self, name: &str) -> Result<()> {
        let _not_asked = name;
        Ok(())
    }

    /// That the path of the directory still leads to it: whoever looks for the log there next time
    /// finds what is written here now.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there is no such directory any more, or another one.
    fn check_place(&self) -> Result<()> {
        Ok(())
    }

    /// The names of all entries in the directory, in no order.
    fn list(&self) -> Result<Vec<String>>;

    /// Opens a file.
    fn open(&self, name: &str, access: Access) -> Result<Box<dyn StorageFile>>;

    /// Gives the file `from` the name `to`, in place of a file of that name if there is one.
    /// Durable only after [`sync_dir`](Self::sync_dir).
    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let _refused = (from, to);
        Err(Error::ReadOnly)
    }

    /// Removes a file. Durable only after [`sync_dir`](Self::sync_dir).
    fn remove(&self, name: &str) -> Result<()> {
        let _refused = name;
        Err(Error::ReadOnly)
    }

    /// Makes all creations, renames and removals so far durable.
    fn sync_dir(&self) -> Result<()> {
        Err(Error::ReadOnly)
    }

    /// Makes the directory's own name durable, whoever made it: what is in it must be found after
    /// a loss of power.
    fn sync_parent(&self) -> Result<()> {
        Ok(())
    }

    /// Takes the exclusive lock `name` until the returned guard is dropped, or says who has it
    /// ([`Error::Locked`]). Never waits.
    fn lock(&self, name: &str) -> Result<Box<dyn LockGuard>> {
        let _refused = name;
        Err(Error::ReadOnly)
    }
}

/// Holds a lock until it is dropped.
pub trait LockGuard: Send + Sync + fmt::Debug {}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Write,
    /// A new file, to read and write; it is an error if the name is taken.
    Create,
}

/// An open file of a [`Storage`]: positional, shared between threads.
///
/// One that is only read leaves out what would change it: that says [`Error::ReadOnly`] then.
pub trait StorageFile: Send + Sync + fmt::Debug {
    /// The file's length in bytes.
    fn bytes(&self) -> Result<u64>;

    /// Reads into `buf` from `offset`; returns how many bytes, fewer than asked for only at the
    /// end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize>;

    /// Where, from `from` on, the next bytes are that may be other than zeros; `None` if there are
    /// none up to the end of the file. It need not know, and may say `from`.
    fn next_data(&self, from: u64) -> Result<Option<u64>> {
        Ok(Some(from))
    }

    /// Writes all of `data` at `offset`.
    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        let _refused = (data, offset);
        Err(Error::ReadOnly)
    }

    /// Writes zeros from `from` to `to` with large plain writes, so that those blocks are really
    /// there: no later write to them allocates or extends.
    fn write_zeros(&self, from: u64, to: u64) -> Result<()> {
        let _refused = (from, to);
        Err(Error::ReadOnly)
    }

    /// Extends the file to `bytes` and reserves the room for what it did not have, without writing
    /// it: it reads as zeros. False where that cannot be done; then nothing changed.
    fn reserve(&self, bytes: u64) -> Result<bool> {
        let _none = bytes;
        Ok(false)
    }

    /// Cuts or extends the file to `bytes`.
    fn set_bytes(&self, bytes: u64) -> Result<()> {
        let _refused = bytes;
        Err(Error::ReadOnly)
    }

    /// Takes the exclusive lock of the file until the returned guard is dropped, or says that
    /// somebody has it ([`Error::Locked`]), or that its name has gone to another file, which is the
    /// same. Never waits, and keeps nobody away who only reads. `None` where a file cannot be
    /// locked like that.
    fn lock(&self) -> Result<Option<Box<dyn LockGuard>>> {
        Ok(None)
    }

    /// Makes content and length durable.
    fn sync(&self) -> Result<()> {
        Err(Error::ReadOnly)
    }

    /// The same file for whoever reads it from its beginning to its end, and while it does not
    /// change: the disk works ahead of the reads, and the memory of the operating system is left
    /// alone. `None` where that is not to be had or not worth it.
    fn read_ahead(&self) -> Option<Arc<dyn StorageFile>> {
        None
    }

    /// Whether the file has got another name since it was opened, and perhaps other content. One
    /// that was removed has no name. True where that cannot be told.
    fn is_renamed(&self) -> Result<bool> {
        Ok(true)
    }

    /// Forgets what the operating system has cached of the file, as far as it can, so that the
    /// next reads come from the device. Only a hint.
    fn drop_cache(&self) {}
}

/// An open file of an [`IoQueue`], by the number that the engine gave it.
pub type FileId = u64;

/// What a spare has before the first batch is written to it. Either way it reads as zeros, and
/// what a reused file has already is kept.
///
/// ```
/// use ringwal::io::{Blocks, Op};
///
/// let (name, blocks) = ("spare".to_owned(), Blocks::Written);
/// let prepare = Op::Prepare { file: 1, name, reuse: None, bytes: 1 << 20, blocks };
/// assert!(matches!(prepare, Op::Prepare { blocks: Blocks::Written, .. }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blocks {
    /// All of its bytes are written and synced, so that later writes are pure overwrites and
    /// their syncs write nothing but data. That takes as many bytes of zeros.
    Written,
    /// Room for all of its bytes is reserved, durably. No zeros are written, but the sync after
    /// a first write to a block has metadata to write as well. [`Written`](Self::Written) where
    /// the file system cannot reserve.
    Reserved,
    /// It is just there and grows as it is written.
    AsTheyCome,
}

/// Something for an [`IoQueue`] to do.
#[derive(Debug)]
pub enum Op {
    /// Makes a spare segment: a file called `name`, from the retired file `reuse` if that is
    /// given, else new, whose blocks are as `blocks` says. It is open as `file` from then on. On
    /// failure nothing of it is left.
    Prepare {
        /// The number by which later operations name the file.
        file: FileId,
        /// The name of the spare.
        name: String,
        /// A retired file to take instead of a new one.
        reuse: Option<String>,
        /// The length to give it.
        bytes: u64,
        /// What it is to have before the first write.
        blocks: Blocks,
    },
    /// Writes `buf[..len]` at `offset`; `len` and `offset` are multiples of the unit that the
    /// backend stated. With `sync`, completes when it is durable.
    Write {
        /// An open file.
        file: FileId,
        /// Where in the file, in bytes.
        offset: u64,
        /// The bytes; given back with the completion.
        buf: AlignedBuf,
        /// How many of them.
        len: usize,
        /// How to make them durable; `None` leaves that to a later [`Op::Sync`].
        sync: Option<Strategy>,
    },
    /// Makes every completed write to the file durable.
    Sync {
        /// An open file.
        file: FileId,
    },
    /// Gives an open spare its segment name, durably.
    Install {
        /// The open file.
        file: FileId,
        /// Its name so far.
        from: String,
        /// Its name from now on.
        to: String,
    },
    /// Cuts an open segment to `bytes`, syncs and closes it.
    Seal {
        /// The open file.
        file: FileId,
        /// Its name.
        name: String,
        /// The length it keeps.
        bytes: u64,
    },
    /// Closes and removes a spare that is not needed.
    Discard {
        /// The open file.
        file: FileId,
        /// Its name.
        name: String,
    },
}

/// The end of an operation.
#[derive(Debug)]
pub struct Completion {
    /// The token that the operation was submitted with.
    pub token: u64,
    /// How it went. An error names the root cause, never a cancelled follower.
    pub result: Result<()>,
    /// The buffer of a write.
    pub buf: Option<AlignedBuf>,
}

/// The completion-shaped plane; see the module's numbered obligations.
///
/// ```
/// use std::sync::Arc;
/// use ringwal::io::{AlignedBuf, Blocks, IoQueue, Op, StdQueue, StdStorage, Strategy};
///
/// let dir = tempfile::tempdir()?;
/// let mut queue = StdQueue::new(Arc::new(StdStorage::new(dir.path())))?;
/// let mut done = Vec::new();
/// let (name, blocks) = ("spare".to_owned(), Blocks::Written);
/// queue.submit(1, Op::Prepare { file: 7, name, reuse: None, bytes: 8192, blocks });
/// while done.is_empty() {
///     queue.wait(None, &mut done)?;
/// }
/// let buf = AlignedBuf::zeroed(4096);
/// let sync = Some(Strategy::WriteThenSync);
/// queue.submit(2, Op::Write { file: 7, offset: 0, buf, len: 4096, sync });
/// while done.len() < 2 {
///     queue.wait(None, &mut done)?;
/// }
/// assert!(done.iter().all(|completion| completion.result.is_ok()));
/// assert!(done[1].buf.is_some()); // the buffer comes back
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait IoQueue {
    /// Hands over an operation. It may start now or at the next [`wait`](Self::wait).
    fn submit(&mut self, token: u64, op: Op);

    /// Starts what was submitted, as far as that can be done without waiting for the disk.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    fn start(&mut self) -> Result<()> {
        Ok(())
    }

    /// Starts what was submitted, and blocks until something completed, someone called
    /// [`Wake::wake`], or `timeout` passed (`None`: for ever). Appends what completed to `done`.
    /// May return early with nothing.
    ///
    /// # Errors
    ///
    /// When the queue itself failed: nothing can be submitted any more, and what was in flight
    /// may never complete.
    fn wait(&mut self, timeout: Option<Duration>, done: &mut Vec<Completion>) -> Result<()>;

    /// How many operations were submitted and have not completed.
    fn in_flight(&self) -> usize;

    /// What makes [`wait`](Self::wait) return, from any thread.
    fn waker(&self) -> Arc<dyn Wake>;

    /// An open file for blocking writes beside the queue, where the backend has that.
    fn commit_file(&self, file: FileId) -> Option<Arc<dyn CommitFile>> {
        let _none = file;
        None
    }
}

impl IoQueue for Box<dyn IoQueue> {
    fn submit(&mut self, token: u64, op: Op) {
        (**self).submit(token, op);
    }

    fn start(&mut self) -> Result<()> {
        (**self).start()
    }

    fn wait(&mut self, timeout: Option<Duration>, done: &mut Vec<Completion>) -> Result<()> {
        (**self).wait(timeout, done)
    }

    fn in_flight(&self) -> usize {
        (**self).in_flight()
    }

    fn waker(&self) -> Arc<dyn Wake> {
        (**self).waker()
    }

    fn commit_file(&self, file: FileId) -> Option<Arc<dyn CommitFile>> {
        (**self).commit_file(file)
    }
}

/// A file of an [`IoQueue`] that any thread may write to, blocking, while no operation of the
/// queue is in flight on it. It writes as the queue does: around the page cache or through it.
pub trait CommitFile: Send + Sync + fmt::Debug {
    /// Writes all of `data` at `offset`, and makes it durable if a strategy is given: `Dsync` with
    /// one call, the others with a write and a sync. Both are multiples of the backend's unit.
    ///
    /// # Errors
    ///
    /// As the completion of an [`Op::Write`]; nothing is retried.
    fn commit(&self, data: &[u8], offset: u64, sync: Option<Strategy>) -> Result<()>;
}

/// Makes an [`IoQueue::wait`] return, now or the next time it is called.
pub trait Wake: Send + Sync {
    /// Wakes the queue's thread. Calls before it waits are not lost and may be merged.
    fn wake(&self);
}

/// How a batch becomes durable.
///
/// None is the fastest everywhere: it depends on the drive, the file system, the number of
/// appenders and what else the machine does.
///
/// ```
/// use ringwal::{BackendKind, Log, Strategy};
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::builder(dir.path().join("log"))
///     .backend(BackendKind::Std)
///     .strategy(Some(Strategy::WriteThenSync))
///     .open()?;
/// assert_eq!(log.backend().strategy, Strategy::WriteThenSync);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// A ring write linked to a ring fdatasync: one submission, no thread waits in between.
    LinkedFsync,
    /// One write with `RWF_DSYNC`: cheap where the drive has no volatile cache or knows FUA.
    Dsync,
    /// A write, and when it is done a blocking fdatasync on the thread that owns the queue. The
    /// only one of the std backend.
    WriteThenSync,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Strategy; 3] =
        [Strategy::LinkedFsync, Strategy::Dsync, Strategy::WriteThenSync];

    /// Whether the sync covers all of the file's completed writes, not only its own.
    pub fn syncs_file(self) -> bool {
        !matches!(self, Strategy::Dsync) || mutated("dsync_covers_file")
    }

    /// To be chosen, it must take less than this share of the time of a write and a sync.
    ///
    /// A linked sync runs on a worker of the kernel, which waits for a processor like everyone
    /// else, and appenders cannot do it by themselves. A durable write through a ring completes on
    /// a queue of the kernel that is bound to one processor, and it collapses when that one is
    /// busy. So either has to win by a factor of two.
    pub(crate) fn required_speedup(self) -> f64 {
        match self {
            Strategy::LinkedFsync | Strategy::Dsync => 0.5,
            Strategy::WriteThenSync => 1.0,
        }
    }

    /// The name that the command and the messages use.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::LinkedFsync => "linked",
            Strategy::Dsync => "dsync",
            Strategy::WriteThenSync => "write-then-sync",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

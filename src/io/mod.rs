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
//! 4. `Ok` for [`FileOp::Install`] means that the new name is on stable storage.
//! 5. Nothing is retried after a failed write or sync.
//! 6. Dropping a queue waits for what is in flight.
//!
//! Threading: a queue belongs to the thread that made it; only its [`Wake`] crosses threads.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};

pub use crate::buf::{AlignedBuf, BUF_ALIGN};
pub use backend::{Backend, BackendKind, QueueOptions, Refusal};
pub use op::{Blocks, Completion, FileId, FileOp, Op, Strategy};
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
mod op;
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
/// # #[cfg(feature = "internals")] {
/// use ringwal::io::{Access, StdStorage, Storage};
///
/// let dir = tempfile::tempdir()?;
/// let storage = StdStorage::new(dir.path());
/// let file = storage.open("notes", Access::Create)?;
/// file.write_at(b"hello", 0)?;
/// file.sync()?;
/// storage.sync_dir()?; // only now does the name survive as well
/// assert_eq!(storage.list()?, ["notes"]);
/// # }
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

/// The completion-shaped plane; see the module's numbered obligations.
///
/// ```
/// # #[cfg(feature = "internals")] {
/// use std::sync::Arc;
/// use ringwal::io::{
///     AlignedBuf, Blocks, FileOp, IoQueue, Op, StdQueue, StdStorage, Strategy,
/// };
///
/// let dir = tempfile::tempdir()?;
/// let mut queue = StdQueue::new(Arc::new(StdStorage::new(dir.path())))?;
/// let mut done = Vec::new();
/// let (name, blocks) = ("spare".to_owned(), Blocks::Written);
/// let prepare = FileOp::Prepare { file: 7, name, reuse: None, bytes: 8192, blocks };
/// queue.submit(1, Op::File(prepare));
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
/// # }
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

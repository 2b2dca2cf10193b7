//! The two planes of I/O that the engine runs on, as contracts. Unstable: public only with the
//! feature `internals`, for this crate's own tools.
//!
//! - [`Storage`] is the blocking plane of one directory: names, positional reads and writes, locks.
//!   Recovery, readers and tools need only this.
//! - [`IoQueue`] is the completion plane, used by one thread: "write these blocks, then make them
//!   durable", "prepare a spare segment", "give it its name". Operations are submitted, complete in
//!   any order, and return their buffers. The commit path needs only this.
//!
//! The engine knows only the two traits. The modules behind them:
//!
//! | module | has |
//! |---|---|
//! | `op` | the operations and completions of a queue; [`Strategy`], [`Blocks`] |
//! | `portable/` | [`StdStorage`] and [`StdQueue`], on every platform |
//! | `uring/` | `UringQueue`, on Linux: the unsafe island |
//! | `file_worker` | the preallocation thread and the metadata thread of both queues |
//! | `pace` | how the zeros of spares give way to batches |
//! | `select`, `probe/` | [`open_queue`]: which backend and strategy run, by trying them |
//! | `backend` | the options of that choice, and its report |
//! | `sim/` | a simulated disk, for tests of power cuts and failing I/O |
//! | `mem`, `refuse` | for unit tests: a directory in memory, refusals of the kernel |
//!
//! Every implementation of [`IoQueue`] guarantees to the engine:
//!
//! 1. Every submitted operation completes exactly once, with its token and with the buffer that was
//!    moved in. A buffer that cannot be known to be free is leaked instead, and never freed.
//! 2. `Ok` for an [`Op::Write`] with a [`Strategy`] means that all `len` bytes are on stable
//!    storage; without one, that the operating system has all of them. A short write is an error.
//!    Through the page cache this holds only while no other operation that syncs the file is in
//!    flight, because the system reports the failed writeback of a page to one of them only. The
//!    engine keeps to that.
//! 3. `Ok` for an [`Op::Sync`] means that every write to that file that had *completed* before the
//!    sync was submitted is on stable storage. A strategy that syncs the whole file
//!    ([`Strategy::syncs_file`]) gives the same for other writes.
//! 4. `Ok` for a [`FileOp::Install`] means that the new name is on stable storage.
//! 5. Nothing is retried after a failed write or sync.
//! 6. Dropping a queue waits for the operations in flight.
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
pub use pace::Pace;
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
mod pace;
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
/// Names have no separators. Any thread may call any method. The methods that change the directory
/// are optional; by default they return [`Error::ReadOnly`].
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

    /// The path by which the operating system finds `name` in this very directory, even after the
    /// directory was renamed. [`dir`](Self::dir) is for messages.
    fn real_path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// From now on [`check_place`](Self::check_place) also checks that `name` still leads to the
    /// file that has it now. A storage that cannot tell checks nothing.
    fn must_keep(&self, name: &str) -> Result<()> {
        let _not_asked = name;
        Ok(())
    }

    /// Checks that the path of the directory still leads to it, so that the next open of the log
    /// finds what is written here now.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the directory is gone or another one has its path.
    fn check_place(&self) -> Result<()> {
        Ok(())
    }

    /// The names of all entries in the directory, in no order.
    fn list(&self) -> Result<Vec<String>>;

    /// Opens a file.
    fn open(&self, name: &str, access: Access) -> Result<Box<dyn StorageFile>>;

    /// Renames the file `from` to `to`, replacing a file of that name. Durable only after
    /// [`sync_dir`](Self::sync_dir).
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

    /// Makes the directory's own name durable, so that its content is found after a loss of power.
    fn sync_parent(&self) -> Result<()> {
        Ok(())
    }

    /// Takes the exclusive lock `name` until the returned guard is dropped. Never waits: if another
    /// process has the lock, the error names it ([`Error::Locked`]).
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
/// The methods that change the file are optional; by default they return [`Error::ReadOnly`].
pub trait StorageFile: Send + Sync + fmt::Debug {
    /// The file's length in bytes.
    fn bytes(&self) -> Result<u64>;

    /// Reads into `buf` from `offset`; returns how many bytes were read. That is fewer than asked
    /// for only at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize>;

    /// The offset of the next bytes at or after `from` that may differ from zero; `None` if there
    /// are none up to the end of the file. A file that does not know returns `from`.
    fn next_data(&self, from: u64) -> Result<Option<u64>> {
        Ok(Some(from))
    }

    /// Writes all of `data` at `offset`.
    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        let _refused = (data, offset);
        Err(Error::ReadOnly)
    }

    /// Writes zeros from `from` to `to` with large plain writes, which allocates those blocks: no
    /// later write to them allocates or extends.
    fn write_zeros(&self, from: u64, to: u64) -> Result<()> {
        let _refused = (from, to);
        Err(Error::ReadOnly)
    }

    /// Extends the file to `bytes` and reserves the blocks that it lacks without writing them; they
    /// read as zeros. Returns false, and changes nothing, if the file system cannot reserve.
    fn reserve(&self, bytes: u64) -> Result<bool> {
        let _none = bytes;
        Ok(false)
    }

    /// Shortens or extends the file to `bytes`.
    fn set_bytes(&self, bytes: u64) -> Result<()> {
        let _refused = bytes;
        Err(Error::ReadOnly)
    }

    /// Takes the exclusive lock of the file until the returned guard is dropped. Never waits, and
    /// never keeps readers out. [`Error::Locked`] if another writer has the lock, or if the file's
    /// name leads to another file by now, which means the same. `None` if such a lock does not
    /// exist here.
    fn lock(&self) -> Result<Option<Box<dyn LockGuard>>> {
        Ok(None)
    }

    /// Makes the content and the length durable.
    fn sync(&self) -> Result<()> {
        Err(Error::ReadOnly)
    }

    /// The same file, for reading it from beginning to end while it does not change: the disk works
    /// ahead of the reads, and the page cache is left alone. `None` if unsupported or not worth it.
    fn read_ahead(&self) -> Option<Arc<dyn StorageFile>> {
        None
    }

    /// Whether the file was renamed since it was opened, so it may have other content by now. A
    /// removed file was not renamed. True if that cannot be told.
    fn is_renamed(&self) -> Result<bool> {
        Ok(true)
    }

    /// Asks the operating system to drop what it caches of the file, so that the next reads come
    /// from the device. Only a hint.
    fn drop_cache(&self) {}
}

/// The completion plane. The module numbers what an implementation guarantees.
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
/// let pace = Arc::default();
/// let prepare = FileOp::Prepare { file: 7, name, reuse: None, bytes: 8192, blocks, pace };
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
    /// Submits an operation. It may start now or at the next [`wait`](Self::wait).
    fn submit(&mut self, token: u64, op: Op);

    /// Starts the submitted operations, as far as possible without waiting for the disk.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    fn start(&mut self) -> Result<()> {
        Ok(())
    }

    /// Starts the submitted operations and blocks until one completed, another thread called
    /// [`Wake::wake`], or `timeout` passed (`None`: for ever). Appends the completions to `done`.
    /// May return early without any.
    ///
    /// # Errors
    ///
    /// If the queue itself failed. Then it accepts nothing more, and operations in flight may never
    /// complete.
    fn wait(&mut self, timeout: Option<Duration>, done: &mut Vec<Completion>) -> Result<()>;

    /// How many operations were submitted and have not completed.
    fn in_flight(&self) -> usize;

    /// Makes [`wait`](Self::wait) return, from any thread.
    fn waker(&self) -> Arc<dyn Wake>;

    /// An open file for blocking writes beside the queue, if the backend supports that.
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

/// A file of an [`IoQueue`] that any thread may write to, blocking, while the queue has no
/// operation in flight on it. It writes as the queue does: around the page cache or through it.
pub trait CommitFile: Send + Sync + fmt::Debug {
    /// Writes all of `data` at `offset`, and makes it durable if a strategy is given: `Dsync` in
    /// one call, the others by a write and a sync. The offset and the length of `data` are
    /// multiples of the backend's unit.
    ///
    /// # Errors
    ///
    /// As the completion of an [`Op::Write`]; nothing is retried.
    fn commit(&self, data: &[u8], offset: u64, sync: Option<Strategy>) -> Result<()>;
}

/// Makes an [`IoQueue::wait`] return, now or the next time it is called.
pub trait Wake: Send + Sync {
    /// Wakes the queue's thread. A call before the thread waits is not lost; several may be merged.
    fn wake(&self);
}

//! The operations of an [`IoQueue`](crate::io::IoQueue), their completions, and the strategies.

use std::fmt;
use std::sync::Arc;

use crate::buf::AlignedBuf;
use crate::error::Result;
use crate::io::Pace;
use crate::mutation::mutated;

/// The number that the engine gave to an open file of an `IoQueue`.
pub type FileId = u64;

/// How the blocks of a spare segment are allocated before the first batch is written to it.
///
/// Either way the spare reads as zeros, and a reused file keeps the blocks that it has.
///
/// ```
/// use ringwal::{Blocks, Log};
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::builder(dir.path().join("log")).preallocate(Some(Blocks::Reserved)).open()?;
/// assert_eq!(log.backend().blocks, Some(Blocks::Reserved));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blocks {
    /// All bytes are written as zeros and synced. Later writes are pure overwrites, and their syncs
    /// write only data. The cost is one write of the whole segment.
    Written,
    /// Room for all bytes is reserved durably and no zeros are written. The sync after the first
    /// write to a block also writes metadata. Where the file system cannot reserve, this is
    /// [`Written`](Self::Written).
    Reserved,
    /// Nothing is allocated; the file grows as it is written.
    AsTheyCome,
}

/// An operation for an `IoQueue`.
#[derive(Debug)]
pub enum Op {
    /// Writes `buf[..len]` at `offset`. Both `len` and `offset` are multiples of the backend's
    /// unit. With `sync`, it completes once the bytes are durable.
    Write {
        /// An open file.
        file: FileId,
        /// The offset in the file, in bytes.
        offset: u64,
        /// The bytes; the completion returns the buffer.
        buf: AlignedBuf,
        /// How many bytes of the buffer to write.
        len: usize,
        /// How to make the bytes durable; `None` leaves that to a later [`Op::Sync`].
        sync: Option<Strategy>,
    },
    /// Makes every completed write to the file durable.
    Sync {
        /// An open file.
        file: FileId,
    },
    /// Creates, names, seals or removes a file, beside the writes.
    File(FileOp),
}

/// An operation on a file off the commit path.
#[derive(Clone, Debug)]
pub enum FileOp {
    /// Prepares a spare segment: a file called `name`, made from the retired file `reuse` if given,
    /// with its blocks allocated as `blocks` says. From then on it is open as `file`. A failure
    /// leaves nothing of it.
    Prepare {
        /// The number of the file in later operations.
        file: FileId,
        /// The name of the spare.
        name: String,
        /// A retired file to rename instead of creating a new one.
        reuse: Option<String>,
        /// The length to give it.
        bytes: u64,
        /// How its blocks are allocated.
        blocks: Blocks,
        /// How its zeros give way to batches.
        pace: Arc<Pace>,
    },
    /// Gives an open spare its segment name, durably.
    Install {
        /// The open file.
        file: FileId,
        /// Its current name.
        from: String,
        /// Its new name.
        to: String,
    },
    /// Shortens an open segment to `bytes`, syncs it and closes it.
    Seal {
        /// The open file.
        file: FileId,
        /// Its name.
        name: String,
        /// The length it keeps.
        bytes: u64,
    },
    /// Closes and removes a spare that is no longer needed.
    Discard {
        /// The open file.
        file: FileId,
        /// Its name.
        name: String,
    },
}

impl FileOp {
    /// The file that the operation closes.
    pub(crate) fn closes(&self) -> Option<FileId> {
        match self {
            FileOp::Seal { file, .. } | FileOp::Discard { file, .. } => Some(*file),
            FileOp::Prepare { .. } | FileOp::Install { .. } => None,
        }
    }
}

impl From<FileOp> for Op {
    fn from(op: FileOp) -> Op {
        Op::File(op)
    }
}

/// The result of an operation.
#[derive(Debug)]
pub struct Completion {
    /// The token that the operation was submitted with.
    pub token: u64,
    /// Success, or the root cause of the failure: never the cancellation that follows from it.
    pub result: Result<()>,
    /// The buffer of a write.
    pub buf: Option<AlignedBuf>,
}

/// How a batch becomes durable.
///
/// None is the fastest everywhere. The speed depends on the drive, the file system, the number of
/// appenders and the other load of the machine.
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
    /// A ring write linked to a ring fdatasync: one submission, and no thread waits in between.
    LinkedFsync,
    /// One write with `RWF_DSYNC`. Cheap if the drive has no volatile cache or supports FUA.
    Dsync,
    /// A write, followed by a blocking fdatasync on the thread that owns the queue. The only
    /// strategy of the std backend.
    WriteThenSync,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Strategy; 3] =
        [Strategy::LinkedFsync, Strategy::Dsync, Strategy::WriteThenSync];

    /// Whether the sync covers all completed writes of the file, not only its own.
    pub fn syncs_file(self) -> bool {
        !matches!(self, Strategy::Dsync) || mutated("dsync_covers_file")
    }

    /// To be chosen, the strategy must take less than this share of the time of write-then-sync.
    ///
    /// A linked sync runs on a kernel worker, which competes for a processor, and an appender
    /// cannot do it inline. A durable write through a ring completes on a kernel queue that is
    /// bound to one processor, and its speed collapses when that processor is busy. So either has
    /// to win by a factor of two.
    pub(crate) fn required_speedup(self) -> f64 {
        match self {
            Strategy::LinkedFsync | Strategy::Dsync => 0.5,
            Strategy::WriteThenSync => 1.0,
        }
    }

    /// The name in options of the command and in messages.
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

//! What an [`IoQueue`](crate::io::IoQueue) is asked to do, and what it answers.

use std::fmt;

use crate::buf::AlignedBuf;
use crate::error::Result;
use crate::mutation::mutated;

/// An open file of an [`IoQueue`], by the number that the engine gave it.
pub type FileId = u64;

/// What a spare has before the first batch is written to it. Either way it reads as zeros, and
/// what a reused file has already is kept.
///
/// ```
/// use ringwal::{Blocks, Log};
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::builder(dir.path().join("log")).preallocate(Blocks::Reserved).open()?;
/// assert_eq!(log.backend().blocks, Some(Blocks::Reserved));
/// # Ok::<(), Box<dyn std::error::Error>>(())
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
    /// Makes, names, seals or removes a file, beside the writes.
    File(FileOp),
}

/// What happens to a file off the commit path.
#[derive(Clone, Debug)]
pub enum FileOp {
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

impl FileOp {
    /// The file that the queue writes to no more.
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

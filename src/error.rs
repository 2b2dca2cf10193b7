//! Errors as data.
//!
//! Every variant carries the facts that a caller matches on and an operator acts on: the operation,
//! the path or the option, and the cause. Messages are lower case. They say what happened and, if
//! the reader can do something, what.

mod corruption;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub use corruption::{Corruption, CorruptionKind, Witness};

use crate::kind::{Kind, LABEL_BYTES, ShowLabel};
use crate::seq::Seq;

/// The result of an operation on a log.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on a log failed.
///
/// ```
/// use ringwal::{Error, Log};
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::builder(dir.path().join("log")).record_bytes_max(1024).open()?;
/// match log.append([0; 2000]) {
///     Err(Error::RecordTooLarge { bytes: 2000, limit: 1024 }) => {}
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// An atomic batch had no records.
    BatchEmpty,
    /// An atomic batch holds more than one batch on disk can. For a raw log the limit is the larger
    /// of `batch_bytes` and one record of `record_bytes_max`; for other logs it is the size of
    /// their largest record.
    BatchTooLarge {
        /// The bytes of its records, including their 8-byte heads.
        bytes: u64,
        /// The most that one batch may hold.
        limit: u64,
    },
    /// The log was closed.
    Closed,
    /// Acknowledged data is damaged or missing.
    Corrupt(Corruption),
    /// The file to import is damaged. Nothing was imported.
    Import {
        /// The file.
        path: PathBuf,
        /// The byte at which the damage begins.
        offset: u64,
        /// What is wrong there, and how much before it is intact.
        reason: String,
    },
    /// A waker made a call that would block its thread, which is the thread that acknowledges
    /// batches. Nothing was done.
    InWaker,
    /// An operation of the operating system failed.
    Io {
        /// The operation as a verb: `write`, `sync`, `rename`.
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: Arc<io::Error>,
    },
    /// A key is empty or too long.
    KeyLength {
        /// The key's length.
        bytes: u64,
        /// The most bytes that a key may have; it has at least one.
        limit: u64,
    },
    /// The process that opened the log forked, and this is the child. Only the parent may use the
    /// log; every call in the child fails and does nothing.
    Forked {
        /// The log's directory.
        path: PathBuf,
    },
    /// A line of the file to import is invalid. Nothing was imported.
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Another writer has the log open.
    Locked {
        /// The locked file: `lock`, or `state` if `lock` was deleted.
        path: PathBuf,
        /// The process that holds the lock, if the file names it.
        pid: Option<u32>,
    },
    /// There is no room for another segment, or for a new log. Nothing was written and the log is
    /// intact. The same call succeeds once there is room.
    NoSpace {
        /// The segment, the `state` file or the directory that could not be created.
        path: PathBuf,
        /// The bytes that it needs.
        bytes: u64,
        /// The operating system's answer.
        source: Arc<io::Error>,
    },
    /// The path is not a log, and nothing was created there.
    NotALog {
        /// The path.
        path: PathBuf,
        /// What is there instead.
        reason: String,
    },
    /// A directory that must be new or empty is neither. Nothing was changed.
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// An entry of the directory.
        found: String,
    },
    /// An option is out of range.
    Option {
        /// The name of the builder method.
        name: &'static str,
        /// The value that was given.
        value: String,
        /// The values that are allowed.
        expected: String,
    },
    /// The log is of another kind than the kind that it was to be opened as. One record of the
    /// wrong kind would make it useless to its owner. Nothing was changed.
    OtherKind {
        /// The log's directory.
        path: PathBuf,
        /// The kind that its `state` file states.
        found: Kind,
        /// The kind that was asked for ([`Builder::kind`](crate::Builder::kind)).
        wanted: Kind,
    },
    /// The log has another label than the label that was given. Nothing was changed.
    OtherLabel {
        /// The log's directory.
        path: PathBuf,
        /// The label that its `state` file states.
        found: [u8; LABEL_BYTES],
        /// The label that was given ([`Builder::label`](crate::Builder::label)).
        wanted: [u8; LABEL_BYTES],
    },
    /// A sequence number is outside of the range that the operation accepts.
    OutOfRange {
        /// The name of the method.
        op: &'static str,
        /// The sequence number that was given.
        seq: Seq,
        /// The least number that the operation accepts now.
        min: Seq,
        /// The greatest number that the operation accepts now.
        max: Seq,
    },
    /// An earlier write or sync failed, so the content of the disk is unknown until the log is
    /// opened again. Nothing was retried, and nothing after the failure was acknowledged.
    Poisoned(
        /// The first failure.
        Arc<Error>,
    ),
    /// The queue is full: the disk is slower than the appenders.
    QueueFull,
    /// The log was opened read-only.
    ReadOnly,
    /// A record is larger than the log accepts.
    RecordTooLarge {
        /// The record's length.
        bytes: u64,
        /// The option `record_bytes_max`.
        limit: u64,
    },
    /// The given place of a record is not the place that the log reported: the record lies
    /// elsewhere in its segment. Nothing is damaged.
    NotThere {
        /// The record.
        seq: Seq,
        /// Its segment.
        path: PathBuf,
        /// The byte at which the record was expected.
        offset: u64,
    },
    /// The record was truncated away.
    Truncated {
        /// The sequence number that was asked for.
        seq: Seq,
        /// The first sequence number that is still in the log.
        first_seq: Seq,
    },
    /// No sequence numbers are left for the records. Nothing was written, and the log is intact.
    SeqsUsedUp {
        /// The last sequence number that was used.
        last_seq: Seq,
    },
    /// The counter of changes in the `state` file is at its end. Nothing was changed, and the log
    /// is intact: it can be read and appended to, but no longer truncated.
    StatesUsedUp,
    /// A value is larger than a key-value log accepts.
    ValueTooLarge {
        /// The value's length.
        bytes: u64,
        /// The most bytes that a value may have.
        limit: u64,
    },
    /// The file has a format version that this version of the crate does not read.
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// The format version of the file.
        version: u8,
        /// The format version that this crate reads.
        newest: u8,
    },
    /// The backend that was asked for cannot run here.
    BackendRefused {
        /// What was refused, with the errno and advice.
        reason: String,
    },
}

impl Error {
    /// An [`Error::Io`].
    pub fn io(op: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Error {
        Error::Io { op, path: path.into(), source: Arc::new(source) }
    }

    /// The failure behind [`Error::Poisoned`]; any other error is its own cause.
    pub fn root_cause(&self) -> &Error {
        match self {
            Error::Poisoned(cause) => cause.root_cause(),
            other => other,
        }
    }

    /// Whether the operating system has run out of space or of another resource. That can pass,
    /// unlike a failure of the device.
    pub(crate) fn is_shortage(&self) -> bool {
        let Error::Io { source, .. } = self else { return false };
        if matches!(
            source.kind(),
            io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge
                | io::ErrorKind::OutOfMemory
        ) {
            return true;
        }
        #[cfg(unix)]
        if let Some(errno) = source.raw_os_error() {
            return errno == libc::EMFILE || errno == libc::ENFILE || errno == libc::ENOMEM;
        }
        false
    }
}

impl Error {
    /// Turns the answer of a full disk to the creation of `path` into an [`Error::NoSpace`].
    pub(crate) fn or_no_space(self, path: PathBuf, bytes: u64) -> Error {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match self {
            Error::Io { source, .. }
                if matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge) =>
            {
                Error::NoSpace { path, bytes, source }
            }
            other => other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Closed => write!(f, "the log is closed; open it again to go on"),
            Error::Corrupt(corruption) => corruption.fmt(f),
            Error::Io { op, path, source } => {
                write!(f, "{op} failed on {}: {source}", path.display())
            }
            Error::Forked { path } => write!(
                f,
                "the log in {} was opened before this process was forked; open it here after the \
                 parent has closed it, or fork before opening a log",
                path.display()
            ),
            Error::InWaker => write!(
                f,
                "a waker must not block; let the task that it wakes make the call, or use \
                 try_append"
            ),
            Error::Import { path, offset, reason } => {
                write!(f, "byte {offset} of {}: {reason}; nothing was imported", path.display())
            }
            Error::Line { path, line, reason } => {
                write!(f, "line {line} of {}: {reason}; nothing was imported", path.display())
            }
            Error::Locked { path, pid: Some(pid) } => write!(
                f,
                "the log is in use by process {pid} (lock file {}); close it there first",
                path.display()
            ),
            Error::Locked { path, pid: None } => write!(
                f,
                "the log is in use by another writer ({} is locked); close it there first",
                path.display()
            ),
            Error::NoSpace { path, bytes, source } => write!(
                f,
                "no room for {}, {bytes} bytes: {source}; nothing is lost, and the call succeeds \
                 again once there is room",
                path.display()
            ),
            Error::NotALog { path, reason } => {
                write!(f, "{} is not a log: {reason}; nothing was changed", path.display())
            }
            Error::Poisoned(cause) => {
                write!(f, "the log stopped at its first failure and must be opened again: {cause}")
            }
            Error::ReadOnly => write!(f, "the log was opened read-only"),
            Error::UnsupportedVersion { path, version, newest } => {
                let way = match version > newest {
                    true => "upgrade ringwal",
                    false => "open it with the ringwal that wrote it",
                };
                let path = path.display();
                write!(
                    f,
                    "{path} has format version {version}, and this ringwal reads {newest}; {way}"
                )
            }
            Error::BackendRefused { reason } => write!(f, "{reason}"),
            other => other.fmt_missing(f),
        }
    }
}

impl Error {
    /// Messages about records that are not where they were looked for.
    fn fmt_missing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotThere { seq, path, offset } => write!(
                f,
                "record {seq} is not at byte {offset} of {}; use the place that the log reported",
                path.display()
            ),
            Error::Truncated { seq, first_seq } => {
                write!(f, "record {seq} was truncated away; the first record is now {first_seq}")
            }
            refusal => refusal.fmt_refusal(f),
        }
    }

    /// Messages about requests beyond a limit, after which nothing was done.
    fn fmt_refusal(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::BatchEmpty => write!(f, "an atomic batch needs at least one record"),
            Error::BatchTooLarge { bytes, limit } => {
                write!(f, "an atomic batch of {bytes} bytes is over the limit of {limit}; split it")
            }
            Error::KeyLength { bytes, limit } => {
                write!(f, "a key of {bytes} bytes: expected 1 to {limit}")
            }
            Error::NotEmpty { path, found } => write!(
                f,
                "{} is not empty, it contains {found:?}; name a new or an empty directory",
                path.display()
            ),
            Error::Option { name, value, expected } => {
                write!(f, "option {name} is {value}, expected {expected}")
            }
            Error::OtherKind { path, found, wanted } => write!(
                f,
                "{} is {found}, not {wanted}; open it with {}, or name another directory; nothing \
                 was changed",
                path.display(),
                found.opener()
            ),
            Error::OtherLabel { path, found, wanted } => write!(
                f,
                "{} has the label {}, not {}; give the label that it has, or name another \
                 directory; nothing was changed",
                path.display(),
                ShowLabel(found),
                ShowLabel(wanted)
            ),
            Error::OutOfRange { op, seq, min, max } => {
                write!(f, "{op} of sequence number {seq}: expected {min} to {max}")
            }
            Error::QueueFull => {
                write!(f, "the queue is full; wait for an earlier append or raise queue_bytes")
            }
            Error::RecordTooLarge { bytes, limit } => write!(
                f,
                "a record of {bytes} bytes is over the limit of {limit}; raise record_bytes_max \
                 or split it"
            ),
            Error::SeqsUsedUp { last_seq } => write!(
                f,
                "no sequence numbers are left after record {last_seq}; start another log in a new \
                 directory"
            ),
            Error::StatesUsedUp => f.write_str(
                "the state file was changed as often as it can count; copy the records into \
                 another log in a new directory",
            ),
            Error::ValueTooLarge { bytes, limit } => {
                write!(f, "a value of {bytes} bytes is over the limit of {limit}; split it")
            }
            // `fmt` writes all others.
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source.as_ref()),
            Error::NoSpace { source, .. } => Some(source.as_ref()),
            Error::Poisoned(cause) => Some(cause.as_ref()),
            _ => None,
        }
    }
}

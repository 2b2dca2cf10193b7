//! What can go wrong, as data.
//!
//! Every variant carries what a caller needs to match on and what an operator needs to act:
//! the operation, the path or option, and the cause. Messages are lower case, say what happened
//! and, where there is something to do, what.

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
    /// An atomic batch holds more than fits into one batch on disk: of a raw log the larger of its
    /// `batch_bytes` and one record of `record_bytes_max`, of other logs what their largest record
    /// takes.
    BatchTooLarge {
        /// The bytes of its records, their 8-byte heads included.
        bytes: u64,
        /// The most that one batch may hold.
        limit: u64,
    },
    /// The log was closed.
    Closed,
    /// Acknowledged data is damaged or gone.
    Corrupt(Corruption),
    /// A file that was to be imported is damaged. Nothing was imported.
    Import {
        /// The file.
        path: PathBuf,
        /// The byte at which the damage begins.
        offset: u64,
        /// What is wrong there, and how much is not.
        reason: String,
    },
    /// A waker asked for what would block the thread that runs it, which acknowledges. Nothing was
    /// done.
    InWaker,
    /// An operation of the operating system failed.
    Io {
        /// What was attempted, as a verb: `write`, `sync`, `rename`.
        op: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: Arc<io::Error>,
    },
    /// A key is empty or too long.
    KeyLength {
        /// The key's length.
        bytes: u64,
        /// The most that a key may have; it has at least one byte.
        limit: u64,
    },
    /// The process that opened the log forked, and this is the child. Only the parent may use it;
    /// here nothing was done, and nothing will be.
    Forked {
        /// The log's directory.
        path: PathBuf,
    },
    /// A line of a file that was to be imported is not what it should be. Nothing was imported.
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
        /// The file that is locked: `lock`, or `state` if somebody deleted that.
        path: PathBuf,
        /// The process that holds it, where the file tells.
        pid: Option<u32>,
    },
    /// There is no room for another segment, or for a new log. Nothing was written and the log is
    /// intact: the same succeeds again once there is room.
    NoSpace {
        /// The segment, the `state` file or the directory that could not be made.
        path: PathBuf,
        /// How many bytes it needs.
        bytes: u64,
        /// The operating system's answer.
        source: Arc<io::Error>,
    },
    /// The path is not a log, and nothing was created there.
    NotALog {
        /// The path.
        path: PathBuf,
        /// What stands there instead.
        reason: String,
    },
    /// A directory that has to be new or empty is neither. Nothing was changed.
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// Something that is in it.
        found: String,
    },
    /// An option is out of its range.
    Option {
        /// The option, by the name of its builder method.
        name: &'static str,
        /// What was asked for.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// The log is of another kind than it was to be opened as: one record of that kind would make
    /// it useless to its owner. Nothing was changed.
    OtherKind {
        /// The log's directory.
        path: PathBuf,
        /// The kind that its `state` states.
        found: Kind,
        /// The kind that was asked for ([`Builder::kind`](crate::Builder::kind)).
        wanted: Kind,
    },
    /// The log has another label than the one that was named. Nothing was changed.
    OtherLabel {
        /// The log's directory.
        path: PathBuf,
        /// The label that its `state` states.
        found: [u8; LABEL_BYTES],
        /// The label that was asked for ([`Builder::label`](crate::Builder::label)).
        wanted: [u8; LABEL_BYTES],
    },
    /// A sequence number is outside of what the operation accepts.
    OutOfRange {
        /// The operation, by the name of its method.
        op: &'static str,
        /// The sequence number that was asked for.
        seq: Seq,
        /// The least it accepts now.
        min: Seq,
        /// The greatest it accepts now.
        max: Seq,
    },
    /// An earlier write or sync failed, so what is on disk is unknown until the log is opened
    /// again. Nothing was retried, nothing after the failure was acknowledged.
    Poisoned(
        /// That first failure.
        Arc<Error>,
    ),
    /// The queue is full: the disk is slower than the appenders.
    QueueFull,
    /// The log was opened read-only.
    ReadOnly,
    /// A record is larger than the log takes.
    RecordTooLarge {
        /// The record's length.
        bytes: u64,
        /// The option `record_bytes_max`.
        limit: u64,
    },
    /// The place by which a record was to be read is not one that the log gave out for it: the
    /// record lies elsewhere in its segment. Nothing is damaged.
    NotThere {
        /// The record.
        seq: Seq,
        /// Its segment.
        path: PathBuf,
        /// The byte at which it was to be.
        offset: u64,
    },
    /// The record was there once and was truncated away.
    Truncated {
        /// The sequence number that was asked for.
        seq: Seq,
        /// The first one that is still there.
        first_seq: Seq,
    },
    /// There is no sequence number left for the records. Nothing was written, and the log is
    /// intact.
    SeqsUsedUp {
        /// The last sequence number that was given.
        last_seq: Seq,
    },
    /// The `state` file was changed as often as can be counted. Nothing was changed now, and the
    /// log is intact: it can be read and appended to, but no longer truncated.
    StatesUsedUp,
    /// A value is larger than a key-value log takes.
    ValueTooLarge {
        /// The value's length.
        bytes: u64,
        /// The most that a value may have.
        limit: u64,
    },
    /// The file was written by a newer version of this crate.
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// The format version it states.
        version: u8,
        /// The format version that this crate reads.
        newest: u8,
    },
    /// The backend that was asked for cannot run here.
    BackendRefused {
        /// What was refused, with the errno and what to do.
        reason: String,
    },
}

impl Error {
    /// An [`Error::Io`].
    pub fn io(op: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Error {
        Error::Io { op, path: path.into(), source: Arc::new(source) }
    }

    /// The failure itself: what poisoned the log if this is [`Error::Poisoned`], else this error.
    pub fn root_cause(&self) -> &Error {
        match self {
            Error::Poisoned(cause) => cause.root_cause(),
            other => other,
        }
    }

    /// Whether the operating system says that there is no room or no resource left, which can
    /// heal, rather than that the device failed, which cannot.
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
    /// An [`Error::NoSpace`] if this is the answer of a full disk to the making of `path`.
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
                "the log in {} was opened by the process that this one was forked from; open it \
                 here after it was closed there, or fork before a log is opened",
                path.display()
            ),
            Error::InWaker => write!(
                f,
                "a waker may not wait for a log; leave that to the task that it wakes, or use \
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
                "no room for {}, {bytes} bytes: {source}; nothing is lost, and it succeeds again \
                 once there is room",
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
    /// A record is not where it was looked for.
    fn fmt_missing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotThere { seq, path, offset } => write!(
                f,
                "record {seq} is not at byte {offset} of {}; read it by a place that the log gave",
                path.display()
            ),
            Error::Truncated { seq, first_seq } => write!(
                f,
                "record {seq} was truncated away; the first one still there is {first_seq}"
            ),
            refusal => refusal.fmt_refusal(f),
        }
    }

    /// What was asked for is beyond a limit, and nothing was done.
    fn fmt_refusal(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::BatchEmpty => write!(f, "an atomic batch needs at least one record"),
            Error::BatchTooLarge { bytes, limit } => {
                write!(f, "an atomic batch of {bytes} bytes is over the limit of {limit}; split it")
            }
            Error::KeyLength { bytes, limit } => {
                write!(f, "a key of {bytes} bytes: expected 1 to {limit}")
            }
            Error::NotThere { seq, path, offset } => write!(
                f,
                "record {seq} is not at byte {offset} of {}; read it by a place that the log gave",
                path.display()
            ),
            Error::NotEmpty { path, found } => write!(
                f,
                "{} is not empty, it has {found:?}; name a new or an empty directory",
                path.display()
            ),
            Error::Option { name, value, expected } => {
                write!(f, "option {name} is {value}, expected {expected}")
            }
            Error::OtherKind { path, found, wanted } => write!(
                f,
                "{} is {found} and was to be opened as {wanted}; open it with {}, or name another \
                 directory; nothing was changed",
                path.display(),
                found.opener()
            ),
            Error::OtherLabel { path, found, wanted } => write!(
                f,
                "{} has the label {} and was to be opened as {}; name the label that it has, or \
                 another directory; nothing was changed",
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
                "the state file was changed as often as can be counted; copy the records into \
                 another log in a new directory",
            ),
            Error::ValueTooLarge { bytes, limit } => {
                write!(f, "a value of {bytes} bytes is over the limit of {limit}; split it")
            }
            // `fmt` has all others.
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

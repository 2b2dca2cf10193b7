//! Why bytes are not a valid batch: the error of everything that reads one.

use std::fmt;

use crate::format::VERSION;

/// Why bytes are not a valid batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchError {
    /// The bytes end too early.
    Short {
        /// How many are needed, as far as is known.
        needed: u64,
    },
    /// The header's 64 bytes are all zero: nothing was ever written here.
    Blank,
    /// It does not begin as a batch does.
    Magic,
    /// It was written in another version of the format.
    OtherVersion(
        /// The version that it states.
        u8,
    ),
    /// It has flags that this version does not know.
    Flags,
    /// The unit is out of range.
    Unit,
    /// The record count or a sequence number is out of range.
    Count,
    /// Its lengths contradict each other.
    Length,
    /// Another log wrote it.
    OtherLog,
    /// The digest does not hold: the batch is damaged, or it does not belong to where it lies.
    Digest,
    /// A record's checksum does not hold.
    Record {
        /// Which record, from 0.
        index: u32,
    },
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchError::Short { needed } => write!(f, "the batch needs {needed} bytes"),
            BatchError::Blank => write!(f, "nothing was written here"),
            BatchError::Magic => write!(f, "not the beginning of a batch"),
            BatchError::OtherVersion(version) => {
                write!(f, "the batch has format version {version}, not {VERSION}")
            }
            BatchError::Flags => write!(f, "the batch has unknown flags"),
            BatchError::Unit => write!(f, "the padding unit is out of range"),
            BatchError::Count => write!(f, "the record count or sequence number is out of range"),
            BatchError::Length => write!(f, "the lengths in the batch contradict each other"),
            BatchError::OtherLog => write!(f, "the batch was written by another log"),
            BatchError::Digest => write!(f, "the batch digest does not hold at this place"),
            BatchError::Record { index } => {
                write!(f, "the checksum of record {index} of the batch does not hold")
            }
        }
    }
}

impl std::error::Error for BatchError {}

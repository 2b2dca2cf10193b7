//! `BatchError`: the reason why bytes are not a valid batch.

use std::fmt;

use crate::format::VERSION;

/// Why bytes are not a valid batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchError {
    /// The bytes end before the batch does.
    Short {
        /// The bytes that the batch needs, as far as is known.
        needed: u64,
    },
    /// The 64 bytes of the header are all zero: no batch was ever written here.
    Blank,
    /// The bytes do not begin with the magic number of a batch.
    Magic,
    /// The batch states another version of the format.
    OtherVersion(
        /// The stated version.
        u8,
    ),
    /// The batch has flags that this version does not know.
    Flags,
    /// The padding unit is out of range.
    Unit,
    /// The record count or a sequence number is out of range.
    Count,
    /// The lengths in the batch contradict each other.
    Length,
    /// Another log wrote the batch.
    OtherLog,
    /// The digest does not match: the batch is damaged, or it does not belong to this place.
    Digest,
    /// The checksum of a record does not match.
    Record {
        /// The index of the record, from 0.
        index: u32,
    },
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchError::Short { needed } => write!(f, "the batch needs {needed} bytes"),
            BatchError::Blank => write!(f, "no batch was written here"),
            BatchError::Magic => {
                write!(f, "the bytes do not begin with the magic number of a batch")
            }
            BatchError::OtherVersion(version) => {
                write!(f, "the batch has format version {version}, not {VERSION}")
            }
            BatchError::Flags => write!(f, "the batch has unknown flags"),
            BatchError::Unit => write!(f, "the padding unit is out of range"),
            BatchError::Count => write!(f, "the record count or sequence number is out of range"),
            BatchError::Length => write!(f, "the lengths in the batch contradict each other"),
            BatchError::OtherLog => write!(f, "the batch was written by another log"),
            BatchError::Digest => write!(f, "the batch digest does not match at this place"),
            BatchError::Record { index } => {
                write!(f, "the checksum of record {index} of the batch does not match")
            }
        }
    }
}

impl std::error::Error for BatchError {}

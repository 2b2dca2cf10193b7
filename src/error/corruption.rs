//! Damage to acknowledged data, described as data.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::seq::Seq;

/// Damage to acknowledged data: its place, the records that it costs, and the proof.
///
/// ```
/// use ringwal::{Corruption, Error};
///
/// fn describe(error: &Error) -> Option<String> {
///     match error {
///         Error::Corrupt(Corruption { path, offset, first_seq, .. }) => {
///             Some(format!("{} at {offset}: from record {first_seq}", path.display()))
///         }
///         _ => None,
///     }
/// }
/// assert_eq!(describe(&Error::Closed), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Corruption {
    /// The damaged file, or the directory if a whole file is missing.
    pub path: PathBuf,
    /// The byte at which the damage begins.
    pub offset: u64,
    /// The first record that is damaged or missing.
    pub first_seq: Seq,
    /// The last record that is known to be damaged or missing.
    pub last_seq: Seq,
    /// What is wrong there.
    pub kind: CorruptionKind,
    /// What proves that the records had been acknowledged.
    pub witness: Witness,
}

impl Corruption {
    /// Damage in `path` at `offset` that costs the records `first_seq..=last_seq`.
    pub fn new(
        path: impl AsRef<Path>,
        offset: u64,
        (first_seq, last_seq): (Seq, Seq),
        kind: CorruptionKind,
        witness: Witness,
    ) -> Corruption {
        let path = path.as_ref().to_path_buf();
        Corruption { path, offset, first_seq, last_seq, kind, witness }
    }
}

/// The kind of damage.
///
/// ```
/// use ringwal::CorruptionKind;
///
/// fn can_be_restored_alone(kind: CorruptionKind) -> bool {
///     matches!(kind, CorruptionKind::SegmentMissing | CorruptionKind::StateUnreadable)
/// }
/// assert!(!can_be_restored_alone(CorruptionKind::Damaged));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CorruptionKind {
    /// The records end early: the file ends, or only blank or stale blocks follow.
    Missing,
    /// The bytes at the place are not a valid batch.
    Damaged,
    /// A whole segment is missing.
    SegmentMissing,
    /// Both slots of the `state` file are unreadable, or the file is missing.
    StateUnreadable,
    /// The segment and the `state` file belong to different logs: one of them was copied here.
    OtherLog,
}

/// The proof that records had been durable.
///
/// ```
/// use ringwal::Witness;
///
/// assert_ne!(Witness::LaterBatch, Witness::CleanClose);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Witness {
    /// A later batch of the same segment, which was written when they were known to be durable.
    LaterBatch,
    /// A later segment. A segment gets its name only when all records before it are durable.
    LaterSegment,
    /// A checkpoint that covers them.
    Checkpoint,
    /// A durable note in `state`, such as the one of a clean close.
    CleanClose,
    /// The place itself: blocks of a segment or a `state` file that were readable before.
    Itself,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            CorruptionKind::Missing => "acknowledged records are missing",
            CorruptionKind::Damaged => "acknowledged records are damaged",
            CorruptionKind::SegmentMissing => "a segment is missing",
            CorruptionKind::StateUnreadable => "the state file is unreadable",
            CorruptionKind::OtherLog => "the segment and the state file belong to different logs",
        };
        let witness = match self.witness {
            Witness::LaterBatch => "a later batch",
            Witness::LaterSegment => "a later segment",
            Witness::Checkpoint => "the checkpoint",
            Witness::CleanClose => "a note in the state file",
            Witness::Itself => "the place itself",
        };
        write!(
            f,
            "{kind}: {} at byte {}, records {} to {} (known from {witness}); nothing was changed: \
             restore the file, or salvage the records before it",
            self.path.display(),
            self.offset,
            self.first_seq,
            self.last_seq
        )
    }
}

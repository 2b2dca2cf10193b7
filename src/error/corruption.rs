//! Damage to acknowledged data, as data.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::seq::Seq;

/// Damage to acknowledged data: where it is, what it costs, and what proves it.
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
    /// The damaged file, or the directory where a whole file is missing.
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

/// What is wrong with a damaged place.
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
    /// Records end early: the file stops, or only blank or stale blocks follow.
    Missing,
    /// The bytes there are not a valid batch.
    Damaged,
    /// A whole segment is not there.
    SegmentMissing,
    /// The `state` file is unreadable in both of its slots, or gone.
    StateUnreadable,
    /// The segment belongs to another log than the `state` file: one of the two was put here.
    OtherLog,
}

/// What proves that records had been durable.
///
/// ```
/// use ringwal::Witness;
///
/// assert_ne!(Witness::LaterBatch, Witness::CleanClose);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Witness {
    /// A later batch of the same segment was written when they were known to be durable.
    LaterBatch,
    /// A later segment exists, and one is named only when all before it is durable.
    LaterSegment,
    /// A checkpoint covers them.
    Checkpoint,
    /// The log was closed after them, or another durable note in `state` names them.
    CleanClose,
    /// The place itself: a segment's blocks or the `state` file were read before and are
    /// unreadable now.
    Itself,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            CorruptionKind::Missing => "acknowledged records are missing",
            CorruptionKind::Damaged => "acknowledged records are damaged",
            CorruptionKind::SegmentMissing => "a segment is missing",
            CorruptionKind::StateUnreadable => "the state file is unreadable",
            CorruptionKind::OtherLog => "the segment and the state file are of different logs",
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
             restore the file, or salvage what is before it",
            self.path.display(),
            self.offset,
            self.first_seq,
            self.last_seq
        )
    }
}

//! The result of recovery: the recovered log, its segments, and the batches shown on the way.

use std::io;
use std::ops::RangeInclusive;

use crate::engine::recovery::report::Recovery;
use crate::engine::state_file::StateFile;
use crate::error::{Error, Result};
use crate::io::Storage;
use crate::segment::reader::{Origin, ScannedBatch};
use crate::seq::Seq;

/// A recovered log.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The `state` file, if there is one; opened to read only, it cannot be written.
    pub(crate) state: Option<StateFile>,
    /// From `state`, else from the first batch.
    pub(crate) origin: Origin,
    /// The segments that have at least one batch, ascending.
    pub(crate) segments: Vec<SegmentInfo>,
    pub(crate) next_seq: Seq,
    pub(crate) report: Recovery,
}

/// A segment of a recovered log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentInfo {
    /// The first record; the name of the file has it.
    pub(crate) first_seq: Seq,
    /// The last record in it that counts.
    pub(crate) last_seq: Seq,
    /// The end of its last batch.
    pub(crate) bytes: u64,
    pub(crate) name: String,
    /// How often the end of the log had been cut off when the segment began, from its salt; the
    /// count wraps around. `None` without a salt.
    pub(crate) cuts: Option<u16>,
}

/// A batch that counts, with its context.
#[derive(Clone, Debug)]
pub(crate) struct RecoveredBatch<'b> {
    /// The first record of its segment.
    pub(crate) segment: Seq,
    pub(crate) batch: ScannedBatch<'b>,
    /// The records of the batch that count.
    pub(crate) counts: RangeInclusive<u64>,
    /// The last checkpoint. Tolerated damage may set it back, but only to the last record that is
    /// left: every shown record stays on the same side of it.
    pub(crate) checkpoint_seq: Seq,
}

/// A callback that gets every batch that counts, in order. Recovery may call it and then fail,
/// because it finds damage later. If recovery succeeds, the log has exactly the batches shown.
pub(crate) type OnBatch<'v> = dyn FnMut(RecoveredBatch<'_>) -> Result<()> + 'v;

/// The names in the directory of a log.
pub(crate) fn list(storage: &dyn Storage) -> Result<Vec<String>> {
    storage.list().map_err(|error| match &error {
        Error::Io { source, .. } => {
            let reason = match source.kind() {
                io::ErrorKind::NotFound => "there is no such directory",
                io::ErrorKind::NotADirectory => "it is not a directory",
                _ => return error,
            };
            Error::NotALog { path: storage.dir().to_path_buf(), reason: reason.to_owned() }
        }
        _ => error,
    })
}

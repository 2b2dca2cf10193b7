//! What recovery works with, and what comes of it.

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
    /// The `state` file, if there is one; read-only it cannot be written.
    pub(crate) state: Option<StateFile>,
    /// As `state` has it, else as the first batch says.
    pub(crate) origin: Origin,
    /// The segments that have at least one batch, ascending.
    pub(crate) segments: Vec<SegmentInfo>,
    /// The number that the next record gets.
    pub(crate) next_seq: Seq,
    /// What was found and done.
    pub(crate) report: Recovery,
}

/// A segment of a recovered log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentInfo {
    /// The first record, which is in its name.
    pub(crate) first_seq: Seq,
    /// The last record in it that counts.
    pub(crate) last_seq: Seq,
    /// The end of its last batch.
    pub(crate) bytes: u64,
    /// Its name.
    pub(crate) name: String,
    /// How often the end of the log had been cut off when it began, counted round and round, as its
    /// salt says; `None` where there is no salt.
    pub(crate) cuts: Option<u16>,
}

/// A batch that counts, and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct RecoveredBatch<'b> {
    /// The first record of its segment.
    pub(crate) segment: Seq,
    pub(crate) batch: ScannedBatch<'b>,
    /// Its records that count.
    pub(crate) counts: RangeInclusive<u64>,
    /// The last checkpoint. Where damage is tolerated, recovery may set it back, but then to the
    /// last record that there is: no record is on another side of it for that.
    pub(crate) checkpoint_seq: Seq,
}

/// Is shown every batch that counts, in order. It may be shown batches before damage behind them
/// is found and recovery fails; but if recovery succeeds, what was shown is what the log has.
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

//! Recovery: from the files of a directory to a log that can go on, or to what is lost.
//!
//! It reads everything once, judges, and only then changes something:
//!
//! 1. The *survey* lists the directory, loads `state`, and scans the segments in order. It changes
//!    nothing. What it finds goes through the tables ([`table`]).
//! 2. If a table refuses, or the log is of another kind or label than it is opened as
//!    ([`identity`]), that is the error and the directory is as it was.
//! 3. The *repair* does what the survey planned, each step durable before the next: keep what
//!    tolerated damage takes ([`Loss`]); create a
//!    missing `state`, or overwrite what a torn write left in it; remove spares, what was truncated
//!    before, and what was truncated after; trim segments to their last batch; remove a last
//!    segment without a batch; note in `state` what was finished or tolerated. A crash in between
//!    ends in the same log when it is recovered again.
//! 4. The last segment, the `state` file and the directory are synced before they are believed, so
//!    that nothing which was shown can go away. All earlier segments were durable when the last
//!    one got its name.
//! 5. Memory is bounded by the window of one scan ([`crate::segment::window`]), whatever the files
//!    say. Each segment is read once and verified once, but for what lies around its end where that
//!    is torn or damaged.
//!
//! Threading: one thread, and to repair it must hold the log's lock.
//!
//! It does not look for records behind damage; that is for a salvage on request.

mod identity;
mod lost;
pub(crate) mod repair;
mod report;
mod scan;
pub(crate) mod snapshot;
mod table;

use std::io;
use std::ops::RangeInclusive;
use std::time::Instant;

use crate::engine::state_file::StateFile;
use crate::error::{Error, Result};
use crate::io::Storage;
use crate::replication::ShardId;
use crate::segment::reader::{Origin, ScannedBatch};
use crate::seq::Seq;

pub use lost::Loss;
pub use report::{Recovery, RecoveryPolicy, Verdict};

pub(crate) use identity::Identity;
pub(crate) use scan::known;

use scan::DirScan;

/// Whether recovery may change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It leaves a log that can be appended to; damage is an error.
    Repair,
    /// It changes and syncs nothing; damage is in the report.
    ReadOnly,
}

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

/// Recovers the log of a shard.
pub(crate) fn recover(
    storage: &dyn Storage,
    shard: ShardId,
    policy: RecoveryPolicy,
    identity: &Identity,
    mode: Mode,
    on_batch: &mut OnBatch<'_>,
) -> Result<Recovered> {
    let start = Instant::now();
    let names = list(storage)?;
    let survey = DirScan::new(storage, shard, policy, identity, mode, names)?;
    let (plan, mut recovered) = survey.run(on_batch)?;
    if mode == Mode::Repair {
        if let Some(keep) = &plan.keep {
            let kept = lost::keep(storage, shard, keep)?;
            if !recovered.report.losses.contains(&kept) {
                recovered.report.losses.push(kept);
            }
        }
        repair::apply(storage, shard, &plan, &mut recovered.state)?;
        if let Some(state) = &recovered.state {
            recovered.report.tell_identity(state.current());
        }
    }
    recovered.report.elapsed = start.elapsed();
    Ok(recovered)
}

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

#[cfg(test)]
mod tests;

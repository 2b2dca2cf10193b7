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
pub(crate) mod lost;
mod recover;
mod recovered;
pub(crate) mod repair;
mod report;
mod scan;
pub(crate) mod snapshot;
mod table;
#[cfg(test)]
mod tests;

pub use lost::Loss;
pub use report::{Recovery, RecoveryPolicy, Verdict};

pub(crate) use identity::{Identity, Mode};
pub(crate) use recover::recover;
pub(crate) use recovered::{OnBatch, Recovered, RecoveredBatch, SegmentInfo, list};
pub(crate) use scan::known;

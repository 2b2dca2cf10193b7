//! Recovery: turns the files of a directory into a log that can be appended to, or says what is
//! lost.
//!
//! It reads everything once, classifies it, and only then changes anything:
//!
//! 1. The *scan* ([`scan`]) lists the directory, loads `state`, and reads the segments in order. It
//!    changes nothing. The tables ([`table`]) classify what it finds.
//! 2. If a table refuses, or the log has another kind or label than the caller asked for
//!    ([`identity`]), recovery fails and the directory is as it was.
//! 3. The *repair* ([`repair`]) carries out the scan's plan. Each step is durable before the next:
//!    keep the bytes that tolerated damage takes ([`Loss`]); create a missing `state`, or overwrite
//!    what a torn write left in it; remove spares and truncated segments; trim segments to their
//!    last batch; remove a last segment without a batch; note in `state` what was finished or
//!    tolerated. After a crash in between, the next recovery leads to the same log.
//! 4. The last segment, the `state` file and the directory are synced before they are believed, so
//!    that no record which was shown can go away. All earlier segments were durable when the last
//!    one got its name.
//! 5. Memory is bounded by the window of one scan ([`crate::segment::window`]), whatever the files
//!    contain. Each segment is read and verified once, except for the blocks around a torn or
//!    damaged end.
//!
//! Threading: one thread; to repair, it must hold the log's lock.
//!
//! Recovery does not look for records behind damage. That is left to a salvage on request.

mod identity;
pub(crate) mod lost;
mod recover;
mod recovered;
pub(crate) mod repair;
mod report;
mod scan;
pub(crate) mod snapshot;
mod table;
mod tail;
#[cfg(test)]
mod tests;

pub use lost::Loss;
pub use report::{Recovery, RecoveryPolicy, Verdict};

pub(crate) use identity::{Identity, Mode};
pub(crate) use recover::{recover, recover_showing};
pub(crate) use recovered::{OnBatch, Recovered, RecoveredBatch, SegmentInfo, list};
pub(crate) use scan::known;

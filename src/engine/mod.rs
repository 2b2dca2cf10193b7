//! The engine: one log, from its handle down to the ring thread.
//!
//! | where | what it does |
//! |---|---|
//! | `log`, `options`, `open`, `close`, `directory` | a log's life: the handle, opening, closing |
//! | `append`, `records`, `batch`, `permit`, `ticket` | what a caller holds: bytes in, ticket out |
//! | `commit/` | the way of an appended record, from the queue to its acknowledgement |
//! | `recovery/`, `state_file` | from the files on disk to a log, or to a report of the damage |
//! | `read/` | records from disk: in order, by their position, or while recovery verifies them |
//! | `truncate`, `checkpoint`, `backup` | truncation at both ends, rotation, checkpoints, copies |
//! | `metrics` | counters and histograms |
//! | `sim` | logs on a simulated disk, without a thread |

pub(crate) mod append;
pub(crate) mod backup;
pub(crate) mod batch;
pub(crate) mod checkpoint;
mod close;
pub(crate) mod commit;
mod directory;
pub(crate) mod in_turn;
mod log;
pub(crate) mod metrics;
mod open;
pub(crate) mod options;
pub(crate) mod permit;
pub(crate) mod read;
pub(crate) mod records;
pub(crate) mod recovery;
mod restart;
#[cfg(any(test, feature = "sim"))]
pub(crate) mod sim;
pub(crate) mod state_file;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod ticket;
pub(crate) mod truncate;

pub use log::Log;

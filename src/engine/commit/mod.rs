//! The way of an appended record, from its batch to its acknowledgement.
//!
//! ```text
//!  append ──> queue ──────────> committer ──> io queue ──> disk
//!             which batch,      seals and         │
//!             who leads it      submits it        │ completion
//!             (policy: when)                      v
//!  append <── latch <── watermarks <── committer <── pipeline
//!             wakes     publishes                    what may be acknowledged
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | [`queue`] | gives a record its number, its batch and its bytes in the segment; pure |
//! | [`policy`] | decides when the open batch goes to the disk; pure |
//! | [`pipeline`] | what is in flight, and what may be acknowledged; pure |
//! | [`committer`] | the state machine by which batches become durable |
//! | [`ring_thread`] | the thread that drives it as a rule; an appender may (`committer/inline`) |
//! | [`latch`], [`watermarks`] | what appenders wait for, and how they are woken |
//! | [`board`], [`shared`] | what all of them share, and the order of its locks |
//!
//! The pure parts know no clock, no file and no thread, so they are tested by the million and serve
//! any driver. `handover` runs the threads that meet here under checkers of schedules.

pub(crate) mod board;
pub(crate) mod committer;
#[cfg(all(test, any(ringwal_loom, ringwal_shuttle)))]
pub(crate) mod handover;
pub(crate) mod latch;
pub(crate) mod notifications;
pub(crate) mod pipeline;
pub(crate) mod policy;
pub(crate) mod queue;
pub(crate) mod ring_thread;
pub(crate) mod shared;
#[cfg(any(test, feature = "sim"))]
pub(crate) mod stepped;
pub(crate) mod watermarks;

#[cfg(test)]
mod tests;

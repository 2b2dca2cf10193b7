//! What an engineer writes in an afternoon instead of taking a library: one file of framed records,
//! and one write and sync for all who wait.
//!
//! ```text
//! threads that wait   group.rs     a mutex, two condition variables, a leader that writes for all
//! tickets and tasks   channel.rs   a channel, a writer thread, a oneshot for each record
//! ```
//!
//! Left out is what the log beside it does besides: rotation, truncation, a torn tail, direct I/O,
//! a choice of strategies. So where the two are equal, the library costs nothing.
//!
//! 1. A record is acknowledged only after the write and the sync that cover it.
//! 2. After a failure nothing is acknowledged any more, and everyone who waits is told.
//! 3. The file is read back after each measurement, and compared as the log is.

pub(crate) mod channel;
pub(crate) mod file;
pub(crate) mod group;
pub(crate) mod oneshot;

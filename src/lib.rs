//! ringwal is a write-ahead log engine: many threads append records, and an append returns its
//! sequence number once that record, and every record before it, is durable.
//!
//! One ring thread drives io_uring: for each batch, one write from an aligned buffer with O_DIRECT,
//! and its sync. At open the log measures the ways to do both and chooses one. Where io_uring
//! is refused, the portable backend on `std::fs` runs the same code path and gives the same
//! guarantee.
//!
//! ```
//! use ringwal::Log;
//!
//! let dir = tempfile::tempdir()?;
//! let log = Log::open(dir.path().join("log"))?;
//! std::thread::scope(|scope| {
//!     for worker in 0..4 {
//!         let log = &log;
//!         scope.spawn(move || log.append(format!("from worker {worker}")));
//!     }
//! });
//! assert_eq!(log.durable_seq().get(), 4);
//! log.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Start at [`Log`], at [`wal`] for a log of typed events, or at [`kv`] for keys and values. The
//! [`manual`] explains acknowledgements, recovery and tuning; [`format`](mod@format) describes the
//! bytes on disk.
//!
//! # Features
//!
//! - `uring` (default): the io_uring backend, on Linux.
//! - `sim`: a simulated disk, for tests of power cuts and failing I/O.
//! - `datawal`: the names of the crate datawal, so that its programs run on `ringwal::datawal`.
//! - `cli`: the command `ringwal`.
//! - `internals`: unstable, for this crate's own tools. It makes `io` public, the contract with the
//!   operating system, and the parts of [`format`](mod@format) that lay out bytes one by one. A log
//!   takes no storage or queue from outside, and these may change with any version.

#[cfg(feature = "datawal")]
pub mod datawal;
pub mod error;
pub mod format;
#[cfg(feature = "internals")]
pub mod io;
pub mod kv;
pub mod manual;
pub mod replication;
pub mod wal;

#[cfg_attr(
    not(feature = "internals"),
    allow(unreachable_pub, reason = "`io` makes it public with the feature `internals`")
)]
mod buf;
mod clock;
mod engine;
mod filesystem;
#[cfg(not(feature = "internals"))]
#[allow(dead_code, unreachable_pub, unused_imports, reason = "public with the feature `internals`")]
mod io;
mod kind;
mod mutation;
mod segment;
mod seq;
mod sync;
mod sys;
mod wakers;

pub use engine::Log;
pub use engine::append::At;
pub use engine::backup::BackupReport;
pub use engine::batch::Batch;
pub use engine::checkpoint::Checkpoint;
pub(crate) use engine::in_turn::{Admitted, Attempted, InTurn, Purpose, Queued};
pub use engine::metrics::{Histogram, Metrics};
pub use engine::options::{Builder, Durability};
pub use engine::permit::Permit;
pub use engine::read::reader::Reader;
pub use engine::read::record::{Record, RecordRef};
pub use engine::read::replay::{Replayed, Restore};
pub(crate) use engine::records::Payload;
pub use engine::records::{Pieces, Records};
pub use engine::recovery::{Loss, Recovery, RecoveryPolicy, Verdict};
pub use engine::ticket::Commit;
pub use engine::truncate::{Segment, Truncated};
pub use error::{Corruption, CorruptionKind, Error, Result, Witness};
pub use io::{Backend, BackendKind, Blocks, Refusal, Strategy};
#[cfg(any(test, feature = "sim"))]
pub use io::{SimDisk, SimFault};
pub use kind::{Kind, LABEL_BYTES};
pub use seq::Seq;

/// The README's examples, run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

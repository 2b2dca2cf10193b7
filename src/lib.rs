//! ringwal is a write-ahead log engine: many threads append records, and an append returns its
//! sequence number once that record, and every record before it, is durable.
//!
//! One ring thread drives io_uring: per batch, one write from an O_DIRECT aligned buffer and its
//! sync, linked in one submission or in another way, as measured at open. Where io_uring cannot be
//! had, the portable backend on `std::fs` runs the same code path and keeps the same promise.
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
//! [`manual`] says what an acknowledgement means, what recovery does and how to get speed;
//! [`format`](mod@format) has the bytes on disk, [`io`] the contract with the operating system.
//! Programs of the crate datawal run on `ringwal::datawal`, with the feature of that name.

#[cfg(feature = "datawal")]
pub mod datawal;
pub mod error;
pub mod format;
pub mod io;
pub mod kv;
pub mod manual;
pub mod replication;
pub mod wal;

mod buf;
mod clock;
mod engine;
mod kind;
mod mutation;
mod segment;
mod seq;
mod sync;
mod sys;
mod wakers;

pub use engine::Log;
pub use engine::backup::BackupReport;
pub use engine::batch::Batch;
pub use engine::checkpoint::Checkpoint;
pub use engine::metrics::{Histogram, Metrics};
pub use engine::options::{Builder, Durability};
pub use engine::read::reader::Reader;
pub use engine::read::record::{Record, RecordRef};
pub use engine::read::replay::Replayed;
pub use engine::ready::Ready;
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

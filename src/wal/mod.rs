//! The event log: typed events over the engine, with deduplication, a checkpoint, and replay of the
//! events after it.
//!
//! An event is one record; its sequence number is the engine's. The log lies in `<dir>/wal/`.
//!
//! | file | purpose |
//! |---|---|
//! | `builder` | options and their bounds |
//! | `handle`, `ticket` | the open log: append, checkpoint, truncate |
//! | `tasks` | the appends that block no thread; batches |
//! | `replay` | the events after the checkpoint, collected at open |
//! | `dedup`, `pending` | the window of recent events; duplicates of an event in flight |
//! | [`format`](mod@format) | the 21 bytes of an event; stand-alone batches |
//! | [`reader`], [`checkpoint`], [`segment`] | reading a log without opening it |
//!
//! 1. `append` returns a sequence number when the event and all events before it are durable.
//!    Numbers are dense, from 1.
//! 2. Of equal events that arrive within `dedup_window`, the first gets a number. The others get 0,
//!    once the first is durable. This holds across threads, a close and a crash.
//! 3. Opening returns the events after the checkpoint, each once, in order. Damaged events at the
//!    end of the log are cut off, kept in `lost-*` files beside it, and reported until the caller
//!    acknowledges the loss ([`RecoveryPolicy::TolerateTail`], unless [`WalBuilder::recovery`] says
//!    `Strict`). Damage anywhere else is an error.
//!
//! Any number of threads may share a handle. A handle does not follow the log of another process.
//!
//! ```
//! use std::time::Duration;
//! use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
//!
//! let dir = tempfile::tempdir()?;
//! let config = WalConfig {
//!     dir: dir.path().to_path_buf(),
//!     segment_size: 1 << 20,
//!     batch_size: 1000,
//!     batch_timeout: Duration::from_millis(10),
//!     dedup_window: Duration::from_secs(60),
//! };
//! let (wal, events, _report) = WalHandle::open(config.clone())?;
//! assert!(events.is_empty());
//! let event = SignalEvent { entity_id: 7, signal_type: 1, weight: 0.5, timestamp_nanos: 99 };
//! assert_eq!(wal.append(event)?, 1);
//! assert_eq!(wal.append(event)?, 0); // a duplicate
//! wal.shutdown()?;
//!
//! let (wal, events, report) = WalHandle::open(config)?;
//! assert_eq!(events, [event]);
//! println!("{report}");
//! wal.checkpoint(1)?; // nothing to replay from here on
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod checkpoint;
pub mod dedup;
pub mod format;
pub mod reader;
pub mod segment;

mod builder;
mod handle;
mod pending;
mod replay;
mod tasks;
#[cfg(test)]
mod tests;
mod ticket;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use builder::WalBuilder;
pub use checkpoint::CheckpointManager;
pub use handle::{Opened, WalHandle};
pub use ticket::EventCommit;

use crate::Recovery;
#[cfg(doc)]
use crate::RecoveryPolicy;

/// An event.
///
/// ```
/// use ringwal::wal::SignalEvent;
///
/// let event = SignalEvent { entity_id: 7, signal_type: 1, weight: 0.5, timestamp_nanos: 99 };
/// assert_eq!(event, event.clone());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignalEvent {
    /// The entity that the event is about.
    pub entity_id: u64,
    /// The kind of event, in the caller's own numbering.
    pub signal_type: u8,
    /// The weight of the event.
    pub weight: f32,
    /// The time of the event, as the caller says. The log does not interpret it.
    pub timestamp_nanos: u64,
}

/// The configuration of an event log. [`WalHandle::builder`] has further options.
///
/// The default sets everything but the directory: 32 MiB segments, batches of at most 4,096 events,
/// a batch timeout of 10 ms, a dedup window of one minute.
///
/// ```
/// use ringwal::wal::{WalConfig, WalHandle};
///
/// let no_dir = WalHandle::open(WalConfig::default());
/// assert!(no_dir.unwrap_err().to_string().contains("option dir is empty"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalConfig {
    /// The directory; the log lies in its subdirectory `wal/`. Both are created if missing.
    pub dir: PathBuf,
    /// The bytes of a segment, 128 to 64 GiB. A segment takes at least one batch, even if it is
    /// larger.
    pub segment_size: u64,
    /// The most events of a batch, 1 to 1,048,576.
    pub batch_size: usize,
    /// The longest time that an event waits for others to fill its batch. This is a bound, not a
    /// delay: an event waits only while earlier batches are written, so the log meets any bound.
    pub batch_timeout: Duration,
    /// How long the log remembers an event to detect duplicates; zero turns detection off.
    pub dedup_window: Duration,
}

impl Default for WalConfig {
    fn default() -> WalConfig {
        WalConfig {
            dir: PathBuf::new(),
            segment_size: 32 << 20,
            batch_size: 4096,
            batch_timeout: Duration::from_millis(10),
            dedup_window: Duration::from_secs(60),
        }
    }
}

/// The subdirectory of the event log's directory in which the engine's log lies.
pub(crate) const LOG_DIR: &str = "wal";

impl WalConfig {
    /// The directory of the engine's log.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.dir.join(LOG_DIR)
    }
}

/// The report of opening an event log. `Display` prints it as a few lines.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalReport {
    /// The engine's report: how the log ended, what was cut off and where.
    pub recovery: Recovery,
    /// The last checkpoint; 0 if there is none.
    pub checkpoint_seq: u64,
    /// The sequence number of the first returned event; of the next event if none was returned.
    pub replayed_from: u64,
    /// The number of returned events: those after the checkpoint.
    pub events_replayed: u64,
    /// The number of events that the log remembers to detect duplicates.
    pub events_remembered: u64,
    /// The bytes after the last batch that were cut off.
    pub bytes_cut: u64,
    /// The number of acknowledged events that were lost, now or at an earlier opening, as far as it
    /// is known. Losses that the caller has acknowledged ([`WalHandle::acknowledge_loss`]) do not
    /// count. [`Recovery::losses`] names the files that keep the bytes.
    pub events_lost: u64,
}

impl fmt::Display for WalReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.recovery)?;
        writeln!(f, "replayed: {} after checkpoint {}", self.events_replayed, self.checkpoint_seq)?;
        write!(f, "dedup:    {} remembered", self.events_remembered)
    }
}

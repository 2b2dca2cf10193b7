//! The event log: typed events over the engine, with exact duplicates left out, a checkpoint, and
//! replay of what came after it.
//!
//! An event is one record; its sequence number is the engine's. The log lies in `<dir>/wal/`.
//!
//! | file | what it adds to the engine |
//! |---|---|
//! | `builder` | options and their checks |
//! | `handle`, `ticket` | the open log: append, checkpoint, truncate |
//! | `replay` | what opening makes of the records |
//! | `dedup` | which events were accepted lately |
//! | [`format`](mod@format) | an event's 21 bytes, stand-alone batches |
//! | [`reader`], [`checkpoint`], [`segment`] | the log seen from outside, without opening it |
//!
//! 1. `append` returns a sequence number when that event and all before it are durable; numbers
//!    are dense, from 1.
//! 2. Of equal events that arrive within `dedup_window`, one gets a number; the others get 0, once
//!    that one is durable. This holds across threads, a close and a crash.
//! 3. Opening returns the events after the checkpoint, each once, in order. Damage at the end of
//!    the log is cut back, kept in `lost-*` files beside the log and reported until that is
//!    acknowledged ([`RecoveryPolicy::TolerateTail`], unless [`WalBuilder::recovery`] says
//!    `Strict`); anywhere else it is an error.
//!
//! A handle may be used from any number of threads. It does not follow the log of another process.
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
mod replay;
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
    /// What it is about.
    pub entity_id: u64,
    /// Its kind, the caller's own numbering.
    pub signal_type: u8,
    /// How much it counts.
    pub weight: f32,
    /// When it happened, as the caller says. The log does not look at it.
    pub timestamp_nanos: u64,
}

/// How an event log is opened. What else can be set goes through [`WalHandle::builder`].
///
/// The default has everything but a directory: 32 MiB segments, batches of at most 4,096 events,
/// at most 10 ms of waiting, a minute to tell duplicates.
///
/// ```
/// use ringwal::wal::{WalConfig, WalHandle};
///
/// let no_dir = WalHandle::open(WalConfig::default());
/// assert!(no_dir.unwrap_err().to_string().contains("option dir is empty"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalConfig {
    /// The directory; the log lies in `wal/` below it. Both are created if they are missing.
    pub dir: PathBuf,
    /// The bytes of a segment, 128 to 64 GiB. A segment takes at least one batch, whatever this
    /// says.
    pub segment_size: u64,
    /// The events of a batch at most, 1 to 1,048,576.
    pub batch_size: usize,
    /// How long an event waits for others to fill its batch, at most. It is a bound, not a delay:
    /// an event waits only while earlier batches are being written, so the log keeps any bound.
    pub batch_timeout: Duration,
    /// For how long after its arrival an event is remembered to tell duplicates; zero tells none.
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

/// The log's own directory, inside of that of the event log.
pub(crate) const LOG_DIR: &str = "wal";

impl WalConfig {
    /// Where the log itself lies.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.dir.join(LOG_DIR)
    }
}

/// What opening an event log found and did. `Display` prints it as a few lines.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalReport {
    /// What the engine found: how the log ended, what was cut and where.
    pub recovery: Recovery,
    /// The last checkpoint; 0 if there is none.
    pub checkpoint_seq: u64,
    /// The sequence number of the first event that was returned; of the next one if there is none.
    pub replayed_from: u64,
    /// How many events came after the checkpoint: as many as were returned.
    pub events_replayed: u64,
    /// How many events of the log are remembered to tell duplicates.
    pub events_remembered: u64,
    /// How many bytes behind the last batch were cut off.
    pub bytes_cut: u64,
    /// How many events that had been acknowledged are gone, now or at an earlier opening, as far
    /// as that is known and was not acknowledged ([`WalHandle::acknowledge_loss`]); where they
    /// went is in [`Recovery::losses`].
    pub events_lost: u64,
}

impl fmt::Display for WalReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.recovery)?;
        writeln!(f, "replayed: {} after checkpoint {}", self.events_replayed, self.checkpoint_seq)?;
        write!(f, "dedup:    {} remembered", self.events_remembered)
    }
}

//! The checkpoint of an event log, read without opening it.

use std::path::Path;

use crate::replication::ShardId;
use crate::{Checkpoint, Result};

/// Reads checkpoints. They are made by [`WalHandle::checkpoint`](crate::wal::WalHandle::checkpoint)
/// and lie in two slots that are written alternately, so there is always a whole one.
///
/// ```
/// use ringwal::wal::checkpoint::CheckpointManager;
/// use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
///
/// let dir = tempfile::tempdir()?;
/// let config = WalConfig { dir: dir.path().to_path_buf(), ..WalConfig::default() };
/// let (wal, _, _) = WalHandle::open(config)?;
/// let event = SignalEvent { entity_id: 1, signal_type: 0, weight: 1.0, timestamp_nanos: 5 };
/// let seq = wal.append(event)?;
/// assert_eq!(CheckpointManager::read(&dir.path().join("wal"))?, None);
/// wal.checkpoint(seq)?;
/// let (found, _time_nanos) = CheckpointManager::read(&dir.path().join("wal"))?.expect("made");
/// assert_eq!(found, seq);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CheckpointManager;

impl CheckpointManager {
    /// The sequence number of the last checkpoint of the log in `dir` (that is `<dir>/wal` of a
    /// handle), and when it was made in nanoseconds since the Unix epoch; `None` without one.
    /// Takes no lock; a writer may be at work.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::read`].
    pub fn read(dir: &Path) -> Result<Option<(u64, u64)>> {
        CheckpointManager::read_shard(dir, ShardId::SINGLE)
    }

    /// [`read`](Self::read), of one of several logs in the directory.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::read`].
    pub fn read_shard(dir: &Path, shard: ShardId) -> Result<Option<(u64, u64)>> {
        let last = Checkpoint::read_shard(dir, shard)?;
        Ok(last.map(|checkpoint| (checkpoint.seq.get(), checkpoint.time_nanos)))
    }
}

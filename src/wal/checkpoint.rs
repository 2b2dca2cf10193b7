//! Reads the checkpoint of an event log without opening it. Programs use this path: it stays.

use std::path::Path;

use crate::replication::ShardId;
use crate::{Checkpoint, Result};

/// Reads checkpoints. [`WalHandle::checkpoint`](crate::wal::WalHandle::checkpoint) writes them, to
/// two slots in turn, so there is always an intact one.
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
    /// The sequence number of the last checkpoint of the log in `dir` (`<dir>/wal` of a handle),
    /// and its time in nanoseconds since the Unix epoch; `None` if there is none. Takes no lock,
    /// and works beside a writer.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::read`].
    pub fn read(dir: &Path) -> Result<Option<(u64, u64)>> {
        CheckpointManager::read_shard(dir, ShardId::SINGLE)
    }

    /// [`read`](Self::read) for one of several logs in the directory.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::read`].
    pub fn read_shard(dir: &Path, shard: ShardId) -> Result<Option<(u64, u64)>> {
        let last = Checkpoint::read_shard(dir, shard)?;
        Ok(last.map(|checkpoint| (checkpoint.seq.get(), checkpoint.time_nanos)))
    }
}

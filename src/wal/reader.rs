//! Reads the events of a log without opening it, also beside a writer. Programs use this path: it
//! stays.

use std::cell::RefCell;
use std::path::Path;

use crate::replication::ShardId;
use crate::wal::format::{EventRecord, event_bytes};
use crate::wal::{CheckpointManager, SignalEvent};
use crate::{Error, Kind, Log, Recovery, RecoveryPolicy, Result};

/// The result of [`recover`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecoveredEvents {
    /// All events in the log, in order, including those before the checkpoint.
    pub events: Vec<SignalEvent>,
    /// The sequence number of the first event; of the next one to come if there are none.
    pub first_seq: u64,
    /// The last checkpoint: its sequence number, and its time in nanoseconds since the Unix epoch.
    pub checkpoint: Option<(u64, u64)>,
    /// The engine's report: how and where the log ends.
    pub recovery: Recovery,
}

impl RecoveredEvents {
    /// The events after the checkpoint, which opening the log would return.
    pub fn after_checkpoint(&self) -> &[SignalEvent] {
        let (checkpoint, _) = self.checkpoint.unwrap_or_default();
        let before = checkpoint.saturating_add(1).saturating_sub(self.first_seq);
        let before = usize::try_from(before).unwrap_or(usize::MAX);
        self.events.get(before..).unwrap_or_default()
    }
}

/// Reads the events of the log in `dir` (`<dir>/wal` of a handle). It changes nothing, takes no
/// lock, and works beside a writer. A file that ends at any byte is no error: the whole batches
/// before that byte are returned. Reading also ends at damage;
/// [`recovery`](RecoveredEvents::recovery) says where and of what kind.
///
/// ```
/// use ringwal::replication::ShardId;
/// use ringwal::wal::format::{EventRecord, encode_batch};
/// use ringwal::wal::{reader::recover, segment::segment_filename};
///
/// let dir = tempfile::tempdir()?;
/// let event = EventRecord { entity_id: 1, signal_type: 2, weight: 3.0, timestamp_nanos: 4 };
/// let mut bytes = encode_batch(&[event; 2], 1, 0)?;
/// bytes.extend(encode_batch(&[event], 3, 0)?);
/// bytes.pop(); // the last batch is torn
/// std::fs::write(dir.path().join(segment_filename(ShardId::SINGLE, 1)), bytes)?;
/// assert_eq!(recover(dir.path())?.events, [event.into(), event.into()]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error::NotALog`] if there is no such directory, or a record in it is not an event;
/// [`Error::OtherKind`], [`Error::UnsupportedVersion`], [`Error::Io`].
pub fn recover(dir: &Path) -> Result<RecoveredEvents> {
    recover_shard(dir, ShardId::SINGLE)
}

/// [`recover`] for one of several logs in the directory.
///
/// # Errors
///
/// As [`recover`].
pub fn recover_shard(dir: &Path, shard: ShardId) -> Result<RecoveredEvents> {
    let checkpoint = match CheckpointManager::read_shard(dir, shard) {
        // The report tells of this damage, and the events do not depend on the checkpoint.
        Err(Error::Corrupt(_)) => None,
        read => read?,
    };
    let builder = Log::builder(dir)
        .kind(Some(Kind::Events))
        .shard(shard)
        .recovery(RecoveryPolicy::TolerateTail);
    let events = RefCell::new(Vec::new());
    let begin = &mut || events.borrow_mut().clear();
    let reader = builder.read_only_std(begin, &mut |record| {
        let bytes = event_bytes(record.seq(), record.data(), dir)?;
        events.borrow_mut().push(EventRecord::from_bytes(*bytes).into());
        Ok(())
    })?;
    let events = events.into_inner();
    let recovery = reader.recovery().cloned().unwrap_or_default();
    let first_seq = reader.next_seq().get();
    Ok(RecoveredEvents { events, first_seq, checkpoint, recovery })
}

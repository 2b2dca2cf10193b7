//! Checkpoints: the user's durable note that all records up to a sequence number are safe
//! elsewhere, for example in a snapshot.

use std::path::Path;

use crate::engine::recovery;
use crate::engine::state_file::{StateFile, StateOnDisk};
use crate::error::{Corruption, CorruptionKind, Error, Result, Witness};
use crate::format::{PAYLOAD_MAX, State};
use crate::io::{StdStorage, Storage};
use crate::replication::ShardId;
use crate::segment::name::state_name;
use crate::seq::Seq;

/// The last checkpoint of a log.
///
/// ```
/// use ringwal::{Log, Seq};
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::open(dir.path().join("log"))?;
/// let seq = log.append("one")?;
/// log.checkpoint(seq, "snapshot-1")?;
/// let checkpoint = log.last_checkpoint().expect("one was made");
/// assert_eq!((checkpoint.seq, checkpoint.payload.as_slice()), (seq, &b"snapshot-1"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// Every record up to this one is safe elsewhere.
    pub seq: Seq,
    /// When it was made, in nanoseconds since the Unix epoch.
    pub time_nanos: u64,
    /// The caller's own bytes.
    pub payload: Vec<u8>,
}

impl Checkpoint {
    /// The largest payload, in bytes.
    pub const PAYLOAD_BYTES_MAX: usize = PAYLOAD_MAX;

    /// The last checkpoint of the log in `dir`, or `None` if there is none. Does not open the log:
    /// it reads no segment and takes no lock, and a writer may be active.
    ///
    /// # Errors
    ///
    /// [`Error::NotALog`] if there is no such directory, [`Error::Corrupt`] if neither slot of its
    /// `state` file is valid, [`Error::UnsupportedVersion`], [`Error::Io`].
    pub fn read(dir: impl AsRef<Path>) -> Result<Option<Checkpoint>> {
        Checkpoint::read_shard(dir, ShardId::SINGLE)
    }

    /// Like [`read`](Self::read), for one of several logs in the directory.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_shard(dir: impl AsRef<Path>, shard: ShardId) -> Result<Option<Checkpoint>> {
        let storage = StdStorage::new(dir.as_ref());
        let names = recovery::list(&storage)?;
        match StateFile::open(&storage, shard, &names, false)? {
            StateOnDisk::Missing => Ok(None),
            StateOnDisk::Valid(file) => Ok(Checkpoint::of(&recovery::known(file.current()))),
            StateOnDisk::Unreadable => {
                let path = storage.dir().join(state_name(shard));
                let kind = CorruptionKind::StateUnreadable;
                let range = (Seq::NONE, Seq::NONE);
                Err(Error::Corrupt(Corruption::new(path, 0, range, kind, Witness::Itself)))
            }
        }
    }

    pub(crate) fn of(state: &State) -> Option<Checkpoint> {
        let last = state.checkpoint.as_ref()?;
        let (seq, time_nanos) = (Seq::new(last.seq), last.time_nanos);
        Some(Checkpoint { seq, time_nanos, payload: last.payload.clone() })
    }
}

//! Notes of the log's user: checkpoints in `state`, and acknowledged losses.

use std::time::SystemTime;

use crate::engine::Log;
use crate::engine::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::format;
use crate::segment::name::LostName;
use crate::seq::Seq;
use crate::sync::MutexGuard;
use crate::wakers::may_block;

impl Log {
    /// Notes durably that every record up to `seq` is safe elsewhere, with up to
    /// [`Checkpoint::PAYLOAD_BYTES_MAX`] bytes of the caller's. After a crash in between, the
    /// previous checkpoint counts. Nothing is truncated.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] if `seq` is not durable yet or lies before the last checkpoint,
    /// [`Error::RecordTooLarge`] if the payload is, [`Error::StatesUsedUp`]; these change nothing.
    /// Else as [`append`](Log::append).
    pub fn checkpoint(&self, seq: Seq, payload: impl AsRef<[u8]>) -> Result<()> {
        let payload = payload.as_ref();
        let limit = Checkpoint::PAYLOAD_BYTES_MAX as u64;
        if payload.len() as u64 > limit {
            return Err(Error::RecordTooLarge { bytes: payload.len() as u64, limit });
        }
        self.shared().require_own_process()?;
        may_block()?;
        let mut file = self.inner.state();
        self.shared().check()?;
        file.require_generations()?;
        let durable_seq = self.durable_seq();
        let mut state = file.current().clone();
        let min = Seq::new(state.checkpoint.as_ref().map_or(0, |last| last.seq));
        if seq < min || seq > durable_seq {
            return Err(Error::OutOfRange { op: "checkpoint", seq, min, max: durable_seq });
        }
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let time_nanos = since_epoch.map_or(0, |t| u64::try_from(t.as_nanos()).unwrap_or(0));
        state.last_seq = state.last_seq.max(durable_seq.get());
        state.clean = false;
        state.checkpoint =
            Some(format::Checkpoint { seq: seq.get(), time_nanos, payload: payload.to_vec() });
        self.shared().or_poison(file.write(state))?;
        *self.last() = Checkpoint::of(file.current());
        Ok(())
    }

    /// The last checkpoint, if there is one.
    pub fn last_checkpoint(&self) -> Option<Checkpoint> {
        self.last().clone()
    }

    fn last(&self) -> MutexGuard<'_, Option<Checkpoint>> {
        self.inner.last_checkpoint.lock()
    }

    /// Acknowledges the records lost to tolerated damage
    /// ([`Recovery::losses`](crate::Recovery::losses)): later openings no longer report them.
    /// Renames the `lost-*.bin` files to `lost-*.seen`; these stay until you remove them. Returns
    /// how many losses there were.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Poisoned`]; [`Error::Io`] if a file cannot be renamed: then its
    /// loss is reported again.
    pub fn acknowledge_loss(&self) -> Result<usize> {
        self.require_own_process()?;
        may_block()?;
        // Acknowledge one at a time.
        let _state = self.inner.state();
        self.shared().check()?;
        let (storage, shard) = (&self.inner.storage, self.options().shard);
        let names = storage.list()?;
        let lost = names.iter().filter_map(|name| LostName::parse(shard, name));
        let mut acknowledged = 0;
        for lost in lost.filter(|lost| !lost.seen) {
            storage.rename(&lost.name(shard), &LostName { seen: true, ..lost }.name(shard))?;
            acknowledged += 1;
        }
        if acknowledged > 0 {
            storage.sync_dir()?;
        }
        Ok(acknowledged)
    }
}

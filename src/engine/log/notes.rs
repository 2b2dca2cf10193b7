//! Notes of the log's user: checkpoints in `state`, and acknowledged losses.

use std::time::SystemTime;

use crate::engine::Log;
use crate::engine::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::format::{self, State};
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
        self.shared().require_own_process()?;
        may_block()?;
        let mut file = self.inner.state();
        self.shared().check()?;
        file.require_generations()?;
        let of = (seq, self.durable_seq());
        let state = self.with_checkpoint(file.current(), of, payload.as_ref())?;
        self.shared().or_poison(file.write(state))?;
        self.show_checkpoint(file.current());
        Ok(())
    }

    /// The state with a checkpoint at `seq`, which is at most `max`; or an error if there can be
    /// none.
    pub(crate) fn with_checkpoint(
        &self,
        state: &State,
        (seq, max): (Seq, Seq),
        payload: &[u8],
    ) -> Result<State> {
        let limit = Checkpoint::PAYLOAD_BYTES_MAX as u64;
        if payload.len() as u64 > limit {
            return Err(Error::RecordTooLarge { bytes: payload.len() as u64, limit });
        }
        let mut state = state.clone();
        let min = Seq::new(state.checkpoint.as_ref().map_or(0, |last| last.seq));
        if seq < min || seq > max {
            return Err(Error::OutOfRange { op: "checkpoint", seq, min, max });
        }
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let time_nanos = since_epoch.map_or(0, |t| u64::try_from(t.as_nanos()).unwrap_or(0));
        state.last_seq = state.last_seq.max(self.durable_seq().get());
        state.clean = false;
        state.checkpoint =
            Some(format::Checkpoint { seq: seq.get(), time_nanos, payload: payload.to_vec() });
        Ok(state)
    }

    /// The checkpoint in this state is the last one.
    pub(crate) fn show_checkpoint(&self, state: &State) {
        *self.last() = Checkpoint::of(state);
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

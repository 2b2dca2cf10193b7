//! Numbers that jump: a log that goes on behind a snapshot that came from elsewhere.
//!
//! One write of `state` decides: it names the first record to come, and the checkpoint before it.
//! The rest is cleaning up, as in a truncation of all records; after a crash recovery finishes it,
//! and the log begins with that number.

use crate::engine::Log;
use crate::engine::commit::ring_thread::control::Control;
use crate::error::{Error, Result};
use crate::seq::Seq;
use crate::sync::channel::bounded;
use crate::wakers::may_block;

impl Log {
    /// Removes every record, and goes on at `seq`, durably: the next append gets that number.
    /// `payload` becomes the checkpoint that covers all records before it. For a replica that has
    /// installed a snapshot of another one, whose records it does not have. Appends wait meanwhile.
    ///
    /// After a crash the log is as before, or as after; never without the checkpoint. Who waits for
    /// a record before `seq` to become durable is told so.
    ///
    /// ```
    /// use ringwal::{Log, Seq};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let log = Log::open(dir.path().join("log"))?;
    /// log.append("far behind the leader")?;
    /// log.restart_at(Seq::new(5001), "snapshot-5000")?;
    /// assert_eq!(log.append("entry 5001")?, Seq::new(5001));
    /// log.close()?;
    ///
    /// let log = Log::open(dir.path().join("log"))?;
    /// assert_eq!((log.first_seq(), log.durable_seq()), (Seq::new(5001), Seq::new(5001)));
    /// assert_eq!(log.last_checkpoint().map(|last| last.seq), Some(Seq::new(5000)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] if `seq` is not beyond the last record: remove records after one with
    /// [`truncate_after`](Self::truncate_after) first. [`Error::RecordTooLarge`] if the payload is,
    /// [`Error::StatesUsedUp`]; these change nothing. Else as [`append`](Self::append).
    pub fn restart_at(&self, seq: Seq, payload: impl AsRef<[u8]>) -> Result<()> {
        self.shared().require_own_process()?;
        may_block()?;
        let mut file = self.inner.state();
        file.require_generations()?;
        let frozen = self.inner.quiesce()?;
        let (min, max) = (self.appended_seq().next(), SEQ_MAX);
        if seq < min || seq > max {
            return Err(Error::OutOfRange { op: "restart_at", seq, min, max });
        }
        let last = seq.prev();
        let state = self.with_checkpoint(file.current(), (last, last), payload.as_ref())?;
        let all = self.shared().segments().clone();
        self.free(&mut file, state, (&all, seq))?;
        let count = file.current().cuts.count();
        let (reply, answer) = bounded(1);
        self.shared().control(Control::Reset(last.get(), count, reply));
        self.inner.run_until(|| !answer.is_empty());
        let _ = answer.recv();
        drop(frozen);
        Ok(())
    }
}

/// The last number of all is never given.
const SEQ_MAX: Seq = Seq::new(u64::MAX - 1);

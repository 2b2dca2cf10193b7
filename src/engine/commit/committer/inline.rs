//! The other driver: an appender that completes its own batch.
//!
//! Waking the ring thread and being woken by it are two hand-overs between threads, and on an
//! idle machine each costs as much as a good part of a flush. An appender that is going to wait
//! anyway, and whose record completes a small batch while nothing is in flight, writes and syncs
//! it itself, with two blocking calls.
//!
//! It goes through the same committer as the ring thread and holds its lock for as long as the
//! batch is in flight. So the order of batches, the watermarks, the first failure and the stats
//! are what they are otherwise, and the ring thread, if it wakes meanwhile, finds either no trace
//! of the batch or a completed one.
//!
//! What it leaves to the ring thread: the first batch of a segment, whose name has to become
//! durable beside it, everything that is due while something is in flight, large batches, crowds
//! ([`gather`](crate::engine::commit::policy)), and spares, for which it wakes it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::engine::commit::board::Board;
use crate::engine::commit::committer::Committer;
use crate::engine::commit::queue::{Next, QueuedBatch, Taker};
use crate::engine::commit::shared::Shared;
use crate::error::Error;
use crate::io::{CommitFile, Completion, Op, Strategy};
use crate::mutation::mutated;
use crate::sync::now;

/// What an appender's attempt to commit a batch came to.
enum Attempt {
    /// There is nothing left for it to do.
    Done,
    /// The oldest batch is held until then.
    NotBefore(Instant),
    /// The ring thread has to look.
    ForTheRing,
}

/// A batch that an appender has in flight.
struct InlineWrite {
    token: u64,
    op: Op,
    file: Arc<dyn CommitFile>,
}

impl Shared {
    /// Completes the batch that is due, if there is one, on the calling thread, or wakes the ring
    /// thread for it. Returns when the calling thread has to come back, if the oldest batch is not
    /// due yet.
    pub(crate) fn commit_inline(&self) -> Option<Instant> {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.try_commit_inline()));
        match outcome {
            Ok(Attempt::Done) => {}
            Ok(Attempt::NotBefore(time)) => {
                return Some(time).filter(|_| !mutated("handover_forget_the_time"));
            }
            Ok(Attempt::ForTheRing) => {
                self.queue().give_up_lead();
                self.wake_ring();
            }
            Err(_) => self.panicked("the thread of an append"),
        }
        None
    }

    fn try_commit_inline(&self) -> Attempt {
        let Some(mut committer) = self.try_committer() else { return Attempt::ForTheRing };
        let Some(file) = committer.idle_file() else { return Attempt::ForTheRing };
        let mut queue = self.queue();
        // Another batch than expected may be due by now; it must be of the same file.
        if queue.front_file().is_some_and(|front| front != file) {
            return Attempt::ForTheRing;
        }
        let taken = queue.take(now(), Taker::Leader);
        drop(queue);
        let batch = match taken {
            Next::Batch(batch) => batch,
            // Another thread took it.
            Next::Nothing => return Attempt::Done,
            Next::NotBefore(time) => return Attempt::NotBefore(time),
        };
        let Some(own) = committer.begin_inline(self, *batch) else { return Attempt::ForTheRing };
        let (completion, completed_at) = own.run();
        let completed = u64::from(completion.result.is_ok());
        committer.complete(self, completion, None);
        committer.act();
        let notifications = committer.advance_watermarks(self, completed_at);
        let next = committer.pass_lead(self);
        let queue = self.queue();
        // A batch that makes batches small again lets spares be prepared.
        let more = !committer.outbox.is_empty()
            || !queue.is_empty() && next.is_none()
            || committer.wants_spare(&queue)
            || std::mem::take(&mut committer.is_noted);
        drop(queue);
        drop(committer);
        self.metrics().inline_batches += completed;
        if more && !mutated("handover_leave_records_behind") {
            self.wake_ring();
        }
        self.notify(notifications, next);
        Attempt::Done
    }
}

impl Committer {
    /// The file that an appender may write to by itself now.
    pub(super) fn idle_file(&self) -> Option<u64> {
        let linked = self.selector.now() == Strategy::LinkedFsync;
        if self.failure.is_some() || self.stopping || !self.config.inline || linked {
            return None;
        }
        let file = self.pipeline.idle_file()?;
        self.files.get(&file)?.commits.as_ref()?;
        Some(file)
    }

    fn begin_inline(&mut self, board: &Board, batch: QueuedBatch) -> Option<InlineWrite> {
        let commits = self.files.get(&batch.file).and_then(|file| file.commits.clone());
        let (task, op) = self.begin(board, batch);
        let Some(file) = commits else {
            self.submit(task, op);
            return None;
        };
        let token = self.tasks.insert(task) as u64;
        Some(InlineWrite { token, op, file })
    }
}

impl InlineWrite {
    fn run(self) -> (Completion, Instant) {
        let InlineWrite { token, op, file } = self;
        let Op::Write { offset, buf, len, sync, .. } = op else {
            let source = std::io::Error::other("not a write; this is a defect");
            let result = Err(Error::io("write", "", source));
            return (Completion { token, result, buf: None }, now());
        };
        let result = file.commit(&buf[..len], offset, sync);
        (Completion { token, result, buf: Some(buf) }, now())
    }
}

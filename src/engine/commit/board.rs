//! What every thread of a log may lock: the queue, the segments, the metrics; and what it reads
//! without a lock.
//!
//! Lock order: the queue before the segments or the metrics, which are leaves. The queue is locked
//! for the length of one copy at most, and nothing across a wake. A thread that has one of these
//! locks cannot take the committer's, which comes first: a [`Board`] does not lead to it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::commit::latch::Latch;
use crate::engine::commit::notifications::Notifications;
use crate::engine::commit::queue::{Ended, WriteQueue};
use crate::engine::commit::ring_thread::control::Control;
use crate::engine::commit::watermarks::Watermarks;
use crate::engine::metrics::Metrics;
use crate::engine::read::cuts::Cuts;
use crate::engine::read::places::Places;
use crate::engine::recovery::SegmentInfo;
use crate::error::{Error, Result};
use crate::io::Wake;
use crate::mutation::mutated;
use crate::sync::channel::Sender;
use crate::sync::{Mutex, MutexGuard, thread};
use crate::sys;
use crate::wakers::{run_foreign, waker_of};

pub(crate) struct Board {
    pub(crate) dir: PathBuf,
    queue: Mutex<WriteQueue>,
    pub(crate) watermarks: Watermarks,
    /// What was cut off the end.
    pub(crate) cuts: Cuts,
    /// Where some batches lie.
    pub(crate) places: Places,
    segments: Mutex<Vec<SegmentInfo>>,
    metrics: Mutex<Metrics>,
    /// Retired files that may become spares.
    recycled: Mutex<Vec<String>>,
    controls: Sender<Control>,
    wake: Arc<dyn Wake>,
    /// How often this process was forked from another one when the log was opened.
    forks: u32,
}

impl Board {
    pub(crate) fn new(
        dir: PathBuf,
        queue: WriteQueue,
        segments: Vec<SegmentInfo>,
        places: Places,
        controls: Sender<Control>,
        wake: Arc<dyn Wake>,
    ) -> Board {
        let durable_seq = queue.appended_seq();
        Board {
            dir,
            queue: Mutex::new(queue),
            watermarks: Watermarks::new(durable_seq),
            cuts: Cuts::default(),
            places,
            segments: Mutex::new(segments),
            metrics: Mutex::default(),
            recycled: Mutex::default(),
            controls,
            wake,
            forks: sys::watch_forks(),
        }
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, WriteQueue> {
        self.queue.lock()
    }

    /// The live segments, oldest first; the active one has no last sequence number.
    pub(crate) fn segments(&self) -> MutexGuard<'_, Vec<SegmentInfo>> {
        self.segments.lock()
    }

    pub(crate) fn metrics(&self) -> MutexGuard<'_, Metrics> {
        self.metrics.lock()
    }

    pub(crate) fn recycled(&self) -> MutexGuard<'_, Vec<String>> {
        self.recycled.lock()
    }

    pub(crate) fn wake_ring(&self) {
        self.wake.wake();
    }

    /// Sends the ring thread a message. One that has ended answers by dropping it.
    pub(crate) fn control(&self, control: Control) {
        let _ = self.controls.send(control);
        self.wake.wake();
    }

    /// Waits until it may be the turn of the thread with this ticket in the line.
    pub(crate) fn wait_for_room<'a>(
        &'a self,
        mut queue: MutexGuard<'a, WriteQueue>,
        ticket: u64,
    ) -> MutexGuard<'a, WriteQueue> {
        let before = queue.line.wait(ticket, waker_of(thread::current()));
        drop(queue);
        drop(before);
        thread::park();
        self.queue()
    }

    /// Releases the queue and wakes the first of those who wait for room in it.
    pub(crate) fn announce_room(&self, mut queue: MutexGuard<'_, WriteQueue>) {
        let first = queue.line.first();
        drop(queue);
        if let Some(waker) = first {
            run_foreign(|| waker.wake());
        }
    }

    /// Releases the queue and wakes everyone who waits for room: there will be none.
    pub(crate) fn announce_end(&self, mut queue: MutexGuard<'_, WriteQueue>) {
        let all = queue.line.all();
        drop(queue);
        for waker in all {
            run_foreign(|| waker.wake());
        }
    }

    /// Wakes all for whom the committer has notifications, and calls the appender that is to lead
    /// the next batch. No lock may be held.
    pub(crate) fn notify(&self, mut notifications: Notifications, next: Option<Arc<Latch>>) {
        let last = notifications.acknowledged.pop();
        for (latch, stage) in notifications.acknowledged {
            latch.reach(stage);
        }
        match (last, next) {
            (Some((latch, stage)), Some(next)) => latch.reach_and_call(stage, &next),
            (Some((latch, stage)), None) => latch.reach(stage),
            (None, Some(next)) => next.call_leader(),
            (None, None) => {}
        }
        if let Some(completed_at) = notifications.completed_at {
            self.watermarks.wake_reached();
            self.metrics().wake_micros.record_micros(completed_at.elapsed());
        }
        if notifications.room {
            self.announce_room(self.queue());
        }
        if let Some((cause, latches)) = notifications.failure {
            self.poison(&cause);
            for latch in latches {
                latch.fail(&cause);
            }
        }
    }

    /// Ends the log at its first failure: whoever waits or comes later gets `cause`.
    pub(crate) fn poison(&self, cause: &Arc<Error>) {
        let mut queue = self.queue();
        let latches = queue.end(Ended::Poisoned(Arc::clone(cause)));
        self.announce_end(queue);
        for latch in latches {
            latch.fail(cause);
        }
        self.watermarks.fail(cause);
    }

    /// Whether this process was forked from the one that opened the log. Then there is no ring
    /// thread here, any lock may be held for ever by a thread that does not exist here, and what
    /// would be written goes to files of the parent: nothing may be touched but what is only read.
    pub(crate) fn is_forked(&self) -> bool {
        sys::forks() != self.forks && !mutated("write_after_fork")
    }

    /// An error in a child of the process that opened the log.
    #[inline]
    pub(crate) fn require_own_process(&self) -> Result<()> {
        if self.is_forked() {
            return Err(Error::Forked { path: self.dir.clone() });
        }
        Ok(())
    }

    /// An error if the log is poisoned or closed, or belongs to another process.
    pub(crate) fn check(&self) -> Result<()> {
        self.require_own_process()?;
        match self.queue().ended() {
            Some(ended) => Err(ended.into()),
            None => Ok(()),
        }
    }

    /// Does `work` on the disk; a failure of it ends the log, as every failed write does. That
    /// holds for a lack of room as well: once `state` names a truncation, appends must not go on
    /// before it is finished, and only recovery can finish what failed.
    pub(crate) fn or_poison<T>(&self, work: Result<T>) -> Result<T> {
        work.map_err(|error| {
            let cause = Arc::new(error);
            self.poison(&cause);
            Error::Poisoned(cause)
        })
    }
}

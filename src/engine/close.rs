//! Closing a log; and quiescing it, for truncation and rotation.

use std::sync::Arc;

use crate::engine::commit::queue::Ended;
use crate::engine::commit::ring_thread::control::Control;
use crate::engine::commit::shared::Shared;
use crate::engine::log::OpenLog;
use crate::error::{Error, Result};
use crate::sync::channel::bounded;
use crate::sync::thread::{self, JoinHandle};
use crate::wakers::may_block;

impl OpenLog {
    /// Makes all records durable in sealed segments. The log takes no new ones until the guard is
    /// dropped.
    pub(crate) fn quiesce(&self) -> Result<Frozen<'_>> {
        self.shared.check()?;
        self.shared.queue().freeze();
        let frozen = Frozen { shared: &self.shared };
        let (reply, answer) = bounded(1);
        self.shared.control(Control::Quiesce(reply));
        self.run_until(|| !answer.is_empty());
        match answer.recv() {
            Ok(result) => result.map(|()| frozen),
            // The ring thread is gone, so the log is closed or poisoned.
            Err(_) => Err(self.shared.check().err().unwrap_or(Error::Closed)),
        }
    }

    pub(crate) fn close(&self) -> Result<()> {
        self.shared.require_own_process()?;
        let mut state = self.state();
        let mut running = self.running.lock();
        let Some(lock) = running.lock.take() else { return Ok(()) };
        let current = thread::current().id();
        let is_ring_thread = |thread: &JoinHandle<()>| thread.thread().id() == current;
        if running.thread.as_ref().is_some_and(|it| is_ring_thread(it) || may_block().is_err()) {
            // A waker dropped the last handle, on this ring thread or on one of another log: two
            // logs that wait for each other here would deadlock.
            self.shared.queue().freeze();
            self.shared.control(Control::Abandon(lock));
            return Ok(());
        }
        let quiesced = self.quiesce().map(keep_frozen);
        let appended = {
            let mut queue = self.shared.queue();
            let appended = queue.appended_seq();
            queue.end(Ended::Closed);
            self.shared.announce_end(queue);
            appended
        };
        self.shared.watermarks.fail(&Arc::new(Error::Closed));
        self.shared.control(Control::Stop);
        self.run_until(|| false);
        let joined = running.thread.take().map_or(Ok(()), JoinHandle::join);
        let recycled = std::mem::take(&mut *self.shared.recycled());
        let marked = quiesced.and_then(|()| {
            for name in recycled {
                self.storage.remove(&name)?;
            }
            let mut closed = state.current().clone();
            closed.last_seq = appended;
            closed.clean = true;
            state.write(closed)
        });
        drop(lock);
        if joined.is_err() {
            let source = std::io::Error::other("the ring thread panicked; this is a defect");
            return Err(Error::io("join the ring thread", &self.options.dir, source));
        }
        marked
    }
}

impl OpenLog {
    /// Forgets what belongs to the parent process: the ring thread, the lock, and all state that
    /// the parent's threads may have had locked at the fork.
    fn leave_to_the_parent(&mut self) {
        std::mem::forget(Arc::clone(&self.shared));
        let running = self.running.get_mut();
        std::mem::forget((running.thread.take(), running.lock.take()));
    }
}

/// Leaves a quiesced log frozen until it ends.
fn keep_frozen(frozen: Frozen<'_>) {
    std::mem::forget(frozen);
}

impl Drop for OpenLog {
    fn drop(&mut self) {
        if self.shared.is_forked() {
            return self.leave_to_the_parent();
        }
        // To see the error, a user calls `close`.
        let _ = self.close();
    }
}

/// A quiesced log: it takes no records until this guard is dropped.
pub(crate) struct Frozen<'a> {
    shared: &'a Shared,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.thaw();
        self.shared.announce_room(queue);
    }
}

//! Closing a log, and letting it stand still for a moment.

use std::sync::Arc;

use crate::engine::commit::queue::Ended;
use crate::engine::commit::ring_thread::control::Control;
use crate::engine::commit::shared::Shared;
use crate::engine::log::Inner;
use crate::error::{Error, Result};
use crate::sync::channel::bounded;
use crate::sync::thread::{self, JoinHandle};
use crate::wakers::may_block;

impl Inner {
    /// Takes no records until the guard is dropped, and makes everything so far durable in sealed
    /// segments.
    pub(crate) fn quiesce(&self) -> Result<Frozen<'_>> {
        self.shared.check()?;
        self.shared.queue().freeze();
        let frozen = Frozen { shared: &self.shared };
        let (reply, answer) = bounded(1);
        self.shared.control(Control::Quiesce(reply));
        self.run_until(|| !answer.is_empty());
        match answer.recv() {
            Ok(result) => result.map(|()| frozen),
            // The driver is gone: only a closed or a poisoned log has none.
            Err(_) => Err(self.shared.check().err().unwrap_or(Error::Closed)),
        }
    }

    pub(crate) fn close(&self) -> Result<()> {
        self.shared.require_own_process()?;
        let mut state = self.state();
        let mut life = self.life.lock();
        let Some(lock) = life.lock.take() else { return Ok(()) };
        let current = thread::current().id();
        let is_ring_thread = |thread: &JoinHandle<()>| thread.thread().id() == current;
        if life.thread.as_ref().is_some_and(|it| is_ring_thread(it) || may_block().is_err()) {
            // A waker dropped the last handle, on this ring thread or on one of another log: to
            // wait here could be to wait for each other.
            self.shared.queue().freeze();
            self.shared.control(Control::Abandon(lock));
            return Ok(());
        }
        let quiesced = self.quiesce().map(drop_nothing);
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
        let joined = life.thread.take().map_or(Ok(()), JoinHandle::join);
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

impl Inner {
    /// Forgets what a child must not end: the ring thread, which runs in the parent alone, the
    /// lock, which is the parent's, and whatever may be locked by a thread that is not here.
    fn leave_to_the_parent(&mut self) {
        std::mem::forget(Arc::clone(&self.shared));
        let life = self.life.get_mut();
        std::mem::forget((life.thread.take(), life.lock.take()));
    }
}

/// Leaves a quiesced log frozen: it is about to end.
fn drop_nothing(frozen: Frozen<'_>) {
    std::mem::forget(frozen);
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.shared.is_forked() {
            return self.leave_to_the_parent();
        }
        // Whoever wants to know how it went calls `close`.
        let _ = self.close();
    }
}

/// A log that takes no records for a moment.
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

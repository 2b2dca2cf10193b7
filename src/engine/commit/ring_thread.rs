//! The driver: the ring thread's loop around the committer.
//!
//! ```text
//!   controls -> [serve] -> committer.dispatch -> io.submit -> io.wait
//!                                                                    |
//!          tell <- committer.advance_watermarks <- committer.complete <----------+
//! ```
//!
//! Threading: one thread owns the driver and with it the io. It holds the committer's lock
//! except while it waits for the io and while it wakes others.

pub(crate) mod control;
pub(crate) mod note;
mod quiesce;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::commit::committer::Committer;
use crate::engine::commit::ring_thread::control::Control;
use crate::engine::commit::ring_thread::note::Notes;
use crate::engine::commit::shared::Shared;
use crate::error::{Error, Result};
use crate::io::{Completion, IoQueue, LockGuard};
use crate::mutation::mutated;
use crate::sync::channel::{Receiver, Sender, bounded};
use crate::sync::now;

/// When to look again whether there is a pause, if one is over before it began.
const BUSY: Duration = Duration::from_millis(100);

pub(crate) struct RingThread<Q> {
    shared: Arc<Shared>,
    io: Q,
    controls: Receiver<Control>,
    notes: Notes,
    /// It runs on a thread of its own, which may block.
    has_thread: bool,
    quiescing: Vec<Sender<Result<()>>>,
    /// The io itself failed and cannot be waited for.
    queue_lost: bool,
    done: Vec<Completion>,
    /// Last, so that the lock is released after the io is gone.
    abandoned: Option<Box<dyn LockGuard>>,
}

impl<Q: IoQueue> RingThread<Q> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        io: Q,
        controls: Receiver<Control>,
        notes: Notes,
        has_thread: bool,
    ) -> RingThread<Q> {
        RingThread {
            shared,
            io,
            controls,
            notes,
            has_thread,
            quiescing: Vec::new(),
            queue_lost: false,
            done: Vec::new(),
            abandoned: None,
        }
    }

    /// Runs until [`Control::Stop`]. A panic in here would be a defect; it ends the log like a
    /// failed write, so that nobody waits for ever.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let outcome = catch_unwind(AssertUnwindSafe(|| while self.run_once(None) {}));
        if outcome.is_err() {
            shared.panicked("the ring thread");
        }
    }

    /// One round: what was asked for is started, and what completed is reported. Waits for
    /// something to complete for at most `timeout`. Returns whether there will be another.
    pub(crate) fn run_once(&mut self, timeout: Option<Duration>) -> bool {
        let Some(pause) = self.start() else { return false };
        if self.queue_lost {
            return self.wait_for_control();
        }
        let timeout = match pause {
            Pause::ToNote => {
                self.notes.write(&self.shared);
                return true;
            }
            Pause::Until(at) => earlier(timeout, at.map(|at| at.saturating_duration_since(now()))),
        };
        let mut done = std::mem::take(&mut self.done);
        let waited = self.io.wait(timeout, &mut done);
        if done.is_empty() && waited.is_ok() {
            self.done = done;
            return true;
        }
        self.finish(done, waited);
        true
    }

    /// Starts what can be started. `None` if the thread has nothing left to do for ever.
    fn start(&mut self) -> Option<Pause> {
        let shared = Arc::clone(&self.shared);
        let mut committer = shared.committer();
        while let Ok(control) = self.controls.try_recv() {
            self.serve(&mut committer, control);
        }
        if self.has_thread {
            committer.forget_burst(&shared);
        }
        let not_before = committer.dispatch(&shared);
        // A log without a thread is run only when there is something to do.
        let prealloc_at = || self.has_thread.then(|| committer.next_prealloc_at(&shared)).flatten();
        let look_at = not_before.or_else(prealloc_at);
        let note_at = self.note_at(&mut committer);
        let pause = match note_at {
            Some(at) if at <= now() => Pause::ToNote,
            _ => Pause::Until(earlier(look_at, note_at)),
        };
        self.answer_quiesced(&mut committer);
        committer.hand_over(&mut self.io);
        let has_ended = committer.has_ended();
        if has_ended {
            committer.close_files();
        }
        let notifications = committer.take_notifications();
        drop(committer);
        shared.notify(notifications, None);
        (!has_ended).then_some(pause)
    }

    /// Reports what completed.
    fn finish(&mut self, mut done: Vec<Completion>, waited: Result<()>) {
        let shared = Arc::clone(&self.shared);
        let completed_at = now();
        let mut committer = shared.committer();
        for completion in done.drain(..) {
            committer.complete(&shared, completion, Some(&self.io));
        }
        self.done = done;
        // D1: before anyone is woken.
        let notifications = committer.advance_watermarks(&shared, completed_at);
        let next = waited.is_ok().then(|| committer.pass_lead(&shared)).flatten();
        if waited.is_ok() && next.is_none() && shared.queue().front_is_closed() {
            // The next batch can grow no more: the disk works while the others are woken.
            committer.dispatch(&shared);
            committer.hand_over(&mut self.io);
        }
        drop(committer);
        let started = waited.and_then(|()| self.io.start());
        shared.notify(notifications, next);
        if let Err(error) = started {
            self.lose_queue(error);
        }
    }

    /// When the durable watermark is to be noted, unless something is going on.
    fn note_at(&mut self, committer: &mut Committer) -> Option<Instant> {
        if !self.has_thread || committer.is_stopping() || self.queue_lost {
            return None;
        }
        let now = now();
        let at = self.notes.due_at(committer.durable_seq(), now);
        committer.is_noted = at.is_none() && (self.notes.is_on() || mutated("wake_for_no_note"));
        at.map(|at| if committer.is_busy() { at.max(now + BUSY) } else { at })
    }

    /// The queue is gone: what was in flight will not complete.
    fn lose_queue(&mut self, error: Error) {
        self.queue_lost = true;
        let mut committer = self.shared.committer();
        committer.give_up(error);
        let notifications = committer.take_notifications();
        drop(committer);
        self.shared.notify(notifications, None);
    }

    /// Whether the next round would do nothing but wait for a message.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn waits_for_control(&self) -> bool {
        let ends = self.shared.committer().has_ended();
        self.queue_lost && self.controls.is_empty() && self.quiescing.is_empty() && !ends
    }

    /// Without a io there is nothing to wait for but messages.
    fn wait_for_control(&mut self) -> bool {
        if !self.has_thread {
            return true;
        }
        match self.controls.recv() {
            Ok(control) => {
                let shared = Arc::clone(&self.shared);
                self.serve(&mut shared.committer(), control);
                true
            }
            Err(_) => false,
        }
    }

    fn serve(&mut self, committer: &mut Committer, control: Control) {
        match control {
            Control::WantDurable(seq) => {
                self.shared.queue().hurry(seq);
                committer.want_durable(seq);
            }
            Control::Quiesce(reply) => {
                committer.want_durable(self.shared.queue().appended_seq());
                self.quiescing.push(reply);
            }
            Control::Reset(seq, cuts, reply) => {
                committer.reset(&self.shared, seq, cuts);
                let _ = reply.send(());
            }
            Control::Stop => committer.stop(&self.shared),
            Control::Abandon(lock) => {
                let (reply, _nobody) = bounded(1);
                self.serve(committer, Control::Quiesce(reply));
                self.abandoned = Some(lock);
            }
        }
    }
}

/// What the thread does when everything is started.
enum Pause {
    /// It notes the durable watermark.
    ToNote,
    /// It waits for something to complete, or for this time.
    Until(Option<Instant>),
}

fn earlier<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

//! Appends under a lock of the caller's, which is held for an attempt and never for a wait.
//!
//! The crate's other logs have an order of their own: that of the writers of a key, and that of
//! equal events. Its lock is held while the record gets its number. Were it held while its thread
//! waits for room, a task that wants it would block its thread, on which another task may be the
//! one whose turn it is; and the thread that gives room could not take it to tell of the last
//! records. So an attempt does not wait. If it is not taken, the caller gives its locks back, waits
//! for its turn in the line, and tries again from the beginning.

use std::task::Waker;

use crate::engine::Log;
use crate::engine::append::{At, Attempt, Owed, Turn};
use crate::engine::commit::latch::{Latch, Stage};
use crate::engine::commit::policy::Role;
use crate::engine::commit::queue::WriteQueue;
use crate::engine::commit::ring_thread::control::Control;
use crate::engine::records::{Payload, Records};
use crate::engine::ticket::Commit;
use crate::error::Result;
use crate::sync::MutexGuard;
use crate::wakers::{Key, may_block};

pub(crate) use crate::engine::commit::queue::Purpose;

/// The attempts of one append, with its place in the line once it has one. Dropped, it leaves that.
pub(crate) struct InTurn<'a> {
    at: At<'a>,
    turn: Turn<'a>,
}

/// What an attempt comes to.
pub(crate) enum Attempted<'a> {
    /// The records have their numbers.
    Taken(Admitted<'a>),
    NotYet(Queued<'a>),
}

/// Records that have their numbers. What their thread owes to their batch is done by
/// [`InTurn::wait`] or [`InTurn::submit`]; by the ring thread if this is dropped.
pub(crate) struct Admitted<'a> {
    commit: Commit,
    role: Role,
    owed: Owed<'a>,
}

/// A place in the line, and the lock of the queue: to be let go of at once.
pub(crate) struct Queued<'a> {
    queue: MutexGuard<'a, WriteQueue>,
    ticket: u64,
}

impl<'a> At<'a> {
    pub(crate) fn in_turn(&self) -> InTurn<'a> {
        InTurn { at: *self, turn: Turn::new(self.log().shared()) }
    }
}

impl Log {
    /// Records for [`InTurn::attempt`], once the log's limits allow them.
    pub(crate) fn payload<'r>(
        &self,
        records: &'r impl Records,
        purpose: Purpose,
    ) -> Result<Payload<'r>> {
        Ok(records.payload(self.options())?.purpose(purpose))
    }
}

impl<'a> InTurn<'a> {
    /// Tries once, without a wait. `waits` says that the thread will [`wait`](Self::wait).
    pub(crate) fn attempt(&mut self, payload: &Payload<'_>, waits: bool) -> Result<Attempted<'a>> {
        let shared = self.at.log().shared();
        shared.require_own_process()?;
        let at = self.at;
        let take = |queue: &mut WriteQueue, ticket| at.push(queue, payload, ticket, waits);
        match self.turn.attempt(shared.queue(), &take) {
            Attempt::Done(taken) => {
                let (commit, role) = taken?;
                Ok(Attempted::Taken(Admitted { commit, role, owed: Owed(shared) }))
            }
            Attempt::Wait(queue, ticket) => Ok(Attempted::NotYet(Queued { queue, ticket })),
        }
    }

    /// Blocks until another attempt is worth while. The caller's locks are to be free.
    pub(crate) fn block(&self, queued: Queued<'a>) -> Result<()> {
        let Queued { queue, ticket } = queued;
        if let Err(in_waker) = may_block() {
            drop(queue);
            return Err(in_waker);
        }
        drop(self.at.log().inner.wait_for_room(queue, ticket));
        Ok(())
    }

    /// Waits for records of this thread, and commits their batch if that is its part.
    pub(crate) fn wait(self, admitted: Admitted<'a>) -> Result<Commit> {
        let InTurn { at, turn } = self;
        drop(turn);
        let Admitted { commit, role, owed } = admitted;
        std::mem::forget(owed);
        at.wait(commit, role)
    }

    /// Leaves the records to the ring thread. The place in the line is left when this is dropped.
    pub(crate) fn submit(&self, admitted: Admitted<'a>) -> Commit {
        let Admitted { commit, role, owed } = admitted;
        std::mem::forget(owed);
        self.at.leave_to_the_ring(role);
        commit
    }
}

impl Admitted<'_> {
    pub(crate) fn commit(&self) -> &Commit {
        &self.commit
    }
}

impl Queued<'_> {
    /// Has `waker` called when another attempt is worth while. The waker that it replaces is
    /// returned, to be dropped without a lock.
    pub(crate) fn wake_by(mut self, waker: Waker) -> Option<Waker> {
        self.queue.line.wait(self.ticket, waker)
    }
}

/// A task's part in the latch of a watermark.
struct LatchKey<'a> {
    latch: &'a Latch,
    key: Option<Key>,
}

impl Drop for LatchKey<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.latch.leave(Stage::Synced, key);
        }
    }
}

impl Log {
    /// [`flush`](Self::flush) for a task, in a log whose end is never cut off.
    pub(crate) async fn flush_in_turn(&self) -> Result<()> {
        let shared = self.shared();
        shared.require_own_process()?;
        let seq = self.appended_seq();
        if self.durable_seq() >= seq {
            return Ok(());
        }
        let latch = shared.watermarks.latch_for(seq.get());
        // Check after the registration: a log that ends from here on fails this latch.
        shared.check()?;
        shared.control(Control::WantDurable(seq.get()));
        let mut waiting = LatchKey { latch: &latch, key: None };
        std::future::poll_fn(|context| {
            waiting.latch.poll(Stage::Synced, context.waker(), &mut waiting.key)
        })
        .await
    }
}

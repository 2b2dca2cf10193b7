//! A reserved event's future ticket: the duplicates of the event wait here until it is appended.

use crate::sync::plain::{Condvar, Mutex, MutexGuard};
use std::fmt;
use std::sync::Arc;
use std::task::{Poll, Waker};

use crate::wakers::{Key, Wakers, may_block};
use crate::{Commit, Result};

/// The ticket of an event that is reserved and not appended yet. Resolved once, with the ticket or
/// with the error of the append.
#[derive(Default)]
pub(crate) struct PendingCommit {
    state: Mutex<PendingState>,
    resolved: Condvar,
}

#[derive(Default)]
struct PendingState {
    outcome: Option<Result<Commit>>,
    wakers: Wakers,
}

impl PendingCommit {
    pub(crate) fn resolve(&self, outcome: Result<Commit>) {
        let wakers = {
            let mut state = self.state();
            state.outcome = Some(outcome);
            state.wakers.take()
        };
        // Wake without the lock: a waker may run the caller's code, which may come back here.
        self.resolved.notify_all();
        wakers.wake();
    }

    /// Blocks until the event was appended, or its append failed.
    pub(crate) fn wait(&self) -> Result<Commit> {
        let mut state = self.state();
        loop {
            match &state.outcome {
                Some(outcome) => return outcome.clone(),
                None => {
                    may_block()?;
                    state = self.resolved.wait(state);
                }
            }
        }
    }

    /// The outcome, if there is one.
    pub(crate) fn outcome(&self) -> Option<Result<Commit>> {
        self.state().outcome.clone()
    }

    fn poll(&self, waker: &Waker, key: &mut Option<Key>) -> Poll<Result<Commit>> {
        // Clone and drop wakers without the lock: both run the caller's code.
        let waker = waker.clone();
        let mut state = self.state();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        let before = state.wakers.enter(key, waker);
        drop(state);
        drop(before);
        Poll::Pending
    }

    fn state(&self) -> MutexGuard<'_, PendingState> {
        self.state.lock()
    }
}

impl fmt::Debug for PendingCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resolved = self.state().outcome.is_some();
        f.debug_struct("PendingCommit").field("resolved", &resolved).finish_non_exhaustive()
    }
}

/// A duplicate that waits for a [`PendingCommit`], with the key of its waker if it is polled.
#[derive(Debug)]
pub(crate) struct PendingWaiter {
    pending: Arc<PendingCommit>,
    key: Option<Key>,
}

impl PendingWaiter {
    pub(crate) fn new(pending: Arc<PendingCommit>) -> PendingWaiter {
        PendingWaiter { pending, key: None }
    }

    pub(crate) fn pending(&self) -> &PendingCommit {
        &self.pending
    }

    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<Result<Commit>> {
        self.pending.poll(waker, &mut self.key)
    }
}

impl Drop for PendingWaiter {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.pending.state().wakers.leave(key);
            drop(waker);
        }
    }
}

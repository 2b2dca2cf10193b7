//! A reserved event's future ticket: the duplicates of the event wait here until it is appended.

use crate::sync::plain::{Condvar, Mutex, MutexGuard};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use crate::wakers::{Key, Wakers, may_block, run_foreign};
use crate::{Commit, Error, Result};

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
    callbacks: Vec<Callback>,
}

type Callback = Box<dyn FnOnce(Result<Commit>) + Send>;

impl PendingCommit {
    pub(crate) fn resolve(&self, outcome: Result<Commit>) {
        let (wakers, callbacks) = {
            let mut state = self.state();
            state.outcome = Some(outcome.clone());
            (state.wakers.take(), std::mem::take(&mut state.callbacks))
        };
        // Wake without the lock: a waker may run the caller's code, which may come back here.
        self.resolved.notify_all();
        wakers.wake();
        for callback in callbacks {
            run_foreign(|| callback(outcome.clone()));
        }
    }

    /// Blocks until the event was appended, its append failed, or `deadline` passed (`None`).
    fn wait(&self, deadline: Option<Instant>) -> Result<Option<Commit>> {
        let mut state = self.state();
        loop {
            if let Some(outcome) = &state.outcome {
                return outcome.clone().map(Some);
            }
            may_block()?;
            state = match deadline.map(|at| at.checked_duration_since(Instant::now())) {
                None => self.resolved.wait(state),
                Some(Some(left)) if !left.is_zero() => self.resolved.wait_timeout(state, left),
                Some(_) => return Ok(None),
            };
        }
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
    /// The process that waits, and the log's directory. In a child nobody appends the event, and
    /// the lock may be held for ever.
    process: u32,
    home: PathBuf,
}

impl PendingWaiter {
    pub(crate) fn new(pending: Arc<PendingCommit>, home: &Path) -> PendingWaiter {
        PendingWaiter { pending, key: None, process: std::process::id(), home: home.to_path_buf() }
    }

    /// As [`PendingCommit::wait`].
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Result<Option<Commit>> {
        self.require_own_process()?;
        self.pending.wait(deadline)
    }

    /// The outcome, if there is one.
    pub(crate) fn outcome(&self) -> Option<Result<Commit>> {
        match self.require_own_process() {
            Ok(()) => self.pending.state().outcome.clone(),
            Err(forked) => Some(Err(forked)),
        }
    }

    /// Calls `callback` with the outcome, once: now, or on the thread that appends the event.
    pub(crate) fn on_resolved(&self, callback: impl FnOnce(Result<Commit>) + Send + 'static) {
        let outcome = match self.require_own_process() {
            Err(forked) => Err(forked),
            Ok(()) => {
                let mut state = self.pending.state();
                match &state.outcome {
                    Some(outcome) => outcome.clone(),
                    None => return state.callbacks.push(Box::new(callback)),
                }
            }
        };
        run_foreign(|| callback(outcome));
    }

    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<Result<Commit>> {
        match self.require_own_process() {
            Ok(()) => self.pending.poll(waker, &mut self.key),
            Err(forked) => Poll::Ready(Err(forked)),
        }
    }

    fn require_own_process(&self) -> Result<()> {
        match self.process == std::process::id() {
            true => Ok(()),
            false => Err(Error::Forked { path: self.home.clone() }),
        }
    }
}

impl Drop for PendingWaiter {
    fn drop(&mut self) {
        if let Some(key) = self.key.filter(|_| self.require_own_process().is_ok()) {
            let waker = self.pending.state().wakers.leave(key);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn is_forked<T>(result: Result<T>) -> bool {
        matches!(result, Err(Error::Forked { .. }))
    }

    #[test]
    fn in_a_child_a_duplicate_of_an_event_under_way_is_told_and_touches_no_lock() {
        let pending = Arc::new(PendingCommit::default());
        // Held by a thread of the parent.
        let _held = pending.state();
        let mut waiter = PendingWaiter::new(Arc::clone(&pending), Path::new("events"));
        waiter.process = 0;
        waiter.key = Key::new(1);
        let (sender, told) = std::sync::mpsc::channel();
        waiter.on_resolved(move |outcome| sender.send(is_forked(outcome)).unwrap());
        assert!(told.recv().unwrap());
        assert!(is_forked(waiter.wait(None)));
        assert!(waiter.outcome().is_some_and(is_forked));
        assert!(matches!(waiter.poll(Waker::noop()), Poll::Ready(Err(Error::Forked { .. }))));
        drop(waiter);
    }

    #[test]
    fn a_duplicate_learns_of_a_failure_by_every_way_of_waiting() {
        let pending = Arc::new(PendingCommit::default());
        let mut waiter = PendingWaiter::new(Arc::clone(&pending), Path::new("events"));
        let soon = Instant::now().checked_add(Duration::from_millis(1));
        assert!(matches!(waiter.wait(soon), Ok(None)));
        assert!(waiter.poll(Waker::noop()).is_pending() && waiter.outcome().is_none());
        let (sender, told) = std::sync::mpsc::channel();
        waiter.on_resolved(move |outcome| sender.send(outcome.is_err()).unwrap());
        pending.resolve(Err(Error::Closed));
        assert!(told.recv().unwrap());
        assert!(matches!(waiter.wait(None), Err(Error::Closed)));
        assert!(matches!(waiter.poll(Waker::noop()), Poll::Ready(Err(Error::Closed))));
    }
}

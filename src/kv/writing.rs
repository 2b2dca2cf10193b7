//! Who writes just now: what a snapshot waits for, so that it has everything up to a number.
//!
//! 1. Each write is noted here from before its record gets a number until readers see it, or until
//!    it failed. A thread holds the gate shared for that long. A task holds it for an attempt, and
//!    is counted from then on: it may be dropped, so whoever acknowledges its record counts it off.
//! 2. Nobody holds the gate while waiting for room, or while a task is not polled.
//! 3. Who holds the gate alone waits for the counted ones. They need no thread but the log's.
//! 4. No lock is held while a waker is called or dropped.

use crate::sync::plain::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::sync::Arc;
use std::task::{Poll, Waker};

use crate::Log;
use crate::wakers::{Key, Wakers};

#[derive(Debug, Default)]
pub(crate) struct Writing {
    gate: RwLock<()>,
    tasks: Mutex<Tasks>,
    none_in_flight: Condvar,
}

#[derive(Debug, Default)]
struct Tasks {
    /// Writes of tasks that have numbers and are not in the index.
    in_flight: usize,
    /// Tasks that want to write while somebody holds the gate alone.
    wakers: Wakers,
}

impl Writing {
    /// For a thread that is about to write.
    pub(crate) fn enter(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read()
    }

    /// For a task that is about to write.
    pub(crate) fn poll_enter(
        &self,
        waker: &Waker,
        key: &mut Option<Key>,
    ) -> Poll<RwLockReadGuard<'_, ()>> {
        if let Some(entered) = self.gate.try_read() {
            return Poll::Ready(entered);
        }
        let waker = waker.clone();
        let before = self.tasks().wakers.enter(key, waker);
        drop(before);
        // Whoever gives the gate back wakes all after that, so look again after the registration.
        self.gate.try_read().map_or(Poll::Pending, Poll::Ready)
    }

    /// A task that polled is gone.
    pub(crate) fn leave(&self, key: Key) {
        let waker = self.tasks().wakers.leave(key);
        drop(waker);
    }

    /// Counts a task's write, for a task that has entered.
    pub(crate) fn count(self: &Arc<Writing>) -> InFlight {
        self.tasks().in_flight += 1;
        InFlight { writing: Arc::clone(self) }
    }

    /// Waits until every write that has a number is in the index or has failed, and keeps others
    /// from getting one.
    pub(crate) fn stop(&self, log: &Log) -> Stopped<'_> {
        let gate = self.gate.write();
        #[cfg(any(test, feature = "sim"))]
        log.run_until(|| self.tasks().in_flight == 0);
        #[cfg(not(any(test, feature = "sim")))]
        let _ = log;
        let mut tasks = self.tasks();
        while tasks.in_flight > 0 {
            tasks = self.none_in_flight.wait(tasks);
        }
        drop(tasks);
        Stopped { writing: self, gate: Some(gate) }
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock()
    }
}

/// A task's write that has a number and is not in the index yet.
#[derive(Debug)]
pub(crate) struct InFlight {
    writing: Arc<Writing>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut tasks = self.writing.tasks();
        tasks.in_flight -= 1;
        let is_last = tasks.in_flight == 0;
        drop(tasks);
        if is_last {
            self.writing.none_in_flight.notify_all();
        }
    }
}

/// Nobody writes until this is dropped.
pub(crate) struct Stopped<'a> {
    writing: &'a Writing,
    gate: Option<RwLockWriteGuard<'a, ()>>,
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        drop(self.gate.take());
        let wakers = self.writing.tasks().wakers.take();
        wakers.wake();
    }
}

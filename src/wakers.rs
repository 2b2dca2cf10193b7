//! The wakers of tasks that wait for a log, and the rules under which they run.
//!
//! A waker is foreign code on a thread of the log. It runs on the thread that acknowledges a batch:
//! the ring thread, or an appender that committed its own batch. Invariants:
//!
//! 1. No lock of the log is held while a waker is cloned, woken or dropped.
//! 2. A panic of a waker has no effect on the log.
//! 3. While a waker runs, calls that would block its thread are refused ([`may_block`]): they could
//!    wait for something that only this thread can do.
//! 4. Each future holds the key of its waker. So a future that is dropped removes its own waker and
//!    no other.

use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::error::{Error, Result};
use crate::sync::thread::Thread;

/// Identifies the waker of a future: the number of its slot, counted from 1.
pub(crate) type Key = NonZeroU32;

/// The wakers of all tasks that wait for one event. Each has a slot of its own, so entering and
/// leaving take the same time however many there are.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    slots: Vec<Option<Waker>>,
}

impl Wakers {
    /// Enters the waker of the future that holds `key`. The waker that it replaces is returned, to
    /// be dropped without a lock.
    pub(crate) fn enter(&mut self, key: &mut Option<Key>, waker: Waker) -> Option<Waker> {
        if let Some(slot) = key.and_then(|key| self.slots.get_mut(slot_of(key))) {
            return slot.replace(waker);
        }
        self.slots.push(Some(waker));
        *key = u32::try_from(self.slots.len()).ok().and_then(Key::new);
        None
    }

    /// Removes the waker of a future unless it was woken already; to be dropped without a lock.
    pub(crate) fn leave(&mut self, key: Key) -> Option<Waker> {
        let waker = self.slots.get_mut(slot_of(key))?.take();
        // Only slots at the end can go: the others keep their numbers.
        while self.slots.pop_if(|slot| slot.is_none()).is_some() {}
        waker
    }

    /// Takes all wakers out, to be woken without a lock. Their keys mean nothing any more; a future
    /// that still holds one finds that its event has happened.
    pub(crate) fn take(&mut self) -> Wakers {
        std::mem::take(self)
    }

    /// Wakes all tasks, in the order in which they came. No lock may be held.
    pub(crate) fn wake(self) {
        for waker in self.slots.into_iter().flatten() {
            run_foreign(|| waker.wake());
        }
    }
}

fn slot_of(key: Key) -> usize {
    key.get() as usize - 1
}

/// Runs a user's code on a thread of the log. No lock may be held.
pub(crate) fn run_foreign(code: impl FnOnce()) {
    let _runs = WakerMark::set();
    let _panicked = catch_unwind(AssertUnwindSafe(code));
}

/// A waker of a thread that parks.
pub(crate) fn waker_of(thread: Thread) -> Waker {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    Waker::from(Arc::new(Unpark(thread)))
}

/// Fails if a waker runs on this thread. Every blocking call checks it first.
pub(crate) fn may_block() -> Result<()> {
    match mark::is_set() {
        true => Err(Error::InWaker),
        false => Ok(()),
    }
}

/// Marks this thread as running a waker, until it is dropped.
struct WakerMark {
    before: bool,
}

impl WakerMark {
    fn set() -> WakerMark {
        WakerMark { before: mark::set(true) }
    }
}

impl Drop for WakerMark {
    fn drop(&mut self) {
        mark::set(self.before);
    }
}

#[cfg(not(any(ringwal_loom, ringwal_shuttle)))]
mod mark {
    use std::cell::Cell;

    thread_local! {
        static WAKES: Cell<bool> = const { Cell::new(false) };
    }

    /// Returns the mark before. A thread that is ending has lost its mark; it counts as unmarked.
    pub(super) fn set(to: bool) -> bool {
        WAKES.try_with(|wakes| wakes.replace(to)).unwrap_or(false)
    }

    pub(super) fn is_set() -> bool {
        WAKES.try_with(Cell::get).unwrap_or(false)
    }
}

/// All threads of a model run on one thread of the system, so they would share the mark.
#[cfg(any(ringwal_loom, ringwal_shuttle))]
mod mark {
    pub(super) fn set(_to: bool) -> bool {
        false
    }

    pub(super) fn is_set() -> bool {
        false
    }
}

/// Runs a future on this thread.
#[cfg(test)]
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = waker_of(crate::sync::thread::current());
    let mut future = std::pin::pin!(future);
    loop {
        let context = &mut std::task::Context::from_waker(&waker);
        if let std::task::Poll::Ready(done) = future.as_mut().poll(context) {
            return done;
        }
        crate::sync::thread::park();
    }
}

/// Polls a future once. What wakes it is not told.
#[cfg(test)]
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(Waker::noop()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_has_one_waker_and_takes_away_its_own_alone() {
        let mut wakers = Wakers::default();
        let (mut one, mut other) = (None, None);
        assert!(wakers.enter(&mut one, Waker::noop().clone()).is_none());
        assert!(wakers.enter(&mut other, Waker::noop().clone()).is_none());
        assert!(wakers.enter(&mut one, Waker::noop().clone()).is_some());
        assert_eq!(wakers.slots.len(), 2);
        assert!(wakers.leave(one.unwrap()).is_some() && wakers.leave(one.unwrap()).is_none());
        assert!(wakers.slots[0].is_none() && wakers.slots[1].is_some());
        assert!(wakers.leave(other.unwrap()).is_some() && wakers.slots.is_empty());
    }
}

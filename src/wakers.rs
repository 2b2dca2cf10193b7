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
use std::task::Waker;

use crate::error::{Error, Result};

/// Identifies the waker of a future.
pub(crate) type Key = NonZeroU32;

/// The wakers of all tasks that wait for one event.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    last_key: u32,
    waiting: Vec<(Key, Waker)>,
}

impl Wakers {
    /// Enters the waker of the future that holds `key`. The waker that it replaces is returned, to
    /// be dropped without a lock.
    pub(crate) fn enter(&mut self, key: &mut Option<Key>, waker: Waker) -> Option<Waker> {
        let known = key.and_then(|key| self.waiting.iter_mut().find(|(other, _)| *other == key));
        if let Some((_, known)) = known {
            return Some(std::mem::replace(known, waker));
        }
        self.last_key = self.last_key.checked_add(1).unwrap_or(1);
        let entered = Key::new(self.last_key).unwrap_or(Key::MIN);
        self.waiting.push((entered, waker));
        *key = Some(entered);
        None
    }

    /// Removes the waker of a future unless it was woken already; to be dropped without a lock.
    pub(crate) fn leave(&mut self, key: Key) -> Option<Waker> {
        let at = self.waiting.iter().position(|(other, _)| *other == key)?;
        Some(self.waiting.swap_remove(at).1)
    }

    /// Takes all wakers out, to be woken without a lock.
    pub(crate) fn take(&mut self) -> Wakers {
        Wakers { last_key: self.last_key, waiting: std::mem::take(&mut self.waiting) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Wakes all tasks. No lock may be held.
    pub(crate) fn wake(self) {
        for (_, waker) in self.waiting {
            let _wakes = WakerMark::set();
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_has_one_waker_and_removes_only_its_own() {
        let mut wakers = Wakers::default();
        let (mut one, mut other) = (None, None);
        assert!(wakers.enter(&mut one, Waker::noop().clone()).is_none());
        assert!(wakers.enter(&mut other, Waker::noop().clone()).is_none());
        assert!(wakers.enter(&mut one, Waker::noop().clone()).is_some());
        assert_eq!(wakers.waiting.len(), 2);
        assert!(wakers.leave(one.unwrap()).is_some() && wakers.leave(one.unwrap()).is_none());
        assert_eq!(wakers.waiting[0].0, other.unwrap());
        assert_eq!(wakers.take().waiting.len(), 1);
        assert!(wakers.is_empty());
    }
}

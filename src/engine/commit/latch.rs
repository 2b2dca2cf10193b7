//! A latch: one word that all appenders of a batch wait on.
//!
//! A latch opens in steps, from pending to written to synced, or fails for good. Opening it costs
//! one system call for any number of sleeping threads, none if nobody sleeps, plus one
//! [`Waker::wake`] per waiting task, outside of any lock.
//!
//! Invariants:
//! 1. The word only grows, and `FAILED` is its greatest value.
//! 2. A sleeper announces itself in `sleepers` before it looks at the word for the last time, and
//!    whoever opens looks at `sleepers` after it stored the word (both sequentially consistent),
//!    so no wake-up is lost.
//! 3. The failure is stored before the word says `FAILED`.
//! 4. Every sleeper that wakes up looks at `relay`, which was set before one of them was woken, and
//!    also if it has to sleep on, for a later step: so if there is a sleeper to be woken at all,
//!    one takes the relay, and wakes the others, or half of them with the relay set again. Only one
//!    that leaves wakes half, so that ends.
//!
//! Threading: any number of waiters, one thread opens.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::time::Instant;

use crate::error::{Error, Result};
use crate::mutation::mutated;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::sync::{Futex, Mutex, MutexGuard, now};
use crate::sys;
use crate::wakers::{Key, Wakers, may_block};

/// How far what a latch stands for has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Stage {
    /// The operating system has it.
    Written = 1,
    /// Stable storage has it.
    Synced = 2,
}

const PENDING: u32 = 0;
const FAILED: u32 = 3;

/// Who wakes the threads that sleep at a latch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waking {
    /// Whoever opens it, all of them.
    All,
    /// If there are few ([`SPLIT`]), whoever opens it wakes half, and one of those the rest: for a
    /// thread that comes back to append as they do.
    Split,
    /// If there are more than [`RELAY_OVER`], whoever opens it wakes one, who wakes the others:
    /// waking a thread takes longer than running it, and a thread that drives the log has better
    /// things to do.
    Relayed,
}

impl Waking {
    /// How many of so many sleepers the one who opens wakes.
    fn first_of(self, sleepers: u32) -> u32 {
        match self {
            Waking::Split if SPLIT.contains(&sleepers) => sleepers / 2,
            Waking::Relayed if sleepers > RELAY_OVER => 1,
            _ => sleepers,
        }
    }
}

/// See [`Waking::Relayed`]. A checker of schedules has two threads to spare.
const RELAY_OVER: u32 = if CHECKED { 1 } else { 16 };

/// See [`Waking::Split`]. Of more than these, those who come back first would make small batches.
const SPLIT: RangeInclusive<u32> = if CHECKED { 2..=31 } else { 6..=31 };

/// Among so many sleepers, whoever takes the relay wakes only half and hands it on, so that two
/// processors wake them. Among more, those who come back first would make small batches.
const HALVED: RangeInclusive<u32> = if CHECKED { 2..=64 } else { 13..=64 };

const CHECKED: bool = cfg!(any(ringwal_loom, ringwal_shuttle));

#[derive(Debug, Default)]
pub(crate) struct Latch {
    word: Futex,
    sleepers: AtomicU32,
    /// The next sleeper that wakes up wakes all others.
    relay: AtomicBool,
    wakers: Mutex<Wakers>,
    failure: OnceLock<Arc<Error>>,
    /// The log's directory, and how often the process had been forked when the latch was made: in a
    /// child nobody will open it, and any of its locks may be held for ever.
    home: Option<Arc<Path>>,
    forks: u32,
}

impl Latch {
    pub(crate) fn new() -> Arc<Latch> {
        Arc::new(Latch { forks: sys::forks(), ..Latch::default() })
    }

    /// A latch of the log in `home`.
    pub(crate) fn of(home: &Arc<Path>) -> Arc<Latch> {
        let home = Some(Arc::clone(home));
        Arc::new(Latch { forks: sys::forks(), home, ..Latch::default() })
    }

    /// Whether this is a child of the process that waits for the latch.
    fn is_forked(&self) -> bool {
        sys::forks() != self.forks && !mutated("wait_after_fork")
    }

    fn require_own_process(&self) -> Result<()> {
        if !self.is_forked() {
            return Ok(());
        }
        let home = self.home.as_deref().unwrap_or(Path::new("."));
        Err(Error::Forked { path: home.to_path_buf() })
    }

    /// Whether the latch has reached `level`; an error once it failed before that.
    pub(crate) fn check(&self, level: Stage) -> Result<bool> {
        match self.word.get() {
            FAILED => Err(self.failed()),
            word => Ok(word >= level as u32),
        }
    }

    /// Blocks until the latch has reached `level`, failed, or `deadline` passed (`Ok(false)`).
    pub(crate) fn wait(&self, level: Stage, deadline: Option<Instant>) -> Result<bool> {
        if self.check(level)? {
            return Ok(true);
        }
        self.require_own_process()?;
        may_block()?;
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let outcome = self.sleep(level, deadline);
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        outcome
    }

    fn sleep(&self, level: Stage, deadline: Option<Instant>) -> Result<bool> {
        loop {
            let seen = self.word.get();
            if seen == FAILED {
                return Err(self.failed());
            }
            if seen >= level as u32 {
                return Ok(true);
            }
            let timeout = match deadline.map(|at| at.checked_duration_since(now())) {
                None => None,
                Some(Some(left)) => Some(left),
                Some(None) => return Ok(false),
            };
            self.word.sleep(seen, timeout);
            let relayed = self.relay.load(Ordering::SeqCst) && !mutated("handover_drop_relay");
            if relayed && self.relay.swap(false, Ordering::SeqCst) {
                self.wake_others(level);
            }
        }
    }

    /// What a sleeper that waits for `level` does with the relay.
    fn wake_others(&self, level: Stage) {
        let sleepers = self.sleepers.load(Ordering::SeqCst);
        let leaves = self.word.get() >= level as u32;
        if !leaves || !HALVED.contains(&sleepers) {
            return self.word.wake_all();
        }
        if !mutated("handover_halve_without_relay") {
            self.relay.store(true, Ordering::SeqCst);
        }
        self.word.wake_some(sleepers / 2);
    }

    /// Like [`wait`](Self::wait) for a task: `waker` is called when there is notifications. The
    /// future holds `key`, and [`leave`](Self::leave)s by it.
    pub(crate) fn poll(
        &self,
        level: Stage,
        waker: &Waker,
        key: &mut Option<Key>,
    ) -> Poll<Result<()>> {
        match self.check(level) {
            Ok(true) => return Poll::Ready(Ok(())),
            Err(error) => return Poll::Ready(Err(error)),
            Ok(false) => {}
        }
        if let Err(forked) = self.require_own_process() {
            return Poll::Ready(Err(forked));
        }
        let waker = waker.clone();
        let before = self.wakers().enter(key, waker);
        drop(before);
        if mutated("handover_register_without_a_look") {
            return Poll::Pending;
        }
        // The latch may have opened between the first look and the registration.
        match self.check(level) {
            Ok(true) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
            Ok(false) => Poll::Pending,
        }
    }

    /// A future that polled is dropped.
    pub(crate) fn leave(&self, key: Key) {
        if self.is_forked() {
            return;
        }
        let waker = self.wakers().leave(key);
        drop(waker);
    }

    fn wakers(&self) -> MutexGuard<'_, Wakers> {
        self.wakers.lock()
    }

    /// Opens the latch up to `level` and wakes whoever waits.
    pub(crate) fn open(&self, level: Stage, waking: Waking) {
        self.advance(level as u32, waking);
    }

    /// Fails the latch for everyone who still waits.
    pub(crate) fn fail(&self, cause: &Arc<Error>) {
        if self.word.get() < Stage::Synced as u32 {
            if mutated("handover_fail_before_the_cause") {
                self.advance(FAILED, Waking::All);
            }
            let _ = self.failure.set(Arc::clone(cause));
            self.advance(FAILED, Waking::All);
        }
    }

    fn advance(&self, word: u32, waking: Waking) {
        let unseen =
            mutated("handover_look_before_opening") && self.sleepers.load(Ordering::SeqCst) == 0;
        if self.word.raise(word) >= word {
            return;
        }
        match self.sleepers.load(Ordering::SeqCst) {
            0 => {}
            _ if unseen => {}
            many => self.wake(waking.first_of(many), many),
        }
        let wakers = self.wakers().take();
        wakers.wake();
    }

    /// Wakes the first of so many sleepers, who see to the others.
    fn wake(&self, first: u32, sleepers: u32) {
        if first == sleepers {
            return self.word.wake_all();
        }
        self.relay.store(true, Ordering::SeqCst);
        self.word.wake_some(first);
    }

    fn failed(&self) -> Error {
        match self.failure.get() {
            Some(cause) if matches!(**cause, Error::Closed) => Error::Closed,
            Some(cause) => Error::Poisoned(Arc::clone(cause)),
            None => Error::Closed,
        }
    }
}

const _: () = assert!(PENDING < Stage::Written as u32 && (Stage::Synced as u32) < FAILED);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_sleeper_is_woken_at_its_level() {
        let latch = &Latch::new();
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..8)
                .map(|n| {
                    let level = if n % 2 == 0 { Stage::Written } else { Stage::Synced };
                    scope.spawn(move || latch.wait(level, None))
                })
                .collect();
            latch.open(Stage::Written, Waking::All);
            latch.open(Stage::Synced, Waking::All);
            for waiter in waiters {
                assert!(waiter.join().unwrap().unwrap());
            }
        });
    }

    #[test]
    fn a_relay_reaches_every_sleeper_at_each_level() {
        for (sleepers, waking) in [(3 * RELAY_OVER, Waking::Relayed), (15, Waking::Split)] {
            assert!(waking.first_of(sleepers) < sleepers);
            let latch = &Latch::new();
            std::thread::scope(|scope| {
                for n in 0..sleepers {
                    let level = if n % 2 == 0 { Stage::Written } else { Stage::Synced };
                    scope.spawn(move || assert!(latch.wait(level, None).unwrap()));
                }
                while latch.sleepers.load(Ordering::SeqCst) < sleepers {
                    std::thread::yield_now();
                }
                latch.open(Stage::Written, waking);
                latch.open(Stage::Synced, waking);
            });
            assert_eq!(latch.sleepers.load(Ordering::SeqCst), 0);
        }
    }

    #[test]
    fn only_a_sleeper_that_leaves_hands_the_relay_on() {
        let hands_on = |level, sleepers| {
            let latch = Latch::new();
            latch.open(Stage::Written, Waking::All);
            latch.sleepers.store(sleepers, Ordering::SeqCst);
            latch.wake_others(level);
            latch.relay.load(Ordering::SeqCst)
        };
        for sleepers in HALVED {
            assert!(hands_on(Stage::Written, sleepers), "{sleepers} sleepers");
            // Else those who wait for the later level would wake one another for ever.
            assert!(!hands_on(Stage::Synced, sleepers), "{sleepers} sleepers");
        }
        assert!(!hands_on(Stage::Written, HALVED.start() - 1), "few are woken at once");
        assert!(!hands_on(Stage::Written, HALVED.end() + 1), "so are many");
    }

    #[test]
    fn a_failure_reaches_waiters_but_not_what_was_synced_before() {
        let cause = Arc::new(Error::QueueFull);
        let latch = Latch::new();
        latch.open(Stage::Written, Waking::All);
        assert!(latch.wait(Stage::Written, None).unwrap());
        latch.fail(&cause);
        assert!(matches!(latch.wait(Stage::Synced, None), Err(Error::Poisoned(_))));

        let synced = Latch::new();
        synced.open(Stage::Synced, Waking::All);
        synced.fail(&cause);
        assert!(synced.wait(Stage::Synced, None).unwrap());
    }

    #[test]
    fn a_deadline_that_passed_is_no_failure() {
        let latch = Latch::new();
        let deadline = Instant::now() + Duration::from_millis(1);
        assert!(!latch.wait(Stage::Synced, Some(deadline)).unwrap());
    }
}

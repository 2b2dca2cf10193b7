//! A latch: one word that all appenders of a batch wait on, and by which one of them may be called
//! to lead.
//!
//! A latch is raised in stages, from pending to written to synced, or it fails for good. Waking all
//! threads that sleep on it takes one system call, none if nobody sleeps; each waiting task is
//! woken by its [`Waker`], and each callback is called, outside of any lock.
//!
//! ```text
//!   PENDING -> LED -> Written -> Synced          PENDING, LED, Written -> FAILED
//! ```
//!
//! Invariants:
//! - L1 The word only grows, and `FAILED` is its greatest value.
//! - L2 A sleeper announces itself in `sleepers` before it looks at the word for the last time, and
//!   a thread that raises the word looks at `sleepers` afterwards (both sequentially consistent),
//!   so no wake-up is lost.
//! - L3 The failure is stored before the word says `FAILED`.
//! - L4 A latch is led at most once. The call is stored before the word says `LED`, and an appender
//!   looks for it whenever it sees `LED`, also before it falls asleep. So one of the appenders
//!   takes it, as long as there is one.
//!
//! Threading: any number of waiters; the thread that drives the log raises the word.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::time::Instant;

use crate::error::{Error, Result};
use crate::mutation::mutated;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::sync::{Futex, Mutex, MutexGuard, now};
use crate::sys;
use crate::wakers::{Key, Wakers, may_block, run_foreign};

/// How far the batch of a latch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Stage {
    /// The operating system has it.
    Written = 2,
    /// Stable storage has it.
    Synced = 3,
}

const PENDING: u32 = 0;
/// One of the appenders is called to commit the batch.
const LED: u32 = 1;
const FAILED: u32 = 4;

/// To wake more sleepers than this takes as long as a flush, or longer. So the leader of the next
/// batch is called behind the first of them, one part in [`FIRST_PART`], and its flush runs while
/// the others are woken. At 256 threads 1.15 times the records per second (2026-11-28, two
/// processors); a half instead of a tenth gives 1.08 times, and shorter tails.
const MANY: u32 = if CHECKED { 1 } else { 64 };

/// See [`MANY`].
const FIRST_PART: u32 = if CHECKED { 2 } else { 10 };

/// A checker of schedules has two threads to spare.
const CHECKED: bool = cfg!(any(ringwal_loom, ringwal_shuttle));

/// What became of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The stage is reached.
    Reached,
    /// The deadline passed.
    TimedOut,
    /// This appender is to commit the batch.
    Lead,
}

/// What is called when a stage is reached, or the latch fails.
pub(crate) type Callback = Box<dyn FnOnce(Result<()>) + Send>;

/// The tasks and callbacks that wait for a stage.
#[derive(Default)]
struct Waiting {
    wakers: Wakers,
    callbacks: Vec<Callback>,
}

#[derive(Default)]
pub(crate) struct Latch {
    word: Futex,
    sleepers: AtomicU32,
    /// An appender is called to lead, and none has taken the call.
    call: AtomicBool,
    /// For the stage written, and for synced.
    waiting: Mutex<[Waiting; 2]>,
    failure: OnceLock<Arc<Error>>,
    /// The log's directory, and how often the process had been forked when the latch was made. In a
    /// child nobody will raise it, and any of its locks may be held for ever.
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

    /// Whether the latch has reached `stage`; an error once it failed before that.
    pub(crate) fn check(&self, stage: Stage) -> Result<bool> {
        match self.word.get() {
            FAILED => Err(self.failed()),
            word => Ok(word >= stage as u32),
        }
    }

    /// Blocks until the latch has reached `stage`, failed, or `deadline` passed (`Ok(false)`).
    pub(crate) fn wait(&self, stage: Stage, deadline: Option<Instant>) -> Result<bool> {
        Ok(self.wait_as(Waiter::Ticket, stage, deadline)? == Outcome::Reached)
    }

    /// [`wait`](Self::wait) for an appender, which may be called to lead.
    pub(crate) fn wait_or_lead(&self, stage: Stage, deadline: Option<Instant>) -> Result<Outcome> {
        self.wait_as(Waiter::Appender, stage, deadline)
    }

    fn wait_as(&self, who: Waiter, stage: Stage, deadline: Option<Instant>) -> Result<Outcome> {
        if self.check(stage)? {
            return Ok(Outcome::Reached);
        }
        self.require_own_process()?;
        may_block()?;
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let outcome = self.sleep(who, stage, deadline);
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        outcome
    }

    fn sleep(&self, who: Waiter, stage: Stage, deadline: Option<Instant>) -> Result<Outcome> {
        loop {
            let seen = self.word.get();
            if self.check(stage)? {
                return Ok(Outcome::Reached);
            }
            let is_called = seen == LED && self.is_called();
            if is_called && who == Waiter::Appender && self.take_call() {
                return Ok(Outcome::Lead);
            }
            if is_called && who == Waiter::Ticket {
                // The wake-up was meant for an appender.
                self.word.wake_all();
            }
            let timeout = match deadline.map(|at| at.checked_duration_since(now())) {
                None => None,
                Some(Some(left)) => Some(left),
                Some(None) => return Ok(Outcome::TimedOut),
            };
            self.word.sleep(seen, timeout);
        }
    }

    /// Whether an appender is called to lead, and none has taken the call.
    pub(crate) fn is_called(&self) -> bool {
        self.call.load(Ordering::SeqCst)
    }

    fn take_call(&self) -> bool {
        self.call.swap(false, Ordering::SeqCst) && !mutated("handover_drop_the_call")
    }

    /// Calls one of the appenders that wait to commit the batch. There must be one.
    pub(crate) fn call_leader(&self) {
        // L4: the call first.
        self.call.store(true, Ordering::SeqCst);
        self.word.raise(LED);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            self.word.wake_some(1);
        }
    }

    /// Like [`wait`](Self::wait) for a task, whose `waker` is called when the stage is reached. The
    /// future holds `key`, and [`leave`](Self::leave)s by it.
    pub(crate) fn poll(
        &self,
        stage: Stage,
        waker: &Waker,
        key: &mut Option<Key>,
    ) -> Poll<Result<()>> {
        match self.check(stage) {
            Ok(true) => return Poll::Ready(Ok(())),
            Err(error) => return Poll::Ready(Err(error)),
            Ok(false) => {}
        }
        if let Err(forked) = self.require_own_process() {
            return Poll::Ready(Err(forked));
        }
        let waker = waker.clone();
        let before = self.waiting()[index(stage)].wakers.enter(key, waker);
        drop(before);
        if mutated("handover_register_without_a_look") {
            return Poll::Pending;
        }
        // The latch may have been raised between the first look and the registration.
        match self.check(stage) {
            Ok(true) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
            Ok(false) => Poll::Pending,
        }
    }

    /// A future that polled is dropped.
    pub(crate) fn leave(&self, stage: Stage, key: Key) {
        if self.is_forked() {
            return;
        }
        let waker = self.waiting()[index(stage)].wakers.leave(key);
        drop(waker);
    }

    /// Calls `callback` once the stage is reached or the latch has failed: on the thread that
    /// raises it, or on this one if that has happened.
    pub(crate) fn on_reached(&self, stage: Stage, callback: Callback) {
        let outcome = {
            let mut waiting = self.waiting();
            // With the lock: a thread that raises the word takes the callbacks afterwards.
            match self.check(stage) {
                Ok(false) => {
                    waiting[index(stage)].callbacks.push(callback);
                    return;
                }
                Ok(true) => Ok(()),
                Err(error) => Err(error),
            }
        };
        run_foreign(|| callback(outcome));
    }

    fn waiting(&self) -> MutexGuard<'_, [Waiting; 2]> {
        self.waiting.lock()
    }

    /// Raises the latch to `stage` and wakes all who wait for it.
    pub(crate) fn reach(&self, stage: Stage) {
        self.raise(stage as u32, || ());
    }

    /// [`reach`](Self::reach) that calls the leader of the next batch on the way: behind all who
    /// are woken if they are few, behind the first part of many.
    pub(crate) fn reach_and_call(&self, stage: Stage, next: &Latch) {
        self.raise(stage as u32, || next.call_leader());
    }

    /// Fails the latch for everyone who still waits.
    pub(crate) fn fail(&self, cause: &Arc<Error>) {
        if self.word.get() < Stage::Synced as u32 {
            if mutated("handover_fail_before_the_cause") {
                self.raise(FAILED, || ());
            }
            let _ = self.failure.set(Arc::clone(cause));
            self.raise(FAILED, || ());
        }
    }

    fn raise(&self, word: u32, call_next: impl FnOnce()) {
        let unseen =
            mutated("handover_look_before_opening") && self.sleepers.load(Ordering::SeqCst) == 0;
        if self.word.raise(word) >= word {
            return call_next();
        }
        // L2: after the word.
        let sleepers = self.sleepers.load(Ordering::SeqCst);
        if sleepers > MANY {
            self.word.wake_some(sleepers / FIRST_PART);
            call_next();
            self.word.wake_all();
        } else {
            if sleepers > 0 && !unseen {
                self.word.wake_all();
            }
            call_next();
        }
        for stage in [Stage::Written, Stage::Synced] {
            if word >= stage as u32 {
                let Waiting { wakers, callbacks } =
                    std::mem::take(&mut self.waiting()[index(stage)]);
                wakers.wake();
                for callback in callbacks {
                    let outcome = self.check(stage).map(drop);
                    run_foreign(|| callback(outcome));
                }
            }
        }
    }

    fn failed(&self) -> Error {
        match self.failure.get() {
            Some(cause) if matches!(**cause, Error::Closed) => Error::Closed,
            Some(cause) => Error::Poisoned(Arc::clone(cause)),
            None => Error::Closed,
        }
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch").field("word", &self.word).finish_non_exhaustive()
    }
}

/// Who sleeps on a latch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiter {
    /// A thread in an append that blocks: it can commit its batch.
    Appender,
    /// A thread with a ticket.
    Ticket,
}

fn index(stage: Stage) -> usize {
    stage as usize - Stage::Written as usize
}

const _: () = assert!(PENDING < LED && LED < Stage::Written as u32);
const _: () = assert!((Stage::Synced as u32) < FAILED);

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
            latch.reach(Stage::Written);
            latch.reach(Stage::Synced);
            for waiter in waiters {
                assert!(waiter.join().unwrap().unwrap());
            }
        });
    }

    #[test]
    fn one_appender_leads_and_none_of_those_who_hold_a_ticket() {
        let latch = &Latch::new();
        let leaders = &AtomicU32::new(0);
        std::thread::scope(|scope| {
            for n in 0..8 {
                scope.spawn(move || {
                    if n % 2 == 0 {
                        return assert!(latch.wait(Stage::Synced, None).unwrap());
                    }
                    while latch.wait_or_lead(Stage::Synced, None).unwrap() == Outcome::Lead {
                        leaders.fetch_add(1, Ordering::SeqCst);
                        latch.reach(Stage::Synced);
                    }
                });
            }
            while latch.sleepers.load(Ordering::SeqCst) < 8 {
                std::thread::yield_now();
            }
            latch.call_leader();
        });
        assert_eq!(leaders.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_call_before_anybody_sleeps_is_taken() {
        let latch = Latch::new();
        latch.call_leader();
        assert_eq!(latch.wait_or_lead(Stage::Synced, None).unwrap(), Outcome::Lead);
        let past = Some(now());
        assert_eq!(latch.wait_or_lead(Stage::Synced, past).unwrap(), Outcome::TimedOut);
    }

    #[test]
    fn a_callback_is_called_once_at_its_stage_and_its_panic_ends_nothing() {
        let (latch, calls) = (Latch::new(), Arc::new(Mutex::new(Vec::new())));
        let note = |name| {
            let calls = Arc::clone(&calls);
            Box::new(move |outcome: Result<()>| calls.lock().push((name, outcome.is_ok())))
        };
        latch.on_reached(Stage::Written, Box::new(|_| panic!("as the test asks for")));
        latch.on_reached(Stage::Written, note("written"));
        latch.on_reached(Stage::Synced, note("synced"));
        latch.reach(Stage::Written);
        assert_eq!(*calls.lock(), [("written", true)]);
        latch.fail(&Arc::new(Error::QueueFull));
        latch.on_reached(Stage::Synced, note("late"));
        latch.on_reached(Stage::Written, note("later"));
        let after = [("written", true), ("synced", false), ("late", false), ("later", false)];
        assert_eq!(*calls.lock(), after);
    }

    #[test]
    fn a_failure_reaches_waiters_but_not_what_was_synced_before() {
        let cause = Arc::new(Error::QueueFull);
        let latch = Latch::new();
        latch.reach(Stage::Written);
        assert!(latch.wait(Stage::Written, None).unwrap());
        latch.fail(&cause);
        assert!(matches!(latch.wait(Stage::Synced, None), Err(Error::Poisoned(_))));

        let synced = Latch::new();
        synced.reach(Stage::Synced);
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

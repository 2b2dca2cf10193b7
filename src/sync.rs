//! What threads share and wait on: the standard library's, or models of it.
//!
//! The hand-over between appenders and the ring thread (the latch, the watermarks, all of `engine`)
//! takes its locks, atomics, channels, threads and the time from here. With `--cfg ringwal_loom`
//! or `--cfg ringwal_shuttle` they belong to a checker, which decides who runs next: loom tries
//! all schedules of a few threads, shuttle many schedules of a whole log (`ci/handover.sh`). `Arc`
//! is the standard library's everywhere.
//!
//! In a model time is a number. It moves a little whenever someone looks, and a wait with a
//! timeout may end at any moment, so a model does whatever real time could do, and more.

#[cfg(not(any(ringwal_loom, ringwal_shuttle)))]
mod real {
    pub(crate) use crossbeam_channel as channel;
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};
    pub(crate) use std::thread;

    pub(crate) fn now() -> std::time::Instant {
        std::time::Instant::now()
    }
}

#[cfg(any(ringwal_loom, ringwal_shuttle))]
mod model;

#[cfg(any(ringwal_loom, ringwal_shuttle))]
pub(crate) use model::*;
#[cfg(not(any(ringwal_loom, ringwal_shuttle)))]
pub(crate) use real::*;

#[cfg(all(target_os = "linux", not(any(ringwal_loom, ringwal_shuttle))))]
pub(crate) use futex::Word;
#[cfg(any(not(target_os = "linux"), ringwal_loom, ringwal_shuttle))]
pub(crate) use room::Word;

#[cfg(all(target_os = "linux", not(any(ringwal_loom, ringwal_shuttle))))]
mod futex {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use crate::sys::{futex_wait, futex_wake};

    /// A number that only grows, and on which threads sleep until it has grown.
    #[derive(Debug, Default)]
    pub(crate) struct Word(AtomicU32);

    impl Word {
        pub(crate) fn get(&self) -> u32 {
            self.0.load(Ordering::SeqCst)
        }

        /// Raises the number; returns what it was.
        pub(crate) fn raise(&self, to: u32) -> u32 {
            self.0.fetch_max(to, Ordering::SeqCst)
        }

        /// Sleeps unless the number is another one than `seen` by now. May end for no reason.
        pub(crate) fn sleep(&self, seen: u32, timeout: Option<Duration>) {
            futex_wait(&self.0, seen, timeout);
        }

        /// Wakes as many as are asleep, up to `count`.
        pub(crate) fn wake_some(&self, count: u32) {
            futex_wake(&self.0, count);
        }

        pub(crate) fn wake_all(&self) {
            futex_wake(&self.0, u32::MAX);
        }
    }
}

#[cfg(any(not(target_os = "linux"), ringwal_loom, ringwal_shuttle))]
mod room {
    use std::sync::PoisonError;
    use std::time::Duration;

    use super::atomic::{AtomicU32, Ordering};
    use super::{Condvar, Mutex};

    /// A number that only grows, and on which threads sleep until it has grown: what a futex does,
    /// where there is none.
    #[derive(Debug, Default)]
    pub(crate) struct Word {
        number: AtomicU32,
        room: Mutex<()>,
        door: Condvar,
    }

    impl Word {
        pub(crate) fn get(&self) -> u32 {
            fence();
            self.number.load(Ordering::SeqCst)
        }

        /// Raises the number; returns what it was.
        pub(crate) fn raise(&self, to: u32) -> u32 {
            let before = self.number.fetch_max(to, Ordering::SeqCst);
            fence();
            before
        }

        /// Sleeps unless the number is another one than `seen` by now. May end for no reason.
        pub(crate) fn sleep(&self, seen: u32, timeout: Option<Duration>) {
            let room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
            if self.get() != seen {
                return;
            }
            #[cfg(any(ringwal_loom, ringwal_shuttle))]
            if let Some(timeout) = timeout {
                drop(room);
                return super::doze(timeout);
            }
            match timeout {
                Some(timeout) => drop(self.door.wait_timeout(room, timeout)),
                None => drop(self.door.wait(room)),
            }
        }

        /// Wakes as many as are asleep, up to `count`.
        pub(crate) fn wake_some(&self, count: u32) {
            drop(self.room.lock().unwrap_or_else(PoisonError::into_inner));
            (0..count).for_each(|_| self.door.notify_one());
        }

        pub(crate) fn wake_all(&self) {
            drop(self.room.lock().unwrap_or_else(PoisonError::into_inner));
            self.door.notify_all();
        }
    }
    /// Loom takes a sequentially consistent access for a weaker one; a fence makes up for it.
    fn fence() {
        #[cfg(ringwal_loom)]
        super::atomic::fence(Ordering::SeqCst);
    }
}

//! [`Futex`]: a number on which threads sleep until it grows.

#[cfg(any(not(target_os = "linux"), ringwal_loom, ringwal_shuttle))]
pub(crate) use portable::Futex;
#[cfg(all(target_os = "linux", not(any(ringwal_loom, ringwal_shuttle))))]
pub(crate) use system::Futex;

#[cfg(all(target_os = "linux", not(any(ringwal_loom, ringwal_shuttle))))]
mod system {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use crate::sys::{futex_wait, futex_wake};

    /// A number that only grows, and on which threads sleep until it does.
    #[derive(Debug, Default)]
    pub(crate) struct Futex(AtomicU32);

    impl Futex {
        pub(crate) fn get(&self) -> u32 {
            self.0.load(Ordering::SeqCst)
        }

        /// Raises the number; returns what it was.
        pub(crate) fn raise(&self, to: u32) -> u32 {
            self.0.fetch_max(to, Ordering::SeqCst)
        }

        /// Sleeps unless the number differs from `seen`. May return for no reason.
        pub(crate) fn sleep(&self, seen: u32, timeout: Option<Duration>) {
            futex_wait(&self.0, seen, timeout);
        }

        /// Wakes up to `count` of the threads that sleep.
        pub(crate) fn wake_some(&self, count: u32) {
            futex_wake(&self.0, count);
        }

        pub(crate) fn wake_all(&self) {
            futex_wake(&self.0, u32::MAX);
        }
    }
}

#[cfg(any(not(target_os = "linux"), ringwal_loom, ringwal_shuttle))]
mod portable {
    use std::time::Duration;

    use crate::sync::atomic::{AtomicU32, Ordering};
    use crate::sync::{Condvar, Mutex};

    /// A number that only grows, and on which threads sleep until it does: a futex made of a lock
    /// and a condition variable.
    #[derive(Debug, Default)]
    pub(crate) struct Futex {
        number: AtomicU32,
        lock: Mutex<()>,
        cond: Condvar,
    }

    impl Futex {
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

        /// Sleeps unless the number differs from `seen`. May return for no reason.
        pub(crate) fn sleep(&self, seen: u32, timeout: Option<Duration>) {
            // Compare with the lock in hand: a waker raises the number first and takes the lock
            // then, so its wake cannot come between the comparison and the wait.
            let lock = self.lock.lock();
            if self.get() != seen {
                return;
            }
            match timeout {
                #[cfg(not(any(ringwal_loom, ringwal_shuttle)))]
                Some(timeout) => drop(self.cond.wait_timeout(lock, timeout)),
                #[cfg(any(ringwal_loom, ringwal_shuttle))]
                Some(timeout) => {
                    drop(lock);
                    crate::sync::doze(timeout);
                }
                None => drop(self.cond.wait(lock)),
            }
        }

        /// Wakes up to `count` of the threads that sleep.
        pub(crate) fn wake_some(&self, count: u32) {
            // A thread that compared before the number grew has to be waiting by now.
            drop(self.lock.lock());
            (0..count).for_each(|_| self.cond.notify_one());
        }

        pub(crate) fn wake_all(&self) {
            drop(self.lock.lock());
            self.cond.notify_all();
        }
    }

    /// Loom weakens sequentially consistent accesses to acquire and release; a fence makes up for
    /// it.
    fn fence() {
        #[cfg(ringwal_loom)]
        crate::sync::atomic::fence(Ordering::SeqCst);
    }
}

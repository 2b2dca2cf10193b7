//! A number that threads sleep on until it has grown.

#[cfg(any(not(target_os = "linux"), ringwal_loom, ringwal_shuttle))]
pub(crate) use portable::Futex;
#[cfg(all(target_os = "linux", not(any(ringwal_loom, ringwal_shuttle))))]
pub(crate) use system::Futex;

#[cfg(all(target_os = "linux", not(any(ringwal_loom, ringwal_shuttle))))]
mod system {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use crate::sys::{futex_wait, futex_wake};

    /// A number that only grows, and on which threads sleep until it has grown.
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
mod portable {
    use std::time::Duration;

    use crate::sync::atomic::{AtomicU32, Ordering};
    use crate::sync::{Condvar, Mutex};

    /// A number that only grows, and on which threads sleep until it has grown: what a futex does,
    /// where there is none.
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

        /// Sleeps unless the number is another one than `seen` by now. May end for no reason.
        pub(crate) fn sleep(&self, seen: u32, timeout: Option<Duration>) {
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

        /// Wakes as many as are asleep, up to `count`.
        pub(crate) fn wake_some(&self, count: u32) {
            drop(self.lock.lock());
            (0..count).for_each(|_| self.cond.notify_one());
        }

        pub(crate) fn wake_all(&self) {
            drop(self.lock.lock());
            self.cond.notify_all();
        }
    }
    /// Loom takes a sequentially consistent access for a weaker one; a fence makes up for it.
    fn fence() {
        #[cfg(ringwal_loom)]
        crate::sync::atomic::fence(Ordering::SeqCst);
    }
}

//! How the thread of a ring is woken while it blocks in the kernel: [`Signal`].
//!
//! The thread says that it is about to block, and whoever wakes it writes the eventfd only then.
//! A wake-up that comes while it is awake is kept until it would block the next time.
//!
//! Threading: one thread sleeps, any thread wakes.

use std::fs::File;
use std::io::Write;

use crate::io::Wake;
use crate::mutation::mutated;
use crate::sync::atomic::{AtomicU32, Ordering};

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const WOKEN: u32 = 2;

/// Whether the queue's thread sleeps.
#[derive(Debug, Default)]
struct Sleep(AtomicU32);

impl Sleep {
    fn fall_asleep(&self) -> bool {
        let asleep = self.0.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire);
        if asleep.is_err() {
            self.0.swap(AWAKE, Ordering::AcqRel);
        }
        asleep.is_ok() || mutated("handover_sleep_through_signal")
    }

    fn wake_up(&self) -> bool {
        self.0.swap(AWAKE, Ordering::AcqRel) == WOKEN
    }

    /// True if the thread has to be fetched out of the kernel.
    fn wake(&self) -> bool {
        self.0.swap(WOKEN, Ordering::AcqRel) == ASLEEP
    }
}

/// Whether the queue's thread sleeps, and the eventfd that ends it.
pub(super) struct Signal {
    sleep: Sleep,
    event: File,
}

impl Signal {
    pub(super) fn new(event: File) -> Signal {
        Signal { sleep: Sleep::default(), event }
    }

    /// The eventfd that has to be read while the thread blocks.
    pub(super) fn event(&self) -> &File {
        &self.event
    }

    /// Announces that the thread is about to block; false if it was woken since it last was awake.
    pub(super) fn fall_asleep(&self) -> bool {
        self.sleep.fall_asleep()
    }

    /// Ends the announcement; true if a wake came.
    pub(super) fn wake_up(&self) -> bool {
        self.sleep.wake_up()
    }

    pub(super) fn ring(&self) {
        // Any number but zero wakes, in either byte order. The counter cannot fill up and block:
        // it is written once per sleep, and the standing read empties it.
        let _written = (&self.event).write(&1u64.to_le_bytes());
    }
}

impl Wake for Signal {
    fn wake(&self) {
        if self.sleep.wake() {
            self.ring();
        }
    }
}

#[cfg(ringwal_loom)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Condvar, Mutex, thread};
    use std::sync::Arc;

    /// A ring with nothing in flight but the standing read of the eventfd.
    #[derive(Default)]
    struct Ring {
        sleep: Sleep,
        event: Mutex<bool>,
        written: Condvar,
        work: Mutex<u32>,
    }

    impl Ring {
        fn give_work(&self) {
            *self.work.lock() += 1;
            if self.sleep.wake() {
                *self.event.lock() = true;
                self.written.notify_one();
            }
        }

        fn wait(&self) {
            if !self.sleep.fall_asleep() {
                return;
            }
            let mut event = self.event.lock();
            while !std::mem::take(&mut *event) {
                event = self.written.wait(event);
            }
            drop(event);
            self.sleep.wake_up();
        }
    }

    #[test]
    fn handover_of_work_never_finds_the_thread_asleep_for_good() {
        crate::engine::commit::handover::all_schedules(3, || {
            let ring = Arc::new(Ring::default());
            let givers = [(); 2].map(|()| {
                let ring = Arc::clone(&ring);
                thread::spawn(move || ring.give_work())
            });
            let mut done = 0;
            while done < 2 {
                ring.wait();
                done += std::mem::take(&mut *ring.work.lock());
            }
            for giver in givers {
                giver.join().unwrap();
            }
            assert_eq!(*ring.work.lock(), 0);
        });
    }
}

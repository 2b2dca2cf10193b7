//! Wakes the thread of a ring while it blocks in the kernel: [`Signal`].
//!
//! The thread announces that it is about to block, and only then does a waking thread write the
//! eventfd. A wake-up that finds the thread awake is kept until the thread is about to block.
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

/// Whether the queue's thread sleeps: `AWAKE`, `ASLEEP` or `WOKEN`.
#[derive(Debug, Default)]
struct Sleep(AtomicU32);

impl Sleep {
    fn fall_asleep(&self) -> bool {
        let asleep = self.0.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire);
        if asleep.is_err() {
            // A wake came first: take it, and stay awake to look at the work it announced.
            self.0.swap(AWAKE, Ordering::AcqRel);
        }
        asleep.is_ok() || mutated("handover_sleep_through_signal")
    }

    fn wake_up(&self) -> bool {
        self.0.swap(AWAKE, Ordering::AcqRel) == WOKEN
    }

    /// Returns true if the thread was asleep, so the eventfd has to be written.
    fn wake(&self) -> bool {
        self.0.swap(WOKEN, Ordering::AcqRel) == ASLEEP
    }
}

/// The state of the queue's thread, and the eventfd that wakes it.
pub(super) struct Signal {
    sleep: Sleep,
    event: File,
}

impl Signal {
    pub(super) fn new(event: File) -> Signal {
        Signal { sleep: Sleep::default(), event }
    }

    /// The eventfd; a read of it stands in the ring while the thread blocks.
    pub(super) fn event(&self) -> &File {
        &self.event
    }

    /// Announces that the thread is about to block. Returns false, and announces nothing, if a wake
    /// came in the meantime.
    pub(super) fn fall_asleep(&self) -> bool {
        self.sleep.fall_asleep()
    }

    /// Ends the announcement; returns true if a wake came.
    pub(super) fn wake_up(&self) -> bool {
        self.sleep.wake_up()
    }

    /// Writes the eventfd, which completes the standing read.
    pub(super) fn ring(&self) {
        // Any number but zero wakes, so the byte order does not matter. The counter cannot fill up
        // and block: it is written once per sleep, and the standing read empties it.
        let _written = (&self.event).write(&1u64.to_le_bytes());
    }
}

impl Wake for Signal {
    fn wake(&self) {
        // First the state, then the eventfd: a thread that is about to block sees the state.
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
    struct ModelRing {
        sleep: Sleep,
        event: Mutex<bool>,
        written: Condvar,
        work: Mutex<u32>,
    }

    impl ModelRing {
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
            let ring = Arc::new(ModelRing::default());
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

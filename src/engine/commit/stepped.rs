//! A ring thread without a thread: whoever uses the log runs it, round by round.

use std::sync::Arc;

use crate::engine::commit::ring_thread::RingThread;
use crate::io::{SimQueue, SimWake};
use crate::sync::plain::{Mutex, MutexGuard};

/// No call waits for more rounds than this.
const ROUNDS_MAX: u64 = 1 << 20;

/// A driver that has no thread.
pub(crate) struct Stepped {
    /// `None` when it has ended.
    driver: Mutex<Option<RingThread<SimQueue>>>,
    sleep: Arc<SimWake>,
}

impl Stepped {
    pub(crate) fn new(driver: RingThread<SimQueue>, sleep: Arc<SimWake>) -> Stepped {
        Stepped { driver: Mutex::new(Some(driver)), sleep }
    }

    fn driver(&self) -> MutexGuard<'_, Option<RingThread<SimQueue>>> {
        self.driver.lock()
    }

    /// One round of the driver. Returns whether it did not sleep and has not ended.
    pub(crate) fn step(&self) -> bool {
        let mut driver = self.driver();
        let Some(running) = driver.as_mut() else { return false };
        if self.sleep.sleeps() || running.waits_for_control() {
            return false;
        }
        if !running.run_once(None) {
            *driver = None;
        }
        true
    }

    /// One round of the driver for someone who waits, so there has to be one.
    pub(crate) fn run_once(&self) {
        if !self.step() && self.driver().is_some() {
            // Whoever closes the log while this unwinds must not wait for the driver.
            *self.driver() = None;
            panic!("a call waits for the driver, which sleeps, and nobody will wake it");
        }
    }

    pub(crate) fn run_until(&self, done: impl Fn() -> bool) {
        for _ in 0..ROUNDS_MAX {
            if done() || self.driver().is_none() {
                return;
            }
            self.run_once();
        }
        *self.driver() = None;
        panic!("a call waits for the driver, which is busy for ever");
    }
}

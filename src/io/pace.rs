//! How the zeros of a spare give way to batches, which go to the same disk.
//!
//! - After a step beside which a batch was written, the preallocation pauses for a multiple of what
//!   the step took. At rest it does not.
//! - In a hurry it does not pause either: a segment will be needed sooner than it is ready.
//!
//! Threading: any thread notes batches and hurries; the preallocation thread pauses.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::sync::plain::{Condvar, Mutex};

/// A pause is so many times as long as the step before it, so beside batches zeros have a quarter
/// of the disk's time.
const PAUSE_FACTOR: u32 = 3;

/// The longest pause. Closing a log waits for it.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// The pace of one log's preallocation.
#[derive(Debug, Default)]
pub struct Pace {
    batches: AtomicU64,
    hurry: AtomicBool,
    sleep: Mutex<()>,
    hurried: Condvar,
}

impl Pace {
    /// A batch was written.
    pub(crate) fn note_batch(&self) {
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    /// The batches so far.
    pub(crate) fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Whether a segment is needed soon; ends a pause.
    pub(crate) fn set_hurry(&self, hurry: bool) {
        if self.hurry.load(Ordering::Relaxed) == hurry {
            return;
        }
        // With the lock, so that a thread that is about to pause sees it or is woken.
        let guard = self.sleep.lock();
        self.hurry.store(hurry, Ordering::Release);
        drop(guard);
        self.hurried.notify_all();
    }

    /// Pauses after a step that took so long and began when there were `before` batches.
    pub(crate) fn give_way(&self, before: u64, took: Duration) {
        if self.batches() == before {
            return;
        }
        let end = Instant::now() + (took * PAUSE_FACTOR).min(PAUSE_MAX);
        let mut guard = self.sleep.lock();
        while !self.hurry.load(Ordering::Acquire) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            guard = self.hurried.wait_timeout(guard, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn nothing_pauses_at_rest_or_in_a_hurry() {
        let pace = Pace::default();
        let began = Instant::now();
        for _ in 0..1000 {
            pace.give_way(0, HOUR);
        }
        pace.note_batch();
        pace.set_hurry(true);
        for _ in 0..1000 {
            pace.give_way(0, HOUR);
        }
        assert!(began.elapsed() < 1000 * PAUSE_MAX);
    }

    #[test]
    fn beside_a_batch_there_is_a_pause() {
        let pace = Pace::default();
        pace.note_batch();
        let began = Instant::now();
        pace.give_way(0, HOUR);
        assert!(began.elapsed() >= PAUSE_MAX);
        let began = Instant::now();
        pace.give_way(0, Duration::from_millis(1));
        assert!(began.elapsed() >= PAUSE_FACTOR * Duration::from_millis(1));
    }
}

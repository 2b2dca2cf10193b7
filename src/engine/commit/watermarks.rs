//! How far the log is, and the threads that wait for it.
//!
//! - W1 `durable <= written <= appended`, and none decreases, except by an explicit truncation of
//!   the end.
//! - W2 Nothing is acknowledged as synced above `durable`, and recovery never returns less than the
//!   last durable watermark that was published.

use std::sync::Arc;

use crate::engine::commit::latch::{Latch, Stage};
use crate::error::Error;
use crate::mutation::mutated;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The published watermarks and those who wait for them.
#[derive(Debug, Default)]
pub(crate) struct Watermarks {
    written: AtomicU64,
    durable: AtomicU64,
    /// Who waits for the durable watermark to reach which sequence number.
    waiters: Mutex<Vec<(u64, Arc<Latch>)>>,
}

impl Watermarks {
    pub(crate) fn new(seq: u64) -> Watermarks {
        Watermarks {
            written: AtomicU64::new(seq),
            durable: AtomicU64::new(seq),
            waiters: Mutex::default(),
        }
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Makes new values visible. Nobody is woken yet.
    pub(crate) fn publish(&self, written: u64, durable: u64) {
        debug_assert!(durable <= written);
        self.written.store(written, Ordering::Release);
        self.durable.store(durable, Ordering::Release);
    }

    /// Wakes who waits for the durable watermark, after it was published.
    pub(crate) fn wake_reached(&self) {
        let mut waiters = self.waiters.lock();
        let reached = self.take_reached(&mut waiters);
        drop(waiters);
        open(reached);
    }

    /// Sets both watermarks to `seq`, back or ahead. Who waits for less than they were has not
    /// waited in vain: it was durable before it was truncated. And what is skipped counts as
    /// durable.
    pub(crate) fn reset(&self, seq: u64) {
        let mut waiters = self.waiters.lock();
        let mut reached = self.take_reached(&mut waiters);
        self.publish(seq, seq);
        if !mutated("wait_for_what_is_skipped") {
            reached.extend(self.take_reached(&mut waiters));
        }
        drop(waiters);
        open(reached);
    }

    fn take_reached(&self, waiters: &mut Vec<(u64, Arc<Latch>)>) -> Vec<Arc<Latch>> {
        let durable = self.durable();
        let reached = waiters.extract_if(.., |(seq, _)| *seq <= durable);
        reached.map(|(_, latch)| latch).collect()
    }

    /// A latch that opens when the durable watermark reaches `seq`.
    pub(crate) fn latch_for(&self, seq: u64) -> Arc<Latch> {
        let latch = Latch::new();
        let mut waiters = self.waiters.lock();
        waiters.push((seq, Arc::clone(&latch)));
        if self.durable() >= seq && !mutated("handover_wait_without_a_look") {
            latch.reach(Stage::Synced);
        }
        drop(waiters);
        latch
    }

    /// Whoever had this latch no longer waits.
    pub(crate) fn forget(&self, latch: &Arc<Latch>) {
        let mut waiters = self.waiters.lock();
        let at = waiters.iter().position(|(_, waiting)| Arc::ptr_eq(waiting, latch));
        let gone = at.map(|at| waiters.swap_remove(at));
        drop(waiters);
        drop(gone);
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiters.lock().len()
    }

    /// Fails everyone who waits.
    pub(crate) fn fail(&self, cause: &Arc<Error>) {
        let waiters = {
            let mut waiters = self.waiters.lock();
            std::mem::take(&mut *waiters)
        };
        for (_, latch) in waiters {
            latch.fail(cause);
        }
    }
}

fn open(latches: Vec<Arc<Latch>>) {
    for latch in latches {
        latch.reach(Stage::Synced);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_the_watermarks_back_ends_the_waits_for_what_had_been_durable() {
        let marks = Watermarks::new(0);
        let (reached, future) = (marks.latch_for(3), marks.latch_for(6));
        marks.publish(5, 5);
        marks.reset(2);
        assert!(reached.check(Stage::Synced).unwrap());
        assert!(!future.check(Stage::Synced).unwrap());
        assert!(!marks.latch_for(3).check(Stage::Synced).unwrap());
        assert_eq!((marks.written(), marks.durable()), (2, 2));
    }
}

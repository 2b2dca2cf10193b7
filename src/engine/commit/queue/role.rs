//! Who takes the oldest batch to the disk, and when.
//!
//! There is always exactly one who looks after it: the driver of what is in flight, the ring thread
//! if it is awake or has set a timer, or the one appender that was told to.

use std::cell::LazyCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::commit::latch::Latch;
use crate::engine::commit::policy::{BYTES, Due, Role};
use crate::engine::commit::queue::{Next, QueuedBatch, WriteQueue};
use crate::mutation::mutated;

/// Who asks for the oldest batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taker {
    /// The appender that was told to commit it.
    Leader,
    /// The ring thread.
    Ring,
}

impl WriteQueue {
    /// Who looks after the oldest batch, now that one more record is there.
    pub(super) fn role<F: FnOnce() -> Instant>(
        &mut self,
        opens: bool,
        waits: bool,
        now: &LazyCell<Instant, F>,
    ) -> Role {
        let Some(front) = self.batches.front() else { return Role::Follow };
        let may_lead = waits && self.takes_leaders(front);
        if self.claimed || !(may_lead || self.ring.is_asleep()) {
            return Role::Follow;
        }
        // If only time can make the batch due, the ring thread's timer handles it, so no clock is
        // read.
        let seen = if self.ring.has_timer() && !may_lead { front.opened } else { **now };
        match self.due(front, seen) {
            Due::Now if may_lead => {
                self.claimed = true;
                Role::Lead
            }
            Due::Now => self.wake_if_asleep(),
            Due::At(time) if opens && !self.ring.has_timer() => match may_lead {
                true => Role::LeadAt(time),
                false => self.wake_if_asleep(),
            },
            Due::At(_) | Due::AfterLanding => Role::Follow,
        }
    }

    /// Whether an appender may commit this batch by itself.
    fn takes_leaders(&self, front: &QueuedBatch) -> bool {
        self.limits.inline && !self.delay.is_in_flight() && front.end < BYTES
    }

    /// Passes the oldest batch to one of its appenders, which has to be called by its latch once
    /// those are awake whom the last batch acknowledged. `None` if the ring thread has to take it.
    pub(crate) fn pass_lead(&mut self) -> Option<Arc<Latch>> {
        let front = self.batches.front()?;
        // L4: one call for each batch. An appender that gave the lead up leaves it to the ring
        // thread.
        if front.called && !mutated("handover_call_twice") {
            return None;
        }
        let is_delayed = !self.limits.batch_delay.is_zero() && !front.closed;
        if front.waiters == 0 || !self.takes_leaders(front) || is_delayed || self.frozen > 0 {
            return None;
        }
        let latch = Arc::clone(&front.latch);
        self.batches.front_mut()?.called = true;
        (self.claimed, self.passed) = (true, true);
        self.delay.release();
        Some(latch)
    }

    /// The appender that was told to lead leaves it to the ring thread.
    pub(crate) fn give_up_lead(&mut self) {
        (self.claimed, self.passed) = (false, false);
    }

    fn wake_if_asleep(&mut self) -> Role {
        match self.ring.wake() {
            true => Role::WakeRing,
            false => Role::Follow,
        }
    }

    /// Whether somebody waits for the oldest batch who must not wait for its leader's turn.
    fn is_urgent(&self, front: &QueuedBatch) -> bool {
        front.first_seq <= self.urgent_seq || self.frozen > 0
    }

    /// When the oldest batch is due.
    fn due(&self, front: &QueuedBatch, now: Instant) -> Due {
        let is_full = front.closed || front.records >= self.limits.batch_records;
        if is_full || self.is_urgent(front) {
            return Due::Now;
        }
        let due = self.delay.due(u64::from(front.records), front.end, now);
        let delayed = front.opened + self.limits.batch_delay;
        match due {
            Due::Now if now < delayed => Due::At(delayed),
            Due::At(time) => Due::At(time.max(delayed)),
            due => due,
        }
    }

    /// Whether the oldest batch can grow no more.
    pub(crate) fn front_is_closed(&self) -> bool {
        self.batches.front().is_some_and(|front| front.closed)
    }

    /// Takes the oldest batch for the disk, if it is due.
    pub(crate) fn take(&mut self, now: Instant, by: Taker) -> Next {
        let Some(front) = self.batches.front() else {
            self.give_up_lead();
            return self.delay.holds_until(now).map_or(Next::Nothing, Next::NotBefore);
        };
        if by == Taker::Ring && self.passed && !self.is_urgent(front) {
            // Its leader comes behind those who were just woken.
            return Next::Nothing;
        }
        // A leader that was called does not wait any longer: it had to wait for its turn.
        let due = if self.passed { Due::Now } else { self.due(front, now) };
        if !mutated("handover_keep_the_claim") {
            self.give_up_lead();
        }
        match due {
            Due::Now => self.close_front(),
            Due::At(time) => return Next::NotBefore(time),
            Due::AfterLanding => return Next::Nothing,
        }
        match self.batches.pop_front() {
            Some(batch) => {
                self.delay.taken(u64::from(batch.records), batch.opened);
                Next::Batch(Box::new(batch))
            }
            None => Next::Nothing,
        }
    }

    fn close_front(&mut self) {
        if !self.front_is_closed() {
            self.close_open();
        }
    }

    /// A batch of `records` is finished, well or not, after `took`.
    pub(crate) fn completed(&mut self, records: u64, now: Instant, took: Duration) {
        let waiting = self.batches.iter().map(|batch| u64::from(batch.records)).sum();
        self.delay.completed(records, waiting, now, took);
    }
}

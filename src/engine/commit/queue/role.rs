//! Who takes the oldest batch to the disk, and when.
//!
//! There is always exactly one who looks after it: the driver of what is in flight, the ring
//! thread if it is awake or has set a timer, or the one appender that was told to.

use std::cell::LazyCell;
use std::time::{Duration, Instant};

use crate::engine::commit::policy::{BYTES, Due, Load, Role};
use crate::engine::commit::queue::{Next, QueuedBatch, WriteQueue};
use crate::mutation::mutated;

impl WriteQueue {
    /// Who looks after the oldest batch, now that one more record is there: the driver of what is
    /// in flight, the ring thread if it is awake or has set a timer, whoever was told to commit
    /// it, or else this appender.
    pub(super) fn role<F: FnOnce() -> Instant>(
        &mut self,
        opens: bool,
        waits: bool,
        now: &LazyCell<Instant, F>,
    ) -> Role {
        let Some(front) = self.batches.front() else { return Role::Follow };
        let quiet = !self.gather.is_in_flight() && !self.gather.is_crowd();
        let inline = self.limits.inline && waits && quiet && front.end < BYTES;
        if self.claimed || !(inline || self.ring.is_asleep()) {
            return Role::Follow;
        }
        // What only the time would change, a timer sees to; a ticket then needs no clock.
        let seen = if self.ring.has_timer() && !inline { front.opened } else { **now };
        match self.due(front, seen) {
            Due::Now if inline => {
                self.claimed = true;
                Role::Lead
            }
            Due::Now => self.wake_if_asleep(),
            Due::At(time) if opens && !self.ring.has_timer() => match inline {
                true => Role::LeadAt(time),
                false => self.wake_if_asleep(),
            },
            Due::At(_) | Due::AfterLanding => Role::Follow,
        }
    }

    fn wake_if_asleep(&mut self) -> Role {
        match self.ring.wake() {
            true => Role::WakeRing,
            false => Role::Follow,
        }
    }

    /// When the oldest batch is due.
    fn due(&self, front: &QueuedBatch, now: Instant) -> Due {
        let urgent = front.first_seq <= self.urgent_seq || self.frozen > 0;
        if front.closed || urgent || front.records >= self.limits.batch_records {
            return Due::Now;
        }
        let due = self.gather.due(u64::from(front.records), front.end, now);
        let delayed = front.opened + self.limits.batch_delay;
        match due {
            Due::Now if now < delayed => Due::At(delayed),
            Due::At(time) => Due::At(time.max(delayed)),
            due => due,
        }
    }

    /// Takes the oldest batch for the disk, if it is due.
    pub(crate) fn take(&mut self, now: Instant) -> Next {
        self.claimed &= mutated("handover_keep_the_claim");
        let Some(front) = self.batches.front() else {
            return self.gather.holds_until(now).map_or(Next::Nothing, Next::NotBefore);
        };
        match self.due(front, now) {
            Due::Now if !front.closed => self.close_open(),
            Due::Now => {}
            Due::At(time) => return Next::NotBefore(time),
            Due::AfterLanding => return Next::Nothing,
        }
        match self.batches.pop_front() {
            Some(batch) => {
                self.gather.taken(batch.load(), batch.opened);
                Next::Batch(Box::new(batch))
            }
            None => Next::Nothing,
        }
    }

    /// A batch is finished, well or not, after `took`.
    pub(crate) fn completed(&mut self, batch: Load, now: Instant, took: Duration) {
        let waiting = self.batches.iter().map(QueuedBatch::load).fold(Load::default(), Load::plus);
        self.gather.completed(batch, waiting, now, took);
    }
}

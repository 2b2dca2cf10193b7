//! Who takes the oldest batch to the disk, and when.
//!
//! There is always exactly one who looks after it: the driver of what is in flight, the ring
//! thread if it is awake or has set a timer, or the one appender that was told to.

use std::cell::LazyCell;
use std::time::{Duration, Instant};

use crate::engine::group_commit::gather::{BYTES, Due, Load};
use crate::engine::group_commit::inbox::{Fill, Inbox, Taken};
use crate::mutation::mutated;

/// What is to be done, without the lock, for a batch that got a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Someone else looks after it.
    Nothing,
    /// The ring thread sleeps and must be woken.
    WakeDriver,
    /// The batch is due, and the appender may complete it.
    Commit,
    /// The same, if it is still there at that time.
    CommitAt(Instant),
}

impl Inbox {
    /// Who looks after the oldest batch, now that one more record is there: the driver of what is
    /// in flight, the ring thread if it is awake or has set a timer, whoever was told to commit
    /// it, or else this appender.
    pub(super) fn duty<F: FnOnce() -> Instant>(
        &mut self,
        opens: bool,
        waits: bool,
        now: &LazyCell<Instant, F>,
    ) -> Duty {
        let Some(front) = self.fills.front() else { return Duty::Nothing };
        let quiet = !self.gather.is_in_flight() && !self.gather.is_crowd();
        let inline = self.limits.inline && waits && quiet && front.end < BYTES;
        if self.claimed || !(inline || self.driver_asleep) {
            return Duty::Nothing;
        }
        // What only the time would change, a timer sees to; a ticket then needs no clock.
        let seen = if self.driver_has_timer && !inline { front.opened } else { **now };
        match self.due(front, seen) {
            Due::Now if inline => {
                self.claimed = true;
                Duty::Commit
            }
            Due::Now => self.wake_if_asleep(),
            Due::At(time) if opens && !self.driver_has_timer => match inline {
                true => Duty::CommitAt(time),
                false => self.wake_if_asleep(),
            },
            Due::At(_) | Due::AfterLanding => Duty::Nothing,
        }
    }

    fn wake_if_asleep(&mut self) -> Duty {
        match std::mem::take(&mut self.driver_asleep) {
            true => Duty::WakeDriver,
            false => Duty::Nothing,
        }
    }

    /// When the oldest batch is due.
    fn due(&self, front: &Fill, now: Instant) -> Due {
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
    pub(crate) fn take(&mut self, now: Instant) -> Taken {
        self.claimed &= mutated("handover_keep_the_claim");
        let Some(front) = self.fills.front() else {
            return self.gather.holds_until(now).map_or(Taken::Nothing, Taken::NotBefore);
        };
        match self.due(front, now) {
            Due::Now if !front.closed => self.close_open(),
            Due::Now => {}
            Due::At(time) => return Taken::NotBefore(time),
            Due::AfterLanding => return Taken::Nothing,
        }
        match self.fills.pop_front() {
            Some(fill) => {
                self.gather.taken(fill.load(), fill.opened);
                Taken::Batch(Box::new(fill))
            }
            None => Taken::Nothing,
        }
    }

    /// A batch is finished, well or not, after `took`.
    pub(crate) fn landed(&mut self, batch: Load, now: Instant, took: Duration) {
        let waiting = self.fills.iter().map(Fill::load).fold(Load::default(), Load::plus);
        self.gather.landed(batch, waiting, now, took);
    }
}

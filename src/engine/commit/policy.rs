//! When the open batch goes to the disk, and who takes it there.
//!
//! A flush costs the same for one record as for a hundred. So the next batch goes when those whom
//! the last one acknowledged have had their turn, and not before:
//!
//! - The thread that finishes a batch wakes them all, and behind them (behind the first of many)
//!   the *leader* of the next one: an appender that waits in it already. By the time the leader has
//!   a processor, the others have come back, as far as they do so at once. That holds on an idle
//!   machine, on a busy one, and for threads that think.
//! - If nobody waits in the next batch, the first to come back opens it and holds it for the
//!   others. [`CommitDelay`] says for how long. It knows no clock: it is told the time.
//!
//! The rules of the hold:
//!
//! - G1 A batch of [`BYTES`] goes at once.
//! - G2 While batches are in flight, the open one goes when it has as many records as they have.
//! - G3 With nothing in flight, it goes when it has all the records that were outstanding at the
//!   last completion, or when a usual flush has passed since.
//! - G4 Where G3 waited in vain, the next batch is not held; if that happens again, the next
//!   three, seven, up to [`SKIPPED_MAX`]. It was in vain if they did not all come, and also if many
//!   more came while the batch was in flight: then appenders do not come back together, but each
//!   in its own time, and a batch is full by chance.

use std::time::{Duration, Instant};

/// A batch of so many bytes is not held, and not written by an appender: its transfer takes the
/// time, so to wait for more records saves little, and no appender should be held up by it.
pub(crate) const BYTES: usize = 64 << 10;

/// So many batches at most are not held after a wait in vain.
const SKIPPED_MAX: u32 = 63;

/// Appenders come back together if, while a batch of all of them was in flight, there came no more
/// than one record for so many of its own.
const TOGETHER: u64 = 4;

/// One part in so many of the last flush goes into the usual one.
const SMOOTHING: u32 = 4;

/// When a batch is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Now,
    /// Then at the latest.
    At(Instant),
    /// When something in flight has completed, or more records are there.
    AfterLanding,
}

/// What is to be done, without the lock, for a batch that got a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Somebody else takes the batch.
    Follow,
    /// The ring thread takes it, but is asleep and must be woken.
    WakeRing,
    /// The batch is due, and this appender commits it.
    Lead,
    /// The same, if the batch is still there at that time.
    LeadAt(Instant),
}

#[derive(Debug)]
pub(crate) struct CommitDelay {
    enabled: bool,
    batches_in_flight: u32,
    /// The records of those.
    in_flight: u64,
    /// What had no acknowledgement at the last completion, with what it acknowledged.
    outstanding: u64,
    hold_until: Option<Instant>,
    usual_flush: Duration,
    /// The batch in flight was held until all were there.
    filled: bool,
    in_vain: u32,
    to_skip: u32,
}

impl CommitDelay {
    /// Without `enabled`, every batch is due at once.
    pub(crate) fn new(enabled: bool) -> CommitDelay {
        CommitDelay {
            enabled,
            batches_in_flight: 0,
            in_flight: 0,
            outstanding: 0,
            hold_until: None,
            usual_flush: Duration::ZERO,
            filled: false,
            in_vain: 0,
            to_skip: 0,
        }
    }

    pub(crate) fn is_in_flight(&self) -> bool {
        self.batches_in_flight > 0
    }

    /// When an open batch of `records` and `bytes` is due.
    pub(crate) fn due(&self, records: u64, bytes: usize, now: Instant) -> Due {
        if !self.enabled || bytes >= BYTES {
            return Due::Now;
        }
        if self.is_in_flight() {
            let as_many = records >= self.in_flight;
            return if as_many { Due::Now } else { Due::AfterLanding };
        }
        match self.hold_until {
            Some(until) if records < self.outstanding && now < until => Due::At(until),
            _ => Due::Now,
        }
    }

    /// Until when the next batch would be held if its first record came now.
    pub(crate) fn holds_until(&self, now: Instant) -> Option<Instant> {
        match self.due(1, 0, now) {
            Due::At(until) => Some(until),
            Due::Now | Due::AfterLanding => None,
        }
    }

    /// A batch of `records`, of which the first came at `opened`, leaves for the disk.
    pub(crate) fn taken(&mut self, records: u64, opened: Instant) {
        if let Some(until) = self.hold_until.take() {
            if records >= self.outstanding {
                self.filled = true;
            } else if opened < until {
                self.held_in_vain();
            }
        }
        self.batches_in_flight += 1;
        self.in_flight += records;
    }

    /// The next batch is not held: a leader is called for it.
    pub(crate) fn release(&mut self) {
        self.hold_until = None;
    }

    fn held_in_vain(&mut self) {
        self.in_vain = (2 * self.in_vain + 1).min(SKIPPED_MAX);
        self.to_skip = self.in_vain;
    }

    /// A batch of `records` came back after `flush`, while so many others are `waiting` in the
    /// queue.
    pub(crate) fn completed(&mut self, records: u64, waiting: u64, now: Instant, flush: Duration) {
        self.batches_in_flight = self.batches_in_flight.saturating_sub(1);
        self.in_flight = self.in_flight.saturating_sub(records);
        self.outstanding = records + waiting + self.in_flight;
        self.usual_flush = match self.usual_flush.is_zero() {
            true => flush,
            false => (self.usual_flush * (SMOOTHING - 1) + flush) / SMOOTHING,
        };
        self.hold_until = None;
        if std::mem::take(&mut self.filled) {
            match waiting * TOGETHER > records {
                true => self.held_in_vain(),
                false => self.in_vain = 0,
            }
        }
        if self.is_in_flight() {
            return;
        }
        match self.to_skip {
            0 => self.hold_until = Some(now + self.usual_flush),
            _ => self.to_skip -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLUSH: Duration = Duration::from_micros(100);

    /// A delay that has just acknowledged a batch of `records` at the returned time.
    fn after(records: u64) -> (CommitDelay, Instant) {
        let (mut delay, now) = (CommitDelay::new(true), Instant::now());
        delay.taken(records, now);
        delay.completed(records, 0, now, FLUSH);
        (delay, now)
    }

    #[test]
    fn the_first_record_ever_and_a_lone_appender_are_never_held() {
        let now = Instant::now();
        assert_eq!(CommitDelay::new(true).due(1, 100, now), Due::Now);
        let (delay, now) = after(1);
        assert_eq!(delay.due(1, 100, now), Due::Now);
        assert_eq!(delay.holds_until(now), None);
    }

    #[test]
    fn a_batch_goes_when_all_are_back_or_a_flush_has_passed() {
        let (delay, now) = after(16);
        assert_eq!(delay.due(15, 1500, now), Due::At(now + FLUSH));
        assert_eq!(delay.holds_until(now), Some(now + FLUSH));
        assert_eq!(delay.due(16, 1600, now), Due::Now);
        assert_eq!(delay.due(15, 1500, now + FLUSH), Due::Now);
        assert_eq!(delay.holds_until(now + FLUSH), None);
    }

    #[test]
    fn large_batches_are_not_held_and_neither_is_one_whose_leader_is_called() {
        let (mut delay, now) = after(16);
        assert_eq!(delay.due(1, BYTES, now), Due::Now);
        assert_ne!(delay.due(1, 100, now), Due::Now);
        delay.release();
        assert_eq!(delay.due(1, 100, now), Due::Now);
        delay.taken(1, now);
        assert_eq!(delay.in_vain, 0, "it was not held");
    }

    #[test]
    fn beside_one_in_flight_only_a_batch_of_its_size_goes() {
        let (mut delay, now) = (CommitDelay::new(true), Instant::now());
        delay.taken(4, now);
        assert_eq!(delay.due(3, 300, now), Due::AfterLanding);
        assert_eq!(delay.due(4, 400, now), Due::Now);
        delay.completed(4, 3, now, FLUSH);
        assert_eq!(delay.due(6, 600, now), Due::At(now + FLUSH), "three wait, four come back");
    }

    #[test]
    fn waits_in_vain_become_rare_and_a_full_batch_brings_them_back() {
        let (mut delay, mut now) = after(8);
        let mut held = Vec::new();
        for round in 0..20 {
            if delay.due(4, 400, now) != Due::Now {
                held.push(round);
                now += FLUSH;
            }
            delay.taken(4, now - FLUSH);
            // Four were in it, and four more are always said to be on their way.
            delay.completed(4, 4, now, FLUSH);
        }
        assert_eq!(held, [0, 2, 6, 14]);
        delay.to_skip = 0;
        delay.completed(4, 0, now, FLUSH);
        delay.taken(4, now);
        delay.completed(4, 1, now, FLUSH);
        assert_eq!(delay.in_vain, 0);
    }

    #[test]
    fn a_batch_that_is_full_by_chance_was_held_in_vain() {
        let (mut delay, now) = after(8);
        let mut held = Vec::new();
        for round in 0..20 {
            if delay.due(4, 400, now) != Due::Now {
                held.push(round);
            }
            // As many as were outstanding, but of others: half as many came meanwhile.
            delay.taken(8, now);
            delay.completed(8, 4, now, FLUSH);
        }
        assert_eq!(held, [0, 2, 6, 14]);
    }
}

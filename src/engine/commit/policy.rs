//! When the open batch goes to the disk, and who takes it there.
//!
//! Pure: it is told the time. A flush costs the same for one record as for thirty, so sending
//! the first appender that returns after an acknowledgement alone makes all others wait for a
//! flush of one record. Among few threads, waiting for the rest costs only what they take to
//! come back, and the last of them may as well do the writing ([`CommitDelay::is_crowd`]). Among
//! many, the time goes into waking them, not into flushing: there the next batch goes as soon as it
//! can, on the ring thread, while the others are being woken. It is the threads that sleep that
//! count: a thousand tickets of one thread come back as fast as it can append. Hence:
//!
//! - G1 A batch of [`BYTES`], and any batch of a crowd, goes at once.
//! - G2 While batches are in flight, the open one goes when it has as many records as they have.
//! - G3 With nothing in flight, it goes when it has all the records that were outstanding at the
//!   last completion, or when a usual flush has passed since.
//! - G4 Where G3 waited in vain, the next batch is not held; if that happens again, the next
//!   three, seven, up to [`SKIPPED_MAX`]. It was in vain if they did not all come, and also if many
//!   more came while the batch was in flight: then appenders do not come back together, but each
//!   in its own time, and a batch is full by chance.

use std::time::{Duration, Instant};

/// More appends than this whose threads sleep until they are acknowledged are a crowd.
pub(crate) const CROWD: u64 = 64;

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

/// What is in a batch, or in several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) records: u64,
    /// Appends whose threads wait for them.
    pub(crate) waiters: u64,
}

impl Load {
    pub(crate) fn plus(self, other: Load) -> Load {
        let records = self.records + other.records;
        Load { records, waiters: self.waiters + other.waiters }
    }

    fn less(self, other: Load) -> Load {
        let records = self.records.saturating_sub(other.records);
        Load { records, waiters: self.waiters.saturating_sub(other.waiters) }
    }
}

#[derive(Debug)]
pub(crate) struct CommitDelay {
    enabled: bool,
    batches_in_flight: u32,
    in_flight: Load,
    /// What had no acknowledgement at the last completion, with what it acknowledged.
    outstanding: Load,
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
            in_flight: Load::default(),
            outstanding: Load::default(),
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

    /// Whether there are so many threads to wake that the ring thread should write.
    pub(crate) fn is_crowd(&self) -> bool {
        self.outstanding.waiters > CROWD
    }

    /// When an open batch of `records` and `bytes` is due.
    pub(crate) fn due(&self, records: u64, bytes: usize, now: Instant) -> Due {
        if !self.enabled || bytes >= BYTES || self.is_crowd() {
            return Due::Now;
        }
        if self.is_in_flight() {
            let as_many = records >= self.in_flight.records;
            return if as_many { Due::Now } else { Due::AfterLanding };
        }
        match self.hold_until {
            Some(until) if records < self.outstanding.records && now < until => Due::At(until),
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

    /// A batch whose first record came at `opened` leaves for the disk.
    pub(crate) fn taken(&mut self, batch: Load, opened: Instant) {
        if let Some(until) = self.hold_until.take() {
            if batch.records >= self.outstanding.records {
                self.filled = true;
            } else if opened < until {
                self.held_in_vain();
            }
        }
        self.batches_in_flight += 1;
        self.in_flight = self.in_flight.plus(batch);
    }

    fn held_in_vain(&mut self) {
        self.in_vain = (2 * self.in_vain + 1).min(SKIPPED_MAX);
        self.to_skip = self.in_vain;
    }

    /// A batch came back after `flush`, while others are `waiting` in the queue.
    pub(crate) fn completed(&mut self, batch: Load, waiting: Load, now: Instant, flush: Duration) {
        self.batches_in_flight = self.batches_in_flight.saturating_sub(1);
        self.in_flight = self.in_flight.less(batch);
        self.outstanding = batch.plus(waiting).plus(self.in_flight);
        self.usual_flush = match self.usual_flush.is_zero() {
            true => flush,
            false => (self.usual_flush * (SMOOTHING - 1) + flush) / SMOOTHING,
        };
        self.hold_until = None;
        if std::mem::take(&mut self.filled) {
            match waiting.records * TOGETHER > batch.records {
                true => self.held_in_vain(),
                false => self.in_vain = 0,
            }
        }
        if self.is_in_flight() || self.is_crowd() {
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

    /// So many appends, each of a thread that waits.
    fn load(appends: u64) -> Load {
        Load { records: appends, waiters: appends }
    }

    /// A gather that has just acknowledged a batch of `records` at the returned time.
    fn after(records: u64) -> (CommitDelay, Instant) {
        let (mut gather, now) = (CommitDelay::new(true), Instant::now());
        gather.taken(load(records), now);
        gather.completed(load(records), load(0), now, FLUSH);
        (gather, now)
    }

    #[test]
    fn the_first_record_ever_and_a_lone_appender_are_never_held() {
        let now = Instant::now();
        assert_eq!(CommitDelay::new(true).due(1, 100, now), Due::Now);
        let (gather, now) = after(1);
        assert_eq!(gather.due(1, 100, now), Due::Now);
        assert_eq!(gather.holds_until(now), None);
    }

    #[test]
    fn a_batch_goes_when_all_are_back_or_a_flush_has_passed() {
        let (gather, now) = after(16);
        assert_eq!(gather.due(15, 1500, now), Due::At(now + FLUSH));
        assert_eq!(gather.holds_until(now), Some(now + FLUSH));
        assert_eq!(gather.due(16, 1600, now), Due::Now);
        assert_eq!(gather.due(15, 1500, now + FLUSH), Due::Now);
        assert_eq!(gather.holds_until(now + FLUSH), None);
    }

    #[test]
    fn large_batches_and_crowds_are_not_held() {
        let (gather, now) = after(16);
        assert_eq!(gather.due(1, BYTES, now), Due::Now);
        let (gather, now) = after(CROWD + 1);
        assert!(gather.is_crowd());
        assert_eq!(gather.due(1, 100, now), Due::Now);
    }

    #[test]
    fn many_records_of_few_threads_are_no_crowd() {
        let (mut gather, now) = (CommitDelay::new(true), Instant::now());
        let batch = Load { records: 20 * CROWD, waiters: CROWD };
        gather.taken(batch, now);
        gather.completed(batch, Load::default(), now, FLUSH);
        assert!(!gather.is_crowd());
        assert_eq!(gather.due(20 * CROWD - 1, 100, now), Due::At(now + FLUSH));
        assert_eq!(gather.due(20 * CROWD, 100, now), Due::Now);
    }

    #[test]
    fn beside_one_in_flight_only_a_batch_of_its_size_goes() {
        let (mut gather, now) = (CommitDelay::new(true), Instant::now());
        gather.taken(load(4), now);
        assert_eq!(gather.due(3, 300, now), Due::AfterLanding);
        assert_eq!(gather.due(4, 400, now), Due::Now);
        gather.completed(load(4), load(3), now, FLUSH);
        assert_eq!(gather.due(6, 600, now), Due::At(now + FLUSH), "three wait, four come back");
    }

    #[test]
    fn waits_in_vain_become_rare_and_a_full_batch_brings_them_back() {
        let (mut gather, mut now) = after(8);
        let mut held = Vec::new();
        for round in 0..20 {
            if gather.due(4, 400, now) != Due::Now {
                held.push(round);
                now += FLUSH;
            }
            gather.taken(load(4), now - FLUSH);
            // Four were in it, and four more are always said to be on their way.
            gather.completed(load(4), load(4), now, FLUSH);
        }
        assert_eq!(held, [0, 2, 6, 14]);
        gather.to_skip = 0;
        gather.completed(load(4), load(0), now, FLUSH);
        gather.taken(load(4), now);
        gather.completed(load(4), load(1), now, FLUSH);
        assert_eq!(gather.in_vain, 0);
    }

    #[test]
    fn a_batch_that_is_full_by_chance_was_held_in_vain() {
        let (mut gather, now) = after(8);
        let mut held = Vec::new();
        for round in 0..20 {
            if gather.due(4, 400, now) != Due::Now {
                held.push(round);
            }
            // As many as were outstanding, but of others: half as many came meanwhile.
            gather.taken(load(8), now);
            gather.completed(load(8), load(4), now, FLUSH);
        }
        assert_eq!(held, [0, 2, 6, 14]);
    }
}

//! When the open batch goes to the disk: at once, or together with those who are about to come
//! back.
//!
//! Pure: it is told the time. A flush costs the same for one record as for a hundred, so sending
//! the first appender that returns after an acknowledgement alone makes all others wait for a
//! flush of one record. Waiting for them costs nothing but what they take to come back. Whoever
//! does not come back must not be waited for long. Hence:
//!
//! - G1 A batch of [`BYTES`] goes at once: its transfer, not its flush, takes the time.
//! - G2 While batches are in flight, the open one goes when it has as many records as they have.
//! - G3 With nothing in flight, it goes when it has [`SHARE`] of the records that were
//!   outstanding at the last completion, or when [`HOLD`] of a usual flush has passed since.
//! - G4 Where G3 waited in vain, the next batch is not held; if it happens again, the next three,
//!   seven, up to [`SKIPPED_MAX`].

use std::time::{Duration, Instant};

/// A batch of so many bytes is not held.
pub(crate) const BYTES: usize = 64 << 10;

/// Batches of more records than this are left to the ring thread.
pub(crate) const INLINE_RECORDS_MAX: u32 = 64;

/// Batches of more bytes than this are left to the ring thread.
pub(crate) const INLINE_BYTES_MAX: usize = 64 << 10;

/// The share of the outstanding records that a batch waits for, as a fraction.
const SHARE: (u64, u64) = (3, 4);

/// A batch is held for this part of a usual flush at most.
const HOLD: u32 = 2;

/// So many batches at most are not held after a wait in vain.
const SKIPPED_MAX: u32 = 63;

/// How much of the last flush goes into the usual one.
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

#[derive(Debug)]
pub(crate) struct Gather {
    enabled: bool,
    batches_in_flight: u32,
    records_in_flight: u64,
    /// How many records G3 waits for.
    awaited: u64,
    hold_until: Option<Instant>,
    usual_flush: Duration,
    in_vain: u32,
    to_skip: u32,
}

impl Gather {
    /// Without `enabled`, every batch is due at once.
    pub(crate) fn new(enabled: bool) -> Gather {
        Gather {
            enabled,
            batches_in_flight: 0,
            records_in_flight: 0,
            awaited: 0,
            hold_until: None,
            usual_flush: Duration::ZERO,
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
            let as_many = records >= self.records_in_flight;
            return if as_many { Due::Now } else { Due::AfterLanding };
        }
        match self.hold_until {
            Some(until) if records < self.awaited && now < until => Due::At(until),
            _ => Due::Now,
        }
    }

    /// Until when the next batch would be held if its first record came now.
    pub(crate) fn holds_until(&self, now: Instant) -> Option<Instant> {
        let alone = self.is_in_flight() || self.awaited <= 1;
        self.hold_until.filter(|until| self.enabled && !alone && now < *until)
    }

    /// A batch of `records`, the first of which came at `opened`, leaves for the disk.
    pub(crate) fn taken(&mut self, records: u64, opened: Instant) {
        if let Some(until) = self.hold_until.take()
            && !self.is_in_flight()
        {
            let held = opened < until;
            if records >= self.awaited {
                self.in_vain = 0;
            } else if held {
                self.in_vain = (2 * self.in_vain + 1).min(SKIPPED_MAX);
                self.to_skip = self.in_vain;
            }
        }
        self.batches_in_flight += 1;
        self.records_in_flight += records;
    }

    /// A batch of `records` came back after `flush`, while `waiting` others are in the inbox.
    pub(crate) fn landed(&mut self, records: u64, waiting: u64, now: Instant, flush: Duration) {
        self.batches_in_flight = self.batches_in_flight.saturating_sub(1);
        self.records_in_flight = self.records_in_flight.saturating_sub(records);
        self.usual_flush = match self.usual_flush.is_zero() {
            true => flush,
            false => (self.usual_flush * (SMOOTHING - 1) + flush) / SMOOTHING,
        };
        if self.is_in_flight() {
            return;
        }
        self.hold_until = None;
        if self.to_skip > 0 {
            self.to_skip -= 1;
            return;
        }
        let outstanding = records + waiting;
        self.awaited = (outstanding * SHARE.0).div_ceil(SHARE.1);
        self.hold_until = Some(now + self.usual_flush / HOLD);
    }
}

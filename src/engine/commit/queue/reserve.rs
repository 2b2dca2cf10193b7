//! The queue's reserve: segments that are held back for records that give room back.
//!
//! A log gives room back by writing: a delete, or the copy of what is to stay. So a log that is
//! full to the last block could never be emptied. Some spares are therefore not for everybody.
//!
//! ```text
//! purpose     spares   reserve
//! Keep        any      none
//! Delete      any      all but the last one
//! Compact     any      any
//! ```
//!
//! - E1 While the reserve is not whole, what is prepared goes there first.
//! - E2 A segment of the reserve that was taken takes no record of less purpose, until the reserve
//!   is whole again: from then on it is a segment like any other.

use crate::engine::commit::queue::WriteQueue;
use crate::io::FileId;
use crate::mutation::mutated;

/// One part in so many of a segment, and so many units, go to the headers and the padding of copies
/// beyond what the originals had.
const EXTRA_SHARE: u64 = 8;
const EXTRA_UNITS: u64 = 2;

/// What records are for, in the order of what they may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// To stay.
    #[default]
    Keep,
    /// To make others give their room back.
    Delete,
    /// To have other room freed as soon as they are durable.
    Compact,
}

/// How much is held back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReserveLimits {
    pub(crate) segments: usize,
    /// The bytes of each.
    pub(crate) bytes: u64,
}

impl ReserveLimits {
    /// So many segments, each a little longer than others, because the live records of one segment
    /// are to have room in it whatever the batches are like in which they are copied.
    pub(crate) fn new(segments: usize, segment_bytes: u64, unit: u64) -> ReserveLimits {
        let bytes = segment_bytes + segment_bytes / EXTRA_SHARE + EXTRA_UNITS * unit;
        ReserveLimits { segments, bytes }
    }
}

#[derive(Debug, Default)]
pub(super) struct Reserve {
    ready: Vec<(FileId, u64)>,
    /// What is being prepared is for the reserve.
    is_preparing: bool,
    /// The least purpose that the active segment is for.
    least: Purpose,
}

impl Reserve {
    /// Whether the active segment takes records for this.
    #[inline(always)]
    pub(super) fn lets_in(&self, purpose: Purpose) -> bool {
        purpose >= self.least
    }

    fn take(&mut self, need: u64, purpose: Purpose) -> Option<(FileId, u64)> {
        let kept = match purpose {
            Purpose::Keep if mutated("kv_put_from_reserve") => 0,
            Purpose::Keep => return None,
            Purpose::Delete if mutated("kv_delete_from_last_reserve") => 0,
            Purpose::Delete => 1,
            Purpose::Compact => 0,
        };
        if self.ready.len() <= kept {
            return None;
        }
        let at = self.ready.iter().position(|&(_, size)| size >= need)?;
        self.least = purpose;
        Some(self.ready.remove(at))
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = (FileId, u64)> + '_ {
        self.ready.drain(..)
    }
}

impl WriteQueue {
    /// The next segment for records of so many bytes, if one is ready.
    pub(super) fn take_spare(&mut self, need: u64, purpose: Purpose) -> Option<(FileId, u64)> {
        let Some(at) = self.spares.iter().position(|&(_, size)| size >= need) else {
            return self.reserve.take(need, purpose);
        };
        self.reserve.least = Purpose::Keep;
        Some(self.spares.remove(at))
    }

    pub(super) fn reserve_is_whole(&self) -> bool {
        self.reserve.ready.len() >= self.limits.reserve.segments
    }

    /// The bytes of a segment to prepare for the reserve, if it is not whole.
    pub(super) fn reserve_request(&mut self) -> Option<u64> {
        self.reserve.is_preparing = !self.reserve_is_whole();
        self.reserve.is_preparing.then_some(self.limits.reserve.bytes)
    }

    /// Takes in what was prepared, if it is for the reserve.
    pub(super) fn reserve_ready(&mut self, file: FileId, capacity: u64) -> bool {
        if !std::mem::take(&mut self.reserve.is_preparing) {
            return false;
        }
        self.reserve.ready.push((file, capacity));
        if self.reserve_is_whole() {
            self.reserve.least = Purpose::Keep;
        }
        true
    }

    /// What was being prepared for the reserve did not come about: nobody's wish waits for it.
    pub(super) fn reserve_refused(&mut self) {
        if std::mem::take(&mut self.reserve.is_preparing) {
            self.wanted = None;
        }
    }

    /// Whether what is being prepared is for the reserve.
    pub(crate) fn prepares_reserve(&self) -> bool {
        self.reserve.is_preparing
    }

    /// How many segments are held back, and their bytes.
    pub(crate) fn reserve(&self) -> (u64, u64) {
        let bytes = self.reserve.ready.iter().map(|&(_, bytes)| bytes).sum();
        (self.reserve.ready.len() as u64, bytes)
    }

    /// Something was removed: what was refused may have room now.
    pub(crate) fn room_came_back(&mut self) {
        if self.limits.reserve.segments > 0 {
            self.refusal = None;
        }
    }
}

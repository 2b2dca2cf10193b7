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
use crate::engine::commit::queue::room::Purpose;
use crate::io::FileId;

impl WriteQueue {
    /// The next segment for records of so many bytes, if one is ready.
    pub(super) fn take_spare(&mut self, need: u64, purpose: Purpose) -> Option<(FileId, u64)> {
        let Some(at) = self.spares.iter().position(|&(_, size)| size >= need) else {
            return self.reserve.take(need, purpose);
        };
        self.reserve.least = Purpose::Keep;
        let spare = self.spares.remove(at);
        self.note_taken(spare.1);
        Some(spare)
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

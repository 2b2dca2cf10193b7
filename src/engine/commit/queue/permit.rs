//! Room that is held for records that are still to come.
//!
//! - H1 What is lent, and what is held, is together within the bytes of the queue; but one permit
//!   may always be given.
//! - H2 What is held fits into the active segment, or into a spare that is ready. A log that leaves
//!   its segment for an explicit rotation breaks this for a moment: then a permit waits.
//! - H3 In the worst case every permit has a batch of its own, so that is what is held for it.

use crate::engine::commit::queue::room::Room;
use crate::engine::commit::queue::{Blocked, WriteQueue};
use crate::format::HEADER_SIZE;

impl WriteQueue {
    /// Holds room for `payload` bytes, for the one with this ticket in the line.
    pub(crate) fn hold(&mut self, payload: usize, ticket: Option<u64>) -> Result<Room, Blocked> {
        if let Some(ended) = &self.ended {
            return Err(Blocked::Ended(ended.clone()));
        }
        let bytes = (HEADER_SIZE + payload).next_multiple_of(self.limits.unit as usize);
        if self.frozen > 0
            || self.line.is_behind(ticket)
            || !self.pool.has_small_room(bytes, self.held.bytes())
        {
            return Err(Blocked::Room);
        }
        if !self.has_segment_for(bytes as u64) {
            let want = (bytes + self.held.bytes()) as u64;
            self.wanted = Some(self.wanted.unwrap_or(0).max(want));
            return Err(Blocked::Segment);
        }
        let room = Room { bytes, payload };
        self.held.hold(room);
        Ok(room)
    }

    /// A permit is not used.
    pub(crate) fn drop_room(&mut self, room: Room) {
        self.held.give_back(room);
    }

    /// Whether so many bytes have a place in the active segment or in a spare, beside what is held.
    fn has_segment_for(&self, need: u64) -> bool {
        self.fits_active(need)
            || self.spares.iter().any(|&(_, size)| size >= need + self.held.bytes() as u64)
    }

    /// Whether a batch of `need` bytes may go to the active segment.
    pub(super) fn fits_active(&self, need: u64) -> bool {
        let held = self.held.bytes() as u64;
        self.active.as_ref().is_some_and(|active| {
            let end = self.next_place(active) + need;
            end + held <= active.capacity
                || end <= active.capacity && self.spares.iter().any(|&(_, size)| size >= held)
        })
    }
}

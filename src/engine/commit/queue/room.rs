//! What records are for, and the room that is kept for some of them.

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
    pub(super) ready: Vec<(FileId, u64)>,
    /// What is being prepared is for the reserve.
    pub(super) is_preparing: bool,
    /// The least purpose that the active segment is for.
    pub(super) least: Purpose,
}

impl Reserve {
    /// Whether the active segment takes records for this.
    #[inline(always)]
    pub(super) fn lets_in(&self, purpose: Purpose) -> bool {
        purpose >= self.least
    }

    pub(super) fn take(&mut self, need: u64, purpose: Purpose) -> Option<(FileId, u64)> {
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

/// The room of one permit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// Of the queue's memory, and of a segment.
    pub(super) bytes: usize,
    /// The most payload that it is for, with the heads of the records.
    pub(crate) payload: usize,
}

/// What is held in all.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: usize,
}

impl Held {
    pub(super) fn bytes(&self) -> usize {
        if mutated("permits_hold_nothing") { 0 } else { self.bytes }
    }

    pub(super) fn give_back(&mut self, room: Room) {
        self.bytes -= room.bytes;
    }

    pub(super) fn hold(&mut self, room: Room) {
        self.bytes += room.bytes;
    }
}

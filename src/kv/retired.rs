//! How far compaction has come, and which segments snapshots still need.

use std::collections::BTreeMap;

use crate::Seq;
use crate::kv::damaged::DamagedRecord;
use crate::mutation::mutated;

/// The segments that compaction is done with, and the snapshots that may still read them.
#[derive(Debug, Default)]
pub(crate) struct Retired {
    /// No key points to a record before this one.
    before: Seq,
    /// The segment at which the last compaction failed.
    pub(super) stuck_at: Option<Seq>,
    /// The damaged records in that segment.
    pub(super) damaged: Vec<DamagedRecord>,
    /// How many snapshots were taken at each value of `before`.
    pins: BTreeMap<Seq, usize>,
}

impl Retired {
    pub(crate) fn before(&self) -> Seq {
        self.before
    }

    pub(crate) fn stuck_at(&self) -> Option<Seq> {
        self.stuck_at
    }

    pub(crate) fn damaged(&self) -> &[DamagedRecord] {
        &self.damaged
    }

    /// Retires all records before `seq`.
    pub(super) fn retire_before(&mut self, seq: Seq) {
        debug_assert!(self.before <= seq, "segments are retired oldest first");
        self.before = seq;
    }

    /// Keeps the segments that are not retired yet. The result is for [`unpin`](Self::unpin).
    pub(super) fn pin(&mut self) -> Seq {
        *self.pins.entry(self.before).or_default() += 1;
        self.before
    }

    /// Ends a [`pin`](Self::pin).
    pub(super) fn unpin(&mut self, before: Seq) {
        if let Some(count) = self.pins.get_mut(&before) {
            *count -= 1;
            if *count == 0 {
                self.pins.remove(&before);
            }
        }
    }

    /// The first record that a key or a snapshot may still need.
    pub(super) fn needed_from(&self) -> Seq {
        let pinned = self.pins.keys().next().copied();
        let pinned = pinned.filter(|_| !mutated("kv_forget_pins"));
        pinned.unwrap_or(self.before).min(self.before)
    }
}

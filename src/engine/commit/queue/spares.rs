//! The queue's part in spares: when one is asked for, and what a refusal is worth.

use std::sync::Arc;

use crate::engine::commit::queue::WriteQueue;
use crate::error::Error;
use crate::io::FileId;

impl WriteQueue {
    /// Whether [`spare_request`](Self::spare_request) would have an answer.
    pub(crate) fn wants_spare(&self, ahead_max: usize) -> bool {
        if self.preparing || self.ended.is_some() {
            return false;
        }
        let is_short =
            !self.reserve_is_whole() || self.spares.len() < self.limits.spares.min(ahead_max);
        let ahead = self.active.is_some() && self.refusal.is_none() && is_short;
        ahead || self.wanted.is_some()
    }

    /// The bytes of a segment that the driver should prepare now, if any: one that an append waits
    /// for, or one ahead while there are fewer than the log holds, and fewer than `ahead_max`.
    pub(crate) fn spare_request(&mut self, ahead_max: usize) -> Option<u64> {
        if !self.wants_spare(ahead_max) {
            return None;
        }
        self.preparing = true;
        if let Some(bytes) = self.reserve_request() {
            return Some(bytes);
        }
        Some(self.limits.segment_bytes.max(self.wanted.take().unwrap_or(0)))
    }

    /// A spare of `capacity` bytes is there.
    pub(crate) fn spare_ready(&mut self, file: FileId, capacity: u64) {
        self.preparing = false;
        self.refusal = None;
        if self.reserve_ready(file, capacity) {
            return;
        }
        // Whoever asked once more while it was prepared gets it, too.
        self.wanted = self.wanted.filter(|&bytes| bytes > capacity);
        self.spares.push((file, capacity));
    }

    /// There is no room for a spare.
    pub(crate) fn spare_refused(&mut self, cause: Arc<Error>) {
        self.preparing = false;
        self.reserve_refused();
        self.refusals += 1;
        self.refusal = Some(cause);
    }

    /// How often a spare was refused so far, to tell a later refusal from an earlier one.
    pub(crate) fn refusals(&self) -> u64 {
        self.refusals
    }

    /// Why a spare was refused last, unless one was prepared since.
    pub(crate) fn refusal(&self) -> Option<Arc<Error>> {
        self.refusal.clone()
    }

    /// The last refusal, told once to a caller that does not wait.
    pub(crate) fn take_refusal(&mut self) -> Option<Arc<Error>> {
        self.refusal.take()
    }

    /// All spares, for removal at close.
    pub(crate) fn take_spares(&mut self) -> Vec<FileId> {
        self.spares.drain(..).chain(self.reserve.drain()).map(|(file, _)| file).collect()
    }
}

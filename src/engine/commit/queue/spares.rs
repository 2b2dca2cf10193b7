//! The queue's part in spares: when one is asked for, how long it is, and what a refusal is worth.
//!
//! ```text
//! 256 KiB   4 MiB            32 MiB ...
//! first ──> growth ────────> full ──> full ──> ...   each is prepared while the one before fills
//! ```
//!
//! 1. The first segment of a life is short, so the first append waits for few zeros. The next one
//!    is `GROWTH` times as long, until they are full: zeros are written faster than records.
//! 2. Only full spares count as held ready. As many are as the user asked for, or as the last burst
//!    used up, to a limit.

use std::sync::Arc;

use crate::engine::commit::queue::ahead::GROWTH;
use crate::engine::commit::queue::{Active, Limits, WriteQueue};
use crate::error::Error;
use crate::io::FileId;

impl WriteQueue {
    /// Whether [`spare_request`](Self::spare_request) would have an answer.
    pub(crate) fn wants_spare(&self, ahead_max: usize) -> bool {
        if self.preparing || self.ended.is_some() {
            return false;
        }
        let is_full = |spare: &&(FileId, u64)| spare.1 >= self.limits.segment_bytes;
        let full = self.spares.iter().filter(is_full).count();
        let is_few = full < self.held_ready() && self.spares.len() < ahead_max;
        let is_short = !self.reserve_is_whole() || is_few;
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
        self.ahead.is_awaited = self.wanted.is_some();
        if let Some(bytes) = self.reserve_request() {
            return Some(bytes);
        }
        Some(self.next_segment_bytes().max(self.wanted.take().unwrap_or(0)))
    }

    /// How many full spares are held ready.
    fn held_ready(&self) -> usize {
        let Limits { spares, burst_spares, .. } = self.limits;
        if spares == 0 { 0 } else { spares.max(self.ahead.last_burst.min(burst_spares)) }
    }

    fn next_segment_bytes(&self) -> u64 {
        let next = self.ahead.grown_bytes.saturating_mul(GROWTH);
        next.max(self.limits.first_segment_bytes).min(self.limits.segment_bytes)
    }

    /// The bytes of a segment that needs no new zeros, if so many were asked for.
    pub(crate) fn full_segment_bytes(&self, asked: u64) -> u64 {
        asked.max(self.limits.segment_bytes)
    }

    /// A segment of so many bytes was taken.
    pub(super) fn note_taken(&mut self, bytes: u64) {
        self.ahead.taken_bytes = self.ahead.taken_bytes.saturating_add(bytes);
    }

    /// A burst is over: from now on as many spares are held ready as it used.
    pub(crate) fn rest(&mut self) {
        let taken = std::mem::take(&mut self.ahead.taken_bytes);
        if taken > 0 {
            let segments = taken.div_ceil(self.limits.segment_bytes);
            self.ahead.last_burst = usize::try_from(segments).unwrap_or(usize::MAX);
        }
    }

    /// Whether zeros are in a hurry: an append waits for them, or soon will.
    pub(crate) fn is_pressed(&self) -> bool {
        let is_half_full = |active: &Active| self.next_place(active) > active.capacity / 2;
        let is_next = self.spares.is_empty() && self.active.as_ref().is_some_and(is_half_full);
        self.ahead.is_awaited || self.wanted.is_some() || is_next
    }

    /// A spare of `capacity` bytes is there.
    pub(crate) fn spare_ready(&mut self, file: FileId, capacity: u64) {
        self.preparing = false;
        self.ahead.is_awaited = false;
        self.refusal = None;
        if self.reserve_ready(file, capacity) {
            return;
        }
        self.ahead.grown_bytes = self.ahead.grown_bytes.max(capacity);
        // Whoever asked once more while it was prepared gets it, too.
        self.wanted = self.wanted.filter(|&bytes| bytes > capacity);
        self.spares.push((file, capacity));
    }

    /// There is no room for a spare.
    pub(crate) fn spare_refused(&mut self, cause: Arc<Error>) {
        self.preparing = false;
        self.ahead.is_awaited = false;
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

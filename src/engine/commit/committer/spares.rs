//! The committer's part in spares: asking for them, taking them in, giving them back.
//!
//! ```text
//! batches   small             │ large                                      │ small, or none
//! spares    3 written, again  │ 2, 1, 0 written, then 1 reserved and again │ 1 reserved, 2 written
//! ```
//!
//! 1. Unless what spares have was asked for, none is prepared while batches are large and there is
//!    one left: its zeros, or the metadata of a reserved one, would cost the burst that the spares
//!    were held for. Then they are prepared one by one, as the log needs them, and if batches are
//!    very large, only reserved.
//! 2. Once batches are small for a while, or there was none for [`REST`], spares are prepared until
//!    there are as many as the log holds. One that was reserved counts as one; it is the oldest, so
//!    it is used first.
//! 3. An append that waits for a segment gets one, whatever batches are like.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::commit::board::Board;
use crate::engine::commit::committer::{Committer, InFlightOp, SegmentFile};
use crate::engine::commit::queue::WriteQueue;
use crate::error::{Error, Result};
use crate::format::CutHistory;
use crate::io::{Blocks, FileId, FileOp};
use crate::mutation::mutated;
use crate::segment::name::spare_name;
use crate::sync::now;

/// The zeros for a segment are as many bytes as the batches that will replace them, on the same
/// disk and at the same time. Where the usual batch is larger than this, they take longer than the
/// metadata that each sync has to write without them ([`manual::tuning`](crate::manual::tuning)).
const RESERVE_OVER_BYTES: u64 = 192 << 10;

/// Where the usual batch is larger than this, its transfer takes as long as its flush, and zeros
/// beside it are felt: a burst begins, and what was held ready is used up first.
const BURST_OVER_BYTES: u64 = 64 << 10;

/// Where it is smaller than this again, the burst is over. With one bound for both, a few batches
/// that are small by chance have zeros written in the middle of it.
const BURST_BELOW_BYTES: u64 = 16 << 10;

const _: () =
    assert!(BURST_BELOW_BYTES < BURST_OVER_BYTES && BURST_OVER_BYTES <= RESERVE_OVER_BYTES);

/// After so long without a batch, a burst is over.
const REST: Duration = Duration::from_millis(100);

/// One part in so many of a batch's size goes into the usual one.
const SMOOTHING: u64 = 8;

impl Committer {
    /// The spare to prepare now, if any.
    pub(super) fn spare_request(&self, queue: &mut WriteQueue) -> Option<u64> {
        queue.spare_request(self.spares_ahead_max())
    }

    /// Whether the ring thread has a spare to prepare.
    pub(super) fn wants_spare(&self, queue: &WriteQueue) -> bool {
        queue.wants_spare(self.spares_ahead_max())
    }

    /// How many spares there may be before none is prepared ahead of need.
    fn spares_ahead_max(&self) -> usize {
        if self.config.blocks.is_none() && self.in_burst { 1 } else { usize::MAX }
    }

    /// Starts a spare of `asked` bytes. The file is rounded up to whole units; what only the
    /// rounding brought is not offered, so a tiny segment still holds no more than it was asked to.
    pub(super) fn prepare(&mut self, board: &Board, asked: u64) {
        self.next_file += 1;
        let file = self.next_file;
        let name = spare_name(self.config.shard, file);
        let reuse = board.recycled().pop();
        // What is recycled has its blocks already.
        let asked = match &reuse {
            Some(_) => board.queue().full_segment_bytes(asked),
            None => asked,
        };
        let mut salt = [0; 8];
        if let Err(error) = getrandom::fill(&mut salt) {
            let source = std::io::Error::other(error.to_string());
            return self.fail(Error::io("get random bytes for", &board.dir, source));
        }
        // Salt 0 means a stand-alone batch.
        let salt = u64::from_le_bytes(salt).max(CutHistory::SALT_MIN);
        let mut salt = CutHistory::mark(self.config.cuts, salt);
        if mutated("reuse_salt") {
            salt = 1;
        }
        self.files.insert(file, SegmentFile { name: name.clone(), salt, commits: None });
        let bytes = asked.next_multiple_of(self.config.unit);
        let recycled = reuse.is_some();
        let blocks = match self.config.blocks {
            // What is held back must have its room, whatever other segments have.
            None | Some(Blocks::AsTheyCome) if board.queue().prepares_reserve() => Blocks::Reserved,
            _ => self.blocks(),
        };
        let reserved = blocks == Blocks::Reserved;
        self.submit(
            InFlightOp::Prepare { file, name: name.clone(), bytes: asked, recycled, reserved },
            FileOp::Prepare { file, name, reuse, bytes, blocks, pace: Arc::clone(&self.pace) },
        );
    }

    /// Forgets how large batches were, if the last one is long ago.
    pub(crate) fn forget_burst(&mut self, board: &Board) {
        if self.burst_ends_at().is_none_or(|end| end > now()) {
            return;
        }
        if std::mem::take(&mut self.in_burst) {
            self.usual_batch_bytes = 0;
        }
        if std::mem::take(&mut self.took_segment) {
            board.queue().rest();
        }
    }

    /// When to look again whether spares can be prepared, if that only takes time.
    pub(crate) fn next_prealloc_at(&self, board: &Board) -> Option<Instant> {
        let end = self.burst_ends_at()?;
        let queue = board.queue();
        let later = queue.wants_spare(usize::MAX) && !self.wants_spare(&queue);
        (later || self.took_segment).then_some(end)
    }

    /// When a burst would be over, if there is one and nothing more comes.
    fn burst_ends_at(&self) -> Option<Instant> {
        let ends = (self.in_burst || self.took_segment) && self.pipeline.writing() == 0;
        self.last_batch_at.filter(|_| ends).map(|last| last + REST)
    }

    /// A batch of so many bytes was written.
    pub(super) fn note_size(&mut self, bytes: u64) {
        self.last_batch_at = Some(now());
        self.pace.note_batch();
        self.usual_batch_bytes = match self.usual_batch_bytes {
            0 => bytes,
            usual => (usual * (SMOOTHING - 1) + bytes) / SMOOTHING,
        };
        let bound = if self.in_burst { BURST_BELOW_BYTES } else { BURST_OVER_BYTES };
        self.in_burst = self.usual_batch_bytes > bound;
    }

    /// What the next spare is to have before it is written to.
    fn blocks(&self) -> Blocks {
        let large = self.usual_batch_bytes > RESERVE_OVER_BYTES;
        self.config.blocks.unwrap_or(if large { Blocks::Reserved } else { Blocks::Written })
    }

    pub(super) fn prepared(
        &mut self,
        board: &Board,
        file: FileId,
        name: &str,
        (bytes, recycled, reserved): (u64, bool, bool),
        result: Result<()>,
    ) {
        match result {
            Ok(()) => {
                let mut metrics = board.metrics();
                metrics.spares_prepared += 1;
                metrics.spares_recycled += u64::from(recycled);
                metrics.spares_reserved += u64::from(reserved);
                drop(metrics);
                if self.stopping {
                    return self.discard(file);
                }
                board.queue().spare_ready(file, bytes);
                self.notifications.room = true;
            }
            Err(error) => {
                self.files.remove(&file);
                if !error.is_shortage() {
                    return self.fail(error);
                }
                board.metrics().spares_refused += 1;
                let refusal = refusal(error, board.dir.join(name), bytes);
                board.queue().spare_refused(Arc::new(refusal));
                self.notifications.room = true;
            }
        }
    }

    /// D2: after a failure the spare stays; recovery removes it.
    pub(super) fn discard(&mut self, file: FileId) {
        if self.failure.is_some() && !mutated("discard_after_failure") {
            return;
        }
        if let Some(segment) = self.files.remove(&file) {
            self.submit(InFlightOp::Discard, FileOp::Discard { file, name: segment.name });
        }
    }
}

/// The answer to appends that need a segment for which there is no room.
fn refusal(error: Error, path: std::path::PathBuf, bytes: u64) -> Error {
    match error {
        Error::Io { source, .. } => Error::NoSpace { path, bytes, source },
        other => other,
    }
}

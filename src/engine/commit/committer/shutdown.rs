//! What a committer does beside committing batches: it fails, comes to rest, goes on from somewhere
//! else, and ends.

use std::sync::Arc;

use crate::engine::commit::board::Board;
use crate::engine::commit::committer::{Committer, InFlightOp};
use crate::error::Error;
use crate::format::CutHistory;
use crate::mutation::mutated;

impl Committer {
    /// D2.
    pub(crate) fn fail(&mut self, error: Error) {
        if self.failure.is_some() {
            return;
        }
        let cause = Arc::new(error);
        // What was collected for this round was not published.
        self.notifications.acknowledged.clear();
        self.notifications.failure = Some((Arc::clone(&cause), self.pipeline.abandon()));
        self.failure = Some(cause);
    }

    pub(crate) fn failure(&self) -> Option<&Arc<Error>> {
        self.failure.as_ref()
    }

    /// Nothing that was in flight will complete.
    pub(crate) fn give_up(&mut self, error: Error) {
        self.fail(error);
        self.tasks.clear();
        self.outbox.clear();
    }

    /// Someone waits for stable storage up to `seq`.
    pub(crate) fn want_durable(&mut self, seq: u64) {
        self.pipeline.want_durable(seq);
    }

    /// Goes on after `seq`. Nothing may be in flight.
    pub(crate) fn reset(&mut self, board: &Board, seq: u64, cuts: u64) {
        self.pipeline.reset(seq);
        self.config.cuts = cuts;
        // Those that are left are spares: what they become begins after the cut.
        for file in self.files.values_mut() {
            file.salt = CutHistory::mark(cuts, file.salt);
        }
        // First: who sees the watermark set back sees why.
        board.queue().reset_seq(seq + 1, cuts);
        board.watermarks.reset(seq);
    }

    /// Up to where everything is durable.
    pub(crate) fn durable_seq(&self) -> u64 {
        self.pipeline.durable_seq()
    }

    /// Whether anything is in flight.
    pub(crate) fn is_busy(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Whether any operation is in flight that changes a segment.
    fn moves(&self) -> bool {
        let moving =
            |task: &InFlightOp| !matches!(task, InFlightOp::Prepare { .. } | InFlightOp::Discard);
        self.tasks.iter().any(|(_, task)| moving(task))
    }

    /// Retires the active segment, once the queue is empty. Returns whether all segments are
    /// sealed and all records durable.
    pub(crate) fn quiesce(&mut self, board: &Board) -> bool {
        if !board.queue().is_empty() || self.moves() {
            return false;
        }
        self.pipeline.retire();
        self.act();
        let rests = self.pipeline.is_idle() && !self.moves();
        if rests {
            board.queue().leave_segment();
        }
        rests
    }

    /// Nothing more will be asked: gives the spares back.
    pub(crate) fn stop(&mut self, board: &Board) {
        self.stopping = true;
        let spares = board.queue().take_spares();
        for file in spares {
            if mutated("leave_spares") {
                continue;
            }
            self.discard(file);
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// It was stopped, and nothing is in flight any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.stopping && self.tasks.is_empty()
    }

    /// Closes all files.
    pub(crate) fn close_files(&mut self) {
        self.files.clear();
    }
}

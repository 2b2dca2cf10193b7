//! Which segments a reader may read, and what was truncated since it began.

use std::sync::Arc;

use crate::engine::commit::shared::Shared;
use crate::engine::read::cuts::Mark;
use crate::engine::read::watch::{Truncation, Watch};
use crate::engine::recovery::SegmentInfo;
use crate::error::Result;
use crate::mutation::mutated;
use crate::seq::Seq;

/// Where a reader learns which segments there are.
#[derive(Clone)]
pub(crate) enum Segments {
    /// As they were when the log was looked at, and what tells what happened since.
    Fixed(Arc<[SegmentInfo]>, Option<Arc<Watch>>),
    /// Of the log that is open.
    Live(Arc<Shared>),
}

impl Segments {
    /// The segment that has `seq`, and the last sequence number that it may have.
    pub(crate) fn find(&self, seq: Seq) -> Option<(SegmentInfo, Seq)> {
        let find = |segments: &[SegmentInfo]| {
            let at = segments.partition_point(|s| s.first_seq <= seq).checked_sub(1)?;
            let segment = segments[at].clone();
            let next = segments.get(at + 1).map(|next| next.first_seq.prev());
            let own = Some(segment.last_seq).filter(|&last| last != Seq::NONE);
            let last = own.or(next).unwrap_or(Seq::new(u64::MAX));
            Some((segment, last))
        };
        match self {
            Segments::Fixed(segments, _) => find(segments),
            Segments::Live(shared) => find(&shared.segments()),
        }
    }

    /// What had been cut off when somebody begins to read.
    pub(crate) fn mark(&self) -> Mark {
        match self {
            Segments::Fixed(..) => Mark::default(),
            Segments::Live(shared) => shared.cuts.mark(),
        }
    }

    /// The last record that is left of those that were there at `mark`.
    pub(crate) fn left_since(&self, mark: Mark) -> Seq {
        let left = match self {
            Segments::Fixed(..) => None,
            Segments::Live(shared) => shared.cuts.left_since(mark),
        };
        Seq::new(left.unwrap_or(u64::MAX))
    }

    /// What a writer elsewhere truncated since, if `seq` is of it.
    pub(crate) fn truncated_elsewhere(&self, seq: Seq) -> Result<Option<Truncation>> {
        match self {
            Segments::Fixed(_, Some(watch)) if !mutated("never_look_at_state_again") => {
                watch.truncated(seq)
            }
            _ => Ok(None),
        }
    }

    /// The last record that cuts by a writer elsewhere left.
    pub(crate) fn left_elsewhere(&self) -> Result<Seq> {
        let left = match self {
            Segments::Fixed(_, Some(watch)) if !mutated("ask_at_segments_only") => watch.left()?,
            _ => None,
        };
        Ok(Seq::new(left.unwrap_or(u64::MAX)))
    }

    pub(crate) fn first_seq(&self) -> Seq {
        let first = |segments: &[SegmentInfo]| segments.first().map(|s| s.first_seq);
        let first = match self {
            Segments::Fixed(segments, _) => first(segments),
            Segments::Live(shared) => first(&shared.segments()),
        };
        first.unwrap_or(Seq::FIRST)
    }
}

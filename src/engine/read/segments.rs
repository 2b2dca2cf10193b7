//! The segments of a reader: which ones exist, and what was truncated since it began.

use std::sync::Arc;

use crate::engine::commit::shared::Shared;
use crate::engine::read::cuts::CutMark;
use crate::engine::read::places::BatchPlace;
use crate::engine::read::watch::{Truncation, Watch};
use crate::engine::recovery::SegmentInfo;
use crate::error::Result;
use crate::mutation::mutated;
use crate::seq::Seq;

/// The source of a reader's segments.
#[derive(Clone)]
pub(crate) enum Segments {
    /// The segments as recovery found them, and the watch on later truncations.
    Fixed(Arc<[SegmentInfo]>, Option<Arc<Watch>>),
    /// The segments of a log that is open here.
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

    /// The cuts so far; a reader takes the mark when it begins.
    pub(crate) fn mark(&self) -> CutMark {
        match self {
            Segments::Fixed(..) => CutMark::default(),
            Segments::Live(shared) => shared.cuts.mark(),
        }
    }

    /// The last record that remains of those at `mark`.
    pub(crate) fn left_since(&self, mark: CutMark) -> Seq {
        let left = match self {
            Segments::Fixed(..) => None,
            Segments::Live(shared) => shared.cuts.left_since(mark),
        };
        Seq::new(left.unwrap_or(u64::MAX))
    }

    /// The truncation by a writer in another process, if it took `seq`.
    pub(crate) fn truncated_elsewhere(&self, seq: Seq) -> Result<Option<Truncation>> {
        match self {
            Segments::Fixed(_, Some(watch)) if !mutated("never_look_at_state_again") => {
                watch.truncated(seq)
            }
            _ => Ok(None),
        }
    }

    /// The last record that remains after the cuts by a writer in another process.
    pub(crate) fn left_elsewhere(&self) -> Result<Seq> {
        let left = match self {
            Segments::Fixed(_, Some(watch)) if !mutated("ask_at_segments_only") => watch.left()?,
            _ => None,
        };
        Ok(Seq::new(left.unwrap_or(u64::MAX)))
    }

    /// Where in `segment` to begin for the record `seq`, if that is known.
    pub(crate) fn place(&self, segment: Seq, seq: Seq) -> Option<BatchPlace> {
        match self {
            Segments::Fixed(..) => None,
            Segments::Live(shared) => shared.places.before(segment.get(), seq.get()),
        }
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

//! The tail of a segment: where its valid batches end, and the evidence about what is missing.
//!
//! Pure: recovery's scan fills a [`Tail`] in, and the table classifies its [`facts`](Tail::facts).

use std::path::{Path, PathBuf};

use super::report::RecoveryPolicy;
use super::table::{End, Later, TailFacts};
use crate::error::{Corruption, CorruptionKind, Witness};
use crate::format::State;
use crate::segment::reader::LaterBatch;
use crate::seq::Seq;

/// Where the valid batches of a segment end.
#[derive(Debug)]
pub(super) struct Tail {
    /// The segment; `None` if there is no file.
    pub(super) name: Option<String>,
    pub(super) end: End,
    /// Where the next batch would be, within the file.
    pub(super) offset: u64,
    /// The end of the last batch, without its padding.
    pub(super) bytes: u64,
    pub(super) file_bytes: u64,
    pub(super) next_seq: u64,
    /// The last record that could count here.
    pub(super) limit: u64,
    pub(super) has_batch: bool,
    /// How often the log had been cut when the segment began.
    pub(super) cuts: Option<u16>,
    pub(super) later: Option<LaterBatch>,
    /// The last record here, if this segment overlaps the next: the name of the next one claims
    /// records that this one has.
    pub(super) overlap: Option<u64>,
    /// The overlap of the segment before, if only the name of this one voids its records.
    pub(super) voided: Option<u64>,
    /// The last record of a batch of another log in this place; 0 if there is none.
    pub(super) other_log_seq: u64,
}

impl Tail {
    pub(super) fn without_file(next_seq: u64) -> Tail {
        Tail {
            name: None,
            end: End::OfFile,
            offset: 0,
            bytes: 0,
            file_bytes: 0,
            next_seq,
            limit: u64::MAX,
            has_batch: false,
            cuts: None,
            later: None,
            overlap: None,
            voided: None,
            other_log_seq: 0,
        }
    }

    /// The first missing record. Records before the first live one may be missing.
    pub(super) fn first_missing(&self, state: &State) -> u64 {
        self.next_seq.max(state.first_seq)
    }

    /// The later batch, if it proves that the first missing record was durable.
    fn proof(&self, state: &State) -> Option<LaterBatch> {
        self.later.filter(|later| later.durable_seq >= self.first_missing(state))
    }

    /// What the table needs to know; `next` is the first record of the next segment.
    pub(super) fn facts(
        &self,
        state: &State,
        next: Option<u64>,
        policy: RecoveryPolicy,
    ) -> TailFacts {
        let missing = self.first_missing(state);
        TailFacts {
            end: self.end,
            later_batch: match self.later {
                _ if self.proof(state).is_some() || self.voided.is_some() => Later::Proves,
                Some(_) => Later::Unproven,
                None => Later::None,
            },
            later_segment: next.is_some(),
            checkpoint_proves: checkpoint_seq(state) >= missing,
            close_proves: state.last_seq >= missing,
            policy,
        }
    }

    /// The last record that is known to be missing.
    pub(super) fn last_missing(&self, state: &State, next: Option<u64>) -> u64 {
        match (next, self.proof(state), self.voided) {
            (Some(next), _, _) => next - 1,
            (None, Some(later), _) => later.durable_seq.min(later.first_seq - 1).min(self.limit),
            (None, None, Some(voided)) => voided.min(self.limit),
            (None, None, None) => {
                let known = checkpoint_seq(state).max(state.last_seq);
                known.max(self.other_log_seq).max(self.first_missing(state))
            }
        }
    }

    /// The damage that this tail shows.
    pub(super) fn corruption(
        &self,
        dir: &Path,
        range: (u64, u64),
        witness: Witness,
        has_next: bool,
    ) -> Corruption {
        let (path, offset) = match &self.name {
            Some(name) => (dir.join(name), self.offset),
            None => (PathBuf::from(dir), 0),
        };
        let ends_whole = self.end == End::Limit || (self.end == End::OfFile && has_next);
        let (path, offset, kind) = match self.end {
            _ if self.name.is_none() => (path, offset, CorruptionKind::SegmentMissing),
            _ if ends_whole && self.has_batch => {
                (PathBuf::from(dir), 0, CorruptionKind::SegmentMissing)
            }
            End::Damaged => (path, offset, CorruptionKind::Damaged),
            End::OtherLog => (path, offset, CorruptionKind::OtherLog),
            _ => (path, offset, CorruptionKind::Missing),
        };
        Corruption::new(path, offset, (Seq::new(range.0), Seq::new(range.1)), kind, witness)
    }

    /// Which bytes follow the valid batches, unless all of them are blank.
    pub(super) fn bytes_behind(&self) -> Option<(String, u64, u64)> {
        let has_bytes = !matches!(self.end, End::OfFile | End::Blank);
        let name = self.name.clone().filter(|_| has_bytes)?;
        Some((name, self.offset, self.file_bytes))
    }
}

/// The last record that the checkpoint covers, 0 without one.
pub(super) fn checkpoint_seq(state: &State) -> u64 {
    state.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.seq)
}

//! Decides how far a compaction goes.
//!
//! A log frees space only at its old end, so a plan is a position: up to the last segment that is
//! worth compacting. Segments before it are compacted too; segments after it stay as they are.

use std::collections::HashMap;

use crate::kv::store::Store;
use crate::{Segment, Seq};

/// The overhead of a batch in bytes, about: its header and its padding.
const BATCH_EXTRA_BYTES: u64 = 4 << 10;
/// A segment without dead records is compacted only if it is this many times as large as its copy:
/// then it is mostly the padding of small batches.
const PADDING_FACTOR: u64 = 2;

/// How far a compaction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompactionPlan {
    /// The last record of the last segment that is worth compacting.
    pub(crate) last_seq: Seq,
    /// Whether that is the active segment, which has to be sealed first.
    pub(crate) rotates: bool,
}

/// The live records of a segment.
#[derive(Clone, Copy, Default)]
struct Live {
    records: u64,
    bytes: u64,
}

impl CompactionPlan {
    /// Plans for the segments of which compaction would free more than `above_percent`; without it,
    /// for all that have dead records or much padding. `None` if there are no such segments.
    pub(crate) fn of(
        store: &Store,
        above_percent: Option<u8>,
        group_bytes: u64,
    ) -> Option<CompactionPlan> {
        let (segments, appended) = (store.log.segments(), store.log.appended_seq());
        let mut live: HashMap<Seq, Live> = HashMap::with_capacity(segments.len());
        store.index.for_each_slot(|slot| {
            let live = live.entry(slot.place().segment()).or_default();
            live.records += 1;
            live.bytes += slot.record_bytes();
        });
        let first_seq = store.log.first_seq().max(store.retired().before());
        let is_worth = |segment: &&Segment| {
            let live = live.get(&segment.first_seq).copied().unwrap_or_default();
            let last_seq = segment.last_seq.unwrap_or(appended);
            let first_seq = segment.first_seq.max(first_seq);
            let records = last_seq.next().get().saturating_sub(first_seq.get());
            if records == 0 {
                return false;
            }
            // The size of the copies: the batches that they fill, and those that are not full.
            let batches = live.bytes / group_bytes + 2;
            let copies = live.bytes + batches * BATCH_EXTRA_BYTES;
            match above_percent {
                Some(percent) => {
                    let gain = u128::from(segment.bytes.saturating_sub(live.bytes));
                    gain * 100 > u128::from(segment.bytes) * u128::from(percent)
                }
                None => live.records < records || segment.bytes > copies * PADDING_FACTOR,
            }
        };
        let last = segments.iter().rfind(is_worth)?;
        let rotates = last.last_seq.is_none();
        Some(CompactionPlan { last_seq: last.last_seq.unwrap_or(appended), rotates })
    }
}

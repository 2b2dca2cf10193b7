//! Which segments a compaction is for.
//!
//! A log gives space back at its old end alone, so a plan is how far to go: up to the last segment
//! that is worth it. What lies before that one goes along; what lies behind it stays as it is.

use std::collections::HashMap;

use crate::kv::store::Store;
use crate::{Segment, Seq};

/// What a batch takes beyond its records, about: its header and its padding.
const BATCH_EXTRA_BYTES: u64 = 4 << 10;
/// How much larger than its copy a segment without a dead record must be.
const PADDING_FACTOR: u64 = 2;

/// How far a compaction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The last record of the last segment that is worth it, as of now.
    pub(crate) last_seq: Seq,
    /// That is the active segment, which has to be sealed.
    pub(crate) rotates: bool,
}

/// What the index points to in a segment.
#[derive(Clone, Copy, Default)]
struct Live {
    records: u64,
    bytes: u64,
}

impl Plan {
    /// A plan for the segments of which more than so many percent would be given back; for all
    /// with something dead, or with much padding, if none are named. `None` if there are none.
    pub(crate) fn of(store: &Store, above_percent: Option<u8>, group_bytes: u64) -> Option<Plan> {
        let (segments, appended) = (store.log.segments(), store.log.appended_seq());
        let mut live: HashMap<Seq, Live> = HashMap::with_capacity(segments.len());
        store.index.each_slot(|slot| {
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
            // What the copies take: as many batches as they need, and one that is not full.
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
        Some(Plan { last_seq: last.last_seq.unwrap_or(appended), rotates })
    }
}

//! How far a compaction pays.
//!
//! A log gives space back only from its beginning, so whoever wants what is dead in one segment has
//! to copy what is live in it and in all before it. A compaction goes as far as the last segment of
//! which enough is dead, and leaves the ones behind it as they are. The active segment is one of
//! them: it is sealed only if it is gone through.
//!
//! What is live in a segment, the index says; how many records it has, their numbers say.

use crate::format::HEADER_SIZE;
use crate::kv::store::Store;
use crate::{Segment, Seq};

/// What a batch of copies is padded to, at least.
const UNIT_BYTES: u64 = 4096;

/// What makes it worth to rewrite a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// Any dead record, or that half of it is padding.
    Anything,
    /// That half of this share of its bytes is not live: what is left behind then is less dead
    /// than what was asked for.
    Percent(u8),
}

impl Worth {
    /// Whether a segment of so many records and bytes is worth it, of which so many are live.
    fn is_it(self, (records, bytes): (u64, u64), (live, live_bytes): (u64, u64)) -> bool {
        let packed = (live_bytes + HEADER_SIZE as u64).next_multiple_of(UNIT_BYTES);
        let is_padded = bytes / 2 >= packed;
        match self {
            Worth::Anything => live < records || is_padded,
            Worth::Percent(percent) => {
                let not_live = u128::from(bytes.saturating_sub(live_bytes));
                live < records && not_live * 200 >= u128::from(bytes) * u128::from(percent)
            }
        }
    }
}

impl Store {
    /// The last segment from `before` on that is worth it; `None` if there is none.
    pub(crate) fn worth_until(&self, before: Seq, worth: Worth) -> Option<Segment> {
        // First: what is appended meanwhile does not look dead.
        let (segments, appended_seq) = (self.log.segments(), self.log.appended_seq());
        let first_seq = self.log.first_seq();
        let live = self.index.live_by_segment();
        let is_worth = |segment: &&Segment| {
            let last_seq = segment.last_seq.unwrap_or(appended_seq);
            let from = segment.first_seq.max(first_seq);
            let records = last_seq.next().get().saturating_sub(from.get());
            let live = live.get(&segment.first_seq).copied().unwrap_or_default();
            worth.is_it((records, segment.bytes), live)
        };
        segments.iter().rev().filter(|segment| segment.first_seq >= before).find(is_worth).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_all_live_and_packed_is_worth_nothing() {
        let packed = (100, 64 << 10);
        for worth in [Worth::Anything, Worth::Percent(10), Worth::Percent(90)] {
            assert!(!worth.is_it(packed, (100, 60 << 10)), "{worth:?}");
        }
        assert!(Worth::Anything.is_it(packed, (99, 60 << 10)), "one is dead");
        assert!(Worth::Anything.is_it(packed, (100, 10 << 10)), "it is padding");
        assert!(!Worth::Percent(50).is_it(packed, (99, 60 << 10)), "too little is dead");
        assert!(Worth::Percent(50).is_it(packed, (50, 30 << 10)));
    }
}

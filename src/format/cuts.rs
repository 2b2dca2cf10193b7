//! `CutHistory`, a part of [`State`](super::State): where and how often the end of a log was cut
//! off. Recovery uses it to ignore the records and segments that a cut removed.

use super::u64_at;
use crate::mutation::mutated;

/// The most cuts that a `state` file remembers.
pub const CUTS_MAX: usize = 56;

/// The bytes of a cut in a slot.
const CUT_BYTES: usize = 16;

/// The bytes of all cuts in a slot.
pub(super) const CUTS_BYTES: usize = CUTS_MAX * CUT_BYTES;

/// The number of values in the low bits of a salt, which count the cuts before its segment began.
const LIVES: u64 = 1 << 16;

/// One cut of a log's end.
///
/// ```
/// use ringwal::format::{Cut, CutHistory};
///
/// let mut cuts = CutHistory::default();
/// cuts.add(5);
/// assert_eq!(cuts.iter().collect::<Vec<_>>(), [Cut { seq: 5, count: 1 }]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The last record that the cut left.
    pub seq: u64,
    /// The number of cuts up to this one, itself included.
    pub count: u64,
}

/// The cuts of a log's end that still matter to its segments.
///
/// Records that are cut off inside a batch stay in the file. So the cut must be remembered as long
/// as that segment lives: otherwise the old records come back if the segment that replaced them is
/// lost. A new segment may also get the number of one that a cut removed. The salt of a segment
/// holds the number of cuts before it began, which tells the two apart.
///
/// 1. Sequence numbers and counts both ascend, because a cut removes all later cuts. So the last
///    cut is the newest.
/// 2. Of the cuts before the first live record, only the last one is kept.
/// 3. At most [`CUTS_MAX`] are kept; if there are more, the lowest is forgotten. Then the end of
///    the batch that was cut there comes back if the next segment is lost, unless other evidence
///    proves that loss.
///
/// ```
/// use ringwal::format::CutHistory;
///
/// let mut cuts = CutHistory::default();
/// cuts.add(5);
/// cuts.add(8);
/// // Segment 1 ends with record 5, segment 6 with record 8, and segment 9 with nothing.
/// assert_eq!([1, 6, 9].map(|segment| cuts.end_of(segment)), [Some(5), Some(8), None]);
/// cuts.add(5);
/// assert_eq!((cuts.newest(), cuts.count()), (Some(5), 3));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CutHistory(Vec<Cut>);

impl CutHistory {
    /// The number of cuts so far.
    pub fn count(&self) -> u64 {
        self.0.last().map_or(0, |cut| cut.count)
    }

    /// The last record that the newest cut left.
    pub fn newest(&self) -> Option<u64> {
        self.0.last().map(|cut| cut.seq)
    }

    /// The remembered cuts, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Cut> + '_ {
        self.0.iter().copied()
    }

    /// Adds a cut of everything after `seq`.
    pub fn add(&mut self, seq: u64) {
        let count = self.count().saturating_add(1);
        self.0.retain(|cut| cut.seq < seq);
        if self.0.len() >= CUTS_MAX {
            self.0.remove(0);
        }
        self.0.push(Cut { seq, count });
    }

    /// Forgets cuts that do not matter when the first live record is `first_seq`.
    pub fn forget_before(&mut self, first_seq: u64) {
        let before = self.0.partition_point(|cut| cut.seq < first_seq);
        self.0.drain(..before.saturating_sub(1));
    }

    /// The last valid record of the segment that begins with `segment`, if the segment was cut. A
    /// segment that began after a cut begins after its record.
    pub fn end_of(&self, segment: u64) -> Option<u64> {
        self.0.iter().map(|cut| cut.seq).find(|&seq| seq >= segment)
    }

    /// The lowest record of the cuts after the first `count` ones.
    pub fn lowest_since(&self, count: u64) -> Option<u64> {
        self.0.iter().find(|cut| cut.count > count).map(|cut| cut.seq)
    }

    /// Whether a segment that begins with `segment` may have this salt. It may not if it began
    /// before a cut that removed it. A stand-alone batch has no salt and is always allowed.
    pub fn allow(&self, segment: u64, salt: u64) -> bool {
        let Some(cut) = self.0.iter().rfind(|cut| cut.seq < segment) else { return true };
        let span = self.count() - cut.count;
        // After 2^16 further cuts the low bits have wrapped, and any value may be right.
        salt == 0 || span >= LIVES || salt.wrapping_sub(cut.count) % LIVES <= span
    }

    /// The smallest salt whose random bits are not all zero.
    pub(crate) const SALT_MIN: u64 = LIVES;

    /// The salt of a segment that begins after `count` cuts.
    pub(crate) fn mark(count: u64, salt: u64) -> u64 {
        let count = if mutated("forget_when_it_began") { 0 } else { count };
        (salt & !(LIVES - 1)) | (count % LIVES)
    }

    /// Encodes the cuts into zeroed bytes. Returns their number.
    pub(super) fn encode(&self, bytes: &mut [u8]) -> u8 {
        for (cut, at) in self.0.iter().zip(bytes.chunks_exact_mut(CUT_BYTES)) {
            at[..8].copy_from_slice(&cut.seq.to_le_bytes());
            at[8..].copy_from_slice(&cut.count.to_le_bytes());
        }
        self.0.len() as u8
    }

    /// Decodes `len` cuts; `None` if they are out of range or order.
    pub(super) fn decode(bytes: &[u8], len: u8) -> Option<CutHistory> {
        let read = |at: &[u8]| Cut { seq: u64_at(at, 0), count: u64_at(at, 8) };
        let len = usize::from(len);
        let cuts: Vec<_> = bytes.chunks_exact(CUT_BYTES).take(len).map(read).collect();
        let ascend = |pair: &[Cut]| pair[0].seq < pair[1].seq && pair[0].count < pair[1].count;
        let holds = cuts.len() == len && cuts.windows(2).all(ascend);
        (holds && cuts.first().is_none_or(|cut| cut.count > 0)).then_some(CutHistory(cuts))
    }
}

const _: () = assert!(CUTS_MAX <= u8::MAX as usize);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn of_more_cuts_than_fit_the_lowest_is_forgotten_and_the_count_goes_on() {
        let mut cuts = CutHistory::default();
        (1..=CUTS_MAX as u64 + 2).for_each(|n| cuts.add(10 * n));
        assert_eq!(cuts.iter().count(), CUTS_MAX);
        assert_eq!((cuts.count(), cuts.end_of(1)), (CUTS_MAX as u64 + 2, Some(30)));
    }

    #[test]
    fn of_the_cuts_before_the_first_live_record_only_the_last_is_kept() {
        let mut cuts = CutHistory::default();
        [5, 8, 20].into_iter().for_each(|seq| cuts.add(seq));
        cuts.forget_before(11);
        assert_eq!(
            cuts.iter().collect::<Vec<_>>(),
            [Cut { seq: 8, count: 2 }, Cut { seq: 20, count: 3 }]
        );
        assert!(!cuts.allow(11, CutHistory::mark(1, 7 << 16)));
    }

    proptest! {
        /// Compared with a model of segments that are made, removed and cut.
        #[test]
        fn a_segment_ends_where_it_was_cut_and_is_distinguished_from_the_one_before(
            steps in prop::collection::vec((any::<u16>(), 1..9_u64), 1..90),
            counted in prop::sample::select(vec![0, 65_530, 1 << 40]),
        ) {
            let mut cuts = CutHistory::default();
            if counted > 0 {
                cuts = CutHistory(vec![Cut { seq: 0, count: counted }]);
            }
            // First record, last record, salt, where it was cut.
            let mut live: Vec<(u64, u64, u64, Option<u64>)> = Vec::new();
            let mut gone: Vec<(u64, u64)> = Vec::new();
            for (n, (at, records)) in steps.into_iter().enumerate() {
                let first = live.last().map_or(1, |last| last.1 + 1);
                let salt = CutHistory::mark(cuts.count(), (n as u64 + 1) << 16);
                live.push((first, first + records - 1, salt, None));
                let last = first + records - 1;
                let seq = last - u64::from(at) % last.min(12);
                if at % 3 == 0 && seq < last {
                    cuts.add(seq);
                    for segment in live.extract_if(.., |it| it.0 > seq) {
                        gone.push((segment.0, segment.2));
                    }
                    if let Some(cut) = live.last_mut() {
                        (cut.1, cut.3) = (seq, Some(seq));
                    }
                }
                let lost = cuts.iter().count() == CUTS_MAX;
                for &(first, last, salt, end) in &live {
                    prop_assert!(cuts.allow(first, salt));
                    prop_assert!(lost || end.is_none() || cuts.end_of(first) == end);
                    prop_assert!(cuts.end_of(first).is_none_or(|end| end >= last));
                }
                for &(first, salt) in gone.iter().filter(|_| !lost) {
                    let again = live.iter().any(|it| it.0 == first);
                    prop_assert!(!again || !cuts.allow(first, salt));
                }
            }
        }
    }
}

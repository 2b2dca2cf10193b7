//! The cuts of an open log's end, for the readers beside them.
//!
//! 1. A cut is counted before it changes anything. If a reader sees the same count after a read as
//!    before it, it has read no record that replaced a removed one.
//! 2. As long as a cut is under way, no reader begins behind it.
//! 3. Memory is bounded: the oldest of many cuts are merged into one, at the lowest position.
//!
//! Threading: any. The lock is a leaf.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sync::plain::{Mutex, MutexGuard};

/// How many cuts are kept apart.
const CUTS_KEPT: usize = 64;

/// The cuts of a log since it was opened.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    count: AtomicU64,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    /// The count and the last remaining record of each cut, both ascending: a later cut at a lower
    /// position covers the earlier ones.
    cuts: Vec<(u64, u64)>,
    under_way: Option<u64>,
}

/// The cuts so far, when a reader begins.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CutMark {
    count: u64,
    /// The last record that remains after a cut that was under way.
    limit: Option<u64>,
}

impl Cuts {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock()
    }

    /// From now on, a reader that began before [`Cuts::finish`] shows no record after `seq`.
    pub(crate) fn begin(&self, seq: u64) {
        let mut list = self.list();
        debug_assert!(list.under_way.is_none(), "one cut at a time");
        let count = self.count.load(Ordering::Relaxed) + 1;
        list.cuts.retain(|&(_, left)| left < seq);
        list.cuts.push((count, seq));
        if list.cuts.len() > CUTS_KEPT {
            let (_, lowest) = list.cuts.remove(0);
            list.cuts[0].1 = lowest;
        }
        debug_assert!(list.cuts.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
        list.under_way = Some(seq);
        self.count.store(count, Ordering::Release);
    }

    /// The removed records are gone, and the watermarks say so.
    pub(crate) fn finish(&self) {
        self.list().under_way = None;
    }

    pub(crate) fn mark(&self) -> CutMark {
        let list = self.list();
        CutMark { count: self.count.load(Ordering::Relaxed), limit: list.under_way }
    }

    /// The last record that remains after the cuts since `mark`; `None` if there were none.
    pub(crate) fn left_since(&self, mark: CutMark) -> Option<u64> {
        if self.count.load(Ordering::Acquire) == mark.count {
            return mark.limit;
        }
        let list = self.list();
        let since = list.cuts.iter().find(|(count, _)| *count > mark.count).map(|&(_, left)| left);
        since.into_iter().chain(mark.limit).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_cut_since_a_mark_counts_however_many_there_were() {
        let cuts = Cuts::default();
        let mut marks = Vec::new();
        let positions: Vec<u64> = (0..300).map(|n| 1000 + n * 37 % 91 + n).collect();
        for &position in &positions {
            marks.push(cuts.mark());
            cuts.begin(position);
            cuts.finish();
        }
        assert!(cuts.list().cuts.len() <= CUTS_KEPT);
        for (n, mark) in marks.into_iter().enumerate() {
            let lowest = positions[n..].iter().min().copied();
            let left = cuts.left_since(mark);
            // Of the oldest cuts only the lowest position is known.
            assert!(left <= lowest && left >= positions.iter().min().copied(), "{n}: {left:?}");
        }
        assert_eq!(cuts.left_since(cuts.mark()), None);
    }

    #[test]
    fn nobody_begins_to_read_behind_a_cut_that_is_under_way() {
        let cuts = Cuts::default();
        cuts.begin(5);
        let mark = cuts.mark();
        cuts.finish();
        assert_eq!((cuts.left_since(mark), cuts.left_since(cuts.mark())), (Some(5), None));
    }
}

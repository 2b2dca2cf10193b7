//! What was cut off the end of an open log, for those who read it meanwhile.
//!
//! 1. A cut is counted before anything is changed for it, so whoever sees the same count after a
//!    read as before it has read nothing of what came in the place of what was cut off.
//! 2. As long as a cut is under way, nobody begins to read behind it.
//! 3. Memory is bounded: of many cuts the oldest are kept as one, at the lowest of their places.
//!
//! Threading: any. The lock is a leaf.

use crate::sync::plain::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many cuts are told apart.
const CUTS_KEPT: usize = 64;

/// The cuts of a log since it was opened.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    count: AtomicU64,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    /// Counts and the last record that each left, both ascending: a later cut at a lower place
    /// covers the earlier ones.
    cuts: Vec<(u64, u64)>,
    under_way: Option<u64>,
}

/// What had been cut when somebody began to read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    count: u64,
    /// The last record that a cut which was under way leaves.
    limit: Option<u64>,
}

impl Cuts {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock()
    }

    /// From now on nothing after `seq` may be shown to who began before [`Cuts::finish`].
    pub(crate) fn begin(&self, seq: u64) {
        let mut list = self.list();
        let count = self.count.load(Ordering::Relaxed) + 1;
        list.cuts.retain(|&(_, left)| left < seq);
        list.cuts.push((count, seq));
        if list.cuts.len() > CUTS_KEPT {
            let (_, lowest) = list.cuts.remove(0);
            list.cuts[0].1 = lowest;
        }
        list.under_way = Some(seq);
        self.count.store(count, Ordering::Release);
    }

    /// What was cut off is gone, and the watermarks say so.
    pub(crate) fn finish(&self) {
        self.list().under_way = None;
    }

    pub(crate) fn mark(&self) -> Mark {
        let list = self.list();
        Mark { count: self.count.load(Ordering::Relaxed), limit: list.under_way }
    }

    /// The last record that the cuts since `mark` left; `None` if they left everything.
    pub(crate) fn left_since(&self, mark: Mark) -> Option<u64> {
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
        let places: Vec<u64> = (0..300).map(|n| 1000 + n * 37 % 91 + n).collect();
        for &place in &places {
            marks.push(cuts.mark());
            cuts.begin(place);
            cuts.finish();
        }
        assert!(cuts.list().cuts.len() <= CUTS_KEPT);
        for (n, mark) in marks.into_iter().enumerate() {
            let lowest = places[n..].iter().min().copied();
            let left = cuts.left_since(mark);
            // Of the oldest only the lowest place is known.
            assert!(left <= lowest && left >= places.iter().min().copied(), "{n}: {left:?}");
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

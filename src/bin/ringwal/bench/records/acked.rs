//! The acknowledged sequence numbers of a thread.
//!
//! A single thread gets consecutive numbers, by the million per second. Storing each would distort
//! the measurement, so they are kept as runs.

use std::ops::RangeInclusive;

/// The sequence numbers of the records 0, 1, ... of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acked {
    runs: Vec<SeqRun>,
    records: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SeqRun {
    first: u64,
    records: u64,
}

impl Acked {
    /// Adds the sequence numbers of the next records.
    pub(crate) fn extend(&mut self, seqs: RangeInclusive<u64>) {
        let first = *seqs.start();
        let records = (seqs.end() + 1).saturating_sub(first);
        self.records += records;
        match self.runs.last_mut() {
            Some(run) if run.first + run.records == first => run.records += records,
            _ => self.runs.push(SeqRun { first, records }),
        }
    }

    /// The number of records.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// All sequence numbers, in the order of the records.
    pub(crate) fn seqs(&self) -> impl Iterator<Item = u64> + '_ {
        self.runs.iter().flat_map(|run| run.first..run.first + run.records)
    }
}

impl FromIterator<u64> for Acked {
    fn from_iter<I: IntoIterator<Item = u64>>(seqs: I) -> Acked {
        let mut acked = Acked::default();
        seqs.into_iter().for_each(|seq| acked.extend(seq..=seq));
        acked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_in_their_order_and_those_in_a_row_take_one_run() {
        let seqs = [1, 2, 3, 9, 10, 4, 4, 12];
        let acked: Acked = seqs.into_iter().collect();
        assert_eq!(acked.seqs().collect::<Vec<_>>(), seqs);
        assert_eq!((acked.records(), acked.runs.len()), (8, 5));
        let mut batches = Acked::default();
        batches.extend(5..=9);
        batches.extend(10..=11);
        assert_eq!((batches.records(), batches.runs.len()), (7, 1));
    }
}

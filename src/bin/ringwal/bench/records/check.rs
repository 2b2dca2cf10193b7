//! Checks a log after a measurement: it must return exactly what it acknowledged.
//!
//! 1. Each acknowledged sequence number exists once, from the first without a gap.
//! 2. Each record has the bytes that its thread appended under that number.
//! 3. There are no other records: every append was waited for.

use ringwal::Log;

use crate::bench::records::acked::Acked;
use crate::bench::records::content::Content;
use crate::output::exit::Failure;

/// Compares the records of `log` with the acknowledgements of its threads. Returns the number of
/// records.
pub(crate) fn check(log: &Log, run: u64, size: usize, acked: &[Acked]) -> Result<u64, Failure> {
    let mut checker = Checker::new(run, size, acked)?;
    for record in log.reader()? {
        let record = record?;
        checker.record(record.seq().get(), record.data())?;
    }
    checker.finish()
}

/// Compares records, which are shown to it in their order, with the acknowledgements of threads.
pub(crate) struct Checker {
    owners: Vec<(usize, u64)>,
    contents: Vec<Content>,
    compared: usize,
}

impl Checker {
    pub(crate) fn new(run: u64, size: usize, acked: &[Acked]) -> Result<Checker, Failure> {
        let contents = (0..).zip(acked).map(|(thread, _)| Content::new(run, thread, size));
        Ok(Checker { owners: owners(acked)?, contents: contents.collect(), compared: 0 })
    }

    /// Compares the next record.
    pub(crate) fn record(&mut self, seq: u64, data: &[u8]) -> Result<(), Failure> {
        let Some(&(thread, number)) = self.owners.get(self.compared) else {
            return mismatch(format!("record {seq} is there, but no thread appended it"));
        };
        self.compared += 1;
        if seq != self.compared as u64 {
            let compared = self.compared;
            return mismatch(format!("record {compared} was acknowledged, but {seq} follows"));
        }
        if data != self.contents[thread].record(number) {
            return mismatch(format!(
                "record {seq} does not have the bytes that thread {thread} appended"
            ));
        }
        Ok(())
    }

    /// Ends the comparison. Returns the number of records.
    pub(crate) fn finish(self) -> Result<u64, Failure> {
        let compared = self.compared;
        if compared < self.owners.len() {
            let lost = self.owners.len() - compared;
            return mismatch(format!("{lost} acknowledged records after {compared} are missing"));
        }
        Ok(compared as u64)
    }
}

/// For each sequence number, the thread that appended the record and its number in that thread.
fn owners(acked: &[Acked]) -> Result<Vec<(usize, u64)>, Failure> {
    let total: u64 = acked.iter().map(Acked::records).sum();
    let mut owners = vec![None; usize::try_from(total).unwrap_or(usize::MAX)];
    for (thread, seqs) in acked.iter().enumerate() {
        for (number, seq) in (0..).zip(seqs.seqs()) {
            let at = usize::try_from(seq).ok().and_then(|seq| seq.checked_sub(1));
            let Some(owner) = at.and_then(|at| owners.get_mut(at)) else {
                return mismatch(format!("{seq} was acknowledged as one of {total} records"));
            };
            if owner.replace((thread, number)).is_some() {
                return mismatch(format!("{seq} was acknowledged twice"));
            }
        }
    }
    // There are as many numbers as places and no duplicates, so every place is taken.
    Ok(owners.into_iter().flatten().collect())
}

fn mismatch<T>(what: String) -> Result<T, Failure> {
    Err(Failure::Mismatch(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 40;

    /// A log with two records each of two threads, alternating.
    fn two_threads() -> (tempfile::TempDir, Log, Vec<Vec<u64>>) {
        let parent = tempfile::tempdir().unwrap();
        let log = Log::builder(parent.path().join("log")).segment_bytes(8192).open().unwrap();
        let mut acked = vec![Vec::new(), Vec::new()];
        for number in 0..2 {
            for thread in 0..2 {
                let mut content = Content::new(7, thread, SIZE);
                let seq = log.append(content.record(number)).unwrap();
                acked[thread as usize].push(seq.get());
            }
        }
        (parent, log, acked)
    }

    fn checked(log: &Log, run: u64, acked: &[Vec<u64>]) -> Result<u64, Failure> {
        let acked: Vec<Acked> = acked.iter().map(|seqs| seqs.iter().copied().collect()).collect();
        check(log, run, SIZE, &acked)
    }

    fn complaint(log: &Log, run: u64, acked: &[Vec<u64>]) -> String {
        match checked(log, run, acked) {
            Err(Failure::Mismatch(what)) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_acknowledged_is_found() {
        let (_parent, log, acked) = two_threads();
        assert_eq!(checked(&log, 7, &acked).unwrap(), 4);
    }

    #[test]
    fn other_bytes_are_a_mismatch() {
        let (_parent, log, acked) = two_threads();
        assert!(complaint(&log, 8, &acked).contains("record 1 does not have the bytes"));
        let swapped = [acked[1].clone(), acked[0].clone()];
        assert!(complaint(&log, 7, &swapped).contains("bytes"));
    }

    #[test]
    fn a_lost_record_and_one_too_many_are_a_mismatch() {
        let (_parent, log, mut acked) = two_threads();
        acked[0].push(5);
        assert!(complaint(&log, 7, &acked).contains("1 acknowledged records after 4"));
        acked[0].pop();
        acked[1].pop();
        assert!(complaint(&log, 7, &acked).contains("record 4 is there"));
    }

    #[test]
    fn a_number_given_twice_or_out_of_range_is_a_mismatch() {
        let (_parent, log, mut acked) = two_threads();
        acked[0][0] = 2;
        assert!(complaint(&log, 7, &acked).contains("2 was acknowledged twice"));
        acked[0][0] = 9;
        assert!(complaint(&log, 7, &acked).contains("9 was acknowledged as one of 4"));
        acked[0][0] = 0;
        assert!(complaint(&log, 7, &acked).contains("0 was acknowledged as one of 4"));
    }
}

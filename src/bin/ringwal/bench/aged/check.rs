//! Checks a reopened aged log: it must return exactly its live records.
//!
//! 1. The records are complete, from the first not truncated to the last acknowledged, each with
//!    the bytes appended under its number.
//! 2. Truncated records are gone: the log refuses to read them and has no files for them.
//!
//! One thread appends, so a record's number determines its content and no copy is needed for the
//! comparison: the memory of the process is that of the log.

use std::ops::RangeInclusive;

use ringwal::{Error, Log, Seq};

use crate::bench::records::content::Content;
use crate::output::exit::Failure;

/// Compares the records of `log` with those numbered `live`. Returns their number.
pub(crate) fn check_live(
    log: &Log,
    live: &RangeInclusive<u64>,
    content: &mut Content,
) -> Result<u64, Failure> {
    let (first, last) = (*live.start(), *live.end());
    if log.first_seq().get() != first {
        return mismatch(format!("it begins at {}, expected {first}", log.first_seq()));
    }
    let before = Seq::new(first - 1);
    if before > Seq::NONE && !matches!(log.reader_from(before), Err(Error::Truncated { .. })) {
        return mismatch(format!("record {before} was truncated but can be read"));
    }
    let mut next = first;
    for record in log.reader()? {
        let record = record?;
        let seq = record.seq().get();
        if seq > last {
            return mismatch(format!("record {seq} is there, but {last} was the last"));
        }
        if seq != next {
            return mismatch(format!("record {next} was acknowledged, but {seq} follows"));
        }
        if record.data() != content.record(seq - 1) {
            return mismatch(format!("record {seq} does not have the bytes that were appended"));
        }
        next += 1;
    }
    if next <= last {
        let lost = last + 1 - next;
        return mismatch(format!("{lost} acknowledged records before {} are missing", last + 1));
    }
    let (found, records) = (log.recovery().records, next - first);
    if found != records {
        return mismatch(format!("{found} records were recovered of {records}"));
    }
    Ok(records)
}

pub(crate) fn mismatch<T>(what: String) -> Result<T, Failure> {
    Err(Failure::Mismatch(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 40;

    /// A reopened log with the records 3 and 4; its segments hold two records each.
    fn two_of_four() -> (tempfile::TempDir, Log) {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("log");
        let log = Log::open(&dir).unwrap();
        let mut content = Content::new(7, 0, SIZE);
        for number in 0..4 {
            log.append(content.record(number)).unwrap();
            if number % 2 == 1 {
                log.rotate().unwrap();
            }
        }
        log.truncate_before(Seq::new(3)).unwrap();
        log.close().unwrap();
        (parent, Log::open(&dir).unwrap())
    }

    fn complaint(log: &Log, run: u64, live: RangeInclusive<u64>) -> String {
        match check_live(log, &live, &mut Content::new(run, 0, SIZE)) {
            Err(Failure::Mismatch(what)) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn live_records_are_found() {
        let (_parent, log) = two_of_four();
        assert_eq!(check_live(&log, &(3..=4), &mut Content::new(7, 0, SIZE)).unwrap(), 2);
    }

    #[test]
    fn other_bytes_are_a_mismatch() {
        let (_parent, log) = two_of_four();
        assert!(complaint(&log, 8, 3..=4).contains("record 3 does not have the bytes"));
    }

    #[test]
    fn a_lost_record_and_one_too_many_are_a_mismatch() {
        let (_parent, log) = two_of_four();
        assert!(complaint(&log, 7, 3..=5).contains("1 acknowledged records before 6"));
        assert!(complaint(&log, 7, 3..=3).contains("record 4 is there, but 3 was the last"));
    }

    #[test]
    fn another_first_record_is_a_mismatch() {
        let (_parent, log) = two_of_four();
        for first in [1, 2, 4] {
            let what = complaint(&log, 7, first..=4);
            assert!(what.contains("it begins at 3"), "{what}");
        }
    }

    #[test]
    fn what_was_recovered_has_to_be_what_is_live() {
        let (_parent, log) = two_of_four();
        log.append(Content::new(7, 0, SIZE).record(4)).unwrap();
        assert!(complaint(&log, 7, 3..=5).contains("2 records were recovered of 3"));
    }
}

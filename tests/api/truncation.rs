//! Truncation at both ends, and its effect on record refs, readers and checkpoints.

use ringwal::{Batch, Error, Log, Seq, Verdict};

use crate::common::{contents, files, variants};

#[test]
fn a_record_is_read_by_its_place() {
    for variant in variants("read_by_place") {
        let dir = tempfile::tempdir().unwrap();
        let log = variant.builder(dir.path()).open().unwrap();
        let mut places = Vec::new();
        for n in 0..100_u8 {
            let commit = log.submit(vec![n; usize::from(n) * 40]).unwrap();
            commit.wait().unwrap();
            places.push(commit.record_ref());
        }
        for (n, place) in places.iter().enumerate() {
            assert_eq!(log.read(*place).unwrap().data(), vec![n as u8; n * 40]);
        }
        for record in log.reader().unwrap() {
            let record = record.unwrap();
            assert_eq!(record.record_ref(), places[record.seq().get() as usize - 1]);
        }
        log.rotate().unwrap();
        let freed = log.truncate_before(Seq::new(101)).unwrap();
        assert_eq!(freed.first_seq, Seq::new(101));
        assert!(matches!(log.read(places[3]), Err(Error::Truncated { .. })));
    }
}

#[test]
fn truncation_frees_segments_and_recycles_some_of_them() {
    for variant in variants("truncation_frees") {
        let dir = tempfile::tempdir().unwrap();
        let log =
            variant.builder(dir.path()).segment_bytes(8192).recycle_segments(2).open().unwrap();
        for round in 0..10_u64 {
            for n in 0..10_u8 {
                log.append([n; 3000]).unwrap();
            }
            let keep = log.durable_seq();
            let freed = log.truncate_before(keep).unwrap();
            assert!(freed.segments > 0, "round {round}");
            assert_eq!(log.first_seq(), freed.first_seq);
            assert!(freed.first_seq <= keep);
            assert!(matches!(log.reader_from(Seq::FIRST), Err(Error::Truncated { .. })));
        }
        let names = files(dir.path());
        assert!(names.len() < 12, "{names:?}");
        let first = log.first_seq();
        let kept = contents(&log);
        log.close().unwrap();
        let log = variant.builder(dir.path()).open().unwrap();
        assert_eq!((log.first_seq(), contents(&log)), (first, kept), "{variant:?}");
    }
}

#[test]
fn a_reader_survives_the_truncation_of_what_it_reads() {
    for variant in variants("reader_survives") {
        let dir = tempfile::tempdir().unwrap();
        let log = variant.builder(dir.path()).segment_bytes(8192).open().unwrap();
        for n in 0..40_u8 {
            log.append([n; 3000]).unwrap();
        }
        let mut reader = log.reader().unwrap();
        assert_eq!(reader.next().unwrap().unwrap().seq(), Seq::FIRST);
        log.truncate_before(Seq::new(40)).unwrap();
        for n in 0..40_u8 {
            log.append([n; 3000]).unwrap(); // overwrites recycled files
        }
        let rest: Vec<_> = reader.by_ref().collect();
        let (last, before) = rest.split_last().unwrap();
        assert!(before.iter().all(Result::is_ok));
        assert!(matches!(last, Err(Error::Truncated { .. })), "{last:?}");
        assert!(reader.next().is_none(), "nothing comes after an error");
    }
}

#[test]
fn the_end_can_be_cut_inside_a_batch_and_the_numbers_are_used_again() {
    for variant in variants("cut_inside") {
        let dir = tempfile::tempdir().unwrap();
        let log = variant.builder(dir.path()).segment_bytes(16_384).open().unwrap();
        let mut batch = Batch::new();
        for n in 0..10_u8 {
            batch.push([n; 1000]).unwrap();
        }
        for _ in 0..5 {
            log.append(&batch).unwrap();
        }
        let gone = log.submit("gone").unwrap();
        gone.wait().unwrap();
        log.truncate_after(Seq::new(25)).unwrap();
        assert_eq!((log.appended_seq(), log.durable_seq()), (Seq::new(25), Seq::new(25)));
        assert_eq!(contents(&log).len(), 25);
        assert!(log.read(gone.record_ref()).is_err());
        assert_eq!(log.append("again").unwrap(), Seq::new(26));
        log.close().unwrap();
        for _ in 0..2 {
            let log = variant.builder(dir.path()).open().unwrap();
            assert_eq!(log.recovery().verdict, Verdict::Clean, "{}", log.recovery());
            let found = contents(&log);
            assert_eq!((found.len(), found[24][0], found[25].as_slice()), (26, 4, &b"again"[..]));
            log.truncate_after(Seq::new(26)).unwrap();
            log.close().unwrap();
        }
        let log = variant.builder(dir.path()).open().unwrap();
        log.truncate_after(Seq::NONE).unwrap();
        assert_eq!(contents(&log).len(), 0);
        drop(log);
        let log = variant.builder(dir.path()).open().unwrap();
        assert_eq!(log.append("first").unwrap(), Seq::FIRST);
    }
}

#[test]
fn a_checkpoint_survives_and_does_not_go_backwards() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path()).unwrap();
    assert!(log.last_checkpoint().is_none());
    for _ in 0..10 {
        log.append("x").unwrap();
    }
    log.checkpoint(Seq::new(5), "five").unwrap();
    let backwards = log.checkpoint(Seq::new(4), "four");
    assert!(matches!(backwards, Err(Error::OutOfRange { .. })), "{backwards:?}");
    let ahead = log.checkpoint(Seq::new(11), "eleven");
    assert!(matches!(ahead, Err(Error::OutOfRange { .. })), "{ahead:?}");
    let cut = log.truncate_after(Seq::new(4));
    assert!(matches!(cut, Err(Error::OutOfRange { .. })), "{cut:?}");
    log.checkpoint(Seq::new(7), [7; 3072]).unwrap();
    assert!(matches!(log.checkpoint(Seq::new(7), [7; 3073]), Err(Error::RecordTooLarge { .. })));
    drop(log);
    let log = Log::open(dir.path()).unwrap();
    let last = log.last_checkpoint().unwrap();
    assert_eq!((last.seq, last.payload), (Seq::new(7), vec![7; 3072]));
}

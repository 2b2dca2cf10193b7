//! Logs whose end was cut: their files, and readers beside the cut.

use crate::engine::Log;
use crate::engine::batch::Batch;
use crate::error::Error;
use crate::format::newest;
use crate::io::BackendKind;
use crate::replication::ShardId;
use crate::segment::name::segment_filename;
use crate::seq::Seq;

fn batch(log: &Log, records: usize) {
    let mut batch = Batch::new();
    (0..records).for_each(|n| drop(batch.push(vec![n as u8; 100])));
    let _ = log.append(&batch).unwrap();
}

#[test]
fn a_log_that_was_cut_twice_misses_the_segment_between_the_cuts() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Log::builder(dir.path()).backend(BackendKind::Std).open();
    let log = open().unwrap();
    batch(&log, 8);
    log.truncate_after(Seq::new(5)).unwrap();
    batch(&log, 5);
    log.truncate_after(Seq::new(8)).unwrap();
    batch(&log, 2);
    log.close().unwrap();
    let path = |first| dir.path().join(segment_filename(ShardId::SINGLE, first));
    let salts = [1, 6, 9].map(|first| std::fs::read(path(first)).unwrap()[24]);
    assert_eq!(salts, [0, 1, 2], "how many cuts there had been");
    let (state, _) = newest(&std::fs::read(dir.path().join("state")).unwrap()).unwrap();
    assert_eq!(state.cuts.iter().map(|cut| cut.seq).collect::<Vec<_>>(), [5, 8]);
    std::fs::remove_file(path(6)).unwrap();
    let Err(Error::Corrupt(damage)) = open() else { panic!("the old records 6 to 8 came back") };
    assert_eq!((damage.first_seq, damage.last_seq), (Seq::new(6), Seq::new(8)));
}

#[test]
fn a_reader_elsewhere_shows_nothing_that_is_cut_in_the_segment_that_it_is_in() {
    for batch_is_begun in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::builder(dir.path()).backend(BackendKind::Std).open().unwrap();
        batch(&log, 3);
        batch(&log, 3);
        batch(&log, 3);
        let mut reader = Log::builder(dir.path()).read_only().unwrap();
        let first = if batch_is_begun { 4 } else { 3 };
        for seq in 1..=first {
            assert_eq!(reader.next().unwrap().unwrap().seq(), Seq::new(seq));
        }
        log.truncate_after(Seq::new(5)).unwrap();
        batch(&log, 4);
        // A batch that was read before the cut is shown whole.
        let left = if batch_is_begun { 6 } else { 5 };
        for seq in first + 1..=left {
            assert_eq!(reader.next().unwrap().unwrap().seq(), Seq::new(seq));
        }
        let told = reader.next();
        assert!(matches!(told, Some(Err(Error::Truncated { .. }))), "{told:?}");
    }
}

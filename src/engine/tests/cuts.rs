//! What a log with cuts in its end tells of itself on disk.

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
    let _ = log.append_batch(&batch).unwrap();
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

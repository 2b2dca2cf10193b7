//! Tasks on one thread that append events.

use crate::common::tasks::{block_on, poll_and_drop, run_all};
use crate::common::variants;
use crate::{event, events, open};

#[test]
fn tasks_append_each_event_once_and_in_the_order_of_its_number() {
    for variant in variants("tasks_append_each_event_once") {
        let dir = tempfile::tempdir().unwrap();
        let (wal, _, _) = open(variant, dir.path());
        let mut seqs = run_all((0..200).map(|task| wal.append_async(event(task % 100))));
        seqs.retain(|seq| *seq.as_ref().unwrap() != 0);
        assert_eq!(seqs.len(), 100, "{variant:?}");
        let batch = events([98, 100, 101, 100]);
        assert_eq!(block_on(wal.append_batch_async(&batch)).unwrap(), [0, 101, 102, 0]);
        for polls in 0..20 {
            poll_and_drop(wal.append_async(event(200)), polls);
            poll_and_drop(wal.append_batch_async(&events([201, 202])), polls);
        }
        assert_eq!(block_on(wal.append_async(event(200))).unwrap(), 0, "it went on its way");
        assert_eq!(wal.append_batch(&events([201, 202])).unwrap(), [0, 0]);
        wal.shutdown().unwrap();
        let (_wal, mut found, _) = open(variant, dir.path());
        assert_eq!(found.len(), 105);
        found.sort_by_key(|event| event.entity_id);
        assert_eq!(found, events((0..102).chain(200..203)));
    }
}

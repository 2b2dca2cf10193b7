//! The steps of a compaction, with a writer between them.

use super::*;

use std::sync::atomic::Ordering;

use crate::kv::handle::tests::store;
use crate::kv::index::IndexEntry;
use crate::kv::record;
use crate::{Durability, RecordRef};

/// The record of a key, as a compaction reads it at first.
fn group_of(store: &Store, key: &str) -> Group {
    let hash = store.index.hash(key.as_bytes());
    let slot = store.index.get(hash).unwrap();
    let data = store.log.read(slot.place()).unwrap().into_data();
    Group { bytes: slot.record_bytes(), records: vec![(hash, slot, data)] }
}

fn place_of(store: &Store, key: &str) -> Option<RecordRef> {
    store.index.get(store.index.hash(key.as_bytes())).map(|slot| slot.place())
}

#[test]
fn a_record_that_is_superseded_after_the_first_check_is_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    let wal = store(dir.path());
    let store = wal.store();
    for is_put in [true, false] {
        wal.put("k", "old").unwrap();
        let mut group = group_of(store, "k");
        if is_put {
            wal.put("k", "new").unwrap();
        } else {
            wal.delete("k").unwrap();
        }
        let (place, last) = (place_of(store, "k"), store.log.appended_seq());
        let mut copies = Copies::default();
        store.copy(&mut group, &mut copies).unwrap();
        store.relocate(&mut copies).unwrap();
        assert_eq!((copies.done.records, store.log.appended_seq()), (0, last));
        assert_eq!(place_of(store, "k"), place);
    }
}

#[test]
fn a_record_of_a_key_with_a_pending_write_is_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    let wal = store(dir.path());
    let store = wal.store();
    wal.put("k", "old").unwrap();
    let mut group = group_of(store, "k");
    let hash = store.index.hash(b"k");
    let bytes = record::encode(b"k", Some(b"new")).unwrap();
    let shard = store.index.lock_shards([hash]);
    let commit = store.log.at(Durability::Written).submit(&bytes).unwrap();
    let slot = store.slot_of(commit.record_ref()).unwrap();
    let pending = shard.begin(&*store.index, vec![IndexEntry { hash, slot, is_put: true }]);

    let mut copies = Copies::default();
    store.copy(&mut group, &mut copies).unwrap();
    assert_eq!(copies.done.records, 0);
    commit.wait().unwrap();
    pending.publish();
    assert_eq!(wal.get("k").unwrap().unwrap(), b"new");
}

#[test]
fn a_copy_does_not_replace_a_put_that_came_before_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let wal = store(dir.path());
    let store = wal.store();
    wal.put("k", "old").unwrap();
    let mut copies = Copies::default();
    store.copy(&mut group_of(store, "k"), &mut copies).unwrap();
    assert_eq!(copies.done.records, 1);
    wal.put("k", "new").unwrap();
    store.relocate(&mut copies).unwrap();
    assert_eq!(wal.get("k").unwrap().unwrap(), b"new");
    assert_eq!(store.index.sums.records.load(Ordering::Relaxed), 3);
    wal.close().unwrap();
    let again = self::store(dir.path());
    assert_eq!(again.get("k").unwrap().unwrap(), b"new");
}

//! The index alone: numbers, pending records and what readers see.

use super::*;

fn index() -> Index {
    Index::new([7; 32])
}

fn entry(index: &Index, key: &str, seq: u64, is_put: bool) -> IndexEntry {
    let place = RecordRef::new(Seq::new(seq), Seq::FIRST, seq * 100, 10);
    IndexEntry { hash: index.hash(key.as_bytes()), slot: Slot::of(place).unwrap(), is_put }
}

fn begin<'i>(index: &'i Index, entries: &[IndexEntry]) -> PendingWrite<&'i Index> {
    index.lock_shards(entries.iter().map(|entry| entry.hash)).begin(index, entries.to_vec())
}

fn seq_of(index: &Index, key: &str) -> Option<u64> {
    index.get(index.hash(key.as_bytes())).map(|slot| slot.seq())
}

#[test]
fn a_slot_gives_back_the_whole_place() {
    for (seq, segment, offset) in [(1, 1, 64), (u64::MAX, u64::MAX - 5, 1 << 31), (1 << 40, 9, 0)] {
        let place = RecordRef::new(Seq::new(seq), Seq::new(segment), offset, 77);
        match Slot::of(place) {
            Some(slot) => assert_eq!(slot.place(), place),
            None => assert!(seq - segment > u64::from(u32::MAX)),
        }
    }
    assert_eq!(Slot::of(RecordRef::new(Seq::FIRST, Seq::FIRST, 1 << 32, 1)), None);
}

#[test]
fn a_lower_number_that_is_published_later_changes_nothing() {
    let index = index();
    let (first, second) = (entry(&index, "k", 5, true), entry(&index, "k", 6, true));
    let (earlier, later) = (begin(&index, &[first]), begin(&index, &[second]));
    later.publish();
    assert_eq!(seq_of(&index, "k"), Some(6));
    earlier.publish();
    assert_eq!(seq_of(&index, "k"), Some(6));
    assert_eq!(index.sums.keys.load(Ordering::Relaxed), 1);
    assert_eq!(index.sums.records.load(Ordering::Relaxed), 2);
}

#[test]
fn a_put_that_is_published_after_a_later_delete_does_not_come_back() {
    let index = index();
    let put = begin(&index, &[entry(&index, "k", 5, true)]);
    let delete = begin(&index, &[entry(&index, "k", 6, false)]);
    delete.publish();
    put.publish();
    assert_eq!(seq_of(&index, "k"), None);
    assert_eq!(index.sums.live_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn the_newest_record_of_a_key_may_be_pending() {
    let index = index();
    let hash = index.hash(b"k");
    assert_eq!(index.lock_shards([hash]).newest(hash), Newest::Absent);
    let first = entry(&index, "k", 5, true);
    let put = begin(&index, &[first]);
    assert_eq!(index.lock_shards([hash]).newest(hash), Newest::Pending { is_put: true });
    put.publish();
    assert_eq!(index.lock_shards([hash]).newest(hash), Newest::Published(first.slot));
    let delete = begin(&index, &[entry(&index, "k", 6, false)]);
    assert_eq!(index.lock_shards([hash]).newest(hash), Newest::Pending { is_put: false });
    drop(delete); // it failed
    assert_eq!(index.lock_shards([hash]).newest(hash), Newest::Published(first.slot));
}

#[test]
fn a_pending_record_that_is_superseded_is_not_the_newest() {
    let index = index();
    let hash = index.hash(b"k");
    let (delete, put) = (entry(&index, "k", 5, false), entry(&index, "k", 6, true));
    let earlier = begin(&index, &[delete]);
    begin(&index, &[put]).publish();
    assert_eq!(index.lock_shards([hash]).newest(hash), Newest::Published(put.slot));
    earlier.publish();
    assert_eq!(index.lock_shards([hash]).newest(hash), Newest::Published(put.slot));
}

#[test]
fn a_copy_takes_the_place_of_its_original_alone() {
    let index = index();
    let original = entry(&index, "k", 5, true);
    begin(&index, &[original]).publish();
    let copy = entry(&index, "k", 9, true).slot;
    index.relocate(original.hash, 5, copy);
    assert_eq!(seq_of(&index, "k"), Some(9));
    begin(&index, &[entry(&index, "k", 10, true)]).publish();
    index.relocate(original.hash, 5, entry(&index, "k", 11, true).slot);
    assert_eq!(seq_of(&index, "k"), Some(10));
    begin(&index, &[entry(&index, "k", 12, false)]).publish();
    index.relocate(original.hash, 10, entry(&index, "k", 13, true).slot);
    assert_eq!(seq_of(&index, "k"), None);
}

#[test]
fn of_one_key_twice_in_a_batch_the_later_one_wins() {
    let index = index();
    let records = [entry(&index, "k", 5, true), entry(&index, "k", 6, false)];
    begin(&index, &records).publish();
    assert_eq!(seq_of(&index, "k"), None);
    let records = [entry(&index, "k", 7, false), entry(&index, "k", 8, true)];
    begin(&index, &records).publish();
    assert_eq!(seq_of(&index, "k"), Some(8));
    assert_eq!(index.sums.keys.load(Ordering::Relaxed), 1);
}

#[test]
fn slots_come_in_the_order_of_their_records() {
    let index = index();
    for seq in (1..500).rev() {
        begin(&index, &[entry(&index, &seq.to_string(), seq, true)]).publish();
    }
    let seqs: Vec<u64> = index.slots().iter().map(Slot::seq).collect();
    assert_eq!(seqs, (1..500).collect::<Vec<_>>());
    let bytes = index.bytes() / 499;
    assert!((37..=37 * 5).contains(&bytes), "{bytes} bytes for each key");
}

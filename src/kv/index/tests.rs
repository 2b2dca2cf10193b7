use super::*;

fn index() -> Index {
    Index::new([7; 32])
}

fn placed(index: &Index, key: &str, seq: u64, is_put: bool) -> Placed {
    let place = RecordRef::new(Seq::new(seq), Seq::FIRST, seq * 100, 10);
    Placed { hash: index.hash(key.as_bytes()), slot: Slot::of(place).unwrap(), is_put }
}

fn depart<'i>(index: &'i Index, records: &[Placed]) -> Departed<'i> {
    index.turn(records.iter().map(|placed| placed.hash)).depart(records.to_vec())
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
fn a_lower_number_that_lands_later_changes_nothing() {
    let index = index();
    let (first, second) = (placed(&index, "k", 5, true), placed(&index, "k", 6, true));
    let (earlier, later) = (depart(&index, &[first]), depart(&index, &[second]));
    later.land();
    assert_eq!(seq_of(&index, "k"), Some(6));
    earlier.land();
    assert_eq!(seq_of(&index, "k"), Some(6));
    assert_eq!(index.sums.keys.load(Ordering::Relaxed), 1);
    assert_eq!(index.sums.records.load(Ordering::Relaxed), 2);
}

#[test]
fn a_put_that_lands_after_a_later_delete_does_not_come_back() {
    let index = index();
    let put = depart(&index, &[placed(&index, "k", 5, true)]);
    let delete = depart(&index, &[placed(&index, "k", 6, false)]);
    delete.land();
    put.land();
    assert_eq!(seq_of(&index, "k"), None);
    assert_eq!(index.sums.live_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn the_newest_record_of_a_key_may_still_fly() {
    let index = index();
    let hash = index.hash(b"k");
    assert_eq!(index.turn([hash]).newest(hash), Newest::Nothing);
    let first = placed(&index, "k", 5, true);
    let put = depart(&index, &[first]);
    assert_eq!(index.turn([hash]).newest(hash), Newest::Flying { is_put: true });
    put.land();
    assert_eq!(index.turn([hash]).newest(hash), Newest::Landed(first.slot));
    let delete = depart(&index, &[placed(&index, "k", 6, false)]);
    assert_eq!(index.turn([hash]).newest(hash), Newest::Flying { is_put: false });
    drop(delete); // it failed
    assert_eq!(index.turn([hash]).newest(hash), Newest::Landed(first.slot));
}

#[test]
fn a_flight_that_is_outdated_is_not_the_newest_record() {
    let index = index();
    let hash = index.hash(b"k");
    let (delete, put) = (placed(&index, "k", 5, false), placed(&index, "k", 6, true));
    let earlier = depart(&index, &[delete]);
    depart(&index, &[put]).land();
    assert_eq!(index.turn([hash]).newest(hash), Newest::Landed(put.slot));
    earlier.land();
    assert_eq!(index.turn([hash]).newest(hash), Newest::Landed(put.slot));
}

#[test]
fn a_copy_takes_the_place_of_its_original_alone() {
    let index = index();
    let original = placed(&index, "k", 5, true);
    depart(&index, &[original]).land();
    let copy = placed(&index, "k", 9, true).slot;
    index.moved(original.hash, 5, copy);
    assert_eq!(seq_of(&index, "k"), Some(9));
    depart(&index, &[placed(&index, "k", 10, true)]).land();
    index.moved(original.hash, 5, placed(&index, "k", 11, true).slot);
    assert_eq!(seq_of(&index, "k"), Some(10));
    depart(&index, &[placed(&index, "k", 12, false)]).land();
    index.moved(original.hash, 10, placed(&index, "k", 13, true).slot);
    assert_eq!(seq_of(&index, "k"), None);
}

#[test]
fn of_one_key_twice_in_a_batch_the_later_one_wins() {
    let index = index();
    let records = [placed(&index, "k", 5, true), placed(&index, "k", 6, false)];
    depart(&index, &records).land();
    assert_eq!(seq_of(&index, "k"), None);
    let records = [placed(&index, "k", 7, false), placed(&index, "k", 8, true)];
    depart(&index, &records).land();
    assert_eq!(seq_of(&index, "k"), Some(8));
    assert_eq!(index.sums.keys.load(Ordering::Relaxed), 1);
}

#[test]
fn slots_come_in_the_order_of_their_records() {
    let index = index();
    for seq in (1..500).rev() {
        depart(&index, &[placed(&index, &seq.to_string(), seq, true)]).land();
    }
    let seqs: Vec<u64> = index.slots().iter().map(Slot::seq).collect();
    assert_eq!(seqs, (1..500).collect::<Vec<_>>());
    let entry = index.bytes() / 499;
    assert!((37..=37 * 5).contains(&entry), "{entry} bytes for each key");
}

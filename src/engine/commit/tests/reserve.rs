//! Which records get a segment that is held back.

use std::sync::Arc;
use std::time::Instant;

use super::{ALL, limits, take};
use crate::engine::commit::queue::{
    Arrival, Blocked, Limits, Placed, Purpose, ReserveLimits, WriteQueue,
};
use crate::error::Error;

fn push_for(queue: &mut WriteQueue, purpose: Purpose, bytes: usize) -> Result<Placed, Blocked> {
    let heads = &[7; 8];
    let (sync, waits, ticket) = (true, false, None);
    let room = None;
    let arrival = Arrival { records: 1, heads, bytes, sync, waits, ticket, room, purpose };
    let placed = queue.push(arrival, Instant::now, |place| place.fill(7));
    while let Some(fill) = take(queue) {
        queue.give_back(fill.buf, fill.heads);
    }
    placed
}

/// An queue that writes to segment 3, whose reserve is segments 1 and 2, on a disk that is full.
fn full() -> WriteQueue {
    let reserve = ReserveLimits::new(2, 16_384, 4096);
    let mut queue = WriteQueue::new(Limits { spares: 0, reserve, ..limits() }, 1);
    assert!(matches!(push_for(&mut queue, Purpose::Keep, 8), Err(Blocked::Segment)));
    for file in 1..=3 {
        let bytes = queue.spare_request(ALL).unwrap();
        assert_eq!(bytes, if file < 3 { reserve.bytes } else { 16_384 }, "the reserve goes first");
        queue.spare_ready(file, bytes);
    }
    while push_for(&mut queue, Purpose::Keep, 4000).is_ok() {}
    refuse(&mut queue);
    queue
}

fn refuse(queue: &mut WriteQueue) {
    assert!(queue.spare_request(ALL).is_some());
    queue.spare_refused(Arc::new(Error::QueueFull));
}

fn fills_up(queue: &mut WriteQueue, purpose: Purpose) -> usize {
    (0..).take_while(|_| push_for(queue, purpose, 4000).is_ok()).count()
}

#[test]
fn who_keeps_gets_nothing_of_the_reserve_deletes_all_but_the_last_and_copies_all() {
    let mut queue = full();
    assert_eq!(fills_up(&mut queue, Purpose::Keep), 0);
    assert!(fills_up(&mut queue, Purpose::Delete) > 3);
    assert_eq!(queue.reserve().0, 1);
    assert!(matches!(push_for(&mut queue, Purpose::Keep, 8), Err(Blocked::Segment)));
    assert!(fills_up(&mut queue, Purpose::Compact) > 3);
    assert_eq!(queue.reserve(), (0, 0));
}

#[test]
fn a_segment_of_the_reserve_is_for_its_purpose_until_the_reserve_is_whole_again() {
    for purpose in [Purpose::Delete, Purpose::Compact] {
        let mut queue = full();
        push_for(&mut queue, purpose, 3000).unwrap();
        assert!(matches!(push_for(&mut queue, Purpose::Keep, 8), Err(Blocked::Segment)));
        // Also in a batch that is still open.
        let open = Arrival {
            room: None,
            records: 1,
            heads: &[7; 8],
            bytes: 8,
            sync: true,
            waits: false,
            ticket: None,
            purpose,
        };
        let first = queue.push(open, Instant::now, |place| place.fill(7)).unwrap();
        let keep = Arrival { purpose: Purpose::Keep, ..open };
        let refused = queue.push(keep, Instant::now, |place| place.fill(7));
        assert!(matches!(refused, Err(Blocked::Segment)));
        let bytes = queue.spare_request(ALL).unwrap();
        queue.spare_ready(4, bytes);
        assert_eq!(queue.reserve().0, 2);
        let joined = queue.push(keep, Instant::now, |place| place.fill(7)).unwrap();
        assert_eq!(joined.segment, first.segment);
    }
}

#[test]
fn what_is_refused_to_the_reserve_is_not_tried_again_by_itself() {
    let mut queue = full();
    push_for(&mut queue, Purpose::Delete, 8).unwrap();
    assert!(queue.spare_request(ALL).is_none());
    assert!(matches!(push_for(&mut queue, Purpose::Keep, 8), Err(Blocked::Segment)));
    refuse(&mut queue);
    assert!(queue.spare_request(ALL).is_none());
    queue.room_came_back();
    assert!(queue.spare_request(ALL).is_some());
}

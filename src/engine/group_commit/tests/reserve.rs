//! Which records get a segment that is held back.

use std::sync::Arc;
use std::time::Instant;

use super::{ALL, limits, take};
use crate::engine::group_commit::inbox::{
    Arrival, Blocked, Inbox, Limits, Placed, Purpose, ReserveLimits,
};
use crate::error::Error;

fn push_for(inbox: &mut Inbox, purpose: Purpose, bytes: usize) -> Result<Placed, Blocked> {
    let heads = &[7; 8];
    let (sync, waits, ticket) = (true, false, None);
    let arrival = Arrival { records: 1, heads, bytes, sync, waits, ticket, purpose };
    let placed = inbox.push(arrival, Instant::now, |place| place.fill(7));
    while let Some(fill) = take(inbox) {
        inbox.give_back(fill.buf, fill.heads);
    }
    placed
}

/// An inbox that writes to segment 3, whose reserve is segments 1 and 2, on a disk that is full.
fn full() -> Inbox {
    let reserve = ReserveLimits::new(2, 16_384, 4096);
    let mut inbox = Inbox::new(Limits { spares: 0, reserve, ..limits() }, 1);
    assert!(matches!(push_for(&mut inbox, Purpose::Keep, 8), Err(Blocked::Segment)));
    for file in 1..=3 {
        let bytes = inbox.spare_request(ALL).unwrap();
        assert_eq!(bytes, if file < 3 { reserve.bytes } else { 16_384 }, "the reserve goes first");
        inbox.spare_ready(file, bytes);
    }
    while push_for(&mut inbox, Purpose::Keep, 4000).is_ok() {}
    refuse(&mut inbox);
    inbox
}

fn refuse(inbox: &mut Inbox) {
    assert!(inbox.spare_request(ALL).is_some());
    inbox.spare_refused(Arc::new(Error::QueueFull));
}

fn fills_up(inbox: &mut Inbox, purpose: Purpose) -> usize {
    (0..).take_while(|_| push_for(inbox, purpose, 4000).is_ok()).count()
}

#[test]
fn who_keeps_gets_nothing_of_the_reserve_deletes_all_but_the_last_and_copies_all() {
    let mut inbox = full();
    assert_eq!(fills_up(&mut inbox, Purpose::Keep), 0);
    assert!(fills_up(&mut inbox, Purpose::Delete) > 3);
    assert_eq!(inbox.reserve().0, 1);
    assert!(matches!(push_for(&mut inbox, Purpose::Keep, 8), Err(Blocked::Segment)));
    assert!(fills_up(&mut inbox, Purpose::Compact) > 3);
    assert_eq!(inbox.reserve(), (0, 0));
}

#[test]
fn a_segment_of_the_reserve_is_for_its_purpose_until_the_reserve_is_whole_again() {
    for purpose in [Purpose::Delete, Purpose::Compact] {
        let mut inbox = full();
        push_for(&mut inbox, purpose, 3000).unwrap();
        assert!(matches!(push_for(&mut inbox, Purpose::Keep, 8), Err(Blocked::Segment)));
        // Also in a batch that is still open.
        let open = Arrival {
            records: 1,
            heads: &[7; 8],
            bytes: 8,
            sync: true,
            waits: false,
            ticket: None,
            purpose,
        };
        let first = inbox.push(open, Instant::now, |place| place.fill(7)).unwrap();
        let keep = Arrival { purpose: Purpose::Keep, ..open };
        let refused = inbox.push(keep, Instant::now, |place| place.fill(7));
        assert!(matches!(refused, Err(Blocked::Segment)));
        let bytes = inbox.spare_request(ALL).unwrap();
        inbox.spare_ready(4, bytes);
        assert_eq!(inbox.reserve().0, 2);
        let joined = inbox.push(keep, Instant::now, |place| place.fill(7)).unwrap();
        assert_eq!(joined.segment, first.segment);
    }
}

#[test]
fn what_is_refused_to_the_reserve_is_not_tried_again_by_itself() {
    let mut inbox = full();
    push_for(&mut inbox, Purpose::Delete, 8).unwrap();
    assert!(inbox.spare_request(ALL).is_none());
    assert!(matches!(push_for(&mut inbox, Purpose::Keep, 8), Err(Blocked::Segment)));
    refuse(&mut inbox);
    assert!(inbox.spare_request(ALL).is_none());
    inbox.room_came_back();
    assert!(inbox.spare_request(ALL).is_some());
}

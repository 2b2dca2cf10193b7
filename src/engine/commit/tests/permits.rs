//! Room that permits hold.

use super::*;

/// Pushes with the room of a permit.
fn push_with(queue: &mut WriteQueue, bytes: usize, room: Room) -> Result<Placed, Blocked> {
    let arrival = Arrival {
        records: 1,
        heads: &[7; 8],
        bytes,
        sync: true,
        waits: false,
        ticket: None,
        purpose: Purpose::Keep,
        room: Some(room),
    };
    queue.push(arrival, Instant::now, |place| place.fill(7))
}

#[test]
fn what_is_held_goes_to_nobody_else_and_is_never_refused() {
    let mut queue = queue_with_segment(Limits { segment_bytes: 1 << 20, ..limits() });
    // Four buffers of 8 KiB; eight permits in the worst case have a batch of 4 KiB each.
    let rooms: Vec<Room> = (0..8).map(|_| queue.hold(1000, None).unwrap()).collect();
    assert!(matches!(queue.hold(1000, None), Err(Blocked::Room)));
    assert!(matches!(push(&mut queue, 100), Err(Blocked::Room)));
    let mut in_flight = Vec::new();
    for room in rooms {
        push_with(&mut queue, 1000, room).unwrap();
        in_flight.push(take(&mut queue).unwrap());
    }
    assert!(queue.queued_bytes() <= 32_768, "{}", queue.queued_bytes());
    assert!(matches!(push(&mut queue, 100), Err(Blocked::Room)), "all is in flight");
    for batch in in_flight {
        queue.give_back(batch.buf, batch.heads);
    }
    push(&mut queue, 100).unwrap();
}

#[test]
fn a_permit_that_is_dropped_gives_its_room_back() {
    let mut queue = queue_with_segment(Limits { segment_bytes: 1 << 20, ..limits() });
    let room = queue.hold(30_000, None).unwrap();
    assert!(matches!(push(&mut queue, 100), Err(Blocked::Room)));
    queue.drop_room(room);
    push(&mut queue, 100).unwrap();
}

#[test]
fn a_record_without_a_permit_leaves_the_segment_to_those_with_one() {
    // 16 KiB in the segment, and no spare.
    let mut queue = queue_with_segment(Limits { spares: 0, queue_bytes: 1 << 20, ..limits() });
    let rooms = [(); 3].map(|()| queue.hold(3000, None).unwrap());
    assert!(matches!(queue.hold(6000, None), Err(Blocked::Segment)), "12 of 16 KiB are held");
    assert!(matches!(push(&mut queue, 6000), Err(Blocked::Segment)));
    push(&mut queue, 3000).unwrap();
    assert!(take(&mut queue).is_some());
    for room in rooms {
        push_with(&mut queue, 3000, room).unwrap();
        assert!(take(&mut queue).is_some());
    }
    assert!(matches!(push(&mut queue, 3000), Err(Blocked::Segment)));
}

#[test]
fn a_permit_for_more_than_the_whole_memory_is_given_alone() {
    let mut queue = queue_with_segment(Limits { segment_bytes: 1 << 20, ..limits() });
    let room = queue.hold(100_000, None).unwrap();
    assert!(matches!(queue.hold(1, None), Err(Blocked::Room)));
    push_with(&mut queue, 100_000, room).unwrap();
}

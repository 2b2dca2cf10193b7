//! How segments grow, and how many spares are held ready.

use super::*;

/// Fills the active segment with records of its size, and begins the next one.
fn begin_next(queue: &mut WriteQueue) {
    while push(queue, 8128).unwrap().offset > HEADER_SIZE as u64 {
        while let Some(batch) = take(queue) {
            queue.give_back(batch.buf, batch.heads);
        }
    }
}

fn prepare(queue: &mut WriteQueue, file: FileId) -> u64 {
    let bytes = queue.spare_request(ALL).unwrap();
    queue.spare_ready(file, bytes);
    bytes
}

#[test]
fn the_first_segment_is_short_and_the_next_ones_grow_until_they_are_full() {
    let limits = Limits { first_segment_bytes: 8192, segment_bytes: 1 << 20, ..limits() };
    let mut queue = WriteQueue::new(limits, 1);
    assert!(matches!(push(&mut queue, 8), Err(Blocked::Segment)));
    assert_eq!(prepare(&mut queue, 1), 8192);
    push(&mut queue, 8).unwrap();
    assert_eq!(prepare(&mut queue, 2), 16 * 8192);
    assert_eq!(prepare(&mut queue, 3), 1 << 20, "a short one is not what is held ready");
    assert_eq!(queue.spare_request(ALL), None);
}

#[test]
fn a_first_record_that_is_longer_gets_its_segment() {
    let limits = Limits { first_segment_bytes: 128, segment_bytes: 1 << 20, ..limits() };
    let mut queue = WriteQueue::new(limits, 1);
    assert!(matches!(push(&mut queue, 5000), Err(Blocked::Segment)));
    assert_eq!(prepare(&mut queue, 1), 5000 + HEADER_SIZE as u64);
}

#[test]
fn as_many_spares_are_held_ready_as_the_last_burst_used_up_to_the_limit() {
    for (used, burst_spares, held) in [(0, 4, 1), (3, 4, 3), (9, 4, 4), (9, 0, 1)] {
        let mut queue = queue_with_segment(Limits { burst_spares, ..limits() });
        push(&mut queue, 8128).unwrap();
        queue.rest();
        prepare(&mut queue, 2);
        for file in 0..used {
            begin_next(&mut queue);
            prepare(&mut queue, 3 + file);
        }
        assert_eq!(queue.spare_request(ALL), None, "while it runs, one is enough");
        queue.rest();
        for file in 1..held {
            assert_eq!(prepare(&mut queue, 100 + file), 16_384, "{used} {burst_spares}");
        }
        assert_eq!(queue.spare_request(ALL), None, "{used} {burst_spares}");
    }
}

#[test]
fn zeros_are_in_a_hurry_once_half_of_the_segment_is_used_and_none_is_ready() {
    let mut queue = queue_with_segment(limits());
    push(&mut queue, 4000).unwrap();
    assert!(!queue.is_pressed());
    push(&mut queue, 8128).unwrap();
    assert!(queue.is_pressed());
    prepare(&mut queue, 2);
    assert!(!queue.is_pressed());
    while let Some(batch) = take(&mut queue) {
        queue.give_back(batch.buf, batch.heads);
    }
    // No spare is long enough.
    assert!(matches!(push(&mut queue, 20_000), Err(Blocked::Segment)));
    assert!(queue.is_pressed());
}

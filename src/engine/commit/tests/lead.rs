//! The lead of the next batch, passed on by the thread that finished the last one.

use super::*;

const FLUSH: Duration = Duration::from_millis(1);

/// A queue whose last batch of `back` records has just come back, with `waiting` in the next one.
fn after(back: u32, waiting: u32) -> (WriteQueue, Instant) {
    let (mut queue, now) = inline_queue();
    assert_eq!(arrive(&mut queue, back, 8 * back as usize, now), Role::Lead);
    assert!(matches!(queue.take(now, Taker::Leader), Next::Batch(_)));
    for _ in 0..waiting {
        assert_eq!(arrive(&mut queue, 1, 8, now), Role::Follow);
    }
    queue.completed(u64::from(back), now, FLUSH);
    (queue, now)
}

#[test]
fn the_next_batch_waits_for_its_leader_and_for_those_who_came_back_before_it() {
    let (mut queue, now) = after(8, 2);
    assert!(queue.pass_lead().is_some());
    assert_eq!(arrive(&mut queue, 1, 8, now), Role::Follow, "one leads already");
    assert!(matches!(queue.take(now, Taker::Ring), Next::Nothing), "not the ring thread");
    let next = queue.take(now, Taker::Leader);
    assert!(matches!(next, Next::Batch(batch) if batch.records == 3), "and it is not held");
    // Once more, and no hold was in vain.
    queue.completed(3, now, FLUSH);
    assert_eq!(arrive(&mut queue, 1, 8, now), Role::LeadAt(now + FLUSH));
}

#[test]
fn the_lead_is_passed_only_to_one_who_waits_and_can_write() {
    let (mut queue, now) = after(8, 0);
    assert!(queue.pass_lead().is_none(), "nobody waits");
    let ticket = Arrival {
        records: 1,
        heads: &[7; 8],
        bytes: 8,
        sync: true,
        waits: false,
        ticket: None,
        purpose: Purpose::Keep,
        room: None,
    };
    queue.push(ticket, || now, |_| ()).unwrap();
    assert!(queue.pass_lead().is_none(), "nobody has a thread to write with");

    let (mut queue, _) = after(8, 1);
    queue.freeze();
    assert!(queue.pass_lead().is_none(), "the ring thread brings the log to rest");
    queue.thaw();
    assert!(queue.pass_lead().is_some());
}

#[test]
fn the_ring_thread_takes_what_is_urgent_and_what_a_leader_gives_up() {
    let (mut queue, now) = after(8, 1);
    assert!(queue.pass_lead().is_some());
    queue.hurry(9);
    assert!(matches!(queue.take(now, Taker::Ring), Next::Batch(_)));
    assert!(matches!(queue.take(now, Taker::Leader), Next::Nothing), "the leader comes too late");

    let (mut queue, now) = after(8, 1);
    assert!(queue.pass_lead().is_some());
    queue.give_up_lead();
    assert!(matches!(queue.take(now + FLUSH, Taker::Ring), Next::Batch(_)));
}

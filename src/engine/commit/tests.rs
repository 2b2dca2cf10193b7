//! The two state machines on their own, and together against a plain model of a disk.

mod growth;
mod lead;
mod one_sync;
mod permits;
mod reserve;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pipeline::{Action, Pipeline, Submission};
use super::policy::Role;
use super::queue::{
    Arrival, Blocked, Limits, Next, Placed, Purpose, QueuedBatch, ReserveLimits, RingState, Room,
    Taker, WriteQueue,
};
use crate::engine::commit::latch::Stage;
use crate::error::Error;
use crate::format::{HEADER_SIZE, RECORD_HEAD_SIZE};
use crate::io::{FileId, Strategy};

fn limits() -> Limits {
    Limits {
        unit: 4096,
        batch_bytes: 8192,
        batch_records: 4,
        batch_delay: Duration::ZERO,
        segment_bytes: 16_384,
        first_segment_bytes: 1 << 30,
        spares: 1,
        burst_spares: 4,
        reserve: ReserveLimits::default(),
        queue_bytes: 32_768,
        gather: false,
        inline: false,
    }
}

/// No bound on the spares that are prepared ahead but that of the limits.
const ALL: usize = usize::MAX;

fn push(queue: &mut WriteQueue, bytes: usize) -> Result<Placed, Blocked> {
    let arrival = Arrival {
        records: 1,
        heads: &[7; 8],
        bytes,
        sync: true,
        waits: false,
        ticket: None,
        purpose: Purpose::Keep,
        room: None,
    };
    queue.push(arrival, Instant::now, |place| place.fill(7))
}

fn arrive(queue: &mut WriteQueue, records: u32, bytes: usize, now: Instant) -> Role {
    let heads = &vec![7; records as usize * RECORD_HEAD_SIZE];
    let arrival = Arrival {
        records,
        heads,
        bytes,
        sync: true,
        waits: true,
        ticket: None,
        purpose: Purpose::Keep,
        room: None,
    };
    queue.push(arrival, || now, |_| ()).unwrap().role
}

fn take(queue: &mut WriteQueue) -> Option<Box<QueuedBatch>> {
    match queue.take(Instant::now(), Taker::Ring) {
        Next::Batch(batch) => Some(batch),
        _ => None,
    }
}

/// [`push`] of somebody who is in the line.
fn push_in_line(queue: &mut WriteQueue, bytes: usize, ticket: u64) -> Result<Placed, Blocked> {
    let ticket = Some(ticket);
    let arrival = Arrival {
        records: 1,
        heads: &[7; 8],
        bytes,
        sync: true,
        waits: true,
        ticket,
        purpose: Purpose::Keep,
        room: None,
    };
    queue.push(arrival, Instant::now, |place| place.fill(7))
}

/// An queue with one segment to write to.
fn queue_with_segment(limits: Limits) -> WriteQueue {
    let mut queue = WriteQueue::new(limits, 1);
    assert!(matches!(push(&mut queue, 8), Err(Blocked::Segment)));
    let bytes = queue.spare_request(ALL).unwrap();
    queue.spare_ready(1, bytes);
    queue
}

#[test]
fn records_share_a_batch_until_it_is_taken() {
    let mut queue = queue_with_segment(limits());
    for seq in 1..=3 {
        assert_eq!(push(&mut queue, 100).unwrap().first_seq, seq);
    }
    let batch = take(&mut queue).unwrap();
    assert_eq!((batch.first_seq, batch.records, batch.offset), (1, 3, 0));
    assert_eq!(batch.end, HEADER_SIZE + 300);
    let next = push(&mut queue, 100).unwrap();
    assert_eq!((next.first_seq, next.offset), (4, 4096 + HEADER_SIZE as u64));
}

#[test]
fn who_waits_for_room_is_not_overtaken_by_those_who_need_less() {
    let mut queue = queue_with_segment(Limits { segment_bytes: 1 << 20, ..limits() });
    let is_full = |placed: &Result<Placed, Blocked>| matches!(placed, Err(Blocked::Room));
    let mut in_flight = Vec::new();
    while push(&mut queue, 8000).is_ok() {
        in_flight.push(take(&mut queue).unwrap());
    }
    assert_eq!(in_flight.len(), 4, "the memory is used up");
    let large = queue.line.join();
    assert!(is_full(&push_in_line(&mut queue, 30_000, large)));
    let second = queue.line.join();
    for left in (0..4).rev() {
        let QueuedBatch { buf, heads, .. } = *in_flight.pop().unwrap();
        queue.give_back(buf, heads);
        // There is room for these, and nobody may take it.
        assert!(is_full(&push(&mut queue, 100)) && is_full(&push_in_line(&mut queue, 100, second)));
        assert_eq!(push_in_line(&mut queue, 30_000, large).is_ok(), left == 0, "{left} left");
    }
    queue.line.leave(large);
    assert!(!queue.line.is_empty(), "somebody else is the first now");
    let QueuedBatch { buf, heads, .. } = *take(&mut queue).unwrap();
    queue.give_back(buf, heads);
    assert!(push_in_line(&mut queue, 100, second).is_ok());
    queue.line.leave(second);
    assert!(push(&mut queue, 100).is_ok(), "the batch is open");
}

#[test]
fn a_batch_keeps_the_heads_of_its_records_and_none_of_an_earlier_one() {
    let mut queue = queue_with_segment(limits());
    push(&mut queue, 100).unwrap();
    arrive(&mut queue, 2, 100, Instant::now());
    let batch = take(&mut queue).unwrap();
    assert_eq!(batch.heads, [7; 3 * RECORD_HEAD_SIZE]);
    let (memory, heads) = (batch.heads.as_ptr(), [1, 2, 3, 4, 5, 6, 7, 8]);
    queue.give_back(batch.buf, batch.heads);
    let arrival = Arrival {
        records: 1,
        heads: &heads,
        bytes: 8,
        sync: true,
        waits: false,
        ticket: None,
        purpose: Purpose::Keep,
        room: None,
    };
    queue.push(arrival, Instant::now, |_| ()).unwrap();
    let batch = take(&mut queue).unwrap();
    assert_eq!((&batch.heads[..], batch.heads.as_ptr()), (&heads[..], memory));
}

#[test]
fn a_batch_closes_at_its_records_and_at_its_bytes() {
    let mut queue = queue_with_segment(limits());
    for _ in 0..5 {
        push(&mut queue, 10).unwrap();
    }
    assert_eq!(take(&mut queue).unwrap().records, 4);
    push(&mut queue, 8120).unwrap();
    assert_eq!(take(&mut queue).unwrap().records, 1);
    assert_eq!(take(&mut queue).unwrap().offset, 8192);
}

#[test]
fn a_record_without_a_prepared_segment_gets_no_number() {
    let mut queue = queue_with_segment(limits());
    push(&mut queue, 8000).unwrap();
    push(&mut queue, 8000).unwrap();
    assert!(matches!(push(&mut queue, 8000), Err(Blocked::Segment)));
    assert_eq!(queue.appended_seq(), 2);
    let bytes = queue.spare_request(ALL).unwrap();
    let before = queue.refusals();
    queue.spare_refused(Arc::new(Error::QueueFull));
    assert_eq!(queue.refusals(), before + 1);
    assert!(queue.spare_request(ALL).is_none(), "a refused spare is not retried by itself");
    assert!(matches!(push(&mut queue, 8000), Err(Blocked::Segment)));
    assert_eq!(queue.spare_request(ALL), Some(bytes), "the next append asks again");
    queue.spare_ready(2, bytes);
    let placed = push(&mut queue, 8000).unwrap();
    assert_eq!((placed.first_seq, placed.segment, placed.offset), (3, 3, HEADER_SIZE as u64));
}

#[test]
fn a_segment_takes_one_batch_however_small_it_is() {
    let mut queue = queue_with_segment(Limits { segment_bytes: 256, ..limits() });
    push(&mut queue, 29).unwrap();
    assert!(take(&mut queue).is_some());
    assert!(matches!(push(&mut queue, 29), Err(Blocked::Segment)));
    assert_eq!(queue.spare_request(ALL), Some(256));
    queue.spare_ready(2, 256);
    assert_eq!(push(&mut queue, 29).unwrap().segment, 2);
    assert!(matches!(push(&mut queue, 5000), Err(Blocked::Segment)));
    assert_eq!(queue.spare_request(ALL), Some(5064));
}

#[test]
fn who_waits_for_a_segment_that_nobody_prepares_is_sent_to_ask_for_it() {
    let mut queue = queue_with_segment(Limits { spares: 0, queue_bytes: 1 << 20, ..limits() });
    push(&mut queue, 8128).unwrap();
    push(&mut queue, 8128).unwrap();
    assert!(matches!(push(&mut queue, 8128), Err(Blocked::Segment)));
    let bytes = queue.spare_request(ALL).unwrap();
    queue.spare_ready(2, bytes);
    // Somebody else takes all of it.
    push(&mut queue, 8128).unwrap();
    push(&mut queue, 8128).unwrap();
}

#[test]
fn asking_twice_for_a_segment_gets_one() {
    let mut queue = WriteQueue::new(Limits { spares: 0, ..limits() }, 1);
    assert!(matches!(push(&mut queue, 8), Err(Blocked::Segment)));
    let bytes = queue.spare_request(ALL).unwrap();
    assert!(matches!(push(&mut queue, 8), Err(Blocked::Segment)));
    queue.spare_ready(1, bytes);
    push(&mut queue, 8).unwrap();
    assert_eq!(queue.spare_request(ALL), None);
}

#[test]
fn spares_are_prepared_ahead_one_at_a_time_up_to_the_limit() {
    let mut queue = queue_with_segment(Limits { spares: 2, ..limits() });
    assert_eq!(queue.spare_request(ALL), None, "nothing is written yet");
    push(&mut queue, 100).unwrap();
    for file in [2, 3] {
        assert!(queue.wants_spare(ALL));
        let bytes = queue.spare_request(ALL).unwrap();
        assert!(!queue.wants_spare(ALL) && queue.spare_request(ALL).is_none(), "one at a time");
        queue.spare_ready(file, bytes);
    }
    assert!(!queue.wants_spare(ALL) && queue.spare_request(ALL).is_none());
}

#[test]
fn where_one_spare_is_enough_ahead_those_that_are_left_are_used_up_first() {
    let mut queue = queue_with_segment(Limits { spares: 2, queue_bytes: 1 << 20, ..limits() });
    push(&mut queue, 8128).unwrap();
    for file in [2, 3] {
        let bytes = queue.spare_request(ALL).unwrap();
        queue.spare_ready(file, bytes);
    }
    for file in [1, 2] {
        assert_eq!(queue.spare_request(1), None, "beside file {file}");
        // The second one of a file, and the first one of the next.
        push(&mut queue, 8128).unwrap();
        push(&mut queue, 8128).unwrap();
    }
    assert_eq!(queue.spare_request(1), Some(16_384), "none is left");
    queue.spare_ready(4, 16_384);
    assert_eq!(queue.spare_request(1), None);
    assert_eq!(queue.spare_request(ALL), Some(16_384), "it counts as one of two");
    queue.spare_ready(5, 16_384);
    assert_eq!(queue.spare_request(ALL), None);
}

#[test]
fn an_append_that_needs_a_segment_is_served_whatever_may_be_ahead() {
    let mut queue = queue_with_segment(Limits { spares: 2, ..limits() });
    push(&mut queue, 100).unwrap();
    let bytes = queue.spare_request(1).unwrap();
    queue.spare_ready(2, bytes);
    // No spare is long enough for it.
    assert!(matches!(push(&mut queue, 20_000), Err(Blocked::Segment)));
    assert!(queue.wants_spare(1) && queue.wants_spare(0));
    assert_eq!(queue.spare_request(0), Some(20_000 + HEADER_SIZE as u64));
    queue.spare_ready(3, 20_064);
    assert_eq!(push(&mut queue, 20_000).unwrap().segment, 2, "which is its sequence number");
}

#[test]
fn memory_is_bounded_and_one_large_record_passes_alone() {
    let limits = Limits { queue_bytes: 8192, segment_bytes: 1 << 20, ..limits() };
    let mut queue = queue_with_segment(limits);
    push(&mut queue, 8128).unwrap();
    assert!(matches!(push(&mut queue, 8000), Err(Blocked::Room)));
    assert_eq!(queue.queued_bytes(), 8192);
    let batch = take(&mut queue).unwrap();
    assert!(matches!(push(&mut queue, 100), Err(Blocked::Room)), "it is still in flight");
    queue.give_back(batch.buf, batch.heads);
    push(&mut queue, 100_000).unwrap();
    assert!(matches!(push(&mut queue, 100_000), Err(Blocked::Room)));
}

#[test]
fn a_delay_holds_the_open_batch_until_it_is_full_or_late_or_urgent() {
    let delay = Duration::from_millis(500);
    let mut queue = queue_with_segment(Limits { batch_delay: delay, ..limits() });
    let now = Instant::now();
    arrive(&mut queue, 1, 8, now);
    assert!(matches!(queue.take(now, Taker::Ring), Next::NotBefore(at) if at == now + delay));
    assert!(matches!(queue.take(now + delay, Taker::Ring), Next::Batch(_)));
    arrive(&mut queue, 1, 8, now);
    queue.hurry(2);
    assert!(matches!(queue.take(now, Taker::Ring), Next::Batch(_)));
    arrive(&mut queue, 4, 32, now);
    assert!(matches!(queue.take(now, Taker::Ring), Next::Batch(_)));
}

/// A queue in which every appender waits and may commit.
fn inline_queue() -> (WriteQueue, Instant) {
    let limits = Limits { batch_records: 1000, gather: true, inline: true, ..limits() };
    (queue_with_segment(limits), Instant::now())
}

#[test]
fn one_appender_is_told_to_commit_what_is_due_and_no_other() {
    let (mut queue, now) = inline_queue();
    assert_eq!(arrive(&mut queue, 1, 8, now), Role::Lead);
    assert_eq!(arrive(&mut queue, 1, 8, now), Role::Follow, "the first is on its way to it");
    assert!(matches!(queue.take(now, Taker::Ring), Next::Batch(batch) if batch.records == 2));
    assert_eq!(arrive(&mut queue, 1, 8, now), Role::Follow, "the one in flight looks after it");
}

#[test]
fn the_first_to_come_back_sets_a_time_and_the_last_commits() {
    let (mut queue, now) = inline_queue();
    let flush = Duration::from_millis(1);
    for _ in 0..3 {
        arrive(&mut queue, 1, 8, now);
    }
    assert!(take(&mut queue).is_some());
    queue.completed(3, now, flush);
    assert_eq!(arrive(&mut queue, 1, 8, now), Role::LeadAt(now + flush));
    assert_eq!(arrive(&mut queue, 1, 8, now), Role::Follow);
    assert_eq!(arrive(&mut queue, 1, 8, now), Role::Lead);
}

#[test]
fn an_appender_that_does_not_wait_wakes_the_ring_thread_unless_it_has_a_timer() {
    let (mut queue, now) = inline_queue();
    let leave = |queue: &mut WriteQueue| {
        let arrival = Arrival {
            records: 1,
            heads: &[7; 8],
            bytes: 8,
            sync: true,
            waits: false,
            ticket: None,
            purpose: Purpose::Keep,
            room: None,
        };
        queue.push(arrival, || now, |_| ()).unwrap().role
    };
    queue.ring = RingState::Asleep;
    assert_eq!(leave(&mut queue), Role::WakeRing);
    assert_eq!(leave(&mut queue), Role::Follow, "it was woken");
    assert!(matches!(queue.take(now, Taker::Ring), Next::Batch(_)));
    queue.completed(2, now, Duration::from_millis(1));
    assert!(matches!(queue.take(now, Taker::Ring), Next::NotBefore(_)));
    queue.ring = RingState::Timed;
    assert_eq!(leave(&mut queue), Role::Follow, "it will look at that time");
    assert_eq!(leave(&mut queue), Role::WakeRing, "all are back before it");
}

#[test]
fn a_ticket_in_a_batch_that_a_timer_looks_after_needs_no_clock() {
    let (mut queue, now) = inline_queue();
    let leave = |queue: &mut WriteQueue, now: &dyn Fn() -> Instant| {
        let arrival = Arrival {
            records: 1,
            heads: &[7; 8],
            bytes: 8,
            sync: true,
            waits: false,
            ticket: None,
            purpose: Purpose::Keep,
            room: None,
        };
        queue.push(arrival, now, |_| ()).unwrap().role
    };
    leave(&mut queue, &|| now);
    assert!(matches!(queue.take(now, Taker::Ring), Next::Batch(_)));
    queue.completed(4, now, Duration::from_millis(1));
    assert!(matches!(queue.take(now, Taker::Ring), Next::NotBefore(_)));
    queue.ring = RingState::Timed;
    assert_eq!(leave(&mut queue, &|| now), Role::Follow, "it opens a batch");
    let no_clock = || panic!("looks at the clock");
    assert_eq!(leave(&mut queue, &no_clock), Role::Follow);
    assert_eq!(leave(&mut queue, &no_clock), Role::Follow);
    assert_eq!(leave(&mut queue, &no_clock), Role::WakeRing, "all four are back");
}

/// A batch of one record for the pipeline.
fn submit(pipeline: &mut Pipeline, seq: u64, file: u64, strategy: Option<Strategy>) -> u64 {
    pipeline.submitted(Submission {
        first_seq: seq,
        last_seq: seq,
        file,
        segment: file,
        end: seq * 4096,
        strategy,
        latch: crate::engine::commit::latch::Latch::new(),
    })
}

fn acknowledged(pipeline: &mut Pipeline) -> Vec<Stage> {
    let mut out = Vec::new();
    pipeline.advance(&mut out);
    out.into_iter().map(|(_, level)| level).collect()
}

const LINKED: Option<Strategy> = Some(Strategy::LinkedFsync);

#[test]
fn nothing_is_acknowledged_before_its_segment_has_its_name() {
    let mut pipeline = Pipeline::new(4, 0);
    let id = submit(&mut pipeline, 1, 1, LINKED);
    assert_eq!(pipeline.next_action(), Some(Action::Install { file: 1, first_seq: 1 }));
    pipeline.write_done(id);
    assert_eq!(acknowledged(&mut pipeline), []);
    pipeline.installed(1);
    assert_eq!(acknowledged(&mut pipeline), [Stage::Synced]);
    assert_eq!((pipeline.written_seq(), pipeline.durable_seq()), (1, 1));
}

#[test]
fn beside_a_write_that_its_thread_syncs_none_is_started() {
    let mut pipeline = Pipeline::new(4, 0);
    submit(&mut pipeline, 1, 1, None);
    submit(&mut pipeline, 2, 1, LINKED);
    assert!(pipeline.has_slot());
    let last = submit(&mut pipeline, 3, 1, Some(Strategy::WriteThenSync));
    assert!(!pipeline.has_slot(), "although there may be four");
    pipeline.write_done(last);
    assert!(pipeline.has_slot());
}

#[test]
fn acknowledgement_is_by_contiguous_prefix() {
    let mut pipeline = Pipeline::new(4, 0);
    let ids = [1, 2, 3].map(|seq| submit(&mut pipeline, seq, 1, LINKED));
    pipeline.next_action();
    pipeline.installed(1);
    pipeline.write_done(ids[2]);
    pipeline.write_done(ids[1]);
    assert_eq!(acknowledged(&mut pipeline), []);
    pipeline.write_done(ids[0]);
    assert_eq!(acknowledged(&mut pipeline), [Stage::Synced; 3]);
    assert_eq!(pipeline.durable_seq(), 3);
}

#[test]
fn a_segment_gets_its_name_only_when_all_before_it_is_durable() {
    let mut pipeline = Pipeline::new(4, 0);
    let first = submit(&mut pipeline, 1, 1, LINKED);
    let second = submit(&mut pipeline, 2, 2, LINKED);
    assert_eq!(pipeline.next_action(), Some(Action::Install { file: 1, first_seq: 1 }));
    pipeline.installed(1);
    pipeline.write_done(second);
    assert_eq!(pipeline.next_action(), None, "record 1 is not durable yet");
    pipeline.write_done(first);
    assert_eq!(acknowledged(&mut pipeline), [Stage::Synced]);
    let seal = Action::Seal { file: 1, first_seq: 1, last_seq: 1, bytes: 4096 };
    assert_eq!(pipeline.next_action(), Some(seal));
    assert_eq!(pipeline.next_action(), Some(Action::Install { file: 2, first_seq: 2 }));
    assert_eq!(acknowledged(&mut pipeline), []);
    pipeline.installed(2);
    assert_eq!(acknowledged(&mut pipeline), [Stage::Synced]);
}

#[test]
fn a_sync_covers_only_writes_that_were_complete_when_it_began() {
    let mut pipeline = Pipeline::new(4, 0);
    let written = submit(&mut pipeline, 1, 1, None);
    pipeline.next_action();
    pipeline.installed(1);
    let synced = submit(&mut pipeline, 2, 1, LINKED);
    pipeline.write_done(written); // after the sync of batch 2 was on its way
    pipeline.write_done(synced);
    assert_eq!(acknowledged(&mut pipeline), [Stage::Written, Stage::Written]);
    assert_eq!((pipeline.written_seq(), pipeline.durable_seq()), (2, 0));
    let Some(Action::Sync { file: 1, since }) = pipeline.next_action() else { panic!() };
    assert_eq!(pipeline.next_action(), None, "one sync at a time");
    pipeline.sync_done(1, since);
    assert_eq!(acknowledged(&mut pipeline), [Stage::Synced, Stage::Synced]);
    assert_eq!(pipeline.durable_seq(), 2);
}

#[test]
fn a_data_sync_does_not_cover_its_neighbours() {
    let mut pipeline = Pipeline::new(4, 0);
    let written = submit(&mut pipeline, 1, 1, None);
    pipeline.next_action();
    pipeline.installed(1);
    pipeline.write_done(written);
    let synced = submit(&mut pipeline, 2, 1, Some(Strategy::Dsync));
    pipeline.write_done(synced);
    acknowledged(&mut pipeline);
    assert_eq!(pipeline.durable_seq(), 0);
    assert!(matches!(pipeline.next_action(), Some(Action::Sync { file: 1, .. })));
}

#[test]
fn a_log_that_never_syncs_stays_small_and_can_still_be_flushed() {
    let mut pipeline = Pipeline::new(1, 0);
    for seq in 1..=1000 {
        let id = submit(&mut pipeline, seq, 1, None);
        if seq == 1 {
            pipeline.next_action();
            pipeline.installed(1);
        }
        assert!(!pipeline.has_slot());
        pipeline.write_done(id);
        assert_eq!(acknowledged(&mut pipeline), [Stage::Written]);
    }
    assert!(format!("{pipeline:?}").len() < 4000, "a thousand batches became a few entries");
    assert_eq!(pipeline.next_action(), None);
    pipeline.want_durable(1000);
    let Some(Action::Sync { file: 1, since }) = pipeline.next_action() else { panic!() };
    pipeline.sync_done(1, since);
    acknowledged(&mut pipeline);
    assert_eq!(pipeline.durable_seq(), 1000);
}

#[test]
fn unsynced_records_are_synced_before_the_next_segment_is_named() {
    let mut pipeline = Pipeline::new(4, 0);
    let first = submit(&mut pipeline, 1, 1, None);
    pipeline.next_action();
    pipeline.installed(1);
    pipeline.write_done(first);
    acknowledged(&mut pipeline);
    assert_eq!(pipeline.next_action(), None);
    let second = submit(&mut pipeline, 2, 2, None);
    pipeline.write_done(second);
    let Some(Action::Sync { file: 1, since }) = pipeline.next_action() else { panic!() };
    assert_eq!(pipeline.next_action(), None);
    pipeline.sync_done(1, since);
    acknowledged(&mut pipeline);
    assert!(matches!(pipeline.next_action(), Some(Action::Seal { file: 1, .. })));
    assert!(matches!(pipeline.next_action(), Some(Action::Install { file: 2, .. })));
}

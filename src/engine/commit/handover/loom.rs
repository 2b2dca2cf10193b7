//! All schedules of a few threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use crate::engine::Log;
use crate::engine::commit::latch::{Latch, Outcome, Stage};
use crate::engine::commit::watermarks::Watermarks;
use crate::engine::options::Durability;
use crate::error::Error;
use crate::io::{SimDisk, Strategy};
use crate::sync::{now, thread};

/// Runs a test under all schedules with few preemptions. Loom reports a deadlock as a failure.
pub(crate) fn all_schedules(preemptions: usize, test: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.max_branches = 100_000;
    model.check(test);
}

fn waiter(latch: &Arc<Latch>, level: Stage) -> thread::JoinHandle<crate::error::Result<bool>> {
    let latch = Arc::clone(latch);
    thread::spawn(move || latch.wait(level, None))
}

#[test]
fn a_thread_that_falls_asleep_while_a_latch_is_raised_is_woken() {
    all_schedules(3, || {
        let latch = Latch::new();
        let waiters = [waiter(&latch, Stage::Synced), waiter(&latch, Stage::Synced)];
        latch.reach(Stage::Synced);
        for waiter in waiters {
            assert!(waiter.join().unwrap().unwrap());
        }
    });
}

/// Waits as an appender that commits its batch when it is called to.
fn appender(latch: &Arc<Latch>, leaders: &Arc<AtomicUsize>) -> thread::JoinHandle<()> {
    let (latch, leaders) = (Arc::clone(latch), Arc::clone(leaders));
    thread::spawn(move || {
        while latch.wait_or_lead(Stage::Synced, None).unwrap() == Outcome::Lead {
            leaders.fetch_add(1, Ordering::SeqCst);
            latch.reach(Stage::Synced);
        }
    })
}

#[test]
fn one_of_the_appenders_takes_the_call_to_lead() {
    all_schedules(3, || {
        let (latch, leaders) = (Latch::new(), Arc::default());
        let appenders = [appender(&latch, &leaders), appender(&latch, &leaders)];
        latch.call_leader();
        for appender in appenders {
            appender.join().unwrap();
        }
        assert_eq!(leaders.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_ticket_that_is_woken_in_place_of_an_appender_passes_the_call_on() {
    all_schedules(3, || {
        let (latch, leaders) = (Latch::new(), Arc::default());
        let (ticket, appender) = (waiter(&latch, Stage::Synced), appender(&latch, &leaders));
        latch.call_leader();
        appender.join().unwrap();
        assert!(ticket.join().unwrap().unwrap());
    });
}

#[test]
fn a_sleeper_whose_time_is_over_takes_no_wake_up_with_it() {
    all_schedules(3, || {
        let latch = Latch::new();
        let other = waiter(&latch, Stage::Synced);
        let hasty = Arc::clone(&latch);
        let hasty = thread::spawn(move || {
            let deadline = now() + Duration::from_millis(1);
            assert!(hasty.wait(Stage::Synced, Some(deadline)).is_ok());
        });
        latch.reach(Stage::Synced);
        hasty.join().unwrap();
        assert!(other.join().unwrap().unwrap());
    });
}

#[test]
fn a_failure_reaches_every_sleeper_with_its_cause() {
    all_schedules(3, || {
        let latch = Latch::new();
        let waiters = [waiter(&latch, Stage::Synced), waiter(&latch, Stage::Written)];
        let opener = Arc::clone(&latch);
        opener.reach(Stage::Written);
        opener.fail(&Arc::new(Error::QueueFull));
        for (waiter, may_pass) in waiters.into_iter().zip([false, true]) {
            match waiter.join().unwrap() {
                Ok(_) => assert!(may_pass, "it was never synced"),
                Err(Error::Poisoned(cause)) => assert!(matches!(*cause, Error::QueueFull)),
                Err(other) => panic!("{other}"),
            }
        }
    });
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_task_that_is_told_to_wait_is_woken() {
    all_schedules(3, || {
        let latch = Latch::new();
        let opener = Arc::clone(&latch);
        let opener = thread::spawn(move || opener.reach(Stage::Synced));
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut key = None;
        let first = latch.poll(Stage::Synced, &waker, &mut key);
        opener.join().unwrap();
        assert!(first.is_ready() || count.0.load(Ordering::SeqCst) > 0);
        assert!(matches!(latch.poll(Stage::Synced, &waker, &mut key), Poll::Ready(Ok(()))));
    });
}

#[test]
fn whoever_waits_for_a_watermark_hears_of_it_and_sees_it() {
    all_schedules(2, || {
        let marks = Arc::new(Watermarks::new(0));
        let waiters = [1, 2].map(|seq| {
            let marks = Arc::clone(&marks);
            thread::spawn(move || {
                assert!(marks.latch_for(seq).wait(Stage::Synced, None).unwrap());
                assert!(marks.durable() >= seq && marks.written() >= seq);
            })
        });
        for seq in 1..=2 {
            marks.publish(seq, seq);
            marks.wake_reached();
        }
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

/// A whole log: two threads, its ring thread, and its end.
fn appends_of_two(inline: bool, spares: usize) {
    let disk = SimDisk::new(1);
    let builder = Log::builder("handover")
        .segment_bytes(4096)
        .batch_bytes(4096)
        .queue_bytes(4096)
        .spare_segments(spares)
        .inline(inline)
        // Loom blocks a thread that only tries to take a lock until its holder lets go, also if
        // the holder waits for that thread, as one that closes the log does.
        .note_after(None)
        .strategy(Some(Strategy::Dsync));
    let log = super::open(builder, &disk).unwrap();
    let other = log.clone();
    let other = thread::spawn(move || {
        let seq = other.at(Durability::Synced).append("other").unwrap();
        assert!(other.durable_seq() >= seq);
    });
    let seq = log.at(Durability::Synced).append("one").unwrap();
    assert!(log.durable_seq() >= seq);
    other.join().unwrap();
    drop(log);
    assert_eq!(disk.users(), 0);
}

#[test]
fn appenders_hand_over_to_the_ring_thread_and_hear_of_it() {
    all_schedules(1, || appends_of_two(false, 0));
}

#[test]
fn appenders_complete_their_own_batches_beside_the_ring_thread() {
    all_schedules(1, || appends_of_two(true, 0));
}

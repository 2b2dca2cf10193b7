//! The window: what is a duplicate, for how long, and what in-flight events do to its bound.

use std::collections::HashMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::wal::EventCommit;
use crate::wal::ticket::CommitSource;

fn window(nanos: u64, entries_max: usize) -> DedupWindow {
    DedupWindow::new(Duration::from_nanos(nanos), entries_max)
}

fn event(number: u8) -> Event {
    [number; EVENT_SIZE]
}

#[test]
fn an_event_is_forgotten_when_its_window_has_passed_and_not_before() {
    let window = window(10, 100);
    assert!(window.remember(&event(1), 100));
    assert!(!window.remember(&event(1), 110));
    assert!(window.remember(&event(1), 111));
    assert!(!window.remember(&event(1), 121));
    assert_eq!((window.len(), window.forgotten_early()), (1, 0));
}

#[test]
fn a_clock_that_is_set_back_forgets_nothing_early() {
    let window = window(10, 100);
    assert!(window.remember(&event(1), 1000));
    assert!(!window.remember(&event(1), 5));
    assert!(window.remember(&event(2), 5));
    assert!(!window.remember(&event(2), 1010));
}

#[test]
fn at_the_bound_the_oldest_are_forgotten_and_counted() {
    let window = window(u64::MAX, 3);
    for number in 0..10 {
        assert!(window.remember(&event(number), 1));
        assert!(window.len() <= 3);
    }
    assert_eq!(window.forgotten_early(), 7);
    assert!(!window.remember(&event(9), 1));
    assert!(window.remember(&event(0), 1));
}

#[test]
fn a_reservation_that_fails_is_forgotten_and_fails_its_duplicates() {
    let window = window(10, 100);
    let (first, admission) = window.admit_one(&event(1), 1);
    assert!(matches!(admission, Admission::New));
    let (_none, admission) = window.admit_one(&event(1), 1);
    let duplicate =
        EventCommit { source: CommitSource::of_duplicate(admission, Path::new("log")).unwrap() };
    first.failed(&Error::Closed);
    assert!(matches!(duplicate.wait(), Err(Error::Closed)));
    let (again, admission) = window.admit_one(&event(1), 1);
    assert!(matches!(admission, Admission::New));
    drop(again);
    assert!(window.is_empty());
}

#[test]
fn a_future_that_waits_for_a_reservation_is_woken_when_it_is_resolved() {
    struct Flag(std::sync::atomic::AtomicBool);
    impl std::task::Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::Release);
        }
    }
    let flag = Arc::new(Flag(false.into()));
    let waker = std::task::Waker::from(Arc::clone(&flag));
    let mut context = std::task::Context::from_waker(&waker);

    let dir = tempfile::tempdir().unwrap();
    let log = crate::Log::open(dir.path().join("log")).unwrap();
    let window = window(10, 100);
    for appends in [false, true] {
        let (first, _) = window.admit_one(&event(1), 1);
        let (_none, admission) = window.admit_one(&event(1), 1);
        let source = CommitSource::of_duplicate(admission, Path::new("log")).unwrap();
        let mut duplicate = EventCommit { source };
        assert!(std::pin::pin!(&mut duplicate).poll(&mut context).is_pending());
        assert!(!flag.0.swap(false, std::sync::atomic::Ordering::AcqRel));
        if appends {
            let commit = log.submit(event(1)).unwrap();
            first.appended(&commit);
        } else {
            drop(first);
        }
        assert!(flag.0.swap(false, std::sync::atomic::Ordering::AcqRel), "it was woken");
        match duplicate.wait() {
            Ok(seq) => assert_eq!((seq, appends), (0, true)),
            Err(error) => assert!(matches!(error, Error::Closed) && !appends, "{error}"),
        }
    }
}

#[test]
fn reserved_events_are_not_forgotten_even_beyond_the_bound() {
    let window = window(u64::MAX, 2);
    let (first, admissions) = window.admit([event(1), event(2), event(3), event(1)].iter(), 1);
    assert!(matches!(
        admissions[..],
        [Admission::New, Admission::New, Admission::New, Admission::Reserved(_)]
    ));
    assert!(!window.remember(&event(1), 2));
    assert_eq!(window.len(), 3);
    first.failed(&Error::Closed);
    assert!(window.remember(&event(4), 3));
    assert_eq!(window.forgotten_early(), 0);
}

#[test]
fn a_restored_time_in_the_future_counts_as_now() {
    let window = window(10, 100);
    window.restore(&event(1), u64::MAX, 50);
    window.restore(&event(2), 39, 50);
    assert_eq!(window.len(), 1);
    assert!(!window.remember(&event(1), 60));
    assert!(window.remember(&event(1), 61));
}

#[test]
fn a_window_of_so_many_entries_holds_so_many() {
    for entries in 1..5 {
        let window = window(u64::MAX, entries.into());
        for number in 0..10 {
            assert!(window.remember(&event(number), 1));
            for held in number.saturating_sub(entries - 1)..=number {
                assert!(!window.remember(&event(held), 1), "{held} of {entries} after {number}");
            }
            assert!(window.len() <= entries.into());
        }
    }
}

#[test]
fn a_clock_runs_by_itself_and_keeps_a_wrong_time_to_its_own_life() {
    const DAY: u64 = 24 * 3600 * 1_000_000_000;
    let right = Clock::start();
    let ahead = Clock::start_at(right.now_nanos() + DAY);
    let window = window(1_000_000_000, 10);
    // A time of a day ahead, from before the reopen, counts as now: it is over after its second.
    window.restore(&event(1), ahead.now_nanos(), right.now_nanos());
    assert!(window.remember(&event(1), right.now_nanos() + 2_000_000_000));
    // The wall clock is not read after the start.
    let (before, after) = (ahead.now_nanos(), ahead.now_nanos());
    assert!(before <= after && after - before < DAY);
}

#[test]
fn no_part_of_a_table_is_large_when_it_has_all_entries_that_were_asked_for() {
    // A sub-table that grows is copied as a whole, while every append waits.
    for entries in [1, 1000, 1 << 20, 8_000_000] {
        assert!(EventTable::new(entries).largest_part() <= 1 << 15, "{entries}");
    }
    assert_eq!(EventTable::new(1 << 20).largest_part(), 1 << 15);
    let mut table = EventTable::new(100_000);
    for n in 0..200_000_u32 {
        let tag = table::tag(u64::from(n.wrapping_mul(0x9e37_79b1)) << 32);
        let place = table.find(tag, |stamp| stamp == n);
        table.put(place, tag, n);
    }
    assert_eq!(table.len(), 200_000);
    assert!(table.largest_part() <= 1 << 16, "{}", table.largest_part());
}

#[test]
fn refused_appends_keep_no_memory_behind_one_that_never_settles() {
    let window = window(u64::MAX, 100);
    let (stuck, _) = window.admit_one(&event(0), 1);
    for _ in 0..1000 {
        window.admit_one(&event(1), 1).0.failed(&Error::Closed);
        window.admit([event(2), event(3)].iter(), 1).0.failed(&Error::Closed);
    }
    let held = || {
        let state = window.state();
        (state.entries.len(), state.in_flight.len(), state.table.len())
    };
    assert_eq!(held(), (1, 1, 1));
    // Reservations fail in any order, and their stamps are used again.
    let (first, _) = window.admit_one(&event(1), 1);
    let (second, _) = window.admit_one(&event(2), 1);
    first.failed(&Error::Closed);
    assert_eq!(held(), (3, 3, 2));
    second.failed(&Error::Closed);
    assert_eq!(held(), (1, 1, 1));
    assert!(window.remember(&event(1), 1) && !window.remember(&event(1), 1));
    stuck.failed(&Error::Closed);
    assert_eq!(window.len(), 1);
}

proptest! {
    /// With tags from a few values, so that they collide and wrap around the end.
    #[test]
    fn a_table_finds_what_is_in_it_and_nothing_else(
        steps in prop::collection::vec((0..60_u32, any::<bool>()), 1..400),
        spread in prop_oneof![Just(1_u32 << 28), Just(1 << 24), Just(1)],
    ) {
        let mut table = EventTable::new(1);
        let mut model = std::collections::BTreeSet::new();
        let tag_of = |n: u32| table::tag(u64::from(u32::MAX - (n % 7) * spread) << 32);
        for (n, inserts) in steps {
            let place = table.find(tag_of(n), |stamp| stamp == n);
            prop_assert_eq!(matches!(place, Lookup::Found(..)), model.contains(&n));
            match place {
                Lookup::Found(at, _) if !inserts => {
                    table.remove(tag_of(n), at);
                    model.remove(&n);
                }
                _ if inserts => {
                    table.put(place, tag_of(n), n);
                    model.insert(n);
                }
                _ => {}
            }
            prop_assert_eq!(table.len(), model.len());
        }
        for n in 0..60 {
            let place = table.find(tag_of(n), |stamp| stamp == n);
            prop_assert_eq!(matches!(place, Lookup::Found(..)), model.contains(&n));
        }
    }

    /// Compared with a plain map without a bound.
    #[test]
    fn a_window_answers_as_a_plain_map_does(
        steps in proptest::collection::vec((0..8_u8, 0..6_u64, any::<bool>()), 1..200),
        nanos in 1..20_u64,
    ) {
        let window = window(nanos, 1000);
        let mut model: HashMap<u8, u64> = HashMap::new();
        let mut now = 0;
        for (number, elapsed, fails) in steps {
            now += elapsed;
            let expected = model.get(&number).is_none_or(|time| now - time > nanos);
            let (reservation, admission) = window.admit_one(&event(number), now);
            prop_assert_eq!(matches!(admission, Admission::New), expected);
            if expected && fails {
                reservation.failed(&Error::Closed);
                model.remove(&number);
            } else if expected {
                drop(reservation);
                prop_assert!(window.remember(&event(number), now));
                model.insert(number, now);
            }
        }
    }
}

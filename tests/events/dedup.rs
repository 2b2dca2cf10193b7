//! Duplicates: recognised exactly, within the given window, across closes, crashes and kills.

use std::fs;
use std::sync::{Arc, Barrier};
use std::time::{Duration, SystemTime};

use ringwal::Blocks;
use ringwal::replication::ShardId;
use ringwal::wal::format::encode_batch;
use ringwal::wal::reader::recover;
use ringwal::wal::segment::segment_filename;
use ringwal::wal::{SignalEvent, WalConfig, WalHandle};

use crate::common::variants;
use crate::{builder, config, copy_log, event, events, open};

#[test]
fn a_duplicate_returns_zero_and_writes_nothing() {
    for variant in variants("duplicate") {
        let dir = tempfile::tempdir().unwrap();
        let (wal, _, _) = open(variant, dir.path());
        assert_eq!(wal.append(event(1)).unwrap(), 1);
        for _ in 0..3 {
            assert_eq!(wal.append(event(1)).unwrap(), 0);
        }
        assert_eq!((wal.durable_seq(), wal.metrics().records), (1, 1));
        assert_eq!(wal.append(event(2)).unwrap(), 2);
        drop(wal);
        assert_eq!(recover(&dir.path().join("wal")).unwrap().events, events([1, 2]));
    }
}

#[test]
fn events_that_differ_in_one_field_are_no_duplicates() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _) = WalHandle::open(config(dir.path())).unwrap();
    let base = event(7);
    let others = [
        base,
        SignalEvent { entity_id: 8, ..base },
        SignalEvent { signal_type: 8, ..base },
        SignalEvent { weight: -base.weight, ..base },
        SignalEvent { timestamp_nanos: 8, ..base },
    ];
    for (seq, event) in (1..).zip(others) {
        assert_eq!(wal.append(event).unwrap(), seq);
    }
    assert_eq!(wal.append_batch(&others).unwrap(), [0; 5]);
}

#[test]
fn of_concurrent_duplicates_exactly_one_gets_a_number_and_all_return_when_it_is_durable() {
    for variant in variants("concurrent_duplicates") {
        let dir = tempfile::tempdir().unwrap();
        let wal = Arc::new(open(variant, dir.path()).0);
        let barrier = Arc::new(Barrier::new(8));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (wal, barrier) = (Arc::clone(&wal), Arc::clone(&barrier));
                std::thread::spawn(move || {
                    (0..40)
                        .map(|n| {
                            barrier.wait();
                            let seq = wal.append(event(n)).unwrap();
                            assert!(wal.durable_seq() > n, "returned before it was durable");
                            seq
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let seqs: Vec<Vec<u64>> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        for n in 0..40 {
            let mut of_event: Vec<u64> = seqs.iter().map(|seqs| seqs[n]).collect();
            of_event.sort_unstable();
            assert_eq!(of_event[..7], [0; 7], "{variant:?}");
            assert_eq!(of_event[7], n as u64 + 1, "{variant:?}");
        }
        drop(Arc::into_inner(wal).unwrap());
        assert_eq!(open(variant, dir.path()).1, events(0..40));
    }
}

#[test]
fn duplicates_are_told_after_a_close_and_after_a_crash_also_before_the_checkpoint() {
    for variant in variants("told_after") {
        let dir = tempfile::tempdir().unwrap();
        let crashed = tempfile::tempdir().unwrap();
        let (wal, _, _) = open(variant, dir.path());
        for n in 0..20 {
            wal.append(event(n)).unwrap();
        }
        wal.checkpoint(15).unwrap();
        copy_log(dir.path(), crashed.path());
        wal.shutdown().unwrap();
        for dir in [dir.path(), crashed.path()] {
            let (wal, replayed, report) = open(variant, dir);
            assert_eq!(replayed, events(15..20), "{variant:?}");
            assert_eq!(report.events_remembered, 20);
            for n in 0..20 {
                assert_eq!(wal.append(event(n)).unwrap(), 0, "{variant:?}");
            }
            assert_eq!(wal.append(event(20)).unwrap(), 21);
        }
    }
}

#[test]
fn after_a_reopen_an_event_is_remembered_by_the_time_of_its_batch() {
    let dir = tempfile::tempdir().unwrap();
    let log_dir = dir.path().join("wal");
    fs::create_dir_all(&log_dir).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let ago = |seconds| (now - Duration::from_secs(seconds)).as_nanos() as u64;
    let mut bytes = encode_batch(&[event(1).into()], 1, ago(7200)).unwrap();
    bytes.extend(encode_batch(&[event(2).into(), event(3).into()], 2, ago(1800)).unwrap());
    fs::write(log_dir.join(segment_filename(ShardId::SINGLE, 1)), bytes).unwrap();
    // The events' own times are in 1970 and do not matter.
    let (wal, replayed, report) = WalHandle::open(config(dir.path())).unwrap();
    assert_eq!(replayed, events(1..4));
    assert_eq!(report.events_remembered, 2);
    assert_eq!(wal.append(event(2)).unwrap(), 0);
    assert_eq!(wal.append(event(1)).unwrap(), 4, "its window is over");
    assert_eq!(wal.append(event(1)).unwrap(), 0, "and begins again");
}

#[test]
fn a_window_that_is_over_forgets() {
    for variant in variants("forgets") {
        let dir = tempfile::tempdir().unwrap();
        let dedup_window = Duration::from_nanos(1);
        let config = WalConfig { dedup_window, ..config(dir.path()) };
        let (wal, _, _) = builder(variant, config).open().unwrap();
        // An append takes longer than the window.
        for seq in 1..20 {
            assert_eq!(wal.append(event(1)).unwrap(), seq, "{variant:?}");
        }
        assert!(wal.dedup_entries() <= 1, "{}", wal.dedup_entries());
        assert_eq!(wal.dedup_forgotten_early(), 0);
    }
}

#[test]
fn a_window_of_zero_tells_no_duplicates() {
    let dir = tempfile::tempdir().unwrap();
    let config = WalConfig { dedup_window: Duration::ZERO, ..config(dir.path()) };
    let (wal, _, _) = WalHandle::open(config.clone()).unwrap();
    assert_eq!([1, 1, 1].map(|n| wal.append(event(n)).unwrap()), [1, 2, 3]);
    assert_eq!(wal.append_batch(&events([1, 1])).unwrap(), [4, 5]);
    wal.checkpoint(3).unwrap();
    drop(wal);
    let (_wal, replayed, report) = WalHandle::open(config).unwrap();
    assert_eq!((replayed, report.events_remembered), (events([1, 1]), 0));
}

#[test]
fn at_the_bound_the_oldest_are_forgotten_and_counted() {
    for variant in variants("bound") {
        let dir = tempfile::tempdir().unwrap();
        let build = || builder(variant, config(dir.path())).dedup_entries(10);
        let (wal, _, _) = build().open().unwrap();
        for n in 0..50 {
            wal.append(event(n)).unwrap();
        }
        assert!(wal.dedup_entries() <= 11, "{variant:?}: {}", wal.dedup_entries());
        assert!(wal.dedup_forgotten_early() >= 39);
        assert_eq!(wal.append(event(49)).unwrap(), 0);
        assert_eq!(wal.append(event(0)).unwrap(), 51, "{variant:?}");
        drop(wal);
        let (_wal, _, report) = build().open().unwrap();
        assert_eq!(report.events_remembered, 10);
    }
}

/// Runs itself under a limit on the size of files, which is a full disk to the log.
#[cfg(unix)]
#[test]
fn an_event_that_found_no_room_is_not_remembered() {
    const INSIDE: &str = "RINGWAL_TEST_FULL_DISK";
    if let Some(dir) = std::env::var_os(INSIDE) {
        let config = WalConfig { segment_size: 4 << 20, ..config(dir.as_ref()) };
        let (wal, _, _) = WalHandle::builder(config)
            .preallocate(Some(Blocks::Written))
            .first_segment_bytes(4 << 20)
            .open()
            .unwrap();
        for _ in 0..2 {
            let error = wal.append(event(1)).unwrap_err();
            assert!(matches!(error, ringwal::Error::NoSpace { .. }), "{error:?}");
            let error = wal.append_batch(&events([2, 1, 2])).unwrap_err();
            assert!(matches!(error, ringwal::Error::NoSpace { .. }), "{error:?}");
        }
        assert_eq!(wal.dedup_entries(), 0);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let name = "dedup::an_event_that_found_no_room_is_not_remembered";
    let limited = "trap '' XFSZ; ulimit -f 1000; exec \"$@\"";
    let output = std::process::Command::new("sh")
        .args(["-c", limited, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
    let (wal, replayed, _) = WalHandle::open(config(dir.path())).unwrap();
    assert_eq!(replayed, []);
    assert_eq!(wal.append(event(1)).unwrap(), 1);
}

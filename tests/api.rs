//! The promises of the public API, one by one, on every backend, strategy and depth.

#![allow(clippy::unwrap_used, reason = "the helpers of a test file are tests")]

mod common;
#[path = "api/truncation.rs"]
mod truncation;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::{contents, files, variants};
use ringwal::{Batch, Durability, Error, Log, Seq, Strategy, Verdict};

#[test]
fn many_threads_get_dense_numbers_and_everything_is_there_after_reopening() {
    for variant in variants("many_threads") {
        let dir = tempfile::tempdir().unwrap();
        let log = variant.builder(dir.path()).open().unwrap();
        let mut seqs: Vec<u64> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..8)
                .map(|worker: u64| {
                    let log = log.clone();
                    scope.spawn(move || {
                        (0..50)
                            .map(|n| {
                                let record = [worker.to_le_bytes(), u64::to_le_bytes(n)].concat();
                                let seq = log.append(&record).unwrap();
                                assert!(log.durable_seq() >= seq);
                                seq.get()
                            })
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        seqs.sort_unstable();
        assert_eq!(seqs, (1..=400).collect::<Vec<_>>(), "{variant:?}");
        let before = contents(&log);
        drop(log);
        let log = variant.builder(dir.path()).open().unwrap();
        assert_eq!(log.recovery().verdict, Verdict::Clean);
        assert_eq!(contents(&log), before, "{variant:?}");
        assert_eq!(log.append("next").unwrap(), Seq::new(401));
    }
}

#[test]
fn a_lone_appender_writes_its_own_batches_unless_told_not_to() {
    for variant in variants("a_lone_appender") {
        let dir = tempfile::tempdir().unwrap();
        let log = variant.builder(dir.path()).segment_bytes(1 << 20).open().unwrap();
        for n in 1..=20u64 {
            assert_eq!(log.append([7; 100]).unwrap(), Seq::new(n));
            assert_eq!(log.durable_seq(), Seq::new(n));
        }
        let metrics = log.metrics();
        let inline = variant.strategy != Some(Strategy::LinkedFsync) && variant.depth < 4;
        // The first one waits for its segment's name as well, and the ring thread may be about.
        assert_eq!((1..=19).contains(&metrics.inline_batches), inline, "{variant:?} {metrics:?}");
        assert_eq!((metrics.batches, metrics.records, metrics.in_flight), (20, 20, 0));
    }
}

#[test]
fn a_done_ticket_tells_where_its_record_lies() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    for durability in [Durability::Queued, Durability::Written, Durability::Synced] {
        let commit = log.at(durability).submit("here").unwrap();
        commit.wait().unwrap();
        assert!(commit.is_done());
        log.flush().unwrap();
        assert_eq!(log.read(commit.record_ref()).unwrap().data(), b"here");
    }
}

#[test]
fn a_log_of_one_backend_opens_under_every_other() {
    let all = variants("opens_under_every_other");
    let dir = tempfile::tempdir().unwrap();
    for (n, variant) in all.iter().enumerate() {
        let log = variant.builder(dir.path()).open().unwrap();
        assert_eq!(contents(&log).len(), n);
        log.append(format!("{variant:?}")).unwrap();
        log.close().unwrap();
    }
}

#[test]
fn records_of_every_size_up_to_the_limit_come_back() {
    for variant in variants("every_size") {
        let dir = tempfile::tempdir().unwrap();
        let limit = 3 << 20;
        let log = variant
            .builder(dir.path())
            .batch_bytes(4096)
            .queue_bytes(8192)
            .record_bytes_max(limit)
            .open()
            .unwrap();
        let sizes = [0, 1, 4023, 4024, 4025, 4096, 65_536, 1 << 20, limit];
        for (n, &size) in sizes.iter().enumerate() {
            log.append(vec![n as u8; size]).unwrap();
        }
        let too_large = log.append(vec![0; limit + 1]);
        assert!(matches!(too_large, Err(Error::RecordTooLarge { .. })));
        log.close().unwrap();
        let log = variant.builder(dir.path()).open().unwrap();
        let found: Vec<_> = contents(&log).iter().map(Vec::len).collect();
        assert_eq!(found, sizes, "{variant:?}");
    }
}

#[test]
fn an_atomic_batch_has_consecutive_numbers_and_lies_in_one_batch_on_disk() {
    for variant in variants("atomic_batch") {
        let dir = tempfile::tempdir().unwrap();
        let log = variant.builder(dir.path()).batch_records(2).open().unwrap();
        log.append("before").unwrap();
        let mut batch = Batch::new();
        for n in 0..100_u8 {
            batch.push([n; 100]).unwrap();
        }
        let batches = log.metrics().batches;
        let commit = log.submit(&batch).unwrap();
        assert_eq!(commit.wait().unwrap(), Seq::new(101));
        assert_eq!(commit.seqs(), Seq::new(2)..=Seq::new(101));
        assert_eq!(log.metrics().batches, batches + 1);
        assert!(matches!(log.append(&Batch::new()), Err(Error::BatchEmpty)));
        assert_eq!(contents(&log)[100], [99; 100]);
    }
}

#[test]
fn a_batch_that_was_cleared_is_as_good_as_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    let mut batch = Batch::new();
    batch.push("never appended").unwrap().push("neither").unwrap();
    batch.clear();
    assert!(batch.is_empty() && matches!(log.append(&batch), Err(Error::BatchEmpty)));
    for last in ["one", "other"] {
        batch.push("first").unwrap().push(last).unwrap();
        log.append(&batch).unwrap();
        batch.clear();
    }
    log.close().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    assert_eq!(contents(&log), [&b"first"[..], b"one", b"first", b"other"]);
}

#[test]
fn tickets_can_be_waited_for_timed_out_and_dropped() {
    for variant in variants("tickets") {
        let dir = tempfile::tempdir().unwrap();
        let log = variant.builder(dir.path()).open().unwrap();
        let commits: Vec<_> = (0..500_u32).map(|n| log.submit(n.to_le_bytes()).unwrap()).collect();
        let last = commits.last().unwrap();
        let seq = loop {
            if let Some(seq) = last.wait_timeout(Duration::from_millis(1)).unwrap() {
                break seq;
            }
        };
        assert_eq!(seq, Seq::new(500));
        assert!(commits.iter().all(ringwal::Commit::is_done));
        drop(log.submit("dropped").unwrap());
        assert_eq!(log.flush().unwrap(), Seq::new(501));
        assert_eq!(contents(&log).len(), 501);
    }
}

struct Flag(AtomicBool, std::thread::Thread);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
        self.1.unpark();
    }
}

/// The smallest runtime there is.
fn block_on<F: Future>(future: F) -> F::Output {
    let flag = Arc::new(Flag(AtomicBool::new(true), std::thread::current()));
    let waker = Waker::from(Arc::clone(&flag));
    let mut future = pin!(future);
    loop {
        if flag.0.swap(false, Ordering::SeqCst) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
        } else {
            std::thread::park();
        }
    }
}

#[test]
fn tickets_can_be_awaited_without_a_runtime() {
    for variant in variants("awaited") {
        let dir = tempfile::tempdir().unwrap();
        let log = variant.builder(dir.path()).batch_bytes(4096).queue_bytes(8192).open().unwrap();
        block_on(async {
            for n in 0..200_u64 {
                let permit = log.reserve(1000).await.unwrap();
                let commit = permit.submit([n as u8; 1000]).unwrap();
                if n % 7 == 0 {
                    assert_eq!(commit.await.unwrap(), Seq::new(n + 1));
                }
            }
        });
        assert_eq!(log.flush().unwrap(), Seq::new(200));
    }
}

#[test]
fn every_durability_is_acknowledged_and_flush_makes_all_of_it_durable() {
    for variant in variants("every_durability") {
        let dir = tempfile::tempdir().unwrap();
        let log = variant.builder(dir.path()).segment_bytes(16_384).open().unwrap();
        let levels = [Durability::Queued, Durability::Written, Durability::Synced];
        for n in 0..60_usize {
            let seq = log.at(levels[n % 7 % 3]).append([n as u8; 500]).unwrap();
            match levels[n % 7 % 3] {
                Durability::Queued => assert!(log.appended_seq() >= seq),
                Durability::Written => assert!(log.written_seq() >= seq),
                Durability::Synced => assert!(log.durable_seq() >= seq),
            }
            assert!(log.durable_seq() <= log.written_seq());
        }
        assert_eq!(log.flush().unwrap(), Seq::new(60));
        assert_eq!(log.durable_seq(), Seq::new(60), "{variant:?}");
        log.close().unwrap();
        assert_eq!(contents(&variant.builder(dir.path()).open().unwrap()).len(), 60);
    }
}

#[test]
fn a_clean_close_leaves_trimmed_segments_and_nothing_else() {
    for variant in variants("clean_close") {
        let dir = tempfile::tempdir().unwrap();
        let log = variant.builder(dir.path()).segment_bytes(16_384).open().unwrap();
        for n in 0..20_u8 {
            log.append([n; 3000]).unwrap();
        }
        log.close().unwrap();
        let names = files(dir.path());
        assert!(names.iter().filter(|name| name.starts_with("wal-")).count() > 3, "{names:?}");
        for name in names {
            if name.starts_with("wal-") {
                let bytes = std::fs::read(dir.path().join(&name)).unwrap();
                assert_eq!(bytes.len() % 4096, 64 + 8 + 3000, "{name} ends with its last batch");
            } else {
                assert!(["lock", "state"].contains(&name.as_str()), "{name}");
            }
        }
    }
}

#[test]
fn an_open_without_appends_leaves_no_segment() {
    let dir = tempfile::tempdir().unwrap();
    Log::open(dir.path()).unwrap().close().unwrap();
    assert_eq!(files(dir.path()), ["lock", "state"]);
}

#[test]
fn whoever_waits_hears_of_the_close() {
    for variant in variants("hears_of_close") {
        let dir = tempfile::tempdir().unwrap();
        let log = variant.builder(dir.path()).open().unwrap();
        std::thread::scope(|scope| {
            let future = scope.spawn(|| log.wait_durable(Seq::new(1_000_000)));
            let writers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        loop {
                            if let Err(error) = log.append("x") {
                                return error;
                            }
                        }
                    })
                })
                .collect();
            while log.durable_seq() < Seq::new(10) {
                std::thread::yield_now();
            }
            log.close().unwrap();
            assert!(matches!(future.join().unwrap(), Err(Error::Closed)));
            for writer in writers {
                let error = writer.join().unwrap();
                assert!(matches!(error, Error::Closed), "{error}");
            }
        });
        let durable = log.durable_seq();
        assert!(matches!(log.append("late"), Err(Error::Closed)));
        log.close().unwrap();
        drop(log);
        let log = variant.builder(dir.path()).open().unwrap();
        assert_eq!(log.appended_seq(), durable, "{variant:?}");
    }
}

#[test]
fn a_full_queue_blocks_append_and_refuses_try_append() {
    for variant in variants("full_queue") {
        let dir = tempfile::tempdir().unwrap();
        let log = variant.builder(dir.path()).batch_bytes(4096).queue_bytes(4096).open().unwrap();
        log.append("prepares the first segment").unwrap();
        let mut refused = 0;
        for _ in 0..2000 {
            match log.try_submit([1; 3000]) {
                Ok(commit) => drop(commit),
                Err(Error::QueueFull) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(refused > 0, "one batch of memory cannot take 2,000 at once");
        log.append([2; 3000]).unwrap();
        assert!(log.metrics().queued_bytes <= 4096);
    }
}

#[test]
fn segments_for_large_batches_are_reserved_and_for_small_ones_written() {
    for variant in variants("reserved") {
        let dir = tempfile::tempdir().unwrap();
        let builder = variant.builder(dir.path()).segment_bytes(512 << 10);
        let log = builder.clone().open().unwrap();
        for n in 0..8 {
            log.append(vec![n; 400_000]).unwrap();
        }
        let reserved = log.metrics().spares_reserved;
        assert_eq!(reserved > 0, log.backend().fill, "{reserved} on {}", log.backend());
        let append_small = |count| (0..count).for_each(|_| assert!(log.append("small").is_ok()));
        append_small(40);
        let reserved = log.metrics().spares_reserved;
        append_small(220);
        assert!(log.metrics().rotations > 8);
        assert_eq!(log.metrics().spares_reserved, reserved, "zeros for a page are no burden");
        log.close().unwrap();
        let records = contents(&builder.open().unwrap());
        assert_eq!(records.len(), 268);
        assert!((0..8).all(|n| records[n] == vec![n as u8; 400_000]), "{variant:?}");
    }
}

#[test]
fn the_metrics_add_up() {
    for variant in variants("metrics") {
        let dir = tempfile::tempdir().unwrap();
        let log = variant.builder(dir.path()).open().unwrap();
        for n in 0..100_usize {
            log.append(vec![0; n]).unwrap();
        }
        let metrics = log.metrics();
        assert_eq!((metrics.records, metrics.record_bytes), (100, 4950));
        assert_eq!(metrics.batch_records.sum(), 100);
        let framed = 64 * metrics.batches + 8 * metrics.records + metrics.record_bytes;
        assert_eq!(metrics.written_bytes, framed + metrics.padding_bytes);
        assert_eq!(metrics.synced_batches, metrics.batches);
    }
}

/// A waker that owns a handle of the log, as a task of a runtime may.
struct Owner(#[expect(dead_code, reason = "it is there to be dropped")] Log);

impl Wake for Owner {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn the_last_handle_may_be_dropped_on_the_ring_thread() {
    for variant in variants("dropped_on_the_ring_thread") {
        let dir = tempfile::tempdir().unwrap();
        let log = variant.builder(dir.path()).batch_delay(Duration::from_millis(5)).open().unwrap();
        let mut commit = pin!(log.submit("one").unwrap());
        let waker = Waker::from(Arc::new(Owner(log.clone())));
        drop(log);
        let _ = commit.as_mut().poll(&mut Context::from_waker(&waker));
        drop(waker);
        let log = loop {
            match variant.builder(dir.path()).open() {
                Ok(log) => break log,
                Err(Error::Locked { .. }) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(contents(&log), [b"one"], "{variant:?}");
    }
}

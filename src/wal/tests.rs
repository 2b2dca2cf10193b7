//! The event log over a disk that fails.

use crate::sync::plain::Mutex;
use std::io;
use std::sync::{Arc, Barrier};
use std::task::Poll;
use std::time::Duration;

use crate::engine::tests::{QueueFault, open_faulty};
use crate::wakers::{block_on, poll_once};
use crate::wal::{SignalEvent, WalConfig, WalHandle};
use crate::{BackendKind, Error};

fn event(n: u64) -> SignalEvent {
    SignalEvent { entity_id: n, signal_type: 0, weight: 0.5, timestamp_nanos: n }
}

#[test]
fn a_failure_reaches_every_thread_that_appends_with_its_root_cause() {
    const THREADS: u64 = 8;
    for (kind, nth) in [("write and sync", 0), ("write and sync", 3), ("install", 0)] {
        let dir = tempfile::tempdir().unwrap();
        let fault = QueueFault { kind, nth, error: io::ErrorKind::Other, for_good: false };
        let fault = Arc::new(Mutex::new(Some(fault)));
        let config = WalConfig { dir: dir.path().join("log"), ..WalConfig::default() };
        let log_dir = config.log_dir();
        std::fs::create_dir_all(&log_dir).unwrap();
        let builder = WalHandle::builder(config).backend(BackendKind::Std);
        let (wal, _, _) = builder
            .open_by(|engine, _| open_faulty(&log_dir, engine, &fault).map(|(log, _)| log))
            .unwrap();

        let (wal, start) = (&wal, &Barrier::new(THREADS as usize));
        let acknowledged: Vec<u64> = std::thread::scope(|scope| {
            let threads = (0..THREADS).map(|thread| {
                scope.spawn(move || {
                    start.wait();
                    // One of two threads appends duplicates, which wait for the first events.
                    let mut acknowledged = Vec::new();
                    for n in 0..10_000 {
                        let number = thread / 2 * 10_000 + n;
                        match wal.append(event(number)) {
                            Ok(_) => acknowledged.push(number),
                            Err(error) => {
                                assert!(matches!(error, Error::Poisoned(_)), "{error}");
                                let cause = error.root_cause();
                                let named = matches!(cause, Error::Io { op, .. } if *op == kind);
                                assert!(named, "{error}");
                                return acknowledged;
                            }
                        }
                    }
                    panic!("nobody told thread {thread} of the failure");
                })
            });
            let threads: Vec<_> = threads.collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        for error in [
            wal.checkpoint(0).unwrap_err(),
            wal.truncate_before(0).unwrap_err(),
            wal.append_batch(&[event(99_999)]).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Poisoned(_)), "{error}");
        }
        // Every acknowledged event is there.
        let found = crate::wal::reader::recover(&log_dir).unwrap().events;
        for number in acknowledged {
            assert!(found.contains(&event(number)), "{kind}: {number} of {}", found.len());
        }
    }
}

/// An event log with room for one block in its queue.
fn narrow(dir: &std::path::Path, backend: BackendKind) -> WalHandle {
    let config = WalConfig { dir: dir.to_path_buf(), ..WalConfig::default() };
    let log_dir = config.log_dir();
    std::fs::create_dir_all(&log_dir).unwrap();
    let builder = WalHandle::builder(config).backend(backend);
    let narrow = |engine: crate::Builder| engine.batch_bytes(4096).queue_bytes(4096);
    builder.open_by(|engine, replay| narrow(engine).open_replaying_records(replay)).unwrap().0
}

#[test]
fn an_event_that_finds_no_room_leaves_no_trace_in_the_window() {
    for backend in [BackendKind::Std, BackendKind::Auto] {
        let dir = tempfile::tempdir().unwrap();
        let wal = narrow(dir.path(), backend);
        let permit = block_on(wal.log.at(wal.log.durability()).reserve(21)).unwrap();
        let mut permits = vec![permit];
        // Others may have what is left of the block.
        while let Poll::Ready(permit) = poll_once(&mut Box::pin(wal.log.reserve(21))) {
            permits.push(permit.unwrap());
        }
        assert!(matches!(wal.try_submit(event(1)), Err(Error::QueueFull)));
        assert_eq!(wal.dedup_entries(), 0);
        let mut first = Box::pin(wal.append_async(event(1)));
        let mut second = Box::pin(wal.append_async(event(1)));
        let events = [event(2), event(2), event(3)];
        let mut batch = Box::pin(wal.append_batch_async(&events));
        assert!(poll_once(&mut first).is_pending() && poll_once(&mut second).is_pending());
        assert!(poll_once(&mut batch).is_pending());
        assert_eq!(wal.dedup_entries(), 0, "nothing that is dropped now is remembered");
        drop(first);
        drop(permits);
        assert_eq!(block_on(second).unwrap(), 1, "the first was dropped, so this one is new");
        assert_eq!(block_on(batch).unwrap(), [2, 0, 3]);
        assert_eq!(block_on(wal.append_async(event(1))).unwrap(), 0);
        assert_eq!(block_on(wal.append_batch_async(&events)).unwrap(), [0, 0, 0]);
        assert_eq!(block_on(wal.append_batch_async(&[])).unwrap(), [0; 0]);
        assert!(wal.try_submit(event(3)).unwrap().is_duplicate());
        // On its way when it is dropped, so it is remembered.
        assert!(poll_once(&mut Box::pin(wal.append_async(event(4)))).is_pending());
        assert_eq!(wal.append(event(4)).unwrap(), 0);
        let (sender, told) = std::sync::mpsc::channel();
        let ticket = wal.try_submit(event(5)).unwrap();
        ticket.on_done(move |outcome| sender.send(outcome).unwrap());
        assert_eq!(told.recv().unwrap().unwrap(), 5);
        assert_eq!(ticket.wait_timeout(Duration::from_secs(60)).unwrap(), Some(5));
        wal.shutdown().unwrap();
        assert_eq!(crate::wal::reader::recover(&dir.path().join("wal")).unwrap().events.len(), 5);
    }
}

#[test]
fn many_tasks_on_one_thread_append_each_event_once_with_next_to_no_room() {
    const TASKS: u64 = 300;
    let dir = tempfile::tempdir().unwrap();
    let wal = narrow(dir.path(), BackendKind::Auto);
    // Each event comes from two tasks and from a thread.
    let mut tasks: Vec<_> =
        (0..2 * TASKS).map(|task| Box::pin(wal.append_async(event(task % TASKS)))).collect();
    let mut seqs = std::thread::scope(|scope| {
        let wal = &wal;
        let thread = scope
            .spawn(move || (0..TASKS).map(|n| wal.append(event(n)).unwrap()).collect::<Vec<_>>());
        let mut seqs = Vec::new();
        block_on(std::future::poll_fn(|context| {
            tasks.retain_mut(|task| match task.as_mut().poll(context) {
                Poll::Ready(seq) => {
                    seqs.push(seq.unwrap());
                    false
                }
                Poll::Pending => true,
            });
            if tasks.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        }));
        seqs.extend(thread.join().unwrap());
        seqs
    });
    seqs.retain(|&seq| seq != 0);
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=TASKS).collect::<Vec<_>>());
}

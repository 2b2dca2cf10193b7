//! The event log over a disk that fails.

use crate::sync::plain::Mutex;
use std::io;
use std::sync::{Arc, Barrier};

use crate::engine::tests::{QueueFault, open_faulty};
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

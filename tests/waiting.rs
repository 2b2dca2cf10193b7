//! Appenders that wait for a segment: one of them is always served, so that in the end all are.

#![allow(clippy::unwrap_used, reason = "the helpers of a test file are tests")]

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use ringwal::{BackendKind, Blocks, Log};

/// Far more than any case takes: only a thread that waits for ever reaches it.
const PATIENCE: Duration = Duration::from_secs(60);
const BURSTS: usize = 200;
const THREADS: usize = 4;

/// Bursts of records that mostly need a segment of their own; a spare is prepared only when an
/// appender waits for it, and the first one to come gets it.
fn burst(dir: &Path, backend: BackendKind) {
    let builder = Log::builder(dir).backend(backend).segment_bytes(4096).spare_segments(0);
    let log = Arc::new(
        builder.queue_bytes(1 << 20).preallocate(Some(Blocks::AsTheyCome)).open().unwrap(),
    );
    for burst in 0..BURSTS {
        let appenders: Vec<_> = (0..THREADS)
            .map(|number| {
                let log = Arc::clone(&log);
                thread::spawn(move || {
                    for round in 0..3 {
                        let bytes = [100, 9000, 3000, 20_000][(burst + number + round) % 4];
                        log.append(vec![number as u8; bytes]).unwrap();
                    }
                })
            })
            .collect();
        appenders.into_iter().for_each(|appender| appender.join().unwrap());
    }
    assert_eq!(log.durable_seq().get(), (BURSTS * THREADS * 3) as u64);
}

#[test]
fn nobody_waits_for_ever_for_a_segment() {
    for backend in [BackendKind::Std, BackendKind::Auto] {
        // In memory if possible: the test needs many short bursts.
        let memory = tempfile::tempdir_in("/dev/shm");
        let parent = memory.or_else(|_| tempfile::tempdir()).unwrap();
        let dir = parent.path().join("log");
        let (done, ended) = channel();
        thread::spawn(move || {
            burst(&dir, backend);
            done.send(()).unwrap();
        });
        assert!(ended.recv_timeout(PATIENCE).is_ok(), "{backend}: it waits for ever, or it failed");
    }
}

//! What a reader of a live log costs.

use std::fs;

use ringwal::datawal::{RecordLog, RecordLogReader};

use crate::{log_in, on_backends};

/// Much less than a segment of the engine has as a rule.
const SMALL_BYTES: u64 = 8 << 20;

#[test]
fn a_small_log_is_small_on_disk_while_it_is_open() {
    on_backends("a_small_log_is_small_on_disk_while_it_is_open", |dir, kind| {
        let mut log = log_in(dir, kind);
        // Enough to begin a few of them, so that spares are made for what comes next.
        for _ in 0..3 {
            log.append(&[7; 100_000]).unwrap();
            log.fsync().unwrap();
        }
        let bytes = |entry: fs::DirEntry| entry.metadata().map_or(0, |found| found.len());
        let entries = fs::read_dir(dir).unwrap().map(|entry| bytes(entry.unwrap()));
        let bytes: u64 = entries.sum();
        assert!(bytes < SMALL_BYTES, "{bytes}");
    });
}

/// What this thread has read from files so far, in bytes.
#[cfg(target_os = "linux")]
fn bytes_read() -> u64 {
    let io = fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
    line.parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_scan_of_a_small_live_log_reads_little_and_on_the_thread_that_asks() {
    on_backends(
        "a_scan_of_a_small_live_log_reads_little_and_on_the_thread_that_asks",
        |dir, kind| {
            let mut log: RecordLog = log_in(dir, kind);
            log.append(b"one").unwrap();
            let before = bytes_read();
            let reader = RecordLogReader::open(dir).unwrap();
            assert_eq!(reader.scan_iter().unwrap().count(), 1);
            let read = bytes_read() - before;
            // Else somebody else has read it.
            assert!(read > 4096, "{read}");
            assert!(read < SMALL_BYTES, "{read}");
        },
    );
}

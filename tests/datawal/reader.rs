//! The cost of a small open log, on disk and for its readers.

use std::fs;

use ringwal::datawal::RecordLogReader;

use crate::{log_in, on_backends};

/// As much as one segment of a key-value log has prepared.
const SMALL_BYTES: u64 = 32 << 20;

#[test]
fn a_small_log_is_small_on_disk_while_it_is_open_and_so_is_what_a_scan_reads() {
    on_backends(
        "a_small_log_is_small_on_disk_while_it_is_open_and_so_is_what_a_scan_reads",
        |dir, kind| {
            let mut log = log_in(dir, kind);
            for _ in 0..3 {
                log.append(&[7; 100_000]).unwrap();
                log.fsync().unwrap();
            }
            // A scan reads the segments to their ends, prepared or not.
            let reader = RecordLogReader::open(dir).unwrap();
            assert_eq!(reader.scan_iter().unwrap().count(), 3);
            let bytes = |entry: fs::DirEntry| entry.metadata().map_or(0, |found| found.len());
            let bytes: u64 = fs::read_dir(dir).unwrap().map(|entry| bytes(entry.unwrap())).sum();
            assert!(bytes < SMALL_BYTES, "{bytes}");
        },
    );
}

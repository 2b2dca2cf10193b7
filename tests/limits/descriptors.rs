//! A log while the process has no descriptors left.

use std::fs;
use std::path::{Path, PathBuf};

use ringwal::{BackendKind, Error, Seq};

use crate::resource::Limit;
use crate::{
    RECORD_BYTES, SEGMENT_BYTES, append, append_until_refused, assert_content, assert_goes_on,
    assert_names, builder, record, run_case,
};

#[test]
fn opening_without_enough_descriptors_says_so_and_leaves_the_log_as_it_was() {
    let test = "opening_without_enough_descriptors_says_so_and_leaves_the_log_as_it_was";
    run_case(test, "no_descriptors_at_open", false);
}

pub(crate) fn no_descriptors_at_open(dir: &Path, backend: BackendKind) {
    let log = builder(dir, backend).open().unwrap();
    append(&log, 30);
    log.close().unwrap();
    drop(log);
    let open_before = descriptors();
    let mut refused = 0;
    // Beyond standard input, output and error.
    for limit in 3.. {
        assert!(limit < 64, "it never opens");
        Limit::Descriptors.set(Some(limit));
        let opened = builder(dir, backend).open();
        Limit::Descriptors.set(None);
        match opened {
            Ok(log) => {
                assert_content(&log, Seq::new(30));
                break;
            }
            Err(error) => {
                assert!(error.to_string().contains("Too many open files"), "{error}");
                let inside = error.to_string().contains(dir.to_str().unwrap());
                assert!(inside || matches!(error, Error::BackendRefused { .. }), "{error}");
                refused += 1;
            }
        }
        assert_eq!(descriptors(), open_before, "descriptors were left open");
    }
    assert!(refused > 2, "only {refused} were refused");
    assert_goes_on(dir, backend, Seq::new(30));
}

/// The targets of this process's open descriptors.
fn descriptors() -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let mut targets: Vec<_> = entries.filter_map(|path| fs::read_link(path).ok()).collect();
    targets.sort_unstable();
    targets
}

#[test]
fn rotation_without_descriptors_says_so_and_loses_nothing() {
    let test = "rotation_without_descriptors_says_so_and_loses_nothing";
    run_case(test, "no_descriptors_at_rotation", false);
}

pub(crate) fn no_descriptors_at_rotation(dir: &Path, backend: BackendKind) {
    let log = builder(dir, backend).open().unwrap();
    append(&log, 3);
    Limit::Descriptors.set(Some(3));
    let error = append_until_refused(&log);
    assert_names(&error, dir, "Too many open files");
    // Naming and sealing a segment needs no descriptor; the next spare does, and that can wait.
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert!(log.durable_seq().get() > SEGMENT_BYTES / (2 * RECORD_BYTES as u64), "none was filled");
    Limit::Descriptors.set(None);
    // A spare that was being prepared may fail one more append, but no later one.
    match log.append(record(log.appended_seq().get() + 1)) {
        Ok(_) | Err(Error::NoSpace { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    append(&log, 40);
    let last = log.durable_seq();
    log.close().unwrap();
    drop(log);
    assert_goes_on(dir, backend, last);
}

#[test]
fn cutting_the_end_off_without_descriptors_says_so_and_the_log_goes_on() {
    let test = "cutting_the_end_off_without_descriptors_says_so_and_the_log_goes_on";
    run_case(test, "no_descriptors_to_cut_the_end", false);
}

pub(crate) fn no_descriptors_to_cut_the_end(dir: &Path, backend: BackendKind) {
    // Without a thread that prepares spares meanwhile.
    let log = builder(dir, backend).spare_segments(0).open().unwrap();
    append(&log, 12);
    let cut = Seq::new(9);
    let mut refused = 0;
    for left in 0.. {
        Limit::Descriptors.set(Some(left));
        let answer = log.truncate_after(cut);
        Limit::Descriptors.set(None);
        match answer {
            Ok(()) => break,
            Err(error) => assert_names(&error, dir, "Too many open files"),
        }
        refused += 1;
        // No record was cut off, and appends go on.
        append(&log, 1);
        assert_eq!(log.durable_seq().get(), 12 + refused);
    }
    assert!(refused > 0, "it took no descriptor");
    assert_eq!(log.durable_seq(), cut);
    append(&log, 5);
    let last = log.durable_seq();
    log.close().unwrap();
    drop(log);
    assert_goes_on(dir, backend, last);
}

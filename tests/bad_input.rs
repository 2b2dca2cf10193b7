//! Bad input gets a clear error, and nothing on disk changes.

#![allow(clippy::unwrap_used, reason = "the helpers of a test file are tests")]

mod common;

use std::time::Duration;

use common::{files, snapshot};
use ringwal::{Batch, Error, Log, Seq};

#[test]
fn options_out_of_range_are_named_and_nothing_is_created() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("log");
    let b = || Log::builder(&at);
    let cases = [
        ("segment_bytes", b().segment_bytes(0)),
        ("segment_bytes", b().segment_bytes(u64::MAX)),
        ("spare_segments", b().spare_segments(1000)),
        ("recycle_segments", b().recycle_segments(1000)),
        ("batch_bytes", b().batch_bytes(1)),
        ("batch_bytes", b().batch_bytes(usize::MAX)),
        ("batch_records", b().batch_records(0)),
        ("queue_depth", b().queue_depth(0)),
        ("queue_depth", b().queue_depth(129)),
        ("queue_bytes", b().queue_bytes(1)),
        ("record_bytes_max", b().record_bytes_max(0)),
        ("record_bytes_max", b().record_bytes_max(usize::MAX)),
        ("batch_delay", b().batch_delay(Duration::from_secs(2))),
    ];
    for (option, builder) in cases {
        let error = builder.open().unwrap_err();
        assert!(matches!(&error, Error::Option { name, .. } if *name == option), "{error}");
        assert!(error.to_string().contains(option), "{error}");
        assert!(!at.exists(), "{option}");
    }
}

#[test]
fn a_path_that_is_no_log_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "hello").unwrap();
    let error = Log::open(&file).unwrap_err();
    assert!(matches!(error, Error::NotALog { .. }), "{error}");
    let error = Log::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::NotALog { .. }), "{error}");
    assert!(error.to_string().contains("\"file\""), "{error}");
    assert_eq!(snapshot(dir.path()), [("file".to_owned(), b"hello".to_vec())]);
    let error = Log::builder(dir.path().join("missing")).verify().unwrap_err();
    assert!(matches!(error, Error::NotALog { .. }), "{error}");
    assert_eq!(files(dir.path()), ["file"]);
}

#[test]
fn an_open_log_cannot_be_opened_again_and_the_holder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path()).unwrap();
    log.append("one").unwrap();
    let settled = || {
        // The next spare is being made meanwhile.
        let mut files = snapshot(dir.path());
        files.retain(|(name, _)| !name.starts_with("spare"));
        files
    };
    let before = settled();
    let error = Log::open(dir.path()).unwrap_err();
    let pid = std::process::id();
    assert!(matches!(error, Error::Locked { pid: Some(holder), .. } if holder == pid), "{error}");
    assert!(error.to_string().contains(&pid.to_string()));
    assert!(settled() == before);
    log.append("two").unwrap();
    log.close().unwrap();
    Log::open(dir.path()).unwrap();
}

#[test]
fn a_newer_format_is_refused_by_its_version() {
    for name in ["state", "wal-00000000000000000001.seg"] {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path()).unwrap();
        log.append("one").unwrap();
        log.close().unwrap();
        let path = dir.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        for slot in (0..bytes.len()).step_by(4096) {
            if bytes[slot] != 0 {
                bytes[slot + 4] = 9;
                bytes[slot + 48] ^= 1; // a newer version need not keep our digest
            }
        }
        std::fs::write(&path, bytes).unwrap();
        let before = snapshot(dir.path());
        let error = Log::open(dir.path()).unwrap_err();
        assert!(matches!(error, Error::UnsupportedVersion { version: 9, .. }), "{name}: {error}");
        assert!(error.to_string().contains(name));
        let after: Vec<_> = snapshot(dir.path()).into_iter().filter(|f| f.0 != "lock").collect();
        assert_eq!(after, before.into_iter().filter(|f| f.0 != "lock").collect::<Vec<_>>());
    }
}

#[test]
fn sequence_numbers_out_of_range_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::builder(dir.path()).segment_bytes(8192).open().unwrap();
    for n in 0..10_u8 {
        log.append([n; 3000]).unwrap();
    }
    log.truncate_before(Seq::new(6)).unwrap();
    let first = log.first_seq();
    assert!(first > Seq::FIRST && first <= Seq::new(6));
    let before = log.reader().unwrap().count();
    let out_of_range = |result: Result<(), Error>| {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::OutOfRange { .. }), "{error}");
    };
    out_of_range(log.truncate_before(Seq::new(12)).map(drop));
    out_of_range(log.truncate_after(Seq::new(11)));
    out_of_range(log.truncate_after(Seq::new(first.get() - 2)));
    out_of_range(log.checkpoint(Seq::new(11), ""));
    out_of_range(log.reader_from(Seq::new(12)).map(drop));
    out_of_range(log.reader_from(Seq::NONE).map(drop));
    let gone = log.reader_from(Seq::FIRST);
    assert!(matches!(gone, Err(Error::Truncated { .. })), "{gone:?}");
    assert_eq!(log.reader().unwrap().count(), before);
    assert_eq!(log.append("next").unwrap(), Seq::new(11));
}

#[test]
fn a_record_or_batch_over_the_limit_gets_no_number() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::builder(dir.path()).record_bytes_max(100).batch_bytes(4096).open().unwrap();
    let error = log.append([0; 101]).unwrap_err();
    assert!(matches!(error, Error::RecordTooLarge { bytes: 101, limit: 100 }), "{error}");
    let mut batch = Batch::new();
    for _ in 0..50 {
        batch.push([0; 100]).unwrap();
    }
    let error = log.append(&batch).unwrap_err();
    assert!(matches!(error, Error::BatchTooLarge { .. }), "{error}");
    assert_eq!(log.append([0; 100]).unwrap(), Seq::FIRST);
}

#[cfg(unix)]
#[test]
fn a_directory_without_permission_is_a_clear_error() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("sealed");
    std::fs::create_dir(&inner).unwrap();
    std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o500)).unwrap();
    if std::fs::write(inner.join("probe"), "").is_ok() {
        println!("SKIPPED a_directory_without_permission_is_a_clear_error: root may write it");
        return;
    }
    let error = Log::open(&inner).unwrap_err();
    assert!(error.to_string().contains("sealed"), "{error}");
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

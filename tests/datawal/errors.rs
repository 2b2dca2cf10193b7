//! Errors as programs look at them: those of the operating system below the context, by their
//! kind.

#![cfg(unix)]

use std::fs;
use std::io;
use std::path::Path;

use ringwal::datawal::{DataWal, RecordLog, RecordLogReader};

use crate::{log_in, on_backends, store_in};

fn kind(error: &anyhow::Error) -> Option<io::ErrorKind> {
    error.downcast_ref::<io::Error>().map(io::Error::kind)
}

#[test]
fn what_the_operating_system_refuses_is_an_io_error_of_its_kind() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let below_a_file = file.join("log");
    let refused = |path: &Path| {
        [
            RecordLog::open(path).map(drop).unwrap_err(),
            DataWal::open(path).map(drop).unwrap_err(),
            RecordLogReader::open(path).map(drop).unwrap_err(),
        ]
    };
    for error in refused(&below_a_file) {
        assert_eq!(kind(&error), Some(io::ErrorKind::NotADirectory), "{error:#}");
    }
    let [log, store, _] = refused(&file);
    for error in [log, store] {
        assert_eq!(kind(&error), Some(io::ErrorKind::AlreadyExists), "{error:#}");
    }
    let missing = RecordLogReader::open(&dir.path().join("missing")).unwrap_err();
    assert_eq!(kind(&missing), Some(io::ErrorKind::NotFound), "{missing:#}");
    let mut store = DataWal::open(&dir.path().join("store")).unwrap();
    store.put(b"k", b"v").unwrap();
    for error in [
        store.compact_to(&below_a_file).unwrap_err(),
        store.export_jsonl(&below_a_file).unwrap_err(),
        store.compact_to(&file).unwrap_err(),
    ] {
        assert!(kind(&error).is_some(), "{error:#}");
    }
    let error = store.export_jsonl(dir.path()).unwrap_err();
    assert_eq!(kind(&error), Some(io::ErrorKind::IsADirectory), "{error:#}");
    fs::remove_dir_all(store.dir()).unwrap();
    assert_eq!(kind(&store.fsync().unwrap_err()), Some(io::ErrorKind::NotFound));
}

#[test]
fn what_nobody_would_find_is_not_synced() {
    on_backends("what_nobody_would_find_is_not_synced", |dir, kind| {
        type Change<'c> = &'c dyn Fn(&Path);
        let changes: [Change<'_>; 3] = [
            &|path| fs::remove_dir_all(path).unwrap(),
            &|path| fs::rename(path, path.with_extension("away")).unwrap(),
            &|path| {
                fs::rename(path, path.with_extension("old")).unwrap();
                fs::create_dir(path).unwrap();
            },
        ];
        for (at, change) in changes.iter().enumerate() {
            let path = dir.join(format!("{at}"));
            let mut log = log_in(&path, kind);
            log.append(b"lost").unwrap();
            log.fsync().unwrap();
            change(&path);
            let error = log.fsync().unwrap_err();
            let told = format!("{error:#}");
            assert!(told.contains("find the log by its path"), "{told}");
            assert!(told.contains("drop handle and reopen"), "{told}");
            assert!(log.is_poisoned());
            drop(log);
            let path = dir.join(format!("store-{at}"));
            let mut store = store_in(&path, kind);
            store.put(b"k", b"v").unwrap();
            change(&path);
            assert!(store.fsync().is_err() && store.log().is_poisoned());
            let path = dir.join(format!("rotated-{at}"));
            let mut log = log_in(&path, kind);
            change(&path);
            assert!(log.rotate().is_err() && log.is_poisoned());
            assert_eq!(log.active_segment(), 1);
        }
    });
}

//! Directories: swapped, shared with other files, left by the crate datawal.

use std::fs;

use ringwal::datawal::format::encode_record;
use ringwal::datawal::lock::{DirLock, LOCK_FILENAME};
use ringwal::datawal::{DataWal, RecordLog, RecordLogReader, RecordType};

use crate::{log_in, on_backends, store_in};

#[test]
fn a_store_is_swapped_by_rename_while_it_is_open() {
    on_backends("a_store_is_swapped_by_rename_while_it_is_open", |dir, kind| {
        let (path, sibling) = (dir.join("store"), dir.join("store.compact-tmp"));
        let mut store = store_in(&path, kind);
        for round in 0..3u8 {
            for number in 0..20u8 {
                store.put(&[number], &[round]).unwrap();
            }
            store.compact_to(&sibling).unwrap();
            // As the soak of datawal does it: the old one is closed last.
            if cfg!(unix) {
                fs::remove_dir_all(&path).unwrap();
                fs::rename(&sibling, &path).unwrap();
                drop(store);
            } else {
                drop(store);
                fs::remove_dir_all(&path).unwrap();
                fs::rename(&sibling, &path).unwrap();
            }
            store = store_in(&path, kind);
            assert_eq!(store.len(), 20);
            assert_eq!(store.get(&[7]).unwrap(), Some(vec![round]));
            assert_eq!(store.dir(), path);
        }
    });
}

#[test]
fn a_log_begins_beside_other_files_and_leaves_them_alone() {
    on_backends("a_log_begins_beside_other_files_and_leaves_them_alone", |dir, kind| {
        fs::write(dir.join("config.json"), "{}").unwrap();
        fs::create_dir(dir.join("other")).unwrap();
        let mut log = log_in(dir, kind);
        log.append(b"kept").unwrap();
        drop(log);
        assert_eq!(log_in(dir, kind).scan().unwrap()[0].payload, b"kept");
        assert_eq!(fs::read_to_string(dir.join("config.json")).unwrap(), "{}");
        assert!(dir.join("other").is_dir());
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.into_iter().all(|name| !name.to_string_lossy().ends_with(".partial")));
        assert_eq!(RecordLogReader::open(dir).unwrap().scan_iter().unwrap().count(), 1);
    });
}

#[test]
fn somebody_elses_lock_file_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("lock"), "of a package manager").unwrap();
    fs::write(dir.path().join("config.json"), "{}").unwrap();
    let error = RecordLog::open(dir.path()).unwrap_err();
    assert!(format!("{error:#}").contains("a log needs that name"), "{error:#}");
    let error = DirLock::acquire(dir.path()).unwrap_err();
    assert!(error.to_string().contains("is not the lock of a log"), "{error:#}");
    let lock = fs::read_to_string(dir.path().join("lock")).unwrap();
    assert_eq!(lock, "of a package manager");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn foreign_files_with_names_of_a_log_are_refused_and_stay() {
    for (name, text) in [("state", "running"), ("state", ""), ("lock", "of a package manager")] {
        for others in [&[][..], &["config.json"], &["lost+found"]] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name), text).unwrap();
            for other in others {
                fs::write(dir.path().join(other), "{}").unwrap();
            }
            for error in [
                RecordLog::open(dir.path()).map(drop).unwrap_err(),
                DataWal::open(dir.path()).map(drop).unwrap_err(),
            ] {
                let told = format!("{error:#}");

                assert!(told.contains(name), "{told}");
                assert!(told.contains("another directory"), "{told}");
            }
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), text);
            let found = fs::read_dir(dir.path()).unwrap().count();
            assert_eq!(found, 1 + others.len(), "{name:?}, {others:?}");
            // As a reader of datawal sees no segment there.
            let reader = RecordLogReader::open(dir.path()).unwrap();
            assert_eq!(reader.scan_iter().unwrap().count(), 0);
        }
    }
    // A directory of such a name is none of a log, either.
    for name in ["state", "lock"] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("mine"), "1").unwrap();
        let error = RecordLog::open(dir.path()).unwrap_err();

        assert!(format!("{error:#}").contains("another directory"), "{error:#}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_log_begins_in_a_new_file_system() {
    on_backends("a_log_begins_in_a_new_file_system", |dir, kind| {
        fs::create_dir(dir.join("lost+found")).unwrap();
        log_in(dir, kind).append(b"kept").unwrap();
        assert_eq!(log_in(dir, kind).scan().unwrap().len(), 1);
        assert!(dir.join("lost+found").is_dir());
    });
}

#[test]
fn whoever_holds_the_lock_keeps_a_log_from_opening() {
    on_backends("whoever_holds_the_lock_keeps_a_log_from_opening", |dir, kind| {
        for others in [false, true] {
            let dir = dir.join(format!("others-{others}"));
            fs::create_dir(&dir).unwrap();
            if others {
                fs::write(dir.join("config.json"), "{}").unwrap();
            }
            let lock = DirLock::acquire(&dir).unwrap();
            assert_eq!(lock.path(), dir.join(LOCK_FILENAME));
            for error in [
                RecordLog::open_with_backend(&dir, kind).map(drop).unwrap_err(),
                DirLock::acquire(&dir).map(drop).unwrap_err(),
            ] {
                assert!(format!("{error:#}").contains("already locked"), "{error:#}");
            }
            assert!(!dir.join("state").exists());
            drop(lock);
            let log = log_in(&dir, kind);
            assert!(DirLock::acquire(&dir).is_err());
            drop(log);
            assert!(DirLock::acquire(&dir).is_ok());
        }
    });
}

#[test]
fn records_of_the_crate_datawal_are_not_hidden_by_an_empty_log() {
    on_backends("records_of_the_crate_datawal_are_not_hidden_by_an_empty_log", |dir, kind| {
        let file = dir.join("00000001.dwal");
        let bytes = encode_record(RecordType::Put, 1, b"k", b"v").unwrap();
        fs::write(&file, &bytes).unwrap();
        for error in [
            RecordLog::open_with_backend(dir, kind).map(drop).unwrap_err(),
            RecordLogReader::open(dir).map(drop).unwrap_err(),
        ] {
            assert!(format!("{error:#}").contains("ringwal import"), "{error:#}");
        }
        assert_eq!(fs::read(&file).unwrap(), bytes);
        assert_eq!(fs::read_dir(dir).unwrap().count(), 1);
    });
}

#[test]
fn another_log_is_refused_and_stays_as_it_is() {
    on_backends("another_log_is_refused_and_stays_as_it_is", |dir, kind| {
        let log = ringwal::Log::builder(dir).backend(kind).open().unwrap();
        log.append("Q: no record of such a log").unwrap();
        log.close().unwrap();
        let error = RecordLog::open_with_backend(dir, kind).unwrap_err();
        let cause = error.downcast_ref::<ringwal::Error>();
        assert!(matches!(cause, Some(ringwal::Error::OtherKind { .. })), "{error:#}");
        assert!(RecordLogReader::open(dir).is_err());
    });
}

#[test]
fn a_store_opens_as_a_key_value_log_and_back() {
    on_backends("a_store_opens_as_a_key_value_log_and_back", |dir, kind| {
        let mut store = store_in(dir, kind);
        store.put(b"a", b"1").unwrap();
        store.delete(b"b").unwrap();
        drop(store);
        let kv = ringwal::kv::DataWal::builder(dir).backend(kind).open().unwrap();
        assert_eq!(kv.get("a").unwrap(), Some(b"1".to_vec()));
        kv.put("c", "3").unwrap();
        kv.put("a", "4").unwrap();
        kv.compact().unwrap();
        kv.close().unwrap();
        let mut store = store_in(dir, kind);
        assert_eq!((store.len(), store.get(b"a").unwrap()), (2, Some(b"4".to_vec())));
        // The store refuses records that a key-value log cannot hold, rather than lose them.
        store.put(b"", b"of the empty key").unwrap();
        drop(store);
        let opened = ringwal::kv::DataWal::builder(dir).backend(kind).open();
        assert!(matches!(opened, Err(ringwal::Error::NotALog { .. })));
        assert_eq!(store_in(dir, kind).len(), 3);
    });
}

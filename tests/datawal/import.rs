//! Directories of the crate datawal, moved to this one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ringwal::datawal::format::encode_record;
use ringwal::datawal::{DataWal, RecordLog, RecordType, import, import_up_to_damage};
use ringwal::{Error, kv};

use crate::said;

/// A directory as the crate datawal leaves it.
struct Old {
    scratch: tempfile::TempDir,
    txid: u64,
}

impl Old {
    fn new() -> Old {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("old")).unwrap();
        Old { scratch, txid: 0 }
    }

    fn dir(&self) -> PathBuf {
        self.scratch.path().join("old")
    }

    fn new_dir(&self) -> PathBuf {
        self.scratch.path().join("new")
    }

    fn file(&self, id: u32) -> PathBuf {
        self.dir().join(format!("{id:08}.dwal"))
    }

    fn add_bytes(&self, id: u32, bytes: &[u8]) {
        let mut content = fs::read(self.file(id)).unwrap_or_default();
        content.extend_from_slice(bytes);
        fs::write(self.file(id), content).unwrap();
    }

    fn add(&mut self, id: u32, record_type: RecordType, key: &[u8], payload: &[u8]) {
        self.txid += 1;
        self.add_bytes(id, &encode_record(record_type, self.txid, key, payload).unwrap());
    }

    fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(self.dir()).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
    }
}

/// Some puts and deletes in three files.
fn store() -> Old {
    let mut old = Old::new();
    old.add(1, RecordType::Put, b"a", b"1");
    old.add(1, RecordType::Put, b"b", b"2");
    old.add(2, RecordType::Put, b"a", b"3");
    old.add(2, RecordType::Delete, b"b", b"");
    old.add(3, RecordType::Put, b"c", b"4");
    old
}

fn kv_items(dir: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let store = kv::DataWal::open(dir).unwrap();
    let items = store.items().unwrap();
    store.close().unwrap();
    items
}

#[test]
fn an_imported_store_opens_as_a_key_value_log_and_as_a_datawal() {
    let old = store();
    let before = old.snapshot();
    let imported = import(old.dir(), old.new_dir()).unwrap();
    assert_eq!((imported.files, imported.records, imported.puts, imported.deletes), (3, 5, 4, 1));
    assert_eq!((imported.records_not_for_kv, imported.records_missing), (0, 0));
    assert!(imported.left_behind.is_empty());
    let items = [(b"a".to_vec(), b"3".to_vec()), (b"c".to_vec(), b"4".to_vec())];
    assert_eq!(kv_items(&old.new_dir()), items);
    let mut store = DataWal::open(&old.new_dir()).unwrap();
    let mut found = store.items().unwrap();
    found.sort();
    assert_eq!(found, items);
    assert_eq!(store.log().scan_iter().unwrap().count(), 5);
    assert_eq!(old.snapshot(), before);
    assert_eq!(fs::read_dir(&old.scratch).unwrap().count(), 2);
}

#[test]
fn an_imported_log_has_every_record_also_those_of_no_key() {
    let mut old = Old::new();
    old.add(1, RecordType::Raw, b"", b"raw");
    old.add(1, RecordType::Put, b"", b"of the empty key");
    old.add(2, RecordType::Delete, b"k", b"payload");
    old.add(2, RecordType::Put, b"k", b"v");
    let imported = import(old.dir(), old.new_dir()).unwrap();
    assert_eq!((imported.raws, imported.records_not_for_kv), (1, 3));
    assert!(imported.to_string().contains("not for a key-value log: 3 records"));
    let records = RecordLog::open(&old.new_dir()).unwrap().scan().unwrap();
    assert_eq!(said(&records[0]), (RecordType::Raw, &b""[..], &b"raw"[..]));
    assert_eq!(said(&records[1]), (RecordType::Put, &b""[..], &b"of the empty key"[..]));
    assert_eq!(said(&records[2]), (RecordType::Delete, &b"k"[..], &b"payload"[..]));
    assert_eq!(records.len(), 4);
    assert!(matches!(kv::DataWal::open(old.new_dir()), Err(Error::NotALog { .. })));
}

#[test]
fn a_last_file_cut_at_any_byte_imports_its_whole_records_and_tells_the_rest() {
    let mut old = store();
    old.add(3, RecordType::Put, b"torn", b"payload");
    let whole = fs::read(old.file(3)).unwrap();
    let (first, second) = (28 + 2, 28 + 2 + 28 + 11);
    assert_eq!(whole.len(), second);
    for cut in 0..=whole.len() {
        fs::write(old.file(3), &whole[..cut]).unwrap();
        let imported = import(old.dir(), old.new_dir()).unwrap();
        let (records, end) = match cut {
            _ if cut == second => (6, second),
            _ if cut >= first => (5, first),
            _ => (4, 0),
        };
        assert_eq!(imported.records, records, "cut at {cut}");
        match &imported.left_behind[..] {
            [] => assert_eq!(cut, end),
            [part] => {
                assert_eq!((part.offset, part.bytes), (end as u64, (cut - end) as u64));
                assert!(
                    cut > end && part.path == old.file(3) && part.reason.contains("interrupted")
                );
            }
            more => panic!("{more:?}"),
        }
        fs::remove_dir_all(old.new_dir()).unwrap();
    }
}

#[test]
fn a_bad_checksum_ends_the_last_file_and_is_damage_in_any_other() {
    for (file, is_last) in [(3, true), (2, false)] {
        let old = store();
        let mut content = fs::read(old.file(file)).unwrap();
        *content.last_mut().unwrap() ^= 1;
        fs::write(old.file(file), &content).unwrap();
        let before = old.snapshot();
        let imported = import(old.dir(), old.new_dir());
        if is_last {
            let imported = imported.unwrap();
            assert_eq!((imported.records, imported.left_behind[0].bytes), (4, 30));
            continue;
        }
        match imported {
            Err(Error::Import { path, offset, reason }) => {
                assert_eq!((path, offset), (old.file(2), 30));
                assert!(reason.contains("checksum") && reason.contains("records before it: 3"));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(fs::read_dir(&old.scratch).unwrap().count(), 1);

        let imported = import_up_to_damage(old.dir(), old.new_dir()).unwrap();
        assert_eq!(imported.records, 3);
        let left: Vec<_> =
            imported.left_behind.iter().map(|part| (&part.path, part.offset, part.bytes)).collect();
        assert_eq!(left, [(&old.file(2), 30, 29), (&old.file(3), 0, 30)]);
        assert!(imported.to_string().contains("left behind: 29 bytes of"), "{imported}");
        let items = [(b"a".to_vec(), b"3".to_vec()), (b"b".to_vec(), b"2".to_vec())];
        assert_eq!(kv_items(&old.new_dir()), items);
        assert_eq!(old.snapshot(), before);
    }
}

#[test]
fn whole_records_in_what_is_left_behind_are_counted() {
    let mut old = store();
    let record = encode_record(RecordType::Put, 6, b"torn", b"by a crash").unwrap();
    // Torn, and the crate datawal has appended to it.
    old.add_bytes(3, &record[..record.len() - 3]);
    old.add(3, RecordType::Put, b"a", b"lost there");
    old.add(3, RecordType::Put, b"b", b"lost there");
    let imported = import(old.dir(), old.new_dir()).unwrap();
    let [part] = &imported.left_behind[..] else { panic!("{imported}") };
    assert_eq!((imported.records, part.offset, part.records), (5, 30, 2));
    assert!(part.to_string().contains("from byte 30 on, with 2 whole records: "), "{part}");
}

#[test]
fn what_is_no_record_is_damage_in_every_file() {
    let record = encode_record(RecordType::Put, 6, b"k", b"v").unwrap();
    let changed = |at: usize, byte: u8| {
        let mut bytes = record.clone();
        bytes[at] = byte;
        bytes
    };
    for (bytes, what) in [
        (changed(0, b'X'), "magic"),
        (changed(4, 2), "version 2"),
        (changed(6, 3), "record_type byte 3"),
        (changed(7, 1), "flags"),
        (changed(19, 1), "MAX_KEY_LEN"),
        (changed(23, 255), "MAX_PAYLOAD_LEN"),
        // A torn write, and the records after it.
        ([&record[..10], &record[..]].concat(), "MAX_KEY_LEN"),
    ] {
        let old = store();
        old.add_bytes(3, &bytes);
        match import(old.dir(), old.new_dir()) {
            Err(Error::Import { path, offset: 30, reason }) => {
                assert!(path == old.file(3) && reason.contains(what), "{what}: {reason}");
            }
            other => panic!("{what}: {other:?}"),
        }
        let imported = import_up_to_damage(old.dir(), old.new_dir()).unwrap();
        assert_eq!((imported.records, imported.left_behind.len()), (5, 1));
    }
}

#[test]
fn a_removed_file_is_told_by_the_numbers_that_are_missing() {
    let old = store();
    fs::remove_file(old.file(2)).unwrap();
    let imported = import(old.dir(), old.new_dir()).unwrap();
    assert_eq!((imported.records, imported.records_missing), (3, 2));
    assert!(imported.to_string().contains("missing: 2 records"), "{imported}");
}

#[test]
fn a_source_that_is_open_is_locked() {
    let old = store();
    let lock = old.dir().join(".lock");
    fs::write(&lock, "4711\n").unwrap();
    let held = fs::File::open(&lock).unwrap();
    held.lock().unwrap();
    match import(old.dir(), old.new_dir()) {
        Err(Error::Locked { path, pid: Some(4711) }) => assert_eq!(path, lock),
        other => panic!("{other:?}"),
    }
    drop(held);
    assert_eq!(import(old.dir(), old.new_dir()).unwrap().records, 5);
    assert_eq!(fs::read_to_string(&lock).unwrap(), "4711\n");
}

#[test]
#[cfg(target_os = "linux")]
fn a_mount_point_is_no_target_and_told_as_one() {
    let old = store();
    // Nothing else is a mount point everywhere.
    let error = import(old.dir(), "/proc").unwrap_err().to_string();
    assert!(error.contains("is a mount point") && error.contains("/proc"), "{error}");
}

#[test]
fn an_import_wants_a_source_and_an_empty_target() {
    let old = store();
    let scratch = tempfile::tempdir().unwrap();
    let error = import(scratch.path(), old.new_dir()).unwrap_err();
    assert!(matches!(error, Error::NotALog { .. }), "{error}");
    let error = import(scratch.path().join("missing"), old.new_dir()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    fs::write(scratch.path().join("file"), "").unwrap();
    let error = import(old.dir(), scratch.path()).unwrap_err();
    assert!(matches!(error, Error::NotEmpty { .. }), "{error}");
    assert!(!old.new_dir().exists());
    for inside in ["new", "new/er"] {
        let before = fs::read_dir(old.dir()).unwrap().count();
        let error = import(old.dir(), old.dir().join(inside)).unwrap_err();
        assert!(error.to_string().contains("new"), "{error}");
        assert!(error.root_cause().to_string().contains("inside"), "{error}");
        assert_eq!(fs::read_dir(old.dir()).unwrap().count(), before);
    }
    // A foreign file with such a name stays.
    let partial = old.scratch.path().join(format!("new.{}-0.partial", std::process::id()));
    fs::create_dir(&partial).unwrap();
    fs::write(partial.join("notes.txt"), "of somebody else").unwrap();
    fs::create_dir(old.new_dir()).unwrap();
    assert_eq!(import(old.dir(), old.new_dir()).unwrap().records, 5);
    assert_eq!(kv_items(&old.new_dir()).len(), 2);
    assert_eq!(fs::read_to_string(partial.join("notes.txt")).unwrap(), "of somebody else");
}

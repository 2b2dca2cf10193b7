//! Keys and values.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ringwal::BackendKind;
use ringwal::datawal::{CompactionStats, DataWal, RecordRef, RecordType, testing};

use crate::{log_in, on_backends, said, store_in};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// All keys and values, by every call that shows them.
pub(crate) fn contents(store: &mut DataWal) -> Map {
    let map: Map = store.items().unwrap().into_iter().collect();
    assert_eq!((store.len(), store.is_empty()), (map.len(), map.is_empty()));
    let mut keys = store.keys();
    keys.sort();
    assert!(map.keys().eq(&keys));
    for (key, value) in &map {
        assert_eq!(store.get(key).unwrap().as_ref(), Some(value));
        assert!(store.contains_key(key));
        let len = (28 + key.len() + value.len()) as u32;
        assert_eq!(store.ref_of(key).unwrap().len, len);
    }
    map
}

#[test]
fn the_last_put_of_a_key_wins_also_after_reopening() {
    on_backends("the_last_put_of_a_key_wins_also_after_reopening", |dir, kind| {
        let mut store = store_in(dir, kind);
        assert!(store.is_empty());
        assert_eq!((store.dir(), store.dir_path_buf()), (dir, dir.to_path_buf()));
        store.put(b"a", b"1").unwrap();
        store.put(b"", b"of the empty key").unwrap();
        store.put(b"b", b"").unwrap();
        store.put(b"a", b"2").unwrap();
        store.delete(b"b").unwrap();
        store.delete(b"never there").unwrap();
        let expected: Map =
            [(b"a".to_vec(), b"2".to_vec()), (vec![], b"of the empty key".to_vec())]
                .into_iter()
                .collect();
        assert_eq!(contents(&mut store), expected);
        assert_eq!(store.get(b"b").unwrap(), None);
        assert!(!store.contains_key(b"b") && store.ref_of(b"b").is_none());
        store.fsync().unwrap();
        drop(store);
        let mut store = store_in(dir, kind);
        assert_eq!(contents(&mut store), expected);
        store.delete(b"").unwrap();
        assert_eq!(store.keys(), [b"a"]);
        // Each delete is a record, whether or not the key was there.
        let log = store.log();
        let last = log.scan_iter().unwrap().last().unwrap().unwrap();
        assert_eq!((said(&last), last.txid), ((RecordType::Delete, &b""[..], &b""[..]), 7));
    });
}

#[test]
fn a_place_is_that_of_the_newest_put_and_the_same_after_reopening() {
    on_backends("a_place_is_that_of_the_newest_put_and_the_same_after_reopening", |dir, kind| {
        let mut store = store_in(dir, kind);
        store.put(b"k", b"first").unwrap();
        assert_eq!(store.ref_of(b"k"), Some(RecordRef { segment: 1, offset: 0, len: 34 }));
        store.put(b"k", b"second").unwrap();
        let place = RecordRef { segment: 1, offset: 34, len: 35 };
        assert_eq!(store.ref_of(b"k"), Some(place));
        drop(store);
        assert_eq!(store_in(dir, kind).ref_of(b"k"), Some(place));
    });
}

#[test]
fn one_directory_is_a_log_and_a_store() {
    on_backends("one_directory_is_a_log_and_a_store", |dir, kind| {
        let mut log = log_in(dir, kind);
        log.append(b"raw").unwrap();
        log.append_record(RecordType::Put, b"k", b"v").unwrap();
        log.rotate().unwrap();
        drop(log);
        let mut store = store_in(dir, kind);
        assert_eq!(store.items().unwrap(), [(b"k".to_vec(), b"v".to_vec())]);
        store.put(b"l", b"w").unwrap();
        assert_eq!(store.ref_of(b"l").unwrap().segment, 2);
        assert_eq!(store.log().active_segment(), 2);
        drop(store);
        assert_eq!(log_in(dir, kind).scan().unwrap().len(), 3);
    });
}

#[test]
fn compaction_keeps_the_live_keys_and_nothing_else() {
    on_backends("compaction_keeps_the_live_keys_and_nothing_else", |dir, kind| {
        let mut store = store_in(&dir.join("store"), kind);
        store.put(b"b", b"1").unwrap();
        store.put(b"a", b"2").unwrap();
        store.put(b"b", b"33").unwrap();
        store.put(b"gone", b"4").unwrap();
        store.delete(b"gone").unwrap();
        let stats = store.compact_to(&dir.join("new")).unwrap();
        let expected = CompactionStats { live_keys: 2, records_written: 2, bytes_written: 61 };
        assert_eq!(stats, expected);
        let error = store.compact_to(&dir.join("new")).unwrap_err();
        assert!(error.to_string().contains("is not empty"), "{error}");
        std::fs::create_dir(dir.join("empty")).unwrap();
        store.compact_to(&dir.join("empty")).unwrap();
        let live = contents(&mut store);
        for name in ["new", "empty"] {
            let mut compact = store_in(&dir.join(name), kind);
            assert_eq!(contents(&mut compact), live);
            let keys = compact.log().scan_iter().unwrap().map(|record| record.unwrap().key);
            assert_eq!(keys.collect::<Vec<_>>(), [b"a", b"b"]);
        }
        // The source goes on.
        store.put(b"c", b"5").unwrap();
        assert_eq!(store.len(), 3);
    });
}

#[test]
fn an_export_is_sorted_and_without_spaces() {
    on_backends("an_export_is_sorted_and_without_spaces", |dir, kind| {
        let mut store = store_in(&dir.join("store"), kind);
        store.put(b"b", b"beta").unwrap();
        store.put(b"a", b"").unwrap();
        let path = dir.join("made/on/the/way/export.jsonl");
        for _ in 0..2 {
            store.export_jsonl(&path).unwrap();
            let lines = "{\"key_b64\":\"YQ==\",\"value_b64\":\"\"}\n\
                         {\"key_b64\":\"Yg==\",\"value_b64\":\"YmV0YQ==\"}\n";
            assert_eq!(std::fs::read_to_string(&path).unwrap(), lines);
        }
        let names = std::fs::read_dir(path.parent().unwrap()).unwrap();
        assert_eq!(names.count(), 1);
        let kv = ringwal::kv::DataWal::builder(dir.join("kv")).backend(kind).open().unwrap();
        assert_eq!(kv.import_jsonl(&path).unwrap(), 2);
        assert_eq!(kv.get("b").unwrap(), Some(b"beta".to_vec()));
    });
}

#[test]
#[cfg(unix)]
fn an_export_leaves_a_device_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store_in(&dir.path().join("store"), BackendKind::Std);
    store.put(b"a", b"1").unwrap();
    // A link to a device: if anything is replaced, it is the link.
    let device = dir.path().join("device");
    std::os::unix::fs::symlink("/dev/null", &device).unwrap();
    store.export_jsonl(&device).unwrap();
    assert!(std::fs::symlink_metadata(&device).unwrap().is_symlink());
    let error = store.export_jsonl(dir.path()).unwrap_err();
    assert!(error.to_string().contains("datawal: export to"), "{error:#}");
}

#[test]
fn a_damaged_value_is_an_error_and_every_other_key_stays_readable() {
    on_backends("a_damaged_value_is_an_error_and_every_other_key_stays_readable", |dir, kind| {
        let mut store = store_in(dir, kind);
        store.put(b"a", b"value that is damaged").unwrap();
        store.put(b"b", b"value").unwrap();
        store.fsync().unwrap();
        crate::log::damage(dir, b"that is damaged");
        let error = store.get(b"a").unwrap_err();
        assert!(error.to_string().contains("CRC mismatch at segment 00000001"), "{error}");
        assert!(store.items().is_err());
        let sibling = dir.join("sibling");
        assert!(store.compact_to(&sibling).is_err() && !sibling.exists());
        assert_eq!(store.get(b"b").unwrap(), Some(b"value".to_vec()));
    });
}

#[test]
fn a_store_whose_log_failed_still_reads() {
    on_backends("a_store_whose_log_failed_still_reads", |dir, kind| {
        let mut log = log_in(dir, kind);
        log.append_record(RecordType::Put, b"a", b"1").unwrap();
        testing::poison_record_log_for_test(&mut log, "synthetic");
        assert!(log.append(b"").is_err());
        drop(log);
        let mut store = store_in(dir, kind);
        assert_eq!(store.get(b"a").unwrap(), Some(b"1".to_vec()));
    });
}

/// The calls that a program may make, one after the other.
#[derive(Clone, Debug)]
enum Call {
    Put(u8, Vec<u8>),
    Delete(u8),
    Fsync,
    Reopen,
    Rotate,
    Swap,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let key = 0..6u8;
    let value = prop::collection::vec(any::<u8>(), 0..20);
    let call = prop_oneof![
        4 => (key.clone(), value).prop_map(|(key, value)| Call::Put(key, value)),
        2 => key.prop_map(Call::Delete),
        1 => Just(Call::Fsync),
        1 => Just(Call::Reopen),
        1 => Just(Call::Rotate),
        1 => Just(Call::Swap),
    ];
    prop::collection::vec(call, 0..20)
}

/// The key of a number: 0 is the empty one.
fn key(number: u8) -> Vec<u8> {
    vec![b'k'; usize::from(number)]
}

fn run(calls: &[Call]) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let (path, sibling) = (dir.path().join("store"), dir.path().join("sibling"));
    let mut store = store_in(&path, BackendKind::Std);
    let mut expected = Map::new();
    for call in calls {
        match call {
            Call::Put(number, value) => {
                store.put(&key(*number), value).unwrap();
                expected.insert(key(*number), value.clone());
            }
            Call::Delete(number) => {
                store.delete(&key(*number)).unwrap();
                expected.remove(&key(*number));
            }
            Call::Fsync => store.fsync().unwrap(),
            Call::Reopen => {
                drop(store);
                store = store_in(&path, BackendKind::Std);
            }
            Call::Rotate => {
                drop(store);
                let mut log = log_in(&path, BackendKind::Std);
                let eager = log.scan().unwrap();
                let lazy: Vec<_> = log.scan_iter().unwrap().map(Result::unwrap).collect();
                prop_assert_eq!(eager, lazy);
                log.rotate().unwrap();
                drop(log);
                store = store_in(&path, BackendKind::Std);
            }
            Call::Swap => {
                store.compact_to(&sibling).unwrap();
                drop(store);
                std::fs::remove_dir_all(&path).unwrap();
                std::fs::rename(&sibling, &path).unwrap();
                store = store_in(&path, BackendKind::Std);
            }
        }
    }
    prop_assert_eq!(contents(&mut store), expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn a_store_is_a_map_whatever_is_done_to_it(calls in calls()) {
        run(&calls)?;
    }
}

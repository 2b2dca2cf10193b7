//! The promises of the key-value log to its users, on both backends.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ringwal::kv::{
    DataReader, DataWal, DataWalBuilder, KEY_BYTES_MAX, VALUE_BYTES_MAX, WriteBatch,
};
use ringwal::{BackendKind, Durability, Error, Kind, Log, Seq};

#[path = "common/mod.rs"]
mod common;
#[path = "kv/compaction.rs"]
mod compaction;
#[path = "kv/jsonl.rs"]
mod jsonl;
#[path = "kv/model.rs"]
mod model;
#[path = "kv/tasks.rs"]
mod tasks;
#[path = "kv/threads.rs"]
mod threads;

pub(crate) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Runs a test on both backends, each time in a directory of its own.
pub(crate) fn on_backends(test: &str, run: impl Fn(&Path, &dyn Fn() -> DataWalBuilder)) {
    let mut kinds = vec![BackendKind::Std];
    if common::uring_runs(test) {
        kinds.push(BackendKind::Uring);
    }
    for kind in kinds {
        println!("on {kind:?}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        run(&path, &|| DataWal::builder(&path).backend(kind).segment_bytes(64 << 10));
    }
}

pub(crate) fn contents(store: &DataWal) -> Map {
    let map: Map = store.iter().unwrap().map(Result::unwrap).collect();
    assert_eq!(map.len(), store.len().unwrap());
    assert!(map.keys().eq(store.keys().unwrap().iter()), "keys are sorted");
    assert!(map.clone().into_iter().eq(store.items().unwrap()), "items are sorted");
    for (key, value) in &map {
        assert_eq!(store.get(key).unwrap().as_ref(), Some(value));
        assert!(store.contains_key(key).unwrap());
    }
    map
}

pub(crate) fn key(n: usize) -> Vec<u8> {
    format!("key {n:05}").into_bytes()
}

pub(crate) fn map_of(pairs: &[(&[u8], &[u8])]) -> Map {
    pairs.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

#[test]
fn a_key_that_is_kept_does_not_keep_the_memory_of_its_value() {
    let dir = tempfile::tempdir().unwrap();
    let store = DataWal::open(dir.path()).unwrap();
    store.put("key", vec![7; 1 << 20]).unwrap();
    let keys = store.keys().unwrap();
    assert!(keys == [b"key"] && keys[0].capacity() < 100, "{}", keys[0].capacity());
    let (key, value) = store.items().unwrap().remove(0);
    assert!(key == b"key" && key.capacity() < 100);
    assert!(value == vec![7; 1 << 20] && value.capacity() < (1 << 20) + 100);
    assert_eq!(store.get("key").unwrap(), Some(value));
}

#[test]
fn the_last_write_of_a_key_wins_also_after_reopening() {
    on_backends("the_last_write_of_a_key_wins_also_after_reopening", |path, builder| {
        let store = builder().open().unwrap();
        assert!(store.is_empty().unwrap());
        assert_eq!(store.dir(), path);
        store.put("a", "1").unwrap();
        store.put("b", "2").unwrap();
        store.put("a", "3").unwrap();
        assert!(store.delete("b").unwrap());
        store.put("c", "").unwrap();
        let expected = map_of(&[(b"a", b"3"), (b"c", b"")]);
        assert_eq!(contents(&store), expected);
        assert_eq!(store.get("b").unwrap(), None);
        assert!(!store.contains_key("b").unwrap());
        store.close().unwrap();

        let store = builder().open().unwrap();
        assert_eq!(contents(&store), expected);
        store.put("b", "4").unwrap();
        drop(store);
        let store = builder().open().unwrap();
        assert_eq!(store.get("b").unwrap().unwrap(), b"4");
    });
}

#[test]
fn any_bytes_are_legal_from_the_shortest_to_the_longest_key() {
    on_backends("any_bytes_are_legal", |_, builder| {
        let store = builder().open().unwrap();
        let mut expected = Map::new();
        for byte in [0, b'\n', b'"', 0x80, 0xff] {
            for len in [1, 2, 255, 256, KEY_BYTES_MAX] {
                let (key, value) = (vec![byte; len], vec![byte; len + usize::from(byte)]);
                store.put(&key, &value).unwrap();
                expected.insert(key, value);
            }
        }
        assert_eq!(contents(&store), expected);
        store.close().unwrap();
        assert_eq!(contents(&builder().open().unwrap()), expected);
    });
}

#[test]
fn what_is_outside_of_the_limits_is_an_error_and_changes_nothing() {
    on_backends("what_is_outside_of_the_limits", |_, builder| {
        let store = builder().open().unwrap();
        store.put("k", "v").unwrap();
        let before = store.stats();
        let long = vec![1; KEY_BYTES_MAX + 1];
        let large = vec![1; VALUE_BYTES_MAX + 1];
        for key in [&b""[..], &long] {
            let bytes = key.len() as u64;
            let is_right = |error: Error| match error {
                Error::KeyLength { bytes: named, .. } => assert_eq!(named, bytes),
                other => panic!("{other}"),
            };
            is_right(store.put(key, "v").unwrap_err());
            is_right(store.get(key).unwrap_err());
            is_right(store.delete(key).unwrap_err());
            is_right(WriteBatch::new().put(key, "v").map(drop).unwrap_err());
            is_right(WriteBatch::new().delete(key).map(drop).unwrap_err());
            assert!(!store.contains_key(key).unwrap());
        }
        let error = store.put("k", &large).unwrap_err();
        assert!(matches!(error, Error::ValueTooLarge { bytes: 67_108_865, .. }), "{error}");
        let mut batch = WriteBatch::new();
        batch.put("a", "b").unwrap();
        assert!(matches!(batch.put("k", &large), Err(Error::ValueTooLarge { .. })));
        assert_eq!(batch.len(), 1);
        for error in [
            store.at(Durability::Queued).put("k", "w").unwrap_err(),
            store.at(Durability::Queued).delete("k").unwrap_err(),
            store.at(Durability::Queued).write(&batch).unwrap_err(),
        ] {
            assert!(error.to_string().contains("expected Written or Synced"), "{error}");
        }
        let large = vec![1; VALUE_BYTES_MAX / 2];
        batch.put("l", &large).unwrap().put("m", &large).unwrap().put("n", [0; 70_000]).unwrap();
        let error = store.write(&batch).unwrap_err();
        assert!(matches!(error, Error::BatchTooLarge { .. }), "{error}");
        let message = error.to_string();
        assert!(message.ends_with("split it"), "no option that a store does not have: {message}");
        assert_eq!(store.stats(), before);
        assert_eq!(contents(&store), map_of(&[(b"k", b"v")]));
    });
}

#[test]
fn options_outside_of_their_ranges_are_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let builder = || DataWal::builder(&path);
    for (builder, name) in [
        (builder().durability(Durability::Queued), "durability"),
        (builder().segment_bytes(1), "segment_bytes"),
        (builder().segment_bytes(4 << 30), "segment_bytes"),
        (builder().compact_above_percent(Some(95)), "compact_above_percent"),
    ] {
        match builder.open() {
            Err(Error::Option { name: named, .. }) => assert_eq!(named, name),
            other => panic!("{other:?}"),
        }
        assert!(!path.exists());
    }
}

#[test]
fn the_largest_value_is_put_read_compacted_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = DataWal::builder(&path).segment_bytes(1 << 20).open().unwrap();
    let (key, mut value) = (vec![9; KEY_BYTES_MAX], vec![1; VALUE_BYTES_MAX]);
    value[VALUE_BYTES_MAX - 1] = 2;
    store.put("first", "1").unwrap();
    store.put(&key, &value).unwrap();
    assert!(store.get(&key).unwrap().unwrap() == value);
    let mut batch = WriteBatch::new();
    batch.put(&key, &value).unwrap();
    store.write(&batch).unwrap();
    store.put("small", "0").unwrap();
    store.put("small", "1").unwrap();
    let done = store.compact().unwrap();
    assert_eq!(done.copied.records, 3);
    assert_eq!(store.compact().unwrap().copied.records, 0, "all of it is live");
    assert!(store.get(&key).unwrap().unwrap() == value);
    store.close().unwrap();
    let store = DataWal::open(&path).unwrap();
    assert!(store.get(&key).unwrap().unwrap() == value);
    assert_eq!(store.len().unwrap(), 3);
}

#[test]
fn deleting_what_is_not_there_writes_nothing_unless_asked() {
    on_backends("deleting_what_is_not_there_writes_nothing_unless_asked", |_, builder| {
        let store = builder().open().unwrap();
        assert!(!store.delete("k").unwrap());
        assert_eq!(store.stats().records, 0);
        store.put("k", "v").unwrap();
        assert!(store.delete("k").unwrap());
        assert!(!store.delete("k").unwrap());
        assert_eq!(store.stats().records, 2);
        store.close().unwrap();
        let store = builder().delete_missing(true).open().unwrap();
        assert!(!store.delete("k").unwrap());
        assert_eq!(store.stats().records, 3);
        assert!(store.is_empty().unwrap());
    });
}

#[test]
fn a_batch_happens_in_its_order_or_not_at_all() {
    on_backends("a_batch_happens_in_its_order_or_not_at_all", |_, builder| {
        let store = builder().open().unwrap();
        store.put("gone", "1").unwrap();
        let mut batch = WriteBatch::new();
        batch.put("a", "1").unwrap().put("a", "2").unwrap().delete("gone").unwrap();
        batch.put("b", "3").unwrap().delete("b").unwrap().delete("never").unwrap();
        batch.put("c", "4").unwrap();
        assert_eq!(batch.len(), 7);
        store.write(&batch).unwrap();
        let expected = map_of(&[(b"a", b"2"), (b"c", b"4")]);
        assert_eq!(contents(&store), expected);
        batch.clear();
        assert!(batch.is_empty());
        store.write(&batch).unwrap();
        store.close().unwrap();
        assert_eq!(contents(&builder().open().unwrap()), expected);
    });
}

#[test]
fn a_put_is_written_by_default_and_synced_when_asked() {
    on_backends("a_put_is_written_by_default_and_synced_when_asked", |path, builder| {
        let store = builder().open().unwrap();
        store.put("a", "1").unwrap();
        assert_eq!(store.metrics().synced_batches, 0);
        store.at(Durability::Synced).put("a", "2").unwrap();
        assert!(store.metrics().synced_batches > 0);
        store.put("b", "3").unwrap();
        store.fsync().unwrap();
        // `Written`: records that the operating system has are there for the next process.
        store.put("c", "4").unwrap();
        let seen = DataReader::open(path).unwrap();
        assert_eq!(seen.get("c").unwrap().unwrap(), b"4");
        let left = path.with_extension("left by a dead process");
        fs::create_dir(&left).unwrap();
        for name in common::files(path) {
            fs::copy(path.join(&name), left.join(&name)).unwrap();
        }
        let expected = map_of(&[(b"a", b"2"), (b"b", b"3"), (b"c", b"4")]);
        assert_eq!(contents(&DataWal::open(&left).unwrap()), expected);
        store.close().unwrap();
        let store = builder().durability(Durability::Synced).open().unwrap();
        store.put("d", "5").unwrap();
        assert_eq!(store.metrics().synced_batches, 1);
        assert!(store.delete("d").unwrap());
        assert_eq!(store.metrics().synced_batches, 2);
    });
}

#[test]
fn a_damaged_value_is_an_error_that_names_the_place() {
    on_backends("a_damaged_value_is_an_error_that_names_the_place", |path, builder| {
        let store = builder().open().unwrap();
        store.put("good", "fine").unwrap();
        store.put("bad", "needle in the file").unwrap();
        store.fsync().unwrap();
        let file = damage(path, b"needle", b"nEEdle");
        for _ in 0..2 {
            match store.get("bad").unwrap_err() {
                Error::Corrupt(corruption) => {
                    assert_eq!(corruption.path, file);
                    assert_eq!(corruption.first_seq, Seq::new(2));
                }
                other => panic!("{other}"),
            }
        }
        assert!(store.contains_key("bad").unwrap());
        assert!(matches!(store.items(), Err(Error::Corrupt(_))));
        assert!(store.iter().unwrap().any(|item| item.is_err()));
        // Else there is nothing to compact.
        store.put("good", "fine").unwrap();
        assert!(matches!(store.compact(), Err(Error::Corrupt(_))));
        let target = path.with_extension("compact");
        assert!(matches!(store.compact_to(&target), Err(Error::Corrupt(_))));
        assert!(!target.exists());
        assert_eq!(store.get("good").unwrap().unwrap(), b"fine");
        damage(path, b"nEEdle", b"needle");
        assert_eq!(store.get("bad").unwrap().unwrap(), b"needle in the file");
        store.compact().unwrap();
    });
}

/// Replaces bytes in the one segment that has them.
pub(crate) fn damage(dir: &Path, from: &[u8], to: &[u8]) -> std::path::PathBuf {
    use std::os::unix::fs::FileExt;
    for name in common::files(dir) {
        let path = dir.join(name);
        let bytes = fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(to, at as u64).unwrap();
            file.sync_all().unwrap();
            return path;
        }
    }
    panic!("no segment has {from:?}");
}

#[test]
fn the_figures_count_what_is_live_and_what_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let store = DataWal::open(dir.path()).unwrap();
    store.put("key", "12345").unwrap(); // 8 + 3 + 3 + 5
    store.put("key", "1").unwrap(); // 8 + 3 + 3 + 1
    store.put("other", "").unwrap(); // 8 + 3 + 5
    store.delete("other").unwrap(); // 8 + 3 + 5
    let expected = store.stats();
    assert_eq!((expected.keys, expected.records), (1, 4));
    assert_eq!((expected.live_bytes, expected.dead_bytes), (15, 19 + 16 + 16));
    assert!(expected.log_bytes >= 4 * 64 + 66 && expected.segments == 1);
    assert_eq!(expected.dead_percent(), 77);
    store.close().unwrap();
    let store = DataWal::open(dir.path()).unwrap();
    let again = store.stats();
    assert_eq!((again.keys, again.records), (expected.keys, expected.records));
    assert_eq!((again.live_bytes, again.dead_bytes), (expected.live_bytes, expected.dead_bytes));
    assert!(again.index_bytes > 0);
}

#[test]
fn a_reader_takes_no_lock_and_keeps_its_moment_beside_a_writer_that_compacts() {
    on_backends("a_reader_keeps_its_moment_beside_a_writer", |path, builder| {
        let store = builder().open().unwrap();
        for n in 0..300 {
            store.put(key(n), vec![1; 400]).unwrap();
        }
        store.delete(key(0)).unwrap();
        let reader = DataWal::open_read_only(path).unwrap();
        let expected = contents(&store);
        for n in 0..300 {
            store.put(key(n), "new").unwrap();
        }
        assert!(store.compact().unwrap().freed_segments > 0);
        for _ in 0..3 {
            store.put("more", vec![2; 60_000]).unwrap();
        }
        assert_eq!((reader.len(), reader.is_empty()), (299, false));
        assert!(expected.clone().into_iter().eq(reader.items().unwrap()));
        assert!(expected.keys().eq(reader.keys().unwrap().iter()));
        assert_eq!(reader.iter().map(Result::unwrap).collect::<Map>(), expected);
        assert_eq!(reader.get(key(0)).unwrap(), None);
        assert_eq!(reader.get(key(1)).unwrap().unwrap(), vec![1; 400]);
        assert!(reader.contains_key(key(1)) && !reader.contains_key("more"));
        assert_eq!(reader.stats().keys, 299);
        assert_eq!(reader.dir(), path);
        let target = path.with_extension("of-reader");
        assert_eq!(reader.compact_to(&target).unwrap().keys, 299);
        drop(store);
        let now = DataReader::open(path).unwrap();
        assert_eq!(now.get("more").unwrap().unwrap().len(), 60_000);
    });
}

#[test]
fn readers_open_while_a_writer_compacts_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = DataWal::builder(dir.path()).segment_bytes(64 << 10).open().unwrap();
    for n in 0..20 {
        store.put(key(n), vec![0; 500]).unwrap();
    }
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..15_u8 {
                for n in 0..20 {
                    store.put(key(n), vec![round; 500]).unwrap();
                }
                store.compact().unwrap();
            }
        });
        let mut opened = 0;
        while !writer.is_finished() || opened == 0 {
            let reader = DataReader::open(dir.path()).unwrap();
            assert_eq!(reader.items().unwrap().len(), 20);
            opened += 1;
        }
    });
}

#[test]
fn a_log_that_is_no_store_is_refused_and_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::builder(dir.path()).kind(Some(Kind::Kv)).open().unwrap();
    log.append("an event, perhaps").unwrap();
    log.close().unwrap();
    let before = common::snapshot(dir.path());
    for error in [DataWal::open(dir.path()).unwrap_err(), DataReader::open(dir.path()).unwrap_err()]
    {
        assert!(
            error.to_string().contains("record 1 is not a record of a key-value log"),
            "{error}"
        );
        assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    }
    assert_eq!(common::snapshot(dir.path()), before);
    assert!(matches!(DataReader::open(dir.path().join("no")), Err(Error::NotALog { .. })));
}

#[test]
fn a_store_has_one_writer_and_says_so_when_it_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store = DataWal::open(dir.path()).unwrap();
    store.put("k", "v").unwrap();
    assert!(matches!(DataWal::open(dir.path()), Err(Error::Locked { .. })));
    let snapshot = store.snapshot().unwrap();
    store.close().unwrap();
    store.close().unwrap();
    assert!(matches!(store.put("k", "w"), Err(Error::Closed)));
    assert!(matches!(store.get("k"), Err(Error::Closed)));
    assert!(matches!(store.delete("none"), Err(Error::Closed)));
    assert!(matches!(store.fsync(), Err(Error::Closed)));
    assert!(matches!(store.compact(), Err(Error::Closed)));
    assert!(matches!(store.snapshot(), Err(Error::Closed)));
    assert!(matches!(snapshot.items(), Err(Error::Closed)));
    let store = DataWal::open(dir.path()).unwrap();
    assert_eq!(store.get("k").unwrap().unwrap(), b"v");
}

#[test]
fn stores_and_snapshots_may_be_shared_between_threads() {
    fn assert_shared<T: Send + Sync>() {}
    assert_shared::<DataWal>();
    assert_shared::<DataReader>();
    assert_shared::<ringwal::kv::Snapshot>();
    assert_shared::<ringwal::kv::Items>();
    assert_shared::<WriteBatch>();
}

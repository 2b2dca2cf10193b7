//! Compaction and snapshots: the live records stay, the space comes back.

use std::fs;

use ringwal::kv::DataWal;
use ringwal::{Error, Seq};

use crate::{Map, common, contents, key, map_of, on_backends};

#[test]
fn compact_to_writes_the_live_records_sorted_and_leaves_the_source() {
    on_backends("compact_to_writes_the_live_records_sorted", |path, builder| {
        let store = builder().open().unwrap();
        for round in 0..3 {
            for n in (0..300).rev() {
                store.put(key(n), format!("{round} {n}")).unwrap();
            }
        }
        for n in 0..100 {
            store.delete(key(n)).unwrap();
        }
        let (expected, before) = (contents(&store), store.stats());
        let target = path.with_extension("compact");
        let copied = store.compact_to(&target).unwrap();
        assert_eq!((copied.keys, copied.records), (200, 200));
        assert_eq!(copied.bytes, before.live_bytes);
        assert_eq!(store.stats(), before, "the source is as it was");
        assert!(matches!(store.compact_to(&target), Err(Error::NotEmpty { .. })));
        assert!(matches!(store.compact_to(path), Err(Error::NotEmpty { .. })));

        let other = DataWal::open(&target).unwrap();
        assert_eq!(contents(&other), expected);
        assert_eq!((other.stats().records, other.stats().dead_bytes), (200, 0));
        let in_order: Vec<_> = other.iter().unwrap().map(|item| item.unwrap().0).collect();
        assert!(in_order.is_sorted());
        assert_eq!(contents(&store), expected);
    });
}

#[test]
fn compact_to_takes_an_empty_directory_and_leaves_what_others_call_partial() {
    let dir = tempfile::tempdir().unwrap();
    let store = DataWal::open(dir.path().join("store")).unwrap();
    store.put("k", "v").unwrap();
    let target = dir.path().join("target");
    fs::create_dir(&target).unwrap();
    let partial = dir.path().join("target.partial");
    let at_work = DataWal::open(&partial).unwrap();
    at_work.put("other", "1").unwrap();
    fs::write(partial.join("notes"), "foreign").unwrap();
    store.compact_to(&target).unwrap();
    at_work.close().unwrap();
    assert_eq!(fs::read(partial.join("notes")).unwrap(), b"foreign");
    assert_eq!(contents(&DataWal::open(&partial).unwrap()), map_of(&[(b"other", b"1")]));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "nothing is left over");
    assert_eq!(contents(&DataWal::open(&target).unwrap()), map_of(&[(b"k", b"v")]));
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(store.compact_to(&file).is_err());
    assert_eq!(fs::read(&file).unwrap(), b"x");
}

#[test]
fn compaction_gives_the_space_back_and_keeps_every_key() {
    on_backends("compaction_gives_the_space_back_and_keeps_every_key", |path, builder| {
        let store = builder().open().unwrap();
        for round in 0..20_u8 {
            for n in 0..100 {
                store.put(key(n), vec![round; 500]).unwrap();
            }
        }
        for n in 50..60 {
            store.delete(key(n)).unwrap();
        }
        let (expected, before) = (contents(&store), store.stats());
        assert_eq!(before.records, 2010);
        assert!(before.dead_percent() > 90);
        let done = store.compact().unwrap();
        let after = store.stats();
        assert_eq!((done.copied.records, after.records, after.dead_bytes), (90, 90, 0));
        assert_eq!(after.live_bytes, before.live_bytes);
        assert_eq!(done.freed_segments as u64, before.segments);
        assert!(after.log_bytes < before.log_bytes / 10, "{before:?} {after:?}");
        let live = common::files(path).iter().filter(|name| name.starts_with("wal-")).count();
        assert_eq!(live as u64, after.segments);
        assert_eq!(contents(&store), expected);
        store.close().unwrap();
        let store = builder().open().unwrap();
        assert_eq!(contents(&store), expected);
        assert_eq!((store.stats().records, store.stats().dead_bytes), (90, 0));
    });
}

#[test]
fn an_empty_store_and_one_of_deletes_alone_compact_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = DataWal::open(dir.path()).unwrap();
    store.compact().unwrap();
    store.put("k", "v").unwrap();
    store.delete("k").unwrap();
    store.compact().unwrap();
    let stats = store.stats();
    assert_eq!((stats.records, stats.dead_bytes, stats.segments, stats.log_bytes), (0, 0, 0, 0));
    store.close().unwrap();
    let store = DataWal::open(dir.path()).unwrap();
    assert!(store.is_empty());
    store.put("k", "w").unwrap();
    assert_eq!(contents(&store), map_of(&[(b"k", b"w")]));
}

#[test]
fn a_store_compacts_by_itself_above_the_share_that_was_asked_for() {
    on_backends("a_store_compacts_by_itself", |_, builder| {
        let store = builder().compact_above_percent(Some(50)).open().unwrap();
        let mut most = 0;
        for n in 0..3000 {
            store.put(key(n % 10), vec![1; 1000]).unwrap();
            most = most.max(store.stats().records);
        }
        // 3 MB were put; the compactor runs beside this, so only the end is certain: whoever
        // closes waits for it.
        store.close().unwrap();
        assert!(store.compaction_failure().is_none());
        let store = builder().open().unwrap();
        assert_eq!(contents(&store).len(), 10);
        assert!(store.stats().records < 3000, "{:?}", store.stats());
    });
}

#[cfg(target_os = "linux")]
#[test]
fn compaction_lets_go_of_the_files_that_readers_had_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = DataWal::builder(dir.path()).segment_bytes(16 << 10).open().unwrap();
    for n in 0..100 {
        store.put(key(n), vec![1; 1000]).unwrap();
    }
    assert_eq!(contents(&store).len(), 100);
    store.compact().unwrap();
    let own = dir.path().canonicalize().unwrap();
    let held = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
        let target = fs::read_link(entry.unwrap().path()).ok()?;
        let is_gone = target.to_string_lossy().ends_with(" (deleted)");
        (is_gone && target.starts_with(&own)).then_some(target)
    });
    assert_eq!(held.collect::<Vec<_>>(), Vec::<std::path::PathBuf>::new());
    assert_eq!(contents(&store).len(), 100);
}

#[test]
fn a_snapshot_shows_its_moment_while_writers_go_on_and_the_log_is_compacted() {
    on_backends("a_snapshot_shows_its_moment", |_, builder| {
        let store = builder().open().unwrap();
        let mut expected = Map::new();
        for n in 0..500 {
            store.put(key(n), vec![n as u8; 300]).unwrap();
            expected.insert(key(n), vec![n as u8; 300]);
        }
        let snapshot = store.snapshot().unwrap();
        let half = store.iter().unwrap();
        assert_eq!((snapshot.len(), snapshot.seq()), (500, Seq::new(500)));
        for n in 0..500 {
            store.put(key(n), "new").unwrap();
        }
        store.delete(key(7)).unwrap();
        let before = store.stats().segments;
        let done = store.compact().unwrap();
        assert_eq!(done.freed_segments, 0, "the snapshot needs them");
        assert!(store.stats().segments > before);
        let of_snapshot: Map = snapshot.iter().map(Result::unwrap).collect();
        assert_eq!(of_snapshot, expected);
        assert!(expected.clone().into_iter().eq(snapshot.items().unwrap()));
        drop(snapshot);
        assert_eq!(half.map(Result::unwrap).collect::<Map>(), expected);
        assert!(store.stats().segments <= 2, "they went with the last one that needed them");
        assert_eq!(contents(&store).len(), 499);
        store.close().unwrap();
        assert_eq!(contents(&builder().open().unwrap()).len(), 499);
    });
}

#[test]
fn a_snapshot_that_came_later_does_not_hold_up_what_was_retired_before() {
    let dir = tempfile::tempdir().unwrap();
    let store = DataWal::builder(dir.path()).segment_bytes(4096).open().unwrap();
    for n in 0..100 {
        store.put(key(n % 10), vec![0; 1000]).unwrap();
    }
    let early = store.snapshot().unwrap();
    store.compact().unwrap();
    let late = store.snapshot().unwrap();
    let held = store.stats().segments;
    drop(early);
    assert!(store.stats().segments < held);
    assert_eq!(late.iter().map(Result::unwrap).count(), 10);
}

#[test]
fn of_two_that_compact_to_one_directory_at_once_only_one_says_that_it_did() {
    let dir = tempfile::tempdir().unwrap();
    let store = DataWal::open(dir.path().join("store")).unwrap();
    store.put("k", "v").unwrap();
    for round in 0..10 {
        let target = dir.path().join(format!("target {round}"));
        let start = std::sync::Barrier::new(2);
        let compact = || {
            start.wait();
            store.compact_to(&target).is_ok()
        };
        let done = std::thread::scope(|scope| {
            let other = scope.spawn(compact);
            [compact(), other.join().unwrap()]
        });
        assert!(done[0] != done[1], "{done:?}");
        assert_eq!(contents(&DataWal::open(&target).unwrap()), map_of(&[(b"k", b"v")]));
    }
}

#[test]
fn what_has_nothing_dead_is_not_rewritten() {
    on_backends("what_has_nothing_dead_is_not_rewritten", |_, builder| {
        let store = builder().open().unwrap();
        for n in 0..300 {
            store.put(key(n), vec![n as u8; 700]).unwrap();
        }
        // The padding of batches of one record is worth it.
        assert_eq!(store.compact().unwrap().copied.records, 300);
        let (before, seq) = (store.stats(), store.snapshot().unwrap().seq());
        let done = store.compact().unwrap();
        assert_eq!((done.copied.records, done.freed_segments), (0, 0));
        assert_eq!((store.stats(), store.snapshot().unwrap().seq()), (before, seq));
        assert!(store.delete(key(299)).unwrap());
        assert!(store.compact().unwrap().copied.records >= 1);
        assert_eq!(store.stats().dead_bytes, 0);
    });
}

#[test]
fn a_background_compaction_that_fails_is_not_tried_again_at_every_put() {
    on_backends("not_tried_again_at_every_put", |path, builder| {
        let store = builder().compact_above_percent(Some(10)).open().unwrap();
        store.put("bad", "needle in the file").unwrap();
        store.fsync().unwrap();
        crate::damage(path, b"needle", b"nEEdle");
        while store.compaction_failure().is_none() {
            store.put("key", vec![1; 1000]).unwrap();
        }
        let failure = store.compaction_failure().unwrap();
        assert!(matches!(&*failure, Error::Corrupt(_)), "{failure}");
        let before = store.stats();
        for _ in 0..50 {
            store.put("key", vec![1; 100]).unwrap();
        }
        let segments = store.stats().segments - before.segments;
        assert!(segments <= 50 * 4096 / (64 << 10) + 2, "{segments} segments for 50 puts");
    });
}

#[test]
fn the_damage_of_a_dead_record_does_not_keep_its_segment() {
    on_backends("the_damage_of_a_dead_record", |path, builder| {
        let store = builder().open().unwrap();
        store.put("first", "1").unwrap();
        store.put("bad", "needle in the file").unwrap();
        store.put("last", "2").unwrap();
        store.put("last", "3").unwrap();
        store.fsync().unwrap();
        crate::damage(path, b"needle", b"nEEdle");
        assert!(matches!(store.compact(), Err(Error::Corrupt(_))));
        assert_eq!(store.get("last").unwrap().unwrap(), b"3");
        store.put("bad", "whole again").unwrap();
        assert!(store.compact().unwrap().freed_segments >= 1);
        let expected = map_of(&[(b"first", b"1"), (b"bad", b"whole again"), (b"last", b"3")]);
        assert_eq!(contents(&store), expected);
        store.close().unwrap();
        assert_eq!(contents(&builder().open().unwrap()), expected);
    });
}

#[test]
fn figures_say_what_snapshots_hold_back() {
    on_backends("figures_say_what_snapshots_hold_back", |_, builder| {
        let store = builder().open().unwrap();
        for _ in 0..100 {
            store.put("key", vec![1; 1000]).unwrap();
        }
        let log_bytes = store.stats().log_bytes;
        assert_eq!(store.stats().held_bytes, 0);
        let snapshot = store.snapshot().unwrap();
        store.compact().unwrap();
        let held = store.stats();
        assert!(held.held_bytes >= log_bytes / 10 * 9, "{held:?}");
        assert!(held.log_bytes > held.held_bytes);
        drop(snapshot);
        assert_eq!(store.stats().held_bytes, 0);
    });
}

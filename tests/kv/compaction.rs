//! Compaction and snapshots: the live records stay, the space comes back.

use std::fs;

use ringwal::kv::{Compacted, DataWal, WriteBatch};
use ringwal::{Error, Seq};

use crate::{Map, common, contents, damage, key, map_of, on_backends};

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
fn compact_to_takes_an_empty_directory_and_removes_nothing_that_is_not_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = DataWal::open(dir.path().join("store")).unwrap();
    store.put("k", "v").unwrap();
    let target = dir.path().join("target");
    fs::create_dir(&target).unwrap();
    let foreign = ["target.partial", "target.1-0.partial"].map(|name| dir.path().join(name));
    for path in &foreign {
        DataWal::open(path).unwrap().put("other", "1").unwrap();
        fs::write(path.join("mine"), "x").unwrap();
    }
    let marker = foreign[1].join("ringwal-partial");
    fs::write(&marker, "of something else").unwrap();
    // The leftover of a crash has a marker without a lock.
    let left = dir.path().join("target.1-1.partial");
    DataWal::open(left.join("content")).unwrap().put("other", "1").unwrap();
    fs::write(
        left.join("ringwal-partial"),
        "an unfinished copy of a key-value log; it may be removed\n",
    )
    .unwrap();
    store.compact_to(&target).unwrap();
    assert!(!left.exists());
    assert_eq!(fs::read(&marker).unwrap(), b"of something else");
    for path in &foreign {
        assert_eq!(fs::read(path.join("mine")).unwrap(), b"x");
        assert_eq!(contents(&DataWal::open(path).unwrap()), map_of(&[(b"other", b"1")]));
    }
    assert_eq!(contents(&DataWal::open(&target).unwrap()), map_of(&[(b"k", b"v")]));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "nothing is left");
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(store.compact_to(&file).is_err());
    assert_eq!(fs::read(&file).unwrap(), b"x");
}

#[test]
fn of_several_copies_to_one_place_at_once_one_is_made_and_the_others_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = DataWal::open(dir.path().join("store")).unwrap();
    for n in 0..100 {
        store.put(key(n), "v").unwrap();
    }
    let expected = contents(&store);
    for round in 0..5 {
        let target = dir.path().join(format!("target {round}"));
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let one = || scope.spawn(|| store.compact_to(&target));
            let threads: Vec<_> = (0..3).map(|_| one()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        let is_told = |outcome: &Result<_, _>| !matches!(outcome, Err(Error::NotEmpty { .. }));
        assert_eq!(outcomes.iter().filter(|outcome| is_told(outcome)).count(), 1, "{outcomes:?}");
        assert_eq!(contents(&DataWal::open(&target).unwrap()), expected);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2 + round, "nothing is left");
    }
}

#[cfg(unix)]
#[test]
fn a_directory_that_is_replaced_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let store = DataWal::open(dir.path().join("store")).unwrap();
    let target = dir.path().join("target");
    fs::create_dir(&target).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o700)).unwrap();
    store.compact_to(&target).unwrap();
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o700);
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
    assert!(store.is_empty().unwrap());
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
        // 3 MB were put; the compactor runs beside this, so only the end is certain:
        // closing waits for it.
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

/// Puts keys in one batch, which has little padding.
fn put_all(store: &DataWal, keys: std::ops::Range<usize>, value: &[u8]) {
    let mut batch = WriteBatch::new();
    for n in keys {
        batch.put(key(n), value).unwrap();
    }
    store.write(&batch).unwrap();
}

#[test]
fn compaction_goes_as_far_as_something_is_dead_and_does_nothing_when_nothing_is() {
    on_backends("compaction_goes_as_far_as_something_is_dead", |_, builder| {
        let store = builder().open().unwrap();
        for at in 0..8 {
            put_all(&store, at * 50..at * 50 + 50, &[1; 1000]);
        }
        let before = store.stats();
        assert!(before.segments >= 5, "{before:?}");
        assert_eq!(store.compact().unwrap(), Compacted::default());
        assert_eq!(store.stats(), before, "no segment was sealed, and nothing was written");
        store.delete(key(0)).unwrap();
        store.put(key(0), [1; 1000]).unwrap();
        // The delete is the last dead record, so all goes once, and then nothing more.
        assert_eq!(store.compact().unwrap().copied.records, 400);
        assert_eq!(store.compact().unwrap(), Compacted::default());
        // Only the front is dead now, and the last segment has no record that the batch replaces.
        let first = store.iter().unwrap().next().unwrap().unwrap().0;
        store.put(first, [2; 1000]).unwrap();
        let done = store.compact().unwrap();
        assert!(done.freed_segments == 1 && done.copied.records < 100, "{done:?}");
        assert_eq!((contents(&store).len(), store.stats().dead_bytes), (400, 0));
    });
}

#[test]
fn damage_to_dead_records_does_not_hold_up_a_compaction() {
    on_backends("damage_to_dead_records_does_not_hold_up", |path, builder| {
        let store = builder().open().unwrap();
        store.put("first", "live").unwrap();
        store.put("second", "needle in the file").unwrap();
        store.put("third", "live").unwrap();
        store.put("second", "new").unwrap();
        store.fsync().unwrap();
        damage(path, b"needle", b"nEEdle");
        let done = store.compact().unwrap();
        assert_eq!((done.copied.records, done.freed_segments), (3, 1));
        let stats = store.stats();
        assert_eq!((stats.records, stats.dead_bytes, stats.stuck_at), (3, 0, None));
        let expected = map_of(&[(b"first", b"live"), (b"second", b"new"), (b"third", b"live")]);
        assert_eq!(contents(&store), expected);
        store.close().unwrap();
        assert_eq!(contents(&builder().open().unwrap()), expected);
    });
}

#[test]
fn a_compaction_that_cannot_go_on_is_told_where_and_seals_no_more_segments() {
    on_backends("a_compaction_that_cannot_go_on", |path, builder| {
        let store = builder().open().unwrap();
        store.put("bad", "needle in the file").unwrap();
        store.put("good", "old").unwrap();
        store.fsync().unwrap();
        damage(path, b"needle", b"nEEdle");
        store.put("good", "new").unwrap();
        assert!(matches!(store.compact(), Err(Error::Corrupt(_))));
        let segments = store.stats().segments;
        for n in 0..10 {
            store.put("good", [n]).unwrap();
            let Err(Error::Corrupt(corruption)) = store.compact() else { panic!("it went on") };
            assert_eq!(corruption.first_seq, Seq::new(1));
        }
        let stats = store.stats();
        assert!(stats.segments <= segments + 1, "{segments} {stats:?}");
        assert_eq!(stats.stuck_at, Some(Seq::new(1)));
        // Overwritten records no longer count.
        store.put("bad", "new").unwrap();
        store.compact().unwrap();
        assert_eq!((store.stats().stuck_at, store.stats().records), (None, 2));
    });
}

#[test]
fn a_compaction_copies_what_is_whole_beside_damage_once_and_names_the_keys_that_are_not() {
    on_backends("a_compaction_copies_what_is_whole_beside_damage", |path, builder| {
        let store = builder().segment_bytes(4 << 20).first_segment_bytes(4 << 20).open().unwrap();
        for n in 0..100 {
            store.put(key(n), [n as u8; 10_000]).unwrap();
        }
        store.put("bad", "first needle in the file").unwrap();
        store.put("a needle as a key", "value").unwrap();
        store.put("worse", "third needle in the file").unwrap();
        store.put(key(0), "dead before").unwrap();
        store.fsync().unwrap();
        damage(path, b"first needle", b"first nEEdle");
        damage(path, b"needle as", b"nEEdle as");
        damage(path, b"third needle", b"third nEEdle");
        let Err(Error::Corrupt(corruption)) = store.compact() else { panic!("it got past") };
        assert_eq!((corruption.first_seq, corruption.last_seq), (Seq::new(101), Seq::new(101)));
        assert!(corruption.path.is_file(), "{corruption}");
        let found = store.damaged();
        let keys: Vec<_> = found.iter().map(|it| it.key.as_deref()).collect();
        assert_eq!(keys, [Some(&b"bad"[..]), None, Some(b"worse")]);
        assert!(found.iter().all(|it| it.path == corruption.path));
        assert!(found.is_sorted_by_key(|it| it.offset) && found[0].offset == corruption.offset);
        let stats = store.stats();
        assert_eq!((stats.stuck_at, stats.damaged_records), (Some(Seq::new(1)), 3));
        assert_eq!(stats.records, 104 + 100, "the rest was copied");
        for _ in 0..10 {
            assert!(matches!(store.compact(), Err(Error::Corrupt(_))));
        }
        assert_eq!(store.stats(), stats, "and not again");
        assert!(store.delete("bad").unwrap() && store.delete("a needle as a key").unwrap());
        assert!(matches!(store.compact(), Err(Error::Corrupt(_))));
        assert_eq!(store.damaged().len(), 1);
        store.put("worse", "new").unwrap();
        store.compact().unwrap();
        assert!(store.damaged().is_empty());
        let stats = store.stats();
        assert_eq!((stats.stuck_at, stats.records, stats.damaged_records), (None, 101, 0));
        let expected = contents(&store);
        store.close().unwrap();
        assert_eq!(contents(&builder().open().unwrap()), expected);
    });
}

#[test]
fn a_background_compaction_that_fails_waits_before_it_tries_again() {
    on_backends("a_background_compaction_that_fails_waits", |path, builder| {
        let store = builder().compact_above_percent(Some(10)).open().unwrap();
        store.put("bad", "needle in the file").unwrap();
        store.fsync().unwrap();
        damage(path, b"needle", b"nEEdle");
        while store.compaction_failure().is_none() {
            store.put("good", [0; 4000]).unwrap();
        }
        let before = store.stats();
        for _ in 0..200 {
            store.put("good", [0; 100]).unwrap();
        }
        let after = store.stats();
        // 200 puts fill 13 segments at the most, with the padding of each.
        assert!(after.segments <= before.segments + 20, "{before:?} {after:?}");
        assert_eq!(after.stuck_at, Some(Seq::new(1)));
        assert!(matches!(&*store.compaction_failure().unwrap(), Error::Corrupt(_)));
    });
}

#[test]
fn statistics_name_what_snapshots_hold_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = DataWal::open(dir.path()).unwrap();
    store.put("k", "old").unwrap();
    let snapshot = store.snapshot().unwrap();
    store.put("k", "new").unwrap();
    assert_eq!((store.stats().held_segments, store.stats().held_bytes), (0, 0));
    let before = store.stats().log_bytes;
    store.compact().unwrap();
    let held = store.stats();
    assert_eq!(held.held_segments, 1);
    assert!((1..=before).contains(&held.held_bytes), "{held:?}");
    drop(snapshot);
    assert_eq!((store.stats().held_segments, store.stats().held_bytes), (0, 0));
}

//! Stores that are full to the last block of the disk.

use std::collections::BTreeMap;

use ringwal::kv::DataWal;
use ringwal::{Durability, Error, SimDisk};

use crate::{Map, contents};

const CAPACITY_BYTES: u64 = 1 << 20;

fn open(disk: &SimDisk, segment_bytes: u64, reserve: usize) -> DataWal {
    let builder = DataWal::builder("sim").segment_bytes(segment_bytes).reserve_segments(reserve);
    builder.open_sim(disk).unwrap()
}

fn key(n: usize) -> Vec<u8> {
    format!("key {n:06}").into_bytes()
}

/// Puts new keys until there is no room; returns the content of the store.
fn fill(store: &DataWal, value_bytes: usize) -> Map {
    let mut map = BTreeMap::new();
    // Space that is too small for a large value takes small ones.
    for bytes in [value_bytes, 1] {
        loop {
            let (key, value) = (key(map.len()), vec![map.len() as u8; bytes]);
            match store.put(&key, &value) {
                Ok(()) => drop(map.insert(key, value)),
                Err(Error::NoSpace { .. }) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    map
}

/// Deletes a key; where that has no room, compaction makes some.
fn delete(store: &DataWal, key: &[u8], map: &mut Map) {
    let deleted = match store.delete(key) {
        Err(Error::NoSpace { .. }) => {
            store.compact().unwrap();
            store.delete(key).unwrap()
        }
        deleted => deleted.unwrap(),
    };
    assert_eq!(deleted, map.remove(key).is_some());
}

#[test]
fn a_store_full_of_live_data_takes_deletes_and_compacts_and_then_takes_puts() {
    for (segment_bytes, value_bytes) in [(4096, 700), (16 << 10, 3000), (64 << 10, 100)] {
        let disk = SimDisk::new(7);
        disk.set_capacity(Some(CAPACITY_BYTES));
        let store = open(&disk, segment_bytes, 2);
        let mut map = fill(&store, value_bytes);
        let told = format!("{segment_bytes}, {} keys, {:?}", map.len(), store.stats());
        assert_eq!(store.stats().reserve_segments, 2, "{told}");
        assert!(matches!(store.put("new", "value"), Err(Error::NoSpace { .. })), "{told}");
        assert!(store.delete(key(0)).unwrap(), "{told}");
        map.remove(&key(0));
        assert!(matches!(store.put("new", "v"), Err(Error::NoSpace { .. })), "behind it: {told}");
        // Every other key, so that there is something to copy in all segments.
        for n in (0..map.len()).step_by(2).skip(1) {
            delete(&store, &key(n), &mut map);
        }
        let done = store.compact().unwrap();
        assert!(done.freed_segments > 0 || store.stats().dead_bytes == 0, "{told}");
        assert_eq!(store.stats().dead_bytes, 0, "{told}");
        for n in 0..5 {
            let (key, value) = (format!("new {n}").into_bytes(), vec![n; value_bytes]);
            store.at(Durability::Synced).put(&key, &value).unwrap();
            map.insert(key, value);
        }
        assert_eq!(store.stats().reserve_segments, 2, "it is whole again: {told}");
        assert_eq!(contents(&store), map, "{told}");
        let disk = disk.crash();
        drop(store);
        assert_eq!(contents(&open(&disk, segment_bytes, 2)), map, "{told}");
    }
}

#[test]
fn deletes_cannot_take_what_is_held_back_for_compaction() {
    let disk = SimDisk::new(7);
    disk.set_capacity(Some(CAPACITY_BYTES));
    let store = open(&disk, 4096, 2);
    let mut map = fill(&store, 700);
    for n in 0.. {
        match store.delete(key(n)) {
            Ok(_) => drop(map.remove(&key(n))),
            Err(error) => {
                assert!(matches!(error, Error::NoSpace { .. }), "{error}");
                break;
            }
        }
    }
    assert_eq!(store.stats().reserve_segments, 1);
    assert!(store.compact().unwrap().freed_segments > 0);
    store.put("new", "value").unwrap();
    map.insert(b"new".to_vec(), b"value".to_vec());
    assert_eq!(contents(&store), map);
}

#[test]
fn a_full_store_that_is_opened_again_still_takes_deletes_and_compacts() {
    let disk = SimDisk::new(7);
    disk.set_capacity(Some(CAPACITY_BYTES));
    let mut map = fill(&open(&disk, 16 << 10, 2), 3000);
    let mut disk = disk.crash();
    for n in 0..4 {
        let store = open(&disk, 16 << 10, 2);
        assert_eq!(contents(&store), map);
        delete(&store, &key(n), &mut map);
        store.close().unwrap();
        drop(store);
        disk = disk.kill();
    }
    let store = open(&disk, 16 << 10, 2);
    store.compact().unwrap();
    store.put("new", "value").unwrap();
}

#[test]
fn without_a_reserve_a_full_store_refuses_deletes() {
    let disk = SimDisk::new(7);
    disk.set_capacity(Some(CAPACITY_BYTES));
    let store = open(&disk, 4096, 0);
    fill(&store, 700);
    assert!(matches!(store.delete(key(0)), Err(Error::NoSpace { .. })));
    assert_eq!(store.stats().reserve_bytes, 0);
}

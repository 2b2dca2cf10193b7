//! A store that is full to the last block of its disk.

use std::path::Path;

use ringwal::kv::{DataWal, WriteBatch};
use ringwal::{BackendKind, Error};

use crate::run_case;

const SEGMENT_BYTES: u64 = 256 << 10;
const VALUE_BYTES: usize = 10_000;

#[test]
fn on_a_full_ext4_a_store_of_live_data_takes_deletes_and_compacts() {
    let test = "on_a_full_ext4_a_store_of_live_data_takes_deletes_and_compacts";
    run_case(test, "full_store", true);
}

pub(crate) fn full_store(dir: &Path, backend: BackendKind) {
    let open = || DataWal::builder(dir).backend(backend).segment_bytes(SEGMENT_BYTES).open();
    let store = open().unwrap();
    let value = |n: usize| vec![n as u8; VALUE_BYTES];
    let mut keys = 0;
    let error = loop {
        match store.put(format!("key {keys}"), value(keys)) {
            Ok(()) => keys += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert_eq!(store.stats().reserve_segments, 2);
    assert!(matches!(store.put("one more", value(0)), Err(Error::NoSpace { .. })));
    for n in 0..20 {
        assert!(store.delete(format!("key {n}")).unwrap());
    }
    let mut rest = WriteBatch::new();
    for n in 20..keys / 2 {
        rest.delete(format!("key {n}")).unwrap();
    }
    store.write(&rest).unwrap();
    let done = store.compact().unwrap();
    assert!(done.freed_segments > 0, "{done:?}");
    // ext4 gives blocks back when the removal is committed.
    std::fs::File::open(dir).unwrap().sync_all().unwrap();
    for n in 0..keys / 4 {
        store.put(format!("key {n}"), value(n)).unwrap();
    }
    store.close().unwrap();
    let store = open().unwrap();
    for n in 0..keys {
        let is_there = n < keys / 4 || n >= keys / 2;
        let found = store.get(format!("key {n}")).unwrap();
        assert_eq!(found, is_there.then(|| value(n)), "key {n}");
    }
}

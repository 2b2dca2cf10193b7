//! More segments than descriptors.

use std::path::Path;

use ringwal::kv::{DataReader, DataWal};
use ringwal::{BackendKind, Durability};

use crate::resource::Limit;
use crate::run_case;

#[test]
fn a_store_of_more_segments_than_descriptors_opens_to_read_and_to_write() {
    let test = "a_store_of_more_segments_than_descriptors_opens_to_read_and_to_write";
    run_case(test, "many_segments", false);
}

pub(crate) fn many_segments(dir: &Path, backend: BackendKind) {
    const KEYS: u32 = 1200;
    /// The usual limit, one below the number of files held open, and a very low one.
    const LIMITS: [u64; 3] = [1024, 100, 48];
    let builder = || DataWal::builder(dir).backend(backend).durability(Durability::Written);
    let store = builder().segment_bytes(SEGMENT_BYTES).open().unwrap();
    for key in 0..KEYS {
        store.put(key.to_le_bytes(), vec![key as u8; SEGMENT_BYTES as usize]).unwrap();
    }
    store.close().unwrap();
    drop(store);
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let segments = names.filter(|name| name.extension().is_some_and(|end| end == "seg")).count();
    assert!(segments >= 1200, "only {segments} segments");
    for limit in LIMITS {
        Limit::Descriptors.set(Some(limit));
        let reader = DataReader::open(dir).unwrap();
        let store = builder().open().unwrap();
        for key in 0..KEYS {
            let value = Some(vec![key as u8; SEGMENT_BYTES as usize]);
            assert_eq!(reader.get(key.to_le_bytes()).unwrap(), value, "{limit}");
            assert_eq!(store.get(key.to_le_bytes()).unwrap(), value, "{limit}");
        }
        store.close().unwrap();
        drop((reader, store));
        Limit::Descriptors.set(None);
    }
}

/// The smallest segment of a store.
const SEGMENT_BYTES: u64 = 4096;

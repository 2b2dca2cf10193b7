//! What a store says when its log has failed or is closed, on a simulated disk.

use crate::kv::{DataWal, WriteBatch};
use crate::{Durability, Error, SimDisk, SimFault};

fn open(disk: &SimDisk) -> DataWal {
    DataWal::builder("sim").open_sim(disk).unwrap()
}

/// That nothing says "not there", "false" or a count.
fn says_nothing(store: &DataWal, is_it: impl Fn(&Error) -> bool) {
    let said = [
        store.get("key").map(drop),
        store.get("none").map(drop),
        store.delete("key").map(drop),
        store.delete("none").map(drop),
        store.delete_with("none", Durability::Synced).map(drop),
        store.put("other", "1"),
        store.write(&WriteBatch::new()),
        store.check(),
        store.try_contains_key("none").map(drop),
        store.try_len().map(drop),
        store.keys().map(drop),
        store.items().map(drop),
        store.iter().map(drop),
        store.snapshot().map(drop),
        store.fsync(),
        store.compact().map(drop),
    ];
    for (at, said) in said.into_iter().enumerate() {
        let error = said.err().unwrap_or_else(|| panic!("call {at} answers"));
        assert!(is_it(&error), "call {at}: {error}");
    }
}

#[test]
fn a_store_whose_log_has_failed_or_is_closed_does_not_say_what_is_not_there() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    store.put("old", "1").unwrap();
    disk.fail_at(0, SimFault::Errno(5));
    assert!(matches!(store.put("key", "1"), Err(Error::Poisoned(_))));
    says_nothing(&store, |error| matches!(error, Error::Poisoned(_)));

    let disk = SimDisk::new(2);
    let store = open(&disk);
    store.close().unwrap();
    says_nothing(&store, |error| matches!(error, Error::Closed));
}

#[test]
fn a_synced_delete_that_finds_nothing_makes_the_earlier_delete_durable() {
    let disk = SimDisk::new(3);
    let store = open(&disk);
    store.put_with("key", "1", Durability::Synced).unwrap();
    assert!(store.delete_with("key", Durability::Written).unwrap());
    let (deleted, durable) = (store.store().log.appended_seq(), store.store().log.durable_seq());
    assert!(durable < deleted, "the case is one");
    assert!(!store.delete_with("key", Durability::Synced).unwrap());
    assert_eq!(store.store().log.durable_seq(), deleted);
}

//! Tasks on one thread that write to a store: the same promises, and futures that are dropped.

use ringwal::Durability;
use ringwal::kv::WriteBatch;

use crate::common::tasks::{block_on, poll_and_drop, run_all};
use crate::{contents, key, on_backends};

const LEVELS: [Durability; 2] = [Durability::Written, Durability::Synced];

#[test]
fn what_a_task_has_written_is_there_also_after_reopening() {
    on_backends("what_a_task_has_written_is_there", |_, builder| {
        let store = builder().compact_above_percent(Some(50)).open().unwrap();
        run_all((0..64).map(|task| {
            let store = &store;
            async move {
                let at = store.at(LEVELS[task % 2]);
                for round in 0..8_usize {
                    let value = vec![round as u8; 700];
                    at.put_async(key(task), &value).await.unwrap();
                    assert_eq!(store.get(key(task)).unwrap().unwrap(), value);
                    let (other, third) = (key(1000 + task), key(2000 + task));
                    let mut batch = WriteBatch::new();
                    batch.put(&other, "1").unwrap().put(&third, "2").unwrap();
                    batch.delete(&third).unwrap();
                    at.write_async(&batch).await.unwrap();
                    assert!(at.delete_async(&other).await.unwrap());
                    assert!(!at.delete_async(&other).await.unwrap());
                    assert!(!store.contains_key(&third).unwrap());
                }
            }
        }));
        let expected = contents(&store);
        assert!(expected.len() == 64 && expected.values().all(|value| value == &vec![7; 700]));
        block_on(store.fsync_async()).unwrap();
        store.close().unwrap();
        assert!(block_on(store.put_async("k", "v")).is_err());
        assert_eq!(contents(&builder().open().unwrap()), expected);
    });
}

#[test]
fn a_future_that_is_dropped_at_any_stage_leaves_all_of_its_write_or_nothing() {
    on_backends("a_future_that_is_dropped_at_any_stage", |_, builder| {
        let store = builder().open().unwrap();
        for n in 0..300_u32 {
            let mut batch = WriteBatch::new();
            batch.put("a", n.to_string()).unwrap().put("b", n.to_string()).unwrap();
            let at = store.at(LEVELS[n as usize % 2]);
            let polls = n as usize % 5;
            poll_and_drop(at.write_async(&batch), polls);
            poll_and_drop(at.put_async("c", n.to_string()), polls);
            poll_and_drop(at.delete_async("c"), polls);
            let found = contents(&store);
            assert_eq!(found.get(&b"a"[..]), found.get(&b"b"[..]));
            if polls == 0 {
                assert_ne!(found.get(&b"a"[..]), Some(&n.to_string().into_bytes()));
            }
        }
        // A write that comes later is later, whatever is still on its way.
        store.put("c", "last").unwrap();
        store.put("a", "last").unwrap();
        let expected = contents(&store);
        assert_eq!(expected[&b"c"[..]], b"last");
        drop(store);
        assert_eq!(contents(&builder().open().unwrap()), expected);
    });
}

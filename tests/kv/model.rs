//! Random steps on a store and on a map.

use proptest::prelude::*;
use ringwal::BackendKind;
use ringwal::kv::{DataReader, DataWal, WriteBatch};

use crate::{Map, common, contents};

/// An act of a random run.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, usize),
    Delete(u8),
    Batch(Vec<(u8, Option<usize>)>),
    Fsync,
    Compact,
    Reopen,
    Reader,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..9_u8;
    let op = (key.clone(), proptest::option::weighted(0.8, 0..3000_usize));
    let step = prop_oneof![
        8 => (key.clone(), 0..3000_usize).prop_map(|(key, len)| Step::Put(key, len)),
        3 => key.prop_map(Step::Delete),
        2 => proptest::collection::vec(op, 0..6).prop_map(Step::Batch),
        1 => Just(Step::Fsync),
        2 => Just(Step::Compact),
        1 => Just(Step::Reopen),
        1 => Just(Step::Reader),
    ];
    proptest::collection::vec(step, 1..60)
}

#[test]
fn random_steps_and_reopenings_give_what_a_map_gives() {
    let kinds = match common::uring_runs("random_steps_and_reopenings_give_what_a_map_gives") {
        true => vec![BackendKind::Std, BackendKind::Uring],
        false => vec![BackendKind::Std],
    };
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) };
    proptest!(config, |(steps in steps())| {
        for &kind in &kinds {
            let dir = tempfile::tempdir().unwrap();
            let open = || DataWal::builder(dir.path()).backend(kind).segment_bytes(16 << 10);
            let mut store = open().open().unwrap();
            let mut map = Map::new();
            for (n, step) in steps.iter().enumerate() {
                let value = |len: usize| vec![n as u8; len];
                match step {
                    Step::Put(key, len) => {
                        store.put([*key], value(*len)).unwrap();
                        map.insert(vec![*key], value(*len));
                    }
                    Step::Delete(key) => {
                        let was_there = map.remove(&vec![*key]).is_some();
                        prop_assert_eq!(store.delete([*key]).unwrap(), was_there);
                    }
                    Step::Batch(ops) => {
                        let mut batch = WriteBatch::new();
                        for (key, len) in ops {
                            match len {
                                Some(len) => {
                                    batch.put([*key], value(*len)).unwrap();
                                    map.insert(vec![*key], value(*len));
                                }
                                None => {
                                    batch.delete([*key]).unwrap();
                                    map.remove(&vec![*key]);
                                }
                            }
                        }
                        store.write(&batch).unwrap();
                    }
                    Step::Fsync => store.fsync().unwrap(),
                    Step::Compact => {
                        store.compact().unwrap();
                        prop_assert_eq!(store.stats().dead_bytes, 0);
                    }
                    Step::Reopen => {
                        store.close().unwrap();
                        store = open().open().unwrap();
                    }
                    Step::Reader => {
                        let seen = DataReader::open(dir.path()).unwrap().items().unwrap();
                        prop_assert_eq!(seen.into_iter().collect::<Map>(), map.clone());
                    }
                }
                prop_assert_eq!(store.len().unwrap(), map.len());
            }
            prop_assert_eq!(contents(&store), map);
        }
    });
}

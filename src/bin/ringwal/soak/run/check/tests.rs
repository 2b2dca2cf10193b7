use super::*;

use crate::soak::workload::Op;

fn key(name: &str) -> Key {
    Key::from(name.as_bytes())
}

/// A store and its oracle after some steps, of which the last `open` have no reply
/// and the last `lost` have not happened.
struct World {
    _dir: tempfile::TempDir,
    store: DataWal,
    oracle: Oracle,
    open: VecDeque<Step>,
}

fn world(writes: &[(&str, Option<&str>)], open: usize, lost: usize) -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = DataWal::open(dir.path().join("store")).unwrap();
    let (mut oracle, mut steps) = (Oracle::default(), VecDeque::new());
    for (at, (name, value)) in writes.iter().enumerate() {
        let key = key(name);
        let after = value.map(|value| ValueDigest::of(value.as_bytes()));
        let before = oracle.set(&key, after);
        let op = match value {
            Some(value) => Op::Put { key: key.clone(), value: value.as_bytes().to_vec() },
            None => Op::Delete { key: key.clone() },
        };
        if at + lost < writes.len() {
            match value {
                Some(value) => store.put(&key, value).unwrap(),
                None => assert!(store.delete(&key).unwrap()),
            }
        }
        steps.push_back(Step { number: at as u64 + 1, op, before, after });
    }
    let open = steps.split_off(writes.len() - open);
    World { _dir: dir, store, oracle, open }
}

const WRITES: [(&str, Option<&str>); 7] = [
    ("a", Some("1")),
    ("b", Some("2")),
    ("a", Some("3")),
    ("b", None),
    ("c", Some("4")),
    ("a", Some("5")),
    ("c", Some("6")),
];

#[test]
fn any_prefix_of_what_is_open_is_found_and_the_rest_compared_without_it() {
    for lost in 0..=5 {
        let mut world = world(&WRITES, 5, lost);
        let happened = prefix(&world.store, &world.open).unwrap();
        assert_eq!(happened, 5 - lost, "{lost}");
        world.open.drain(..happened);
        assert!(compare(&world.store, &world.oracle, &world.open).is_ok(), "{lost}");
    }
}

#[test]
fn what_was_acknowledged_and_is_not_there_is_found() {
    // Two steps are lost, but only one had no reply.
    let world = world(&WRITES, 1, 2);
    let failure = compare(&world.store, &world.oracle, &world.open).unwrap_err().to_string();
    assert!(failure.contains("key \"a\"") && failure.contains("1 keys"), "{failure}");
}

#[test]
fn what_has_a_hole_is_no_prefix() {
    let world = world(&WRITES, 5, 3);
    // The last step happened without those before it.
    world.store.put("c", "6").unwrap();
    let failure = prefix(&world.store, &world.open).unwrap_err().to_string();
    assert!(failure.contains("a prefix of the 5 operations"), "{failure}");
}

#[test]
fn missing_made_up_and_wrong_values_are_each_found_with_a_sample() {
    let none = VecDeque::new();
    for (damage, sample) in [
        (("a", None), "key \"a\" has nothing, expected a value"),
        (("x", Some("made up")), "key \"x\" has a value of"),
        (("a", Some("wrong")), "key \"a\" has a value of"),
    ] {
        let world = world(&WRITES, 0, 0);
        assert_eq!(compare(&world.store, &world.oracle, &none).unwrap(), 2);
        match damage {
            (name, Some(value)) => world.store.put(name, value).unwrap(),
            (name, None) => assert!(world.store.delete(name).unwrap()),
        }
        let failure = compare(&world.store, &world.oracle, &none).unwrap_err().to_string();
        assert!(failure.contains(sample), "{failure}");
    }
}

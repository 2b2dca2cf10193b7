//! Many threads on one key-value log: the results for each key could come from calls that happened
//! one step after the other, and acknowledged writes are there after reopening, also beside
//! compaction.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ringwal::Durability;
use ringwal::kv::{DataWal, WriteBatch};

use crate::on_backends;

/// One call on one key, with the moments between which it happened.
#[derive(Clone, Debug)]
struct Event {
    begin: u64,
    end: u64,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Put(u64),
    /// Returned whether the key was there.
    Delete(bool),
    Get(Option<u64>),
}

/// Whether there is an order of the calls of one key, each between its begin and its end, in which
/// each returns what it returned. Tries orders depth first and remembers dead ends.
fn is_linearizable(events: &[Event]) -> bool {
    assert!(events.len() <= 64, "a set of events is a word");
    let mut seen = HashSet::new();
    let mut stack = vec![(0_u64, None)];
    let all = u64::MAX >> (64 - events.len());
    while let Some((done, value)) = stack.pop() {
        if done == all {
            return true;
        }
        if !seen.insert((done, value)) {
            continue;
        }
        let open = || (0..events.len()).filter(|at| done & 1 << at == 0);
        let first_end = open().map(|at| events[at].end).min().unwrap();
        for at in open().filter(|&at| events[at].begin < first_end) {
            let next = match events[at].what {
                What::Put(new) => Some(new),
                What::Delete(was_there) if was_there == value.is_some() => None,
                What::Get(found) if found == value => value,
                _ => continue,
            };
            stack.push((done | 1 << at, next));
        }
    }
    false
}

#[test]
fn the_checker_of_histories_tells_right_from_wrong() {
    let event = |begin, end, what| Event { begin, end, what };
    let right = [
        event(0, 3, What::Put(1)),
        event(1, 4, What::Put(2)),
        event(5, 6, What::Get(Some(1))),
        event(7, 8, What::Delete(true)),
        event(9, 10, What::Delete(false)),
    ];
    assert!(is_linearizable(&right));
    let mut wrong = right.to_vec();
    wrong.push(event(11, 12, What::Get(Some(2))));
    assert!(!is_linearizable(&wrong), "a deleted value came back");
    let stale =
        [event(0, 1, What::Put(1)), event(2, 3, What::Put(2)), event(4, 5, What::Get(Some(1)))];
    assert!(!is_linearizable(&stale));
}

/// Gives each of a few threads a few calls on a few keys, and returns the history of each key.
fn race(store: &DataWal, round: u64, keys: u64, values: &AtomicU64) -> Vec<Vec<Event>> {
    const THREADS: u64 = 4;
    // So that all of them fit into one history, with one more.
    const CALLS: u64 = 15;
    let clock = AtomicU64::new(0);
    let histories: Vec<Mutex<Vec<Event>>> = (0..keys).map(|_| Mutex::default()).collect();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (clock, histories) = (&clock, &histories);
            scope.spawn(move || {
                let mut dice = round * THREADS + thread + 1;
                for _ in 0..CALLS {
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                    let key = (dice >> 33) % keys;
                    let name = format!("{round} {key}");
                    let begin = clock.fetch_add(1, Ordering::SeqCst);
                    let what = match dice >> 50 & 7 {
                        0..=2 => {
                            let value = values.fetch_add(1, Ordering::SeqCst);
                            let level = match value % 5 {
                                0 => Durability::Synced,
                                _ => Durability::Written,
                            };
                            store.at(level).put(&name, value.to_le_bytes()).unwrap();
                            What::Put(value)
                        }
                        3 => What::Delete(store.delete(&name).unwrap()),
                        _ => {
                            let found = store.get(&name).unwrap();
                            What::Get(found.map(|v| u64::from_le_bytes(v.try_into().unwrap())))
                        }
                    };
                    let end = clock.fetch_add(1, Ordering::SeqCst);
                    histories[key as usize].lock().unwrap().push(Event { begin, end, what });
                }
            });
        }
    });
    histories.into_iter().map(|history| history.into_inner().unwrap()).collect()
}

/// Stops the threads that check it, also if the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_history_of_each_key_could_have_happened_one_call_after_the_other() {
    on_backends("the_history_of_each_key", |_, builder| {
        const ROUNDS: u64 = 100;
        const KEYS: u64 = 3;
        let store = builder().open().unwrap();
        let values = AtomicU64::new(0);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let compactor = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    store.compact().unwrap();
                }
            });
            let _stop = Stop(&done);
            let mut last = BTreeMap::new();
            for round in 0..ROUNDS {
                let histories = race(&store, round, KEYS, &values);
                for (key, mut events) in histories.into_iter().enumerate() {
                    let name = format!("{round} {key}");
                    let found = store.get(&name).unwrap();
                    let found = found.map(|v| u64::from_le_bytes(v.try_into().unwrap()));
                    events.push(Event {
                        begin: u64::MAX - 1,
                        end: u64::MAX,
                        what: What::Get(found),
                    });
                    assert!(is_linearizable(&events), "key {name}: {events:?}");
                    last.insert(name, found);
                }
            }
            done.store(true, Ordering::Relaxed);
            compactor.join().unwrap();
            store.close().unwrap();
            let store = builder().open().unwrap();
            for (name, value) in last {
                let found = store.get(&name).unwrap();
                let found = found.map(|v| u64::from_le_bytes(v.try_into().unwrap()));
                assert_eq!(found, value, "{name} after reopening");
            }
        });
    });
}

#[test]
fn what_was_acknowledged_survives_compaction_beside_many_writers() {
    on_backends("what_was_acknowledged_survives_compaction", |_, builder| {
        const THREADS: usize = 8;
        const KEYS: usize = 40;
        let store = builder().open().unwrap();
        let writers = AtomicU64::new(THREADS as u64);
        let expected: Vec<BTreeMap<String, Option<usize>>> = std::thread::scope(|scope| {
            let compactor = scope.spawn(|| {
                let mut runs = 0;
                while writers.load(Ordering::Relaxed) > 0 {
                    store.compact().unwrap();
                    runs += 1;
                }
                runs
            });
            let spawn = |thread: usize| {
                let (store, writers) = (&store, &writers);
                scope.spawn(move || {
                    let mut own = BTreeMap::new();
                    for n in 0..400 {
                        let key = format!("{thread} {}", n * 7 % KEYS);
                        if n % 9 == 8 {
                            let was_there = own.insert(key.clone(), None).flatten().is_some();
                            assert_eq!(store.delete(&key).unwrap(), was_there, "{key}");
                        } else {
                            store.put(&key, format!("{n} of {key}")).unwrap();
                            own.insert(key.clone(), Some(n));
                        }
                        if let Some((key, n)) = own.iter().nth(n % own.len()) {
                            let found = store.get(key).unwrap();
                            let value = n.map(|n| format!("{n} of {key}").into_bytes());
                            assert_eq!(found, value, "{key}");
                        }
                    }
                    writers.fetch_sub(1, Ordering::Relaxed);
                    own
                })
            };
            let threads: Vec<_> = (0..THREADS).map(spawn).collect();
            let expected = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            assert!(compactor.join().unwrap() > 1);
            expected
        });
        let expected: BTreeMap<Vec<u8>, Vec<u8>> = expected
            .into_iter()
            .flatten()
            .filter_map(|(key, n)| Some((key.clone(), format!("{} of {key}", n?))))
            .map(|(key, value)| (key.into_bytes(), value.into_bytes()))
            .collect();
        let found =
            |store: &DataWal| store.items().unwrap().into_iter().collect::<BTreeMap<_, _>>();
        assert_eq!(found(&store), expected);
        store.compact().unwrap();
        assert_eq!(store.stats().dead_bytes, 0);
        store.close().unwrap();
        assert_eq!(found(&builder().open().unwrap()), expected);
    });
}

#[test]
fn readers_and_snapshots_see_a_batch_whole() {
    on_backends("readers_and_snapshots_see_a_batch_whole", |_, builder| {
        let store = builder().open().unwrap();
        let write = |n: u64| {
            let mut batch = WriteBatch::new();
            for key in 0..20 {
                batch.put(format!("{key}"), n.to_le_bytes()).unwrap();
            }
            store.write(&batch).unwrap();
        };
        write(0);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (1..300).for_each(write));
            let number = |value: &[u8]| u64::from_le_bytes(value.try_into().unwrap());
            while !writer.is_finished() {
                let items = store.items().unwrap();
                assert!(items.windows(2).all(|pair| pair[0].1 == pair[1].1), "{items:?}");
                // A batch that is seen at one key is seen at every other one after that.
                let values: Vec<_> = (0..20)
                    .map(|key| number(&store.get(format!("{key}")).unwrap().unwrap()))
                    .collect();
                assert!(values.is_sorted(), "{values:?}");
            }
        });
        assert_eq!(store.len().unwrap(), 20);
    });
}

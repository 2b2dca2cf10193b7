//! Lives of a key-value log on a simulated disk, with power cuts at any moment, against a map.
//!
//! `RINGWAL_SIM_SEED=n` replays one seed, `RINGWAL_SIM_SECONDS=n` runs fresh seeds for longer.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use ringwal::kv::{DataWal, Snapshot, WriteBatch};
use ringwal::{Durability, Error, SimDisk, SimFault};

use forged::forge;
use rng::Rng;

#[path = "simulation/forged.rs"]
mod forged;
#[path = "kv/full_disk.rs"]
mod full_disk;
#[allow(dead_code, reason = "the other simulation uses more of it")]
#[path = "simulation/rng.rs"]
mod rng;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
/// The changes of one call to some keys, all or none.
type Change = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn open(disk: &SimDisk) -> ringwal::Result<DataWal> {
    DataWal::builder("sim").segment_bytes(4096).open_sim(disk)
}

fn apply(map: &mut Map, change: &Change) {
    for (key, value) in change {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
}

#[test]
fn a_write_whose_future_is_dropped_is_whole_or_absent_after_a_power_cut_at_any_moment() {
    for steps in 0..40 {
        let (disk, store, before) = prepared(7);
        let mut batch = WriteBatch::new();
        batch.put("key 1", "of a task").unwrap().put("key 2", "of a task").unwrap();
        let mut write = Box::pin(store.at(Durability::Synced).write_async(&batch));
        let mut done = false;
        for _ in 0..steps {
            done |=
                !done && write.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
            store.step();
        }
        drop(write);
        let mut after = before.clone();
        apply(
            &mut after,
            &["key 1", "key 2"].map(|key| (key.into(), Some("of a task".into()))).to_vec(),
        );
        // A snapshot runs the log until nothing is on its way.
        let found = contents(&store);
        assert!(found == after || found == before && !done);
        let disk = disk.crash();
        drop(store);
        let survived = contents(&open(&disk).unwrap());
        assert!(survived == found || !done && survived == before, "after {steps} steps");
    }
}

fn contents(store: &DataWal) -> Map {
    let map: Map = store.items().unwrap().into_iter().collect();
    assert_eq!(map.len(), store.len().unwrap());
    let by_key = |key: &Vec<u8>| (key.clone(), store.get(key).unwrap().unwrap());
    assert_eq!(map.keys().map(by_key).collect::<Map>(), map);
    map
}

fn change(rng: &mut Rng) -> Change {
    let count = if rng.percent(20) { rng.between(2, 5) } else { 1 };
    let one = |rng: &mut Rng| {
        let key = format!("key {}", rng.below(12)).into_bytes();
        let value = (!rng.percent(25)).then(|| {
            let mut value = vec![rng.below(256) as u8; rng.below(900) as usize];
            if rng.percent(30) {
                let seq = rng.below(300) + 1;
                forge(&mut value, seq, rng, None, &[]);
            }
            value
        });
        (key, value)
    };
    (0..count).map(|_| one(rng)).collect()
}

/// Runs a future and the log that it waits for by turns.
fn run<T>(store: &DataWal, future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
        store.step();
    }
}

/// As a thread, or as a task; the change says which.
fn carry_out(store: &DataWal, change: &Change, level: Durability) -> ringwal::Result<()> {
    let by_a_task = change[0].1.as_ref().is_some_and(|value| value.len() % 2 == 0);
    match change.as_slice() {
        [(key, Some(value))] if by_a_task => run(store, store.at(level).put_async(key, value)),
        [(key, Some(value))] => store.at(level).put(key, value),
        [(key, None)] => store.at(level).delete(key).map(drop),
        several => {
            let mut batch = WriteBatch::new();
            for (key, value) in several {
                match value {
                    Some(value) => batch.put(key, value)?,
                    None => batch.delete(key)?,
                };
            }
            match by_a_task {
                true => run(store, store.at(level).write_async(&batch)),
                false => store.at(level).write(&batch),
            }
        }
    }
}

/// A store with some history, all of it durable.
fn prepared(seed: u64) -> (SimDisk, DataWal, Map) {
    let (mut rng, disk, mut map) = (Rng::new(seed), SimDisk::new(seed), Map::new());
    let store = open(&disk).unwrap();
    for _ in 0..60 {
        let change = change(&mut rng);
        carry_out(&store, &change, Durability::Written).unwrap();
        apply(&mut map, &change);
    }
    store.fsync().unwrap();
    (disk, store, map)
}

#[test]
fn compaction_that_is_cut_off_at_any_call_leaves_the_same_store() {
    let once = [
        SimFault::PowerCut,
        SimFault::Errno(libc::EIO),
        SimFault::ShortWrite,
        SimFault::Cancelled,
        SimFault::RottenRead,
        SimFault::MisdirectedRead,
    ];
    let for_good = [SimFault::Errno(libc::EIO), SimFault::Errno(libc::ENOSPC)];
    let blows = once.map(|fault| (fault, false)).into_iter();
    let blows = blows.chain(for_good.map(|fault| (fault, true)));
    let mut cuts = 0;
    for (seed, blow) in (0..2).flat_map(|seed| blows.clone().map(move |blow| (seed, blow))) {
        let (disk, store, _) = prepared(seed);
        let before = disk.calls();
        let done = store.compact().unwrap();
        assert!(done.freed_segments > 2 && done.copied.records > 0, "{done:?}");
        for at in 0..disk.calls() - before {
            // An operation that fails for good has no effect, so dying then is a kill at that call.
            cut_off(seed, at, blow, false);
            cuts += 1;
            if blow.1 {
                cut_off(seed, at, blow, true);
                cuts += 1;
            }
        }
    }
    println!("{cuts} compactions were cut off");
    assert!(cuts > 500, "{cuts}");
}

fn cut_off(seed: u64, at: u64, (fault, for_good): (SimFault, bool), is_killed: bool) {
    let told = format!("seed {seed}, call {at}, {fault:?}, for good {for_good}, {is_killed}");
    let (disk, store, expected) = prepared(seed);
    match for_good {
        true => disk.fail_from(at, fault),
        false => disk.fail_at(at, fault),
    }
    let compacted = store.compact();
    assert!(compacted.is_err() || !disk.is_off(), "{told}: the power was off and it went on");
    if matches!(compacted, Err(Error::NoSpace { .. })) {
        assert_eq!(contents(&store), expected, "{told}: a full disk");
    }
    let disk = if is_killed { disk.kill() } else { disk.crash() };
    drop(store);
    let store = open(&disk).unwrap_or_else(|error| panic!("{told}: {error}"));
    assert_eq!(contents(&store), expected, "{told}");
    store.compact().unwrap_or_else(|error| panic!("{told}: {error}"));
    assert_eq!(store.stats().dead_bytes, 0, "{told}");
    let disk = disk.crash();
    drop(store);
    assert_eq!(contents(&open(&disk).unwrap()), expected, "{told}: after compacting again");
}

/// A store and its possible contents.
struct World {
    rng: Rng,
    disk: SimDisk,
    /// The content that opening showed, which is durable.
    base: Map,
    /// The changes since then, in order.
    changes: Vec<Change>,
    /// How many of them were acknowledged, and how many survive a power cut.
    written: usize,
    synced: usize,
    /// Whether a fault was injected, so that a change may have happened or not.
    failed: bool,
    killed: bool,
    crashes: u64,
}

impl World {
    fn new(seed: u64) -> World {
        World {
            rng: Rng::new(seed),
            disk: SimDisk::new(seed ^ 0x5eed),
            base: Map::new(),
            changes: Vec::new(),
            written: 0,
            synced: 0,
            failed: false,
            killed: false,
            crashes: 0,
        }
    }

    fn now(&self) -> Map {
        let mut map = self.base.clone();
        self.changes.iter().for_each(|change| apply(&mut map, change));
        map
    }

    /// Opens, uses and ends a store several times.
    fn run(&mut self) {
        for _ in 0..self.rng.between(2, 6) {
            let Some(store) = self.open() else { continue };
            self.live(&store);
            let ends_well = !self.failed && self.rng.percent(30);
            if ends_well {
                store.close().unwrap();
                (self.written, self.synced) = (self.changes.len(), self.changes.len());
            } else {
                self.end();
            }
            drop(store);
        }
        if let Some(store) = self.open() {
            store.close().unwrap();
        }
    }

    fn end(&mut self) {
        self.killed = !self.failed && self.rng.percent(30);
        self.disk = if self.killed { self.disk.kill() } else { self.disk.crash() };
        self.crashes += 1;
    }

    fn open(&mut self) -> Option<DataWal> {
        if self.rng.percent(25) {
            // The power goes out in the middle of the opening, perhaps.
            self.disk.fail_at(self.rng.below(40), SimFault::PowerCut);
            if let Err(error) = open(&self.disk) {
                assert!(self.disk.is_off(), "{error}");
            }
            // Opening syncs before it shows records, so those of a killed process may be lost here.
            self.killed = false;
            self.disk = self.disk.crash();
            self.crashes += 1;
        }
        let store = open(&self.disk).unwrap();
        let found = contents(&store);
        let least = if self.killed { self.written } else { self.synced };
        let mut map = self.base.clone();
        let mut fits = least == 0 && map == found;
        for (index, change) in self.changes.iter().enumerate() {
            apply(&mut map, change);
            fits |= index + 1 >= least && map == found;
        }
        assert!(
            fits,
            "{} changes, {} written, {} synced, killed {}: none of the states after {least} fits\n\
             found {:?}",
            self.changes.len(),
            self.written,
            self.synced,
            self.killed,
            found.keys().map(|key| String::from_utf8_lossy(key)).collect::<Vec<_>>()
        );
        self.base = found;
        self.changes.clear();
        (self.written, self.synced, self.failed, self.killed) = (0, 0, false, false);
        Some(store)
    }

    fn live(&mut self, store: &DataWal) {
        let steps = self.rng.pick(&[3, 20, 60]);
        if self.rng.percent(50) {
            let at = self.rng.below(steps * 6);
            match self.rng.below(3) {
                0 => self.disk.fail_at(at, SimFault::Errno(libc::EIO)),
                _ => self.disk.fail_at(at, SimFault::PowerCut),
            }
            self.failed = true;
        }
        let mut snapshots: Vec<(Snapshot, Map)> = Vec::new();
        for _ in 0..steps {
            let done = match self.rng.below(20) {
                0..=11 => self.change(store),
                12..=13 => store.fsync().map(|()| self.synced = self.changes.len()),
                14..=15 => store.compact().map(|_| self.synced = self.changes.len()),
                16 => store.snapshot().map(|snapshot| snapshots.push((snapshot, self.now()))),
                17 => {
                    let at = self.rng.below(snapshots.len() as u64 + 1) as usize;
                    if at < snapshots.len() {
                        drop(snapshots.swap_remove(at));
                    }
                    Ok(())
                }
                18 => snapshots.last().map_or(Ok(()), |(snapshot, expected)| {
                    let items = snapshot.items()?;
                    assert!(items.into_iter().eq(expected.clone()), "a snapshot changed");
                    Ok(())
                }),
                _ => store.items().map(|items| {
                    assert_eq!(items.into_iter().collect::<Map>(), self.now());
                }),
            };
            match done {
                Ok(()) => {}
                Err(Error::NoSpace { .. }) => {}
                Err(error) => {
                    assert!(self.failed, "nothing was asked to fail: {error}");
                    return;
                }
            }
        }
    }

    fn change(&mut self, store: &DataWal) -> ringwal::Result<()> {
        let change = change(&mut self.rng);
        let level = self.rng.pick(&[Durability::Written, Durability::Written, Durability::Synced]);
        self.changes.push(change.clone());
        carry_out(store, &change, level)
            .inspect(|()| {
                self.written = self.changes.len();
                if level == Durability::Synced {
                    self.synced = self.changes.len();
                }
            })
            .inspect_err(|error| {
                if matches!(error, Error::NoSpace { .. }) {
                    self.changes.pop();
                }
            })
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Everything that the store shows of its keys.
fn answers(store: &DataWal) -> Vec<(&'static str, Option<Error>)> {
    let dir = tempfile::tempdir().unwrap();
    vec![
        ("put", store.put("k", "v").err()),
        ("get a key", store.get("k").err()),
        ("get none", store.get("none").err()),
        ("delete", store.delete("k").err()),
        ("delete none", store.delete("none").err()),
        ("contains_key", store.contains_key("none").err()),
        ("len", store.len().err()),
        ("is_empty", store.is_empty().err()),
        ("write nothing", store.write(&WriteBatch::new()).err()),
        ("keys", store.keys().err()),
        ("items", store.items().err()),
        ("iter", store.iter().err()),
        ("snapshot", store.snapshot().err()),
        ("fsync", store.fsync().err()),
        ("compact", store.compact().err()),
        ("compact_to", store.compact_to(dir.path().join("copy")).err()),
        ("export_jsonl", store.export_jsonl(dir.path().join("file")).err()),
    ]
}

#[test]
fn a_store_that_has_failed_or_is_closed_answers_nothing_from_its_index() {
    let disk = SimDisk::new(1);
    let store = open(&disk).unwrap();
    disk.fail_from(0, SimFault::Errno(libc::EIO));
    assert!(matches!(store.put("none", "v"), Err(Error::Poisoned(_))));
    for (what, error) in answers(&store) {
        assert!(matches!(error, Some(Error::Poisoned(_))), "{what}: {error:?}");
    }
    let store = open(&SimDisk::new(2)).unwrap();
    store.put("k", "v").unwrap();
    store.close().unwrap();
    for (what, error) in answers(&store) {
        assert!(matches!(error, Some(Error::Closed)), "{what}: {error:?}");
    }
}

#[test]
fn a_synced_delete_that_finds_nothing_makes_the_delete_before_it_durable() {
    // Records that are not synced are lost on some of these disks.
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let store = open(&disk).unwrap();
        store.at(Durability::Synced).put("k", "v").unwrap();
        assert!(store.at(Durability::Written).delete("k").unwrap());
        assert!(!store.at(Durability::Synced).delete("k").unwrap());
        let store = open(&disk.crash()).unwrap();
        assert_eq!(store.get("k").unwrap(), None, "seed {seed}");
    }
}

#[test]
fn lives_with_power_cuts_keep_what_was_acknowledged_and_show_a_state_that_was() {
    let seconds = number("RINGWAL_SIM_SECONDS").unwrap_or(20);
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seeds = match number("RINGWAL_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => since_epoch.as_nanos() as u64 >> 8..u64::MAX,
    };
    let start = Instant::now();
    let (mut lives, mut crashes) = (0, 0);
    for seed in seeds {
        let mut world = World::new(seed);
        let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
        assert!(
            outcome.is_ok(),
            "replay with: RINGWAL_SIM_SEED={seed} cargo test --features sim --test kv_simulation"
        );
        lives += 1;
        crashes += world.crashes;
        if start.elapsed() > Duration::from_secs(seconds) {
            break;
        }
    }
    println!("{lives} lives, {crashes} crashes");
    assert!(lives > 0);
}

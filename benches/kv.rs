//! The cost of the key-value log, as ratios to its parts: a durable put beside the engine's append,
//! from 1, 8 and 64 threads; a get beside a bare positional read of the same bytes; opening a
//! million keys beside verifying the same log.
//!
//! Both sides of a ratio are measured in turns in the same run, on the same file system, with the
//! same bytes. The ratios are printed at the end: the time of the key-value log, divided by the
//! other time. The written values are read back and checked.
//!
//! `RINGWAL_BENCH_KEYS` sets the number of keys that are opened.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group};
use measure::{count, measure_as, ratio};
use ringwal::kv::{DataReader, DataWal, WriteBatch};
use ringwal::{Durability, Log};

mod measure;

const VALUE_BYTES: usize = 100;
/// How many times both sides take turns in one measurement.
const TURNS: u64 = 8;

fn key(n: u64) -> [u8; 16] {
    let mut key = *b"key 000000000000";
    key[4..12].copy_from_slice(&n.to_le_bytes());
    key
}

fn value(n: u64) -> [u8; VALUE_BYTES] {
    [n as u8; VALUE_BYTES]
}

/// The engine's record in place of a put, with as many bytes.
fn record(n: u64) -> Vec<u8> {
    [&[b'P', 15, 0][..], &key(n), &value(n)].concat()
}

/// On the disk of the build directory: `/tmp` may be memory.
fn new_dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build directory takes files")
}

/// Measures the sides of a group in turns, so that the disk's varying speed affects all of them.
/// Each side runs the given number of rounds.
fn by_turns(
    criterion: &mut Criterion,
    group: &str,
    least: u64,
    sides: &[(&str, &dyn Fn(u64) -> Duration)],
) {
    measure_as(criterion, group, sides[0].0, |rounds| {
        let mut asked = Duration::ZERO;
        let turn = rounds.div_ceil(TURNS).max(least);
        for done in (0..rounds).step_by(turn as usize) {
            let turn = turn.min(rounds - done);
            for (at, (name, run)) in sides.iter().enumerate() {
                let elapsed = run(turn);
                count(&format!("{group}/{name}"), elapsed, turn);
                asked += if at == 0 { elapsed } else { Duration::ZERO };
            }
        }
        asked
    });
}

/// Runs `append` for `rounds` numbers, shared by threads.
fn share(threads: u64, rounds: u64, next: &AtomicU64, append: impl Fn(u64) + Sync) -> Duration {
    let first = next.fetch_add(rounds, Ordering::Relaxed);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let append = &append;
            scope.spawn(move || {
                (first + thread..first + rounds).step_by(threads as usize).for_each(append)
            });
        }
    });
    start.elapsed()
}

fn put(criterion: &mut Criterion) {
    for threads in [1, 8, 64] {
        let dir = new_dir();
        let log = Log::open(dir.path().join("log")).expect("a new log");
        let [synced, fsynced] = ["synced", "fsynced"]
            .map(|name| DataWal::open(dir.path().join(name)).expect("a new store"));
        let next: [AtomicU64; 3] = Default::default();
        let append = |rounds| {
            share(threads, rounds, &next[0], |n| {
                black_box(log.append(record(n)).expect("a healthy log"));
            })
        };
        let put = |rounds| {
            share(threads, rounds, &next[1], |n| {
                synced.at(Durability::Synced).put(key(n), value(n)).expect("a healthy store");
            })
        };
        let put_fsync = |rounds| {
            share(threads, rounds, &next[2], |n| {
                fsynced.put(key(n), value(n)).expect("a healthy store");
                fsynced.fsync().expect("a healthy store");
            })
        };
        let sides: [(&str, &dyn Fn(u64) -> Duration); 3] =
            [("put + fsync", &put_fsync), ("synced put", &put), ("append", &append)];
        by_turns(criterion, &format!("{threads} threads"), threads, &sides);
        assert_eq!(synced.len().expect("a healthy store") as u64, next[1].load(Ordering::Relaxed));
        assert_eq!(fsynced.len().expect("a healthy store") as u64, next[2].load(Ordering::Relaxed));
    }
}

fn fill(store: &DataWal, keys: u64) {
    let mut batch = WriteBatch::new();
    for n in 0..keys {
        batch.put(key(n), value(n)).expect("a small batch");
        if batch.len() == 5000 || n + 1 == keys {
            store.write(&batch).expect("a healthy store");
            batch.clear();
        }
    }
}

fn get(criterion: &mut Criterion) {
    const KEYS: u64 = 100_000;
    let dir = new_dir();
    let store = DataWal::builder(dir.path()).segment_bytes(64 << 20).open().expect("a new store");
    fill(&store, KEYS);
    store.fsync().expect("a healthy store");
    let mut places = Vec::new();
    let mut path = None;
    drop(Log::builder(dir.path()).read_only_replaying(|place, _| {
        places.push(place);
        Ok(())
    }));
    for entry in dir.path().read_dir().expect("the store's directory") {
        let entry = entry.expect("the store's directory").path();
        if entry.extension().is_some_and(|extension| extension == "seg") && is_segment(&entry) {
            assert!(path.replace(entry).is_none(), "all records are in one segment");
        }
    }
    let path = path.expect("the store has a segment");
    let file = File::open(path).expect("the segment opens");
    let scattered = |n: u64| n.wrapping_mul(7919) % KEYS;
    let bare = |rounds| {
        let start = Instant::now();
        for n in 0..rounds {
            let place = places[scattered(n) as usize];
            let mut bytes = vec![0; place.bytes() as usize];
            file.read_exact_at(&mut bytes, place.offset() + 8).expect("the segment is readable");
            black_box(bytes);
        }
        start.elapsed()
    };
    let get = |rounds| {
        let start = Instant::now();
        for n in 0..rounds {
            let n = scattered(n);
            let found = store.get(key(n)).expect("a healthy store").expect("a key that is there");
            assert!(found[0] == n as u8 && found.len() == VALUE_BYTES);
        }
        start.elapsed()
    };
    by_turns(criterion, "get", 1, &[("get", &get), ("positional read", &bare)]);
}

fn is_segment(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("wal-"))
}

fn open(criterion: &mut Criterion) {
    let keys = std::env::var("RINGWAL_BENCH_KEYS");
    let keys = keys.ok().and_then(|keys| keys.parse().ok()).unwrap_or(1_000_000);
    let dir = new_dir();
    let store = DataWal::open(dir.path()).expect("a new store");
    fill(&store, keys);
    store.close().expect("a healthy store");
    let timed = |rounds: u64, run: &dyn Fn() -> u64| {
        let start = Instant::now();
        for _ in 0..rounds {
            assert_eq!(run(), keys, "all are there");
        }
        start.elapsed()
    };
    let verify = |rounds| {
        timed(rounds, &|| Log::builder(dir.path()).verify().expect("a healthy log").records)
    };
    let read_only = |rounds| {
        timed(rounds, &|| DataReader::open(dir.path()).expect("a healthy store").len() as u64)
    };
    let before = resident_kib();
    let store = DataWal::open(dir.path()).expect("a healthy store");
    let (grown, stats) = (resident_kib().saturating_sub(before), store.stats());
    let per_key = |bytes: u64| bytes as f64 / keys as f64;
    println!(
        "{keys} keys: the index has {:.1} bytes a key by its own figure; the process grew by {:.1}",
        per_key(stats.index_bytes),
        per_key(grown << 10)
    );
    drop(store);
    let open = |rounds| {
        timed(rounds, &|| {
            DataWal::open(dir.path()).expect("a healthy store").len().expect("it stands") as u64
        })
    };
    let sides: [(&str, &dyn Fn(u64) -> Duration); 3] =
        [("open", &open), ("open read-only", &read_only), ("verify", &verify)];
    by_turns(criterion, "a million keys", 1, &sides);
}

/// The resident memory of this process, if the system tells.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = open, put, get
}

fn main() {
    benches();
    println!();
    for threads in ["1 threads", "8 threads", "64 threads"] {
        ratio(&format!("{threads}/put + fsync"), &format!("{threads}/append"));
        ratio(&format!("{threads}/synced put"), &format!("{threads}/append"));
    }
    ratio("get/get", "get/positional read");
    ratio("a million keys/open", "a million keys/verify");
    ratio("a million keys/open read-only", "a million keys/verify");
}

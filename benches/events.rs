//! The cost of the event log, as ratios to the engine under the same load: appends from 1, 8 and 64
//! threads, and opening with a million events to replay.
//!
//! Each load runs on the engine and on the event log in the same run and directory, with the same
//! bytes. The ratios are printed at the end: the time of the event log, divided by the engine's.
//! The appended events are read back and checked. In the replay, the engine passes its records to a
//! function that counts them; the event log returns them, and fills its window.
//!
//! `RINGWAL_BENCH_EVENTS` sets the number of events to replay.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group};
use measure::{count, measure, measure_as, ratio};
use ringwal::wal::format::{EVENT_SIZE, EventRecord};
use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
use ringwal::{Batch, Log};

mod measure;

fn event(n: u64) -> SignalEvent {
    SignalEvent { entity_id: n, signal_type: 1, weight: 0.5, timestamp_nanos: n ^ 0x5555 }
}

fn bytes(n: u64) -> [u8; EVENT_SIZE] {
    EventRecord::from(event(n)).to_bytes()
}

/// On the disk of the build directory: `/tmp` may be memory.
fn new_dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build directory takes files")
}

fn config(dir: &Path, dedup_window: Duration) -> WalConfig {
    WalConfig { dir: dir.to_path_buf(), dedup_window, ..WalConfig::default() }
}

/// A window longer than any run.
const WINDOW: Duration = Duration::from_secs(3600);
/// How many times the engine and the event log take turns in one measurement.
const TURNS: u64 = 8;
/// Runs `append` for `rounds` events, shared by threads.
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

/// Runs the engine and the event log in turns, so that the disk's varying speed affects both. Both
/// times count for the ratio; criterion gets the time of `asked`.
fn append(criterion: &mut Criterion) {
    for threads in [1, 8, 64] {
        let group = format!("append from {threads}");
        let (dir, next) = (new_dir(), [AtomicU64::new(0), AtomicU64::new(0)]);
        let log = Log::open(dir.path().join("log")).expect("a new log");
        let (wal, _, _) = WalHandle::open(config(dir.path(), WINDOW)).expect("a new log");
        for (asked, name) in ["engine", "events"].into_iter().enumerate() {
            measure_as(criterion, &group, name, |rounds| {
                let mut totals = [Duration::ZERO; 2];
                let turn = rounds.div_ceil(TURNS).max(threads);
                for done in (0..rounds).step_by(turn as usize) {
                    let turn = turn.min(rounds - done);
                    totals[0] += share(threads, turn, &next[0], |n| {
                        assert!(log.append(bytes(n)).expect("a healthy log").get() > 0);
                    });
                    totals[1] += share(threads, turn, &next[1], |n| {
                        assert!(wal.append(event(n)).expect("a healthy log") > 0);
                    });
                }
                count(&format!("{group}/engine"), totals[0], rounds);
                count(&format!("{group}/events"), totals[1], rounds);
                totals[asked]
            });
        }
        let appended = next.map(AtomicU64::into_inner);
        assert_eq!(log.durable_seq().get(), appended[0]);
        wal.shutdown().expect("a healthy log");
        let (_, events, _) =
            WalHandle::open(config(dir.path(), WINDOW)).expect("the log opens again");
        let mut found: Vec<u64> = events.iter().map(|event| event.entity_id).collect();
        found.sort_unstable();
        assert!(found.into_iter().eq(0..appended[1]), "all are replayed once");
    }
}

/// A closed log of `count` events.
fn make_log(dir: &Path, count: u64) -> PathBuf {
    let log_dir = dir.join("wal");
    let log = Log::open(&log_dir).expect("a new log");
    for first in (0..count).step_by(10_000) {
        let mut batch = Batch::new();
        for n in first..count.min(first + 10_000) {
            batch.push(bytes(n)).expect("a small batch");
        }
        log.append(&batch).expect("a healthy log");
    }
    log.close().expect("a healthy log");
    log_dir
}

fn replay(criterion: &mut Criterion) {
    let count = std::env::var("RINGWAL_BENCH_EVENTS");
    let count = count.ok().and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    let dir = new_dir();
    let log_dir = make_log(dir.path(), count);
    let timed = |rounds: u64, run: &dyn Fn() -> u64| {
        let start = Instant::now();
        for _ in 0..rounds {
            assert_eq!(run(), count, "all come back");
        }
        start.elapsed()
    };
    measure(criterion, "replay", "engine", |rounds| {
        timed(rounds, &|| {
            let mut events = 0;
            let replay = |_, record: &[u8]| {
                events += u64::from(record.len() == EVENT_SIZE);
                Ok(())
            };
            let log = Log::builder(&log_dir).open_replaying(replay);
            drop(log.expect("the log opens again"));
            events
        })
    });
    for (name, window) in [("events", WINDOW), ("events, no dedup", Duration::ZERO)] {
        measure(criterion, "replay", name, |rounds| {
            timed(rounds, &|| {
                let (_wal, events, _) =
                    WalHandle::open(config(dir.path(), window)).expect("the log opens again");
                assert_eq!(events.last(), Some(&event(count - 1)));
                events.len() as u64
            })
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = append, replay
}

fn main() {
    benches();
    println!();
    for threads in [1, 8, 64] {
        let group = format!("append from {threads}");
        ratio(&format!("{group}/events"), &format!("{group}/engine"));
    }
    ratio("replay/events", "replay/engine");
    ratio("replay/events, no dedup", "replay/engine");
}

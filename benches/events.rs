//! What the event log costs beside the engine under the same load: dedup alone, appends from 1, 8
//! and 64 threads, replay of a million events.
//!
//! Each load runs on the engine and on the event log in the same run, in the same directory, with
//! the same bytes. The ratios are printed at the end: the time of the event log, divided by the
//! engine's. What was appended is read back and checked.
//!
//! `RINGWAL_BENCH_EVENTS` sets how many events are replayed.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group};
use ringwal::format::{RECORD_HEAD_SIZE, RecordHead, push_record};
use ringwal::wal::dedup::DedupWindow;
use ringwal::wal::format::{EVENT_SIZE, EventRecord};
use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
use ringwal::{Batch, Durability, Log};

/// The total time and rounds of each measurement.
static TIMES: Mutex<BTreeMap<String, (Duration, u64)>> = Mutex::new(BTreeMap::new());

/// Measures `run`, which does as many rounds as it is told and says how long they took.
fn measure(
    criterion: &mut Criterion,
    group: &str,
    name: &str,
    mut run: impl FnMut(u64) -> Duration,
) {
    measure_as(criterion, group, name, |rounds| {
        let elapsed = run(rounds);
        count(&format!("{group}/{name}"), elapsed, rounds);
        elapsed
    });
}

/// [`measure`] of a `run` that counts by itself.
fn measure_as(
    criterion: &mut Criterion,
    group: &str,
    name: &str,
    mut run: impl FnMut(u64) -> Duration,
) {
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(1));
    group.bench_function(name, |bencher| bencher.iter_custom(&mut run));
    group.finish();
}

fn count(name: &str, elapsed: Duration, rounds: u64) {
    let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    let (total, count) = times.entry(name.to_owned()).or_default();
    *total += elapsed;
    *count += rounds;
}

fn nanos(name: &str) -> f64 {
    let times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    times.get(name).map_or(f64::NAN, |(total, count)| total.as_nanos() as f64 / *count as f64)
}

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
/// How often the engine and the event log take turns in one measurement.
const TURNS: u64 = 8;
/// The events that a window holds while it is measured.
const REMEMBERED: usize = 100_000;

fn dedup(criterion: &mut Criterion) {
    measure(criterion, "dedup", "copy and checksum", |rounds| {
        let mut frame = vec![0; 1 << 20];
        let mut at = 0;
        let start = Instant::now();
        for n in 0..rounds {
            if at + RECORD_HEAD_SIZE + EVENT_SIZE > frame.len() {
                at = 0;
            }
            let bytes = bytes(black_box(n));
            at = push_record(&mut frame, at, RecordHead::of(&bytes), &bytes);
        }
        black_box(&frame);
        start.elapsed()
    });
    measure(criterion, "dedup", "BLAKE3 of an event", |rounds| {
        let start = Instant::now();
        for n in 0..rounds {
            black_box(blake3::hash(&bytes(black_box(n))));
        }
        start.elapsed()
    });
    let window = DedupWindow::new(WINDOW, REMEMBERED);
    let next = AtomicU64::new(0);
    measure(criterion, "dedup", "new event", |rounds| {
        let first = next.fetch_add(rounds, Ordering::Relaxed);
        let start = Instant::now();
        for n in first..first + rounds {
            assert!(window.remember(&bytes(n), n), "every event is new");
        }
        start.elapsed()
    });
    let last = next.load(Ordering::Relaxed);
    let oldest = last - window.len() as u64 + 1;
    measure(criterion, "dedup", "duplicate", |rounds| {
        let start = Instant::now();
        for n in 0..rounds {
            let n = oldest + n % (last - oldest);
            assert!(!window.remember(&bytes(n), last), "every event is a duplicate");
        }
        start.elapsed()
    });
    let dir = new_dir();
    let log = Log::open(dir.path().join("log")).expect("a new log");
    measure(criterion, "dedup", "append, not waited for", |rounds| {
        let start = Instant::now();
        for n in 0..rounds {
            drop(log.append_async_with(bytes(n), Durability::Queued).expect("a healthy log"));
        }
        start.elapsed()
    });
}

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

/// The engine and the event log by turns, so that the disk's moods meet both. Both times count
/// for the ratio; the one of `asked` is criterion's.
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
        log.append_batch(&batch).expect("a healthy log");
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
            let log = Log::open(&log_dir).expect("the log opens again");
            let reader = log.reader().expect("a healthy log");
            let is_event = |record: ringwal::Result<ringwal::Record>| {
                record.expect("a record that is valid").data().len() == EVENT_SIZE
            };
            reader.filter_map(|record| is_event(record).then_some(())).count() as u64
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

fn ratio(name: &str, to: &str) {
    let (time, base) = (nanos(name), nanos(to));
    println!("{name}: {time:.1} ns, {to}: {base:.1} ns, ratio {:.3}", time / base);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = dedup, append, replay
}

fn main() {
    benches();
    println!();
    for name in ["new event", "duplicate", "BLAKE3 of an event"] {
        ratio(&format!("dedup/{name}"), "dedup/copy and checksum");
        ratio(&format!("dedup/{name}"), "dedup/append, not waited for");
    }
    for threads in [1, 8, 64] {
        let group = format!("append from {threads}");
        ratio(&format!("{group}/events"), &format!("{group}/engine"));
    }
    ratio("replay/events", "replay/engine");
    ratio("replay/events, no dedup", "replay/engine");
}

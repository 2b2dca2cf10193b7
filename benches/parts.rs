//! The cost of the parts that need no disk: checksums, sealing, decoding, the hand-over between
//! threads, dedup, and the scan of a segment in memory.
//!
//! The hand-over is measured on a whole log whose queue completes every write and sync at once and
//! does nothing, so only the engine is left. Ratios are printed at the end, most of them to a plain
//! copy of the same bytes. Each result is checked. A filter selects measurements and the ratios
//! between them: `cargo bench --features sim --bench parts -- seal`.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group};
use measure::{measure, ratio};
use ringwal::format::{
    BatchHeader, DIGEST_SIZE, HEADER_SIZE, Place, RECORD_HEAD_SIZE, RecordHead, decode, digest,
    push_record, seal,
};
use ringwal::io::{CommitFile, Completion, FileId, IoQueue, Op, Wake};
use ringwal::wal::SignalEvent;
use ringwal::wal::dedup::DedupWindow;
use ringwal::wal::format::{EVENT_SIZE, EventRecord};
use ringwal::{Batch, Blocks, Builder, Commit, Durability, Log, Result, SimDisk, Strategy};

mod measure;

/// Times `rounds` calls.
fn timed(rounds: u64, mut call: impl FnMut(u64)) -> Duration {
    let start = Instant::now();
    (0..rounds).for_each(&mut call);
    start.elapsed()
}

const SIZES: [usize; 3] = [100, 1024, 16384];

fn record(size: usize) -> Vec<u8> {
    (0..size).map(|at| at as u8).collect()
}

fn crc(criterion: &mut Criterion) {
    for size in SIZES {
        let bytes = record(size);
        let expected = RecordHead::of(&bytes);
        measure(criterion, "CRC", &format!("{size} bytes"), |rounds| {
            timed(rounds, |_| assert_eq!(RecordHead::of(black_box(&bytes)), expected))
        });
        let mut copy = vec![0; size];
        measure(criterion, "copy", &format!("{size} bytes"), |rounds| {
            let elapsed = timed(rounds, |_| {
                copy.copy_from_slice(black_box(&bytes));
                black_box(&mut copy);
            });
            assert_eq!(copy, bytes);
            elapsed
        });
    }
}

/// An unsealed frame of `count` records, its header, and the heads of the records.
fn frame(count: u32, size: usize) -> (Vec<u8>, BatchHeader, Vec<u8>) {
    let payload_bytes = count * (RECORD_HEAD_SIZE + size) as u32;
    let header = BatchHeader {
        unit_log2: 12,
        shard: 0,
        first_seq: 1,
        time_nanos: 1,
        salt: 1,
        durable_seq: 0,
        records: count,
        payload_bytes,
    };
    let mut frame = vec![0; header.frame_bytes() as usize];
    let mut heads = Vec::new();
    fill(&mut frame, &mut heads, count, &record(size));
    (frame, header, heads)
}

fn fill(frame: &mut [u8], heads: &mut Vec<u8>, count: u32, bytes: &[u8]) {
    let mut at = HEADER_SIZE;
    heads.clear();
    for _ in 0..count {
        let head = RecordHead::of(bytes);
        heads.extend_from_slice(&head.to_bytes());
        at = push_record(frame, at, head, bytes);
    }
}

/// The place of each batch that is sealed here.
const PLACE: Place = Place { log: Some(42), segment: 1 };

/// Records of 100 bytes in a batch.
const COUNTS: [u32; 4] = [1, 16, 64, 1024];

fn batch(criterion: &mut Criterion) {
    for count in COUNTS {
        let (mut frame, header, mut heads) = frame(count, SIZES[0]);
        let bytes = record(SIZES[0]);
        let name = format!("{count} records");
        measure(criterion, "checksum and copy", &name, |rounds| {
            timed(rounds, |_| fill(black_box(&mut frame), &mut heads, count, black_box(&bytes)))
        });
        seal(&mut frame, Some(&PLACE), &header, &heads);
        let sealed = frame.clone();
        measure(criterion, "seal", &name, |rounds| {
            let elapsed = timed(rounds, |_| {
                seal(black_box(&mut frame), Some(&PLACE), &header, black_box(&heads))
            });
            assert_eq!(frame, sealed);
            elapsed
        });
        assert_eq!(heads.len(), count as usize * RECORD_HEAD_SIZE);
        let (_, stated) = BatchHeader::parse(&frame).expect("a sealed batch");
        let signed = &frame[..HEADER_SIZE - DIGEST_SIZE];
        measure(criterion, "digest", &name, |rounds| {
            timed(rounds, |_| assert_eq!(digest(Some(&PLACE), black_box(signed), &heads), stated))
        });
        measure(criterion, "decode and verify", &name, |rounds| {
            timed(rounds, |_| {
                let batch = decode(black_box(&frame), Some(&PLACE)).expect("a valid batch");
                assert_eq!(batch.header().records, count);
            })
        });
    }
}

/// A queue that completes writes and syncs without doing them.
struct NullQueue {
    inner: Box<dyn IoQueue>,
    done: Vec<Completion>,
}

impl NullQueue {
    fn around(inner: Box<dyn IoQueue>) -> Box<dyn IoQueue> {
        Box::new(NullQueue { inner, done: Vec::new() })
    }
}

impl IoQueue for NullQueue {
    fn submit(&mut self, token: u64, op: Op) {
        let buf = match op {
            Op::Write { buf, .. } => Some(buf),
            Op::Sync { .. } => None,
            other => return self.inner.submit(token, other),
        };
        self.done.push(Completion { token, result: Ok(()), buf });
    }

    fn start(&mut self) -> Result<()> {
        self.inner.start()
    }

    fn wait(&mut self, timeout: Option<Duration>, done: &mut Vec<Completion>) -> Result<()> {
        if self.done.is_empty() {
            return self.inner.wait(timeout, done);
        }
        done.append(&mut self.done);
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight() + self.done.len()
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.inner.waker()
    }

    fn commit_file(&self, _file: FileId) -> Option<Arc<dyn CommitFile>> {
        Some(Arc::new(NullFile))
    }
}

#[derive(Debug)]
struct NullFile;

impl CommitFile for NullFile {
    fn commit(&self, data: &[u8], _offset: u64, _sync: Option<Strategy>) -> Result<()> {
        black_box(data);
        Ok(())
    }
}

/// Runs `run` on a log with such a queue, and checks that the log counted all records that `run`
/// reports.
fn on_null_queue(set: impl FnOnce(Builder) -> Builder, run: impl FnOnce(&Log, &AtomicU64)) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for files");
    // One segment, which never fills up and whose blocks are never written.
    let builder = Log::builder(dir.path().join("log"))
        .segment_bytes(64 << 30)
        .spare_segments(0)
        .preallocate(Some(Blocks::AsTheyCome))
        .strategy(Some(Strategy::WriteThenSync));
    let log = set(builder).open_wrapped(NullQueue::around).expect("a new log");
    let records = AtomicU64::new(0);
    run(&log, &records);
    let records = records.into_inner();
    assert_eq!(log.append("last").expect("a healthy log").get(), records + 1);
    assert_eq!((log.durable_seq().get(), log.metrics().records), (records + 1, records + 1));
}

/// The numbers of threads that wait for their records at once.
const THREADS: [u64; 3] = [1, 16, 64];

/// The number of records that one thread has outstanding.
const WINDOW: usize = 256;

fn hand_over(criterion: &mut Criterion) {
    let bytes = record(SIZES[0]);
    for (name, inline) in [("inline", true), ("ring thread", false)] {
        for threads in THREADS {
            on_null_queue(
                |builder| builder.inline(inline),
                |log, records| {
                    let name = format!("{name}, {threads} threads");
                    measure(criterion, "append", &name, |rounds| {
                        let each = rounds.div_ceil(threads);
                        records.fetch_add(each * threads, Ordering::Relaxed);
                        let start = Instant::now();
                        std::thread::scope(|scope| {
                            for _ in 0..threads {
                                scope.spawn(|| {
                                    timed(each, |_| {
                                        log.append(&bytes).expect("a healthy log");
                                    })
                                });
                            }
                        });
                        start.elapsed()
                    });
                },
            );
        }
    }
    on_null_queue(
        |builder| builder,
        |log, records| {
            measure(criterion, "append", "window of 256", |rounds| {
                records.fetch_add(rounds, Ordering::Relaxed);
                let mut window: VecDeque<Commit> = VecDeque::with_capacity(WINDOW);
                let start = Instant::now();
                for _ in 0..rounds {
                    if window.len() == WINDOW
                        && let Some(oldest) = window.pop_front()
                    {
                        oldest.wait().expect("a healthy log");
                    }
                    window.push_back(log.submit(&bytes).expect("a healthy log"));
                }
                for commit in window {
                    commit.wait().expect("a healthy log");
                }
                start.elapsed()
            });
        },
    );
}

fn event(n: u64) -> [u8; EVENT_SIZE] {
    let event =
        SignalEvent { entity_id: n, signal_type: 1, weight: 0.5, timestamp_nanos: n ^ 0x5555 };
    EventRecord::from(event).to_bytes()
}

/// The number of events that the window holds during the measurement.
const REMEMBERED: usize = 100_000;

fn dedup(criterion: &mut Criterion) {
    let mut frame = vec![0; 1 << 20];
    measure(criterion, "dedup", "checksum and copy", |rounds| {
        let mut at = 0;
        let elapsed = timed(rounds, |n| {
            if at + RECORD_HEAD_SIZE + EVENT_SIZE > frame.len() {
                at = 0;
            }
            let bytes = event(black_box(n));
            at = push_record(&mut frame, at, RecordHead::of(&bytes), &bytes);
        });
        assert!(frame[..at].ends_with(&event(rounds - 1)));
        elapsed
    });
    measure(criterion, "dedup", "BLAKE3 of an event", |rounds| {
        timed(rounds, |n| {
            black_box(blake3::hash(&event(black_box(n))));
        })
    });
    // Longer than any run.
    let window = DedupWindow::new(Duration::from_secs(3600), REMEMBERED);
    let mut next = 0;
    let mut remember = |_| {
        assert!(window.remember(&event(next), next), "every event is new");
        next += 1;
    };
    (0..REMEMBERED as u64).for_each(&mut remember);
    measure(criterion, "dedup", "new event", |rounds| timed(rounds, &mut remember));
    // Any event, even a known one, may push the oldest event out.
    let remembered = window.len() as u64 - 1;
    let oldest = next - remembered;
    measure(criterion, "dedup", "known event", |rounds| {
        timed(rounds, |n| {
            let known = oldest + n % remembered;
            assert!(!window.remember(&event(known), next), "every event is known");
        })
    });
    on_null_queue(
        |builder| builder,
        |log, records| {
            measure(criterion, "dedup", "append, not waited for", |rounds| {
                records.fetch_add(rounds, Ordering::Relaxed);
                timed(rounds, |n| {
                    let commit = log.at(Durability::Queued).submit(event(n));
                    drop(commit.expect("a healthy log"));
                })
            });
        },
    );
}

/// The records of the segment that is scanned, in batches of [`SCANNED_BATCH`].
const SCANNED: u64 = 8192;
const SCANNED_BATCH: u64 = 64;

fn scan(criterion: &mut Criterion) {
    let disk = SimDisk::new(1);
    disk.set_unit(4096);
    let builder = || Log::builder("sim").segment_bytes(16 << 20);
    let log = builder().open_sim(&disk).expect("a new log");
    for _ in 0..SCANNED / SCANNED_BATCH {
        let mut batch = Batch::new();
        for _ in 0..SCANNED_BATCH {
            batch.push(record(SIZES[1])).expect("a small batch");
        }
        log.append(&batch).expect("a healthy log");
    }
    log.close().expect("a healthy log");
    let segments = disk.names().into_iter().filter(|name| name.ends_with(".seg"));
    let segments: Vec<_> = segments.filter_map(|name| disk.content(&name)).collect();
    let [segment] = &segments[..] else { panic!("{} segments", segments.len()) };

    let mut copy = vec![0; segment.len()];
    measure(criterion, "scan", "copy", |rounds| {
        timed(rounds, |_| {
            copy.copy_from_slice(black_box(segment));
            black_box(&mut copy);
        })
    });
    measure(criterion, "scan", "decode", |rounds| {
        timed(rounds, |_| {
            let (mut at, mut records) = (0, 0);
            while at < segment.len() {
                let place = Place { log: None, segment: 1 };
                let batch = decode(&segment[at..], Some(&place)).expect("a valid batch");
                let header = *batch.header();
                at += header.frame_bytes() as usize;
                records += u64::from(header.records);
            }
            assert_eq!(records, SCANNED);
        })
    });
    measure(criterion, "scan", "recovery", |rounds| {
        timed(rounds, |_| {
            let report = builder().verify_sim(&disk).expect("a log that can be read");
            assert_eq!(report.records, SCANNED, "{report}");
        })
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    targets = crc, batch, hand_over, dedup, scan
}

fn main() {
    benches();
    println!();
    for size in SIZES {
        ratio(&format!("CRC/{size} bytes"), &format!("copy/{size} bytes"));
    }
    for part in ["seal", "digest", "decode and verify"] {
        for count in COUNTS {
            let name = format!("{count} records");
            ratio(&format!("{part}/{name}"), &format!("checksum and copy/{name}"));
        }
    }
    for threads in THREADS {
        let name = |driver| format!("append/{driver}, {threads} threads");
        ratio(&name("ring thread"), &name("inline"));
    }
    ratio("append/window of 256", "append/ring thread, 1 threads");
    for name in ["new event", "known event", "BLAKE3 of an event"] {
        ratio(&format!("dedup/{name}"), "dedup/checksum and copy");
        ratio(&format!("dedup/{name}"), "dedup/append, not waited for");
    }
    ratio("scan/decode", "scan/copy");
    ratio("scan/recovery", "scan/decode");
}

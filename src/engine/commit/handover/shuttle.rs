//! Random lives of a whole log under random schedules.
//!
//! A life is a log with a ring thread on a simulated disk, a few threads that do a few things with
//! it each, and an end. Its options, what is done and what fails are chances of the schedule, so a
//! schedule that failed repeats all of it.

#[cfg(test)]
mod acts;

use crate::sync::plain::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use shuttle::rand::Rng;
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::engine::Log;
use crate::engine::options::{Builder, Durability};
use crate::error::Error;
use crate::io::{SimDisk, SimFault, Strategy};
use crate::seq::Seq;
use crate::sync::thread;

/// Schedules by default, of which half prefer few preemptions.
const ITERATIONS: usize = 6000;
/// Preemptions of those.
const PREEMPTIONS: usize = 4;
const STEPS_MAX: usize = 200_000;
const STACK_BYTES: usize = 1 << 20;

#[test]
fn a_log_keeps_its_word_under_every_schedule() {
    if let Ok(schedule) = std::env::var("RINGWAL_SHUTTLE_REPLAY") {
        return check(ReplayScheduler::new_from_file(schedule).unwrap());
    }
    let iterations = std::env::var("RINGWAL_SHUTTLE_ITERATIONS").map(|n| n.parse().unwrap());
    let iterations = iterations.unwrap_or(ITERATIONS);
    check(RandomScheduler::new(iterations / 2));
    check(PctScheduler::new(PREEMPTIONS, iterations.div_ceil(2)));
}

/// Shuttle reports a life in which all threads wait, or that does not end, as a failure, and
/// writes its schedule to a file.
fn check(scheduler: impl Scheduler + 'static) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    // Beside the test itself.
    let dir = std::env::current_exe().unwrap().with_file_name("");
    config.failure_persistence = FailurePersistence::File(Some(dir));
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(|| Life::new().run());
}

fn roll(bound: u64) -> u64 {
    shuttle::rand::thread_rng().gen_range(0..bound)
}

/// True once in `times`.
fn rarely(times: u64) -> bool {
    roll(times) == 0
}

/// One log, and what is known of it. Nothing here is a place where another thread may be chosen.
struct Life {
    disk: SimDisk,
    builder: Builder,
    /// Some operation may fail.
    faulty: bool,
    /// Someone may have closed the log.
    closed: AtomicBool,
    /// Nothing after this counts: the end was truncated.
    cut: AtomicU64,
    /// Nothing before this has to be there.
    freed: AtomicU64,
    acknowledged: Mutex<Vec<(Seq, Vec<u8>, Durability)>>,
    records: AtomicU64,
}

impl Life {
    fn new() -> Life {
        let strategy = Strategy::ALL[roll(3) as usize];
        let builder = Log::builder("handover")
            .segment_bytes([2048, 4096, 8192, 1 << 20][roll(4) as usize])
            .spare_segments(roll(3) as usize)
            .batch_bytes(4096)
            .batch_records([1, 2, 65_536][roll(3) as usize])
            .batch_delay(Duration::from_micros([0, 0, 20][roll(3) as usize]))
            .queue_bytes([4096, 8192, 1 << 20][roll(3) as usize])
            .queue_depth(1 + roll(3) as usize)
            .gather(!rarely(3))
            .inline(!rarely(3))
            .note_after((!rarely(3)).then_some(Duration::from_millis(10)))
            .strategy(Some(strategy));
        Life {
            disk: SimDisk::new(roll(u64::MAX)),
            builder,
            faulty: rarely(4),
            closed: AtomicBool::new(false),
            cut: AtomicU64::new(u64::MAX),
            freed: AtomicU64::new(0),
            acknowledged: Mutex::default(),
            records: AtomicU64::new(0),
        }
    }

    fn run(self) {
        let log = super::open(self.builder.clone(), &self.disk).unwrap();
        let life = Arc::new(self);
        if life.faulty {
            life.disk.fail_at(life.disk.calls() + roll(40), SimFault::Errno(libc::EIO));
        }
        let threads: Vec<_> = (0..2 + roll(3))
            .map(|_| {
                let (life, log) = (Arc::clone(&life), log.clone());
                thread::spawn(move || {
                    for _ in 0..1 + roll(4) {
                        life.act(&log);
                    }
                })
            })
            .collect();
        if rarely(2) {
            life.act(&log);
        }
        // The last handle is dropped by whoever is the last.
        drop(log);
        for thread in threads {
            thread.join().unwrap();
        }
        // A ring thread that dropped it ends by itself.
        while life.disk.users() > 1 {
            thread::yield_now();
        }
        life.check_after_the_end();
    }

    /// A record that there is only once.
    fn record(&self) -> Vec<u8> {
        let mut record = self.records.fetch_add(1, Ordering::SeqCst).to_le_bytes().to_vec();
        record.resize([8, 100, 900, 1900][roll(4) as usize], b'.');
        record
    }

    /// A call failed, which has to have a reason.
    fn refused(&self, error: &Error) {
        let closed = self.closed.load(Ordering::SeqCst);
        match error {
            Error::Closed if closed => {}
            Error::OutOfRange { .. } => {}
            _ if self.faulty => {}
            _ => panic!("without a reason: {error}"),
        }
    }

    /// A record was acknowledged, so it is there, with all before it, whatever happens now.
    fn acknowledged(&self, log: &Log, seq: Seq, record: Vec<u8>, level: Durability) {
        if self.cut.load(Ordering::SeqCst) == u64::MAX {
            let reached = match level {
                Durability::Synced => log.durable_seq(),
                _ => log.written_seq(),
            };
            let cut = self.cut.load(Ordering::SeqCst) < u64::MAX;
            assert!(cut || reached >= seq, "{seq} at {level:?}, but the watermark is {reached}");
        }
        self.acknowledged.lock().push((seq, record, level));
        if rarely(4) && !self.faulty {
            self.check_after(&self.disk.fork());
        }
    }

    fn check_after_the_end(&self) {
        self.check_after(&self.disk);
    }

    /// What was acknowledged so far is there after a power cut, or the death of the process.
    fn check_after(&self, disk: &SimDisk) {
        let known = self.acknowledged.lock().clone();
        let power_cut = rarely(2);
        let disk = if power_cut { disk.crash() } else { disk.kill() };
        let (freed, cut) = (self.freed.load(Ordering::SeqCst), self.cut.load(Ordering::SeqCst));
        let log = self.builder.clone().open_sim(&disk).unwrap();
        let found: Vec<_> = log.reader().unwrap().map(|record| record.unwrap()).collect();
        for (seq, bytes, level) in known {
            // A failed sync takes with it what the operating system had.
            let must = level == Durability::Synced || !power_cut && !self.faulty;
            if !must || seq.get() < freed || seq.get() > cut {
                continue;
            }
            let record = found.iter().find(|record| record.seq() == seq);
            let record = record.unwrap_or_else(|| panic!("{seq} at {level:?} is lost"));
            assert_eq!(record.data(), bytes, "{seq}");
        }
    }
}

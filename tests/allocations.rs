//! Allocations of an append: a few for each batch, none for each record.

// An allocator that counts can only be written with it.
#![allow(unsafe_code)]
// Helpers of tests may unwrap, too; clippy.toml reaches only the tests themselves.
#![allow(clippy::unwrap_used)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};

use ringwal::{BackendKind, Commit, Log};

/// The system's allocator, which counts the allocations of all threads.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator unchanged; counting
// does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps its promises for the same call of this allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above, and the memory came from there.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// The tests of this file share the counter.
static ALONE: Mutex<()> = Mutex::new(());

/// The latch of a batch, its entry in the pipeline, its notifications, and the messages that the
/// std backend sends to the threads that write.
const EACH_BATCH_MAX: u64 = 8;

/// Allocations under way at the beginning or at the end.
const BESIDE: u64 = 64;

const RECORD: [u8; 100] = [7; 100];
const RECORDS: u64 = 1600;
const THREADS: u64 = 8;
const WINDOW: usize = 400;

/// Counts the allocations of `load` and its batches, after a first run to warm up.
fn assert_none_for_a_record(name: &str, log: &Log, load: impl Fn(&Log) -> u64) {
    load(log);
    let batches = log.metrics().batches;
    let allocations = load(log);
    let batches = log.metrics().batches - batches;
    let bound = EACH_BATCH_MAX * batches + BESIDE;
    assert!(allocations <= bound, "{name}: {allocations} allocations in {batches} batches");
    println!("{name}: {allocations} allocations, {batches} batches, {RECORDS} records");
}

/// One thread, or several, each waiting for its record. The threads exist before.
fn blocking(log: &Log, threads: u64) -> u64 {
    let (begin, end) = (Barrier::new(1 + threads as usize), Barrier::new(1 + threads as usize));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                begin.wait();
                for _ in 0..RECORDS / threads {
                    log.append(RECORD).unwrap();
                }
                end.wait();
            });
        }
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        begin.wait();
        end.wait();
        ALLOCATIONS.load(Ordering::Relaxed) - before
    })
}

/// One thread with a window of tickets.
fn tickets(log: &Log) -> u64 {
    let mut window: VecDeque<Commit> = VecDeque::with_capacity(WINDOW);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..RECORDS {
        if window.len() == WINDOW
            && let Some(oldest) = window.pop_front()
        {
            oldest.wait().unwrap();
        }
        window.push_back(log.submit(RECORD).unwrap());
    }
    window.iter().for_each(|commit| assert!(commit.wait().is_ok()));
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn appends_allocate_for_a_batch_and_not_for_a_record() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut backends = vec![BackendKind::Std];
    if common::uring_runs("appends_allocate_for_a_batch_and_not_for_a_record") {
        backends.push(BackendKind::Uring);
    }
    for backend in backends {
        for inline in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let log = Log::builder(dir.path()).backend(backend).inline(inline).open().unwrap();
            let name = format!("{backend:?}, inline {inline}");
            assert_none_for_a_record(&format!("{name}, one thread"), &log, |log| blocking(log, 1));
            assert_none_for_a_record(&format!("{name}, threads"), &log, |log| {
                blocking(log, THREADS)
            });
            assert_none_for_a_record(&format!("{name}, tickets"), &log, tickets);
        }
    }
}

#[cfg(feature = "sim")]
#[test]
fn a_record_that_joins_a_batch_allocates_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let log = Log::builder("sim").open_sim(&ringwal::SimDisk::new(1)).unwrap();
    for warm in [false, true] {
        let mut commits = Vec::with_capacity(WINDOW);
        commits.push(log.submit(RECORD).unwrap());
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 1..WINDOW {
            commits.push(log.submit(RECORD).unwrap());
        }
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert!(!warm || allocations == 0, "{allocations} allocations");
        let batches = log.metrics().batches;
        while log.step() {}
        assert_eq!(log.metrics().batches - batches, 1, "all of them are in one batch");
        assert!(commits.iter().all(Commit::is_done));
    }
}

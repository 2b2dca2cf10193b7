//! The engine on I/O queues that fail on demand.

mod cuts;
mod page_cache;
mod room;
mod state_machine;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::engine::Log;
use crate::engine::options::{Builder, Durability};
use crate::error::{Error, Result};
use crate::io::{
    BackendKind, Blocks, CommitFile, Completion, FileId, FileOp, IoQueue, Op, SimDisk, StdStorage,
    Strategy, Wake, open_queue,
};
use crate::seq::Seq;
use crate::sync::plain::Mutex;

/// Which operation fails, and how.
#[derive(Clone, Debug)]
pub(crate) struct QueueFault {
    pub(crate) kind: &'static str,
    /// The n-th of its kind, from 0.
    pub(crate) nth: usize,
    pub(crate) error: io::ErrorKind,
    /// Whether all later operations of the kind fail, too.
    pub(crate) for_good: bool,
}

/// A queue in front of a real one.
struct Faulty {
    inner: Box<dyn IoQueue>,
    fault: Arc<Mutex<Option<QueueFault>>>,
    seen: Arc<AtomicUsize>,
    log: Arc<Mutex<Vec<&'static str>>>,
    failed: Vec<Completion>,
}

fn kind(op: &Op) -> &'static str {
    match op {
        Op::File(FileOp::Prepare { .. }) => "prepare",
        Op::Write { sync: None, .. } => "write",
        Op::Write { .. } => "write and sync",
        Op::Sync { .. } => "sync",
        Op::File(FileOp::Install { .. }) => "install",
        Op::File(FileOp::Seal { .. }) => "seal",
        Op::File(FileOp::Discard { .. }) => "discard",
    }
}

impl IoQueue for Faulty {
    fn submit(&mut self, token: u64, op: Op) {
        let kind = kind(&op);
        self.log.lock().push(kind);
        let fault = self.fault.lock().clone().filter(|fault| fault.kind == kind);
        if let Some(fault) = fault {
            let nth = self.seen.fetch_add(1, Ordering::SeqCst);
            if nth == fault.nth || fault.for_good && nth > fault.nth {
                let source = io::Error::new(fault.error, "injected");
                let result = Err(Error::io(kind, "injected", source));
                let buf = match op {
                    Op::Write { buf, .. } => Some(buf),
                    _ => None,
                };
                return self.failed.push(Completion { token, result, buf });
            }
        }
        self.inner.submit(token, op);
    }

    fn wait(&mut self, timeout: Option<Duration>, done: &mut Vec<Completion>) -> Result<()> {
        if self.failed.is_empty() {
            return self.inner.wait(timeout, done);
        }
        done.append(&mut self.failed);
        self.inner.wait(Some(Duration::ZERO), done)
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight() + self.failed.len()
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.inner.waker()
    }
}

struct Rig {
    log: Log,
    fault: Arc<Mutex<Option<QueueFault>>>,
    ops: Ops,
}

fn rig(dir: &Path, builder: impl FnOnce(Builder) -> Builder, fault: Option<QueueFault>) -> Rig {
    let fault = Arc::new(Mutex::new(fault));
    let builder = builder(Log::builder(dir).segment_bytes(65_536).backend(BackendKind::Std));
    let (log, ops) = open_faulty(dir, builder, &fault).unwrap();
    Rig { log, fault, ops }
}

type Ops = Arc<Mutex<Vec<&'static str>>>;

/// Opens a log whose queue fails on demand; also returns the list of submitted operations.
pub(crate) fn open_faulty(
    dir: &Path,
    builder: Builder,
    fault: &Arc<Mutex<Option<QueueFault>>>,
) -> Result<(Log, Ops)> {
    let ops = Ops::default();
    let storage = Arc::new(StdStorage::new(dir));
    let (queue_fault, queue_ops) = (Arc::clone(fault), Arc::clone(&ops));
    let log = builder.open_on(storage, &mut |_| Ok(()), move |storage, options, spare| {
        let (inner, backend) = open_queue(storage, options, spare)?;
        let queue = Faulty {
            inner,
            fault: queue_fault,
            seen: Arc::default(),
            log: queue_ops,
            failed: Vec::new(),
        };
        Ok((Box::new(queue), backend))
    })?;
    Ok((log, ops))
}

fn fault(kind: &'static str, nth: usize, error: io::ErrorKind) -> Option<QueueFault> {
    Some(QueueFault { kind, nth, error, for_good: false })
}

fn records(dir: &Path) -> Vec<Vec<u8>> {
    let log = Log::open(dir).unwrap();
    log.reader().unwrap().map(|record| record.unwrap().into_data()).collect()
}

#[test]
fn the_first_failed_operation_is_final_and_its_cause_reaches_everyone() {
    for kind in ["write and sync", "install"] {
        let dir = tempfile::tempdir().unwrap();
        let rig = rig(dir.path(), |b| b, fault(kind, 0, io::ErrorKind::Other));
        let first = rig.log.submit("one").unwrap();
        let error = first.wait().unwrap_err();
        assert!(error.to_string().contains("injected"), "{error}");
        assert!(matches!(error.root_cause(), Error::Io { op, .. } if *op == kind), "{error}");
        let before = rig.ops.lock().len();
        for _ in 0..3 {
            assert!(matches!(rig.log.append("two"), Err(Error::Poisoned(_))), "{kind}");
            assert!(matches!(rig.log.flush(), Err(Error::Poisoned(_))));
            assert!(matches!(rig.log.rotate(), Err(Error::Poisoned(_))));
            let checkpoint = rig.log.checkpoint(Seq::NONE, "");
            assert!(matches!(checkpoint, Err(Error::Poisoned(_))));
        }
        assert_eq!(rig.ops.lock().len(), before, "{kind}: nothing is retried");
        assert!(matches!(rig.log.close(), Err(Error::Poisoned(_))));
        drop(rig);
        assert!(records(dir.path()).len() <= 1);
    }
}

#[test]
fn what_was_acknowledged_before_a_failure_is_there_after_reopening() {
    for kind in ["write and sync", "write", "sync", "install", "seal"] {
        for nth in 0..4 {
            let dir = tempfile::tempdir().unwrap();
            let rig =
                rig(dir.path(), |b| b.segment_bytes(8192), fault(kind, nth, io::ErrorKind::Other));
            let mut acknowledged = 0;
            for n in 0..12_u64 {
                let level = if kind == "write" || kind == "sync" && n % 3 != 2 {
                    Durability::Written
                } else {
                    Durability::Synced
                };
                match rig.log.at(level).append(n.to_le_bytes()) {
                    Ok(seq) => acknowledged = seq.get(),
                    Err(error) => assert!(matches!(error, Error::Poisoned(_)), "{error}"),
                }
            }
            let failed = rig.log.close();
            assert!(rig.log.append("more").is_err());
            drop((failed, rig));
            let found = records(dir.path());
            assert!(found.len() as u64 >= acknowledged, "{kind} {nth}: {acknowledged}");
            for (n, record) in found.iter().enumerate() {
                assert_eq!(record, &(n as u64).to_le_bytes(), "{kind} {nth}");
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let full =
        QueueFault { kind: "prepare", nth: 1, error: io::ErrorKind::StorageFull, for_good: true };
    let rig = rig(dir.path(), |b| b.segment_bytes(8192).spare_segments(0), Some(full));
    let record = [7_u8; 3000];
    rig.log.append(record).unwrap();
    rig.log.append(record).unwrap();
    for _ in 0..3 {
        let error = rig.log.append(record).unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. }), "{error}");
        assert!(error.to_string().contains("again once there is room"));
        assert_eq!(rig.log.appended_seq(), Seq::new(2), "no number was given");
    }
    *rig.fault.lock() = None;
    assert_eq!(rig.log.append(record).unwrap(), Seq::new(3));
    rig.log.close().unwrap();
    assert_eq!(records(dir.path()).len(), 3);
}

#[test]
fn try_append_never_waits_and_reports_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let full =
        QueueFault { kind: "prepare", nth: 0, error: io::ErrorKind::StorageFull, for_good: true };
    let rig = rig(dir.path(), |b| b, Some(full));
    assert!(matches!(rig.log.try_submit("one"), Err(Error::QueueFull)));
    let refused = loop {
        match rig.log.try_submit("one") {
            Err(Error::QueueFull) => std::thread::yield_now(),
            other => break other,
        }
    };
    assert!(matches!(refused, Err(Error::NoSpace { .. })), "{refused:?}");
}

#[test]
fn a_log_dropped_with_batches_in_flight_flushes_them() {
    let dir = tempfile::tempdir().unwrap();
    let rig = rig(dir.path(), |b| b, None);
    for n in 0..100_u64 {
        drop(rig.log.at(Durability::Queued).submit(n.to_le_bytes()).unwrap());
    }
    drop(rig);
    assert_eq!(records(dir.path()).len(), 100);
}

#[test]
fn a_wait_for_records_that_were_truncated_meanwhile_ends() {
    let log = Log::builder("sim").open_sim(&SimDisk::new(1)).unwrap();
    log.append("kept").unwrap();
    let truncated = Seq::new(5);
    log.wait_unless(truncated, || log.appended_seq() < truncated).unwrap();
    assert_eq!(log.flush().unwrap(), Seq::new(1));
}

/// A record that almost fills a segment of [`three_spares`].
const LARGE: usize = 400_000;

/// A log that holds three spares.
fn three_spares(builder: Builder) -> Builder {
    builder.segment_bytes(512 << 10).spare_segments(3)
}

/// How many spares there are, and how many were only reserved so far.
fn spares(log: &Log) -> (u64, u64) {
    let metrics = log.metrics();
    (metrics.spares_prepared - metrics.rotations, metrics.spares_reserved)
}

/// Appends records of `bytes`, each when the log is idle; returns the spares after each.
fn append_when_idle(log: &Log, count: u32, bytes: usize) -> Vec<(u64, u64)> {
    let append = |_| {
        log.append(vec![7; bytes]).unwrap();
        while log.step() {}
        spares(log)
    };
    (0..count).map(append).collect()
}

#[test]
fn while_batches_are_large_the_spares_are_used_up_before_another_is_reserved() {
    let log = three_spares(Log::builder("sim")).open_sim(&SimDisk::new(1)).unwrap();
    assert_eq!(append_when_idle(&log, 1, 100), [(3, 0)]);
    let mut seen = append_when_idle(&log, 20, LARGE);
    let reserved = seen.last().unwrap().1;
    assert!(reserved > 10, "{seen:?}");
    seen.dedup();
    let one_by_one = (1..=reserved).map(|reserved| (1, reserved));
    let expected: Vec<_> = [(3, 0), (2, 0), (1, 0)].into_iter().chain(one_by_one).collect();
    assert_eq!(seen, expected);
    let small = append_when_idle(&log, 40, 100);
    assert_eq!(small[0], (1, reserved), "one small batch is not the usual one");
    assert_eq!(small[39], (3, reserved), "{small:?}");
}

#[test]
fn batches_of_half_the_size_for_a_while_do_not_end_a_burst() {
    let log = three_spares(Log::builder("sim")).open_sim(&SimDisk::new(1)).unwrap();
    let half = 40_000;
    assert_eq!(append_when_idle(&log, 20, half)[19].0, 3, "they do not begin a burst");
    assert_eq!(append_when_idle(&log, 2, LARGE)[1], (2, 0));
    // The next segment, and not all of it.
    assert_eq!(append_when_idle(&log, 14, half)[13], (1, 0));
    assert_eq!(append_when_idle(&log, 40, 100)[39], (3, 0));
}

#[test]
fn spares_whose_blocks_were_asked_for_are_always_prepared_at_once() {
    for blocks in [Blocks::Written, Blocks::Reserved, Blocks::AsTheyCome] {
        let builder = three_spares(Log::builder("sim")).preallocate(Some(blocks));
        let log = builder.open_sim(&SimDisk::new(1)).unwrap();
        for (ready, reserved) in append_when_idle(&log, 20, LARGE) {
            assert_eq!((ready, reserved > 0), (3, blocks == Blocks::Reserved), "{blocks:?}");
        }
    }
}

#[test]
fn a_refused_spare_was_not_reserved() {
    let disk = SimDisk::new(1);
    let builder = Log::builder("sim").preallocate(Some(Blocks::Reserved));
    let log = builder.segment_bytes(65_536).open_sim(&disk).unwrap();
    disk.set_capacity(Some(16_384));
    assert!(matches!(log.append("one"), Err(Error::NoSpace { .. })));
    let metrics = log.metrics();
    assert_eq!((metrics.spares_refused, metrics.spares_reserved), (1, 0));
    disk.set_capacity(None);
    append_when_idle(&log, 1, 100);
    let metrics = log.metrics();
    assert_eq!((metrics.spares_prepared, metrics.spares_reserved), (2, 2));
}

#[test]
fn inline_commits_have_the_spares_prepared_again() {
    let dir = tempfile::tempdir().unwrap();
    let builder = three_spares(Log::builder(dir.path())).backend(BackendKind::Std);
    let log = builder.open().unwrap();
    append_when_idle(&log, 1, 100);
    let reserved = append_when_idle(&log, 12, LARGE)[11].1;
    if !log.backend().fill {
        return assert_eq!(reserved, 0, "nothing is written beforehand: {}", log.backend());
    }
    let (rotations, inline) = (log.metrics().rotations, log.metrics().inline_batches);
    // As many as fit in the segment.
    append_when_idle(&log, 28, 100);
    assert_eq!(log.metrics().rotations, rotations);
    assert!(log.metrics().inline_batches > inline);
    while spares(&log).0 < 3 {
        std::thread::yield_now();
    }
}

#[test]
fn a_log_that_rests_after_a_burst_prepares_its_spares_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let log = three_spares(Log::builder(dir.path())).open().unwrap();
    append_when_idle(&log, 12, LARGE);
    if !log.backend().fill {
        return assert_eq!(log.backend().blocks, Some(Blocks::AsTheyCome), "{}", log.backend());
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while spares(&log).0 < 3 {
        assert!(Instant::now() < deadline, "{:?}", spares(&log));
        std::thread::yield_now();
    }
}

/// A queue that shows whether its thread sleeps until it is woken, and counts the wake-ups.
struct Watched {
    inner: Box<dyn IoQueue>,
    sleeps: Arc<AtomicBool>,
    wakes: Arc<AtomicUsize>,
}

struct CountedWake {
    inner: Arc<dyn Wake>,
    sleeps: Arc<AtomicBool>,
    wakes: Arc<AtomicUsize>,
}

impl Wake for CountedWake {
    fn wake(&self) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        self.sleeps.store(false, Ordering::SeqCst);
        self.inner.wake();
    }
}

impl IoQueue for Watched {
    fn submit(&mut self, token: u64, op: Op) {
        self.inner.submit(token, op);
    }
    fn wait(&mut self, timeout: Option<Duration>, done: &mut Vec<Completion>) -> Result<()> {
        self.sleeps.store(timeout.is_none() && self.inner.in_flight() == 0, Ordering::SeqCst);
        let waited = self.inner.wait(timeout, done);
        self.sleeps.store(false, Ordering::SeqCst);
        waited
    }
    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }
    fn waker(&self) -> Arc<dyn Wake> {
        let (sleeps, wakes) = (Arc::clone(&self.sleeps), Arc::clone(&self.wakes));
        Arc::new(CountedWake { inner: self.inner.waker(), sleeps, wakes })
    }
    fn commit_file(&self, file: FileId) -> Option<Arc<dyn CommitFile>> {
        self.inner.commit_file(file)
    }
}

/// Of 100 inline commits while the ring thread slept, how many woke it.
fn woken_by_100(after: Option<Duration>) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let (sleeps, wakes) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let (seen, counted) = (Arc::clone(&sleeps), Arc::clone(&wakes));
    let builder = Log::builder(dir.path()).backend(BackendKind::Std).note_after(after);
    let log = builder
        .open_wrapped(move |inner| Box::new(Watched { inner, sleeps: seen, wakes: counted }))
        .unwrap();
    let (mut own, mut woke) = (0, 0);
    while own < 100 {
        while !sleeps.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        let before = (log.metrics().inline_batches, wakes.load(Ordering::SeqCst));
        log.append("one").unwrap();
        if log.metrics().inline_batches > before.0 {
            own += 1;
            woke += usize::from(wakes.load(Ordering::SeqCst) > before.1);
        }
    }
    woke
}

#[test]
fn an_inline_commit_wakes_the_ring_thread_only_for_a_note() {
    // A few are written while the thread is about to sleep.
    let woke = woken_by_100(Some(Duration::from_millis(10)));
    assert!(woke > 50, "only {woke} of 100 woke it");
    let woke = woken_by_100(None);
    assert!(woke < 50, "{woke} of 100 woke it for nothing");
}

/// A queue whose files panic when an appender writes to them.
struct Panicking(Box<dyn IoQueue>);

#[derive(Debug)]
struct PanickingFile;

impl CommitFile for PanickingFile {
    fn commit(&self, _data: &[u8], _offset: u64, _sync: Option<Strategy>) -> Result<()> {
        panic!("as the test asks for");
    }
}

impl IoQueue for Panicking {
    fn submit(&mut self, token: u64, op: Op) {
        self.0.submit(token, op);
    }
    fn wait(&mut self, timeout: Option<Duration>, done: &mut Vec<Completion>) -> Result<()> {
        self.0.wait(timeout, done)
    }
    fn in_flight(&self) -> usize {
        self.0.in_flight()
    }
    fn waker(&self) -> Arc<dyn Wake> {
        self.0.waker()
    }
    fn commit_file(&self, _file: FileId) -> Option<Arc<dyn CommitFile>> {
        Some(Arc::new(PanickingFile))
    }
}

#[test]
fn a_panic_in_an_inline_commit_ends_the_log_and_hangs_no_thread() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log::builder(&path)
        .backend(BackendKind::Std)
        .open_wrapped(|queue| Box::new(Panicking(queue)))
        .unwrap();
    // The first batch of a segment is the ring thread's.
    log.append("one").unwrap();
    let seen: Vec<_> = std::thread::scope(|scope| {
        // The ring thread may still be awake and write a few batches itself.
        let until_it_fails = || std::iter::repeat_with(|| log.append("lost")).find_map(Result::err);
        let appends: Vec<_> = (0..4).map(|_| scope.spawn(until_it_fails)).collect();
        appends.into_iter().filter_map(|append| append.join().unwrap()).collect()
    });
    assert_eq!(seen.len(), 4);
    for error in seen {
        assert!(error.root_cause().to_string().contains("panicked"), "{error}");
    }
    assert!(log.append("later").is_err());
    assert!(log.close().is_err());
    assert_eq!(records(&path)[0], b"one");
}

#[test]
fn a_wall_clock_that_was_a_day_ahead_for_a_moment_does_not_show_in_the_times_of_batches() {
    use crate::clock::tests::AHEAD;
    const HOUR_NANOS: u64 = 3_600_000_000_000;
    let disk = SimDisk::new(1);
    let log = Log::builder("sim").open_sim(&disk).unwrap();
    for ahead in [Duration::ZERO, Duration::from_secs(86_400), Duration::ZERO] {
        AHEAD.set(ahead);
        log.append("one").unwrap();
    }
    let times = |log: &Log| -> Vec<u64> {
        log.reader().unwrap().map(|record| record.unwrap().time_nanos()).collect()
    };
    let seen = times(&log);
    assert!(seen.is_sorted() && seen[2] < seen[0] + HOUR_NANOS, "{seen:?}");
    log.close().unwrap();
    // After reopening, the clock begins with the wall clock again.
    AHEAD.set(Duration::from_secs(86_400));
    let log = Log::builder("sim").open_sim(&disk).unwrap();
    AHEAD.set(Duration::ZERO);
    log.append("of a life that is ahead").unwrap();
    assert!(times(&log)[3] > seen[2] + 23 * HOUR_NANOS);
    log.close().unwrap();
    let log = Log::builder("sim").open_sim(&disk).unwrap();
    log.append("and is over").unwrap();
    assert!(times(&log)[4] < seen[2] + HOUR_NANOS);
}

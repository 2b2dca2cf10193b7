//! Opening a log: to append, to read only, or to verify it.
//!
//! To append, the builder checks the options, creates or recognises the directory, locks it,
//! recovers the log, and starts the ring thread. That thread creates its own I/O queue, because a
//! ring belongs to the thread that created it.

use std::cell::RefCell;
use std::sync::Arc;

use crate::engine::Log;
use crate::engine::commit::board::Board;
use crate::engine::commit::committer::{Committer, Config};
use crate::engine::commit::queue::{Limits, ReserveLimits, WriteQueue};
use crate::engine::commit::ring_thread::RingThread;
use crate::engine::commit::ring_thread::note::Notes;
use crate::engine::commit::shared::Shared;
#[cfg(any(test, feature = "sim"))]
use crate::engine::commit::stepped::Stepped;
use crate::engine::directory::make_dir;
use crate::engine::log::{OpenLog, Running};
use crate::engine::options::{Builder, LogOptions};
use crate::engine::read::places::{BatchPlace, PlaceStep, Places};
use crate::engine::read::reader::Reader;
use crate::engine::read::replay::{self, OnStep};
use crate::engine::recovery::snapshot::look_again;
use crate::engine::recovery::{self, Mode, Recovered, RecoveredBatch, Recovery};
use crate::engine::state_file::StateFile;
use crate::error::{Error, Result};
use crate::format::State;
use crate::io::{
    Backend, Blocks, IoQueue, LockGuard, QueueOptions, StdStorage, Storage, Strategy, open_queue,
    require_set_up,
};
#[cfg(any(test, feature = "sim"))]
use crate::io::{SimDisk, SimQueue};
use crate::segment::name;
use crate::seq::Seq;
use crate::sync::Mutex;
use crate::sync::channel::{Receiver, bounded, unbounded};
use crate::sync::thread::{self, JoinHandle};

/// The number of the spare that probes the backend; the ring thread counts from 1.
const PROBE_SPARE: u64 = 0;

impl Builder {
    /// Opens the log, or creates it; see [`Log::open`].
    ///
    /// # Errors
    ///
    /// - [`Error::Option`], [`Error::NotALog`] and [`Error::Locked`] change nothing on disk, except
    ///   that a deleted file `lock` is created again.
    /// - [`Error::OtherKind`], [`Error::OtherLabel`], [`Error::UnsupportedVersion`], and
    ///   [`Error::Corrupt`] for damage that the [`RecoveryPolicy`](crate::RecoveryPolicy) does not
    ///   tolerate, change only the lock file.
    /// - [`Error::BackendRefused`] changes nothing if the kernel refuses to set up a ring. If it
    ///   refuses the test write later, a recovered or an empty log remains.
    /// - [`Error::NoSpace`] if there is no room for a new log; an old one opens on a full disk.
    /// - [`Error::Io`].
    pub fn open(self) -> Result<Log> {
        self.open_std(&mut |_| Ok(()))
    }

    pub(crate) fn open_std(self, replay: &mut OnStep<'_>) -> Result<Log> {
        self.open_with(replay, open_queue)
    }

    /// Opens the log in its directory, with the queue that `make_queue` creates on the ring thread.
    pub(crate) fn open_with(
        self,
        replay: &mut OnStep<'_>,
        make_queue: impl FnOnce(Arc<dyn Storage>, &QueueOptions, &str) -> Queue + Send + 'static,
    ) -> Result<Log> {
        self.options.validate()?;
        let storage: Arc<dyn Storage> = Arc::new(StdStorage::new(&self.options.dir));
        require_set_up(&storage, self.options.backend)?;
        make_dir(&self.options)?;
        // The storage keeps the directory open, so it is opened again now that it exists.
        let storage = Arc::new(StdStorage::new(&self.options.dir));
        self.open_on(storage, replay, make_queue)
    }

    /// Opens the log on any implementation of the two I/O planes. `make_queue` runs on the ring
    /// thread.
    pub(crate) fn open_on(
        self,
        storage: Arc<dyn Storage>,
        replay: &mut OnStep<'_>,
        make_queue: impl FnOnce(Arc<dyn Storage>, &QueueOptions, &str) -> Queue + Send + 'static,
    ) -> Result<Log> {
        let options = self.options;
        let (lock, recovered, places) = lock_and_recover(&options, &*storage, replay)?;
        let Recovered { state, segments, next_seq, report, .. } = recovered;
        let Some(state) = state else { return Err(Error::Closed) };
        let resume = Resume::of(state, segments, next_seq, places);
        let state = Arc::clone(&resume.state);

        let (started, thread) = start(&options, &storage, make_queue, resume)?;
        let (shared, backend) = match started.recv() {
            Ok(Ok(started)) => started,
            Ok(Err(error)) => {
                let _ = thread.join();
                return Err(error);
            }
            Err(_) => {
                let source = std::io::Error::other("the ring thread ended at once");
                return Err(Error::io("start the ring thread", &options.dir, source));
            }
        };
        let running = Running { thread: Some(thread), lock: Some(lock) };
        let inner = OpenLog::new(shared, options, storage, backend, report, state, running);
        Ok(Log { inner: Arc::new(inner) })
    }

    /// Opens the log on a simulated disk, without a thread.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn open_stepped(mut self, disk: &SimDisk, replay: &mut OnStep<'_>) -> Result<Log> {
        self.options.validate()?;
        self.options.dir = disk.dir().to_path_buf();
        let options = self.options;
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let (lock, recovered, places) = lock_and_recover(&options, &*storage, replay)?;
        let Recovered { state, segments, next_seq, report, .. } = recovered;
        let Some(state) = state else { return Err(Error::Closed) };
        let (queue, backend) = SimQueue::new(disk, &queue_options(&options));
        let sleep = queue.sleep();
        let resume = Resume::of(state, segments, next_seq, places);
        let state = Arc::clone(&resume.state);
        let (shared, ring_thread) = assemble(&options, queue, &backend, resume, false);
        let running = Running { thread: None, lock: Some(lock) };
        let mut inner = OpenLog::new(shared, options, storage, backend, report, state, running);
        inner.stepped = Some(Stepped::new(ring_thread, sleep));
        Ok(Log { inner: Arc::new(inner) })
    }

    /// Reads the whole log and reports what opening would find. Changes nothing and takes no lock.
    /// Damage is in the report; it is not an error.
    ///
    /// Beside a live writer the end of the log may look torn, because batches are being written.
    /// Damage is reported only if a second look finds it again.
    ///
    /// # Errors
    ///
    /// [`Error::NotALog`], [`Error::UnsupportedVersion`], [`Error::Io`].
    pub fn verify(self) -> Result<Recovery> {
        let storage = StdStorage::new(&self.options.dir);
        self.verify_on(&storage)
    }

    pub(crate) fn verify_on(self, storage: &dyn Storage) -> Result<Recovery> {
        let (shard, policy) = (self.options.shard, self.options.policy);
        let identity = self.options.identity;
        look_again(storage.dir(), || {
            let mode = Mode::ReadOnly;
            let found =
                recovery::recover(storage, shard, policy, &identity, mode, &mut |_| Ok(()))?;
            let report = found.report;
            let damage = report.corruption.clone();
            Ok((report, damage))
        })
    }

    /// Opens the log to read the records that are valid on disk now, with or without a live writer.
    /// Takes no lock and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub fn read_only(self) -> Result<Reader> {
        let storage = Arc::new(StdStorage::new(&self.options.dir));
        self.read_only_on(storage, &mut || (), &mut |_| Ok(()))
    }
}

/// An I/O queue, and the report on its backend.
pub(crate) type Queue = Result<(Box<dyn IoQueue>, Backend)>;

type Started = Result<(Arc<Shared>, Backend)>;

/// The point from which a recovered log continues.
struct Resume {
    state: Arc<Mutex<StateFile>>,
    log_tag: u64,
    /// How often the end was cut off.
    cuts: u64,
    /// The last durable record by `state`.
    noted_seq: u64,
    segments: Vec<recovery::SegmentInfo>,
    places: Places,
    durable_seq: u64,
}

impl Resume {
    fn of(
        state: StateFile,
        segments: Vec<recovery::SegmentInfo>,
        next_seq: Seq,
        places: Places,
    ) -> Resume {
        let (log_tag, noted_seq) = (state.current().log_tag(), state.current().last_seq);
        let cuts = state.current().cuts.count();
        let state = Arc::new(Mutex::new(state));
        let durable_seq = next_seq.get() - 1;
        Resume { state, log_tag, cuts, noted_seq, segments, places, durable_seq }
    }
}

/// Starts the ring thread. Once it has its queue, it sends the state that it shares with handles.
fn start(
    options: &LogOptions,
    storage: &Arc<dyn Storage>,
    make_queue: impl FnOnce(Arc<dyn Storage>, &QueueOptions, &str) -> Queue + Send + 'static,
    resume: Resume,
) -> Result<(Receiver<Started>, JoinHandle<()>)> {
    let queue_options = queue_options(options);
    let (options, storage) = (options.clone(), Arc::clone(storage));
    let probe = name::spare_name(options.shard, PROBE_SPARE);
    let (answer, started) = bounded(1);
    let run = move || {
        let (queue, backend) = match make_queue(storage, &queue_options, &probe) {
            Ok(opened) => opened,
            Err(error) => return drop(answer.send(Err(error))),
        };
        let (shared, ring_thread) = assemble(&options, queue, &backend, resume, true);
        if answer.send(Ok((shared, backend))).is_ok() {
            ring_thread.run();
        }
    };
    let thread = thread::Builder::new().name("ringwal-ring".to_owned()).spawn(run);
    match thread {
        Ok(thread) => Ok((started, thread)),
        Err(source) => Err(Error::io("start the ring thread", ".", source)),
    }
}

/// The ring thread of a recovered log, and what it shares with the handles.
fn assemble<Q: IoQueue>(
    options: &LogOptions,
    io: Q,
    backend: &Backend,
    resume: Resume,
    has_thread: bool,
) -> (Arc<Shared>, RingThread<Q>) {
    let Resume { state, log_tag, cuts, noted_seq, segments, places, durable_seq } = resume;
    let notes = Notes::new(state, options.note_after, noted_seq);
    // Only the ring can link a sync. If the log chose that strategy itself, it may change it later.
    let linked = backend.strategy == Strategy::LinkedFsync;
    let inline = options.inline && !(linked && options.strategy.is_some());
    let limits = Limits {
        unit: backend.unit_bytes,
        batch_bytes: options.batch_bytes,
        batch_records: options.batch_records as u32,
        batch_delay: options.batch_delay,
        segment_bytes: options.segment_bytes,
        first_segment_bytes: match backend.blocks {
            // There are no zeros to wait for.
            Some(Blocks::AsTheyCome) => options.segment_bytes,
            _ => options.first_segment_bytes,
        },
        spares: options.spare_segments,
        burst_spares: options.burst_segments,
        reserve: ReserveLimits::new(
            options.reserve_segments,
            options.segment_bytes,
            backend.unit_bytes,
        ),
        queue_bytes: options.queue_bytes,
        // A simulated log has no thread, and no clock.
        gather: has_thread && options.gather,
        inline,
    };
    let config = Config {
        shard: options.shard,
        log_tag,
        cuts,
        strategy: backend.strategy,
        strategy_is_fixed: options.strategy.is_some() || !has_thread,
        unit: backend.unit_bytes,
        blocks: backend.blocks,
        depth: options.queue_depth,
        one_sync: !backend.direct_io,
        durable_seq,
        inline,
    };
    let (sender, controls) = unbounded();
    let mut queue = WriteQueue::new(limits, durable_seq + 1);
    queue.reset_seq(durable_seq + 1, cuts);
    queue.set_home(&options.dir);
    let wake = io.waker();
    let dir = options.dir.clone();
    let committer = Committer::new(config);
    let board = Board::new(dir, queue, segments, places, sender, wake);
    let shared = Arc::new(Shared::new(board, committer));
    shared.metrics().strategy = Some(backend.strategy);
    let ring_thread = RingThread::new(Arc::clone(&shared), io, controls, notes, has_thread);
    (shared, ring_thread)
}

fn queue_options(options: &LogOptions) -> QueueOptions {
    QueueOptions {
        kind: options.backend,
        strategy: options.strategy,
        direct_io: options.direct_io,
        depth: options.queue_depth,
        blocks: options.preallocate,
    }
}

fn lock_and_recover(
    options: &LogOptions,
    storage: &dyn Storage,
    replay: &mut OnStep<'_>,
) -> Result<(Box<dyn LockGuard>, Recovered, Places)> {
    let lock_name = name::lock_name(options.shard);
    let lock = storage
        .lock(&lock_name)
        .map_err(|error| error.or_no_space(storage.dir().join(&lock_name), 0))?;
    let (shard, policy) = (options.shard, options.policy);
    let (identity, mode) = (&options.identity, Mode::Repair);
    let replay = RefCell::new(replay);
    let on_state = &mut |state: &State| replay::emit_checkpoint(&mut **replay.borrow_mut(), state);
    let places = Places::new(options.segment_bytes);
    let mut step = PlaceStep::default();
    let on_batch = &mut |batch: RecoveredBatch<'_>| {
        note(&places, &mut step, &batch);
        replay::emit(&mut **replay.borrow_mut(), &batch)
    };
    let mut recovered =
        recovery::recover_showing(storage, shard, policy, identity, mode, on_state, on_batch)?;
    let of_state = recovered.state.as_mut().and_then(StateFile::take_lock);
    // The lock is of no use against a process that finds another file under that name.
    storage.must_keep(&name::state_name(shard))?;
    Ok((Box::new(Locks { _of_state: of_state, _of_name: lock }), recovered, places))
}

/// Notes the place of a batch, if it counts from its beginning on.
fn note(places: &Places, step: &mut PlaceStep, batch: &RecoveredBatch<'_>) {
    let header = batch.batch.header();
    let (first_seq, segment) = (header.first_seq, batch.segment.get());
    if batch.counts.contains(&first_seq) {
        let (offset, salt) = (batch.batch.offset(), header.salt);
        step.see(places, BatchPlace { first_seq, segment, offset, salt });
    }
}

/// Two locks. The one of `state` is safe, because without that file there is no log. The one of the
/// file `lock` names the process that holds it. It is released last, so that the next process that
/// gets it finds `state` unlocked.
#[derive(Debug)]
struct Locks {
    _of_state: Option<Box<dyn LockGuard>>,
    _of_name: Box<dyn LockGuard>,
}

impl LockGuard for Locks {}

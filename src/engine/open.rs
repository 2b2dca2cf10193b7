//! Opening and closing a log.
//!
//! Opening: options are checked, the directory is made or recognised, locked, recovered (which
//! makes durable what it shows), and the ring thread is started; it makes its queue itself,
//! because a ring belongs to the thread that created it. Closing goes the other way round.

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
use crate::engine::log::{Inner, Life};
use crate::engine::options::{Builder, Options};
use crate::engine::read::reader::Reader;
use crate::engine::read::replay::{self, OnRecord};
use crate::engine::recovery::snapshot::look_again;
use crate::engine::recovery::{self, Mode, Recovered, RecoveredBatch, Recovery};
use crate::engine::state_file::StateFile;
use crate::error::{Error, Result};
use crate::io::{
    Backend, IoQueue, LockGuard, QueueOptions, StdStorage, Storage, Strategy, open_queue,
    require_set_up,
};
#[cfg(any(test, feature = "sim"))]
use crate::io::{SimDisk, SimQueue};
use crate::segment::name;
use crate::seq::Seq;
use crate::sync::Mutex;
use crate::sync::channel::{Receiver, bounded, unbounded};
use crate::sync::thread::{self, JoinHandle};

/// The number of the spare that probes the backend; the driver counts from 1.
const PROBE_SPARE: u64 = 0;

impl Builder {
    /// Opens the log, or creates it; see [`Log::open`].
    ///
    /// # Errors
    ///
    /// [`Error::Option`], [`Error::NotALog`] and [`Error::Locked`] change nothing on disk, but
    /// that a file `lock` which somebody deleted is there again.
    /// [`Error::OtherKind`], [`Error::OtherLabel`], [`Error::UnsupportedVersion`], and
    /// [`Error::Corrupt`] for damage that the
    /// [`RecoveryPolicy`](crate::RecoveryPolicy) does not tolerate, change nothing but the lock
    /// file. [`Error::BackendRefused`] changes nothing if the kernel refuses to set a ring up; what
    /// is refused later, at the test write, leaves a recovered or an empty log.
    /// [`Error::NoSpace`] where a new log has no room; one that is there opens on a full disk.
    /// [`Error::Io`].
    pub fn open(self) -> Result<Log> {
        self.open_std(&mut |_| Ok(()))
    }

    pub(crate) fn open_std(self, replay: &mut OnRecord<'_>) -> Result<Log> {
        self.open_with(replay, open_queue)
    }

    /// Opens the log in its directory, with the queue that `make_queue` makes on the ring thread.
    pub(crate) fn open_with(
        self,
        replay: &mut OnRecord<'_>,
        make_queue: impl FnOnce(Arc<dyn Storage>, &QueueOptions, &str) -> Queue + Send + 'static,
    ) -> Result<Log> {
        self.options.validate()?;
        let storage: Arc<dyn Storage> = Arc::new(StdStorage::new(&self.options.dir));
        require_set_up(&storage, self.options.backend)?;
        make_dir(&self.options)?;
        // Opened once it is there, for good.
        let storage = Arc::new(StdStorage::new(&self.options.dir));
        self.open_on(storage, replay, make_queue)
    }

    /// Opens the log on any implementation of the two I/O planes. `make_queue` runs on the ring
    /// thread.
    pub(crate) fn open_on(
        self,
        storage: Arc<dyn Storage>,
        replay: &mut OnRecord<'_>,
        make_queue: impl FnOnce(Arc<dyn Storage>, &QueueOptions, &str) -> Queue + Send + 'static,
    ) -> Result<Log> {
        let options = self.options;
        let (lock, recovered) = lock_and_recover(&options, &*storage, replay)?;
        let Recovered { state, segments, next_seq, report, .. } = recovered;
        let Some(state) = state else { return Err(Error::Closed) };
        let resume = Resume::of(state, segments, next_seq);
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
        let life = Life { thread: Some(thread), lock: Some(lock) };
        let inner = Inner::new(shared, options, storage, backend, report, state, life);
        Ok(Log { inner: Arc::new(inner) })
    }

    /// Opens the log on a simulated disk, without a thread.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn open_stepped(mut self, disk: &SimDisk, replay: &mut OnRecord<'_>) -> Result<Log> {
        self.options.validate()?;
        self.options.dir = disk.dir().to_path_buf();
        let options = self.options;
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let (lock, recovered) = lock_and_recover(&options, &*storage, replay)?;
        let Recovered { state, segments, next_seq, report, .. } = recovered;
        let Some(state) = state else { return Err(Error::Closed) };
        let (queue, backend) = SimQueue::new(disk, &queue_options(&options));
        let sleep = queue.sleep();
        let resume = Resume::of(state, segments, next_seq);
        let state = Arc::clone(&resume.state);
        let (shared, driver) = assemble(&options, queue, &backend, resume, false);
        let life = Life { thread: None, lock: Some(lock) };
        let mut inner = Inner::new(shared, options, storage, backend, report, state, life);
        inner.stepped = Some(Stepped::new(driver, sleep));
        Ok(Log { inner: Arc::new(inner) })
    }

    /// Reads everything and reports what opening would find, but changes nothing and needs no
    /// lock. Damage is told in the report, not as an error.
    ///
    /// Beside a live writer the end of the log may look torn: batches are on their way. Damage is
    /// looked at once more before it is told.
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

    /// Opens the log to read only: the records that are valid on disk now, beside a live writer or
    /// without one. Takes no lock and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub fn read_only(self) -> Result<Reader> {
        let storage = Arc::new(StdStorage::new(&self.options.dir));
        self.read_only_on(storage, &mut || (), &mut |_| Ok(()))
    }
}

/// A queue and what is to be known of it.
pub(crate) type Queue = Result<(Box<dyn IoQueue>, Backend)>;

type Started = Result<(Arc<Shared>, Backend)>;

/// From where a log goes on.
struct Resume {
    state: Arc<Mutex<StateFile>>,
    log_tag: u64,
    /// How often the end was cut off.
    cuts: u64,
    /// The last record that `state` knows of.
    noted_seq: u64,
    segments: Vec<recovery::SegmentInfo>,
    durable_seq: u64,
}

impl Resume {
    fn of(state: StateFile, segments: Vec<recovery::SegmentInfo>, next_seq: Seq) -> Resume {
        let (log_tag, noted_seq) = (state.current().log_tag(), state.current().last_seq);
        let cuts = state.current().cuts.count();
        let state = Arc::new(Mutex::new(state));
        Resume { state, log_tag, cuts, noted_seq, segments, durable_seq: next_seq.get() - 1 }
    }
}

/// Starts the ring thread, which answers with what it shares once its queue stands.
fn start(
    options: &Options,
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
        let (shared, driver) = assemble(&options, queue, &backend, resume, true);
        if answer.send(Ok((shared, backend))).is_ok() {
            driver.run();
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
    options: &Options,
    io: Q,
    backend: &Backend,
    resume: Resume,
    has_thread: bool,
) -> (Arc<Shared>, RingThread<Q>) {
    let Resume { state, log_tag, cuts, noted_seq, segments, durable_seq } = resume;
    let notes = Notes::new(state, options.note_after, noted_seq);
    // A linked sync needs the ring. One that was not asked for may be given up later.
    let linked = backend.strategy == Strategy::LinkedFsync;
    let inline = options.inline && !(linked && options.strategy.is_some());
    let limits = Limits {
        unit: backend.unit_bytes,
        batch_bytes: options.batch_bytes,
        batch_records: options.batch_records as u32,
        batch_delay: options.batch_delay,
        segment_bytes: options.segment_bytes,
        spares: options.spare_segments,
        reserve: ReserveLimits::new(
            options.reserve_segments,
            options.segment_bytes,
            backend.unit_bytes,
        ),
        queue_bytes: options.queue_bytes,
        // Without a thread there is no clock either.
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
    let board = Board::new(dir, queue, segments, sender, wake);
    let shared = Arc::new(Shared::new(board, committer));
    shared.metrics().strategy = Some(backend.strategy);
    let ring_thread = RingThread::new(Arc::clone(&shared), io, controls, notes, has_thread);
    (shared, ring_thread)
}

fn queue_options(options: &Options) -> QueueOptions {
    QueueOptions {
        kind: options.backend,
        strategy: options.strategy,
        direct_io: options.direct_io,
        depth: options.queue_depth,
        blocks: options.preallocate,
    }
}

fn lock_and_recover(
    options: &Options,
    storage: &dyn Storage,
    replay: &mut OnRecord<'_>,
) -> Result<(Box<dyn LockGuard>, Recovered)> {
    let lock_name = name::lock_name(options.shard);
    let lock = storage
        .lock(&lock_name)
        .map_err(|error| error.or_no_space(storage.dir().join(&lock_name), 0))?;
    let on_batch = &mut |batch: RecoveredBatch<'_>| replay::emit(replay, &batch);
    let (shard, policy) = (options.shard, options.policy);
    let (identity, mode) = (&options.identity, Mode::Repair);
    let mut recovered = recovery::recover(storage, shard, policy, identity, mode, on_batch)?;
    let of_state = recovered.state.as_mut().and_then(StateFile::take_lock);
    // A lock keeps nobody away who finds another file under that name.
    storage.must_keep(&name::state_name(shard))?;
    Ok((Box::new(Locks { _of_state: of_state, _of_name: lock }), recovered))
}

/// The lock of `state`, which nobody can delete and keep a log, and that of the file `lock`, which
/// says who has it. It is the last to be released: whoever has it finds the other one free.
#[derive(Debug)]
struct Locks {
    _of_state: Option<Box<dyn LockGuard>>,
    _of_name: Box<dyn LockGuard>,
}

impl LockGuard for Locks {}

//! The handle of a log, which users hold, and the open log behind it.

mod notes;
mod waits;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::checkpoint::Checkpoint;
use crate::engine::commit::latch::Stage;
use crate::engine::commit::queue::WriteQueue;
use crate::engine::commit::ring_thread::control::Control;
use crate::engine::commit::shared::Shared;
#[cfg(any(test, feature = "sim"))]
use crate::engine::commit::stepped::Stepped;
use crate::engine::metrics::Metrics;
use crate::engine::options::{Builder, Durability, LogOptions};
use crate::engine::read::file_cache::FileCache;
use crate::engine::recovery::Recovery;
use crate::engine::state_file::StateFile;
use crate::error::Result;
use crate::io::{Backend, LockGuard, Storage};
use crate::mutation::mutated;
use crate::segment::reader::Origin;
use crate::seq::Seq;
use crate::sync::thread::JoinHandle;
use crate::sync::{Mutex, MutexGuard};
use crate::wakers::may_block;

/// A write-ahead log: one ordered stream of records in one directory.
///
/// A handle is cheap to clone, and any number of threads may use it; their appends share batches.
/// The log closes on [`close`](Self::close), or when the last handle is dropped.
///
/// ```
/// use ringwal::Log;
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::open(dir.path().join("log"))?;
/// let seq = log.append("it happened")?; // durable now, with everything before it
/// assert_eq!(log.durable_seq(), seq);
/// log.close()?;
///
/// let log = Log::open(dir.path().join("log"))?;
/// let records = log.reader()?.collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(records[0].data(), b"it happened");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Log {
    pub(crate) inner: Arc<OpenLog>,
}

impl Log {
    /// Opens the log in `dir` with default options, or creates it. Creates the directory if it is
    /// missing.
    ///
    /// # Errors
    ///
    /// As [`Builder::open`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Log> {
        Log::builder(dir).open()
    }

    /// A builder for the log in `dir`.
    pub fn builder(dir: impl AsRef<Path>) -> Builder {
        Builder::new(PathBuf::from(dir.as_ref()))
    }

    /// Blocks until every record appended so far, by any thread and with any durability, survives
    /// power loss. Returns the last of their sequence numbers.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed) or [`Error::Poisoned`](crate::Error::Poisoned).
    pub fn flush(&self) -> Result<Seq> {
        self.shared().require_own_process()?;
        let seq = self.appended_seq();
        // Records that are truncated meanwhile never become durable.
        self.wait_unless(seq, || self.appended_seq() < seq)?;
        Ok(seq)
    }

    /// Blocks until the durable watermark reaches `seq`. If `seq` is not appended yet, another
    /// thread has to append up to it.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed) or [`Error::Poisoned`](crate::Error::Poisoned).
    pub fn wait_durable(&self, seq: Seq) -> Result<()> {
        self.wait_unless(seq, || false)
    }

    /// [`wait_durable`](Self::wait_durable), unless `is_truncated` says that `seq` never becomes
    /// durable.
    pub(crate) fn wait_unless(&self, seq: Seq, is_truncated: impl Fn() -> bool) -> Result<()> {
        if self.durable_seq() >= seq {
            return Ok(());
        }
        may_block()?;
        let shared = self.shared();
        shared.require_own_process()?;
        let latch = shared.watermarks.latch_for(seq.get());
        // Check after the registration: a log that ends from here on fails this latch.
        shared.check()?;
        if is_truncated() && !mutated("flush_in_vain") {
            return Ok(());
        }
        shared.control(Control::WantDurable(seq.get()));
        self.inner.run_until(|| !matches!(latch.check(Stage::Synced), Ok(false)));
        latch.wait(Stage::Synced, None).map(|_| ())
    }

    /// The first record that is not truncated; one more than [`durable_seq`](Self::durable_seq) if
    /// no record is durable.
    pub fn first_seq(&self) -> Seq {
        let segments = self.shared().segments();
        // No record becomes durable before its segment is in the list. With the list locked and
        // empty, the next durable record is the first one.
        let Some(first) = segments.first() else { return self.durable_seq().next() };
        // The first segment may begin with records that `state` says are truncated.
        first.first_seq.max(self.recovery().first_seq)
    }

    /// The last sequence number given to a record, [`Seq::NONE`] if there is none.
    pub fn appended_seq(&self) -> Seq {
        Seq::new(self.shared().queue().appended_seq())
    }

    /// Every record up to this one survives the death of this process.
    pub fn written_seq(&self) -> Seq {
        Seq::new(self.shared().watermarks.written())
    }

    /// Every record up to this one survives power loss.
    pub fn durable_seq(&self) -> Seq {
        Seq::new(self.shared().watermarks.durable())
    }

    /// Counters and histograms since the log was opened.
    pub fn metrics(&self) -> Metrics {
        let queued_bytes = self.shared().queue().queued_bytes();
        let mut metrics = self.shared().metrics().clone();
        metrics.queued_bytes = queued_bytes;
        metrics
    }

    /// The I/O backend, why it was chosen, and what the system refused.
    pub fn backend(&self) -> &Backend {
        &self.inner.backend
    }

    /// The report of the recovery at open.
    pub fn recovery(&self) -> &Recovery {
        &self.inner.recovery
    }

    /// The log's directory.
    pub fn dir(&self) -> &Path {
        &self.options().dir
    }

    /// Makes every record durable, seals the active segment, marks the log as cleanly closed and
    /// releases it. This closes all clones of the handle; closing again does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`](crate::Error::Poisoned) if the log had failed before; it is released all
    /// the same.
    pub fn close(&self) -> Result<()> {
        self.may_close()?;
        self.inner.close()
    }

    /// An error where closing would wait for ever: in a waker, and in a child of the process that
    /// opened the log.
    pub(crate) fn may_close(&self) -> Result<()> {
        may_block()?;
        self.shared().require_own_process()
    }

    /// An error if the log is poisoned or closed, or belongs to another process.
    pub(crate) fn check(&self) -> Result<()> {
        self.shared().check()
    }

    /// An error in a child of the process that opened the log; takes no lock.
    pub(crate) fn require_own_process(&self) -> Result<()> {
        self.shared().require_own_process()
    }

    /// An error if the log's path no longer leads to its directory: acknowledged records are not
    /// found there.
    #[cfg(feature = "datawal")]
    pub(crate) fn check_place(&self) -> Result<()> {
        self.inner.storage.check_place()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// The durability of appends that do not choose one.
    pub(crate) fn durability(&self) -> Durability {
        self.options().durability
    }

    pub(crate) fn options(&self) -> &LogOptions {
        &self.inner.options
    }
}

// After a caught panic the log is as it was before, or poisoned: state that a panic could leave
// half changed is behind locks, and a panic of the ring thread ends the log. The compiler cannot
// see this through trait objects.
impl UnwindSafe for Log {}
impl RefUnwindSafe for Log {}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("dir", &self.dir())
            .field("appended_seq", &self.appended_seq())
            .field("durable_seq", &self.durable_seq())
            .finish_non_exhaustive()
    }
}

/// An open log, shared by its handles.
pub(crate) struct OpenLog {
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: LogOptions,
    pub(crate) storage: Arc<dyn Storage>,
    /// The open segments of all readers.
    pub(crate) files: Arc<FileCache>,
    pub(crate) backend: Backend,
    pub(crate) recovery: Recovery,
    /// The lock also serialises all changes to `state` or the list of segments from outside the
    /// commit path: truncation, rotation, checkpoints, closing.
    state: Arc<Mutex<StateFile>>,
    /// A copy of the checkpoint in `state`, so that reading it does not wait for a truncation.
    pub(crate) last_checkpoint: Mutex<Option<Checkpoint>>,
    pub(crate) running: Mutex<Running>,
    /// Runs the steps of the ring thread on a simulated disk, where there is no such thread.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) stepped: Option<Stepped>,
}

/// The ring thread and the lock of an open log; closing takes both.
pub(crate) struct Running {
    pub(crate) thread: Option<JoinHandle<()>>,
    /// Held as long as the log is open.
    pub(crate) lock: Option<Box<dyn LockGuard>>,
}

impl OpenLog {
    pub(crate) fn new(
        shared: Arc<Shared>,
        options: LogOptions,
        storage: Arc<dyn Storage>,
        backend: Backend,
        mut recovery: Recovery,
        state: Arc<Mutex<StateFile>>,
        running: Running,
    ) -> OpenLog {
        let origin = Origin::of(lock(&state).current());
        let last_checkpoint = Mutex::new(Checkpoint::of(lock(&state).current()));
        let files = Arc::new(FileCache::new(Arc::clone(&storage), options.shard, origin));
        recovery.backend = Some(format!("{}, {}", backend.kind, backend.strategy));
        OpenLog {
            shared,
            options,
            storage,
            files,
            backend,
            recovery,
            state,
            last_checkpoint,
            running: Mutex::new(running),
            #[cfg(any(test, feature = "sim"))]
            stepped: None,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, StateFile> {
        lock(&self.state)
    }

    /// On a simulated disk, runs the steps of the ring thread until `done`. With a ring thread it
    /// does nothing, and the caller waits for that thread.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn run_until(&self, done: impl Fn() -> bool) {
        if let Some(stepped) = &self.stepped {
            stepped.run_until(done);
        }
    }

    #[cfg(not(any(test, feature = "sim")))]
    pub(crate) fn run_until(&self, _done: impl Fn() -> bool) {}

    /// Waits until the queue has changed.
    pub(crate) fn wait_for_room<'a>(
        &'a self,
        queue: MutexGuard<'a, WriteQueue>,
        ticket: u64,
    ) -> MutexGuard<'a, WriteQueue> {
        #[cfg(any(test, feature = "sim"))]
        if let Some(stepped) = &self.stepped {
            drop(queue);
            stepped.run_once();
            return self.shared.queue();
        }
        self.shared.wait_for_room(queue, ticket)
    }
}

fn lock(state: &Mutex<StateFile>) -> MutexGuard<'_, StateFile> {
    state.lock()
}

//! The handle of a log, and what is behind it.

mod notes;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::commit::latch::Stage;
use crate::engine::commit::ring_thread::control::Control;
use crate::engine::commit::shared::Shared;
use crate::engine::metrics::Metrics;
use crate::engine::options::{Builder, Durability, Options};
use crate::engine::recovery::Recovery;
use crate::error::Result;
use crate::io::Backend;
use crate::mutation::mutated;
use crate::seq::Seq;
use crate::wakers::may_block;

use crate::engine::checkpoint::Checkpoint;
use crate::engine::commit::queue::WriteQueue;
#[cfg(any(test, feature = "sim"))]
use crate::engine::commit::stepped::Stepped;
use crate::engine::read::file_cache::FileCache;
use crate::engine::state_file::StateFile;
use crate::io::{LockGuard, Storage};
use crate::segment::reader::Origin;
use crate::sync::thread::JoinHandle;
use crate::sync::{Mutex, MutexGuard};

/// A write-ahead log: one ordered stream of records in one directory.
///
/// A handle is cheap to clone and may be used from any number of threads; their appends share
/// batches. The log closes when it is told to ([`close`](Self::close)) or when the last handle is
/// dropped.
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
    pub(crate) inner: Arc<Inner>,
}

impl Log {
    /// Opens the log in `dir` with default options, or creates it there. The directory is created
    /// if it is missing.
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

    /// Blocks until everything appended so far, by any thread, survives power loss, whatever
    /// durability it was appended with. Returns the last sequence number of that.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed) or [`Error::Poisoned`](crate::Error::Poisoned).
    pub fn flush(&self) -> Result<Seq> {
        self.shared().require_own_process()?;
        let seq = self.appended_seq();
        // What was truncated meanwhile will never be durable.
        self.wait_unless(seq, || self.appended_seq() < seq)?;
        Ok(seq)
    }

    /// Blocks until the durable watermark has reached `seq`, which may lie in the future: then
    /// someone else must append up to it.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed) or [`Error::Poisoned`](crate::Error::Poisoned).
    pub fn wait_durable(&self, seq: Seq) -> Result<()> {
        self.wait_unless(seq, || false)
    }

    pub(crate) fn wait_unless(&self, seq: Seq, is_vain: impl Fn() -> bool) -> Result<()> {
        if self.durable_seq() >= seq {
            return Ok(());
        }
        may_block()?;
        let shared = self.shared();
        shared.require_own_process()?;
        let latch = shared.watermarks.latch_for(seq.get());
        // After the registration: whoever ends the log from here on fails this latch.
        shared.check()?;
        if is_vain() && !mutated("flush_in_vain") {
            return Ok(());
        }
        shared.control(Control::WantDurable(seq.get()));
        self.inner.run_until(|| !matches!(latch.check(Stage::Synced), Ok(false)));
        latch.wait(Stage::Synced, None).map(|_| ())
    }

    /// The first record that is still there or on its way; one more than
    /// [`durable_seq`](Self::durable_seq) if none is durable.
    pub fn first_seq(&self) -> Seq {
        let segments = self.shared().segments();
        // Nothing becomes durable before its segment is in the list, so with the list in hand
        // this is the first record that is not there yet.
        let Some(first) = segments.first() else { return self.durable_seq().next() };
        // `state` may say that a segment begins with records that are gone.
        first.first_seq.max(self.recovery().first_seq)
    }

    /// The last sequence number that was given to a record, [`Seq::NONE`] if none was.
    pub fn appended_seq(&self) -> Seq {
        Seq::new(self.shared().queue().appended_seq())
    }

    /// Everything up to here survives the death of this process.
    pub fn written_seq(&self) -> Seq {
        Seq::new(self.shared().watermarks.written())
    }

    /// Everything up to here survives power loss.
    pub fn durable_seq(&self) -> Seq {
        Seq::new(self.shared().watermarks.durable())
    }

    /// The figures since the log was opened.
    pub fn metrics(&self) -> Metrics {
        let queued_bytes = self.shared().queue().queued_bytes();
        let mut metrics = self.shared().metrics().clone();
        metrics.queued_bytes = queued_bytes;
        metrics
    }

    /// What executes I/O here, why, and what was refused.
    pub fn backend(&self) -> &Backend {
        &self.inner.backend
    }

    /// What opening found.
    pub fn recovery(&self) -> &Recovery {
        &self.inner.recovery
    }

    /// The log's directory.
    pub fn dir(&self) -> &Path {
        &self.options().dir
    }

    /// Makes everything durable, seals the active segment, marks the log as cleanly closed and
    /// releases it. All clones of the handle are closed with it; closing again does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`](crate::Error::Poisoned) when the log had failed before; it is released
    /// all the same.
    pub fn close(&self) -> Result<()> {
        self.may_close()?;
        self.inner.close()
    }

    /// An error where closing would wait for what cannot happen: in a waker, and in a child of the
    /// process that opened the log.
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

    /// An error if the path of the directory does not lead to it any more: what was acknowledged is
    /// not found there.
    #[cfg(feature = "datawal")]
    pub(crate) fn check_place(&self) -> Result<()> {
        self.inner.storage.check_place()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// What appends get that ask for nothing else.
    pub(crate) fn durability(&self) -> Durability {
        self.options().durability
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }
}

// Whoever catches a panic finds a log that is as good as before it, or poisoned: what a panic could
// leave half done is behind locks, and a panic of the thread that drives the log ends the log. The
// compiler only sees trait objects.
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

/// A log that is open.
pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: Options,
    pub(crate) storage: Arc<dyn Storage>,
    /// What readers have open.
    pub(crate) files: Arc<FileCache>,
    pub(crate) backend: Backend,
    pub(crate) recovery: Recovery,
    /// Also serialises everything that changes `state` or the list of segments from outside of
    /// the commit path: truncation, rotation, checkpoints, closing.
    state: Arc<Mutex<StateFile>>,
    /// What `state` has, for whoever must not wait for a truncation.
    pub(crate) last_checkpoint: Mutex<Option<Checkpoint>>,
    pub(crate) life: Mutex<Life>,
    /// Runs the driver where there is no ring thread.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) stepped: Option<Stepped>,
}

/// What ends with the log.
pub(crate) struct Life {
    pub(crate) thread: Option<JoinHandle<()>>,
    /// Held as long as the log is open.
    pub(crate) lock: Option<Box<dyn LockGuard>>,
}

impl Inner {
    pub(crate) fn new(
        shared: Arc<Shared>,
        options: Options,
        storage: Arc<dyn Storage>,
        backend: Backend,
        mut recovery: Recovery,
        state: Arc<Mutex<StateFile>>,
        life: Life,
    ) -> Inner {
        let origin = Origin::of(lock(&state).current());
        let last_checkpoint = Mutex::new(Checkpoint::of(lock(&state).current()));
        let files = Arc::new(FileCache::new(Arc::clone(&storage), options.shard, origin));
        recovery.backend = Some(format!("{}, {}", backend.kind, backend.strategy));
        Inner {
            shared,
            options,
            storage,
            files,
            backend,
            recovery,
            state,
            last_checkpoint,
            life: Mutex::new(life),
            #[cfg(any(test, feature = "sim"))]
            stepped: None,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, StateFile> {
        lock(&self.state)
    }

    /// Lets the driver run until `done`, where there is no ring thread; with one, who waits can
    /// only wait.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn run_until(&self, done: impl Fn() -> bool) {
        if let Some(stepped) = &self.stepped {
            stepped.run_until(done);
        }
    }

    #[cfg(not(any(test, feature = "sim")))]
    pub(crate) fn run_until(&self, _done: impl Fn() -> bool) {}

    /// Waits until something changed in the queue.
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

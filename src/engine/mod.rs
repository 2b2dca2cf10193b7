//! The engine: one log, from its handle down to the ring thread.
//!
//! | file | what it does |
//! |---|---|
//! | `options` | the builder; checks every option before the disk is touched |
//! | `open`, `directory` | opening (directory, lock, recovery, ring thread) and closing |
//! | `append`, `batch`, `commit` | a caller's side of an append: bytes in, ticket out |
//! | `group_commit` | pure: which batch a record joins, what may be acknowledged |
//! | `committer` | the state machine by which batches become durable; an appender may drive it |
//! | `driver`, `shared` | the ring thread, which drives it as a rule, and what all share |
//! | `control` | what the handles ask of it |
//! | `recovery`, `state_file` | what is on disk, and what to make of it |
//! | `reader`, `files` | records back from disk, in order or by their place |
//! | `replay`, `still` | records while recovery verifies them, also beside a live writer |
//! | `backup` | a copy of a log that may be in use |
//! | `retention`, `checkpoint` | truncation at both ends, rotation, checkpoints |
//! | `metrics` | figures |
//! | `sim` | logs on a simulated disk, without a thread |

pub(crate) mod append;
pub(crate) mod backup;
pub(crate) mod batch;
pub(crate) mod checkpoint;
pub(crate) mod commit;
pub(crate) mod committer;
pub(crate) mod control;
pub(crate) mod cuts;
pub(crate) mod directory;
pub(crate) mod driver;
pub(crate) mod files;
pub(crate) mod group_commit;
pub(crate) mod metrics;
pub(crate) mod open;
pub(crate) mod options;
pub(crate) mod reader;
pub(crate) mod ready;
pub(crate) mod recovery;
pub(crate) mod replay;
pub(crate) mod retention;
mod shared;
#[cfg(any(test, feature = "sim"))]
pub(crate) mod sim;
pub(crate) mod state_file;
mod still;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod watch;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::control::Control;
use crate::engine::metrics::Metrics;
use crate::engine::open::Inner;
use crate::engine::options::{Builder, Durability, Options};
use crate::engine::recovery::Recovery;
use crate::engine::shared::Shared;
use crate::error::Result;
use crate::gate::Level;
use crate::io::Backend;
use crate::mutation::mutated;
use crate::seq::Seq;
use crate::wakers::may_block;

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
    inner: Arc<Inner>,
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

    fn wait_unless(&self, seq: Seq, is_vain: impl Fn() -> bool) -> Result<()> {
        if self.durable_seq() >= seq {
            return Ok(());
        }
        may_block()?;
        let shared = self.shared();
        shared.require_own_process()?;
        let gate = shared.watermarks.gate_for(seq.get());
        // After the registration: whoever ends the log from here on fails this gate.
        shared.check()?;
        if is_vain() && !mutated("flush_in_vain") {
            return Ok(());
        }
        shared.control(Control::WantDurable(seq.get()));
        self.inner.run_until(|| !matches!(gate.check(Level::Synced), Ok(false)));
        gate.wait(Level::Synced, None).map(|_| ())
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
        Seq::new(self.shared().inbox().appended_seq())
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
        let queued_bytes = self.shared().inbox().queued_bytes();
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

    fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// What appends get that ask for nothing else.
    pub(crate) fn durability(&self) -> Durability {
        self.options().durability
    }

    fn options(&self) -> &Options {
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

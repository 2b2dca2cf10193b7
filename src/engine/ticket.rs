//! The ticket of an append: numbers at once, the acknowledgement later.

use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::engine::commit::latch::{Latch, Outcome, Stage};
use crate::engine::commit::queue::Placed;
use crate::engine::options::Durability;
use crate::engine::read::record::{CutEpoch, RecordRef};
use crate::error::Result;
use crate::seq::Seq;
use crate::sync::now;
use crate::wakers::{Key, run_foreign};

/// The ticket of an append: its sequence number now, its acknowledgement later.
///
/// Wait for it with [`wait`](Self::wait) or `.await` it in any runtime. Dropping it cancels
/// nothing: the record is on its way. A clone is done, or fails, together with it.
///
/// A record that is acknowledged as synced is durable with all before it. Their tickets may say so
/// a moment later, where they went in other batches: they are told one batch after another.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let log = ringwal::Log::open(dir.path().join("log"))?;
/// let first = log.submit("one")?;
/// let second = log.submit("two")?;
/// assert_eq!(second.wait()?, first.seq().next());
/// assert!(log.durable_seq() >= first.seq()); // so is everything before it
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the record is acknowledged only when the commit is waited for"]
pub struct Commit {
    first_seq: Seq,
    segment: Seq,
    offset: u64,
    latch: Arc<Latch>,
    records: u32,
    /// The length of the first record.
    bytes: u32,
    stage: Option<Stage>,
    cuts: u16,
    /// Its waker's, as a future.
    key: Option<Key>,
}

/// Who keeps a window of tickets keeps thousands of them, and moves each several times.
const _: () = assert!(size_of::<Commit>() <= 48);

impl Commit {
    /// The ticket of `records` records, the first of `bytes` bytes, that went to this place.
    #[inline]
    pub(crate) fn new(placed: Placed, records: u32, bytes: u32, stage: Option<Stage>) -> Commit {
        let Placed { first_seq, latch, segment, offset, cuts, role: _ } = placed;
        let (first_seq, segment) = (Seq::new(first_seq), Seq::new(segment));
        Commit { first_seq, segment, offset, latch, records, bytes, stage, cuts, key: None }
    }

    /// The sequence number of the record; of an atomic batch, that of its last one. It counts
    /// only once the commit is done.
    pub fn seq(&self) -> Seq {
        Seq::new(self.first_seq.get() + u64::from(self.records) - 1)
    }

    /// The sequence numbers of all records of an atomic batch.
    pub fn seqs(&self) -> RangeInclusive<Seq> {
        self.first_seq..=self.seq()
    }

    /// Where the record lies; of an atomic batch, its first one.
    pub fn record_ref(&self) -> RecordRef {
        let epoch = CutEpoch(Some(self.cuts));
        RecordRef { epoch, ..RecordRef::new(self.first_seq, self.segment, self.offset, self.bytes) }
    }

    /// Whether the record is acknowledged; false also after a failure.
    pub fn is_done(&self) -> bool {
        self.stage.is_none_or(|stage| self.latch.check(stage).unwrap_or(false))
    }

    /// Whether waiting would block.
    pub(crate) fn is_pending(&self) -> bool {
        self.stage.is_some_and(|stage| matches!(self.latch.check(stage), Ok(false)))
    }

    /// Blocks until the record is acknowledged.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`](crate::Error::Poisoned) with the root cause when a write or sync failed
    /// before, [`Error::InWaker`](crate::Error::InWaker) in a waker,
    /// [`Error::Forked`](crate::Error::Forked) in a child of the process that appended: only the
    /// parent learns how it went on.
    pub fn wait(&self) -> Result<Seq> {
        if let Some(stage) = self.stage {
            self.latch.wait(stage, None)?;
        }
        Ok(self.seq())
    }

    /// Whether an appender of its batch is called to commit it.
    pub(crate) fn is_called(&self) -> bool {
        self.latch.is_called()
    }

    /// Blocks the thread of an append, which may be called to commit its batch.
    pub(crate) fn wait_or_lead(&self, deadline: Option<Instant>) -> Result<Outcome> {
        match self.stage {
            None => Ok(Outcome::Reached),
            Some(stage) => self.latch.wait_or_lead(stage, deadline),
        }
    }

    /// Calls `callback` once, with the sequence number when the record is acknowledged, or with the
    /// error. It runs on the thread that acknowledges, outside of all locks, or on this one if that
    /// has happened; so it should be short, and what would block in it is an error
    /// ([`Error::InWaker`](crate::Error::InWaker)). A panic in it ends nothing.
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let log = ringwal::Log::open(dir.path().join("log"))?;
    /// let (sender, acknowledged) = channel();
    /// log.submit("one")?.on_done(move |outcome| sender.send(outcome).unwrap());
    /// assert_eq!(acknowledged.recv()??, ringwal::Seq::FIRST);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_done(&self, callback: impl FnOnce(Result<Seq>) + Send + 'static) {
        let seq = self.seq();
        match self.stage {
            None => run_foreign(|| callback(Ok(seq))),
            Some(stage) => {
                let callback = move |outcome: Result<()>| callback(outcome.map(|()| seq));
                self.latch.on_reached(stage, Box::new(callback));
            }
        }
    }

    /// Like [`wait`](Self::wait), for at most `timeout`; `None` when it passed.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<Seq>> {
        let done = match self.stage {
            None => true,
            Some(stage) => self.latch.wait(stage, now().checked_add(timeout))?,
        };
        Ok(done.then(|| self.seq()))
    }
}

impl Future for Commit {
    type Output = Result<Seq>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Seq>> {
        let commit = &mut *self;
        match commit.stage {
            None => Poll::Ready(Ok(commit.seq())),
            Some(stage) => {
                let done = commit.latch.poll(stage, context.waker(), &mut commit.key);
                done.map(|done| done.map(|()| commit.seq()))
            }
        }
    }
}

impl Clone for Commit {
    /// A clone has a waker of its own.
    fn clone(&self) -> Commit {
        Commit { latch: Arc::clone(&self.latch), key: None, ..*self }
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        if let (Some(stage), Some(key)) = (self.stage, self.key) {
            self.latch.leave(stage, key);
        }
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit")
            .field("seqs", &self.seqs())
            .field("done", &self.is_done())
            .finish_non_exhaustive()
    }
}

impl Durability {
    /// What the latch must have reached; `None` for what needs no waiting.
    pub(crate) fn stage(self) -> Option<Stage> {
        match self {
            Durability::Queued => None,
            Durability::Written => Some(Stage::Written),
            Durability::Synced => Some(Stage::Synced),
        }
    }
}

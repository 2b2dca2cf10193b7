//! `EventCommit`, the ticket of an asynchronous append: for the event itself or for a duplicate.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::wakers::run_foreign;
use crate::wal::dedup::Admission;
use crate::wal::pending::PendingWaiter;
use crate::{Commit, Error, Result, Seq};

/// The ticket of [`WalHandle::submit`](crate::wal::WalHandle::submit): wait for it
/// with [`wait`](Self::wait) or `.await` it in any runtime. It yields the sequence number, or 0
/// for a duplicate, once the event is durable. Dropping it cancels nothing.
///
/// ```
/// use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
///
/// let dir = tempfile::tempdir()?;
/// let config = WalConfig { dir: dir.path().to_path_buf(), ..WalConfig::default() };
/// let (wal, _, _) = WalHandle::open(config)?;
/// let event = SignalEvent { entity_id: 1, signal_type: 0, weight: 1.0, timestamp_nanos: 5 };
/// let (first, second) = (wal.submit(event)?, wal.submit(event)?);
/// assert_eq!((first.wait()?, second.wait()?), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "the event is acknowledged only when the ticket is waited for"]
pub struct EventCommit {
    pub(crate) source: CommitSource,
}

/// The record whose durability acknowledges the event.
#[derive(Debug)]
pub(crate) enum CommitSource {
    /// The event's own record.
    Own(Commit),
    /// The record of the equal event before it.
    Duplicate(Commit),
    /// The same, but that event is not appended yet.
    Pending(PendingWaiter),
    /// None: an equal event is durable already.
    Durable,
}

impl CommitSource {
    /// The source for a duplicate in the log of this directory; `None` for a new event.
    pub(crate) fn of_duplicate(admission: Admission, home: &Path) -> Option<CommitSource> {
        match admission {
            Admission::New => None,
            Admission::Known => Some(CommitSource::Durable),
            Admission::Appended(commit) => Some(CommitSource::Duplicate(commit)),
            Admission::Reserved(pending) => {
                Some(CommitSource::Pending(PendingWaiter::new(pending, home)))
            }
        }
    }
}

impl EventCommit {
    /// Blocks until the event is durable. Returns its sequence number, or 0 for a duplicate.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`] with the root cause when a write or sync failed.
    /// A duplicate fails with the error of the first event.
    pub fn wait(&self) -> Result<u64> {
        match &self.source {
            CommitSource::Own(commit) => commit.wait().map(u64::from),
            CommitSource::Duplicate(commit) => commit.wait().map(|_| 0),
            CommitSource::Pending(waiter) => match waiter.wait(None)? {
                Some(commit) => commit.wait().map(|_| 0),
                None => Err(Error::Closed),
            },
            CommitSource::Durable => Ok(0),
        }
    }

    /// Like [`wait`](Self::wait), for at most `timeout`; `None` when it passed.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<u64>> {
        let duplicate = |done: Option<Seq>| done.map(|_| 0);
        match &self.source {
            CommitSource::Own(commit) => Ok(commit.wait_timeout(timeout)?.map(u64::from)),
            CommitSource::Duplicate(commit) => commit.wait_timeout(timeout).map(duplicate),
            CommitSource::Pending(waiter) => {
                let started = Instant::now();
                match waiter.wait(started.checked_add(timeout))? {
                    Some(commit) => {
                        let left = timeout.saturating_sub(started.elapsed());
                        commit.wait_timeout(left).map(duplicate)
                    }
                    None => Ok(None),
                }
            }
            CommitSource::Durable => Ok(Some(0)),
        }
    }

    /// Calls `callback` once, with what [`wait`](Self::wait) would return, when that is known: on
    /// the thread that acknowledges, or on this one if it is known already. What would block in it
    /// is an error ([`Error::InWaker`]); see [`Commit::on_done`].
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let config = WalConfig { dir: dir.path().to_path_buf(), ..WalConfig::default() };
    /// let (wal, _, _) = WalHandle::open(config)?;
    /// let event = SignalEvent { entity_id: 1, signal_type: 0, weight: 1.0, timestamp_nanos: 5 };
    /// let (sender, acknowledged) = channel();
    /// wal.submit(event)?.on_done(move |outcome| sender.send(outcome).unwrap());
    /// assert_eq!(acknowledged.recv()??, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_done(&self, callback: impl FnOnce(Result<u64>) + Send + 'static) {
        match &self.source {
            CommitSource::Own(commit) => commit.on_done(|done| callback(done.map(u64::from))),
            CommitSource::Duplicate(commit) => commit.on_done(|done| callback(done.map(|_| 0))),
            CommitSource::Pending(waiter) => waiter.on_resolved(|outcome| match outcome {
                Ok(commit) => commit.on_done(|done| callback(done.map(|_| 0))),
                Err(error) => callback(Err(error)),
            }),
            CommitSource::Durable => run_foreign(|| callback(Ok(0))),
        }
    }

    /// Whether the event, or the first event of a duplicate, is acknowledged. Stays false after a
    /// failure.
    pub fn is_done(&self) -> bool {
        match &self.source {
            CommitSource::Own(commit) | CommitSource::Duplicate(commit) => commit.is_done(),
            CommitSource::Pending(waiter) => {
                matches!(waiter.outcome(), Some(Ok(commit)) if commit.is_done())
            }
            CommitSource::Durable => true,
        }
    }

    /// Whether waiting would block.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn is_pending(&self) -> bool {
        match &self.source {
            CommitSource::Own(commit) | CommitSource::Duplicate(commit) => commit.is_pending(),
            CommitSource::Pending(waiter) => match waiter.outcome() {
                None => true,
                Some(outcome) => outcome.is_ok_and(|commit| commit.is_pending()),
            },
            CommitSource::Durable => false,
        }
    }

    /// Whether the event is known to be a duplicate.
    pub fn is_duplicate(&self) -> bool {
        !matches!(self.source, CommitSource::Own(_))
    }
}

impl Future for EventCommit {
    type Output = Result<u64>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<u64>> {
        if let CommitSource::Pending(waiter) = &mut self.source {
            match waiter.poll(context.waker()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(commit)) => self.source = CommitSource::Duplicate(commit),
            }
        }
        match &mut self.source {
            CommitSource::Own(commit) => Pin::new(commit).poll(context).map_ok(u64::from),
            CommitSource::Duplicate(commit) => Pin::new(commit).poll(context).map_ok(|_| 0),
            CommitSource::Pending(_) | CommitSource::Durable => Poll::Ready(Ok(0)),
        }
    }
}

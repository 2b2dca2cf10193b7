//! The ticket of an event's append, and what a duplicate waits for.

use crate::sync::plain::{Condvar, Mutex, MutexGuard};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::wakers::{Key, Wakers, may_block};
use crate::wal::dedup::Admission;
use crate::{Commit, Result};

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
    pub(crate) waits: Waits,
}

/// What an append waits for.
#[derive(Debug)]
pub(crate) enum Waits {
    /// Its own record.
    First(Commit),
    /// The record of an equal event.
    Duplicate(Commit),
    /// An equal event that is about to be appended.
    Reserved(Waiting),
    /// Nothing.
    Known,
}

impl Waits {
    /// What an event waits for that is not to be appended.
    pub(crate) fn of(admission: Admission) -> Option<Waits> {
        match admission {
            Admission::New => None,
            Admission::Known => Some(Waits::Known),
            Admission::Appended(commit) => Some(Waits::Duplicate(commit)),
            Admission::Reserved(ticket) => Some(Waits::reserved(ticket)),
        }
    }
}

impl EventCommit {
    /// Blocks until the event is durable; its sequence number, or 0 if it is a duplicate.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`] with the root cause when a write or sync failed before; for a
    /// duplicate, what its first one failed with.
    pub fn wait(&self) -> Result<u64> {
        match &self.waits {
            Waits::First(commit) => commit.wait().map(u64::from),
            Waits::Duplicate(commit) => commit.wait().map(|_| 0),
            Waits::Reserved(Waiting { ticket, .. }) => ticket.wait()?.wait().map(|_| 0),
            Waits::Known => Ok(0),
        }
    }

    /// Whether the event, or the one that it is a duplicate of, is acknowledged; false also after
    /// a failure.
    pub fn is_done(&self) -> bool {
        match &self.waits {
            Waits::First(commit) | Waits::Duplicate(commit) => commit.is_done(),
            Waits::Reserved(Waiting { ticket, .. }) => {
                matches!(&ticket.state().outcome, Some(Ok(commit)) if commit.is_done())
            }
            Waits::Known => true,
        }
    }

    /// Whether waiting would block.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn is_pending(&self) -> bool {
        match &self.waits {
            Waits::First(commit) | Waits::Duplicate(commit) => commit.is_pending(),
            Waits::Reserved(Waiting { ticket, .. }) => match &ticket.state().outcome {
                None => true,
                Some(outcome) => outcome.as_ref().is_ok_and(Commit::is_pending),
            },
            Waits::Known => false,
        }
    }

    /// Whether the event is known to be a duplicate.
    pub fn is_duplicate(&self) -> bool {
        !matches!(self.waits, Waits::First(_))
    }
}

impl Future for EventCommit {
    type Output = Result<u64>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<u64>> {
        if let Waits::Reserved(Waiting { ticket, key }) = &mut self.waits {
            match ticket.poll(context.waker(), key) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(commit)) => self.waits = Waits::Duplicate(commit),
            }
        }
        match &mut self.waits {
            Waits::First(commit) => Pin::new(commit).poll(context).map_ok(u64::from),
            Waits::Duplicate(commit) => Pin::new(commit).poll(context).map_ok(|_| 0),
            Waits::Reserved(_) | Waits::Known => Poll::Ready(Ok(0)),
        }
    }
}

impl Waits {
    /// For the event that this ticket is of to be appended.
    pub(crate) fn reserved(ticket: Arc<Ticket>) -> Waits {
        Waits::Reserved(Waiting { ticket, key: None })
    }
}

/// Waits for an equal event to be appended.
#[derive(Debug)]
pub(crate) struct Waiting {
    ticket: Arc<Ticket>,
    /// Its waker's, as a future.
    key: Option<Key>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.ticket.state().wakers.leave(key);
            drop(waker);
        }
    }
}

/// Where duplicates of a reserved event learn what became of it.
#[derive(Default)]
pub(crate) struct Ticket {
    state: Mutex<TicketState>,
    resolved: Condvar,
}

#[derive(Default)]
struct TicketState {
    outcome: Option<Result<Commit>>,
    wakers: Wakers,
}

impl Ticket {
    pub(crate) fn resolve(&self, outcome: Result<Commit>) {
        let wakers = {
            let mut state = self.state();
            state.outcome = Some(outcome);
            state.wakers.take()
        };
        self.resolved.notify_all();
        wakers.wake();
    }

    /// Blocks until the event was appended, or failed to be.
    fn wait(&self) -> Result<Commit> {
        let mut state = self.state();
        loop {
            match &state.outcome {
                Some(outcome) => return outcome.clone(),
                None => {
                    may_block()?;
                    state = self.resolved.wait(state);
                }
            }
        }
    }

    fn poll(&self, waker: &Waker, key: &mut Option<Key>) -> Poll<Result<Commit>> {
        let waker = waker.clone();
        let mut state = self.state();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        let before = state.wakers.enter(key, waker);
        drop(state);
        drop(before);
        Poll::Pending
    }

    fn state(&self) -> MutexGuard<'_, TicketState> {
        self.state.lock()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resolved = self.state().outcome.is_some();
        f.debug_struct("Ticket").field("resolved", &resolved).finish_non_exhaustive()
    }
}

//! Waiting for room without blocking a thread: [`Ready`].

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::engine::{Log, shared::Shared};
use crate::wakers::Key;

/// See [`Log::ready`].
///
/// ```
/// use ringwal::{Commit, Error, Log, Result};
///
/// /// Appends from a task: waits without blocking the thread that runs it.
/// async fn append(log: &Log, record: &[u8]) -> Result<Commit> {
///     loop {
///         match log.try_append(record) {
///             Err(Error::QueueFull) => log.ready().await,
///             other => return other,
///         }
///     }
/// }
/// ```
#[derive(Debug)]
#[must_use = "a future does nothing until it is polled"]
pub struct Ready<'a> {
    log: &'a Log,
    key: Option<Key>,
}

impl Ready<'_> {
    pub(crate) fn of(log: &Log) -> Ready<'_> {
        Ready { log, key: None }
    }
}

impl Future for Ready<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shared: &Shared = self.log.shared();
        let waker = context.waker().clone();
        let mut inbox = shared.inbox();
        if !inbox.is_blocked() {
            return Poll::Ready(());
        }
        let before = inbox.waiting_tasks.enter(&mut self.key, waker);
        drop(inbox);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.log.shared().inbox().waiting_tasks.leave(key);
            drop(waker);
        }
    }
}

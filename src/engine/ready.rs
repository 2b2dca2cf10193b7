//! Waiting for room without blocking a thread: [`Ready`].

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::engine::{Log, shared::Shared};

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
}

impl Ready<'_> {
    pub(crate) fn of(log: &Log) -> Ready<'_> {
        Ready { log }
    }
}

impl Future for Ready<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shared: &Shared = self.log.shared();
        let mut inbox = shared.inbox();
        if !inbox.is_blocked() {
            return Poll::Ready(());
        }
        let known = inbox.waiting_tasks.iter().any(|task| task.will_wake(context.waker()));
        if !known {
            inbox.waiting_tasks.push(context.waker().clone());
        }
        Poll::Pending
    }
}

//! Waiting for room without blocking a thread: [`Ready`].

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::engine::{Log, commit::shared::Shared};
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
        if shared.is_forked() {
            // The next append says so. Here nothing will ever change, or be unlocked.
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        let mut queue = shared.queue();
        if !queue.is_blocked() {
            return Poll::Ready(());
        }
        let before = queue.waiting_tasks.enter(&mut self.key, waker);
        drop(queue);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.filter(|_| !self.log.shared().is_forked()) {
            let waker = self.log.shared().queue().waiting_tasks.leave(key);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Wake, Waker};

    use super::*;
    use crate::Error;
    use crate::io::SimDisk;

    struct Nobody;

    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_future_that_is_dropped_leaves_no_waker_behind() {
        let log = Log::builder("log").open_stepped(&SimDisk::new(1), &mut |_| Ok(())).unwrap();
        // Nobody has prepared a segment yet, and nobody will.
        assert!(matches!(log.try_append("one"), Err(Error::QueueFull)));
        let (dropped, kept) = (Arc::new(Nobody), Arc::new(Nobody));
        let poll = |ready: &mut Ready<'_>, task: &Arc<Nobody>| {
            let waker = Waker::from(Arc::clone(task));
            assert!(Pin::new(ready).poll(&mut Context::from_waker(&waker)).is_pending());
        };
        let (mut first, mut second) = (log.ready(), log.ready());
        poll(&mut first, &dropped);
        poll(&mut first, &dropped);
        poll(&mut second, &kept);
        assert_eq!((Arc::strong_count(&dropped), Arc::strong_count(&kept)), (2, 2));
        drop(first);
        assert_eq!((Arc::strong_count(&dropped), Arc::strong_count(&kept)), (1, 2));
        drop(second);
    }
}

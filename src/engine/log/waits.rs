//! Waiting for the durable watermark without a thread.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::engine::Log;
use crate::engine::commit::latch::{Latch, Stage};
use crate::engine::commit::ring_thread::control::Control;
use crate::error::Result;
use crate::mutation::mutated;
use crate::seq::Seq;
use crate::wakers::Key;

impl Log {
    /// [`flush`](Log::flush) without blocking a thread, in any runtime: done when every record
    /// appended before its first poll survives power loss. Dropping the future cancels nothing but
    /// the wait.
    ///
    /// ```
    /// # fn block_on<T>(future: impl Future<Output = T>) -> T {
    /// #     let mut future = std::pin::pin!(future);
    /// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    /// #     loop {
    /// #         if let std::task::Poll::Ready(done) = future.as_mut().poll(&mut context) {
    /// #             return done;
    /// #         }
    /// #         std::thread::yield_now();
    /// #     }
    /// # }
    /// use ringwal::{Durability, Log};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let log = Log::open(dir.path().join("log"))?;
    /// block_on(async {
    ///     for word in ["a", "b", "c"] {
    ///         log.at(Durability::Queued).append_async(word).await?;
    ///     }
    ///     log.flush_async().await
    /// })?;
    /// assert_eq!(log.durable_seq().get(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`flush`](Log::flush).
    pub async fn flush_async(&self) -> Result<Seq> {
        self.shared().require_own_process()?;
        let seq = self.appended_seq();
        Durable::new(self, seq, true).await?;
        Ok(seq)
    }

    /// [`wait_durable`](Log::wait_durable) without blocking a thread, in any runtime. Dropping the
    /// future leaves nothing behind. It is also the way to watch the watermark: wait for the next
    /// number, read [`durable_seq`](Log::durable_seq), and so on.
    ///
    /// ```
    /// # fn block_on<T>(future: impl Future<Output = T>) -> T {
    /// #     let mut future = std::pin::pin!(future);
    /// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    /// #     loop {
    /// #         if let std::task::Poll::Ready(done) = future.as_mut().poll(&mut context) {
    /// #             return done;
    /// #         }
    /// #         std::thread::yield_now();
    /// #     }
    /// # }
    /// use ringwal::{Log, Seq};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let log = Log::open(dir.path().join("log"))?;
    /// let shipper = log.clone();
    /// let shipped = std::thread::spawn(move || -> ringwal::Result<Seq> {
    ///     let mut seen = Seq::NONE;
    ///     while seen < Seq::new(3) {
    ///         block_on(shipper.wait_durable_async(seen.next()))?;
    ///         seen = shipper.durable_seq(); // send what lies in between to a follower
    ///     }
    ///     Ok(seen)
    /// });
    /// for word in ["a", "b", "c"] {
    ///     log.append(word)?;
    /// }
    /// assert_eq!(shipped.join().unwrap()?, Seq::new(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait_durable`](Log::wait_durable).
    pub async fn wait_durable_async(&self, seq: Seq) -> Result<()> {
        Durable::new(self, seq, false).await
    }
}

/// The durable watermark reaches a number.
struct Durable<'a> {
    log: &'a Log,
    seq: Seq,
    /// It was appended, so it is done as well if it is truncated.
    was_appended: bool,
    latch: Option<Arc<Latch>>,
    key: Option<Key>,
}

impl Durable<'_> {
    fn new(log: &Log, seq: Seq, was_appended: bool) -> Durable<'_> {
        Durable { log, seq, was_appended, latch: None, key: None }
    }

    /// The latch to wait for, or `None` if there is nothing to wait for.
    fn register(&mut self) -> Result<Option<Arc<Latch>>> {
        if let Some(latch) = &self.latch {
            return Ok(Some(Arc::clone(latch)));
        }
        let shared = self.log.shared();
        if self.log.durable_seq() >= self.seq {
            return Ok(None);
        }
        shared.require_own_process()?;
        let latch = self.latch.insert(shared.watermarks.latch_for(self.seq.get()));
        let latch = Arc::clone(latch);
        // Check after the registration: a log that ends from here on fails this latch.
        shared.check()?;
        let appended = self.log.appended_seq();
        if self.was_appended && appended < self.seq {
            return Ok(None);
        }
        shared.control(Control::WantDurable(self.seq.get()));
        if appended >= self.seq {
            self.log.inner.run_until(|| !matches!(latch.check(Stage::Synced), Ok(false)));
        }
        Ok(Some(latch))
    }
}

impl Future for Durable<'_> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let wait = &mut *self;
        match wait.register() {
            Ok(Some(latch)) => latch.poll(Stage::Synced, context.waker(), &mut wait.key),
            Ok(None) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Drop for Durable<'_> {
    fn drop(&mut self) {
        let Some(latch) = self.latch.take() else { return };
        if self.log.shared().is_forked() {
            return;
        }
        if let Some(key) = self.key {
            latch.leave(Stage::Synced, key);
        }
        if !mutated("wait_for_ever_once_dropped") {
            self.log.shared().watermarks.forget(&latch);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use super::*;
    use crate::engine::options::Durability;
    use crate::error::Error;
    use crate::io::BackendKind;

    fn open(dir: &tempfile::TempDir) -> Log {
        Log::builder(dir.path()).backend(BackendKind::Std).segment_bytes(65_536).open().unwrap()
    }

    fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Polls until it is done.
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            match poll(future.as_mut()) {
                Poll::Ready(done) => return done,
                Poll::Pending => std::thread::yield_now(),
            }
        }
    }

    #[test]
    fn a_task_waits_for_the_watermark_and_a_dropped_one_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir);
        for _ in 0..100 {
            let mut dropped = Box::pin(log.wait_durable_async(Seq::new(2)));
            assert!(poll(dropped.as_mut()).is_pending());
        }
        assert_eq!(log.shared().watermarks.waiting(), 0);
        let mut waits = pin!(log.wait_durable_async(Seq::new(2)));
        assert!(poll(waits.as_mut()).is_pending());
        log.append("one").unwrap();
        assert!(poll(waits.as_mut()).is_pending());
        assert_eq!(log.shared().watermarks.waiting(), 1);
        log.append("two").unwrap();
        block_on(waits).unwrap();
        assert_eq!(log.shared().watermarks.waiting(), 0);
    }

    #[test]
    fn a_flush_without_a_thread_makes_all_durable() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir);
        assert_eq!(block_on(log.flush_async()).unwrap(), Seq::NONE);
        for n in 0..10_u8 {
            log.at(Durability::Queued).append([n]).unwrap();
        }
        assert_eq!(block_on(log.flush_async()).unwrap(), Seq::new(10));
        assert_eq!(log.durable_seq(), Seq::new(10));
    }

    #[test]
    fn a_task_that_waits_in_vain_learns_that_the_log_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir);
        let mut waits = pin!(log.wait_durable_async(Seq::new(1)));
        assert!(poll(waits.as_mut()).is_pending());
        log.close().unwrap();
        assert!(matches!(block_on(waits), Err(Error::Closed)));
        assert!(matches!(block_on(log.wait_durable_async(Seq::new(1))), Err(Error::Closed)));
    }
}

//! What a thread does with a log.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use shuttle::future::block_on;

use super::{Life, rarely, roll};
use crate::engine::Log;
use crate::engine::batch::Batch;
use crate::engine::options::Durability;
use crate::engine::ticket::Commit;
use crate::error::{Error, Result};
use crate::sync::Mutex;

/// The last handle, perhaps: it goes on the thread that wakes.
struct Holder(Mutex<Option<Log>>);

impl Wake for Holder {
    fn wake(self: Arc<Self>) {
        let log = self.0.lock().take();
        drop(log);
    }
}

impl Life {
    /// Does one thing, and looks at what came of it.
    pub(super) fn act(&self, log: &Log) {
        let level = if rarely(3) { Durability::Written } else { Durability::Synced };
        let outcome = match roll(26) {
            0..=6 => self.append(log, level),
            7..=8 => self.append_and_wait(log, level),
            9 => log.append_async_with(self.record(), level).map(drop),
            10 => log.append_async_with(self.record(), Durability::Queued).map(drop),
            11 => self.wait_for_a_while(log, level),
            12..=15 => self.append_in_a_task(log, level),
            16 => self.cancel(log, level),
            17 => self.leave_a_handle_to_a_waker(log, level),
            18..=19 => log.flush().map(drop),
            20 => self.append_a_batch(log, level),
            21..=22 => log.rotate(),
            23 => self.truncate_before(log),
            24 => self.truncate_after(log),
            _ => self.close(log),
        };
        if let Err(error) = outcome {
            self.refused(&error);
        }
    }

    fn append(&self, log: &Log, level: Durability) -> Result<()> {
        let record = self.record();
        let seq = log.append_with(&record, level)?;
        self.acknowledged(log, seq, record, level);
        Ok(())
    }

    fn append_and_wait(&self, log: &Log, level: Durability) -> Result<()> {
        let record = self.record();
        let seq = log.append_async_with(&record, level)?.wait()?;
        self.acknowledged(log, seq, record, level);
        Ok(())
    }

    fn append_a_batch(&self, log: &Log, level: Durability) -> Result<()> {
        let records = [self.record(), self.record()];
        let mut batch = Batch::new();
        for record in &records {
            batch.push(record)?;
        }
        let seqs = log.append_batch_with(&batch, level)?;
        self.acknowledged(log, *seqs.start(), records[0].clone(), level);
        self.acknowledged(log, *seqs.end(), records[1].clone(), level);
        Ok(())
    }

    fn wait_for_a_while(&self, log: &Log, level: Durability) -> Result<()> {
        let record = self.record();
        let commit = log.append_async_with(&record, level)?;
        if let Some(seq) = commit.wait_timeout(Duration::from_micros(5))? {
            self.acknowledged(log, seq, record, level);
        }
        Ok(())
    }

    fn append_in_a_task(&self, log: &Log, level: Durability) -> Result<()> {
        let record = self.record();
        let seq = block_on(async {
            loop {
                match log.try_append_with(&record, level) {
                    Err(Error::QueueFull) => log.ready().await,
                    other => return other?.await,
                }
            }
        })?;
        self.acknowledged(log, seq, record, level);
        Ok(())
    }

    /// Futures that are polled once and dropped.
    fn cancel(&self, log: &Log, level: Durability) -> Result<()> {
        match log.try_append_with(self.record(), level) {
            Err(Error::QueueFull) => poll_once(log.ready()),
            Err(error) => return Err(error),
            Ok(commit) => poll_once(commit),
        }
        Ok(())
    }

    fn leave_a_handle_to_a_waker(&self, log: &Log, level: Durability) -> Result<()> {
        let commit: Commit = log.append_async_with(self.record(), level)?;
        let holder = Arc::new(Holder(Mutex::new(Some(log.clone()))));
        let waker = Waker::from(holder);
        let _news = pin!(commit).poll(&mut Context::from_waker(&waker));
        Ok(())
    }

    fn truncate_before(&self, log: &Log) -> Result<()> {
        let seq = log.durable_seq();
        self.freed.fetch_max(seq.get(), Ordering::SeqCst);
        log.truncate_before(seq).map(drop)
    }

    fn truncate_after(&self, log: &Log) -> Result<()> {
        let seq = log.durable_seq();
        self.cut.fetch_min(seq.get(), Ordering::SeqCst);
        log.truncate_after(seq)
    }

    fn close(&self, log: &Log) -> Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        log.close()
    }
}

fn poll_once(future: impl Future) {
    let mut future = pin!(future);
    block_on(poll_fn(|context| {
        let _news = future.as_mut().poll(context);
        Poll::Ready(())
    }));
}

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
            9 => log.at(level).submit(self.record()).map(drop),
            10 => log.at(Durability::Queued).submit(self.record()).map(drop),
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
        let seq = log.at(level).append(&record)?;
        self.acknowledged(log, seq, record, level);
        Ok(())
    }

    fn append_and_wait(&self, log: &Log, level: Durability) -> Result<()> {
        let record = self.record();
        let seq = log.at(level).submit(&record)?.wait()?;
        self.acknowledged(log, seq, record, level);
        Ok(())
    }

    fn append_a_batch(&self, log: &Log, level: Durability) -> Result<()> {
        let records = [self.record(), self.record()];
        let mut batch = Batch::new();
        for record in &records {
            batch.push(record)?;
        }
        let last = log.at(level).append(&batch)?;
        self.acknowledged(log, last.prev(), records[0].clone(), level);
        self.acknowledged(log, last, records[1].clone(), level);
        Ok(())
    }

    fn wait_for_a_while(&self, log: &Log, level: Durability) -> Result<()> {
        let record = self.record();
        let commit = log.at(level).submit(&record)?;
        if let Some(seq) = commit.wait_timeout(Duration::from_micros(5))? {
            self.acknowledged(log, seq, record, level);
        }
        Ok(())
    }

    fn append_in_a_task(&self, log: &Log, level: Durability) -> Result<()> {
        let record = self.record();
        let seq = match rarely(2) {
            true => block_on(log.at(level).append_async(&record))?,
            false => block_on(async {
                let permit = log.at(level).reserve(record.len()).await?;
                permit.submit(&record)?.await
            })?,
        };
        self.acknowledged(log, seq, record, level);
        Ok(())
    }

    /// Futures that are polled once and dropped.
    fn cancel(&self, log: &Log, level: Durability) -> Result<()> {
        match log.at(level).try_submit(self.record()) {
            Err(Error::QueueFull) => poll_once(log.reserve(1)),
            Err(error) => return Err(error),
            Ok(commit) => poll_once(commit),
        }
        poll_once(log.at(level).append_async(self.record()));
        Ok(())
    }

    fn leave_a_handle_to_a_waker(&self, log: &Log, level: Durability) -> Result<()> {
        let commit: Commit = log.at(level).submit(self.record())?;
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

//! The hand-over between appenders and the ring thread, under a checker of schedules.
//!
//! What must hold under every one: no wake-up is lost, so every call that waits comes back, also
//! beside a close, a failure, a full queue and tickets that nobody waits for; nothing is
//! acknowledged before the disk has it, nor before all that came before it.
//!
//! - `loom`, under loom: each protocol on its own, two or three threads, all schedules.
//! - `shuttle`, under shuttle: random lives of a whole log, random schedules.
//!
//! `ci/handover.sh` runs both.

#[cfg(ringwal_loom)]
#[cfg(test)]
mod loom;
#[cfg(ringwal_shuttle)]
#[cfg(test)]
mod shuttle;

#[cfg(ringwal_loom)]
pub(crate) use self::loom::all_schedules;

use std::sync::Arc;
use std::time::Duration;

use crate::engine::Log;
use crate::engine::options::Builder;
use crate::error::Result;
use crate::io::{CommitFile, Completion, FileId, IoQueue, Op, SimDisk, SimQueue, Strategy, Wake};
use crate::sync::{Condvar, Mutex, doze, thread};

/// Opens a log with a ring thread on a simulated disk.
fn open(builder: Builder, disk: &SimDisk) -> Result<Log> {
    let on = disk.clone();
    builder.open_on(Arc::new(disk.clone()), &mut |_| Ok(()), move |_, options, _| {
        let (inner, backend) = SimQueue::new(&on, options);
        Ok((Box::new(Blocking { inner, bell: Arc::default() }), backend))
    })
}

/// The queue of a simulated disk, for a thread: where nothing is in flight it blocks.
struct Blocking {
    inner: SimQueue,
    bell: Arc<Bell>,
}

#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Bell {
    fn wake(&self) {
        *self.rung.lock() = true;
        self.changed.notify_one();
    }
}

impl Bell {
    fn take(&self) -> bool {
        std::mem::take(&mut *self.rung.lock())
    }

    fn wait(&self) {
        let mut rung = self.rung.lock();
        while !std::mem::take(&mut *rung) {
            rung = self.changed.wait(rung);
        }
    }
}

impl IoQueue for Blocking {
    fn submit(&mut self, token: u64, op: Op) {
        self.inner.submit(token, op);
    }

    fn wait(&mut self, timeout: Option<Duration>, done: &mut Vec<Completion>) -> Result<()> {
        while self.inner.in_flight() > 0 {
            // The disk takes its time, but not for ever.
            step();
            self.inner.wait(Some(Duration::ZERO), done)?;
            if !done.is_empty() || self.bell.take() {
                return Ok(());
            }
        }
        match timeout {
            Some(_) if self.bell.take() => {}
            Some(timeout) => doze(timeout),
            None => self.bell.wait(),
        }
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.bell.clone()
    }

    fn commit_file(&self, file: FileId) -> Option<Arc<dyn CommitFile>> {
        Some(Arc::new(Slow(self.inner.commit_file(file)?)))
    }
}

/// A file whose writes take time.
#[derive(Debug)]
struct Slow(Arc<dyn CommitFile>);

impl CommitFile for Slow {
    fn commit(&self, data: &[u8], offset: u64, sync: Option<Strategy>) -> Result<()> {
        step();
        let result = self.0.commit(data, offset, sync);
        step();
        result
    }
}

/// Lets others run. Loom has enough places for that.
fn step() {
    if cfg!(ringwal_shuttle) {
        thread::yield_now();
    }
}

//! Logs for simulation tests, on a simulated disk without a thread; and logs on a real disk whose
//! I/O queue a test wraps.
//!
//! On a simulated disk, calls that wait run the steps of the ring thread themselves, until the wait
//! is over. Where a real log would hang, because the ring thread sleeps for ever or never comes to
//! rest, these calls panic.
//!
//! Threading: one thread uses the log.

use crate::engine::Log;
use crate::engine::commit::stepped::Stepped;
use crate::engine::options::Builder;
use crate::engine::read::record::RecordRef;
use crate::engine::read::replay::{OnRecord, Replayed, Restore, after_checkpoint, records_only};
use crate::engine::recovery::Recovery;
use crate::error::Result;
use crate::io::{IoQueue, SimDisk, open_queue};

impl Builder {
    /// Opens the log on a simulated disk, or creates it there. The log's directory is ignored.
    /// The log has no thread of its own: [`Log::step`] runs it, and so do calls that wait. Before
    /// you wait for a [`Commit`](crate::Commit), run the log until it is done
    /// ([`Log::run_until`]).
    ///
    /// # Errors
    ///
    /// As [`open`](Builder::open).
    pub fn open_sim(self, disk: &SimDisk) -> Result<Log> {
        self.open_stepped(disk, &mut |_| Ok(()))
    }

    /// [`open_replaying`](Builder::open_replaying) on a simulated disk.
    ///
    /// # Errors
    ///
    /// As [`open_replaying`](Builder::open_replaying).
    pub fn open_sim_replaying(
        self,
        disk: &SimDisk,
        mut replay: impl FnMut(RecordRef, &[u8]) -> Result<()>,
    ) -> Result<Log> {
        let replay = &mut |record: Replayed<'_>| replay(record.record_ref(), record.data());
        self.open_stepped_replaying(disk, replay)
    }

    pub(crate) fn open_stepped_replaying(
        self,
        disk: &SimDisk,
        replay: &mut OnRecord<'_>,
    ) -> Result<Log> {
        self.open_stepped(disk, &mut records_only(replay))
    }

    /// [`open_restoring`](Builder::open_restoring) on a simulated disk.
    ///
    /// # Errors
    ///
    /// As [`open_restoring`](Builder::open_restoring).
    pub fn open_sim_restoring(
        self,
        disk: &SimDisk,
        mut restore: impl FnMut(Restore<'_>) -> Result<()>,
    ) -> Result<Log> {
        self.open_stepped(disk, &mut after_checkpoint(&mut restore))
    }

    /// Opens the log like [`open`](Builder::open), on a real disk, and wraps its I/O queue with
    /// `wrap`: to make operations fail, or to leave the disk out of a measurement.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = ringwal::Log::builder(dir.path().join("log")).open_wrapped(|queue| queue)?;
    /// log.append("one")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`open`](Builder::open).
    pub fn open_wrapped(
        self,
        wrap: impl FnOnce(Box<dyn IoQueue>) -> Box<dyn IoQueue> + Send + 'static,
    ) -> Result<Log> {
        self.open_with(&mut |_| Ok(()), |storage, options, probe| {
            let (queue, backend) = open_queue(storage, options, probe)?;
            Ok((wrap(queue), backend))
        })
    }

    /// [`verify`](Builder::verify) on a simulated disk.
    ///
    /// # Errors
    ///
    /// As [`verify`](Builder::verify).
    pub fn verify_sim(self, disk: &SimDisk) -> Result<Recovery> {
        self.verify_on(disk)
    }
}

impl Log {
    /// Runs a log on a simulated disk until `done`, or until the log has ended, as calls that wait
    /// do. On a real disk it does nothing.
    ///
    /// ```
    /// use ringwal::{Log, SimDisk};
    ///
    /// let log = Log::builder("sim").segment_bytes(65_536).open_sim(&SimDisk::new(1))?;
    /// let commit = log.submit("one")?;
    /// log.run_until(|| commit.is_done());
    /// assert_eq!(commit.wait()?, commit.seq());
    /// # Ok::<(), ringwal::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If a log with a thread of its own would wait for ever.
    pub fn run_until(&self, done: impl Fn() -> bool) {
        self.inner.run_until(done);
    }

    /// Runs the next step of a log on a simulated disk, which a ring thread would run. Returns
    /// whether there may be more to do; on a real disk there never is.
    pub fn step(&self) -> bool {
        self.inner.stepped.as_ref().is_some_and(Stepped::step)
    }
}

//! The open event log.

use std::path::Path;

use crate::clock::Clock;
use crate::wal::dedup::{Admission, DedupWindow};
use crate::wal::format::EventRecord;
use crate::wal::replay::Replay;
use crate::wal::ticket::Waits;
use crate::wal::{EventCommit, LOG_DIR, SignalEvent, WalBuilder, WalConfig, WalReport};
use crate::{Backend, BackupReport, Batch, Error, Log, Loss, Metrics, Result, Seq, Truncated};

/// What opening an event log gives: the handle, the events after the checkpoint in order, and a
/// report.
pub type Opened = (WalHandle, Vec<SignalEvent>, WalReport);

/// An open event log. Share it between threads in an `Arc`; their appends share batches.
///
/// Dropping it makes everything durable and closes the log, as [`shutdown`](Self::shutdown) does,
/// but tells no error.
///
/// ```
/// use std::sync::Arc;
/// use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
///
/// let dir = tempfile::tempdir()?;
/// let config = WalConfig { dir: dir.path().to_path_buf(), ..WalConfig::default() };
/// let wal = Arc::new(WalHandle::open(config)?.0);
/// let producers = [1, 2, 3].map(|entity_id| {
///     let wal = Arc::clone(&wal);
///     let event = SignalEvent { entity_id, signal_type: 0, weight: 1.0, timestamp_nanos: 5 };
///     std::thread::spawn(move || wal.append(event))
/// });
/// let mut seqs = producers.map(|producer| producer.join().unwrap().unwrap());
/// seqs.sort();
/// assert_eq!(seqs, [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct WalHandle {
    log: Log,
    /// `None` when no duplicates are to be told.
    window: Option<DedupWindow>,
    /// What the window goes by.
    clock: Clock,
}

impl WalHandle {
    /// Opens the log below `config.dir`, or creates it there. Returns the events after the last
    /// checkpoint, in order, and what was found.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] naming the field that is out of its range; [`Error::Locked`] while
    /// another handle has it open; [`Error::NotALog`] when a record is not an event; else as
    /// [`Builder::open`](crate::Builder::open).
    pub fn open(config: WalConfig) -> Result<Opened> {
        WalHandle::builder(config).open()
    }

    /// A builder, for what `config` has no field for.
    pub fn builder(config: WalConfig) -> WalBuilder {
        WalBuilder::new(config)
    }

    /// The handle of a log that is open, and what replay made of its records.
    pub(crate) fn of(log: Log, replay: Replay) -> Opened {
        let Replay { window, events, clock, .. } = replay;
        let clock = clock.unwrap_or_else(Clock::start);
        let checkpoint_seq = log.last_checkpoint().map_or(Seq::NONE, |last| last.seq);
        let recovery = log.recovery().clone();
        let report = WalReport {
            checkpoint_seq: checkpoint_seq.get(),
            replayed_from: log.first_seq().max(checkpoint_seq.next()).get(),
            events_replayed: events.len() as u64,
            events_remembered: window.as_ref().map_or(0, |window| window.len() as u64),
            bytes_cut: recovery.bytes_cut,
            events_lost: recovery.losses.iter().map(Loss::records).fold(0, u64::saturating_add),
            recovery,
        };
        (WalHandle { log, window, clock }, events, report)
    }

    /// Appends an event and blocks until it, and every event before it, is durable. Returns its
    /// sequence number, or 0 for a duplicate: then nothing is written, and the first one is
    /// durable.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`] before anything was written, and then the event is not remembered;
    /// [`Error::Poisoned`] with the first failure of the log. A duplicate of an event that fails
    /// fails with it.
    pub fn append(&self, event: SignalEvent) -> Result<u64> {
        let bytes = EventRecord::from(event).to_bytes();
        let Some(window) = &self.window else { return self.log.append(bytes).map(u64::from) };
        let (reservation, admission) = window.admit_one(&bytes, self.clock.now_nanos());
        if let Some(waits) = Waits::of(admission) {
            return self.wait_for(&EventCommit { waits });
        }
        let mut reservation = Some(reservation);
        let appended = self.log.append_noting(bytes, self.log.durability(), |commit| {
            reservation.take().into_iter().for_each(|first| first.appended(commit));
        });
        if let (Err(error), Some(reservation)) = (&appended, reservation) {
            reservation.failed(error);
        }
        appended.map(|commit| commit.seq().get())
    }

    /// [`append`](Self::append) that returns at once with a ticket. Blocks only while the queue
    /// is full.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append); a later failure comes out of the ticket.
    pub fn submit(&self, event: SignalEvent) -> Result<EventCommit> {
        let bytes = EventRecord::from(event).to_bytes();
        let Some(window) = &self.window else {
            let commit = self.log.submit(bytes)?;
            return Ok(EventCommit { waits: Waits::First(commit) });
        };
        let (reservation, admission) = window.admit_one(&bytes, self.clock.now_nanos());
        if let Some(waits) = Waits::of(admission) {
            return Ok(EventCommit { waits });
        }
        match self.log.submit(bytes) {
            Ok(commit) => {
                reservation.appended(&commit);
                Ok(EventCommit { waits: Waits::First(commit) })
            }
            Err(error) => {
                reservation.failed(&error);
                Err(error)
            }
        }
    }

    /// Appends events, all or nothing, and blocks like [`append`](Self::append). Returns for each
    /// its sequence number, or 0 for a duplicate, also of an earlier one of them. They are one
    /// batch, even beyond `batch_size`.
    ///
    /// # Errors
    ///
    /// [`Error::BatchTooLarge`], and as [`append`](Self::append).
    pub fn append_batch(&self, events: &[SignalEvent]) -> Result<Vec<u64>> {
        let bytes: Vec<_> = events.iter().map(|&e| EventRecord::from(e).to_bytes()).collect();
        let admitted = self.window.as_ref().map(|w| w.admit(bytes.iter(), self.clock.now_nanos()));
        let (reservation, admissions) = admitted.unzip();
        let is_new = |index: usize| {
            admissions.as_ref().is_none_or(|found| matches!(found[index], Admission::New))
        };
        let mut batch = Batch::new();
        for (index, event) in bytes.iter().enumerate() {
            if is_new(index) {
                batch.push(event)?;
            }
        }
        let mut next_seq = 0;
        if !batch.is_empty() {
            let mut reservation = reservation;
            let appended = self.log.append_batch_noting(&batch, self.log.durability(), |commit| {
                reservation.take().into_iter().for_each(|first| first.appended(commit));
            });
            if let (Err(error), Some(reservation)) = (&appended, reservation) {
                reservation.failed(error);
            }
            next_seq = appended?.seqs().start().get();
        }
        let mut seqs = Vec::with_capacity(events.len());
        for index in 0..events.len() {
            let is_new = is_new(index);
            seqs.push(if is_new { next_seq } else { 0 });
            next_seq += u64::from(is_new);
        }
        for admission in admissions.into_iter().flatten() {
            if let Some(waits) = Waits::of(admission) {
                self.wait_for(&EventCommit { waits })?;
            }
        }
        Ok(seqs)
    }

    fn wait_for(&self, commit: &EventCommit) -> Result<u64> {
        #[cfg(any(test, feature = "sim"))]
        self.log.run_until(|| !commit.is_pending());
        commit.wait()
    }

    /// [`Log::step`], of an event log on a simulated disk.
    #[cfg(any(test, feature = "sim"))]
    pub fn step(&self) -> bool {
        self.log.step()
    }

    /// Notes durably that everything up to `seq` is safe elsewhere: opening returns only events
    /// after it. A crash inside leaves the last checkpoint.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] when `seq` is not durable or lies before the last checkpoint; then
    /// nothing changes. Else as [`append`](Self::append).
    pub fn checkpoint(&self, seq: u64) -> Result<()> {
        self.log.checkpoint(Seq::new(seq), [])
    }

    /// Frees whole segments that have only events before `seq`, oldest first. Events after the
    /// checkpoint stay, and so does the active segment.
    ///
    /// Duplicates of what is freed are told only until the log is closed: keep as much as
    /// producers may send again after a restart.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] when `seq` is beyond the next event; else as
    /// [`append`](Self::append).
    pub fn truncate_before(&self, seq: u64) -> Result<Truncated> {
        let (seq, max) = (Seq::new(seq), self.log.durable_seq().next());
        if seq > max {
            let min = Seq::FIRST;
            return Err(Error::OutOfRange { op: "truncate_before", seq, min, max });
        }
        let checkpoint = self.log.last_checkpoint().map_or(Seq::NONE, |last| last.seq);
        self.log.truncate_before(seq.min(checkpoint.next()))
    }

    /// [`truncate_before`](Self::truncate_before), also of events after the checkpoint: they will
    /// not be replayed.
    ///
    /// # Errors
    ///
    /// As [`truncate_before`](Self::truncate_before).
    pub fn discard_before(&self, seq: u64) -> Result<Truncated> {
        self.log.truncate_before(Seq::new(seq))
    }

    /// Acknowledges that events were lost ([`WalReport::events_lost`]): later openings do not
    /// report them any more. Returns how many losses there were; see [`Log::acknowledge_loss`].
    ///
    /// # Errors
    ///
    /// As [`Log::acknowledge_loss`].
    pub fn acknowledge_loss(&self) -> Result<usize> {
        self.log.acknowledge_loss()
    }

    /// Copies the event log as it is now into the new directory `target`, which opens as an event
    /// log: with every event that is durable when this is called, under its number, and the last
    /// checkpoint. Appends go on; see [`Log::backup_to`].
    ///
    /// ```
    /// use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let config = WalConfig { dir: dir.path().join("events"), ..WalConfig::default() };
    /// let copied = WalConfig { dir: dir.path().join("monday"), ..WalConfig::default() };
    /// let (wal, _, _) = WalHandle::open(config)?;
    /// let event = SignalEvent { entity_id: 7, signal_type: 1, weight: 1.0, timestamp_nanos: 5 };
    /// wal.append(event)?;
    /// wal.backup_to(&copied.dir)?;
    /// assert_eq!(WalHandle::open(copied)?.1, [event]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Log::backup_to`].
    pub fn backup_to(&self, target: impl AsRef<Path>) -> Result<BackupReport> {
        self.log.backup_below(target.as_ref(), Some(LOG_DIR))
    }

    /// Makes everything durable and closes the log.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`] when the log had failed before; it is released all the same.
    pub fn shutdown(self) -> Result<()> {
        self.log.close()
    }

    /// The last event that is durable; 0 if there is none.
    pub fn durable_seq(&self) -> u64 {
        self.log.durable_seq().get()
    }

    /// How many events were forgotten before their `dedup_window` was over, because there were
    /// more than [`dedup_entries`](WalBuilder::dedup_entries).
    pub fn dedup_forgotten_early(&self) -> u64 {
        self.window.as_ref().map_or(0, DedupWindow::forgotten_early)
    }

    /// How many events are remembered to tell duplicates.
    pub fn dedup_entries(&self) -> usize {
        self.window.as_ref().map_or(0, DedupWindow::len)
    }

    /// The directory of the log itself: `<dir>/wal`.
    pub fn log_dir(&self) -> &Path {
        self.log.dir()
    }

    /// What executes I/O here, why, and what was refused.
    pub fn backend(&self) -> &Backend {
        self.log.backend()
    }

    /// The engine's figures since the log was opened.
    pub fn metrics(&self) -> Metrics {
        self.log.metrics()
    }
}

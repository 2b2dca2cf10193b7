//! `WalHandle`, the open event log: what a program calls.

use std::path::Path;

use crate::clock::Clock;
use crate::wal::dedup::DedupWindow;
use crate::wal::format::EventRecord;
use crate::wal::replay::EventReplay;
use crate::wal::ticket::CommitSource;
use crate::wal::{EventCommit, LOG_DIR, SignalEvent, WalBuilder, WalConfig, WalReport};
use crate::{Backend, BackupReport, Error, Log, Loss, Metrics, Result, Seq, Truncated};

/// The result of opening an event log: the handle, the events after the checkpoint in order, and a
/// report.
pub type Opened = (WalHandle, Vec<SignalEvent>, WalReport);

/// An open event log. Share it between threads in an `Arc`; their appends share batches.
///
/// Dropping the handle makes everything durable and closes the log, as [`shutdown`](Self::shutdown)
/// does, but reports no error.
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
    pub(super) log: Log,
    /// `None` if duplicates are not detected.
    pub(super) window: Option<DedupWindow>,
    /// The clock of the window.
    pub(super) clock: Clock,
}

impl WalHandle {
    /// Opens the log below `config.dir`, or creates it there. Returns the events after the last
    /// checkpoint, in order, and a report.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] naming the field that is out of its range; [`Error::Locked`] while
    /// another handle has it open; [`Error::NotALog`] when a record is not an event; otherwise as
    /// [`Builder::open`](crate::Builder::open).
    pub fn open(config: WalConfig) -> Result<Opened> {
        WalHandle::builder(config).open()
    }

    /// A builder, for the options that `config` has no field for.
    pub fn builder(config: WalConfig) -> WalBuilder {
        WalBuilder::new(config)
    }

    /// The handle of an open log, with the result of its replay.
    pub(crate) fn from_replay(log: Log, replay: EventReplay) -> Opened {
        let EventReplay { window, events, clock, .. } = replay;
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

    /// Appends an event and blocks until it and every event before it are durable. Returns its
    /// sequence number. A duplicate is not written; the call returns 0 once the first event is
    /// durable.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`]: nothing was written and the event is not remembered. [`Error::Poisoned`]
    /// with the first failure of the log. A duplicate of an event that fails, fails with it.
    pub fn append(&self, event: SignalEvent) -> Result<u64> {
        let bytes = EventRecord::from(event).to_bytes();
        let Some(window) = &self.window else { return self.log.append(bytes).map(u64::from) };
        // Reserve before the append: an equal event of another thread is a duplicate from here on.
        let (reservation, admission) = window.admit_one(&bytes, self.clock.now_nanos());
        if let Some(source) = CommitSource::of_duplicate(admission, self.log.dir()) {
            return self.wait_for(&EventCommit { source });
        }
        let mut reservation = Some(reservation);
        // The log calls this once the event has its number, before it waits for the disk.
        // Duplicates then wait for the ticket, and not for this thread.
        let appended = self.log.append_noting(bytes, self.log.durability(), |commit| {
            reservation.take().into_iter().for_each(|first| first.appended(commit));
        });
        if let (Err(error), Some(reservation)) = (&appended, reservation) {
            reservation.failed(error);
        }
        appended.map(|commit| commit.seq().get())
    }

    /// Appends an event and returns a ticket at once. Blocks only while the queue is full.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append); the ticket reports a later failure.
    pub fn submit(&self, event: SignalEvent) -> Result<EventCommit> {
        let bytes = EventRecord::from(event).to_bytes();
        let Some(window) = &self.window else {
            let commit = self.log.submit(bytes)?;
            return Ok(EventCommit { source: CommitSource::Own(commit) });
        };
        let (reservation, admission) = window.admit_one(&bytes, self.clock.now_nanos());
        if let Some(source) = CommitSource::of_duplicate(admission, self.log.dir()) {
            return Ok(EventCommit { source });
        }
        match self.log.submit(bytes) {
            Ok(commit) => {
                reservation.appended(&commit);
                Ok(EventCommit { source: CommitSource::Own(commit) })
            }
            Err(error) => {
                reservation.failed(&error);
                Err(error)
            }
        }
    }

    pub(super) fn wait_for(&self, commit: &EventCommit) -> Result<u64> {
        #[cfg(any(test, feature = "sim"))]
        self.log.run_until(|| !commit.is_pending());
        commit.wait()
    }

    /// Runs one step of a log on a simulated disk; see [`Log::step`].
    #[cfg(any(test, feature = "sim"))]
    pub fn step(&self) -> bool {
        self.log.step()
    }

    /// Records durably that the caller has applied everything up to `seq`: opening returns only
    /// later events. A crash during the call leaves the old or the new checkpoint.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] when `seq` is not durable or lies before the last checkpoint; then
    /// nothing changes. Otherwise as [`append`](Self::append).
    pub fn checkpoint(&self, seq: u64) -> Result<()> {
        self.log.checkpoint(Seq::new(seq), [])
    }

    /// Frees the segments that have only events before `seq`, oldest first. Events after the
    /// checkpoint and the active segment stay.
    ///
    /// Duplicates of freed events are detected only until the log is closed. Keep every event that
    /// a producer may send again after a restart.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] when `seq` is beyond the next event; otherwise as
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

    /// Like [`truncate_before`](Self::truncate_before), but frees events after the checkpoint, too:
    /// they will not be replayed.
    ///
    /// # Errors
    ///
    /// As [`truncate_before`](Self::truncate_before).
    pub fn discard_before(&self, seq: u64) -> Result<Truncated> {
        self.log.truncate_before(Seq::new(seq))
    }

    /// Acknowledges that events were lost ([`WalReport::events_lost`]), so that later openings do
    /// not report them any more. Returns the number of losses; see [`Log::acknowledge_loss`].
    ///
    /// # Errors
    ///
    /// As [`Log::acknowledge_loss`].
    pub fn acknowledge_loss(&self) -> Result<usize> {
        self.log.acknowledge_loss()
    }

    /// Copies the event log as it is now into the new directory `target`, which opens as an event
    /// log. The copy has every event that is durable at this call, with its number, and the last
    /// checkpoint. Appends go on meanwhile; see [`Log::backup_to`].
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
    /// [`Error::Poisoned`] when the log had failed before; the log is released all the same.
    pub fn shutdown(self) -> Result<()> {
        self.log.close()
    }

    /// The sequence number of the last durable event; 0 if there is none.
    pub fn durable_seq(&self) -> u64 {
        self.log.durable_seq().get()
    }

    /// The number of events that were forgotten before their `dedup_window` was over, because there
    /// were more than [`dedup_entries`](WalBuilder::dedup_entries).
    pub fn dedup_forgotten_early(&self) -> u64 {
        self.window.as_ref().map_or(0, DedupWindow::forgotten_early)
    }

    /// The number of events that the log remembers to detect duplicates.
    pub fn dedup_entries(&self) -> usize {
        self.window.as_ref().map_or(0, DedupWindow::len)
    }

    /// The directory of the engine's log: `<dir>/wal`.
    pub fn log_dir(&self) -> &Path {
        self.log.dir()
    }

    /// The I/O backend in use, why it was chosen, and what was refused.
    pub fn backend(&self) -> &Backend {
        self.log.backend()
    }

    /// The metrics of the engine since the log was opened.
    pub fn metrics(&self) -> Metrics {
        self.log.metrics()
    }
}

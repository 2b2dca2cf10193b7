//! The builder of an event log: the options beyond the fields of [`WalConfig`], and all checks.

use std::path::Path;

use crate::Blocks;
#[cfg(any(test, feature = "sim"))]
use crate::SimDisk;
use crate::replication::ShardId;
use crate::wal::dedup::{DedupWindow, ENTRIES_DEFAULT, ENTRIES_MAX};
use crate::wal::format::EVENT_SIZE;
use crate::wal::replay::EventReplay;
use crate::wal::{LOG_DIR, Opened, WalConfig, WalHandle};
use crate::{
    BackendKind, BackupReport, Builder, Durability, Error, Kind, LABEL_BYTES, Log, RecoveryPolicy,
    Replayed, Result, Strategy,
};

/// The smallest and largest segment in bytes; the engine's bounds.
const SEGMENT_SIZES: (u64, u64) = (128, 64 << 30);
/// The fewest and most events of a batch; the engine's bounds.
const BATCH_SIZES: (u64, u64) = (1, 1 << 20);

/// The bytes of an event in a batch, with its record head.
const EVENT_BATCH_BYTES: usize = crate::format::RECORD_HEAD_SIZE + EVENT_SIZE;
const BATCH_BYTES_MIN: usize = 1 << 20;
const QUEUE_BYTES_MIN: usize = 16 << 20;

/// Sets the options for which [`WalConfig`] has no field, and opens the event log.
///
/// ```
/// use ringwal::BackendKind;
/// use ringwal::wal::{WalConfig, WalHandle};
///
/// let dir = tempfile::tempdir()?;
/// let config = WalConfig { dir: dir.path().to_path_buf(), ..WalConfig::default() };
/// let (wal, events, report) =
///     WalHandle::builder(config).backend(BackendKind::Std).dedup_entries(10_000).open()?;
/// assert!(events.is_empty() && report.events_replayed == 0);
/// wal.shutdown()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is opened"]
pub struct WalBuilder {
    config: WalConfig,
    engine: Builder,
    dedup_entries: usize,
}

impl WalBuilder {
    pub(crate) fn new(config: WalConfig) -> WalBuilder {
        let engine = Log::builder(config.log_dir())
            .kind(Some(Kind::Events))
            .recovery(RecoveryPolicy::TolerateTail);
        WalBuilder { config, engine, dedup_entries: ENTRIES_DEFAULT }
    }

    /// The number of events that the log remembers to detect duplicates, 1 to 268,435,456;
    /// [`ENTRIES_DEFAULT`] by default. Each takes 48 bytes of memory, reserved at open and used as
    /// events arrive. With more events than this within `dedup_window`, the oldest are forgotten
    /// early, and a duplicate of one is accepted as new; [`WalHandle::dedup_forgotten_early`]
    /// counts them.
    pub fn dedup_entries(mut self, count: usize) -> WalBuilder {
        self.dedup_entries = count;
        self
    }

    /// The log among several in the directory; [`ShardId::SINGLE`] by default.
    pub fn shard(mut self, shard: ShardId) -> WalBuilder {
        self.engine = self.engine.shard(shard);
        self
    }

    /// The I/O backend; see [`Builder::backend`].
    pub fn backend(mut self, kind: BackendKind) -> WalBuilder {
        self.engine = self.engine.backend(kind);
        self
    }

    /// How a batch becomes durable; see [`Builder::strategy`].
    pub fn strategy(mut self, strategy: Option<Strategy>) -> WalBuilder {
        self.engine = self.engine.strategy(strategy);
        self
    }

    /// The number of batches that may be in flight at once; see [`Builder::queue_depth`].
    pub fn queue_depth(mut self, depth: usize) -> WalBuilder {
        self.engine = self.engine.queue_depth(depth);
        self
    }

    /// The durability of an acknowledged event; see [`Builder::durability`].
    pub fn durability(mut self, durability: Durability) -> WalBuilder {
        self.engine = self.engine.durability(durability);
        self
    }

    /// Whether io_uring writes bypass the page cache; see [`Builder::direct_io`].
    pub fn direct_io(mut self, direct: bool) -> WalBuilder {
        self.engine = self.engine.direct_io(direct);
        self
    }

    /// How segments are preallocated; see [`Builder::preallocate`].
    pub fn preallocate(mut self, preallocate: Option<Blocks>) -> WalBuilder {
        self.engine = self.engine.preallocate(preallocate);
        self
    }

    /// The bytes of the first segment after opening; see [`Builder::first_segment_bytes`].
    pub fn first_segment_bytes(mut self, bytes: u64) -> WalBuilder {
        self.engine = self.engine.first_segment_bytes(bytes);
        self
    }

    /// The number of segments that are prepared ahead of the active one; see
    /// [`Builder::spare_segments`].
    pub fn spare_segments(mut self, count: usize) -> WalBuilder {
        self.engine = self.engine.spare_segments(count);
        self
    }

    /// How opening treats damage to acknowledged events. The default,
    /// [`RecoveryPolicy::TolerateTail`], cuts damaged events off at the end of the log, keeps the
    /// removed bytes in a file beside it, and reports the loss until
    /// [`acknowledge_loss`](WalHandle::acknowledge_loss). With [`RecoveryPolicy::Strict`], damage
    /// is an error and nothing changes.
    pub fn recovery(mut self, policy: RecoveryPolicy) -> WalBuilder {
        self.engine = self.engine.recovery(policy);
        self
    }

    /// A label of your own; see [`Builder::label`].
    pub fn label(mut self, label: [u8; LABEL_BYTES]) -> WalBuilder {
        self.engine = self.engine.label(label);
        self
    }

    /// Copies the event log into the new directory `target`. This takes no lock, so the log may be
    /// open in another process. See [`WalHandle::backup_to`].
    ///
    /// # Errors
    ///
    /// As [`Builder::backup_to`].
    pub fn backup_to(self, target: impl AsRef<Path>) -> Result<BackupReport> {
        self.engine.backup_below(target.as_ref(), Some(LOG_DIR))
    }

    /// Opens the log; see [`WalHandle::open`].
    ///
    /// # Errors
    ///
    /// As [`WalHandle::open`].
    pub fn open(self) -> Result<Opened> {
        self.open_by(|engine, replay| engine.open_replaying_records(replay))
    }

    /// Opens the log on a simulated disk, or creates it there; see
    /// [`Builder::open_sim`](crate::Builder::open_sim). The directory is ignored. Such a log has no
    /// thread: blocking calls and [`WalHandle::step`] run it. Do not wait for an [`EventCommit`]
    /// before it is done.
    ///
    /// ```
    /// use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
    /// use ringwal::{Error, SimDisk, SimFault};
    ///
    /// let disk = SimDisk::new(1);
    /// let open = |disk| {
    ///     let config = WalConfig {
    ///         dir: "sim".into(),
    ///         segment_size: 65_536,
    ///         ..WalConfig::default()
    ///     };
    ///     WalHandle::builder(config).open_sim(disk)
    /// };
    /// let event = |n| SignalEvent {
    ///     entity_id: n,
    ///     signal_type: 0,
    ///     weight: 1.0,
    ///     timestamp_nanos: 5,
    /// };
    /// let (wal, _, _) = open(&disk)?;
    /// wal.append(event(1))?;
    /// disk.fail_at(0, SimFault::Errno(5));
    /// let failed = wal.append(event(2)).unwrap_err();
    /// assert!(matches!(failed.root_cause(), Error::Io { .. }));
    /// let disk = disk.crash();
    /// drop(wal);
    ///
    /// let (wal, events, _) = open(&disk)?;
    /// assert_eq!(events[0], event(1));
    /// assert_eq!(wal.append(event(1))?, 0); // it survived, so this is a duplicate
    /// # Ok::<(), ringwal::Error>(())
    /// ```
    ///
    /// [`EventCommit`]: crate::wal::EventCommit
    ///
    /// # Errors
    ///
    /// As [`WalHandle::open`].
    #[cfg(any(test, feature = "sim"))]
    pub fn open_sim(self, disk: &SimDisk) -> Result<Opened> {
        self.open_by(|engine, replay| engine.open_stepped_replaying(disk, replay))
    }

    /// Checks the options and opens the log with `open`, which replays its records while it
    /// verifies them.
    pub(crate) fn open_by(
        self,
        open: impl FnOnce(Builder, &mut dyn FnMut(Replayed<'_>) -> Result<()>) -> Result<Log>,
    ) -> Result<Opened> {
        self.validate()?;
        let batch_bytes = BATCH_BYTES_MIN.max(self.config.batch_size * EVENT_BATCH_BYTES);
        // `batch_timeout` limits how long an event waits for others. The engine never delays an
        // event while a batch can be written, which satisfies any limit, so nothing is set.
        let engine = self
            .engine
            .segment_bytes(self.config.segment_size)
            .batch_records(self.config.batch_size)
            .batch_bytes(batch_bytes)
            .queue_bytes(QUEUE_BYTES_MIN.max(2 * batch_bytes))
            .record_bytes_max(EVENT_SIZE);
        let detects_duplicates = !self.config.dedup_window.is_zero();
        let window = detects_duplicates
            .then(|| DedupWindow::new(self.config.dedup_window, self.dedup_entries));
        let mut replay = EventReplay::new(self.config.log_dir(), window);
        let log = open(engine, &mut |record| replay.take(record))?;
        Ok(WalHandle::from_replay(log, replay))
    }

    fn validate(&self) -> Result<()> {
        if self.config.dir.as_os_str().is_empty() {
            let expected = "the path of a directory".to_owned();
            return Err(Error::Option { name: "dir", value: "empty".to_owned(), expected });
        }
        between("segment_size", self.config.segment_size, SEGMENT_SIZES)?;
        between("batch_size", self.config.batch_size as u64, BATCH_SIZES)?;
        between("dedup_entries", self.dedup_entries as u64, (1, ENTRIES_MAX as u64))
    }
}

fn between(name: &'static str, value: u64, (min, max): (u64, u64)) -> Result<()> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let expected = format!("{min} to {max}");
    Err(Error::Option { name, value: value.to_string(), expected })
}

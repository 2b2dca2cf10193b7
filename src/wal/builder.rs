//! What can be set beyond the five fields of [`WalConfig`], and the checks of all of it.

use crate::Blocks;
#[cfg(any(test, feature = "sim"))]
use crate::SimDisk;
use crate::replication::ShardId;
use crate::wal::dedup::{DedupWindow, ENTRIES_DEFAULT, ENTRIES_MAX};
use crate::wal::format::EVENT_SIZE;
use crate::wal::replay::Replay;
use crate::wal::{Opened, WalConfig, WalHandle};
use crate::{
    BackendKind, Builder, Durability, Error, Kind, LABEL_BYTES, Log, RecoveryPolicy, Replayed,
    Result, Strategy,
};

/// The least and the greatest segment, in bytes: what the engine takes.
const SEGMENT_SIZES: (u64, u64) = (128, 64 << 30);
/// The events of a batch, least and greatest: what the engine takes.
const BATCH_SIZES: (u64, u64) = (1, 1 << 20);

/// The bytes of an event in a batch, with the head of its record.
const EVENT_BATCH_BYTES: usize = crate::format::RECORD_HEAD_SIZE + EVENT_SIZE;
const BATCH_BYTES_MIN: usize = 1 << 20;
const QUEUE_BYTES_MIN: usize = 16 << 20;

/// Sets the options of an event log that [`WalConfig`] has no field for, and opens it.
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

    /// How many events are remembered to tell duplicates, 1 to 268,435,456;
    /// [`ENTRIES_DEFAULT`] by default. Each takes 48 bytes of memory, reserved
    /// at open and used as events come. With more events
    /// than this within `dedup_window` the oldest are forgotten before their time, so that a
    /// duplicate of one is accepted as new;
    /// [`WalHandle::dedup_forgotten_early`] counts them.
    pub fn dedup_entries(mut self, count: usize) -> WalBuilder {
        self.dedup_entries = count;
        self
    }

    /// Which of the logs in the directory; [`ShardId::SINGLE`] by default.
    pub fn shard(mut self, shard: ShardId) -> WalBuilder {
        self.engine = self.engine.shard(shard);
        self
    }

    /// What executes I/O; see [`Builder::backend`].
    pub fn backend(mut self, kind: BackendKind) -> WalBuilder {
        self.engine = self.engine.backend(kind);
        self
    }

    /// How a batch becomes durable; see [`Builder::strategy`].
    pub fn strategy(mut self, strategy: Option<Strategy>) -> WalBuilder {
        self.engine = self.engine.strategy(strategy);
        self
    }

    /// How many batches may be in flight at once; see [`Builder::queue_depth`].
    pub fn queue_depth(mut self, depth: usize) -> WalBuilder {
        self.engine = self.engine.queue_depth(depth);
        self
    }

    /// What an acknowledged event survives; see [`Builder::durability`].
    pub fn durability(mut self, durability: Durability) -> WalBuilder {
        self.engine = self.engine.durability(durability);
        self
    }

    /// Whether io_uring writes go past the page cache; see [`Builder::direct_io`].
    pub fn direct_io(mut self, direct: bool) -> WalBuilder {
        self.engine = self.engine.direct_io(direct);
        self
    }

    /// What a segment has before it is written to; see [`Builder::preallocate`].
    pub fn preallocate(mut self, preallocate: Option<Blocks>) -> WalBuilder {
        self.engine = self.engine.preallocate(preallocate);
        self
    }

    /// How many segments are held ready beside the active one; see [`Builder::spare_segments`].
    pub fn spare_segments(mut self, count: usize) -> WalBuilder {
        self.engine = self.engine.spare_segments(count);
        self
    }

    /// What opening does about damage to acknowledged events: by default
    /// [`RecoveryPolicy::TolerateTail`], which cuts them off at the end of the log, keeps what it
    /// cut off beside it and reports it until
    /// [`acknowledge_loss`](WalHandle::acknowledge_loss); [`RecoveryPolicy::Strict`] makes it an
    /// error that changes nothing.
    pub fn recovery(mut self, policy: RecoveryPolicy) -> WalBuilder {
        self.engine = self.engine.recovery(policy);
        self
    }

    /// A label of the user's; see [`Builder::label`].
    pub fn label(mut self, label: [u8; LABEL_BYTES]) -> WalBuilder {
        self.engine = self.engine.label(label);
        self
    }

    /// Opens the log; see [`WalHandle::open`].
    ///
    /// # Errors
    ///
    /// As [`WalHandle::open`].
    pub fn open(self) -> Result<Opened> {
        self.open_by(|engine, replay| engine.open_std(replay))
    }

    /// Opens the log on a simulated disk, or creates it there; see
    /// [`Builder::open_sim`](crate::Builder::open_sim). The directory is ignored. It has no thread
    /// of its own: calls that wait run the log, and [`WalHandle::step`] does. An [`EventCommit`]
    /// must not be waited for before it is done.
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
    /// assert_eq!(wal.append(event(1))?, 0); // it is there, so this is a duplicate
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
        self.open_by(|engine, replay| engine.open_stepped(disk, replay))
    }

    /// Checks the options, and opens the log that `open` opens, which shows its records while it
    /// verifies them.
    pub(crate) fn open_by(
        self,
        open: impl FnOnce(Builder, &mut dyn FnMut(Replayed<'_>) -> Result<()>) -> Result<Log>,
    ) -> Result<Opened> {
        self.validate()?;
        let batch_bytes = BATCH_BYTES_MIN.max(self.config.batch_size * EVENT_BATCH_BYTES);
        // `batch_timeout` bounds how long an event waits for company. The engine lets none wait
        // while a batch can be written, which is within any bound, so there is nothing to set.
        let engine = self
            .engine
            .segment_bytes(self.config.segment_size)
            .batch_records(self.config.batch_size)
            .batch_bytes(batch_bytes)
            .queue_bytes(QUEUE_BYTES_MIN.max(2 * batch_bytes))
            .record_bytes_max(EVENT_SIZE);
        let is_on = !self.config.dedup_window.is_zero();
        let window = is_on.then(|| DedupWindow::new(self.config.dedup_window, self.dedup_entries));
        let mut replay = Replay::new(self.config.log_dir(), window);
        let log = open(engine, &mut |record| replay.show(record))?;
        Ok(WalHandle::of(log, replay))
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

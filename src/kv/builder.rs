//! The builder of a key-value log: the engine's builder, with the store's own options and bounds.

use std::path::{Path, PathBuf};

use crate::kv::record::RECORD_BYTES_MAX;
use crate::kv::{DataReader, DataWal};
use crate::{
    BackendKind, Blocks, Builder, Durability, Error, Kind, LABEL_BYTES, Log, RecoveryPolicy,
    Result, Strategy,
};

/// 4 KiB to 2 GiB: a slot of the index has 32 bits for the offset of a record.
const SEGMENT_BYTES: (u64, u64) = (4 << 10, 2 << 30);
const SEGMENT_BYTES_DEFAULT: u64 = 32 << 20;
const COMPACT_PERCENT: (u64, u64) = (10, 90);
const RESERVE_SEGMENTS: (u64, u64) = (0, 8);
const RESERVE_SEGMENTS_DEFAULT: usize = 2;

#[cfg(test)]
type OnRecord<'a> = &'a mut dyn FnMut(crate::RecordRef, &[u8]) -> Result<()>;

/// The options of a store: the engine's, and its own.
#[derive(Clone, Debug)]
pub(crate) struct StoreOptions {
    engine: Builder,
    pub(crate) delete_missing: bool,
    pub(crate) compact_percent: Option<u8>,
}

impl StoreOptions {
    pub(crate) fn dir(&self) -> &Path {
        &self.engine.options.dir
    }

    /// The engine with these options.
    pub(crate) fn engine(&self) -> Builder {
        self.engine.clone()
    }

    /// The engine with these options, in another directory.
    pub(crate) fn engine_in(&self, dir: &Path) -> Builder {
        let mut builder = self.engine();
        builder.options.dir = dir.to_path_buf();
        builder
    }

    pub(crate) fn durability(&self) -> Durability {
        self.engine.options.durability
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.engine.options.segment_bytes
    }

    fn validate(&self) -> Result<()> {
        check_durability(self.durability())?;
        between("segment_bytes", self.segment_bytes(), SEGMENT_BYTES)?;
        let reserve = self.engine.options.reserve_segments as u64;
        between("reserve_segments", reserve, RESERVE_SEGMENTS)?;
        let percent = self.compact_percent.map_or(COMPACT_PERCENT.0, u64::from);
        between("compact_above_percent", percent, COMPACT_PERCENT)
    }
}

/// An error for `Queued`: a record that is only queued cannot be read yet.
pub(crate) fn check_durability(durability: Durability) -> Result<()> {
    match durability {
        Durability::Written | Durability::Synced => Ok(()),
        Durability::Queued => Err(Error::Option {
            name: "durability",
            value: "Queued".to_owned(),
            expected: "Written or Synced".to_owned(),
        }),
    }
}

fn between(name: &'static str, value: u64, (min, max): (u64, u64)) -> Result<()> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let expected = format!("{min} to {max}");
    Err(Error::Option { name, value: value.to_string(), expected })
}

/// Sets the options of a key-value log and opens it.
///
/// ```
/// use ringwal::Durability;
/// use ringwal::kv::DataWal;
///
/// let dir = tempfile::tempdir()?;
/// let store = DataWal::builder(dir.path().join("store"))
///     .durability(Durability::Synced)
///     .segment_bytes(1 << 20)
///     .compact_above_percent(Some(50))
///     .open()?;
/// store.put("key", "survives a loss of power once this returns")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is opened"]
pub struct DataWalBuilder {
    options: StoreOptions,
}

impl DataWalBuilder {
    pub(crate) fn new(dir: PathBuf) -> DataWalBuilder {
        let engine = Log::builder(dir)
            .kind(Some(Kind::Kv))
            .durability(Durability::Written)
            .segment_bytes(SEGMENT_BYTES_DEFAULT)
            .record_bytes_max(RECORD_BYTES_MAX)
            .reserve_segments(RESERVE_SEGMENTS_DEFAULT)
            // A recycled file would be overwritten under a reader that still has it open.
            .recycle_segments(0);
        let options = StoreOptions { engine, delete_missing: false, compact_percent: None };
        DataWalBuilder { options }
    }

    /// Sets an option of the engine.
    fn engine(mut self, set: impl FnOnce(Builder) -> Builder) -> DataWalBuilder {
        self.options.engine = set(self.options.engine);
        self
    }

    /// The durability of a put or a delete when it returns. [`Durability::Written`], the default,
    /// survives the death of the process; [`Durability::Synced`] survives a loss of power.
    /// [`DataWal::at`] chooses for one call.
    pub fn durability(self, durability: Durability) -> DataWalBuilder {
        self.engine(|engine| engine.durability(durability))
    }

    /// Whether deleting a key that does not exist still writes a record; false by default.
    pub fn delete_missing(mut self, write: bool) -> DataWalBuilder {
        self.options.delete_missing = write;
        self
    }

    /// Compacts in the background when more than this percentage of all record bytes is dead, 10 to
    /// 90, and the dead bytes would fill a segment. `None`, the default, never does. See
    /// [`Stats::dead_percent`](crate::kv::Stats::dead_percent).
    pub fn compact_above_percent(mut self, percent: Option<u8>) -> DataWalBuilder {
        self.options.compact_percent = percent;
        self
    }

    /// The bytes of a segment, 4 KiB to 2 GiB; 32 MiB by default. See [`Builder::segment_bytes`].
    pub fn segment_bytes(self, bytes: u64) -> DataWalBuilder {
        self.engine(|engine| engine.segment_bytes(bytes))
    }

    /// The I/O backend; see [`Builder::backend`].
    pub fn backend(self, kind: BackendKind) -> DataWalBuilder {
        self.engine(|engine| engine.backend(kind))
    }

    /// How a batch becomes durable; see [`Builder::strategy`].
    pub fn strategy(self, strategy: Option<Strategy>) -> DataWalBuilder {
        self.engine(|engine| engine.strategy(strategy))
    }

    /// Whether io_uring writes bypass the page cache; see [`Builder::direct_io`].
    pub fn direct_io(self, direct: bool) -> DataWalBuilder {
        self.engine(|engine| engine.direct_io(direct))
    }

    /// How segments are preallocated; see [`Builder::preallocate`].
    pub fn preallocate(self, preallocate: Option<Blocks>) -> DataWalBuilder {
        self.engine(|engine| engine.preallocate(preallocate))
    }

    /// The number of batches that may be in flight at once; see [`Builder::queue_depth`].
    pub fn queue_depth(self, depth: usize) -> DataWalBuilder {
        self.engine(|engine| engine.queue_depth(depth))
    }

    /// The bytes of the first segment after opening; see [`Builder::first_segment_bytes`].
    pub fn first_segment_bytes(self, bytes: u64) -> DataWalBuilder {
        self.engine(|engine| engine.first_segment_bytes(bytes))
    }

    /// The number of segments that are prepared ahead of the active one; see
    /// [`Builder::spare_segments`].
    pub fn spare_segments(self, count: usize) -> DataWalBuilder {
        self.engine(|engine| engine.spare_segments(count))
    }

    /// The number of segments that are reserved for deletes and compaction, 0 to 8; 2 by default.
    /// On a full disk, a put fails with [`Error::NoSpace`], but a delete, a batch of deletes alone,
    /// and [`compact`](DataWal::compact) still work. Deletes may use all reserved segments but the
    /// last one, which is for compaction alone. With 1, there is only that one. With 0, a store
    /// that is full of live data refuses deletes, too.
    ///
    /// The space is reserved at the first write and released when the store closes: about nine
    /// eighths of [`segment_bytes`](Self::segment_bytes) for each. While a used one is not
    /// replaced, puts get no new segment. [`Stats::reserve_segments`] says how many are ready now.
    /// A value that is larger than a segment needs space of its own to be copied.
    ///
    /// [`Stats::reserve_segments`]: crate::kv::Stats::reserve_segments
    pub fn reserve_segments(self, count: usize) -> DataWalBuilder {
        self.engine(|engine| engine.reserve_segments(count))
    }

    /// How recovery treats damage to acknowledged data; [`RecoveryPolicy::Strict`] by default.
    pub fn recovery(self, policy: RecoveryPolicy) -> DataWalBuilder {
        self.engine(|engine| engine.recovery(policy))
    }

    /// A label of your own; see [`Builder::label`]. A copy of the store keeps it.
    pub fn label(self, label: [u8; LABEL_BYTES]) -> DataWalBuilder {
        self.engine(|engine| engine.label(label))
    }

    /// Opens the store, or creates it; see [`DataWal::open`].
    ///
    /// # Errors
    ///
    /// [`Error::Option`], and as [`DataWal::open`].
    pub fn open(self) -> Result<DataWal> {
        self.options.validate()?;
        DataWal::open_on(self.options, |engine, replay| engine.open_replaying(replay))
    }

    /// Opens the store on a simulated disk, or creates it there; see [`Builder::open_sim`]. Such a
    /// store has no background compaction.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    #[cfg(feature = "sim")]
    pub fn open_sim(mut self, disk: &crate::SimDisk) -> Result<DataWal> {
        self.options.validate()?;
        self.options.compact_percent = None;
        DataWal::open_on(self.options, |engine, replay| engine.open_sim_replaying(disk, replay))
    }

    /// Opens the store on a log that `open` opens.
    #[cfg(test)]
    pub(crate) fn open_by(
        self,
        open: impl FnOnce(Builder, OnRecord<'_>) -> Result<Log>,
    ) -> Result<DataWal> {
        DataWal::open_on(self.options, open)
    }

    /// Opens the store to read only; see [`DataReader::open`].
    ///
    /// # Errors
    ///
    /// As [`DataReader::open`].
    pub fn read_only(self) -> Result<DataReader> {
        DataReader::open_with(self.options)
    }
}

//! The options of a key-value log, and their checks.

use std::path::{Path, PathBuf};

use crate::kv::record::RECORD_BYTES_MAX;
use crate::kv::{DataReader, DataWal};
use crate::{
    BackendKind, Blocks, Builder, Durability, Error, Kind, LABEL_BYTES, Log, RecoveryPolicy,
    Result, Strategy,
};

/// Segments from 4 KiB to 2 GiB: an index slot has 32 bits for where a record lies.
const SEGMENT_BYTES: (u64, u64) = (4 << 10, 2 << 30);
const SEGMENT_BYTES_DEFAULT: u64 = 32 << 20;
const COMPACT_PERCENT: (u64, u64) = (10, 90);
const RESERVE_SEGMENTS: (u64, u64) = (0, 8);
const RESERVE_SEGMENTS_DEFAULT: usize = 2;

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) durability: Durability,
    pub(crate) delete_missing: bool,
    pub(crate) compact_percent: Option<u8>,
    pub(crate) segment_bytes: u64,
    /// Which of the kinds that have keys and values.
    kind: Kind,
    label: [u8; LABEL_BYTES],
    backend: BackendKind,
    strategy: Option<Strategy>,
    direct_io: bool,
    preallocate: Option<Blocks>,
    queue_depth: Option<usize>,
    spare_segments: Option<usize>,
    reserve_segments: usize,
    recovery: RecoveryPolicy,
}

impl Options {
    /// The engine with these options, in `dir`.
    pub(crate) fn engine(&self, dir: &Path) -> Builder {
        let mut builder = Log::builder(dir)
            .kind(Some(self.kind))
            .label(self.label)
            .durability(self.durability)
            .segment_bytes(self.segment_bytes)
            .backend(self.backend)
            .strategy(self.strategy)
            .direct_io(self.direct_io)
            .preallocate(self.preallocate)
            .recovery(self.recovery)
            .record_bytes_max(RECORD_BYTES_MAX)
            .reserve_segments(self.reserve_segments)
            // A file that was compacted away keeps its content for readers that have it open.
            .recycle_segments(0);
        if let Some(depth) = self.queue_depth {
            builder = builder.queue_depth(depth);
        }
        if let Some(count) = self.spare_segments {
            builder = builder.spare_segments(count);
        }
        builder
    }

    fn validate(&self) -> Result<()> {
        check_durability(self.durability)?;
        between("segment_bytes", self.segment_bytes, SEGMENT_BYTES)?;
        between("reserve_segments", self.reserve_segments as u64, RESERVE_SEGMENTS)?;
        let percent = self.compact_percent.map_or(COMPACT_PERCENT.0, u64::from);
        between("compact_above_percent", percent, COMPACT_PERCENT)
    }
}

/// An error unless a write can be acknowledged with it: what is only queued cannot be read yet.
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
    dir: PathBuf,
    options: Options,
}

impl DataWalBuilder {
    pub(crate) fn new(dir: PathBuf) -> DataWalBuilder {
        let options = Options {
            durability: Durability::Written,
            delete_missing: false,
            compact_percent: None,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            kind: Kind::Kv,
            label: [0; LABEL_BYTES],
            backend: BackendKind::Auto,
            strategy: None,
            direct_io: true,
            preallocate: None,
            queue_depth: None,
            spare_segments: None,
            reserve_segments: RESERVE_SEGMENTS_DEFAULT,
            recovery: RecoveryPolicy::Strict,
        };
        DataWalBuilder { dir, options }
    }

    /// What a put or a delete survives once it has returned: [`Durability::Written`], the default,
    /// the death of the process; [`Durability::Synced`] a loss of power. The `_with` forms choose
    /// for one call.
    pub fn durability(mut self, durability: Durability) -> DataWalBuilder {
        self.options.durability = durability;
        self
    }

    /// Whether deleting a key that is not there writes a record all the same; false by default.
    pub fn delete_missing(mut self, write: bool) -> DataWalBuilder {
        self.options.delete_missing = write;
        self
    }

    /// Compacts in the background when more than this share of the bytes of all records is dead,
    /// 10 to 90, and they fill a segment at least; `None`, the default, never does. See
    /// [`Stats::dead_percent`](crate::kv::Stats::dead_percent).
    pub fn compact_above_percent(mut self, percent: Option<u8>) -> DataWalBuilder {
        self.options.compact_percent = percent;
        self
    }

    /// The bytes of a segment, 4 KiB to 2 GiB; 32 MiB by default. See [`Builder::segment_bytes`].
    pub fn segment_bytes(mut self, bytes: u64) -> DataWalBuilder {
        self.options.segment_bytes = bytes;
        self
    }

    /// What executes I/O; see [`Builder::backend`].
    pub fn backend(mut self, kind: BackendKind) -> DataWalBuilder {
        self.options.backend = kind;
        self
    }

    /// How a batch becomes durable; see [`Builder::strategy`].
    pub fn strategy(mut self, strategy: Option<Strategy>) -> DataWalBuilder {
        self.options.strategy = strategy;
        self
    }

    /// Whether io_uring writes go past the page cache; see [`Builder::direct_io`].
    pub fn direct_io(mut self, direct: bool) -> DataWalBuilder {
        self.options.direct_io = direct;
        self
    }

    /// What a segment has before it is written to; see [`Builder::preallocate`].
    pub fn preallocate(mut self, preallocate: Option<Blocks>) -> DataWalBuilder {
        self.options.preallocate = preallocate;
        self
    }

    /// How many batches may be in flight at once; see [`Builder::queue_depth`].
    pub fn queue_depth(mut self, depth: usize) -> DataWalBuilder {
        self.options.queue_depth = Some(depth);
        self
    }

    /// How many segments are held ready beside the active one; see [`Builder::spare_segments`].
    pub fn spare_segments(mut self, count: usize) -> DataWalBuilder {
        self.options.spare_segments = Some(count);
        self
    }

    /// How many segments are held back for what gives room back, 0 to 8; 2 by default. On a full
    /// disk a put says [`Error::NoSpace`], and a delete (or a batch of nothing but deletes) and
    /// [`compact`](DataWal::compact) still go: deletes may take all of these segments but the last
    /// one, which is for compaction alone. With 1 there is only that one; with 0, a store that is
    /// full of live data refuses deletes, too.
    ///
    /// Their room is reserved when something is written first, and given back when the store
    /// closes: each has about nine eighths of [`segment_bytes`](Self::segment_bytes). Once one was
    /// used, puts get no new segment before it is replaced. [`Stats::reserve_segments`] says how
    /// many there are now. A value that is larger than a segment needs room of its own to be
    /// copied.
    ///
    /// [`Stats::reserve_segments`]: crate::kv::Stats::reserve_segments
    pub fn reserve_segments(mut self, count: usize) -> DataWalBuilder {
        self.options.reserve_segments = count;
        self
    }

    /// What recovery does about damage to acknowledged data; [`RecoveryPolicy::Strict`] by
    /// default.
    pub fn recovery(mut self, policy: RecoveryPolicy) -> DataWalBuilder {
        self.options.recovery = policy;
        self
    }

    /// A label of the user's; see [`Builder::label`]. A copy of the store has it, too.
    pub fn label(mut self, label: [u8; LABEL_BYTES]) -> DataWalBuilder {
        self.options.label = label;
        self
    }

    /// Opens the store, or creates it; see [`DataWal::open`].
    ///
    /// # Errors
    ///
    /// [`Error::Option`], and as [`DataWal::open`].
    pub fn open(self) -> Result<DataWal> {
        self.options.validate()?;
        DataWal::open_on(&self.dir, self.options.clone(), |replay| {
            self.options.engine(&self.dir).open_replaying(replay)
        })
    }

    /// Opens the store on a simulated disk, or creates it there, as
    /// [`Builder::open_sim`] does. Nothing is compacted in the background there.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    #[cfg(feature = "sim")]
    pub fn open_sim(mut self, disk: &crate::SimDisk) -> Result<DataWal> {
        self.options.validate()?;
        self.options.compact_percent = None;
        DataWal::open_on(&self.dir, self.options.clone(), |replay| {
            self.options.engine(&self.dir).open_sim_replaying(disk, replay)
        })
    }

    /// Opens the store to read only; see [`DataReader::open`].
    ///
    /// # Errors
    ///
    /// As [`DataReader::open`].
    pub fn read_only(self) -> Result<DataReader> {
        DataReader::open_with(&self.dir, &self.options)
    }
}

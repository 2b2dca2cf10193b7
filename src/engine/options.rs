//! The options of a log, and the builder with which users set them.

use std::path::PathBuf;
use std::time::Duration;

#[cfg(doc)]
use crate::engine::Log;
use crate::engine::recovery::{Identity, RecoveryPolicy};
use crate::error::{Error, Result};
use crate::format::{HEADER_SIZE, RECORD_HEAD_SIZE};
use crate::io::{BackendKind, Blocks, Strategy};
use crate::kind::{Kind, LABEL_BYTES, NO_LABEL};
use crate::replication::ShardId;

/// What an acknowledged record survives.
///
/// ```
/// use ringwal::Durability;
///
/// assert_eq!(Durability::default(), Durability::Synced);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Nothing: the record is in this process's memory, on its way to the disk.
    Queued,
    /// The death of the process: the operating system has the record and all before it.
    Written,
    /// Power loss: stable storage has the record and all before it.
    #[default]
    Synced,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The largest `record_bytes_max`: a batch's payload length is a `u32`, and one write moves less
/// than 2 GiB.
const RECORD_BYTES_LIMIT: u64 = GIB;

/// The most spares that a log holds ready.
const SPARES_MAX: u64 = 16;

const _: () = assert!(
    RECORD_BYTES_LIMIT + (HEADER_SIZE + RECORD_HEAD_SIZE) as u64 + 64 * MIB < u32::MAX as u64
);

#[derive(Clone, Debug)]
pub(crate) struct LogOptions {
    pub(crate) dir: PathBuf,
    pub(crate) segment_bytes: u64,
    pub(crate) first_segment_bytes: u64,
    pub(crate) spare_segments: usize,
    pub(crate) burst_segments: usize,
    pub(crate) reserve_segments: usize,
    pub(crate) recycle_segments: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) batch_records: usize,
    pub(crate) batch_delay: Duration,
    pub(crate) note_after: Option<Duration>,
    pub(crate) queue_bytes: usize,
    pub(crate) queue_depth: usize,
    pub(crate) gather: bool,
    pub(crate) inline: bool,
    pub(crate) record_bytes_max: usize,
    pub(crate) durability: Durability,
    pub(crate) backend: BackendKind,
    pub(crate) strategy: Option<Strategy>,
    pub(crate) direct_io: bool,
    pub(crate) preallocate: Option<Blocks>,
    pub(crate) shard: ShardId,
    pub(crate) policy: RecoveryPolicy,
    pub(crate) identity: Identity,
}

impl LogOptions {
    /// The largest payload of a batch: a usual batch, or one record of the largest size.
    pub(crate) fn batch_payload_max(&self) -> usize {
        self.batch_bytes.max(self.record_bytes_max + RECORD_HEAD_SIZE)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        between("segment_bytes", self.segment_bytes, 128, 64 * GIB)?;
        between("first_segment_bytes", self.first_segment_bytes, 128, 64 * GIB)?;
        between("spare_segments", self.spare_segments as u64, 0, SPARES_MAX)?;
        between("burst_segments", self.burst_segments as u64, 0, SPARES_MAX)?;
        between("recycle_segments", self.recycle_segments as u64, 0, 64)?;
        between("batch_bytes", self.batch_bytes as u64, 4 * KIB, 64 * MIB)?;
        between("batch_records", self.batch_records as u64, 1, MIB)?;
        between("queue_depth", self.queue_depth as u64, 1, 128)?;
        between("queue_bytes", self.queue_bytes as u64, self.batch_bytes as u64, 64 * GIB)?;
        between("record_bytes_max", self.record_bytes_max as u64, 1, RECORD_BYTES_LIMIT)?;
        if self.batch_delay > Duration::from_secs(1) {
            return Err(Error::Option {
                name: "batch_delay",
                value: format!("{:?}", self.batch_delay),
                expected: "0 to 1 s".to_owned(),
            });
        }
        let bounds = Duration::from_millis(10)..=Duration::from_secs(3600);
        if self.note_after.is_some_and(|pause| !bounds.contains(&pause)) {
            return Err(Error::Option {
                name: "note_after",
                value: format!("{:?}", self.note_after),
                expected: "none, or 10 ms to 1 h".to_owned(),
            });
        }
        Ok(())
    }
}

fn between(name: &'static str, value: u64, min: u64, max: u64) -> Result<()> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let expected = format!("{min} to {max}");
    Err(Error::Option { name, value: value.to_string(), expected })
}

/// Sets the options of a log and opens it.
///
/// Every option has a default that suits a service on a local disk; [`open`](Self::open) checks
/// all of them before it touches the disk.
///
/// ```
/// use ringwal::{Durability, Log};
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::builder(dir.path().join("log"))
///     .segment_bytes(1 << 20)
///     .durability(Durability::Written)
///     .open()?;
/// log.append("made for one process's death")?;
/// log.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is opened"]
pub struct Builder {
    pub(crate) options: LogOptions,
}

impl Builder {
    pub(crate) fn new(dir: PathBuf) -> Builder {
        Builder {
            options: LogOptions {
                dir,
                segment_bytes: 32 * MIB,
                first_segment_bytes: 256 * KIB,
                spare_segments: 1,
                burst_segments: 4,
                reserve_segments: 0,
                recycle_segments: 2,
                batch_bytes: MIB as usize,
                batch_records: 65_536,
                batch_delay: Duration::ZERO,
                note_after: Some(Duration::from_secs(1)),
                queue_bytes: 16 * MIB as usize,
                queue_depth: 2,
                gather: true,
                inline: true,
                record_bytes_max: 64 * MIB as usize,
                durability: Durability::Synced,
                backend: BackendKind::Auto,
                strategy: None,
                direct_io: true,
                preallocate: None,
                shard: ShardId::SINGLE,
                policy: RecoveryPolicy::Strict,
                identity: Identity { kind: Some(Kind::Raw), label: None },
            },
        }
    }

    /// The bytes of a segment, 128 to 64 GiB; 32 MiB by default. A segment takes at least one
    /// batch, so a larger record makes a larger segment. Small segments free space in small
    /// steps; each costs a rename, two syncs and, where blocks are written beforehand, its size
    /// in zeros.
    pub fn segment_bytes(mut self, bytes: u64) -> Builder {
        self.options.segment_bytes = bytes;
        self
    }

    /// The bytes of the first segment that a log begins after it was opened, 128 to 64 GiB; 256 KiB
    /// by default, and never more than [`segment_bytes`](Self::segment_bytes). The first append
    /// waits until this many zeros are written. The next segment is 16 times as long, and so on.
    pub fn first_segment_bytes(mut self, bytes: u64) -> Builder {
        self.options.first_segment_bytes = bytes;
        self
    }

    /// How many segments are reserved for records that free space.
    pub(crate) fn reserve_segments(mut self, count: usize) -> Builder {
        self.options.reserve_segments = count;
        self
    }

    /// How many spare segments are kept ready at least, 0 to 16; 1 by default. With 0, the first
    /// append to every segment waits until the segment is prepared. After a burst that used more,
    /// more are: see [`burst_segments`](Self::burst_segments).
    ///
    /// More than one helps with bursts of large records. While batches are larger than 64 KiB, a
    /// new spare is prepared only when none is left; once they are small again, or there was none
    /// for a tenth of a second, all are. If [`preallocate`](Builder::preallocate) is set, each
    /// spare is replaced at once.
    pub fn spare_segments(mut self, count: usize) -> Builder {
        self.options.spare_segments = count;
        self
    }

    /// How many spare segments are kept ready at most, if the last burst used so many, 0 to 16; 4
    /// by default. A burst is over when no batch was written for a tenth of a second; then the
    /// zeros of these spares are written. Beside batches they are written in small steps, with
    /// pauses, until half of the active segment is used. It has no effect below
    /// [`spare_segments`](Self::spare_segments), or if that is 0.
    pub fn burst_segments(mut self, count: usize) -> Builder {
        self.options.burst_segments = count;
        self
    }

    /// How many segments freed by [`truncate_before`](Log::truncate_before) are kept to become
    /// spares, 0 to 64; 2 by default.
    pub fn recycle_segments(mut self, count: usize) -> Builder {
        self.options.recycle_segments = count;
        self
    }

    /// The bytes of a batch, 4 KiB to 64 MiB; 1 MiB by default. The aligned buffers have this size;
    /// a larger record gets a buffer of its own.
    pub fn batch_bytes(mut self, bytes: usize) -> Builder {
        self.options.batch_bytes = bytes;
        self
    }

    /// The records of a batch, 1 to 1,048,576; 65,536 by default.
    pub fn batch_records(mut self, count: usize) -> Builder {
        self.options.batch_records = count;
        self
    }

    /// How long an open batch waits for more records although it could be written, 0 to 1 s. The
    /// default is 0: while one batch is written, the next one fills, and that is delay enough.
    pub fn batch_delay(mut self, delay: Duration) -> Builder {
        self.options.batch_delay = delay;
        self
    }

    /// After how long a pause the ring thread notes the durable watermark in the `state` file,
    /// 10 ms to 1 h; 1 s by default, `None` for never. A note is evidence: if a noted record is
    /// damaged later, opening reports it. Without a note, damage to the last batches of a killed
    /// log looks like a torn write, because no batch follows them. Each note costs one write and
    /// one sync of one block.
    pub fn note_after(mut self, pause: Option<Duration>) -> Builder {
        self.options.note_after = pause;
        self
    }

    /// The memory of all batches that are filling or in flight, `batch_bytes` to 64 GiB; 16 MiB by
    /// default. When it is used up, [`append`](Log::append) waits and
    /// [`try_submit`](Log::try_submit) fails with [`Error::QueueFull`]. One record always fits. The
    /// limit counts buffers; a batch also keeps 8 bytes for each of its records.
    pub fn queue_bytes(mut self, bytes: usize) -> Builder {
        self.options.queue_bytes = bytes;
        self
    }

    /// How many batches may be in flight at once, 1 to 128; 2 by default. With
    /// [`Strategy::WriteThenSync`] only one is.
    pub fn queue_depth(mut self, depth: usize) -> Builder {
        self.options.queue_depth = depth;
        self
    }

    /// Whether a small batch may wait for appenders that were just acknowledged and are expected
    /// back, for one usual flush at most; true by default. Without it, a batch is written as soon
    /// as possible, which costs more flushes.
    pub fn gather(mut self, gather: bool) -> Builder {
        self.options.gather = gather;
        self
    }

    /// Whether a waiting appender may write and sync a small batch itself while nothing is in
    /// flight, which saves two hand-overs between threads; true by default. It has no effect with
    /// [`Strategy::LinkedFsync`], which needs the ring. Turn it off if appending threads have
    /// different priorities, because one of them then works for the others, or if they must not do
    /// I/O.
    pub fn inline(mut self, inline: bool) -> Builder {
        self.options.inline = inline;
        self
    }

    /// The largest record, 1 byte to 1 GiB; 64 MiB by default.
    pub fn record_bytes_max(mut self, bytes: usize) -> Builder {
        self.options.record_bytes_max = bytes;
        self
    }

    /// What an acknowledged record survives; [`Durability::Synced`] by default. The `_with` forms
    /// of the append methods choose it for one record.
    pub fn durability(mut self, durability: Durability) -> Builder {
        self.options.durability = durability;
        self
    }

    /// The I/O backend; [`BackendKind::Auto`] by default: io_uring if it is available, else
    /// `std::fs`. [`Log::backend`] reports the backend and the reason.
    pub fn backend(mut self, kind: BackendKind) -> Builder {
        self.options.backend = kind;
        self
    }

    /// How a batch becomes durable; with `None`, the default, opening measures and chooses.
    pub fn strategy(mut self, strategy: Option<Strategy>) -> Builder {
        self.options.strategy = strategy;
        self
    }

    /// Whether io_uring writes bypass the page cache if the file system allows it; true by default.
    pub fn direct_io(mut self, direct: bool) -> Builder {
        self.options.direct_io = direct;
        self
    }

    /// Which blocks a segment has before its first batch is written. `None`, the default, chooses:
    /// [`Blocks::Written`]; but [`Blocks::Reserved`] while batches are so large that writing zeros
    /// takes longer than the metadata updates that it saves; and [`Blocks::AsTheyCome`] on
    /// copy-on-write file systems, where neither helps. With `AsTheyCome`, a full disk shows only
    /// as a failed write, which ends the open log.
    pub fn preallocate(mut self, preallocate: Option<Blocks>) -> Builder {
        self.options.preallocate = preallocate;
        self
    }

    /// Which of several logs in the directory; [`ShardId::SINGLE`] by default.
    pub fn shard(mut self, shard: ShardId) -> Builder {
        self.options.shard = shard;
        self
    }

    /// What recovery does about damage to acknowledged records; [`RecoveryPolicy::Strict`] by
    /// default.
    pub fn recovery(mut self, policy: RecoveryPolicy) -> Builder {
        self.options.policy = policy;
        self
    }

    /// The kind of the log; [`Kind::Raw`] by default. The event log and the key-value log set their
    /// own. A new log notes its kind, and opening it as another kind fails, except that any log may
    /// be [read](Builder::read_only) as a raw one.
    ///
    /// `None` accepts every kind. It is for tools that repair a log and append nothing. A log that
    /// begins without a kind, or one of stand-alone batches, takes the kind of the next opening.
    pub fn kind(mut self, kind: Option<Kind>) -> Builder {
        self.options.identity.kind = kind;
        self
    }

    /// A label of 8 bytes, such as the name of the owner or the version of the records; none by
    /// default. The log notes the first label that it is opened with. From then on, opening it with
    /// another label fails, also to read only; opening it without one does not. All zeros means no
    /// label.
    ///
    /// ```
    /// use ringwal::{Error, Log};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let orders = Log::builder(dir.path()).label(*b"orders-1");
    /// orders.clone().open()?;
    /// orders.open()?;
    /// let other = Log::builder(dir.path()).label(*b"orders-2").open();
    /// assert!(matches!(other, Err(Error::OtherLabel { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn label(mut self, label: [u8; LABEL_BYTES]) -> Builder {
        self.options.identity.label = (label != NO_LABEL).then_some(label);
        self
    }
}

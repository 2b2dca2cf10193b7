//! The options of the engine, and how they become a [`Builder`].
//!
//! Options that are not given keep the engine's defaults. The engine checks ranges, so the user
//! sees the engine's message.

use std::time::Duration;

use clap::ValueEnum;
use ringwal::io::Strategy;
use ringwal::replication::ShardId;
use ringwal::{BackendKind, Blocks, Builder, Durability, Log, RecoveryPolicy};

use crate::options::parse::{parse_bytes, parse_size};

/// The engine options, for the commands that open a log for writing.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Engine options (sizes take KiB, MiB, GiB)")]
pub(crate) struct EngineArgs {
    /// The I/O backend: auto uses io_uring where it is available.
    #[arg(long, value_enum, default_value_t = BackendArg::Auto)]
    backend: BackendArg,
    /// How a batch is made durable: auto measures and chooses.
    #[arg(long, value_enum, default_value_t = StrategyArg::Auto)]
    strategy: StrategyArg,
    /// Maximum number of batches in flight.
    #[arg(long, value_name = "N")]
    depth: Option<usize>,
    /// Length of a segment.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    segment_bytes: Option<u64>,
    /// Length of the first segment after opening.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    first_segment_bytes: Option<u64>,
    /// Segments prepared in advance, beside the active one, at least.
    #[arg(long, value_name = "N")]
    spare_segments: Option<usize>,
    /// Segments prepared in advance at most, after a burst that used so many.
    #[arg(long, value_name = "N")]
    burst_segments: Option<usize>,
    /// Maximum number of truncated segments to keep for reuse as spares.
    #[arg(long, value_name = "N")]
    recycle_segments: Option<usize>,
    /// Maximum size of a batch.
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    batch_bytes: Option<usize>,
    /// Maximum number of records in a batch.
    #[arg(long, value_name = "N")]
    batch_records: Option<usize>,
    /// How long a batch may wait for more records, in microseconds; 0 never waits.
    #[arg(long, value_name = "MICROS")]
    batch_delay_us: Option<u64>,
    /// Let a small batch wait for appenders that are expected back, no longer than a flush takes.
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    gather: Option<bool>,
    /// Let an appender write and sync a small batch itself while nothing is in flight.
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    inline: Option<bool>,
    /// Maximum number of bytes appended but not yet written.
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    queue_bytes: Option<usize>,
    /// Maximum size of a record.
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    record_bytes_max: Option<usize>,
    /// What an acknowledged record survives.
    #[arg(long, value_enum, default_value_t = DurabilityArg::Synced)]
    durability: DurabilityArg,
    /// Bypass the page cache where the file system allows it.
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    direct_io: Option<bool>,
    /// How a segment is prepared before it is written: blocks written as zeros (always), space
    /// reserved, or neither. auto writes zeros, reserves while batches are large, and does neither
    /// on copy-on-write file systems.
    #[arg(long, value_enum, default_value_t = PreallocateArg::Auto)]
    preallocate: PreallocateArg,
    /// Which log in the directory.
    #[arg(long, value_name = "N", default_value_t = 0)]
    shard: u16,
    /// How to handle a damaged tail: strict refuses to open the log, tolerate-tail cuts the tail
    /// off and reports it.
    #[arg(long, value_enum, default_value_t = RecoveryArg::Strict)]
    recovery: RecoveryArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum BackendArg {
    Auto,
    Uring,
    Std,
}

impl BackendArg {
    pub(crate) fn kind(self) -> BackendKind {
        match self {
            BackendArg::Auto => BackendKind::Auto,
            BackendArg::Uring => BackendKind::Uring,
            BackendArg::Std => BackendKind::Std,
        }
    }

    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            BackendArg::Auto => "auto",
            BackendArg::Uring => "uring",
            BackendArg::Std => "std",
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StrategyArg {
    /// Measured at open and compared again later.
    Auto,
    /// A write linked to an fdatasync.
    Linked,
    /// One write that also syncs.
    Dsync,
    /// A write, then an fdatasync.
    WriteThenSync,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DurabilityArg {
    /// Power loss.
    Synced,
    /// A crash of the process.
    Written,
    /// Nothing.
    Queued,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PreallocateArg {
    /// Where it pays off.
    Auto,
    Always,
    Reserve,
    Never,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RecoveryArg {
    Strict,
    TolerateTail,
}

impl EngineArgs {
    /// Whether an acknowledged record has been written.
    pub(crate) fn is_written(&self) -> bool {
        !matches!(self.durability, DurabilityArg::Queued)
    }

    /// Whether an acknowledged record survives power loss.
    pub(crate) fn is_synced(&self) -> bool {
        matches!(self.durability, DurabilityArg::Synced)
    }

    /// The segment length, if given.
    pub(crate) fn segment_bytes(&self) -> Option<u64> {
        self.segment_bytes
    }

    /// The length of the first segment, and of a full one.
    pub(crate) fn segment_lengths(&self) -> (u64, u64) {
        let first = self.first_segment_bytes.unwrap_or(FIRST_SEGMENT_BYTES);
        (first, self.segment_bytes.unwrap_or(SEGMENT_BYTES))
    }

    /// The number of spare segments.
    pub(crate) fn spare_segments(&self) -> usize {
        self.spare_segments.unwrap_or(SPARE_SEGMENTS)
    }

    /// The bytes of the segments that a new log prepares: the active one and its spares.
    pub(crate) fn prepared_bytes(&self) -> u64 {
        let segments = self.spare_segments() as u64 + 1;
        self.segment_bytes.unwrap_or(SEGMENT_BYTES).saturating_mul(segments)
    }

    /// A builder for the log in `dir` with these options.
    pub(crate) fn builder(&self, dir: &std::path::Path) -> Builder {
        let mut builder = Log::builder(dir)
            .backend(self.backend.kind())
            .strategy(match self.strategy {
                StrategyArg::Auto => None,
                StrategyArg::Linked => Some(Strategy::LinkedFsync),
                StrategyArg::Dsync => Some(Strategy::Dsync),
                StrategyArg::WriteThenSync => Some(Strategy::WriteThenSync),
            })
            .durability(match self.durability {
                DurabilityArg::Synced => Durability::Synced,
                DurabilityArg::Written => Durability::Written,
                DurabilityArg::Queued => Durability::Queued,
            })
            .recovery(match self.recovery {
                RecoveryArg::Strict => RecoveryPolicy::Strict,
                RecoveryArg::TolerateTail => RecoveryPolicy::TolerateTail,
            })
            .preallocate(match self.preallocate {
                PreallocateArg::Auto => None,
                PreallocateArg::Always => Some(Blocks::Written),
                PreallocateArg::Reserve => Some(Blocks::Reserved),
                PreallocateArg::Never => Some(Blocks::AsTheyCome),
            })
            .shard(ShardId::new(self.shard));
        builder = given(builder, self.depth, Builder::queue_depth);
        builder = given(builder, self.segment_bytes, Builder::segment_bytes);
        builder = given(builder, self.first_segment_bytes, Builder::first_segment_bytes);
        builder = given(builder, self.spare_segments, Builder::spare_segments);
        builder = given(builder, self.burst_segments, Builder::burst_segments);
        builder = given(builder, self.recycle_segments, Builder::recycle_segments);
        builder = given(builder, self.batch_bytes, Builder::batch_bytes);
        builder = given(builder, self.batch_records, Builder::batch_records);
        let batch_delay = self.batch_delay_us.map(Duration::from_micros);
        builder = given(builder, batch_delay, Builder::batch_delay);
        builder = given(builder, self.gather, Builder::gather);
        builder = given(builder, self.inline, Builder::inline);
        builder = given(builder, self.queue_bytes, Builder::queue_bytes);
        builder = given(builder, self.record_bytes_max, Builder::record_bytes_max);
        given(builder, self.direct_io, Builder::direct_io)
    }
}

/// Sets an option if it was given, else leaves the engine's default.
fn given<T>(builder: Builder, value: Option<T>, set: fn(Builder, T) -> Builder) -> Builder {
    match value {
        Some(value) => set(builder, value),
        None => builder,
    }
}

/// The engine's defaults.
const SPARE_SEGMENTS: usize = 1;
const FIRST_SEGMENT_BYTES: u64 = 256 << 10;
const SEGMENT_BYTES: u64 = 32 << 20;

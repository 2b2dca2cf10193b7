//! The command line: what can be asked for, and how it becomes a [`Builder`].
//!
//! Every option of the engine that is not given keeps the engine's own default; ranges are the
//! engine's to check, so its message is the one that is shown.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use ringwal::io::Strategy;
use ringwal::replication::ShardId;
use ringwal::{BackendKind, Blocks, Builder, Durability, Log, RecoveryPolicy};

use crate::bench::BenchArgs;
use crate::soak::{SoakArgs, WriterArgs};

const EXIT_CODES: &str = "\
Exit codes, the same for every command:
  0  Done. Also: a torn tail, which was never acknowledged; a signal that ended append or soak
     early; standard output or error that nobody reads any more.
  1  Failed. Damaged log; failing or full disk; refused backend; log in use; input that cannot
     be read or is not framed as stated; standard output or error that fails; acknowledgements
     that nobody reads any more; a broken invariant of soak; a bench that a signal ended.
  2  The request is wrong, and nothing was changed: option unknown or out of range; not a log, a
     shard that is not there, a log of a newer version or, to append, of another kind than raw;
     a path that is not there or may not be read; a new directory that is not empty.";

/// A write-ahead log from the shell: append, dump, recover, verify, import, backup, bench, soak.
#[derive(Debug, Parser)]
#[command(name = "ringwal", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Append records from standard input, or made-up ones, and say when they are durable.
    Append(AppendArgs),
    /// Print the records of a log in order; works beside a live writer and changes nothing.
    Dump(DumpArgs),
    /// Open a log of any kind as a service would, which recovers it (or makes a new one), and print
    /// the report.
    Recover(RecoverArgs),
    /// Read everything, change nothing, print the report.
    Verify(VerifyArgs),
    /// Move the records of another crate's log to a new directory; the old one stays as it is.
    Import(ImportArgs),
    /// Copy a log into a new directory that opens as a log; works beside a live writer and changes
    /// nothing of the log.
    Backup(BackupArgs),
    /// Measure a log beside the raw limits of its file system, in one run, and check every record
    /// that was acknowledged.
    Bench(BenchArgs),
    /// Use a key-value log for hours, with restarts and kills, and check all that it should have.
    Soak(SoakArgs),
    /// The writer that `soak --kill` kills.
    #[command(hide = true)]
    SoakWriter(WriterArgs),
}

/// How records lie in a byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Framing {
    /// One record per line, any bytes, without its newline; the last line needs none.
    Lines,
    /// A 4-byte little-endian length before each record.
    Len32,
}

/// How records are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The bytes, framed as --framing says.
    Raw,
    /// A JSON object per record: seq, bytes, and text, or hex if it is not UTF-8.
    Jsonl,
    /// `SEQ DIGEST`: the first 16 hex digits of the BLAKE3 hash of the bytes, as --acks prints it.
    Digest,
    /// A JSON object per event of an event log: seq and its four fields.
    Events,
}

/// `ringwal append`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "SIGINT, SIGTERM and SIGHUP stop reading, make durable and acknowledge what was \
appended, close the log and exit 0; a second SIGINT or SIGTERM ends the process at once, as \
SIGKILL would. If standard output closes while acknowledgements are printed, it stops in the same \
way and exits 1."
)]
pub(crate) struct AppendArgs {
    /// The log's directory; made if it is not there. An event log or a key-value log is refused.
    pub(crate) dir: PathBuf,
    /// How records lie in standard input.
    #[arg(long, value_enum, default_value_t = Framing::Lines)]
    pub(crate) framing: Framing,
    /// Append N made-up records instead of reading standard input, the same ones every time.
    #[arg(long, value_name = "N", conflicts_with = "framing")]
    pub(crate) generate: Option<u64>,
    /// The length of a made-up record.
    #[arg(long, value_name = "BYTES", default_value = "128", value_parser = parse_generated,
          requires = "generate")]
    pub(crate) size: usize,
    /// How many threads append; they share the input.
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_threads)]
    pub(crate) threads: NonZeroUsize,
    /// How many appends each thread has unacknowledged at most; 1 appends a record and waits for
    /// it before it takes the next.
    #[arg(long, value_name = "N", default_value = "1024")]
    pub(crate) window: NonZeroUsize,
    /// Print `SEQ DIGEST` for each record the moment it is durable, as --durability says, one
    /// flushed line each. Not with --durability queued, which waits for nothing.
    #[arg(long)]
    pub(crate) acks: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// `ringwal dump`.
#[derive(Debug, clap::Args)]
pub(crate) struct DumpArgs {
    /// The log's directory, or that of an event log, which has its log in `wal/`.
    pub(crate) dir: PathBuf,
    /// Start at this sequence number instead of the first.
    #[arg(long, value_name = "SEQ")]
    pub(crate) from: Option<u64>,
    /// Print at most this many records.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// How to print a record; by default events of an event log, else raw, which --framing asks for
    /// as well.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// How to lay out raw records; by default lines.
    #[arg(long, value_enum)]
    pub(crate) framing: Option<Framing>,
    /// Which log of the directory.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) shard: u16,
}

/// `ringwal recover`.
#[derive(Debug, clap::Args)]
pub(crate) struct RecoverArgs {
    /// The log's directory; made if it is not there, as a service would.
    pub(crate) dir: PathBuf,
    /// Print the recovered records, too.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// How to lay out raw records.
    #[arg(long, value_enum, default_value_t = Framing::Lines)]
    pub(crate) framing: Framing,
    /// Acknowledge the losses that the report names, so that no later opening tells them again.
    /// What was cut away stays beside the log as lost-*.seen.
    #[arg(long)]
    pub(crate) acknowledge_loss: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// `ringwal verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// The log's directory, or that of an event log, which has its log in `wal/`.
    pub(crate) dir: PathBuf,
    /// Print the report as one JSON object on standard output, also where there is none to give
    /// but the reason.
    #[arg(long)]
    pub(crate) json: bool,
    /// Which log of the directory.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) shard: u16,
}

/// What `import` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// The crate datawal, version 0.1: a directory of `.dwal` files.
    Datawal,
}

/// `ringwal import`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The new directory opens with ringwal::datawal, and with ringwal::kv unless it \
has records that a key-value log has no place for, which is said. What is left behind is said, too."
)]
pub(crate) struct ImportArgs {
    /// What wrote the old directory.
    #[arg(long, value_enum)]
    pub(crate) from: Source,
    /// The old directory.
    pub(crate) dir: PathBuf,
    /// The new directory, which is not there or empty.
    pub(crate) new_dir: PathBuf,
    /// Take what comes before the first damage, where datawal itself would refuse to open.
    #[arg(long)]
    pub(crate) up_to_damage: bool,
}

/// `ringwal backup`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: a backup of each day, complete or not there at all
  ringwal backup /srv/log /backup/log-$(date +%F)

The copy has everything that was acknowledged before it began, was read back, and is durable. It is
made beside NEWDIR as NEWDIR.PROCESS-NUMBER.partial: a process that is killed leaves that behind,
and it may be removed. A damaged log is not copied (exit code 1): dump prints what is before the
damage. Other ways, and which of them lose records: the chapter on backups in the manual.")]
pub(crate) struct BackupArgs {
    /// The log's directory, or that of an event log, which has its log in `wal/`, as its copy has.
    pub(crate) dir: PathBuf,
    /// The directory of the copy: new, or empty.
    pub(crate) newdir: PathBuf,
    /// Which log of the directory.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) shard: u16,
}

/// The engine's options, for the commands that open a log to write.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Engine options (sizes take KiB, MiB, GiB)")]
pub(crate) struct EngineArgs {
    /// What writes: auto takes io_uring where it can be had.
    #[arg(long, value_enum, default_value_t = BackendArg::Auto)]
    backend: BackendArg,
    /// How a batch becomes durable: auto measures and chooses.
    #[arg(long, value_enum, default_value_t = StrategyArg::Auto)]
    strategy: StrategyArg,
    /// Batches in flight at most.
    #[arg(long, value_name = "N")]
    depth: Option<usize>,
    /// Length of a segment.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    segment_bytes: Option<u64>,
    /// Segments that are prepared beside the active one, to be there when it is full.
    #[arg(long, value_name = "N")]
    spare_segments: Option<usize>,
    /// Segments freed by truncation that are kept to become spares, at most.
    #[arg(long, value_name = "N")]
    recycle_segments: Option<usize>,
    /// Bytes in a batch at most.
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    batch_bytes: Option<usize>,
    /// Records in a batch at most.
    #[arg(long, value_name = "N")]
    batch_records: Option<usize>,
    /// How long a batch may wait for company, in microseconds; 0 never waits.
    #[arg(long, value_name = "MICROS")]
    batch_delay_us: Option<u64>,
    /// Let a small batch wait, no longer than a flush takes, for appenders that are expected back.
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    gather: Option<bool>,
    /// Let an appender write and sync a small batch by itself while nothing is in flight.
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    inline: Option<bool>,
    /// Bytes appended and not yet written at most.
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    queue_bytes: Option<usize>,
    /// Bytes in a record at most.
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    record_bytes_max: Option<usize>,
    /// What an acknowledged record survives.
    #[arg(long, value_enum, default_value_t = DurabilityArg::Synced)]
    durability: DurabilityArg,
    /// Bypass the page cache where the file system allows it.
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    direct_io: Option<bool>,
    /// What a segment has before it is written to: its blocks written as zeros (always), its room
    /// reserved, or neither. auto writes them, but reserves while batches are large, and does
    /// neither on copy-on-write file systems.
    #[arg(long, value_enum, default_value_t = PreallocateArg::Auto)]
    preallocate: PreallocateArg,
    /// Which log of the directory.
    #[arg(long, value_name = "N", default_value_t = 0)]
    shard: u16,
    /// What to do about a damaged end: strict refuses to open, tolerate-tail cuts it back and says
    /// so.
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

    /// As it is given.
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
    /// Measured at open, and compared again later.
    Auto,
    /// A write linked to an fdatasync.
    Linked,
    /// One write that is its own sync.
    Dsync,
    /// A write, then an fdatasync.
    WriteThenSync,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DurabilityArg {
    /// Loss of power.
    Synced,
    /// Death of the process.
    Written,
    /// Nothing.
    Queued,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PreallocateArg {
    /// Where it pays.
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
    /// Whether an acknowledgement says that a record was written.
    pub(crate) fn is_written(&self) -> bool {
        !matches!(self.durability, DurabilityArg::Queued)
    }

    /// Whether an acknowledged record survives a loss of power.
    pub(crate) fn is_synced(&self) -> bool {
        matches!(self.durability, DurabilityArg::Synced)
    }

    /// The length of a segment, if it was given.
    pub(crate) fn segment_bytes(&self) -> Option<u64> {
        self.segment_bytes
    }

    /// How many spares the log holds beside its active segment.
    pub(crate) fn spare_segments(&self) -> usize {
        self.spare_segments.unwrap_or(SPARE_SEGMENTS)
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
        builder = given(builder, self.spare_segments, Builder::spare_segments);
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

/// The engine's default.
const SPARE_SEGMENTS: usize = 1;

/// More threads than this help nobody and would only exhaust the machine.
const THREADS_MAX: usize = 1024;

pub(crate) fn parse_threads(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .ok()
        .filter(|threads: &NonZeroUsize| threads.get() <= THREADS_MAX)
        .ok_or_else(|| format!("expected a number from 1 to {THREADS_MAX}"))
}

/// A number of bytes: digits, and optionally KiB, MiB or GiB (or K, M, G for the same).
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        other => return Err(format!("unknown unit {other}, expected KiB, MiB or GiB")),
    };
    let number: u64 = digits
        .trim_end()
        .parse()
        .map_err(|_| "expected a number of bytes like 4096, 64KiB or 16MiB".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "is more than 2^64 bytes".to_owned())
}

pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    usize::try_from(parse_bytes(text)?).map_err(|_| "is more than this machine addresses".into())
}

/// The longest record that is made up.
const GENERATED_BYTES_MAX: usize = 1 << 30;

fn parse_generated(text: &str) -> Result<usize, String> {
    match parse_size(text)? {
        bytes if bytes <= GENERATED_BYTES_MAX => Ok(bytes),
        _ => Err(format!("expected at most {GENERATED_BYTES_MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Args::command().debug_assert();
        assert!(Args::try_parse_from(["ringwal", "append", "d", "--generate", "3"]).is_ok());
        assert!(Args::try_parse_from(["ringwal", "append", "d", "--size", "3"]).is_err());
        assert!(Args::try_parse_from(["ringwal", "append", "d", "--threads", "0"]).is_err());
    }

    #[test]
    fn sizes_take_binary_units() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("64KiB", 65536), ("2m", 2 << 20)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "-1", "1.5MiB", "1TB", "99999999999GiB", "1é"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}

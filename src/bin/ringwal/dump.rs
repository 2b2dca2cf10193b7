//! `ringwal dump`: prints the records of a log in order, without changing it.
//!
//! Records before damage are printed, and the damage is always reported, even if fewer records were
//! requested: an incomplete backup must not look complete.
//!
//! Records are printed according to the kind of the log, unless another format was requested.

use std::path::PathBuf;
use std::process::ExitCode;

use ringwal::replication::ShardId;
use ringwal::{Error, Kind, Log, Recovery, Seq, Verdict};

use crate::options::format::{Format, Framing};
use crate::options::log_dir::{log_dir, require_log};
use crate::output::exit::Failure;
use crate::output::losses::tell_losses;
use crate::output::records::print_records;
use crate::output::stream::say_also;

/// `ringwal dump`.
#[derive(Debug, clap::Args)]
pub(crate) struct DumpArgs {
    /// The log's directory, or that of an event log, which keeps its log in `wal/`.
    pub(crate) dir: PathBuf,
    /// Start at this sequence number instead of the first record.
    #[arg(long, value_name = "SEQ")]
    pub(crate) from: Option<u64>,
    /// Print at most this many records.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// How to print a record; the default is events for an event log, else raw, which --framing
    /// also selects.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// How to frame raw records; the default is lines.
    #[arg(long, value_enum)]
    pub(crate) framing: Option<Framing>,
    /// Which log in the directory.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) shard: u16,
}

/// Runs the command.
pub(crate) fn run(args: &DumpArgs) -> Result<ExitCode, Failure> {
    let dir = log_dir(&args.dir);
    let shard = ShardId::new(args.shard);
    require_log(&dir, shard)?;
    let mut reader = Log::builder(&dir).shard(shard).read_only()?;
    if let Some(from) = args.from {
        reader.seek(Seq::new(from));
    }
    let found = reader.recovery();
    let told = found.map_or(Ok(()), tell_losses);
    let format = format_of(args, found);
    let damage = found.filter(|found| found.verdict == Verdict::Corrupt);
    let damage = damage.and_then(|found| found.corruption.clone());
    let limit = usize::try_from(args.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let framing = args.framing.unwrap_or(Framing::Lines);
    let printed = print_records(reader.take(limit), &dir, format, framing);
    // Report damage even if the reader stopped before it, or its output failed.
    match (printed, damage.map(|damage| Failure::Log(Error::Corrupt(damage)))) {
        (Ok(()), None) => told.map(|()| ExitCode::SUCCESS),
        (Ok(()), Some(damage)) => Err(damage),
        (Err(failure), Some(damage)) if !failure.is_evidence() => {
            say_also(format_args!("ringwal: {damage}"));
            Err(failure)
        }
        (Err(failure), _) => Err(failure),
    }
}

/// The output format: as requested, else according to the kind of the log.
fn format_of(args: &DumpArgs, found: Option<&Recovery>) -> Format {
    let kind = found.and_then(|found| found.kind);
    match (args.format, args.framing, kind) {
        (Some(format), ..) => format,
        (None, None, Some(Kind::Events)) => Format::Events,
        (None, ..) => Format::Raw,
    }
}

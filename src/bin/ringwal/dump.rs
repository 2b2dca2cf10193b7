//! `ringwal dump`: the records of a log in order, without touching it.
//!
//! What is before damage is printed, and the damage is told, however little of the log was asked
//! for: a backup that lacks records must not look like a whole one.
//!
//! What is printed of a record is what the log says that its records are, unless another form was
//! asked for.

use std::process::ExitCode;

use ringwal::replication::ShardId;
use ringwal::{Error, Kind, Log, Recovery, Seq, Verdict};

use crate::args::{DumpArgs, Format, Framing};
use crate::exit::Failure;
use crate::losses::tell_losses;
use crate::output::print_records;
use crate::place::{log_dir, require_log};
use crate::stream::say_also;

/// Runs it.
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
    // Also where the reader was not asked as far as that, or its output failed before.
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

/// How records are printed: as was asked for, else as the kind of the log says.
fn format_of(args: &DumpArgs, found: Option<&Recovery>) -> Format {
    let kind = found.and_then(|found| found.kind);
    match (args.format, args.framing, kind) {
        (Some(format), ..) => format,
        (None, None, Some(Kind::Events)) => Format::Events,
        (None, ..) => Format::Raw,
    }
}

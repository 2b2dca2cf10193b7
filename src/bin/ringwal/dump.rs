//! `ringwal dump`: the records of a log in order, without touching it.

use std::process::ExitCode;

use ringwal::replication::ShardId;
use ringwal::{Log, Seq};

use crate::args::DumpArgs;
use crate::exit::Failure;
use crate::output::print_records;
use crate::verify::{log_dir, refuse_empty_dir};

/// Runs it.
pub(crate) fn run(args: &DumpArgs) -> Result<ExitCode, Failure> {
    let dir = log_dir(&args.dir);
    refuse_empty_dir(&dir)?;
    let mut reader = Log::builder(&dir).shard(ShardId::new(args.shard)).read_only()?;
    if let Some(from) = args.from {
        reader.seek(Seq::new(from));
    }
    let limit = usize::try_from(args.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    print_records(reader.take(limit), &dir, args.format, args.framing)?;
    Ok(ExitCode::SUCCESS)
}

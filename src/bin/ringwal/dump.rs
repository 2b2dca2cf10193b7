//! `ringwal dump`: the records of a log in order, without touching it.

use std::process::ExitCode;

use ringwal::replication::ShardId;
use ringwal::{Error, Log, Record, Result, Seq};

use crate::args::DumpArgs;
use crate::exit::Failure;
use crate::output::print_records;

/// Runs it.
pub(crate) fn run(args: &DumpArgs) -> Result<ExitCode, Failure> {
    let reader = Log::builder(&args.dir).shard(ShardId::new(args.shard)).read_only()?;
    let from = Seq::new(args.from.unwrap_or(0));
    let limit = usize::try_from(args.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let records = starting_at(reader, from).take(limit);
    print_records(records, args.format, args.framing)?;
    Ok(ExitCode::SUCCESS)
}

/// The records from `from` on; an error if that one was truncated away.
fn starting_at(
    reader: impl Iterator<Item = Result<Record>>,
    from: Seq,
) -> impl Iterator<Item = Result<Record>> {
    let mut first = true;
    reader.skip_while(move |record| matches!(record, Ok(record) if record.seq() < from)).map(
        move |record| {
            let record = record?;
            let is_first = std::mem::replace(&mut first, false);
            if is_first && from > Seq::NONE && record.seq() > from {
                return Err(Error::Truncated { seq: from, first_seq: record.seq() });
            }
            Ok(record)
        },
    )
}

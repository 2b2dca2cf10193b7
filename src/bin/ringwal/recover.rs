//! `ringwal recover`: open a log as a service would, say what was found, close it.

use std::process::ExitCode;

use crate::args::RecoverArgs;
use crate::exit::Failure;
use crate::losses::{acknowledge, hint};
use crate::output::print_records;
use crate::place::log_dir;
use crate::stream::say;

/// Runs it.
pub(crate) fn run(args: &RecoverArgs) -> Result<ExitCode, Failure> {
    let dir = log_dir(&args.dir);
    // Nothing is appended, so any kind will do.
    let log = args.engine.builder(&dir).kind(None).open()?;
    let said = say(log.recovery());
    let printed = match args.format {
        Some(format) => print_records(log.reader()?, &dir, format, args.framing),
        None => Ok(()),
    };
    let acknowledged = match args.acknowledge_loss {
        true => said.and_then(|()| acknowledge(&log)),
        false => said.and_then(|()| hint(log.recovery())),
    };
    log.close()?;
    printed?;
    acknowledged?;
    Ok(ExitCode::SUCCESS)
}

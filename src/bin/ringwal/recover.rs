//! `ringwal recover`: open a log as a service would, say what was found, close it.

use std::process::ExitCode;

use crate::args::RecoverArgs;
use crate::exit::Failure;
use crate::output::print_records;
use crate::verify::log_dir;

/// Runs it.
pub(crate) fn run(args: &RecoverArgs) -> Result<ExitCode, Failure> {
    let dir = log_dir(&args.dir);
    let log = args.engine.builder(&dir).open()?;
    eprintln!("{}", log.recovery());
    let printed = match args.format {
        Some(format) => print_records(log.reader()?, &dir, format, args.framing),
        None => Ok(()),
    };
    log.close()?;
    printed?;
    Ok(ExitCode::SUCCESS)
}

//! `ringwal import`: the records of another crate's log, in a new directory.

use std::fs;
use std::process::ExitCode;

use ringwal::datawal::{import, import_up_to_damage};

use crate::args::{ImportArgs, Source};
use crate::exit::Failure;
use crate::stream::say;

/// Runs it.
pub(crate) fn run(args: &ImportArgs) -> Result<ExitCode, Failure> {
    // A source that is not there is a matter of the request; so is one that may not be read.
    fs::read_dir(&args.dir).map_err(|error| Failure::Raw(args.dir.clone(), error))?;
    let import = match args.from {
        Source::Datawal if args.up_to_damage => import_up_to_damage,
        Source::Datawal => import,
    };
    say(import(&args.dir, &args.new_dir)?)?;
    Ok(ExitCode::SUCCESS)
}

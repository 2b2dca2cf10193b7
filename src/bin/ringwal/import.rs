//! `ringwal import`: copies the records of another crate's log into a new directory.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use ringwal::datawal::{import, import_up_to_damage};

use crate::output::exit::Failure;
use crate::output::stream::say;

/// The formats that `import` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// The crate datawal, version 0.1: a directory of `.dwal` files.
    Datawal,
}

/// `ringwal import`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The new directory opens with ringwal::datawal, and with ringwal::kv unless it \
has records that a key-value log cannot hold. The report names those, and any records left behind."
)]
pub(crate) struct ImportArgs {
    /// The crate that wrote the old directory.
    #[arg(long, value_enum)]
    pub(crate) from: Source,
    /// The old directory.
    pub(crate) dir: PathBuf,
    /// The new directory, which must be missing or empty.
    pub(crate) new_dir: PathBuf,
    /// Import the records before the first damage, where datawal itself would refuse to open.
    #[arg(long)]
    pub(crate) up_to_damage: bool,
}

/// Runs the command.
pub(crate) fn run(args: &ImportArgs) -> Result<ExitCode, Failure> {
    // A missing or unreadable source is a bad request.
    fs::read_dir(&args.dir).map_err(|error| Failure::Raw(args.dir.clone(), error))?;
    let import = match args.from {
        Source::Datawal if args.up_to_damage => import_up_to_damage,
        Source::Datawal => import,
    };
    say(import(&args.dir, &args.new_dir)?)?;
    Ok(ExitCode::SUCCESS)
}

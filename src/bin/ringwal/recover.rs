//! `ringwal recover`: opens a log as a service would, reports the recovery, closes it.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::options::engine::EngineArgs;
use crate::options::format::{Format, Framing};
use crate::options::log_dir::log_dir;
use crate::output::exit::Failure;
use crate::output::losses::{acknowledge, hint};
use crate::output::records::print_records;
use crate::output::stream::say;

/// `ringwal recover`.
#[derive(Debug, clap::Args)]
pub(crate) struct RecoverArgs {
    /// The log's directory; created if missing, as a service would.
    pub(crate) dir: PathBuf,
    /// Also print the recovered records.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// How to frame raw records.
    #[arg(long, value_enum, default_value_t = Framing::Lines)]
    pub(crate) framing: Framing,
    /// Acknowledge the losses that the report names, so that no later opening reports them again.
    /// What was cut away stays beside the log as lost-*.seen.
    #[arg(long)]
    pub(crate) acknowledge_loss: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// Runs the command.
pub(crate) fn run(args: &RecoverArgs) -> Result<ExitCode, Failure> {
    let dir = log_dir(&args.dir);
    // Nothing is appended, so a log of any kind is accepted.
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

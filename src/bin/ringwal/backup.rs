//! `ringwal backup`: a copy of a log that may be in use.
//!
//! The copy has the shape of what was named: of an event log it is an event log, which has its log
//! in `wal/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ringwal::Log;
use ringwal::replication::ShardId;
use ringwal::wal::{WalConfig, WalHandle};

use crate::options::log_dir::{log_dir, require_log};
use crate::output::exit::Failure;
use crate::output::stream::say;

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

/// Runs it.
pub(crate) fn run(args: &BackupArgs) -> Result<ExitCode, Failure> {
    let (dir, shard) = (log_dir(&args.dir), ShardId::new(args.shard));
    require_log(&dir, shard)?;
    require_parent(&args.newdir)?;
    let report = if dir == args.dir {
        Log::builder(&dir).shard(shard).backup_to(&args.newdir)
    } else {
        let config = WalConfig { dir: args.dir.clone(), ..WalConfig::default() };
        WalHandle::builder(config).shard(shard).backup_to(&args.newdir)
    };
    say(report?)?;
    Ok(ExitCode::SUCCESS)
}

/// The directory in which the new one is made is there. It is not made: it may be one where nothing
/// is mounted.
fn require_parent(newdir: &Path) -> Result<(), Failure> {
    let parent = match newdir.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    match fs::metadata(parent) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Raw(parent.to_path_buf(), error)),
    }
}

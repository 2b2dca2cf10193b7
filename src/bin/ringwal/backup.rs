//! `ringwal backup`: copies a log that may be in use.
//!
//! The copy has the layout of its source: the copy of an event log is an event log, with its log in
//! `wal/`.

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
Example: a daily backup that is either complete or absent
  ringwal backup /srv/log /backup/log-$(date +%F)

The copy holds every record acknowledged before the backup began. It is read back and durable. It
is made beside NEWDIR, as NEWDIR.PROCESS-NUMBER.partial. A killed process leaves that directory
behind; it can be removed. A damaged log is not copied (exit code 1); dump prints the records before
the damage. The manual has a chapter on other ways to back up, and on those that lose records.")]
pub(crate) struct BackupArgs {
    /// The log's directory, or that of an event log, which keeps its log in `wal/`, as does the
    /// copy.
    pub(crate) dir: PathBuf,
    /// The directory of the copy: missing or empty.
    pub(crate) newdir: PathBuf,
    /// Which log in the directory.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) shard: u16,
}

/// Runs the command.
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

/// Returns an error unless the parent of the new directory exists. It is not created: it may be an
/// unmounted mount point.
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

//! `ringwal backup`: a copy of a log that may be in use.
//!
//! The copy has the shape of what was named: of an event log it is an event log, which has its log
//! in `wal/`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use ringwal::Log;
use ringwal::replication::ShardId;
use ringwal::wal::{WalConfig, WalHandle};

use crate::args::BackupArgs;
use crate::exit::Failure;
use crate::place::{log_dir, require_log};
use crate::stream::say;

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

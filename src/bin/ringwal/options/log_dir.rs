//! Which log a path means, and whether there is one.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ringwal::Error;
use ringwal::replication::ShardId;
use ringwal::wal::segment::segment_filename;

/// How many shards a message names.
const SHARDS_SHOWN: usize = 8;

/// Where the log is that `dir` means: an event log has it in `wal/`. A log with segments has no
/// directories of its own, so the two cannot be confused.
pub(crate) fn log_dir(dir: &Path) -> PathBuf {
    let inner = dir.join("wal");
    let is_segment = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "seg"))
    };
    let is_log = fs::read_dir(dir).is_ok_and(|mut entries| entries.any(is_segment));
    if inner.is_dir() && !is_log { inner } else { dir.to_path_buf() }
}

/// Who asks to see a log has to find one. What is not there would do for a new log, but someone
/// who asks to see it has probably named another directory or shard than they meant, or one where
/// nothing is mounted.
///
/// # Errors
///
/// [`Error::NotALog`] where there is neither a segment nor a `state` file of the shard.
pub(crate) fn require_log(dir: &Path, shard: ShardId) -> Result<(), Error> {
    // What cannot be listed is the engine's to report.
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    names.sort_unstable();
    if names.iter().any(|name| is_of(shard, name)) {
        return Ok(());
    }
    let shards: BTreeSet<u16> = names.iter().filter_map(|name| shard_of(name)).collect();
    let reason = match names.first() {
        None => "the directory is empty".to_owned(),
        Some(_) if !shards.is_empty() => {
            let listed: Vec<_> = shards.iter().take(SHARDS_SHOWN).map(u16::to_string).collect();
            let more = if shards.len() > SHARDS_SHOWN { " and more" } else { "" };
            format!("it has no shard {shard}, but shard {}{more} (--shard)", listed.join(", "))
        }
        // With other files in it the engine says so.
        Some(_) if names.iter().any(|name| !matches!(name.as_str(), "lock" | "lost+found")) => {
            return Ok(());
        }
        Some(found) => format!("it has no segment, only {found:?}"),
    };
    Err(Error::NotALog { path: dir.to_path_buf(), reason })
}

/// Whether a file is a segment or the `state` of a shard, by its name.
fn is_of(shard: ShardId, name: &str) -> bool {
    let first = segment_filename(shard, 1);
    let prefix = first.find("wal-").map_or("", |at| &first[..at]);
    name.strip_prefix(prefix).is_some_and(|own| {
        own == "state" || own.strip_prefix("wal-").is_some_and(|rest| rest.ends_with(".seg"))
    })
}

fn shard_of(name: &str) -> Option<u16> {
    let stated = name.strip_prefix('s').and_then(|rest| rest.split_once('-'));
    let stated = stated.and_then(|(number, _)| number.parse().ok()).unwrap_or(0);
    is_of(ShardId::new(stated), name).then_some(stated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_belong_to_the_shard_that_they_state() {
        let seven = segment_filename(ShardId::new(7), 42);
        for (name, shard) in [
            ("state", Some(0)),
            (&segment_filename(ShardId::SINGLE, 42), Some(0)),
            (&seven, Some(7)),
            ("s00007-state", Some(7)),
            ("s00007-lock", None),
            ("lock", None),
            ("statement", None),
            ("s7-state", None),
        ] {
            assert_eq!(shard_of(name), shard, "{name}");
        }
        assert!(is_of(ShardId::new(7), &seven) && !is_of(ShardId::SINGLE, &seven));
    }
}

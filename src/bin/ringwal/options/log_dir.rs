//! Which log a path names, and whether that log exists.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ringwal::Error;
use ringwal::replication::ShardId;
use ringwal::wal::segment::segment_filename;

/// Maximum number of shards that a message lists.
const SHARDS_SHOWN: usize = 8;

/// The directory of the log that `dir` names: an event log keeps its log in `wal/`. A log with
/// segments has no subdirectories, so the two cannot be confused.
pub(crate) fn log_dir(dir: &Path) -> PathBuf {
    let inner = dir.join("wal");
    let is_segment = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "seg"))
    };
    let is_log = fs::read_dir(dir).is_ok_and(|mut entries| entries.any(is_segment));
    if inner.is_dir() && !is_log { inner } else { dir.to_path_buf() }
}

/// Returns an error unless the log exists. Opening would create a missing log, but a user who wants
/// to read one has probably named the wrong directory or shard, or an unmounted one.
///
/// # Errors
///
/// [`Error::NotALog`] if the directory has neither a segment nor a `state` file of the shard.
pub(crate) fn require_log(dir: &Path, shard: ShardId) -> Result<(), Error> {
    // The engine reports a directory that cannot be listed.
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
        // The engine reports a directory with unrelated files.
        Some(_) if names.iter().any(|name| !matches!(name.as_str(), "lock" | "lost+found")) => {
            return Ok(());
        }
        Some(found) => format!("it has no segment, only {found:?}"),
    };
    Err(Error::NotALog { path: dir.to_path_buf(), reason })
}

/// Whether a file name is that of a segment or `state` file of the shard.
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

//! The names of an event log's segments, for programs that look at its files. Programs use this
//! path: it stays.

use std::path::{Path, PathBuf};

use crate::replication::ShardId;
use crate::segment::name;
use crate::{Error, Result};

/// The name of the segment whose first record is `first_seq`.
///
/// ```
/// use ringwal::replication::ShardId;
/// use ringwal::wal::segment::segment_filename;
///
/// assert_eq!(segment_filename(ShardId::SINGLE, 42), "wal-00000000000000000042.seg");
/// ```
pub fn segment_filename(shard: ShardId, first_seq: u64) -> String {
    name::segment_filename(shard, first_seq)
}

/// The segments of the log in `dir` (`<dir>/wal` of a handle), ascending: the first sequence number
/// of each, from its name, and its path. Segments of other shards are left out.
///
/// ```
/// use ringwal::replication::ShardId;
/// use ringwal::wal::segment::{list_segments, segment_filename};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join(segment_filename(ShardId::SINGLE, 42));
/// std::fs::write(&path, "")?;
/// assert_eq!(list_segments(dir.path())?, [(42, path)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error::Io`] if the directory cannot be listed.
pub fn list_segments(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let failed = |source| Error::io("list", dir, source);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        // A name that is not UTF-8 belongs to no segment.
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    let segments = name::segments_among(ShardId::SINGLE, names);
    Ok(segments.into_iter().map(|(first_seq, name)| (first_seq, dir.join(name))).collect())
}

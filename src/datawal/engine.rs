//! The engine underneath: its options for these logs, and the rules for their directories.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::datawal::errors::to_anyhow;
use crate::datawal::lock::{self, DirLock, LOCK_FILENAME};
use crate::datawal::segment;
use crate::format::STATE_BYTES;
use crate::kv::partial::sync_parent;
use crate::kv::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::mutation::mutated;
use crate::{BackendKind, Builder, Durability, Error, Kind, Log};

/// A quarter of the segment size of a key-value log: a log preallocates two files, programs of the
/// crate datawal may have many logs, and a reader beside the writer reads all of the last file.
/// With a quarter of this, values of 1 MiB took several times as long: every second one began a
/// file.
const SEGMENT_BYTES: u64 = 8 << 20;
/// The segment size of an import, which writes everything and closes the log: as in a key-value
/// log.
pub(crate) const BULK_SEGMENT_BYTES: u64 = 32 << 20;
/// The kind, the length of the key, the key, and the payload.
const RECORD_BYTES_MAX: usize = 1 + 2 + KEY_BYTES_MAX + VALUE_BYTES_MAX;

/// The file that every log has since its first opening.
const STATE_NAME: &str = "state";
/// The temporary directory in which a log begins before it moves among other files.
const BEGUN_NAME: &str = "ringwal-begun.partial";

/// The engine's builder for `dir`.
pub(crate) fn builder(dir: &Path, backend: BackendKind) -> Builder {
    Log::builder(dir)
        .backend(backend)
        // The kind of a key-value log, which itself refuses records that it cannot represent.
        .kind(Some(Kind::Kv))
        .durability(Durability::Written)
        .segment_bytes(SEGMENT_BYTES)
        .record_bytes_max(RECORD_BYTES_MAX)
        .recycle_segments(0)
}

/// Whether a log was ever opened in `dir`: there are segments, or a file that may be its `state`.
pub(crate) fn has_log(dir: &Path) -> Result<bool> {
    let is_segment = |name: &str| name.starts_with("wal-") && name.ends_with(".seg");
    let failed = || format!("datawal: list {}", dir.display());
    for entry in fs::read_dir(dir).with_context(failed)? {
        if entry.with_context(failed)?.file_name().to_str().is_some_and(is_segment) {
            return Ok(true);
        }
    }
    // A log creates it with its full length.
    let is_state = |found: fs::Metadata| found.is_file() && found.len() == STATE_BYTES as u64;
    Ok(fs::symlink_metadata(dir.join(STATE_NAME)).is_ok_and(is_state))
}

/// An error if there is no log, but other files have the names that it needs.
fn refuse_foreign(dir: &Path) -> Result<()> {
    if has_log(dir)? {
        return Ok(());
    }
    let is_lock = |path: &Path| {
        let file = fs::symlink_metadata(path)?.is_file().then(|| fs::File::open(path));
        file.map_or(Ok(false), |file| lock::is_lock(&file?))
    };
    let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
    let (state, lock) = (dir.join(STATE_NAME), dir.join(LOCK_FILENAME));
    let foreign = if is_there(&state) {
        STATE_NAME
    } else if is_there(&lock) && !is_lock(&lock).unwrap_or(true) {
        LOCK_FILENAME
    } else {
        return Ok(());
    };
    let reason = format!(
        "its {foreign:?} belongs to another program, and a log needs that name; name another \
                 directory, or rename that file"
    );
    bail!(Error::NotALog { path: dir.to_path_buf(), reason })
}

/// If there is a file in place of the directory, the error of the operating system.
pub(crate) fn refuse_file(dir: &Path) -> Result<()> {
    if fs::metadata(dir).is_ok_and(|found| !found.is_dir()) {
        let made = fs::create_dir(dir);
        made.with_context(|| format!("datawal: create_dir_all {}: it is a file", dir.display()))?;
    }
    Ok(())
}

/// An error if the directory has files of the crate datawal: an empty log beside them would hide
/// their records.
pub(crate) fn refuse_unimported(dir: &Path) -> Result<()> {
    let files = match segment::list(dir) {
        Ok(files) => files,
        // There is nothing to hide; opening reports the error.
        Err(_) => return Ok(()),
    };
    if let Some(&id) = files.first()
        && !mutated("datawal_hide_old_files")
    {
        let reason = format!(
            "it has {}, which the crate datawal wrote; `ringwal import --from datawal {} NEWDIR` \
             moves its records to a new directory",
            segment::segment_path(Path::new(""), id).display(),
            dir.display()
        );
        bail!(Error::NotALog { path: dir.to_path_buf(), reason });
    }
    Ok(())
}

/// Begins a log in a directory with other files. The engine begins one only in an empty directory,
/// the crate datawal in any. So the log is made in a temporary directory inside, and its first file
/// is moved out: at any moment there is a whole log or none.
pub(crate) fn begin_among_other_files(dir: &Path, backend: BackendKind) -> Result<()> {
    let is_other = |entry: std::io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name() != LOCK_FILENAME)
    };
    // If the directory cannot be listed, opening reports the error.
    let Ok(mut entries) = fs::read_dir(dir) else { return Ok(()) };
    refuse_foreign(dir)?;
    if !entries.any(is_other) || has_log(dir)? {
        return Ok(());
    }
    let _lock = DirLock::acquire(dir)?;
    let failed = || format!("datawal: begin a log in {}", dir.display());
    let (begun, state) = (dir.join(BEGUN_NAME), dir.join(STATE_NAME));
    let made = builder(&begun, backend).open().and_then(|log| log.close());
    made.map_err(to_anyhow).with_context(failed)?;
    fs::rename(begun.join(STATE_NAME), &state).with_context(failed)?;
    sync_parent(&state).map_err(to_anyhow).with_context(failed)?;
    match sync_parent(dir) {
        // No permission to sync the parent: making the directory's name durable is up to its
        // creator.
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {}
        synced => synced.map_err(to_anyhow).with_context(failed)?,
    }
    fs::remove_dir_all(&begun).with_context(failed)
}

//! The directory of a backup: checks the target, and creates the directory for the partial copy.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// How many unfinished copies with one name there may be.
const PARTIALS_MAX: u32 = 1000;

/// An error if the target is inside the log's own directory.
pub(super) fn require_outside(log: &Path, target: &Path) -> Result<()> {
    let parent = match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let real = |path: &Path| fs::canonicalize(path).ok();
    // A missing directory is reported by the next call that opens it.
    let (Some(parent), Some(log)) = (real(parent), real(log)) else { return Ok(()) };
    if !parent.starts_with(&log) {
        return Ok(());
    }
    let source = io::Error::new(ErrorKind::InvalidFilename, "it is inside the log");
    Err(Error::io("make a copy in", target, source))
}

/// An error if `dir` exists and is not empty.
pub(super) fn require_empty(dir: &Path) -> Result<()> {
    let entry = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next(),
        // A dangling link counts as existing: renaming would replace it.
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(dir).is_err() => {
            None
        }
        Err(error) => return Err(Error::io("list", dir, error)),
    };
    match entry {
        None => Ok(()),
        Some(entry) => {
            let found = entry.map_err(|error| Error::io("list", dir, error))?.file_name();
            let found = found.to_string_lossy().into_owned();
            Err(Error::NotEmpty { path: dir.to_path_buf(), found })
        }
    }
}

/// Creates a directory beside `target` for this attempt alone, which only its owner may read.
pub(super) fn create_partial_dir(target: &Path) -> Result<PathBuf> {
    let Some(name) = target.file_name() else {
        let source = io::Error::new(ErrorKind::InvalidFilename, "it does not end in a name");
        return Err(Error::io("make a copy in", target, source));
    };
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let process = std::process::id();
    for number in 0..PARTIALS_MAX {
        let mut partial = name.to_owned();
        partial.push(format!(".{process}-{number}.partial"));
        let partial = target.with_file_name(partial);
        match builder.create(&partial) {
            Ok(()) => return Ok(partial),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                let failed = Error::io("create a directory beside", target, error);
                return Err(failed.or_no_space(target.to_path_buf(), 0));
            }
        }
    }
    let source =
        io::Error::other(format!("there are {PARTIALS_MAX} unfinished copies; remove them"));
    Err(Error::io("create a directory beside", target, source))
}

/// Gives the copy the permissions of the log's directory.
pub(super) fn keep_mode(log: &Path, copy: &Path) -> Result<()> {
    // A simulated disk has no directory.
    let Ok(found) = fs::metadata(log) else { return Ok(()) };
    fs::set_permissions(copy, found.permissions())
        .map_err(|error| Error::io("set the permissions of", copy, error))
}

//! The scratch directory of a run, inside the directory to measure, and removal of directories.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::output::exit::Failure;
use crate::output::stream::say_also;

/// Maximum number of further names to try.
const NAMES_MAX: u32 = 1000;

/// A directory that is removed with its contents when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// Creates a directory in `parent`, or in the current directory.
    pub(crate) fn new(parent: Option<&Path>) -> Result<Scratch, Failure> {
        let parent = parent.unwrap_or(Path::new("."));
        let own = format!("ringwal-bench-{}", std::process::id());
        let mut number = 0;
        loop {
            // A killed run leaves its directory behind, and process ids are reused.
            let again = if number == 0 { String::new() } else { format!("-{number}") };
            let path = parent.join(format!("{own}{again}"));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Scratch { path, keep: false }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && number < NAMES_MAX => {
                    number += 1;
                }
                Err(error) => return Err(Failure::Raw(path, error)),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the directory.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            let path = self.path.display();
            say_also(format_args!("ringwal: {path} could not be removed: {error}"));
        }
    }
}

/// Removes a directory with its contents and syncs its parent, so the cost does not fall into the
/// next measurement.
pub(crate) fn remove_dir(dir: &Path) -> Result<(), Failure> {
    let removed = fs::remove_dir_all(dir).and_then(|()| sync_parent(dir));
    removed.map_err(|error| Failure::Raw(dir.to_path_buf(), error))
}

#[cfg(unix)]
fn sync_parent(dir: &Path) -> io::Result<()> {
    fs::File::open(dir.parent().unwrap_or(Path::new(".")))?.sync_all()
}

// Other systems cannot open directories.
#[cfg(not(unix))]
fn sync_parent(_dir: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_an_earlier_process_left_is_in_nobodys_way_and_stays() {
        let parent = tempfile::tempdir().unwrap();
        let left = Scratch::new(Some(parent.path())).unwrap();
        fs::write(left.path().join("log"), "its").unwrap();
        let path = {
            let scratch = Scratch::new(Some(parent.path())).unwrap();
            assert_ne!(scratch.path(), left.path());
            scratch.path().to_path_buf()
        };
        assert!(!path.exists() && left.path().join("log").exists());
    }
}

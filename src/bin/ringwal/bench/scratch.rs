//! The directory that a run works in, below the one that it measures.

use std::fs;
use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// A directory that goes, with everything in it, when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// A new one in `parent`, or in the current directory.
    pub(crate) fn new(parent: Option<&Path>) -> Result<Scratch, Failure> {
        let parent = parent.unwrap_or(Path::new("."));
        let path = parent.join(format!("ringwal-bench-{}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => Ok(Scratch { path, keep: false }),
            Err(error) => Err(Failure::Raw(path, error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// It stays.
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
            eprintln!("ringwal: {} could not be removed: {error}", self.path.display());
        }
    }
}

//! A directory that is opened once, and stays the directory that was opened: [`Dir`].
//!
//! 1. Files are found in the opened directory even if the working directory changes or the path is
//!    renamed or replaced. On Linux files are named below the directory's descriptor. Elsewhere the
//!    path is made absolute, which holds until the directory is renamed.
//! 2. Once it is open, naming files and syncing the directory take no further descriptor.
//! 3. [`leads_here`](Dir::leads_here) tells whether the path still leads to this directory, so that
//!    the next open of the log finds it.
//!
//! Threading: everything may be shared between threads.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// An open directory, or the path of one that does not exist yet.
#[derive(Debug)]
pub(crate) struct Dir {
    /// The path as it was given, for messages.
    shown: PathBuf,
    /// The same path from the root, which a change of the working directory does not affect.
    absolute: PathBuf,
    /// The path that leads to the open directory.
    base: PathBuf,
    /// `None` if the directory did not exist; then it is found by its path.
    open: Option<File>,
}

impl Dir {
    /// Opens `path` if it exists.
    pub(crate) fn new(path: PathBuf) -> Dir {
        let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        let open = open(&absolute);
        let base = open.as_ref().and_then(below_descriptor).unwrap_or_else(|| absolute.clone());
        Dir { shown: path, absolute, base, open }
    }

    /// The path for messages.
    pub(crate) fn shown(&self) -> &Path {
        &self.shown
    }

    /// The path that leads to the open directory.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// Makes the creations, renames and removals in it durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match &self.open {
            Some(open) => open.sync_all(),
            None => sync_dir(&self.base),
        }
    }

    /// Makes its own name durable. If this process may not open the parent, it did not create the
    /// directory either, so the sync is left to the process that did. A mount point has no name in
    /// its parent to sync.
    pub(crate) fn sync_parent(&self) -> io::Result<()> {
        let parent = self.base.join("..");
        if is_other_device(&self.base, &parent) {
            return Ok(());
        }
        match sync_dir(&parent) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        }
    }

    /// Whether its path still leads to the open directory.
    pub(crate) fn leads_here(&self) -> io::Result<bool> {
        let Some(open) = &self.open else { return Ok(true) };
        is_same(open, &self.absolute)
    }
}

#[cfg(unix)]
fn open(path: &Path) -> Option<File> {
    File::open(path).ok().filter(|file| file.metadata().is_ok_and(|found| found.is_dir()))
}

#[cfg(not(unix))]
fn open(_path: &Path) -> Option<File> {
    None
}

/// A path by the descriptor, which leads to the open directory whatever its name becomes.
#[cfg(target_os = "linux")]
fn below_descriptor(open: &File) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    let base = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
    is_same(open, &base).ok()?.then_some(base)
}

#[cfg(not(target_os = "linux"))]
fn below_descriptor(_open: &File) -> Option<PathBuf> {
    None
}

#[cfg(unix)]
fn is_same(open: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (mine, found) = (open.metadata()?, std::fs::metadata(path)?);
    Ok((mine.dev(), mine.ino()) == (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn is_same(_open: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(unix)]
fn is_other_device(dir: &Path, parent: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let devices = [dir, parent].map(|path| std::fs::metadata(path).map(|found| found.dev()));
    matches!(devices, [Ok(own), Ok(above)] if own != above)
}

#[cfg(not(unix))]
fn is_other_device(_dir: &Path, _parent: &Path) -> bool {
    false
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Windows cannot sync a directory; [`Storage::rename`](crate::io::Storage::rename) of `StdStorage`
/// syncs a file under its new name instead.
#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_renamed_or_replaced_is_still_the_one_that_was_opened() {
        let parent = tempfile::tempdir().unwrap();
        let (path, away) = (parent.path().join("dir"), parent.path().join("away"));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("mine"), "1").unwrap();
        let dir = Dir::new(path.clone());
        assert!(dir.leads_here().unwrap());
        std::fs::rename(&path, &away).unwrap();
        assert_eq!(dir.leads_here().unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::create_dir(&path).unwrap();
        assert!(!dir.leads_here().unwrap());
        if cfg!(target_os = "linux") {
            assert_eq!(std::fs::read(dir.base().join("mine")).unwrap(), b"1");
        }
        dir.sync().unwrap();
        dir.sync_parent().unwrap();
    }

    #[test]
    fn a_directory_that_is_not_there_yet_is_found_by_its_path() {
        let parent = tempfile::tempdir().unwrap();
        let dir = Dir::new(parent.path().join("dir"));
        assert!(dir.sync().is_err());
        std::fs::create_dir(dir.base()).unwrap();
        dir.sync().unwrap();
        dir.sync_parent().unwrap();
        assert!(dir.leads_here().unwrap());
    }
}

//! A directory that was opened once, and stays the one that was opened.
//!
//! 1. Whatever becomes of the path (a relative one after a change of the working directory, one
//!    that is renamed, or replaced by another directory), files are found in the directory that
//!    was opened. On Linux they are named below its descriptor; elsewhere the path is made
//!    absolute, which holds until it is renamed.
//! 2. After it was opened, naming files and syncing the directory take no further descriptor.
//! 3. [`leads_here`](Dir::leads_here) tells whether the path still leads to it: who looks for the
//!    log there should find this one.
//!
//! Threading: everything may be shared between threads.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug)]
pub(crate) struct Dir {
    /// As it was given, for messages.
    shown: PathBuf,
    /// The same, from the root on: where it is looked for after this process has gone elsewhere.
    absolute: PathBuf,
    /// Where the operating system finds it.
    base: PathBuf,
    /// `None` if it was not there when it was looked for; then it is found by its path.
    open: Option<File>,
}

impl Dir {
    /// Opens `path`, if it is there.
    pub(crate) fn new(path: PathBuf) -> Dir {
        let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        let open = open(&absolute);
        let base = open.as_ref().and_then(below_descriptor).unwrap_or_else(|| absolute.clone());
        Dir { shown: path, absolute, base, open }
    }

    /// The directory, for messages.
    pub(crate) fn shown(&self) -> &Path {
        &self.shown
    }

    /// Where the operating system finds it.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// Makes creations, renames and removals in it durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match &self.open {
            Some(open) => open.sync_all(),
            None => sync_dir(&self.base),
        }
    }

    /// Makes its own name durable. Where the directory above may not be opened, that was for
    /// whoever could make it; and the name of a mount point is nobody's here.
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

    /// Whether its path still leads to it.
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

/// A path below the descriptor, which leads to the open directory whatever becomes of its name.
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

/// Windows has no sync of a directory; a file is synced under its new name instead
/// ([`Storage::rename`](crate::io::Storage::rename) of `StdStorage`).
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

//! The blocking plane on `std::fs`: [`StdStorage`], on every platform.
//!
//! Beyond the contract of [`Storage`], a refused [`lock`](Storage::lock) changes nothing: the lock
//! file is written only once the lock is held. Locks are those of `flock`, which belong to a file
//! rather than to a name and do not keep readers out. (Windows does keep readers out of a locked
//! file.)
//!
//! Threading: everything may be shared between threads.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::portable::dir::Dir;
use crate::io::portable::file::StdFile;
#[cfg(unix)]
use crate::io::portable::fs::{FileIdentity, identity};
use crate::io::portable::fs::{FileLock, open_regular, read_at, regular, write_all_at};
use crate::io::{Access, LockGuard, Storage, StorageFile};
use crate::mutation::mutated;
#[cfg(unix)]
use crate::sync::plain::Mutex;

/// A directory of the file system.
#[derive(Debug)]
pub struct StdStorage {
    dir: Dir,
    /// The files that must keep their names; see [`Storage::must_keep`].
    #[cfg(unix)]
    kept: Mutex<Vec<(String, FileIdentity)>>,
}

impl StdStorage {
    /// The storage of `dir`, which must exist by the time it is used. A directory that exists now
    /// is opened, and on Linux it stays the directory of this storage even if its path is renamed
    /// or replaced. Elsewhere the directory is found by its absolute path.
    pub fn new(dir: impl Into<PathBuf>) -> StdStorage {
        StdStorage {
            dir: Dir::new(dir.into()),
            #[cfg(unix)]
            kept: Mutex::default(),
        }
    }

    /// Fails if a file that must keep its name has lost it: another log may be there by now.
    #[cfg(unix)]
    fn check_kept(&self) -> Result<()> {
        for (name, file) in self.kept.lock().iter() {
            let found = std::fs::symlink_metadata(self.real_path(name));
            if found.is_ok_and(|found| identity(&found) == *file)
                || mutated("forget_the_kept_names")
            {
                continue;
            }
            let why = "the file was removed or replaced while the log was open; find the program \
                       that did it, then open the log again";
            return Err(Error::io("find", self.path(name), io::Error::other(why)));
        }
        Ok(())
    }

    #[cfg(not(unix))]
    fn check_kept(&self) -> Result<()> {
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        debug_assert!(!name.is_empty() && !name.contains(['/', '\\']), "{name:?} is not a name");
        self.dir.shown().join(name)
    }
}

impl Storage for StdStorage {
    fn dir(&self) -> &Path {
        self.dir.shown()
    }

    fn real_path(&self, name: &str) -> PathBuf {
        self.dir.base().join(name)
    }

    fn check_place(&self) -> Result<()> {
        let answer = match self.dir.leads_here() {
            Ok(true) => return self.check_kept(),
            Ok(false) if mutated("write_where_nobody_looks") => return Ok(()),
            Ok(false) => io::Error::other(
                "another directory is there now; the log stopped, and its acknowledged records are \
                 in the directory that was there before",
            ),
            Err(error) => error,
        };
        Err(Error::io("find the log by its path", self.dir.shown(), answer))
    }

    #[cfg(unix)]
    fn must_keep(&self, name: &str) -> Result<()> {
        let found = std::fs::symlink_metadata(self.real_path(name))
            .map_err(|source| Error::io("look at", self.path(name), source))?;
        let mut kept = self.kept.lock();
        kept.push((name.to_owned(), identity(&found)));
        Ok(())
    }

    fn list(&self) -> Result<Vec<String>> {
        let failed = |source| Error::io("list", self.dir.shown(), source);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.dir.base()).map_err(failed)? {
            // A name that is not UTF-8 is not ours, but the directory is not empty either.
            names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    fn open(&self, name: &str, access: Access) -> Result<Box<dyn StorageFile>> {
        let (path, real) = (self.path(name), self.real_path(name));
        let mut options = regular();
        options.read(true);
        let op = match access {
            Access::Read => "open",
            Access::Write => {
                options.write(true);
                "open"
            }
            Access::Create => {
                options.write(true).create_new(true);
                "create"
            }
        };
        let (file, bytes) =
            open_regular(&options, &real).map_err(|source| Error::io(op, &path, source))?;
        Ok(Box::new(StdFile::new(file, (path, real), bytes, access == Access::Create)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let new = self.real_path(to);
        std::fs::rename(self.real_path(from), &new)
            .map_err(|source| Error::io("rename", self.path(from), source))?;
        match NAMES_GO_WITH_FILES {
            true => sync_name(&new).map_err(|source| Error::io("sync", self.path(to), source)),
            false => Ok(()),
        }
    }

    fn remove(&self, name: &str) -> Result<()> {
        std::fs::remove_file(self.real_path(name))
            .map_err(|source| Error::io("remove", self.path(name), source))
    }

    fn sync_dir(&self) -> Result<()> {
        let failed = |source| Error::io("sync directory", self.dir.shown(), source);
        self.dir.sync().map_err(failed)
    }

    fn sync_parent(&self) -> Result<()> {
        let failed = |source| Error::io("sync the directory above", self.dir.shown(), source);
        self.dir.sync_parent().map_err(failed)
    }

    fn lock(&self, name: &str) -> Result<Box<dyn LockGuard>> {
        let path = self.path(name);
        let mut options = regular();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(windows)]
        std::os::windows::fs::OpenOptionsExt::share_mode(&mut options, SHARED_AND_KEPT);
        let (file, _) = open_regular(&options, &self.real_path(name))
            .map_err(|source| Error::io("open", &path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked { pid: read_pid(&file), path });
            }
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", path, source)),
        }
        let lock = FileLock::held(file);
        let pid = format!("{}\n", std::process::id());
        // Written over the old number, whose block exists, so that a log opens on a full disk too.
        // If even that fails for lack of space, open it: the number only improves a message.
        let written = write_all_at(lock.file(), pid.as_bytes(), 0)
            .and_then(|()| lock.file().set_len(pid.len() as u64))
            .map_err(|source| Error::io("write", &path, source));
        match written {
            Err(error) if !error.is_shortage() => Err(error),
            _ => Ok(Box::new(lock)),
        }
    }
}

/// Other processes may read and write the lock file, but not delete it.
#[cfg(windows)]
const SHARED_AND_KEPT: u32 = 1 | 2;

/// Windows cannot sync a directory. Its file system journals names in order, so a file that is
/// synced under its new name makes that name durable. A removed name may come back after a loss of
/// power; recovery expects that.
const NAMES_GO_WITH_FILES: bool = cfg!(windows);

/// Makes the name of a file durable, as far as a sync of the file can.
fn sync_name(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.sync_all()
}

/// The process that a lock file names.
fn read_pid(file: &File) -> Option<u32> {
    let mut bytes = [0; 16];
    let len = read_at(file, &mut bytes, 0).ok()?;
    std::str::from_utf8(bytes.get(..len)?).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;

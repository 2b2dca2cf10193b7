//! The blocking plane on `std::fs`: [`StdStorage`], on every platform.
//!
//! What it promises beyond the contract of [`Storage`]:
//! 1. A refused [`lock`](Storage::lock) changes nothing: the lock file is never truncated before
//!    the lock is held.
//!    A file is locked with `flock`, where that exists: it belongs to the file and not to a name,
//!    and whoever reads need not ask. (Windows keeps readers out of what is locked.)
//! 2. [`sync`](StorageFile::sync) is the cheaper fdatasync only while this handle did not change
//!    the length of the file.
//! 3. [`write_zeros`](StorageFile::write_zeros) touches exactly the bytes it is asked to; bytes
//!    before and after share blocks with it unharmed.
//!
//! Threading: everything may be shared between threads.

#[cfg(unix)]
use crate::sync::plain::Mutex;
#[cfg(unix)]
use std::fs::Metadata;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
#[cfg(target_os = "linux")]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::io::portable::dir::Dir;
#[cfg(target_os = "linux")]
use crate::io::portable::read_ahead::ReadAhead;
use crate::io::{Access, AlignedBuf, LockGuard, Storage, StorageFile};
use crate::mutation::mutated;
use crate::sys;

/// A directory of the file system.
#[derive(Debug)]
pub struct StdStorage {
    dir: Dir,
    /// The files that must keep their names.
    #[cfg(unix)]
    kept: Mutex<Vec<(String, FileId)>>,
}

/// Which file it is, whatever its name: device and inode.
#[cfg(unix)]
type FileId = (u64, u64);

impl StdStorage {
    /// The storage of `dir`, which has to exist when it is used. If it exists now, it is opened,
    /// and stays the directory of this storage whatever becomes of its path (on Linux; elsewhere
    /// it is found by its absolute path).
    pub fn new(dir: impl Into<PathBuf>) -> StdStorage {
        StdStorage {
            dir: Dir::new(dir.into()),
            #[cfg(unix)]
            kept: Mutex::default(),
        }
    }

    /// An error if a file that must keep its name has lost it: somebody else may have a log there.
    #[cfg(unix)]
    fn check_kept(&self) -> Result<()> {
        for (name, file) in self.kept.lock().iter() {
            let found = std::fs::symlink_metadata(self.real_path(name));
            if found.is_ok_and(|found| id_of(&found) == *file) || mutated("forget_the_kept_names") {
                continue;
            }
            let why = "it was removed or replaced by another file under the open log; stop what \
                       does that, and open the log again";
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
                "another directory is there now; the log goes on in neither, and what it \
                 acknowledged is in the one that was there before",
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
        kept.push((name.to_owned(), id_of(&found)));
        Ok(())
    }

    fn list(&self) -> Result<Vec<String>> {
        let failed = |source| Error::io("list", self.dir.shown(), source);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.dir.base()).map_err(failed)? {
            // A name that is not text is none of ours, but it is there.
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
        let resized = AtomicBool::new(access == Access::Create);
        Ok(Box::new(StdFile { file, path, real, bytes: AtomicU64::new(bytes), resized }))
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
        let lock = StdLock { file, forks: sys::watch_forks() };
        let pid = format!("{}\n", std::process::id());
        // Over the old one, whose block is there: on a full disk a log must still open. The number
        // only helps a message.
        let written = write_all_at(&lock.file, pid.as_bytes(), 0)
            .and_then(|()| lock.file.set_len(pid.len() as u64))
            .map_err(|source| Error::io("write", &path, source));
        match written {
            Err(error) if !error.is_shortage() => Err(error),
            _ => Ok(Box::new(lock)),
        }
    }
}

/// Others may read and write it, but not delete it.
#[cfg(windows)]
const SHARED_AND_KEPT: u32 = 1 | 2;

/// Where a directory cannot be synced, its file system journals names in order, and a file that is
/// synced under its new name takes that along. For a removed name nothing can be done; it may come
/// back, and recovery expects that.
const NAMES_GO_WITH_FILES: bool = cfg!(windows);

/// Makes the name of a file durable, as far as a sync of the file does that.
fn sync_name(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.sync_all()
}

/// Holds the lock of an open file. The lock belongs to the open file, which every child process
/// has as well from its fork to its exec; so closing it here does not always release it.
#[derive(Debug)]
struct StdLock {
    file: File,
    forks: u32,
}

impl LockGuard for StdLock {}

impl Drop for StdLock {
    fn drop(&mut self) {
        // In a child it is the parent's lock.
        if self.forks == sys::forks() && !mutated("leave_the_lock") {
            // What cannot be unlocked ends with the file.
            let _unlocked = self.file.unlock();
        }
    }
}

/// Opens files and neither what a symbolic link leads to, nor what would make it wait, as a FIFO.
fn regular() -> OpenOptions {
    #[allow(unused_mut, reason = "only unix has such flags")]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, OPEN_FLAGS);
    options
}

#[cfg(unix)]
const OPEN_FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

/// Opens a regular file; returns its length, too.
fn open_regular(options: &OpenOptions, path: &Path) -> io::Result<(File, u64)> {
    let refused = || io::Error::other("it is not a regular file, so it is none of a log's");
    let opened = options.open(path);
    #[cfg(unix)]
    if opened.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ELOOP)) {
        return Err(refused());
    }
    let file = opened?;
    let found = file.metadata()?;
    if found.is_file() { Ok((file, found.len())) } else { Err(refused()) }
}

#[cfg(unix)]
fn id_of(found: &Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;
    (found.dev(), found.ino())
}

fn read_pid(file: &File) -> Option<u32> {
    let mut bytes = [0; 16];
    let len = read_at(file, &mut bytes, 0).ok()?;
    std::str::from_utf8(bytes.get(..len)?).ok()?.trim().parse().ok()
}

/// An open file, with what this handle knows of its length.
#[derive(Debug)]
struct StdFile {
    file: File,
    path: PathBuf,
    /// Where the operating system finds it.
    #[cfg_attr(not(unix), allow(dead_code, reason = "not looked at again there"))]
    real: PathBuf,
    bytes: AtomicU64,
    resized: AtomicBool,
}

impl StdFile {
    fn failed(&self, op: &'static str) -> impl Fn(io::Error) -> Error {
        move |source| Error::io(op, &self.path, source)
    }

    fn wrote_to(&self, end: u64) {
        if self.bytes.fetch_max(end, Ordering::Relaxed) < end {
            self.resized.store(true, Ordering::Release);
        }
    }

    /// The same file once more, for direct I/O, where it can be had.
    #[cfg(target_os = "linux")]
    fn direct(&self, options: &mut OpenOptions) -> Option<File> {
        use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
        let direct = options.custom_flags(libc::O_DIRECT | OPEN_FLAGS).open(&self.real).ok()?;
        let (mine, other) = (self.file.metadata().ok()?, direct.metadata().ok()?);
        // The name may have gone to another file since this one was opened.
        ((mine.dev(), mine.ino()) == (other.dev(), other.ino())).then_some(direct)
    }

    /// Writes zeros around the page cache from `from`, and returns how far it came: to `to`, or
    /// to where direct I/O is refused.
    #[cfg(target_os = "linux")]
    fn write_zeros_direct(&self, zeros: &[u8], from: u64, to: u64) -> io::Result<u64> {
        use std::os::unix::fs::FileExt;
        let Some(direct) = self.direct(OpenOptions::new().write(true)) else { return Ok(from) };
        let mut at = from;
        while at < to {
            match direct.write_at(chunk(zeros, to - at), at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => at += written as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
                Err(error) => return Err(error),
            }
            if !at.is_multiple_of(ZERO_UNIT) {
                break;
            }
        }
        Ok(at)
    }

    #[cfg(not(target_os = "linux"))]
    fn write_zeros_direct(&self, _zeros: &[u8], from: u64, _to: u64) -> io::Result<u64> {
        Ok(from)
    }

    fn write_zeros_buffered(&self, zeros: &[u8], from: u64, to: u64) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let piece = chunk(zeros, to - at);
            write_all_at(&self.file, piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }
}

impl StorageFile for StdFile {
    fn bytes(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(self.failed("stat"))?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        read_at(&self.file, buf, offset).map_err(self.failed("read"))
    }

    #[cfg(target_os = "linux")]
    fn next_data(&self, from: u64) -> Result<Option<u64>> {
        sys::next_data(&self.file, from).map_err(self.failed("seek in"))
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        self.wrote_to(offset + data.len() as u64);
        write_all_at(&self.file, data, offset).map_err(self.failed("write"))
    }

    fn write_zeros(&self, from: u64, to: u64) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        self.wrote_to(to);
        let zeros = AlignedBuf::zeroed(ZERO_CHUNK.min((to - from) as usize));
        // The unaligned ends share their blocks with bytes that stay, so they go through the
        // page cache; what lies between need not.
        let head = from.next_multiple_of(ZERO_UNIT).min(to);
        let tail = (to - to % ZERO_UNIT).max(head);
        self.write_zeros_buffered(&zeros, from, head)
            .and_then(|()| self.write_zeros_direct(&zeros, head, tail))
            .and_then(|at| self.write_zeros_buffered(&zeros, at, to))
            .map_err(self.failed("write"))
    }

    #[cfg(target_os = "linux")]
    fn reserve(&self, bytes: u64) -> Result<bool> {
        let reserved = crate::sys::reserve(&self.file, bytes).map_err(self.failed("reserve"))?;
        if reserved {
            self.resized.store(true, Ordering::Release);
            self.bytes.fetch_max(bytes, Ordering::Relaxed);
        }
        Ok(reserved)
    }

    fn set_bytes(&self, bytes: u64) -> Result<()> {
        self.resized.store(true, Ordering::Release);
        self.file.set_len(bytes).map_err(self.failed("resize"))?;
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    #[cfg(unix)]
    fn is_renamed(&self) -> Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let own = || self.file.metadata().map_err(self.failed("stat"));
        let before = id_of(&own()?);
        let is_named = std::fs::metadata(&self.real).is_ok_and(|named| id_of(&named) == before);
        // Removed files have no links; this one may have been removed just now.
        Ok(!is_named && own()?.nlink() > 0)
    }

    fn sync(&self) -> Result<()> {
        // Nothing is retried after a failed sync, so the flag need not survive one.
        let synced = if self.resized.swap(false, Ordering::AcqRel) {
            self.file.sync_all()
        } else {
            self.file.sync_data()
        };
        synced.map_err(self.failed("sync"))
    }

    #[cfg(target_os = "linux")]
    fn read_ahead(&self) -> Option<Arc<dyn StorageFile>> {
        let direct = self.direct(OpenOptions::new().read(true))?;
        let (file, bytes) = (self.file.try_clone().ok()?, self.file.metadata().ok()?.len());
        let resized = AtomicBool::new(false);
        let (path, real) = (self.path.clone(), self.real.clone());
        let again = StdFile { file, path, real, bytes: AtomicU64::new(bytes), resized };
        Some(Arc::new(ReadAhead::new(again, &direct, bytes)?))
    }

    #[cfg(unix)]
    fn lock(&self) -> Result<Option<Box<dyn LockGuard>>> {
        let locked = || Error::Locked { pid: None, path: self.path.clone() };
        // The same open file once more: the guard may outlive this one.
        let file = self.file.try_clone().map_err(self.failed("lock"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(locked()),
            Err(TryLockError::Error(source)) => return Err(self.failed("lock")(source)),
        }
        let lock = StdLock { file, forks: sys::watch_forks() };
        let mine = id_of(&lock.file.metadata().map_err(self.failed("stat"))?);
        match std::fs::symlink_metadata(&self.real) {
            Ok(found) if id_of(&found) == mine => Ok(Some(Box::new(lock))),
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("stat")(source))
            }
            // Whoever had it replaced it, and has the other one.
            _ => Err(locked()),
        }
    }

    fn drop_cache(&self) {
        #[cfg(target_os = "linux")]
        crate::sys::drop_cache(&self.file);
    }
}

fn chunk(zeros: &[u8], bytes: u64) -> &[u8] {
    let len = (zeros.len() as u64).min(bytes) as usize;
    zeros.get(..len).unwrap_or(zeros)
}

const ZERO_CHUNK: usize = 1 << 20;
const ZERO_UNIT: u64 = crate::io::BUF_ALIGN as u64;
const _: () = assert!((ZERO_CHUNK as u64).is_multiple_of(ZERO_UNIT));

#[cfg(unix)]
fn write_all_at(file: &File, data: &[u8], offset: u64) -> io::Result<()> {
    if mutated("ignore_short_write_std") {
        return std::os::unix::fs::FileExt::write_at(file, data, offset).map(drop);
    }
    std::os::unix::fs::FileExt::write_all_at(file, data, offset)
}

#[cfg(unix)]
fn read_once(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, offset)
}

#[cfg(windows)]
fn write_all_at(file: &File, mut data: &[u8], mut offset: u64) -> io::Result<()> {
    while !data.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, data, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                data = data.get(written..).unwrap_or_default();
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(windows)]
fn read_once(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buf, offset)
}

fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut len = 0;
    while let Some(rest) = buf.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match read_once(file, rest, offset + len as u64) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests;

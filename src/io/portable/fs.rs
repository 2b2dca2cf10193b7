//! Helpers over `std::fs` for [`StdStorage`](super::StdStorage) and its files: opening regular
//! files only, positional reads and writes, locks, and the identity of a file.
//!
//! The platforms differ here and nowhere else in the storage: `pread` and `pwrite` on Unix, calls
//! that also seek on Windows. Only Unix identifies files by device and inode, and has open flags
//! that refuse symbolic links.

#[cfg(unix)]
use std::fs::Metadata;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use crate::io::LockGuard;
use crate::mutation::mutated;
use crate::sys;

/// Options that neither follow a symbolic link nor wait for the other end of a FIFO.
pub(super) fn regular() -> OpenOptions {
    #[allow(unused_mut, reason = "only Unix has such flags")]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, OPEN_FLAGS);
    options
}

#[cfg(unix)]
pub(super) const OPEN_FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

/// Opens a regular file; returns it with its length.
pub(super) fn open_regular(options: &OpenOptions, path: &Path) -> io::Result<(File, u64)> {
    let refused = || io::Error::other("it is not a regular file, so it is not part of a log");
    let opened = options.open(path);
    #[cfg(unix)]
    if opened.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ELOOP)) {
        return Err(refused());
    }
    let file = opened?;
    let found = file.metadata()?;
    if found.is_file() { Ok((file, found.len())) } else { Err(refused()) }
}

/// Device and inode: they identify a file whatever its name.
#[cfg(unix)]
pub(super) type FileIdentity = (u64, u64);

#[cfg(unix)]
pub(super) fn identity(found: &Metadata) -> FileIdentity {
    use std::os::unix::fs::MetadataExt;
    (found.dev(), found.ino())
}

#[cfg(unix)]
pub(super) fn write_all_at(file: &File, data: &[u8], offset: u64) -> io::Result<()> {
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
pub(super) fn write_all_at(file: &File, mut data: &[u8], mut offset: u64) -> io::Result<()> {
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

/// Reads until `buf` is full or the file ends; returns how many bytes.
pub(super) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
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

/// Holds the lock of an open file.
///
/// The lock belongs to the open file description, which a child process shares from its fork to its
/// exec. So closing the file does not always release the lock: the drop unlocks it explicitly.
#[derive(Debug)]
pub(super) struct FileLock {
    file: File,
    forks: u32,
}

impl FileLock {
    /// Takes over `file`, on which the lock is held.
    pub(super) fn held(file: File) -> FileLock {
        FileLock { file, forks: sys::watch_forks() }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl LockGuard for FileLock {}

impl Drop for FileLock {
    fn drop(&mut self) {
        // In a forked child the lock is still the parent's.
        if self.forks == sys::forks() && !mutated("leave_the_lock") {
            // If unlocking fails, closing the file releases the lock.
            let _unlocked = self.file.unlock();
        }
    }
}

//! An open file of [`StdStorage`](super::StdStorage).
//!
//! 1. [`sync`](StorageFile::sync) is the cheaper fdatasync only while this handle has not changed
//!    the length of the file.
//! 2. [`write_zeros`](StorageFile::write_zeros) touches exactly the bytes that it is asked to:
//!    bytes before and after may share blocks with it and stay unharmed.

use std::fs::File;
#[cfg(target_os = "linux")]
use std::fs::OpenOptions;
#[cfg(unix)]
use std::fs::TryLockError;
use std::io;
use std::path::PathBuf;
#[cfg(target_os = "linux")]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{Error, Result};
#[cfg(unix)]
use crate::io::LockGuard;
#[cfg(target_os = "linux")]
use crate::io::portable::fs::OPEN_FLAGS;
#[cfg(unix)]
use crate::io::portable::fs::{FileLock, identity};
use crate::io::portable::fs::{read_at, write_all_at};
#[cfg(target_os = "linux")]
use crate::io::portable::read_ahead::ReadAhead;
use crate::io::{AlignedBuf, StorageFile};
#[cfg(target_os = "linux")]
use crate::sys;

#[derive(Debug)]
pub(super) struct StdFile {
    file: File,
    /// For messages.
    path: PathBuf,
    /// Where the operating system finds it.
    #[cfg_attr(not(unix), allow(dead_code, reason = "only Unix compares the named file again"))]
    real: PathBuf,
    /// The length, as far as this handle knows.
    bytes: AtomicU64,
    /// The next sync has to write the length as well.
    resized: AtomicBool,
}

impl StdFile {
    /// Takes over an open file of `bytes` bytes. `paths`: for messages, and for the system.
    pub(super) fn new(file: File, paths: (PathBuf, PathBuf), bytes: u64, is_new: bool) -> StdFile {
        let (path, real) = paths;
        let (bytes, resized) = (AtomicU64::new(bytes), AtomicBool::new(is_new));
        StdFile { file, path, real, bytes, resized }
    }

    fn failed(&self, op: &'static str) -> impl Fn(io::Error) -> Error {
        move |source| Error::io(op, &self.path, source)
    }

    fn wrote_to(&self, end: u64) {
        if self.bytes.fetch_max(end, Ordering::Relaxed) < end {
            self.resized.store(true, Ordering::Release);
        }
    }

    /// The same file, opened for direct I/O; `None` if that is refused.
    #[cfg(target_os = "linux")]
    fn direct(&self, options: &mut OpenOptions) -> Option<File> {
        use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
        let direct = options.custom_flags(libc::O_DIRECT | OPEN_FLAGS).open(&self.real).ok()?;
        let (mine, other) = (self.file.metadata().ok()?, direct.metadata().ok()?);
        // The name may lead to another file by now.
        ((mine.dev(), mine.ino()) == (other.dev(), other.ino())).then_some(direct)
    }

    /// Writes zeros around the page cache from `from`; returns where it ended: at `to`, or where
    /// direct I/O was refused.
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
        // The unaligned ends share blocks with bytes that stay, so they go through the page cache.
        // The whole blocks between them go around it.
        let head = from.next_multiple_of(ZERO_UNIT).min(to);
        let tail = (to - to % ZERO_UNIT).max(head);
        self.write_zeros_buffered(&zeros, from, head)
            .and_then(|()| self.write_zeros_direct(&zeros, head, tail))
            .and_then(|at| self.write_zeros_buffered(&zeros, at, to))
            .map_err(self.failed("write"))
    }

    #[cfg(target_os = "linux")]
    fn reserve(&self, bytes: u64) -> Result<bool> {
        let reserved = sys::reserve(&self.file, bytes).map_err(self.failed("reserve"))?;
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
        let before = identity(&own()?);
        let is_named = std::fs::metadata(&self.real).is_ok_and(|named| identity(&named) == before);
        // A removed file has no links. Check them last: it may have been removed just now.
        Ok(!is_named && own()?.nlink() > 0)
    }

    fn sync(&self) -> Result<()> {
        // Cleared before the sync: a resize during it must reach the next one. A failed sync is
        // never retried, so the flag need not survive it.
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
        let again = StdFile::new(file, (self.path.clone(), self.real.clone()), bytes, false);
        Some(Arc::new(ReadAhead::new(again, &direct, bytes)?))
    }

    #[cfg(unix)]
    fn lock(&self) -> Result<Option<Box<dyn LockGuard>>> {
        let locked = || Error::Locked { pid: None, path: self.path.clone() };
        // Duplicated, because the guard may outlive this handle.
        let file = self.file.try_clone().map_err(self.failed("lock"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(locked()),
            Err(TryLockError::Error(source)) => return Err(self.failed("lock")(source)),
        }
        let lock = FileLock::held(file);
        let mine = identity(&lock.file().metadata().map_err(self.failed("stat"))?);
        match std::fs::symlink_metadata(&self.real) {
            Ok(found) if identity(&found) == mine => Ok(Some(Box::new(lock))),
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("stat")(source))
            }
            // Another writer replaced the file, and holds the new one.
            _ => Err(locked()),
        }
    }

    fn drop_cache(&self) {
        #[cfg(target_os = "linux")]
        sys::drop_cache(&self.file);
    }
}

/// The first `bytes` of `zeros`, or all of them.
fn chunk(zeros: &[u8], bytes: u64) -> &[u8] {
    let len = (zeros.len() as u64).min(bytes) as usize;
    zeros.get(..len).unwrap_or(zeros)
}

/// The most zeros that one write has, in bytes.
const ZERO_CHUNK: usize = 1 << 20;
/// Direct writes of zeros start and end at multiples of this.
const ZERO_UNIT: u64 = crate::io::BUF_ALIGN as u64;
const _: () = assert!((ZERO_CHUNK as u64).is_multiple_of(ZERO_UNIT));

//! Files for the baselines: positional access, direct where possible, parallel reads.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ringwal::io::{AlignedBuf, BUF_ALIGN};

use crate::bench::sample::Latencies;
use crate::output::exit::Failure;
use crate::util::signal::Stop;

/// The size of one piece where bandwidth is measured.
pub(crate) const PIECE_BYTES: usize = 1 << 20;
/// The number of concurrent reads.
pub(crate) const READERS: usize = 8;

/// An open file.
#[derive(Debug)]
pub(crate) struct RawFile {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

impl RawFile {
    /// Creates a file of `bytes` zeros and syncs it.
    pub(crate) fn filled(path: PathBuf, bytes: u64) -> Result<RawFile, Failure> {
        let zeros = vec![0; PIECE_BYTES];
        let made = || -> io::Result<File> {
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
            let mut at = 0;
            while at < bytes {
                let piece = (bytes - at).min(zeros.len() as u64);
                write_all_at(&file, &zeros[..piece as usize], at)?;
                at += piece;
            }
            file.sync_all()?;
            Ok(file)
        };
        match made() {
            Ok(file) => Ok(RawFile { file, path, bytes }),
            Err(error) => Err(Failure::Raw(path, error)),
        }
    }

    /// Opens a file for reading, direct if possible; if not, also returns the reason.
    pub(crate) fn to_read(path: PathBuf) -> Result<(RawFile, Option<String>), Failure> {
        let opened = || {
            let (file, not_direct) = match open_direct(&path, false) {
                Ok(file) => (file, None),
                Err(error) => (File::open(&path)?, Some(error.to_string())),
            };
            let bytes = file.metadata()?.len();
            Ok((file, bytes, not_direct))
        };
        match opened() {
            Ok((file, bytes, not_direct)) => Ok((RawFile { file, path, bytes }, not_direct)),
            Err(error) => Err(Failure::Raw(path, error)),
        }
    }

    /// Reopens the file for direct I/O and tries a write.
    pub(crate) fn reopened_direct(&self) -> io::Result<File> {
        let file = open_direct(&self.path, true)?;
        write_all_at(&file, &AlignedBuf::zeroed(BUF_ALIGN), 0)?;
        Ok(file)
    }
}

/// The totals of a parallel read.
pub(crate) struct ReadTotals {
    pub(crate) bytes: u64,
    pub(crate) pieces: u64,
    pub(crate) latencies: Latencies,
}

/// Reads all of `files` once, piece by piece in order, with [`READERS`] threads.
pub(crate) fn read_files(files: &[RawFile], stop: &Stop) -> Result<ReadTotals, Failure> {
    let starts = |file: &RawFile| (0..file.bytes).step_by(PIECE_BYTES);
    let pieces: Vec<(&RawFile, u64)> =
        files.iter().flat_map(|file| starts(file).map(move |at| (file, at))).collect();
    let next = AtomicUsize::new(0);
    let read = || -> Result<ReadTotals, Failure> {
        let mut buf = AlignedBuf::zeroed(PIECE_BYTES);
        let mut own = ReadTotals { bytes: 0, pieces: 0, latencies: Latencies::new() };
        while let Some(&(file, at)) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stop.is_stopped() {
                return Err(Failure::Stopped(stop.reason().unwrap_or("a signal")));
            }
            let since = Instant::now();
            let read = read_at(&file.file, &mut buf, at)
                .map_err(|error| Failure::Raw(file.path.clone(), error))?;
            own.latencies.note(since);
            own.bytes += read as u64;
            own.pieces += 1;
        }
        Ok(own)
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
        let mut all = ReadTotals { bytes: 0, pieces: 0, latencies: Latencies::new() };
        for reader in readers {
            let own = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            all.bytes += own.bytes;
            all.pieces += own.pieces;
            all.latencies.add(&own.latencies);
        }
        Ok(all)
    })
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path, write: bool) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().read(true).write(write).custom_flags(libc::O_DIRECT).open(path)
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_path: &Path, _write: bool) -> io::Result<File> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "it is used on Linux only"))
}

#[cfg(unix)]
pub(crate) fn write_all_at(file: &File, data: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, data, offset)
}

#[cfg(unix)]
fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, offset)
}

#[cfg(windows)]
pub(crate) fn write_all_at(file: &File, mut data: &[u8], mut offset: u64) -> io::Result<()> {
    while !data.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, data, offset)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        data = &data[written..];
        offset += written as u64;
    }
    Ok(())
}

#[cfg(windows)]
fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buf, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_readers_read_every_byte_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for (name, bytes) in [("a", 5 * PIECE_BYTES), ("b", 4096), ("c", PIECE_BYTES + 4096)] {
            let path = dir.path().join(name);
            RawFile::filled(path.clone(), bytes as u64).unwrap();
            files.push(RawFile::to_read(path).unwrap().0);
        }
        let read = read_files(&files, &Stop::new()).unwrap();
        assert_eq!((read.bytes, read.pieces), (6 * PIECE_BYTES as u64 + 8192, 8));
    }
}

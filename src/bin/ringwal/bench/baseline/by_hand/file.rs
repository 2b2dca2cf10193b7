//! The file of a log by hand: records framed with their length and CRC32C.
//!
//! ```text
//! | length u32 | crc32c u32 | record | length | crc32c | record | ... | zeros
//! ```
//!
//! The zeros are written beforehand, so that a record overwrites blocks that are there. Behind them
//! the file grows with each write. A length of zero is the end: no record is empty.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bench::baseline::files::{RawFile, write_all_at};
use crate::output::exit::Failure;

/// The length and the CRC of a record.
pub(crate) const FRAME_BYTES: usize = 8;

/// The frame of a record.
pub(crate) fn frame(record: &[u8]) -> Result<[u8; FRAME_BYTES], io::Error> {
    let len = u32::try_from(record.len())
        .map_err(|_| io::Error::new(ErrorKind::InvalidInput, "a record of more than 4 GiB"))?;
    let mut frame = [0; FRAME_BYTES];
    frame[..4].copy_from_slice(&len.to_le_bytes());
    frame[4..].copy_from_slice(&crc32c::crc32c(record).to_le_bytes());
    Ok(frame)
}

/// What was written, readable while it is.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) bytes: AtomicU64,
    pub(crate) records: AtomicU64,
    /// Each a write, and a sync if the file is synced.
    pub(crate) batches: AtomicU64,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct HandFile {
    file: File,
    path: PathBuf,
    at: u64,
    synced: bool,
    written: Arc<Written>,
}

impl HandFile {
    /// Creates the file with `prepared` bytes of zeros. Unless `synced`, a batch is only written.
    pub(crate) fn create(path: &Path, prepared: u64, synced: bool) -> Result<HandFile, Failure> {
        let RawFile { file, path, .. } = RawFile::filled(path.to_path_buf(), prepared)?;
        Ok(HandFile { file, path, at: 0, synced, written: Arc::new(Written::default()) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn written(&self) -> Arc<Written> {
        self.written.clone()
    }

    /// Writes framed records behind those that are there, and makes them durable.
    pub(crate) fn append(&mut self, frames: &[u8], records: u64) -> io::Result<()> {
        write_all_at(&self.file, frames, self.at)?;
        if self.synced {
            self.file.sync_data()?;
        }
        self.at += frames.len() as u64;
        self.written.bytes.fetch_add(frames.len() as u64, Ordering::Relaxed);
        self.written.records.fetch_add(records, Ordering::Relaxed);
        self.written.batches.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Makes every further write fail, as a failing disk does.
    #[cfg(test)]
    pub(crate) fn break_writes(&mut self) {
        self.file = File::open(&self.path).unwrap();
    }
}

/// Shows every whole record of a file, from the first on, until `show` fails.
pub(crate) fn read(
    path: &Path,
    mut show: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let failed = |error| Failure::Raw(path.to_path_buf(), error);
    let file = OpenOptions::new().read(true).open(path).map_err(failed)?;
    let mut left = file.metadata().map_err(failed)?.len();
    let mut file = BufReader::with_capacity(1 << 20, file);
    let mut record = Vec::new();
    while let Some(rest) = left.checked_sub(FRAME_BYTES as u64) {
        let (mut len, mut crc) = ([0; 4], [0; 4]);
        file.read_exact(&mut len).and_then(|()| file.read_exact(&mut crc)).map_err(failed)?;
        let len = u32::from_le_bytes(len);
        let Some(rest) = rest.checked_sub(u64::from(len)).filter(|_| len > 0) else { break };
        record.resize(len as usize, 0);
        file.read_exact(&mut record).map_err(failed)?;
        if crc32c::crc32c(&record) != u32::from_le_bytes(crc) {
            break;
        }
        left = rest;
        show(&record)?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// All records of a file.
    pub(crate) fn records(path: &Path) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let show = |record: &[u8]| {
            found.push(record.to_vec());
            Ok(())
        };
        read(path, show).unwrap();
        found
    }

    fn framed(record: &[u8]) -> Vec<u8> {
        [&frame(record).unwrap()[..], record].concat()
    }

    #[test]
    fn records_are_recovered_up_to_a_torn_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hand");
        let mut file = HandFile::create(&path, 4096, true).unwrap();
        file.append(&[framed(b"one"), framed(b"two")].concat(), 2).unwrap();
        let mut torn = framed(b"three");
        *torn.last_mut().unwrap() ^= 1;
        assert_eq!(records(&path), [b"one", b"two"]);
        file.append(&torn, 1).unwrap();
        file.append(&framed(b"four"), 1).unwrap();
        assert_eq!(records(&path), [b"one", b"two"], "nothing behind a torn record counts");
    }

    #[test]
    fn a_full_file_grows_and_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for (name, prepared) in [("growing", 0), ("short", 20), ("whole", 33)] {
            let path = dir.path().join(name);
            let mut file = HandFile::create(&path, prepared, true).unwrap();
            for _ in 0..3 {
                file.append(&framed(b"abc"), 1).unwrap();
            }
            assert_eq!(records(&path), [b"abc"; 3], "{name}");
            assert_eq!(std::fs::metadata(&path).unwrap().len(), 33, "{name}");
            assert_eq!(file.written().bytes.load(Ordering::Relaxed), 33, "{name}");
        }
    }
}

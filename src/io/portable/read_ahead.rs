//! Reads a file from beginning to end while the disk works ahead: [`ReadAhead`]. Linux only.
//!
//! Threads read pieces of the file around the page cache into memory that is reused. A read through
//! the page cache touches fresh memory for every page and copies out of it, on the thread that also
//! has to verify the bytes; on a fast disk that takes longer than the disk does.
//!
//! 1. Pieces answer only reads that follow one another from the beginning. Every other read goes to
//!    the file itself, and so does every read after a piece that could not be read. So an error is
//!    always the error of a read that the caller asked for.
//! 2. At most [`LANES`] times [`PIECES`] pieces are in memory.
//! 3. A piece may be older than the read that it answers, so the file must not change.
//!
//! Threading: any thread may read. The threads end with the last piece, or on drop.

use crate::sync::plain::Mutex;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::error::Result;
use crate::io::{AlignedBuf, StorageFile};

/// The size of a piece in bytes.
const PIECE_BYTES: usize = 512 << 10;

/// The number of threads. Thread `n` of them reads the pieces `n`, `n + LANES` and so on.
const LANES: usize = 2;

/// The pieces of each thread: it reads one while the caller verifies the other.
const PIECES: usize = 2;

/// A smaller file is not worth the threads.
const FILE_BYTES_MIN: u64 = 4 << 20;

/// A file that is read ahead.
#[derive(Debug)]
pub(super) struct ReadAhead<F> {
    file: F,
    stream: Mutex<Stream>,
}

/// The pieces in order.
#[derive(Debug)]
struct Stream {
    lanes: Vec<Lane>,
    /// The offset at which the next read of the sequence begins.
    at: u64,
    /// The piece with the bytes at that offset, if it was received.
    current: Option<Piece>,
}

#[derive(Debug)]
struct Lane {
    pieces: Receiver<Piece>,
    used: Sender<AlignedBuf>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Piece {
    buf: AlignedBuf,
    len: usize,
}

impl<F: StorageFile> ReadAhead<F> {
    /// Starts reading the first `bytes` of `file`, which is also open as `direct`, for direct I/O.
    /// `None` if it is not worth it or no thread can be started.
    pub(super) fn new(file: F, direct: &File, bytes: u64) -> Option<ReadAhead<F>> {
        if bytes < FILE_BYTES_MIN {
            return None;
        }
        let lanes = (0..LANES).map(|lane| Lane::new(lane, direct.try_clone()?, bytes));
        let lanes = lanes.collect::<io::Result<Vec<_>>>().ok()?;
        Some(ReadAhead { file, stream: Mutex::new(Stream { lanes, at: 0, current: None }) })
    }
}

impl Lane {
    fn new(lane: usize, direct: File, bytes: u64) -> io::Result<Lane> {
        let (filled, pieces) = bounded(PIECES);
        let (used, empty) = bounded(PIECES);
        let read = move || read_pieces(&direct, lane, bytes, &empty, &filled);
        let thread = thread::Builder::new().name("ringwal-reader".to_owned()).spawn(read)?;
        for _ in 0..PIECES {
            let _room_for_all = used.send(AlignedBuf::zeroed(PIECE_BYTES));
        }
        Ok(Lane { pieces, used, thread: Some(thread) })
    }
}

/// Reads the pieces of a lane, until one cannot be read whole or the receiver is gone.
fn read_pieces(
    direct: &File,
    lane: usize,
    bytes: u64,
    empty: &Receiver<AlignedBuf>,
    filled: &Sender<Piece>,
) {
    for offset in (0..bytes).step_by(PIECE_BYTES).skip(lane).step_by(LANES) {
        let Ok(mut buf) = empty.recv() else { return };
        let wanted = usize::try_from(bytes - offset).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        // One whole read or none: the rest of a short read need not be aligned.
        let len = loop {
            match direct.read_at(&mut buf, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        if !matches!(len, Ok(len) if len >= wanted) {
            return;
        }
        if filled.send(Piece { buf, len: wanted }).is_err() {
            return;
        }
    }
}

impl Stream {
    /// Fills `buf` from the pieces, for a read at `offset`; returns how many bytes they had.
    fn read(&mut self, buf: &mut [u8], offset: u64) -> usize {
        if offset != self.at {
            return 0;
        }
        let mut filled = 0;
        while filled < buf.len() {
            let index = usize::try_from(self.at / PIECE_BYTES as u64).unwrap_or(usize::MAX);
            let lane = &self.lanes[index % LANES];
            let piece = match self.current.take() {
                Some(piece) => piece,
                None => match lane.pieces.recv() {
                    Ok(piece) => piece,
                    Err(_) => break,
                },
            };
            let from = (self.at % PIECE_BYTES as u64) as usize;
            let rest = piece.buf[..piece.len].get(from..).unwrap_or(&[]);
            let len = rest.len().min(buf.len() - filled);
            buf[filled..filled + len].copy_from_slice(&rest[..len]);
            filled += len;
            self.at += len as u64;
            if from + len < piece.len {
                self.current = Some(piece);
            } else {
                // Fails once the thread has read its last piece and ended.
                let _ended = lane.used.send(piece.buf);
            }
        }
        filled
    }
}

impl<F> Drop for ReadAhead<F> {
    fn drop(&mut self) {
        let stream = self.stream.get_mut();
        let threads: Vec<_> =
            stream.lanes.drain(..).filter_map(|mut lane| lane.thread.take()).collect();
        for thread in threads {
            // The panic hook has reported a panic; it cost speed and nothing else.
            let _panicked = thread.join();
        }
    }
}

impl<F: StorageFile> StorageFile for ReadAhead<F> {
    fn bytes(&self) -> Result<u64> {
        self.file.bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut stream = self.stream.lock();
        let filled = stream.read(buf, offset);
        drop(stream);
        if filled == buf.len() {
            return Ok(filled);
        }
        let rest = self.file.read_at(&mut buf[filled..], offset + filled as u64)?;
        Ok(filled + rest)
    }

    fn next_data(&self, from: u64) -> Result<Option<u64>> {
        self.file.next_data(from)
    }

    fn drop_cache(&self) {
        self.file.drop_cache();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::Error;
    use crate::io::{Access, StdStorage, Storage};

    const LEN: usize = FILE_BYTES_MIN as usize + 7 * PIECE_BYTES + 1234;
    const KEPT: usize = LEN - 3 * PIECE_BYTES;

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at % 251) as u8).collect()
    }

    /// A file that is read ahead, or the file itself if direct I/O is refused.
    fn ahead(test: &str, dir: &tempfile::TempDir, len: usize) -> Arc<dyn StorageFile> {
        std::fs::write(dir.path().join("file"), content(len)).unwrap();
        let file = StdStorage::new(dir.path()).open("file", Access::Read).unwrap();
        file.read_ahead().unwrap_or_else(|| {
            println!("SKIPPED {test} ahead: no direct I/O in {}", dir.path().display());
            Arc::from(file)
        })
    }

    #[test]
    fn reads_that_follow_one_another_give_the_whole_file() {
        let expected = content(LEN);
        for step in [64, 4096, PIECE_BYTES, 3 * PIECE_BYTES + 7] {
            let dir = tempfile::tempdir().unwrap();
            let file = ahead("reads_that_follow_one_another", &dir, LEN);
            let (mut bytes, mut buf) = (Vec::new(), vec![0; step]);
            loop {
                let read = file.read_at(&mut buf, bytes.len() as u64).unwrap();
                bytes.extend_from_slice(&buf[..read]);
                if read < step {
                    break;
                }
            }
            assert!(bytes == expected, "in steps of {step}");
            assert_eq!(file.read_at(&mut buf, LEN as u64).unwrap(), 0);
        }
    }

    #[test]
    fn other_reads_go_to_the_file_and_the_sequence_goes_on() {
        let (dir, expected) = (tempfile::tempdir().unwrap(), content(LEN));
        let file = ahead("other_reads_go_to_the_file", &dir, LEN);
        let mut buf = vec![0; 2 * PIECE_BYTES];
        for at in [0, 5, 3 * PIECE_BYTES, 2 * PIECE_BYTES, 4 * PIECE_BYTES, LEN - 10, 0] {
            let read = file.read_at(&mut buf, at as u64).unwrap();
            assert_eq!(read, buf.len().min(LEN - at));
            assert!(buf[..read] == expected[at..at + read], "at {at}");
        }
    }

    #[test]
    fn what_cannot_be_read_ahead_is_read_when_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = ahead("what_cannot_be_read_ahead", &dir, LEN);
        let mut buf = vec![0; PIECE_BYTES];
        file.read_at(&mut buf, 0).unwrap();
        let shorter = std::fs::OpenOptions::new().write(true).open(dir.path().join("file"));
        shorter.unwrap().set_len(KEPT as u64).unwrap();
        let mut read = buf.len();
        while let len @ 1.. = file.read_at(&mut buf, read as u64).unwrap() {
            assert!(buf[..len] == content(LEN)[read..read + len]);
            read += len;
        }
        assert_eq!(read, KEPT);
    }

    #[test]
    fn a_file_that_is_read_ahead_cannot_be_changed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), content(LEN)).unwrap();
        let file = StdStorage::new(dir.path()).open("file", Access::Write).unwrap();
        let Some(file) = file.read_ahead() else {
            println!(
                "SKIPPED a_file_that_is_read_ahead: no direct I/O in {}",
                dir.path().display()
            );
            return;
        };
        for refused in
            [file.write_at(b"x", 0), file.write_zeros(0, 1), file.set_bytes(0), file.sync()]
        {
            assert!(matches!(refused, Err(Error::ReadOnly)), "{refused:?}");
        }
        assert!(std::fs::read(dir.path().join("file")).unwrap() == content(LEN));
    }

    #[test]
    fn a_small_file_is_not_read_ahead() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), content(FILE_BYTES_MIN as usize - 1)).unwrap();
        let file = StdStorage::new(dir.path()).open("file", Access::Read).unwrap();
        assert!(file.read_ahead().is_none());
    }
}

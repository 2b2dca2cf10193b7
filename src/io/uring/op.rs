//! The operations that the kernel executes: their buffers, their entries and their results.
//!
//! 1. An operation owns its buffer and keeps its file open from the push of its entries until its
//!    last completion is reaped.
//! 2. A completion finds its operation by slot *and* generation. So a completion that comes late
//!    or twice is never taken for one of a later operation in the same slot.
//! 3. The result of a chain is its first failure. `ECANCELED` follows from that failure and is
//!    never reported in its place.

use crate::sync::plain::Mutex;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use io_uring::squeue::{Entry, Flags};
use io_uring::{opcode, types};

use crate::buf::AlignedBuf;
use crate::error::{Error, Result};
use crate::io::file_worker::Shorten;
use crate::io::{CommitFile, Strategy};
use crate::mutation::mutated;
use crate::sys;

/// A file that is open for commits.
#[derive(Debug)]
pub(super) struct RingFile {
    pub(super) file: File,
    /// Its path, which changes when a spare becomes a segment.
    path: Mutex<PathBuf>,
}

impl RingFile {
    pub(super) fn new(file: File, path: PathBuf) -> RingFile {
        RingFile { file, path: Mutex::new(path) }
    }

    pub(super) fn renamed(&self, path: PathBuf) {
        *self.path.lock() = path;
    }

    pub(super) fn failed(&self, op: &'static str, source: io::Error) -> Error {
        let path = self.path.lock();
        Error::io(op, path.clone(), source)
    }
}

impl Shorten for RingFile {
    fn shorten(&self, bytes: u64) -> Result<()> {
        self.file.set_len(bytes).map_err(|source| self.failed("resize", source))?;
        self.file.sync_all().map_err(|source| self.failed("sync", source))
    }
}

impl CommitFile for RingFile {
    fn commit(&self, data: &[u8], offset: u64, sync: Option<Strategy>) -> Result<()> {
        if sync == Some(Strategy::Dsync) {
            let written = sys::write_durably(&self.file, data, offset);
            return written.map_err(|source| self.failed("write", source));
        }
        self.file.write_all_at(data, offset).map_err(|source| self.failed("write", source))?;
        match sync {
            Some(_) => self.file.sync_data().map_err(|source| self.failed("sync", source)),
            None => Ok(()),
        }
    }
}

/// An operation that the ring executes.
#[derive(Debug)]
pub(super) struct RingOp {
    pub(super) token: u64,
    pub(super) file: Arc<RingFile>,
    pub(super) kind: OpKind,
    /// Distinguishes this use of the slot from earlier ones.
    pub(super) generation: u32,
    /// The kernel took it, so completions are due.
    pub(super) handed: bool,
    write_ok: bool,
    error: Option<Error>,
}

#[derive(Debug)]
pub(super) enum OpKind {
    Write { buf: AlignedBuf, offset: u64, len: u32, sync: Option<Strategy> },
    Sync,
}

/// The entry of a chain that a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChainPart {
    Write,
    Sync,
}

/// What an operation needs after a completion.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Further completions.
    More,
    /// A sync of the file by the queue's thread.
    Written,
    /// Nothing; it succeeded or failed.
    Finished,
}

impl RingOp {
    pub(super) fn new(token: u64, file: Arc<RingFile>, kind: OpKind, generation: u32) -> RingOp {
        RingOp { token, file, kind, generation, handed: false, write_ok: false, error: None }
    }

    /// The entries of the operation in slot `key`: one, or a linked pair. They point into the
    /// operation's buffer.
    pub(super) fn entries(&mut self, key: usize, skips_success: bool) -> ([Entry; 2], usize) {
        let fd = types::Fd(self.file.file.as_raw_fd());
        let sync = opcode::Fsync::new(fd)
            .flags(types::FsyncFlags::DATASYNC)
            .build()
            .user_data(user_data(key, self.generation, ChainPart::Sync));
        let OpKind::Write { buf, offset, len, sync: strategy } = &mut self.kind else {
            return ([sync.clone(), sync], 1);
        };
        let mut write = opcode::Write::new(fd, buf.as_mut_ptr().cast_const(), *len).offset(*offset);
        if *strategy == Some(Strategy::Dsync) {
            write = write.rw_flags(libc::RWF_DSYNC);
        }
        let write = write.build().user_data(user_data(key, self.generation, ChainPart::Write));
        if *strategy != Some(Strategy::LinkedFsync) {
            return ([write, sync], 1);
        }
        let mut flags = Flags::IO_LINK;
        if mutated("drop_link") {
            flags = Flags::empty();
        }
        if skips_success {
            flags |= Flags::SKIP_SUCCESS;
        }
        ([write.flags(flags), sync], 2)
    }

    /// Takes the completion of a part.
    pub(super) fn complete(&mut self, part: ChainPart, res: i32, skips_success: bool) -> Step {
        let chain = matches!(self.kind, OpKind::Write { sync: Some(Strategy::LinkedFsync), .. });
        match part {
            ChainPart::Write => {
                let OpKind::Write { len, sync, .. } = &self.kind else { return Step::More };
                let verdict = written(res, *len);
                let then_sync = *sync == Some(Strategy::WriteThenSync);
                self.write_ok = verdict.is_ok();
                if let Err(source) = verdict {
                    self.fail("write", source);
                }
                match (chain, self.write_ok) {
                    // A chain that skips successes posts only this completion if it fails.
                    (true, ok) if ok || !skips_success => Step::More,
                    (false, true) if then_sync => Step::Written,
                    _ => Step::Finished,
                }
            }
            ChainPart::Sync => {
                if res < 0 && self.error.is_none() {
                    self.fail("sync", sync_error(res));
                } else if res > 0 {
                    let odd = io::Error::other(format!("the kernel answered {res} to a sync"));
                    self.fail("sync", odd);
                } else if res == 0 && chain && !skips_success && !self.write_ok {
                    // The sync succeeded without its write, so it proves nothing.
                    self.fail("write", io::Error::other("the sync ran without its write"));
                }
                Step::Finished
            }
        }
    }

    /// Keeps the first failure.
    pub(super) fn fail(&mut self, op: &'static str, source: io::Error) {
        if self.error.is_none() {
            self.error = Some(self.file.failed(op, source));
        }
    }

    /// Ends the operation: its token, its result and its buffer.
    pub(super) fn finish(self) -> (u64, Result<()>, Option<AlignedBuf>) {
        let buf = match self.kind {
            OpKind::Write { buf, .. } => Some(buf),
            OpKind::Sync => None,
        };
        (self.token, self.error.map_or(Ok(()), Err), buf)
    }
}

fn written(res: i32, len: u32) -> io::Result<()> {
    match u32::try_from(res) {
        Ok(_) if mutated("ignore_short_write_ring") => Ok(()),
        Ok(written) if written == len => Ok(()),
        Ok(written) => {
            let what = format!("only {written} of {len} bytes were written");
            Err(io::Error::new(io::ErrorKind::WriteZero, what))
        }
        Err(_) => Err(io::Error::from_raw_os_error(res.saturating_neg())),
    }
}

fn sync_error(res: i32) -> io::Error {
    match res.saturating_neg() {
        libc::ECANCELED => io::Error::other("the kernel cancelled the sync without a cause"),
        errno => io::Error::from_raw_os_error(errno),
    }
}

/// Slot, generation and part in one word of 32, 31 and 1 bit.
pub(super) fn user_data(key: usize, generation: u32, part: ChainPart) -> u64 {
    let key = u32::try_from(key).expect("fewer slots than a ring has entries");
    u64::from(key) << 32 | u64::from(generation & GENERATION_MASK) << 1 | u64::from(part as u8)
}

/// Takes [`user_data`] apart.
pub(super) fn parse_user_data(user_data: u64) -> (usize, u32, ChainPart) {
    let part = if user_data & 1 == 0 { ChainPart::Write } else { ChainPart::Sync };
    ((user_data >> 32) as usize, (user_data >> 1) as u32 & GENERATION_MASK, part)
}

pub(super) const GENERATION_MASK: u32 = u32::MAX >> 1;

/// The user data of the standing read that wakes the thread; no operation has it.
pub(super) const WAKE: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn op(sync: Option<Strategy>) -> RingOp {
        let file = RingFile::new(tempfile::tempfile().unwrap(), "segment".into());
        let file = Arc::new(file);
        let buf = AlignedBuf::zeroed(4096);
        RingOp::new(1, file, OpKind::Write { buf, offset: 0, len: 4096, sync }, 0)
    }

    fn errno(op: RingOp) -> Option<i32> {
        match op.finish().1 {
            Err(Error::Io { source, .. }) => source.raw_os_error(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn user_data_comes_apart_as_it_was_put_together() {
        for (key, generation, part) in [
            (0, 0, ChainPart::Write),
            (7, GENERATION_MASK, ChainPart::Sync),
            (1 << 20, 5, ChainPart::Sync),
        ] {
            let word = user_data(key, generation, part);
            assert_ne!(word, WAKE);
            assert_eq!(parse_user_data(word), (key, generation, part));
        }
    }

    #[test]
    fn a_write_is_linked_to_its_sync_and_nothing_else_is_linked() {
        // The entries show their flags only in their debug output.
        let flags = |entry: &Entry| {
            let text = format!("{entry:?}");
            let (_, flags) = text.split_once("flags: ").unwrap();
            flags[..flags.find(',').unwrap()].parse::<u8>().unwrap()
        };
        for skips_success in [false, true] {
            let (chain, len) = op(Some(Strategy::LinkedFsync)).entries(0, skips_success);
            assert_eq!(len, 2);
            let (write, sync) = (flags(&chain[0]), flags(&chain[1]));
            assert_eq!(write & Flags::IO_LINK.bits(), Flags::IO_LINK.bits());
            assert_eq!(write & Flags::SKIP_SUCCESS.bits() != 0, skips_success);
            assert_eq!(sync, 0, "the chain ends with it");
            for alone in [None, Some(Strategy::Dsync), Some(Strategy::WriteThenSync)] {
                let (chain, len) = op(alone).entries(0, skips_success);
                assert_eq!((len, flags(&chain[0])), (1, 0), "{alone:?}");
            }
        }
    }

    #[test]
    fn a_chain_that_skips_successes_ends_with_its_one_completion() {
        let mut good = op(Some(Strategy::LinkedFsync));
        assert_eq!(good.complete(ChainPart::Sync, 0, true), Step::Finished);
        assert!(good.finish().1.is_ok());
        let mut bad = op(Some(Strategy::LinkedFsync));
        assert_eq!(bad.complete(ChainPart::Write, -libc::EIO, true), Step::Finished);
        assert_eq!(errno(bad), Some(libc::EIO));
    }

    #[test]
    fn a_chain_with_two_completions_reports_the_write_and_not_the_cancelled_sync() {
        let mut bad = op(Some(Strategy::LinkedFsync));
        assert_eq!(bad.complete(ChainPart::Write, -libc::ENOSPC, false), Step::More);
        assert_eq!(bad.complete(ChainPart::Sync, -libc::ECANCELED, false), Step::Finished);
        assert_eq!(errno(bad), Some(libc::ENOSPC));
        let mut good = op(Some(Strategy::LinkedFsync));
        assert_eq!(good.complete(ChainPart::Write, 4096, false), Step::More);
        assert_eq!(good.complete(ChainPart::Sync, 0, false), Step::Finished);
        assert!(good.finish().1.is_ok());
    }

    #[test]
    fn a_sync_that_ran_without_its_write_is_no_success() {
        let mut chain = op(Some(Strategy::LinkedFsync));
        assert_eq!(chain.complete(ChainPart::Sync, 0, false), Step::Finished);
        assert!(chain.finish().1.is_err());
    }

    #[test]
    fn short_writes_failed_syncs_and_bare_cancellations_are_errors() {
        for sync in [None, Some(Strategy::Dsync), Some(Strategy::WriteThenSync)] {
            let mut short = op(sync);
            assert_eq!(short.complete(ChainPart::Write, 512, true), Step::Finished);
            assert!(short.finish().1.unwrap_err().to_string().contains("512 of 4096"));
        }
        let mut unsynced = op(Some(Strategy::LinkedFsync));
        unsynced.complete(ChainPart::Sync, -libc::EIO, true);
        assert_eq!(errno(unsynced), Some(libc::EIO));
        let mut cancelled = op(Some(Strategy::LinkedFsync));
        cancelled.complete(ChainPart::Sync, -libc::ECANCELED, true);
        assert_eq!(errno(cancelled), None);
    }

    #[test]
    fn a_write_that_the_thread_syncs_is_not_finished_by_its_completion() {
        let mut write = op(Some(Strategy::WriteThenSync));
        assert_eq!(write.complete(ChainPart::Write, 4096, true), Step::Written);
        let mut plain = op(None);
        assert_eq!(plain.complete(ChainPart::Write, 4096, true), Step::Finished);
    }
}

//! The completion plane on blocking calls: [`StdQueue`], on every platform.
//!
//! 1. Writes run in [`wait`](IoQueue::wait), on the caller's thread, in the order of submission.
//!    Then each file that a write with a strategy or an [`Op::Sync`] names is synced once, and then
//!    all of them complete. So batches that queued up share one sync.
//! 2. A wait never blocks while there is something to write, to sync or to return.
//! 3. Every [`Strategy`] is write-then-sync here.
//!
//! Dropping the queue drops the writes that no wait has started, and joins the background threads.

use crate::sync::plain::{Condvar, Mutex};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::io::file_worker::{Done, FileWorker, Outcome, Shorten};
use crate::io::{
    Access, AlignedBuf, CommitFile, Completion, FileId, IoQueue, Op, Storage, StorageFile,
    Strategy, Wake,
};
use crate::mutation::mutated;

/// An [`IoQueue`] over any [`Storage`].
pub struct StdQueue {
    storage: Arc<dyn Storage>,
    files: HashMap<FileId, Arc<OpenFile>>,
    pending: Vec<PendingOp>,
    failed: Vec<Completion>,
    file_worker: FileWorker<Box<dyn StorageFile>>,
    wake: Arc<StdWake>,
    in_flight: usize,
}

#[derive(Debug)]
struct OpenFile {
    /// Its path, which changes when a spare becomes a segment.
    path: Mutex<PathBuf>,
    io: Arc<dyn StorageFile>,
}

impl Shorten for OpenFile {
    fn shorten(&self, bytes: u64) -> Result<()> {
        let cut = self.io.set_bytes(bytes).and_then(|()| self.io.sync());
        cut.map_err(|error| self.named(error))
    }
}

impl OpenFile {
    fn named(&self, error: Error) -> Error {
        match error {
            Error::Io { op, source, .. } => {
                Error::Io { op, path: self.path.lock().clone(), source }
            }
            other => other,
        }
    }
}

impl CommitFile for OpenFile {
    fn commit(&self, data: &[u8], offset: u64, sync: Option<Strategy>) -> Result<()> {
        self.io.write_at(data, offset).map_err(|error| self.named(error))?;
        match sync {
            Some(_) => self.io.sync().map_err(|error| self.named(error)),
            None => Ok(()),
        }
    }
}

/// A write, a sync or both, to be run by the next wait.
struct PendingOp {
    token: u64,
    file: FileId,
    /// Taken at the submission: a later seal may close the file's number before the write runs.
    open: Arc<OpenFile>,
    write: Option<Write>,
    sync: bool,
}

struct Write {
    offset: u64,
    buf: AlignedBuf,
    len: usize,
}

impl StdQueue {
    /// A queue for the files of `storage`, with its two background threads.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn new(storage: Arc<dyn Storage>) -> Result<StdQueue> {
        let wake = Arc::new(StdWake::default());
        let opener = {
            let storage = storage.clone();
            Box::new(move |name: &str| storage.open(name, Access::Write))
        };
        let as_wake: Arc<dyn Wake> = wake.clone();
        let file_worker = FileWorker::new(&storage, opener, &as_wake)?;
        Ok(StdQueue {
            storage,
            files: HashMap::new(),
            pending: Vec::new(),
            failed: Vec::new(),
            file_worker,
            wake,
            in_flight: 0,
        })
    }

    fn push(&mut self, token: u64, file: FileId, write: Option<Write>, sync: bool) {
        match self.files.get(&file) {
            Some(open) => {
                let open = open.clone();
                self.pending.push(PendingOp { token, file, open, write, sync });
            }
            None => {
                let result = Err(not_open(&*self.storage, file));
                self.failed.push(Completion { token, result, buf: write.map(|write| write.buf) });
            }
        }
    }

    /// Runs everything that is pending: all writes, then one sync for each file.
    fn run(&mut self, done: &mut Vec<Completion>) {
        let pending = std::mem::take(&mut self.pending);
        let mut results: Vec<Result<()>> = Vec::with_capacity(pending.len());
        let mut to_sync: Vec<(FileId, &PendingOp)> = Vec::new();
        for op in &pending {
            let result = op
                .write
                .as_ref()
                .map_or(Ok(()), |write| op.open.io.write_at(&write.buf[..write.len], write.offset));
            if op.sync && result.is_ok() && !to_sync.iter().any(|&(file, _)| file == op.file) {
                to_sync.push((op.file, op));
            }
            results.push(result.map_err(|error| op.open.named(error)));
        }
        let synced: HashMap<FileId, Result<()>> = to_sync
            .into_iter()
            .map(|(file, op)| {
                let mut synced = op.open.io.sync();
                if mutated("retry_failed_sync_std") {
                    synced = synced.or_else(|_| op.open.io.sync());
                }
                (file, synced.map_err(|error| op.open.named(error)))
            })
            .collect();
        for (op, mut result) in pending.into_iter().zip(results) {
            if let (true, Ok(()), Some(Err(error))) = (op.sync, &result, synced.get(&op.file)) {
                result = Err(error.clone());
            }
            let buf = op.write.map(|write| write.buf);
            done.push(Completion { token: op.token, result, buf });
        }
    }

    fn collect(&mut self, done: &mut Vec<Completion>) {
        done.append(&mut self.failed);
        while let Some(Outcome { token, result }) = self.file_worker.poll() {
            let result = result.map(|outcome| match outcome {
                Done::Prepared { file, name, opened } => {
                    let path = Mutex::new(self.storage.dir().join(name));
                    self.files.insert(file, Arc::new(OpenFile { path, io: opened.into() }));
                }
                Done::Installed { file, name } => {
                    if let Some(open) = self.files.get(&file) {
                        let path = self.storage.dir().join(name);
                        *open.path.lock() = path;
                    }
                }
                Done::Closed => {}
            });
            done.push(Completion { token, result, buf: None });
        }
    }
}

impl IoQueue for StdQueue {
    fn submit(&mut self, token: u64, op: Op) {
        self.in_flight += 1;
        match op {
            Op::Write { file, offset, buf, len, sync } => {
                assert!(len <= buf.len(), "a write of {len} bytes from a buffer of {}", buf.len());
                self.push(token, file, Some(Write { offset, buf, len }), sync.is_some());
            }
            Op::Sync { file } => self.push(token, file, None, true),
            Op::File(op) => {
                let closed = op.closes().and_then(|file| self.files.remove(&file));
                self.file_worker.start(token, op, closed.map(|open| open as Arc<dyn Shorten>));
            }
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, done: &mut Vec<Completion>) -> Result<()> {
        let before = done.len();
        // Take the wake before looking for work: one that comes later ends the wait below.
        let woken = self.wake.take();
        self.run(done);
        self.collect(done);
        if done.len() == before && !woken {
            self.wake.wait(timeout);
            self.collect(done);
        }
        self.in_flight -= done.len() - before;
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.wake.clone()
    }

    fn commit_file(&self, file: FileId) -> Option<Arc<dyn CommitFile>> {
        let open = self.files.get(&file)?.clone();
        Some(open)
    }
}

/// The error of an operation on a number that names no open file.
pub(crate) fn not_open(storage: &dyn Storage, file: FileId) -> Error {
    let what = std::io::Error::other(format!("file number {file} is not open"));
    Error::io("write", storage.dir(), what)
}

/// A flag that stays up until a wait takes it.
#[derive(Default)]
struct StdWake {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl StdWake {
    fn take(&self) -> bool {
        std::mem::take(&mut *self.woken.lock())
    }

    fn wait(&self, timeout: Option<Duration>) {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut woken = self.woken.lock();
        while !*woken {
            woken = match deadline {
                None => self.changed.wait(woken),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return;
                    }
                    self.changed.wait_timeout(woken, left)
                }
            };
        }
        *woken = false;
    }
}

impl Wake for StdWake {
    fn wake(&self) {
        *self.woken.lock() = true;
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::FileOp;
    use crate::io::{Blocks, SimDisk, SimFault, Strategy};

    #[test]
    fn a_failed_sync_fails_every_write_that_it_was_for_and_is_not_retried() {
        let disk = SimDisk::new(1);
        let mut queue = StdQueue::new(Arc::new(disk.clone())).unwrap();
        let mut done = Vec::new();
        let name = "a".to_owned();
        queue.submit(
            0,
            Op::File(FileOp::Prepare {
                file: 1,
                name,
                reuse: None,
                bytes: 8192,
                blocks: Blocks::Written,
                pace: Arc::default(),
            }),
        );
        while done.is_empty() {
            queue.wait(None, &mut done).unwrap();
        }
        for (token, offset) in [(1, 0), (2, 4096)] {
            let (buf, sync) = (AlignedBuf::zeroed(4096), Some(Strategy::WriteThenSync));
            queue.submit(token, Op::Write { file: 1, offset, buf, len: 4096, sync });
        }
        // After both writes.
        disk.fail_at(2, SimFault::Errno(libc::EIO));
        disk.start_trace();
        while done.len() < 3 {
            queue.wait(None, &mut done).unwrap();
        }
        for completion in done.drain(1..) {
            let error = completion.result.unwrap_err();
            assert!(matches!(&error, Error::Io { op: "sync", .. }), "{error}");
            assert!(completion.buf.is_some());
        }
        let syncs = disk.trace().into_iter().filter(|call| call.contains("sync")).count();
        assert_eq!(syncs, 1, "{:?}", disk.trace());
    }
}

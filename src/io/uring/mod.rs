//! The completion plane on io_uring: [`UringQueue`]. Linux only. An unsafe island.
//!
//! ```text
//! submit ──▶ backlog ──▶ pushed ──enter──▶ kernel ──reap──▶ done
//!               slab: every operation from submit to done, with its buffer and its file
//! ```
//!
//! 1. The slab owns every buffer whose address the kernel may have, and nothing touches the buffer
//!    until its completion is reaped. If that can no longer be known, the buffer is leaked.
//! 2. One `io_uring_enter` per turn of a wait both submits and waits.
//! 3. The thread blocks only inside of enter, while a read of an eventfd stands in the ring, so
//!    that [`Wake`] reaches it there. The eventfd is written only while the thread is asleep.
//! 4. The first failure of the ring itself is final: a chain that was cut, a lost completion, an
//!    error of enter that persists.
//! 5. No entry is drained or hard-linked: either would run a sync whose write failed.
//!
//! Threading: the ring accepts only the thread that made it; the type is not `Send`.

#![allow(unsafe_code)]

mod op;
mod ring;
mod setup;
mod signal;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::{opcode, types};
use slab::Slab;

use crate::error::{Error, Result};
use crate::io::file_worker::{Done, FileWorker, Outcome, Shorten};
use crate::io::portable::queue::not_open;
use crate::io::{CommitFile, Completion, FileId, IoQueue, Op, Storage, Wake};
use crate::sys;
use op::{GENERATION_MASK, OpKind, RingFile, RingOp, Step, WAKE};
use ring::{Entered, Ring};
pub(crate) use setup::SetupRefused;
use signal::Signal;

/// An [`IoQueue`] over a ring of the Linux kernel; [`open_queue`](crate::io::open_queue) makes it.
pub struct UringQueue {
    storage: Arc<dyn Storage>,
    ring: Ring,
    ops: Slab<RingOp>,
    generation: u32,
    /// Operations that are not pushed yet, by slot.
    backlog: VecDeque<usize>,
    /// How many operations are pushed and not finished, and the most of them.
    started: usize,
    started_max: usize,
    /// Writes that this thread has to sync, by slot.
    written: Vec<usize>,
    files: HashMap<FileId, Arc<RingFile>>,
    /// Completions of operations that failed before they reached the ring.
    failed: Vec<Completion>,
    file_worker: FileWorker<File>,
    /// How many operations the file worker has.
    file_ops: usize,
    signal: Arc<Signal>,
    /// The target of the standing read; `None` while no read stands.
    wake_buf: Option<Box<[u8; 8]>>,
    /// The kernel has the standing read.
    wake_handed: bool,
    failure: Option<Arc<Error>>,
    /// Kept empty between reaps, for its allocation.
    reaped: Vec<(u64, i32)>,
}

impl UringQueue {
    /// A queue for about `depth` writes in flight, whose files are opened for direct I/O if
    /// `direct`.
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        depth: usize,
        direct: bool,
    ) -> std::result::Result<UringQueue, SetupRefused> {
        let depth = depth.clamp(1, DEPTH_MAX);
        // Two entries for each write, and one for the standing read.
        let entries = (2 * depth + 1).next_power_of_two().max(8) as u32;
        let ring = Ring::new(entries)?;
        let event =
            sys::eventfd().map_err(|source| SetupRefused { step: "eventfd".to_owned(), source })?;
        let signal = Arc::new(Signal::new(event));
        let opener = {
            let storage = storage.clone();
            Box::new(move |name: &str| open_for_commits(&*storage, name, direct))
        };
        let wake: Arc<dyn Wake> = signal.clone();
        let file_worker = FileWorker::new(&storage, opener, &wake).map_err(|error| {
            let source = io::Error::other(error.to_string());
            SetupRefused { step: "background threads".to_owned(), source }
        })?;
        Ok(UringQueue {
            storage,
            started_max: (ring.capacity() - 1) / 2,
            ring,
            ops: Slab::with_capacity(depth),
            generation: 0,
            backlog: VecDeque::new(),
            started: 0,
            written: Vec::new(),
            files: HashMap::new(),
            failed: Vec::new(),
            file_worker,
            file_ops: 0,
            signal,
            wake_buf: None,
            wake_handed: false,
            failure: None,
            reaped: Vec::new(),
        })
    }

    /// The flags that the ring was set up with, in words.
    pub(crate) fn ring_flags(&self) -> String {
        let skips = if self.ring.skips_success { "one completion" } else { "two completions" };
        format!("{}; {skips} per linked batch", self.ring.flags)
    }

    fn add(&mut self, token: u64, file: FileId, kind: OpKind) {
        let Some(open) = self.files.get(&file) else {
            let result = Err(not_open(&*self.storage, file));
            let buf = match kind {
                OpKind::Write { buf, .. } => Some(buf),
                OpKind::Sync => None,
            };
            self.failed.push(Completion { token, result, buf });
            return;
        };
        self.generation = (self.generation + 1) & GENERATION_MASK;
        let key = self.ops.insert(RingOp::new(token, open.clone(), kind, self.generation));
        self.backlog.push_back(key);
    }

    fn push_backlog(&mut self) {
        if self.wake_buf.is_none() {
            let mut buf = Box::new([0; 8]);
            let fd = types::Fd(self.signal.event().as_raw_fd());
            let read = opcode::Read::new(fd, buf.as_mut_ptr(), 8).build().user_data(WAKE);
            // SAFETY: `self` keeps the buffer and the eventfd until the read completes; `drop`
            // waits for it, or leaks the buffer.
            if unsafe { self.ring.push(WAKE, &[read]) } {
                self.wake_buf = Some(buf);
            }
        }
        while self.started < self.started_max {
            let Some(&key) = self.backlog.front() else { break };
            let Some(op) = self.ops.get_mut(key) else { break };
            let (chain, len) = op.entries(key, self.ring.skips_success);
            // SAFETY: the operation in the slab owns the buffer and the file until it is finished;
            // an operation that cannot be finished is leaked.
            if !unsafe { self.ring.push(key as u64, chain.get(..len).unwrap_or(&chain)) } {
                break;
            }
            self.started += 1;
            self.backlog.pop_front();
        }
    }

    fn enter(&mut self, submit: bool, want: u32, timeout: Option<Duration>) -> Result<Entered> {
        let (ops, wake_handed) = (&mut self.ops, &mut self.wake_handed);
        let entered = self.ring.enter(submit, want, timeout, |owner| match owner {
            WAKE => *wake_handed = true,
            key => {
                if let Some(op) = ops.get_mut(key as usize) {
                    op.handed = true;
                }
            }
        });
        match entered {
            Ok(Entered::Cut(key)) => {
                // The write runs, and its completion may never come: leak the buffer.
                if let Some(op) = self.ops.try_remove(key as usize) {
                    std::mem::forget(op);
                }
                let what = "the kernel took only a part of a linked write and sync";
                Err(self.ring_error(io::Error::other(what)))
            }
            Ok(entered) => Ok(entered),
            Err(source) => Err(self.ring_error(source)),
        }
    }

    fn ring_error(&self, source: io::Error) -> Error {
        Error::io("io_uring_enter", self.storage.dir(), source)
    }

    /// Takes all completions; returns whether there were any.
    fn reap(&mut self, done: &mut Vec<Completion>) -> bool {
        let mut reaped = std::mem::take(&mut self.reaped);
        self.ring.reap(&mut reaped);
        let some = !reaped.is_empty();
        for (user_data, res) in reaped.drain(..) {
            if user_data == WAKE {
                self.wake_buf = None;
                self.wake_handed = false;
                continue;
            }
            let (key, generation, part) = op::parse_user_data(user_data);
            let Some(op) = self.ops.get_mut(key) else { continue };
            // Late or doubled, from an earlier operation in this slot.
            if op.generation != generation {
                continue;
            }
            match op.complete(part, res, self.ring.skips_success) {
                Step::More => {}
                Step::Written => self.written.push(key),
                Step::Finished => self.finish(key, done),
            }
        }
        self.reaped = reaped;
        self.sync_written(done);
        some
    }

    fn finish(&mut self, key: usize, done: &mut Vec<Completion>) {
        let (token, result, buf) = self.ops.remove(key).finish();
        self.started -= 1;
        done.push(Completion { token, result, buf });
    }

    /// Syncs each file with new writes of the strategy write-then-sync once, and ends those writes.
    fn sync_written(&mut self, done: &mut Vec<Completion>) {
        let mut written = std::mem::take(&mut self.written);
        while let Some(&first) = written.first() {
            let Some(file) = self.ops.get(first).map(|op| op.file.clone()) else { break };
            let synced = file.file.sync_data().map_err(|source| file.failed("sync", source));
            written.retain(|&key| {
                let same = self.ops.get(key).is_some_and(|op| Arc::ptr_eq(&op.file, &file));
                if same {
                    let (token, _, buf) = self.ops.remove(key).finish();
                    self.started -= 1;
                    let result = synced.as_ref().map(|&()| ()).map_err(Error::clone);
                    done.push(Completion { token, result, buf });
                }
                !same
            });
        }
        written.clear();
        self.written = written;
    }

    /// Moves the completions that did not come from the ring into `done`.
    fn collect(&mut self, done: &mut Vec<Completion>) {
        done.append(&mut self.failed);
        while let Some(Outcome { token, result }) = self.file_worker.poll() {
            self.file_ops -= 1;
            let result = result.map(|outcome| match outcome {
                Done::Prepared { file, name, opened } => self.adopt(file, &name, opened),
                Done::Installed { file, name } => {
                    if let Some(open) = self.files.get(&file) {
                        open.renamed(self.storage.dir().join(name));
                    }
                }
                Done::Closed => {}
            });
            done.push(Completion { token, result, buf: None });
        }
    }

    /// Whether the ring itself failed, so that it accepts nothing more.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Makes `opened` the file with the number `file`.
    pub(crate) fn adopt(&mut self, file: FileId, name: &str, opened: File) {
        let path = self.storage.dir().join(name);
        self.files.insert(file, Arc::new(RingFile::new(opened, path)));
    }

    /// Closes a file that was adopted.
    pub(crate) fn release(&mut self, file: FileId) {
        self.files.remove(&file);
    }

    fn unless_failed(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        if let Some(failure) = &self.failure {
            return Err(Error::Poisoned(failure.clone()));
        }
        work(self).inspect_err(|error| self.failure = Some(Arc::new(error.clone())))
    }

    /// Submits, waits and reaps until something completed, a wake came or the time is up.
    fn turn(&mut self, timeout: Option<Duration>, done: &mut Vec<Completion>) -> Result<()> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let before = done.len();
        let (mut woken, mut busy) = (false, 0);
        loop {
            self.push_backlog();
            self.collect(done);
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let timed_out = left.is_some_and(|left| left.is_zero());
            let mut block = done.len() == before && !timed_out;
            // Announce the sleep before entering: a wake from here on writes the eventfd, and the
            // standing read that `push_backlog` renewed ends the enter.
            if block && !self.signal.fall_asleep() {
                (woken, block) = (true, false);
            }
            let entered = self.enter(true, u32::from(block), left.filter(|_| block));
            woken |= block && self.signal.wake_up();
            let entered = entered?;
            let progress = self.reap(done);
            self.collect(done);
            match entered {
                // The kernel has no room and nothing was reaped: something in flight has to end
                // first. Wait for it without submitting, and give up if that persists.
                Entered::Busy(source) if !progress => {
                    busy += 1;
                    if busy > BUSY_MAX {
                        return Err(self.ring_error(source));
                    }
                    self.enter(false, 1, Some(BUSY_PAUSE))?;
                    self.reap(done);
                }
                Entered::Busy(_) | Entered::Interrupted => {}
                _ if timed_out => return Ok(()),
                _ => {}
            }
            if done.len() > before || woken {
                return Ok(());
            }
        }
    }
}

impl IoQueue for UringQueue {
    fn submit(&mut self, token: u64, op: Op) {
        match op {
            Op::Write { file, offset, buf, len, sync } => {
                assert!(len <= buf.len(), "a write of {len} bytes from a buffer of {}", buf.len());
                let len = u32::try_from(len).expect("a write is shorter than 4 GiB");
                self.add(token, file, OpKind::Write { buf, offset, len, sync });
            }
            Op::Sync { file } => self.add(token, file, OpKind::Sync),
            Op::File(op) => {
                let closed = op.closes().and_then(|file| self.files.remove(&file));
                self.file_ops += 1;
                self.file_worker.start(token, op, closed.map(|open| open as Arc<dyn Shorten>));
            }
        }
    }

    fn start(&mut self) -> Result<()> {
        if self.backlog.is_empty() {
            return Ok(());
        }
        self.unless_failed(|queue| {
            queue.push_backlog();
            // The next wait submits the entries that the kernel does not take now.
            queue.enter(true, 0, None).map(drop)
        })
    }

    fn wait(&mut self, timeout: Option<Duration>, done: &mut Vec<Completion>) -> Result<()> {
        self.unless_failed(|queue| queue.turn(timeout, done))
    }

    fn in_flight(&self) -> usize {
        self.ops.len() + self.failed.len() + self.file_ops
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.signal.clone()
    }

    fn commit_file(&self, file: FileId) -> Option<Arc<dyn CommitFile>> {
        let open = self.files.get(&file)?.clone();
        Some(open)
    }
}

impl Drop for UringQueue {
    fn drop(&mut self) {
        // Wait for the operations that the kernel has; the others are dropped with their buffers.
        // After a failure of the ring completions may be lost, so then the wait is bounded.
        let patience = self.failure.as_ref().map(|_| DRAIN_PATIENCE);
        let mut done = Vec::new();
        // End the standing read, so that it completes as well.
        self.signal.ring();
        while self.wake_handed || self.ops.iter().any(|(_, op)| op.handed) {
            match self.enter(false, 1, patience) {
                Ok(Entered::TimedOut) | Err(_) => break,
                Ok(_) => self.reap(&mut done),
            };
        }
        // The kernel may still write to the buffers of what did not complete: leak them.
        if self.wake_handed {
            std::mem::forget(self.wake_buf.take());
        }
        for op in std::mem::take(&mut self.ops).into_iter().map(|(_, op)| op) {
            if op.handed {
                std::mem::forget(op);
            }
        }
    }
}

/// Opens a file for the writes of a ring.
pub(crate) fn open_for_commits(storage: &dyn Storage, name: &str, direct: bool) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    if direct {
        options.custom_flags(libc::O_DIRECT);
    }
    options
        .open(storage.real_path(name))
        .map_err(|source| Error::io("open", storage.dir().join(name), source))
}

/// The most writes in flight; it bounds the locked memory of the ring.
const DEPTH_MAX: usize = 1024;

/// How often in a row the kernel may have no room before the ring counts as failed, and the pause
/// between two attempts: one second in all.
const BUSY_MAX: u32 = 200;
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// How long a drop waits for a failed ring at each step.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

//! The completion plane of a simulated disk: [`SimQueue`].
//!
//! Each wait advances a few of the operations in flight by one step, chosen by chance. File
//! operations run in one step, through the code that the real backends use.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::SimDisk;
use super::fault::{Call, SimFault};
use super::inode::{Change, PendingChange, SECTOR_BYTES};
use super::storage::SimFile;
use crate::error::{Error, Result};
use crate::io::backend::fills;
use crate::io::file_worker::{Done, Shorten, execute};
use crate::io::portable::queue::not_open;
use crate::io::{
    Access, AlignedBuf, Backend, BackendKind, CommitFile, Completion, FileId, FileOp, IoQueue, Op,
    QueueOptions, Storage, Strategy, Wake,
};

/// How many times in a row the kernel may be busy, as on a ring.
const BUSY_MAX: u32 = 200;

/// An [`IoQueue`] of a [`SimDisk`].
#[derive(Debug)]
pub(crate) struct SimQueue {
    disk: SimDisk,
    files: HashMap<FileId, Open>,
    in_flight: Vec<InFlight>,
    /// Writes go around the page cache.
    direct_io: bool,
    wake: Arc<SimWake>,
    /// How many times in a row the kernel was busy.
    busy: u32,
    failure: Option<i32>,
}

#[derive(Clone, Debug)]
struct Open {
    inode: usize,
    name: String,
}

#[derive(Debug)]
struct InFlight {
    token: u64,
    submitted: u64,
    work: Work,
    /// The failure of another sync of its file, which this operation has to report.
    owed: Option<Error>,
}

impl InFlight {
    /// The file that it is syncing, if it is at that step.
    fn syncs(&self) -> Option<usize> {
        match &self.work {
            Work::SyncOf { open, .. } | Work::Sync { open } => Some(open.inode),
            _ => None,
        }
    }
}

#[derive(Debug)]
enum Work {
    Write {
        open: Open,
        id: u64,
        end: usize,
        buf: AlignedBuf,
        sync: Option<Strategy>,
    },
    /// The second half of a write.
    SyncOf {
        open: Open,
        id: u64,
        buf: AlignedBuf,
        linked: bool,
    },
    Sync {
        open: Open,
    },
    File(FileOp, Option<Arc<dyn Shorten>>),
    NotOpen(FileId, Option<AlignedBuf>),
}

impl SimQueue {
    /// A queue and its report.
    pub(crate) fn new(disk: &SimDisk, options: &QueueOptions) -> (SimQueue, Backend) {
        let (files, in_flight) = (HashMap::new(), Vec::new());
        let (disk, wake) = (disk.clone(), Arc::default());
        let unit_bytes = disk.state().unit_bytes;
        let direct_io = options.direct_io;
        let queue = SimQueue { disk, files, in_flight, direct_io, wake, busy: 0, failure: None };
        let backend = Backend {
            kind: BackendKind::Std,
            strategy: options.strategy.unwrap_or(Strategy::LinkedFsync),
            direct_io,
            unit_bytes,
            blocks: options.blocks,
            fill: fills(options.blocks),
            filesystem: "simulated".to_owned(),
            ring_flags: String::new(),
            refused: Vec::new(),
            measured: Vec::new(),
            reason: "simulated".to_owned(),
        };
        (queue, backend)
    }

    /// Tells whether the owner of the queue sleeps.
    pub(crate) fn sleep(&self) -> Arc<SimWake> {
        Arc::clone(&self.wake)
    }

    fn roll(&self, bound: usize) -> usize {
        self.disk.state().dice.below(bound)
    }

    /// Advances one operation; returns its completion if it is done.
    fn advance(&mut self, at: usize) -> Option<Completion> {
        let InFlight { token, submitted, work, owed } = self.in_flight.swap_remove(at);
        let (result, buf) = match work {
            Work::Write { open, id, end, buf, sync } => {
                let written = self.disk.finish_write(&open, id, end, sync);
                match sync {
                    Some(strategy) if written.is_ok() && !is_own_sync(strategy) => {
                        let linked = strategy == Strategy::LinkedFsync;
                        let work = Work::SyncOf { open, id, buf, linked };
                        self.in_flight.push(InFlight { token, submitted, work, owed });
                        return None;
                    }
                    _ => (written, Some(buf)),
                }
            }
            Work::SyncOf { open, id, buf, linked } => {
                let covered = |p: &PendingChange| p.id == id || p.completed < Some(submitted);
                let call = if linked { Call::LinkedSync } else { Call::QueueSync };
                let synced = self.disk.finish_sync(&open, call, covered);
                (self.share(open.inode, owed.map_or(synced, Err)), Some(buf))
            }
            Work::Sync { open } => {
                let covered = |p: &PendingChange| p.completed < Some(submitted);
                let synced = self.disk.finish_sync(&open, Call::QueueSync, covered);
                (self.share(open.inode, owed.map_or(synced, Err)), None)
            }
            Work::File(op, closed) => (self.execute(op, closed), None),
            Work::NotOpen(file, buf) => (Err(not_open(&self.disk, file)), buf),
        };
        Some(Completion { token, result, buf })
    }

    /// Through the page cache the system may report the failure of one sync to another sync of the
    /// same file instead. Here it always does, if there is another.
    fn share(&mut self, inode: usize, synced: Result<()>) -> Result<()> {
        let Err(error) = synced else { return Ok(()) };
        let mut others = self.in_flight.iter_mut();
        match others.find(|other| !self.direct_io && other.syncs() == Some(inode)) {
            Some(other) => {
                other.owed = Some(error);
                Ok(())
            }
            None => Err(error),
        }
    }

    /// Enters the kernel; returns true if it is busy. A kernel that stays busy is a failure, which
    /// is final.
    fn is_busy(&mut self) -> Result<bool> {
        let entered = self.disk.enter();
        let errno = self.failure.or(entered);
        let Some(errno) = errno else {
            self.busy = 0;
            return Ok(false);
        };
        self.busy += 1;
        let source = std::io::Error::from_raw_os_error(errno);
        let is_harmless = matches!(
            source.kind(),
            ErrorKind::WouldBlock | ErrorKind::ResourceBusy | ErrorKind::Interrupted
        );
        if is_harmless && self.failure.is_none() && self.busy < BUSY_MAX {
            self.wake.asleep.store(false, Ordering::SeqCst);
            return Ok(true);
        }
        self.failure = Some(errno);
        Err(Error::io("enter the queue of", self.disk.dir(), source))
    }

    fn execute(&mut self, op: FileOp, closed: Option<Arc<dyn Shorten>>) -> Result<()> {
        let disk = self.disk.clone();
        let open = move |name: &str| {
            disk.open(name, Access::Write)?;
            let inode = disk.state().names.get(name).copied();
            inode.ok_or_else(|| disk.missing("open", name))
        };
        match execute(&self.disk, Some(&open), &AtomicBool::new(false), (op, closed))? {
            Done::Prepared { file, name, opened } => {
                self.files.insert(file, Open { inode: opened, name });
            }
            Done::Installed { file, name } => {
                if let Some(open) = self.files.get_mut(&file) {
                    open.name = name;
                }
            }
            Done::Closed => {}
        }
        Ok(())
    }

    fn work(&mut self, op: Op) -> Work {
        match op {
            Op::Write { file, offset, buf, len, sync } => {
                let Some(open) = self.files.get(&file).cloned() else {
                    return Work::NotOpen(file, Some(buf));
                };
                let id = self.disk.begin_write(&open, offset as usize, &buf[..len]);
                Work::Write { open, id, end: offset as usize + len, buf, sync }
            }
            Op::Sync { file } => match self.files.get(&file).cloned() {
                Some(open) => Work::Sync { open },
                None => Work::NotOpen(file, None),
            },
            Op::File(op) => {
                let disk = self.disk.clone();
                let closed = op.closes().and_then(|file| self.files.remove(&file));
                let closed = closed.map(|Open { inode, name }| {
                    Arc::new(SimFile { disk, name, inode }) as Arc<dyn Shorten>
                });
                Work::File(op, closed)
            }
        }
    }
}

/// Writes and syncs of the commit path.
impl SimDisk {
    fn begin_write(&self, open: &Open, offset: usize, data: &[u8]) -> u64 {
        let mut state = self.state();
        let id = state.tick();
        let change = Change::write(offset, data.to_vec());
        if let Some(inode) = state.inodes.get_mut(open.inode) {
            inode.begin(id, change, false);
        }
        id
    }

    fn finish_write(&self, open: &Open, id: u64, end: usize, sync: Option<Strategy>) -> Result<()> {
        match self.call("write", &open.name, Call::QueueWrite) {
            Ok(mut state) => {
                if let Err(full) = self.check_room(&state, open.inode, end, &open.name) {
                    state.inodes[open.inode].lose(id);
                    return Err(full);
                }
                let now = state.tick();
                state.inodes[open.inode].complete(id, now);
                if sync.is_some_and(is_own_sync) {
                    state.inodes[open.inode].sync(|pending| pending.id == id);
                }
                Ok(())
            }
            Err(mut failed) => {
                let (is_short, is_cancelled) =
                    (failed.is(SimFault::ShortWrite), failed.is(SimFault::Cancelled));
                let state = &mut *failed.state;
                let now = state.tick();
                if let Some(inode) = state.inodes.get_mut(open.inode) {
                    if is_short {
                        let sectors = inode.bytes_of(id) / SECTOR_BYTES;
                        let keep = state.dice.below(sectors.max(1)) * SECTOR_BYTES;
                        inode.shorten(id, keep, now);
                    } else if is_cancelled {
                        inode.cancel(id);
                    } else {
                        inode.lose(id);
                    }
                }
                Err(failed.error)
            }
        }
    }

    fn finish_sync(
        &self,
        open: &Open,
        call: Call,
        covered: impl Fn(&PendingChange) -> bool,
    ) -> Result<()> {
        match self.call("sync", &open.name, call) {
            Ok(mut state) => {
                state.inodes[open.inode].sync(covered);
                Ok(())
            }
            Err(mut failed) => {
                let never_ran = failed.is(SimFault::Cancelled) || failed.is(SimFault::CutChain);
                if let Some(inode) = failed.state.inodes.get_mut(open.inode)
                    && !never_ran
                {
                    inode.fail_sync(|_| true);
                }
                Err(failed.error)
            }
        }
    }
}

/// Blocking writes to a file of a [`SimQueue`].
#[derive(Debug)]
struct SimCommitFile {
    disk: SimDisk,
    open: Open,
}

impl CommitFile for SimCommitFile {
    fn commit(&self, data: &[u8], offset: u64, sync: Option<Strategy>) -> Result<()> {
        let (disk, open) = (&self.disk, &self.open);
        let id = disk.begin_write(open, offset as usize, data);
        disk.finish_write(open, id, offset as usize + data.len(), sync)?;
        if sync.is_some_and(|strategy| !is_own_sync(strategy)) {
            let submitted = disk.state().tick();
            let covered = |p: &PendingChange| p.id == id || p.completed < Some(submitted);
            disk.finish_sync(open, Call::QueueSync, covered)?;
        }
        Ok(())
    }
}

/// Whether a write is durable in one step. Stated here independently of
/// [`Strategy::syncs_file`], so that the simulation finds an engine that has it wrong.
fn is_own_sync(strategy: Strategy) -> bool {
    strategy == Strategy::Dsync
}

impl IoQueue for SimQueue {
    fn submit(&mut self, token: u64, op: Op) {
        let work = self.work(op);
        let submitted = self.disk.state().tick();
        self.in_flight.push(InFlight { token, submitted, work, owed: None });
    }

    fn wait(&mut self, timeout: Option<Duration>, done: &mut Vec<Completion>) -> Result<()> {
        if self.is_busy()? {
            return Ok(());
        }
        let woken = self.wake.woken.swap(false, Ordering::SeqCst);
        let idle = self.in_flight.is_empty() && !woken && timeout.is_none();
        self.wake.asleep.store(idle, Ordering::SeqCst);
        let steps = [0, 1, 1, 1, 2, 3, 8][self.roll(7)];
        for _ in 0..steps {
            if self.in_flight.is_empty() {
                break;
            }
            let at = self.roll(self.in_flight.len());
            done.extend(self.advance(at));
        }
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.wake.clone()
    }

    fn commit_file(&self, file: FileId) -> Option<Arc<dyn CommitFile>> {
        let open = self.files.get(&file)?.clone();
        Some(Arc::new(SimCommitFile { disk: self.disk.clone(), open }))
    }
}

impl Drop for SimQueue {
    fn drop(&mut self) {
        while self.failure.is_none() && !self.in_flight.is_empty() {
            let _result = self.advance(0);
        }
    }
}

/// The wake-up of a queue, and whether its owner sleeps.
#[derive(Debug, Default)]
pub(crate) struct SimWake {
    woken: AtomicBool,
    asleep: AtomicBool,
}

impl SimWake {
    /// Whether the owner waits for a wake-up that has not come, with nothing in flight.
    pub(crate) fn sleeps(&self) -> bool {
        self.asleep.load(Ordering::SeqCst) && !self.woken.load(Ordering::SeqCst)
    }
}

impl Wake for SimWake {
    fn wake(&self) {
        self.woken.store(true, Ordering::SeqCst);
    }
}

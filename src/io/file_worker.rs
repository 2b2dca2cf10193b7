//! The work of a queue off the commit path: preparing, naming, sealing and removing files, on two
//! background threads. Both backends use it.
//!
//! The *preallocation thread* prepares spares; the *metadata thread* does the rest. So an install
//! that a commit waits for is never behind a segment's worth of zeros.
//!
//! 1. Every job that was started comes back exactly once through [`FileWorker::poll`]. The queue's
//!    thread is woken after the outcome is in the channel. Jobs left at the drop do not come back.
//! 2. The jobs of one thread run in the order in which they were started.
//! 3. A spare that could not be prepared leaves no file.
//!
//! Threading: the queue's thread owns and polls it. A drop stops the preallocation, lets the
//! metadata thread finish its jobs and joins both threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::error::{Error, Result};
use crate::io::{Access, Blocks, FileId, FileOp, Pace, Storage, StorageFile, Wake};
use crate::mutation::mutated;

/// Opens a file as its backend needs it for commits.
pub(crate) type Opener<F> = Box<dyn Fn(&str) -> Result<F> + Send>;

/// An [`Opener`], borrowed.
pub(crate) type OpenBy<'a, F> = dyn Fn(&str) -> Result<F> + 'a;

/// The token, the operation, and the open segment that the operation closes.
type Job = (u64, FileOp, Option<Arc<dyn Shorten>>);

/// An open segment that can be shortened and synced without opening it again.
pub(crate) trait Shorten: Send + Sync + std::fmt::Debug {
    /// Shortens the segment to `bytes`, durably.
    fn shorten(&self, bytes: u64) -> Result<()>;
}

/// The result of a job.
#[derive(Debug)]
pub(crate) struct Outcome<F> {
    pub(crate) token: u64,
    pub(crate) result: Result<Done<F>>,
}

/// What a successful job changed; the queue updates its table of files by it.
#[derive(Debug)]
pub(crate) enum Done<F> {
    Prepared { file: FileId, name: String, opened: F },
    Installed { file: FileId, name: String },
    Closed,
}

/// The two threads.
pub(crate) struct FileWorker<F> {
    preallocator: Option<Sender<Job>>,
    metadata: Option<Sender<Job>>,
    outcomes: Receiver<Outcome<F>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl<F: Send + 'static> FileWorker<F> {
    /// Starts the threads.
    pub(crate) fn new(
        storage: &Arc<dyn Storage>,
        open: Opener<F>,
        wake: &Arc<dyn Wake>,
    ) -> Result<FileWorker<F>> {
        let (outcome_sender, outcomes) = unbounded();
        let stop = Arc::new(AtomicBool::new(false));
        let mut file_worker =
            FileWorker { preallocator: None, metadata: None, outcomes, stop, threads: Vec::new() };
        let preallocator = WorkerThread {
            storage: storage.clone(),
            open: Some(open),
            wake: wake.clone(),
            outcomes: outcome_sender.clone(),
            stop: file_worker.stop.clone(),
        };
        let metadata = WorkerThread {
            storage: storage.clone(),
            open: None,
            wake: wake.clone(),
            outcomes: outcome_sender,
            stop: file_worker.stop.clone(),
        };
        file_worker.preallocator = Some(file_worker.spawn("ringwal-preallocator", preallocator)?);
        file_worker.metadata = Some(file_worker.spawn("ringwal-metadata", metadata)?);
        Ok(file_worker)
    }

    fn spawn(&mut self, name: &str, worker: WorkerThread<F>) -> Result<Sender<Job>> {
        let (sender, jobs) = unbounded();
        let dir = worker.storage.dir().to_path_buf();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || worker.run(&jobs))
            .map_err(|source| Error::io("start a thread for", dir, source))?;
        self.threads.push(thread);
        Ok(sender)
    }

    /// Hands a job to its thread.
    pub(crate) fn start(&self, token: u64, op: FileOp, closed: Option<Arc<dyn Shorten>>) {
        let thread = match op {
            FileOp::Prepare { .. } => &self.preallocator,
            _ => &self.metadata,
        };
        let thread = thread.as_ref().expect("the threads live as long as the file worker");
        thread.send((token, op, closed)).expect("a thread ends only when its channel does");
    }

    /// The next finished job, if there is one.
    pub(crate) fn poll(&self) -> Option<Outcome<F>> {
        self.outcomes.try_recv().ok()
    }
}

impl<F> Drop for FileWorker<F> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.preallocator = None;
        self.metadata = None;
        for thread in self.threads.drain(..) {
            // The panic hook has reported a panic; nothing waits for the result.
            let _panicked = thread.join();
        }
    }
}

struct WorkerThread<F> {
    storage: Arc<dyn Storage>,
    /// Only the preallocation thread opens files for commits.
    open: Option<Opener<F>>,
    wake: Arc<dyn Wake>,
    outcomes: Sender<Outcome<F>>,
    stop: Arc<AtomicBool>,
}

impl<F> WorkerThread<F> {
    fn run(&self, jobs: &Receiver<Job>) {
        for (token, op, closed) in jobs {
            // The queue counts on an outcome for each job, so a panic becomes one.
            let result = catch_unwind(AssertUnwindSafe(|| self.execute(op, closed)))
                .unwrap_or_else(|_| Err(self.panicked()));
            // Send before waking: the woken thread polls once and must find the outcome. The send
            // fails if the queue is gone, and then nothing waits.
            let _gone = self.outcomes.send(Outcome { token, result });
            self.wake.wake();
        }
    }

    fn panicked(&self) -> Error {
        let what = std::io::Error::other("the storage panicked");
        Error::io("file operation", self.storage.dir(), what)
    }

    fn execute(&self, op: FileOp, closed: Option<Arc<dyn Shorten>>) -> Result<Done<F>> {
        let open = self.open.as_ref().map(|open| open as &OpenBy<'_, F>);
        execute(&*self.storage, open, &self.stop, (op, closed))
    }
}

/// Runs an operation, blocking. `Prepare` needs `open`, and ends early when `stop` is set.
pub(crate) fn execute<F>(
    storage: &dyn Storage,
    open: Option<&OpenBy<'_, F>>,
    stop: &AtomicBool,
    (op, closed): (FileOp, Option<Arc<dyn Shorten>>),
) -> Result<Done<F>> {
    match op {
        FileOp::Prepare { file, name, reuse, bytes, blocks, pace } => {
            let spare = (&*name, reuse.as_deref(), bytes, blocks);
            let prepared = prepare(storage, open, (stop, &pace), spare);
            match prepared {
                Ok(opened) => Ok(Done::Prepared { file, name, opened }),
                Err(NotPrepared { error, made }) => {
                    if made {
                        // Report the first error. If the removal fails as well, the next open
                        // removes the spare.
                        let _leftover = storage.remove(&name);
                    }
                    Err(error)
                }
            }
        }
        FileOp::Install { file, from, to } => {
            storage.check_place()?;
            storage.rename(&from, &to)?;
            if !mutated("skip_directory_sync") {
                storage.sync_dir()?;
            }
            Ok(Done::Installed { file, name: to })
        }
        FileOp::Seal { name, bytes, .. } => {
            // Open it by its name, to notice that the segment was removed or replaced.
            let file = match (storage.open(&name, Access::Write), closed) {
                // A moment without a free descriptor must not end the log.
                (Err(error), Some(open)) if error.is_shortage() => {
                    open.shorten(bytes)?;
                    return Ok(Done::Closed);
                }
                (opened, _) => opened?,
            };
            if mutated("rewrite_tail_block") {
                let mut tail = [0; 512];
                let at = bytes.saturating_sub(1) / 512 * 512;
                let len = file.read_at(&mut tail, at)?;
                file.write_at(&tail[..len], at)?;
            }
            if file.bytes()? != bytes {
                file.set_bytes(bytes)?;
            }
            file.sync()?;
            Ok(Done::Closed)
        }
        FileOp::Discard { name, .. } => {
            drop(closed);
            storage.remove(&name)?;
            Ok(Done::Closed)
        }
    }
}

fn prepare<F>(
    storage: &dyn Storage,
    open: Option<&OpenBy<'_, F>>,
    (stop, pace): (&AtomicBool, &Pace),
    (name, reuse, bytes, blocks): (&str, Option<&str>, u64, Blocks),
) -> std::result::Result<F, NotPrepared> {
    let not_made = |error| NotPrepared { error, made: false };
    let made = |error| NotPrepared { error, made: true };
    let file = match reuse {
        Some(retired) => {
            storage.rename(retired, name).map_err(not_made)?;
            storage.open(name, Access::Write).map_err(made)?
        }
        None => storage.open(name, Access::Create).map_err(not_made)?,
    };
    let had = file.bytes().map_err(made)?;
    if blocks == Blocks::AsTheyCome && had == 0 {
        file.set_bytes(bytes.min(NAMED_BYTES)).map_err(made)?;
        file.sync().map_err(made)?;
    } else if blocks != Blocks::AsTheyCome {
        if had > bytes {
            file.set_bytes(bytes).map_err(made)?;
        }
        let reserve = had < bytes && blocks == Blocks::Reserved;
        if !reserve || !file.reserve(bytes).map_err(made)? {
            fill(&*file, (had, bytes), stop, pace).map_err(made)?;
        }
        file.sync().map_err(made)?;
        // The zeros are overwritten before they are read again.
        file.drop_cache();
    }
    drop(file);
    let open = open.expect("the preallocation thread runs each Prepare");
    open(name).map_err(made)
}

/// Writes zeros from `from` to `to`, checks `stop` before each step, and gives way after it.
fn fill(
    file: &dyn StorageFile,
    (from, to): (u64, u64),
    stop: &AtomicBool,
    pace: &Pace,
) -> Result<()> {
    let mut filled = from;
    while filled < to {
        if stop.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        let next = ((filled / FILL_STEP + 1) * FILL_STEP).min(to);
        let (batches, began) = (pace.batches(), Instant::now());
        file.write_zeros(filled, next)?;
        filled = next;
        if filled < to && !stop.load(Ordering::Acquire) {
            pace.give_way(batches, began.elapsed());
        }
    }
    Ok(())
}

/// A spare that could not be prepared.
struct NotPrepared {
    error: Error,
    /// There is a file of the spare's name to remove.
    made: bool,
}

/// The least length of a segment when it gets its name. Recovery reports an empty one as a copy
/// that failed.
const NAMED_BYTES: u64 = 512;

/// The zeros that are written between two checks of `stop`, and that batches may have to wait for.
/// Steps end at multiples of it, so only
/// the first one can begin inside of a block.
const FILL_STEP: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use crate::sync::plain::Condvar;
    use crate::sync::plain::Mutex;
    use std::path::Path;

    use super::*;
    use crate::io::{LockGuard, StdStorage};

    /// The file system, where writing zeros finds no room or panics.
    #[derive(Debug)]
    struct Failing {
        inner: StdStorage,
        panics: bool,
    }

    #[derive(Debug)]
    struct FailingFile {
        inner: Box<dyn StorageFile>,
        panics: bool,
    }

    impl Storage for Failing {
        fn dir(&self) -> &Path {
            self.inner.dir()
        }
        fn list(&self) -> Result<Vec<String>> {
            self.inner.list()
        }
        fn open(&self, name: &str, access: Access) -> Result<Box<dyn StorageFile>> {
            let inner = self.inner.open(name, access)?;
            Ok(Box::new(FailingFile { inner, panics: self.panics }))
        }
        fn rename(&self, from: &str, to: &str) -> Result<()> {
            self.inner.rename(from, to)
        }
        fn remove(&self, name: &str) -> Result<()> {
            self.inner.remove(name)
        }
        fn sync_dir(&self) -> Result<()> {
            self.inner.sync_dir()
        }
        fn lock(&self, name: &str) -> Result<Box<dyn LockGuard>> {
            self.inner.lock(name)
        }
    }

    impl StorageFile for FailingFile {
        fn bytes(&self) -> Result<u64> {
            self.inner.bytes()
        }
        fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
            self.inner.read_at(buf, offset)
        }
        fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
            self.inner.write_at(data, offset)
        }
        fn write_zeros(&self, from: u64, _to: u64) -> Result<()> {
            assert!(!self.panics, "as the test asks for");
            self.inner.write_zeros(from, from + 4096)?;
            Err(Error::io("write", "spare", std::io::ErrorKind::StorageFull.into()))
        }
        fn set_bytes(&self, bytes: u64) -> Result<()> {
            self.inner.set_bytes(bytes)
        }
        fn sync(&self) -> Result<()> {
            self.inner.sync()
        }
    }

    #[derive(Default)]
    struct WakeCounter {
        wakes: Mutex<u32>,
        changed: Condvar,
    }

    impl Wake for WakeCounter {
        fn wake(&self) {
            *self.wakes.lock() += 1;
            self.changed.notify_all();
        }
    }

    fn run(panics: bool, jobs: Vec<FileOp>) -> (Vec<Outcome<()>>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("old"), [1; 100]).unwrap();
        let storage: Arc<dyn Storage> =
            Arc::new(Failing { inner: StdStorage::new(dir.path()), panics });
        let counter = Arc::new(WakeCounter::default());
        let wake: Arc<dyn Wake> = counter.clone();
        let file_worker = FileWorker::new(&storage, Box::new(|_| Ok(())), &wake).unwrap();
        let count = jobs.len();
        for (token, job) in jobs.into_iter().enumerate() {
            file_worker.start(token as u64, job, None);
        }
        let mut wakes = counter.wakes.lock();
        while (*wakes as usize) < count {
            wakes = counter.changed.wait(wakes);
        }
        let mut outcomes: Vec<_> = std::iter::from_fn(|| file_worker.poll()).collect();
        outcomes.sort_by_key(|outcome| outcome.token);
        assert_eq!(outcomes.len(), count, "woken only after the outcome is there");
        let mut names = storage.list().unwrap();
        names.sort();
        (outcomes, names)
    }

    fn prepare(name: &str, reuse: Option<&str>, blocks: Blocks) -> FileOp {
        let (name, reuse) = (name.to_owned(), reuse.map(str::to_owned));
        FileOp::Prepare { file: 1, name, reuse, bytes: 1 << 20, blocks, pace: Arc::default() }
    }

    #[test]
    fn a_spare_without_room_is_removed_and_the_shortage_reported() {
        let jobs = vec![
            prepare("a", None, Blocks::Written),
            prepare("b", Some("old"), Blocks::Written),
            // This storage cannot reserve, so zeros are written instead.
            prepare("c", None, Blocks::Reserved),
        ];
        let (outcomes, names) = run(false, jobs);
        for outcome in outcomes {
            assert!(outcome.result.unwrap_err().is_shortage());
        }
        assert!(names.is_empty(), "{names:?}");
    }

    #[test]
    fn a_panic_of_the_storage_is_an_error_and_the_thread_goes_on() {
        let jobs =
            vec![prepare("a", None, Blocks::Written), prepare("b", None, Blocks::AsTheyCome)];
        let (outcomes, names) = run(true, jobs);
        assert!(outcomes[0].result.as_ref().unwrap_err().to_string().contains("panicked"));
        assert!(outcomes[1].result.is_ok());
        assert!(names.contains(&"b".to_owned()));
    }

    #[test]
    fn jobs_of_the_metadata_thread_run_in_order() {
        let seal = FileOp::Seal { file: 1, name: "c".into(), bytes: 10 };
        let jobs = vec![
            FileOp::Install { file: 1, from: "old".into(), to: "b".into() },
            FileOp::Install { file: 1, from: "b".into(), to: "c".into() },
            seal,
            FileOp::Discard { file: 1, name: "missing".into() },
        ];
        let (outcomes, names) = run(false, jobs);
        assert!(outcomes[..3].iter().all(|outcome| outcome.result.is_ok()));
        assert!(outcomes[3].result.is_err());
        assert_eq!(names, ["c"]);
    }
}

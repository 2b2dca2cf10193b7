//! Everything of a queue that is not on the commit path: preparing, naming, sealing and removing
//! files, on two background threads that both backends share.
//!
//! The *filler* prepares spares, the *clerk* does the rest: an install that a commit waits for is
//! never behind a segment's worth of zeros.
//!
//! 1. Every job started comes back exactly once through [`Housekeeper::poll`], and the queue's
//!    thread is woken after it went into the channel. Jobs left over at the drop do not.
//! 2. Jobs of one thread run in the order they were started in.
//! 3. A spare that could not be prepared leaves no file.
//!
//! Threading: owned and polled by the queue's thread. Dropping stops filling, lets the clerk
//! finish what it was given and joins both threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::error::{Error, Result};
use crate::io::{Access, FileId, Storage, Wake};

/// How a backend opens a file that it will commit to.
pub(crate) type Opener<F> = Box<dyn Fn(&str) -> Result<F> + Send>;

/// What the background threads do; the fields are those of [`Op`](crate::io::Op).
#[derive(Debug)]
pub(crate) enum Job {
    Prepare { file: FileId, name: String, reuse: Option<String>, bytes: u64, fill: bool },
    Install { file: FileId, from: String, to: String },
    Seal { name: String, bytes: u64 },
    Discard { name: String },
}

/// What came of a job.
#[derive(Debug)]
pub(crate) struct Outcome<F> {
    pub(crate) token: u64,
    pub(crate) result: Result<Done<F>>,
}

/// What the queue has to note of a job that went well.
#[derive(Debug)]
pub(crate) enum Done<F> {
    Prepared { file: FileId, name: String, opened: F },
    Installed { file: FileId, name: String },
    Closed,
}

/// The two threads.
pub(crate) struct Housekeeper<F> {
    filler: Option<Sender<(u64, Job)>>,
    clerk: Option<Sender<(u64, Job)>>,
    outcomes: Receiver<Outcome<F>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl<F: Send + 'static> Housekeeper<F> {
    /// Starts the threads.
    pub(crate) fn new(
        storage: &Arc<dyn Storage>,
        open: Opener<F>,
        wake: &Arc<dyn Wake>,
    ) -> Result<Housekeeper<F>> {
        let (outcome_sender, outcomes) = unbounded();
        let stop = Arc::new(AtomicBool::new(false));
        let mut housekeeper =
            Housekeeper { filler: None, clerk: None, outcomes, stop, threads: Vec::new() };
        let filler = Worker {
            storage: storage.clone(),
            open: Some(open),
            wake: wake.clone(),
            outcomes: outcome_sender.clone(),
            stop: housekeeper.stop.clone(),
        };
        let clerk = Worker {
            storage: storage.clone(),
            open: None,
            wake: wake.clone(),
            outcomes: outcome_sender,
            stop: housekeeper.stop.clone(),
        };
        housekeeper.filler = Some(housekeeper.spawn("ringwal-filler", filler)?);
        housekeeper.clerk = Some(housekeeper.spawn("ringwal-clerk", clerk)?);
        Ok(housekeeper)
    }

    fn spawn(&mut self, name: &str, worker: Worker<F>) -> Result<Sender<(u64, Job)>> {
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
    pub(crate) fn start(&self, token: u64, job: Job) {
        let thread = match job {
            Job::Prepare { .. } => &self.filler,
            _ => &self.clerk,
        };
        let thread = thread.as_ref().expect("the threads live as long as the housekeeper");
        thread.send((token, job)).expect("a thread ends only when its channel does");
    }

    /// The next finished job, if there is one.
    pub(crate) fn poll(&self) -> Option<Outcome<F>> {
        self.outcomes.try_recv().ok()
    }
}

impl<F> Drop for Housekeeper<F> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.filler = None;
        self.clerk = None;
        for thread in self.threads.drain(..) {
            // A panic of a thread has been reported by its hook; there is nobody to tell.
            let _panicked = thread.join();
        }
    }
}

struct Worker<F> {
    storage: Arc<dyn Storage>,
    // Only the filler opens files.
    open: Option<Opener<F>>,
    wake: Arc<dyn Wake>,
    outcomes: Sender<Outcome<F>>,
    stop: Arc<AtomicBool>,
}

impl<F> Worker<F> {
    fn run(&self, jobs: &Receiver<(u64, Job)>) {
        for (token, job) in jobs {
            let result = self.execute(job);
            // The queue may be gone; then nobody waits for the outcome.
            let _gone = self.outcomes.send(Outcome { token, result });
            self.wake.wake();
        }
    }

    fn execute(&self, job: Job) -> Result<Done<F>> {
        match job {
            Job::Prepare { file, name, reuse, bytes, fill } => {
                let prepared = self.prepare(&name, reuse.as_deref(), bytes, fill);
                match prepared {
                    Ok(opened) => Ok(Done::Prepared { file, name, opened }),
                    Err(Attempt { error, made }) => {
                        if made {
                            // The first error is the one to report; a leftover spare is removed
                            // at the next open.
                            let _leftover = self.storage.remove(&name);
                        }
                        Err(error)
                    }
                }
            }
            Job::Install { file, from, to } => {
                self.storage.rename(&from, &to)?;
                self.storage.sync_dir()?;
                Ok(Done::Installed { file, name: to })
            }
            Job::Seal { name, bytes } => {
                let file = self.storage.open(&name, Access::Write)?;
                if file.bytes()? != bytes {
                    file.set_bytes(bytes)?;
                }
                file.sync()?;
                Ok(Done::Closed)
            }
            Job::Discard { name } => {
                self.storage.remove(&name)?;
                Ok(Done::Closed)
            }
        }
    }

    fn prepare(
        &self,
        name: &str,
        reuse: Option<&str>,
        bytes: u64,
        fill: bool,
    ) -> std::result::Result<F, Attempt> {
        let not_made = |error| Attempt { error, made: false };
        let made = |error| Attempt { error, made: true };
        let file = match reuse {
            Some(retired) => {
                self.storage.rename(retired, name).map_err(not_made)?;
                self.storage.open(name, Access::Write).map_err(made)?
            }
            None => self.storage.open(name, Access::Create).map_err(not_made)?,
        };
        if fill {
            let mut filled = file.bytes().map_err(made)?;
            if filled > bytes {
                file.set_bytes(bytes).map_err(made)?;
            }
            while filled < bytes {
                if self.stop.load(Ordering::Acquire) {
                    return Err(made(Error::Closed));
                }
                let next = ((filled / FILL_STEP + 1) * FILL_STEP).min(bytes);
                file.write_zeros(filled, next).map_err(made)?;
                filled = next;
            }
            file.sync().map_err(made)?;
            // What was just written is not read again before it is overwritten.
            file.drop_cache();
        }
        drop(file);
        let open = self.open.as_ref().expect("prepare jobs go to the filler");
        open(name).map_err(made)
    }
}

struct Attempt {
    error: Error,
    // Whether there is a file of the spare's name to remove.
    made: bool,
}

// Between two steps the filler looks whether it should stop. Steps end at multiples of it, so that
// only the first can begin inside of a block.
const FILL_STEP: u64 = 4 << 20;

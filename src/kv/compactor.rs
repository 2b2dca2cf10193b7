//! A thread that compacts a store when enough of it is dead.
//!
//! Who writes something looks at two sums and wakes it; it holds up nobody but by its own appends.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::kv::Stats;
use crate::kv::store::Store;
use crate::{Error, Result};

/// The thread, as the handle knows it.
#[derive(Debug)]
pub(crate) struct Compactor {
    percent: u8,
    wake: Sender<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
    failure: Arc<Mutex<Option<Arc<Error>>>>,
}

impl Compactor {
    pub(crate) fn start(store: &Arc<Store>, percent: u8) -> Result<Compactor> {
        let (wake, woken) = bounded(1);
        let failure: Arc<Mutex<Option<Arc<Error>>>> = Arc::default();
        let run = {
            let (store, failure) = (Arc::clone(store), Arc::clone(&failure));
            move || run(&store, percent, &woken, &failure)
        };
        let thread = std::thread::Builder::new().name("ringwal-compact".to_owned()).spawn(run);
        let thread = thread.map_err(|error| Error::io("start the compactor", ".", error))?;
        Ok(Compactor { percent, wake, thread: Mutex::new(Some(thread)), failure })
    }

    pub(crate) fn nudge(&self, store: &Store) {
        if is_due(store, self.percent) {
            self.wake();
        }
    }

    /// Makes the thread look at once.
    pub(crate) fn wake(&self) {
        // One that is full will look anyway.
        let _: Result<(), TrySendError<()>> = self.wake.try_send(());
    }

    /// Waits for the thread to end, which the store was told to.
    pub(crate) fn stop(&self) {
        self.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    pub(crate) fn failure(&self) -> Option<Arc<Error>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn run(store: &Store, percent: u8, woken: &Receiver<()>, failure: &Mutex<Option<Arc<Error>>>) {
    while woken.recv().is_ok() && store.check_open().is_ok() {
        if is_due(store, percent) {
            let failed = store.compact().err().filter(|error| !matches!(error, Error::Closed));
            *failure.lock().unwrap_or_else(PoisonError::into_inner) = failed.map(Arc::new);
        }
    }
}

/// Whether so much is dead that a compaction pays.
fn is_due(store: &Store, percent: u8) -> bool {
    let stats = Stats::of_sums(&store.index);
    stats.dead_bytes >= store.options.segment_bytes && stats.dead_percent() > percent
}

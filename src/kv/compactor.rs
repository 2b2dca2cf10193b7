//! A thread that compacts a store when enough of it is dead.
//!
//! Who writes something looks at two sums and wakes it; it holds up nobody but by its own appends.

use crate::sync::plain::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::kv::store::Store;
use crate::kv::{Compacted, Stats};
use crate::mutation::mutated;
use crate::{Error, Result};

/// How long it waits after a try that gave nothing back.
const PAUSE_MILLIS: u64 = 1000;
/// How often that doubles: about four minutes then.
const PAUSE_DOUBLINGS_MAX: u32 = 8;

/// The thread, as the handle knows it.
#[derive(Debug)]
pub(crate) struct Compactor {
    percent: u8,
    wake: Sender<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
    tries: Arc<Tries>,
}

/// How it went, and when it may go on.
#[derive(Debug)]
struct Tries {
    start: Instant,
    /// Milliseconds after the start before which nothing is tried.
    not_before: AtomicU64,
    failure: Mutex<Option<Arc<Error>>>,
}

impl Tries {
    fn new() -> Tries {
        let (start, not_before) = (Instant::now(), AtomicU64::new(0));
        Tries { start, not_before, failure: Mutex::default() }
    }

    fn may(&self) -> bool {
        let not_before = self.not_before.load(Ordering::Relaxed);
        not_before == 0
            || self.start.elapsed().as_millis() as u64 >= not_before
            || mutated("kv_compact_without_pause")
    }

    /// Takes in the outcome of the latest of `vain` tries in a row that gave nothing back.
    fn after(&self, outcome: Result<Compacted>, vain: &mut u32) {
        let is_vain = outcome.as_ref().map_or(true, |done| *done == Compacted::default());
        *vain = if is_vain { vain.saturating_add(1) } else { 0 };
        let pause = match *vain {
            0 => 0,
            // A try costs a look at every key at least.
            vain => {
                let pause = PAUSE_MILLIS << (vain - 1).min(PAUSE_DOUBLINGS_MAX);
                self.start.elapsed().as_millis() as u64 + pause
            }
        };
        self.not_before.store(pause, Ordering::Relaxed);
        let failed = outcome.err().filter(|error| !matches!(error, Error::Closed));
        *self.failure.lock() = failed.map(Arc::new);
    }
}

impl Compactor {
    pub(crate) fn start(store: &Arc<Store>, percent: u8) -> Result<Compactor> {
        let (wake, woken) = bounded(1);
        let tries = Arc::new(Tries::new());
        let run = {
            let (store, tries) = (Arc::clone(store), Arc::clone(&tries));
            move || run(&store, percent, &woken, &tries)
        };
        let thread = std::thread::Builder::new().name("ringwal-compact".to_owned()).spawn(run);
        let thread = thread.map_err(|error| Error::io("start the compactor", ".", error))?;
        Ok(Compactor { percent, wake, thread: Mutex::new(Some(thread)), tries })
    }

    pub(crate) fn nudge(&self, store: &Store) {
        let is_due = is_due(store, self.percent) && self.tries.may();
        if is_due && store.log.require_own_process().is_ok() {
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
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    pub(crate) fn failure(&self) -> Option<Arc<Error>> {
        self.tries.failure.lock().clone()
    }
}

fn run(store: &Store, percent: u8, woken: &Receiver<()>, tries: &Tries) {
    let mut vain = 0;
    while woken.recv().is_ok() && store.check_open().is_ok() {
        if is_due(store, percent) && tries.may() {
            tries.after(store.compact(Some(percent)), &mut vain);
        }
    }
}

/// Whether so much is dead that a compaction pays.
fn is_due(store: &Store, percent: u8) -> bool {
    let stats = Stats::of_sums(&store.index);
    stats.dead_bytes >= store.options.segment_bytes && stats.dead_percent() > percent
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::mpsc::channel;
    use std::task::{Wake, Waker};
    use std::time::Duration;

    use crate::BackendKind;
    use crate::kv::DataWal;
    use crate::wakers::Wakers;

    /// Far more than it takes: only what hangs gets there.
    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_try_in_vain_is_followed_by_a_pause_that_doubles_until_one_gives_something_back() {
        let (tries, mut vain) = (Tries::new(), 0);
        assert!(tries.may());
        let mut least = PAUSE_MILLIS;
        for n in 0..20 {
            let failed = n % 2 == 0;
            tries.after(
                if failed { Err(Error::ReadOnly) } else { Ok(Compacted::default()) },
                &mut vain,
            );
            assert!(!tries.may(), "after {n}");
            assert_eq!(tries.failure.lock().is_some(), failed);
            assert!(tries.not_before.load(Ordering::Relaxed) >= least);
            least = (least * 2).min(PAUSE_MILLIS << PAUSE_DOUBLINGS_MAX);
        }
        tries.after(Ok(Compacted { freed_segments: 1, ..Compacted::default() }), &mut vain);
        assert!(tries.may() && vain == 0);
    }

    struct Drops(Mutex<Option<DataWal>>);

    impl Wake for Drops {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().take());
        }
    }

    #[test]
    fn a_store_that_is_dropped_in_a_waker_does_not_wait_for_its_compactor() {
        let dir = tempfile::tempdir().unwrap();
        let builder = || DataWal::builder(dir.path()).backend(BackendKind::Std);
        let wal = builder().segment_bytes(4096).compact_above_percent(Some(10)).open().unwrap();
        let store = Arc::clone(wal.shared());
        // The compactor cannot end before this is released.
        let compacting = store.compacting.lock();
        for _ in 0..10 {
            wal.put("k", [0; 1000]).unwrap();
        }
        let (done, is_done) = channel();
        let dropper = std::thread::spawn(move || {
            let waker = Waker::from(Arc::new(Drops(Mutex::new(Some(wal)))));
            let mut wakers = Wakers::default();
            let _ = wakers.enter(&mut None, waker.clone());
            drop(waker);
            wakers.wake();
            done.send(()).unwrap();
        });
        let outcome = is_done.recv_timeout(PATIENCE);
        drop(compacting);
        drop(store);
        dropper.join().unwrap();
        outcome.unwrap();
    }
}

//! The compactor: a background thread that compacts a store when enough of it is dead.
//!
//! Each write checks the dead share and wakes the thread when a compaction is due. The thread
//! delays other writers only by its own appends.

use crate::sync::plain::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::kv::compact::Compacted;
use crate::kv::stats::Stats;
use crate::kv::store::Store;
use crate::mutation::mutated;
use crate::{Error, Result};

/// The pause after an attempt that freed nothing, in milliseconds.
const PAUSE_MILLIS: u64 = 1000;
/// How often the pause doubles: up to about four minutes.
const PAUSE_DOUBLINGS_MAX: u32 = 8;

/// The handle's side of the thread.
#[derive(Debug)]
pub(crate) struct Compactor {
    percent: u8,
    wake: Sender<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
    backoff: Arc<Backoff>,
}

/// The outcome of the last attempt, and when the next one may start.
#[derive(Debug)]
struct Backoff {
    start: Instant,
    /// No attempt starts before this many milliseconds after `start`; 0 is no pause.
    not_before: AtomicU64,
    failure: Mutex<Option<Arc<Error>>>,
}

impl Backoff {
    fn new() -> Backoff {
        let (start, not_before) = (Instant::now(), AtomicU64::new(0));
        Backoff { start, not_before, failure: Mutex::default() }
    }

    fn is_over(&self) -> bool {
        let not_before = self.not_before.load(Ordering::Relaxed);
        not_before == 0
            || self.start.elapsed().as_millis() as u64 >= not_before
            || mutated("kv_compact_without_pause")
    }

    /// Records an outcome. `futile` counts the attempts in a row that freed nothing.
    fn record(&self, outcome: Result<Compacted>, futile: &mut u32) {
        let is_futile = outcome.as_ref().map_or(true, |done| *done == Compacted::default());
        *futile = if is_futile { futile.saturating_add(1) } else { 0 };
        let pause = match *futile {
            0 => 0,
            // Even a futile attempt visits every key, so it must not run after each write.
            futile => {
                let pause = PAUSE_MILLIS << (futile - 1).min(PAUSE_DOUBLINGS_MAX);
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
        let backoff = Arc::new(Backoff::new());
        let run = {
            let (store, backoff) = (Arc::clone(store), Arc::clone(&backoff));
            move || run(&store, percent, &woken, &backoff)
        };
        let thread = std::thread::Builder::new().name("ringwal-compact".to_owned()).spawn(run);
        let thread = thread.map_err(|error| Error::io("start the compactor", ".", error))?;
        Ok(Compactor { percent, wake, thread: Mutex::new(Some(thread)), backoff })
    }

    /// Wakes the thread if a compaction is due.
    pub(crate) fn wake_if_due(&self, store: &Store) {
        let is_due = is_due(store, self.percent) && self.backoff.is_over();
        if is_due && store.log.require_own_process().is_ok() {
            self.wake();
        }
    }

    /// Wakes the thread.
    pub(crate) fn wake(&self) {
        // A full channel means that the thread will look anyway.
        let _: Result<(), TrySendError<()>> = self.wake.try_send(());
    }

    /// Waits for the thread to end. The store must be marked as closing before.
    pub(crate) fn stop(&self) {
        self.wake();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    pub(crate) fn failure(&self) -> Option<Arc<Error>> {
        self.backoff.failure.lock().clone()
    }
}

fn run(store: &Store, percent: u8, woken: &Receiver<()>, backoff: &Backoff) {
    let mut futile = 0;
    while woken.recv().is_ok() && store.check_open().is_ok() {
        if is_due(store, percent) && backoff.is_over() {
            backoff.record(store.compact(Some(percent)), &mut futile);
        }
    }
}

/// Whether enough is dead for a compaction to pay.
fn is_due(store: &Store, percent: u8) -> bool {
    let stats = Stats::of_sums(&store.index);
    stats.dead_bytes >= store.options.segment_bytes() && stats.dead_percent() > percent
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

    /// Far more than the test takes: only a hang reaches it.
    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_futile_attempt_is_followed_by_a_pause_that_doubles_until_one_frees_something() {
        let (backoff, mut futile) = (Backoff::new(), 0);
        assert!(backoff.is_over());
        let mut least = PAUSE_MILLIS;
        for n in 0..20 {
            let failed = n % 2 == 0;
            backoff.record(
                if failed { Err(Error::ReadOnly) } else { Ok(Compacted::default()) },
                &mut futile,
            );
            assert!(!backoff.is_over(), "after {n}");
            assert_eq!(backoff.failure.lock().is_some(), failed);
            assert!(backoff.not_before.load(Ordering::Relaxed) >= least);
            least = (least * 2).min(PAUSE_MILLIS << PAUSE_DOUBLINGS_MAX);
        }
        backoff.record(Ok(Compacted { freed_segments: 1, ..Compacted::default() }), &mut futile);
        assert!(backoff.is_over() && futile == 0);
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

//! A thread that compacts a store when enough of it is dead.
//!
//! Who writes something looks at two sums and wakes it; it holds up nobody but by its own appends.
//! After a compaction that failed, or that found nothing to do, it rests, longer each time: what
//! made it fail is likely to be there still, and every try reads and may write.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use crate::kv::store::Store;
use crate::kv::worth::Worth;
use crate::kv::{Compacted, Stats};
use crate::{Error, Result};

/// How long it rests at first, and at most.
const RESTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(64));

/// The thread, as the handle knows it.
#[derive(Debug)]
pub(crate) struct Compactor {
    percent: u8,
    wake: Sender<()>,
    end: Sender<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
    failure: Arc<Mutex<Option<Arc<Error>>>>,
}

impl Compactor {
    pub(crate) fn start(store: &Arc<Store>, percent: u8) -> Result<Compactor> {
        let (wake, woken) = bounded(1);
        let (end, ended) = bounded(1);
        let failure: Arc<Mutex<Option<Arc<Error>>>> = Arc::default();
        let run = {
            let (store, failure) = (Arc::clone(store), Arc::clone(&failure));
            move || run(&store, percent, (&woken, &ended), &failure)
        };
        let thread = std::thread::Builder::new().name("ringwal-compact".to_owned()).spawn(run);
        let thread = thread.map_err(|error| Error::io("start the compactor", ".", error))?;
        Ok(Compactor { percent, wake, end, thread: Mutex::new(Some(thread)), failure })
    }

    pub(crate) fn nudge(&self, store: &Store) {
        if is_due(store, self.percent) {
            // One that is full will look anyway.
            let _: Result<(), TrySendError<()>> = self.wake.try_send(());
        }
    }

    /// Waits for the thread to end, which the store was told to.
    pub(crate) fn stop(&self) {
        let _ = self.end.try_send(());
        let _ = self.wake.try_send(());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    pub(crate) fn failure(&self) -> Option<Arc<Error>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn run(
    store: &Store,
    percent: u8,
    (woken, ended): (&Receiver<()>, &Receiver<()>),
    failure: &Mutex<Option<Arc<Error>>>,
) {
    let mut rest = None;
    while woken.recv().is_ok() && store.check_open().is_ok() {
        if !is_due(store, percent) {
            continue;
        }
        let done = store.compact(Worth::Percent(percent));
        let is_vain = !matches!(&done, Ok(done) if *done != Compacted::default());
        // One that a snapshot keeps from freeing anything has done all the same.
        let is_vain = is_vain && is_due(store, percent);
        let failed = done.err().filter(|error| !matches!(error, Error::Closed));
        *failure.lock().unwrap_or_else(PoisonError::into_inner) = failed.map(Arc::new);
        rest = is_vain.then(|| next_rest(rest));
        if let Some(rest) = rest {
            // Whoever wakes it meanwhile is heard afterwards.
            if ended.recv_timeout(rest) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }
}

/// How long to rest after a try in vain, after which it rested so long the time before.
fn next_rest(before: Option<Duration>) -> Duration {
    before.map_or(RESTS.0, |before| (before * 2).min(RESTS.1))
}

/// Whether so much is dead that a compaction pays.
fn is_due(store: &Store, percent: u8) -> bool {
    let stats = Stats::of_sums(&store.index);
    stats.dead_bytes >= store.options.segment_bytes && stats.dead_percent() > percent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rest_is_twice_the_one_before_up_to_a_bound() {
        let mut rest = None;
        let seconds = std::iter::repeat_with(|| {
            rest = Some(next_rest(rest));
            rest.map_or(0, |rest| rest.as_secs())
        });
        assert_eq!(seconds.take(8).collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32, 64, 64]);
    }
}

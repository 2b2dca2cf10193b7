//! A stop switch that a signal or the first failure turns, and that all threads watch.
//!
//! The first SIGINT, SIGTERM or SIGHUP turns it. A second SIGINT or SIGTERM has its default effect.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender};

/// The switch. Clones share its state.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    shared: Arc<StopState>,
    receiver: Receiver<()>,
}

#[derive(Debug)]
struct StopState {
    stopped: AtomicBool,
    /// The sender is dropped when the switch is turned, which wakes every thread that selects on
    /// the receiver. The text is the reason.
    inner: Mutex<(Option<Sender<()>>, Option<&'static str>)>,
}

impl Stop {
    pub(crate) fn new() -> Stop {
        let (sender, receiver) = crossbeam_channel::bounded(0);
        let inner = Mutex::new((Some(sender), None));
        Stop { shared: Arc::new(StopState { stopped: AtomicBool::new(false), inner }), receiver }
    }

    /// Turns the switch and keeps the first reason. Returns whether this call was the first.
    pub(crate) fn stop(&self, reason: &'static str) -> bool {
        let mut inner = self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let first = inner.0.take().is_some();
        if first {
            inner.1 = Some(reason);
            self.shared.stopped.store(true, Ordering::Release);
        }
        first
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire)
    }

    /// A channel to select on; it disconnects when the switch is turned.
    pub(crate) fn receiver(&self) -> &Receiver<()> {
        &self.receiver
    }

    /// Why the switch was turned.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP turn `stop` for the life of the process. SIGHUP stays ignored
/// if it was ignored at start, as under `nohup`.
#[cfg(unix)]
pub(crate) fn stop_on_signals(stop: &Stop) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let stop = stop.clone();
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    if !crate::util::system::is_ignored(SIGHUP) {
        signals.add_signal(SIGHUP)?;
    }
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let name = match signal {
                SIGINT => "SIGINT",
                SIGHUP => "SIGHUP",
                _ => "SIGTERM",
            };
            // A closing terminal may send SIGHUP more than once.
            if !stop.stop(name) && signal != SIGHUP {
                // This ends the process; nothing else could be tried if it failed.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        }
    })?;
    Ok(())
}

/// On other systems an interrupt ends the process at once, which a log survives.
#[cfg(not(unix))]
pub(crate) fn stop_on_signals(_: &Stop) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_is_kept_and_all_threads_are_woken() {
        let stop = Stop::new();
        let waiting = stop.clone();
        assert!(!waiting.is_stopped());
        let waiter = std::thread::spawn(move || waiting.receiver().recv().is_err());
        assert!(stop.stop("SIGTERM"));
        assert!(!stop.stop("SIGINT"));
        assert!(waiter.join().unwrap());
        assert_eq!((stop.is_stopped(), stop.reason()), (true, Some("SIGTERM")));
    }
}

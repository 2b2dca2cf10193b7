//! Stopping: one switch that a signal or the first failure turns, and that everybody watches.
//!
//! The first SIGINT, SIGTERM or SIGHUP turns it; a second SIGINT or SIGTERM does what the signal
//! does by default.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender};

/// The switch. Clones are the same switch.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    shared: Arc<Shared>,
    receiver: Receiver<()>,
}

#[derive(Debug)]
struct Shared {
    stopped: AtomicBool,
    /// Dropped when it is turned, which is what wakes everybody who selects on the receiver, and
    /// why it was turned.
    inner: Mutex<(Option<Sender<()>>, Option<&'static str>)>,
}

impl Stop {
    pub(crate) fn new() -> Stop {
        let (sender, receiver) = crossbeam_channel::bounded(0);
        let inner = Mutex::new((Some(sender), None));
        Stop { shared: Arc::new(Shared { stopped: AtomicBool::new(false), inner }), receiver }
    }

    /// Turns it. Only the first reason is kept. Returns whether this was the first time.
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

    /// A channel that disconnects when it is turned, to select on.
    pub(crate) fn receiver(&self) -> &Receiver<()> {
        &self.receiver
    }

    /// Why it was turned.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// Lets SIGINT, SIGTERM and SIGHUP turn `stop`, for as long as the process lives. A SIGHUP that was
/// ignored when it started, as `nohup` has it, stays so.
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
            // A terminal that is closed may send its signal more than once.
            if !stop.stop(name) && signal != SIGHUP {
                // It ends the process; if it could not, there would be nothing else to try.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        }
    })?;
    Ok(())
}

/// Elsewhere an interrupt ends the process at once, which a log survives.
#[cfg(not(unix))]
pub(crate) fn stop_on_signals(_: &Stop) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_is_kept_and_everybody_is_woken() {
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

//! The models: locks and threads of a checker, a channel made of them, and the model's time.

#[cfg(ringwal_loom)]
use loom::sync;
#[cfg(ringwal_shuttle)]
use shuttle::sync;

#[cfg(ringwal_loom)]
pub(crate) use loom::{
    sync::{MutexGuard, atomic},
    thread,
};
#[cfg(ringwal_shuttle)]
pub(crate) use shuttle::{
    sync::{MutexGuard, atomic},
    thread,
};

use std::cell::Cell;
use std::sync::{OnceLock, PoisonError};
use std::time::{Duration, Instant};

std::thread_local! {
    /// The model's time in nanoseconds. A checker runs all threads of a model on one thread of the
    /// system, so each model has a time of its own, and schedules are repeatable.
    static NANOS: Cell<u64> = const { Cell::new(0) };
}

/// The time that passes between two looks.
const TICK: Duration = Duration::from_micros(1);

pub(crate) fn now() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    pass(TICK);
    start + Duration::from_nanos(NANOS.get())
}

/// Advances the time.
pub(crate) fn pass(time: Duration) {
    NANOS.set(NANOS.get() + time.as_nanos() as u64);
}

/// Models [`plain::Mutex`](super::plain::Mutex).
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Models [`plain::Condvar`](super::plain::Condvar).
#[derive(Debug, Default)]
pub(crate) struct Condvar(sync::Condvar);

impl Condvar {
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A wait with a timeout: it ends after a while, whether or not the time has passed.
pub(crate) fn doze(timeout: Duration) {
    thread::yield_now();
    if chance() {
        pass(timeout);
    }
}

/// Whether a possible event happens.
#[cfg(ringwal_shuttle)]
pub(crate) fn chance() -> bool {
    shuttle::rand::Rng::gen_bool(&mut shuttle::rand::thread_rng(), 0.5)
}

/// Whether a possible event happens. Loom has no chance, and a wait that may end must end.
#[cfg(ringwal_loom)]
pub(crate) fn chance() -> bool {
    true
}

/// The part of crossbeam's channels that the engine uses. None is bounded: no sender ever waits.
pub(crate) mod channel {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use super::{Condvar, Mutex, MutexGuard};

    #[derive(Debug)]
    struct ChannelState<T> {
        messages: VecDeque<T>,
        has_sender: bool,
        has_receiver: bool,
    }

    #[derive(Debug)]
    struct Channel<T> {
        state: Mutex<ChannelState<T>>,
        changed: Condvar,
    }

    impl<T> Channel<T> {
        fn state(&self) -> MutexGuard<'_, ChannelState<T>> {
            self.state.lock()
        }
    }

    #[derive(Debug)]
    pub(crate) struct Sender<T>(Arc<Channel<T>>);

    #[derive(Debug)]
    pub(crate) struct Receiver<T>(Arc<Channel<T>>);

    pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
        let (has_sender, has_receiver) = (true, true);
        let state =
            Mutex::new(ChannelState { messages: VecDeque::new(), has_sender, has_receiver });
        let channel = Arc::new(Channel { state, changed: Condvar::default() });
        (Sender(Arc::clone(&channel)), Receiver(channel))
    }

    pub(crate) fn bounded<T>(_limit: usize) -> (Sender<T>, Receiver<T>) {
        unbounded()
    }

    impl<T> Sender<T> {
        pub(crate) fn send(&self, message: T) -> Result<(), T> {
            let mut state = self.0.state();
            if !state.has_receiver {
                return Err(message);
            }
            state.messages.push_back(message);
            drop(state);
            self.0.changed.notify_all();
            Ok(())
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.0.state().has_sender = false;
            self.0.changed.notify_all();
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn try_recv(&self) -> Result<T, ()> {
            self.0.state().messages.pop_front().ok_or(())
        }

        pub(crate) fn recv(&self) -> Result<T, ()> {
            let mut state = self.0.state();
            loop {
                match state.messages.pop_front() {
                    Some(message) => return Ok(message),
                    None if !state.has_sender => return Err(()),
                    None => {
                        let changed = &self.0.changed;
                        state = changed.wait(state);
                    }
                }
            }
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.0.state().messages.is_empty()
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            let mut state = self.0.state();
            state.has_receiver = false;
            // Drop the messages too: a message may hold the sender of an answer, whose receiver
            // then learns that no answer comes.
            let messages = std::mem::take(&mut state.messages);
            drop(state);
            drop(messages);
        }
    }
}

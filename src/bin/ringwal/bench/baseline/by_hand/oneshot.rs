//! A value that is sent once, from one thread to another or to a task.

use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Gives the value. Dropped without one, it tells the receiver so.
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// Gets the value, or `None` if the sender was dropped: as a future, or blocking.
pub(crate) struct Receiver<T>(Arc<Shared<T>>);

struct Shared<T> {
    slot: Mutex<Slot<T>>,
    sent: Condvar,
}

struct Slot<T> {
    value: Option<T>,
    is_over: bool,
    waker: Option<Waker>,
}

pub(crate) fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Mutex::new(Slot { value: None, is_over: false, waker: None });
    let shared = Arc::new(Shared { slot, sent: Condvar::new() });
    (Sender(shared.clone()), Receiver(shared))
}

impl<T> Shared<T> {
    fn slot(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Sender<T> {
    pub(crate) fn send(self, value: T) {
        self.0.slot().value = Some(value);
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut slot = self.0.slot();
        slot.is_over = true;
        let waker = slot.waker.take();
        drop(slot);
        self.0.sent.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    pub(crate) fn wait(self) -> Option<T> {
        let mut slot = self.0.slot();
        while !slot.is_over {
            slot = self.0.sent.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
        slot.value.take()
    }
}

impl<T> Future for Receiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = self.0.slot();
        if slot.is_over {
            return Poll::Ready(slot.value.take());
        }
        match &mut slot.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => slot.waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_arrives_and_a_dropped_sender_is_told() {
        let (sender, receiver) = oneshot();
        std::thread::scope(|scope| {
            scope.spawn(|| sender.send(7));
            assert_eq!(receiver.wait(), Some(7));
        });
        let (sender, receiver) = oneshot::<u8>();
        drop(sender);
        assert_eq!(receiver.wait(), None);
    }

    #[test]
    fn a_future_is_ready_once_it_was_sent() {
        let (sender, mut receiver) = oneshot();
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(Pin::new(&mut receiver).poll(&mut context), Poll::Pending);
        sender.send(7);
        assert_eq!(Pin::new(&mut receiver).poll(&mut context), Poll::Ready(Some(7)));
    }
}

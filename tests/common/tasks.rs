//! A small executor for tests: one thread, which sleeps until a task is woken.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        thread::park();
    }
}

/// A task, and its result.
type Task<F> = (Pin<Box<F>>, Option<<F as Future>::Output>);

/// Runs all of them on this thread, by turns.
pub(crate) fn run_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut tasks: Vec<Task<F>> =
        futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    block_on(std::future::poll_fn(|context| {
        let mut left = 0;
        for (task, done) in tasks.iter_mut().filter(|(_, done)| done.is_none()) {
            match task.as_mut().poll(context) {
                Poll::Ready(output) => *done = Some(output),
                Poll::Pending => left += 1,
            }
        }
        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
    }));
    tasks.into_iter().filter_map(|(_, done)| done).collect()
}

/// Polls a future so many times, whether or not it was woken, and drops it.
pub(crate) fn poll_and_drop(future: impl Future, polls: usize) {
    let mut future = pin!(future);
    for _ in 0..polls {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
    }
}

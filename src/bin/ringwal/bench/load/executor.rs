//! A small executor for tasks: a few threads, one queue of those that are ready.
//!
//! ```text
//! wake ─ in the queue already? ── no: behind the others ─ a worker takes it ─ poll ─ ready: over
//!              └ yes: nothing                                └ pending: until it is woken
//! ```
//!
//! 1. A task is in the queue at most once. A wake during its poll queues it again.
//! 2. It is polled by one worker at a time.
//! 3. A wake allocates nothing, except as the queue grows.
//! 4. A task that panics is dropped; the others go on.
//!
//! Both the log and the log by hand run on it, so its cost is in both.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::output::exit::Failure;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The threads and their queue.
pub(crate) struct Executor {
    queue: Sender<Next>,
    workers: Vec<JoinHandle<()>>,
}

enum Next {
    Poll(Arc<Task>),
    End,
}

struct Task {
    /// `None` once it is over.
    job: Mutex<Option<Job>>,
    is_queued: AtomicBool,
    queue: Sender<Next>,
}

impl Executor {
    pub(crate) fn start(workers: usize) -> Result<Executor, Failure> {
        let (queue, ready) = unbounded();
        let mut executor = Executor { queue, workers: Vec::with_capacity(workers) };
        for number in 0..workers {
            let ready = ready.clone();
            let worker = thread::Builder::new().name(format!("tasks-{number}"));
            let worker = worker.spawn(move || work(&ready));
            let worker = worker.map_err(|error| Failure::Setup("thread for tasks", error))?;
            executor.workers.push(worker);
        }
        Ok(executor)
    }

    /// Runs a task.
    pub(crate) fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        let job: Job = Box::pin(job);
        let (job, is_queued) = (Mutex::new(Some(job)), AtomicBool::new(false));
        Arc::new(Task { job, is_queued, queue: self.queue.clone() }).wake();
    }
}

impl Drop for Executor {
    /// Ends the threads; tasks that are not over are left as they are.
    fn drop(&mut self) {
        for _ in &self.workers {
            // Fails only if all workers are gone.
            let _ = self.queue.send(Next::End);
        }
        for worker in self.workers.drain(..) {
            // It catches the panics of its tasks.
            let _ended = worker.join();
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            let queue = self.queue.clone();
            // Fails only if all workers are gone.
            let _ = queue.send(Next::Poll(self));
        }
    }
}

fn work(ready: &Receiver<Next>) {
    while let Ok(Next::Poll(task)) = ready.recv() {
        // Before the poll, or a wake during it would be lost.
        task.is_queued.store(false, Ordering::Release);
        let waker = Waker::from(task.clone());
        let mut job = task.job.lock().unwrap_or_else(PoisonError::into_inner);
        let poll = || job.as_mut().map(|job| job.as_mut().poll(&mut Context::from_waker(&waker)));
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Some(Poll::Pending) | None) => {}
            // A task that panicked is dropped, and what it should have sent is missing.
            Ok(Some(Poll::Ready(()))) | Err(_) => *job = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::AtomicU64;

    /// Pending so many times, and woken by another thread at once.
    struct Woken(u32);

    impl Future for Woken {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            if self.0 == 0 {
                return Poll::Ready(());
            }
            self.0 -= 1;
            let waker = context.waker().clone();
            match self.0 % 2 {
                0 => waker.wake(),
                _ => drop(thread::spawn(move || waker.wake())),
            }
            Poll::Pending
        }
    }

    #[test]
    fn every_task_runs_to_its_end_however_it_is_woken() {
        const TASKS: u64 = 200;
        for workers in [1, 3] {
            let executor = Executor::start(workers).unwrap();
            let (over, ended) = unbounded();
            let sum = Arc::new(AtomicU64::new(0));
            for task in 0..TASKS {
                let (over, sum) = (over.clone(), sum.clone());
                executor.spawn(async move {
                    Woken(4).await;
                    sum.fetch_add(task, Ordering::Relaxed);
                    let _ = over.send(());
                });
            }
            assert_eq!(ended.iter().take(TASKS as usize).count() as u64, TASKS);
            assert_eq!(sum.load(Ordering::Relaxed), TASKS * (TASKS - 1) / 2, "{workers} workers");
        }
    }

    #[test]
    fn a_task_that_panics_is_dropped_and_the_others_go_on() {
        let executor = Executor::start(1).unwrap();
        let (over, ended) = unbounded();
        for task in 0..3 {
            let over = over.clone();
            executor.spawn(async move {
                assert!(task != 1, "as it should");
                let _ = over.send(task);
            });
        }
        drop(over);
        assert_eq!(ended.iter().collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn a_task_that_never_ends_does_not_keep_the_threads() {
        let executor = Executor::start(2).unwrap();
        executor.spawn(std::future::pending());
        let ended = executor.workers.len();
        drop(executor);
        assert_eq!(ended, 2);
    }
}

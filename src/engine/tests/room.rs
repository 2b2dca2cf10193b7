//! Waiting for room, as a task.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::engine::Log;
use crate::error::Error;
use crate::io::SimDisk;

struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>, task: &Arc<Task>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(task))))
}

#[test]
fn a_future_that_is_dropped_leaves_no_waker_behind() {
    let log = Log::builder("log").open_stepped(&SimDisk::new(1), &mut |_| Ok(())).unwrap();
    // Nobody has prepared a segment yet, and nobody will.
    assert!(matches!(log.try_submit("one"), Err(Error::QueueFull)));
    let tasks = [(); 3].map(|()| Arc::new(Task));
    let count = || tasks.each_ref().map(Arc::strong_count);
    // The first in the line: nobody who leaves makes it its turn.
    let mut kept = pin!(log.append_async("two"));
    assert!(poll(kept.as_mut(), &tasks[2]).is_pending());
    {
        let (mut one, mut two) = (pin!(log.reserve(1)), pin!(log.append_async("three")));
        assert!(poll(one.as_mut(), &tasks[0]).is_pending());
        assert!(poll(one.as_mut(), &tasks[0]).is_pending());
        assert!(poll(two.as_mut(), &tasks[1]).is_pending());
        assert_eq!(count(), [2, 2, 2]);
    }
    assert_eq!(count(), [1, 1, 2]);
}

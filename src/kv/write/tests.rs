//! Writes of tasks, beside threads, with next to no room, and dropped at every stage.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use super::*;
use crate::engine::tests::{QueueFault, open_faulty};
use crate::kv::{DataWal, WriteBatch};
use crate::wakers::{block_on, poll_once};
use crate::{BackendKind, Error};

/// What one permit takes of a narrow store, which has no more.
const ALL_ROOM: usize = 3500;

/// A store with room for one block in its queue.
fn narrow(dir: &Path, backend: BackendKind) -> DataWal {
    let builder = DataWal::builder(dir).backend(backend).segment_bytes(64 << 10);
    builder
        .open_by(|engine, replay| engine.batch_bytes(4096).queue_bytes(4096).open_replaying(replay))
        .unwrap()
}

fn on_backends(run: impl Fn(&dyn Fn() -> DataWal)) {
    for backend in [BackendKind::Std, BackendKind::Auto] {
        let dir = tempfile::tempdir().unwrap();
        run(&|| narrow(&dir.path().join("store"), backend));
    }
}

fn number(store: &DataWal, key: &str) -> Option<u32> {
    let value = store.get(key).unwrap()?;
    Some(String::from_utf8(value).unwrap().parse().unwrap())
}

/// A task, and its result.
type Task<F> = (Pin<Box<F>>, Option<<F as Future>::Output>);

/// All of these on one thread; each is polled whenever one of them is woken.
async fn all<F: Future>(tasks: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut tasks: Vec<Task<F>> = tasks.into_iter().map(|task| (Box::pin(task), None)).collect();
    poll_fn(|context| {
        for (task, done) in tasks.iter_mut().filter(|(_, done)| done.is_none()) {
            if let Poll::Ready(output) = task.as_mut().poll(context) {
                *done = Some(output);
            }
        }
        match tasks.iter().all(|(_, done)| done.is_some()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    tasks.into_iter().filter_map(|(_, done)| done).collect()
}

#[test]
fn many_tasks_on_one_thread_with_next_to_no_room_get_on_beside_threads_and_compaction() {
    on_backends(|open| {
        let store = open();
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let store = &store;
                scope.spawn(move || {
                    for n in 0..60_u32 {
                        store.put(format!("thread {thread} {}", n % 7), n.to_string()).unwrap();
                    }
                });
            }
            let compacting = scope.spawn(|| store.compact().unwrap());
            block_on(all((0..200_u32).map(|task| {
                let store = &store;
                async move {
                    let key = format!("task {}", task % 40);
                    for n in 0..3_u32 {
                        store.put_async(&key, format!("{:0900}", task * 10 + n)).await.unwrap();
                        // Others delete the last key meanwhile.
                        let is_there = number(store, &key).is_some();
                        assert!(is_there || task % 40 == 39, "a task reads what it wrote");
                    }
                    if task % 40 == 39 {
                        assert!(store.at(Durability::Synced).delete_async(&key).await.is_ok());
                    }
                }
            })));
            compacting.join().unwrap();
        });
        let items = store.items().unwrap();
        assert!(items.len() >= 39 + 14);
        for thread in 0..2 {
            assert_eq!(number(&store, &format!("thread {thread} 3")), Some(59));
        }
        store.close().unwrap();
        assert_eq!(open().items().unwrap(), items);
    });
}

#[test]
fn nobody_waits_for_a_task_that_waits_for_room() {
    on_backends(|open| {
        let store = open();
        let permit = block_on(store.store().log.reserve(ALL_ROOM)).unwrap();
        let mut first = Box::pin(store.put_async("k", "1"));
        assert!(poll_once(&mut first).is_pending());
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| store.put("k", "2"));
            let compacting = scope.spawn(|| store.compact());
            let mut third = Box::pin(store.delete_async("k"));
            // Nothing is there to be deleted.
            assert!(!block_on(&mut third).unwrap());
            let mut fourth = Box::pin(store.put_async("l", "4"));
            assert!(poll_once(&mut fourth).is_pending());
            assert_eq!(store.snapshot().unwrap().len(), 0);
            assert_eq!(store.get("k").unwrap(), None);
            let mut batch = WriteBatch::new();
            batch.put("m", "5").unwrap().put("n", "5").unwrap();
            let mut fifth = Box::pin(store.write_async(&batch));
            assert!(poll_once(&mut fifth).is_pending());

            drop(first);
            drop(permit);
            block_on(all([fourth])).remove(0).unwrap();
            block_on(fifth).unwrap();
            thread.join().unwrap().unwrap();
            compacting.join().unwrap().unwrap();
        });
        assert_eq!(number(&store, "k"), Some(2), "what was dropped while it waited is not there");
        assert_eq!((number(&store, "l"), number(&store, "n")), (Some(4), Some(5)));
    });
}

#[test]
fn a_record_whose_future_is_dropped_is_shown_to_readers_all_the_same() {
    for backend in [BackendKind::Std, BackendKind::Auto] {
        let dir = tempfile::tempdir().unwrap();
        // With room, so that a record is on its way after one poll.
        let open = || DataWal::builder(dir.path()).backend(backend).open().unwrap();
        let store = open();
        // From here on there is a segment.
        store.put("first", "0").unwrap();
        store.delete("first").unwrap();
        for level in [Durability::Written, Durability::Synced] {
            let at = store.at(level);
            let _ = poll_once(&mut Box::pin(at.put_async("k", "1")));
            // The snapshot waits for the record, and not for the future.
            let snapshot = store.snapshot().unwrap();
            assert_eq!(snapshot.keys().unwrap(), [b"k"]);
            assert_eq!(number(&store, "k"), Some(1));
            let mut batch = WriteBatch::new();
            batch.put("l", "2").unwrap().delete("k").unwrap();
            let _ = poll_once(&mut Box::pin(at.write_async(&batch)));
            assert_eq!(store.snapshot().unwrap().len(), 1);
            let _ = poll_once(&mut Box::pin(at.delete_async("l")));
            assert_eq!(store.snapshot().unwrap().len(), 0);
            drop(at.put_async("never", "polled"));
        }
        let _ = poll_once(&mut Box::pin(store.put_async("last", "3")));
        store.close().unwrap();
        drop(store);
        let store = open();
        assert_eq!((number(&store, "last"), store.len().unwrap()), (Some(3), 1));
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_task_that_meets_a_snapshot_is_woken_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = narrow(dir.path(), BackendKind::Std);
    let stopped = store.store().writing.stop(&store.store().log);
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut context = Context::from_waker(&waker);
    let mut put = Box::pin(store.put_async("k", "1"));
    let mut dropped = Box::pin(store.put_async("k", "2"));
    assert!(put.as_mut().poll(&mut context).is_pending());
    assert!(dropped.as_mut().poll(&mut context).is_pending());
    drop(dropped);
    assert!(!flag.0.load(Ordering::Acquire));
    drop(stopped);
    assert!(flag.0.load(Ordering::Acquire));
    block_on(put).unwrap();
    assert_eq!(number(&store, "k"), Some(1));
}

#[test]
fn a_log_that_fails_fails_its_tasks_and_forgets_their_records() {
    for drops in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let fault = Arc::new(Mutex::new(None));
        let store = DataWal::builder(dir.path())
            .backend(BackendKind::Std)
            .open_by(|engine, _| Ok(open_faulty(dir.path(), engine, &fault)?.0))
            .unwrap();
        block_on(store.put_async("first", "0")).unwrap();
        let (kind, nth, error) = ("write", 0, io::ErrorKind::Other);
        *fault.lock() = Some(QueueFault { kind, nth, error, for_good: true });
        let puts = ["k", "l"].map(|key| store.put_async(key, "1"));
        if drops {
            for put in puts {
                let _ = poll_once(&mut Box::pin(put));
            }
        } else {
            for failed in block_on(all(puts)) {
                assert!(matches!(failed, Err(Error::Poisoned(_))), "{failed:?}");
            }
        }
        // Nobody is waited for who is gone.
        drop(store.store().writing.stop(&store.store().log));
        assert!(store.store().log.flush().is_err());
        assert!(matches!(store.snapshot(), Err(Error::Poisoned(_))));
        assert!(matches!(block_on(store.put_async("k", "2")), Err(Error::Poisoned(_))));
        assert!(matches!(block_on(store.fsync_async()), Err(Error::Poisoned(_))));
        let hash = store.store().index.hash(b"k");
        assert_eq!(store.store().index.lock_shards([hash]).newest(hash), Newest::Absent);
    }
}

#[test]
fn a_waker_that_takes_a_snapshot_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = narrow(dir.path(), BackendKind::Std);
    let (sender, told) = std::sync::mpsc::channel();
    let store = Arc::new(store);
    let other = Arc::clone(&store);
    let commit = store.store().log.submit(record_of("k")).unwrap();
    commit.on_done(move |_| sender.send(matches!(other.snapshot(), Err(Error::InWaker))).unwrap());
    assert!(told.recv().unwrap());
}

fn record_of(key: &str) -> Vec<u8> {
    crate::kv::record::encode(key.as_bytes(), Some(b"v")).unwrap()
}

//! A process that forks: its child has the log, but not its threads, and must not use it.
//!
//! One test in a program of its own, so that the fork copies as little as possible.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "the helpers of a test file are tests")]
#![allow(unsafe_code, reason = "the standard library cannot fork")]

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ringwal::kv::DataWal;
use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
use ringwal::{BackendKind, Durability, Error, Log};

/// Far more than any case takes: only a child that hangs reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `child` in a child process, where it returns whether all checks passed. It must return.
#[track_caller]
fn in_a_child(child: impl FnOnce() -> bool) {
    // SAFETY: the child runs no code of the test runner, and ends itself below. Allocating in it
    // is allowed by the C libraries that this runs on, and no thread that could hold a lock of a
    // log is at work meanwhile.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(false);
        // SAFETY: it ends this process at once, and runs no code of the parent.
        unsafe { libc::_exit(if held { 0 } else { 1 }) };
    }
    let (start, mut status) = (Instant::now(), 0);
    // SAFETY: the child is ours, and `status` is a local.
    while unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == 0 {
        if start.elapsed() > PATIENCE {
            // SAFETY: the child is ours and was not waited for.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        std::thread::yield_now();
    }
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "child: {status:#x}");
}

fn is_forked<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Forked { .. }))
}

fn a_child_leaves_a_log_alone(dir: &Path, backend: BackendKind) {
    let mut log = Some(Log::builder(dir).backend(backend).open().unwrap());
    let parent = log.clone().unwrap();
    parent.append("one").unwrap();
    in_a_child(|| {
        // The only handle that this process uses from here on.
        std::mem::forget(parent.clone());
        let log = log.take().unwrap();
        let refused = is_forked(log.append("of the child"))
            && is_forked(log.try_submit("of the child"))
            && is_forked(log.flush())
            && is_forked(log.rotate())
            && is_forked(log.truncate_before(log.durable_seq()))
            && is_forked(log.truncate_after(log.durable_seq()))
            && is_forked(log.checkpoint(log.durable_seq(), b"note"))
            && is_forked(log.close());
        drop(log);
        refused
    });
    drop(log);
    assert_eq!(parent.append("two").unwrap().get(), 2);
    let is_locked =
        || matches!(Log::builder(dir).backend(backend).open(), Err(Error::Locked { .. }));
    assert!(is_locked(), "the child has not taken the lock along");
    std::fs::remove_file(dir.join("lock")).unwrap();
    assert!(is_locked(), "nor that of the state");
    in_a_child(is_locked);
    parent.close().unwrap();
    // The last handle of all is dropped in the child.
    let mut last = Some(Log::builder(dir).backend(backend).open().unwrap());
    in_a_child(|| {
        drop(last.take());
        // A log that the child opens is its own; the parent still has the lock of this one.
        matches!(Log::builder(dir).backend(backend).open(), Err(Error::Locked { .. }))
    });
    let log = last.unwrap();
    let records: Vec<_> = log.reader().unwrap().map(|record| record.unwrap()).collect();
    assert_eq!(records.len(), 2);
    assert_eq!((records[0].data(), records[1].data()), (&b"one"[..], &b"two"[..]));
}

/// The result of a future that does not wait.
fn polled<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

type Put = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

/// A put that was polled once.
fn begun_put(store: Arc<DataWal>) -> Put {
    let mut put: Put =
        Box::pin(async move { store.at(Durability::Synced).put_async("plum", "blue").await });
    let _ = put.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    put
}

fn a_child_leaves_events_and_keys_alone(dir: &Path) {
    let event = SignalEvent { entity_id: 1, signal_type: 2, weight: 0.5, timestamp_nanos: 3 };
    let config = WalConfig { dir: dir.join("events"), ..WalConfig::default() };
    let (wal, _, _) = WalHandle::open(config).unwrap();
    assert_eq!(wal.append(event).unwrap(), 1);
    // The log has a thread, which the child does not have.
    let store = DataWal::builder(dir.join("store")).compact_above_percent(Some(50)).open().unwrap();
    store.put("apple", "green").unwrap();
    let mut wal = Some(wal);
    let mut snapshot = Some(store.snapshot().unwrap());
    // A future that is under way.
    let shared = Arc::new(store);
    let mut store = Some(Arc::clone(&shared));
    let mut under_way = Some(begun_put(shared));
    in_a_child(|| {
        let put = under_way.take().unwrap();
        let (wal, store) = (wal.take().unwrap(), store.take().unwrap());
        drop(snapshot.take());
        let other = SignalEvent { entity_id: 2, ..event };
        let refused = is_forked(wal.append(other))
            && is_forked(store.put("pear", "yellow"))
            && is_forked(polled(store.put_async("pear", "yellow")))
            && is_forked(polled(store.delete_async("pear")))
            && is_forked(polled(store.fsync_async()))
            && is_forked(polled(wal.append_async(other)))
            && is_forked(polled(wal.append_batch_async(&[other])))
            && is_forked(wal.try_submit(other))
            && is_forked(polled(put))
            && is_forked(store.get("apple"))
            && is_forked(store.delete("pear"))
            && is_forked(store.contains_key("apple"))
            && is_forked(store.len())
            && is_forked(store.snapshot())
            && is_forked(store.compact())
            && is_forked(store.fsync())
            && is_forked(store.close());
        drop((wal, store));
        refused
    });
    let (wal, store) = (wal.unwrap(), store.unwrap());
    assert_eq!(wal.append(SignalEvent { entity_id: 3, ..event }).unwrap(), 2);
    store.put("pear", "green").unwrap();
    assert_eq!(store.get("pear").unwrap().as_deref(), Some(&b"green"[..]));
    store.close().unwrap();
    wal.shutdown().unwrap();
}

/// A thread still waits for a ticket when the process forks.
fn a_child_is_told_of_a_ticket_that_is_under_way(dir: &Path, backend: BackendKind) {
    // No thread submits the batch before its delay for others ends.
    let delay = Duration::from_secs(1);
    let log = Log::builder(dir).backend(backend).batch_delay(delay).open().unwrap();
    let done = log.submit("done").unwrap();
    log.flush().unwrap();
    let mut commit = log.submit("one").unwrap();
    let waker = Waker::noop();
    let mut context = Context::from_waker(waker);
    let entered = Pin::new(&mut commit).poll(&mut context);
    assert!(entered.is_pending(), "{entered:?}");
    let mut permits = Vec::new();
    let ready = loop {
        let mut reserve = Box::pin(log.reserve(10));
        match reserve.as_mut().poll(&mut context) {
            Poll::Ready(permit) => permits.push(permit.unwrap()),
            Poll::Pending => break reserve,
        }
    };
    let mut taken = Some((commit, ready));
    in_a_child(|| {
        let (mut commit, mut ready) = taken.take().unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let polled = Pin::new(&mut commit).poll(&mut context);
        // Only a machine that needed a second to get here is too late for the rest.
        let told = commit.is_done()
            || is_forked(commit.wait())
                && is_forked(commit.wait_timeout(Duration::from_millis(1)))
                && matches!(polled, Poll::Ready(Err(Error::Forked { .. })))
                && commit.wait().unwrap_err().to_string().contains(dir.to_str().unwrap())
                && ready.as_mut().poll(&mut context).is_ready();
        let done = done.wait().is_ok();
        drop((commit, ready));
        told && done
    });
    let (commit, _) = taken.unwrap();
    drop(permits);
    log.flush().unwrap();
    assert_eq!(commit.wait().unwrap().get(), 2);
    log.close().unwrap();
}

/// With the crate datawal, a child may use an inherited log beside its parent, and both write to
/// one file. Here an inherited log refuses to work in the child; one that it opens itself works.
#[cfg(feature = "datawal")]
fn a_child_opens_records_of_its_own(dir: &Path) {
    use ringwal::datawal::{DataWal, RecordLog};

    fn is_forked<T>(result: anyhow::Result<T>) -> bool {
        let cause = result.err().and_then(|error| error.downcast::<Error>().ok());
        matches!(cause, Some(Error::Forked { .. }))
    }
    fn lives(dir: &Path) -> anyhow::Result<bool> {
        let mut log = RecordLog::open(&dir.join("log"))?;
        log.append(b"of the child")?;
        log.fsync()?;
        log.rotate()?;
        let found = log.scan()?.len();
        log.close()?;
        let mut store = DataWal::open(&dir.join("store"))?;
        store.put(b"k", b"v")?;
        store.fsync()?;
        Ok(found == 1 && store.get(b"k")?.as_deref() == Some(b"v"))
    }
    let mut store = DataWal::open(&dir.join("parent")).unwrap();
    store.put(b"k", b"v").unwrap();
    let mut inherited = Some(store);
    in_a_child(|| {
        let Some(mut store) = inherited.take() else { return false };
        let refused = is_forked(store.put(b"of", b"the child"))
            && is_forked(store.fsync())
            && is_forked(store.delete(b"k"))
            && !store.log().is_poisoned()
            && store.keys() == [b"k"];
        // When the child ends, the parent's log stays intact.
        drop(store);
        refused && lives(&dir.join("child")).unwrap_or_default()
    });
    let mut store = inherited.unwrap();
    store.put(b"more", b"of the parent").unwrap();
    store.fsync().unwrap();
    assert_eq!(store.len(), 2);
    drop(store);
    // A child can open a log that the parent has closed, despite the handle it inherited.
    in_a_child(|| {
        let mut store = DataWal::open(&dir.join("parent")).ok();
        store.as_mut().is_some_and(|store| store.len() == 2 && store.put(b"k", b"new").is_ok())
    });
    let mut store = DataWal::open(&dir.join("parent")).unwrap();
    assert_eq!(store.get(b"k").unwrap().as_deref(), Some(&b"new"[..]));
}

#[test]
fn a_child_process_leaves_the_logs_of_its_parent_alone() {
    for backend in [BackendKind::Std, BackendKind::Auto] {
        let dir = tempfile::tempdir().unwrap();
        a_child_leaves_a_log_alone(dir.path(), backend);
        let dir = tempfile::tempdir().unwrap();
        a_child_is_told_of_a_ticket_that_is_under_way(dir.path(), backend);
    }
    let dir = tempfile::tempdir().unwrap();
    a_child_leaves_events_and_keys_alone(dir.path());
    #[cfg(feature = "datawal")]
    a_child_opens_records_of_its_own(&dir.path().join("datawal"));
}

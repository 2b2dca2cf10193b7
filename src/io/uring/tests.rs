//! Failures that only a ring has, and refusals of a ring.

use std::sync::Arc;

use super::ring::EnterFault;
use super::*;
use crate::buf::AlignedBuf;
use crate::io::refuse::{REFUSE, RefuseAt};
use crate::io::{Backend, BackendKind, QueueOptions, StdStorage, Strategy, open_queue};

/// A queue with one open file; `None`, with a note, if this machine has no io_uring.
fn queue(depth: usize) -> Option<(tempfile::TempDir, UringQueue)> {
    let dir = tempfile::tempdir().unwrap();
    let storage = Arc::new(StdStorage::new(dir.path()));
    let made = UringQueue::new(storage, depth, false).map_err(|refused| format!("{refused:?}"));
    let works = made.and_then(|mut queue| {
        let entered = queue.wait(Some(Duration::ZERO), &mut Vec::new());
        entered.map(|()| queue).map_err(|error| error.to_string())
    });
    match works {
        Ok(mut queue) => {
            let file = File::create(dir.path().join("a.seg")).unwrap();
            queue.adopt(1, "a.seg", file);
            Some((dir, queue))
        }
        Err(why) => {
            let name = std::thread::current().name().unwrap_or("?").to_owned();
            println!("SKIPPED {name}: {why}");
            None
        }
    }
}

fn write(queue: &mut UringQueue, token: u64, sync: Option<Strategy>) {
    let mut buf = AlignedBuf::zeroed(4096);
    buf.fill(token as u8);
    queue.submit(token, Op::Write { file: 1, offset: token * 4096, buf, len: 4096, sync });
}

fn wait_for(queue: &mut UringQueue, count: usize) -> Vec<Completion> {
    let mut done = Vec::new();
    while done.len() < count {
        queue.wait(None, &mut done).unwrap();
    }
    done
}

#[test]
fn a_cut_chain_ends_the_queue_and_is_never_acknowledged() {
    let Some((_dir, mut queue)) = queue(4) else { return };
    write(&mut queue, 1, Some(Strategy::LinkedFsync));
    wait_for(&mut queue, 1);
    // The same enter may renew the standing read. So submit a chain and a half, or the read, a
    // chain and a half.
    for token in 2..5 {
        write(&mut queue, token, Some(Strategy::LinkedFsync));
    }
    let renewed = queue.wake_buf.is_none() as u32;
    queue.ring.fault = Some(EnterFault::Submit(3 + renewed));
    let mut done = Vec::new();
    let error = loop {
        if let Err(error) = queue.wait(None, &mut done) {
            break error;
        }
    };
    assert!(error.to_string().contains("only a part"), "{error}");
    assert!(done.iter().all(|completion| completion.token == 2));
    assert!(matches!(queue.wait(None, &mut done), Err(Error::Poisoned(_))));
    drop(queue);
}

#[test]
fn the_sync_behind_a_failed_write_never_runs() {
    let Some((_dir, mut queue)) = queue(4) else { return };
    queue.ring.skips_success = false;
    let read_only = File::open(queue.storage.dir().join("a.seg")).unwrap();
    queue.adopt(1, "a.seg", read_only);
    write(&mut queue, 1, Some(Strategy::LinkedFsync));
    queue.push_backlog();
    let mut results = Vec::new();
    while results.len() < 2 {
        queue.enter(true, 1, None).unwrap();
        let mut reaped = Vec::new();
        queue.ring.reap(&mut reaped);
        results.extend(reaped.into_iter().filter(|(data, _)| *data != WAKE));
    }
    let result_of = |wanted| {
        let of = |(data, _): &&(u64, i32)| op::parse_user_data(*data).2 == wanted;
        results.iter().find(of).unwrap().1
    };
    assert_eq!(result_of(op::ChainPart::Write), -libc::EBADF);
    assert_eq!(result_of(op::ChainPart::Sync), -libc::ECANCELED);
    queue.reaped = results;
    queue.reap(&mut Vec::new());
    assert_eq!(queue.in_flight(), 0);
}

#[test]
fn a_short_submit_between_chains_only_delays_the_rest() {
    let Some((_dir, mut queue)) = queue(4) else { return };
    write(&mut queue, 1, Some(Strategy::LinkedFsync));
    wait_for(&mut queue, 1);
    for token in 2..5 {
        write(&mut queue, token, Some(Strategy::LinkedFsync));
    }
    let renewed = queue.wake_buf.is_none() as u32;
    queue.ring.fault = Some(EnterFault::Submit(2 + renewed));
    for completion in wait_for(&mut queue, 3) {
        completion.result.unwrap();
    }
}

#[test]
fn a_busy_kernel_is_tried_again_and_nothing_is_lost() {
    for errno in [libc::EAGAIN, libc::EBUSY, libc::EINTR] {
        let Some((_dir, mut queue)) = queue(2) else { return };
        for strategy in Strategy::ALL {
            queue.ring.fault = Some(EnterFault::Errno(errno, 5));
            write(&mut queue, 1, Some(strategy));
            write(&mut queue, 2, Some(strategy));
            for completion in wait_for(&mut queue, 2) {
                completion.result.unwrap();
            }
        }
    }
}

#[test]
fn an_enter_that_fails_for_good_ends_the_queue_with_the_errno() {
    let Some((dir, mut queue)) = queue(2) else { return };
    write(&mut queue, 1, Some(Strategy::LinkedFsync));
    queue.ring.fault = Some(EnterFault::Errno(libc::EBADR, 1));
    match queue.wait(None, &mut Vec::new()) {
        Err(Error::Io { op, source, path }) => {
            assert_eq!((op, source.raw_os_error()), ("io_uring_enter", Some(libc::EBADR)));
            assert_eq!(path, dir.path());
        }
        other => panic!("{other:?}"),
    }
    assert!(queue.wait(None, &mut Vec::new()).is_err());
}

#[test]
fn a_kernel_that_stays_busy_ends_the_queue() {
    let Some((_dir, mut queue)) = queue(2) else { return };
    queue.ring.fault = Some(EnterFault::Errno(libc::EAGAIN, u32::MAX));
    match queue.wait(None, &mut Vec::new()) {
        Err(Error::Io { source, .. }) => {
            assert_eq!(source.raw_os_error(), Some(libc::EAGAIN));
        }
        other => panic!("{other:?}"),
    }
    queue.ring.fault = None;
}

#[test]
fn dropping_a_failed_queue_leaks_what_may_never_complete_instead_of_waiting_for_ever() {
    let Some((_dir, mut queue)) = queue(2) else { return };
    write(&mut queue, 1, Some(Strategy::LinkedFsync));
    // As if the completion had been lost.
    for (_, op) in &mut queue.ops {
        op.handed = true;
    }
    queue.failure = Some(Arc::new(Error::Closed));
    drop(queue);
}

#[test]
fn a_late_completion_of_an_earlier_operation_is_not_taken_for_the_current_one() {
    let Some((_dir, mut queue)) = queue(2) else { return };
    write(&mut queue, 1, Some(Strategy::LinkedFsync));
    let generation = queue.generation;
    wait_for(&mut queue, 1);
    write(&mut queue, 2, Some(Strategy::LinkedFsync));
    // The same slot, in another generation.
    assert_eq!(queue.ops.iter().map(|(key, _)| key).collect::<Vec<_>>(), [0]);
    queue.reaped.push((op::user_data(0, generation, op::ChainPart::Sync), 0));
    let mut done = Vec::new();
    queue.reap(&mut done);
    assert!(done.is_empty());
    assert_eq!(wait_for(&mut queue, 1)[0].token, 2);
}

#[test]
fn without_skipped_completions_a_chain_waits_for_both() {
    let Some((_dir, mut queue)) = queue(4) else { return };
    queue.ring.skips_success = false;
    for token in 1..9 {
        write(&mut queue, token, Some(Strategy::LinkedFsync));
    }
    let done = wait_for(&mut queue, 8);
    assert_eq!(done.len(), 8);
    assert!(done.iter().all(|completion| completion.result.is_ok()));
    assert_eq!(queue.in_flight(), 0);

    // And the result is the failure of the write, not the cancelled sync.
    let read_only = File::open(queue.storage.dir().join("a.seg")).unwrap();
    for skips_success in [false, true] {
        queue.ring.skips_success = skips_success;
        queue.adopt(1, "a.seg", read_only.try_clone().unwrap());
        write(&mut queue, 1, Some(Strategy::LinkedFsync));
        match wait_for(&mut queue, 1).remove(0).result {
            Err(Error::Io { op: "write", source, .. }) => {
                assert_eq!(source.raw_os_error(), Some(libc::EBADF));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(queue.in_flight(), 0);
    }
}

#[test]
fn a_ring_works_with_every_set_of_flags() {
    for first in 0..setup::flag_sets() {
        setup::FIRST_FLAG_SET.set(first);
        let made = queue(2);
        setup::FIRST_FLAG_SET.set(0);
        let Some((_dir, mut queue)) = made else { return };
        for strategy in Strategy::ALL {
            for token in 0..4 {
                write(&mut queue, token, Some(strategy));
            }
            for completion in wait_for(&mut queue, 4) {
                completion.result.unwrap();
            }
        }
        queue.waker().wake();
        queue.wait(None, &mut Vec::new()).unwrap();
    }
}

fn open_refusing(at: RefuseAt, errno: i32, kind: BackendKind) -> Result<Backend> {
    let dir = tempfile::tempdir().unwrap();
    let storage = Arc::new(StdStorage::new(dir.path()));
    let options = QueueOptions { kind, ..Default::default() };
    REFUSE.set(Some((at, errno)));
    let opened = open_queue(storage.clone(), &options, "spare-probe.tmp");
    REFUSE.set(None);
    assert!(storage.list().unwrap().is_empty(), "the probe left a file");
    opened.map(|(_queue, backend)| backend)
}

#[test]
fn whatever_refuses_the_ring_auto_falls_back_and_explains() {
    let Some(_works) = queue(1) else { return };
    for at in [RefuseAt::Setup, RefuseAt::Opcode, RefuseAt::TestWrite] {
        for errno in [libc::EPERM, libc::ENOSYS, libc::EOPNOTSUPP, libc::ENOMEM, libc::EINVAL] {
            let backend = open_refusing(at, errno, BackendKind::Auto).unwrap();
            assert_eq!(backend.kind, BackendKind::Std, "{at:?} {errno}");
            let refusal = backend
                .refused
                .iter()
                .find(|refusal| refusal.errno == Some(errno))
                .unwrap_or_else(|| panic!("{at:?} {errno}: {backend}"));
            assert!(!refusal.advice.is_empty());
            assert!(backend.to_string().contains("was refused"), "{backend}");
        }
    }
}

#[test]
fn a_refused_ring_that_was_asked_for_is_an_error_with_the_reason() {
    let Some(_works) = queue(1) else { return };
    match open_refusing(RefuseAt::Setup, libc::EPERM, BackendKind::Uring) {
        Err(Error::BackendRefused { reason }) => {
            assert!(reason.contains("io_uring_disabled"), "{reason}");
            assert!(reason.contains("os error 1"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn refused_direct_io_leaves_the_ring_with_the_page_cache() {
    let Some(_works) = queue(1) else { return };
    let backend = open_refusing(RefuseAt::DirectWrite, libc::EINVAL, BackendKind::Auto).unwrap();
    assert_eq!(backend.kind, BackendKind::Uring);
    assert!(!backend.direct_io);
    assert_eq!(backend.refused[0].step, "direct I/O");
}

#[test]
fn auto_measures_every_strategy_and_says_why_it_took_one() {
    let Some(_works) = queue(1) else { return };
    let dir = tempfile::tempdir().unwrap();
    let storage = Arc::new(StdStorage::new(dir.path()));
    let (_queue, backend) =
        open_queue(storage, &QueueOptions::default(), "spare-probe.tmp").unwrap();
    println!("{backend}");
    assert_eq!(backend.measured.len(), 3);
    assert!(!backend.reason.is_empty() && !backend.ring_flags.is_empty());
}

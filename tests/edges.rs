//! A log at its edges: foreign code inside it, the end of the sequence numbers, other processes.

#![allow(clippy::unwrap_used, reason = "the helpers of a test file are tests")]

use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use ringwal::format::{HEADER_SIZE, State, encode_stand_alone, newest};
use ringwal::replication::ShardId;
use ringwal::wal::segment::segment_filename;
use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
use ringwal::{BackendKind, Batch, Durability, Error, Log, Seq};

/// Far more than any case takes: only a thread that waits for ever reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

const BACKENDS: [BackendKind; 2] = [BackendKind::Std, BackendKind::Auto];

/// Runs `case` on a thread, and fails if it does not return.
#[track_caller]
fn comes_back(case: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel();
    thread::spawn(move || {
        case();
        done.send(()).unwrap();
    });
    assert!(ended.recv_timeout(PATIENCE).is_ok(), "it waits for ever, or it failed");
}

#[test]
fn a_callback_of_a_ticket_is_called_once_and_may_submit_but_not_wait() {
    for backend in BACKENDS {
        for durability in [Durability::Synced, Durability::Written, Durability::Queued] {
            comes_back(move || {
                let dir = tempfile::tempdir().unwrap();
                let log = Log::builder(dir.path()).backend(backend).open().unwrap();
                // The very first append takes another path, and each case begins with an idle log.
                for round in 0..5 {
                    let (told, outcomes) = channel();
                    let inside = log.clone();
                    log.at(durability).submit("one").unwrap().on_done(move |outcome| {
                        let refused = inside.append("never").unwrap_err();
                        assert!(matches!(refused, Error::InWaker), "{refused}");
                        let next = inside.submit("two").unwrap();
                        told.send((outcome.unwrap(), next)).unwrap();
                        panic!("as the test asks for: it ends nothing");
                    });
                    let (seq, next) = outcomes.recv().unwrap();
                    assert_eq!((seq, next.wait().unwrap()), (Seq::new(2 * round + 1), seq.next()));
                    assert!(outcomes.recv().is_err(), "it is called once");
                }
                assert_eq!(log.flush().unwrap(), Seq::new(10));
                log.close().unwrap();
            });
        }
    }
}

/// A log whose last record has the number `last`.
fn log_up_to(dir: &Path, last: u64) {
    let batch = encode_stand_alone([&b"one"[..], b"two"], last - 1, 0, 0).unwrap();
    std::fs::write(dir.join(segment_filename(ShardId::SINGLE, last - 1)), batch).unwrap();
}

#[test]
fn after_the_last_number_appends_are_refused_and_the_log_stays_whole() {
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        log_up_to(dir.path(), u64::MAX - 3);
        let log = Log::builder(dir.path()).backend(backend).open().unwrap();
        let mut batch = Batch::new();
        for record in ["a", "b", "c"] {
            batch.push(record).unwrap();
        }
        let refused = log.append(&batch).unwrap_err();
        assert!(
            matches!(refused, Error::SeqsUsedUp { last_seq } if last_seq.get() == u64::MAX - 3)
        );
        assert_eq!(log.append("last but one").unwrap().get(), u64::MAX - 2);
        assert_eq!(log.append("last").unwrap().get(), u64::MAX - 1);
        for refused in [log.append("more").unwrap_err(), log.try_submit("more").unwrap_err()] {
            assert!(matches!(refused, Error::SeqsUsedUp { .. }), "{refused}");
        }
        assert_eq!(log.flush().unwrap().get(), u64::MAX - 1);
        log.close().unwrap();
        let log = Log::builder(dir.path()).backend(backend).open().unwrap();
        assert_eq!(log.reader().unwrap().count(), 4);
        assert!(matches!(log.append("more"), Err(Error::SeqsUsedUp { .. })));
        log.close().unwrap();
    }
}

#[test]
fn a_log_whose_very_last_number_is_taken_opens_and_refuses() {
    let dir = tempfile::tempdir().unwrap();
    log_up_to(dir.path(), u64::MAX);
    let log = Log::open(dir.path()).unwrap();
    assert!(matches!(log.append("more"), Err(Error::SeqsUsedUp { .. })));
    log.flush().unwrap();
    log.close().unwrap();
}

#[test]
fn a_state_that_cannot_be_counted_on_refuses_changes_before_they_begin() {
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let open = || Log::builder(dir.path()).backend(backend).open().unwrap();
        let log = open();
        log.append("one").unwrap();
        log.close().unwrap();
        let path = dir.path().join("state");
        let mut bytes = std::fs::read(&path).unwrap();
        let (state, _) = newest(&bytes).unwrap();
        let late = State { generation: u64::MAX - 5, ..state };
        let slot = late.encode();
        bytes[..slot.len()].copy_from_slice(slot.as_slice());
        std::fs::write(&path, bytes).unwrap();
        let log = open();
        log.append("two").unwrap();
        for refused in [
            log.checkpoint(Seq::FIRST, b"note"),
            log.truncate_before(Seq::new(2)).map(drop),
            log.truncate_after(Seq::FIRST),
        ] {
            assert!(matches!(refused, Err(Error::StatesUsedUp)), "{refused:?}");
        }
        log.append("three").unwrap();
        log.close().unwrap();
        let log = open();
        assert_eq!((log.reader().unwrap().count(), log.last_checkpoint().is_none()), (3, true));
    }
}

/// Between its fork and its exec, a child has every open file of its parent, with the lock.
#[cfg(unix)]
#[test]
fn a_log_that_was_closed_opens_again_while_other_processes_are_started() {
    const TIMES: usize = 150;
    let dir = tempfile::tempdir().unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|s| {
        let starts = || {
            while !over.load(Ordering::Relaxed) {
                std::process::Command::new("true").status().unwrap();
            }
        };
        let starters = [s.spawn(starts), s.spawn(starts)];
        let refused: Vec<_> = (0..TIMES)
            .filter_map(|_| {
                let log = Log::builder(dir.path()).backend(BackendKind::Std).open();
                log.and_then(|log| log.close()).err()
            })
            .collect();
        over.store(true, Ordering::Relaxed);
        starters.into_iter().for_each(|starter| starter.join().unwrap());
        assert!(refused.is_empty(), "{} refused, such as {}", refused.len(), refused[0]);
    });
}

#[test]
fn a_last_segment_that_was_grown_without_being_written_opens_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::builder(dir.path()).backend(BackendKind::Std).open().unwrap();
    log.append("one").unwrap();
    // A copy of the open log, as after a kill.
    let copy = tempfile::tempdir().unwrap();
    for name in ["state".to_owned(), segment_filename(ShardId::SINGLE, 1)] {
        std::fs::copy(dir.path().join(&name), copy.path().join(&name)).unwrap();
    }
    let last = copy.path().join(segment_filename(ShardId::SINGLE, 1));
    let grown = std::fs::OpenOptions::new().write(true).open(last).unwrap().set_len(20 << 30);
    if grown.is_err() {
        return println!("no file here may be as long as that");
    }
    let report = Log::builder(copy.path()).verify().unwrap();
    assert_eq!(report.corruption, None);
    let again = Log::open(copy.path()).unwrap();
    assert_eq!(again.durable_seq(), Seq::FIRST);
    again.append("two").unwrap();
    again.close().unwrap();
    log.close().unwrap();
}

/// Cleaners delete files called `lock`.
#[cfg(unix)]
#[test]
fn a_second_writer_is_refused_although_the_lock_file_was_deleted() {
    for (backend, shard) in BACKENDS.iter().flat_map(|&it| [(it, 0), (it, 7)]) {
        let dir = tempfile::tempdir().unwrap();
        let config = || WalConfig { dir: dir.path().to_path_buf(), ..WalConfig::default() };
        let shard = ShardId::new(shard);
        let builder = || WalHandle::builder(config()).backend(backend).shard(shard);
        let event =
            |id| SignalEvent { entity_id: id, signal_type: 0, weight: 1.0, timestamp_nanos: 1 };
        let log = builder().open().unwrap().0;
        log.append(event(1)).unwrap();
        for round in 2..5 {
            let locks = std::fs::read_dir(dir.path().join("wal"))
                .unwrap()
                .map(|entry| entry.unwrap().path());
            let locks = locks.filter(|path| path.to_str().unwrap().ends_with("lock"));
            locks.for_each(|path| std::fs::remove_file(path).unwrap());
            let refused = builder().open().map(|_| ()).unwrap_err();
            assert!(matches!(refused, Error::Locked { pid: None, .. }), "{refused}");
            assert!(refused.to_string().contains("state"), "{refused}");
            assert_eq!(log.append(event(round)).unwrap(), round);
        }
        // Another shard is another log.
        let other = WalHandle::builder(config()).shard(ShardId::new(8)).open().unwrap().0;
        other.append(event(1)).unwrap();
        log.shutdown().unwrap();
        let (log, replayed, _) = builder().open().unwrap();
        assert_eq!(replayed.len(), 4);
        log.shutdown().unwrap();
    }
}

#[test]
fn a_log_whose_state_was_removed_or_replaced_goes_no_further_than_its_segment() {
    for (backend, replaced) in BACKENDS.iter().flat_map(|&it| [(it, false), (it, true)]) {
        let dir = tempfile::tempdir().unwrap();
        let builder = || Log::builder(dir.path()).backend(backend).segment_bytes(8192);
        let log = builder().spare_segments(1).open().unwrap();
        for n in 0..20_u8 {
            log.append([n; 1000]).unwrap();
        }
        let state = dir.path().join("state");
        let bytes = std::fs::read(&state).unwrap();
        // The process that has it open keeps it.
        let kept = dir.path().with_extension("kept");
        std::fs::rename(&state, &kept).unwrap();
        if replaced {
            std::fs::write(&state, &bytes).unwrap();
        }
        // At most, spares have been renamed to segments.
        let appends = (20..120_u8).map(|n| log.append([n; 1000]));
        let error = appends.filter_map(Result::err).next().expect("it went on");
        let message = error.root_cause().to_string();
        let shown = format!("{error}: {message}");
        assert!(shown.contains("state") && shown.contains("open the log again"), "{shown}");
        let last = log.durable_seq();
        assert!(log.close().is_err());
        drop(log);
        std::fs::rename(&kept, &state).unwrap();
        let log = builder().open().unwrap();
        assert!(log.durable_seq() >= last);
    }
}

/// All visible properties of the files below a directory.
#[cfg(unix)]
fn tree(dir: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let found = std::fs::symlink_metadata(entry.path()).unwrap();
        let content = if found.is_file() { std::fs::read(entry.path()).unwrap() } else { vec![] };
        let (mode, times) = (found.mode(), (found.mtime_nsec(), found.ctime_nsec()));
        seen.push(format!("{:?} {mode:o} {times:?} {content:?}", entry.file_name()));
    }
    seen.sort();
    seen
}

#[cfg(unix)]
#[test]
fn a_directory_of_somebody_else_is_refused_and_nothing_in_it_changes() {
    use std::os::unix::fs::symlink;
    type Make = fn(&Path);
    let makers: [(&str, Make); 5] = [
        ("a file called lock", |dir| std::fs::write(dir.join("lock"), "somebody's").unwrap()),
        ("files beside lost+found", |dir| {
            std::fs::create_dir(dir.join("lost+found")).unwrap();
            std::fs::write(dir.join("notes"), "mine").unwrap();
        }),
        ("files beside one that is called as a spare", |dir| {
            std::fs::write(dir.join("spare-00000000000000000003.tmp"), "mine").unwrap();
            std::fs::write(dir.join("notes"), "mine").unwrap();
        }),
        ("a link called lock", |dir| {
            std::fs::create_dir(dir.join("lost+found")).unwrap();
            symlink("lost+found/target", dir.join("lock")).unwrap();
            std::fs::write(dir.join("lost+found/target"), "12").unwrap();
        }),
        ("a FIFO called state", |dir| {
            let made = std::process::Command::new("mkfifo").arg(dir.join("state")).status();
            assert!(made.unwrap().success());
        }),
    ];
    for (what, make) in makers {
        for backend in BACKENDS {
            comes_back(move || {
                let dir = tempfile::tempdir().unwrap();
                make(dir.path());
                let before = tree(dir.path());
                let builder = || Log::builder(dir.path()).backend(backend);
                let refused = builder().open().err().unwrap_or_else(|| panic!("{what}: opened"));
                assert!(refused.to_string().contains(dir.path().to_str().unwrap()), "{refused}");
                let _looked = builder().verify();
                let _looked = builder().read_only();
                assert_eq!(tree(dir.path()), before, "{what}: {refused}");
            });
        }
    }
}

#[test]
fn a_healthy_log_is_never_called_damaged_beside_its_writer() {
    const LOOKS: usize = 300;
    let dir = tempfile::tempdir().unwrap();
    let builder = || Log::builder(dir.path()).backend(BackendKind::Std).segment_bytes(16 << 10);
    let log = builder().open().unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|s| {
        let writer = s.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for _ in 0..8 {
                    log.append([7; 3000]).unwrap();
                }
                log.truncate_before(log.durable_seq()).unwrap();
            }
        });
        let mut told = Vec::new();
        for look in 0..LOOKS {
            let found = match look % 2 {
                0 => builder().verify().map(|report| report.corruption),
                _ => builder()
                    .read_only()
                    .map(|reader| reader.recovery().unwrap().corruption.clone()),
            };
            match found {
                Ok(None) => {}
                found => told.push(format!("{found:?}")),
            }
        }
        over.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        assert!(told.is_empty(), "{} of {LOOKS}, such as {}", told.len(), told[0]);
    });
}

/// A waker that calls everything of a log that may wait.
struct Asks {
    log: Log,
    answers: std::sync::mpsc::Sender<Vec<Result<(), Error>>>,
}

impl std::task::Wake for Asks {
    fn wake(self: std::sync::Arc<Self>) {
        let log = &self.log;
        let answers = vec![
            log.append("from a waker").map(drop),
            log.rotate(),
            log.truncate_after(Seq::FIRST),
            log.close(),
            // These two calls do not wait.
            log.try_submit("from a waker").map(drop),
            log.read(ringwal::RecordRef::new(Seq::FIRST, Seq::FIRST, HEADER_SIZE as u64, 3))
                .map(drop),
        ];
        self.answers.send(answers).unwrap();
    }
}

#[test]
fn a_waker_that_would_wait_for_its_log_is_told_so() {
    for backend in BACKENDS {
        comes_back(move || {
            let dir = tempfile::tempdir().unwrap();
            let log = Log::builder(dir.path()).backend(backend).open().unwrap();
            let (answers, told) = channel();
            let waker = std::sync::Arc::new(Asks { log: log.clone(), answers }).into();
            // It is entered only while the record is on its way.
            let mut context = std::task::Context::from_waker(&waker);
            let is_entered = |_: &u32| {
                let mut commit = log.submit("one").unwrap();
                let polled = std::pin::Pin::new(&mut commit).poll(&mut context);
                polled.is_pending().then(|| std::mem::forget(commit)).is_some()
            };
            assert!((0..1000).find(is_entered).is_some(), "each was durable at once");
            let answers = told.recv().unwrap();
            let (refused, allowed) = answers.split_at(4);
            for answer in refused {
                assert!(matches!(answer, Err(Error::InWaker)), "{backend}: {answer:?}");
            }
            assert!(allowed.iter().all(Result::is_ok), "{backend}: {allowed:?}");
            assert!(log.flush().unwrap() >= Seq::new(2));
            log.close().unwrap();
        });
    }
}

struct Quiet;

impl std::task::Wake for Quiet {
    fn wake(self: std::sync::Arc<Self>) {}
}

#[test]
fn a_ticket_that_is_dropped_takes_its_waker_with_it() {
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::builder(dir.path()).backend(backend).open().unwrap();
        let quiet = std::sync::Arc::new(Quiet);
        let waker = std::task::Waker::from(std::sync::Arc::clone(&quiet));
        let kept = log.submit("one").unwrap();
        let mut polled = Box::pin(kept.clone());
        let _done = polled.as_mut().poll(&mut std::task::Context::from_waker(&waker));
        drop((polled, waker));
        kept.wait().unwrap();
        // A waiter that is woken at this moment belongs to the batch.
        log.close().unwrap();
        assert_eq!(std::sync::Arc::strong_count(&quiet), 1);
    }
}

/// A waker that drops the last handle of another log, once all wakers have run.
struct DropsLast {
    other: std::sync::Mutex<Option<Log>>,
    all: std::sync::Arc<std::sync::Barrier>,
}

impl std::task::Wake for DropsLast {
    fn wake(self: std::sync::Arc<Self>) {
        self.all.wait();
        drop(self.other.lock().unwrap().take());
    }
}

#[test]
fn two_logs_may_drop_the_last_handles_of_each_other_in_their_wakers() {
    for backend in BACKENDS {
        comes_back(move || {
            let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
            let logs = dirs
                .each_ref()
                .map(|dir| Log::builder(dir.path()).backend(backend).open().unwrap());
            let all = std::sync::Arc::new(std::sync::Barrier::new(3));
            let drops = logs.each_ref().map(|log| {
                let all = std::sync::Arc::clone(&all);
                let drops = std::sync::Arc::new(DropsLast { other: None.into(), all });
                let waker = std::sync::Arc::clone(&drops).into();
                let mut context = std::task::Context::from_waker(&waker);
                // It is entered only while the record is on its way.
                let is_entered = |_: &u32| {
                    let mut commit = log.submit("kept").unwrap();
                    let polled = std::pin::Pin::new(&mut commit).poll(&mut context);
                    polled.is_pending().then(|| std::mem::forget(commit)).is_some()
                };
                assert!((0..1000).find(is_entered).is_some(), "each was durable at once");
                drops
            });
            let [first, second] = logs;
            *drops[0].other.lock().unwrap() = Some(second);
            *drops[1].other.lock().unwrap() = Some(first);
            all.wait();
            for dir in &dirs {
                // The ring thread ends by itself; then the lock is free, and the record is durable.
                let again = loop {
                    match Log::builder(dir.path()).backend(backend).open() {
                        Err(Error::Locked { .. }) => thread::yield_now(),
                        opened => break opened.unwrap(),
                    }
                };
                assert!(again.durable_seq() >= Seq::FIRST);
            }
        });
    }
}

#[test]
fn the_last_handle_may_be_dropped_in_a_waker_of_its_own_log() {
    for backend in BACKENDS {
        comes_back(move || {
            let dir = tempfile::tempdir().unwrap();
            let log = Log::builder(dir.path()).backend(backend).open().unwrap();
            let all = std::sync::Arc::new(std::sync::Barrier::new(2));
            let other = std::sync::Mutex::new(None);
            let drops = std::sync::Arc::new(DropsLast { other, all: std::sync::Arc::clone(&all) });
            let waker = std::sync::Arc::clone(&drops).into();
            let mut context = std::task::Context::from_waker(&waker);
            let mut kept = None;
            let is_entered = |_: &u32| {
                let mut commit = log.submit("kept").unwrap();
                let polled = std::pin::Pin::new(&mut commit).poll(&mut context);
                kept = polled.is_pending().then_some(commit);
                kept.is_some()
            };
            assert!((0..1000).find(is_entered).is_some(), "each was durable at once");
            let later = log.submit("later").unwrap();
            *drops.other.lock().unwrap() = Some(log);
            all.wait();
            let (seq, last) = (kept.unwrap().wait().unwrap(), later.wait().unwrap());
            assert_eq!(last, seq.next());
            let again = loop {
                match Log::builder(dir.path()).backend(backend).open() {
                    Err(Error::Locked { .. }) => thread::yield_now(),
                    opened => break opened.unwrap(),
                }
            };
            assert_eq!(again.durable_seq(), last);
        });
    }
}

/// A log of small segments that are recycled, with 30 records of which 10 are in each.
fn three_segments(dir: &Path, backend: BackendKind, recycles: usize) -> Log {
    let builder = Log::builder(dir).backend(backend).recycle_segments(recycles);
    let log = builder.open().unwrap();
    for n in 0..30_u8 {
        if n % 10 == 0 && n > 0 {
            log.rotate().unwrap();
        }
        log.append([n; 100]).unwrap();
    }
    log
}

fn is_truncated(error: &Error, first_live: u64) -> bool {
    matches!(error, Error::Truncated { first_seq, .. } if first_seq.get() == first_live)
}

#[test]
fn a_reader_without_the_lock_is_told_what_the_writer_truncated() {
    for backend in BACKENDS {
        for recycles in [0, 4] {
            let dir = tempfile::tempdir().unwrap();
            let log = three_segments(dir.path(), backend, recycles);
            let mut reader = Log::builder(dir.path()).read_only().unwrap();
            let mut fresh = Log::builder(dir.path()).read_only().unwrap();
            let first = reader.next().unwrap().unwrap().record_ref();
            log.truncate_before(Seq::new(21)).unwrap();
            // Recycled files are filled with other records.
            for n in 0..30_u8 {
                log.append([200 - n; 100]).unwrap();
                if n % 5 == 0 {
                    log.rotate().unwrap();
                }
            }
            let told = fresh.next().unwrap().unwrap_err();
            assert!(is_truncated(&told, 21), "{recycles}: {told}");
            reader.seek(Seq::new(11));
            assert!(is_truncated(&reader.next().unwrap().unwrap_err(), 21), "{recycles}");
            match reader.read(first) {
                Ok(record) => assert_eq!((recycles, record.data()), (0, &[0; 100][..])),
                Err(error) => assert!(is_truncated(&error, 21), "{error}"),
            }
            reader.seek(Seq::new(21));
            assert_eq!(reader.map(Result::unwrap).count(), 10);
        }
    }
}

#[test]
fn a_reader_without_the_lock_is_told_what_the_writer_cut_off() {
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let log = three_segments(dir.path(), backend, 2);
        let mut reader = Log::builder(dir.path()).read_only().unwrap();
        let place = reader.by_ref().nth(26).unwrap().unwrap().record_ref();
        log.truncate_after(Seq::new(15)).unwrap();
        for n in 0..30_u8 {
            log.append([200 - n; 100]).unwrap();
        }
        let refused = reader.read(place).unwrap_err();
        assert!(matches!(refused, Error::Truncated { .. }), "{refused}");
        reader.seek(Seq::new(11));
        let (shown, last): (Vec<_>, Vec<_>) = reader.partition(Result::is_ok);
        assert_eq!(shown.len(), 5);
        assert!(matches!(last[..], [Err(Error::Truncated { seq, .. })] if seq.get() == 16));
    }
}

//! Each way of copying a log that the manual calls safe, a hundred times, beside a log that is
//! appended to, rotated, truncated and recycled: every copy opens strictly and has the records
//! acknowledged before it began.

// Helpers of tests may unwrap, too; clippy.toml reaches only the tests themselves.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use ringwal::kv::DataWal;
use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
use ringwal::{BackendKind, Builder, Durability, Error, Log, RecoveryPolicy, Seq, Verdict};

#[path = "backup/ways.rs"]
mod ways;

/// How often a log is copied in each way.
const ROUNDS: usize = 100;
const APPENDERS: u64 = 3;
/// How many of the last records truncation keeps.
const KEPT: u64 = 100;
const TIDY_EVERY: u64 = 50;

/// A directory in memory, if there is one: a hundred copies are a thousand syncs, and the load
/// beside them is faster.
fn new_parent() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn builder(dir: &Path, backend: BackendKind) -> Builder {
    Log::builder(dir).backend(backend).segment_bytes(32 << 10).recycle_segments(2)
}

/// Runs a load on other threads until `copy` is done; each part of it is called over and over.
fn beside(load: &[&(dyn Fn() + Sync)], copy: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    let until = |part: &(dyn Fn() + Sync)| {
        while !stop.load(Ordering::Relaxed) {
            part();
        }
    };
    /// Stops the load, also if `copy` panics.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        for part in load {
            scope.spawn(|| until(*part));
        }
        copy();
    });
}

/// The acknowledged records, by their numbers.
#[derive(Default)]
struct Acked {
    contents: Mutex<BTreeMap<u64, Vec<u8>>>,
    made: AtomicU64,
}

impl Acked {
    fn append(&self, log: &Log) {
        let made = self.made.fetch_add(1, Ordering::Relaxed);
        let content = format!("{made} {}", "x".repeat((made * 37 % 400) as usize)).into_bytes();
        let seq = log.append(&content).unwrap();
        self.contents.lock().unwrap().insert(seq.get(), content);
    }
}

/// The copied records, compared later, when all appends are acknowledged.
struct Copied(BTreeMap<u64, Vec<u8>>);

/// Notes a checkpoint, frees the records before it, and sometimes begins another segment, each
/// time that new records came.
fn tidy_up(log: &Log, last: &AtomicU64) {
    let seq = log.durable_seq();
    if seq.get() < last.load(Ordering::Relaxed) + TIDY_EVERY {
        return thread::yield_now();
    }
    last.store(seq.get(), Ordering::Relaxed);
    log.checkpoint(seq, seq.get().to_le_bytes()).unwrap();
    if seq.get().is_multiple_of(3) {
        log.rotate().unwrap();
    }
    log.truncate_before(Seq::new(seq.get().saturating_sub(KEPT).max(1))).unwrap();
}

/// Opens a copy and returns its records. It must be whole, and must take new records.
#[track_caller]
fn open_copy(copy: &Path, acked: Seq, before: Option<Seq>) -> Copied {
    let log = Log::builder(copy).backend(BackendKind::Std).spare_segments(0).open().unwrap();
    assert_eq!(log.recovery().verdict, Verdict::Clean, "{}", log.recovery());
    let records: Vec<_> = log.reader().unwrap().map(Result::unwrap).collect();
    let first = log.first_seq().get();
    assert!(records.iter().enumerate().all(|(n, it)| it.seq().get() == first + n as u64));
    let last = log.durable_seq();
    assert!(last >= acked, "{acked} was acknowledged before, and the copy ends with {last}");
    if let Some(checkpoint) = log.last_checkpoint() {
        assert_eq!(checkpoint.payload, checkpoint.seq.get().to_le_bytes());
        assert!(checkpoint.seq <= last && checkpoint.seq.get() + 1 >= first, "{checkpoint:?}");
        assert!(before.is_none_or(|before| checkpoint.seq >= before), "{checkpoint:?}");
    } else {
        assert_eq!((before, first), (None, 1));
    }
    assert_eq!(log.append("the next one").unwrap(), last.next());
    log.close().unwrap();
    Copied(records.into_iter().map(|it| (it.seq().get(), it.into_data())).collect())
}

/// Copies a busy log this many times, and checks each copy.
fn copies_of_a_busy_log(backend: BackendKind, rounds: usize, back_up: impl Fn(&Log, &Path)) {
    let parent = new_parent();
    let log = builder(&parent.path().join("log"), backend).open().unwrap();
    let acked = Acked::default();
    let append = || acked.append(&log);
    let mut copies = Vec::new();
    let last = AtomicU64::new(0);
    let tidy = || tidy_up(&log, &last);
    let mut load: Vec<&(dyn Fn() + Sync)> = vec![&tidy];
    load.extend((0..APPENDERS).map(|_| &append as &(dyn Fn() + Sync)));
    beside(&load, || {
        for round in 0..rounds {
            let copy = parent.path().join(format!("copy-{round}"));
            let (seq, checkpoint) = (log.durable_seq(), log.last_checkpoint().map(|it| it.seq));
            back_up(&log, &copy);
            copies.push(open_copy(&copy, seq, checkpoint));
            fs::remove_dir_all(&copy).unwrap();
        }
    });
    assert!(log.first_seq() > Seq::FIRST, "something was truncated");
    let acked = acked.contents.into_inner().unwrap();
    for Copied(records) in copies {
        for (seq, content) in records {
            assert_eq!(acked.get(&seq), Some(&content), "record {seq}");
        }
    }
    log.close().unwrap();
    let left: Vec<_> = fs::read_dir(parent.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing but the log is left: {left:?}");
}

#[test]
fn every_copy_that_a_busy_log_makes_of_itself_opens_with_what_was_acknowledged() {
    for backend in [BackendKind::Std, BackendKind::Auto] {
        copies_of_a_busy_log(backend, ROUNDS / 2, |log, copy| {
            log.backup_to(copy).unwrap();
        });
    }
}

#[test]
fn every_copy_of_a_busy_log_that_is_made_without_its_lock_opens_with_what_was_acknowledged() {
    copies_of_a_busy_log(BackendKind::Auto, ROUNDS, |log, copy| {
        let report = Log::builder(log.dir()).backup_to(copy).unwrap();
        assert!(report.last_seq >= report.first_seq.prev());
    });
}

#[cfg(feature = "cli")]
#[test]
fn every_copy_of_a_busy_log_that_the_command_makes_opens_with_what_was_acknowledged() {
    copies_of_a_busy_log(BackendKind::Std, ROUNDS, |log, copy| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringwal"));
        let output = command.arg("backup").arg(log.dir()).arg(copy).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("records:  "), "{said}");
    });
}

#[test]
fn every_copy_of_a_busy_event_log_opens_with_what_was_acknowledged() {
    let parent = tempfile::tempdir().unwrap();
    let config = |name: &str| WalConfig {
        dir: parent.path().join(name),
        segment_size: 32 << 10,
        ..WalConfig::default()
    };
    let (wal, _, _) = WalHandle::open(config("events")).unwrap();
    // An event is identified by its number.
    let (made, acked) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
    let last = AtomicU64::new(0);
    let event =
        |entity_id| SignalEvent { entity_id, signal_type: 1, weight: 1.0, timestamp_nanos: 1 };
    let append = || {
        let event = event(made.fetch_add(1, Ordering::Relaxed));
        let seq = wal.append(event).unwrap();
        acked.lock().unwrap().insert(seq, event);
    };
    let tidy = || {
        let seq = wal.durable_seq();
        if seq < last.load(Ordering::Relaxed) + TIDY_EVERY {
            return thread::yield_now();
        }
        last.store(seq, Ordering::Relaxed);
        wal.checkpoint(seq.saturating_sub(TIDY_EVERY)).unwrap();
        wal.truncate_before(seq.saturating_sub(KEPT)).unwrap();
    };
    let mut copies = Vec::new();
    beside(&[&append, &append, &tidy], || {
        for round in 0..ROUNDS {
            let copied = config(&format!("copy-{round}"));
            let before = wal.durable_seq();
            match round % 2 {
                0 => wal.backup_to(&copied.dir).unwrap(),
                _ => WalHandle::builder(config("events")).backup_to(&copied.dir).unwrap(),
            };
            let strict = WalHandle::builder(copied).recovery(RecoveryPolicy::Strict);
            let (copy, events, report) = strict.open().unwrap();
            assert!(copy.durable_seq() >= before);
            assert_eq!(report.replayed_from, report.checkpoint_seq + 1);
            copies.push((report.replayed_from, events));
        }
    });
    let acked = acked.into_inner().unwrap();
    for (first, events) in copies {
        for (seq, event) in (first..).zip(events) {
            assert_eq!(acked.get(&seq), Some(&event), "event {seq}");
        }
    }
}

#[test]
fn every_copy_of_a_busy_store_opens_with_what_was_acknowledged() {
    const KEYS: usize = 8;
    let parent = new_parent();
    let dir = parent.path().join("store");
    let store = DataWal::builder(&dir)
        .segment_bytes(16 << 10)
        .durability(Durability::Synced)
        .open()
        .unwrap();
    let acked: [AtomicU64; KEYS] = Default::default();
    let (made, turn) = (AtomicU64::new(0), Mutex::new(()));
    let put = || {
        // The values of a key only grow.
        let _turn = turn.lock().unwrap();
        let value = made.fetch_add(1, Ordering::Relaxed) + 1;
        let key = value as usize % KEYS;
        store.put([key as u8], [&value.to_le_bytes()[..], &[7; 100]].concat()).unwrap();
        acked[key].store(value, Ordering::Release);
    };
    let last = AtomicU64::new(0);
    let compact = || {
        let so_far = made.load(Ordering::Relaxed);
        if so_far < last.load(Ordering::Relaxed) + TIDY_EVERY {
            return thread::yield_now();
        }
        last.store(so_far, Ordering::Relaxed);
        store.compact().unwrap();
    };
    beside(&[&put, &compact], || {
        for round in 0..ROUNDS {
            let copy = parent.path().join(format!("copy-{round}"));
            let before = acked.each_ref().map(|value| value.load(Ordering::Acquire));
            match round % 2 {
                0 => store.backup_to(&copy).unwrap(),
                _ => Log::builder(&dir).backup_to(&copy).unwrap(),
            };
            let copy = DataWal::open(&copy).unwrap();
            for (key, before) in before.into_iter().enumerate().filter(|(_, it)| *it > 0) {
                let value = copy.get([key as u8]).unwrap().unwrap();
                let value = u64::from_le_bytes(value[..8].try_into().unwrap());
                assert!(value >= before && value as usize % KEYS == key, "{value}, {before}");
            }
        }
    });
}

#[test]
fn a_backup_replaces_nothing_and_leaves_nothing_half_done() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("log");
    let log = builder(&dir, BackendKind::Std).open().unwrap();
    log.append("one").unwrap();
    let names = || {
        let entries = fs::read_dir(parent.path()).unwrap();
        let mut names: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    };
    let (full, file, empty) =
        (parent.path().join("full"), parent.path().join("file"), parent.path().join("empty"));
    fs::create_dir(&full).unwrap();
    fs::write(full.join("precious"), "1").unwrap();
    fs::write(&file, "1").unwrap();
    fs::create_dir(&empty).unwrap();
    let before = names();
    for _ in 0..2 {
        assert!(matches!(log.backup_to(&full), Err(Error::NotEmpty { .. })));
        assert!(matches!(log.backup_to(&file), Err(Error::Io { .. })));
        let inside = log.backup_to(dir.join("copy")).unwrap_err().to_string();
        assert!(inside.contains("inside the log"), "{inside}");
        let nowhere = log.backup_to(parent.path().join("absent/copy")).unwrap_err();
        assert!(matches!(nowhere, Error::Io { .. }), "{nowhere}");
        let no_log = Log::builder(&full).backup_to(parent.path().join("copy"));
        assert!(matches!(no_log, Err(Error::NotALog { .. })), "{no_log:?}");
    }
    assert_eq!(names(), before);
    log.backup_to(&empty).unwrap();
    assert!(matches!(log.backup_to(&empty), Err(Error::NotEmpty { .. })));
    assert_eq!(names(), before);
    log.close().unwrap();
    assert!(matches!(log.backup_to(parent.path().join("late")), Err(Error::Closed)));
    Log::builder(&dir).backup_to(parent.path().join("late")).unwrap();
}

#[cfg(unix)]
#[test]
fn a_copy_is_open_to_those_alone_who_may_look_into_the_log() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("log");
    let log = builder(&dir, BackendKind::Std).open().unwrap();
    for mode in [0o700, 0o750, 0o755] {
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
        let copy = parent.path().join(format!("{mode}"));
        log.backup_to(&copy).unwrap();
        assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, mode);
    }
}

#[test]
fn records_that_an_open_log_acknowledged_and_that_went_bad_are_no_torn_tail() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("log");
    let log = builder(&dir, BackendKind::Std).note_after(None).open().unwrap();
    log.append("one").unwrap();
    log.append("two").unwrap();
    let segment = ways::segments(&dir).remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(3).position(|it| it == b"two").unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    match log.backup_to(parent.path().join("copy")) {
        Err(Error::Corrupt(damage)) => {
            assert_eq!((damage.first_seq.get(), damage.last_seq.get()), (2, 2));
            assert_eq!(damage.path, segment);
        }
        other => panic!("{other:?}"),
    }
    assert!(!parent.path().join("copy").exists());
}

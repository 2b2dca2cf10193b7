//! The promises of the event log, one by one, on every backend, strategy and depth.

#![allow(clippy::unwrap_used, reason = "the helpers of a test file are tests")]

mod common;
#[path = "events/damage.rs"]
mod damage;
#[path = "events/dedup.rs"]
mod dedup;
#[path = "events/files.rs"]
mod files;
#[path = "events/model.rs"]
mod model;
#[path = "events/replay.rs"]
mod replay;
#[path = "events/tasks.rs"]
mod tasks;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Variant, variants};
use ringwal::replication::ShardId;
use ringwal::wal::reader::recover_shard;
use ringwal::wal::{CheckpointManager, SignalEvent, WalBuilder, WalConfig, WalHandle, WalReport};
use ringwal::{Error, Log, Verdict};

/// A configuration for tests: small segments, a window that does not end by itself.
pub(crate) fn config(dir: &Path) -> WalConfig {
    WalConfig {
        dir: dir.to_path_buf(),
        segment_size: 64 * 1024,
        batch_size: 100,
        batch_timeout: Duration::from_millis(10),
        dedup_window: Duration::from_secs(3600),
    }
}

/// The event number `n`; all of its fields differ from those of the others.
pub(crate) fn event(n: u64) -> SignalEvent {
    SignalEvent {
        entity_id: n,
        signal_type: (n % 251) as u8,
        weight: n as f32 / 4.0,
        timestamp_nanos: 1_000_000 + n,
    }
}

pub(crate) fn events(numbers: impl IntoIterator<Item = u64>) -> Vec<SignalEvent> {
    numbers.into_iter().map(event).collect()
}

pub(crate) fn builder(variant: Variant, config: WalConfig) -> WalBuilder {
    let builder = WalHandle::builder(config).backend(variant.backend);
    builder.strategy(variant.strategy).queue_depth(variant.depth)
}

pub(crate) fn open(variant: Variant, dir: &Path) -> (WalHandle, Vec<SignalEvent>, WalReport) {
    builder(variant, config(dir)).open().unwrap()
}

/// Copies the log as a crash would leave it: the files while it is open. A copy takes
/// time, so it goes from the end of a file to its beginning: records written meanwhile may be
/// missing at the end, but not before something that is there. `state` comes first.
pub(crate) fn copy_log(from: &Path, to: &Path) {
    let (from, to) = (from.join("wal"), to.join("wal"));
    fs::create_dir_all(&to).unwrap();
    for name in common::files(&from) {
        if !name.ends_with("lock") {
            match File::open(from.join(&name)) {
                Ok(file) => copy_backwards(file, File::create(to.join(&name)).unwrap()),
                // A spare that got its name meanwhile.
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{name}"),
            }
        }
    }
}

fn copy_backwards(mut from: File, mut to: File) {
    let len = from.metadata().unwrap().len();
    to.set_len(len).unwrap();
    for at in (0..len).step_by(4096).collect::<Vec<_>>().into_iter().rev() {
        let mut block = Vec::new();
        from.seek(SeekFrom::Start(at)).unwrap();
        (&mut from).take(4096).read_to_end(&mut block).unwrap();
        to.seek(SeekFrom::Start(at)).unwrap();
        to.write_all(&block).unwrap();
    }
}

#[test]
fn a_thousand_events_of_ten_threads_get_distinct_dense_numbers_and_are_all_replayed() {
    for variant in variants("ten_threads") {
        let dir = tempfile::tempdir().unwrap();
        let wal = Arc::new(open(variant, dir.path()).0);
        let producers: Vec<_> = (0..10_u64)
            .map(|producer| {
                let wal = Arc::clone(&wal);
                std::thread::spawn(move || {
                    let numbers = producer * 100..(producer + 1) * 100;
                    numbers.map(|n| (wal.append(event(n)).unwrap(), n)).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut acked: Vec<_> = producers.into_iter().flat_map(|p| p.join().unwrap()).collect();
        acked.sort_unstable();
        let seqs: Vec<u64> = acked.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs, (1..=1000).collect::<Vec<_>>(), "{variant:?}");
        Arc::into_inner(wal).unwrap().shutdown().unwrap();

        let (_wal, replayed, report) = open(variant, dir.path());
        assert_eq!(replayed, events(acked.iter().map(|(_, n)| *n)), "{variant:?}");
        assert_eq!((report.events_replayed, report.events_remembered), (1000, 1000));
        assert_eq!((report.bytes_cut, report.events_lost), (0, 0));
        assert_eq!(report.recovery.verdict, Verdict::Clean);
    }
}

#[test]
fn numbers_go_on_after_a_reopen() {
    for variant in variants("go_on") {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..5 {
            let (wal, replayed, _) = open(variant, dir.path());
            assert_eq!(replayed, events(0..n));
            assert_eq!(wal.append(event(n)).unwrap(), n + 1);
            assert_eq!(wal.durable_seq(), n + 1);
            if n % 2 == 0 {
                wal.shutdown().unwrap();
            }
        }
    }
}

#[test]
fn a_handle_that_is_dropped_has_written_what_was_on_its_way() {
    for variant in variants("dropped") {
        let dir = tempfile::tempdir().unwrap();
        let (wal, _, _) = open(variant, dir.path());
        for n in 0..500 {
            let _not_waited_for = wal.submit(event(n)).unwrap();
        }
        drop(wal);
        let (_wal, replayed, report) = open(variant, dir.path());
        assert_eq!(replayed, events(0..500), "{variant:?}");
        assert_eq!(report.recovery.verdict, Verdict::Clean);
    }
}

#[test]
fn a_log_that_is_open_cannot_be_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _) = WalHandle::open(config(dir.path())).unwrap();
    let again = WalHandle::open(config(dir.path())).unwrap_err();
    assert!(matches!(again, Error::Locked { .. }), "{again}");
    assert!(again.to_string().contains("in use by"), "{again}");
    wal.shutdown().unwrap();
    WalHandle::open(config(dir.path())).unwrap();
}

#[test]
fn a_handle_is_shared_and_printed() {
    fn assert_shared<T: std::fmt::Debug + Send + Sync + 'static>(_: &T) {}
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, report) = WalHandle::open(config(dir.path())).unwrap();
    assert_shared(&wal);
    assert!(format!("{wal:?}").contains("durable_seq"));
    assert!(report.to_string().contains("replayed: 0 after checkpoint 0"), "{report}");
}

#[test]
fn every_batch_size_works() {
    for variant in variants("batch_size") {
        for batch_size in [1, 2, 10_000] {
            let dir = tempfile::tempdir().unwrap();
            let config = WalConfig { batch_size, ..config(dir.path()) };
            let (wal, _, _) = builder(variant, config.clone()).open().unwrap();
            let commits: Vec<_> = (0..300).map(|n| wal.submit(event(n)).unwrap()).collect();
            for (n, commit) in (1..).zip(commits) {
                assert_eq!(commit.wait().unwrap(), n);
            }
            let metrics = wal.metrics();
            assert!(metrics.batches >= 300_u64.div_ceil(batch_size as u64), "{metrics:?}");
            wal.shutdown().unwrap();
            assert_eq!(builder(variant, config).open().unwrap().1, events(0..300), "{variant:?}");
        }
    }
}

#[test]
fn the_fields_of_a_configuration_are_checked_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let ok = config(&dir.path().join("log"));
    let bad = [
        ("dir", WalConfig { dir: "".into(), ..ok.clone() }),
        ("segment_size", WalConfig { segment_size: 0, ..ok.clone() }),
        ("segment_size", WalConfig { segment_size: u64::MAX, ..ok.clone() }),
        ("batch_size", WalConfig { batch_size: 0, ..ok.clone() }),
        ("batch_size", WalConfig { batch_size: usize::MAX, ..ok.clone() }),
    ];
    for (field, config) in bad {
        let error = WalHandle::open(config).unwrap_err();
        assert!(matches!(error, Error::Option { name, .. } if name == field), "{error}");
        assert!(error.to_string().starts_with(&format!("option {field} is ")), "{error}");
    }
    let error = WalHandle::builder(ok.clone()).dedup_entries(0).open().unwrap_err();
    assert!(error.to_string().contains("dedup_entries"), "{error}");
    assert!(!ok.dir.exists(), "nothing is created for a wrong configuration");
    for batch_timeout in [Duration::ZERO, Duration::MAX] {
        let dedup_window = batch_timeout;
        let config = WalConfig { batch_timeout, dedup_window, ..ok.clone() };
        WalHandle::open(config).unwrap().0.shutdown().unwrap();
    }
}

#[test]
fn events_after_the_checkpoint_are_replayed_and_no_others() {
    for variant in variants("checkpoint") {
        let dir = tempfile::tempdir().unwrap();
        let log_dir = dir.path().join("wal");
        let (wal, _, _) = open(variant, dir.path());
        wal.append_batch(&events(0..10)).unwrap();
        assert_eq!(CheckpointManager::read(&log_dir).unwrap(), None);
        wal.checkpoint(4).unwrap();
        let (seq, time_nanos) = CheckpointManager::read(&log_dir).unwrap().unwrap();
        assert!(seq == 4 && time_nanos > 0);
        let backwards = wal.checkpoint(3).unwrap_err();
        assert!(matches!(backwards, Error::OutOfRange { op: "checkpoint", .. }), "{backwards}");
        let ahead = wal.checkpoint(11).unwrap_err();
        assert!(ahead.to_string().contains("expected 4 to 10"), "{ahead}");
        assert_eq!(CheckpointManager::read(&log_dir).unwrap(), Some((4, time_nanos)));
        drop(wal);
        let (wal, replayed, report) = open(variant, dir.path());
        assert_eq!(replayed, events(4..10), "{variant:?}");
        assert_eq!((report.checkpoint_seq, report.events_remembered), (4, 10));
        wal.checkpoint(10).unwrap();
        drop(wal);
        let (wal, replayed, _) = open(variant, dir.path());
        assert_eq!(replayed, []);
        assert_eq!(wal.append(event(10)).unwrap(), 11);
    }
}

#[test]
fn a_checkpoint_torn_by_a_crash_leaves_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _) = WalHandle::open(config(dir.path())).unwrap();
    wal.append_batch(&events(0..10)).unwrap();
    wal.checkpoint(3).unwrap();
    let state = dir.path().join("wal/state");
    let before = fs::read(&state).unwrap();
    wal.checkpoint(7).unwrap();
    let after = fs::read(&state).unwrap();
    let changed: Vec<_> = (0..after.len()).filter(|&at| before[at] != after[at]).collect();
    for tear in changed.iter().copied().step_by(5) {
        let copy = tempfile::tempdir().unwrap();
        copy_log(dir.path(), copy.path());
        let torn = [&after[..tear], &before[tear..]].concat();
        fs::write(copy.path().join("wal/state"), torn).unwrap();
        let read = CheckpointManager::read(&copy.path().join("wal")).unwrap();
        let seq = read.unwrap().0;
        assert_eq!(seq, 3, "torn at byte {tear}");
        let (_wal, replayed, _) = WalHandle::open(config(copy.path())).unwrap();
        assert_eq!(replayed, events(3..10));
    }
}

#[test]
fn truncation_frees_whole_segments_but_nothing_after_the_checkpoint() {
    for variant in variants("truncation") {
        let dir = tempfile::tempdir().unwrap();
        let config = WalConfig { segment_size: 256, ..config(dir.path()) };
        let (wal, _, _) = builder(variant, config.clone()).open().unwrap();
        for n in 0..20 {
            wal.append(event(n)).unwrap();
        }
        let freed = wal.truncate_before(15).unwrap();
        assert_eq!((freed.segments, freed.first_seq.get()), (0, 1), "{variant:?}");
        wal.checkpoint(10).unwrap();
        let freed = wal.truncate_before(15).unwrap();
        assert!(freed.segments > 0 && freed.bytes > 0, "{freed:?}");
        let first = freed.first_seq.get();
        assert!(first > 1 && first <= 11, "{freed:?}");
        let beyond = wal.truncate_before(22).unwrap_err();
        assert!(beyond.to_string().contains("truncate_before"), "{beyond}");
        drop(wal);
        let (wal, replayed, _) = builder(variant, config.clone()).open().unwrap();
        assert_eq!(replayed, events(10..20), "{variant:?}");

        let freed = wal.discard_before(15).unwrap();
        let first = freed.first_seq.get();
        assert!(freed.segments > 0 && first > 11 && first <= 15, "{freed:?}");
        drop(wal);
        let (wal, replayed, report) = builder(variant, config).open().unwrap();
        assert_eq!(replayed, events(first - 1..20), "{variant:?}");
        assert_eq!((report.checkpoint_seq, report.events_lost), (10, 0));
        assert_eq!(report.replayed_from, first);
        assert_eq!(wal.append(event(20)).unwrap(), 21);
    }
}

#[test]
fn shards_in_one_directory_do_not_see_each_other() {
    for variant in variants("shards") {
        let dir = tempfile::tempdir().unwrap();
        let log_dir = dir.path().join("wal");
        let shards = [0, 1, 65_535].map(ShardId::new);
        let open = |shard| builder(variant, config(dir.path())).shard(shard).open().unwrap();
        let handles = shards.map(|shard| open(shard).0);
        for (n, wal) in (1..).zip(&handles) {
            for n in 0..n {
                assert_eq!(wal.append(event(n)).unwrap(), n + 1, "{variant:?}");
            }
        }
        handles[1].checkpoint(1).unwrap();
        drop(handles);
        let replayed = shards.map(|shard| open(shard).1);
        assert_eq!(replayed, [events(0..1), events(1..2), events(0..3)], "{variant:?}");
        let read = |shard| CheckpointManager::read_shard(&log_dir, shard).unwrap();
        let seqs = shards.map(|shard| read(shard).map(|(seq, _)| seq));
        assert_eq!(seqs, [None, Some(1), None]);
        let found = recover_shard(&log_dir, shards[1]).unwrap();
        assert_eq!(found.events, events(0..2));
        assert_eq!(found.after_checkpoint(), events(1..2));
    }
}

#[test]
fn a_log_of_other_records_is_named_with_the_first_that_is_no_event() {
    let dir = tempfile::tempdir().unwrap();
    let log_dir = dir.path().join("wal");
    // A log without a kind takes the kind that it is opened as.
    let log = Log::builder(&log_dir).kind(None).open().unwrap();
    log.append([0; 21]).unwrap();
    log.append("hello").unwrap();
    drop(log);
    let opened = WalHandle::open(config(dir.path())).unwrap_err();
    let read = ringwal::wal::reader::recover(&log_dir).unwrap_err();
    for error in [opened, read] {
        assert!(matches!(error, Error::NotALog { .. }), "{error:?}");
        assert!(error.to_string().contains("record 2 has 5 bytes"), "{error}");
    }
    assert_eq!(common::contents(&Log::open(&log_dir).unwrap()).len(), 2);
}

#[test]
fn a_batch_is_numbered_in_order_and_becomes_one_batch_on_disk() {
    for variant in variants("append_batch") {
        let dir = tempfile::tempdir().unwrap();
        let (wal, _, _) = open(variant, dir.path());
        assert_eq!(wal.append(event(3)).unwrap(), 1);
        let batches = wal.metrics().batches;
        let seqs = wal.append_batch(&events([1, 3, 2, 1, 4])).unwrap();
        assert_eq!(seqs, [2, 0, 3, 0, 4], "{variant:?}");
        assert_eq!(wal.metrics().batches, batches + 1);
        assert_eq!(wal.append_batch(&events([1, 2])).unwrap(), [0, 0]);
        assert_eq!(wal.append_batch(&[]).unwrap(), []);
        drop(wal);
        assert_eq!(open(variant, dir.path()).1, events([3, 1, 2, 4]));
    }
}

#[test]
fn tickets_can_be_awaited() {
    struct Nobody;
    impl std::task::Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }
    for variant in variants("awaited") {
        let dir = tempfile::tempdir().unwrap();
        let (wal, _, _) = open(variant, dir.path());
        let waker = std::task::Waker::from(Arc::new(Nobody));
        let mut context = std::task::Context::from_waker(&waker);
        let mut seqs = BTreeSet::new();
        for n in [0, 1, 1, 2, 0] {
            let mut ticket = std::pin::pin!(wal.submit(event(n)).unwrap());
            let seq = loop {
                match ticket.as_mut().poll(&mut context) {
                    std::task::Poll::Ready(seq) => break seq.unwrap(),
                    std::task::Poll::Pending => std::thread::yield_now(),
                }
            };
            seqs.insert(seq);
        }
        assert_eq!(seqs, BTreeSet::from([0, 1, 2, 3]), "{variant:?}");
    }
}

//! A log names its kind in `state`, and opening it as another kind fails.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::fs;
use std::path::Path;

use ringwal::kv::{DataReader, DataWal};
use ringwal::wal::format::{EventRecord, encode_batch};
use ringwal::wal::{SignalEvent, WalConfig, WalHandle, reader, segment::segment_filename};
use ringwal::{Error, Kind, Log};

mod common;

const EVENT: SignalEvent =
    SignalEvent { entity_id: 7, signal_type: 1, weight: 0.5, timestamp_nanos: 9 };

fn config(dir: &Path) -> WalConfig {
    WalConfig { dir: dir.to_path_buf(), ..WalConfig::default() }
}

fn begin(kind: Kind, dir: &Path) {
    match kind {
        Kind::Raw => drop(Log::open(dir.join("wal")).unwrap().append("raw").unwrap()),
        Kind::Events => drop(WalHandle::open(config(dir)).unwrap().0.append(EVENT).unwrap()),
        _ => DataWal::open(dir.join("wal")).unwrap().put("key", "value").unwrap(),
    }
}

fn open(kind: Kind, dir: &Path) -> Result<(), Error> {
    match kind {
        Kind::Raw => Log::open(dir.join("wal")).map(drop),
        Kind::Events => WalHandle::open(config(dir)).map(drop),
        _ => DataWal::open(dir.join("wal")).map(drop),
    }
}

fn read(kind: Kind, dir: &Path) -> Result<(), Error> {
    match kind {
        Kind::Raw => Log::builder(dir).read_only().map(drop),
        Kind::Events => reader::recover(dir).map(drop),
        _ => DataReader::open(dir).map(drop),
    }
}

const KINDS: [Kind; 3] = [Kind::Raw, Kind::Events, Kind::Kv];

#[test]
fn a_log_is_opened_as_what_it_began_as_and_else_refused_and_not_changed() {
    for began in KINDS {
        let dir = tempfile::tempdir().unwrap();
        let log_dir = dir.path().join("wal");
        begin(began, dir.path());
        let before = common::snapshot(&log_dir);
        for other in KINDS.into_iter().filter(|kind| *kind != began) {
            let mut refusals = vec![open(other, dir.path())];
            match other {
                Kind::Raw => read(other, &log_dir).unwrap(),
                _ => refusals.push(read(other, &log_dir)),
            }
            for refused in refusals.into_iter().map(Result::unwrap_err) {
                let message = refused.to_string();
                match refused {
                    Error::OtherKind { found, wanted, path } => {
                        assert_eq!((found, wanted, path), (began, other, log_dir.clone()));
                    }
                    other => panic!("{other}"),
                }
                for part in [began.to_string(), other.to_string(), "open it with".to_owned()] {
                    assert!(message.contains(&part), "{message}");
                }
            }
        }
        assert_eq!(common::snapshot(&log_dir), before);
        assert_eq!(Log::builder(&log_dir).verify().unwrap().kind, Some(began));
        read(began, &log_dir).unwrap();
        open(began, dir.path()).unwrap();
        // A tool that repairs and appends nothing need not know the kind.
        let repaired = Log::builder(&log_dir).kind(None).open().unwrap();
        assert_eq!(repaired.recovery().kind, Some(began));
    }
}

#[test]
fn a_log_that_says_nothing_is_adopted_by_who_opens_it_first() {
    for kind in [Kind::Raw, Kind::Events] {
        for stand_alone in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let log_dir = dir.path().join("wal");
            if stand_alone {
                fs::create_dir(&log_dir).unwrap();
                let batch = encode_batch(&[EventRecord::from(EVENT)], 1, 5).unwrap();
                fs::write(log_dir.join(segment_filename(Default::default(), 1)), batch).unwrap();
            } else {
                let log = Log::builder(&log_dir).kind(None).open().unwrap();
                log.append([0; 21]).unwrap();
                assert_eq!(log.recovery().kind, None);
            }
            assert_eq!(Log::builder(&log_dir).verify().unwrap().kind, None);
            // Opening to read only adopts no kind.
            read(Kind::Events, &log_dir).unwrap();
            open(kind, dir.path()).unwrap();
            let found = Log::builder(&log_dir).verify().unwrap();
            assert_eq!((found.kind, found.records), (Some(kind), 1));
            assert!(matches!(open(Kind::Kv, dir.path()), Err(Error::OtherKind { .. })));
        }
    }
}

#[test]
fn a_kind_outlives_truncations_checkpoints_and_reopenings() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let log = Log::builder(dir.path()).label(*b"records1").open().unwrap();
        let seq = log.append("one").unwrap();
        log.append("two").unwrap();
        log.checkpoint(seq, "here").unwrap();
        log.truncate_after(seq).unwrap();
        log.rotate().unwrap();
        log.truncate_before(seq).unwrap();
        log.close().unwrap();
        let found = Log::builder(dir.path()).verify().unwrap();
        assert_eq!((found.kind, found.label), (Some(Kind::Raw), Some(*b"records1")));
    }
}

#[test]
fn whoever_names_another_label_is_refused_and_who_names_none_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let builder = || Log::builder(dir.path());
    builder().open().unwrap().append("before it had one").unwrap();
    builder().label(*b"orders\0\0").open().unwrap();
    let before = common::snapshot(dir.path());
    let other = || builder().label(*b"invoices");
    for refused in [other().open().map(drop), other().read_only().map(drop)] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, Error::OtherLabel { .. }), "{refused}");
        let message = refused.to_string();
        assert!(message.contains("\"orders\"") && message.contains("\"invoices\""), "{message}");
    }
    assert_eq!(common::snapshot(dir.path()), before);
    builder().label(*b"orders\0\0").read_only().unwrap();
    assert_eq!(builder().open().unwrap().recovery().label, Some(*b"orders\0\0"));

    let store = dir.path().join("store");
    let labelled = |label| DataWal::builder(&store).label(label);
    let copy = dir.path().join("copy");
    labelled(*b"v1\0\0\0\0\0\0").open().unwrap().compact_to(&copy).unwrap();
    for dir in [&store, &copy] {
        let other = DataWal::builder(dir).label([9; 8]).open().unwrap_err();
        assert!(matches!(other, Error::OtherLabel { .. }), "{other}");
        assert!(other.to_string().contains("\\t\\t"), "{other}");
    }
}

//! Files that were cut short: the remaining events come back, and the log takes new ones.

use std::fs;
use std::path::Path;

use ringwal::replication::ShardId;
use ringwal::wal::WalHandle;
use ringwal::wal::format::{EventRecord, encode_batch};
use ringwal::wal::reader::recover;
use ringwal::wal::segment::{list_segments, segment_filename};
use ringwal::{Error, RecoveryPolicy, Verdict};

use crate::common::{self, variants};
use crate::{builder, config, copy_log, event, events, open};

/// Batches of 1, 2, 3, 4 and 5 events, and where each ends.
fn batches() -> (Vec<u8>, Vec<(usize, u64)>) {
    let (mut bytes, mut ends, mut next) = (Vec::new(), vec![(0, 0)], 0);
    for len in 1..=5 {
        let records: Vec<EventRecord> =
            events(next..next + len).into_iter().map(Into::into).collect();
        bytes.extend(encode_batch(&records, next + 1, 9).unwrap());
        next += len;
        ends.push((bytes.len(), next));
    }
    (bytes, ends)
}

/// How many events the whole batches in the first `len` bytes have.
fn whole(ends: &[(usize, u64)], len: usize) -> u64 {
    ends.iter().take_while(|(end, _)| *end <= len).last().unwrap().1
}

#[test]
fn a_file_cut_at_any_byte_has_the_whole_batches_before_the_cut() {
    let (bytes, ends) = batches();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(segment_filename(ShardId::SINGLE, 1));
    for len in 0..=bytes.len() {
        fs::write(&path, &bytes[..len]).unwrap();
        let found = recover(dir.path()).unwrap();
        assert_eq!(found.events, events(0..whole(&ends, len)), "cut at byte {len}");
        assert_eq!(fs::read(&path).unwrap(), &bytes[..len], "reading changes nothing");
    }
}

#[test]
fn a_log_whose_only_file_was_cut_at_any_byte_opens_and_goes_on() {
    let (bytes, ends) = batches();
    for len in (0..=bytes.len()).step_by(7) {
        let dir = tempfile::tempdir().unwrap();
        let log_dir = dir.path().join("wal");
        fs::create_dir_all(&log_dir).unwrap();
        fs::write(log_dir.join(segment_filename(ShardId::SINGLE, 1)), &bytes[..len]).unwrap();
        let left = whole(&ends, len);
        let (wal, replayed, report) = WalHandle::open(config(dir.path())).unwrap();
        assert_eq!(replayed, events(0..left), "cut at byte {len}");
        assert_eq!(report.bytes_cut > 0, ends.iter().all(|(end, _)| *end != len));
        assert_eq!(wal.append(event(100)).unwrap(), left + 1);
        drop(wal);
        let again = WalHandle::open(config(dir.path())).unwrap().1;
        assert_eq!(again, events((0..left).chain([100])), "cut at byte {len}");
    }
}

#[test]
fn any_file_of_a_closed_log_cut_at_any_place_is_still_read_up_to_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.segment_size = 8192;
    let (wal, _, _) = WalHandle::open(config).unwrap();
    for n in 0..12 {
        wal.append(event(n)).unwrap();
    }
    wal.shutdown().unwrap();
    let log_dir = dir.path().join("wal");
    let mut paths: Vec<_> = list_segments(&log_dir).unwrap();
    paths.push((u64::MAX, log_dir.join("state")));
    for (first_seq, path) in paths {
        let whole = fs::read(&path).unwrap();
        for len in (0..whole.len()).step_by(61) {
            fs::write(&path, &whole[..len]).unwrap();
            let found = recover(&log_dir).unwrap().events;
            assert_eq!(found, events(0..found.len() as u64));
            assert!(found.len() as u64 >= first_seq.min(13) - 1, "{}: {len}", path.display());
        }
        fs::write(&path, &whole).unwrap();
    }
    assert_eq!(recover(&log_dir).unwrap().events, events(0..12));
}

fn cut_last_segment(dir: &Path) -> u64 {
    let (first_seq, path) = list_segments(&dir.join("wal")).unwrap().pop().unwrap();
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() * 7 / 10).unwrap();
    first_seq
}

#[test]
fn a_last_segment_cut_to_seventy_percent_loses_its_end_and_takes_appends_again() {
    for variant in variants("seventy_percent") {
        let dir = tempfile::tempdir().unwrap();
        let (wal, _, _) = open(variant, dir.path());
        for n in 0..40 {
            wal.append(event(n)).unwrap();
        }
        wal.shutdown().unwrap();
        let first_seq = cut_last_segment(dir.path());
        let (wal, replayed, report) = open(variant, dir.path());
        let left = replayed.len() as u64;
        assert_eq!(replayed, events(0..left), "{variant:?}");
        assert!(left >= first_seq - 1 && left < 40, "{left}");
        assert_eq!(report.recovery.verdict, Verdict::Corrupt);
        assert_eq!(report.events_lost, 40 - left, "{variant:?}");
        // Lost events are not remembered as duplicates either.
        assert_eq!(wal.append(event(39)).unwrap(), left + 1);
        assert_eq!(wal.append(event(0)).unwrap(), 0);
        for n in 100..110 {
            wal.append(event(n)).unwrap();
        }
        drop(wal);
        let (_wal, replayed, report) = open(variant, dir.path());
        assert_eq!(replayed, events((0..left).chain([39]).chain(100..110)), "{variant:?}");
        assert_eq!(report.recovery.verdict, Verdict::Clean);
    }
}

#[test]
fn events_appended_after_a_checkpoint_was_cut_off_are_replayed() {
    for variant in variants("checkpoint_cut_off") {
        let dir = tempfile::tempdir().unwrap();
        let (wal, _, _) = open(variant, dir.path());
        for n in 0..40 {
            wal.append(event(n)).unwrap();
        }
        wal.checkpoint(40).unwrap();
        wal.shutdown().unwrap();
        cut_last_segment(dir.path());
        let (wal, replayed, report) = open(variant, dir.path());
        assert_eq!(replayed, [], "{variant:?}");
        assert!(report.checkpoint_seq < 40, "{report}");
        assert_eq!(wal.append(event(50)).unwrap(), report.checkpoint_seq + 1);
        drop(wal);
        assert_eq!(open(variant, dir.path()).1, events([50]), "{variant:?}");
    }
}

#[test]
fn damage_before_the_end_is_an_error_and_loses_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.segment_size = 256;
    let (wal, _, _) = WalHandle::open(config.clone()).unwrap();
    for n in 0..10 {
        wal.append(event(n)).unwrap();
    }
    wal.shutdown().unwrap();
    copy_log(dir.path(), copy.path());
    let (_, path) = list_segments(&copy.path().join("wal")).unwrap().swap_remove(1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[80] ^= 1;
    fs::write(&path, bytes).unwrap();
    config.dir = copy.path().to_path_buf();
    let error = WalHandle::open(config).unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
    let found = recover(&copy.path().join("wal")).unwrap();
    let before = found.events.len() as u64;
    assert!(before > 0 && found.recovery.corruption.is_some(), "{:?}", found.recovery);
    assert_eq!(found.events, events(0..before));
}

/// A closed log of 40 events whose last batches have one flipped bit; returns the last number
/// before it.
fn flipped(variant: common::Variant, dir: &Path) -> u64 {
    let (wal, _, _) = open(variant, dir);
    for n in 0..40 {
        wal.append(event(n)).unwrap();
    }
    wal.shutdown().unwrap();
    let (_, path) = list_segments(&dir.join("wal")).unwrap().pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    recover(&dir.join("wal")).unwrap().events.len() as u64
}

#[test]
fn what_tolerance_cuts_away_is_kept_and_reported_until_it_is_acknowledged() {
    for variant in variants("kept_and_reported") {
        let dir = tempfile::tempdir().unwrap();
        let left = flipped(variant, dir.path());
        let mut kept = None;
        for life in 0..3 {
            let (wal, _, report) = open(variant, dir.path());
            assert_eq!(report.events_lost, 40 - left, "life {life}");
            let [loss] = &report.recovery.losses[..] else { panic!("{report}") };
            assert_eq!((loss.first_seq.get(), loss.last_seq.get()), (left + 1, 40));
            assert!(report.to_string().contains(loss.path.to_str().unwrap()), "{report}");
            let bytes = fs::read(&loss.path).unwrap();
            let last = event(39).entity_id.to_le_bytes();
            let found = bytes.windows(8).any(|window| window == last);
            assert!(found, "the last event is in what was kept");
            assert_eq!(*kept.get_or_insert(bytes.clone()), bytes);
            wal.append(event(100 + life)).unwrap();
            if life == 2 {
                assert_eq!(wal.acknowledge_loss().unwrap(), 1);
                assert_eq!(wal.acknowledge_loss().unwrap(), 0);
            }
        }
        let (_wal, replayed, report) = open(variant, dir.path());
        assert_eq!((report.events_lost, report.recovery.losses.len()), (0, 0));
        assert_eq!(replayed.len() as u64, left + 3);
        let names = common::files(&dir.path().join("wal"));
        assert_eq!(names.iter().filter(|name| name.ends_with(".seen")).count(), 1, "{names:?}");
    }
}

#[test]
fn an_event_log_can_be_told_to_tolerate_nothing() {
    for variant in variants("tolerate_nothing") {
        let dir = tempfile::tempdir().unwrap();
        flipped(variant, dir.path());
        let before = common::files(&dir.path().join("wal"));
        let strict = builder(variant, config(dir.path())).recovery(RecoveryPolicy::Strict).open();
        assert!(matches!(strict, Err(Error::Corrupt(_))), "{strict:?}");
        assert_eq!(common::files(&dir.path().join("wal")), before);
    }
}

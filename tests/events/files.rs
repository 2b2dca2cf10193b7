//! The files of an event log: their names, their ends, and files made without a log.

use std::fs;

use ringwal::Verdict;
use ringwal::format::{Place, decode};
use ringwal::replication::ShardId;
use ringwal::wal::format::{EventRecord, HEADER_SIZE, encode_batch};
use ringwal::wal::reader::recover;
use ringwal::wal::segment::{list_segments, segment_filename};
use ringwal::wal::{WalConfig, WalHandle};

use crate::common::variants;
use crate::{builder, config, event, events};

#[test]
fn tiny_segments_take_a_batch_each_and_are_listed_in_order() {
    for variant in variants("tiny_segments") {
        let dir = tempfile::tempdir().unwrap();
        let config = WalConfig { segment_size: 256, ..config(dir.path()) };
        let (wal, _, _) = builder(variant, config.clone()).open().unwrap();
        for n in 0..100 {
            assert_eq!(wal.append(event(n)).unwrap(), n + 1);
        }
        wal.shutdown().unwrap();
        let log_dir = dir.path().join("wal");
        let segments = list_segments(&log_dir).unwrap();
        assert!(segments.len() > 3, "{variant:?}: {}", segments.len());
        assert_eq!(segments[0].0, 1);
        assert!(segments.is_sorted_by(|a, b| a.0 < b.0), "{segments:?}");
        for (first_seq, path) in &segments {
            assert_eq!(*path, log_dir.join(segment_filename(ShardId::SINGLE, *first_seq)));
            assert!(fs::metadata(path).unwrap().len() > 0, "{}", path.display());
        }
        assert_eq!(builder(variant, config).open().unwrap().1, events(0..100), "{variant:?}");
    }
}

#[test]
fn after_a_clean_close_every_segment_ends_with_its_last_batch() {
    for variant in variants("clean_close") {
        let dir = tempfile::tempdir().unwrap();
        let config = WalConfig { segment_size: 16 * 1024, ..config(dir.path()) };
        let (wal, _, _) = builder(variant, config).open().unwrap();
        for n in 0..30 {
            wal.append(event(n)).unwrap();
        }
        wal.shutdown().unwrap();
        for (segment, path) in list_segments(&dir.path().join("wal")).unwrap() {
            let bytes = fs::read(&path).unwrap();
            let mut end = 0;
            let place = Place { log: None, segment };
            while let Ok(batch) = decode(&bytes[end..], Some(&place)) {
                let header = *batch.header();
                let next = end as u64 + header.frame_bytes();
                if next >= bytes.len() as u64 {
                    assert_eq!(bytes.len() as u64, end as u64 + header.end_bytes(), "{variant:?}");
                    end = bytes.len();
                    break;
                }
                end = next as usize;
            }
            assert_eq!(end, bytes.len(), "{variant:?}: {}", path.display());
        }
    }
}

#[test]
fn batches_laid_end_to_end_are_a_log() {
    for variant in variants("end_to_end") {
        let dir = tempfile::tempdir().unwrap();
        let log_dir = dir.path().join("wal");
        fs::create_dir_all(&log_dir).unwrap();
        let records: Vec<EventRecord> = events(0..10).into_iter().map(Into::into).collect();
        let mut bytes = encode_batch(&records[..3], 1, 5).unwrap();
        assert_eq!(bytes.len(), HEADER_SIZE + 3 * 29);
        bytes.extend(encode_batch(&records[3..4], 4, 6).unwrap());
        bytes.extend(encode_batch(&records[4..], 5, 7).unwrap());
        fs::write(log_dir.join(segment_filename(ShardId::SINGLE, 1)), bytes).unwrap();

        assert_eq!(recover(&log_dir).unwrap().events, events(0..10));
        let (wal, replayed, report) = builder(variant, config(dir.path())).open().unwrap();
        assert_eq!(replayed, events(0..10), "{variant:?}");
        assert_eq!(report.recovery.verdict, Verdict::Clean);
        assert_eq!(report.events_remembered, 0, "their times are long past");
        assert_eq!(wal.append(event(10)).unwrap(), 11);
        drop(wal);
        assert_eq!(recover(&log_dir).unwrap().events, events(0..11), "{variant:?}");
    }
}

#[test]
fn an_event_is_its_four_fields_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _) = WalHandle::open(config(dir.path())).unwrap();
    let bits = [0, 0x8000_0000, 0x7fc0_0001, 0x7f80_0000, 1, u32::MAX];
    for bits in bits {
        let weight = f32::from_bits(bits);
        let event = ringwal::wal::SignalEvent {
            entity_id: u64::MAX,
            signal_type: 255,
            weight,
            timestamp_nanos: u64::MAX,
        };
        assert_ne!(wal.append(event).unwrap(), 0, "{bits:#x} differs by its bits");
        assert_eq!(wal.append(event).unwrap(), 0, "{bits:#x} equals itself");
    }
    drop(wal);
    let (_wal, replayed, _) = WalHandle::open(config(dir.path())).unwrap();
    let found: Vec<u32> = replayed.iter().map(|event| event.weight.to_bits()).collect();
    assert_eq!(found, bits);
}

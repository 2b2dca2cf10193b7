//! The record log.

use ringwal::datawal::{
    MAX_KEY_LEN, MAX_PAYLOAD_LEN, Record, RecordLog, RecordLogReader, RecordRef, RecordType,
    RecoveryReport, testing,
};

use crate::{log_in, on_backends, said};

#[test]
fn records_come_back_with_their_types_keys_numbers_and_places() {
    on_backends("records_come_back_with_their_types_keys_numbers_and_places", |dir, kind| {
        let mut log = log_in(dir, kind);
        let raw = log.append(b"bytes").unwrap();
        let put = log.append_record(RecordType::Put, b"key", b"value").unwrap();
        let keyed = log.append_record(RecordType::Raw, b"key", b"").unwrap();
        let gone = log.append_record(RecordType::Delete, b"", b"payload").unwrap();
        assert_eq!(raw, RecordRef { segment: 1, offset: 0, len: 28 + 5 });
        assert_eq!(put, RecordRef { segment: 1, offset: 33, len: 28 + 8 });
        assert_eq!(keyed, RecordRef { segment: 1, offset: 69, len: 28 + 3 });
        assert_eq!(gone, RecordRef { segment: 1, offset: 100, len: 28 + 7 });

        let check = |records: &[Record]| {
            assert_eq!(said(&records[0]), (RecordType::Raw, &b""[..], &b"bytes"[..]));
            assert_eq!(said(&records[1]), (RecordType::Put, &b"key"[..], &b"value"[..]));
            assert_eq!(said(&records[2]), (RecordType::Raw, &b"key"[..], &b""[..]));
            assert_eq!(said(&records[3]), (RecordType::Delete, &b""[..], &b"payload"[..]));
            for (at, (record, place)) in records.iter().zip([raw, put, keyed, gone]).enumerate() {
                let Record { txid, segment, offset, len, .. } = *record;
                assert_eq!(txid, at as u64 + 1);
                assert_eq!(RecordRef { segment, offset, len }, place);
            }
            assert_eq!(records.len(), 4);
        };
        // Not synced yet, and shown.
        check(&log.scan().unwrap());
        log.close().unwrap();
        let mut log = log_in(dir, kind);
        check(&log.scan().unwrap());
        let lazily: Vec<Record> = log.scan_iter().unwrap().map(Result::unwrap).collect();
        check(&lazily);
        assert_eq!(log.append(b"").unwrap().offset, 135);
        assert_eq!(log.scan().unwrap()[4].txid, 5);
    });
}

#[test]
fn segments_are_numbered_from_one_and_survive_reopening() {
    on_backends("segments_are_numbered_from_one_and_survive_reopening", |dir, kind| {
        let mut log = log_in(dir, kind);
        assert_eq!(log.active_segment(), 1);
        log.append(b"a").unwrap();
        log.rotate().unwrap();
        log.rotate().unwrap();
        assert_eq!(log.active_segment(), 3);
        drop(log);
        let mut log = log_in(dir, kind);
        assert_eq!(log.active_segment(), 3);
        let place = log.append(b"b").unwrap();
        assert_eq!(place, RecordRef { segment: 3, offset: 0, len: 29 });
        let records = log.scan().unwrap();
        let places: Vec<_> = records.iter().map(|r| (r.segment, r.offset, r.txid)).collect();
        assert_eq!(places, [(1, 0, 1), (3, 0, 2)]);
        let report = log.recovery_report().unwrap();
        assert_eq!((report.files_scanned, report.last_txid_seen), (3, 2));
    });
}

#[test]
fn the_report_counts_what_opening_and_scanning_found() {
    on_backends("the_report_counts_what_opening_and_scanning_found", |dir, kind| {
        let mut log = log_in(dir, kind);
        let empty = RecoveryReport { files_scanned: 1, ..RecoveryReport::default() };
        assert_eq!(log.recovery_report().unwrap(), empty);
        assert!(log.scan().unwrap().is_empty());
        assert_eq!(log.recovery_report().unwrap(), empty);
        log.append(b"a").unwrap();
        log.append(b"b").unwrap();
        let two = RecoveryReport { records_replayed: 2, last_txid_seen: 2, ..empty.clone() };
        // It is of the last scan.
        assert_eq!(log.recovery_report().unwrap(), empty);
        let mut records = log.scan_iter().unwrap();
        assert_eq!(records.next().unwrap().unwrap().payload, b"a");
        assert_eq!(records.recovery_report().records_replayed, 1);
        assert_eq!(records.by_ref().count(), 1);
        assert_eq!(records.recovery_report(), two);
        assert!(records.next().is_none());
        drop(records);
        assert_eq!(log.recovery_report().unwrap(), empty);
        assert_eq!(log.scan().unwrap().len(), 2);
        assert_eq!(log.recovery_report().unwrap(), two);
        drop(log);
        assert_eq!(log_in(dir, kind).recovery_report().unwrap(), two);
    });
}

#[test]
fn a_torn_tail_is_cut_off_and_told() {
    on_backends("a_torn_tail_is_cut_off_and_told", |dir, kind| {
        let mut log = log_in(dir, kind);
        log.append(b"kept").unwrap();
        log.append(b"torn").unwrap();
        // As the death of the machine leaves it: the log was not closed, and the last write is in
        // pieces.
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
        drop(log);
        damage(copy.path(), b"torn");
        let mut log = log_in(copy.path(), kind);
        let report = log.recovery_report().unwrap();
        assert_eq!((report.records_replayed, report.tail_truncated), (1, 1));
        assert!(report.tail_bytes_discarded > 0);
        assert_eq!(log.scan().unwrap().len(), 1);
        assert_eq!(log.recovery_report().unwrap(), report);
        let mut records = log.scan_iter().unwrap();
        assert_eq!(records.by_ref().count(), 1);
        assert_eq!(records.recovery_report(), report);
        drop(records);
        assert_eq!(log.append(b"next").unwrap().offset, 32);
        drop(log);
        let mut log = log_in(copy.path(), kind);
        assert_eq!(log.scan().unwrap()[1].payload, b"next");
        assert_eq!(log.recovery_report().unwrap().tail_truncated, 0);
    });
}

/// Flips a bit of these bytes, wherever they lie in the segments.
pub(crate) fn damage(dir: &std::path::Path, bytes: &[u8]) {
    let mut hits = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let mut content = std::fs::read(&path).unwrap();
        if path.extension().is_some_and(|end| end == "seg")
            && let Some(at) = content.windows(bytes.len()).position(|window| window == bytes)
        {
            content[at] ^= 1;
            std::fs::write(&path, content).unwrap();
            hits += 1;
        }
    }
    assert_eq!(hits, 1);
}

#[test]
fn damage_to_what_was_synced_is_an_error_of_the_scan_and_of_opening() {
    on_backends("damage_to_what_was_synced_is_an_error_of_the_scan_and_of_opening", |dir, kind| {
        let mut log = log_in(dir, kind);
        for payload in [&b"first"[..], b"second", b"third"] {
            log.append(payload).unwrap();
            log.fsync().unwrap();
        }
        damage(dir, b"second");
        let mut records = log.scan_iter().unwrap();
        assert_eq!(records.next().unwrap().unwrap().payload, b"first");
        let error = records.next().unwrap().unwrap_err();
        assert!(format!("{error:#}").contains("segment 1"), "{error:#}");
        assert!(records.next().is_none());
        drop(records);
        assert!(log.scan().is_err());
        drop(log);
        let error = RecordLog::open_with_backend(dir, kind).unwrap_err();
        let cause = error.downcast_ref::<ringwal::Error>();
        assert!(matches!(cause, Some(ringwal::Error::Corrupt(_))), "{error:#}");
    });
}

#[test]
fn lengths_over_the_limits_are_refused_and_end_nothing() {
    on_backends("lengths_over_the_limits_are_refused_and_end_nothing", |dir, kind| {
        let mut log = log_in(dir, kind);
        let key = vec![7; MAX_KEY_LEN as usize + 1];
        let error = log.append_record(RecordType::Put, &key, b"").unwrap_err();
        assert!(error.to_string().contains("MAX_KEY_LEN"), "{error}");
        let payload = vec![7; MAX_PAYLOAD_LEN as usize + 1];
        let error = log.append(&payload).unwrap_err();
        assert!(error.to_string().contains("MAX_PAYLOAD_LEN"), "{error}");
        assert!(!log.is_poisoned());
        let (key, payload) = (&key[1..], &payload[1..]);
        let place = log.append_record(RecordType::Raw, key, payload).unwrap();
        assert_eq!(place.offset, 0);
        drop(log);
        let log = log_in(dir, kind);
        let record = log.scan_iter().unwrap().next().unwrap().unwrap();
        assert!(record.key == key && record.payload == payload);
    });
}

#[test]
fn a_second_writer_is_told_that_the_log_is_locked() {
    on_backends("a_second_writer_is_told_that_the_log_is_locked", |dir, kind| {
        let log = log_in(dir, kind);
        let error = RecordLog::open_with_backend(dir, kind).unwrap_err();
        assert!(error.to_string().starts_with("datawal: log directory is already locked"));
        let cause = error.downcast_ref::<ringwal::Error>();
        assert!(matches!(cause, Some(ringwal::Error::Locked { .. })), "{error:#}");
        drop(log);
        log_in(dir, kind).close().unwrap();
        log_in(dir, kind);
    });
}

#[test]
fn a_handle_that_failed_says_so_in_the_words_of_datawal_and_still_reads() {
    on_backends(
        "a_handle_that_failed_says_so_in_the_words_of_datawal_and_still_reads",
        |dir, kind| {
            let mut log = log_in(dir, kind);
            log.append(b"kept").unwrap();
            assert!(!log.is_poisoned());
            testing::poison_record_log_for_test(&mut log, "a reason");
            assert!(log.is_poisoned());
            let errors = [
                log.append(b"lost").unwrap_err(),
                log.fsync().unwrap_err(),
                log.rotate().unwrap_err(),
            ];
            for error in errors {
                let expected = "datawal: writer poisoned: a reason; drop handle and reopen";
                assert_eq!(format!("{error:#}"), expected);
            }
            assert_eq!((log.active_segment(), log.dir()), (1, dir));
            assert_eq!(log.recovery_report().unwrap().files_scanned, 1);
            assert_eq!(log.scan_iter().unwrap().count(), 1);
            assert_eq!(log.scan().unwrap()[0].payload, b"kept");
            log.close().unwrap();
            let mut log = log_in(dir, kind);
            assert!(!log.is_poisoned());
            log.append(b"next").unwrap();
            assert_eq!(log.scan().unwrap().len(), 2);
        },
    );
}

#[test]
#[cfg(unix)]
fn the_first_failed_write_ends_the_handle_and_reopening_goes_on() {
    on_backends("the_first_failed_write_ends_the_handle_and_reopening_goes_on", |dir, kind| {
        // The next segment cannot have its name where the directory has lost its own.
        let (path, moved) = (dir.join("log"), dir.join("moved"));
        let mut log = log_in(&path, kind);
        log.append(b"kept").unwrap();
        log.fsync().unwrap();
        std::fs::rename(&path, &moved).unwrap();
        let payload = vec![7; 8 << 20];
        let error = (0..8).find_map(|_| log.append(&payload).err()).unwrap();
        assert!(format!("{error:#}").starts_with("datawal: append_record failed"), "{error:#}");
        assert!(error.downcast_ref::<ringwal::Error>().is_some() && log.is_poisoned());
        let expected = "datawal: writer poisoned: append_record failed; drop handle and reopen";
        for error in [log.append(b"").unwrap_err(), log.fsync().unwrap_err()] {
            assert_eq!(error.to_string(), expected);
        }
        assert_eq!((log.active_segment(), log.dir()), (1, &*path));
        log.close().unwrap();
        let mut log = log_in(&moved, kind);
        assert_eq!(log.scan_iter().unwrap().next().unwrap().unwrap().payload, b"kept");
        log.append(b"next").unwrap();
    });
}

#[test]
fn a_reader_has_the_segments_of_its_opening_and_takes_no_lock() {
    on_backends("a_reader_has_the_segments_of_its_opening_and_takes_no_lock", |dir, kind| {
        let empty = RecordLogReader::open(dir).unwrap();
        assert_eq!((empty.dir(), empty.segments()), (dir, &[][..]));
        assert_eq!(empty.scan_iter().unwrap().count(), 0);
        let mut log = log_in(dir, kind);
        assert_eq!(RecordLogReader::open(dir).unwrap().segments(), [1]);
        log.append(b"a").unwrap();
        log.rotate().unwrap();
        log.append(b"b").unwrap();
        let reader = RecordLogReader::open(dir).unwrap();
        assert_eq!(reader.segments(), [1, 2]);
        // One more of a segment that it has, and one of the next.
        log.append(b"c").unwrap();
        log.rotate().unwrap();
        log.append(b"d").unwrap();
        for _ in 0..2 {
            let mut records = reader.scan_iter().unwrap();
            let payloads: Vec<_> = records.by_ref().map(|r| r.unwrap().payload).collect();
            assert_eq!(payloads, [b"a", b"b", b"c"]);
            let report = records.recovery_report();
            assert_eq!((report.files_scanned, report.records_replayed), (2, 3));
        }
        assert_eq!(empty.scan_iter().unwrap().count(), 0);
        assert_eq!(RecordLogReader::open(dir).unwrap().segments(), [1, 2, 3]);
    });
}

#[test]
fn a_reader_wants_a_directory_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let error = RecordLogReader::open(&missing).unwrap_err();
    assert!(format!("{error:#}").contains("missing"), "{error:#}");
    assert!(!missing.exists());
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = RecordLogReader::open(&file).unwrap_err();
    assert!(format!("{error:#}").contains("is not a directory"), "{error:#}");
}

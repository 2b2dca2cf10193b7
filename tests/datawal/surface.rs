//! Every public name of the crate datawal 0.1.5, with its signature, as a program may use it. The
//! only line with this crate's name is the next one: `scripts/datawal-suite.sh` compiles this file
//! without it, against the crate itself.
use ringwal::datawal;

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};

use datawal::format::{
    self, CRC_LEN, DecodeError, DecodeOutcome, HEADER_LEN, MAGIC, decode_next, encode_record,
    record_wire_size,
};
use datawal::lock::{DirLock, LOCK_FILENAME};
use datawal::segment::{
    SEGMENT_EXT, SEGMENT_ID_WIDTH, active_segment_id, list_segment_ids, next_segment_id,
    parse_segment_filename, segment_path, segment_size,
};
use datawal::{
    CompactionStats, DataWal, MAX_KEY_LEN, MAX_PAYLOAD_LEN, Record, RecordIter, RecordLog,
    RecordLogReader, RecordRef, RecordType, RecoveryReport, WIRE_VERSION,
};

type Result<T> = anyhow::Result<T>;

/// The properties of each type.
trait Travels: Send + Sync + UnwindSafe + RefUnwindSafe + Unpin {}
impl<T: Send + Sync + UnwindSafe + RefUnwindSafe + Unpin> Travels for T {}

const fn travels<T: Travels>() {}
const fn shows<T: Travels + Debug + 'static>() {}
const fn is_a_value<T: Travels + Debug + Clone + PartialEq + Eq>() {}
const fn is_a_key<T: Travels + Debug + Copy + Hash + Eq>() {}
const fn is_default<T: Default>() {}
const fn is_an_error<T: std::error::Error + Display + Travels + Debug + 'static>() {}
const fn iterates<T: Iterator<Item = Result<Record>>>() {}

/// Every type has the traits it had.
const _: () = {
    shows::<DataWal>();
    shows::<RecordLog>();
    shows::<RecordLogReader>();
    shows::<DirLock>();
    shows::<DecodeOutcome>();
    travels::<RecordIter<'static>>();
    iterates::<RecordIter<'_>>();
    is_a_key::<RecordRef>();
    is_a_key::<RecordType>();
    is_a_value::<Record>();
    is_a_value::<RecoveryReport>();
    is_a_value::<CompactionStats>();
    is_default::<RecoveryReport>();
    is_default::<CompactionStats>();
    is_an_error::<DecodeError>();
};

#[test]
fn every_constant_has_the_type_and_the_value_it_had() {
    const LIMITS: (u32, u32) = (MAX_KEY_LEN, MAX_PAYLOAD_LEN);
    const HEAD: [u8; HEADER_LEN] = [0; HEADER_LEN];
    const SIZES: (usize, usize, u16) = (CRC_LEN, SEGMENT_ID_WIDTH, WIRE_VERSION);
    const NAMES: (&str, &str) = (SEGMENT_EXT, LOCK_FILENAME);
    const START: [u8; 4] = MAGIC;
    assert_eq!(LIMITS, (64 * 1024, 64 * 1024 * 1024));
    assert_eq!((format::MAX_KEY_LEN, format::MAX_PAYLOAD_LEN), LIMITS);
    assert_eq!((HEAD.len(), SIZES, &START), (24, (4, 8, 1), b"DWAL"));
    assert_eq!(format::WIRE_VERSION, WIRE_VERSION);
    // The two crates name the lock differently.
    assert!(NAMES.0 == "dwal" && !NAMES.1.is_empty());
    assert_eq!([RecordType::Raw as u8, RecordType::Put as u8, RecordType::Delete as u8], [0, 1, 2]);
    assert_eq!(format::RecordType::Put, RecordType::Put);
}

/// Every function has the signature it had.
#[allow(clippy::type_complexity, reason = "they are written out as they are")]
const _: () = {
    let _: fn(&Path) -> Result<DataWal> = DataWal::open;
    let _: fn(&DataWal) -> &Path = DataWal::dir;
    let _: fn(&DataWal) -> usize = DataWal::len;
    let _: fn(&DataWal) -> bool = DataWal::is_empty;
    let _: fn(&DataWal, &[u8]) -> bool = DataWal::contains_key;
    let _: fn(&DataWal, &[u8]) -> Option<RecordRef> = DataWal::ref_of;
    let _: fn(&mut DataWal, &[u8]) -> Result<Option<Vec<u8>>> = DataWal::get;
    let _: fn(&DataWal) -> Vec<Vec<u8>> = DataWal::keys;
    let _: fn(&mut DataWal) -> Result<Vec<(Vec<u8>, Vec<u8>)>> = DataWal::items;
    let _: fn(&mut DataWal, &[u8], &[u8]) -> Result<()> = DataWal::put;
    let _: fn(&mut DataWal, &[u8]) -> Result<()> = DataWal::delete;
    let _: fn(&mut DataWal) -> Result<()> = DataWal::fsync;
    let _: fn(&DataWal) -> &RecordLog = DataWal::log;
    let _: fn(&mut DataWal, &Path) -> Result<CompactionStats> = DataWal::compact_to;
    let _: fn(&mut DataWal, &Path) -> Result<()> = DataWal::export_jsonl;
    let _: fn(&DataWal) -> PathBuf = DataWal::dir_path_buf;

    let _: fn(&Path) -> Result<RecordLog> = RecordLog::open;
    let _: fn(&RecordLog) -> bool = RecordLog::is_poisoned;
    let _: fn(&mut RecordLog, &'static str) = RecordLog::__set_poisoned_for_test;
    let _: fn(&mut RecordLog, &'static str) = datawal::testing::poison_record_log_for_test;
    let _: fn(&RecordLog) -> &Path = RecordLog::dir;
    let _: fn(&RecordLog) -> u32 = RecordLog::active_segment;
    let _: fn(&RecordLog) -> Result<RecoveryReport> = RecordLog::recovery_report;
    let _: fn(&mut RecordLog, &[u8]) -> Result<RecordRef> = RecordLog::append;
    let _: fn(&mut RecordLog, RecordType, &[u8], &[u8]) -> Result<RecordRef> =
        RecordLog::append_record;
    let _: fn(&mut RecordLog) -> Result<Vec<Record>> = RecordLog::scan;
    let _: for<'l> fn(&'l RecordLog) -> Result<RecordIter<'l>> = RecordLog::scan_iter;
    let _: fn(&mut RecordLog) -> Result<()> = RecordLog::fsync;
    let _: fn(&mut RecordLog) -> Result<()> = RecordLog::rotate;
    let _: fn(RecordLog) -> Result<()> = RecordLog::close;

    let _: fn(&Path) -> Result<RecordLogReader> = RecordLogReader::open;
    let _: fn(&RecordLogReader) -> &Path = RecordLogReader::dir;
    let _: fn(&RecordLogReader) -> &[u32] = RecordLogReader::segments;
    let _: for<'r> fn(&'r RecordLogReader) -> Result<RecordIter<'r>> = RecordLogReader::scan_iter;
    let _: fn(&RecordIter<'static>) -> RecoveryReport = RecordIter::recovery_report;

    let _: fn(u8) -> Result<RecordType> = RecordType::from_byte;
    let _: fn(RecordType) -> u8 = RecordType::as_byte;
    let _: fn(u32, u32) -> u64 = record_wire_size;
    let _: fn(RecordType, u64, &[u8], &[u8]) -> Result<Vec<u8>> = encode_record;
    let _: fn(&[u8], u64) -> std::result::Result<DecodeOutcome, DecodeError> = decode_next;
    let _: fn(&Path) -> Result<DirLock> = DirLock::acquire;
    let _: fn(&DirLock) -> &Path = DirLock::path;
    let _: fn(&Path, u32) -> PathBuf = segment_path;
    let _: fn(&str) -> Option<u32> = parse_segment_filename;
    let _: fn(&Path) -> Result<Vec<u32>> = list_segment_ids;
    let _: fn(&Path) -> Result<Option<u32>> = active_segment_id;
    let _: fn(&[u32]) -> Result<u32> = next_segment_id;
    let _: fn(&Path, u32) -> Result<u64> = segment_size;
};

/// Structures are made and taken apart without a rest.
#[test]
fn every_structure_has_the_fields_it_had_and_no_other() {
    let place = RecordRef { segment: 1, offset: 2, len: 3 };
    let RecordRef { segment, offset, len } = place;
    let (key, payload) = (vec![1], vec![2]);
    let record_type = RecordType::Raw;
    let record = Record { record_type, txid: 7, key, payload, segment, offset, len };
    let Record { record_type: _, txid, key, payload, segment: _, offset: _, len: _ } = record;
    assert_eq!((txid, key, payload), (7, vec![1], vec![2]));
    let CompactionStats { live_keys, records_written, bytes_written } = CompactionStats::default();
    let _: [u64; 3] = [live_keys, records_written, bytes_written];
    let RecoveryReport {
        files_scanned,
        records_replayed,
        tail_truncated,
        tail_bytes_discarded,
        mid_stream_errors,
        unsupported_versions,
        last_txid_seen,
    } = RecoveryReport::default();
    let _: [u32; 4] = [files_scanned, tail_truncated, mid_stream_errors, unsupported_versions];
    let _: [u64; 3] = [records_replayed, tail_bytes_discarded, last_txid_seen];
}

/// Enumerations are matched exhaustively, and print the same texts as before.
#[test]
fn every_enumeration_has_the_variants_it_had_and_their_words() {
    let name = match RecordType::Raw {
        RecordType::Raw => "raw",
        RecordType::Put => "put",
        RecordType::Delete => "delete",
    };
    assert_eq!(name, "raw");
    let bytes = encode_record(RecordType::Put, 9, b"k", b"v").unwrap();
    let consumed = |found: DecodeOutcome| match found {
        DecodeOutcome::Ok { record_type: _, txid: _, key: _, payload: _, bytes_consumed } => {
            u64::from(bytes_consumed)
        }
        DecodeOutcome::Truncated { available, needed } => available.min(needed),
        DecodeOutcome::CrcMismatch { bytes_consumed } => u64::from(bytes_consumed),
    };
    assert_eq!(consumed(decode_next(&bytes, 0).unwrap()), 30);
    assert_eq!(consumed(decode_next(&bytes[..25], 0).unwrap()), 25);
    let changed = |at: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = to;
        decode_next(&bytes, 0)
    };
    assert_eq!(consumed(changed(28, 0).unwrap()), 30);
    for (at, to, words) in [
        (0, b'X', "datawal: bad magic, expected DWAL, got [88, 87, 65, 76]"),
        (4, 2, "datawal: unknown wire version 2 (this build supports 1)"),
        (6, 9, "datawal: unknown record_type byte 9"),
        (7, 1, "datawal: reserved flags byte must be 0, got 1"),
        (19, 1, "datawal: key_len 16777217 exceeds MAX_KEY_LEN 65536"),
        (23, 9, "datawal: payload_len 150994945 exceeds MAX_PAYLOAD_LEN 67108864"),
    ] {
        let error = changed(at, to).unwrap_err();
        assert_eq!(error.to_string(), words);
        let found: u64 = match error {
            DecodeError::BadMagic { found } => found.len() as u64,
            DecodeError::UnknownVersion { found } => found.into(),
            DecodeError::UnknownRecordType { found } => found.into(),
            DecodeError::ReservedFlagsSet { found } => found.into(),
            DecodeError::KeyTooLarge { found } => found.into(),
            DecodeError::PayloadTooLarge { found } => found.into(),
        };
        assert!(found > 0);
    }
}

/// Programs compare error texts, mostly their beginnings.
#[test]
fn errors_begin_with_the_words_they_began_with() {
    let begins = |error: anyhow::Error, words: &str| {
        assert!(error.to_string().starts_with(words), "{error:#}");
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = RecordLog::open(&path).unwrap();
    begins(
        RecordLog::open(&path).map(drop).unwrap_err(),
        "datawal: log directory is already locked: ",
    );
    begins(
        DirLock::acquire(&path).map(drop).unwrap_err(),
        "datawal: log directory is already locked: ",
    );
    let long = vec![0; MAX_KEY_LEN as usize + 1];
    let words = "datawal: key_len 65537 exceeds MAX_KEY_LEN 65536";
    begins(log.append_record(RecordType::Put, &long, b"").unwrap_err(), words);
    begins(encode_record(RecordType::Put, 1, &long, b"").unwrap_err(), words);
    let large = vec![0; MAX_PAYLOAD_LEN as usize + 1];
    let words = "datawal: payload_len 67108865 exceeds MAX_PAYLOAD_LEN 67108864";
    begins(log.append(&large).unwrap_err(), words);
    assert!(!log.is_poisoned());
    datawal::testing::poison_record_log_for_test(&mut log, "why");
    begins(log.fsync().unwrap_err(), "datawal: writer poisoned: why; drop handle and reopen");
    begins(RecordType::from_byte(3).unwrap_err(), "datawal: unknown record_type byte 3");
    begins(next_segment_id(&[u32::MAX]).unwrap_err(), "datawal: segment id overflow at");
    let missing = dir.path().join("missing");
    begins(RecordLogReader::open(&missing).unwrap_err(), "datawal: stat reader dir ");
    begins(list_segment_ids(&missing).unwrap_err(), "datawal: read_dir ");
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    begins(RecordLogReader::open(&file).unwrap_err(), "datawal: reader dir ");
    begins(RecordLog::open(&file).map(drop).unwrap_err(), "datawal: create_dir_all ");
    let mut store = DataWal::open(&dir.path().join("store")).unwrap();
    let error = store.compact_to(dir.path()).unwrap_err();
    begins(error, &format!("datawal: compact_to target {} is not empty", dir.path().display()));
}

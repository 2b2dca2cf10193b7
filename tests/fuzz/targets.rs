//! The fuzz targets: one function for each reader of untrusted bytes. They assert
//! the meaning of the bytes, not only that no call panics.
//!
//! The fuzzer and the stable test share this file. The first byte of an input says how the rest is
//! taken: with bit 0 set, checksums are made to hold first, which no mutation would find.

use std::collections::BTreeSet;

use ringwal::format::{
    HEADER_SIZE, Place, RecordHead, State, VERSION, decode, encode_stand_alone, newest,
    push_record, seal, slot_of, state_file,
};
use ringwal::io::{Access, SimDisk, Storage};
use ringwal::wal::format::EventRecord;
use ringwal::wal::reader::recover;
use ringwal::{Error, Kind, Log, RecoveryPolicy, Verdict};

use crate::files::{
    Files, LOG_ID, SEGMENT, place, segment_of, sign_frames, sign_slots, spread, unpack,
};

/// A target: its name and its function.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All of them.
#[allow(dead_code, reason = "the fuzzer has one binary for each")]
pub(crate) const TARGETS: [Target; 5] = [
    ("batch", batch),
    ("segment", segment),
    ("state", state),
    ("directory", directory),
    ("events", events),
];

fn split(input: &[u8], sign: fn(&mut [u8])) -> Option<(u8, Vec<u8>)> {
    let (&how, bytes) = input.split_first()?;
    let mut bytes = bytes.to_vec();
    if how & 1 != 0 {
        sign(&mut bytes);
    }
    Some((how, bytes))
}

/// The batch decoder accepts exactly the bytes that encoding produces.
pub(crate) fn batch(input: &[u8]) {
    let Some((how, bytes)) = split(input, |bytes| sign_frames(bytes, 1)) else { return };
    let here = place(1);
    if let Ok(batch) = decode(&bytes, Some(&here)) {
        let header = *batch.header();
        let mut frame = vec![0; header.frame_bytes() as usize];
        let (mut at, mut heads) = (HEADER_SIZE, Vec::new());
        for (record, seq) in batch.records().zip(header.first_seq..) {
            assert_eq!((record.seq, record.offset as usize), (seq, at));
            let head = RecordHead::of(record.bytes);
            heads.extend(head.to_bytes());
            at = push_record(&mut frame, at, head, record.bytes);
        }
        let sealed_at = (header.salt != 0).then_some(&here);
        seal(&mut frame, sealed_at, &header, &heads);
        let end = header.end_bytes() as usize;
        assert_eq!(frame[..end], bytes[..end], "what decodes is encoded to the same bytes");
        assert!(decode(&bytes[..end - 1], Some(&here)).is_err(), "a batch that lacks a byte");
        let mut damaged = bytes[..end].to_vec();
        damaged[usize::from(how) * 31 % end] ^= 1 << (how % 8);
        assert!(decode(&damaged, Some(&here)).is_err(), "a flipped bit");
    }
    let records: Vec<&[u8]> = bytes.chunks(usize::from(how) + 1).collect();
    let first_seq = 1 + u64::from(how);
    let Ok(encoded) = encode_stand_alone(records.iter().copied(), first_seq, 7, 0) else {
        return assert!(records.is_empty());
    };
    let decoded = decode(&encoded, None).expect("a batch that was just encoded");
    assert!(decoded.records().map(|record| record.bytes).eq(records));
}

/// The `state` file: the state that counts survives another round trip.
pub(crate) fn state(input: &[u8]) {
    let Some((how, bytes)) = split(input, sign_slots) else { return };
    let bytes = spread(&bytes);
    let Ok((state, slot)) = newest(&bytes) else { return };
    let counts = slot_of(&bytes, slot);
    assert_eq!(State::decode(counts).as_ref(), Ok(&state));
    let encoded = state.encode();
    assert_eq!(State::decode(encoded.as_slice()).as_ref(), Ok(&state));
    if how & 1 == 0 {
        assert!(encoded.as_slice() == counts, "what decodes is encoded to the same bytes");
    }
    if let Ok(other) = State::decode(slot_of(&bytes, 1 - slot)) {
        assert!(other.generation <= state.generation);
    }
}

/// The segment reader, beside a plain one: as a log of one segment with a new `state`.
pub(crate) fn segment(input: &[u8]) {
    let Some((_, bytes)) = split(input, |bytes| sign_frames(bytes, 1)) else { return };
    let (expected, next_seq) = plain_scan(&bytes);
    let state =
        state_file(&State { generation: 1, adopted: true, ..State::new(LOG_ID, 0, 1) }, None);
    let files = Files::from([("state".to_owned(), state), (SEGMENT.to_owned(), bytes.clone())]);
    let report = Log::builder("sim").verify_sim(&disk_of(&files));
    match open(&files, RecoveryPolicy::Strict) {
        Ok(records) => {
            let cut = report.expect("a log that opens").verdict != Verdict::Clean;
            assert!(records == expected, "{} records of {}", records.len(), expected.len());
            assert!(cut || plain_scan(&bytes).1 == next_seq);
        }
        Err(Error::Corrupt(found)) => {
            assert_eq!(found.first_seq.get(), next_seq, "{found}");
            assert_eq!(report.expect("damage is in the report").corruption, Some(found));
            let later = valid_batches(&bytes).into_iter().any(|first_seq| first_seq >= next_seq);
            assert!(later || bytes.is_empty(), "damage without a witness");
        }
        Err(Error::UnsupportedVersion { version, .. }) => assert!(version != VERSION),
        Err(error) => panic!("{error}"),
    }
}

pub(crate) type Records = Vec<(u64, Vec<u8>)>;

/// The records of a segment that begins with 1, by nothing but the rules of the format, and the
/// number after them.
fn plain_scan(bytes: &[u8]) -> (Records, u64) {
    let (mut at, mut next_seq, mut salt) = (0, 1, None);
    let mut records = Vec::new();
    while let Some(Ok(batch)) = bytes.get(at..).map(|rest| decode(rest, Some(&place(1)))) {
        let header = batch.header();
        let follows = header.shard == 0
            && header.first_seq == next_seq
            && (at as u64).is_multiple_of(header.unit())
            && salt.is_none_or(|salt| salt == header.salt);
        if !follows {
            break;
        }
        records.extend(batch.records().map(|record| (record.seq, record.bytes.to_vec())));
        salt = Some(header.salt);
        next_seq = header.last_seq() + 1;
        at += header.frame_bytes() as usize;
    }
    (records, next_seq)
}

/// The first numbers of all batches that are valid where they lie in the first segment.
fn valid_batches(bytes: &[u8]) -> Vec<u64> {
    let starts = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"RWAL"));
    let valid = starts.filter_map(|at| decode(&bytes[at..], Some(&place(1))).ok());
    valid.map(|batch| batch.header().first_seq).collect()
}

/// Recovery of a whole directory.
pub(crate) fn directory(input: &[u8]) {
    let _ = check_directory(&unpack(input));
}

/// Recovers these files in every way, and returns the records of a strict opening.
pub(crate) fn check_directory(files: &Files) -> ringwal::Result<Records> {
    let valid = valid_records(files);
    let seen = Log::builder("sim").verify_sim(&disk_of(files));
    let strict = open(files, RecoveryPolicy::Strict);
    match (&seen, &strict) {
        (Ok(seen), Ok(records)) => {
            assert_eq!(seen.corruption, None);
            assert_eq!(seen.records, records.len() as u64, "{seen}");
        }
        (Ok(seen), Err(Error::Corrupt(found))) => assert_eq!(seen.corruption.as_ref(), Some(found)),
        (Err(seen), Err(found)) => assert_eq!(seen.to_string(), found.to_string()),
        other => panic!("verify and open disagree: {other:?}"),
    }
    let tolerant = open(files, RecoveryPolicy::TolerateTail);
    if let Ok(records) = &strict {
        assert!(tolerant.as_ref().is_ok_and(|others| others == records));
    }
    for record in strict.iter().chain(&tolerant).flatten() {
        assert!(valid.contains(record), "record {} is in no valid batch", record.0);
    }
    strict
}

/// The records of all valid batches in all files, wherever they lie.
fn valid_records(files: &Files) -> BTreeSet<(u64, Vec<u8>)> {
    let mut valid = BTreeSet::new();
    // Where `state` is lost, the batches are taken at their word.
    for (name, bytes) in files {
        let segment = segment_of(name);
        let starts = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"RWAL"));
        for batch in starts.filter_map(|at| {
            let here = Place { log: None, ..place(segment) };
            decode(&bytes[at..], Some(&here)).ok()
        }) {
            valid.extend(batch.records().map(|record| (record.seq, record.bytes.to_vec())));
        }
    }
    valid
}

/// Opens a log, and checks that the shown records survive a power cut right then, and that it goes
/// on; or that a refusal changed nothing.
fn open(files: &Files, policy: RecoveryPolicy) -> ringwal::Result<Records> {
    let disk = disk_of(files);
    // Small buffers: to clear large ones would take most of the time.
    let builder = || {
        let small = Log::builder("sim").segment_bytes(4096).batch_bytes(4096).queue_bytes(65536);
        small.record_bytes_max(4096).kind(None).recovery(policy)
    };
    let log = match builder().open_sim(&disk) {
        Ok(log) => log,
        Err(error) => {
            assert!(files_of(&disk) == *files, "a refusal changed something: {error}");
            return Err(error);
        }
    };
    let records = read(&log);
    let next_seq = log.durable_seq().next();
    let disk = disk.crash();
    drop(log);
    let log = builder().open_sim(&disk).expect("a log that was recovered");
    assert!(read(&log) == records, "a second recovery shows something else");
    if next_seq.get() < u64::MAX {
        assert_eq!(log.append("more").expect("a record"), next_seq);
        log.close().expect("a log that can be closed");
        let log = builder().open_sim(&disk).expect("a log that was closed");
        let mut expected = records.clone();
        expected.push((next_seq.get(), b"more".to_vec()));
        assert!(read(&log) == expected, "a closed log shows something else");
    }
    Ok(records)
}

fn read(log: &Log) -> Records {
    let reader = log.reader().expect("an open log");
    let records: Records = reader
        .map(|record| record.expect("a record that was verified before"))
        .map(|record| (record.seq().get(), record.into_data()))
        .collect();
    assert!(records.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "a hole");
    records
}

fn disk_of(files: &Files) -> SimDisk {
    let disk = SimDisk::new(1);
    for (name, bytes) in files {
        let file = disk.open(name, Access::Create).expect("a new file");
        file.write_at(bytes, 0).expect("room");
        file.sync().expect("a disk that works");
    }
    disk.sync_dir().expect("a disk that works");
    disk.sync_parent().expect("a disk that works");
    disk
}

/// The files of a disk, but for the lock.
fn files_of(disk: &SimDisk) -> Files {
    let names = disk.list().expect("a disk that works").into_iter();
    let names = names.filter(|name| name != "lock");
    names.map(|name| (name.clone(), disk.content(&name).unwrap_or_default())).collect()
}

/// The event log's reader, which never fails on damage, beside the engine's.
pub(crate) fn events(input: &[u8]) {
    let dir = crate::files::scratch();
    for (name, bytes) in unpack(input) {
        std::fs::write(dir.path().join(name), bytes).expect("room");
    }
    let engine = Log::builder(dir.path()).recovery(RecoveryPolicy::TolerateTail).read_only();
    match (recover(dir.path()), engine) {
        (Ok(read), Ok(reader)) => {
            assert_eq!(Some(&read.recovery.records), reader.recovery().map(|r| &r.records));
            let (mut records, mut damage) = (Vec::new(), None);
            for record in reader {
                match record {
                    Ok(record) => records.push(record),
                    Err(Error::Corrupt(found)) => damage = Some(found),
                    Err(error) => panic!("records that were verified before: {error}"),
                }
            }
            assert_eq!(damage, read.recovery.corruption, "the reader ends with the damage");
            assert_eq!(read.events.len(), records.len());
            for (event, record) in read.events.iter().zip(&records) {
                assert_eq!(EventRecord::from(*event).to_bytes(), record.data());
            }
            assert!(records.first().is_none_or(|record| record.seq().get() == read.first_seq));
            let after = read.after_checkpoint().len();
            assert!(after <= read.events.len());
        }
        (Err(Error::OtherKind { found, .. }), Ok(reader)) => {
            let kind = reader.recovery().and_then(|found| found.kind);
            assert!(kind == Some(found) && found != Kind::Events);
        }
        (Err(Error::NotALog { .. } | Error::UnsupportedVersion { .. }), _) => {}
        (read, engine) => panic!("the event log says {read:?}, the engine {engine:?}"),
    }
}

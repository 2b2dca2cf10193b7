//! Frozen bytes: those that this version writes, and how it classifies those of every version.
//!
//! The files in `tests/corpus` are committed. A change that makes one of these tests fail breaks
//! logs that exist. `scripts/regenerate-corpus.sh` writes files that are missing or, after a
//! deliberate change of the format version, all of them.

use std::fs;
use std::path::{Path, PathBuf};

use ringwal::Kind;
use ringwal::format::{
    BatchError, BatchHeader, Checkpoint, CutHistory, HEADER_SIZE, Place, RecordHead, SLOT_DISTANCE,
    State, StateError, decode, encode_stand_alone, newest, push_record, seal, state_file,
};

const REGENERATE: &str = "RINGWAL_REGENERATE_CORPUS";
const SALT: u64 = 0x1111_2222_3333_4444;
const RECORDS: [&[u8]; 3] = [b"first", b"", b"the third record, a longer one"];

/// The log that the segments are of.
const LOG_ID: [u8; 16] = *b"0123456789abcdef";

/// Its first segment.
fn place() -> Place {
    let log = Some(State::new(LOG_ID, 0, 1).log_tag());
    Place { log, segment: 1 }
}

/// A batch padded to 512 bytes with the three records, in this segment.
fn padded(first_seq: u64, salt: u64, segment: u64) -> Vec<u8> {
    let payload: usize = RECORDS.iter().map(|bytes| 8 + bytes.len()).sum();
    let header = BatchHeader {
        unit_log2: 9,
        shard: 0,
        first_seq,
        time_nanos: 1_700_000_000_123_456_789,
        salt,
        durable_seq: first_seq - 1,
        records: 3,
        payload_bytes: payload as u32,
    };
    let mut frame = vec![0; header.frame_bytes() as usize];
    let (mut at, mut heads) = (HEADER_SIZE, Vec::new());
    for bytes in RECORDS {
        let head = RecordHead::of(bytes);
        heads.extend(head.to_bytes());
        at = push_record(&mut frame, at, head, bytes);
    }
    seal(&mut frame, Some(&Place { segment, ..place() }), &header, &heads);
    frame
}

fn stand_alone() -> Vec<u8> {
    encode_stand_alone(RECORDS, 42, 1_700_000_000_123_456_789, 7).expect("three records")
}

fn edited(mut bytes: Vec<u8>, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    edit(&mut bytes);
    bytes
}

fn state(generation: u64) -> State {
    let mut cuts = CutHistory::default();
    [35, 20, 30].into_iter().for_each(|seq| cuts.add(seq));
    State {
        generation,
        first_seq: 3,
        last_seq: 40,
        clean: true,
        cuts,
        checkpoint: Some(Checkpoint { seq: 17, time_nanos: 5, payload: b"applied".to_vec() }),
        kind: Some(Kind::Events),
        label: *b"my label",
        ..State::new(LOG_ID, 0, 1)
    }
}

fn slots(first: &State, second: &State) -> Vec<u8> {
    state_file(first, Some(second))
}

/// Every file of the corpus, as this version would write it.
fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let one = || padded(1, SALT, 1);
    let next = |salt| padded(4, salt, 1);
    let end = stand_alone().len();
    vec![
        ("batch_padded.bin", one()),
        ("batch_stand_alone.bin", stand_alone()),
        ("batch_without_padding.bin", edited(one(), |bytes| bytes.truncate(64 + 3 * 8 + 35))),
        ("batch_empty_file.bin", Vec::new()),
        ("batch_torn_in_header.bin", edited(stand_alone(), |bytes| bytes.truncate(63))),
        ("batch_torn_after_header.bin", edited(stand_alone(), |bytes| bytes.truncate(64))),
        ("batch_torn_in_head.bin", edited(stand_alone(), |bytes| bytes.truncate(70))),
        ("batch_torn_in_record.bin", edited(stand_alone(), |bytes| bytes.truncate(end - 1))),
        ("batch_torn_to_zeros.bin", edited(stand_alone(), |bytes| bytes[72..].fill(0))),
        ("batch_blank.bin", vec![0; 512]),
        ("batch_bad_magic.bin", edited(one(), |bytes| bytes[0] = b'W')),
        ("batch_bad_flags.bin", edited(one(), |bytes| bytes[5] |= 0x80)),
        ("batch_bad_unit.bin", edited(one(), |bytes| bytes[5] = 31)),
        ("batch_bad_count.bin", edited(one(), |bytes| bytes[40..44].fill(0))),
        ("batch_bad_length.bin", edited(one(), |bytes| bytes[44] -= 1)),
        ("batch_bad_digest.bin", edited(one(), |bytes| bytes[60] ^= 1)),
        ("batch_other_log.bin", edited(one(), |bytes| bytes[48] ^= 1)),
        ("batch_bad_watermark.bin", edited(one(), |bytes| bytes[32] ^= 1)),
        ("batch_bad_record.bin", edited(one(), |bytes| bytes[64 + 8 + 5 + 8 + 8] ^= 1)),
        ("batch_newer_version.bin", edited(one(), |bytes| (bytes[4], bytes[60]) = (3, !bytes[60]))),
        ("batch_older_version.bin", edited(one(), |bytes| (bytes[4], bytes[60]) = (1, !bytes[60]))),
        ("batch_bad_version.bin", edited(one(), |bytes| bytes[4] = 3)),
        ("segment_clean.bin", [one(), next(SALT)].concat()),
        ("segment_other_salt.bin", [one(), next(!SALT)].concat()),
        ("segment_other_segment.bin", [one(), padded(4, SALT, 4)].concat()),
        ("segment_stale_seq.bin", [one(), one()].concat()),
        ("segment_blank_tail.bin", [one(), vec![0; 1024]].concat()),
        ("segment_torn_tail.bin", edited([one(), next(SALT)].concat(), |bytes| bytes[600] ^= 1)),
        ("state_second_slot.bin", slots(&state(4), &state(5))),
        ("state_first_slot.bin", slots(&state(6), &state(5))),
        (
            "state_new.bin",
            edited(slots(&state(1), &state(1)), |bytes| bytes[SLOT_DISTANCE..].fill(0)),
        ),
        (
            "state_torn_slot.bin",
            edited(slots(&state(4), &state(5)), |bytes| bytes[SLOT_DISTANCE + 904] ^= 1),
        ),
        (
            "state_unreadable.bin",
            edited(slots(&state(4), &state(5)), |bytes| {
                bytes[40] ^= 1;
                bytes[SLOT_DISTANCE + 40] ^= 1;
            }),
        ),
        (
            "state_bad_version.bin",
            edited(slots(&state(4), &state(5)), |bytes| bytes[SLOT_DISTANCE + 4] = 3),
        ),
        (
            "state_newer_version.bin",
            edited(slots(&state(4), &state(5)), |bytes| {
                bytes[SLOT_DISTANCE + 4] = 3;
                bytes[SLOT_DISTANCE + 88] ^= 1;
            }),
        ),
    ]
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

fn read(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn this_version_still_writes_the_committed_bytes() {
    if std::env::var_os(REGENERATE).is_some() {
        for (name, bytes) in corpus() {
            fs::write(path(name), bytes).unwrap();
        }
    }
    for (name, bytes) in corpus() {
        assert!(read(name) == bytes, "{name} differs from what this version writes");
    }
}

#[test]
fn no_file_of_the_corpus_is_unused() {
    let known: Vec<_> = corpus().into_iter().map(|(name, _)| name.to_owned()).collect();
    for entry in fs::read_dir(path("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "{name}");
    }
}

#[test]
fn valid_batches_are_read_for_ever() {
    for (name, first_seq, shard, salt, unit) in [
        ("batch_padded.bin", 1, 0, SALT, 512),
        ("batch_without_padding.bin", 1, 0, SALT, 512),
        ("batch_stand_alone.bin", 42, 7, 0, 1),
    ] {
        let bytes = read(name);
        let batch =
            decode(&bytes, Some(&place())).unwrap_or_else(|error| panic!("{name}: {error}"));
        let header = batch.header();
        assert_eq!((header.first_seq, header.shard), (first_seq, shard), "{name}");
        assert_eq!((header.salt, header.unit()), (salt, unit), "{name}");
        assert_eq!(header.time_nanos, 1_700_000_000_123_456_789, "{name}");
        assert!(batch.records().map(|record| record.bytes).eq(RECORDS), "{name}");
        let seqs: Vec<_> = batch.records().map(|record| record.seq).collect();
        assert_eq!(seqs, [first_seq, first_seq + 1, first_seq + 2], "{name}");
    }
}

#[test]
fn damaged_batches_are_classified_for_ever() {
    let end = 64 + 3 * 8 + 35;
    for (name, expected) in [
        ("batch_empty_file.bin", BatchError::Short { needed: 64 }),
        ("batch_torn_in_header.bin", BatchError::Short { needed: 64 }),
        ("batch_torn_after_header.bin", BatchError::Short { needed: end }),
        ("batch_torn_in_head.bin", BatchError::Short { needed: end }),
        ("batch_torn_in_record.bin", BatchError::Short { needed: end }),
        ("batch_torn_to_zeros.bin", BatchError::Length),
        ("batch_blank.bin", BatchError::Blank),
        ("batch_bad_magic.bin", BatchError::Magic),
        ("batch_bad_flags.bin", BatchError::Flags),
        ("batch_bad_unit.bin", BatchError::Unit),
        ("batch_bad_count.bin", BatchError::Count),
        ("batch_bad_length.bin", BatchError::Length),
        ("batch_bad_digest.bin", BatchError::Digest),
        ("batch_other_log.bin", BatchError::OtherLog),
        ("batch_bad_watermark.bin", BatchError::Digest),
        ("batch_bad_record.bin", BatchError::Record { index: 2 }),
        ("batch_newer_version.bin", BatchError::OtherVersion(3)),
        ("batch_older_version.bin", BatchError::OtherVersion(1)),
        ("batch_bad_version.bin", BatchError::OtherVersion(3)),
    ] {
        assert_eq!(decode(&read(name), Some(&place())).unwrap_err(), expected, "{name}");
    }
}

#[test]
fn state_files_are_classified_for_ever() {
    for (name, expected) in [
        ("state_second_slot.bin", Ok((state(5), 1))),
        ("state_first_slot.bin", Ok((state(6), 0))),
        ("state_new.bin", Ok((state(1), 0))),
        ("state_torn_slot.bin", Ok((state(4), 0))),
        ("state_unreadable.bin", Err(StateError::Digest)),
        ("state_bad_version.bin", Ok((state(4), 0))),
        ("state_newer_version.bin", Err(StateError::OtherVersion(3))),
    ] {
        assert_eq!(newest(&read(name)), expected, "{name}");
    }
}

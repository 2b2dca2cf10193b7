//! Scans of whole, torn, stale and forged segments.

mod holes;

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::format::encode_stand_alone;
use crate::io::mem::{LOG_TAG, Memory, SegmentBytes, record};
use crate::io::{Access, Storage};

const UNIT: usize = 4096;
const ORIGIN: Origin = Origin { tag: Some(LOG_TAG), stand_alone: true };

fn scanner(bytes: &[u8], first_seq: u64) -> SegmentScanner {
    let memory = Memory::default();
    memory.put("segment", bytes.to_vec());
    open(&memory, first_seq)
}

fn open(memory: &Memory, first_seq: u64) -> SegmentScanner {
    let file: Arc<dyn StorageFile> = Arc::from(memory.open("segment", Access::Read).unwrap());
    SegmentScanner::new(file, 0, ORIGIN, first_seq).unwrap()
}

/// The records of all batches, and the stop.
fn scan(scanner: &mut SegmentScanner) -> (Vec<u64>, Stop) {
    let mut seqs = Vec::new();
    loop {
        match scanner.next_batch().unwrap() {
            Scan::Batch(batch) => {
                for view in batch.records() {
                    assert!(view.bytes.len() >= 100 || view.bytes == record(view.seq));
                    seqs.push(view.seq);
                }
            }
            Scan::End(stop) => return (seqs, stop),
        }
    }
}

fn stop_of(bytes: &[u8], first_seq: u64) -> Stop {
    scan(&mut scanner(bytes, first_seq)).1
}

#[test]
fn batches_are_read_to_the_end_of_the_file() {
    let segment = SegmentBytes::new(5, 77).batch(3).batch(1).batch(2);
    let (seqs, stop) = scan(&mut scanner(&segment.bytes, 5));
    assert_eq!(seqs, [5, 6, 7, 8, 9, 10]);
    let offset = 3 * UNIT as u64;
    assert_eq!(stop, Stop { offset, expected_seq: 11, kind: StopKind::EndOfFile });
}

#[test]
fn the_last_batch_needs_no_padding() {
    let segment = SegmentBytes::new(1, 77).batch(1).batch(1);
    let (seqs, stop) = scan(&mut scanner(&segment.bytes[..UNIT + 100], 1));
    assert_eq!(seqs, [1, 2]);
    assert_eq!(stop.kind, StopKind::EndOfFile);
}

#[test]
fn zeros_to_the_end_are_blank_and_anything_else_is_damage() {
    let segment = SegmentBytes::new(1, 77).batch(1);
    for zeros in [1, 63, 64, 3 << 20] {
        let mut bytes = segment.clone().bytes(&vec![0; zeros]).bytes;
        let stop = stop_of(&bytes, 1);
        assert_eq!((stop.offset, stop.kind), (UNIT as u64, StopKind::Blank));
        *bytes.last_mut().unwrap() = 1;
        assert_eq!(stop_of(&bytes, 1).kind, StopKind::Damaged);
    }
}

#[test]
fn a_batch_of_an_earlier_life_is_stale() {
    let old = SegmentBytes::new(1, 11).batch(1).batch(1).batch(1);
    let new = SegmentBytes::new(50, 22).batch(1);
    let bytes = [&new.bytes[..], &old.bytes[UNIT..]].concat();
    assert_eq!(stop_of(&bytes, 50).kind, StopKind::Stale);
    assert_eq!(stop_of(&old.bytes, 50).kind, StopKind::Stale, "not one batch of the new life");
}

#[test]
fn a_batch_counts_in_its_segment_and_in_order_only() {
    let segment = SegmentBytes::new(50, 22).batch(1).batch(1).batch(1).batch(1);
    let block = |at: usize| &segment.bytes[at * UNIT..(at + 1) * UNIT];
    let moved = [block(0), block(2), block(1), block(3)].concat();
    let (seqs, stop) = scan(&mut scanner(&moved, 50));
    assert_eq!((seqs, stop.kind), (vec![50], StopKind::Damaged));
    assert_eq!(stop_of(&segment.bytes, 49).kind, StopKind::Damaged, "under another name");
    let mut other_salt = SegmentBytes::new(50, 22).batch(1);
    other_salt.salt = 23;
    let (seqs, stop) = scan(&mut scanner(&other_salt.batch(1).bytes, 50));
    assert_eq!((seqs, stop.kind), (vec![50], StopKind::Damaged));
}

#[test]
fn without_the_tag_of_the_log_all_batches_must_have_the_same_one() {
    let segment = SegmentBytes::new(1, 77).batch(2).batch(2);
    let memory = Memory::default();
    memory.put("segment", segment.bytes);
    for (log, expected) in [(None, 5), (Some(LOG_TAG), 5), (Some(LOG_TAG + 1), 1)] {
        let file: Arc<dyn StorageFile> = Arc::from(memory.open("segment", Access::Read).unwrap());
        let mut scanner =
            SegmentScanner::new(file, 0, Origin { tag: log, stand_alone: true }, 1).unwrap();
        assert_eq!(scan(&mut scanner).1.expected_seq, expected);
        assert_eq!(scanner.origin().tag, log.or(Some(LOG_TAG)));
    }
}

#[test]
fn a_batch_that_cannot_follow_is_damage() {
    let ahead = SegmentBytes::new(9, 77).batch(1);
    assert_eq!(stop_of(&ahead.bytes, 5).kind, StopKind::Damaged, "a gap");
    let first = encode_stand_alone([record(1).as_slice()], 1, 0, 0).unwrap();
    let stop = stop_of(&[&first[..], &first].concat(), 1);
    assert_eq!((stop.expected_seq, stop.kind), (2, StopKind::Stale), "seq 1 again");
    let other_shard = encode_stand_alone([record(1).as_slice()], 1, 0, 9).unwrap();
    assert_eq!(stop_of(&other_shard, 1).kind, StopKind::Damaged);
}

#[test]
fn another_version_is_not_damage() {
    let mut bytes = SegmentBytes::new(1, 77).batch(1).batch(1).bytes;
    bytes[4] = 9;
    assert_eq!(stop_of(&bytes, 1).kind, StopKind::Damaged, "all but the version is of ours");
    for version in [1, 9] {
        (bytes[4], bytes[60]) = (version, !bytes[60]);
        assert_eq!(stop_of(&bytes, 1).kind, StopKind::OtherVersion(version));
        bytes[60] = !bytes[60];
    }
    let mut bytes = SegmentBytes::new(1, 77).batch(1).batch(1).bytes;
    (bytes[UNIT + 4], bytes[UNIT + 60]) = (9, !bytes[UNIT + 60]);
    assert_eq!(stop_of(&bytes, 1).kind, StopKind::Damaged, "what a user stored may state this");
}

#[test]
fn a_frame_larger_than_the_window_is_read_and_the_next_one_too() {
    let large = vec![3; 5 << 20];
    let large = [large.as_slice(), &large];
    let mut bytes = encode_stand_alone([record(1).as_slice()], 1, 0, 0).unwrap();
    bytes.extend(encode_stand_alone(large, 2, 0, 0).unwrap());
    bytes.extend(encode_stand_alone([record(4).as_slice()], 4, 0, 0).unwrap());
    let (seqs, stop) = scan(&mut scanner(&bytes, 1));
    assert_eq!((seqs, stop.kind), (vec![1, 2, 3, 4], StopKind::EndOfFile));
    bytes[200] ^= 1;
    assert_eq!(stop_of(&bytes, 1).expected_seq, 2);
}

#[test]
fn a_large_frame_is_verified_to_its_end() {
    let small = vec![7; 100];
    let mut bytes = encode_stand_alone([record(1).as_slice()], 1, 0, 0).unwrap();
    let start = bytes.len();
    let records = vec![small.as_slice(); 30_000];
    bytes.extend(encode_stand_alone(records, 2, 0, 0).unwrap());
    assert_eq!(scan(&mut scanner(&bytes, 1)).1.expected_seq, 30_002);
    let (len, middle) = (bytes.len(), (start + bytes.len()) / 2);
    type Edit<'e> = &'e dyn Fn(&mut Vec<u8>);
    // A byte of the last record, a torn end, a missing one, and one of a record's head.
    let edits: [Edit<'_>; 4] = [
        &|bytes| bytes[len - 1] ^= 1,
        &|bytes| bytes[middle..].fill(0),
        &|bytes| bytes.truncate(middle),
        &|bytes| bytes[start + 64 + 20_000 * 108 + 4] ^= 1,
    ];
    for edit in edits {
        let mut damaged = bytes.clone();
        edit(&mut damaged);
        let stop = stop_of(&damaged, 1);
        assert_eq!((stop.offset, stop.kind), (start as u64, StopKind::Damaged));
    }
}

#[test]
fn a_length_that_lies_allocates_nothing() {
    let mut bytes = encode_stand_alone([record(1).as_slice()], 1, 0, 0).unwrap();
    bytes[44..48].copy_from_slice(&(60_u32 << 20).to_le_bytes());
    bytes.resize(64 << 20, 0);
    let mut scanner = scanner(&bytes, 1);
    assert_eq!(scan(&mut scanner).1.kind, StopKind::Damaged);
    assert!(scanner.window.capacity() <= 2 * WINDOW_BYTES);
}

#[test]
fn a_scan_goes_on_when_the_file_has_grown_or_was_overwritten() {
    let segment = SegmentBytes::new(1, 77).batch(1);
    let memory = Memory::default();
    memory.put("segment", segment.clone().bytes(&[0; UNIT]).bytes);
    let mut scanner = open(&memory, 1);
    assert_eq!(scan(&mut scanner).1.kind, StopKind::Blank);
    let longer = segment.batch(1).batch(1);
    memory.edit("segment", |bytes| *bytes = longer.bytes);
    assert_eq!(scan(&mut scanner).0, [2, 3]);
}

#[test]
fn the_later_batch_with_the_greatest_watermark_is_found() {
    let segment = SegmentBytes::new(1, 77).batch(1).batch(2).durable(1).batch(1).durable(3);
    let mut bytes = segment.batch(2).durable(2).batch(1).bytes;
    bytes[UNIT + 70] ^= 1;
    let mut scanner = scanner(&bytes, 1);
    let (seqs, stop) = scan(&mut scanner);
    assert_eq!((seqs, stop.kind), (vec![1], StopKind::Damaged));
    let later = scanner.later_witness(&stop).unwrap();
    let offset = 3 * UNIT as u64;
    let found = LaterBatch { offset, first_seq: 5, last_seq: 6, durable_seq: 3 };
    assert_eq!(later, Some(found));
}

#[test]
fn a_stand_alone_batch_does_not_count_in_a_log_that_an_engine_began() {
    let bytes = encode_stand_alone([record(1).as_slice()], 1, 0, 0).unwrap();
    let memory = Memory::default();
    memory.put("segment", bytes);
    for (stand_alone, kind) in [(true, StopKind::EndOfFile), (false, StopKind::Damaged)] {
        let file: Arc<dyn StorageFile> = Arc::from(memory.open("segment", Access::Read).unwrap());
        let mut scanner =
            SegmentScanner::new(file, 0, Origin { stand_alone, ..ORIGIN }, 1).unwrap();
        assert_eq!(scan(&mut scanner).1.kind, kind);
    }
}

#[test]
fn leftovers_are_no_later_batches() {
    let old = SegmentBytes::new(1, 11).batch(1).batch(1).batch(1);
    let new = SegmentBytes::new(50, 22).batch(1);
    let bytes = [&new.bytes[..], &old.bytes[UNIT..]].concat();
    let mut scanner = scanner(&bytes, 50);
    let (_, stop) = scan(&mut scanner);
    assert_eq!(scanner.later_witness(&stop).unwrap(), None);
}

/// A file that counts the bytes that are read from it.
#[derive(Debug)]
struct Counted {
    file: Box<dyn StorageFile>,
    read: Arc<AtomicU64>,
}

impl StorageFile for Counted {
    fn bytes(&self) -> Result<u64> {
        self.file.bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let read = self.file.read_at(buf, offset)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[test]
fn a_search_reads_the_file_once_whatever_headers_users_have_stored() {
    // Each claims to be a later batch of a megabyte or more.
    let mut header = SegmentBytes { log_tag: 1, ..SegmentBytes::new(900, 5) }.batch(1).bytes;
    header[44..48].copy_from_slice(&(3_u32 << 20).to_le_bytes());
    let stored = header[..64].repeat((4 << 20) / 64);
    let first = SegmentBytes::new(1, 77).batch(1).bytes;
    for (torn, unit) in [(0, UNIT), (1, 1)] {
        let mut bytes = [&first[..], &[0x77; 64], &stored].concat();
        bytes[70] ^= torn;
        let (len, memory) = (bytes.len() as u64, Memory::default());
        memory.put("segment", bytes);
        let read = Arc::new(AtomicU64::new(0));
        let file = memory.open("segment", Access::Read).unwrap();
        let counted = Counted { file, read: Arc::clone(&read) };
        let mut scanner = SegmentScanner::new(Arc::new(counted), 0, ORIGIN, 1).unwrap();
        let (_, stop) = scan(&mut scanner);
        let before = read.load(Ordering::Relaxed);
        assert_eq!(scanner.later_witness(&stop).unwrap(), None);
        let searched = read.load(Ordering::Relaxed) - before;
        assert!(searched <= len, "{searched} bytes of {len} read, at steps of {unit}");
    }
}

#[test]
fn a_later_stand_alone_batch_is_found_at_any_byte() {
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    for seq in 1..=4 {
        bytes.extend(encode_stand_alone([record(seq).as_slice()], seq, 0, 0).unwrap());
        ends.push(bytes.len());
    }
    bytes[ends[0] + 70] ^= 1;
    let mut scanner = scanner(&bytes, 1);
    let (seqs, stop) = scan(&mut scanner);
    assert_eq!(seqs, [1]);
    let later = scanner.later_witness(&stop).unwrap().unwrap();
    assert_eq!((later.offset, later.first_seq), (ends[1] as u64, 3));
}

#[test]
fn the_segments_of_the_corpus_are_classified_for_ever() {
    use StopKind::{Blank, Damaged, EndOfFile, OtherVersion, Stale};
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
    for (name, next_seq, kind) in [
        ("segment_clean.bin", 7, EndOfFile),
        ("segment_other_salt.bin", 4, Damaged),
        ("segment_stale_seq.bin", 4, Stale),
        ("segment_other_segment.bin", 4, Damaged),
        ("segment_blank_tail.bin", 4, Blank),
        ("segment_torn_tail.bin", 4, Damaged),
        ("batch_without_padding.bin", 4, EndOfFile),
        ("batch_empty_file.bin", 1, EndOfFile),
        ("batch_torn_in_header.bin", 1, Damaged),
        ("batch_newer_version.bin", 1, OtherVersion(3)),
        ("batch_older_version.bin", 1, OtherVersion(1)),
        ("batch_bad_version.bin", 1, Damaged),
    ] {
        let bytes = std::fs::read(format!("{corpus}/{name}")).unwrap();
        let memory = Memory::default();
        memory.put("segment", bytes);
        let file: Arc<dyn StorageFile> = Arc::from(memory.open("segment", Access::Read).unwrap());
        let tag = Some(u64::from_le_bytes(*b"01234567"));
        let origin = Origin { tag, stand_alone: true };
        let mut scanner = SegmentScanner::new(file, 0, origin, 1).unwrap();
        let stop = loop {
            if let Scan::End(stop) = scanner.next_batch().unwrap() {
                break stop;
            }
        };
        assert_eq!((stop.expected_seq, stop.kind), (next_seq, kind), "{name}");
    }
}

proptest! {
    #[test]
    fn any_file_is_scanned_without_a_panic(
        noise in prop::collection::vec(any::<u8>(), 0..400),
        keep in 0..3 * UNIT,
    ) {
        let segment = SegmentBytes::new(1, 77).batch(3).batch(1).batch(2);
        let bytes = [&segment.bytes[..keep], &noise].concat();
        let mut scanner = scanner(&bytes, 1);
        let (seqs, stop) = scan(&mut scanner);
        prop_assert_eq!(seqs.len() as u64 + 1, stop.expected_seq);
        scanner.later_witness(&stop).unwrap();
    }

    #[test]
    fn a_file_cut_anywhere_gives_a_prefix_of_its_batches(cut in 0..3 * UNIT) {
        let segment = SegmentBytes::new(1, 77).batch(3).batch(1).batch(2);
        let (seqs, stop) = scan(&mut scanner(&segment.bytes[..cut], 1));
        let expected: Vec<u64> = (1..stop.expected_seq).collect();
        prop_assert!([0, 3, 4, 6].contains(&seqs.len()));
        prop_assert_eq!(seqs, expected);
    }
}

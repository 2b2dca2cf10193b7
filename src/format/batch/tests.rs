//! Batches: every defect is found, and by the check that is for it.

use proptest::prelude::*;

use super::*;
use crate::format::array_at;

const PLACE: Place = Place { log: Some(0xfeed), segment: 41 };

fn header(records: u32, payload_bytes: u32) -> BatchHeader {
    BatchHeader {
        unit_log2: 12,
        shard: 3,
        first_seq: 41,
        time_nanos: 1_700_000_000_000_000_000,
        salt: 0x0123_4567_89ab_cdef,
        durable_seq: 40,
        records,
        payload_bytes,
    }
}

fn padded(records: &[Vec<u8>], unit_log2: u8) -> Vec<u8> {
    let payload: usize = records.iter().map(|bytes| RECORD_HEAD_SIZE + bytes.len()).sum();
    let mut header = header(records.len() as u32, payload as u32);
    header.unit_log2 = unit_log2;
    let mut frame = vec![0xee; header.frame_bytes() as usize];
    let (mut at, mut heads) = (HEADER_SIZE, Vec::new());
    for bytes in records {
        let head = RecordHead::of(bytes);
        heads.extend(head.to_bytes());
        at = push_record(&mut frame, at, head, bytes);
    }
    seal(&mut frame, Some(&PLACE), &header, &heads);
    frame
}

fn any_records() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..12)
}

#[test]
fn a_padded_frame_ends_in_zeros_at_a_multiple_of_its_unit() {
    let frame = padded(&[vec![1; 10], vec![2; 20]], 12);
    assert_eq!(frame.len(), 4096);
    let batch = decode(&frame, Some(&PLACE)).unwrap();
    let end = batch.header().end_bytes() as usize;
    assert_eq!(end, 64 + 8 + 10 + 8 + 20);
    assert!(frame[end..].iter().all(|&byte| byte == 0));
    assert_eq!(batch.header().last_seq(), 42);
}

#[test]
fn a_frame_without_its_padding_is_valid_and_one_byte_less_is_short() {
    let frame = padded(&[vec![7; 100]], 12);
    let end = decode(&frame, Some(&PLACE)).unwrap().header().end_bytes();
    assert!(decode(&frame[..end as usize], Some(&PLACE)).is_ok());
    let cut = decode(&frame[..end as usize - 1], Some(&PLACE)).unwrap_err();
    assert_eq!(cut, BatchError::Short { needed: end });
}

#[test]
fn a_record_knows_its_offset_in_the_frame() {
    let frame = padded(&[vec![1; 10], vec![2; 20]], 12);
    let views: Vec<_> = decode(&frame, Some(&PLACE)).unwrap().records().collect();
    assert_eq!(views[1], RecordView { seq: 42, offset: 64 + 18, bytes: &[2; 20] });
    let head = array_at(&frame, views[1].offset as usize);
    assert!(RecordHead::from_bytes(head).matches(views[1].bytes));
}

#[test]
fn a_batch_needs_a_record_a_number_and_room_for_both() {
    let none: [&[u8]; 0] = [];
    assert_eq!(encode_stand_alone(none, 1, 0, 0), Err(BatchError::Count));
    assert_eq!(encode_stand_alone([b"x".as_slice()], 0, 0, 0), Err(BatchError::Count));
    let two = [b"x".as_slice(), b"y"];
    assert_eq!(encode_stand_alone(two, u64::MAX, 0, 0), Err(BatchError::Count));
    assert!(encode_stand_alone([b"x".as_slice()], u64::MAX, 0, 0).is_ok());
}

#[test]
fn every_implausible_header_is_named() {
    let frame = padded(&[vec![1; 10]], 12);
    let with = |at: usize, byte: u8| {
        let mut frame = frame.clone();
        frame[at] = byte;
        BatchHeader::parse(&frame).unwrap_err()
    };
    assert_eq!(BatchHeader::parse(&[0; 64]).unwrap_err(), BatchError::Blank);
    assert_eq!(BatchHeader::parse(&[0; 63]).unwrap_err(), BatchError::Short { needed: 64 });
    assert_eq!(with(0, b'X'), BatchError::Magic);
    assert_eq!(with(4, 0), BatchError::Magic);
    assert_eq!(with(4, 1), BatchError::OtherVersion(1));
    assert_eq!(with(4, 3), BatchError::OtherVersion(3));
    assert_eq!(with(5, 0x2c), BatchError::Flags);
    assert_eq!(with(5, 8), BatchError::Unit);
    assert_eq!(with(5, 25), BatchError::Unit);
    assert_eq!(with(8, 0), BatchError::Count);
    assert_eq!(with(40, 0), BatchError::Count);
    assert_eq!(with(40, 3), BatchError::Length);
}

/// A frame of two records, not sealed yet, with its header and the heads of its records.
fn unsealed() -> (Vec<u8>, BatchHeader, Vec<u8>) {
    let (mut frame, mut at, mut heads) = (vec![0; 512], HEADER_SIZE, Vec::new());
    for bytes in [[1; 10], [2; 10]] {
        let head = RecordHead::of(&bytes);
        heads.extend(head.to_bytes());
        at = push_record(&mut frame, at, head, &bytes);
    }
    (frame, BatchHeader { unit_log2: 9, ..header(2, 36) }, heads)
}

/// The message of the panic in `seal`.
fn refusal(heads: &[u8], change: impl Fn(&mut BatchHeader)) -> Option<String> {
    let (mut frame, mut header, _) = unsealed();
    change(&mut header);
    let panic =
        std::panic::catch_unwind(move || seal(&mut frame, Some(&PLACE), &header, heads)).err()?;
    panic.downcast_ref::<&str>().map(|message| (*message).to_owned())
}

#[test]
fn a_header_that_does_not_describe_the_records_is_not_sealed() {
    let (_, _, heads) = unsealed();
    assert_eq!(refusal(&heads, |_| ()), None);
    let why = Some("the records fill the payload exactly".to_owned());
    assert_eq!(refusal(&heads, |header| header.records = 1), why);
    assert_eq!(refusal(&heads, |header| header.records = 3), why);
    assert_eq!(refusal(&heads, |header| header.payload_bytes = 35), why);
    assert_eq!(refusal(&heads, |header| header.payload_bytes = 37), why);
    assert_eq!(refusal(&heads[..8], |_| ()), why, "a head is missing");
    assert_eq!(refusal(&heads[..15], |_| ()), why, "half of a head is missing");
    assert_eq!(refusal(&[&heads[..], &[0; 8]].concat(), |_| ()), why, "one too many");
    assert_eq!(refusal(&[&heads[..], &[0]].concat(), |_| ()), why, "a byte too many");
    let mut other = heads.clone();
    other[0] += 1;
    assert_eq!(refusal(&other, |_| ()), why, "another length");
}

#[test]
fn a_batch_sealed_with_other_heads_than_its_own_is_not_valid() {
    let (mut frame, header, mut heads) = unsealed();
    heads.rotate_left(RECORD_HEAD_SIZE);
    if cfg!(debug_assertions) {
        let why = refusal(&heads, |_| ());
        assert_eq!(why.as_deref(), Some("the heads are those in the frame"));
    } else {
        seal(&mut frame, Some(&PLACE), &header, &heads);
        assert_eq!(decode(&frame, Some(&PLACE)).unwrap_err(), BatchError::Digest);
    }
}

#[test]
fn damage_is_named_after_the_check_that_finds_it() {
    let frame = padded(&[vec![1; 10], vec![2; 20]], 12);
    let flipped = |at: usize| {
        let mut frame = frame.clone();
        frame[at] ^= 1;
        decode(&frame, Some(&PLACE)).unwrap_err()
    };
    assert_eq!(flipped(20), BatchError::Digest, "the time");
    assert_eq!(flipped(50), BatchError::OtherLog, "the log's tag");
    assert_eq!(flipped(60), BatchError::Digest, "the digest itself");
    assert_eq!(flipped(64), BatchError::Length, "a record's length");
    assert_eq!(flipped(68), BatchError::Digest, "a record's checksum");
    assert_eq!(flipped(90), BatchError::Record { index: 1 }, "a record's bytes");
}

#[test]
fn a_batch_is_valid_at_its_place_and_nowhere_else() {
    let frame = padded(&[vec![1; 10], vec![2; 20]], 12);
    let at = |place| decode(&frame, place).map(|_| ());
    assert_eq!(at(Some(&PLACE)), Ok(()));
    assert_eq!(at(Some(&Place { segment: 42, ..PLACE })), Err(BatchError::Digest));
    assert_eq!(at(Some(&Place { log: Some(1), ..PLACE })), Err(BatchError::OtherLog));
    assert_eq!(at(Some(&Place { log: None, ..PLACE })), Ok(()), "it is taken at its word");
    assert_eq!(at(None), Err(BatchError::Digest));
    let mut claims = frame.clone();
    claims[48] ^= 1;
    let unknown = Place { log: None, ..PLACE };
    assert_eq!(decode(&claims, Some(&unknown)).unwrap_err(), BatchError::Digest);
}

#[test]
fn a_stand_alone_batch_is_valid_anywhere_and_its_digest_is_plain() {
    let bytes = encode_stand_alone([b"x".as_slice()], 9, 0, 0).unwrap();
    for place in [None, Some(&PLACE), Some(&Place { log: None, ..PLACE })] {
        assert!(decode(&bytes, place).is_ok());
    }
    assert_eq!(digest(None, &bytes[..48], &bytes[64..72])[..], bytes[48..64]);
}

#[test]
fn a_batch_with_a_salt_is_not_sealed_without_its_place() {
    let (frame, header, heads) = unsealed();
    for (salt, place) in [(0, Some(&PLACE)), (1, None)] {
        let (mut frame, header) = (frame.clone(), BatchHeader { salt, ..header });
        let sealed = || seal(&mut frame, place, &header, &heads);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(sealed)).is_err());
    }
}

#[test]
fn more_heads_than_one_run_of_the_hash_give_the_same_digest() {
    let records = vec![vec![5; 3]; 1000];
    let frame = padded(&records, 0);
    assert_eq!(decode(&frame, Some(&PLACE)).unwrap().records().count(), 1000);
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = decode(&bytes, Some(&PLACE));
    }

    #[test]
    fn any_bytes_behind_a_plausible_beginning_are_decoded_without_a_panic(
        records in any_records(),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut frame = padded(&records, 0);
        for (at, byte) in noise {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        let _ = decode(&frame, Some(&PLACE));
    }

    #[test]
    fn a_sealed_batch_is_decoded(
        records in any_records(),
        unit in prop::sample::select(vec![0u8, 9, 12, 16]),
    ) {
        let frame = padded(&records, unit);
        let batch = decode(&frame, Some(&PLACE)).unwrap();
        prop_assert_eq!(batch.header().unit_log2, unit);
        prop_assert_eq!(batch.header().salt, 0x0123_4567_89ab_cdef);
        let read: Vec<_> = batch.records().map(|record| record.bytes.to_vec()).collect();
        prop_assert_eq!(read, records);
        let seqs: Vec<_> = batch.records().map(|record| record.seq).collect();
        prop_assert_eq!(*seqs.last().unwrap(), batch.header().last_seq());
    }

    #[test]
    fn a_header_is_read_as_it_was_written(
        unit_log2 in prop::sample::select(vec![0u8, 9, 12, 24]),
        shard in any::<u16>(),
        first_seq in 1..u64::MAX / 2,
        (time_nanos, salt, durable_seq) in any::<(u64, u64, u64)>(),
        records in 1..1_000_000u32,
        extra in 0..1_000_000u32,
        digest in any::<[u8; 16]>(),
    ) {
        let payload_bytes = records * 8 + extra;
        let header = BatchHeader {
            unit_log2, shard, first_seq, time_nanos, salt, durable_seq, records, payload_bytes,
        };
        prop_assert_eq!(BatchHeader::parse(&header.encode(digest)), Ok((header, digest)));
    }

    #[test]
    fn a_flipped_bit_is_detected(records in any_records(), flip in any::<prop::sample::Index>()) {
        let mut frame = padded(&records, 0);
        let bit = flip.index(frame.len() * 8);
        frame[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(decode(&frame, Some(&PLACE)).is_err());
    }

    #[test]
    fn a_batch_cut_anywhere_is_short(
        records in any_records(),
        cut in any::<prop::sample::Index>(),
    ) {
        let frame = padded(&records, 0);
        let short = decode(&frame[..cut.index(frame.len())], Some(&PLACE)).unwrap_err();
        let is_short = matches!(short, BatchError::Short { .. });
        prop_assert!(is_short);
    }
}

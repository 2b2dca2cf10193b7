//! Records whose bytes are this very format: frames, headers, other versions. Users store such
//! things, even whole logs. The remains of such a record behind a torn write, or in a
//! recycled file, must never be taken for structure.

use ringwal::SimDisk;
use ringwal::format::{
    BatchHeader, HEADER_SIZE, Place, RecordHead, VERSION, encode_stand_alone, push_record, seal,
};

use crate::rng::Rng;

/// Up to here in a record that is alone in its batch, a block of 512 bytes ends.
const TO_A_BLOCK: usize = 512 - HEADER_SIZE - 8;

/// Puts the format into `record`, behind its first eight bytes, which tell it from others. It would
/// become record `seq`, and lies in a log on `disk` if there is one, which had `former` segments.
pub(crate) fn forge(
    record: &mut [u8],
    seq: u64,
    rng: &mut Rng,
    disk: Option<&SimDisk>,
    former: &[(u64, Vec<u8>)],
) {
    let Some(room) = record.get_mut(8..) else { return };
    let aligned = room.len() >= TO_A_BLOCK && rng.percent(70);
    let from = if aligned { TO_A_BLOCK - 8 } else { 0 };
    let room = &mut room[from..];
    // Prefer bytes that this segment had before the end was cut off.
    let fits = |&&(first, ref bytes): &&(u64, Vec<u8>)| {
        first <= seq && seq - first < (bytes.len() / 512) as u64
    };
    let cut = former.iter().rev().take(8).filter(fits).max_by_key(|(first, _)| *first);
    let cut = cut.filter(|_| rng.percent(60));
    let bytes = match (cut, rng.below(4)) {
        (Some((first, bytes)), _) => bytes[(seq - first) as usize * 512..].to_vec(),
        (None, 0) => stand_alone(seq, rng),
        (None, 1) => versions(room.len(), rng),
        (None, 2) => frames(seq, rng, disk),
        (None, _) => copy_of_the_log(rng, disk),
    };
    let len = bytes.len().min(room.len());
    room[..len].copy_from_slice(&bytes[..len]);
}

/// Stand-alone batches end to end, with the numbers that come next.
fn stand_alone(seq: u64, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for next in 0..8 {
        let value = vec![0x55; rng.below(90) as usize];
        let batch = encode_stand_alone([&value[..]], seq + next, 0, 0);
        bytes.extend(batch.expect("a batch"));
    }
    bytes
}

/// Beginnings of batches in other versions of the format, one at each block.
fn versions(len: usize, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = vec![0x33; len];
    for block in bytes.chunks_exact_mut(512) {
        block[..4].copy_from_slice(b"RWAL");
        block[4] = rng.pick(&[0, 1, VERSION, VERSION + 1, 9, 255]);
    }
    bytes
}

/// Frames made for this very segment, by a user who knows everything except the log's tag and the
/// salt.
fn frames(seq: u64, rng: &mut Rng, disk: Option<&SimDisk>) -> Vec<u8> {
    let segment = disk.and_then(last_segment).map_or(1, |(first_seq, _)| first_seq);
    let place = Place { log: Some(rng.next()), segment };
    let salt = rng.next() | 1;
    let mut bytes = Vec::new();
    for next in 1..5 {
        let header = BatchHeader {
            unit_log2: 9,
            shard: 0,
            first_seq: seq + next,
            time_nanos: 1,
            salt,
            durable_seq: seq + next + rng.below(3),
            records: 1,
            payload_bytes: 8 + 4,
        };
        let mut frame = vec![0; 512];
        let head = RecordHead::of(b"fake");
        push_record(&mut frame, HEADER_SIZE, head, b"fake");
        seal(&mut frame, Some(&place), &header, &head.to_bytes());
        bytes.extend(frame);
    }
    bytes
}

/// The bytes of a service that stores copies of its own log in it.
fn copy_of_the_log(rng: &mut Rng, disk: Option<&SimDisk>) -> Vec<u8> {
    let Some((_, mut bytes)) = disk.and_then(last_segment) else { return Vec::new() };
    let blocks = (bytes.len() / 512) as u64;
    bytes.drain(..rng.below(blocks + 1) as usize * 512);
    bytes
}

fn last_segment(disk: &SimDisk) -> Option<(u64, Vec<u8>)> {
    let name = disk.names().into_iter().rfind(|name| name.ends_with(".seg"))?;
    let digits = name.strip_prefix("wal-")?.strip_suffix(".seg")?;
    Some((digits.parse().ok()?, disk.content(&name)?))
}

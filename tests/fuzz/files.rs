//! Directories as one run of bytes, and checksums that are made to hold.
//!
//! ```text
//! | how, 1 | name, 1 | length, 2 | bytes | name, 1 | length, 2 | bytes | ...
//! ```
//!
//! A name is an index into [`NAMES`]; with its high bit set, the checksums of that file are made
//! to hold. The last file may be shorter than its length says.

use std::collections::BTreeMap;
use std::path::Path;

use ringwal::format::{
    HEADER_SIZE, Place, RECORD_HEAD_SIZE, RecordHead, SLOT_BYTES, SLOT_DISTANCE, digest, slot_of,
};
use tempfile::TempDir;

/// The files of a directory.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The segment that begins with the first record.
pub(crate) const SEGMENT: &str = "wal-00000000000000000001.seg";

const SIGNED: u8 = 0x80;

/// The names that files may have.
pub(crate) const NAMES: [&str; 12] = [
    SEGMENT,
    "state",
    "wal-00000000000000000002.seg",
    "wal-00000000000000000004.seg",
    "wal-00000000000000000007.seg",
    "wal-00000000000000000042.seg",
    "wal-18446744073709551614.seg",
    "wal-18446744073709551615.seg",
    "spare-00000000000000000001.tmp",
    "state.tmp",
    "s00001-state",
    "notes",
];

/// The files that an input stands for.
pub(crate) fn unpack(input: &[u8]) -> Files {
    let mut files = Files::new();
    let mut rest = input.get(1..).unwrap_or(&[]);
    while let [name, low, high, after @ ..] = rest {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (bytes, after) = after.split_at(len);
        let mut bytes = bytes.to_vec();
        let called = NAMES[usize::from(name & !SIGNED) % NAMES.len()];
        if called.ends_with("state") {
            if name & SIGNED != 0 {
                sign_slots(&mut bytes);
            }
            bytes = spread(&bytes);
        } else if name & SIGNED != 0 {
            sign_frames(&mut bytes, segment_of(called));
        }
        files.insert(called.to_owned(), bytes);
        rest = after;
    }
    files
}

/// An input that stands for these files, by their names in [`NAMES`].
#[allow(dead_code, reason = "the fuzzer only reads")]
pub(crate) fn pack(files: &[(&str, &[u8])], is_signed: bool) -> Vec<u8> {
    let mut input = vec![0];
    for (name, bytes) in files {
        let index = NAMES.iter().position(|other| other == name).expect("a name of NAMES");
        input.push(index as u8 | if is_signed { SIGNED } else { 0 });
        let bytes = if name.ends_with("state") { gathered(bytes) } else { bytes.to_vec() };
        let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
        input.extend((bytes.len() as u16).to_le_bytes());
        input.extend(bytes);
    }
    input
}

/// The id of the log that the files are of, where their checksums are made to hold: as in the
/// golden corpus.
pub(crate) const LOG_ID: [u8; 16] = *b"0123456789abcdef";

/// A segment of that log.
pub(crate) fn place(segment: u64) -> Place {
    Place { log: Some(u64::from_le_bytes(*b"01234567")), segment }
}

/// The first number of the segment with this name; 1 if it is the name of something else.
pub(crate) fn segment_of(name: &str) -> u64 {
    let digits = name.strip_prefix("wal-").and_then(|rest| rest.strip_suffix(".seg"));
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(1)
}

/// Makes the checksums of batches that lie end to end hold, as far as their lengths go, as if they
/// were the segment that begins with this number.
pub(crate) fn sign_frames(bytes: &mut [u8], segment: u64) {
    let mut start = 0;
    while let Some(frame) = bytes.get_mut(start..).filter(|frame| frame.len() >= HEADER_SIZE) {
        let u32_at = |frame: &[u8], at| array_at(frame, at).map_or(0, u32::from_le_bytes) as usize;
        let (records, payload) = (u32_at(frame, 40), u32_at(frame, 44));
        let (mut at, mut heads) = (HEADER_SIZE, Vec::new());
        for _ in 0..records {
            let len = u32_at(frame, at);
            let body = at + RECORD_HEAD_SIZE;
            let Some(data) = frame.get(body..body.saturating_add(len)) else { return };
            let head = RecordHead::of(data).to_bytes();
            frame[at..body].copy_from_slice(&head);
            heads.extend(head);
            at = body + len;
        }
        let is_placed = frame[24..32] != [0; 8];
        let place = is_placed.then(|| place(segment));
        let digest = digest(place.as_ref(), &frame[..HEADER_SIZE - 16], &heads);
        frame[HEADER_SIZE - 16..HEADER_SIZE].copy_from_slice(&digest);
        let unit = 1 << (frame[5] & 0x1f);
        start += (HEADER_SIZE + payload).max(at).next_multiple_of(unit);
    }
}

/// The `state` file from an input that has the slots one behind the other: the bytes between the
/// slots of a file do not matter.
pub(crate) fn spread(slots: &[u8]) -> Vec<u8> {
    let (first, second) = slots.split_at(slots.len().min(SLOT_BYTES));
    let mut file = first.to_vec();
    if !second.is_empty() {
        file.resize(SLOT_DISTANCE, 0);
        file.extend(second);
    }
    file
}

/// The other way round.
#[allow(dead_code, reason = "the fuzzer only reads")]
pub(crate) fn gathered(file: &[u8]) -> Vec<u8> {
    [slot_of(file, 0), slot_of(file, 1)].concat()
}

/// Makes the digests of the slots of a `state` file hold.
pub(crate) fn sign_slots(bytes: &mut [u8]) {
    const DIGEST: std::ops::Range<usize> = 88..104;
    for slot in bytes.chunks_exact_mut(SLOT_BYTES).take(2) {
        let digest = digest(None, &slot[..DIGEST.start], &slot[DIGEST.end..]);
        slot[DIGEST].copy_from_slice(&digest);
    }
}

fn array_at(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A directory that is quick to write to, if there is one.
pub(crate) fn scratch() -> TempDir {
    let quick = Path::new("/dev/shm");
    let made = if quick.is_dir() { tempfile::tempdir_in(quick) } else { tempfile::tempdir() };
    made.expect("a temporary directory")
}

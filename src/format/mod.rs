//! The file format: pure functions between bytes and values, for every part that reads or writes a
//! file. No I/O and no clock.
//!
//! A segment file is a sequence of batch *frames* from its first byte on:
//!
//! ```text
//! | frame | frame | frame | blank or stale blocks of a preallocated file ...
//!
//! frame:   | header, 64 | payload | zeros up to a multiple of the unit |
//! payload: | record head, 8 | bytes | record head, 8 | bytes | ...
//!
//! header, little-endian
//!  at bytes
//!   0    4  magic RWAL
//!   4    1  version
//!   5    1  low 5 bits: log2 of the unit, 0 = not padded; high 3 bits: flags, zero
//!   6    2  shard
//!   8    8  first sequence number
//!  16    8  time of the batch, nanoseconds since the Unix epoch: the wall clock when the log was
//!           opened, plus the monotonic time since
//!  24    8  salt, one per life of a file: the low 16 bits count the cuts of the log's end when the
//!           segment began, the others are random; 0 in a stand-alone batch
//!  32    8  durable watermark known when the batch was sealed
//!  40    4  records
//!  44    4  payload bytes
//!  48    8  the log's tag, the first 8 bytes of its id
//!  56    8  digest: BLAKE3, cut to 8 bytes, over bytes 0..48 and all record heads, keyed by the
//!           place: the tag, the segment's first sequence number, zeros
//!
//! in a stand-alone batch, which is bound to no place:
//!  48   16  digest: plain BLAKE3, cut to 16 bytes, over the same
//!
//! record head, little-endian
//!   0    4  length of the bytes
//!   4    4  CRC-32C over the length and the bytes
//! ```
//!
//! A frame is valid if
//!
//! 1. magic, version and flags are those of this version;
//! 2. the unit is none or 512 bytes to 16 MiB;
//! 3. it has at least one record, and its sequence numbers lie between 1 and the largest `u64`;
//! 4. the records fill the payload exactly;
//! 5. the digest matches: it covers every length, every CRC, and the place of the batch;
//! 6. every CRC matches: together they cover every byte of the payload.
//!
//! No checksum covers the padding after the payload, and no reader looks at it. Whether a valid
//! frame *counts* at its place depends on its sequence number and its salt; the segment scanner
//! decides that.
//!
//! Types carry trust: bytes become a parsed but untrusted [`BatchHeader`], then a
//! [`VerifiedBatch`]. Only the latter gives access to records.
//!
//! The other file is `state`, with two slots that are written in turn; see [`State`].
//!
//! What reads these files is stable: [`decode`] with its types, [`State`] and [`newest`], and
//! [`encode_stand_alone`] for a batch outside of a log. The parts that lay out bytes one by one are
//! public with the feature `internals` alone.

#![cfg_attr(
    not(feature = "internals"),
    allow(dead_code, unreachable_pub, reason = "public with the feature `internals`")
)]

mod batch;
mod cuts;
mod record;
mod state;

pub use batch::{
    BatchError, BatchHeader, Place, RecordView, Records, VerifiedBatch, decode, encode_stand_alone,
};
#[cfg(feature = "internals")]
pub use batch::{digest, push_record, seal};
pub use cuts::{CUTS_MAX, Cut, CutHistory};
#[cfg(feature = "internals")]
pub use record::RecordCrc;
pub use record::RecordHead;
pub use state::{Checkpoint, PAYLOAD_MAX, State, StateError, newest};
#[cfg(feature = "internals")]
pub use state::{SLOT_BYTES, SLOT_DISTANCE, STATE_BYTES, slot_of, state_file};

#[cfg(not(feature = "internals"))]
#[allow(unused_imports, reason = "some are used by tests alone")]
pub(crate) use {
    batch::{digest, push_record, seal},
    record::RecordCrc,
    state::{SLOT_BYTES, SLOT_DISTANCE, STATE_BYTES, slot_of, state_file},
};

pub(crate) use batch::{HeadDigest, PlaceKey, Walk, decode_digested, log_of};

/// The first bytes of every batch.
pub const MAGIC: [u8; 4] = *b"RWAL";

/// The batch format version that this crate writes, and the only one that it reads: version 1 was
/// never published.
pub const VERSION: u8 = 2;

/// The size of a batch header in bytes.
pub const HEADER_SIZE: usize = 64;

/// The size of a record's head in bytes.
pub const RECORD_HEAD_SIZE: usize = 8;

/// The size of a batch's digest in bytes.
pub const DIGEST_SIZE: usize = 16;

/// The offset of the version in the header.
pub(crate) const VERSION_AT: usize = MAGIC.len();

/// The offset of the salt in the header.
pub(crate) const SALT_AT: usize = 24;

/// The offset of the digest in the header; the digest covers the bytes before it.
pub(crate) const DIGEST_AT: usize = HEADER_SIZE - DIGEST_SIZE;

/// The smallest and largest padding unit of a batch, as log2.
pub(crate) const UNIT_LOG2_MIN: u8 = 9;
pub(crate) const UNIT_LOG2_MAX: u8 = 24;

const _: () = assert!(HEADER_SIZE == 4 + 1 + 1 + 2 + 4 * 8 + 2 * 4 + DIGEST_SIZE);
const _: () = assert!(HEADER_SIZE <= 1 << UNIT_LOG2_MIN, "a header fits the least unit");
const _: () = assert!(UNIT_LOG2_MAX < 1 << 5, "the unit fits its 5 bits");

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

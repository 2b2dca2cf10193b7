//! Encodes and decodes batches: a header with its digest, and the records after it.
//!
//! Writing takes two steps, because records arrive one by one and the header is known last.
//! [`push_record`] copies a record into the frame; [`seal`] writes the header before the first one.
//! The caller also collects the record heads for the digest: to collect them from the frame would
//! mean to walk all of it. Reading is [`decode`], all or nothing.

mod error;
mod header;
mod heads;
mod place;

use super::{DIGEST_AT, DIGEST_SIZE, HEADER_SIZE, RECORD_HEAD_SIZE, RecordHead};
pub use crate::format::batch::error::BatchError;
pub use crate::format::batch::header::BatchHeader;
pub(crate) use crate::format::batch::heads::HeadDigest;
pub use crate::format::batch::heads::digest;
use crate::format::batch::heads::{Heads, is_filled};
pub use crate::format::batch::place::Place;
pub(crate) use crate::format::batch::place::{PlaceKey, log_of};
use crate::mutation::mutated;

/// Copies a record into a frame at `at`. Returns the offset of the next one.
///
/// # Panics
///
/// If the frame is too small.
pub fn push_record(frame: &mut [u8], at: usize, head: RecordHead, bytes: &[u8]) -> usize {
    let body = at + RECORD_HEAD_SIZE;
    let end = body + bytes.len();
    frame[at..body].copy_from_slice(&head.to_bytes());
    frame[body..end].copy_from_slice(bytes);
    end
}

/// Completes a frame whose records begin at byte 64: writes the header with its digest, and zeroes
/// the padding. `heads` are the heads of all records, in order. A batch with a salt needs its
/// place; a stand-alone batch has none.
///
/// ```
/// # #[cfg(feature = "internals")] {
/// use ringwal::format::{BatchHeader, HEADER_SIZE, RecordHead, decode, push_record, seal};
///
/// let records = [&b"one"[..], b"two"];
/// let (mut frame, mut at, mut heads) = (vec![0; 512], HEADER_SIZE, Vec::new());
/// for bytes in records {
///     let head = RecordHead::of(bytes);
///     heads.extend(head.to_bytes());
///     at = push_record(&mut frame, at, head, bytes);
/// }
/// let header = BatchHeader {
///     unit_log2: 9,
///     shard: 0,
///     first_seq: 1,
///     time_nanos: 0,
///     salt: 0,
///     durable_seq: 0,
///     records: 2,
///     payload_bytes: (at - HEADER_SIZE) as u32,
/// };
/// seal(&mut frame, None, &header, &heads);
/// assert!(decode(&frame, None)?.records().map(|record| record.bytes).eq(records));
/// # }
/// # Ok::<(), ringwal::format::BatchError>(())
/// ```
///
/// # Panics
///
/// If the header does not describe records with these heads; if it has a salt and there is no place
/// with a log, or the other way round. Only debug builds check that `heads` are the heads in the
/// frame: with other heads, the batch is not valid.
pub fn seal(frame: &mut [u8], place: Option<&Place>, header: &BatchHeader, heads: &[u8]) {
    header.check().expect("a header that can be read again");
    assert_eq!(header.salt != 0, place.is_some(), "a place if and only if there is a salt");
    assert!(is_filled(header, heads), "the records fill the payload exactly");
    let (end, padded) = (to_index(header.end_bytes()), to_index(header.frame_bytes()));
    debug_assert!(
        Heads::new(&frame[HEADER_SIZE..end], header.records)
            .flat_map(|(head, _)| head)
            .eq(heads.iter().copied()),
        "the heads are those in the frame"
    );
    let unsigned = header.encode([0; DIGEST_SIZE]);
    let signed = header.encode(digest(place, &unsigned[..DIGEST_AT], heads));
    frame[..HEADER_SIZE].copy_from_slice(&signed);
    frame[end..padded].fill(0);
}

/// Verifies all of the batch at the start of `bytes`, which lie at `place`: the digest and every
/// CRC. Bytes after the payload are ignored, so the padding may be missing. Without a place, only a
/// stand-alone batch can be valid.
///
/// # Errors
///
/// The first defect.
pub fn decode<'a>(bytes: &'a [u8], place: Option<&Place>) -> Result<VerifiedBatch<'a>, BatchError> {
    let (header, stated) = BatchHeader::parse(bytes)?;
    let key = PlaceKey::of(&header, place, &stated)?;
    let needed = header.end_bytes();
    if (bytes.len() as u64) < needed && !mutated("trust_length") {
        return Err(BatchError::Short { needed });
    }
    let payload = &bytes[HEADER_SIZE..to_index(needed)];
    let mut digest = HeadDigest::new(key, &bytes[..DIGEST_AT]);
    let mut walk = Heads::new(payload, header.records);
    for (head, _) in &mut walk {
        digest.push(&head);
    }
    if !walk.is_exact() {
        return Err(BatchError::Length);
    }
    if digest.finish() != stated {
        return Err(BatchError::Digest);
    }
    check_records(&header, payload)?;
    Ok(VerifiedBatch { header, payload })
}

/// The second half of [`decode`], for a frame whose digest is verified: checks every CRC.
///
/// # Errors
///
/// [`BatchError::Short`] and [`BatchError::Record`].
pub(crate) fn decode_digested(bytes: &[u8], header: &BatchHeader) -> Result<(), BatchError> {
    let needed = header.end_bytes();
    let payload = bytes.get(HEADER_SIZE..to_index(needed)).ok_or(BatchError::Short { needed })?;
    check_records(header, payload)
}

fn check_records(header: &BatchHeader, payload: &[u8]) -> Result<(), BatchError> {
    for (index, (head, body)) in (0..).zip(Heads::new(payload, header.records)) {
        if !RecordHead::from_bytes(head).matches(body) {
            return Err(BatchError::Record { index });
        }
    }
    Ok(())
}

/// A batch of which every byte was verified.
///
/// ```
/// use ringwal::format::{decode, encode_stand_alone};
///
/// let bytes = encode_stand_alone([&b"one"[..], b"two"], 1, 0, 0)?;
/// let batch = decode(&bytes, None)?;
/// let records: Vec<_> = batch.records().map(|record| (record.seq, record.bytes)).collect();
/// assert_eq!(records, [(1, &b"one"[..]), (2, b"two")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct VerifiedBatch<'a> {
    header: BatchHeader,
    payload: &'a [u8],
}

impl<'a> VerifiedBatch<'a> {
    /// The batch in these bytes, which [`decode`] has verified already; no second pass.
    pub(crate) fn verified_before(header: BatchHeader, bytes: &'a [u8]) -> VerifiedBatch<'a> {
        VerifiedBatch { header, payload: &bytes[HEADER_SIZE..to_index(header.end_bytes())] }
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records, in order.
    pub fn records(&self) -> Records<'a> {
        Records { payload: self.payload, walk: Walk::new(&self.header) }
    }
}

/// A record in a verified batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Its sequence number.
    pub seq: u64,
    /// The offset of its head from the start of the frame, in bytes.
    pub offset: u32,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// The records of a [`VerifiedBatch`], in order.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    payload: &'a [u8],
    walk: Walk,
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordView<'a>;

    fn next(&mut self) -> Option<RecordView<'a>> {
        self.walk.next_in(self.payload)
    }
}

/// A position among the records of a verified batch, for a reader that cannot keep the batch
/// borrowed between two records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    seq: u64,
    at: usize,
    left: u32,
}

impl Walk {
    /// The position before the first record of a batch with this header.
    pub(crate) fn new(header: &BatchHeader) -> Walk {
        Walk { seq: header.first_seq, at: 0, left: header.records }
    }

    /// The next record of the batch whose frame begins with `frame`.
    pub(crate) fn next<'a>(&mut self, frame: &'a [u8]) -> Option<RecordView<'a>> {
        self.next_in(frame.get(HEADER_SIZE..)?)
    }

    fn next_in<'a>(&mut self, payload: &'a [u8]) -> Option<RecordView<'a>> {
        let mut heads = Heads { payload, at: self.at, left: self.left };
        let (_, bytes) = heads.next()?;
        // Fits u32: no record starts in the last 64 of 2^32 bytes.
        let (seq, offset) = (self.seq, (HEADER_SIZE + self.at) as u32);
        (self.seq, self.at, self.left) = (seq.wrapping_add(1), heads.at, heads.left);
        Some(RecordView { seq, offset, bytes })
    }
}

/// Encodes a whole batch at once: not padded, without a salt and without a watermark. Such batches,
/// end to end, are a valid segment.
///
/// # Errors
///
/// [`BatchError::Count`] if there is no record or `first_seq` is 0; [`BatchError::Length`] if the
/// records do not fit into one batch.
///
/// ```
/// use ringwal::format::{decode, encode_stand_alone};
///
/// let bytes = encode_stand_alone([b"one".as_slice(), b"two"], 1, 0, 0)?;
/// let batch = decode(&bytes, None)?;
/// assert_eq!(batch.records().map(|record| record.bytes).collect::<Vec<_>>(), [b"one", b"two"]);
/// # Ok::<(), ringwal::format::BatchError>(())
/// ```
pub fn encode_stand_alone<'a>(
    records: impl IntoIterator<Item = &'a [u8]>,
    first_seq: u64,
    time_nanos: u64,
    shard: u16,
) -> Result<Vec<u8>, BatchError> {
    let (mut frame, mut heads) = (vec![0; HEADER_SIZE], Vec::new());
    let mut count: u32 = 0;
    for bytes in records {
        let end = frame.len() + RECORD_HEAD_SIZE + bytes.len();
        if u32::try_from(end - HEADER_SIZE).is_err() {
            return Err(BatchError::Length);
        }
        let head = RecordHead::of(bytes).to_bytes();
        heads.extend_from_slice(&head);
        frame.extend_from_slice(&head);
        frame.extend_from_slice(bytes);
        // A record takes at least 8 bytes of a payload below 2^32, so the count cannot overflow.
        count += 1;
    }
    let payload_bytes = u32::try_from(frame.len() - HEADER_SIZE).map_err(|_| BatchError::Length)?;
    let header = BatchHeader {
        unit_log2: 0,
        shard,
        first_seq,
        time_nanos,
        salt: 0,
        durable_seq: 0,
        records: count,
        payload_bytes,
    };
    header.check()?;
    seal(&mut frame, None, &header, &heads);
    Ok(frame)
}

/// Converts a length below 2^33; a platform that can hold the batch has a `usize` for it.
fn to_index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a batch that fits the address space")
}

#[cfg(test)]
mod tests;

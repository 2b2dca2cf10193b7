//! `Place`: the log and the segment of a batch. They key its digest, so the batch is valid there
//! and nowhere else.

use crate::format::{BatchError, BatchHeader, DIGEST_SIZE, array_at};
use crate::mutation::mutated;

/// The place of a batch: its log and its segment.
///
/// The place keys the digest of the batch. So a copy of the batch does not count in another log, in
/// another segment, or in the next life of a recycled file. The log's tag is random and unknown to
/// the author of a record, so no record's bytes count as a batch.
///
/// The offset in the segment is not part of the place: dense sequence numbers determine it. So a
/// batch that was written to a wrong offset of its segment is still evidence that it was written.
///
/// A *stand-alone* batch (salt 0) has no place: its digest is not keyed.
///
/// ```
/// # #[cfg(feature = "internals")] {
/// use ringwal::format::{BatchError, BatchHeader, Place, RecordHead, decode, push_record, seal};
///
/// let head = RecordHead::of(b"one");
/// let mut frame = vec![0; 512];
/// let end = push_record(&mut frame, 64, head, b"one");
/// let header = BatchHeader {
///     unit_log2: 9,
///     shard: 0,
///     first_seq: 1,
///     time_nanos: 0,
///     salt: 7,
///     durable_seq: 0,
///     records: 1,
///     payload_bytes: (end - 64) as u32,
/// };
/// let place = Place { log: Some(42), segment: 1 };
/// seal(&mut frame, Some(&place), &header, &head.to_bytes());
/// assert!(decode(&frame, Some(&place)).is_ok());
/// let elsewhere = Place { segment: 9, ..place };
/// assert_eq!(decode(&frame, Some(&elsewhere)).unwrap_err(), BatchError::Digest);
/// let other_log = Place { log: Some(43), ..place };
/// assert_eq!(decode(&frame, Some(&other_log)).unwrap_err(), BatchError::OtherLog);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The log's tag ([`State::log_tag`](crate::format::State::log_tag)). `None`, if its `state`
    /// file is lost, accepts the tag that the batch states.
    pub log: Option<u64>,
    /// The first sequence number of the segment, from its name.
    pub segment: u64,
}

/// The key of a batch's digest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlaceKey {
    log: u64,
    key: [u8; blake3::KEY_LEN],
}

impl PlaceKey {
    /// The key for a batch with this header at `place`; `None` for a stand-alone batch. `stated` is
    /// the digest in the header.
    ///
    /// # Errors
    ///
    /// [`BatchError::OtherLog`]; [`BatchError::Digest`] if the batch needs a place and there is
    /// none.
    pub(crate) fn of(
        header: &BatchHeader,
        place: Option<&Place>,
        stated: &[u8; DIGEST_SIZE],
    ) -> Result<Option<PlaceKey>, BatchError> {
        if header.salt == 0 {
            return Ok(None);
        }
        let Some(place) = place else { return Err(BatchError::Digest) };
        let log = log_of(stated);
        if place.log.is_some_and(|known| known != log) && !mutated("trust_any_log") {
            return Err(BatchError::OtherLog);
        }
        Ok(Some(PlaceKey::new(log, place)))
    }

    pub(super) fn new(log: u64, place: &Place) -> PlaceKey {
        let mut key = [0; blake3::KEY_LEN];
        let segment = if mutated("forget_the_place") { 0 } else { place.segment };
        key[..8].copy_from_slice(&log.to_le_bytes());
        key[8..16].copy_from_slice(&segment.to_le_bytes());
        PlaceKey { log, key }
    }

    /// A new hasher.
    pub(super) fn hasher(place: Option<&PlaceKey>) -> blake3::Hasher {
        match place {
            Some(place) => blake3::Hasher::new_keyed(&place.key),
            None => blake3::Hasher::new(),
        }
    }

    /// The digest for a hash, as it lies on disk.
    pub(super) fn digest(place: Option<&PlaceKey>, hash: &blake3::Hash) -> [u8; DIGEST_SIZE] {
        let mut digest: [u8; DIGEST_SIZE] = array_at(hash.as_bytes(), 0);
        if let Some(place) = place {
            digest.copy_within(..DIGEST_SIZE / 2, DIGEST_SIZE / 2);
            digest[..DIGEST_SIZE / 2].copy_from_slice(&place.log.to_le_bytes());
        }
        digest
    }
}

/// The log tag in the digest of a placed batch.
pub(crate) fn log_of(stated: &[u8; DIGEST_SIZE]) -> u64 {
    u64::from_le_bytes(array_at(stated, 0))
}

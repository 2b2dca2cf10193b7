//! Where a batch belongs. Its digest is keyed by that, so it counts there and nowhere else.

use crate::format::{BatchError, BatchHeader, DIGEST_SIZE, array_at};
use crate::mutation::mutated;

/// Where a batch belongs: to which log, to which segment.
///
/// The digest of a batch is keyed by its place. So a copy of it does not count in another log, in
/// another segment, or in the next life of a recycled file. Whoever chooses the bytes of records
/// does not know the log's tag, which is random, so no record's bytes count as a batch.
///
/// Where in its segment a batch lies is told by its sequence number, as those are dense. So one
/// that was written to a wrong byte of its segment still testifies that it was written.
///
/// A *stand-alone* batch (salt 0) has no place: its digest is plain.
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
    /// The log's tag ([`State::log_tag`](crate::format::State::log_tag)). `None`, when its `state`
    /// file is lost, takes the batch at its word.
    pub log: Option<u64>,
    /// The first sequence number of the segment, which is in its name.
    pub segment: u64,
}

/// What the digest of a batch is keyed with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlaceKey {
    log: u64,
    key: [u8; blake3::KEY_LEN],
}

impl PlaceKey {
    /// The key for a batch with this header at `place`; `stated` is its digest as far as it is
    /// known. `None` for a stand-alone batch.
    ///
    /// # Errors
    ///
    /// [`BatchError::OtherLog`], and [`BatchError::Digest`] when a place is needed and not known.
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

    /// A hash of nothing yet.
    pub(super) fn hasher(place: Option<&PlaceKey>) -> blake3::Hasher {
        match place {
            Some(place) => blake3::Hasher::new_keyed(&place.key),
            None => blake3::Hasher::new(),
        }
    }

    /// The digest with this hash, as it lies on disk.
    pub(super) fn digest(place: Option<&PlaceKey>, hash: &blake3::Hash) -> [u8; DIGEST_SIZE] {
        let mut digest: [u8; DIGEST_SIZE] = array_at(hash.as_bytes(), 0);
        if let Some(place) = place {
            digest.copy_within(..DIGEST_SIZE / 2, DIGEST_SIZE / 2);
            digest[..DIGEST_SIZE / 2].copy_from_slice(&place.log.to_le_bytes());
        }
        digest
    }
}

/// The tag of the log that a placed batch with this digest says it belongs to.
pub(crate) fn log_of(stated: &[u8; DIGEST_SIZE]) -> u64 {
    u64::from_le_bytes(array_at(stated, 0))
}

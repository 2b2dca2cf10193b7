//! Record heads: walks the heads in a payload, and computes the digest of a batch over them.

use crate::format::batch::place::PlaceKey;
use crate::format::{BatchHeader, DIGEST_SIZE, Place, RECORD_HEAD_SIZE, RecordHead};

/// The digest of a batch: over the header before the digest, then over all record heads. With a
/// place, the place keys the hash, and the digest is the log's tag and 8 bytes of the hash. Without
/// one, it is 16 bytes of the plain hash.
///
/// # Panics
///
/// If the place has no log.
pub fn digest(place: Option<&Place>, header: &[u8], heads: &[u8]) -> [u8; DIGEST_SIZE] {
    let key = place.map(|place| PlaceKey::new(place.log.expect("the log's tag"), place));
    let mut hasher = PlaceKey::hasher(key.as_ref());
    hasher.update(header);
    hasher.update(heads);
    PlaceKey::digest(key.as_ref(), &hasher.finalize())
}

/// Whether the header's record count and payload length match these heads exactly.
pub(super) fn is_filled(header: &BatchHeader, heads: &[u8]) -> bool {
    let (heads, rest) = heads.as_chunks::<RECORD_HEAD_SIZE>();
    let lengths = heads.iter().map(|head| u64::from(RecordHead::from_bytes(*head).len));
    let bytes = (heads.len() * RECORD_HEAD_SIZE) as u64 + lengths.sum::<u64>();
    rest.is_empty()
        && heads.len() as u64 == u64::from(header.records)
        && bytes == u64::from(header.payload_bytes)
}

/// Walks the record heads of an untrusted payload; stops at the first that does not fit.
#[derive(Clone, Debug)]
pub(super) struct Heads<'a> {
    pub(super) payload: &'a [u8],
    pub(super) at: usize,
    pub(super) left: u32,
}

impl<'a> Heads<'a> {
    pub(super) fn new(payload: &'a [u8], records: u32) -> Heads<'a> {
        Heads { payload, at: 0, left: records }
    }

    /// After the walk: whether the records filled the payload exactly.
    pub(super) fn is_exact(&self) -> bool {
        self.left == 0 && self.at == self.payload.len()
    }
}

impl<'a> Iterator for Heads<'a> {
    type Item = ([u8; RECORD_HEAD_SIZE], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let rest = self.payload.get(self.at..)?;
        let head: [u8; RECORD_HEAD_SIZE] = *rest.first_chunk()?;
        let len = RecordHead::from_bytes(head).len as usize;
        let body = rest[RECORD_HEAD_SIZE..].get(..len)?;
        self.at += RECORD_HEAD_SIZE + len;
        self.left -= 1;
        Some((head, body))
    }
}

/// A digest whose record heads arrive one by one. It hashes them in runs: one call for each would
/// cost more than the hash itself.
#[derive(Debug)]
pub(crate) struct HeadDigest {
    key: Option<PlaceKey>,
    hasher: blake3::Hasher,
    run: [u8; HEAD_RUN_BYTES],
    used: usize,
}

impl HeadDigest {
    /// Begins the digest of a batch whose header begins with these 48 bytes.
    pub(crate) fn new(key: Option<PlaceKey>, header: &[u8]) -> HeadDigest {
        let mut hasher = PlaceKey::hasher(key.as_ref());
        hasher.update(header);
        HeadDigest { key, hasher, run: [0; HEAD_RUN_BYTES], used: 0 }
    }

    /// Adds the head of the next record.
    pub(crate) fn push(&mut self, head: &[u8; RECORD_HEAD_SIZE]) {
        self.run[self.used..self.used + RECORD_HEAD_SIZE].copy_from_slice(head);
        self.used += RECORD_HEAD_SIZE;
        if self.used == self.run.len() {
            self.hasher.update(&self.run);
            self.used = 0;
        }
    }

    /// The digest of all heads.
    pub(crate) fn finish(mut self) -> [u8; DIGEST_SIZE] {
        self.hasher.update(&self.run[..self.used]);
        PlaceKey::digest(self.key.as_ref(), &self.hasher.finalize())
    }
}

/// The bytes of record heads that are hashed at once.
const HEAD_RUN_BYTES: usize = 128 * RECORD_HEAD_SIZE;

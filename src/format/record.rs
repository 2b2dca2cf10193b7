//! Record heads: the length and the checksum before each record.
//!
//! The CRC also covers the length, so a record can be read and verified alone.

use super::{RECORD_HEAD_SIZE, u32_at};
use crate::mutation::mutated;

/// The 8 bytes before a record's own bytes.
///
/// ```
/// use ringwal::format::RecordHead;
///
/// let head = RecordHead::of(b"paid");
/// assert_eq!(head.len, 4);
/// assert!(head.matches(b"paid"));
/// assert!(!head.matches(b"said"));
/// assert_eq!(RecordHead::from_bytes(head.to_bytes()), head);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// The length of the record in bytes.
    pub len: u32,
    /// The CRC-32C of the length, little-endian, and of the bytes.
    pub crc: u32,
}

impl RecordHead {
    /// The head of a record of these bytes.
    ///
    /// # Panics
    ///
    /// If there are more than `u32::MAX` bytes; the limit of every log is lower.
    pub fn of(bytes: &[u8]) -> RecordHead {
        let len = u32::try_from(bytes.len()).expect("a record of at most u32::MAX bytes");
        let mut crc = RecordCrc::new(len);
        crc.update(bytes);
        RecordHead { len, crc: crc.finish() }
    }

    /// Encodes the head as it lies on disk.
    pub fn to_bytes(self) -> [u8; RECORD_HEAD_SIZE] {
        let mut bytes = [0; RECORD_HEAD_SIZE];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// Decodes a head.
    pub fn from_bytes(bytes: [u8; RECORD_HEAD_SIZE]) -> RecordHead {
        RecordHead { len: u32_at(&bytes, 0), crc: u32_at(&bytes, 4) }
    }

    /// Whether length and checksum match these bytes.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        if u32::try_from(bytes.len()) != Ok(self.len) {
            return false;
        }
        let mut crc = RecordCrc::new(self.len);
        crc.update(bytes);
        crc.finish() == self.crc || mutated("skip_record_crc")
    }
}

/// The CRC of a record, computed piece by piece.
///
/// ```
/// # #[cfg(feature = "internals")] {
/// use ringwal::format::{RecordCrc, RecordHead};
///
/// let mut crc = RecordCrc::new(4);
/// crc.update(b"pa");
/// crc.update(b"id");
/// assert_eq!(crc.finish(), RecordHead::of(b"paid").crc);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RecordCrc {
    crc: u32,
}

impl RecordCrc {
    /// Begins the CRC of a record of `len` bytes.
    pub fn new(len: u32) -> RecordCrc {
        RecordCrc { crc: crc32c::crc32c(&len.to_le_bytes()) }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
    }

    /// The CRC of all bytes so far.
    pub fn finish(&self) -> u32 {
        self.crc
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_record_has_a_checksum_of_its_length() {
        let head = RecordHead::of(b"");
        assert_eq!(head.len, 0);
        assert_ne!(head.crc, 0);
        assert!(head.matches(b""));
    }

    #[test]
    fn a_head_of_zeros_matches_nothing() {
        assert!(!RecordHead::from_bytes([0; RECORD_HEAD_SIZE]).matches(b""));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_noticed(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            flip in any::<prop::sample::Index>(),
        ) {
            let mut whole = RecordHead::of(&bytes).to_bytes().to_vec();
            whole.extend(&bytes);
            let bit = flip.index(whole.len() * 8);
            whole[bit / 8] ^= 1 << (bit % 8);
            let head: [u8; RECORD_HEAD_SIZE] = whole[..RECORD_HEAD_SIZE].try_into().unwrap();
            prop_assert!(!RecordHead::from_bytes(head).matches(&whole[RECORD_HEAD_SIZE..]));
        }

        #[test]
        fn pieces_give_the_checksum_of_the_whole(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            split in any::<prop::sample::Index>(),
        ) {
            let at = split.index(bytes.len() + 1);
            let mut crc = RecordCrc::new(u32::try_from(bytes.len()).unwrap());
            crc.update(&bytes[..at]);
            crc.update(&bytes[at..]);
            prop_assert_eq!(crc.finish(), RecordHead::of(&bytes).crc);
        }
    }
}

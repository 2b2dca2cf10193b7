//! The bytes of a record in the engine: encoded for the record log, parsed for its readers.
//!
//! ```text
//!  at bytes
//!   0    1  kind: `P` a put, `D` a delete, `R` raw
//!   1    2  the key's length less one, little-endian
//!   3    n  the key
//! 3+n    m  the payload, up to the end of the record
//!
//!   0    1  kind: `p`, `d`, `r`, the same without a key
//!   1    m  the payload, up to the end of the record
//!
//!   0    1  kind: `S`, a new segment begins here
//!   1    4  its number, little-endian
//! ```
//!
//! 1. A put of a key, and a delete of a key without a payload, have the same bytes as in a
//!    key-value log ([`kv`](crate::kv)). A [`DataWal`](super::DataWal) writes nothing else, so it
//!    opens there.
//! 2. The others have no meaning in a key-value log, which refuses to open: it would lose them.

use crate::datawal::format::RecordType;

/// A record, parsed in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    Record { record_type: RecordType, key: &'a [u8], payload: &'a [u8] },
    NewSegment(u32),
}

const PUT: u8 = b'P';
const DELETE: u8 = b'D';
const RAW: u8 = b'R';
const NEW_SEGMENT: u8 = b'S';

const HEAD_SIZE: usize = 1 + 2;

impl<'a> Entry<'a> {
    /// Parses a record; `None` if it does not belong to such a log.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Entry<'a>> {
        let (&kind, rest) = bytes.split_first()?;
        if kind == NEW_SEGMENT {
            return Some(Entry::NewSegment(u32::from_le_bytes(rest.try_into().ok()?)));
        }
        let record_type = match kind.to_ascii_uppercase() {
            PUT => RecordType::Put,
            DELETE => RecordType::Delete,
            RAW => RecordType::Raw,
            _ => return None,
        };
        if kind.is_ascii_lowercase() {
            return Some(Entry::Record { record_type, key: &[], payload: rest });
        }
        let (&[low, high], rest) = rest.split_first_chunk()?;
        let key_len = usize::from(u16::from_le_bytes([low, high])) + 1;
        let (key, payload) = rest.split_at_checked(key_len)?;
        Some(Entry::Record { record_type, key, payload })
    }
}

/// Whether a key-value log can represent the record.
pub(crate) fn fits_kv(record_type: RecordType, key: &[u8], payload: &[u8]) -> bool {
    match record_type {
        RecordType::Raw => false,
        RecordType::Put => !key.is_empty(),
        RecordType::Delete => !key.is_empty() && payload.is_empty(),
    }
}

/// Encodes a record. The caller has checked the lengths.
pub(crate) fn encode(record_type: RecordType, key: &[u8], payload: &[u8]) -> Vec<u8> {
    let kind = match record_type {
        RecordType::Put => PUT,
        RecordType::Delete => DELETE,
        RecordType::Raw => RAW,
    };
    let mut bytes = Vec::with_capacity(HEAD_SIZE + key.len() + payload.len());
    match key.len().checked_sub(1) {
        None => bytes.push(kind.to_ascii_lowercase()),
        Some(len) => {
            debug_assert!(len <= usize::from(u16::MAX));
            bytes.push(kind);
            bytes.extend_from_slice(&(len as u16).to_le_bytes());
        }
    }
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(payload);
    bytes
}

/// Encodes the record that begins a segment.
pub(crate) fn encode_new_segment(id: u32) -> Vec<u8> {
    let mut bytes = vec![NEW_SEGMENT];
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::kv::KEY_BYTES_MAX;

    #[test]
    fn bytes_are_as_documented() {
        assert_eq!(encode(RecordType::Put, b"key", b"value"), b"P\x02\x00keyvalue");
        assert_eq!(encode(RecordType::Delete, b"k", b""), b"D\x00\x00k");
        assert_eq!(encode(RecordType::Raw, b"", b"bytes"), b"rbytes");
        assert_eq!(encode(RecordType::Put, b"", b""), b"p");
        assert_eq!(encode_new_segment(2), b"S\x02\x00\x00\x00");
    }

    #[test]
    fn every_record_reads_back_and_nothing_else_does() {
        let long = vec![7; KEY_BYTES_MAX];
        for record_type in [RecordType::Raw, RecordType::Put, RecordType::Delete] {
            for key in [&b""[..], b"k", &long] {
                for payload in [&b""[..], b"payload"] {
                    let bytes = encode(record_type, key, payload);
                    let record = Entry::Record { record_type, key, payload };
                    assert_eq!(Entry::parse(&bytes), Some(record));
                }
            }
        }
        assert_eq!(Entry::parse(&encode_new_segment(9)), Some(Entry::NewSegment(9)));
        for bad in [&b""[..], b"P", b"P\x00\x00", b"S\x00", b"S\x00\x00\x00\x00\x00", b"Q", b"s"] {
            assert_eq!(Entry::parse(bad), None, "{bad:?}");
        }
    }
}

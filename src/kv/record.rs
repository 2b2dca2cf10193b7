//! The record format of a key-value log: the bytes of a put and of a delete.
//!
//! ```text
//!  at bytes
//!   0    1  kind: `P` a put, `D` a delete
//!   1    2  the key's length less one, little-endian
//!   3    n  the key
//! 3+n    m  the value, up to the end of the record; nothing in a delete
//! ```
//!
//! 1. The engine stores the record's length and checksum, so this format has neither.
//! 2. A record of any other form does not belong to a key-value log.

use crate::{Error, Result};

/// The largest key in bytes. A key has at least one byte.
pub const KEY_BYTES_MAX: usize = 64 << 10;
/// The largest value in bytes. A value may be empty.
pub const VALUE_BYTES_MAX: usize = 64 << 20;

const PUT: u8 = b'P';
const DELETE: u8 = b'D';
const HEAD_SIZE: usize = 1 + 2;

/// The longest record; the engine is opened with this limit.
pub(crate) const RECORD_BYTES_MAX: usize = HEAD_SIZE + KEY_BYTES_MAX + VALUE_BYTES_MAX;

const _: () = assert!(KEY_BYTES_MAX - 1 == u16::MAX as usize);

/// A put or a delete, parsed in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KvRecord<'a> {
    pub(crate) key: &'a [u8],
    /// `None` in a delete.
    pub(crate) value: Option<&'a [u8]>,
}

impl<'a> KvRecord<'a> {
    /// Parses a record; `None` if it does not belong to a key-value log.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<KvRecord<'a>> {
        let (&[kind, low, high], rest) = bytes.split_first_chunk::<HEAD_SIZE>()?;
        let (key, value) =
            rest.split_at_checked(usize::from(u16::from_le_bytes([low, high])) + 1)?;
        match kind {
            PUT if value.len() <= VALUE_BYTES_MAX => Some(KvRecord { key, value: Some(value) }),
            DELETE if value.is_empty() => Some(KvRecord { key, value: None }),
            _ => None,
        }
    }
}

/// The offset of the value, if the record is a put of this key.
pub(crate) fn value_at(bytes: &[u8], key: &[u8]) -> Option<usize> {
    let record = KvRecord::parse(bytes)?;
    (record.key == key && record.value.is_some()).then_some(HEAD_SIZE + key.len())
}

/// Encodes a put, or a delete if there is no value.
pub(crate) fn encode(key: &[u8], value: Option<&[u8]>) -> Result<Vec<u8>> {
    let kind = if value.is_some() { PUT } else { DELETE };
    let value = value.unwrap_or_default();
    let key_len = check(key, value)?;
    let mut bytes = Vec::with_capacity(HEAD_SIZE + key.len() + value.len());
    bytes.push(kind);
    bytes.extend_from_slice(&key_len);
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(value);
    Ok(bytes)
}

/// Checks the lengths of a key and a value. Returns the key's length as it is stored.
pub(crate) fn check(key: &[u8], value: &[u8]) -> Result<[u8; 2]> {
    if value.len() > VALUE_BYTES_MAX {
        let (bytes, limit) = (value.len() as u64, VALUE_BYTES_MAX as u64);
        return Err(Error::ValueTooLarge { bytes, limit });
    }
    check_key(key)
}

/// Checks the length of a key. Returns it as it is stored.
pub(crate) fn check_key(key: &[u8]) -> Result<[u8; 2]> {
    match key.len().checked_sub(1).map(u16::try_from) {
        Some(Ok(len)) => Ok(len.to_le_bytes()),
        _ => {
            let limit = KEY_BYTES_MAX as u64;
            Err(Error::KeyLength { bytes: key.len() as u64, limit })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_as_documented() {
        assert_eq!(encode(b"key", Some(b"value")).unwrap(), b"P\x02\x00keyvalue");
        assert_eq!(encode(b"k", Some(b"")).unwrap(), b"P\x00\x00k");
        assert_eq!(encode(b"key", None).unwrap(), b"D\x02\x00key");
    }

    #[test]
    fn every_record_reads_back_and_nothing_else_does() {
        let long = vec![7; KEY_BYTES_MAX];
        for (key, value) in [(&b"k"[..], Some(&b"v"[..])), (&long, Some(b"")), (&long, None)] {
            let bytes = encode(key, value).unwrap();
            assert_eq!(KvRecord::parse(&bytes), Some(KvRecord { key, value }));
        }
        for bad in [&b""[..], b"P", b"P\x00\x00", b"P\x01\x00k", b"D\x00\x00kv", b"Q\x00\x00k"] {
            assert_eq!(KvRecord::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn lengths_outside_of_the_limits_are_refused() {
        assert!(matches!(encode(b"", None), Err(Error::KeyLength { bytes: 0, .. })));
        let long = vec![7; KEY_BYTES_MAX + 1];
        assert!(matches!(encode(&long, None), Err(Error::KeyLength { bytes: 65_537, .. })));
        let large = vec![7; VALUE_BYTES_MAX + 1];
        let error = encode(b"k", Some(&large)).unwrap_err();
        assert!(error.to_string().contains("67108865 bytes"), "{error}");
    }
}

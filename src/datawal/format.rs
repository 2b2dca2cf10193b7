//! Wire format version 1 of the crate datawal, which [`import`](crate::datawal::import) reads. This
//! crate stores nothing in it; its own format is in [`format`](mod@crate::format).
//!
//! ```text
//! at   bytes
//!  0       4  `DWAL`
//!  4       2  version, 1
//!  6       1  type: 0 raw, 1 put, 2 delete
//!  7       1  flags, 0
//!  8       8  txid, from 1 upwards
//! 16       4  K, the key's length, at most 64 KiB
//! 20       4  P, the payload's length, at most 64 MiB
//! 24       K  the key
//! 24+K     P  the payload
//! 24+K+P   4  CRC-32C of all bytes before
//! ```
//!
//! Numbers are little-endian. A file is a sequence of such records and nothing else.

use std::fmt;

use anyhow::{Result, anyhow};

use crate::kv::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// The first bytes of every record.
pub const MAGIC: [u8; 4] = *b"DWAL";
/// The version of the format.
pub const WIRE_VERSION: u16 = 1;
/// The length of the header, before the key.
pub const HEADER_LEN: usize = 24;
/// The length of the checksum, after the payload.
pub const CRC_LEN: usize = 4;
/// The largest key in bytes. A key may be empty.
pub const MAX_KEY_LEN: u32 = KEY_BYTES_MAX as u32;
/// The largest payload in bytes.
pub const MAX_PAYLOAD_LEN: u32 = VALUE_BYTES_MAX as u32;

const _: () = assert!(MAX_KEY_LEN == 64 << 10 && MAX_PAYLOAD_LEN == 64 << 20);

/// The type of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordType {
    /// Bytes without a meaning to a key-value store.
    Raw = 0,
    /// Sets the value of a key.
    Put = 1,
    /// Deletes a key.
    Delete = 2,
}

impl RecordType {
    /// Decodes a type.
    ///
    /// # Errors
    ///
    /// If the byte is not 0, 1 or 2.
    pub fn from_byte(b: u8) -> Result<Self> {
        match b {
            0 => Ok(RecordType::Raw),
            1 => Ok(RecordType::Put),
            2 => Ok(RecordType::Delete),
            other => Err(DecodeError::UnknownRecordType { found: other }.into()),
        }
    }

    /// Encodes the type.
    pub fn as_byte(self) -> u8 {
        self as u8
    }
}

/// The length of a record with a key and a payload of these lengths.
pub fn record_wire_size(key_len: u32, payload_len: u32) -> u64 {
    (HEADER_LEN + CRC_LEN) as u64 + u64::from(key_len) + u64::from(payload_len)
}

/// The lengths of a key and a payload, if both are within their limits.
pub(crate) fn checked_lengths(key: &[u8], payload: &[u8]) -> Result<(u32, u32)> {
    let within = |name, limit: u32, bytes: &[u8], of| match u32::try_from(bytes.len()) {
        Ok(len) if len <= limit => Ok(len),
        _ => {
            Err(anyhow!("datawal: {of} {} exceeds {name} {limit}; both are in bytes", bytes.len()))
        }
    };
    let key_len = within("MAX_KEY_LEN", MAX_KEY_LEN, key, "key_len")?;
    Ok((key_len, within("MAX_PAYLOAD_LEN", MAX_PAYLOAD_LEN, payload, "payload_len")?))
}

/// Encodes a record.
///
/// # Errors
///
/// If the key or the payload is too long.
pub fn encode_record(
    record_type: RecordType,
    txid: u64,
    key: &[u8],
    payload: &[u8],
) -> Result<Vec<u8>> {
    let (key_len, payload_len) = checked_lengths(key, payload)?;
    let mut bytes = Vec::with_capacity(HEADER_LEN + key.len() + payload.len() + CRC_LEN);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&WIRE_VERSION.to_le_bytes());
    bytes.extend_from_slice(&[record_type.as_byte(), 0]);
    bytes.extend_from_slice(&txid.to_le_bytes());
    bytes.extend_from_slice(&key_len.to_le_bytes());
    bytes.extend_from_slice(&payload_len.to_le_bytes());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(payload);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

/// The result of [`decode_next`].
#[derive(Debug)]
pub enum DecodeOutcome {
    /// A whole record.
    Ok {
        /// Its type.
        record_type: RecordType,
        /// Its number.
        txid: u64,
        /// Its key.
        key: Vec<u8>,
        /// Its payload.
        payload: Vec<u8>,
        /// Its length in the file.
        bytes_consumed: u32,
    },
    /// The bytes end inside a record: a torn tail in the last file, damage in any other.
    Truncated {
        /// The bytes that are left.
        available: u64,
        /// The bytes that the record needs, as far as is known.
        needed: u64,
    },
    /// The record has its full length, but its checksum does not match: treated like `Truncated`.
    CrcMismatch {
        /// Its length in the file.
        bytes_consumed: u32,
    },
}

/// The reason why bytes are neither a record of this format nor a torn one.
#[derive(Debug)]
pub enum DecodeError {
    /// The bytes do not begin with the magic number.
    BadMagic {
        /// The bytes there.
        found: [u8; 4],
    },
    /// The record states another version.
    UnknownVersion {
        /// The stated version.
        found: u16,
    },
    /// The record type is unknown to this version.
    UnknownRecordType {
        /// The byte of the type.
        found: u8,
    },
    /// The record has flags, and this version defines none.
    ReservedFlagsSet {
        /// The flags.
        found: u8,
    },
    /// The key is too long.
    KeyTooLarge {
        /// Its length.
        found: u32,
    },
    /// The payload is too long.
    PayloadTooLarge {
        /// Its length.
        found: u32,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::BadMagic { found } => {
                write!(f, "datawal: bad magic, expected DWAL, got {found:?}")
            }
            DecodeError::UnknownVersion { found } => {
                write!(
                    f,
                    "datawal: unknown wire version {found} (this build supports {WIRE_VERSION})"
                )
            }
            DecodeError::UnknownRecordType { found } => {
                write!(f, "datawal: unknown record_type byte {found}")
            }
            DecodeError::ReservedFlagsSet { found } => {
                write!(f, "datawal: reserved flags byte must be 0, got {found}")
            }
            DecodeError::KeyTooLarge { found } => {
                write!(f, "datawal: key_len {found} exceeds MAX_KEY_LEN {MAX_KEY_LEN}")
            }
            DecodeError::PayloadTooLarge { found } => {
                write!(f, "datawal: payload_len {found} exceeds MAX_PAYLOAD_LEN {MAX_PAYLOAD_LEN}")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// The header of a record, with all fields checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) record_type: RecordType,
    pub(crate) txid: u64,
    pub(crate) key_len: u32,
    pub(crate) payload_len: u32,
}

impl Header {
    pub(crate) fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Header, DecodeError> {
        let [m0, m1, m2, m3, v0, v1, kind, flags, t @ .., k0, k1, k2, k3, p0, p1, p2, p3] = *bytes;
        let found = [m0, m1, m2, m3];
        if found != MAGIC {
            return Err(DecodeError::BadMagic { found });
        }
        let found = u16::from_le_bytes([v0, v1]);
        if found != WIRE_VERSION {
            return Err(DecodeError::UnknownVersion { found });
        }
        let record_type = match kind {
            0 => RecordType::Raw,
            1 => RecordType::Put,
            2 => RecordType::Delete,
            found => return Err(DecodeError::UnknownRecordType { found }),
        };
        if flags != 0 {
            return Err(DecodeError::ReservedFlagsSet { found: flags });
        }
        let key_len = u32::from_le_bytes([k0, k1, k2, k3]);
        if key_len > MAX_KEY_LEN {
            return Err(DecodeError::KeyTooLarge { found: key_len });
        }
        let payload_len = u32::from_le_bytes([p0, p1, p2, p3]);
        if payload_len > MAX_PAYLOAD_LEN {
            return Err(DecodeError::PayloadTooLarge { found: payload_len });
        }
        Ok(Header { record_type, txid: u64::from_le_bytes(t), key_len, payload_len })
    }

    /// The length of the whole record, which the limits keep far below 4 GiB.
    pub(crate) fn record_len(&self) -> u32 {
        (HEADER_LEN + CRC_LEN) as u32 + self.key_len + self.payload_len
    }
}

/// Whether the last four bytes of a record are the checksum of the bytes before them.
pub(crate) fn crc_holds(record: &[u8]) -> bool {
    let Some((bytes, crc)) = record.split_last_chunk::<CRC_LEN>() else { return false };
    crc32c::crc32c(bytes) == u32::from_le_bytes(*crc)
}

/// Decodes the record in `buf` at `offset`.
///
/// # Errors
///
/// [`DecodeError`] for bytes that no interrupted write leaves.
pub fn decode_next(buf: &[u8], offset: u64) -> Result<DecodeOutcome, DecodeError> {
    let rest = usize::try_from(offset).ok().and_then(|at| buf.get(at..)).unwrap_or_default();
    let available = rest.len() as u64;
    let Some((head, _)) = rest.split_first_chunk::<HEADER_LEN>() else {
        return Ok(DecodeOutcome::Truncated { available, needed: HEADER_LEN as u64 });
    };
    let header = Header::parse(head)?;
    let bytes_consumed = header.record_len();
    let Some(record) = rest.get(..bytes_consumed as usize) else {
        return Ok(DecodeOutcome::Truncated { available, needed: u64::from(bytes_consumed) });
    };
    if !crc_holds(record) {
        return Ok(DecodeOutcome::CrcMismatch { bytes_consumed });
    }
    let body = &record[HEADER_LEN..record.len() - CRC_LEN];
    let (key, payload) = body.split_at(header.key_len as usize);
    let Header { record_type, txid, .. } = header;
    let (key, payload) = (key.to_vec(), payload.to_vec());
    Ok(DecodeOutcome::Ok { record_type, txid, key, payload, bytes_consumed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_as_documented() {
        let bytes = encode_record(RecordType::Put, 0x0102, b"key", b"value").unwrap();
        let head =
            b"DWAL\x01\x00\x01\x00\x02\x01\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x05\x00\x00\x00";
        assert_eq!(bytes[..HEADER_LEN], head[..]);
        assert_eq!(bytes[HEADER_LEN..bytes.len() - CRC_LEN], b"keyvalue"[..]);
        assert_eq!(bytes.len() as u64, record_wire_size(3, 5));
        assert!(crc_holds(&bytes));
    }

    #[test]
    fn every_record_reads_back_and_any_cut_of_it_is_truncated() {
        let bytes = encode_record(RecordType::Delete, 7, b"", b"x").unwrap();
        match decode_next(&bytes, 0).unwrap() {
            DecodeOutcome::Ok { record_type, txid, key, payload, bytes_consumed } => {
                assert_eq!((record_type, txid), (RecordType::Delete, 7));
                assert_eq!((key, payload), (vec![], b"x".to_vec()));
                assert_eq!(bytes_consumed as usize, bytes.len());
            }
            other => panic!("{other:?}"),
        }
        for cut in 0..bytes.len() {
            let found = decode_next(&bytes[..cut], 0).unwrap();
            assert!(matches!(found, DecodeOutcome::Truncated { .. }), "{cut}: {found:?}");
        }
        let end = decode_next(&bytes, u64::MAX).unwrap();
        assert!(matches!(end, DecodeOutcome::Truncated { available: 0, .. }));
    }

    #[test]
    fn a_flipped_bit_is_never_a_record() {
        let bytes = encode_record(RecordType::Raw, 1, b"k", b"payload").unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let found = decode_next(&bad, 0);
            assert!(!matches!(found, Ok(DecodeOutcome::Ok { .. })), "bit {bit}");
        }
    }

    #[test]
    fn lengths_over_the_limits_are_refused_by_name() {
        let long = vec![0; MAX_KEY_LEN as usize + 1];
        let error = encode_record(RecordType::Put, 1, &long, b"").unwrap_err();
        assert!(error.to_string().contains("key_len 65537 exceeds MAX_KEY_LEN 65536"), "{error}");
        let large = vec![0; MAX_PAYLOAD_LEN as usize + 1];
        let error = encode_record(RecordType::Put, 1, b"", &large).unwrap_err();
        assert!(
            error.to_string().contains("payload_len 67108865 exceeds MAX_PAYLOAD_LEN"),
            "{error}"
        );
    }
}

//! `BatchHeader`: parses and encodes the header of a batch. A parsed header is plausible but not
//! verified.

use crate::format::{
    BatchError, DIGEST_AT, DIGEST_SIZE, HEADER_SIZE, MAGIC, RECORD_HEAD_SIZE, UNIT_LOG2_MAX,
    UNIT_LOG2_MIN, VERSION, array_at, u16_at, u32_at, u64_at,
};

/// The fields of a batch header, without the digest.
///
/// ```
/// # #[cfg(feature = "internals")] {
/// use ringwal::format::{BatchHeader, encode_stand_alone};
///
/// let bytes = encode_stand_alone([&b"one"[..], b"two"], 41, 0, 0)?;
/// let (header, _digest) = BatchHeader::parse(&bytes)?;
/// assert_eq!((header.first_seq, header.last_seq(), header.records), (41, 42, 2));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Log2 of the unit that the frame is padded to; 0 if it is not padded.
    pub unit_log2: u8,
    /// The shard of the log.
    pub shard: u16,
    /// The sequence number of the first record.
    pub first_seq: u64,
    /// The time at which the batch was sealed, in nanoseconds since the Unix epoch.
    pub time_nanos: u64,
    /// Distinguishes this life of the file from earlier ones; 0 in a stand-alone batch.
    pub salt: u64,
    /// The durable watermark when the batch was sealed.
    pub durable_seq: u64,
    /// The number of records.
    pub records: u32,
    /// The bytes of all records, heads included.
    pub payload_bytes: u32,
}

impl BatchHeader {
    /// The number of cuts of the log's end when the segment began, modulo 2^16; `None` for a
    /// stand-alone batch.
    pub(crate) fn cuts(&self) -> Option<u16> {
        (self.salt != 0).then_some(self.salt as u16)
    }

    /// Parses a header and the digest that it states. Checks plausibility, but not the digest.
    ///
    /// # Errors
    ///
    /// If the bytes cannot be a header of this version.
    pub fn parse(bytes: &[u8]) -> Result<(BatchHeader, [u8; DIGEST_SIZE]), BatchError> {
        let Some(bytes) = bytes.get(..HEADER_SIZE) else {
            return Err(BatchError::Short { needed: HEADER_SIZE as u64 });
        };
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(BatchError::Blank);
        }
        if bytes[..4] != MAGIC || bytes[4] == 0 {
            return Err(BatchError::Magic);
        }
        if bytes[4] != VERSION {
            return Err(BatchError::OtherVersion(bytes[4]));
        }
        let unit_log2 = bytes[5] & UNIT_MASK;
        if bytes[5] & !UNIT_MASK != 0 {
            return Err(BatchError::Flags);
        }
        let header = BatchHeader {
            unit_log2,
            shard: u16_at(bytes, 6),
            first_seq: u64_at(bytes, 8),
            time_nanos: u64_at(bytes, 16),
            salt: u64_at(bytes, 24),
            durable_seq: u64_at(bytes, 32),
            records: u32_at(bytes, 40),
            payload_bytes: u32_at(bytes, 44),
        };
        header.check()?;
        Ok((header, array_at(bytes, DIGEST_AT)))
    }

    /// Encodes the header as it lies on disk.
    pub fn encode(&self, digest: [u8; DIGEST_SIZE]) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5] = self.unit_log2 & UNIT_MASK;
        bytes[6..8].copy_from_slice(&self.shard.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.time_nanos.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.salt.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.durable_seq.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.records.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[DIGEST_AT..].copy_from_slice(&digest);
        bytes
    }

    /// The sequence number of the last record.
    pub fn last_seq(&self) -> u64 {
        self.first_seq.saturating_add(u64::from(self.records).saturating_sub(1))
    }

    /// The unit that the frame starts at a multiple of and is padded to; 1 if it is not padded.
    pub fn unit(&self) -> u64 {
        1 << self.unit_log2
    }

    /// The bytes from the frame's start to the end of the payload.
    pub fn end_bytes(&self) -> u64 {
        HEADER_SIZE as u64 + u64::from(self.payload_bytes)
    }

    /// The bytes of the whole frame, padding included.
    pub fn frame_bytes(&self) -> u64 {
        self.end_bytes().next_multiple_of(self.unit())
    }

    /// Checks that [`parse`](Self::parse) accepts the header.
    pub(super) fn check(&self) -> Result<(), BatchError> {
        if self.unit_log2 != 0 && !(UNIT_LOG2_MIN..=UNIT_LOG2_MAX).contains(&self.unit_log2) {
            return Err(BatchError::Unit);
        }
        let Some(more) = self.records.checked_sub(1) else { return Err(BatchError::Count) };
        if self.first_seq == 0 || self.first_seq.checked_add(u64::from(more)).is_none() {
            return Err(BatchError::Count);
        }
        if u64::from(self.payload_bytes) < u64::from(self.records) * RECORD_HEAD_SIZE as u64 {
            return Err(BatchError::Length);
        }
        Ok(())
    }
}

/// The bits of byte 5 that hold the unit.
const UNIT_MASK: u8 = 0x1f;

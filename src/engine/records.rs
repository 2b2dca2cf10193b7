//! What an append takes: one record, one record in pieces, or an atomic batch.

use std::io::IoSlice;

use crate::engine::batch::Batch;
use crate::engine::commit::queue::Purpose;
use crate::engine::options::LogOptions;
use crate::error::{Error, Result};
use crate::format::{RECORD_HEAD_SIZE, RecordCrc, RecordHead};

/// What an append takes.
///
/// - Whatever is [`AsRef<[u8]>`](AsRef): one record of those bytes. Empty records are legal.
/// - [`Pieces`]: one record, whose bytes lie in several places.
/// - `&`[`Batch`]: several records, all of them or none.
///
/// It cannot be implemented outside of this crate.
///
/// ```
/// use std::io::IoSlice;
/// use ringwal::{Batch, Log, Pieces, Seq};
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::open(dir.path().join("log"))?;
/// log.append("one record")?;
/// log.append(Pieces(&[IoSlice::new(b"head"), IoSlice::new(b"body")]))?;
/// let mut batch = Batch::new();
/// batch.push("debit 10")?.push("credit 10")?;
/// assert_eq!(log.append(&batch)?, Seq::new(4)); // the last of them
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Records: sealed::Sealed {}

impl<T: AsRef<[u8]>> Records for T {}

impl Records for &Batch {}

impl Records for Pieces<'_> {}

/// One record whose bytes lie in several places, as in a vectored write. They are copied once, into
/// the batch.
///
/// ```
/// use std::io::IoSlice;
/// use ringwal::{Log, Pieces};
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::open(dir.path().join("log"))?;
/// log.append(Pieces(&[IoSlice::new(b"key"), IoSlice::new(b"="), IoSlice::new(b"value")]))?;
/// assert_eq!(log.reader()?.next().expect("one record")?.data(), b"key=value");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Pieces<'a>(pub &'a [IoSlice<'a>]);

/// Records on their way into a batch.
pub(crate) struct Payload<'a> {
    /// The head of a single record; an atomic batch has its heads in `bytes`.
    head: Option<[u8; RECORD_HEAD_SIZE]>,
    bytes: Bytes<'a>,
    /// The heads of an atomic batch.
    heads: &'a [u8],
    pub(crate) records: u32,
    /// The length of the first record.
    pub(crate) first_bytes: u32,
    pub(crate) purpose: Purpose,
}

enum Bytes<'a> {
    Whole(&'a [u8]),
    Pieces(&'a [IoSlice<'a>], usize),
}

impl<'a> Payload<'a> {
    #[inline(always)]
    pub(crate) fn single(record: &'a [u8], options: &LogOptions) -> Result<Payload<'a>> {
        let limit = options.record_bytes_max;
        if record.len() > limit {
            return Err(too_large(record.len(), limit));
        }
        let head = RecordHead::of(record);
        Ok(Payload::of_head(head, Bytes::Whole(record)))
    }

    fn pieces(pieces: &'a [IoSlice<'a>], options: &LogOptions) -> Result<Payload<'a>> {
        let limit = options.record_bytes_max;
        let bytes = pieces.iter().fold(0_usize, |sum, piece| sum.saturating_add(piece.len()));
        if bytes > limit {
            return Err(too_large(bytes, limit));
        }
        // Within the limit, so it fits.
        let len = bytes as u32;
        let mut crc = RecordCrc::new(len);
        pieces.iter().for_each(|piece| crc.update(piece));
        let head = RecordHead { len, crc: crc.finish() };
        Ok(Payload::of_head(head, Bytes::Pieces(pieces, bytes)))
    }

    #[inline(always)]
    fn of_head(head: RecordHead, bytes: Bytes<'a>) -> Payload<'a> {
        let (first_bytes, head, purpose) = (head.len, Some(head.to_bytes()), Purpose::Keep);
        Payload { head, bytes, heads: &[], records: 1, first_bytes, purpose }
    }

    pub(crate) fn batch(batch: &'a Batch, options: &LogOptions) -> Result<Payload<'a>> {
        let bytes = batch.payload();
        let Some(head) = bytes.first_chunk::<RECORD_HEAD_SIZE>() else {
            return Err(Error::BatchEmpty);
        };
        let limit = options.batch_payload_max();
        if bytes.len() > limit {
            return Err(Error::BatchTooLarge { bytes: bytes.len() as u64, limit: limit as u64 });
        }
        let first_bytes = RecordHead::from_bytes(*head).len;
        let (heads, records) = (batch.heads(), batch.records());
        let (bytes, purpose) = (Bytes::Whole(bytes), Purpose::Keep);
        Ok(Payload { head: None, bytes, heads, records, first_bytes, purpose })
    }

    /// The same records for another purpose.
    pub(crate) fn purpose(self, purpose: Purpose) -> Payload<'a> {
        Payload { purpose, ..self }
    }

    pub(crate) fn len(&self) -> usize {
        let bytes = match &self.bytes {
            Bytes::Whole(bytes) => bytes.len(),
            Bytes::Pieces(_, bytes) => *bytes,
        };
        self.head.map_or(0, |head| head.len()) + bytes
    }

    pub(crate) fn heads(&self) -> &[u8] {
        self.head.as_ref().map_or(self.heads, |head| head)
    }

    pub(crate) fn copy_to(&self, place: &mut [u8]) {
        let (head, mut rest) = place.split_at_mut(self.head.map_or(0, |head| head.len()));
        if let Some(bytes) = &self.head {
            head.copy_from_slice(bytes);
        }
        match &self.bytes {
            Bytes::Whole(bytes) => rest.copy_from_slice(bytes),
            Bytes::Pieces(pieces, _) => {
                for piece in *pieces {
                    let (place, after) = rest.split_at_mut(piece.len());
                    place.copy_from_slice(piece);
                    rest = after;
                }
            }
        }
    }
}

fn too_large(bytes: usize, limit: usize) -> Error {
    Error::RecordTooLarge { bytes: bytes as u64, limit: limit as u64 }
}

mod sealed {
    use super::{Batch, LogOptions, Payload, Pieces, Result};

    pub trait Sealed {
        /// The records, once the log's limits allow them.
        #[doc(hidden)]
        #[expect(private_interfaces, reason = "a sealed trait")]
        fn payload<'a>(&'a self, options: &LogOptions) -> Result<Payload<'a>>;
    }

    #[expect(private_interfaces, reason = "a sealed trait")]
    impl<T: AsRef<[u8]>> Sealed for T {
        #[inline(always)]
        fn payload<'a>(&'a self, options: &LogOptions) -> Result<Payload<'a>> {
            Payload::single(self.as_ref(), options)
        }
    }

    #[expect(private_interfaces, reason = "a sealed trait")]
    impl Sealed for &Batch {
        fn payload<'a>(&'a self, options: &LogOptions) -> Result<Payload<'a>> {
            Payload::batch(self, options)
        }
    }

    #[expect(private_interfaces, reason = "a sealed trait")]
    impl Sealed for Pieces<'_> {
        fn payload<'a>(&'a self, options: &LogOptions) -> Result<Payload<'a>> {
            Payload::pieces(self.0, options)
        }
    }
}

//! The bytes of an event, and whole batches for files that are made without a log. Programs use
//! this path: it stays.
//!
//! ```text
//! event, 21 bytes, little-endian
//!  at bytes
//!   0    8  entity_id
//!   8    1  signal_type
//!   9    4  weight, the bits of an f32
//!  13    8  timestamp_nanos
//! ```
//!
//! 1. An event is one record of the engine. The record's CRC covers it; its length is the only
//!    check here.
//! 2. Any 21 bytes are an event. Two events are equal if and only if their bytes are: weights are
//!    compared by their bits, so a NaN equals itself and `0.0` is not `-0.0`.

use std::path::Path;

use crate::format::{BatchError, encode_stand_alone};
use crate::replication::ShardId;
use crate::wal::SignalEvent;
use crate::{Error, Record, Result, Seq};

pub use crate::format::HEADER_SIZE;

/// The size of an event in bytes.
pub const EVENT_SIZE: usize = 8 + 1 + 4 + 8;

const SIGNAL_TYPE_AT: usize = 8;
const WEIGHT_AT: usize = SIGNAL_TYPE_AT + 1;
const TIMESTAMP_AT: usize = WEIGHT_AT + 4;

const _: () = assert!(TIMESTAMP_AT + 8 == EVENT_SIZE);
const _: () = assert!(HEADER_SIZE == 64);

/// An event as a record of the log.
///
/// ```
/// use ringwal::wal::SignalEvent;
/// use ringwal::wal::format::EventRecord;
///
/// let record = EventRecord { entity_id: 7, signal_type: 1, weight: 0.5, timestamp_nanos: 9 };
/// assert_eq!(EventRecord::from_bytes(record.to_bytes()), record);
/// assert_eq!(SignalEvent::from(record).entity_id, 7);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventRecord {
    /// The entity that the event is about.
    pub entity_id: u64,
    /// The kind of event, in the caller's own numbering.
    pub signal_type: u8,
    /// The weight of the event.
    pub weight: f32,
    /// The time of the event, as the caller says.
    pub timestamp_nanos: u64,
}

impl EventRecord {
    /// Encodes the event as it lies in a record.
    pub fn to_bytes(&self) -> [u8; EVENT_SIZE] {
        let mut bytes = [0; EVENT_SIZE];
        bytes[..SIGNAL_TYPE_AT].copy_from_slice(&self.entity_id.to_le_bytes());
        bytes[SIGNAL_TYPE_AT] = self.signal_type;
        bytes[WEIGHT_AT..TIMESTAMP_AT].copy_from_slice(&self.weight.to_bits().to_le_bytes());
        bytes[TIMESTAMP_AT..].copy_from_slice(&self.timestamp_nanos.to_le_bytes());
        bytes
    }

    /// Decodes the event of a record.
    pub fn from_bytes(bytes: [u8; EVENT_SIZE]) -> EventRecord {
        EventRecord {
            entity_id: u64::from_le_bytes(array_at(&bytes, 0)),
            signal_type: bytes[SIGNAL_TYPE_AT],
            weight: f32::from_bits(u32::from_le_bytes(array_at(&bytes, WEIGHT_AT))),
            timestamp_nanos: u64::from_le_bytes(array_at(&bytes, TIMESTAMP_AT)),
        }
    }

    /// Decodes the event in a record of the log in `dir`.
    ///
    /// # Errors
    ///
    /// [`Error::NotALog`], with the record's number, if the record is not an event: then the log is
    /// not an event log.
    pub fn from_record(record: &Record, dir: &Path) -> Result<EventRecord> {
        event_bytes(record.seq(), record.data(), dir).map(|bytes| EventRecord::from_bytes(*bytes))
    }
}

/// Checks that record `seq` of the log in `dir` has the length of an event.
pub(crate) fn event_bytes<'r>(
    seq: Seq,
    bytes: &'r [u8],
    dir: &Path,
) -> Result<&'r [u8; EVENT_SIZE]> {
    <&[u8; EVENT_SIZE]>::try_from(bytes).map_err(|_| {
        let len = bytes.len();
        let reason = format!(
            "record {seq} has {len} bytes and an event has {EVENT_SIZE}, so it is not an \
                 event log"
        );
        Error::NotALog { path: dir.to_path_buf(), reason }
    })
}

fn array_at<const N: usize>(bytes: &[u8; EVENT_SIZE], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

impl From<SignalEvent> for EventRecord {
    fn from(event: SignalEvent) -> EventRecord {
        let SignalEvent { entity_id, signal_type, weight, timestamp_nanos } = event;
        EventRecord { entity_id, signal_type, weight, timestamp_nanos }
    }
}

impl From<EventRecord> for SignalEvent {
    fn from(record: EventRecord) -> SignalEvent {
        let EventRecord { entity_id, signal_type, weight, timestamp_nanos } = record;
        SignalEvent { entity_id, signal_type, weight, timestamp_nanos }
    }
}

/// Encodes a stand-alone batch of events: not padded, of [`ShardId::SINGLE`], with the time
/// `timestamp_nanos` since the Unix epoch. Such batches, end to end in files with the names of
/// [`segment_filename`](crate::wal::segment::segment_filename), are a valid log.
///
/// ```
/// use ringwal::wal::format::{EVENT_SIZE, EventRecord, HEADER_SIZE, encode_batch};
///
/// let event = EventRecord { entity_id: 1, signal_type: 2, weight: 3.0, timestamp_nanos: 4 };
/// let bytes = encode_batch(&[event; 3], 1, 0)?;
/// assert_eq!(bytes.len(), HEADER_SIZE + 3 * (8 + EVENT_SIZE)); // a record's head has 8 bytes
/// # Ok::<(), ringwal::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::BatchEmpty`] if there is no event, [`Error::OutOfRange`] when a sequence number would
/// be zero or overflow, [`Error::BatchTooLarge`] beyond 4 GiB.
pub fn encode_batch(
    events: &[EventRecord],
    first_seq: u64,
    timestamp_nanos: u64,
) -> Result<Vec<u8>> {
    if events.is_empty() {
        return Err(Error::BatchEmpty);
    }
    let bytes: Vec<_> = events.iter().map(EventRecord::to_bytes).collect();
    let records = bytes.iter().map(<[u8; EVENT_SIZE]>::as_slice);
    let shard = ShardId::SINGLE.get();
    encode_stand_alone(records, first_seq, timestamp_nanos, shard).map_err(|error| match error {
        BatchError::Length => Error::BatchTooLarge {
            bytes: events.len() as u64 * (EVENT_SIZE + crate::format::RECORD_HEAD_SIZE) as u64,
            limit: u64::from(u32::MAX),
        },
        _ => Error::OutOfRange {
            op: "encode_batch",
            seq: Seq::new(first_seq),
            min: Seq::FIRST,
            max: Seq::new(u64::MAX - (events.len() as u64 - 1)),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_its_four_fields_little_endian_in_order() {
        let event = EventRecord {
            entity_id: 0x0807_0605_0403_0201,
            signal_type: 9,
            weight: f32::from_bits(0x0d0c_0b0a),
            timestamp_nanos: 0x1514_1312_1110_0f0e,
        };
        let expected: Vec<u8> = (1..=21).collect();
        assert_eq!(event.to_bytes().as_slice(), expected);
        assert_eq!(EventRecord::from_bytes(event.to_bytes()), event);
    }

    #[test]
    fn the_bits_of_a_weight_come_back_whatever_they_are() {
        for bits in [0, 0x8000_0000, 0x7f80_0001, 0xffff_ffff, 1] {
            let weight = f32::from_bits(bits);
            let event = EventRecord { entity_id: 1, signal_type: 1, weight, timestamp_nanos: 1 };
            assert_eq!(EventRecord::from_bytes(event.to_bytes()).weight.to_bits(), bits);
        }
    }

    #[test]
    fn a_batch_that_no_log_could_hold_is_refused() {
        let event = EventRecord { entity_id: 1, signal_type: 1, weight: 1.0, timestamp_nanos: 1 };
        assert!(matches!(encode_batch(&[], 1, 0), Err(Error::BatchEmpty)));
        let range = |first| encode_batch(&[event; 2], first, 0).map_err(|e| e.to_string());
        assert!(range(0).unwrap_err().contains("expected 1 to"));
        assert!(range(u64::MAX).unwrap_err().contains("encode_batch"));
        assert!(range(u64::MAX - 1).is_ok());
    }
}

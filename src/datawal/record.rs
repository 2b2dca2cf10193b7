//! Records, their places, and the report of a scan: the types that callers see.

use std::path::Path;

use crate::datawal::entry::Entry;
use crate::datawal::format::{RecordType, record_wire_size};
use crate::{Error, Recovery, Result};

/// The place of a record in terms of the crate datawal, as if it lay in a file of its format.
/// Places identify and order records, and stay the same after reopening. They are no offsets in
/// files of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordRef {
    /// The segment, counted from 1; [`RecordLog::rotate`](crate::datawal::RecordLog::rotate)
    /// begins the next one.
    pub segment: u32,
    /// The bytes of the earlier records in the segment.
    pub offset: u64,
    /// The bytes of the record: 28 more than its key and payload.
    pub len: u32,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its type.
    pub record_type: RecordType,
    /// Its number: dense, from 1.
    pub txid: u64,
    /// Its key; usually empty in a raw record.
    pub key: Vec<u8>,
    /// Its payload: the value of a put.
    pub payload: Vec<u8>,
    /// See [`RecordRef::segment`].
    pub segment: u32,
    /// See [`RecordRef::offset`].
    pub offset: u64,
    /// See [`RecordRef::len`].
    pub len: u32,
}

/// The report of an opening or a scan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The number of segments, as [`RecordRef::segment`] counts them.
    pub files_scanned: u32,
    /// The number of records.
    pub records_replayed: u64,
    /// 1 if opening the log cut off a torn tail, else 0.
    pub tail_truncated: u32,
    /// The bytes that were cut off from files of this crate.
    pub tail_bytes_discarded: u64,
    /// Always 0: damage is an error.
    pub mid_stream_errors: u32,
    /// Always 0: a newer version is an error.
    pub unsupported_versions: u32,
    /// The number of the last record; 0 if there is none.
    pub last_txid_seen: u64,
}

impl RecoveryReport {
    /// Adds the engine's report about the tail.
    pub(crate) fn add_tail(&mut self, found: &Recovery) {
        self.tail_truncated = u32::from(found.bytes_cut > 0);
        self.tail_bytes_discarded = found.bytes_cut;
    }

    /// Sets the counts up to a cursor.
    pub(crate) fn add_records(&mut self, cursor: Cursor) {
        self.files_scanned = cursor.segment;
        self.records_replayed = cursor.txid;
        self.last_txid_seen = cursor.txid;
    }
}

/// The place of the next record, in a pass over all records from the first one on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    /// The number of the last record.
    pub(crate) txid: u64,
}

/// A record in the log, with its place and number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoggedRecord<'a> {
    pub(crate) record_type: RecordType,
    pub(crate) key: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) place: RecordRef,
    pub(crate) txid: u64,
}

impl Cursor {
    pub(crate) const FIRST: Cursor = Cursor { segment: 1, offset: 0, txid: 0 };

    /// Advances by a record. Returns its place.
    pub(crate) fn advance(&mut self, key: &[u8], payload: &[u8]) -> RecordRef {
        // The limits of both lengths are far below the limits of these types.
        let size = record_wire_size(key.len() as u32, payload.len() as u32);
        let Cursor { segment, offset, .. } = *self;
        self.offset += size;
        self.txid += 1;
        RecordRef { segment, offset, len: size as u32 }
    }

    pub(crate) fn begin_segment(&mut self, id: u32) {
        self.segment = id;
        self.offset = 0;
    }

    /// Advances by the engine's record `seq`. Returns `None` if that only begins a segment.
    pub(crate) fn take<'a>(
        &mut self,
        bytes: &'a [u8],
        dir: &Path,
        seq: crate::Seq,
    ) -> Result<Option<LoggedRecord<'a>>> {
        match Entry::parse(bytes) {
            Some(Entry::Record { record_type, key, payload }) => {
                let place = self.advance(key, payload);
                Ok(Some(LoggedRecord { record_type, key, payload, place, txid: self.txid }))
            }
            Some(Entry::NewSegment(id)) if self.segment.checked_add(1) == Some(id) => {
                self.begin_segment(id);
                Ok(None)
            }
            _ => {
                let reason = format!("record {seq} is not a record of a record log or a store");
                Err(Error::NotALog { path: dir.to_path_buf(), reason })
            }
        }
    }
}

impl LoggedRecord<'_> {
    pub(crate) fn to_record(self) -> Record {
        let RecordRef { segment, offset, len } = self.place;
        let LoggedRecord { record_type, key, payload, txid, .. } = self;
        let (key, payload) = (key.to_vec(), payload.to_vec());
        Record { record_type, txid, key, payload, segment, offset, len }
    }
}

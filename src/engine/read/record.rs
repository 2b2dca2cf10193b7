//! A record, and the place where it lies.

use crate::format::RECORD_HEAD_SIZE;
use crate::segment::window::Slice;
use crate::seq::Seq;

/// Where a record lies, for [`Log::read`](crate::Log::read).
///
/// It stays valid until the record is truncated away. The engine checks what it finds there: that
/// the segment has this record, and that a record of this length lies there whole. If the record
/// was truncated *before*, that is an error, and so is damage. Which record it is, the place does
/// not say: one that the engine did not give out, or that was kept over a
/// [`truncate_after`](crate::Log::truncate_after) of its record, may lead to other bytes.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let log = ringwal::Log::open(dir.path().join("log"))?;
/// let commit = log.append_async("one")?;
/// commit.wait()?;
/// let place = commit.record_ref(); // small and `Copy`: keep it in an index
/// assert_eq!(log.read(place)?.data(), b"one");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordRef {
    pub(crate) seq: Seq,
    pub(crate) segment: Seq,
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
}

impl RecordRef {
    /// A ref put together again from its parts, as an index may have kept them.
    pub fn new(seq: Seq, segment: Seq, offset: u64, bytes: u32) -> RecordRef {
        RecordRef { seq, segment, offset, bytes }
    }

    /// The record right after this one in the same atomic batch; it has `bytes` bytes.
    pub fn next(&self, bytes: u32) -> RecordRef {
        let bytes_before = RECORD_HEAD_SIZE as u64 + u64::from(self.bytes);
        let offset = self.offset.saturating_add(bytes_before);
        RecordRef { seq: self.seq.next(), segment: self.segment, offset, bytes }
    }

    /// The record's sequence number.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The first sequence number of the record's segment, which names its file.
    pub fn segment(&self) -> Seq {
        self.segment
    }

    /// Where the record's 8-byte head begins in the segment, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The record's length in bytes.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }
}

/// A record as it was read and verified.
///
/// It shares the memory that its part of the log was read into, and so does a clone: neither
/// copies its bytes. As long as one of them is kept, so is that memory: a piece of 1 MiB, less at
/// the end of a segment, with the batch that lies over its beginning, and up to twice that behind
/// longer batches. That costs nothing for who looks at records and drops them, or keeps all of
/// them; who keeps a few of many takes their bytes out ([`into_data`](Self::into_data)). A record
/// that was read by its place has memory of its own.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let log = ringwal::Log::open(dir.path().join("log"))?;
/// log.append("one")?;
/// let record = log.reader()?.next().expect("one record")?;
/// assert_eq!((record.seq().get(), record.data()), (1, &b"one"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Record {
    pub(crate) data: Slice,
    pub(crate) record_ref: RecordRef,
    pub(crate) time_nanos: u64,
}

impl Record {
    /// Its sequence number.
    pub fn seq(&self) -> Seq {
        self.record_ref.seq
    }

    /// Its bytes.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Its bytes, alone: nothing else is kept in memory for them. They are copied, unless they are
    /// most of what the record keeps and nobody shares it, as with one that was read by its place.
    pub fn into_data(self) -> Vec<u8> {
        self.into_data_after(0)
    }

    /// [`into_data`](Self::into_data) of what follows the first bytes.
    pub(crate) fn into_data_after(self, bytes: usize) -> Vec<u8> {
        self.data.into_vec_after(bytes)
    }

    /// Where it lies, for [`Log::read`].
    pub fn record_ref(&self) -> RecordRef {
        self.record_ref
    }

    /// When its batch was written, in nanoseconds since the Unix epoch by the writer's clock, which
    /// goes by the wall clock when the log is opened and only runs from then on. So it is never
    /// less than that of a record before it in the same life of the log, and a wall clock that is
    /// set meanwhile does not show in it; from one life to the next it may go back.
    pub fn time_nanos(&self) -> u64 {
        self.time_nanos
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Record) -> bool {
        let place = |record: &Record| (record.record_ref, record.time_nanos);
        place(self) == place(other) && self.data() == other.data()
    }
}

impl Eq for Record {}

//! A record, and the place where it lies.

use crate::format::RECORD_HEAD_SIZE;
use crate::segment::window::Slice;
use crate::seq::Seq;

/// Where a record lies, for [`Log::read`](crate::Log::read).
///
/// It stays valid until the record is truncated away; then to read by it is an error
/// ([`Error::Truncated`]), also if another record came to the same place after a
/// [`truncate_after`](crate::Log::truncate_after). A place with which the log never had that record
/// is one as well ([`Error::OutOfRange`], [`Error::Truncated`] or [`Error::NotThere`]), as long as
/// no record of that very length lies there whole.
///
/// Two things it cannot tell by itself. Which record lies at a place is known from the batch around
/// it, which is not read; so one that was put together from parts ([`new`](RecordRef::new)) must
/// have the parts of one. And such a one does not say how often the log had been cut when it was
/// given out: whoever keeps parts forgets those behind a cut when he makes it.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let log = ringwal::Log::open(dir.path().join("log"))?;
/// let commit = log.submit("one")?;
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
    pub(crate) life: Life,
}

/// How often the end of the log had been cut off when a segment began, if that is known. It says
/// nothing of which record a place is of, so places are compared without it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Life(pub(crate) Option<u16>);

impl PartialEq for Life {
    fn eq(&self, _other: &Life) -> bool {
        true
    }
}

impl Eq for Life {}

impl PartialOrd for Life {
    fn partial_cmp(&self, other: &Life) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Life {
    fn cmp(&self, _other: &Life) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl std::hash::Hash for Life {
    fn hash<H: std::hash::Hasher>(&self, _state: &mut H) {}
}

const _: () = assert!(size_of::<RecordRef>() == 32);

impl RecordRef {
    /// A ref put together again from its parts, as an index may have kept them.
    pub fn new(seq: Seq, segment: Seq, offset: u64, bytes: u32) -> RecordRef {
        RecordRef { seq, segment, offset, bytes, life: Life::default() }
    }

    /// The record right after this one in the same atomic batch; it has `bytes` bytes.
    pub fn next(&self, bytes: u32) -> RecordRef {
        let bytes_before = RECORD_HEAD_SIZE as u64 + u64::from(self.bytes);
        let offset = self.offset.saturating_add(bytes_before);
        RecordRef { seq: self.seq.next(), offset, bytes, ..*self }
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

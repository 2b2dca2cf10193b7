//! A record as readers return it, and its position in the log.

#[cfg(doc)]
use crate::error::Error;
use crate::format::RECORD_HEAD_SIZE;
use crate::segment::window::Slice;
use crate::seq::Seq;

/// The position of a record, for [`Log::read`](crate::Log::read).
///
/// It stays valid until the record is truncated. From then on, reading it fails with
/// [`Error::Truncated`], even if another record has the same position after a
/// [`truncate_after`](crate::Log::truncate_after). Reading a position that the log never gave out
/// fails as well ([`Error::OutOfRange`], [`Error::Truncated`] or [`Error::NotThere`]), unless a
/// whole record of exactly that length happens to be there.
///
/// A ref made from parts ([`new`](RecordRef::new)) is checked less. A read does not look at the
/// batch around the record, which has its sequence number, so all parts must come from the same
/// ref. And such a ref does not know how often the log had been cut, so callers that keep parts
/// must forget those behind a cut when they make it.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let log = ringwal::Log::open(dir.path().join("log"))?;
/// let commit = log.submit("one")?;
/// commit.wait()?;
/// let record_ref = commit.record_ref(); // small and `Copy`: keep it in an index
/// assert_eq!(log.read(record_ref)?.data(), b"one");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordRef {
    pub(crate) seq: Seq,
    pub(crate) segment: Seq,
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
    pub(crate) epoch: CutEpoch,
}

/// How often the log's end had been cut off when a segment began, if known. Two refs to one record
/// may differ in it, so all epochs are equal in comparisons.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CutEpoch(pub(crate) Option<u16>);

impl PartialEq for CutEpoch {
    fn eq(&self, _other: &CutEpoch) -> bool {
        true
    }
}

impl Eq for CutEpoch {}

impl PartialOrd for CutEpoch {
    fn partial_cmp(&self, other: &CutEpoch) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for CutEpoch {
    fn cmp(&self, _other: &CutEpoch) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl std::hash::Hash for CutEpoch {
    fn hash<H: std::hash::Hasher>(&self, _state: &mut H) {}
}

const _: () = assert!(size_of::<RecordRef>() == 32);

impl RecordRef {
    /// A ref from parts that an index has kept.
    pub fn new(seq: Seq, segment: Seq, offset: u64, bytes: u32) -> RecordRef {
        RecordRef { seq, segment, offset, bytes, epoch: CutEpoch::default() }
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

    /// The offset of the record's 8-byte head in the segment, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The record's length in bytes.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }
}

/// A record that was read and verified.
///
/// It shares the memory that its part of the log was read into, and so does a clone: neither
/// copies its bytes. As long as one of them exists, so does that memory: a piece of 1 MiB, less at
/// the end of a segment, with the batch that spans its beginning, and up to twice that behind
/// longer batches. This is free if you drop records or keep all. To keep a few of many, call
/// [`into_data`](Self::into_data). A record read by its position has memory of its own.
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

    /// Its bytes, in memory of their own. They are copied, unless they are most of the record's
    /// memory and nothing else shares it, as with a record read by its position.
    pub fn into_data(self) -> Vec<u8> {
        self.into_data_after(0)
    }

    /// [`into_data`](Self::into_data) of what follows the first bytes.
    pub(crate) fn into_data_after(self, bytes: usize) -> Vec<u8> {
        self.data.into_vec_after(bytes)
    }

    /// Its position, for [`Log::read`](crate::Log::read).
    pub fn record_ref(&self) -> RecordRef {
        self.record_ref
    }

    /// When its batch was written, in nanoseconds since the Unix epoch. The writer's clock takes
    /// the wall clock when the log is opened, and is monotonic from then on: setting the wall clock
    /// meanwhile does not show. So times never go back while a log stays open; from one opening to
    /// the next they may.
    pub fn time_nanos(&self) -> u64 {
        self.time_nanos
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Record) -> bool {
        let fields = |record: &Record| (record.record_ref, record.time_nanos);
        fields(self) == fields(other) && self.data() == other.data()
    }
}

impl Eq for Record {}

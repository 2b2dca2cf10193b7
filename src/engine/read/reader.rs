//! The reader: an iterator that returns records from disk, in order.
//!
//! - A reader sees the records that were durable when it was made, and verifies every batch again.
//! - It holds no lock and no segment, so truncation goes on meanwhile. A reader that arrives at
//!   truncated records fails with [`Error::Truncated`].
//! - If records are cut off at the end ([`Log::truncate_after`]), it fails where they began. It
//!   never shows the records that replaced them, and never calls them damage.
//! - The same holds for a reader beside a writer in another process: after each batch, and before
//!   it reports an error, it looks at `state` once more ([`watch`](crate::engine::read::watch)).
//! - On a damaged log, the damage is the last item.
//! - After an error the reader yields nothing more.
//! - A record is a slice of the memory that its part of the file was read into; nothing is copied
//!   or allocated for it. Memory that no record shares any more is reused.
//!
//! A reader does not follow the end of the log: make another one from where it ended.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::engine::Log;
use crate::engine::read::cuts::CutMark;
use crate::engine::read::file_cache::FileCache;
use crate::engine::read::record::{CutEpoch, Record, RecordRef};
use crate::engine::read::segments::Segments;
use crate::engine::read::watch::{Truncation, Watch};
use crate::engine::recovery::{Recovered, Recovery, Verdict};
use crate::error::{Corruption, CorruptionKind, Error, Result, Witness};
use crate::format::{RECORD_HEAD_SIZE, Walk};
use crate::mutation::mutated;
use crate::replication::ShardId;
use crate::segment::name::segment_filename;
use crate::segment::reader::{Scan, SegmentScanner};
use crate::seq::Seq;

/// An iterator over records, in order.
///
/// If the log was opened to read only and is damaged, the last item is the [`Error::Corrupt`] that
/// [`recovery`](Reader::recovery) reports: a caller that reads to the end cannot miss it.
///
/// The reader's memory is a piece of 1 MiB of the log, and the batch that spans its beginning. It
/// is reused for the next piece once all its records are dropped; see [`Record`] for those that you
/// keep.
///
/// ```
/// use ringwal::{Log, Seq};
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::open(dir.path().join("log"))?;
/// for word in ["a", "b", "c"] {
///     log.append(word)?;
/// }
/// let mut reader = log.reader_from(Seq::new(2))?;
/// assert_eq!(reader.next().expect("two records")?.data(), b"b");
/// assert_eq!(reader.count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reader {
    pub(crate) files: Arc<FileCache>,
    shard: ShardId,
    pub(crate) segments: Segments,
    next: Seq,
    end: Seq,
    pub(crate) mark: CutMark,
    /// The last record that remained after cuts by another process, as of the last batch.
    left_elsewhere: Seq,
    current: Option<CurrentSegment>,
    failed: bool,
    recovery: Option<Box<Recovery>>,
}

/// The segment that a reader is in.
struct CurrentSegment {
    segment: Seq,
    last_seq: Seq,
    scanner: SegmentScanner,
    /// The batch that may have the next record.
    batch: Option<CurrentBatch>,
}

/// A verified batch in the scanner's memory, and how far it was read.
struct CurrentBatch {
    offset: u64,
    time_nanos: u64,
    epoch: CutEpoch,
    walk: Walk,
}

impl Reader {
    /// A reader over a log that is not open, or open in another process.
    pub(crate) fn of_segments(
        files: FileCache,
        shard: ShardId,
        watch: Option<Arc<Watch>>,
        recovered: Recovered,
    ) -> Reader {
        let (segments, recovery) = (recovered.segments, recovered.report);
        let end = segments.last().map_or(Seq::NONE, |segment| segment.last_seq);
        let first_seq = recovery.first_seq;
        let next = segments.first().map_or(Seq::FIRST, |first| first.first_seq.max(first_seq));
        let segments = Segments::Fixed(segments.into(), watch);
        let recovery = Some(Box::new(recovery));
        let mark = CutMark::default();
        Reader { recovery, ..Reader::new(Arc::new(files), shard, segments, next, end, mark) }
    }

    fn new(
        files: Arc<FileCache>,
        shard: ShardId,
        segments: Segments,
        next: Seq,
        end: Seq,
        mark: CutMark,
    ) -> Reader {
        let (current, failed, recovery) = (None, false, None);
        let left_elsewhere = Seq::new(u64::MAX);
        Reader {
            files,
            shard,
            segments,
            next,
            end,
            mark,
            left_elsewhere,
            current,
            failed,
            recovery,
        }
    }

    /// The report of opening to read only; `None` for a reader of an open log, see
    /// [`Log::recovery`].
    pub fn recovery(&self) -> Option<&Recovery> {
        self.recovery.as_deref()
    }

    /// The log's directory.
    pub fn dir(&self) -> &Path {
        self.files.storage.dir()
    }

    /// The sequence number of the next record.
    pub fn next_seq(&self) -> Seq {
        self.next
    }

    /// The last sequence number that this reader yields.
    pub fn end_seq(&self) -> Seq {
        self.end
    }

    /// Moves to `seq`, forwards or backwards. Past the end, the reader is empty.
    pub fn seek(&mut self, seq: Seq) {
        self.next = seq.max(Seq::FIRST);
        self.current = None;
        self.failed = false;
    }

    /// Reads one record by its position, with one positional read, and verifies it. The reader does
    /// not move.
    ///
    /// # Errors
    ///
    /// As [`Log::read`]; [`Error::OutOfRange`] for a record behind the reader's end.
    pub fn read(&self, record_ref: RecordRef) -> Result<Record> {
        if record_ref.seq > self.end_seq() {
            let (min, max) = (self.segments.first_seq(), self.end_seq());
            return Err(Error::OutOfRange { op: "read", seq: record_ref.seq, min, max });
        }
        if record_ref.seq > self.segments.left_since(self.mark) {
            let first_seq = self.segments.first_seq();
            return Err(Error::Truncated { seq: record_ref.seq, first_seq });
        }
        self.files.read(&self.segments, record_ref)
    }

    /// The next record, if the current batch has it.
    fn next_of_batch(&mut self) -> Option<Record> {
        let current = self.current.as_mut()?;
        let CurrentBatch { offset, time_nanos, epoch, walk } = current.batch.as_mut()?;
        let until = current.last_seq.min(self.end);
        while let Some(view) = walk.next(current.scanner.after(*offset)) {
            let seq = Seq::new(view.seq);
            if seq < self.next || seq > until {
                continue;
            }
            debug_assert_eq!(seq, self.next, "records come in order");
            let (offset, bytes) = (*offset + u64::from(view.offset), view.bytes.len());
            let data = current.scanner.slice(offset + RECORD_HEAD_SIZE as u64, bytes)?;
            let (segment, bytes) = (current.segment, bytes as u32);
            self.next = seq.next();
            let record_ref = RecordRef { seq, segment, offset, bytes, epoch: *epoch };
            return Some(Record { data, record_ref, time_nanos: *time_nanos });
        }
        current.batch = None;
        None
    }

    /// Reads the next batch: in the current segment, or in the one that has the next record.
    fn load(&mut self) -> Result<()> {
        let current = match self.current.take() {
            Some(current) if self.next <= current.last_seq => current,
            _ => self.enter()?,
        };
        let current = self.current.insert(current);
        let (segment, until) = (current.segment, current.last_seq.min(self.end));
        let offset = match current.scanner.next_batch()? {
            Scan::Batch(batch) => {
                let (offset, header) = (batch.offset(), batch.header());
                let (time_nanos, epoch) = (header.time_nanos, CutEpoch(header.cuts()));
                let walk = Walk::new(header);
                current.batch = Some(CurrentBatch { offset, time_nanos, epoch, walk });
                // Another process may have cut off records that were just read.
                self.left_elsewhere = self.segments.left_elsewhere()?;
                return Ok(());
            }
            Scan::End(stop) => stop.offset,
        };
        // The scan stopped at damage, unless the segment was truncated or recycled meanwhile.
        self.check_live(segment)?;
        let path = self.path(segment);
        let range = (self.next, until);
        let kind = CorruptionKind::Damaged;
        Err(Error::Corrupt(Corruption::new(path, offset, range, kind, Witness::Itself)))
    }

    /// Opens the segment that has the next record.
    fn enter(&mut self) -> Result<CurrentSegment> {
        let Some((segment, last_seq)) = self.segments.find(self.next) else {
            return Err(self.truncated());
        };
        let first_seq = segment.first_seq;
        if last_seq < self.next {
            return Err(self.truncated());
        }
        let file = match self.files.get(&segment, || self.check_live(first_seq).is_ok()) {
            Ok(file) => file,
            Err(error) => {
                self.check_live(first_seq)?;
                return Err(error);
            }
        };
        let (shard, origin) = (self.shard.get(), self.files.origin);
        // Other records may have replaced the ones that were cut off. A segment that was freed at
        // the front, and is open, still has its records.
        if let Some(Truncation { first_seq, is_cut: true }) =
            self.segments.truncated_elsewhere(self.next)?
        {
            return Err(Error::Truncated { seq: self.next, first_seq });
        }
        let scanner = SegmentScanner::new(file, shard, origin, first_seq.get())?;
        let scanner = match self.segments.place(first_seq, self.next) {
            Some(place) => scanner.beginning_at(place.offset, place.first_seq, place.salt),
            None => scanner,
        };
        Ok(CurrentSegment { segment: first_seq, last_seq, scanner, batch: None })
    }

    /// The damage behind the last record, if opening to read only found some.
    fn damage(&self) -> Option<Error> {
        let found = self.recovery.as_deref()?;
        let is_damaged = found.verdict == Verdict::Corrupt;
        found.corruption.clone().filter(|_| is_damaged).map(Error::Corrupt)
    }

    /// An error if the next record was cut off since the reader was made.
    fn check_cut(&self) -> Result<()> {
        if self.next > self.segments.left_since(self.mark) && !mutated("read_over_a_cut") {
            return Err(self.truncated());
        }
        Ok(())
    }

    /// An error if the segment is no longer part of the log.
    fn check_live(&self, segment: Seq) -> Result<()> {
        self.check_cut()?;
        if let Some(Truncation { first_seq, .. }) = self.segments.truncated_elsewhere(self.next)? {
            return Err(Error::Truncated { seq: self.next, first_seq });
        }
        match self.segments.find(segment) {
            Some((found, _)) if found.first_seq == segment => Ok(()),
            _ => Err(self.truncated()),
        }
    }

    fn truncated(&self) -> Error {
        Error::Truncated { seq: self.next, first_seq: self.segments.first_seq() }
    }

    fn path(&self, segment: Seq) -> std::path::PathBuf {
        self.files.storage.dir().join(segment_filename(self.shard, segment.get()))
    }
}

impl Iterator for Reader {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        loop {
            if self.failed {
                return None;
            }
            if self.next > self.end {
                self.failed = true;
                return self.damage().map(Err);
            }
            let before = self.next;
            if let Some(record) = self.next_of_batch() {
                // Check after the read: a cut is counted before it changes anything.
                let left = self.segments.left_since(self.mark).min(self.left_elsewhere);
                if record.seq() <= left || mutated("read_over_a_cut") {
                    return Some(Ok(record));
                }
                self.next = before;
                self.current = None;
                self.failed = true;
                return Some(Err(self.truncated()));
            }
            if let Err(error) = self.check_cut().and_then(|()| self.load()) {
                self.failed = true;
                return Some(Err(error));
            }
        }
    }
}

impl std::iter::FusedIterator for Reader {}

// A panic can only interrupt a read; the next one begins after the last whole record.
impl std::panic::UnwindSafe for Reader {}
impl std::panic::RefUnwindSafe for Reader {}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("next_seq", &self.next_seq())
            .field("end_seq", &self.end)
            .finish_non_exhaustive()
    }
}

impl Log {
    /// A reader over all records that are durable now.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] or [`Error::Poisoned`].
    pub fn reader(&self) -> Result<Reader> {
        self.shared().check()?;
        Ok(self.reader_at(self.first_seq()))
    }

    /// A reader over the records from `seq` on that are durable now. It is empty if `seq` is the
    /// next number to be given.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] if `seq` was truncated, [`Error::OutOfRange`] if it lies further ahead,
    /// and as [`reader`](Self::reader).
    pub fn reader_from(&self, seq: Seq) -> Result<Reader> {
        self.shared().check()?;
        let (min, max) = (self.first_seq(), self.durable_seq().next());
        if seq < min && seq > Seq::NONE {
            return Err(Error::Truncated { seq, first_seq: min });
        }
        if seq < min || seq > max {
            return Err(Error::OutOfRange { op: "reader_from", seq, min, max });
        }
        Ok(self.reader_at(seq))
    }

    /// Reads one record by its position, with one positional read, and verifies its length and its
    /// bytes. The sequence number is in the batch around it, which only a [`Reader`] verifies: a
    /// drive that returns the wrong block can go unnoticed here.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] if the record is gone, [`Error::OutOfRange`] if it is not written yet,
    /// [`Error::NotThere`] if it is at another offset, [`Error::Corrupt`] if its bytes are damaged.
    pub fn read(&self, record_ref: RecordRef) -> Result<Record> {
        self.shared().check()?;
        if record_ref.seq > self.written_seq() {
            let (min, max) = (self.first_seq(), self.written_seq());
            return Err(Error::OutOfRange { op: "read", seq: record_ref.seq, min, max });
        }
        self.inner.files.read(&Segments::Live(Arc::clone(&self.inner.shared)), record_ref)
    }

    /// The bytes of a record as they are on disk, without verifying them.
    pub(crate) fn read_unverified(&self, record_ref: RecordRef) -> Result<Vec<u8>> {
        self.shared().check()?;
        let segments = Segments::Live(Arc::clone(&self.inner.shared));
        self.inner.files.read_unverified(&segments, record_ref)
    }

    fn reader_at(&self, seq: Seq) -> Reader {
        let segments = Segments::Live(Arc::clone(&self.inner.shared));
        let files = Arc::clone(&self.inner.files);
        let mark = segments.mark();
        let end = self.durable_seq().min(segments.left_since(mark));
        Reader::new(files, self.options().shard, segments, seq, end, mark)
    }
}

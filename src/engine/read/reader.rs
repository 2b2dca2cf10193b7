//! Records back from disk, in order.
//!
//! - A reader sees the records that were durable when it was made, and verifies every batch again.
//! - It holds no lock and no segment: truncation goes on meanwhile, and a reader that comes to
//!   where records were truncated says [`Error::Truncated`].
//! - One over records that are cut off at the end ([`Log::truncate_after`]) says so where they
//!   began: it shows nothing of what came in their place, and calls nothing of that damage.
//! - So does one that was opened to read only, beside a writer in another process: after each
//!   batch, and before it tells an error, it looks at `state` once more
//!   ([`watch`](crate::engine::read::watch)).
//! - A reader over a damaged log has the damage as its last item.
//! - After an error it yields nothing more.
//! - A record is a slice of the memory that its part of the file was read into; nothing is copied
//!   or allocated for it. Memory that no record shares any more is read into again.
//!
//! It does not follow the end of the log: make another one from where it ended.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::engine::Log;
use crate::engine::read::cuts::Mark;
use crate::engine::read::file_cache::FileCache;
use crate::engine::read::record::{Life, Record, RecordRef};
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
/// Where a log that was opened to read only is damaged, the last item is the [`Error::Corrupt`]
/// that its [`recovery`](Reader::recovery) tells: who reads to the end cannot miss it.
///
/// Its memory is a piece of 1 MiB of the log, and the batch that lies over its beginning. It is
/// used again for the next piece when all records of it are dropped; see [`Record`] for those that
/// are kept.
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
    pub(crate) mark: Mark,
    /// What cuts by a writer elsewhere left, as of the last batch.
    left_elsewhere: Seq,
    scan: Option<Position>,
    failed: bool,
    recovery: Option<Box<Recovery>>,
}

/// The segment that a reader is in.
struct Position {
    segment: Seq,
    last_seq: Seq,
    scanner: SegmentScanner,
    /// The batch that the next record may be in.
    batch: Option<Begun>,
}

/// A verified batch that the scanner has in memory, and how far it was read.
struct Begun {
    offset: u64,
    time_nanos: u64,
    life: Life,
    walk: Walk,
}

impl Reader {
    /// A reader over a log that is not open, or open elsewhere.
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
        let mark = Mark::default();
        Reader { recovery, ..Reader::new(Arc::new(files), shard, segments, next, end, mark) }
    }

    fn new(
        files: Arc<FileCache>,
        shard: ShardId,
        segments: Segments,
        next: Seq,
        end: Seq,
        mark: Mark,
    ) -> Reader {
        let (scan, failed, left_elsewhere) = (None, false, Seq::new(u64::MAX));
        let recovery = None;
        Reader { files, shard, segments, next, end, mark, left_elsewhere, scan, failed, recovery }
    }

    /// What opening to read only found; `None` for a reader of an open log, which has its own
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

    /// The last sequence number that this reader will yield.
    pub fn end_seq(&self) -> Seq {
        self.end
    }

    /// Goes to `seq`, forwards or backwards; past the end there is nothing to read.
    pub fn seek(&mut self, seq: Seq) {
        self.next = seq.max(Seq::FIRST);
        self.scan = None;
        self.failed = false;
    }

    /// Reads one record by its place, with one positional read, and verifies it. The reader stays
    /// where it is.
    ///
    /// # Errors
    ///
    /// As [`Log::read`]; [`Error::OutOfRange`] for what lies behind the reader's end.
    pub fn read(&self, place: RecordRef) -> Result<Record> {
        if place.seq > self.end_seq() {
            let (min, max) = (self.segments.first_seq(), self.end_seq());
            return Err(Error::OutOfRange { op: "read", seq: place.seq, min, max });
        }
        if place.seq > self.segments.left_since(self.mark) {
            let first_seq = self.segments.first_seq();
            return Err(Error::Truncated { seq: place.seq, first_seq });
        }
        self.files.read(&self.segments, place)
    }

    /// The next record, if the batch that was begun has it.
    fn next_of_batch(&mut self) -> Option<Record> {
        let position = self.scan.as_mut()?;
        let Begun { offset, time_nanos, life, walk } = position.batch.as_mut()?;
        let until = position.last_seq.min(self.end);
        while let Some(view) = walk.next(position.scanner.after(*offset)) {
            let seq = Seq::new(view.seq);
            if seq < self.next || seq > until {
                continue;
            }
            let (offset, bytes) = (*offset + u64::from(view.offset), view.bytes.len());
            let data = position.scanner.slice(offset + RECORD_HEAD_SIZE as u64, bytes)?;
            let (segment, bytes) = (position.segment, bytes as u32);
            self.next = seq.next();
            let record_ref = RecordRef { seq, segment, offset, bytes, life: *life };
            return Some(Record { data, record_ref, time_nanos: *time_nanos });
        }
        position.batch = None;
        None
    }

    /// Reads the next batch, from where the last one ended or where the next record is.
    fn load(&mut self) -> Result<()> {
        let position = match self.scan.take() {
            Some(position) if self.next <= position.last_seq => position,
            _ => self.enter()?,
        };
        let position = self.scan.insert(position);
        let (segment, until) = (position.segment, position.last_seq.min(self.end));
        let offset = match position.scanner.next_batch()? {
            Scan::Batch(batch) => {
                let (offset, header) = (batch.offset(), batch.header());
                let (time_nanos, life) = (header.time_nanos, Life(header.cuts()));
                let walk = Walk::new(header);
                position.batch = Some(Begun { offset, time_nanos, life, walk });
                // A writer elsewhere may have cut off what was just read, or some of it.
                self.left_elsewhere = self.segments.left_elsewhere()?;
                return Ok(());
            }
            Scan::End(stop) => stop.offset,
        };
        // What stopped the scan is damage, unless the file was truncated or recycled meanwhile.
        self.check_live(segment)?;
        let path = self.path(segment);
        let range = (self.next, until);
        let kind = CorruptionKind::Damaged;
        Err(Error::Corrupt(Corruption::new(path, offset, range, kind, Witness::Itself)))
    }

    /// Opens the segment that has the next record.
    fn enter(&mut self) -> Result<Position> {
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
        // What was cut off may have been followed by something else. What was freed at the other
        // end, and is open, is still what it was.
        if let Some(Truncation { first_seq, is_cut: true }) =
            self.segments.truncated_elsewhere(self.next)?
        {
            return Err(Error::Truncated { seq: self.next, first_seq });
        }
        let scanner = SegmentScanner::new(file, shard, origin, first_seq.get())?;
        Ok(Position { segment: first_seq, last_seq, scanner, batch: None })
    }

    /// The damage with which the records end, where opening to read only found some.
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

    /// An error if the segment is not part of the log any more.
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
                // Looked at after it was read: a cut is counted before it changes anything.
                let left = self.segments.left_since(self.mark).min(self.left_elsewhere);
                if record.seq() <= left || mutated("read_over_a_cut") {
                    return Some(Ok(record));
                }
                self.next = before;
                self.scan = None;
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

// What a panic could interrupt is a read; the next one begins with what was read whole.
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

    /// A reader over the records from `seq` on that are durable now. It is empty when `seq` is
    /// the next one to come.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when `seq` was truncated away, [`Error::OutOfRange`] when it lies
    /// further ahead, and as [`reader`](Self::reader).
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

    /// Reads one record by its place, with one positional read, and verifies its length and its
    /// bytes. Which record it is the batch around it says, and only a [`Reader`] looks at that: a
    /// drive that gives another block than the one it was asked for can go unnoticed here.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when the record is gone, [`Error::OutOfRange`] when it is not written
    /// yet, [`Error::NotThere`] when it lies elsewhere, [`Error::Corrupt`] when its bytes are
    /// damaged.
    pub fn read(&self, place: RecordRef) -> Result<Record> {
        self.shared().check()?;
        if place.seq > self.written_seq() {
            let (min, max) = (self.first_seq(), self.written_seq());
            return Err(Error::OutOfRange { op: "read", seq: place.seq, min, max });
        }
        self.inner.files.read(&Segments::Live(Arc::clone(&self.inner.shared)), place)
    }

    /// The bytes of a record as they are, verified or not.
    pub(crate) fn read_unverified(&self, place: RecordRef) -> Result<Vec<u8>> {
        self.shared().check()?;
        let segments = Segments::Live(Arc::clone(&self.inner.shared));
        self.inner.files.read_unverified(&segments, place)
    }

    fn reader_at(&self, seq: Seq) -> Reader {
        let segments = Segments::Live(Arc::clone(&self.inner.shared));
        let files = Arc::clone(&self.inner.files);
        let mark = segments.mark();
        let end = self.durable_seq().min(segments.left_since(mark));
        Reader::new(files, self.options().shard, segments, seq, end, mark)
    }
}
